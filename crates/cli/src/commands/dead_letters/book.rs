//! The dead letters that nobody has settled: what their topics hold, less what markers speak of.

use std::collections::BTreeMap;

use millstream_connectors::kafka::{Connection, TopicKind, read_all};
use millstream_core::{
    DeadLetter, Error, Header, Marker, Record, Records, Result, Scope, Settled, Sink, SinkKind,
};
use serde_json::json;
use tokio::task::block_in_place;

/// A dead letter with the original's bytes.
pub(in crate::commands) struct Found {
    pub(in crate::commands) letter: DeadLetter,
    pub(in crate::commands) key: Option<Vec<u8>>,
    pub(in crate::commands) value: Option<Vec<u8>>,
    /// The original's, without ours.
    pub(in crate::commands) headers: Vec<Header>,
    pub(in crate::commands) timestamp: i64,
    /// The topic it is kept in.
    topic: String,
    /// By partition there the last copy: it is written at least once.
    copies: BTreeMap<i32, i64>,
}

/// Dead letters by their place.
pub(in crate::commands) struct Book {
    pub(in crate::commands) open: BTreeMap<String, Found>,
}

impl Book {
    /// Reads `topics` to where they end now. Blocks.
    pub(in crate::commands) fn read(connection: &Connection, topics: &[String]) -> Result<Self> {
        let mut open: BTreeMap<String, Found> = BTreeMap::new();
        let mut markers = Vec::new();
        for topic in topics {
            let mut see = |records: Records| {
                for record in records.iter() {
                    if let Some(marker) = Marker::from_record(&record) {
                        markers.push(marker);
                    } else if let Some(letter) = DeadLetter::from_record(&record) {
                        let place = letter.place();
                        let mut found = Found::new(letter, &record, topic);
                        if let Some(earlier) = open.remove(&place) {
                            found.copies.extend(earlier.copies.into_iter().filter(|(partition, offset)| {
                                *partition != record.partition || *offset > record.offset
                            }));
                        }
                        open.insert(place, found);
                    }
                }
                Ok(true)
            };
            // Without a dead letter there is no topic of them.
            block_in_place(|| read_all(connection, topic, &mut see))?;
        }
        for marker in markers {
            if let Some(found) = open.get_mut(&marker.place) {
                found.copies.retain(|partition, offset| !marker.covers(*partition, *offset));
            }
        }
        open.retain(|_, found| !found.copies.is_empty());
        Ok(Self { open })
    }

    /// Whether a letter has been written again since `earlier` was read.
    pub(in crate::commands) fn died_again(&self, place: &str, earlier: &Found) -> bool {
        self.open.get(place).is_some_and(|now| {
            now.copies
                .iter()
                .any(|(partition, offset)| earlier.copies.get(partition).is_none_or(|before| offset > before))
        })
    }
}

impl Found {
    fn new(letter: DeadLetter, record: &Record<'_>, topic: &str) -> Self {
        Self {
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers: record.headers.iter().filter(|(name, _)| !DeadLetter::is_ours(name)).cloned().collect(),
            timestamp: letter.sent_ms.unwrap_or(record.timestamp),
            letter,
            topic: topic.to_owned(),
            copies: [(record.partition, record.offset)].into_iter().collect(),
        }
    }

    /// The original as it was read.
    pub(in crate::commands) fn original(&self) -> Record<'_> {
        Record {
            key: self.key.as_deref(),
            value: self.value.as_deref(),
            headers: &self.headers,
            timestamp: self.timestamp,
            partition: self.letter.partition,
            offset: self.letter.offset,
        }
    }
}

/// Appends a marker for each letter.
pub(in crate::commands) async fn settle(
    connection: &Connection,
    letters: &[(&String, &Found)],
    settled: Settled,
) -> Result<()> {
    let mut topics: BTreeMap<&str, Records> = BTreeMap::new();
    for (place, found) in letters {
        let marker = Marker { place: (*place).clone(), settled, until: found.copies.clone() };
        let headers = marker.headers();
        let nothing = Record { value: None, headers: &headers, partition: -1, ..Record::of_value(b"", 0) };
        topics.entry(&found.topic).or_default().push(nothing);
    }
    let services = [("kafka".to_owned(), json!(connection))].into_iter().collect();
    let scope = Scope { services, ..Scope::default() };
    for (topic, markers) in topics {
        let settings = json!({ "topic": topic, "key": [] });
        let Sink::Messages(mut sink) = SinkKind::open(&TopicKind, &settings, &scope).await? else {
            return Err(Error::ours("a topic takes messages"));
        };
        sink.write(&markers).await?;
    }
    Ok(())
}
