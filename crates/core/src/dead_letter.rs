//! A record that cannot be processed, kept whole with the reason.
//! Where dead letters are kept is a sink's affair.

use std::collections::BTreeMap;
use std::fmt;

use crate::{Header, Origin, Record};

/// Why a record cannot be processed: a closed list, of which the first that applies is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// There is no value, or nothing but white space.
    Empty,
    /// The value is not what the declared schema says.
    Unreadable,
    /// A column of the key is null, the partition key is empty, or it or the clustering columns are too long.
    NullKey,
    /// A value is none of its column's type, or one that the query fails for.
    BadValue,
    /// The message or row is larger than what the service takes.
    TooLarge,
}

impl Reason {
    /// All reasons, in the order in which they are tried.
    pub const ALL: [Self; 5] = [Self::Empty, Self::Unreadable, Self::NullKey, Self::BadValue, Self::TooLarge];

    /// The name in headers, lists and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Unreadable => "unreadable",
            Self::NullKey => "null-key",
            Self::BadValue => "bad-value",
            Self::TooLarge => "too-large",
        }
    }

    /// The reason of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.name() == name)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What our headers on a dead letter say; key, value and other headers are the original's. Flow, topic, partition, offset and origin together are its identity.
#[derive(Debug, Clone, PartialEq)]
pub struct DeadLetter {
    /// The flow that could not process it.
    pub flow: String,
    /// The topic it came from, or for other sources the one it was meant for.
    pub topic: String,
    /// Its partition there; 0 for other sources.
    pub partition: i32,
    /// Its offset there; for other sources its place in the run.
    pub offset: i64,
    /// Why.
    pub reason: Reason,
    /// More for people: the column, the value, the position.
    pub detail: String,
    /// When the original was sent, in milliseconds since 1970; letters of before say so only where their message
    /// could not be given that time.
    pub sent_ms: Option<i64>,
    /// Where it came from, where that was no topic; part of its identity then.
    pub origin: Option<Origin>,
    /// What the whole value was, where only its beginning could be kept.
    pub cut: Option<Cut>,
}

/// A value of which only the beginning was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// The whole value's length in bytes.
    pub length_bytes: u64,
    /// The whole value's SHA-256 in hexadecimal digits.
    pub sha256: String,
}

impl DeadLetter {
    /// What the name of a topic of dead letters ends with, where the file gives it no other one.
    pub const TOPIC_ENDING: &str = ".dead-letters";
    /// The header with the flow's name.
    pub const FLOW: &str = "millstream.flow";
    /// The header with the topic's name.
    pub const TOPIC: &str = "millstream.topic";
    /// The header with the partition.
    pub const PARTITION: &str = "millstream.partition";
    /// The header with the offset.
    pub const OFFSET: &str = "millstream.offset";
    /// The header with the reason.
    pub const REASON: &str = "millstream.reason";
    /// The header with the detail.
    pub const DETAIL: &str = "millstream.detail";
    /// The header with the original's timestamp in milliseconds.
    pub const TIMESTAMP: &str = "millstream.timestamp";
    const URL: &str = "millstream.url";
    const RUN: &str = "millstream.run";
    const LENGTH: &str = "millstream.length";
    const SHA256: &str = "millstream.sha256";

    /// Whether a header is one of ours and not the original's.
    pub fn is_ours(name: &str) -> bool {
        name.starts_with("millstream.")
    }

    /// The original's headers with ours behind them.
    pub fn headers(&self, original: &[Header]) -> Vec<Header> {
        let mut headers = original.to_vec();
        let mut add = |name: &str, value: String| headers.push((name.to_owned(), Some(value.into_bytes())));
        add(Self::FLOW, self.flow.clone());
        add(Self::TOPIC, self.topic.clone());
        add(Self::PARTITION, self.partition.to_string());
        add(Self::OFFSET, self.offset.to_string());
        add(Self::REASON, self.reason.to_string());
        add(Self::DETAIL, self.detail.clone());
        if let Some(sent_ms) = self.sent_ms {
            add(Self::TIMESTAMP, sent_ms.to_string());
        }
        if let Some(origin) = &self.origin {
            add(Self::URL, origin.address.clone());
            if let Some(run_ms) = origin.run_ms {
                add(Self::RUN, run_ms.to_string());
            }
        }
        if let Some(cut) = &self.cut {
            add(Self::LENGTH, cut.length_bytes.to_string());
            add(Self::SHA256, cut.sha256.clone());
        }
        headers
    }

    /// Its identity in one word: `FLOW/TOPIC/PARTITION/OFFSET`, and behind an `@` the run or the
    /// file for which that is its place.
    pub fn place(&self) -> String {
        let place = format!("{}/{}/{}/{}", self.flow, self.topic, self.partition, self.offset);
        match &self.origin {
            None => place,
            Some(Origin { run_ms: Some(run_ms), .. }) => format!("{place}@{run_ms}"),
            Some(Origin { address, run_ms: None }) => format!("{place}@{address}"),
        }
    }

    /// Reads our headers back; `None` for a message that is no dead letter of ours.
    pub fn from_record(record: &Record<'_>) -> Option<Self> {
        // Before the last of them a message may carry headers of a dead letter that it once was.
        let begin = record.headers.iter().rposition(|(key, _)| key == Self::FLOW)?;
        let text = |name: &str| {
            let (_, value) = record.headers[begin..].iter().find(|(key, _)| key == name)?;
            Some(String::from_utf8_lossy(value.as_deref().unwrap_or_default()).into_owned())
        };
        Some(Self {
            flow: text(Self::FLOW)?,
            topic: text(Self::TOPIC)?,
            partition: text(Self::PARTITION)?.parse().ok()?,
            offset: text(Self::OFFSET)?.parse().ok()?,
            reason: Reason::from_name(&text(Self::REASON)?)?,
            detail: text(Self::DETAIL)?,
            sent_ms: text(Self::TIMESTAMP).and_then(|sent| sent.parse().ok()),
            origin: text(Self::URL)
                .map(|address| Origin { address, run_ms: text(Self::RUN).and_then(|run| run.parse().ok()) }),
            cut: text(Self::LENGTH).and_then(|length| {
                Some(Cut { length_bytes: length.parse().ok()?, sha256: text(Self::SHA256)? })
            }),
        })
    }
}

/// What was done about a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// It went through the flow again.
    Replayed,
    /// Nobody wants it any more.
    Purged,
}

impl Settled {
    fn name(self) -> &'static str {
        match self {
            Self::Replayed => "replayed",
            Self::Purged => "purged",
        }
    }
}

/// Says in the dead letters' topic that one of them is settled: every copy of it up to a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marker {
    /// Which dead letter, as [`DeadLetter::place`] gives it.
    pub place: String,
    /// What was done.
    pub settled: Settled,
    /// By partition of the dead letters' topic the last offset that it speaks of: what is written
    /// there later died again.
    pub until: BTreeMap<i32, i64>,
}

const MARKER: &str = "millstream.marker";
const PLACE: &str = "millstream.place";
const UNTIL: &str = "millstream.until";

impl Marker {
    /// As headers of a message that has neither key nor value.
    pub fn headers(&self) -> Vec<Header> {
        let until: Vec<_> =
            self.until.iter().map(|(partition, offset)| format!("{partition}:{offset}")).collect();
        [(MARKER, self.settled.name().to_owned()), (PLACE, self.place.clone()), (UNTIL, until.join(" "))]
            .into_iter()
            .map(|(name, value)| (name.to_owned(), Some(value.into_bytes())))
            .collect()
    }

    /// Reads the headers back; `None` for a message that is no marker. A dead letter is none, whatever headers its
    /// original had.
    pub fn from_record(record: &Record<'_>) -> Option<Self> {
        if record.headers.iter().any(|(key, _)| key == DeadLetter::FLOW) {
            return None;
        }
        let text = |name: &str| {
            let (_, value) = record.headers.iter().find(|(key, _)| key == name)?;
            std::str::from_utf8(value.as_deref()?).ok()
        };
        let settled = text(MARKER)?;
        let settled =
            [Settled::Replayed, Settled::Purged].into_iter().find(|known| known.name() == settled)?;
        let until = text(UNTIL)?.split_ascii_whitespace().filter_map(|part| {
            let (partition, offset) = part.split_once(':')?;
            Some((partition.parse().ok()?, offset.parse().ok()?))
        });
        Some(Self { place: text(PLACE)?.to_owned(), settled, until: until.collect() })
    }

    /// Whether it speaks of the copy that stands there in the dead letters' topic.
    pub fn covers(&self, partition: i32, offset: i64) -> bool {
        self.until.get(&partition).is_some_and(|until| offset <= *until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_speaks_of_what_was_there() {
        let until = [(0, 7), (3, 0)].into_iter().collect();
        let marker = Marker { place: "store/t/0/1".into(), settled: Settled::Purged, until };
        let headers = marker.headers();
        let record = Record { headers: &headers, value: None, ..Record::of_value(b"", 0) };
        assert_eq!(Marker::from_record(&record).as_ref(), Some(&marker));
        assert_eq!(DeadLetter::from_record(&record), None);
        assert!(marker.covers(0, 7) && !marker.covers(0, 8) && !marker.covers(1, 0));
    }

    #[test]
    fn headers_carry_everything_there_and_back() {
        let letter = DeadLetter {
            flow: "store".into(),
            topic: "users_created".into(),
            partition: 3,
            offset: 41,
            reason: Reason::BadValue,
            detail: "id: 'x' is no UUID".into(),
            sent_ms: Some(5),
            origin: Some(Origin { address: "https://example.com/users".into(), run_ms: Some(7) }),
            cut: Some(Cut { length_bytes: 9, sha256: "ab".into() }),
        };
        let original = [("trace".to_owned(), Some(b"1".to_vec())), ("null".to_owned(), None)];
        let headers = letter.headers(&original);
        assert_eq!(headers[..2], original);
        let record =
            Record { key: None, value: None, headers: &headers, timestamp: 0, partition: 0, offset: 0 };
        assert_eq!(DeadLetter::from_record(&record).as_ref(), Some(&letter));
        assert_eq!(letter.place(), "store/users_created/3/41@7");
    }

    #[test]
    fn headers_that_a_message_came_with_say_nothing_of_its_dead_letter() {
        let plain = DeadLetter {
            flow: "again".into(),
            topic: "t".into(),
            partition: 0,
            offset: 1,
            reason: Reason::Empty,
            detail: String::new(),
            sent_ms: None,
            origin: None,
            cut: None,
        };
        let once = DeadLetter {
            flow: "once".into(),
            sent_ms: Some(5),
            origin: Some(Origin { address: "https://example.com".into(), run_ms: Some(7) }),
            cut: Some(Cut { length_bytes: 9, sha256: "ab".into() }),
            ..plain.clone()
        };
        let marker = Marker { place: "x".into(), settled: Settled::Purged, until: [(0, 9)].into() };
        for original in [once.headers(&[]), marker.headers()] {
            let headers = plain.headers(&original);
            let record = Record { headers: &headers, value: None, ..Record::of_value(b"", 0) };
            assert_eq!(DeadLetter::from_record(&record).as_ref(), Some(&plain));
            assert_eq!(Marker::from_record(&record), None);
        }
    }

    #[test]
    fn every_reason_is_found_by_its_name() {
        for reason in Reason::ALL {
            assert_eq!(Reason::from_name(reason.name()), Some(reason));
        }
    }
}
