//! Where a pipeline's tables are, embedded or in Cassandra: written, read, looked at, added to.

use std::path::Path;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use millstream_connectors::cassandra::{self, CassandraKind};
use millstream_core::{Result, Scope, Sink, SinkKind, SinkPlan, TableConnection, cql, settings};
use millstream_embedded::{TableKind, TableStore};
use millstream_engine::Pipeline;
use schemars::Schema;
use serde_json::{Map, Value};

/// The embedded tables of a state directory.
pub(crate) fn table_store(state: &Path) -> TableStore {
    TableStore::new(&state.join("tables.sqlite"))
}

/// The kind `table`: rows in the embedded tables or in Cassandra, as `cassandra.hosts` says.
pub(super) struct TableSinks {
    embedded: TableKind,
    real: CassandraKind,
}

impl TableSinks {
    pub(super) fn new(tables: &TableStore) -> Self {
        Self { embedded: TableKind::new(tables.clone()), real: CassandraKind }
    }
}

#[async_trait]
impl SinkKind for TableSinks {
    fn name(&self) -> &'static str {
        self.real.name()
    }

    fn settings(&self) -> Schema {
        self.real.settings()
    }

    fn plan(&self, settings: &Value) -> Result<SinkPlan> {
        self.real.plan(settings)
    }

    async fn open(&self, settings: &Value, scope: &Scope) -> Result<Sink> {
        match tables_of(&scope.services)?.is_embedded() {
            true => self.embedded.open(settings, scope).await,
            false => self.real.open(settings, scope).await,
        }
    }
}

/// Where a pipeline's tables live.
pub(crate) fn tables_of(services: &Map<String, Value>) -> Result<TableConnection> {
    match services.get("cassandra") {
        None | Some(Value::Null) => Ok(TableConnection::embedded()),
        Some(set) => settings::read(set),
    }
}

/// Rows of a table, batch after batch.
pub(crate) type TableRows = Box<dyn Iterator<Item = Result<RecordBatch, String>> + Send>;

/// The place of a pipeline's tables.
pub(crate) enum Tables<'a> {
    Embedded(&'a TableStore),
    Real(TableConnection),
}

impl<'a> Tables<'a> {
    /// As the pipeline's `cassandra:` says, with `store` as what is embedded.
    pub(crate) fn of(pipeline: &Pipeline, store: &'a TableStore) -> Result<Self> {
        let connection = tables_of(&pipeline.services)?;
        Ok(if connection.is_embedded() { Self::Embedded(store) } else { Self::Real(connection) })
    }

    /// The rows of a table, or only those of a partition, as they are now; `None` where it was never made.
    pub(crate) async fn scan(
        &self,
        table: &cql::Table,
        key: Option<&cql::PartitionKey>,
        rows_max: usize,
    ) -> Result<Option<TableRows>> {
        Ok(match self {
            Self::Embedded(store) => {
                store.scan(table, key, rows_max)?.map(|scan| Box::new(scan) as TableRows)
            }
            Self::Real(connection) => cassandra::scan(connection, table, key, rows_max)
                .await?
                .map(|scan| Box::new(scan) as TableRows),
        })
    }

    /// A table as it is; `None` where it was never made.
    pub(crate) async fn look(&self, table: &cql::Table) -> Result<Option<cql::LiveTable>> {
        match self {
            Self::Embedded(store) => store.look(table),
            Self::Real(connection) => cassandra::look(connection, table).await,
        }
    }

    /// Adds columns to a table that is there.
    pub(crate) async fn add_columns(&self, table: &cql::Table, columns: &[cql::Column]) -> Result<()> {
        match self {
            Self::Embedded(store) => store.add_columns(table, columns),
            Self::Real(connection) => cassandra::add_columns(connection, table, columns).await,
        }
    }
}
