//! A batch's rows as values of a table's columns, each checked before any store sees it.

use arrow::array::RecordBatch;

use super::{Cells, Key, Table, Value};
use crate::Reason;

/// The longest partition key that Cassandra takes, and the longest clustering columns of a row, together.
pub const KEY_BYTES_MAX: usize = 65_535;
/// What Cassandra adds to each column of a partition key that has several: its length and an end.
pub const KEY_PART_BYTES: usize = 3;

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
        self.check_key(&values, Key::Partition)?;
        self.check_key(&values, Key::Clustering)?;
        Ok(values)
    }

    /// Whether Cassandra takes the columns that are `key`; each of them may well be a value.
    fn check_key(&self, values: &[Option<Value<'_>>], key: Key) -> Result<(), (Reason, String)> {
        let parts: Vec<_> = self
            .table
            .columns
            .iter()
            .zip(values)
            .filter(|(column, _)| column.key == Some(key))
            .filter_map(|(column, value)| Some((column, value.as_ref()?)))
            .collect();
        if let (Key::Partition, [(column, value)]) = (key, parts.as_slice())
            && value.size_bytes() == 0
        {
            let why = format!("{} is empty, which no partition key may be", column.name);
            return Err((Reason::NullKey, why));
        }
        let bytes = parts.iter().map(|(column, value)| {
            column.kind.value_bytes().unwrap_or_else(|| value.serialized(&column.kind).len())
        });
        let mut length: usize = bytes.sum();
        if key == Key::Partition && parts.len() > 1 {
            length += KEY_PART_BYTES * parts.len();
        }
        if length > KEY_BYTES_MAX {
            let why = format!("{} {length} bytes, {KEY_BYTES_MAX} are possible", key.has());
            return Err((Reason::NullKey, why));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int32Array, StringArray};

    use super::*;
    use crate::cql::parse;

    /// Why a row is refused whose texts have these lengths; its `n` is a number.
    fn refused(columns: &str, texts: &[(&str, usize)]) -> Option<(Reason, String)> {
        let table = parse(&format!("CREATE TABLE k.t ({columns})"), "k", "t").expect("a table");
        let n: ArrayRef = Arc::new(Int32Array::from(vec![1]));
        let mut columns = vec![("n", n)];
        for (name, length) in texts {
            let text: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(*length)]));
            columns.push((*name, text));
        }
        let batch = RecordBatch::try_from_iter(columns).expect("a batch");
        let reader = RowReader::new(&table, &batch);
        reader.row(0).err()
    }

    #[test]
    fn a_key_is_as_long_as_cassandra_takes_it() {
        let two = "id text, url text, PRIMARY KEY (id, url)";
        let numbered = "id text, n int, url text, PRIMARY KEY (id, n, url)";
        let composite = "id text, n int, url text, PRIMARY KEY ((id, n), url)";
        for (columns, id, url, expected) in [
            (two, 65_535, 65_535, None),
            (two, 65_536, 1, Some("the partition key has 65536 bytes, 65535 are possible")),
            (two, 1, 70_000, Some("the clustering columns have 70000 bytes, 65535 are possible")),
            (two, 0, 1, Some("id is empty, which no partition key may be")),
            (two, 1, 0, None),
            (numbered, 1, 65_531, None),
            (numbered, 1, 65_532, Some("the clustering columns have 65536 bytes, 65535 are possible")),
            (composite, 65_525, 0, None),
            (composite, 65_526, 0, Some("the partition key has 65536 bytes, 65535 are possible")),
            (composite, 0, 0, None),
        ] {
            let expected = expected.map(|why| (Reason::NullKey, why.to_owned()));
            let found = refused(columns, &[("id", id), ("url", url)]);
            assert_eq!(found, expected, "{columns}: {id}, {url}");
        }
    }
}
