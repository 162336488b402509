//! The keyspace and the table: made where they are missing, compared where they are there.

use std::collections::BTreeMap;

use futures::TryStreamExt;
use millstream_core::cql::live::differences;
use millstream_core::cql::{Key, LiveColumn, LiveTable, Table, quoted};
use millstream_core::{Error, Result, TableConnection};
use scylla::client::session::Session;
use scylla::errors::{DbError, ExecutionError, RequestAttemptError};

use super::errors::explain;

/// Makes what is missing and compares the rest.
pub(super) async fn ensure(session: &Session, connection: &TableConnection, table: &Table) -> Result<()> {
    if live(session, table).await?.is_empty() {
        if table.statements.is_empty() {
            return Err(Error::lasting(format!("there is no table {table}"))
                .help("`columns:` says that somebody else makes it; with `create:` it is made here"));
        }
        let makes_keyspace = table.statements.iter().any(|statement| creates(statement, "keyspace"));
        if !makes_keyspace && replication(session, &table.keyspace).await?.is_none() {
            let statement = create_keyspace(session, connection, &table.keyspace)?;
            execute(session, &statement).await?;
        }
        for statement in &table.statements {
            execute(session, statement).await?;
        }
    }
    compare(session, table).await
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

/// The statement that makes a keyspace, as the file says or as one node allows.
pub(super) fn create_keyspace(
    session: &Session,
    connection: &TableConnection,
    keyspace: &str,
) -> Result<String> {
    let replication = match &connection.keyspace {
        Some(settings) => {
            let options = settings.replication.iter().map(|(name, value)| {
                let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                format!("'{}': '{}'", name.replace('\'', "''"), value.replace('\'', "''"))
            });
            options.collect::<Vec<_>>().join(", ")
        }
        None => match session.get_cluster_state().get_nodes_info().len() {
            0 | 1 => "'class': 'SimpleStrategy', 'replication_factor': '1'".to_owned(),
            nodes => {
                return Err(Error::user(format!(
                    "keyspace {keyspace} is not there, and the cluster has {nodes} nodes: how many copies shall it keep?"
                ))
                .help("set `cassandra.keyspace: { replication: { class: NetworkTopologyStrategy, DATA_CENTER: 3 } }`"));
            }
        },
    };
    Ok(format!("CREATE KEYSPACE IF NOT EXISTS {} WITH replication = {{{replication}}}", quoted(keyspace)))
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
    let ours = |e: &dyn std::fmt::Display| Error::ours(format!("{what}: {e}"));
    let rows = session.query_iter(sql, (&table.keyspace, &table.name)).await;
    let rows = rows.map_err(|e| Error::passing(format!("{what}: {e}")))?;
    let mut rows = rows.rows_stream::<(String, String, String, i32)>().map_err(|e| ours(&e))?;
    let mut columns = LiveTable::new();
    while let Some((name, kind, role, position)) =
        rows.try_next().await.map_err(|e| Error::passing(format!("{what}: {e}")))?
    {
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
