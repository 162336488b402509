//! When a pipeline runs by itself: a cron expression in a time zone. It has no clock; moments are
//! milliseconds since 1970.

use chrono::{DateTime, TimeZone, Utc};
use chrono_tz::Tz;
use croner::Cron;
use croner::errors::CronError;
use croner::parser::{CronParser, Seconds, Year};
use millstream_core::{Error, Result};

/// A cron expression in a time zone.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// It is due whenever one of them is.
    crons: Vec<Cron>,
    zone: Tz,
    /// As the file says it.
    text: String,
}

impl Schedule {
    /// Reads an expression like `0 6 * * 1-5` or `@daily`; without a zone it is meant in UTC.
    pub fn parse(text: &str, zone: Option<&str>) -> Result<Self> {
        let crons = crons(text).map_err(|why| Error::user(format!("`{text}` is no schedule: {why}")))?;
        let zone = zone.unwrap_or("UTC");
        let zone = zone.parse().map_err(|_| Error::user(format!("`{zone}` is no time zone")))?;
        Ok(Self { crons, zone, text: text.to_owned() })
    }

    /// The first moment behind `ms`; none where there will never be one.
    pub fn next_after_ms(&self, ms: i64) -> Option<i64> {
        let from = self.zone.from_utc_datetime(&DateTime::<Utc>::from_timestamp_millis(ms)?.naive_utc());
        let next = self.crons.iter().filter_map(|cron| cron.find_next_occurrence(&from, false).ok()).min()?;
        Some(next.timestamp_millis())
    }

    /// The last moment before `ms`, where its interval begins.
    pub fn last_before_ms(&self, ms: i64) -> Option<i64> {
        let from = self.zone.from_utc_datetime(&DateTime::<Utc>::from_timestamp_millis(ms)?.naive_utc());
        let last =
            self.crons.iter().filter_map(|cron| cron.find_previous_occurrence(&from, false).ok()).max()?;
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

/// One for each time of the day that hours and minutes name: a time that a clock skips or shows twice is one run only
/// where croner is given it alone. One for all where either of them is `*`, or steps through it.
fn crons(text: &str) -> Result<Vec<Cron>, CronError> {
    // Of a sixth field croner and Airflow think differently.
    let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
    let all = parser.parse(text)?;
    let (minutes, hours) = (&all.pattern.minutes, &all.pattern.hours);
    if minutes.from_wildcard || hours.from_wildcard {
        return Ok(vec![all]);
    }
    let days: Vec<&str> = all.as_str().split_whitespace().skip(2).collect();
    let days = days.join(" ");
    let mut crons = Vec::new();
    for hour in hours.values() {
        for minute in minutes.values() {
            crons.push(parser.parse(&format!("{minute} {hour} {days}"))?);
        }
    }
    Ok(crons)
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
    fn so_does_each_of_several_times_of_a_day() {
        let runs = |text: &str, from: &str| {
            let schedule = Schedule::parse(text, Some("Europe/Paris")).expect("a schedule");
            let mut at = ms(from);
            let mut found = Vec::new();
            for _ in 0..4 {
                at = schedule.next_after_ms(at).expect("there is a next");
                found.push(at);
            }
            for pair in found.windows(2) {
                assert_eq!(schedule.last_before_ms(pair[1]), Some(pair[0]), "{text}");
            }
            found
        };
        for text in ["30 2,14 * * *", "30 2-14/12 * * *", "30,30 2,14 * * MON-SUN"] {
            let spring = [
                "2026-03-28T13:30:00Z",
                "2026-03-29T01:00:00Z",
                "2026-03-29T12:30:00Z",
                "2026-03-30T00:30:00Z",
            ];
            assert_eq!(runs(text, "2026-03-28T12:00:00Z"), spring.map(ms), "{text}");
            let autumn = [
                "2026-10-24T12:30:00Z",
                "2026-10-25T00:30:00Z",
                "2026-10-25T13:30:00Z",
                "2026-10-26T01:30:00Z",
            ];
            assert_eq!(runs(text, "2026-10-24T12:00:00Z"), autumn.map(ms), "{text}");
        }
        // Two that are skipped together are one moment.
        let spring =
            ["2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z", "2026-03-30T00:30:00Z", "2026-03-31T00:00:00Z"];
        assert_eq!(runs("0,30 2 * * *", "2026-03-28T12:00:00Z"), spring.map(ms));
        // What goes through the hours has every one of the long day.
        let autumn =
            ["2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z", "2026-10-25T02:00:00Z", "2026-10-25T03:00:00Z"];
        assert_eq!(runs("0 * * * *", "2026-10-24T23:30:00Z"), autumn.map(ms));
    }

    #[test]
    fn there_are_five_fields_or_a_name() {
        for text in ["0 6 * * 1-5", "0 6 * * MON-FRI", "@hourly", "@daily", "@weekly", "@monthly", "@yearly"]
        {
            Schedule::parse(text, None).expect(text);
        }
        for text in ["0 0 6 * * *", "0 0 6 * * * 2026", "0 6 * *", ""] {
            let refused = Schedule::parse(text, None).expect_err(text);
            assert!(refused.message.contains("is no schedule"), "{refused}");
        }
    }

    #[test]
    fn what_never_comes_has_no_next() {
        let never = Schedule::parse("0 0 31 2 *", None).expect("a schedule");
        assert_eq!(never.next_after_ms(0), None);
    }
}
