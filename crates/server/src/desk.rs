//! What can be asked of a pipeline's data: its table, its topics, its dead letters. The server only asks;
//! who knows the backends answers.

use async_trait::async_trait;
use millstream_core::Result;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Rows that are searched where no key leads to those that are wanted: a page must not read a table that
/// has grown for years.
pub const ROWS_SEARCHED_MAX: usize = 10_000;

/// Answers what is asked of one pipeline's data.
#[async_trait]
pub trait Desk: Send + Sync {
    /// Rows of a table, or those whose columns have the values of `wanted` as text; none where the table is
    /// not there yet. With the whole partition key those rows alone are read, else the first
    /// [`ROWS_SEARCHED_MAX`] at most.
    async fn rows(&self, table: &str, wanted: &[(String, String)], count_max: usize) -> Result<Option<Rows>>;

    /// The newest messages of a topic of the pipeline, the newest first.
    async fn records(&self, topic: &str, count_max: usize) -> Result<Vec<FoundRecord>>;

    /// Dead letters that nobody has settled, by their places; so many are shown at most.
    async fn dead_letters(&self, filter: &LetterFilter, count_max: usize) -> Result<FoundLetters>;

    /// Sends dead letters through their flow again.
    async fn replay(&self, filter: &LetterFilter) -> Result<Replayed>;

    /// Lays dead letters aside; how many.
    async fn purge(&self, filter: &LetterFilter) -> Result<u64>;
}

/// Rows of a table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Rows {
    /// The columns' names.
    pub columns: Vec<String>,
    /// The values as text, in the order of the columns; null where there is none.
    pub rows: Vec<Vec<Option<String>>>,
    /// Whether there may be more: so many were found as were asked for, or the search ended before the table.
    pub truncated: bool,
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct FoundRecord {
    /// Its partition.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
    /// Its timestamp in milliseconds since 1970; −1 where it has none.
    pub timestamp_ms: i64,
    /// Its key, as text.
    pub key: Option<String>,
    /// Its value, as text.
    pub value: Option<String>,
    /// Its headers, as text; a value may be null.
    pub headers: Vec<(String, Option<String>)>,
}

/// A record that could not be processed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct FoundLetter {
    /// Its identity: flow, topic, partition and offset.
    pub place: String,
    /// The flow that could not process it.
    pub flow: String,
    /// Why, out of a closed list.
    pub reason: String,
    /// Why, for people.
    pub detail: String,
    /// Where it came from, for a record of an API.
    pub origin: Option<String>,
    /// Its timestamp in milliseconds since 1970.
    pub timestamp_ms: i64,
    /// Its key, as text.
    pub key: Option<String>,
    /// Its value, as text; the beginning where it is large.
    pub value: Option<String>,
    /// How many bytes the value has.
    pub value_bytes: u64,
}

/// Dead letters that were asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FoundLetters {
    /// How many there are.
    pub count: usize,
    /// The first of them.
    pub letters: Vec<FoundLetter>,
}

/// Which dead letters are meant; all of them where nothing is said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LetterFilter {
    /// Only these places.
    pub places: Vec<String>,
    /// Only of this flow.
    pub flow: Option<String>,
    /// Only with this reason.
    pub reason: Option<String>,
    /// Only those whose detail has this text in it.
    pub contains: Option<String>,
}

/// What became of dead letters that were sent again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Replayed {
    /// Those that went through.
    pub replayed: u64,
    /// Those that died again.
    pub died_again: u64,
}
