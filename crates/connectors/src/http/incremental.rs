//! Going on from where the last run ended: the greatest value of a field that was seen is what
//! the next run asks from. It is kept only once every record of its round is durable.

use std::cmp::Ordering;

use chrono::{DateTime, Duration, FixedOffset, NaiveDate, NaiveDateTime, SecondsFormat};
use millstream_core::settings::Period;
use millstream_core::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Parameter;
use super::records::Path;

/// Asks only for what is new: `{since}` in the address, a parameter, a header or the body stands
/// for the greatest value of `field` that was seen so far.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Incremental {
    /// Where in a record the value stands, as a JSONPath like `$.updated_at`: times, dates,
    /// numbers, or texts that are ordered by their bytes.
    pub field: String,
    /// What the first run asks from.
    pub initial: Parameter,
    /// How far behind the greatest value the next run begins, like `5m`, for records that the API
    /// shows late. Times and dates only.
    #[serde(default)]
    pub overlap: Option<Period>,
}

/// What a value is, so that two can be compared.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Form {
    Number(f64),
    Whole(i128),
    Moment(DateTime<FixedOffset>, Layout),
    Text,
}

/// How a moment is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// `2026-01-02T03:04:05.678+01:00`, with so many digits behind the second.
    Zoned(SecondsFormat, bool),
    /// `2026-01-02T03:04:05`, or with a space.
    Naive(char),
    /// `2026-01-02`
    Date,
}

/// A moment further ahead is of somebody's wrong clock: a cursor there would miss all that comes before it.
const AHEAD_MAX_MS: i64 = 3_600_000;
/// One without a zone may be of where clocks are furthest ahead, UTC+14.
const ZONE_MAX_MS: i64 = 14 * 3_600_000;

const NAIVE: [(char, &str); 2] = [('T', "%Y-%m-%dT%H:%M:%S%.f"), (' ', "%Y-%m-%d %H:%M:%S%.f")];

impl Form {
    fn of(text: &str) -> Self {
        if let Ok(number) = text.parse::<i128>() {
            return Self::Whole(number);
        }
        if let Ok(moment) = DateTime::parse_from_rfc3339(text) {
            let digits = text
                .split_once('.')
                .map_or(0, |(_, rest)| rest.bytes().take_while(u8::is_ascii_digit).count());
            let precision = match digits {
                0 => SecondsFormat::Secs,
                1..=3 => SecondsFormat::Millis,
                4..=6 => SecondsFormat::Micros,
                _ => SecondsFormat::Nanos,
            };
            return Self::Moment(moment, Layout::Zoned(precision, text.ends_with(['Z', 'z'])));
        }
        for (between, format) in NAIVE {
            if let Ok(moment) = NaiveDateTime::parse_from_str(text, format) {
                return Self::Moment(moment.and_utc().fixed_offset(), Layout::Naive(between));
            }
        }
        if let Ok(date) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
            let midnight = date.and_time(chrono::NaiveTime::MIN);
            return Self::Moment(midnight.and_utc().fixed_offset(), Layout::Date);
        }
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Self::Number(number),
            _ => Self::Text,
        }
    }
}

/// Which of two values is greater; `None` where they are not of one kind.
fn compare(a: &str, b: &str) -> Option<Ordering> {
    match (Form::of(a), Form::of(b)) {
        (Form::Whole(a), Form::Whole(b)) => Some(a.cmp(&b)),
        (Form::Number(a), Form::Number(b)) => a.partial_cmp(&b),
        (Form::Whole(a), Form::Number(b)) => (a as f64).partial_cmp(&b),
        (Form::Number(a), Form::Whole(b)) => a.partial_cmp(&(b as f64)),
        (Form::Moment(a, _), Form::Moment(b, _)) => Some(a.cmp(&b)),
        (Form::Text, Form::Text) => Some(a.cmp(b)),
        _ => None,
    }
}

/// Whether it is a moment that nobody's clock can have come to.
fn is_ahead(text: &str, now_ms: i64) -> bool {
    let Form::Moment(moment, layout) = Form::of(text) else { return false };
    let zone_ms = if matches!(layout, Layout::Zoned(..)) { 0 } else { ZONE_MAX_MS };
    moment.timestamp_millis() > now_ms + AHEAD_MAX_MS + zone_ms
}

/// `text` that much earlier, written in the same way; `None` where it is no moment.
fn earlier(text: &str, by: Period) -> Option<String> {
    let Form::Moment(moment, layout) = Form::of(text) else { return None };
    let moment = moment.checked_sub_signed(Duration::from_std(by.0).ok()?)?;
    Some(match layout {
        Layout::Zoned(precision, in_utc) => moment.to_rfc3339_opts(precision, in_utc),
        Layout::Naive(between) => moment.format(&format!("%Y-%m-%d{between}%H:%M:%S%.f")).to_string(),
        Layout::Date => moment.format("%Y-%m-%d").to_string(),
    })
}

/// The greatest value seen, and the one that is known to be kept.
#[derive(Debug, Clone)]
pub(super) struct Watermark {
    settings: Incremental,
    field: Path,
    greatest: Option<String>,
    kept: Option<String>,
}

impl Watermark {
    /// Reads and checks the settings.
    pub(super) fn new(settings: &Incremental) -> Result<Self> {
        let field = Path::parse(&settings.field, "field").map_err(|e| e.at("incremental"))?;
        let initial = settings.initial.to_string();
        if settings.overlap.is_some_and(|overlap| earlier(&initial, overlap).is_none()) {
            return Err(Error::user(format!("`overlap` goes with times and dates; `{initial}` is neither"))
                .help("take it away, or write initial: \"2024-01-01T00:00:00Z\"")
                .at("overlap")
                .at("incremental"));
        }
        Ok(Self { settings: settings.clone(), field, greatest: None, kept: None })
    }

    /// Goes on from what an earlier run kept.
    pub(super) fn resume(&mut self, kept: Option<String>) {
        self.greatest.clone_from(&kept);
        self.kept = kept;
    }

    /// What to ask from now.
    pub(super) fn since(&self) -> String {
        match (&self.greatest, self.settings.overlap) {
            (None, _) => self.settings.initial.to_string(),
            (Some(greatest), None) => greatest.clone(),
            // A field that became something else than a moment has been refused.
            (Some(greatest), Some(overlap)) => earlier(greatest, overlap).unwrap_or_else(|| greatest.clone()),
        }
    }

    /// Looks at a record that came at `now_ms`; one without the field changes nothing. An error says why one with it
    /// does not either.
    pub(super) fn see(&mut self, record: &str, now_ms: i64) -> Result<(), String> {
        let Ok(Some(found)) = self.field.first(record) else { return Ok(()) };
        let value = match serde_json::from_str::<serde_json::Value>(found) {
            Ok(serde_json::Value::String(text)) => text,
            Ok(serde_json::Value::Number(_)) => found.to_owned(),
            _ => return Ok(()),
        };
        let (than, path) = (self.greatest.clone(), &self.settings.field);
        let than = than.unwrap_or_else(|| self.settings.initial.to_string());
        match compare(&value, &than) {
            Some(Ordering::Greater) if is_ahead(&value, now_ms) => {
                return Err(format!("{path} is `{value}` in a record, which lies more than an hour ahead"));
            }
            Some(Ordering::Greater) => self.greatest = Some(value),
            Some(_) => {}
            None => {
                return Err(format!(
                    "{path} is `{value}` in a record and was `{than}` before: which comes later cannot be said"
                ));
            }
        }
        Ok(())
    }

    /// The value to keep, where it is not kept yet.
    pub(super) fn unkept(&self) -> Option<&str> {
        self.greatest.as_deref().filter(|greatest| self.kept.as_deref() != Some(greatest))
    }

    /// It is kept now.
    pub(super) fn kept(&mut self) {
        self.kept.clone_from(&self.greatest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-22T10:00:00Z
    const NOW_MS: i64 = 1_795_341_600_000;

    fn watermark(initial: &str, overlap: Option<&str>) -> Watermark {
        let overlap = overlap.map(|text| Period::parse(text).expect(text));
        let initial = Parameter::Text(initial.to_owned());
        Watermark::new(&Incremental { field: "$.at".into(), initial, overlap }).expect("settings")
    }

    #[test]
    fn the_greatest_value_is_asked_from() {
        let mut mark = watermark("2024-01-01T00:00:00Z", Some("5m"));
        assert_eq!(mark.since(), "2024-01-01T00:00:00Z");
        assert_eq!(mark.unkept(), None);
        for record in [
            r#"{"at": "2024-05-01T10:00:00.250Z"}"#,
            r#"{"at": "2024-05-01T11:00:00+02:00"}"#,
            r#"{"at": null}"#,
            "{}",
        ] {
            mark.see(record, NOW_MS).expect(record);
        }
        assert_eq!(mark.since(), "2024-05-01T09:55:00.250Z");
        assert_eq!(mark.unkept(), Some("2024-05-01T10:00:00.250Z"));
        mark.kept();
        assert_eq!(mark.unkept(), None);
        assert!(mark.see(r#"{"at": "yesterday"}"#, NOW_MS).expect_err("no moment").contains("yesterday"));
    }

    #[test]
    fn a_moment_far_ahead_does_not_move_the_cursor() {
        for (ahead, initial) in [
            ("9999-12-31T00:00:00Z", "2024-01-01T00:00:00Z"),
            ("2026-11-22T11:00:01Z", "2024-01-01T00:00:00Z"),
            ("9999-12-31", "2024-01-01"),
            ("2026-11-23 01:00:01", "2024-01-01"),
        ] {
            let mut mark = watermark(initial, None);
            let error = mark.see(&format!(r#"{{"at": "{ahead}"}}"#), NOW_MS).expect_err(ahead);
            assert!(error.contains(ahead), "{error}");
            assert_eq!((mark.since().as_str(), mark.unkept()), (initial, None));
        }
        // A clock may be a little fast, and without a zone it may be one in Kiribati.
        for near in ["2026-11-22T12:00:00+01:00", "2026-11-23T01:00:00", "2026-11-23"] {
            let mut mark = watermark("2024-01-01", None);
            mark.see(&format!(r#"{{"at": "{near}"}}"#), NOW_MS).expect(near);
            assert_eq!(mark.unkept(), Some(near));
        }
        // What is no moment has no clock.
        let mut mark = watermark("1", None);
        mark.see(r#"{"at": 99991231000000}"#, NOW_MS).expect("a number");
        assert_eq!(mark.unkept(), Some("99991231000000"));
    }

    #[test]
    fn values_are_ordered_as_what_they_are() {
        for (smaller, greater) in [
            ("9", "10"),
            ("9.5", "10"),
            ("2024-01-01", "2024-01-01T00:00:01"),
            ("2024-01-01 10:00:00", "2024-01-01T11:00:00.5"),
            ("2024-01-01T10:00:00+02:00", "2024-01-01T09:00:00Z"),
            ("01H", "01J"),
        ] {
            assert_eq!(compare(smaller, greater), Some(Ordering::Less), "{smaller} {greater}");
        }
        assert_eq!(compare("10", "b"), None);
    }

    #[test]
    fn overlap_keeps_the_way_a_moment_is_written() {
        let hour = Period::parse("1h").expect("a period");
        for (text, before) in [
            ("2024-01-01T00:30:00Z", Some("2023-12-31T23:30:00Z")),
            ("2024-01-01T00:30:00.123456+01:00", Some("2023-12-31T23:30:00.123456+01:00")),
            ("2024-01-01 00:30:00", Some("2023-12-31 23:30:00")),
            ("2024-01-01", Some("2023-12-31")),
            ("17", None),
            ("x", None),
        ] {
            assert_eq!(earlier(text, hour).as_deref(), before, "{text}");
        }
        let initial = Parameter::Text("17".into());
        let settings = Incremental { field: "$.at".into(), initial, overlap: Some(hour) };
        assert!(Watermark::new(&settings).is_err());
    }
}
