//! Looks at a table and adds columns to it, between the runs of a flow.

use millstream_core::cql::live::add_column;
use millstream_core::cql::{Column, LiveTable, Table};
use millstream_core::{Result, TableConnection};

use super::connect::connect;
use super::schema;

/// The table as the cluster has it; `None` where there is no such table.
pub async fn look(connection: &TableConnection, table: &Table) -> Result<Option<LiveTable>> {
    let session = connect(connection).await?;
    let live = schema::live(&session, table).await?;
    Ok((!live.is_empty()).then_some(live))
}

/// Adds columns; returns when all nodes agree on them.
pub async fn add_columns(connection: &TableConnection, table: &Table, columns: &[Column]) -> Result<()> {
    let session = connect(connection).await?;
    for column in columns {
        schema::execute(&session, &add_column(table, column)).await?;
    }
    Ok(())
}
