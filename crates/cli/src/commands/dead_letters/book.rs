//! The dead letters that nobody has settled: what their topics hold, less what markers speak of. It does not keep
//! the originals, which may be large and many: those that somebody wants are read once more.

use std::collections::BTreeMap;
use std::ops::Range;

use millstream_connectors::kafka::{Connection, TopicKind, read_all, read_ranges};
use millstream_core::{
    DeadLetter, Error, Header, Marker, Record, Records, Result, Scope, Settled, Sink, SinkKind,
};
use serde_json::json;
use tokio::task::block_in_place;

/// As many bytes of an original as there are.
pub(in crate::commands) const WHOLE: usize = usize::MAX;

/// What lies between two letters that are wanted is read, too, where there are no more than so many: to begin anew
/// behind it takes longer.
const GAP_MAX: i64 = 100;

/// A dead letter, and where it is.
pub(in crate::commands) struct Found {
    pub(in crate::commands) letter: DeadLetter,
    pub(in crate::commands) timestamp: i64,
    /// Of the whole value.
    pub(in crate::commands) value_bytes: u64,
    /// The topic it is kept in.
    topic: String,
    /// The partition and the offset there at which it was seen last.
    at: (i32, i64),
    /// By partition there the last copy: it is written at least once.
    copies: BTreeMap<i32, i64>,
}

/// The original of a dead letter, or its beginning.
pub(in crate::commands) struct Original {
    pub(in crate::commands) key: Option<Vec<u8>>,
    pub(in crate::commands) value: Option<Vec<u8>>,
    /// Without ours.
    pub(in crate::commands) headers: Vec<Header>,
}

/// Dead letters by their place.
pub(in crate::commands) struct Book {
    pub(in crate::commands) open: BTreeMap<String, Found>,
}

impl Book {
    /// Reads `topics` to where they end now. Blocks.
    pub(in crate::commands) fn read(connection: &Connection, topics: &[String]) -> Result<Self> {
        let mut open = BTreeMap::new();
        for topic in topics {
            let mut reading = Reading::of(topic, &mut open);
            let mut see = |records: Records| {
                records.iter().for_each(|record| reading.see(&record));
                Ok(true)
            };
            // Without a dead letter there is no topic of them.
            block_in_place(|| read_all(connection, topic, &mut see))?;
        }
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

/// A topic that is being read. Its partitions come in any order, so that a marker may come before what it speaks of.
struct Reading<'b> {
    topic: &'b str,
    open: &'b mut BTreeMap<String, Found>,
    /// By partition the last offset so far.
    seen: BTreeMap<i32, i64>,
    /// By place the markers that speak of more than has been seen.
    ahead: BTreeMap<String, Vec<Marker>>,
}

impl<'b> Reading<'b> {
    fn of(topic: &'b str, open: &'b mut BTreeMap<String, Found>) -> Self {
        Self { topic, open, seen: BTreeMap::new(), ahead: BTreeMap::new() }
    }

    fn see(&mut self, record: &Record<'_>) {
        self.seen.insert(record.partition, record.offset);
        if let Some(marker) = Marker::from_record(record) {
            self.close(marker);
        } else if let Some(letter) = DeadLetter::from_record(record) {
            self.add(letter, record);
        }
    }

    /// Drops what the marker covers. It is kept only where there may be more of it.
    fn close(&mut self, marker: Marker) {
        if let Some(found) = self.open.get_mut(&marker.place) {
            found.copies.retain(|partition, offset| !marker.covers(*partition, *offset));
            if found.copies.is_empty() {
                self.open.remove(&marker.place);
            }
        }
        let is_seen =
            |(partition, until): (&i32, &i64)| self.seen.get(partition).is_some_and(|seen| seen >= until);
        if !marker.until.iter().all(is_seen) {
            self.ahead.entry(marker.place.clone()).or_default().push(marker);
        }
    }

    fn add(&mut self, letter: DeadLetter, record: &Record<'_>) {
        let place = letter.place();
        let mut markers = self.ahead.get(&place).into_iter().flatten();
        if markers.any(|marker| marker.covers(record.partition, record.offset)) {
            return;
        }
        let mut found = Found::new(letter, record, self.topic);
        if let Some(earlier) = self.open.remove(&place) {
            for (partition, offset) in earlier.copies {
                let last = found.copies.entry(partition).or_insert(offset);
                *last = offset.max(*last);
            }
        }
        self.open.insert(place, found);
    }
}

impl Found {
    fn new(letter: DeadLetter, record: &Record<'_>, topic: &str) -> Self {
        let kept_bytes = record.value.map_or(0, <[u8]>::len) as u64;
        Self {
            timestamp: letter.sent_ms.unwrap_or(record.timestamp),
            value_bytes: letter.cut.as_ref().map_or(kept_bytes, |cut| cut.length_bytes),
            letter,
            topic: topic.to_owned(),
            at: (record.partition, record.offset),
            copies: [(record.partition, record.offset)].into_iter().collect(),
        }
    }
}

impl Original {
    fn new(record: &Record<'_>, bytes_max: usize) -> Self {
        let mut left = bytes_max;
        let mut beginning = |bytes: &[u8]| {
            let kept = &bytes[..bytes.len().min(left)];
            left -= kept.len();
            kept.to_vec()
        };
        let (key, value) = (record.key.map(&mut beginning), record.value.map(&mut beginning));
        let headers = record.headers.iter().filter(|(name, _)| !DeadLetter::is_ours(name));
        let headers = headers.map(|(name, value)| (name.clone(), value.as_deref().map(&mut beginning)));
        Self { key, value, headers: headers.collect() }
    }

    /// The record as it was read, of which `found` is the dead letter.
    pub(in crate::commands) fn record(&self, found: &Found) -> Record<'_> {
        Record {
            key: self.key.as_deref(),
            value: self.value.as_deref(),
            headers: &self.headers,
            timestamp: found.timestamp,
            partition: found.letter.partition,
            offset: found.letter.offset,
        }
    }
}

/// Reads the originals of letters, in the order of the letters, and no more than `bytes_max` of each. Blocks.
pub(in crate::commands) fn read_originals(
    connection: &Connection,
    letters: &[(&String, &Found)],
    bytes_max: usize,
) -> Result<Vec<Original>> {
    let mut topics: BTreeMap<&str, BTreeMap<(i32, i64), usize>> = BTreeMap::new();
    for (index, (_, found)) in letters.iter().enumerate() {
        topics.entry(&found.topic).or_default().insert(found.at, index);
    }
    let mut originals: Vec<Option<Original>> = letters.iter().map(|_| None).collect();
    for (topic, wanted) in topics {
        let see = |records: Records| {
            for record in records.iter() {
                if let Some(index) = wanted.get(&(record.partition, record.offset)) {
                    originals[*index] = Some(Original::new(&record, bytes_max));
                }
            }
        };
        let ranges = ranges(wanted.keys().copied());
        block_in_place(|| read_ranges(connection, topic, &ranges, see))?;
    }
    let originals = originals.into_iter().zip(letters).map(|(original, (place, found))| {
        original.ok_or_else(|| {
            Error::lasting(format!("the dead letter {place} is in topic {} no longer", found.topic))
                .help("list them once more")
        })
    });
    originals.collect()
}

/// The ranges of offsets that have all of these, which ascend by partition and offset.
fn ranges(wanted: impl Iterator<Item = (i32, i64)>) -> Vec<(i32, Range<i64>)> {
    let mut ranges: Vec<(i32, Range<i64>)> = Vec::new();
    for (partition, offset) in wanted {
        match ranges.last_mut() {
            Some((last, range)) if *last == partition && offset - range.end <= GAP_MAX => {
                range.end = offset + 1;
            }
            _ => ranges.push((partition, offset..offset + 1)),
        }
    }
    ranges
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

#[cfg(test)]
mod tests {
    use millstream_core::Reason;

    use super::*;

    fn letter() -> DeadLetter {
        DeadLetter {
            flow: "store".into(),
            topic: "t".into(),
            partition: 3,
            offset: 41,
            reason: Reason::Unreadable,
            detail: "n: 'x' is no INT".into(),
            sent_ms: None,
            origin: None,
            cut: None,
        }
    }

    /// Shows a message with these headers.
    fn see(reading: &mut Reading<'_>, partition: i32, offset: i64, headers: &[Header]) {
        reading.see(&Record { headers, partition, ..Record::of_value(b"value", offset) });
    }

    #[test]
    fn a_settled_letter_is_held_only_until_its_marker_whichever_comes_first() {
        let letter = letter();
        let until = [(0, 7)].into_iter().collect();
        let marker = Marker { place: letter.place(), settled: Settled::Purged, until }.headers();
        let letter = letter.headers(&[]);
        let mut open = BTreeMap::new();
        let mut reading = Reading::of("t.dead-letters", &mut open);
        see(&mut reading, 0, 7, &letter);
        assert_eq!(reading.open.len(), 1);
        see(&mut reading, 1, 0, &marker);
        assert!(reading.open.is_empty() && reading.ahead.is_empty());
        let mut reading = Reading::of("t.dead-letters", &mut open);
        see(&mut reading, 1, 0, &marker);
        see(&mut reading, 0, 7, &letter);
        assert!(reading.open.is_empty());
        // It died again.
        see(&mut reading, 0, 8, &letter);
        assert_eq!(reading.open.len(), 1);
    }

    #[test]
    fn what_lies_far_apart_is_not_read_over() {
        let near = 6 + GAP_MAX;
        let far = near + GAP_MAX + 2;
        let wanted = [(0, 5), (0, 6), (0, near), (0, far), (2, 0), (2, 1)];
        assert_eq!(ranges(wanted.into_iter()), [(0, 5..near + 1), (0, far..far + 1), (2, 0..2)]);
    }

    #[test]
    fn of_an_original_no_more_is_kept_than_is_wanted() {
        let null = || ("null".to_owned(), None);
        let headers = letter().headers(&[("trace".to_owned(), Some(b"12345".to_vec())), null()]);
        let record = Record { key: Some(b"key"), headers: &headers, ..Record::of_value(b"value", 0) };
        for (bytes_max, value, trace) in [(WHOLE, "value", "12345"), (10, "value", "12"), (5, "va", "")] {
            let original = Original::new(&record, bytes_max);
            assert_eq!(original.key.as_deref(), Some(&b"key"[..]));
            assert_eq!(original.value.as_deref(), Some(value.as_bytes()));
            let trace = ("trace".to_owned(), Some(trace.as_bytes().to_vec()));
            assert_eq!(original.headers, [trace, null()]);
        }
    }
}
