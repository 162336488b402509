//! The settings of a flow that writes a table: the same for every table store.
//! What the store does with them is its own affair.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Error, Result, cql};

/// Rows of a table: the newest value sent stays, for every key and column.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TableSettings {
    /// The table with its keyspace, like `spark_streams.created_users`. Each column takes the
    /// query's column of the same name.
    pub table: String,
    /// The CQL that makes the table (and, if you like, its keyspace) where it is missing.
    pub create: String,
    /// What a null in the query's result means: `keep` leaves the value that is there, `delete`
    /// deletes it.
    #[serde(default)]
    pub nulls: Nulls,
}

/// What a null in the query's result means for the table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Nulls {
    /// The value that is there stays.
    #[default]
    Keep,
    /// The value that is there is deleted.
    Delete,
}

impl TableSettings {
    /// Reads `create:`.
    pub fn table(&self) -> Result<cql::Table> {
        let Some((keyspace, name)) = self.table.split_once('.') else {
            return Err(Error::user(format!("`{}` names no keyspace", self.table))
                .help("write KEYSPACE.TABLE, like spark_streams.created_users")
                .at("table"));
        };
        cql::parse(&self.create, keyspace, name).map_err(|error| {
            let line = self.create[..error.span.start].matches('\n').count() + 1;
            Error::user(format!("line {line} of the statement: {}", error.message)).at("create")
        })
    }
}

/// The database that all tables of a pipeline live in.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TableConnection {
    /// Where Cassandra is reached, or `embedded` for a table store in this process.
    pub hosts: String,
}
