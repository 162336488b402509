//! Rows that are taken and not written yet. Keys that come in any order each change another page of SQLite's index;
//! the more of them go into one transaction, in their order, the more share a page. A row lies in one piece: in the
//! columns that it came in, a row in the order of the keys is somewhere else in every column.

use millstream_core::cql::{RowReader, Table};
use millstream_core::{Nulls, Rows, Written};

use super::row;

/// What is kept at most, however much one write brings.
const ROWS_MAX: usize = 8_192;
const BYTES_MAX: usize = 8 << 20;

/// Bytes of a key that are compared without looking at the row.
const PREFIX_BYTES: usize = size_of::<u128>();

/// Rows of several batches.
pub(super) struct InHand {
    /// Each row's key as Cassandra serializes it, and behind it the row.
    bytes: Vec<u8>,
    places: Vec<Place>,
}

/// A row by its key, and where it is; of one key the later comes later.
struct Place {
    /// How the key begins, filled up with zeros.
    prefix: u128,
    start: usize,
    key_len: usize,
}

impl Place {
    fn key<'b>(&self, bytes: &'b [u8]) -> &'b [u8] {
        &bytes[self.start..self.start + self.key_len]
    }
}

impl Default for InHand {
    /// With room for all at once: a buffer that grows leaves its smaller selves behind, and of one that is never full
    /// the system gives only what is written.
    fn default() -> Self {
        Self { bytes: Vec::with_capacity(BYTES_MAX), places: Vec::with_capacity(ROWS_MAX) }
    }
}

impl InHand {
    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Whether these fit beside those that are there.
    pub(super) fn has_room_for(&self, rows: &Rows<'_>) -> bool {
        self.places.len() + rows.batch.num_rows() <= ROWS_MAX
            && self.bytes.len() + rows.batch.get_array_memory_size() <= BYTES_MAX
    }

    /// Takes the rows that can be written, and refuses the others.
    pub(super) fn take(&mut self, table: &Table, nulls: Nulls, rows: &Rows<'_>) -> Written {
        let reader = RowReader::new(table, rows.batch);
        let deletes: Vec<bool> =
            (0..table.columns.len()).map(|at| nulls == Nulls::Delete && reader.has(at)).collect();
        let keys: Vec<_> = table.key().collect();
        let mut written = Written::default();
        for at in 0..rows.batch.num_rows() {
            let values = match reader.row(at) {
                Ok(values) => values,
                Err((reason, detail)) => {
                    written.refused.push((at as u32, reason, detail));
                    continue;
                }
            };
            let start = self.bytes.len();
            for (column, value) in keys.iter().zip(values.iter().flatten()) {
                self.bytes.extend_from_slice(&value.serialized(&column.kind));
            }
            let key = &self.bytes[start..];
            self.places.push(Place { prefix: prefix(key), start, key_len: key.len() });
            row::push(&mut self.bytes, table, &values, &deletes, rows.write_times[at]);
            written.written += 1;
        }
        written
    }

    /// The rows in the order of their keys.
    pub(super) fn in_order(&mut self) -> impl Iterator<Item = &[u8]> {
        let Self { bytes, places } = self;
        let bytes = &*bytes;
        places.sort_unstable_by(|one, other| {
            one.prefix
                .cmp(&other.prefix)
                .then_with(|| one.key(bytes).cmp(other.key(bytes)))
                .then(one.start.cmp(&other.start))
        });
        places.iter().map(|place| &bytes[place.start + place.key_len..])
    }

    /// Lets all rows go; what they took stays for the next ones.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(BYTES_MAX);
        self.places.clear();
        self.places.shrink_to(ROWS_MAX);
    }
}

fn prefix(key: &[u8]) -> u128 {
    let mut first = [0; PREFIX_BYTES];
    let len = key.len().min(PREFIX_BYTES);
    first[..len].copy_from_slice(&key[..len]);
    u128::from_be_bytes(first)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
    use millstream_core::cql::parse;
    use rusqlite::types::ValueRef;

    use super::*;
    use crate::table::row::{Change, Row};

    #[test]
    fn rows_come_by_key_and_those_of_one_key_as_they_came() {
        let table = parse("CREATE TABLE k.t (id text PRIMARY KEY, n int)", "k", "t").expect("a table");
        let long = "a key that is longer than its prefix";
        let ids: Vec<_> =
            [format!("{long} b"), "c".into(), format!("{long} a"), "c".into(), "b".into()].into();
        let ids: ArrayRef = Arc::new(StringArray::from(ids));
        let numbers: ArrayRef = Arc::new(Int32Array::from(vec![0, 1, 2, 3, 4]));
        let batch = RecordBatch::try_from_iter([("id", ids), ("n", numbers)]).expect("a batch");
        let mut in_hand = InHand::default();
        for _ in 0..2 {
            let rows = Rows { batch: &batch, write_times: &[7; 5] };
            assert_eq!(in_hand.take(&table, Nulls::Keep, &rows).written, 5);
        }
        let mut numbers = Vec::new();
        for bytes in in_hand.in_order() {
            let mut row = Row::default();
            row.read(bytes, 2);
            match row.changes[1] {
                Change::Value(ValueRef::Integer(number)) => numbers.push(number),
                _ => panic!("a number became something else"),
            }
        }
        assert_eq!(numbers, [2, 2, 0, 0, 4, 4, 1, 3, 1, 3]);
        in_hand.clear();
        assert!(in_hand.is_empty());
    }
}
