//! Tables in Cassandra. Every row carries its write time, so that writing it twice, or late,
//! leaves the same table.

mod connect;
mod doctor;
mod errors;
mod migrate;
mod row;
mod scan;
mod schema;
mod sink;

use async_trait::async_trait;
use millstream_core::{
    Error, Result, Scope, Sink, SinkKind, SinkPlan, TableConnection, TableSettings, settings,
};
use schemars::{Schema, schema_for};
use serde_json::Value;

pub use doctor::examine;
pub use migrate::{add_columns, look};
pub use scan::scan;

/// The kind `table`, as rows in Cassandra.
#[derive(Debug, Clone, Copy)]
pub struct CassandraKind;

#[async_trait]
impl SinkKind for CassandraKind {
    fn name(&self) -> &'static str {
        "table"
    }

    fn settings(&self) -> Schema {
        schema_for!(TableSettings)
    }

    fn plan(&self, settings: &Value) -> Result<SinkPlan> {
        settings::read::<TableSettings>(settings)?.table().map(SinkPlan::Table)
    }

    async fn open(&self, settings: &Value, scope: &Scope) -> Result<Sink> {
        let connection = scope.services.get("cassandra");
        let connection: TableConnection =
            settings::read(connection.ok_or_else(|| Error::ours("a table is opened without `cassandra:`"))?)?;
        let settings: TableSettings = settings::read(settings)?;
        let table = settings.table()?;
        Ok(Sink::Rows(Box::new(sink::CassandraSink::new(connection, settings, table))))
    }
}
