//! Time zones by Java's names: how far ahead of UTC their clocks are.

use jiff::Timestamp;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};

use super::times::{MICROS_PER_DAY, days_from_civil, digits_of};

/// Seconds ahead of UTC that a zone is at a local time; `None` where there is no such zone. An hour that a clock
/// change skips or repeats is read with the offset before the change, as Java does.
pub(crate) fn offset_at(zone: &str, local_micros: i64) -> Option<i32> {
    let of_region = || {
        let local = Timestamp::from_microsecond(within_calendar(local_micros)).ok()?;
        let local = Offset::UTC.to_datetime(local);
        let offset = match region(zone)?.to_ambiguous_timestamp(local).offset() {
            AmbiguousOffset::Unambiguous { offset } => offset,
            AmbiguousOffset::Gap { before, .. } | AmbiguousOffset::Fold { before, .. } => before,
        };
        Some(offset.seconds())
    };
    fixed_offset(zone).or_else(of_region)
}

/// Seconds ahead of UTC that a zone is at a moment.
pub(crate) fn offset_of(zone: &str, micros: i64) -> Option<i32> {
    let of_region = || {
        let moment = Timestamp::from_microsecond(within_calendar(micros)).ok()?;
        Some(region(zone)?.to_offset(moment).seconds())
    };
    fixed_offset(zone).or_else(of_region)
}

/// A region like `Europe/Paris`, in the letters that Java knows it by.
fn region(zone: &str) -> Option<TimeZone> {
    /// Names that Java does not have.
    const OTHERS: [&str; 2] = ["Factory", "ROC"];
    let name = long_name(zone);
    let is_java = |found: &TimeZone| found.iana_name() == Some(name) && !OTHERS.contains(&name);
    TimeZone::get(name).ok().filter(is_java)
}

/// A moment at which every zone is where it is at this one, of a year that the calendar of `jiff` has: before 1800 no
/// zone had changed, and the rules of the last years repeat as the calendar does, every 400 years.
fn within_calendar(micros: i64) -> i64 {
    const CYCLE_MICROS: i64 = 146_097 * MICROS_PER_DAY;
    let new_year = |year| days_from_civil(year, 1, 1).expect("every year has a first day") * MICROS_PER_DAY;
    let (first, end) = (new_year(1700), new_year(9900));
    let beyond = micros.saturating_sub(end);
    if beyond < 0 { micros.max(first) } else { end - CYCLE_MICROS + beyond.rem_euclid(CYCLE_MICROS) }
}

/// Java's short names of zones (`ZoneId.SHORT_IDS`) that are regions of another name.
fn long_name(zone: &str) -> &str {
    match zone {
        "ACT" => "Australia/Darwin",
        "AET" => "Australia/Sydney",
        "AGT" => "America/Argentina/Buenos_Aires",
        "ART" => "Africa/Cairo",
        "AST" => "America/Anchorage",
        "BET" => "America/Sao_Paulo",
        "BST" => "Asia/Dhaka",
        "CAT" => "Africa/Harare",
        "CNT" => "America/St_Johns",
        "CST" => "America/Chicago",
        "CTT" => "Asia/Shanghai",
        "EAT" => "Africa/Addis_Ababa",
        "ECT" => "Europe/Paris",
        "IET" => "America/Indiana/Indianapolis",
        "IST" => "Asia/Kolkata",
        "JST" => "Asia/Tokyo",
        "MIT" => "Pacific/Apia",
        "NET" => "Asia/Yerevan",
        "NST" => "Pacific/Auckland",
        "PLT" => "Asia/Karachi",
        "PNT" => "America/Phoenix",
        "PRT" => "America/Puerto_Rico",
        "PST" => "America/Los_Angeles",
        "SST" => "Pacific/Guadalcanal",
        "VST" => "Asia/Ho_Chi_Minh",
        zone => zone,
    }
}

/// Seconds ahead of UTC of `Z`, `+2`, `-02:30`, `UTC+02:00`.
fn fixed_offset(zone: &str) -> Option<i32> {
    let rest = match zone {
        "Z" | "UTC" | "GMT" | "UT" => return Some(0),
        "EST" => return Some(-5 * 3600),
        "MST" => return Some(-7 * 3600),
        "HST" => return Some(-10 * 3600),
        _ => ["UTC", "GMT", "UT"].into_iter().find_map(|prefix| zone.strip_prefix(prefix)).unwrap_or(zone),
    };
    let (sign, digits) = match rest.as_bytes().first()? {
        b'-' => (-1, &rest[1..]),
        b'+' => (1, &rest[1..]),
        _ => return None,
    };
    if !digits.is_ascii() {
        return None;
    }
    let parts: Vec<&str> = if digits.contains(':') {
        digits.split(':').collect()
    } else {
        match digits.len() {
            1 | 2 => vec![digits],
            4 => vec![&digits[..2], &digits[2..]],
            6 => vec![&digits[..2], &digits[2..4], &digits[4..]],
            _ => return None,
        }
    };
    let mut numbers = [0, 0, 0];
    for (at, part) in parts.iter().enumerate() {
        let last_may_be_short = at == 1 && parts.len() == 2;
        let digits = if at == 0 || last_may_be_short { 1..=2 } else { 2..=2 };
        *numbers.get_mut(at)? = digits_of(part, digits)? as i32;
    }
    let [hours, minutes, seconds] = numbers;
    let offset = (hours * 60 + minutes) * 60 + seconds;
    (minutes < 60 && seconds < 60 && offset <= 18 * 3600).then_some(sign * offset)
}

#[cfg(test)]
mod tests {
    use super::super::parse_timestamp;
    use super::*;

    #[test]
    fn clocks_change_for_ever_by_the_last_rules() {
        let moment = |text: &str| parse_timestamp(text).expect("a moment");
        for (zone, text, hours) in [
            ("Europe/Paris", "2024-07-01 12:00:00", 2),
            ("Europe/Paris", "2150-07-01 12:00:00", 2),
            ("Europe/Paris", "2150-03-29 00:59:59", 1),
            ("Europe/Paris", "2150-03-29 01:00:00", 2),
            ("Europe/Paris", "2400-02-29 12:00:00", 1),
            ("Europe/Paris", "262500-07-15 12:00:00", 2),
            ("Australia/Sydney", "2101-01-15 12:00:00", 11),
            ("Australia/Sydney", "2101-07-15 12:00:00", 10),
            ("Asia/Gaza", "2120-07-15 12:00:00", 3),
            ("Asia/Tokyo", "262500-07-15 12:00:00", 9),
            ("PST", "2024-01-15 12:00:00", -8),
            ("EST", "2024-07-15 12:00:00", -5),
        ] {
            assert_eq!(offset_of(zone, moment(text)), Some(hours * 3600), "{zone} {text}");
        }
        assert_eq!(offset_of("Europe/Paris", i64::MIN), Some(561));
        assert!(offset_of("Europe/Paris", i64::MAX).is_some());
    }

    #[test]
    fn a_changed_hour_is_read_as_before_the_change() {
        let local = |text: &str| offset_at("Europe/Paris", parse_timestamp(text).expect("a time"));
        for (text, hours) in [
            ("2024-03-31 01:59:59", 1),
            ("2024-03-31 02:30:00", 1),
            ("2024-03-31 03:00:00", 2),
            ("2024-10-27 02:30:00", 2),
            ("2024-10-27 03:00:00", 1),
        ] {
            assert_eq!(local(text), Some(hours * 3600), "{text}");
        }
        assert_eq!(
            (offset_at("Europe/Paris", i64::MIN), offset_at("Asia/Tokyo", i64::MAX)),
            (Some(561), Some(32_400))
        );
    }

    #[test]
    fn only_javas_names_are_names() {
        for zone in
            ["europe/paris", "Factory", "ROC", "utc", "Europe/Nowhere", "", "+", "UTC+", "+18:01", "-5:300"]
        {
            assert_eq!(offset_of(zone, 0), None, "{zone}");
        }
    }
}
