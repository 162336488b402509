//! Reads a table page by page as Arrow batches, in the types in which Spark reads it.

use arrow::array::RecordBatch;
use futures::StreamExt;
use millstream_core::cql::{RowsBuilder, Table, Type, Value};
use millstream_core::{Consistency, Error, Result, TableConnection};
use scylla::client::pager::TypedRowStream;
use scylla::client::session::Session;
use scylla::value::{CqlValue, Row};
use tokio::runtime::Handle;
use tokio::task::block_in_place;
use uuid::Uuid;

use super::connect::connect;
use super::schema;

/// The rows of `table` as they are when they are read, `rows_max` at a time; `None` where there is
/// no such table.
pub async fn scan(connection: &TableConnection, table: &Table, rows_max: usize) -> Result<Option<Scan>> {
    let session = connect(connection, Consistency::LocalQuorum).await?;
    if schema::live(&session, table).await?.is_empty() {
        return Ok(None);
    }
    let columns: Vec<_> = table.columns.iter().map(|column| schema::quoted(&column.name)).collect();
    let (keyspace, name) = (schema::quoted(&table.keyspace), schema::quoted(&table.name));
    let sql = format!("SELECT {} FROM {keyspace}.{name}", columns.join(", "));
    let failed = |e: &dyn std::fmt::Display| Error::passing(format!("reading table {table}: {e}"));
    let rows = session.query_iter(sql, ()).await.map_err(|e| failed(&e))?;
    let rows = rows.rows_stream::<Row>().map_err(|e| failed(&e))?;
    Ok(Some(Scan { rows, table: table.clone(), rows_max, _session: session }))
}

/// The rows of a table, batch after batch.
pub struct Scan {
    rows: TypedRowStream<Row>,
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
            let row = row.map_err(|e| format!("cannot read table {}: {e}", self.table))?;
            let values = row.columns.iter().zip(&self.table.columns);
            found.push(values.map(|(value, column)| value.as_ref().and_then(|v| restored(v, column.kind))));
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

/// The driver's value as ours; `None` for one of another type than the column's.
fn restored(value: &CqlValue, kind: Type) -> Option<Value<'_>> {
    Some(match value {
        CqlValue::Ascii(text) | CqlValue::Text(text) => Value::Text(text),
        CqlValue::Blob(bytes) => Value::Blob(bytes),
        CqlValue::Boolean(value) => Value::Boolean(*value),
        CqlValue::TinyInt(number) => Value::Integer((*number).into()),
        CqlValue::SmallInt(number) => Value::Integer((*number).into()),
        CqlValue::Int(number) => Value::Integer((*number).into()),
        CqlValue::BigInt(number) => Value::Integer(*number),
        CqlValue::Date(date) => Value::Integer(i64::from(date.0) - (1 << 31)),
        CqlValue::Timestamp(timestamp) => Value::Integer(timestamp.0),
        CqlValue::Time(time) => Value::Integer(time.0),
        CqlValue::Float(number) => Value::Double((*number).into()),
        CqlValue::Double(number) => Value::Double(*number),
        CqlValue::Decimal(number) => {
            let (bytes, scale) = number.as_signed_be_bytes_slice_and_exponent();
            Value::Decimal { unscaled: signed(bytes)?, scale: scale.try_into().ok()? }
        }
        CqlValue::Varint(number) => {
            Value::Decimal { unscaled: signed(number.as_signed_bytes_be_slice())?, scale: 0 }
        }
        CqlValue::Uuid(uuid) => Value::Uuid(*uuid),
        CqlValue::Timeuuid(uuid) => Value::Uuid(Uuid::from_bytes(*uuid.as_bytes())),
        CqlValue::Inet(address) => Value::Inet(*address),
        // A value without bytes, which Cassandra allows for most types.
        CqlValue::Empty if matches!(kind, Type::Text | Type::Ascii) => Value::Text(""),
        _ => return None,
    })
}

/// Big-endian two's complement; `None` where it has more than 16 bytes.
fn signed(bytes: &[u8]) -> Option<i128> {
    let first = *bytes.first()?;
    let mut whole = if first & 0x80 == 0 { [0; 16] } else { [0xff; 16] };
    let start = whole.len().checked_sub(bytes.len())?;
    whole[start..].copy_from_slice(bytes);
    Some(i128::from_be_bytes(whole))
}
