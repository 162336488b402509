//! A batch's rows as values of a table's columns, each checked before any store sees it.

use arrow::array::RecordBatch;

use super::{Cells, Key, Table, Value};
use crate::Reason;

/// The longest partition key that Cassandra takes.
const KEY_BYTES_MAX: usize = 65_535;

/// Reads the rows of a batch for a table.
pub struct RowReader<'a> {
    table: &'a Table,
    /// By the table's order; none for a column that the batch does not have.
    columns: Vec<Option<Cells>>,
}

impl<'a> RowReader<'a> {
    /// Prepares a batch's columns, by name those of the table.
    pub fn new(table: &'a Table, batch: &RecordBatch) -> Self {
        let columns = table.columns.iter().map(|column| {
            batch.column_by_name(&column.name).and_then(|array| Cells::new(array, &column.kind))
        });
        Self { table, columns: columns.collect() }
    }

    /// Whether the batch has the table's column of that place. One that it does not have is no
    /// null: nothing is known of it.
    pub fn has(&self, column: usize) -> bool {
        self.columns[column].is_some()
    }

    /// The row's values in the table's order, or why it can never be written.
    pub fn row(&self, at: usize) -> Result<Vec<Option<Value<'_>>>, (Reason, String)> {
        let mut values = Vec::with_capacity(self.columns.len());
        for (column, cells) in self.table.columns.iter().zip(&self.columns) {
            let value = match cells {
                Some(cells) => cells.get(at).map_err(|misfit| {
                    let detail = format!("{}{}: {}", column.name, misfit.place, misfit.why);
                    (Reason::BadValue, detail)
                })?,
                None => None,
            };
            if column.key.is_some() && value.is_none() {
                return Err((Reason::NullKey, format!("{} is null", column.name)));
            }
            values.push(value);
        }
        self.check_partition_key(&values)?;
        Ok(values)
    }

    fn check_partition_key(&self, values: &[Option<Value<'_>>]) -> Result<(), (Reason, String)> {
        let parts: Vec<_> = self
            .table
            .columns
            .iter()
            .zip(values)
            .filter(|(column, _)| column.key == Some(Key::Partition))
            .filter_map(|(column, value)| Some((column, value.as_ref()?)))
            .collect();
        let mut length = 0;
        for (column, value) in &parts {
            let bytes = match value {
                Value::Text(text) => text.len(),
                Value::Blob(bytes) => bytes.len(),
                Value::Collection(bytes) => bytes.len(),
                _ => continue,
            };
            if bytes == 0 && parts.len() == 1 {
                return Err((
                    Reason::NullKey,
                    format!("{} is empty, which no partition key may be", column.name),
                ));
            }
            length += bytes;
        }
        if length > KEY_BYTES_MAX {
            return Err((
                Reason::NullKey,
                format!("the partition key has {length} bytes, {KEY_BYTES_MAX} are possible"),
            ));
        }
        Ok(())
    }
}
