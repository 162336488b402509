//! Takes rows, which a [`Writer`] brings into the table.

use std::sync::Arc;

use async_trait::async_trait;
use millstream_core::cql::Table;
use millstream_core::{Error, Nulls, Result, RowSink, Rows, Written};

use super::in_hand::InHand;
use super::writer::Writer;
use super::{TableStore, catalog};

/// Rows of one table.
pub(super) struct TableSink {
    store: TableStore,
    /// With its columns as they are, once it is prepared.
    table: Arc<Table>,
    nulls: Nulls,
    /// What is gathered while the writer is busy with what was gathered before.
    in_hand: InHand,
    writer: Option<Writer>,
}

impl TableSink {
    pub(super) fn new(store: TableStore, table: Table, nulls: Nulls) -> Self {
        Self { store, table: Arc::new(table), nulls, in_hand: InHand::default(), writer: None }
    }

    fn writer(&mut self) -> Result<(&mut Writer, &mut InHand)> {
        let unprepared = || Error::ours("a table is written before it is prepared");
        self.writer.as_mut().map(|writer| (writer, &mut self.in_hand)).ok_or_else(unprepared)
    }
}

#[async_trait]
impl RowSink for TableSink {
    async fn prepare(&mut self) -> Result<()> {
        let failed = |e: &rusqlite::Error| self.store.failed("open", e);
        let connection = tokio::task::block_in_place(|| self.store.connect()).map_err(|e| failed(&e))?;
        match self.store.columns(&connection, &self.table)? {
            Some(columns) => {
                catalog::compare(&self.table, &columns)?;
                // As it is, with columns that the file does not have: their write times stay in place.
                Arc::make_mut(&mut self.table).columns = columns;
            }
            None => {
                let _turn = self.store.turn.lock();
                if let Some(other) = catalog::namesake(&connection, &self.table).map_err(|e| failed(&e))? {
                    return Err(Error::user(format!(
                        "{} differs from {other} only in case, which embedded tables do not tell apart",
                        self.table
                    ))
                    .help("rename one"));
                }
                catalog::create(&connection, &self.table).map_err(|e| failed(&e))?;
            }
        }
        self.writer = Some(Writer::new(connection, self.table.clone(), self.store.turn.clone()));
        Ok(())
    }

    async fn write(&mut self, rows: &Rows<'_>) -> Result<Written> {
        if !self.in_hand.has_room_for(rows) {
            let (writer, in_hand) = self.writer()?;
            writer.take(in_hand).await.map_err(|e| self.store.failed("write", &e))?;
        }
        Ok(tokio::task::block_in_place(|| self.in_hand.take(&self.table, self.nulls, rows)))
    }

    async fn flush(&mut self) -> Result<()> {
        let (writer, in_hand) = self.writer()?;
        let written = match writer.take(in_hand).await {
            Ok(()) => writer.finish().await,
            Err(error) => Err(error),
        };
        written.map_err(|e| self.store.failed("write", &e))
    }
}
