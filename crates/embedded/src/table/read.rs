//! Reads a table as Arrow batches, in the types in which Spark reads it.

use arrow::array::RecordBatch;
use millstream_core::cql::{RowsBuilder, Table};
use rusqlite::{Connection, OptionalExtension, params};

use super::{CATALOG, cell, quoted, stored_name};

/// The rows of a table, batch after batch, in the order in which they were first written. Each
/// batch is what is there when it is read.
pub struct Scan {
    connection: Connection,
    table: Table,
    rows_max: usize,
    after: i64,
}

impl Scan {
    pub(super) fn open(
        connection: Connection,
        table: &Table,
        rows_max: usize,
    ) -> rusqlite::Result<Option<Self>> {
        let catalog: Option<i64> = connection
            .query_row("SELECT 1 FROM sqlite_schema WHERE name = ?1", [CATALOG], |row| row.get(0))
            .optional()?;
        if catalog.is_none() {
            return Ok(None);
        }
        let known: Option<i64> = connection
            .query_row(
                &format!("SELECT 1 FROM {} WHERE name = ?1", quoted(CATALOG)),
                [table.to_string()],
                |row| row.get(0),
            )
            .optional()?;
        Ok(known.map(|_| Self { connection, table: table.clone(), rows_max, after: i64::MIN }))
    }

    fn read(&mut self) -> rusqlite::Result<Option<RecordBatch>> {
        let columns: Vec<_> = self.table.columns.iter().map(|column| quoted(&column.name)).collect();
        let sql = format!(
            "SELECT {}, rowid FROM {} WHERE rowid > ?1 ORDER BY rowid LIMIT ?2",
            columns.join(", "),
            stored_name(&self.table)
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows = statement.query(params![self.after, self.rows_max as i64])?;
        let mut found = RowsBuilder::new(&self.table);
        while let Some(row) = rows.next()? {
            let mut values = Vec::with_capacity(columns.len());
            for (at, column) in self.table.columns.iter().enumerate() {
                values.push(cell::restored(row.get_ref(at)?, column.kind));
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
