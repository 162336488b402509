//! Brings rows to the disk after the messages that they came from, so that no power loss leaves a
//! row whose message is gone.

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use parking_lot::MutexGuard;
use rusqlite::Connection;

use super::{BUSY_TIMEOUT, TableStore};
use crate::syncer::Syncer;

/// By so many bytes the log may have grown before it is flushed at once, not at the end of the second.
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
    /// Bytes in the log when a flush began; 0 where all of them were in the tables.
    log_bytes: i64,
    /// The tables' file. It stays open for good: closing it would take SQLite's own locks from it, which belong to the
    /// process (sqlite.org/howtocorrupt.html, 2.2).
    tables: Option<&'static File>,
    /// What the tables' file was given may not be on the disk.
    is_unsynced: bool,
    /// A reader of the rows that are on the disk. While it reads, later rows do not get from the log into the tables,
    /// and what got there stays in the log.
    reader: Option<Connection>,
    syncer: Syncer,
}

impl Flusher {
    /// From now on the log of `store` is left to this one.
    pub(crate) fn new(store: TableStore) -> Self {
        store.is_beside_broker.store(true, Ordering::Relaxed);
        let syncer = Syncer::default();
        Self { store, flushed: None, log_bytes: 0, tables: None, is_unsynced: true, reader: None, syncer }
    }

    /// Whether so many rows wait that they should be flushed at once.
    pub(crate) fn is_urgent(&self) -> bool {
        let now_bytes = fs::metadata(self.log()).map_or(0, |log| log.len());
        let flushed_bytes = self.flushed.map_or(0, |log| log.len);
        now_bytes.saturating_sub(flushed_bytes) > WRITTEN_BYTES_URGENT
    }

    /// Flushes what `messages` flushes, and has most of the rows written out that will be flushed next: nobody needs to
    /// wait for that.
    pub(crate) fn begin(&mut self, messages: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let path = self.log();
        if self.unflushed()?.is_none() {
            return Ok(());
        }
        let (pages, done, page_bytes) = self.checkpoint("NOOP").map_err(io::Error::other)?;
        if pages == done {
            // The next row begins the log anew.
            self.log_bytes = 0;
            return Ok(());
        }
        self.log_bytes = LOG_HEADER_BYTES + pages * (LOG_PAGE_HEADER_BYTES + page_bytes);
        messages()?;
        // What is beyond may be rows of later messages.
        self.syncer.write_out(&File::open(&path)?, self.log_bytes as u64)
    }

    /// Flushes what `messages` flushes, then every row that was written before: while it works no
    /// other row is, for that one's message might not be on the disk yet.
    pub(crate) fn flush_after(&mut self, messages: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let path = self.log();
        let turn = self.store.turn.clone();
        // No row comes between a look at the log and the messages.
        let turn = turn.lock();
        if self.unflushed()?.is_none() {
            return messages();
        }
        let kept_away = self.store.open_to_write().and_then(|writer| {
            writer.execute_batch("BEGIN IMMEDIATE")?;
            Ok(writer)
        });
        messages()?;
        let writer = kept_away.map_err(io::Error::other)?;
        let flushed = LogFile::of(&fs::metadata(&path)?)?;
        self.syncer.sync(&File::open(&path)?)?;
        if self.is_unsynced {
            // Before the reader goes that kept the log from beginning anew.
            self.sync_tables()?;
        }
        self.reader = Some(self.read().map_err(io::Error::other)?);
        if self.log_bytes > LOG_BYTES_LONG
            && let Err(error) = self.fill_tables()
        {
            // It is tried again, and said, where nobody waits for it.
            tracing::debug!("the tables' log stays long: {error}");
        }
        writer.execute_batch("ROLLBACK").map_err(io::Error::other)?;
        MutexGuard::unlock_fair(turn);
        self.flushed = Some(flushed);
        Ok(())
    }

    /// Brings the rows that were flushed last from the log into the tables, beside whoever writes others.
    pub(crate) fn fill_tables(&mut self) -> io::Result<()> {
        if self.reader.is_none() {
            return Ok(());
        }
        self.is_unsynced = true;
        let (pages, done, _) = self.checkpoint("PASSIVE").map_err(io::Error::other)?;
        self.sync_tables()?;
        self.reader = None;
        if pages == done {
            // The next row begins the log anew.
            self.log_bytes = 0;
        }
        Ok(())
    }

    /// SQLite itself does not: it would bring all of the log to the disk before, also rows whose messages are not there.
    fn sync_tables(&mut self) -> io::Result<()> {
        let file = match self.tables {
            Some(file) => file,
            None => self.tables.insert(Box::leak(Box::new(File::open(&self.store.path)?))),
        };
        self.syncer.sync(file)?;
        self.is_unsynced = false;
        Ok(())
    }

    /// The log where it is there and may have rows that were not flushed.
    fn unflushed(&self) -> io::Result<Option<LogFile>> {
        match fs::metadata(self.log()) {
            Ok(log) => Ok(Some(LogFile::of(&log)?).filter(|log| !log.is_as_it_was(self.flushed))),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Does what `mode` says. How many pages the log had when it began, how many of them are in the tables now, and how
    /// large each is.
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
        if self.is_unsynced {
            self.sync_tables()?;
        }
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

    /// A store in a folder of its own, what flushes it, and a connection that writes.
    fn new_store() -> (tempfile::TempDir, TableStore, Flusher, Connection) {
        let folder = tempfile::tempdir().expect("a folder");
        let store = TableStore::new(&folder.path().join("tables.sqlite"));
        let flusher = Flusher::new(store.clone());
        let writer = store.connect().expect("opens");
        (folder, store, flusher, writer)
    }

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
        let (_folder, store, mut flusher, writer) = new_store();
        writer.execute_batch("CREATE TABLE a (n INT); CREATE TABLE b (n INT)").expect("writes");
        for before in 0..3 {
            flusher.flush_after(|| Ok(())).expect("flushes");
            flusher.fill_tables().expect("fills the tables");
            flusher.begin(|| Ok(())).expect("has nothing to write out");
            assert_eq!(flusher.log_bytes, 0, "the log begins anew");
            writer.execute("INSERT INTO a VALUES (1)", []).expect("writes");
            flusher.begin(|| Ok(())).expect("writes out");
            flusher.flush_after(|| Ok(())).expect("flushes");
            let flushed = fs::read(flusher.log()).expect("a log");
            // Of a page that the flushed part of the log does not have.
            writer.execute("INSERT INTO b VALUES (1)", []).expect("writes");
            flusher.fill_tables().expect("fills the tables");
            assert_eq!(rows_after_power_loss(&store, &flushed), (before + 1, before));
            flusher.begin(|| Ok(())).expect("writes out");
            assert_ne!(flusher.log_bytes, 0, "the later row is in the log");
        }
        // Of a long log nothing is left, while no row is written.
        flusher.log_bytes = LOG_BYTES_LONG + 1;
        flusher.flush_after(|| Ok(())).expect("flushes");
        assert_eq!(rows_after_power_loss(&store, &[]), (3, 3));
        assert!(flusher.reader.is_none());
    }

    /// Whether somebody has SQLite's lock on the file that says that it is in use.
    #[cfg(target_os = "linux")]
    fn is_in_use(file: &File) -> bool {
        use std::os::fd::AsRawFd;
        let mut lock = libc::flock {
            l_type: libc::F_WRLCK as libc::c_short,
            l_whence: libc::SEEK_SET as libc::c_short,
            l_start: 0x4000_0002,
            l_len: 510,
            l_pid: 0,
        };
        #[allow(unsafe_code, reason = "the standard library does not tell who has a lock")]
        // SAFETY: the descriptor is open, and `lock` is written while it is borrowed.
        let asked = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_GETLK, &raw mut lock) };
        assert_eq!(asked, 0, "{}", io::Error::last_os_error());
        lock.l_type != libc::F_UNLCK as libc::c_short
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_tables_stay_in_use_for_others_while_they_are() {
        let (_folder, store, mut flusher, writer) = new_store();
        writer.execute_batch("CREATE TABLE t (n INT); INSERT INTO t VALUES (1)").expect("writes");
        let file = File::open(&store.path).expect("opens");
        assert!(is_in_use(&file));
        flusher.flush_after(|| Ok(())).expect("flushes");
        flusher.fill_tables().expect("fills the tables");
        drop(flusher);
        assert!(is_in_use(&file), "whoever closes it now takes the log from the writer");
        drop(writer);
        assert!(!is_in_use(&file));
    }

    #[test]
    fn what_a_failed_sync_may_have_lost_stays_in_the_log() {
        let (_folder, _, mut flusher, writer) = new_store();
        writer.execute_batch("CREATE TABLE t (n INT); INSERT INTO t VALUES (1)").expect("writes");
        flusher.flush_after(|| Ok(())).expect("flushes");
        flusher
            .syncer
            .sync(&File::open("/dev/null").expect("opens"))
            .expect_err("there is no disk behind it");
        flusher.fill_tables().expect_err("nobody knows what is there");
        assert!(flusher.reader.is_some());
        flusher.close().expect_err("nobody knows what is there");
        assert!(flusher.log().exists());
    }

    #[test]
    fn rows_that_a_failed_sync_may_have_lost_never_count_as_flushed() {
        let (_folder, _, mut flusher, writer) = new_store();
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
