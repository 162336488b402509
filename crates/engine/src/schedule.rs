//! When a pipeline runs by itself: a cron expression in a time zone. It has no clock; moments are
//! milliseconds since 1970.

use chrono::{DateTime, TimeZone, Utc};
use chrono_tz::Tz;
use croner::Cron;
use millstream_core::{Error, Result};

/// A cron expression in a time zone.
#[derive(Debug, Clone)]
pub struct Schedule {
    cron: Cron,
    zone: Tz,
    /// As the file says it.
    text: String,
}

impl Schedule {
    /// Reads an expression like `0 6 * * 1-5` or `@daily`; without a zone it is meant in UTC.
    pub fn parse(text: &str, zone: Option<&str>) -> Result<Self> {
        let cron = text.parse().map_err(|why| Error::user(format!("`{text}` is no schedule: {why}")))?;
        let zone = zone.unwrap_or("UTC");
        let zone = zone.parse().map_err(|_| Error::user(format!("`{zone}` is no time zone")))?;
        Ok(Self { cron, zone, text: text.to_owned() })
    }

    /// The first moment behind `ms`; none where there will never be one.
    pub fn next_after_ms(&self, ms: i64) -> Option<i64> {
        let from = self.zone.from_utc_datetime(&DateTime::<Utc>::from_timestamp_millis(ms)?.naive_utc());
        let next = self.cron.find_next_occurrence(&from, false).ok()?;
        Some(next.timestamp_millis())
    }

    /// The last moment before `ms`, where its interval begins.
    pub fn last_before_ms(&self, ms: i64) -> Option<i64> {
        let from = self.zone.from_utc_datetime(&DateTime::<Utc>::from_timestamp_millis(ms)?.naive_utc());
        let last = self.cron.find_previous_occurrence(&from, false).ok()?;
        Some(last.timestamp_millis())
    }

    /// For people, like `@daily, Europe/Paris`.
    pub fn described(&self) -> String {
        match self.zone {
            Tz::UTC => format!("{}, UTC", self.text),
            zone => format!("{}, {zone}", self.text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(text: &str) -> i64 {
        DateTime::parse_from_rfc3339(text).expect("a moment").timestamp_millis()
    }

    #[test]
    fn a_time_that_a_clock_skips_or_shows_twice_gives_one_run() {
        let daily = Schedule::parse("30 2 * * *", Some("Europe/Paris")).expect("a schedule");
        let mut at = ms("2026-03-27T12:00:00Z");
        let mut spring = Vec::new();
        for _ in 0..3 {
            at = daily.next_after_ms(at).expect("there is a next");
            spring.push(at);
        }
        // On the 29th the clock goes from 2:00 to 3:00.
        assert_eq!(
            spring,
            [ms("2026-03-28T01:30:00Z"), ms("2026-03-29T01:00:00Z"), ms("2026-03-30T00:30:00Z")]
        );
        at = ms("2026-10-24T12:00:00Z");
        let autumn = daily.next_after_ms(at).expect("there is a next");
        let next = daily.next_after_ms(autumn).expect("there is a next");
        // On the 25th it is 2:30 twice.
        assert_eq!((autumn, next), (ms("2026-10-25T00:30:00Z"), ms("2026-10-26T01:30:00Z")));
        assert_eq!(daily.last_before_ms(next), Some(autumn));
    }

    #[test]
    fn what_never_comes_has_no_next() {
        let never = Schedule::parse("0 0 31 2 *", None).expect("a schedule");
        assert_eq!(never.next_after_ms(0), None);
    }
}
