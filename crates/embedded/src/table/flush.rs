//! Brings rows to the disk after the messages that they came from, so that no power loss leaves a
//! row whose message is gone.

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use rusqlite::Connection;

use super::{BUSY_TIMEOUT, TableStore};
use crate::syncer::Syncer;

/// Bytes of rows in SQLite's log that are not left until the second is over.
const LOG_BYTES_URGENT: u64 = 48 << 20;

/// Flushes the tables of one store.
pub(crate) struct Flusher {
    store: TableStore,
    /// SQLite's log of rows as it was when it was flushed last.
    flushed: Option<(u64, SystemTime)>,
    syncer: Syncer,
}

impl Flusher {
    /// From now on the log of `store` is left to this one.
    pub(crate) fn new(store: TableStore) -> Self {
        store.is_beside_broker.store(true, Ordering::Relaxed);
        Self { store, flushed: None, syncer: Syncer::default() }
    }

    /// Whether so many rows wait that they should be flushed at once.
    pub(crate) fn is_urgent(&self) -> bool {
        let waiting = fs::metadata(self.log()).map_or(0, |log| log.len());
        waiting > LOG_BYTES_URGENT && waiting > self.flushed.map_or(0, |(length, _)| length)
    }

    /// Flushes what `messages` flushes, then every row that was written before: while it works no
    /// other row is, for that one's message might not be on the disk yet.
    pub(crate) fn flush_after(&mut self, messages: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let path = self.log();
        let log = match fs::metadata(&path) {
            Ok(log) => (log.len(), log.modified()?),
            Err(e) if e.kind() == io::ErrorKind::NotFound => return messages(),
            Err(e) => return Err(e),
        };
        if self.flushed == Some(log) {
            return messages();
        }
        let failed = io::Error::other;
        let writer = self.store.open_to_write().map_err(failed)?;
        writer.execute_batch("BEGIN IMMEDIATE").map_err(failed)?;
        messages()?;
        let flushed = (fs::metadata(&path)?.len(), fs::metadata(&path)?.modified()?);
        self.syncer.sync(&File::open(&path)?)?;
        // It keeps the log short. A connection of its own: the other one keeps writers away.
        let checkpointer = self.store.open_to_write().map_err(failed)?;
        checkpointer.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())).map_err(failed)?;
        drop(checkpointer);
        writer.execute_batch("ROLLBACK").map_err(failed)?;
        self.flushed = Some(flushed);
        Ok(())
    }

    /// Empties the log for good, once nobody writes any more and everything is flushed: one file is left.
    pub(crate) fn close(&mut self) -> io::Result<()> {
        if !self.log().exists() {
            return Ok(());
        }
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

#[cfg(test)]
mod tests {
    use super::*;

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
