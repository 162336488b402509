//! Reads a table as Arrow batches, in the types in which Spark reads it.

use arrow::array::RecordBatch;
use millstream_core::cql::{Column, PartitionKey, RowsBuilder, Table, quoted};
use rusqlite::types::Value as Owned;
use rusqlite::{Connection, params_from_iter};

use super::{cell, stored_name};

/// The rows of a table, batch after batch, in the order in which they were first written. Each
/// batch is what is there when it is read.
pub struct Scan {
    connection: Connection,
    table: Table,
    /// The name of a row's number.
    number: &'static str,
    /// The values of the only partition that is meant; none where all are.
    key: Vec<Owned>,
    rows_max: usize,
    after: i64,
}

/// SQLite's names for the number of a row; each means a column where the table has one of that name, in any case.
const NUMBERS: [&str; 3] = ["rowid", "_rowid_", "oid"];

impl Scan {
    /// `stored` are the columns as they are; `None` where they hide each name of a row's number.
    pub(super) fn new(
        connection: Connection,
        table: &Table,
        stored: &[Column],
        key: Option<&PartitionKey>,
        rows_max: usize,
    ) -> Option<Self> {
        let is_hidden = |name: &&&str| stored.iter().any(|column| column.name.eq_ignore_ascii_case(name));
        let number = NUMBERS.iter().find(|name| !is_hidden(name))?;
        let key = key.into_iter().flat_map(PartitionKey::values);
        let key = key.map(|value| cell::owned(cell::stored(&value))).collect();
        Some(Self { connection, table: table.clone(), number, key, rows_max, after: i64::MIN })
    }

    fn read(&mut self) -> rusqlite::Result<Option<RecordBatch>> {
        let columns: Vec<_> = self.table.columns.iter().map(|column| quoted(&column.name)).collect();
        // A row is found by its key or by its number, never by both: the plus hides the number.
        let number = self.number;
        let by = if self.key.is_empty() { number.to_owned() } else { format!("+{number}") };
        let key = self.table.key().zip(3..self.key.len() + 3);
        let key: String = key.map(|(column, at)| format!(" AND {} = ?{at}", quoted(&column.name))).collect();
        let sql = format!(
            "SELECT {}, {number} FROM {} WHERE {by} > ?1{key} ORDER BY {by} LIMIT ?2",
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
