//! Bytes as texts and back: base64, character sets, addresses. What a byte would stop Spark's query
//! with is answered for constants only. Source: Spark's `stringExpressions`, `urlExpressions`.

use arrow::datatypes::DataType;

use super::Call;
use super::bits::unhexed;
use super::rows::{Bytes, Flag, Text};
use crate::bind::{self, Bind, coerce};
use crate::cast::digit;
use crate::error::SqlError;
use crate::json::{base64 as from_base64, java_text, to_base64};
use crate::operation::Bound;

pub(super) fn base64(call: Call) -> Bind {
    if !matches!(
        call.args.first().map(|arg| &arg.kind),
        Some(DataType::Utf8 | DataType::Binary | DataType::Null)
    ) {
        return Err(call.refuse());
    }
    call.one::<Bytes, Text>(|bytes| Some(base64_lines(bytes)))
}

/// In lines of 76 letters.
fn base64_lines(bytes: &[u8]) -> String {
    const LINE_BYTES: usize = 57;
    bytes.chunks(LINE_BYTES).map(to_base64).collect::<Vec<_>>().join("\r\n")
}

/// White space and other letters between the digits do not count.
pub(super) fn unbase64(call: Call) -> Bind {
    call.arity(1..=1)?;
    call.only_constants("a text that is no base64", "write try_to_binary(…, 'base64')")?;
    let span = call.span.clone();
    let null = call.args[0].is_null_constant();
    let bytes = call.one::<Text, Bytes>(|text| {
        let digits: String =
            text.chars().filter(|c| c.is_ascii_alphanumeric() || "+/=".contains(*c)).collect();
        valid_base64(&digits).then(|| from_base64(&padded(&digits))).flatten()
    })?;
    if bytes.is_null_constant() && !null {
        return Err(SqlError::invalid("this is no base64", span));
    }
    Ok(bytes)
}

/// With `=` up to a whole group.
fn padded(digits: &str) -> String {
    format!("{digits}{}", "=".repeat((4 - digits.len() % 4) % 4))
}

/// Groups of four digits, the last of two to four, filled up with `=` or not.
fn valid_base64(text: &str) -> bool {
    let (mut digits, mut padding) = (0, 0);
    for c in text.chars() {
        match c {
            '0'..='9' | 'A'..='Z' | 'a'..='z' | '+' | '/' if padding == 0 => digits += 1,
            '=' if padding < 2 => padding += 1,
            c if is_java_space(c) && padding == 0 => {}
            _ => return false,
        }
    }
    if padding > 0 { (digits + padding) % 4 == 0 } else { digits % 4 != 1 }
}

/// Java's `Character.isWhitespace`.
fn is_java_space(c: char) -> bool {
    match c {
        '\t'..='\r' | '\u{1c}'..='\u{1f}' => true,
        // Those that keep words together are none.
        '\u{85}' | '\u{a0}' | '\u{2007}' | '\u{202f}' => false,
        c => c.is_whitespace(),
    }
}

/// Reads a text as bytes; none where it is none in that format.
type Reader = fn(&str) -> Option<Vec<u8>>;

/// How `to_binary` reads a text.
fn binary_format(call: &Call) -> Bind<Option<Reader>> {
    let format = match call.args.len() {
        1 => Some("hex".to_owned()),
        _ => call.constant_text(1, "the format")?,
    };
    Ok(match format.unwrap_or_default().to_lowercase().as_str() {
        "hex" => Some(unhexed),
        "utf-8" | "utf8" => Some(|text| Some(text.as_bytes().to_vec())),
        "base64" => Some(|text| {
            let digits: String = text.chars().filter(|c| !is_java_space(*c)).collect();
            valid_base64(text).then(|| from_base64(&padded(&digits))).flatten()
        }),
        _ => None,
    })
}

pub(super) fn to_binary(mut call: Call) -> Bind {
    call.arity(1..=2)?;
    let Some(read) = binary_format(&call)? else { return Err(call.refuse()) };
    let is_utf8 = read("é").is_some();
    if !is_utf8 {
        call.only_constants("a text in another form", "write try_to_binary")?;
    }
    let null = call.args[0].is_null_constant();
    let span = call.span.clone();
    call.args.truncate(1);
    let bytes = call.one::<Text, Bytes>(read)?;
    if bytes.is_null_constant() && !null {
        return Err(SqlError::invalid("this text is in another form", span));
    }
    Ok(bytes)
}

/// As `to_binary`; null where the text is in another form.
pub(super) fn try_to_binary(mut call: Call) -> Bind {
    call.arity(1..=2)?;
    let Some(read) = binary_format(&call)? else { return Ok(Bound::null(&DataType::Binary)) };
    let name = format!("try_to_binary {:?}", call.args.get(1).and_then(Bound::constant_text));
    call.args.truncate(1);
    call.cast(0, &DataType::Utf8)?;
    call.apply_as(name, DataType::Binary, super::rows::rows1::<Text, Bytes>(read))
}

#[derive(Clone, Copy, PartialEq)]
enum Charset {
    Ascii,
    Latin1,
    Utf8,
    Utf16(bool),
    Utf16Marked,
}

impl Call {
    fn charset(&self, at: usize) -> Bind<Option<Charset>> {
        let Some(name) = self.constant_text(at, "the character set")? else { return Ok(None) };
        Ok(Some(match name.to_uppercase().as_str() {
            "US-ASCII" => Charset::Ascii,
            "ISO-8859-1" => Charset::Latin1,
            "UTF-8" => Charset::Utf8,
            "UTF-16BE" => Charset::Utf16(true),
            "UTF-16LE" => Charset::Utf16(false),
            "UTF-16" => Charset::Utf16Marked,
            _ => {
                let error = SqlError::unsupported(
                    format!("the character set {name} is not answered"),
                    self.spans[at].clone(),
                );
                return Err(error.help("UTF-8, UTF-16, UTF-16BE, UTF-16LE, ISO-8859-1 and US-ASCII are"));
            }
        }))
    }
}

fn encoded(text: &str, charset: Charset) -> Option<Vec<u8>> {
    let units = |big: bool| {
        let bytes = move |unit: u16| if big { unit.to_be_bytes() } else { unit.to_le_bytes() };
        text.encode_utf16().flat_map(bytes).collect::<Vec<u8>>()
    };
    match charset {
        Charset::Utf8 => Some(text.as_bytes().to_vec()),
        Charset::Ascii => text.is_ascii().then(|| text.as_bytes().to_vec()),
        Charset::Latin1 => text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect(),
        Charset::Utf16(big) => Some(units(big)),
        Charset::Utf16Marked if text.is_empty() => Some(Vec::new()),
        Charset::Utf16Marked => Some([vec![0xfe, 0xff], units(true)].concat()),
    }
}

fn decoded(bytes: &[u8], charset: Charset) -> Option<String> {
    let units = |bytes: &[u8], big: bool| {
        let (pairs, rest) = bytes.as_chunks::<2>();
        let unit = |pair: &[u8; 2]| if big { u16::from_be_bytes(*pair) } else { u16::from_le_bytes(*pair) };
        if rest.is_empty() {
            String::from_utf16(&pairs.iter().map(unit).collect::<Vec<_>>()).ok()
        } else {
            None
        }
    };
    match charset {
        Charset::Utf8 => String::from_utf8(bytes.to_vec()).ok(),
        Charset::Ascii => bytes.is_ascii().then(|| bytes.iter().copied().map(char::from).collect()),
        Charset::Latin1 => Some(bytes.iter().copied().map(char::from).collect()),
        Charset::Utf16(big) => units(bytes, big),
        Charset::Utf16Marked => match bytes {
            [0xfe, 0xff, rest @ ..] => units(rest, true),
            [0xff, 0xfe, rest @ ..] => units(rest, false),
            rest => units(rest, true),
        },
    }
}

pub(super) fn encode(mut call: Call) -> Bind {
    call.arity(2..=2)?;
    let Some(charset) = call.charset(1)? else { return Ok(Bound::null(&DataType::Binary)) };
    if matches!(charset, Charset::Ascii | Charset::Latin1) {
        call.only_constants("a letter that the set does not have", "write 'UTF-8'")?;
    }
    let name = format!("encode {:?}", call.args[1].constant_text());
    let null = call.args[0].is_null_constant();
    let span = call.span.clone();
    call.args.truncate(1);
    call.cast(0, &DataType::Utf8)?;
    let kernel = super::rows::rows1::<Text, Bytes>(move |text| encoded(text, charset));
    let bytes = call.apply_as(name, DataType::Binary, kernel)?;
    if bytes.is_null_constant() && !null {
        return Err(SqlError::invalid("a letter that the character set does not have", span));
    }
    Ok(bytes)
}

/// Bytes as text, or, with more arguments, a choice: `decode(x, 1, 'one', 2, 'two', 'other')`.
pub(super) fn decode(mut call: Call) -> Bind {
    if call.args.len() > 2 {
        return choice(call);
    }
    call.arity(2..=2)?;
    let Some(charset) = call.charset(1)? else { return Ok(Bound::null(&DataType::Utf8)) };
    if charset != Charset::Latin1 {
        call.only_constants("a byte that is no letter", "run the flow on Spark (`runner: spark`)")?;
    }
    let null = call.args[0].is_null_constant();
    let (name, span) = (format!("decode {:?}", call.args[1].constant_text()), call.span.clone());
    call.args.truncate(1);
    call.cast(0, &DataType::Binary)?;
    let kernel = super::rows::rows1::<Bytes, Text>(move |bytes| decoded(bytes, charset));
    let text = call.apply_as(name, DataType::Utf8, kernel)?;
    if text.is_null_constant() && !null {
        return Err(SqlError::invalid("bytes that are no letters of the character set", span));
    }
    Ok(text)
}

fn choice(mut call: Call) -> Bind {
    let span = call.span.clone();
    let value = call.args.remove(0);
    bind::check_copies(&value, call.args.len() / 2, &span)?;
    let mut conditions = Vec::new();
    let mut results = Vec::new();
    let mut rest = call.args.into_iter().peekable();
    while let Some(next) = rest.next() {
        match rest.next() {
            Some(result) => {
                conditions.push(bind::equal_null_safe(value.clone(), next, span.clone())?);
                results.push(result);
            }
            // The last, without a partner, is for all others.
            None => results.push(next),
        }
    }
    let (kind, results) = coerce::all_alike(results, span)?;
    Ok(bind::case(conditions, results, &kind))
}

/// As a form is sent: a blank is `+`.
pub(super) fn url_encode(call: Call) -> Bind {
    call.one::<Text, Text>(|text| {
        let mut out = String::with_capacity(text.len());
        for byte in text.bytes() {
            match byte {
                b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'.' | b'-' | b'*' | b'_' => out.push(byte.into()),
                b' ' => out.push('+'),
                _ => out.push_str(&format!("%{byte:02X}")),
            }
        }
        Some(out)
    })
}

fn url_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            '+' => bytes.push(b' '),
            '%' => bytes.push(escaped_byte(rest.next()?, rest.next()?)?),
            c => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    Some(java_text(&bytes))
}

/// The two characters behind a `%`, as Java's `Integer.parseInt` reads them: the first may be a sign.
fn escaped_byte(first: char, second: char) -> Option<u8> {
    let low = java_hex_digit(second)?;
    match first {
        '+' => Some(low),
        '-' => (low == 0).then_some(0),
        first => Some((java_hex_digit(first)? << 4) | low),
    }
}

/// Java's `Character.digit` in base 16: of any script, the letters also in full width.
fn java_hex_digit(c: char) -> Option<u8> {
    let c = match c {
        '\u{ff21}'..='\u{ff26}' | '\u{ff41}'..='\u{ff46}' => char::from_u32(u32::from(c) - 0xfee0)?,
        c => digit(c).unwrap_or(c),
    };
    c.to_digit(16).map(|digit| digit as u8)
}

pub(super) fn url_decode(call: Call) -> Bind {
    call.arity(1..=1)?;
    call.only_constants("a text that is not encoded", "write try_url_decode")?;
    let null = call.args[0].is_null_constant();
    let span = call.span.clone();
    let text = call.one::<Text, Text>(url_decoded)?;
    if text.is_null_constant() && !null {
        return Err(SqlError::invalid("this text is not encoded", span));
    }
    Ok(text)
}

pub(super) fn try_url_decode(call: Call) -> Bind {
    call.one::<Text, Text>(url_decoded)
}

pub(super) fn is_valid_utf8(call: Call) -> Bind {
    // A text of ours always is.
    match call.args.first().map(|arg| &arg.kind) {
        Some(DataType::Utf8) => call.one::<Text, Flag>(|_| Some(true)),
        _ => Err(call.refuse()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_utf8_in_an_address_is_read_as_java_does() {
        for (text, expected) in [
            ("a+%C3%A9", Some("a é")),
            ("%C3x", Some("\u{fffd}x")),
            ("%ED%A0%80", Some("\u{fffd}")),
            ("%FF%FE", Some("\u{fffd}\u{fffd}")),
            ("%C", None),
            ("a%+1b", Some("a\u{1}b")),
            ("%-0", Some("\0")),
            ("%-1", None),
            ("%1+", None),
            ("%\u{ff14}\u{ff41}", Some("J")),
            ("%\u{664}1", Some("A")),
            ("%4😀", None),
        ] {
            assert_eq!(url_decoded(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn base64_is_written_in_lines_and_read_with_javas_white_space() {
        for (bytes, lengths) in [(0, vec![0]), (57, vec![76]), (58, vec![76, 4]), (114, vec![76, 76])] {
            let text = base64_lines(&vec![7_u8; bytes]);
            assert_eq!(text.split("\r\n").map(str::len).collect::<Vec<_>>(), lengths, "{bytes}");
        }
        for (text, expected) in [
            ("YW Jj\r\n", true),
            ("YW\u{1c}Jj", true),
            ("YW\u{3000}Jj", true),
            ("YWJj\u{a0}", false),
            ("YW\u{2007}Jj", false),
            ("YWJj\u{85}", false),
            ("AA== ", false),
            ("AAAA=", false),
        ] {
            assert_eq!(valid_base64(text), expected, "{text:?}");
        }
    }
}
