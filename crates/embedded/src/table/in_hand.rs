//! Rows that are taken and not written yet. Keys that come in any order each change another page of SQLite's index;
//! the more of them go into one transaction, in their order, the more share a page.

use arrow::array::RecordBatch;
use millstream_core::cql::{RowReader, Table};
use millstream_core::{Rows, Written};

/// What is kept at most, however much one write brings.
const ROWS_MAX: usize = 8_192;
const BYTES_MAX: usize = 8 << 20;

/// Rows of several batches.
#[derive(Default)]
pub(super) struct InHand {
    batches: Vec<(RecordBatch, Vec<i64>)>,
    rows: Vec<Place>,
    bytes: usize,
}

/// A row by its key, and where it is; of one key the later comes later.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    key: Box<[u8]>,
    pub(super) batch: u32,
    pub(super) row: u32,
}

impl InHand {
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Whether these fit beside those that are there.
    pub(super) fn has_room_for(&self, rows: &Rows<'_>) -> bool {
        self.rows.len() + rows.batch.num_rows() <= ROWS_MAX
            && self.bytes + rows.batch.get_array_memory_size() <= BYTES_MAX
    }

    /// Takes the rows that can be written, and refuses the others.
    pub(super) fn take(&mut self, table: &Table, rows: &Rows<'_>) -> Written {
        let reader = RowReader::new(table, rows.batch);
        let keys: Vec<_> = table.key().collect();
        let batch = self.batches.len() as u32;
        let mut written = Written::default();
        for row in 0..rows.batch.num_rows() as u32 {
            match reader.row(row as usize) {
                Ok(values) => {
                    let parts = keys.iter().zip(values.iter().flatten());
                    let key: Vec<_> = parts.map(|(column, value)| value.serialized(&column.kind)).collect();
                    self.rows.push(Place { key: key.concat().into(), batch, row });
                    written.written += 1;
                }
                Err((reason, detail)) => written.refused.push((row, reason, detail)),
            }
        }
        self.bytes += rows.batch.get_array_memory_size();
        self.batches.push((rows.batch.clone(), rows.write_times.to_vec()));
        written
    }

    /// The batches with their write times, and every row of them, by key.
    pub(super) fn in_order(&mut self) -> (&[(RecordBatch, Vec<i64>)], &[Place]) {
        self.rows.sort_unstable();
        (&self.batches, &self.rows)
    }
}
