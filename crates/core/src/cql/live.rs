//! A table as it is, beside what the file says of it: what differs, and which ALTERs would end that.
//! Whoever keeps the table looks at it and runs them.

use std::collections::BTreeMap;

use super::{Column, Key, Table, Type, quoted};

/// A column as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveColumn {
    /// Its type as CQL writes it, which need not be one of ours.
    pub kind: String,
    /// Its part in the primary key.
    pub key: Option<Key>,
    /// Its place among the columns of that part.
    pub position: i32,
}

/// A table's columns by name.
pub type LiveTable = BTreeMap<String, LiveColumn>;

/// What keeps a flow from writing the table, for people. Columns that the file does not have are no
/// difference: they stay as they are.
pub fn differences(table: &Table, live: &LiveTable) -> Vec<String> {
    let mut found = Vec::new();
    for column in &table.columns {
        match live.get(&column.name) {
            None => found.push(format!("it has no column {} {}", column.name, column.kind)),
            Some(there) if !is_same(column, there) => found.push(type_differs(column, there)),
            Some(_) => {}
        }
    }
    found.extend(key_differs(table, live));
    found
}

fn is_same(column: &Column, there: &LiveColumn) -> bool {
    Type::parse(&there.kind).as_ref() == Some(&column.kind)
}

fn type_differs(column: &Column, there: &LiveColumn) -> String {
    format!("{} is {} there and {} in the file", column.name, there.kind, column.kind)
}

fn key_differs(table: &Table, live: &LiveTable) -> Option<String> {
    let in_file = key_of(table.key().map(|column| (column.key, column.name.as_str())));
    let mut keys: Vec<_> = live.iter().filter(|(_, column)| column.key.is_some()).collect();
    keys.sort_by_key(|(_, column)| (column.key != Some(Key::Partition), column.position));
    let there = key_of(keys.into_iter().map(|(name, column)| (column.key, name.as_str())));
    (in_file != there).then(|| format!("its primary key is {there} there and {in_file} in the file"))
}

/// A primary key as CQL writes it.
fn key_of<'a>(columns: impl Iterator<Item = (Option<Key>, &'a str)>) -> String {
    let (partition, clustering): (Vec<_>, Vec<_>) =
        columns.partition(|(key, _)| *key == Some(Key::Partition));
    let names =
        |columns: Vec<(_, &'a str)>| columns.into_iter().map(|(_, name)| name).collect::<Vec<_>>().join(", ");
    let clustering = names(clustering);
    let separator = if clustering.is_empty() { "" } else { ", " };
    format!("(({}){separator}{clustering})", names(partition))
}

/// The way from a table as it is to what the file says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Migration {
    /// Columns to add: nothing is lost, and they are null in every row that is there.
    pub added: Vec<Column>,
    /// Columns that the file does not have any more: dropping them loses their values.
    pub dropped: Vec<String>,
    /// What no ALTER does, with the way around.
    pub impossible: Vec<(String, String)>,
}

impl Migration {
    /// What is to be done so that `live` is `table`. A table that somebody else makes (without
    /// statements) may have columns of others.
    pub fn between(table: &Table, live: &LiveTable) -> Self {
        let mut found = Self::default();
        let anew = "write to a table of another name, and `millstream reset FILE --flow FLOW --to earliest` \
                    fills it from the topic";
        for column in &table.columns {
            match live.get(&column.name) {
                None if column.key.is_none() => found.added.push(column.clone()),
                // The key differs then, which says it.
                None => {}
                Some(there) if !is_same(column, there) => {
                    let way = format!("give the column another name in the file, or {anew}");
                    found.impossible.push((type_differs(column, there), way));
                }
                Some(_) => {}
            }
        }
        found.impossible.extend(key_differs(table, live).map(|differs| (differs, anew.to_owned())));
        if !table.statements.is_empty() {
            let is_left =
                |(name, there): &(&String, &LiveColumn)| there.key.is_none() && table.column(name).is_none();
            found.dropped.extend(live.iter().filter(is_left).map(|(name, _)| name.clone()));
        }
        found
    }

    /// Whether the table is what the file says already.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.dropped.is_empty() && self.impossible.is_empty()
    }
}

/// The statement that adds a column.
pub fn add_column(table: &Table, column: &Column) -> String {
    format!("{} ADD {} {}", alter(table), quoted(&column.name), column.kind)
}

/// The statement that drops a column.
pub fn drop_column(table: &Table, name: &str) -> String {
    format!("{} DROP {}", alter(table), quoted(name))
}

fn alter(table: &Table) -> String {
    format!("ALTER TABLE {}.{}", quoted(&table.keyspace), quoted(&table.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cql::parse;

    fn column(kind: &str, key: Option<Key>, position: i32) -> LiveColumn {
        LiveColumn { kind: kind.to_owned(), key, position }
    }

    fn table() -> Table {
        let create = "CREATE TABLE k.t (a UUID, b INT, c TEXT, d TEXT, e SET<INT>, PRIMARY KEY (a, b))";
        parse(create, "k", "t").expect("parses")
    }

    fn live() -> LiveTable {
        LiveTable::from([
            ("a".into(), column("uuid", Some(Key::Partition), 0)),
            ("b".into(), column("int", Some(Key::Clustering), 0)),
            ("c".into(), column("text", None, -1)),
            ("d".into(), column("text", None, -1)),
            ("e".into(), column("set<int>", None, -1)),
        ])
    }

    #[test]
    fn what_differs_is_named() {
        let (table, mut live) = (table(), live());
        live.insert("of somebody else".into(), column("list<text>", None, -1));
        assert_eq!(differences(&table, &live), Vec::<String>::new());
        live.insert("b".into(), column("int", Some(Key::Partition), 1));
        live.insert("c".into(), column("bigint", None, -1));
        live.insert("e".into(), column("frozen<set<int>>", None, -1));
        live.remove("d");
        assert_eq!(
            differences(&table, &live),
            [
                "c is bigint there and text in the file",
                "it has no column d text",
                "e is frozen<set<int>> there and set<int> in the file",
                "its primary key is ((a, b)) there and ((a), b) in the file",
            ]
        );
    }

    #[test]
    fn columns_are_added_dropped_or_made_under_another_name() {
        let (table, mut live) = (table(), live());
        assert!(Migration::between(&table, &live).is_empty());
        live.insert("old one".into(), column("list<text>", None, -1));
        live.insert("c".into(), column("bigint", None, -1));
        live.remove("e");
        let found = Migration::between(&table, &live);
        let added: Vec<_> = found.added.iter().map(|column| add_column(&table, column)).collect();
        assert_eq!(added, [r#"ALTER TABLE "k"."t" ADD "e" set<int>"#]);
        let dropped: Vec<_> = found.dropped.iter().map(|name| drop_column(&table, name)).collect();
        assert_eq!(dropped, [r#"ALTER TABLE "k"."t" DROP "old one""#]);
        assert_eq!(found.impossible.len(), 1);
        assert!(found.impossible[0].0.starts_with("c is bigint there"), "{found:?}");
        // What others have made has columns of others.
        let of_others = Table { statements: Vec::new(), ..table };
        assert_eq!(Migration::between(&of_others, &live).dropped, Vec::<String>::new());
    }
}
