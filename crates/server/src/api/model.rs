//! What the API answers: the engine's views with moments as RFC 3339 and lists that can be read without us.

use std::collections::BTreeMap;

use millstream_core::{Counts, LogLine, Run, RunState, Trigger};
use millstream_engine::{FlowStanding, FlowView, PipelineView, PlaceView, Sample, Standing, rfc3339};
use schemars::JsonSchema;
use serde::Serialize;

use crate::house::Broken;

/// Everything that is at work, and what is broken.
#[derive(Serialize, JsonSchema)]
pub(crate) struct PipelinesModel {
    /// Pipelines at work.
    pub(crate) pipelines: Vec<PipelineModel>,
    /// Files that are no pipelines.
    pub(crate) broken: Vec<BrokenModel>,
}

/// A file that is no pipeline.
#[derive(Serialize, JsonSchema)]
pub(crate) struct BrokenModel {
    /// Which.
    path: String,
    /// What is wrong with it, every mistake with its place.
    report: String,
}

impl From<&Broken> for BrokenModel {
    fn from(broken: &Broken) -> Self {
        Self { path: broken.path.clone(), report: broken.report.clone() }
    }
}

/// A pipeline at work.
#[derive(Serialize, JsonSchema)]
pub(crate) struct PipelineModel {
    /// Its name.
    name: String,
    /// How it stands, in a word.
    standing: Standing,
    /// How it stands, for people.
    sentence: String,
    /// When it runs by itself, for people.
    schedule: Option<String>,
    /// Whether the schedule rests.
    is_paused: bool,
    /// When the next run is due.
    next_run: Option<String>,
    /// The run at work, or the one that waits for its retry.
    active_run: Option<RunModel>,
    /// The run that ended last.
    last_run: Option<RunModel>,
    /// Runs that wait.
    queued_runs: usize,
    /// The services with their addresses.
    backends: BTreeMap<String, String>,
    /// The flows, writers before readers.
    flows: Vec<FlowModel>,
    /// When this process began.
    started: String,
}

impl From<PipelineView> for PipelineModel {
    fn from(view: PipelineView) -> Self {
        Self {
            name: view.name,
            standing: view.standing,
            sentence: view.sentence,
            schedule: view.schedule,
            is_paused: view.is_paused,
            next_run: view.next_run_ms.map(rfc3339),
            active_run: view.active.map(RunModel::from),
            last_run: view.last.map(RunModel::from),
            queued_runs: view.queued,
            backends: view.backends,
            flows: view.flows.into_iter().map(FlowModel::from).collect(),
            started: rfc3339(view.started_ms),
        }
    }
}

/// A flow.
#[derive(Serialize, JsonSchema)]
pub(crate) struct FlowModel {
    /// Its name.
    name: String,
    /// `native` or `spark`.
    runner: String,
    /// Whether it reads a topic, all the time.
    is_streaming: bool,
    /// Where its records come from.
    from: PlaceView,
    /// Where they go.
    to: PlaceView,
    /// Its query.
    sql: String,
    /// Where records go that cannot be processed.
    dead_letter_topic: String,
    /// How it stands.
    standing: FlowStanding,
    /// Why it does not work.
    trouble: Option<String>,
    /// Since when.
    trouble_since: Option<String>,
    /// What became of its records since this process began.
    counts: Counts,
    /// Bytes of their keys, values and headers.
    read_bytes: u64,
    /// How often something was tried again.
    retries: u64,
    /// Records a second, of late.
    read_rate: f64,
    /// Messages or rows a second, of late.
    written_rate: f64,
    /// Messages behind the last committed one, by partition.
    lag: BTreeMap<String, u64>,
    /// How long half of the messages were under way, in milliseconds.
    latency_p50_ms: Option<i64>,
    /// How long 99 of 100 were under way, at most.
    latency_p99_ms: Option<i64>,
    /// When something was committed last.
    committed: Option<String>,
    /// The newest rows of a table, the newest first.
    newest_rows: Vec<serde_json::Value>,
}

impl From<FlowView> for FlowModel {
    fn from(view: FlowView) -> Self {
        let newest = view.totals.newest.iter().rev();
        Self {
            runner: format!("{:?}", view.runner).to_lowercase(),
            is_streaming: view.is_streaming,
            standing: view.standing,
            trouble: view.trouble.as_ref().map(|(why, _)| why.clone()),
            trouble_since: view.trouble.as_ref().map(|(_, since_ms)| rfc3339(*since_ms)),
            counts: view.totals.counts,
            read_bytes: view.totals.bytes,
            retries: view.totals.retries,
            read_rate: view.read_rate,
            written_rate: view.written_rate,
            lag: view.lag.iter().map(|(partition, lag)| (partition.to_string(), *lag)).collect(),
            latency_p50_ms: view.totals.latency.quantile_ms(0.5),
            latency_p99_ms: view.totals.latency.quantile_ms(0.99),
            committed: view.totals.committed_ms.map(rfc3339),
            newest_rows: newest.filter_map(|row| serde_json::from_str(row).ok()).collect(),
            name: view.name,
            from: view.from,
            to: view.to,
            sql: view.sql,
            dead_letter_topic: view.dead_letter_topic,
        }
    }
}

/// A run.
#[derive(Serialize, JsonSchema)]
pub(crate) struct RunModel {
    /// Its name: how it came about, and when.
    pub(crate) id: String,
    /// Why there is one.
    trigger: Trigger,
    /// What became of it, in Airflow's words.
    pub(crate) state: RunState,
    /// Which attempt this is, from 1; 0 before the first.
    pub(crate) attempt: u32,
    /// Where its data interval begins; none where somebody asked for it.
    interval_start: Option<String>,
    /// Where that ends.
    interval_end: Option<String>,
    /// When it was due or asked for.
    created: String,
    /// When its last attempt began.
    pub(crate) started: Option<String>,
    /// When its last attempt ended.
    ended: Option<String>,
    /// How long its last attempt took, in seconds.
    pub(crate) seconds: Option<f64>,
    /// When it is tried again.
    retry_at: Option<String>,
    /// What became of records in its last attempt, by flow.
    pub(crate) flows: BTreeMap<String, Counts>,
    /// Why its last attempt failed.
    pub(crate) error: Option<String>,
}

impl From<Run> for RunModel {
    fn from(run: Run) -> Self {
        let took_ms = run.started_ms.zip(run.ended_ms).map(|(started_ms, ended_ms)| ended_ms - started_ms);
        Self {
            trigger: run.trigger,
            state: run.state,
            attempt: run.attempt,
            interval_start: run.interval_ms.map(|(start_ms, _)| rfc3339(start_ms)),
            interval_end: run.interval_ms.map(|(_, end_ms)| rfc3339(end_ms)),
            created: rfc3339(run.created_ms),
            started: run.started_ms.map(rfc3339),
            ended: run.ended_ms.map(rfc3339),
            seconds: took_ms.map(|ms| ms as f64 / 1000.0),
            retry_at: run.retry_at_ms.map(rfc3339),
            flows: run.flows,
            error: run.error,
            id: run.id,
        }
    }
}

/// Runs, the newest first.
#[derive(Serialize, JsonSchema)]
pub(crate) struct RunsModel {
    /// The runs.
    pub(crate) runs: Vec<RunModel>,
}

/// A line of a run's log.
#[derive(Serialize, JsonSchema)]
pub(crate) struct LineModel {
    /// When.
    at: String,
    /// In which attempt.
    attempt: u32,
    /// What.
    text: String,
}

impl From<LogLine> for LineModel {
    fn from(line: LogLine) -> Self {
        Self { at: rfc3339(line.at_ms), attempt: line.attempt, text: line.text }
    }
}

/// A run with its log.
#[derive(Serialize, JsonSchema)]
pub(crate) struct RunWithLogModel {
    /// The run.
    pub(crate) run: RunModel,
    /// Its log, the oldest line first.
    pub(crate) log: Vec<LineModel>,
}

/// What a flow did, second by second.
#[derive(Serialize, JsonSchema)]
pub(crate) struct SamplesModel {
    /// The oldest first; a quarter of an hour at most.
    pub(crate) samples: Vec<Sample>,
}

/// How many dead letters are meant by a change.
#[derive(Serialize, JsonSchema)]
pub(crate) struct PurgedModel {
    /// Those that were laid aside.
    pub(crate) purged: u64,
}
