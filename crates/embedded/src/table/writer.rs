//! Writes rows beside whoever gathers the next ones, all that it is given in one transaction.

use std::sync::Arc;

use millstream_core::cql::Table;
use parking_lot::{Mutex, MutexGuard};
use rusqlite::{Connection, TransactionBehavior};
use tokio::task::{JoinHandle, spawn_blocking};

use super::in_hand::InHand;
use super::row::Row;
use super::statements::Statements;

/// Writes rows of one table. The desk is here while nobody works at it.
pub(super) struct Writer {
    table: Arc<Table>,
    /// Who else writes to the file waits there, too.
    turn: Arc<Mutex<()>>,
    desk: Option<Desk>,
    work: Option<JoinHandle<(Desk, rusqlite::Result<()>)>>,
}

/// What is worked with; rows that lie there are to be written.
struct Desk {
    connection: Connection,
    rows: InHand,
}

impl Writer {
    /// A writer that has nothing to write yet. `table` has all the columns that there are.
    pub(super) fn new(connection: Connection, table: Arc<Table>, turn: Arc<Mutex<()>>) -> Self {
        Self { table, turn, desk: Some(Desk { connection, rows: InHand::default() }), work: None }
    }

    /// Returns when everything that it was given before is written, and goes on with `rows`, which are empty then.
    /// After an error it has not taken them, and tries again what it had.
    pub(super) async fn take(&mut self, rows: &mut InHand) -> rusqlite::Result<()> {
        self.finish().await?;
        if !rows.is_empty()
            && let Some(mut desk) = self.desk.take()
        {
            std::mem::swap(&mut desk.rows, rows);
            self.begin(desk);
        }
        Ok(())
    }

    /// Returns when everything that it was given is written. After an error it can be tried again.
    pub(super) async fn finish(&mut self) -> rusqlite::Result<()> {
        if let Some(desk) = self.desk.take_if(|desk| !desk.rows.is_empty()) {
            self.begin(desk);
        }
        let Some(work) = &mut self.work else { return Ok(()) };
        let (desk, written) = work.await.unwrap_or_else(|e| std::panic::resume_unwind(e.into_panic()));
        self.work = None;
        self.desk = Some(desk);
        written
    }

    fn begin(&mut self, mut desk: Desk) {
        let (table, turn) = (self.table.clone(), self.turn.clone());
        self.work = Some(spawn_blocking(move || {
            let held = turn.lock();
            let written = write(&mut desk.connection, &table, &mut desk.rows);
            MutexGuard::unlock_fair(held);
            if written.is_ok() {
                desk.rows.clear();
            }
            (desk, written)
        }));
    }
}

fn write(connection: &mut Connection, table: &Table, rows: &mut InHand) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    {
        let mut statements = Statements::prepare(&transaction, table)?;
        let mut row = Row::default();
        for bytes in rows.in_order() {
            row.read(bytes, table.columns.len());
            statements.write(table, &row)?;
        }
    }
    transaction.commit()
}
