//! Letters of a text: their codes, their case, padding, replacing by place, comparing by sound
//! and distance. Characters are code points. Source: Spark's `UTF8String`, `Mask`, `LuhnCheck`.

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;

use super::Call;
use super::rows::{Bytes, Flag, Int, Long, Text, rows1, rows3};
use super::text::part;
use crate::bind::Bind;
use crate::cast::digit;
use crate::error::SqlError;
use crate::operation::Bound;

/// More characters than a constant may ask for at once.
pub(super) const LENGTH_MAX: i32 = 100_000;

/// The code point of the first character; 0 where there is none.
pub(super) fn ascii(call: Call) -> Bind {
    call.one::<Text, Int>(|text| Some(text.chars().next().map_or(0, |c| u32::from(c) as i32)))
}

/// The character of the low eight bits; none below 0.
pub(super) fn chr(call: Call) -> Bind {
    call.one::<Long, Text>(|code| {
        Some(if code < 0 { String::new() } else { char::from((code & 0xff) as u8).to_string() })
    })
}

/// The first letter behind each blank in upper case, all others in lower case.
pub(super) fn initcap(call: Call) -> Bind {
    call.one::<Text, Text>(|text| {
        let mut out = String::with_capacity(text.len());
        let lower = text.to_lowercase();
        let mut lower = lower.chars();
        let mut first = true;
        for c in text.chars() {
            // The small letters are those of the whole text, for the sake of the sigma at the end of a word.
            let small: Vec<char> = lower.by_ref().take(c.to_lowercase().count()).collect();
            if first {
                push_title(c, &mut out)
            } else {
                out.extend(small)
            }
            first = c == ' ';
        }
        Some(out)
    })
}

/// A letter at the head of a word: of what becomes several letters only the first is large.
fn push_title(c: char, out: &mut String) {
    match c {
        '\u{1c4}'..='\u{1c6}' => out.push('\u{1c5}'),
        '\u{1c7}'..='\u{1c9}' => out.push('\u{1c8}'),
        '\u{1ca}'..='\u{1cc}' => out.push('\u{1cb}'),
        '\u{1f1}'..='\u{1f3}' => out.push('\u{1f2}'),
        '\u{10d0}'..='\u{10ff}' => out.push(c),
        // Greek letters with a iota below, which only large ones have beside them.
        '\u{1f80}'..='\u{1faf}' => out.push(char::from_u32(c as u32 | 8).unwrap_or(c)),
        '\u{1fb3}' | '\u{1fc3}' | '\u{1ff3}' => out.push(char::from_u32(c as u32 + 9).unwrap_or(c)),
        '\u{1fbc}' | '\u{1fcc}' | '\u{1ffc}' => out.push(c),
        '\u{1fb2}' | '\u{1fb4}' | '\u{1fb7}' | '\u{1fc2}' | '\u{1fc4}' | '\u{1fc7}' | '\u{1ff2}'
        | '\u{1ff4}' | '\u{1ff7}' => {
            out.extend(c.to_uppercase().map(|c| if c == '\u{399}' { '\u{345}' } else { c }))
        }
        _ => {
            let mut upper = c.to_uppercase();
            out.extend(upper.next());
            let is_ligature = matches!(c, 'ß' | '\u{fb00}'..='\u{fb17}' | '\u{587}');
            upper.for_each(|more| if is_ligature { out.extend(more.to_lowercase()) } else { out.push(more) });
        }
    }
}

pub(super) fn lpad(call: Call) -> Bind {
    pad(call, |text, padding| format!("{padding}{text}"), |bytes, padding| [padding, bytes].concat())
}

pub(super) fn rpad(call: Call) -> Bind {
    pad(call, |text, padding| format!("{text}{padding}"), |bytes, padding| [bytes, padding].concat())
}

fn pad(mut call: Call, join: fn(&str, &str) -> String, join_bytes: fn(&[u8], &[u8]) -> Vec<u8>) -> Bind {
    call.arity(2..=3)?;
    let length = call.constant_int(1, "the length")?;
    if length.is_some_and(|length| length > LENGTH_MAX) {
        return Err(too_long(&call, 1));
    }
    let binary = call.args[0].kind == DataType::Binary
        && call.args.get(2).is_none_or(|padding| padding.kind == DataType::Binary);
    if binary {
        if call.args.len() == 2 {
            call.args.push(Bound::literal(ScalarValue::Binary(Some(vec![0]))));
            call.spans.push(call.span.clone());
        }
        if length.is_some_and(|length| length < 0) {
            let message = format!("{} of bytes to a length below 0 stops Spark's query", call.name);
            return Err(SqlError::unsupported(message, call.spans[1].clone()).help("write 0"));
        }
        return call.three::<Bytes, Int, Bytes, Bytes>(move |bytes, length, padding| {
            let length = length as usize;
            let missing = length.saturating_sub(bytes.len());
            if missing == 0 || padding.is_empty() {
                return Some(bytes[..length.min(bytes.len())].to_vec());
            }
            Some(join_bytes(bytes, &padding.iter().copied().cycle().take(missing).collect::<Vec<_>>()))
        });
    }
    if call.args.len() == 2 {
        call.args.push(Bound::literal(ScalarValue::Utf8(Some(" ".into()))));
        call.spans.push(call.span.clone());
    }
    call.three::<Text, Int, Text, Text>(move |text, length, padding| {
        let missing = length.max(0) as usize;
        let missing = missing.saturating_sub(text.chars().count());
        if missing == 0 || padding.is_empty() {
            return Some(part(text, 1, length.max(0)).to_owned());
        }
        Some(join(text, &padding.chars().cycle().take(missing).collect::<String>()))
    })
}

/// Refuses a constant that would take the memory.
pub(super) fn too_long(call: &Call, at: usize) -> SqlError {
    let message = format!("{} makes at most {LENGTH_MAX} of it at once natively", call.name);
    SqlError::unsupported(message, call.spans[at].clone())
}

pub(super) fn space(mut call: Call) -> Bind {
    call.arity(1..=1)?;
    let count = call.constant_int(0, "the number of blanks")?;
    if count.is_some_and(|count| count > LENGTH_MAX) {
        return Err(too_long(&call, 0));
    }
    call.one::<Int, Text>(|count| Some(" ".repeat(count.max(0) as usize)))
}

/// Each character of the second text becomes the one at its place in the third, or vanishes.
pub(super) fn translate(call: Call) -> Bind {
    call.three::<Text, Text, Text, Text>(|text, from, to| {
        let letters: Vec<char> = from.chars().collect();
        let replacements: Vec<char> = to.chars().collect();
        let replaced = |c: char| match letters.iter().position(|letter| *letter == c) {
            None => Some(c),
            // NUL is how Spark marks what is deleted.
            Some(at) => replacements.get(at).copied().filter(|c| *c != '\0'),
        };
        Some(text.chars().filter_map(replaced).collect())
    })
}

/// Puts a text into another, from a place on, over as many characters as it has or as are given.
pub(super) fn overlay(mut call: Call) -> Bind {
    call.arity(3..=4)?;
    if call.args.len() == 3 {
        call.args.push(Bound::literal(ScalarValue::Int32(Some(-1))));
        call.spans.push(call.span.clone());
    }
    let binary = call.args[0].kind == DataType::Binary && call.args[1].kind == DataType::Binary;
    let kind = if binary { DataType::Binary } else { DataType::Utf8 };
    call.cast(0, &kind)?;
    call.cast(1, &kind)?;
    call.cast(2, &DataType::Int32)?;
    call.cast(3, &DataType::Int32)?;
    let kernel = crate::operation::on_arrays(move |args| {
        use super::rows::Cell;
        let rows = 0..args[0].len();
        let int = |at: usize, row| Int::get(&args[at], row);
        let known = |row: usize| args.iter().all(|arg| arg.is_valid(row));
        if binary {
            return Ok(Bytes::collect(rows.map(|row| {
                known(row).then(|| {
                    let (bytes, with) = (Bytes::get(&args[0], row), Bytes::get(&args[1], row));
                    let (at, length) = (int(2, row), int(3, row));
                    let length = if length >= 0 { length } else { with.len() as i32 };
                    [
                        super::text::byte_part(bytes, 1, at.wrapping_sub(1)),
                        with,
                        super::text::byte_part(bytes, at.wrapping_add(length), i32::MAX),
                    ]
                    .concat()
                })
            })));
        }
        Ok(Text::collect(rows.map(|row| {
            known(row).then(|| {
                let (text, with) = (Text::get(&args[0], row), Text::get(&args[1], row));
                let (at, length) = (int(2, row), int(3, row));
                let length = if length >= 0 { length } else { with.chars().count() as i32 };
                [part(text, 1, at.wrapping_sub(1)), with, part(text, at.wrapping_add(length), i32::MAX)]
                    .concat()
            })
        })))
    });
    call.apply(kind, kernel)
}

/// Letters, digits and others replaced by one character each; null leaves them.
pub(super) fn mask(mut call: Call) -> Bind {
    call.arity(1..=5)?;
    let mut with = [Some('X'), Some('x'), Some('n'), None];
    for (at, replacement) in with.iter_mut().enumerate().take(call.args.len() - 1) {
        let text = call.constant_text(at + 1, "the replacement")?;
        *replacement = match text.as_deref().map(|text| (text.chars().count(), text.chars().next())) {
            None => None,
            // Of two UTF-16 units Java takes the first, which alone is no character.
            Some((1, c)) => c.map(|c| if c.len_utf16() == 2 { '?' } else { c }),
            Some(_) => {
                let message = "mask replaces by a text of one character";
                return Err(SqlError::invalid(message, call.spans[at + 1].clone()));
            }
        };
    }
    call.args.truncate(1);
    call.cast(0, &DataType::Utf8)?;
    let [upper, lower, digit, other] = with;
    let kernel = rows1::<Text, Text>(move |text| {
        let mut out = String::with_capacity(text.len());
        for c in text.chars() {
            let with = match kind_of(c) {
                Letter::Upper => upper,
                Letter::Lower => lower,
                Letter::Digit => digit,
                Letter::Other => other,
            };
            out.push(with.unwrap_or(c));
            // Java sees two characters here.
            out.extend(with.filter(|_| c.len_utf16() == 2));
        }
        Some(out)
    });
    call.apply_as(format!("mask {with:?}"), DataType::Utf8, kernel)
}

enum Letter {
    Upper,
    Lower,
    Digit,
    Other,
}

/// Java's `Character.getType` of a UTF-16 unit, as far as `mask` tells kinds apart.
fn kind_of(c: char) -> Letter {
    match c {
        _ if c.len_utf16() == 2 => Letter::Other,
        'A'..='Z' => Letter::Upper,
        'a'..='z' => Letter::Lower,
        _ if digit(c).is_some() => Letter::Digit,
        // Newer Unicode knows no case of it.
        '\u{295}' => Letter::Lower,
        _ if is_other_in_java(c) => Letter::Other,
        _ if c.is_uppercase() => Letter::Upper,
        _ if c.is_lowercase() => Letter::Lower,
        _ => Letter::Other,
    }
}

/// Characters that have case without being letters of one in Java 17, up to the last that Unicode may give to the
/// alphabets it has: modifiers, numerals, circled letters, and what is newer than Unicode 13.
fn is_other_in_java(c: char) -> bool {
    const RANGES: [(u32, u32); 23] = [
        (0xaa, 0xaa),
        (0xba, 0xba),
        (0x2b0, 0x2ff),
        (0x345, 0x345),
        (0x37a, 0x37a),
        (0x10fc, 0x10fc),
        (0x1c89, 0x1c8f),
        (0x1d2c, 0x1d6a),
        (0x1d78, 0x1d78),
        (0x1d9b, 0x1dbf),
        (0x2071, 0x209c),
        (0x2160, 0x217f),
        (0x24b6, 0x24e9),
        (0x2c2f, 0x2c2f),
        (0x2c5f, 0x2c5f),
        (0x2c7c, 0x2c7d),
        (0xa69c, 0xa69d),
        (0xa770, 0xa770),
        (0xa7c0, 0xa7c1),
        (0xa7cb, 0xa7f4),
        (0xa7f8, 0xa7f9),
        (0xab5c, 0xab5f),
        (0xab69, 0xab6f),
    ];
    RANGES.iter().any(|(first, last)| (*first..=*last).contains(&u32::from(c)))
}

/// Whether the last digit is the check digit of those before it.
pub(super) fn luhn_check(call: Call) -> Bind {
    call.one::<Text, Flag>(|text| Some(has_check_digit(text)))
}

/// Digits of any script count.
fn has_check_digit(text: &str) -> bool {
    let digits = text.chars().map(|c| digit(c)?.to_digit(10).map(u64::from));
    let Some(digits) = digits.collect::<Option<Vec<_>>>() else { return false };
    let value = |(at, digit): (usize, &u64)| match at % 2 {
        0 => *digit,
        _ if *digit > 4 => digit * 2 - 9,
        _ => digit * 2,
    };
    let sum: u64 = digits.iter().rev().enumerate().map(value).sum();
    !digits.is_empty() && sum.is_multiple_of(10)
}

/// A letter and three digits for how a word sounds; a text that begins otherwise stays as it is.
pub(super) fn soundex(call: Call) -> Bind {
    // Unlike other functions of texts it makes no text of anything else.
    if call.args.first().is_some_and(|arg| !matches!(arg.kind, DataType::Utf8 | DataType::Null)) {
        return Err(call.refuse());
    }
    call.one::<Text, Text>(|text| Some(sound(text)))
}

fn sound(text: &str) -> String {
    /// The digits of A to Z; 7 stands for H and W, which do not part equal neighbours.
    const DIGITS: &[u8; 26] = b"01230127022455012623017202";
    let code = |byte: u8| DIGITS[usize::from(byte.to_ascii_uppercase() - b'A')];
    let bytes = text.as_bytes();
    let Some(first) = bytes.first().filter(|byte| byte.is_ascii_alphabetic()) else { return text.to_owned() };
    let mut out = vec![first.to_ascii_uppercase()];
    let mut last = code(*first);
    for byte in &bytes[1..] {
        if !byte.is_ascii_alphabetic() {
            last = b'0';
            continue;
        }
        let code = code(*byte);
        if code == b'7' {
            continue;
        }
        if code != b'0' && code != last {
            out.push(code);
            if out.len() > 3 {
                break;
            }
        }
        last = code;
    }
    out.resize(4, b'0');
    out.into_iter().map(char::from).collect()
}

/// How many characters have to be changed; with a third argument −1 where that is more.
pub(super) fn levenshtein(mut call: Call) -> Bind {
    call.arity(2..=3)?;
    if call.args.len() == 2 {
        return call.two::<Text, Text, Int>(|a, b| Some(distance(a, b)));
    }
    call.cast(0, &DataType::Utf8)?;
    call.cast(1, &DataType::Utf8)?;
    call.cast(2, &DataType::Int32)?;
    let kernel = rows3::<Text, Text, Int, Int>(|a, b, limit| {
        let distance = distance(a, b);
        Some(if distance <= limit { distance } else { -1 })
    });
    call.apply(DataType::Int32, kernel)
}

fn distance(a: &str, b: &str) -> i32 {
    let b: Vec<char> = b.chars().collect();
    let mut before: Vec<i32> = (0..=b.len() as i32).collect();
    for (row, x) in a.chars().enumerate() {
        let mut diagonal = before[0];
        before[0] = row as i32 + 1;
        for (at, y) in b.iter().enumerate() {
            let changed = diagonal + i32::from(x != *y);
            diagonal = before[at + 1];
            before[at + 1] = changed.min(diagonal + 1).min(before[at] + 1);
        }
    }
    before[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_sound_as_in_spark() {
        for (word, expected) in [
            ("Miller", "M460"),
            ("Robert", "R163"),
            ("Ashcraft", "A261"),
            ("Tymczak", "T522"),
            ("", ""),
            ("1a", "1a"),
        ] {
            assert_eq!(sound(word), expected, "{word}");
        }
    }

    #[test]
    fn letters_are_those_of_java_17() {
        let kind = |c: char| match kind_of(c) {
            Letter::Upper => 'X',
            Letter::Lower => 'x',
            Letter::Digit => 'n',
            Letter::Other => '-',
        };
        let kinds = |text: &str| text.chars().map(kind).collect::<String>();
        assert_eq!(kinds("Abc9ʕჼⰯⱼꝰꟀꟸꭩ😀"), "Xxxnx--------");
        assert_eq!(kinds("ꟅꟊⱾꟵꟶßǅªⅣⓐ٣ꟋᲉ"), "XxXXxx----n--");
        // A newer Unicode may bring letters that Java 17 does not have.
        let count = |of: char| ('\0'..='\u{ffff}').filter(|c| kind(*c) == of).count();
        assert_eq!((count('X'), count('x'), count('n')), (1122, 1438, 370));
    }

    #[test]
    fn check_digits_are_of_any_script() {
        for (text, expected) in [
            ("79927398713", true),
            ("79927398714", false),
            ("７９９２７３９８７１３", true),
            ("٧٩٩٢٧٣٩٨٧١٣", true),
            ("0", true),
            ("", false),
            ("7992 7398713", false),
        ] {
            assert_eq!(has_check_digit(text), expected, "{text}");
        }
    }

    #[test]
    fn distances() {
        for (a, b, expected) in [("kitten", "sitting", 3), ("", "abc", 3), ("é", "e", 1), ("same", "same", 0)]
        {
            assert_eq!(distance(a, b), expected, "{a} {b}");
        }
    }
}
