//! One JSON value as a tree, read as Jackson reads with what Spark's functions allow beside the
//! grammar. Flows read their messages without a tree (`read`); this is for texts in columns.

use super::encode::write_char;
use super::read::number_as_text;

/// Jackson's limits (`StreamReadConstraints`).
const DEPTH_MAX: usize = 1_000;
const DIGITS_MAX: usize = 1_000;

/// What is allowed beside JSON's grammar.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lenience {
    /// Control characters in texts.
    controls: bool,
    /// `NaN`, `Infinity`, `-INF`.
    non_numbers: bool,
}

/// As `get_json_object`, `json_array_length` and `json_object_keys` read.
pub(crate) const OF_PATHS: Lenience = Lenience { controls: true, non_numbers: false };
/// As `from_json` reads when no option is given.
pub(crate) const OF_FROM_JSON: Lenience = Lenience { controls: false, non_numbers: true };

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Node {
    Null,
    Boolean(bool),
    /// As written, and whether without fraction and exponent.
    Number(String, bool),
    NonNumber(f64),
    Text(JavaText),
    Array(Vec<Self>),
    Object(Vec<(JavaText, Self)>),
}

/// A text as Java keeps it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct JavaText {
    /// With a question mark for each half of a surrogate pair, as Java writes it.
    pub(crate) shown: String,
    /// Where these question marks stand, and the halves.
    halves: Vec<(usize, u16)>,
}

/// The text is no JSON up to the end of its first value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Malformed;

type Parsed<T> = Result<T, Malformed>;

/// The first value of a text; `None` where there is none. What follows it does not count.
pub(crate) fn first_value(text: &str, lenience: Lenience) -> Parsed<Option<Node>> {
    let mut reader = Reader { bytes: text.as_bytes(), text, at: 0, depth: 0, lenience };
    if reader.peek().is_none() { Ok(None) } else { reader.value().map(Some) }
}

struct Reader<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    depth: usize,
    lenience: Lenience,
}

impl Reader<'_> {
    fn peek(&mut self) -> Option<u8> {
        while matches!(self.bytes.get(self.at), Some(b' ' | b'\n' | b'\t' | b'\r')) {
            self.at += 1;
        }
        self.bytes.get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn value(&mut self) -> Parsed<Node> {
        match self.peek().ok_or(Malformed)? {
            b'"' | b'\'' => Ok(Node::Text(self.text()?)),
            b'{' => self.deeper(Self::object),
            b'[' => self.deeper(Self::array),
            b't' => self.word("true", Node::Boolean(true)),
            b'f' => self.word("false", Node::Boolean(false)),
            b'n' => self.word("null", Node::Null),
            _ if self.lenience.non_numbers && self.is_non_number() => self.non_number(),
            b'-' | b'0'..=b'9' => self.number(),
            _ => Err(Malformed),
        }
    }

    fn deeper(&mut self, read: fn(&mut Self) -> Parsed<Node>) -> Parsed<Node> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(Malformed);
        }
        self.at += 1;
        let node = read(self)?;
        self.depth -= 1;
        Ok(node)
    }

    fn object(&mut self) -> Parsed<Node> {
        let mut members = Vec::new();
        if self.take(b'}') {
            return Ok(Node::Object(members));
        }
        loop {
            if !matches!(self.peek(), Some(b'"' | b'\'')) {
                return Err(Malformed);
            }
            let name = self.text()?;
            if !self.take(b':') {
                return Err(Malformed);
            }
            members.push((name, self.value()?));
            if self.take(b'}') {
                return Ok(Node::Object(members));
            }
            if !self.take(b',') {
                return Err(Malformed);
            }
        }
    }

    fn array(&mut self) -> Parsed<Node> {
        let mut items = Vec::new();
        if self.take(b']') {
            return Ok(Node::Array(items));
        }
        loop {
            items.push(self.value()?);
            if self.take(b']') {
                return Ok(Node::Array(items));
            }
            if !self.take(b',') {
                return Err(Malformed);
            }
        }
    }

    fn text(&mut self) -> Parsed<JavaText> {
        let quote = self.bytes[self.at];
        self.at += 1;
        let mut text = JavaText::default();
        loop {
            let start = self.at;
            let is_plain = |byte: &u8| *byte != quote && *byte != b'\\' && *byte >= 0x20;
            let length = self.bytes[start..].iter().take_while(|byte| is_plain(byte)).count();
            text.shown.push_str(&self.text[start..start + length]);
            self.at += length;
            match self.bytes.get(self.at).copied() {
                Some(byte) if byte == quote => {
                    self.at += 1;
                    return Ok(text);
                }
                Some(b'\\') => self.escape(&mut text)?,
                Some(control) if self.lenience.controls => {
                    text.shown.push(control.into());
                    self.at += 1;
                }
                _ => return Err(Malformed),
            }
        }
    }

    fn escape(&mut self, text: &mut JavaText) -> Parsed<()> {
        let c = match self.bytes.get(self.at + 1).ok_or(Malformed)? {
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode(text),
            same @ (b'"' | b'\\' | b'/' | b'\'') => char::from(*same),
            _ => return Err(Malformed),
        };
        self.at += 2;
        text.shown.push(c);
        Ok(())
    }

    /// `\u1234`, with the other half of its pair.
    fn unicode(&mut self, text: &mut JavaText) -> Parsed<()> {
        let unit = self.unit()?;
        if (0xd800..0xdc00).contains(&unit) && self.bytes[self.at..].starts_with(b"\\u") {
            let before = self.at;
            let low = self.unit()?;
            if let Some(Ok(c)) = char::decode_utf16([unit, low]).next() {
                text.shown.push(c);
                return Ok(());
            }
            self.at = before;
        }
        text.push_unit(unit);
        Ok(())
    }

    fn unit(&mut self) -> Parsed<u16> {
        let digits = self.text.get(self.at + 2..self.at + 6).ok_or(Malformed)?;
        if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(Malformed);
        }
        self.at += 6;
        u16::from_str_radix(digits, 16).map_err(|_| Malformed)
    }

    fn word(&mut self, word: &str, node: Node) -> Parsed<Node> {
        if !self.bytes[self.at..].starts_with(word.as_bytes()) {
            return Err(Malformed);
        }
        self.at += word.len();
        self.ends(node)
    }

    fn is_non_number(&self) -> bool {
        let rest = &self.bytes[self.at..];
        matches!(rest, [b'N' | b'I', ..] | [b'-' | b'+', b'I', ..])
    }

    fn non_number(&mut self) -> Parsed<Node> {
        const NAMES: [(&str, f64); 6] = [
            ("NaN", f64::NAN),
            ("Infinity", f64::INFINITY),
            ("+Infinity", f64::INFINITY),
            ("-Infinity", f64::NEG_INFINITY),
            ("+INF", f64::INFINITY),
            ("-INF", f64::NEG_INFINITY),
        ];
        let rest = &self.bytes[self.at..];
        let found = NAMES.iter().find(|(name, _)| rest.starts_with(name.as_bytes())).ok_or(Malformed)?;
        self.at += found.0.len();
        self.ends(Node::NonNumber(found.1))
    }

    fn number(&mut self) -> Parsed<Node> {
        let start = self.at;
        self.at += usize::from(self.bytes[start] == b'-');
        let first = self.at;
        let mut digits = self.digits()?;
        if digits > 1 && self.bytes[first] == b'0' {
            return Err(Malformed);
        }
        let mut whole = true;
        if self.bytes.get(self.at) == Some(&b'.') {
            whole = false;
            self.at += 1;
            digits += self.digits()?;
        }
        if matches!(self.bytes.get(self.at), Some(b'e' | b'E')) {
            whole = false;
            self.at += 1;
            self.at += usize::from(matches!(self.bytes.get(self.at), Some(b'+' | b'-')));
            digits += self.digits()?;
        }
        if digits > DIGITS_MAX {
            return Err(Malformed);
        }
        let text = match &self.text[start..self.at] {
            "-0" => "0",
            text => text,
        };
        // Behind a number that stands alone Jackson takes nothing but white space.
        if self.depth == 0 && matches!(self.bytes.get(self.at), Some(b',' | b']' | b'}')) {
            return Err(Malformed);
        }
        self.ends(Node::Number(text.to_owned(), whole))
    }

    fn digits(&mut self) -> Parsed<usize> {
        let count = self.bytes[self.at..].iter().take_while(|b| b.is_ascii_digit()).count();
        self.at += count;
        if count == 0 { Err(Malformed) } else { Ok(count) }
    }

    /// A number or a word is followed by white space, a comma, a bracket or the end.
    fn ends(&self, node: Node) -> Parsed<Node> {
        match self.bytes.get(self.at) {
            None | Some(b' ' | b'\n' | b'\t' | b'\r' | b',' | b']' | b'}') => Ok(node),
            Some(_) => Err(Malformed),
        }
    }
}

impl Node {
    /// Appends the value as Jackson writes what it has read; where `escapes`, what is beyond the
    /// first 65,536 characters as two escapes, as its generator for bytes does.
    pub(crate) fn write(&self, escapes: bool, out: &mut Vec<u8>) {
        match self {
            Self::Null => out.extend_from_slice(b"null"),
            Self::Boolean(value) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
            Self::Number(text, whole) => out.extend_from_slice(number_as_text(text, *whole).as_bytes()),
            Self::NonNumber(number) => {
                let mut text = String::new();
                crate::cast::java_double(*number, &mut text);
                out.extend_from_slice(format!("\"{text}\"").as_bytes());
            }
            Self::Text(text) => text.write(escapes, out),
            Self::Array(items) => {
                out.push(b'[');
                for (at, item) in items.iter().enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    item.write(escapes, out);
                }
                out.push(b']');
            }
            Self::Object(members) => {
                out.push(b'{');
                for (at, (name, value)) in members.iter().enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    name.write(escapes, out);
                    out.push(b':');
                    value.write(escapes, out);
                }
                out.push(b'}');
            }
        }
    }
}

impl JavaText {
    /// Whether it is this one; a question mark is no half.
    pub(crate) fn is(&self, text: &str) -> bool {
        self.halves.is_empty() && self.shown == text
    }

    /// As a text, where it is one.
    pub(crate) fn whole(&self) -> Option<&str> {
        self.halves.is_empty().then_some(&self.shown)
    }

    fn push_unit(&mut self, unit: u16) {
        let c = char::from_u32(unit.into()).unwrap_or_else(|| {
            self.halves.push((self.shown.len(), unit));
            '?'
        });
        self.shown.push(c);
    }

    /// As it is, a half as three bytes that are no UTF-8.
    pub(super) fn write_raw(&self, out: &mut Vec<u8>) {
        let mut from = 0;
        for (at, half) in &self.halves {
            out.extend_from_slice(&self.shown.as_bytes()[from..*at]);
            write_half(*half, out);
            from = at + 1;
        }
        out.extend_from_slice(&self.shown.as_bytes()[from..]);
    }

    /// In quotes, and halves as escapes where `escapes`, otherwise as [`JavaText::write_raw`] does.
    fn write(&self, escapes: bool, out: &mut Vec<u8>) {
        let mut halves = self.halves.iter().peekable();
        out.push(b'"');
        for (at, c) in self.shown.char_indices() {
            match halves.next_if(|(half_at, _)| *half_at == at) {
                Some((_, half)) if escapes => write_escape(*half, out),
                Some((_, half)) => write_half(*half, out),
                None if escapes && c.len_utf16() == 2 => {
                    c.encode_utf16(&mut [0; 2]).iter().for_each(|half| write_escape(*half, out));
                }
                None => write_char(c, out),
            }
        }
        out.push(b'"');
    }
}

fn write_escape(half: u16, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("\\u{half:04X}").as_bytes());
}

/// As UTF-8 would write it, if it had halves.
fn write_half(half: u16, out: &mut Vec<u8>) {
    let low_bits = |shift: u16| 0x80 | ((half >> shift) & 0x3f) as u8;
    out.extend_from_slice(&[0xed, low_bits(6), low_bits(0)]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_of_characters_are_kept() {
        let text = r#"{"\ud83d?":"x\ude00\ud83d\ud83d\ude00é\udfff"}"#;
        let Ok(Some(node @ Node::Object(_))) = first_value(text, OF_PATHS) else { panic!("{text}") };
        let Node::Object(members) = &node else { unreachable!("it is an object") };
        let (name, value) = &members[0];
        assert_eq!((name.shown.as_str(), name.whole(), name.is("??")), ("??", None, false));
        assert!(matches!(value, Node::Text(value) if value.shown == "x??😀é?"));
        let mut out = Vec::new();
        node.write(true, &mut out);
        assert_eq!(
            String::from_utf8(out).expect("UTF-8"),
            r#"{"\uD83D?":"x\uDE00\uD83D\uD83D\uDE00é\uDFFF"}"#
        );
        let mut out = Vec::new();
        node.write(false, &mut out);
        assert!(out.windows(3).any(|bytes| bytes == [0xed, 0xb8, 0x80]), "{out:x?}");
    }

    #[test]
    fn behind_a_number_that_stands_alone_is_only_white_space() {
        let number = Ok(Some(Node::Number("1".into(), true)));
        for text in ["1", " 1 ", "1\n2", "1 ,2"] {
            assert_eq!(first_value(text, OF_PATHS), number, "{text}");
        }
        for text in ["1,2", "1]", "1}", "1x", "-1.5,"] {
            assert_eq!(first_value(text, OF_PATHS), Err(Malformed), "{text}");
        }
        assert_eq!(first_value("true,2", OF_PATHS), Ok(Some(Node::Boolean(true))));
        assert!(first_value("[1,2],3", OF_PATHS).is_ok());
    }
}
