//! An HTTP API as a source: one request, or one every so often, each answer's records handed on
//! as the bytes they are. Paging, cursors and credentials beyond headers have their place in
//! [`HttpSettings`] but are not here yet.

mod fetch;
mod records;
mod retry;
mod source;

use std::collections::BTreeMap;

use async_trait::async_trait;
use millstream_core::settings::{self, Period};
use millstream_core::{Error, Result, Scope, Source, SourceKind, SourcePlan};
use schemars::{JsonSchema, Schema, schema_for};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Records out of the JSON that an API answers.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpSettings {
    /// The address, like `https://randomuser.me/api/`.
    pub http: String,
    /// Parameters behind the `?`.
    #[serde(default)]
    pub query: BTreeMap<String, Parameter>,
    /// Headers of every request. Their values are secrets: they are shown nowhere, and not sent
    /// to another host that an answer redirects to.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Where the records are in an answer, as a JSONPath (RFC 9535), like `$.results`: where it
    /// selects one array, that array's elements.
    #[serde(default = "root")]
    pub records: String,
    /// What a record looks like, in Spark's DDL form: `id STRING, n INT`.
    pub schema: String,
    /// Asks again and again, so much time between the beginnings of two requests. Without it
    /// there is one request.
    #[serde(default)]
    pub every: Option<Period>,
    /// With `every`: how long after the first request another may begin; without it for ever.
    #[serde(default, rename = "for")]
    pub duration: Option<Period>,
    /// With `every`: at most so many requests.
    #[serde(default)]
    pub times: Option<u64>,
    /// How long connecting may take, and how long an answer may make no progress. Default 30s.
    #[serde(default = "thirty_seconds")]
    pub timeout: Period,
    /// How often a request that failed is repeated, after 0.5 s, 1 s, 2 s and so on up to 30 s, or
    /// when the server says (`Retry-After`). Default 8.
    #[serde(default = "eight")]
    pub retries: u32,
    /// The largest answer that is taken, in MiB. Default 64.
    #[serde(default = "sixty_four")]
    pub max_response_mib: u32,
    /// A file with certificates (PEM) to trust beside the system's.
    #[serde(default)]
    pub ca: Option<String>,
    /// What a run without a single record is: `fail` or `ok`.
    #[serde(default)]
    pub when_empty: WhenEmpty,
}

fn root() -> String {
    "$".to_owned()
}

fn thirty_seconds() -> Period {
    Period(std::time::Duration::from_secs(30))
}

fn eight() -> u32 {
    8
}

fn sixty_four() -> u32 {
    64
}

/// A parameter's value: a text, a number or a boolean.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Parameter {
    /// `name: text`
    Text(String),
    /// `results: 10`
    Number(serde_json::Number),
    /// `full: true`
    Boolean(bool),
}

impl std::fmt::Display for Parameter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Number(number) => number.fmt(f),
            Self::Boolean(value) => value.fmt(f),
        }
    }
}

/// What a run without a single record is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WhenEmpty {
    /// The run has failed.
    #[default]
    Fail,
    /// There was just nothing.
    Ok,
}

/// The kind `http`.
#[derive(Debug, Clone, Copy)]
pub struct HttpKind;

#[async_trait]
impl SourceKind for HttpKind {
    fn name(&self) -> &'static str {
        "http"
    }

    fn settings(&self) -> Schema {
        schema_for!(HttpSettings)
    }

    fn plan(&self, settings: &Value) -> Result<SourcePlan> {
        let settings: HttpSettings = settings::read(settings)?;
        let url = fetch::parse_url(&settings)?;
        records::parse_path(&settings.records)?;
        let alone = [("for", settings.duration.is_some()), ("times", settings.times.is_some())];
        if let Some((name, _)) = alone.into_iter().find(|(_, set)| *set && settings.every.is_none()) {
            return Err(Error::user(format!("`{name}` bounds the requests of `every`, which is missing"))
                .help("write every: 1s")
                .at(name));
        }
        Ok(SourcePlan {
            address: fetch::shown(&url),
            topic: None,
            schema: Some(settings.schema),
            nulls_ignored: false,
            empty_run_fails: settings.when_empty == WhenEmpty::Fail,
        })
    }

    async fn open(&self, settings: &Value, _: &Scope) -> Result<Box<dyn Source>> {
        Ok(Box::new(source::HttpSource::open(settings::read(settings)?)?))
    }
}
