//! Reading a text by a pattern, exactly: no letter more, no day that is not in the calendar, a
//! weekday only where it is the date's.

use super::{DAYS, MICROS_PER_DAY, MONTHS, Part, PatternError};
use crate::cast::{days_from_civil, offset_at};

/// What has been read so far.
#[derive(Debug, Clone, Default)]
struct Fields {
    year: Option<i64>,
    month: Option<i64>,
    day: Option<i64>,
    day_of_year: Option<i64>,
    weekday: Option<i64>,
    hour: Option<i64>,
    /// 0 to 11, beside `afternoon`.
    half_hour: Option<i64>,
    afternoon: Option<bool>,
    minute: Option<i64>,
    second: Option<i64>,
    micros: Option<i64>,
    zone: Option<String>,
    /// A number is out of its field's range.
    is_beyond: bool,
}

/// Letters that are written but not read natively.
pub(super) fn check(parts: &[Part]) -> Result<(), PatternError> {
    let has = |letter| super::has_field(parts, letter);
    for letter in ['G', 'Q', 'q', 'O', 'z', 'Z', 'x'] {
        if has(letter) {
            return Err(PatternError::Unsupported(format!("reading with the letter `{letter}`")));
        }
    }
    if (has('h') || has('K')) != has('a') {
        return Err(PatternError::Unsupported("reading a half day's hour without `a`".into()));
    }
    if has('D') && (has('M') || has('L') || has('d')) {
        return Err(PatternError::Unsupported("reading a day of the year beside a month".into()));
    }
    if !has('y') {
        return Err(PatternError::Unsupported("reading without a year".into()));
    }
    Ok(())
}

/// Microseconds since 1970, by the zone in the text.
pub(super) fn moment(parts: &[Part], text: &str) -> Option<i64> {
    let fields = fields(parts, text)?;
    let local = fields.days()?.checked_mul(MICROS_PER_DAY)?.checked_add(fields.micros_of_day()?)?;
    let offset = match &fields.zone {
        None => 0,
        Some(zone) => offset_at(zone, local)?,
    };
    local.checked_sub(i64::from(offset) * 1_000_000)
}

/// Days since 1970 of the date as it is written: where a zone stands behind it, it is the day there.
pub(super) fn day(parts: &[Part], text: &str) -> Option<i64> {
    let fields = fields(parts, text)?;
    fields.micros_of_day()?;
    fields.days()
}

/// What a text says that is in the pattern from its first letter to its last.
fn fields(parts: &[Part], text: &str) -> Option<Fields> {
    let mut fields = Fields::default();
    let rest = read(parts, text, &mut fields)?;
    (rest.is_empty() && !fields.is_beyond).then_some(fields)
}

impl Fields {
    /// Days since 1970.
    fn days(&self) -> Option<i64> {
        let year = self.year.unwrap_or(1970);
        let days = match self.day_of_year {
            Some(day) => {
                let days = days_from_civil(year, 1, 1)? + day - 1;
                // Day 366 is there only in leap years.
                (days < days_from_civil(year + 1, 1, 1)?).then_some(days)?
            }
            None => days_from_civil(year, self.month.unwrap_or(1), self.day.unwrap_or(1))?,
        };
        if self.weekday.is_some_and(|weekday| weekday != (days + 3).rem_euclid(7)) {
            return None;
        }
        Some(days)
    }

    /// Microseconds since midnight.
    fn micros_of_day(&self) -> Option<i64> {
        let hour = match (self.hour, self.half_hour, self.afternoon) {
            // What is in no section that was there is 0, and before noon.
            (None, half, afternoon) => half.unwrap_or(0) + if afternoon == Some(true) { 12 } else { 0 },
            (Some(hour), half, afternoon) => {
                let agree = half.is_none_or(|half| half == hour % 12)
                    && afternoon.is_none_or(|afternoon| afternoon == (hour >= 12));
                agree.then_some(hour)?
            }
        };
        let seconds = (hour * 60 + self.minute.unwrap_or(0)) * 60 + self.second.unwrap_or(0);
        Some(seconds * 1_000_000 + self.micros.unwrap_or(0))
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

/// How many digits the numbers of fixed width directly behind a number need.
fn reserved(following: &[Part]) -> usize {
    following
        .iter()
        .map_while(|part| match part {
            Part::Field('M' | 'L', 2) => Some(2),
            Part::Field('d' | 'H' | 'h' | 'K' | 'k' | 'm' | 's', 2) => Some(2),
            Part::Field('D', 3) => Some(3),
            _ => None,
        })
        .sum()
}

/// `text` behind `prefix`, in any letter case.
fn without_prefix<'t>(text: &'t str, prefix: &str) -> Option<&'t str> {
    let start = text.get(..prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then(|| &text[prefix.len()..])
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
            set(&mut fields.year, year)?;
            Some(rest)
        }
        'M' | 'L' if count > 2 => {
            let (month, rest) = name(&MONTHS, count, text)?;
            set(&mut fields.month, month + 1)?;
            Some(rest)
        }
        'E' => {
            let (day, rest) = name(&DAYS, count, text)?;
            set(&mut fields.weekday, day)?;
            Some(rest)
        }
        'a' => {
            let (is_afternoon, rest) = match (without_prefix(text, "AM"), without_prefix(text, "PM")) {
                (Some(rest), _) => (false, rest),
                (_, Some(rest)) => (true, rest),
                _ => return None,
            };
            fields.afternoon = Some(is_afternoon);
            Some(rest)
        }
        'S' => {
            let digits = text.bytes().take_while(u8::is_ascii_digit).count().min(count);
            if digits == 0 {
                return None;
            }
            let nanos: i64 = format!("{:0<9}", &text[..digits]).parse().ok()?;
            set(&mut fields.micros, nanos / 1000)?;
            Some(&text[digits..])
        }
        'X' => offset(count, text, fields),
        'V' => zone(text, fields),
        _ => {
            let width = if count > 1 { count..=count } else { 1..=19 };
            let width = if letter == 'D' && count == 2 { 2..=3 } else { width };
            let (number, rest) = number(width, reserved, text)?;
            store(letter, number, fields)?;
            Some(rest)
        }
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
        'h' => (&mut fields.half_hour, number % 12, 1..=12),
        'K' => (&mut fields.half_hour, number, 0..=11),
        'm' => (&mut fields.minute, number, 0..=59),
        's' => (&mut fields.second, number, 0..=59),
        _ => return None,
    };
    set(field, value)?;
    fields.is_beyond |= !range.contains(&number);
    Some(())
}

/// A field that comes twice must be the same both times.
fn set(field: &mut Option<i64>, value: i64) -> Option<()> {
    match field {
        Some(before) if *before != value => None,
        _ => {
            *field = Some(value);
            Some(())
        }
    }
}

fn number(width: std::ops::RangeInclusive<usize>, reserved: usize, text: &str) -> Option<(i64, &str)> {
    let there = text.bytes().take_while(u8::is_ascii_digit).count();
    let fixed = width.start() == width.end();
    // Digits that what follows needs are left to it.
    let taken = if fixed {
        there.min(*width.end())
    } else {
        there.min(*width.end()).saturating_sub(if there > reserved { reserved } else { 0 })
    };
    if taken < *width.start() {
        return None;
    }
    Some((text[..taken].parse().ok()?, &text[taken..]))
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
    // Far beyond what a timestamp holds.
    (year <= 999_999).then_some((sign * year, rest))
}

/// One of the names, whole or by its first three letters, in any letter case.
fn name<'t>(names: &[&str], count: usize, text: &'t str) -> Option<(i64, &'t str)> {
    names.iter().enumerate().find_map(|(at, name)| {
        let name = if count < 4 { &name[..3] } else { name };
        Some((at as i64, without_prefix(text, name)?))
    })
}

/// `Z`, or what the number of letters says: `+02` with minutes or without, `+0230`, `+02:30`, and with four or five
/// of them the same with seconds or without.
fn offset<'t>(count: usize, text: &'t str, fields: &mut Fields) -> Option<&'t str> {
    if let Some(rest) = without_prefix(text, "Z") {
        fields.zone = Some("Z".into());
        return Some(rest);
    }
    let sign = text.chars().next().filter(|c| matches!(c, '+' | '-'))?;
    let (hours, mut rest) = number(2..=2, 0, &text[1..])?;
    // Two digits that are no minutes or seconds are left to what follows.
    let colon = if matches!(count, 3 | 5) { ":" } else { "" };
    let sixty = |text: &'t str| number(2..=2, 0, text.strip_prefix(colon)?).filter(|(found, _)| *found < 60);
    let (mut minutes, mut seconds) = (0, 0);
    match sixty(rest) {
        Some((found, after)) => (minutes, rest) = (found, after),
        None if count > 1 => return None,
        None => {}
    }
    if count > 3
        && let Some((found, after)) = sixty(rest)
    {
        (seconds, rest) = (found, after);
    }
    let zone = format!("{sign}{hours:02}:{minutes:02}:{seconds:02}");
    // No clock is more than 18 hours away.
    offset_at(&zone, 0)?;
    fields.zone = Some(zone);
    Some(rest)
}

/// A region or an offset.
fn zone<'t>(text: &'t str, fields: &mut Fields) -> Option<&'t str> {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && !"/_+-:".contains(c)).unwrap_or(text.len());
    offset_at(&text[..end], 0)?;
    fields.zone = Some(text[..end].to_owned());
    Some(&text[end..])
}
