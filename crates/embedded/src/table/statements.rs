//! Rows go in by statements prepared once for a transaction. A row that is new, or whole and newer than the one there,
//! is one statement; only otherwise its cells are compared one by one.

use millstream_core::cql::{Table, quoted};
use rusqlite::types::{ToSqlOutput, Value as Owned, ValueRef};
use rusqlite::{Connection, Statement};

use super::merge::{Cell, Stays, stays, stored_times, times};
use super::row::{Change, Row};
use super::{CELLS, TIME, cell, stored_name};

pub(super) struct Statements<'c> {
    /// A whole row: new, or newer than the whole row that is there.
    put: Statement<'c>,
    /// A row with nulls: only where there is none.
    insert: Statement<'c>,
    select: Statement<'c>,
    update: Statement<'c>,
}

impl<'c> Statements<'c> {
    pub(super) fn prepare(connection: &'c Connection, table: &Table) -> rusqlite::Result<Self> {
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

    pub(super) fn write(&mut self, table: &Table, row: &Row<'_>) -> rusqlite::Result<()> {
        let has_nulls = row.changes.iter().any(|change| !matches!(change, Change::Value(_)));
        let statement = if has_nulls { &mut self.insert } else { &mut self.put };
        for (at, change) in row.changes.iter().enumerate() {
            statement.raw_bind_parameter(at + 1, stored(change))?;
        }
        statement.raw_bind_parameter(row.changes.len() + 1, row.time)?;
        // A deletion has a write time of its own, which only `merge` knows to keep.
        let is_there = statement.raw_execute()? == 0;
        if is_there || row.changes.contains(&Change::Delete) { self.merge(table, row) } else { Ok(()) }
    }

    /// Compares cell by cell with the row that is there.
    fn merge(&mut self, table: &Table, row: &Row<'_>) -> rusqlite::Result<()> {
        let keys = table.key().count();
        let (key, new) = row.changes.split_at(keys);
        let columns = &table.columns[keys..];
        for (at, change) in key.iter().enumerate() {
            self.select.raw_bind_parameter(at + 1, stored(change))?;
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
        for (at, change) in new.iter().enumerate() {
            if *change == Change::Nothing {
                continue;
            }
            let kind = &columns[at].kind;
            let value = match change {
                Change::Value(value) => cell::restored(*value, kind),
                Change::Nothing | Change::Delete => None,
            };
            let bytes = value.as_ref().map(|value| value.serialized(kind));
            let old = cell::restored(ValueRef::from(&kept[at]), kind);
            let old = old.as_ref().map(|value| value.serialized(kind));
            let old = Cell { bytes: old.as_deref(), time: cell_times[at] };
            let newest = match stays(Cell { bytes: bytes.as_deref(), time: row.time }, old, kind) {
                Stays::Old => continue,
                Stays::New => cell::owned(stored(change)),
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
        for (at, change) in key.iter().enumerate() {
            self.update.raw_bind_parameter(new.len() + 3 + at, stored(change))?;
        }
        self.update.raw_execute().map(|_| ())
    }
}

fn stored<'a>(change: &Change<'a>) -> ToSqlOutput<'a> {
    match change {
        Change::Nothing | Change::Delete => ToSqlOutput::Owned(Owned::Null),
        Change::Value(value) => ToSqlOutput::Borrowed(*value),
    }
}
