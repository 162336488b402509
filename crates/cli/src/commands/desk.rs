//! Answers what the page and the API ask of a pipeline's data, from where it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use async_trait::async_trait;
use millstream_connectors::kafka::{Connection, newest};
use millstream_core::{Error, Result, RunValues, Settled, cql, now_ms};
use millstream_embedded::TableStore;
use millstream_engine::{Plan, RunOptions, Supervisor, Until};
use millstream_server::{
    Desk, FoundLetter, FoundLetters, FoundRecord, LetterFilter, ROWS_SEARCHED_MAX, Replayed, Rows,
};
use millstream_sql::{QueryError, TableQuery, cell_text};
use tokio::sync::Mutex;
use tokio::task::block_in_place;
use tokio_util::sync::CancellationToken;

use super::dead_letters::{Book, Found, Original, read_originals, replay, settle, topics, wanted};
use crate::{args, bind};

/// How long a service may not answer somebody who waits in front of a page.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);
/// Rows that are read at once while some of them are searched.
const ROWS_READ_AT_ONCE: usize = 1_000;
/// Bytes that are shown of a value, and of a dead letter.
const VALUE_BYTES_MAX: usize = 64 << 10;

/// The data of one pipeline whose services run.
pub(super) struct PipelineDesk {
    supervisor: Arc<Supervisor>,
    tables: TableStore,
    connection: Connection,
    stop: CancellationToken,
    /// Letters are settled by one at a time.
    settling: Mutex<()>,
    /// They are looked at by one at a time: whoever does holds all that are open.
    looking: Mutex<()>,
}

impl PipelineDesk {
    /// The desk of a pipeline at work, with its embedded tables and its broker.
    pub(super) fn new(
        supervisor: Arc<Supervisor>,
        tables: TableStore,
        connection: Connection,
        stop: CancellationToken,
    ) -> Self {
        Self { supervisor, tables, connection, stop, settling: Mutex::new(()), looking: Mutex::new(()) }
    }

    fn plan(&self) -> &Plan {
        self.supervisor.plan()
    }

    /// Without what is secret.
    fn mask(&self, text: &str) -> String {
        self.plan().pipeline.secrets.mask(text)
    }

    /// As [`PipelineDesk::mask`], for a result.
    fn hide<T>(&self, result: Result<T>) -> Result<T> {
        let mask = |text: String| self.mask(&text);
        result.map_err(|error| Error { message: mask(error.message), help: error.help.map(mask), ..error })
    }

    async fn look_up(
        &self,
        name: &str,
        wanted: &[(String, String)],
        count_max: usize,
    ) -> Result<Option<Rows>> {
        let found = self.plan().table(Some(name));
        let (_, table) = found.ok_or_else(|| Error::user(format!("no flow writes a table `{name}`")))?;
        let schema = cql::schema_of(table);
        let mut conditions = Vec::new();
        for (column, value) in wanted {
            let field = schema.fields().iter().find(|field| field.name() == column);
            let field = field.ok_or_else(|| Error::user(format!("{table} has no column `{column}`")))?;
            conditions.push(condition(column, field.data_type(), value));
        }
        let (filter, rows_max) = match conditions.as_slice() {
            [] => (String::new(), count_max),
            conditions => (format!(" WHERE {}", conditions.join(" AND ")), ROWS_READ_AT_ONCE),
        };
        let sql = format!("SELECT * FROM t{filter} LIMIT {count_max}");
        let query = TableQuery::parse(&sql).map_err(|e| Error::ours(format!("{sql}: {e}")))?;
        let key = cql::PartitionKey::of(table, &query.constants(&schema));
        let tables = bind::Tables::of(&self.plan().pipeline, &self.tables)?;
        let Some(scan) = tables.scan(table, key.as_ref(), rows_max).await? else { return Ok(None) };
        let searched = Arc::new(AtomicUsize::new(0));
        let counter = searched.clone();
        let scan = scan.take(ROWS_SEARCHED_MAX.div_ceil(rows_max)).inspect(move |batch| {
            let rows = batch.as_ref().map_or(0, RecordBatch::num_rows);
            counter.fetch_add(rows, Ordering::Relaxed);
        });
        let batches = query.run(schema, Box::new(scan)).await.map_err(|e| match e {
            QueryError::Sql(error) => Error::ours(error.to_string()),
            QueryError::Run(error) => error,
        })?;
        let mut rows =
            Rows { columns: table.columns.iter().map(|c| c.name.clone()).collect(), ..Rows::default() };
        for batch in batches {
            let schema = batch.schema();
            rows.columns = schema.fields().iter().map(|field| field.name().clone()).collect();
            for row in 0..batch.num_rows() {
                rows.rows.push(batch.columns().iter().map(|column| cell_text(column, row)).collect());
            }
        }
        rows.truncated =
            rows.rows.len() == count_max || searched.load(Ordering::Relaxed) >= ROWS_SEARCHED_MAX;
        Ok(Some(rows))
    }

    fn read_book(&self) -> Result<Book> {
        Book::read(&self.connection, &topics(self.plan()))
    }

    /// Bytes as text, without what is secret; the beginning where there are many.
    fn text(&self, bytes: &[u8]) -> String {
        self.mask(&String::from_utf8_lossy(&bytes[..bytes.len().min(VALUE_BYTES_MAX)]))
    }

    fn shown(&self, place: &str, found: &Found, original: &Original) -> FoundLetter {
        let text = |bytes: &[u8]| self.text(bytes);
        let letter = &found.letter;
        FoundLetter {
            place: place.to_owned(),
            flow: letter.flow.clone(),
            reason: letter.reason.to_string(),
            detail: self.mask(&letter.detail),
            origin: letter.origin.as_ref().map(|origin| self.mask(&origin.address)),
            timestamp_ms: found.timestamp,
            key: original.key.as_deref().map(text),
            value: original.value.as_deref().map(text),
            value_bytes: found.value_bytes,
        }
    }
}

/// `column = value`, so that a key is recognised where it is one.
fn condition(column: &str, data_type: &DataType, value: &str) -> String {
    let column = format!("`{}`", column.replace('`', "``"));
    let text = format!("'{}'", value.replace('\\', "\\\\").replace('\'', "\\'"));
    match data_type {
        DataType::Utf8 => format!("{column} = {text}"),
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64
            if value.parse::<i64>().is_ok() =>
        {
            format!("{column} = {value}")
        }
        // Bytes need be no text, but a text is bytes.
        DataType::Binary => format!("{column} = CAST({text} AS BINARY)"),
        _ => format!("CAST({column} AS STRING) = {text}"),
    }
}

#[async_trait]
impl Desk for PipelineDesk {
    async fn rows(&self, table: &str, wanted: &[(String, String)], count_max: usize) -> Result<Option<Rows>> {
        self.hide(self.look_up(table, wanted, count_max).await)
    }

    async fn records(&self, topic: &str, count_max: usize) -> Result<Vec<FoundRecord>> {
        let found = self.hide(block_in_place(|| newest(&self.connection, topic, count_max as i64)))?;
        let text = |bytes: &[u8]| self.text(bytes);
        let mut records: Vec<FoundRecord> = found
            .iter()
            .map(|record| FoundRecord {
                partition: record.partition,
                offset: record.offset,
                timestamp_ms: record.timestamp,
                key: record.key.map(text),
                value: record.value.map(text),
                headers: record
                    .headers
                    .iter()
                    .map(|(name, value)| (name.clone(), value.as_deref().map(text)))
                    .collect(),
            })
            .collect();
        records.sort_by_key(|record| std::cmp::Reverse((record.timestamp_ms, record.offset)));
        records.truncate(count_max);
        Ok(records)
    }

    async fn dead_letters(&self, filter: &LetterFilter, count_max: usize) -> Result<FoundLetters> {
        let _alone = self.looking.lock().await;
        let book = self.hide(self.read_book())?;
        let mut wanted = wanted(&book, &as_args(filter))?;
        let count = wanted.len();
        wanted.truncate(count_max);
        let originals = self.hide(read_originals(&self.connection, &wanted, VALUE_BYTES_MAX))?;
        let letters = wanted.iter().zip(&originals);
        let letters = letters.map(|((place, found), original)| self.shown(place, found, original)).collect();
        Ok(FoundLetters { count, letters })
    }

    async fn replay(&self, filter: &LetterFilter) -> Result<Replayed> {
        let _alone = self.settling.lock().await;
        let options = RunOptions {
            flows: Vec::new(),
            until: Until::Drained,
            patience: Some(PATIENCE),
            stop: self.stop.clone(),
            clock: now_ms,
            values: RunValues::default(),
        };
        let replayed =
            replay(self.plan(), self.supervisor.registry(), &self.connection, &as_args(filter), &options)
                .await;
        let replayed = self.hide(replayed)?;
        Ok(Replayed { replayed: replayed.done as u64, died_again: replayed.again as u64 })
    }

    async fn purge(&self, filter: &LetterFilter) -> Result<u64> {
        let _alone = self.settling.lock().await;
        let book = self.hide(self.read_book())?;
        let wanted = wanted(&book, &as_args(filter))?;
        self.hide(settle(&self.connection, &wanted, Settled::Purged).await)?;
        Ok(wanted.len() as u64)
    }
}

fn as_args(filter: &LetterFilter) -> args::LetterFilter {
    args::LetterFilter {
        places: filter.places.clone(),
        flow: filter.flow.clone(),
        reason: filter.reason.clone(),
        contains: filter.contains.clone(),
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{Field, Schema, TimeUnit};
    use millstream_sql::FlowQuery;

    use super::*;

    #[test]
    fn columns_of_every_type_are_searched() {
        for kind in [
            DataType::Utf8,
            DataType::Binary,
            DataType::Int32,
            DataType::Float64,
            DataType::Boolean,
            DataType::Date32,
            DataType::Decimal128(10, 2),
            DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        ] {
            let schema = Schema::new(vec![Field::new("a`b", kind.clone(), true)]);
            for value in ["1", "it's"] {
                let sql = format!("SELECT 1 AS one FROM input WHERE {}", condition("a`b", &kind, value));
                assert!(FlowQuery::new(&sql, &schema).is_ok(), "{sql}");
            }
        }
    }
}
