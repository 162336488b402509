//! A row as the driver takes it: every value in the bytes that Cassandra stores.

use millstream_core::Nulls;
use millstream_core::cql::{RowReader, Table, Value};
use scylla::errors::SerializationError;
use scylla::serialize::row::{RowSerializationContext, SerializeRow};
use scylla::serialize::writers::RowWriter;

/// A row with its write time behind it, in the order of the statement.
pub(super) struct BoundRow<'a> {
    pub(super) table: &'a Table,
    pub(super) reader: &'a RowReader<'a>,
    pub(super) values: Vec<Option<Value<'a>>>,
    pub(super) nulls: Nulls,
    /// Microseconds since 1970.
    pub(super) write_time: i64,
}

impl BoundRow<'_> {
    /// Its values' bytes, for keeping batches small.
    pub(super) fn size_bytes(&self) -> usize {
        self.values.iter().flatten().map(Value::size_bytes).sum()
    }
}

impl SerializeRow for BoundRow<'_> {
    fn serialize(
        &self,
        _: &RowSerializationContext<'_>,
        writer: &mut RowWriter<'_>,
    ) -> Result<(), SerializationError> {
        for (at, (column, value)) in self.table.columns.iter().zip(&self.values).enumerate() {
            let cell = writer.make_cell_writer();
            match value {
                Some(value) => {
                    cell.set_value(&value.serialized(&column.kind)).map_err(SerializationError::new)?
                }
                None if self.nulls == Nulls::Delete && self.reader.has(at) => cell.set_null(),
                None => cell.set_unset(),
            };
        }
        let time = writer.make_cell_writer();
        time.set_value(&self.write_time.to_be_bytes()).map_err(SerializationError::new)?;
        Ok(())
    }

    fn is_empty(&self) -> bool {
        false
    }
}
