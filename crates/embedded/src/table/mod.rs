//! A table store on SQLite with Cassandra's rule of which value is newer, cell by cell.
//! One file holds all tables; it may be read by other processes while it is written.

mod catalog;
mod cell;
mod flush;
mod in_hand;
mod merge;
mod read;
mod row;
mod sink;
mod statements;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use millstream_core::cql::quoted;
use millstream_core::{Error, Result, Scope, Sink, SinkKind, SinkPlan, TableSettings, cql, settings};
use parking_lot::Mutex;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use schemars::{Schema, schema_for};
use serde_json::Value;

pub(crate) use flush::Flusher;
pub use read::Scan;

/// How long a writer waits for another to finish its transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// What SQLite reads and writes at once. Keys in no order change nearly every page of an index, and a page costs a call
/// of the system more than it costs to copy.
const PAGE_BYTES: i64 = 16 << 10;

/// Bytes in SQLite's log of rows before its writer empties it.
const LOG_BYTES_MAX: i64 = 64 << 20;

/// The same where a broker empties it: its writer does so only when that one cannot keep up.
const LOG_BYTES_MAX_BESIDE_BROKER: i64 = 1 << 30;

/// A log that was longer is cut to this when it begins anew.
const LOG_BYTES_KEPT: i64 = 64 << 20;

/// What SQLite keeps of its file in memory.
const CACHE_KIB: i64 = 2 * 1024;

/// The column with a row's write time, for all cells that `CELLS` does not name.
const TIME: &str = "~time";
/// The column with a write time for each cell, where they differ.
const CELLS: &str = "~cells";
/// The table that describes the tables.
const CATALOG: &str = "~tables";

/// The tables in one file.
#[derive(Debug, Clone)]
pub struct TableStore {
    path: PathBuf,
    /// A broker in this process flushes it, after the messages that its rows came from.
    is_beside_broker: Arc<AtomicBool>,
    /// Whoever writes in this process waits here first, and goes on in turn: for SQLite's own lock one has to ask again
    /// and again.
    turn: Arc<Mutex<()>>,
}

impl TableStore {
    /// The store in the file `path`, which need not exist yet.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), is_beside_broker: Arc::default(), turn: Arc::default() }
    }

    /// Reads the rows of `table`, or only those of a partition, as they are now, `rows_max` at a time;
    /// `None` where the table was never made.
    pub fn scan(
        &self,
        table: &cql::Table,
        key: Option<&cql::PartitionKey>,
        rows_max: usize,
    ) -> Result<Option<Scan>> {
        let Some(connection) = self.open_to_read()? else { return Ok(None) };
        let Some(columns) = self.columns(&connection, table)? else { return Ok(None) };
        catalog::compare(table, &columns)?;
        let scan = Scan::new(connection, table, &columns, key, rows_max);
        let refused = || Error::user(format!("table {table} has columns rowid, _rowid_ and oid"));
        scan.map(Some)
            .ok_or_else(|| refused().help("an embedded table with all three cannot be read: rename one"))
    }

    /// The columns of `table` as they are; `None` where it was never made.
    pub fn look(&self, table: &cql::Table) -> Result<Option<cql::LiveTable>> {
        let Some(connection) = self.open_to_read()? else { return Ok(None) };
        Ok(self.columns(&connection, table)?.as_deref().map(catalog::live))
    }

    /// Adds columns to `table`, which is there.
    pub fn add_columns(&self, table: &cql::Table, columns: &[cql::Column]) -> Result<()> {
        let mut connection = self.connect().map_err(|e| self.failed("change", &e))?;
        let mut all = self.columns(&connection, table)?.unwrap_or_default();
        all.extend_from_slice(columns);
        let _turn = self.turn.lock();
        catalog::add(&mut connection, table, columns, &all).map_err(|e| self.failed("change", &e))
    }

    /// The columns of `table` in the order in which it has them.
    fn columns(&self, connection: &Connection, table: &cql::Table) -> Result<Option<Vec<cql::Column>>> {
        let line = catalog::read(connection, table).map_err(|e| self.failed("read", &e))?;
        line.map(|line| {
            cql::described(&line).ok_or_else(|| {
                Error::lasting(format!("the embedded table {table} has columns unknown here: {line}"))
                    .help("was it made by another version? --state names another place")
            })
        })
        .transpose()
    }

    /// `None` where there is no file yet.
    fn open_to_read(&self) -> Result<Option<Connection>> {
        if !self.path.exists() {
            return Ok(None);
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let opened = Connection::open_with_flags(&self.path, flags).and_then(|connection| {
            connection.busy_timeout(BUSY_TIMEOUT)?;
            Ok(connection)
        });
        opened.map(Some).map_err(|e| self.failed("read", &e))
    }

    /// Whoever closes the file last does not bring its rows to the disk, as SQLite would: their messages may not
    /// be there yet.
    fn open_to_write(&self) -> rusqlite::Result<Connection> {
        let connection = Connection::open(&self.path)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        Ok(connection)
    }

    fn connect(&self) -> rusqlite::Result<Connection> {
        if let Some(folder) = self.path.parent() {
            // Dead letters are sent again by whoever likes to, who has not taken a state directory. Where there can be
            // none, SQLite says so.
            let _ = std::fs::create_dir_all(folder);
        }
        let connection = self.open_to_write()?;
        // Of a new file; another one keeps what it has.
        connection.pragma_update(None, "page_size", PAGE_BYTES)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        // Beside a broker that one brings rows to the disk; else they are there when they count as written.
        let (synchronous, log_bytes_max) = match self.is_beside_broker.load(Ordering::Relaxed) {
            true => ("NORMAL", LOG_BYTES_MAX_BESIDE_BROKER),
            false => ("FULL", LOG_BYTES_MAX),
        };
        let page_bytes: i64 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
        connection.pragma_update(None, "synchronous", synchronous)?;
        connection.pragma_update(None, "wal_autocheckpoint", log_bytes_max / page_bytes)?;
        connection.pragma_update(None, "journal_size_limit", LOG_BYTES_KEPT)?;
        connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
        connection.execute(
            &format!("CREATE TABLE IF NOT EXISTS {} (name TEXT PRIMARY KEY, columns TEXT)", quoted(CATALOG)),
            [],
        )?;
        Ok(connection)
    }

    fn failed(&self, verb: &str, error: &rusqlite::Error) -> Error {
        let message = format!("cannot {verb} the embedded tables in {}: {error}", self.path.display());
        use rusqlite::ErrorCode as Code;
        match error.sqlite_error_code() {
            Some(Code::DiskFull) => {
                Error::passing(message).help("the disk is full; free some space and it goes on by itself")
            }
            Some(Code::DatabaseBusy | Code::DatabaseLocked) => Error::passing(message),
            _ => Error::lasting(message),
        }
    }
}

/// The sink kind `table`, served by a [`TableStore`].
pub struct TableKind {
    store: TableStore,
}

impl TableKind {
    /// Tables in `store`.
    pub fn new(store: TableStore) -> Self {
        Self { store }
    }
}

#[async_trait]
impl SinkKind for TableKind {
    fn name(&self) -> &'static str {
        "table"
    }

    fn settings(&self) -> Schema {
        schema_for!(TableSettings)
    }

    fn plan(&self, settings: &Value) -> Result<SinkPlan> {
        settings::read::<TableSettings>(settings)?.table().map(SinkPlan::Table)
    }

    async fn open(&self, settings: &Value, _: &Scope) -> Result<Sink> {
        let settings: TableSettings = settings::read(settings)?;
        let table = settings.table()?;
        if settings.ttl.is_some() {
            return Err(Error::user("the embedded tables keep everything: they know no `ttl`")
                .help("take it away, or write to Cassandra")
                .at("ttl"));
        }
        Ok(Sink::Rows(Box::new(sink::TableSink::new(self.store.clone(), table, settings.nulls))))
    }
}

/// The SQLite table that holds `table`.
fn stored_name(table: &cql::Table) -> String {
    quoted(&table.to_string())
}
