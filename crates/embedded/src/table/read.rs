//! Reads a table as Arrow batches, in the types in which Spark reads it.

use arrow::array::RecordBatch;
use millstream_core::cql::{PartitionKey, RowsBuilder, Table, quoted};
use rusqlite::types::Value as Owned;
use rusqlite::{Connection, params_from_iter};

use super::{cell, stored_name};

/// The rows of a table, batch after batch, in the order in which they were first written. Each
/// batch is what is there when it is read.
pub struct Scan {
    connection: Connection,
    table: Table,
    /// The values of the only partition that is meant; none where all are.
    key: Vec<Owned>,
    rows_max: usize,
    after: i64,
}

impl Scan {
    pub(super) fn new(
        connection: Connection,
        table: &Table,
        key: Option<&PartitionKey>,
        rows_max: usize,
    ) -> Self {
        let key = key.into_iter().flat_map(PartitionKey::values);
        let key = key.map(|value| cell::owned(cell::stored(&value))).collect();
        Self { connection, table: table.clone(), key, rows_max, after: i64::MIN }
    }

    fn read(&mut self) -> rusqlite::Result<Option<RecordBatch>> {
        let columns: Vec<_> = self.table.columns.iter().map(|column| quoted(&column.name)).collect();
        // A row is found by its key or by its number, never by both: the plus hides the number.
        let number = if self.key.is_empty() { "rowid" } else { "+rowid" };
        let key = self.table.key().zip(3..self.key.len() + 3);
        let key: String = key.map(|(column, at)| format!(" AND {} = ?{at}", quoted(&column.name))).collect();
        let sql = format!(
            "SELECT {}, rowid FROM {} WHERE {number} > ?1{key} ORDER BY {number} LIMIT ?2",
            columns.join(", "),
            stored_name(&self.table)
        );
        let given = [Owned::Integer(self.after), Owned::Integer(self.rows_max as i64)];
        let given = given.into_iter().chain(self.key.iter().cloned());
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows = statement.query(params_from_iter(given))?;
        let mut found = RowsBuilder::new(&self.table);
        while let Some(row) = rows.next()? {
            let mut values = Vec::with_capacity(columns.len());
            for (at, column) in self.table.columns.iter().enumerate() {
                values.push(cell::restored(row.get_ref(at)?, &column.kind));
            }
            found.push(values);
            self.after = row.get(columns.len())?;
        }
        Ok(found.finish())
    }
}

impl Iterator for Scan {
    type Item = Result<RecordBatch, String>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().map_err(|e| format!("cannot read the embedded table {}: {e}", self.table)).transpose()
    }
}
