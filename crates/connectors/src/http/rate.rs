//! `rate: 5/s`: the least time between the beginnings of two requests.

use std::borrow::Cow;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tokio::time::Instant;

/// Requests in a second, a minute or an hour: `5/s`, `100/m`, `1000/h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    requests: u32,
    unit: char,
}

impl Rate {
    /// Reads `5/s`.
    pub fn parse(text: &str) -> Option<Self> {
        let (requests, unit) = text.split_once('/')?;
        let requests = requests.trim().parse().ok().filter(|requests| *requests > 0)?;
        let unit = unit.trim().chars().next().filter(|unit| "smh".contains(*unit))?;
        (text.len() == text.find(unit)? + 1).then_some(Self { requests, unit })
    }

    /// The time between the beginnings of two requests.
    fn interval(self) -> Duration {
        let seconds = match self.unit {
            's' => 1,
            'm' => 60,
            _ => 3600,
        };
        Duration::from_secs(seconds) / self.requests
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        Self::parse(&text)
            .ok_or_else(|| D::Error::custom(format!("`{text}` is no rate; write 5/s, 100/m or 1000/h")))
    }
}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&format_args!("{}/{}", self.requests, self.unit))
    }
}

impl JsonSchema for Rate {
    fn schema_name() -> Cow<'static, str> {
        "Rate".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^[1-9][0-9]{0,8}/[smh]$",
            "title": "a rate like 5/s",
            "x-help": "write a number of requests and /s, /m or /h",
        })
    }
}

/// Spaces requests out.
#[derive(Debug, Default)]
pub(super) struct Limiter {
    interval: Duration,
    /// Before this none may begin.
    next: Option<Instant>,
}

impl Limiter {
    pub(super) fn new(rate: Option<Rate>) -> Self {
        Self { interval: rate.map(Rate::interval).unwrap_or_default(), next: None }
    }

    /// Waits until a request may begin. What was not used is not saved up.
    pub(super) async fn wait(&mut self) {
        if let Some(next) = self.next {
            tokio::time::sleep_until(next).await;
        }
        self.next = Some(Instant::now() + self.interval);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read() {
        for (text, ms) in
            [("5/s", Some(200)), ("100/m", Some(600)), ("1000/h", Some(3600)), ("1/s", Some(1000))]
        {
            assert_eq!(Rate::parse(text).map(|rate| rate.interval().as_millis()), ms, "{text}");
        }
        for text in ["", "5", "0/s", "5/d", "-1/s", "5/sec", "s/5", "5 per s"] {
            assert_eq!(Rate::parse(text), None, "{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn requests_are_spaced_out() {
        let mut limiter = Limiter::new(Rate::parse("4/s"));
        let start = Instant::now();
        for _ in 0..9 {
            limiter.wait().await;
        }
        assert_eq!(start.elapsed(), Duration::from_secs(2));
    }
}
