//! Reads a table page by page as Arrow batches, in the types in which Spark reads it.

use arrow::array::RecordBatch;
use futures::StreamExt;
use millstream_core::cql::{PartitionKey, RowsBuilder, Table, Value, quoted};
use millstream_core::{Error, Result, TableConnection};
use scylla::client::pager::TypedRowStream;
use scylla::client::session::Session;
use scylla::deserialize::row::{ColumnIterator, DeserializeRow};
use scylla::errors::{DeserializationError, SerializationError, TypeCheckError};
use scylla::frame::response::result::ColumnSpec;
use scylla::serialize::row::{RowSerializationContext, SerializeRow};
use scylla::serialize::writers::RowWriter;
use scylla::statement::Statement;
use tokio::runtime::Handle;
use tokio::task::block_in_place;

use super::connect::connect;
use super::errors::{explain_pages, explain_row};
use super::schema;

/// Rows that Cassandra sends at once, at most.
const PAGE_ROWS_MAX: usize = 5_000;

/// The rows of `table`, or only those of a partition, as they are when they are read, `rows_max` at a
/// time; `None` where there is no such table.
pub async fn scan(
    connection: &TableConnection,
    table: &Table,
    key: Option<&PartitionKey>,
    rows_max: usize,
) -> Result<Option<Scan>> {
    let session = connect(connection).await?;
    if schema::live(&session, table).await?.is_empty() {
        return Ok(None);
    }
    schema::compare(&session, table).await?;
    let columns: Vec<_> = table.columns.iter().map(|column| quoted(&column.name)).collect();
    let (keyspace, name) = (quoted(&table.keyspace), quoted(&table.name));
    let mut sql = format!("SELECT {} FROM {keyspace}.{name}", columns.join(", "));
    let mut bound = BoundKey(Vec::new());
    if let Some(key) = key {
        for (column, value) in table.key().zip(key.values()) {
            let before = if bound.0.is_empty() { " WHERE" } else { " AND" };
            sql += &format!("{before} {} = ?", quoted(&column.name));
            bound.0.push(value.serialized(&column.kind).into_owned());
        }
    }
    let what = format!("reading table {table} in Cassandra at {}", connection.hosts);
    let page_size = rows_max.min(PAGE_ROWS_MAX) as i32;
    let statement = Statement::new(sql).with_page_size(page_size);
    let rows = session.query_iter(statement, bound).await.map_err(|e| explain_pages(&what, e))?;
    let rows = rows.rows_stream::<StoredRow>().map_err(|e| Error::ours(format!("{what}: {e}")))?;
    Ok(Some(Scan { rows, what, table: table.clone(), rows_max, _session: session }))
}

/// The rows of a table, batch after batch.
pub struct Scan {
    rows: TypedRowStream<StoredRow>,
    /// What is attempted, for when it fails.
    what: String,
    table: Table,
    rows_max: usize,
    /// It must live as long as it is read from.
    _session: Session,
}

impl Scan {
    async fn read(&mut self) -> Result<Option<RecordBatch>, String> {
        let mut found = RowsBuilder::new(&self.table);
        for _ in 0..self.rows_max {
            let Some(row) = self.rows.next().await else { break };
            let row = row.map_err(|e| explain_row(&self.what, e).to_string())?;
            let cells = row.0.iter().zip(&self.table.columns);
            let values = cells.map(|(bytes, column)| Value::deserialized(bytes.as_deref()?, &column.kind));
            found.push(values);
        }
        Ok(found.finish())
    }
}

impl Iterator for Scan {
    type Item = Result<RecordBatch, String>;

    fn next(&mut self) -> Option<Self::Item> {
        block_in_place(|| Handle::current().block_on(self.read())).transpose()
    }
}

/// The values of a partition key in the bytes that Cassandra stores.
struct BoundKey(Vec<Vec<u8>>);

impl SerializeRow for BoundKey {
    fn serialize(
        &self,
        _: &RowSerializationContext<'_>,
        writer: &mut RowWriter<'_>,
    ) -> Result<(), SerializationError> {
        for value in &self.0 {
            writer.make_cell_writer().set_value(value).map_err(SerializationError::new)?;
        }
        Ok(())
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A row's cells in the bytes that Cassandra stores; none for a null.
struct StoredRow(Vec<Option<Vec<u8>>>);

impl<'frame> DeserializeRow<'frame, '_> for StoredRow {
    /// What the bytes are is said by the table, which was compared.
    fn type_check(_: &[ColumnSpec<'_>]) -> Result<(), TypeCheckError> {
        Ok(())
    }

    fn deserialize(row: ColumnIterator<'frame, '_>) -> Result<Self, DeserializationError> {
        let cells = row.map(|cell| Ok(cell?.slice.map(|slice| slice.as_slice().to_vec())));
        cells.collect::<Result<_, _>>().map(Self)
    }
}
