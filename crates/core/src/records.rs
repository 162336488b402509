//! Records as they came from outside, many in one allocation.
//! Nothing here looks into a value: whether it can be read is decided later.

use std::sync::Arc;

/// A name and its bytes, as Kafka carries them beside a message; `None` is Kafka's null value.
pub type Header = (String, Option<Vec<u8>>);

const NULL: u32 = u32::MAX;

/// Where one record's bytes lie in the shared buffer.
#[derive(Debug, Clone, Copy)]
struct Entry {
    partition: i32,
    offset: i64,
    timestamp: i64,
    key_start: u32,
    key_len: u32,
    value_start: u32,
    value_len: u32,
}

/// Where records came from that no topic gave: a page of an API, a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Its address without secrets, or its path.
    pub address: String,
    /// When the run that read it began, in milliseconds since 1970, where the same place gives
    /// other records in another run.
    pub run_ms: Option<i64>,
}

/// A run of records: one buffer for all keys and values, an entry for each record.
#[derive(Debug, Clone, Default)]
pub struct Records {
    /// Where all of them came from, where that was no topic.
    pub origin: Option<Arc<Origin>>,
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    /// Headers are rare, so they are kept aside: (index of the record, its headers), ascending.
    headers: Vec<(u32, Vec<Header>)>,
    headers_bytes: usize,
}

/// One record, borrowed from its [`Records`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Record<'a> {
    /// Decides the partition, and thereby the order among records with the same key.
    pub key: Option<&'a [u8]>,
    /// The bytes as they came; `None` is Kafka's null value.
    pub value: Option<&'a [u8]>,
    /// Headers in the order in which they came.
    pub headers: &'a [Header],
    /// Milliseconds since 1970, or −1 where the record has none.
    pub timestamp: i64,
    /// The partition it came from or goes to; −1 leaves the choice to the key.
    pub partition: i32,
    /// Its place in the partition.
    pub offset: i64,
}

impl<'a> Record<'a> {
    /// A record that is nothing but a value and its place in a run, as an API gives it.
    pub fn of_value(value: &'a [u8], offset: i64) -> Self {
        Self { key: None, value: Some(value), headers: &[], timestamp: -1, partition: 0, offset }
    }

    /// The record as it was true at `timestamp`.
    #[must_use]
    pub fn at(self, timestamp: i64) -> Self {
        Self { timestamp, ..self }
    }
}

impl Records {
    /// The most bytes one `Records` can hold; a source ends its batch well before.
    pub const BYTES_MAX: usize = (u32::MAX - 1) as usize;

    /// No records yet, all to come from one place.
    pub fn from_origin(origin: Arc<Origin>) -> Self {
        Self { origin: Some(origin), ..Self::default() }
    }

    /// Appends a record.
    ///
    /// # Panics
    /// When the bytes of all records together exceed [`Records::BYTES_MAX`].
    pub fn push(&mut self, record: Record<'_>) {
        let (key_start, key_len) = self.append(record.key);
        let (value_start, value_len) = self.append(record.value);
        if !record.headers.is_empty() {
            self.headers.push((self.entries.len() as u32, record.headers.to_vec()));
            let size = |(name, value): &Header| name.len() + value.as_ref().map_or(0, Vec::len);
            self.headers_bytes += record.headers.iter().map(size).sum::<usize>();
        }
        self.entries.push(Entry {
            partition: record.partition,
            offset: record.offset,
            timestamp: record.timestamp,
            key_start,
            key_len,
            value_start,
            value_len,
        });
    }

    /// Lets all records go, and keeps their room for others.
    pub fn clear(&mut self) {
        self.origin = None;
        self.bytes.clear();
        self.entries.clear();
        self.headers.clear();
        self.headers_bytes = 0;
    }

    fn append(&mut self, bytes: Option<&[u8]>) -> (u32, u32) {
        let Some(bytes) = bytes else { return (0, NULL) };
        let start = self.bytes.len();
        assert!(start + bytes.len() <= Self::BYTES_MAX, "a batch of records is bounded");
        self.bytes.extend_from_slice(bytes);
        (start as u32, bytes.len() as u32)
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of all keys, values and headers.
    pub fn size_bytes(&self) -> usize {
        self.bytes.len() + self.headers_bytes
    }

    /// The record at `index`.
    ///
    /// # Panics
    /// When there is no such record.
    pub fn get(&self, index: usize) -> Record<'_> {
        let entry = &self.entries[index];
        Record {
            key: self.slice(entry.key_start, entry.key_len),
            value: self.slice(entry.value_start, entry.value_len),
            headers: self.headers_of(index),
            timestamp: entry.timestamp,
            partition: entry.partition,
            offset: entry.offset,
        }
    }

    /// All records, in order.
    pub fn iter(&self) -> impl Iterator<Item = Record<'_>> {
        (0..self.len()).map(|index| self.get(index))
    }

    /// Partition and offset of the record at `index`, cheaper than the whole record.
    pub fn place(&self, index: usize) -> (i32, i64) {
        (self.entries[index].partition, self.entries[index].offset)
    }

    fn headers_of(&self, index: usize) -> &[Header] {
        if self.headers.is_empty() {
            return &[];
        }
        match self.headers.binary_search_by_key(&(index as u32), |(at, _)| *at) {
            Ok(found) => &self.headers[found].1,
            Err(_) => &[],
        }
    }

    fn slice(&self, start: u32, len: u32) -> Option<&[u8]> {
        (len != NULL).then(|| &self.bytes[start as usize..(start + len) as usize])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_back_what_was_pushed() {
        let headers = vec![("reason".to_owned(), Some(b"empty".to_vec())), ("null".to_owned(), None)];
        let plain =
            Record { key: Some(b"k"), value: Some(b""), headers: &[], timestamp: 7, partition: 2, offset: 9 };
        let null = Record { key: None, value: None, headers: &headers, ..plain };
        let mut records = Records::default();
        records.push(plain);
        records.push(null);
        assert_eq!(records.iter().collect::<Vec<_>>(), [plain, null]);
        assert_eq!(records.size_bytes(), 1 + "reason".len() + "empty".len() + "null".len());
        records.clear();
        assert_eq!((records.len(), records.size_bytes()), (0, 0));
        records.push(plain);
        assert_eq!(records.iter().collect::<Vec<_>>(), [plain]);
    }
}
