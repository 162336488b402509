//! A pipeline at work as people and programs look at it: one value that the page, the API and the metrics
//! are made of.

use std::collections::BTreeMap;

use chrono::DateTime;
use millstream_core::{ClientValues, Counts, Run, RunState, SinkPlan};
use schemars::JsonSchema;
use serde::Serialize;

use crate::flow::FlowState;
use crate::latency::Latency;
use crate::pipeline::{Pipeline, Runner};
use crate::plan::{Plan, PlannedFlow};
use crate::run::{Backends, Observer};
use crate::values::Secrets;
use crate::words::{grouped, rounded};

/// How a flow stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FlowStanding {
    /// It has nothing to do.
    Idle,
    /// It is at work.
    Working,
    /// A service does not answer; it is asked again and again.
    Waiting,
    /// It has failed for a reason that waiting may not cure.
    Stopped,
}

/// How a pipeline stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It has never run.
    Ready,
    /// Records move, and it keeps up.
    Working,
    /// Records move, and more wait than it can take at once.
    CatchingUp,
    /// Everything that is there is done.
    UpToDate,
    /// A flow waits or has failed, or the last run has.
    Stopped,
}

/// One end of a flow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PlaceView {
    /// `http`, `topic`, `table`, …
    pub kind: String,
    /// Its name or address there.
    pub name: String,
    /// The service it is in, with its address, where it is in one.
    pub service: Option<String>,
    /// Whether that service lives in our process.
    pub in_process: bool,
}

/// A flow.
#[derive(Debug, Clone, PartialEq)]
pub struct FlowView {
    /// Its name.
    pub name: String,
    /// What runs it.
    pub runner: Runner,
    /// Whether it reads a topic, all the time.
    pub is_streaming: bool,
    /// Where its records come from.
    pub from: PlaceView,
    /// Where they go.
    pub to: PlaceView,
    /// Its query.
    pub sql: String,
    /// Where records go that cannot be processed.
    pub dead_letter_topic: String,
    /// How it stands.
    pub standing: FlowStanding,
    /// Why it does not work, and since when in milliseconds since 1970.
    pub trouble: Option<(String, i64)>,
    /// What it did since this process began.
    pub totals: FlowTotals,
    /// Records a second, of late.
    pub read_rate: f64,
    /// Messages or rows a second, of late.
    pub written_rate: f64,
    /// By partition: messages behind the last committed one.
    pub lag: BTreeMap<i32, u64>,
    /// The clients of brokers that it uses.
    pub clients: BTreeMap<&'static str, ClientValues>,
}

impl FlowView {
    /// Messages behind the last committed ones.
    pub fn lag_total(&self) -> u64 {
        self.lag.values().sum()
    }
}

/// What a flow did.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FlowTotals {
    /// What became of its records.
    pub counts: Counts,
    /// Bytes of their keys, values and headers.
    pub bytes: u64,
    /// How often something was tried again.
    pub retries: u64,
    /// How long messages were under way.
    pub latency: Latency,
    /// When something was committed last, in milliseconds since 1970.
    pub committed_ms: Option<i64>,
    /// The newest rows, as JSON, the newest last.
    pub newest: Vec<String>,
}

impl FlowTotals {
    /// Adds what a later start of the flow did.
    pub(crate) fn add(&mut self, state: &FlowState) {
        self.counts += state.counts;
        self.bytes += state.bytes;
        self.retries += state.retries;
        self.latency.add(&state.latency);
        self.committed_ms = state.committed_ms.or(self.committed_ms);
        if !state.newest.is_empty() {
            self.newest.clone_from(&state.newest);
        }
    }
}

/// What one flow did in one second.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
pub struct Sample {
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
    /// Records read.
    pub read: u64,
    /// Messages or rows written.
    pub written: u64,
    /// Records that became dead letters.
    pub dead: u64,
    /// Messages that wait.
    pub lag: u64,
    /// The 99th percentile of how long messages were under way, in milliseconds.
    pub latency_p99_ms: Option<i64>,
}

/// A pipeline.
#[derive(Debug, Clone, PartialEq)]
pub struct PipelineView {
    /// Its name.
    pub name: String,
    /// How it stands, in a word and in a sentence.
    pub standing: Standing,
    /// For people.
    pub sentence: String,
    /// When it runs by itself, for people.
    pub schedule: Option<String>,
    /// Whether the schedule rests.
    pub is_paused: bool,
    /// Whether there is something to trigger.
    pub has_runs: bool,
    /// When the next run is due.
    pub next_run_ms: Option<i64>,
    /// The run at work, or the one that waits for its retry.
    pub active: Option<Run>,
    /// The run that ended last.
    pub last: Option<Run>,
    /// Runs that wait.
    pub queued: usize,
    /// Runs that ended well since this process began.
    pub runs_succeeded: u64,
    /// Runs that failed for good since then.
    pub runs_failed: u64,
    /// The services with their addresses.
    pub backends: Backends,
    /// The flows, writers before readers.
    pub flows: Vec<FlowView>,
    /// When this process began.
    pub started_ms: i64,
}

/// What is fixed of a flow: the rest is filled in by who watches it.
pub(crate) fn flow_view(pipeline: &Pipeline, backends: &Backends, flow: &PlannedFlow) -> FlowView {
    let mask = |text: &str| pipeline.secrets.mask(text);
    let place = |kind: &str, name: &str, service: Option<&str>| {
        let service = service.and_then(|service| backends.get(service));
        PlaceView {
            kind: kind.to_owned(),
            name: mask(name),
            in_process: service.is_some_and(|address| address.starts_with("embedded")),
            service: service.cloned(),
        }
    };
    let from = &flow.origin;
    let reads_topic = from.plan.topic.is_some();
    let to = match &flow.target.plan {
        SinkPlan::Topic { topic, .. } => place("topic", topic, Some("kafka")),
        SinkPlan::Table(table) => place("table", &table.to_string(), Some("cassandra")),
        SinkPlan::Lines(address) => place(&flow.target.component.kind, address, None),
    };
    FlowView {
        name: flow.name.clone(),
        runner: flow.runner,
        is_streaming: reads_topic,
        from: place(&from.component.kind, &from.plan.address, reads_topic.then_some("kafka")),
        to,
        sql: mask(&flow.sql),
        dead_letter_topic: flow.dead_letter_topic.clone(),
        standing: FlowStanding::Idle,
        trouble: None,
        totals: FlowTotals::default(),
        read_rate: 0.0,
        written_rate: 0.0,
        lag: BTreeMap::new(),
        clients: BTreeMap::new(),
    }
}

impl FlowView {
    /// Fills in what the flow is doing now, without `secrets`.
    pub(crate) fn look_at(&mut self, state: &FlowState, secrets: &Secrets, now_ms: i64) {
        self.totals.add(state);
        let gauges = state.gauges.read();
        self.lag = gauges.lag;
        self.clients = gauges.clients;
        self.standing = if state.done { FlowStanding::Idle } else { FlowStanding::Working };
        if let Some(reason) = &state.waiting_for {
            let waited = state.waiting_since.map_or(0, |since| since.elapsed().as_millis() as i64);
            self.standing = FlowStanding::Waiting;
            self.trouble = Some((secrets.mask(reason), now_ms - waited));
        }
    }
}

impl PipelineView {
    /// The topics that its flows read, write, or keep dead letters in.
    pub fn topics(&self) -> Vec<&str> {
        let mut topics = Vec::new();
        for flow in &self.flows {
            let ends = [&flow.from, &flow.to].into_iter().filter(|place| place.kind == "topic");
            for topic in ends.map(|place| place.name.as_str()).chain([flow.dead_letter_topic.as_str()]) {
                if !topics.contains(&topic) {
                    topics.push(topic);
                }
            }
        }
        topics
    }

    /// The flows of an observer, which nobody schedules.
    pub fn of_observer(
        plan: &Plan,
        backends: &Backends,
        observer: &Observer,
        started_ms: i64,
        now_ms: i64,
    ) -> Self {
        let states = observer.lock();
        let flows = plan.flows.iter().filter_map(|flow| {
            let state = states.get(&flow.name)?;
            let mut view = flow_view(&plan.pipeline, backends, flow);
            view.look_at(&state.lock(), &plan.pipeline.secrets, now_ms);
            Some(view)
        });
        let mut view = Self {
            name: plan.pipeline.name.clone(),
            standing: Standing::Ready,
            sentence: String::new(),
            schedule: None,
            is_paused: false,
            has_runs: false,
            next_run_ms: None,
            active: None,
            last: None,
            queued: 0,
            runs_succeeded: 0,
            runs_failed: 0,
            backends: backends.clone(),
            flows: flows.collect(),
            started_ms,
        };
        (view.standing, view.sentence) = sentence(&view);
        view
    }
}

/// How the pipeline stands, in a word and in a sentence.
pub(crate) fn sentence(view: &PipelineView) -> (Standing, String) {
    let dead: u64 = view.flows.iter().map(|flow| flow.totals.counts.dead).sum();
    let dead = format!("{} dead", grouped(dead));
    let in_trouble = |standing: FlowStanding| {
        view.flows
            .iter()
            .filter(|flow| flow.standing == standing)
            .find_map(|flow| Some((flow, flow.trouble.as_ref()?)))
    };
    if let Some((flow, (reason, since_ms))) = in_trouble(FlowStanding::Stopped) {
        let since = clock_time(*since_ms);
        let text =
            format!("Stopped: {} since {since}: {reason}. Nothing is lost; it is tried again.", flow.name);
        return (Standing::Stopped, text);
    }
    if let Some((_, (reason, since_ms))) = in_trouble(FlowStanding::Waiting) {
        let text = format!("Stopped since {}: {reason}. Nothing is lost; retrying.", clock_time(*since_ms));
        return (Standing::Stopped, text);
    }
    let retried = view.active.as_ref().filter(|run| run.state == RunState::UpForRetry);
    if let Some((run, why)) = retried.and_then(|run| Some((run, run.error.as_ref()?))) {
        let at = clock_time(run.retry_at_ms.unwrap_or(run.created_ms));
        return (Standing::Stopped, format!("Stopped: the run failed and is tried again at {at}: {why}"));
    }
    let lag: u64 = view.flows.iter().map(FlowView::lag_total).sum();
    let streaming_rate: f64 =
        view.flows.iter().filter(|flow| flow.to.kind != "topic").map(|flow| flow.written_rate).sum();
    let rate = format!("{} rows/s", rounded(streaming_rate));
    let behind = if lag == 0 { "nothing waits".to_owned() } else { format!("{} behind", grouped(lag)) };
    let is_running = view.active.as_ref().is_some_and(|run| run.state == RunState::Running);
    if lag as f64 > 10.0 * streaming_rate.max(100.0) {
        return (Standing::CatchingUp, format!("Catching up: {rate}, {behind}, {dead}"));
    }
    if is_running || lag > 0 || streaming_rate > 0.0 {
        return (Standing::Working, format!("Working: {rate}, {behind}, {dead}"));
    }
    match &view.last {
        // Of flows that are gone from the file there will never be a better one.
        Some(run) if view.has_runs && run.state == RunState::Failed => {
            let why = run.error.as_deref().unwrap_or("no reason is known");
            (Standing::Stopped, format!("Stopped: the last run failed: {why}"))
        }
        None if view.has_runs && view.flows.iter().all(|flow| flow.totals.counts.read == 0) => {
            let text = match view.next_run_ms {
                Some(_) => "Ready: it has not run yet. Press Trigger, or wait for the schedule.",
                None => "Ready: it has not run yet. Press Trigger.",
            };
            (Standing::Ready, text.to_owned())
        }
        _ => (Standing::UpToDate, format!("Up to date: nothing waits, {dead}")),
    }
}

/// 14:02, in UTC.
fn clock_time(ms: i64) -> String {
    DateTime::from_timestamp_millis(ms).map_or_else(String::new, |at| at.format("%H:%M:%S UTC").to_string())
}

#[cfg(test)]
mod tests {
    use millstream_core::Trigger;

    use super::*;

    fn place(kind: &str) -> PlaceView {
        PlaceView { kind: kind.into(), name: "n".into(), service: None, in_process: false }
    }

    fn view() -> PipelineView {
        let store = FlowView {
            name: "store".into(),
            runner: Runner::Native,
            is_streaming: true,
            from: place("topic"),
            to: place("table"),
            sql: String::new(),
            dead_letter_topic: "n.dead-letters".into(),
            standing: FlowStanding::Working,
            trouble: None,
            totals: FlowTotals::default(),
            read_rate: 0.0,
            written_rate: 0.0,
            lag: BTreeMap::new(),
            clients: BTreeMap::new(),
        };
        PipelineView {
            name: "p".into(),
            standing: Standing::Ready,
            sentence: String::new(),
            schedule: None,
            is_paused: false,
            has_runs: true,
            next_run_ms: None,
            active: None,
            last: None,
            queued: 0,
            runs_succeeded: 0,
            runs_failed: 0,
            backends: Backends::new(),
            flows: vec![store],
            started_ms: 0,
        }
    }

    fn run(state: RunState, error: Option<&str>) -> Run {
        Run {
            id: "r".into(),
            trigger: Trigger::Manual,
            state,
            attempt: 1,
            interval_ms: None,
            created_ms: 0,
            started_ms: Some(0),
            ended_ms: None,
            retry_at_ms: Some(3_600_000),
            flows: BTreeMap::new(),
            error: error.map(str::to_owned),
        }
    }

    /// The sentence of a pipeline that `change` has happened to.
    fn of(change: impl FnOnce(&mut PipelineView)) -> (Standing, String) {
        let mut view = view();
        change(&mut view);
        sentence(&view)
    }

    #[test]
    fn what_a_flow_waits_for_is_shown_without_secrets() {
        let mut secrets = Secrets::default();
        secrets.add("kafka:9092");
        let waiting_for = Some("kafka:9092 does not answer".to_owned());
        let mut view = view();
        view.flows[0].look_at(&FlowState { waiting_for, ..FlowState::default() }, &secrets, 0);
        assert_eq!(view.flows[0].trouble, Some(("*** does not answer".to_owned(), 0)));
    }

    #[test]
    fn each_standing_has_its_sentence() {
        let trouble = |standing: FlowStanding| {
            move |view: &mut PipelineView| {
                view.flows[0].standing = standing;
                view.flows[0].trouble = Some(("Cassandra at x does not answer".into(), 50_520_000));
            }
        };
        for (found, expected) in [
            (of(|_| ()), (Standing::Ready, "Ready: it has not run yet. Press Trigger.")),
            (
                of(|view| view.flows[0].totals.counts.read = 1),
                (Standing::UpToDate, "Up to date: nothing waits, 0 dead"),
            ),
            (
                of(|view| {
                    view.flows[0].written_rate = 12.3;
                    view.flows[0].lag = BTreeMap::from([(0, 30), (1, 4)]);
                    view.flows[0].totals.counts.dead = 1_234;
                }),
                (Standing::Working, "Working: 12 rows/s, 34 behind, 1,234 dead"),
            ),
            (
                of(|view| view.active = Some(run(RunState::Running, None))),
                (Standing::Working, "Working: 0 rows/s, nothing waits, 0 dead"),
            ),
            (
                of(|view| view.flows[0].lag = BTreeMap::from([(0, 20_000)])),
                (Standing::CatchingUp, "Catching up: 0 rows/s, 20,000 behind, 0 dead"),
            ),
            (
                of(trouble(FlowStanding::Waiting)),
                (
                    Standing::Stopped,
                    "Stopped since 14:02:00 UTC: Cassandra at x does not answer. Nothing is lost; retrying.",
                ),
            ),
            (
                of(trouble(FlowStanding::Stopped)),
                (
                    Standing::Stopped,
                    "Stopped: store since 14:02:00 UTC: Cassandra at x does not answer. Nothing is lost; it is tried again.",
                ),
            ),
            (
                of(|view| view.active = Some(run(RunState::UpForRetry, Some("down")))),
                (Standing::Stopped, "Stopped: the run failed and is tried again at 01:00:00 UTC: down"),
            ),
            (
                of(|view| view.last = Some(run(RunState::Failed, Some("down")))),
                (Standing::Stopped, "Stopped: the last run failed: down"),
            ),
            (
                of(|view| {
                    view.has_runs = false;
                    view.last = Some(run(RunState::Failed, Some("its flows are gone from the file")));
                }),
                (Standing::UpToDate, "Up to date: nothing waits, 0 dead"),
            ),
        ] {
            assert_eq!((found.0, found.1.as_str()), expected);
        }
    }

    #[test]
    fn a_topic_between_two_flows_is_one() {
        let mut view = view();
        let fetch = FlowView {
            name: "fetch".into(),
            from: place("http"),
            to: place("topic"),
            ..view.flows[0].clone()
        };
        view.flows.insert(0, fetch);
        assert_eq!(view.topics(), ["n", "n.dead-letters"]);
    }
}
