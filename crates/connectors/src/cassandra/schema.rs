//! The keyspace and the table: made where they are missing, compared where they are there.

use std::collections::BTreeMap;

use futures::TryStreamExt;
use millstream_core::cql::live::differences;
use millstream_core::cql::{Key, LiveColumn, LiveTable, Table, quoted};
use millstream_core::{Error, Result, TableConnection};
use scylla::client::session::Session;
use scylla::errors::{DbError, ExecutionError, RequestAttemptError};

use super::errors::{explain, explain_pages, explain_row};

/// Makes what is missing and compares the rest.
pub(super) async fn ensure(session: &Session, connection: &TableConnection, table: &Table) -> Result<()> {
    if live(session, table).await?.is_empty() {
        if table.statements.is_empty() {
            return Err(Error::lasting(format!("there is no table {table}"))
                .help("`columns:` says that somebody else makes it; with `create:` it is made here"));
        }
        if replication(session, &table.keyspace).await?.is_none()
            && let Some(statement) = create_keyspace(connection, node_count(session), table)?
        {
            execute(session, &statement).await?;
        }
        for statement in &table.statements {
            execute(session, statement).await?;
        }
    }
    compare(session, table).await
}

/// How many nodes the cluster has, also those that are down.
pub(super) fn node_count(session: &Session) -> usize {
    session.get_cluster_state().get_nodes_info().len()
}

/// Whether a statement creates a thing of that kind.
fn creates(statement: &str, kind: &str) -> bool {
    statement.split_whitespace().nth(1).is_some_and(|word| word.eq_ignore_ascii_case(kind))
}

/// Runs a statement that may have been run before; returns when all nodes agree on what it made.
pub(super) async fn execute(session: &Session, statement: &str) -> Result<()> {
    match session.query_unpaged(statement, ()).await {
        Ok(_) => Ok(()),
        Err(ExecutionError::LastAttemptError(RequestAttemptError::DbError(
            DbError::AlreadyExists { .. },
            _,
        ))) => Ok(()),
        Err(error) => {
            let line = statement.lines().next().unwrap_or_default();
            Err(explain(&format!("running `{line} …`"), &error))
        }
    }
}

/// The statement that makes the table's keyspace, as the file says or as one node allows; none where the table's own
/// statements make it.
pub(super) fn create_keyspace(
    connection: &TableConnection,
    nodes: usize,
    table: &Table,
) -> Result<Option<String>> {
    if table.statements.iter().any(|statement| creates(statement, "keyspace")) {
        return Ok(None);
    }
    let keyspace = &table.keyspace;
    let replication = match &connection.keyspace {
        Some(settings) => {
            let options = settings.replication.iter().map(|(name, value)| {
                let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                format!("'{}': '{}'", name.replace('\'', "''"), value.replace('\'', "''"))
            });
            options.collect::<Vec<_>>().join(", ")
        }
        None => match nodes {
            0 | 1 => "'class': 'SimpleStrategy', 'replication_factor': '1'".to_owned(),
            _ => {
                return Err(Error::user(format!(
                    "keyspace {keyspace} is not there, and the cluster has {nodes} nodes: how many copies shall it keep?"
                ))
                .help("set `cassandra.keyspace: { replication: { class: NetworkTopologyStrategy, DATA_CENTER: 3 } }`"));
            }
        },
    };
    Ok(Some(format!(
        "CREATE KEYSPACE IF NOT EXISTS {} WITH replication = {{{replication}}}",
        quoted(keyspace)
    )))
}

/// How a keyspace is replicated, for people; `None` where there is no such keyspace.
pub(super) async fn replication(session: &Session, keyspace: &str) -> Result<Option<String>> {
    let sql = "SELECT replication FROM system_schema.keyspaces WHERE keyspace_name = ?";
    let what = "looking for the keyspace";
    let found = session.query_unpaged(sql, (keyspace,)).await.map_err(|e| explain(what, &e))?;
    let rows = found.into_rows_result().map_err(|e| Error::ours(format!("{what}: {e}")))?;
    let row = rows.maybe_first_row::<(BTreeMap<String, String>,)>();
    let row = row.map_err(|e| Error::ours(format!("{what}: {e}")))?;
    Ok(row.map(|(options,)| {
        let shown = options.into_iter().map(|(name, value)| {
            let value = value.rsplit('.').next().unwrap_or_default().to_owned();
            if name == "class" { value } else { format!("{name} {value}") }
        });
        shown.collect::<Vec<_>>().join(", ")
    }))
}

/// The table as the cluster has it; no columns where it has none.
pub(super) async fn live(session: &Session, table: &Table) -> Result<LiveTable> {
    let sql = "SELECT column_name, type, kind, position FROM system_schema.columns \
               WHERE keyspace_name = ? AND table_name = ?";
    let what = format!("looking at table {table}");
    let rows = session.query_iter(sql, (&table.keyspace, &table.name)).await;
    let rows = rows.map_err(|e| explain_pages(&what, e))?;
    let rows = rows.rows_stream::<(String, String, String, i32)>();
    let mut rows = rows.map_err(|e| Error::ours(format!("{what}: {e}")))?;
    let mut columns = LiveTable::new();
    while let Some((name, kind, role, position)) = rows.try_next().await.map_err(|e| explain_row(&what, e))? {
        let key = match role.as_str() {
            "partition_key" => Some(Key::Partition),
            "clustering" => Some(Key::Clustering),
            _ => None,
        };
        columns.insert(name, LiveColumn { kind, key, position });
    }
    Ok(columns)
}

/// Whether the table is there as the file says it.
pub(super) async fn compare(session: &Session, table: &Table) -> Result<()> {
    let live = live(session, table).await?;
    if live.is_empty() {
        return Err(Error::lasting(format!("there is no table {table}"))
            .help("was it dropped? the next start makes it anew where the file has `create:`"));
    }
    let differences = differences(table, &live);
    if differences.is_empty() {
        return Ok(());
    }
    Err(Error::user(format!("table {table} is not what the file says: {}", differences.join("; ")))
        .help("`millstream migrate FILE` says how one becomes the other"))
}

#[cfg(test)]
mod tests {
    use millstream_core::cql::parse;

    use super::*;

    #[test]
    fn how_many_copies_is_asked_only_where_the_keyspace_is_made_here() {
        let create = "CREATE TABLE k.t (id TEXT PRIMARY KEY)";
        let connection = TableConnection { hosts: "a,b,c".to_owned(), ..TableConnection::embedded() };
        let made = |create: &str, nodes| {
            create_keyspace(&connection, nodes, &parse(create, "k", "t").expect("a table"))
        };
        let alone = made(create, 1).expect("one copy").expect("a statement");
        assert!(alone.starts_with("CREATE KEYSPACE IF NOT EXISTS \"k\" WITH"), "{alone}");
        let asked = made(create, 3).expect_err("it is not known how many");
        assert!(asked.message.contains("3 nodes: how many copies"), "{asked}");
        let own = format!("CREATE KEYSPACE k WITH replication = {{'class': 'x', 'dc1': 3}}; {create}");
        assert_eq!(made(&own, 3).expect("nothing to ask"), None);
    }
}
