//! Asks a cluster whether the tables of a pipeline are what it needs.

use millstream_core::cql::{self, Table};
use millstream_core::{Error, Finding, Result, TableConnection};
use scylla::client::session::Session;
use scylla::value::CqlTimestamp;

use super::connect::connect;
use super::errors::explain;
use super::schema;

/// A clock further off than this decides wrongly what is newer.
const SKEW_MAX_MS: i64 = 1_000;

/// What was found about the cluster and the tables; `now_ms` is our clock, asked when needed.
pub async fn examine(connection: &TableConnection, tables: &[&Table], now_ms: fn() -> i64) -> Vec<Finding> {
    let session = match connect(connection).await {
        Ok(session) => session,
        Err(error) => return vec![error.into()],
    };
    let mut found = Vec::new();
    match cluster(&session, now_ms).await {
        Ok(findings) => found.extend(findings),
        Err(error) => found.push(error.into()),
    }
    for table in tables {
        if let Err(error) = examine_table(&session, connection, table, &mut found).await {
            found.push(error.into());
        }
    }
    found
}

async fn cluster(session: &Session, now_ms: fn() -> i64) -> Result<Vec<Finding>> {
    let what = "asking for the version";
    let sql = "SELECT release_version, data_center, cluster_name, toTimestamp(now()) FROM system.local";
    let before = now_ms();
    let answer = session.query_unpaged(sql, ()).await.map_err(|e| explain(what, &e))?;
    let ours = i64::midpoint(before, now_ms());
    let ours_failed = |e: &dyn std::fmt::Display| Error::ours(format!("{what}: {e}"));
    let rows = answer.into_rows_result().map_err(|e| ours_failed(&e))?;
    let (version, data_center, name, theirs) =
        rows.single_row::<(String, String, String, CqlTimestamp)>().map_err(|e| ours_failed(&e))?;
    let nodes = schema::node_count(session);
    let mut found = vec![Finding::fine(format!(
        "cluster {name} answers: Cassandra {version}, {nodes} node(s), data centre {data_center}"
    ))];
    let skew_ms = theirs.0 - ours;
    found.push(match skew_ms.abs() <= SKEW_MAX_MS {
        true => Finding::fine(format!("its clock is {skew_ms} ms ahead of ours")),
        false => Finding::doubtful(
            format!("its clock is {skew_ms} ms ahead of ours"),
            "write times come from the messages, but rows that others write there have the cluster's time",
        ),
    });
    Ok(found)
}

/// Adds to `found`, so that what was found stays where more cannot be asked.
async fn examine_table(
    session: &Session,
    connection: &TableConnection,
    table: &Table,
    found: &mut Vec<Finding>,
) -> Result<()> {
    match schema::replication(session, &table.keyspace).await? {
        Some(replication) => {
            found.push(Finding::fine(format!("keyspace {} is there: {replication}", table.keyspace)));
        }
        None if table.statements.is_empty() => {
            found.push(Finding::wrong(
                format!("there is no keyspace {}", table.keyspace),
                "is it made elsewhere?",
            ));
        }
        None => {
            schema::create_keyspace(connection, schema::node_count(session), table)?;
            found.push(Finding::fine(format!(
                "keyspace {} is not there yet: the first run makes it",
                table.keyspace
            )));
        }
    }
    let live = schema::live(session, table).await?;
    if live.is_empty() {
        found.push(match table.statements.is_empty() {
            true => Finding::wrong(
                format!("there is no table {table}"),
                "`columns:` says that somebody else makes it; with `create:` it is made here",
            ),
            false => Finding::fine(format!("table {table} is not there yet: the first run makes it")),
        });
        return Ok(());
    }
    let differences = cql::live::differences(table, &live);
    if differences.is_empty() {
        found.push(Finding::fine(format!("table {table} is what the file says")));
    }
    found.extend(differences.into_iter().map(|difference| {
        Finding::wrong(
            format!("table {table}: {difference}"),
            "`millstream migrate FILE` says how one becomes the other",
        )
    }));
    Ok(())
}
