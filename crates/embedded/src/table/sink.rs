//! Writes rows, several batches in one transaction. A row that is new, or whole and newer than the one
//! there, is one statement; only otherwise its cells are compared one by one.

use std::borrow::Cow;

use async_trait::async_trait;
use millstream_core::cql::collection::is_empty;
use millstream_core::cql::{RowReader, Table, Value, quoted};
use millstream_core::{Error, Nulls, Result, RowSink, Rows, Written};
use rusqlite::types::{ToSqlOutput, Value as Owned, ValueRef};
use rusqlite::{Connection, Statement};

use super::in_hand::InHand;
use super::merge::{Cell, Stays, stays, stored_times, times};
use super::{CELLS, TIME, TableStore, catalog, cell, stored_name};

/// Rows of one table.
pub(super) struct TableSink {
    store: TableStore,
    table: Table,
    /// The table with its columns as they are, once it is prepared.
    stored: Table,
    nulls: Nulls,
    connection: Option<Connection>,
    in_hand: InHand,
}

impl TableSink {
    pub(super) fn new(store: TableStore, table: Table, nulls: Nulls) -> Self {
        Self { store, stored: table.clone(), table, nulls, connection: None, in_hand: InHand::default() }
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
                self.stored.columns = columns;
            }
            None => catalog::create(&connection, &self.table).map_err(|e| failed(&e))?,
        }
        self.connection = Some(connection);
        Ok(())
    }

    async fn write(&mut self, rows: &Rows<'_>) -> Result<Written> {
        if !self.in_hand.has_room_for(rows) {
            self.flush().await?;
        }
        Ok(tokio::task::block_in_place(|| self.in_hand.take(&self.stored, rows)))
    }

    async fn flush(&mut self) -> Result<()> {
        if self.in_hand.is_empty() {
            return Ok(());
        }
        let connection = self
            .connection
            .as_mut()
            .ok_or_else(|| Error::ours("a table is written before it is prepared"))?;
        let (table, nulls) = (&self.stored, self.nulls);
        let written = tokio::task::block_in_place(|| write(connection, table, nulls, &mut self.in_hand));
        written.map_err(|e| self.store.failed("write", &e))?;
        self.in_hand = InHand::default();
        Ok(())
    }
}

/// One row as it is to be written.
struct Row<'a> {
    values: Vec<Option<Value<'a>>>,
    /// Which columns a null deletes the value of.
    deletes: Cow<'a, [bool]>,
    time: i64,
}

impl<'a> Row<'a> {
    fn new(table: &Table, values: Vec<Option<Value<'a>>>, deletes: &'a [bool], time: i64) -> Self {
        let mut row = Self { values, deletes: Cow::Borrowed(deletes), time };
        for (at, column) in table.columns.iter().enumerate() {
            if !column.kind.is_multi_cell() {
                continue;
            }
            // Where each element is a cell, nothing in it is nothing there.
            if matches!(&row.values[at], Some(Value::Collection(bytes)) if is_empty(bytes)) {
                row.values[at] = None;
                row.deletes.to_mut()[at] = true;
            }
        }
        row
    }
}

fn write(
    connection: &mut Connection,
    table: &Table,
    nulls: Nulls,
    in_hand: &mut InHand,
) -> rusqlite::Result<()> {
    let (batches, places) = in_hand.in_order();
    let batches = batches.iter().map(|(batch, write_times)| {
        let reader = RowReader::new(table, batch);
        let deletes: Vec<bool> =
            (0..table.columns.len()).map(|at| nulls == Nulls::Delete && reader.has(at)).collect();
        (reader, deletes, write_times)
    });
    let batches: Vec<_> = batches.collect();
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    {
        let mut statements = Statements::prepare(&transaction, table)?;
        for place in places {
            let (reader, deletes, write_times) = &batches[place.batch as usize];
            let row = place.row as usize;
            // A row that is no row was refused when it came.
            if let Ok(values) = reader.row(row) {
                statements.write(table, &Row::new(table, values, deletes, write_times[row]))?;
            }
        }
    }
    transaction.commit()
}

struct Statements<'c> {
    /// A whole row: new, or newer than the whole row that is there.
    put: Statement<'c>,
    /// A row with nulls: only where there is none.
    insert: Statement<'c>,
    select: Statement<'c>,
    update: Statement<'c>,
}

impl<'c> Statements<'c> {
    fn prepare(connection: &'c Connection, table: &Table) -> rusqlite::Result<Self> {
        let name = stored_name(table);
        let (time, cells) = (quoted(TIME), quoted(CELLS));
        let key: Vec<_> = table.key().map(|column| quoted(&column.name)).collect();
        let others: Vec<_> = table.columns[key.len()..].iter().map(|column| quoted(&column.name)).collect();
        let all = [key.clone(), others.clone()].concat();
        let marks: Vec<_> = (1..=all.len() + 1).map(|at| format!("?{at}")).collect();
        let insert = format!("INSERT INTO {name} ({}, {time}) VALUES ({})", all.join(", "), marks.join(", "));
        let set_new: Vec<_> = others.iter().map(|column| format!("{column} = excluded.{column}")).collect();
        let set: Vec<_> =
            others.iter().enumerate().map(|(at, column)| format!("{column} = ?{}", at + 1)).collect();
        let key_is = |first: usize| {
            let parts: Vec<_> =
                key.iter().enumerate().map(|(at, column)| format!("{column} = ?{}", at + first)).collect();
            parts.join(" AND ")
        };
        let put = format!(
            "{insert} ON CONFLICT DO UPDATE SET {}{time} = excluded.{time} \
             WHERE {cells} IS NULL AND excluded.{time} > {name}.{time}",
            set_new.iter().map(|set| format!("{set}, ")).collect::<String>(),
        );
        let selected: String = others.iter().map(|column| format!("{column}, ")).collect();
        let select = format!("SELECT {selected}{time}, {cells} FROM {name} WHERE {}", key_is(1));
        let assignments: String = set.iter().map(|set| format!("{set}, ")).collect();
        let count = others.len();
        let update = format!(
            "UPDATE {name} SET {assignments}{time} = ?{}, {cells} = ?{} WHERE {}",
            count + 1,
            count + 2,
            key_is(count + 3),
        );
        Ok(Self {
            put: connection.prepare(&put)?,
            insert: connection.prepare(&format!("{insert} ON CONFLICT DO NOTHING"))?,
            select: connection.prepare(&select)?,
            update: connection.prepare(&update)?,
        })
    }

    fn write(&mut self, table: &Table, row: &Row<'_>) -> rusqlite::Result<()> {
        let has_nulls = row.values.iter().any(Option::is_none);
        let statement = if has_nulls { &mut self.insert } else { &mut self.put };
        let deletes =
            row.values.iter().zip(row.deletes.iter()).any(|(value, deletes)| value.is_none() && *deletes);
        for (at, value) in row.values.iter().enumerate() {
            statement.raw_bind_parameter(at + 1, stored(value))?;
        }
        statement.raw_bind_parameter(row.values.len() + 1, row.time)?;
        // A deletion has a write time of its own, which only `merge` knows to keep.
        let is_there = statement.raw_execute()? == 0;
        if is_there || deletes { self.merge(table, row) } else { Ok(()) }
    }

    /// Compares cell by cell with the row that is there.
    fn merge(&mut self, table: &Table, row: &Row<'_>) -> rusqlite::Result<()> {
        let keys = table.key().count();
        let (key, new) = row.values.split_at(keys);
        let columns = &table.columns[keys..];
        for (at, value) in key.iter().enumerate() {
            self.select.raw_bind_parameter(at + 1, stored(value))?;
        }
        let mut found = self.select.raw_query();
        let there = found.next()?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
        let mut kept = Vec::with_capacity(new.len());
        for at in 0..new.len() {
            kept.push(there.get::<_, Owned>(at)?);
        }
        let old_time: i64 = there.get(new.len())?;
        let old_cells: Option<Vec<u8>> = there.get(new.len() + 1)?;
        drop(found);

        let mut cell_times =
            times(old_time, old_cells.as_deref(), |at| matches!(kept[at], Owned::Null), new.len());
        let mut changed = false;
        for (at, value) in new.iter().enumerate() {
            if value.is_none() && !row.deletes[keys + at] {
                continue;
            }
            let kind = &columns[at].kind;
            let bytes = value.as_ref().map(|value| value.serialized(kind));
            let old = cell::restored(ValueRef::from(&kept[at]), kind);
            let old = old.as_ref().map(|value| value.serialized(kind));
            let old = Cell { bytes: old.as_deref(), time: cell_times[at] };
            let newest = match stays(Cell { bytes: bytes.as_deref(), time: row.time }, old, kind) {
                Stays::Old => continue,
                Stays::New => cell::owned(stored(value)),
                Stays::Both(bytes) => Owned::Blob(bytes),
            };
            cell_times[at] = row.time;
            kept[at] = newest;
            changed = true;
        }
        if !changed && row.time <= old_time {
            return Ok(());
        }
        let time = old_time.max(row.time);
        let cells = stored_times(time, &cell_times, |at| matches!(kept[at], Owned::Null));
        for (at, value) in kept.iter().enumerate() {
            self.update.raw_bind_parameter(at + 1, value)?;
        }
        self.update.raw_bind_parameter(new.len() + 1, time)?;
        self.update.raw_bind_parameter(new.len() + 2, cells)?;
        for (at, value) in key.iter().enumerate() {
            self.update.raw_bind_parameter(new.len() + 3 + at, stored(value))?;
        }
        self.update.raw_execute().map(|_| ())
    }
}

fn stored<'a>(value: &Option<Value<'a>>) -> ToSqlOutput<'a> {
    value.as_ref().map_or(ToSqlOutput::Owned(Owned::Null), cell::stored)
}
