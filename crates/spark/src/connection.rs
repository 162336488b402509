//! The Spark that flows run on, as a pipeline file names it.

use millstream_core::{Error, RemoteFlow, Result, settings};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The Spark that flows with `runner: spark` run on.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Connection {
    /// The address of its Connect server, like `sc://localhost:15002`; `sc://HOST:PORT/;use_ssl=true;token=…`
    /// where it asks who we are.
    pub connect: String,
    /// The folder where queries keep how far they have come: one that the driver and every executor
    /// reach under this name, like `hdfs://…`, `s3a://…` or a mount that they share. Needed where a flow
    /// runs on Spark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoints: Option<String>,
    /// The most messages that one batch of a query takes. Default 200000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_messages_max: Option<u64>,
}

impl Connection {
    /// The address without what is secret in it.
    pub fn address(&self) -> &str {
        self.connect.split(';').next().unwrap_or(&self.connect).trim_end_matches('/')
    }

    /// What the flow's file says.
    pub fn of(flow: &RemoteFlow) -> Result<Self> {
        match flow.services.get("spark") {
            Some(set) if !set.is_null() => settings::read(set),
            _ => Err(Error::user("a flow runs on Spark, and the file does not say which")
                .help("write spark: { connect: \"sc://localhost:15002\", checkpoints: /a/shared/folder }")),
        }
    }

    /// Where queries keep how far they have come.
    pub(crate) fn checkpoints(&self) -> Result<&str> {
        let folder = self.checkpoints.as_deref().map(|folder| folder.trim_end_matches('/'));
        folder.filter(|folder| !folder.is_empty()).ok_or_else(|| {
            Error::user("where a flow on Spark keeps how far it has come is not said").help(
                "set `spark.checkpoints:` to a folder that the driver and every executor of Spark reach",
            )
        })
    }
}
