//! Which tables there are and what columns they have: made, compared, added to.

use millstream_core::cql::live::differences;
use millstream_core::cql::{Column, Key, LiveColumn, LiveTable, Table, describe, quoted};
use millstream_core::{Error, Result};
use rusqlite::{Connection, OptionalExtension};

use super::{CATALOG, CELLS, TIME, stored_name};

/// The columns of a table in one line; `None` where it was never made.
pub(super) fn read(connection: &Connection, table: &Table) -> rusqlite::Result<Option<String>> {
    let catalog: Option<i64> = connection
        .query_row("SELECT 1 FROM sqlite_schema WHERE name = ?1", [CATALOG], |row| row.get(0))
        .optional()?;
    if catalog.is_none() {
        return Ok(None);
    }
    let sql = format!("SELECT columns FROM {} WHERE name = ?1", quoted(CATALOG));
    connection.query_row(&sql, [table.to_string()], |row| row.get(0)).optional()
}

/// Another table whose name SQLite takes for that of `table`.
pub(super) fn namesake(connection: &Connection, table: &Table) -> rusqlite::Result<Option<String>> {
    let sql =
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name = ?1 COLLATE NOCASE AND name <> ?1";
    connection.query_row(sql, [table.to_string()], |row| row.get(0)).optional()
}

/// Makes a table.
pub(super) fn create(connection: &Connection, table: &Table) -> rusqlite::Result<()> {
    let columns: Vec<_> = table.columns.iter().map(|column| quoted(&column.name)).collect();
    let key: Vec<_> = table.key().map(|column| quoted(&column.name)).collect();
    let sql = format!(
        "BEGIN IMMEDIATE; CREATE TABLE IF NOT EXISTS {} ({}, {} INTEGER NOT NULL, {} BLOB, PRIMARY KEY ({}));",
        stored_name(table),
        columns.join(", "),
        quoted(TIME),
        quoted(CELLS),
        key.join(", "),
    );
    connection.execute_batch(&sql)?;
    connection.execute(
        &format!("INSERT OR IGNORE INTO {} VALUES (?1, ?2)", quoted(CATALOG)),
        [&table.to_string(), &describe(&table.columns)],
    )?;
    connection.execute_batch("COMMIT")
}

/// Adds `columns`, so that the table has `all`.
pub(super) fn add(
    connection: &mut Connection,
    table: &Table,
    columns: &[Column],
    all: &[Column],
) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    for column in columns {
        let sql = format!("ALTER TABLE {} ADD COLUMN {}", stored_name(table), quoted(&column.name));
        transaction.execute(&sql, [])?;
    }
    let sql = format!("UPDATE {} SET columns = ?2 WHERE name = ?1", quoted(CATALOG));
    transaction.execute(&sql, [&table.to_string(), &describe(all)])?;
    transaction.commit()
}

/// The columns as anybody looks at them.
pub(super) fn live(columns: &[Column]) -> LiveTable {
    let mut positions = [0, 0];
    let columns = columns.iter().map(|column| {
        let position = match column.key {
            None => -1,
            Some(key) => {
                let next = &mut positions[usize::from(key == Key::Clustering)];
                *next += 1;
                *next - 1
            }
        };
        let kind = column.kind.to_string();
        (column.name.clone(), LiveColumn { kind, key: column.key, position })
    });
    columns.collect()
}

/// Whether the table is there as the file says it; it may have more columns.
pub(super) fn compare(table: &Table, columns: &[Column]) -> Result<()> {
    let differences = differences(table, &live(columns));
    if differences.is_empty() {
        return Ok(());
    }
    Err(Error::user(format!("table {table} is not what the file says: {}", differences.join("; ")))
        .help("`millstream migrate FILE` says how one becomes the other; or delete the state directory"))
}
