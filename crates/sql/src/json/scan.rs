//! JSON's grammar over bytes that are UTF-8, with the limits that Jackson sets.
//! What a value means for a column is not decided here.

use std::ops::Range;

use wide::u8x16;

/// Jackson's limits (`StreamReadConstraints`).
const DEPTH_MAX: usize = 1_000;
const NUMBER_DIGITS_MAX: usize = 1_000;
const TEXT_CHARS_MAX: usize = 20_000_000;
const NAME_CHARS_MAX: usize = 50_000;

/// What is wrong with a message, for people.
pub(super) type Bad = String;

/// A number as it stands there.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Number {
    pub(super) span: Range<usize>,
    /// Without fraction and exponent.
    pub(super) whole: bool,
}

/// A place in a message.
pub(super) struct Scanner<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    depth: usize,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, bytes: text.as_bytes(), at: 0, depth: 0 }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn slice(&self, span: Range<usize>) -> &'a str {
        &self.text[span]
    }

    #[cold]
    pub(super) fn bad(&self, what: &str) -> Bad {
        format!("{what} at byte {}", self.at)
    }

    #[cold]
    fn unexpected(&self, expected: &str) -> Bad {
        match self.text[self.at.min(self.text.len())..].chars().next() {
            Some(c) => self.bad(&format!("expected {expected}, found {c:?}")),
            None => self.bad(&format!("expected {expected}, the message ends")),
        }
    }

    /// The next byte that is no white space, not taken.
    pub(super) fn peek(&mut self) -> Option<u8> {
        loop {
            let byte = *self.bytes.get(self.at)?;
            if !matches!(byte, b' ' | b'\n' | b'\t' | b'\r') {
                return Some(byte);
            }
            self.at += 1;
        }
    }

    #[inline]
    fn take(&mut self, byte: u8) -> bool {
        // Most messages have no white space.
        if self.bytes.get(self.at) == Some(&byte) {
            self.at += 1;
            return true;
        }
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8, name: &str) -> Result<(), Bad> {
        if self.take(byte) { Ok(()) } else { Err(self.unexpected(name)) }
    }

    /// Nothing but white space is left.
    pub(super) fn end(&mut self) -> Result<(), Bad> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.bad("something follows the value")),
        }
    }

    fn deeper(&mut self) -> Result<(), Bad> {
        self.depth += 1;
        if self.depth > DEPTH_MAX { Err(self.bad("nested deeper than 1000")) } else { Ok(()) }
    }

    /// Calls `member` with each name of an object, for it to read the value behind it.
    #[inline]
    pub(super) fn object(
        &mut self,
        mut member: impl FnMut(&mut Self, Text<'a>) -> Result<(), Bad>,
    ) -> Result<(), Bad> {
        self.object_at_names(|scanner| {
            let name = scanner.name()?;
            member(scanner, name)
        })
    }

    /// As [`Scanner::object`], leaving also the names to `member`: [`Scanner::name`], or another text with
    /// [`Scanner::colon`] behind it.
    #[inline]
    pub(super) fn object_at_names(
        &mut self,
        mut member: impl FnMut(&mut Self) -> Result<(), Bad>,
    ) -> Result<(), Bad> {
        self.at += 1;
        self.deeper()?;
        if !self.take(b'}') {
            loop {
                if self.peek() != Some(b'"') {
                    return Err(self.unexpected("a name in quotes"));
                }
                member(self)?;
                if !self.take(b',') {
                    break;
                }
            }
            self.expect(b'}', "`,` or `}`")?;
        }
        self.depth -= 1;
        Ok(())
    }

    /// The name at this quote, with the colon behind it.
    pub(super) fn name(&mut self) -> Result<Text<'a>, Bad> {
        let name = self.text(NAME_CHARS_MAX, Controls::Escaped)?;
        self.colon()?;
        Ok(name)
    }

    /// Takes the name at this quote and its colon, if it stands there as in `quoted`.
    #[inline]
    pub(super) fn take_name(&mut self, quoted: &QuotedName) -> bool {
        let found = quoted.begins(&self.bytes[self.at..]);
        self.at += if found { quoted.length } else { 0 };
        found
    }

    #[inline]
    pub(super) fn colon(&mut self) -> Result<(), Bad> {
        self.expect(b':', "`:`")
    }

    /// Calls `item` for each item of an array, for it to read the value.
    #[inline]
    pub(super) fn array(&mut self, mut item: impl FnMut(&mut Self) -> Result<(), Bad>) -> Result<(), Bad> {
        self.at += 1;
        self.deeper()?;
        if !self.take(b']') {
            loop {
                item(self)?;
                if !self.take(b',') {
                    break;
                }
            }
            self.expect(b']', "`,` or `]`")?;
        }
        self.depth -= 1;
        Ok(())
    }

    pub(super) fn string(&mut self) -> Result<Text<'a>, Bad> {
        self.text(TEXT_CHARS_MAX, Controls::Escaped)
    }

    /// The text at this quote, of which Jackson makes bytes: there it does not look at control characters.
    pub(super) fn base64(&mut self) -> Result<Text<'a>, Bad> {
        self.text(TEXT_CHARS_MAX, Controls::Any)
    }

    /// Appends the text at this quote to `out`, if nothing in it is escaped and a block follows its end. Otherwise
    /// nothing has happened, and [`Scanner::string`] tells what there is.
    #[inline]
    pub(super) fn copy_plain(&mut self, out: &mut Vec<u8>) -> bool {
        let kept = out.len();
        let start = self.at + 1;
        let mut at = start;
        while let Some(block) = self.bytes.get(at..).and_then(<[u8]>::first_chunk) {
            // Whole blocks are copied, because their length is known, and what is behind the text is cut off.
            out.extend_from_slice(block);
            let Some(plain) = first_special(block) else {
                at += BLOCK;
                continue;
            };
            at += plain;
            if block[plain] != b'"' || at - start > TEXT_CHARS_MAX {
                break;
            }
            out.truncate(kept + at - start);
            self.at = at + 1;
            return true;
        }
        out.truncate(kept);
        false
    }

    /// The text at this quote.
    fn text(&mut self, chars_max: usize, controls: Controls) -> Result<Text<'a>, Bad> {
        let start = self.at + 1;
        let end = start + plain_length(&self.bytes[start..]);
        let text = match self.bytes.get(end) {
            Some(b'"') => {
                self.at = end + 1;
                Text::Plain(&self.text[start..end])
            }
            Some(b'\\') => Text::Resolved(self.resolved(start, end, controls)?),
            Some(_) if controls == Controls::Any => Text::Resolved(self.resolved(start, end, controls)?),
            Some(_) => {
                self.at = end;
                return Err(self.bad("a control character in a text, which must be escaped"));
            }
            None => {
                self.at = end;
                return Err(self.bad("a text is never closed"));
            }
        };
        let length = text.as_str().len();
        if length > chars_max && text.as_str().encode_utf16().count() > chars_max {
            return Err(self.bad(&format!("a text of more than {chars_max} characters")));
        }
        Ok(text)
    }

    #[cold]
    fn resolved(&mut self, start: usize, first: usize, controls: Controls) -> Result<String, Bad> {
        let mut text = self.text[start..first].to_owned();
        self.at = first;
        loop {
            let end = self.at + plain_length(&self.bytes[self.at..]);
            text.push_str(&self.text[self.at..end]);
            self.at = end;
            match self.bytes.get(end) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(text);
                }
                Some(b'\\') => {
                    let escape = self.escape()?;
                    text.push(escape);
                }
                Some(control) if controls == Controls::Any => {
                    text.push(char::from(*control));
                    self.at += 1;
                }
                Some(_) => return Err(self.bad("a control character in a text, which must be escaped")),
                None => return Err(self.bad("a text is never closed")),
            }
        }
    }

    /// The character that the escape at this backslash stands for. Half of a surrogate pair
    /// becomes a question mark, as Java writes it.
    fn escape(&mut self) -> Result<char, Bad> {
        let c = match self.bytes.get(self.at + 1) {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode_escape(),
            _ => return Err(self.bad("an escape that JSON does not have")),
        };
        self.at += 2;
        Ok(c)
    }

    fn unicode_escape(&mut self) -> Result<char, Bad> {
        let unit = self.hexadecimal(self.at + 2)?;
        self.at += 6;
        if let Some(c) = char::from_u32(unit) {
            return Ok(c);
        }
        let is_high = (0xd800..0xdc00).contains(&unit);
        if is_high && self.bytes[self.at..].starts_with(b"\\u") {
            let low = self.hexadecimal(self.at + 2)?;
            if (0xdc00..0xe000).contains(&low) {
                self.at += 6;
                let code = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
                return Ok(char::from_u32(code).expect("a surrogate pair is a character"));
            }
        }
        Ok('?')
    }

    fn hexadecimal(&self, at: usize) -> Result<u32, Bad> {
        let digits = self.bytes.get(at..at + 4).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let digits = digits.ok_or_else(|| self.bad("\\u without four hexadecimal digits"))?;
        let digits = std::str::from_utf8(digits).expect("ASCII digits");
        Ok(u32::from_str_radix(digits, 16).expect("hexadecimal digits"))
    }

    /// The number that begins here.
    pub(super) fn number(&mut self) -> Result<Number, Bad> {
        let start = self.at;
        self.at += usize::from(self.bytes[start] == b'-');
        let first = self.at;
        let digits = self.digits();
        if digits == 0 {
            return Err(self.unexpected("a digit"));
        }
        if digits > 1 && self.bytes[first] == b'0' {
            self.at = first;
            return Err(self.bad("a number with a leading zero"));
        }
        let mut whole = true;
        if self.bytes.get(self.at) == Some(&b'.') {
            whole = false;
            self.at += 1;
            if self.digits() == 0 {
                return Err(self.unexpected("a digit"));
            }
        }
        if matches!(self.bytes.get(self.at), Some(b'e' | b'E')) {
            whole = false;
            self.at += 1;
            self.at += usize::from(matches!(self.bytes.get(self.at), Some(b'+' | b'-')));
            if self.digits() == 0 {
                return Err(self.unexpected("a digit"));
            }
        }
        // Sign, point and `e` are at most four of its characters.
        if self.at - start > NUMBER_DIGITS_MAX {
            let digits = self.bytes[start..self.at].iter().filter(|b| b.is_ascii_digit()).count();
            if digits > NUMBER_DIGITS_MAX {
                return Err(self.bad("a number of more than 1000 digits"));
            }
        }
        self.ends_here("a number")?;
        Ok(Number { span: start..self.at, whole })
    }

    fn digits(&mut self) -> usize {
        let count = self.bytes[self.at..].iter().take_while(|b| b.is_ascii_digit()).count();
        self.at += count;
        count
    }

    /// A number or a word is followed by white space, a comma, a bracket or the end.
    fn ends_here(&self, what: &str) -> Result<(), Bad> {
        match self.bytes.get(self.at) {
            None | Some(b' ' | b'\n' | b'\t' | b'\r' | b',' | b']' | b'}') => Ok(()),
            Some(_) => Err(self.unexpected(&format!("the end of {what}"))),
        }
    }

    /// `true`, `false` or `null`, whichever is asked for.
    pub(super) fn word(&mut self, word: &str) -> Result<(), Bad> {
        if !self.bytes[self.at..].starts_with(word.as_bytes()) {
            return Err(self.unexpected("a value"));
        }
        self.at += word.len();
        self.ends_here("a word")
    }

    /// Passes over a value of any kind and returns where it stands.
    pub(super) fn skip(&mut self) -> Result<Range<usize>, Bad> {
        let first = self.peek();
        let start = self.at;
        match first {
            // Only a text that is kept has a limit.
            Some(b'"') => self.text(usize::MAX, Controls::Escaped).map(|_| ())?,
            Some(b'{') => self.object(|scanner, _| scanner.skip().map(|_| ()))?,
            Some(b'[') => self.array(|scanner| scanner.skip().map(|_| ()))?,
            Some(b't') => self.word("true")?,
            Some(b'f') => self.word("false")?,
            Some(b'n') => self.word("null")?,
            Some(b'-' | b'0'..=b'9') => self.number().map(|_| ())?,
            _ => return Err(self.unexpected("a value")),
        }
        Ok(start..self.at)
    }
}

/// Which control characters a text may have.
#[derive(Clone, Copy, PartialEq)]
enum Controls {
    Escaped,
    /// Also as they are.
    Any,
}

/// A text with its escapes resolved.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Text<'a> {
    Plain(&'a str),
    Resolved(String),
}

impl Text<'_> {
    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::Plain(text) => text,
            Self::Resolved(text) => text,
        }
    }
}

/// A name in quotes and its colon, as most messages write them, to be compared with what stands there.
pub(super) struct QuotedName {
    /// What of the first block counts, and how it is there.
    mask: u128,
    block: u128,
    rest: Box<[u8]>,
    /// Zero for a name that is compared by its meaning, because of a character of it that JSON escapes.
    length: usize,
}

impl QuotedName {
    pub(super) fn new(name: &str) -> Self {
        let is_plain = name.len() <= NAME_CHARS_MAX && plain_length(name.as_bytes()) == name.len();
        let quoted = if is_plain { format!("\"{name}\":").into_bytes() } else { Vec::new() };
        let (first, rest) = quoted.split_at(quoted.len().min(BLOCK));
        let padded = |byte: Option<u8>| {
            let bytes = first.iter().map(|b| byte.unwrap_or(*b)).chain(std::iter::repeat(0));
            let mut block = [0; BLOCK];
            block.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
            u128::from_le_bytes(block)
        };
        Self { mask: padded(Some(u8::MAX)), block: padded(None), rest: rest.into(), length: quoted.len() }
    }

    /// Whether `bytes` begin with it. Where they are less than a block, the answer is no.
    #[inline]
    fn begins(&self, bytes: &[u8]) -> bool {
        let Some((first, rest)) = bytes.split_first_chunk() else { return false };
        let is_block = u128::from_le_bytes(*first) & self.mask == self.block;
        is_block && self.length > 0 && (self.rest.is_empty() || rest.starts_with(&self.rest))
    }
}

/// Bytes that are looked at in one step.
const BLOCK: usize = 16;

/// How many bytes from the start are neither a quote, a backslash nor a control character.
#[inline]
fn plain_length(bytes: &[u8]) -> usize {
    let (blocks, rest) = bytes.as_chunks::<BLOCK>();
    for (at, block) in blocks.iter().enumerate() {
        if let Some(special) = first_special(block) {
            return at * BLOCK + special;
        }
    }
    let is_special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
    blocks.len() * BLOCK + rest.iter().position(is_special).unwrap_or(rest.len())
}

/// The place of the first quote, backslash or control character.
#[inline]
fn first_special(block: &[u8; BLOCK]) -> Option<usize> {
    const CONTROL_MAX: u8 = 0x1f;
    let block = u8x16::from(*block);
    let controls = block.max(u8x16::splat(CONTROL_MAX)).simd_eq(u8x16::splat(CONTROL_MAX));
    let special = block.simd_eq(u8x16::splat(b'"')) | block.simd_eq(u8x16::splat(b'\\')) | controls;
    let mask = special.to_bitmask();
    (mask != 0).then_some(mask.trailing_zeros() as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_is_jsons() {
        for text in [r#"{"a":[1,-2.5e+3,"x\u00e9\n",true,null,{}]}"#, " 1 ", r#""""#, "[]", "-0"] {
            let mut scanner = Scanner::new(text);
            scanner.skip().and_then(|_| scanner.end()).unwrap_or_else(|e| panic!("{text}: {e}"));
        }
        for text in [
            "",
            "{",
            "[1,]",
            "{,}",
            r#"{"a":1,}"#,
            r#"{"a" 1}"#,
            "01",
            "1.",
            ".5",
            "1e",
            "+1",
            "-",
            "tru",
            "nulL",
            "'a'",
            "{a:1}",
            r#""\q""#,
            "\"\t\"",
            r#""\u12g4""#,
            "NaN",
            "1x",
            "[1 2]",
            "{\"a\":1}{}",
            "\u{feff}1",
        ] {
            let mut scanner = Scanner::new(text);
            assert!(scanner.skip().and_then(|_| scanner.end()).is_err(), "{text}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(Scanner::new(&nested(1000)).skip().is_ok());
        assert!(Scanner::new(&nested(1001)).skip().is_err());
    }

    #[test]
    fn a_name_is_found_only_as_it_is_written() {
        let long = "a_name_of_more_than_a_block";
        for name in ["", "a", "é", "twelve_bytes", "thirteen_byte", "fourteen_bytes", "fifteen_bytes_", long]
        {
            let quoted = QuotedName::new(name);
            let takes = |text: &str| {
                let mut scanner = Scanner::new(text);
                scanner.take_name(&quoted).then(|| scanner.at())
            };
            let value = "\"a value behind it\"}";
            let end = name.len() + 3;
            assert_eq!(takes(&format!("\"{name}\":{value}")), Some(end), "{name}");
            for other in ["x\":", "\" :", ":", ""] {
                assert_eq!(takes(&format!("\"{name}{other}{value}")), None, "{name}{other}");
            }
            assert_eq!(takes(&format!("\"{name}")), None, "{name}");
        }
        // As JSON writes it, it ends before its name does.
        let quoted = QuotedName::new("a\":1,\"b");
        assert!(!Scanner::new("\"a\":1,\"b\":2, \"c\": 3}").take_name(&quoted));
    }

    #[test]
    fn special_bytes_are_found_wherever_they_stand() {
        for at in 0..40 {
            for special in [b'"', b'\\', 0, 0x1f] {
                let mut bytes = vec![b'a'; 40];
                bytes[at] = special;
                assert_eq!(plain_length(&bytes), at);
            }
            let mut bytes = "é".repeat(20).into_bytes();
            bytes.insert(at / 2 * 2, b'"');
            assert_eq!(plain_length(&bytes), at / 2 * 2);
        }
    }
}
