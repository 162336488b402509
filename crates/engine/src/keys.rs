//! The key of a message: `CAST(key AS STRING)`; of several columns a JSON array of these.

use arrow::array::{ArrayRef, RecordBatch};
use millstream_sql::cell_text;

/// The key columns of a batch.
pub(crate) struct Keys {
    columns: Vec<(String, ArrayRef)>,
}

impl Keys {
    pub(crate) fn new(batch: &RecordBatch, names: &[String]) -> Self {
        let columns =
            names.iter().filter_map(|name| Some((name.clone(), batch.column_by_name(name)?.clone())));
        Self { columns: columns.collect() }
    }

    /// The key of a row, or the name of the column that is null.
    pub(crate) fn get(&self, row: usize) -> Result<String, &str> {
        let mut parts = Vec::with_capacity(self.columns.len());
        for (name, column) in &self.columns {
            parts.push(cell_text(column, row).ok_or(name.as_str())?);
        }
        match parts.len() {
            1 => Ok(parts.remove(0)),
            _ => Ok(serde_json::to_string(&parts).expect("texts are JSON")),
        }
    }
}
