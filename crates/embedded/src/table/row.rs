//! A row as it waits in memory: its write time, and one after the other what it says of each column, in the types of
//! SQLite.

use millstream_core::cql::collection::is_empty;
use millstream_core::cql::{Table, Value};
use rusqlite::types::{ToSqlOutput, ValueRef};

use super::cell;

/// What each column's bytes begin with.
const NOTHING: u8 = 0;
const DELETE: u8 = 1;
const INTEGER: u8 = 2;
const REAL: u8 = 3;
const TEXT: u8 = 4;
const BLOB: u8 = 5;

/// What a row says of one column.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Change<'a> {
    /// What is there stays.
    Nothing,
    /// What is there goes.
    Delete,
    /// It is this.
    Value(ValueRef<'a>),
}

/// Appends a row to `bytes`. A null deletes what is there in the columns of which `deletes` says so.
pub(super) fn push(
    bytes: &mut Vec<u8>,
    table: &Table,
    values: &[Option<Value<'_>>],
    deletes: &[bool],
    time: i64,
) {
    bytes.extend_from_slice(&time.to_le_bytes());
    for (at, value) in values.iter().enumerate() {
        match value {
            // Where each element is a cell, nothing in it is nothing there.
            Some(Value::Collection(elements))
                if table.columns[at].kind.is_multi_cell() && is_empty(elements) =>
            {
                bytes.push(DELETE);
            }
            Some(value) => push_value(bytes, &cell::stored(value)),
            None if deletes[at] => bytes.push(DELETE),
            None => bytes.push(NOTHING),
        }
    }
}

fn push_value(bytes: &mut Vec<u8>, value: &ToSqlOutput<'_>) {
    let value = match value {
        ToSqlOutput::Borrowed(value) => *value,
        ToSqlOutput::Owned(value) => ValueRef::from(value),
        _ => ValueRef::Null,
    };
    let (kind, longer) = match value {
        ValueRef::Null => return bytes.push(NOTHING),
        ValueRef::Integer(number) => return push_fixed(bytes, INTEGER, number.to_le_bytes()),
        ValueRef::Real(number) => return push_fixed(bytes, REAL, number.to_le_bytes()),
        ValueRef::Text(text) => (TEXT, text),
        ValueRef::Blob(blob) => (BLOB, blob),
    };
    push_fixed(bytes, kind, (longer.len() as u64).to_le_bytes());
    bytes.extend_from_slice(longer);
}

fn push_fixed(bytes: &mut Vec<u8>, kind: u8, fixed: [u8; 8]) {
    bytes.push(kind);
    bytes.extend_from_slice(&fixed);
}

/// A row that is read from its bytes.
#[derive(Debug, Default)]
pub(super) struct Row<'a> {
    pub(super) time: i64,
    /// By the table's order.
    pub(super) changes: Vec<Change<'a>>,
}

impl<'a> Row<'a> {
    /// Becomes the row of `columns` columns at the beginning of `bytes`, which [`push`] has appended there.
    pub(super) fn read(&mut self, bytes: &'a [u8], columns: usize) {
        let mut rest = bytes;
        self.time = i64::from_le_bytes(fixed(&mut rest));
        self.changes.clear();
        for _ in 0..columns {
            let [kind] = fixed(&mut rest);
            self.changes.push(match kind {
                NOTHING => Change::Nothing,
                DELETE => Change::Delete,
                INTEGER => Change::Value(ValueRef::Integer(i64::from_le_bytes(fixed(&mut rest)))),
                REAL => Change::Value(ValueRef::Real(f64::from_le_bytes(fixed(&mut rest)))),
                TEXT => Change::Value(ValueRef::Text(longer(&mut rest))),
                _ => Change::Value(ValueRef::Blob(longer(&mut rest))),
            });
        }
    }
}

/// Takes so many bytes off the beginning.
fn fixed<const N: usize>(rest: &mut &[u8]) -> [u8; N] {
    let (first, others) = rest.split_first_chunk().expect("a row is whole");
    *rest = others;
    *first
}

fn longer<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let len = u64::from_le_bytes(fixed(rest)) as usize;
    let (first, others) = rest.split_at(len);
    *rest = others;
    first
}

#[cfg(test)]
mod tests {
    use millstream_core::cql::parse;

    use super::*;

    #[test]
    fn a_row_is_read_as_it_was_written() {
        let columns =
            "id int PRIMARY KEY, kept text, gone text, text text, ratio double, bytes blob, tags set<int>";
        let table = parse(&format!("CREATE TABLE k.t ({columns})"), "k", "t").expect("a table");
        let values = [
            Some(Value::Integer(i64::MIN)),
            None,
            None,
            Some(Value::Text("")),
            Some(Value::Double(-1.5)),
            Some(Value::Blob(&[0, 255])),
            Some(Value::Collection(vec![0; 4].into())),
        ];
        let deletes = [false, false, true, false, false, false, false];
        let mut bytes = Vec::new();
        push(&mut bytes, &table, &values, &deletes, -7);
        let mut row = Row::default();
        row.read(&bytes, values.len());
        assert_eq!(row.time, -7);
        let expected = [
            Change::Value(ValueRef::Integer(i64::MIN)),
            Change::Nothing,
            Change::Delete,
            Change::Value(ValueRef::Text(b"")),
            Change::Value(ValueRef::Real(-1.5)),
            Change::Value(ValueRef::Blob(&[0, 255])),
            Change::Delete,
        ];
        assert_eq!(row.changes, expected);
    }
}
