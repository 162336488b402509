//! Runs of a pipeline by a scheduler: what is remembered of each, and where.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Counts, Result};

/// What became of a run, in Airflow's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// It waits for the run before it.
    Queued,
    /// It is at work.
    Running,
    /// Everything is done.
    Success,
    /// It has failed as often as it may.
    Failed,
    /// It has failed and is tried again.
    UpForRetry,
    /// It was due while another one waited already.
    Skipped,
}

impl RunState {
    /// Every state.
    pub const ALL: [Self; 6] =
        [Self::Queued, Self::Running, Self::Success, Self::Failed, Self::UpForRetry, Self::Skipped];

    /// Whether nothing will change any more.
    pub fn has_ended(self) -> bool {
        matches!(self, Self::Success | Self::Failed | Self::Skipped)
    }

    /// As Airflow writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Success => "success",
            Self::Failed => "failed",
            Self::UpForRetry => "up_for_retry",
            Self::Skipped => "skipped",
        }
    }
}

/// Why there is a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// It was time.
    Schedule,
    /// Somebody asked for it.
    Manual,
}

/// A run of a pipeline's bounded flows. Moments are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Its name: how it came about, and when.
    pub id: String,
    /// Why there is one.
    pub trigger: Trigger,
    /// What became of it.
    pub state: RunState,
    /// Which attempt this is, from 1; 0 before the first.
    pub attempt: u32,
    /// The data interval that it is for; none where somebody asked.
    pub interval_ms: Option<(i64, i64)>,
    /// When it was due or asked for.
    pub created_ms: i64,
    /// When its last attempt began.
    pub started_ms: Option<i64>,
    /// When its last attempt ended.
    pub ended_ms: Option<i64>,
    /// When it is tried again.
    pub retry_at_ms: Option<i64>,
    /// What became of records in its last attempt, by flow.
    pub flows: BTreeMap<String, Counts>,
    /// Why its last attempt failed.
    pub error: Option<String>,
}

/// A line of a run's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
    /// In which attempt.
    pub attempt: u32,
    /// What.
    pub text: String,
}

/// Where runs are remembered across restarts. What it returns is in the order of time, the newest first
/// where it is runs, the oldest first where it is lines.
pub trait RunHistory: Send + Sync {
    /// Remembers a run as it is now.
    fn save(&self, pipeline: &str, run: &Run) -> Result<()>;

    /// The newest runs, or those before the run `before`.
    fn runs(&self, pipeline: &str, count_max: u32, before: Option<&str>) -> Result<Vec<Run>>;

    /// One run.
    fn run(&self, pipeline: &str, id: &str) -> Result<Option<Run>>;

    /// The newest moment for which the schedule has made a run.
    fn last_scheduled_ms(&self, pipeline: &str) -> Result<Option<i64>>;

    /// When the pipeline was first started with a schedule: `now_ms`, where it is now.
    fn begun_ms(&self, pipeline: &str, now_ms: i64) -> Result<i64>;

    /// Runs that have not ended.
    fn unfinished(&self, pipeline: &str) -> Result<Vec<Run>>;

    /// Adds a line to a run's log.
    fn log(&self, pipeline: &str, id: &str, line: &LogLine) -> Result<()>;

    /// A run's log.
    fn lines(&self, pipeline: &str, id: &str) -> Result<Vec<LogLine>>;

    /// Whether the schedule is at rest.
    fn is_paused(&self, pipeline: &str) -> Result<bool>;

    /// Lets the schedule rest, or not.
    fn set_paused(&self, pipeline: &str, paused: bool) -> Result<()>;
}
