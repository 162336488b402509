//! The settings of a flow that writes a table: the same for every table store.
//! What the store does with them is its own affair.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::settings::{Period, Tls};
use crate::{Error, Result, cql};

/// What stands for a table store in this process where hosts are expected.
const EMBEDDED: &str = "embedded";

/// Rows of a table: the newest value sent stays, for every key and column.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TableSettings {
    /// The table with its keyspace, like `spark_streams.created_users`. Each column takes the
    /// query's column of the same name.
    pub table: String,
    /// The CQL that makes the table (and, if you like, its keyspace) where it is missing. Not supported are
    /// columns of type `counter`, tuples, vectors and types of users, and lists that are not
    /// frozen: `check` says what to write instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub create: Option<String>,
    /// Instead of `create:` for a table that somebody else makes: its columns and its key, as they
    /// stand in the brackets of CREATE TABLE. Columns that are not written may be left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<String>,
    /// What a null in the query's result means: `keep` leaves the value that is there, `delete`
    /// deletes it. Default `keep`.
    #[serde(default)]
    pub nulls: Nulls,
    /// How long a value lives after it is written, like `30d`; by default for ever, or as the table
    /// says. The embedded tables keep everything and refuse it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Period>,
    /// How many copies must have a row before it counts as written. Default `LOCAL_QUORUM`.
    #[serde(default)]
    pub consistency: Consistency,
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

/// How many copies must have a row before it counts as written, as Cassandra calls it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Consistency {
    /// One.
    One,
    /// Two.
    Two,
    /// Three.
    Three,
    /// More than half of all.
    Quorum,
    /// All.
    All,
    /// More than half of those in the data centre.
    #[default]
    LocalQuorum,
    /// More than half of those in each data centre.
    EachQuorum,
    /// One in the data centre.
    LocalOne,
}

impl TableSettings {
    /// Reads `create:` or `columns:`.
    pub fn table(&self) -> Result<cql::Table> {
        let Some((keyspace, name)) = self.table.split_once('.') else {
            return Err(Error::user(format!("`{}` names no keyspace", self.table))
                .help("write KEYSPACE.TABLE, like spark_streams.created_users")
                .at("table"));
        };
        let wrong = |setting: &str, text: &str, error: cql::ParseError, before: usize| {
            let at = error.span.start.clamp(before, before + text.len()) - before;
            let line = text[..at].matches('\n').count() + 1;
            Error::user(format!("line {line} of the statement: {}", error.message)).at(setting)
        };
        match (&self.create, &self.columns) {
            (Some(create), None) => {
                cql::parse(create, keyspace, name).map_err(|error| wrong("create", create, error, 0))
            }
            (None, Some(columns)) => {
                let before = format!("CREATE TABLE \"{keyspace}\".\"{name}\" (");
                let table = cql::parse(&format!("{before}{columns})"), keyspace, name)
                    .map_err(|error| wrong("columns", columns, error, before.len()))?;
                Ok(cql::Table { statements: Vec::new(), ..table })
            }
            (Some(_), Some(_)) => {
                Err(Error::user("`create` and `columns` exclude each other").at("columns"))
            }
            (None, None) => Err(Error::user(format!("the columns of {} are not known", self.table))
                .help("`create:` is the CREATE TABLE that makes it; `columns:` its columns where somebody else makes it")
                .at("table")),
        }
    }
}

/// The database that all tables of a pipeline live in. Left out, it is `embedded`.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TableConnection {
    /// Where Cassandra is reached: `host` or `host:port`, several with commas between, or `embedded`
    /// for a table store in this process.
    #[schemars(length(min = 1))]
    pub hosts: String,
    /// Who asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The password of who asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-secret" = true))]
    pub password: Option<String>,
    /// The data centre whose nodes are asked, and no others, also while all of them are down. Its copies are those
    /// that `LOCAL_QUORUM` means.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_center: Option<String>,
    /// Encrypts the connection; `{}` trusts whom the system trusts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// What a keyspace is like that is made because it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keyspace: Option<KeyspaceSettings>,
}

/// What a keyspace is like that is made because it is missing.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyspaceSettings {
    /// How many copies there are, as CQL says it, like `{class: NetworkTopologyStrategy, dc1: 3}`.
    /// By default one copy where there is one node; with more nodes it must be said.
    pub replication: BTreeMap<String, serde_json::Value>,
}

impl TableConnection {
    /// Refuses what nobody can connect with. An error's place is the setting's path in the file.
    pub fn check(&self) -> Result<()> {
        let checked = self.tls.as_ref().map_or(Ok(()), Tls::check);
        checked.map_err(|error| error.at("tls").at("cassandra"))
    }

    /// A table store in this process.
    pub fn embedded() -> Self {
        Self {
            hosts: EMBEDDED.to_owned(),
            username: None,
            password: None,
            data_center: None,
            tls: None,
            keyspace: None,
        }
    }

    /// Whether it is a table store in this process.
    pub fn is_embedded(&self) -> bool {
        self.hosts == EMBEDDED
    }
}
