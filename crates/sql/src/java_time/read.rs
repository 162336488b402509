//! Reading a text by a pattern, exactly: no letter more, no day that is not in the calendar.

use std::ops::RangeInclusive;

use arrow::error::ArrowError;

use super::{MONTHS, Part, PatternError};
use crate::cast::{days_from_civil, too_far};

const SECONDS_PER_DAY: i64 = 86_400;
/// No clock is farther from UTC.
const OFFSET_SECONDS_MAX: i64 = 18 * 3600;
/// Java's last year.
const YEAR_MAX: i64 = 999_999_999;

/// What has been read so far.
#[derive(Debug, Clone, Default)]
struct Fields {
    year: Option<i64>,
    month: Option<i64>,
    day: Option<i64>,
    day_of_year: Option<i64>,
    /// Of the day, or of its half beside `afternoon`.
    hour: Option<i64>,
    afternoon: Option<bool>,
    minute: Option<i64>,
    second: Option<i64>,
    nanos: Option<i64>,
    /// Seconds ahead of UTC.
    offset: Option<i64>,
    /// A number is out of its field's range.
    is_beyond: bool,
}

/// Refuses patterns by which Spark reads nothing, and those that are not read natively.
pub(super) fn check(parts: &[Part], pattern: &str) -> Result<(), PatternError> {
    let has = |letter: &char| super::has_field(parts, *letter);
    if let Some(letter) = ['E', 'F', 'Q', 'q'].into_iter().find(has) {
        return Err(PatternError::Invalid(format!("Spark reads no text with the letter `{letter}`")));
    }
    let unsupported = |what: String| Err(PatternError::Unsupported(what));
    if let Some(letter) = ['G', 'O', 'z', 'Z', 'x', 'V'].into_iter().find(has) {
        return unsupported(format!("reading with the letter `{letter}`"));
    }
    if (has(&'h') || has(&'K')) != has(&'a') {
        return unsupported("reading a half day's hour without `a`".into());
    }
    if ['H', 'k', 'h', 'K'].into_iter().filter(has).count() > 1 {
        return unsupported("reading two kinds of hours".into());
    }
    if has(&'D') && (has(&'M') || has(&'L') || has(&'d')) {
        return unsupported("reading a day of the year beside a month".into());
    }
    if !has(&'y') {
        return unsupported("reading without a year".into());
    }
    if pattern.contains('S') && is_split_otherwise(pattern) {
        return unsupported(
            "reading three quotes in a row, two at the end or a line's end beside `S`".into(),
        );
    }
    Ok(())
}

/// Whether quotes mean something else where Spark takes the pattern apart at each of them, as it does for an `S`.
fn is_split_otherwise(pattern: &str) -> bool {
    const LINE_ENDS: [char; 5] = ['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}'];
    pattern.contains("'''") || pattern.ends_with("''") || pattern.contains(LINE_ENDS)
}

/// Microseconds since 1970, by the offset in the text; an error where no timestamp holds them.
pub(super) fn moment(parts: &[Part], text: &str) -> Result<Option<i64>, ArrowError> {
    let Some((seconds, micros)) = fields(parts, text).and_then(|fields| fields.moment()) else {
        return Ok(None);
    };
    let micros = seconds.checked_mul(1_000_000).and_then(|whole| whole.checked_add(micros));
    micros.map(Some).ok_or_else(too_far)
}

/// Days since 1970 of the date as it is written: where an offset stands behind it, it is the day there.
pub(super) fn day(parts: &[Part], text: &str) -> Option<i64> {
    let fields = fields(parts, text)?;
    // Java looks at an offset only beside a time.
    if fields.hour.is_some() {
        fields.offset()?;
    }
    fields.days()
}

/// What a text says that is in the pattern from its first letter to its last.
fn fields(parts: &[Part], text: &str) -> Option<Fields> {
    let mut fields = Fields::default();
    let rest = read(parts, text, &mut fields)?;
    (rest.is_empty() && !fields.is_beyond).then_some(fields)
}

impl Fields {
    /// Seconds since 1970, and microseconds since then.
    fn moment(&self) -> Option<(i64, i64)> {
        let seconds = self.days()? * SECONDS_PER_DAY + self.seconds_of_day() - self.offset()?;
        Some((seconds, self.nanos.unwrap_or(0) / 1000))
    }

    /// Days since 1970.
    fn days(&self) -> Option<i64> {
        let year = self.year.unwrap_or(1970);
        let Some(day) = self.day_of_year else {
            return days_from_civil(year, self.month.unwrap_or(1), self.day.unwrap_or(1));
        };
        let days = days_from_civil(year, 1, 1)? + day - 1;
        // Day 366 is there only in leap years.
        (days < days_from_civil(year + 1, 1, 1)?).then_some(days)
    }

    /// Seconds since midnight. What is in no section that was there is 0, and before noon.
    fn seconds_of_day(&self) -> i64 {
        let hour = self.hour.unwrap_or(0) + if self.afternoon == Some(true) { 12 } else { 0 };
        (hour * 60 + self.minute.unwrap_or(0)) * 60 + self.second.unwrap_or(0)
    }

    /// Seconds ahead of UTC.
    fn offset(&self) -> Option<i64> {
        Some(self.offset.unwrap_or(0)).filter(|offset| offset.abs() <= OFFSET_SECONDS_MAX)
    }
}

/// Reads the parts and returns what is left of the text.
fn read<'t>(parts: &[Part], text: &'t str, fields: &mut Fields) -> Option<&'t str> {
    let mut rest = text;
    for (at, part) in parts.iter().enumerate() {
        rest = match part {
            Part::Text(wanted) => without_prefix(rest, wanted)?,
            Part::Optional(inner) => {
                let mut tried = fields.clone();
                match read(inner, rest, &mut tried) {
                    Some(after) => {
                        *fields = tried;
                        after
                    }
                    None => rest,
                }
            }
            Part::Field(letter, count) => {
                read_field(*letter, *count, reserved(&parts[at + 1..]), rest, fields)?
            }
        };
    }
    Some(rest)
}

/// How many digits a number leaves to the numbers of fixed width directly behind it: none, where one of any width
/// follows them.
fn reserved(following: &[Part]) -> usize {
    let mut digits = 0;
    for part in following {
        digits += match part {
            Part::Field('M' | 'L' | 'd' | 'H' | 'h' | 'K' | 'k' | 'm' | 's' | 'y', 2) => 2,
            Part::Field('D', 3) => 3,
            // Of several Java reads as many as there are.
            Part::Field('S', 1) => 1,
            Part::Field('M' | 'L' | 'd' | 'H' | 'h' | 'K' | 'k' | 'm' | 's', 1) => return 0,
            Part::Field('D' | 'y', _) => return 0,
            _ => break,
        };
    }
    digits
}

/// `text` behind `prefix`, in any letter case.
fn without_prefix<'t>(text: &'t str, prefix: &str) -> Option<&'t str> {
    let mut rest = text.chars();
    let found = prefix.chars().all(|wanted| rest.next().is_some_and(|c| is_same_letter(c, wanted)));
    found.then_some(rest.as_str())
}

/// Whether Java takes two characters for the same letter: it knows the case of those up to U+FFFF, each by itself.
fn is_same_letter(a: char, b: char) -> bool {
    a == b || (a.max(b) <= '\u{ffff}' && (upper(a) == upper(b) || lower(a) == lower(b)))
}

fn upper(c: char) -> char {
    let mut letters = c.to_uppercase();
    letters.next().filter(|_| letters.len() == 0).unwrap_or(c)
}

fn lower(c: char) -> char {
    let mut letters = c.to_lowercase();
    match c {
        'İ' => 'i',
        c => letters.next().filter(|_| letters.len() == 0).unwrap_or(c),
    }
}

fn read_field<'t>(
    letter: char,
    count: usize,
    reserved: usize,
    text: &'t str,
    fields: &mut Fields,
) -> Option<&'t str> {
    match letter {
        'y' => {
            let (year, rest) = year(count, reserved, text)?;
            fields.is_beyond |= year.abs() > YEAR_MAX;
            set(&mut fields.year, year)?;
            Some(rest)
        }
        'M' | 'L' if count > 2 => {
            let (month, rest) = month_name(count, text)?;
            set(&mut fields.month, month)?;
            Some(rest)
        }
        'a' => {
            let (is_afternoon, rest) = match (without_prefix(text, "AM"), without_prefix(text, "PM")) {
                (Some(rest), _) => (false, rest),
                (_, Some(rest)) => (true, rest),
                _ => return None,
            };
            set(&mut fields.afternoon, is_afternoon)?;
            Some(rest)
        }
        'S' => {
            let digits = digits_in_front(text).min(count);
            if digits == 0 {
                return None;
            }
            set(&mut fields.nanos, format!("{:0<9}", &text[..digits]).parse().ok()?)?;
            Some(&text[digits..])
        }
        'X' => offset(count, text, fields),
        _ => {
            let (number, rest) = part_of_date(letter, count, reserved, text)?;
            store(letter, number, fields)?;
            Some(rest)
        }
    }
}

/// A number that is no year. Only one of any width may have a minus, by which it is beyond its range.
fn part_of_date(letter: char, count: usize, reserved: usize, text: &str) -> Option<(i64, &str)> {
    let width = match (letter, count) {
        ('D', 2) => 2..=3,
        (_, 1) => 1..=19,
        _ => count..=count,
    };
    match text.strip_prefix('-').filter(|_| count == 1) {
        Some(digits) => {
            let (number, rest) = number(width, reserved, digits)?;
            (number != 0).then_some((-number, rest))
        }
        None => number(width, reserved, text),
    }
}

/// Keeps a number. One that is out of its field's range makes the whole text none of the pattern: Java looks at ranges
/// at the end, so that a section in brackets is not left out because of it.
fn store(letter: char, number: i64, fields: &mut Fields) -> Option<()> {
    let (field, value, range) = match letter {
        'M' | 'L' => (&mut fields.month, number, 1..=12),
        'd' => (&mut fields.day, number, 1..=31),
        'D' => (&mut fields.day_of_year, number, 1..=366),
        'H' => (&mut fields.hour, number, 0..=23),
        'k' => (&mut fields.hour, number % 24, 1..=24),
        'h' => (&mut fields.hour, number % 12, 1..=12),
        'K' => (&mut fields.hour, number, 0..=11),
        'm' => (&mut fields.minute, number, 0..=59),
        's' => (&mut fields.second, number, 0..=59),
        _ => return None,
    };
    set(field, value)?;
    fields.is_beyond |= !range.contains(&number);
    Some(())
}

/// A field that comes twice must be the same both times.
fn set<T: PartialEq>(field: &mut Option<T>, value: T) -> Option<()> {
    match field {
        Some(before) if *before != value => None,
        _ => {
            *field = Some(value);
            Some(())
        }
    }
}

fn digits_in_front(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

/// A number without a sign. Digits that what follows needs are left to it, but for the fewest that it may have itself.
fn number(width: RangeInclusive<usize>, reserved: usize, text: &str) -> Option<(i64, &str)> {
    let there = digits_in_front(text);
    if there < *width.start() {
        return None;
    }
    let taken = there.min(width.end() + reserved).saturating_sub(reserved).max(*width.start());
    // One that is too large is beyond every range.
    Some((text[..taken].parse().unwrap_or(i64::MAX), &text[taken..]))
}

fn year(count: usize, reserved: usize, text: &str) -> Option<(i64, &str)> {
    if count == 2 {
        let (year, rest) = number(2..=2, 0, text)?;
        return Some((2000 + year, rest));
    }
    let (sign, digits) = match text.as_bytes().first()? {
        b'-' => (-1, &text[1..]),
        b'+' if count > 3 => (1, &text[1..]),
        _ => (1, text),
    };
    let has_plus = text.starts_with('+');
    let (year, rest) = number(count..=19, reserved, digits)?;
    let length = digits.len() - rest.len();
    // More digits than the pattern has need a plus, and a plus needs more digits.
    if count > 3 && sign > 0 && (length > count) != has_plus {
        return None;
    }
    if sign < 0 && year == 0 {
        return None;
    }
    Some((sign * year, rest))
}

/// One of the months, whole or by its first three letters, in any letter case.
fn month_name(count: usize, text: &str) -> Option<(i64, &str)> {
    MONTHS.iter().zip(1..).find_map(|(name, month)| {
        let name = if count < 4 { &name[..3] } else { name };
        Some((month, without_prefix(text, name)?))
    })
}

/// `Z`, or what the number of letters says: `+02` with minutes or without, `+0230`, `+02:30`, and with four or five
/// of them the same with seconds or without.
fn offset<'t>(count: usize, text: &'t str, fields: &mut Fields) -> Option<&'t str> {
    if let Some(rest) = without_prefix(text, "Z") {
        set(&mut fields.offset, 0)?;
        return Some(rest);
    }
    let sign = match text.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    // Two digits that are no minutes or seconds are left to what follows.
    let sixty = |text: &'t str| number(2..=2, 0, text).filter(|(found, _)| *found < 60);
    let (hours, mut rest) = sixty(&text[1..])?;
    fields.is_beyond |= hours > 23;
    let colon = if matches!(count, 3 | 5) { ":" } else { "" };
    let further = |text: &'t str| sixty(text.strip_prefix(colon)?);
    let (mut minutes, mut seconds) = (0, 0);
    match further(rest) {
        Some((found, after)) => (minutes, rest) = (found, after),
        None if count > 1 => return None,
        None => {}
    }
    if count > 3
        && let Some((found, after)) = further(rest)
    {
        (seconds, rest) = (found, after);
    }
    set(&mut fields.offset, sign * ((hours * 60 + minutes) * 60 + seconds))?;
    Some(rest)
}
