//! Types of single settings that several connectors share.
//! A connector's own settings live beside the connector.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::{Error, Result};

/// Reads `settings` as the type that describes them.
pub fn read<T: DeserializeOwned>(settings: &Value) -> Result<T> {
    T::deserialize(settings).map_err(|error| Error::user(error.to_string()))
}

/// A connection that is encrypted.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// A PEM file of whom to trust instead of whom the system trusts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// A PEM file with our own certificate, where the service asks who we are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
    /// The PEM file with the certificate's private key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
}

impl Tls {
    /// Refuses half of a certificate and its key.
    pub fn check(&self) -> Result<()> {
        match (&self.certificate, &self.key) {
            (Some(_), None) => {
                Err(Error::user("a certificate is of no use without its `key`").at("certificate"))
            }
            (None, Some(_)) => Err(Error::user("a key is of no use without its `certificate`").at("key")),
            _ => Ok(()),
        }
    }
}

/// A length of time: a whole number and its unit, `500ms`, `30s`, `5m`, `1h` or `7d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(pub Duration);

impl Period {
    const UNITS: [(&'static str, u64); 5] =
        [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

    /// Reads `30s`.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let (_, unit_ms) = Self::UNITS.into_iter().find(|(unit, _)| *unit == &text[digits.len()..])?;
        let number: u64 = digits.parse().ok()?;
        Some(Self(Duration::from_millis(number.checked_mul(unit_ms)?)))
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.as_millis() as u64;
        let largest =
            Self::UNITS.into_iter().rev().find(|(_, unit_ms)| ms >= *unit_ms && ms.is_multiple_of(*unit_ms));
        let (unit, unit_ms) = largest.unwrap_or(("s", 1_000));
        write!(f, "{}{unit}", ms / unit_ms)
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        Self::parse(&text).ok_or_else(|| {
            D::Error::custom(format!(
                "`{text}` is no length of time; write a number and ms, s, m, h or d, like 30s"
            ))
        })
    }
}

impl Serialize for Period {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl JsonSchema for Period {
    fn schema_name() -> Cow<'static, str> {
        "Period".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^[0-9]{1,11}(ms|s|m|h|d)$",
            "title": "a length of time like 30s",
            "x-help": "write a number and ms, s, m, h or d",
        })
    }
}

/// A share of a whole in percent: `5%`, `0.1%`.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Share(f64);

impl Share {
    /// Reads `5%`.
    pub fn parse(text: &str) -> Option<Self> {
        let percent: f64 = text.strip_suffix('%')?.parse().ok()?;
        (0.0..=100.0).contains(&percent).then_some(Self(percent / 100.0))
    }

    /// Whether `part` is more than this share of `whole`.
    pub fn is_exceeded(self, part: u64, whole: u64) -> bool {
        part as f64 > self.0 * whole as f64
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0 * 100.0)
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        Self::parse(&text).ok_or_else(|| D::Error::custom(format!("`{text}` is no share; write 5%")))
    }
}

impl Serialize for Share {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl JsonSchema for Share {
    fn schema_name() -> Cow<'static, str> {
        "Share".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": r"^(100|[0-9]{1,2}(\.[0-9]+)?)%$",
            "title": "a share like 5%",
            "x-help": "write a number from 0 to 100 and %",
        })
    }
}

/// One name, or a list of them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Names {
    /// `id`
    One(String),
    /// `[id, day]`
    Many(Vec<String>),
}

impl Names {
    /// The names, however many.
    pub fn to_vec(&self) -> Vec<String> {
        match self {
            Self::One(name) => vec![name.clone()],
            Self::Many(names) => names.clone(),
        }
    }
}

/// What a run without a single record is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WhenEmpty {
    /// The run has failed.
    #[default]
    Fail,
    /// There was just nothing.
    Ok,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_compared_with_counts() {
        let share = Share::parse("5%").expect("a share");
        assert!(!share.is_exceeded(5, 100) && share.is_exceeded(6, 100) && !share.is_exceeded(0, 0));
        assert_eq!(Share::parse("0.5%").map(|share| share.to_string()).as_deref(), Some("0.5%"));
        for text in ["5", "%", "-1%", "101%", "a%"] {
            assert_eq!(Share::parse(text), None, "{text}");
        }
    }

    #[test]
    fn periods_are_read_and_printed() {
        for (text, ms) in
            [("500ms", 500), ("1s", 1_000), ("90s", 90_000), ("5m", 300_000), ("7d", 604_800_000)]
        {
            let period = Period::parse(text).expect(text);
            assert_eq!(period.0.as_millis(), ms);
            assert_eq!(period.to_string(), text);
        }
        for text in ["", "5", "s", "-1s", "1.5s", "5 s", "99999999999999999999d", "18446744073709551615d"] {
            assert_eq!(Period::parse(text), None, "{text}");
        }
    }
}
