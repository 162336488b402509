//! Brings rows to the disk after the messages that they came from, so that no power loss leaves a
//! row whose message is gone.

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use rusqlite::Connection;

use super::{BUSY_TIMEOUT, TableStore};
use crate::syncer::Syncer;

/// Bytes of rows that are written until they are not left until the second is over.
const WRITTEN_BYTES_URGENT: u64 = 48 << 20;

/// From so many bytes on writers are kept away until all of the log is in the tables: only then it begins anew.
const LOG_BYTES_LONG: i64 = 64 << 20;

/// Two writes that lie closer together may bear the same time: a file's is that of the system's last tick.
const FILE_CLOCK_TICK: Duration = Duration::from_millis(20);

/// What SQLite's log and each page in it begin with (sqlite.org/fileformat2.html, "WAL File Format").
const LOG_HEADER_BYTES: i64 = 32;
const LOG_PAGE_HEADER_BYTES: i64 = 24;

/// Flushes the tables of one store.
pub(crate) struct Flusher {
    store: TableStore,
    /// SQLite's log of rows as it was when it was flushed last.
    flushed: Option<LogFile>,
    /// Bytes in the log; 0 where all of them are in the tables, so that the next row begins it anew.
    log_bytes: i64,
    /// Somebody who has been reading for long kept the log from being emptied.
    is_held_up: bool,
    /// A reader of the rows that are on the disk. While it reads, later rows do not get from the log into the tables,
    /// and what got there stays in the log.
    reader: Option<Connection>,
    syncer: Syncer,
}

impl Flusher {
    /// From now on the log of `store` is left to this one.
    pub(crate) fn new(store: TableStore) -> Self {
        store.is_beside_broker.store(true, Ordering::Relaxed);
        Self {
            store,
            flushed: None,
            log_bytes: 0,
            is_held_up: false,
            reader: None,
            syncer: Syncer::default(),
        }
    }

    /// Whether so many rows wait that they should be flushed at once.
    pub(crate) fn is_urgent(&self) -> bool {
        let now_bytes = fs::metadata(self.log()).map_or(0, |log| log.len());
        let flushed_bytes = self.flushed.map_or(0, |log| log.len);
        now_bytes.saturating_sub(flushed_bytes) > WRITTEN_BYTES_URGENT
            || self.log_bytes > LOG_BYTES_LONG && !self.is_held_up
    }

    /// Flushes what `messages` flushes, and has most of the rows written out that will be flushed next: nobody needs to
    /// wait for that.
    pub(crate) fn begin(&mut self, messages: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let path = self.log();
        if self.written()?.is_none() {
            return Ok(());
        }
        let (pages, done, page_bytes) = self.checkpoint("NOOP").map_err(io::Error::other)?;
        if pages == done {
            // The next row begins the log anew.
            return Ok(());
        }
        messages()?;
        // What is beyond may be rows of later messages.
        let log_bytes = LOG_HEADER_BYTES + pages * (LOG_PAGE_HEADER_BYTES + page_bytes);
        self.syncer.write_out(&File::open(&path)?, log_bytes as u64)
    }

    /// Flushes what `messages` flushes, then every row that was written before: while it works no
    /// other row is, for that one's message might not be on the disk yet.
    pub(crate) fn flush_after(&mut self, messages: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let path = self.log();
        if self.written()?.is_none() {
            return messages();
        }
        let writer = self.store.open_to_write().map_err(io::Error::other)?;
        writer.execute_batch("BEGIN IMMEDIATE").map_err(io::Error::other)?;
        messages()?;
        let flushed = LogFile::of(&fs::metadata(&path)?)?;
        self.syncer.sync(&File::open(&path)?)?;
        self.reader = Some(self.read().map_err(io::Error::other)?);
        if self.log_bytes > LOG_BYTES_LONG {
            self.empty_log()?;
            self.is_held_up = self.log_bytes > 0;
        }
        writer.execute_batch("ROLLBACK").map_err(io::Error::other)?;
        self.flushed = Some(flushed);
        Ok(())
    }

    /// Brings the rows that were flushed last from the log into the tables, beside whoever writes others, so that the
    /// log stays short.
    pub(crate) fn empty_log(&mut self) -> io::Result<()> {
        if self.reader.is_none() {
            return Ok(());
        }
        let (all, done, page_bytes) = self.checkpoint("PASSIVE").map_err(io::Error::other)?;
        self.log_bytes = if done == all { 0 } else { all * page_bytes };
        // SQLite has not: it would bring all of the log to the disk before, also rows whose messages are not there.
        self.syncer.sync(&File::open(&self.store.path)?)?;
        self.reader = None;
        Ok(())
    }

    /// The log where it is there and may have rows that were not flushed.
    fn written(&self) -> io::Result<Option<LogFile>> {
        match fs::metadata(self.log()) {
            Ok(log) => Ok(Some(LogFile::of(&log)?).filter(|log| !log.is_as_it_was(self.flushed))),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// How many pages the log has, how many of them are in the tables, and how large each is.
    fn checkpoint(&self, mode: &str) -> rusqlite::Result<(i64, i64, i64)> {
        let connection = self.store.open_to_write()?;
        connection.pragma_update(None, "synchronous", "OFF")?;
        let page_bytes = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
        let pragma = format!("PRAGMA wal_checkpoint({mode})");
        connection.query_row(&pragma, [], |row| Ok((row.get(1)?, row.get(2)?, page_bytes)))
    }

    fn read(&self) -> rusqlite::Result<Connection> {
        let connection = self.store.open_to_write()?;
        connection.execute_batch("BEGIN")?;
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        Ok(connection)
    }

    /// Empties the log for good, once nobody writes any more and everything is flushed: one file is left.
    pub(crate) fn close(&mut self) -> io::Result<()> {
        if !self.log().exists() {
            return Ok(());
        }
        self.syncer.check()?;
        self.reader = None;
        let emptied = Connection::open(&self.store.path).and_then(|connection| {
            connection.busy_timeout(BUSY_TIMEOUT)?;
            // What is left of it goes with the last connection.
            connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        });
        emptied.map_err(io::Error::other)
    }

    /// SQLite's file with the rows that are not in the tables yet.
    fn log(&self) -> PathBuf {
        let mut name = self.store.path.clone().into_os_string();
        name.push("-wal");
        name.into()
    }
}

/// What tells whether a file was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct LogFile {
    len: u64,
    modified: SystemTime,
    /// It was written so short a time before it was looked at that later writes may bear the same time.
    is_fresh: bool,
}

impl LogFile {
    fn of(file: &fs::Metadata) -> io::Result<Self> {
        let modified = file.modified()?;
        let is_fresh = SystemTime::now().duration_since(modified).map_or(true, |age| age < FILE_CLOCK_TICK);
        Ok(Self { len: file.len(), modified, is_fresh })
    }

    fn is_as_it_was(&self, before: Option<Self>) -> bool {
        before.is_some_and(|before| {
            !before.is_fresh && before.len == self.len && before.modified == self.modified
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rows of two tables that are there where the log is lost but for its beginning, which was flushed.
    fn rows_after_power_loss(store: &TableStore, flushed: &[u8]) -> (i64, i64) {
        let after = store.path.with_extension("after");
        fs::copy(&store.path, &after).expect("copies");
        fs::write(after.with_extension("after-wal"), flushed).expect("writes");
        let connection = Connection::open(&after).expect("opens");
        let count = "SELECT (SELECT count(*) FROM a), (SELECT count(*) FROM b)";
        connection.query_row(count, [], |row| Ok((row.get(0)?, row.get(1)?))).expect("two tables")
    }

    #[test]
    fn a_row_gets_into_the_tables_only_after_its_message_is_flushed() {
        let dir = tempfile::tempdir().expect("a folder");
        let store = TableStore::new(&dir.path().join("tables.sqlite"));
        let mut flusher = Flusher::new(store.clone());
        let writer = store.connect().expect("opens");
        writer.execute_batch("CREATE TABLE a (n INT); CREATE TABLE b (n INT)").expect("writes");
        for before in 0..3 {
            flusher.flush_after(|| Ok(())).expect("flushes");
            flusher.empty_log().expect("brings rows into the tables");
            assert_eq!(flusher.log_bytes, 0, "the log begins anew");
            writer.execute("INSERT INTO a VALUES (1)", []).expect("writes");
            flusher.begin(|| Ok(())).expect("writes out");
            flusher.flush_after(|| Ok(())).expect("flushes");
            let flushed = fs::read(flusher.log()).expect("a log");
            // Of a page that the flushed part of the log does not have.
            writer.execute("INSERT INTO b VALUES (1)", []).expect("writes");
            flusher.empty_log().expect("brings rows into the tables");
            assert_eq!(rows_after_power_loss(&store, &flushed), (before + 1, before));
            assert_ne!(flusher.log_bytes, 0, "the later row is in the log");
        }
        // A long log is emptied whole, while no row is written.
        flusher.log_bytes = LOG_BYTES_LONG + 1;
        assert!(flusher.is_urgent());
        flusher.flush_after(|| Ok(())).expect("flushes");
        assert_eq!(rows_after_power_loss(&store, &[]), (3, 3));
        assert_eq!((flusher.log_bytes, flusher.reader.is_none()), (0, true));
    }

    #[test]
    fn what_a_failed_sync_may_have_lost_stays_in_the_log() {
        let dir = tempfile::tempdir().expect("a folder");
        let store = TableStore::new(&dir.path().join("tables.sqlite"));
        let mut flusher = Flusher::new(store.clone());
        let writer = store.connect().expect("opens");
        writer.execute_batch("CREATE TABLE t (n INT); INSERT INTO t VALUES (1)").expect("writes");
        flusher.flush_after(|| Ok(())).expect("flushes");
        flusher
            .syncer
            .sync(&File::open("/dev/null").expect("opens"))
            .expect_err("there is no disk behind it");
        flusher.empty_log().expect_err("nobody knows what is there");
        assert!(flusher.reader.is_some());
        flusher.close().expect_err("nobody knows what is there");
        assert!(flusher.log().exists());
    }

    #[test]
    fn rows_that_a_failed_sync_may_have_lost_never_count_as_flushed() {
        let dir = tempfile::tempdir().expect("a folder");
        let store = TableStore::new(&dir.path().join("tables.sqlite"));
        let mut flusher = Flusher::new(store.clone());
        let writer = store.connect().expect("opens");
        writer.execute_batch("CREATE TABLE t (n INT); INSERT INTO t VALUES (1)").expect("writes");
        let no_disk = File::open("/dev/null").expect("opens");
        flusher.syncer.sync(&no_disk).expect_err("there is no disk behind it");
        for _ in 0..2 {
            let mut are_messages_flushed = false;
            let flush_messages = || {
                are_messages_flushed = true;
                Ok(())
            };
            flusher.flush_after(flush_messages).expect_err("nobody knows which rows are there");
            assert!(are_messages_flushed);
        }
    }
}
