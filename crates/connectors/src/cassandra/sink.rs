//! Writes rows: many at a time, small batches for those that live on the same nodes. A row counts as
//! written when the cluster has acknowledged it; what it did not is tried again.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use millstream_core::cql::{RowReader, Table, quoted};
use millstream_core::{Error, Nulls, Reason, Result, RowSink, Rows, TableConnection, TableSettings, Written};
use scylla::client::session::Session;
use scylla::errors::ExecutionError;
use scylla::statement::batch::{Batch, BatchType};
use scylla::statement::prepared::PreparedStatement;

use super::connect::{connect, named};
use super::errors::{self, Meaning, explain};
use super::row::BoundRow;
use super::schema;

/// Requests under way at once.
const REQUESTS_MAX: usize = 128;
/// Rows of one batch, and their bytes: below what Cassandra warns of (5 KiB).
const BATCH_ROWS_MAX: usize = 10;
const BATCH_BYTES_MAX: usize = 4 << 10;
/// How long to wait before rows that were not acknowledged are tried again, while others are.
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// Rows of one table.
pub(super) struct CassandraSink {
    connection: TableConnection,
    settings: TableSettings,
    table: Table,
    open: Option<Open>,
}

/// A session with everything prepared.
struct Open {
    session: Session,
    insert: PreparedStatement,
    /// Batches of the statement, by how many rows they take.
    batches: Vec<Batch>,
}

impl CassandraSink {
    pub(super) fn new(connection: TableConnection, settings: TableSettings, table: Table) -> Self {
        Self { connection, settings, table, open: None }
    }

    /// The statement that writes a row, every value and then the write time as parameters.
    fn insert(&self) -> String {
        let columns: Vec<_> = self.table.columns.iter().map(|column| quoted(&column.name)).collect();
        let ttl = self.settings.ttl.map(|ttl| format!(" AND TTL {}", ttl.0.as_secs().max(1)));
        format!(
            "INSERT INTO {}.{} ({}) VALUES ({}) USING TIMESTAMP ?{}",
            quoted(&self.table.keyspace),
            quoted(&self.table.name),
            columns.join(", "),
            vec!["?"; columns.len()].join(", "),
            ttl.unwrap_or_default(),
        )
    }
}

#[async_trait]
impl RowSink for CassandraSink {
    async fn prepare(&mut self) -> Result<()> {
        let session = connect(&self.connection).await?;
        schema::ensure(&session, &self.connection, &self.table).await?;
        let prepared = session.prepare(self.insert()).await;
        let mut insert = prepared.map_err(|e| {
            let error = explain(&format!("preparing to write table {}", self.table), &e.into());
            match error.message.contains("does not exist") {
                // It was there a moment ago: several workers make it at the same time.
                true => Error::passing(error.message).help("it is being made; is somebody dropping it?"),
                false => error,
            }
        })?;
        // The write time makes a row that is written twice the same row.
        insert.set_is_idempotent(true);
        let consistency = named(self.settings.consistency);
        insert.set_consistency(consistency);
        let batches = (0..=BATCH_ROWS_MAX).map(|rows| {
            let statements = vec![insert.clone().into(); rows];
            let mut batch = Batch::new_with_statements(BatchType::Unlogged, statements);
            batch.set_is_idempotent(true);
            // What its statements say of it does not count.
            batch.set_consistency(consistency);
            batch
        });
        self.open = Some(Open { session, batches: batches.collect(), insert });
        Ok(())
    }

    async fn write(&mut self, rows: &Rows<'_>) -> Result<Written> {
        let open =
            self.open.as_ref().ok_or_else(|| Error::ours("a table is written before it is prepared"))?;
        let writer = Writer {
            open,
            hosts: &self.connection.hosts,
            table: &self.table,
            reader: RowReader::new(&self.table, rows.batch),
            nulls: self.settings.nulls,
            rows,
        };
        writer.write().await
    }

    /// A row is durable once it is written.
    async fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Rows that go out in one request, and where in the batch each stands.
#[derive(Default)]
struct Unit<'a> {
    places: Vec<u32>,
    rows: Vec<BoundRow<'a>>,
    bytes: usize,
}

impl<'a> Unit<'a> {
    fn push(&mut self, place: u32, row: BoundRow<'a>) {
        self.bytes += row.size_bytes();
        self.places.push(place);
        self.rows.push(row);
    }

    fn has_room_for(&self, row: &BoundRow<'_>) -> bool {
        self.rows.is_empty()
            || self.rows.len() < BATCH_ROWS_MAX && self.bytes + row.size_bytes() <= BATCH_BYTES_MAX
    }

    /// Each row for itself.
    fn apart(self) -> impl Iterator<Item = Self> {
        self.places.into_iter().zip(self.rows).map(|(place, row)| {
            let mut alone = Self::default();
            alone.push(place, row);
            alone
        })
    }
}

/// A batch of rows on its way.
struct Writer<'a> {
    open: &'a Open,
    hosts: &'a str,
    table: &'a Table,
    reader: RowReader<'a>,
    nulls: Nulls,
    rows: &'a Rows<'a>,
}

impl Writer<'_> {
    async fn write(&self) -> Result<Written> {
        let mut written = Written::default();
        let mut waiting = self.units(&mut written);
        let mut wait = FIRST_WAIT;
        let mut refused = Vec::new();
        while !waiting.is_empty() {
            let mut passing = None;
            let mut again = Vec::new();
            let mut acknowledged = 0;
            let mut units = waiting.into_iter();
            let mut under_way = FuturesUnordered::new();
            loop {
                let room = REQUESTS_MAX - under_way.len();
                under_way.extend(units.by_ref().take(room).map(|unit| self.send(unit)));
                let Some((unit, sent)) = under_way.next().await else { break };
                match sent {
                    Ok(()) => acknowledged += unit.rows.len() as u64,
                    Err(error) => match errors::meaning(&error) {
                        Meaning::Passing => {
                            passing = Some(error);
                            again.push(unit);
                        }
                        Meaning::Refused if unit.rows.len() > 1 => again.extend(unit.apart()),
                        Meaning::Refused => refused.push((unit.places[0], errors::words(&error))),
                        Meaning::Lasting => return Err(explain(&self.what(), &error)),
                    },
                }
            }
            written.written += acknowledged;
            waiting = again;
            if let Some(error) = passing {
                // Where nothing at all gets through it is the engine's turn to wait, and to say so.
                if acknowledged == 0 {
                    return Err(explain(&self.what(), &error));
                }
                tracing::debug!("{} rows of {} are tried again: {error}", waiting.len(), self.table);
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(LONGEST_WAIT);
            }
        }
        if !refused.is_empty() {
            // Is it the row, or has the table changed under us?
            schema::compare(&self.open.session, self.table).await?;
            if let Some((_, words)) = refused.iter().find(|(_, words)| errors::is_of_schema(words)) {
                let error = Error::passing(format!("{}: {words}", self.what()));
                return Err(error.help("a node does not know the table as it is now; it should, soon"));
            }
            let reasons = refused.into_iter().map(|(row, words)| (row, reason(&words), words));
            written.refused.extend(reasons);
        }
        Ok(written)
    }

    fn what(&self) -> String {
        format!("writing table {} in Cassandra at {}", self.table, self.hosts)
    }

    /// The rows as requests; those that no table takes are refused at once.
    fn units(&self, written: &mut Written) -> Vec<Unit<'_>> {
        let cluster = self.open.session.get_cluster_state();
        let is_alone = cluster.get_nodes_info().len() <= 1;
        // The batch that is open, by the nodes that its rows live on.
        let mut open: BTreeMap<Vec<uuid::Uuid>, Unit<'_>> = BTreeMap::new();
        let mut units = Vec::new();
        for at in 0..self.rows.write_times.len() as u32 {
            let row = match self.row(at) {
                Ok(row) => row,
                Err((reason, detail)) => {
                    written.refused.push((at, reason, detail));
                    continue;
                }
            };
            let mut nodes = Vec::new();
            if !is_alone && let Ok(Some(token)) = self.open.insert.calculate_token(&row) {
                let (keyspace, table) = (&self.table.keyspace, &self.table.name);
                nodes.extend(
                    cluster.get_token_endpoints(keyspace, table, token).iter().map(|(n, _)| n.host_id),
                );
                nodes.sort_unstable();
            }
            let unit = open.entry(nodes).or_default();
            if !unit.has_room_for(&row) {
                units.push(std::mem::take(unit));
            }
            unit.push(at, row);
        }
        units.extend(open.into_values());
        units
    }

    fn row(&self, at: u32) -> Result<BoundRow<'_>, (Reason, String)> {
        let at = at as usize;
        let values = self.reader.row(at)?;
        Ok(BoundRow {
            table: self.table,
            reader: &self.reader,
            values,
            nulls: self.nulls,
            write_time: self.rows.write_times[at],
        })
    }

    async fn send<'u>(&self, unit: Unit<'u>) -> (Unit<'u>, Result<(), ExecutionError>) {
        let session = &self.open.session;
        let sent = match unit.rows.as_slice() {
            [row] => session.execute_unpaged(&self.open.insert, row).await.map(|_| ()),
            rows => session.batch(&self.open.batches[rows.len()], rows).await.map(|_| ()),
        };
        (unit, sent)
    }
}

/// What the server's words mean for a dead letter.
fn reason(words: &str) -> Reason {
    let words = words.to_lowercase();
    let is_too_large = ["too large", "too big", "oversized"].iter().any(|part| words.contains(part));
    if is_too_large { Reason::TooLarge } else { Reason::BadValue }
}
