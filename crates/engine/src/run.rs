//! Runs the flows of a plan at the same time: opens what they need, lets each topic be drained
//! when its writers have ended, and says how it went.

use std::collections::{BTreeMap, HashMap};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use millstream_core::{Counts, Error, Result, RunValues, Scope, Sink, SinkKind, Source};
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::{Map, Value, json};
use tokio::sync::oneshot;
use tokio::task::{self, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::flow::{Dating, FlowState, RunningFlow};
use crate::pipeline::Runner;
use crate::plan::{Plan, PlannedFlow};
use crate::registry::Registry;
use crate::remote::{RemoteMistake, WatchedFlow};
use crate::retry::Patience;

/// The services that a run uses, by name, each with its address for people, without what is secret in it; one in our
/// process begins with `embedded`.
pub type Backends = BTreeMap<String, String>;

/// How a run is to go.
pub struct RunOptions {
    /// Only these flows; all where none is named.
    pub flows: Vec<String>,
    /// When it ends by itself.
    pub until: Until,
    /// How long a service may not answer.
    pub patience: Option<Duration>,
    /// Set to end in order: the batch in hand is finished.
    pub stop: CancellationToken,
    /// Milliseconds since 1970.
    pub clock: fn() -> i64,
    /// What this run was told beside the file.
    pub values: RunValues,
}

/// When a run ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// When the bounded sources have ended and each topic is drained.
    Drained,
    /// Never.
    Stopped,
}

/// What all flows of a run are doing, for whoever looks on.
pub type Observer = Arc<Mutex<BTreeMap<String, Arc<Mutex<FlowState>>>>>;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Everything is done.
    Success,
    /// Something could not be done.
    Failed,
    /// It was stopped.
    Interrupted,
}

/// What a flow of a run did.
#[derive(Debug, Clone, Serialize)]
pub struct FlowSummary {
    /// What became of the records.
    #[serde(flatten)]
    pub counts: Counts,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What a run did.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// The pipeline's name.
    pub pipeline: String,
    /// The run's name: when it started, and by whom.
    pub run: String,
    /// How it ended.
    pub status: Status,
    /// When it started, RFC 3339 in UTC.
    pub started: String,
    /// How long it took.
    pub seconds: f64,
    /// Each service with its address.
    pub backends: Backends,
    /// Each flow, in the order in which they feed each other.
    pub flows: Map<String, Value>,
}

/// A flow that works once it is awaited.
type AtWork = Pin<Box<dyn Future<Output = Result<Counts>> + Send>>;

/// Runs the flows of `plan` until they end or are stopped.
pub async fn run(
    plan: &Plan,
    registry: &Registry,
    options: &RunOptions,
    observer: &Observer,
) -> Result<Vec<(String, FlowSummary)>> {
    for name in &options.flows {
        plan.find_flow(name)?;
    }
    let is_chosen = |flow: &&PlannedFlow| options.flows.is_empty() || options.flows.contains(&flow.name);
    let chosen: Vec<&PlannedFlow> = plan.flows.iter().filter(is_chosen).collect();
    check_values(&chosen, &options.values)?;
    let scope = |flow: &PlannedFlow, state: &Arc<Mutex<FlowState>>| Scope {
        gauges: state.lock().gauges.clone(),
        ..plan.pipeline.scope(&flow.name, &options.values, registry.cursors.clone())
    };
    let mut opened = Vec::new();
    // Sinks first: they make the topics that the sources read.
    for planned in &chosen {
        let state = Arc::new(Mutex::new(FlowState::default()));
        observer.lock().insert(planned.name.clone(), state.clone());
        let patience =
            Patience { at_most: options.patience, stop: options.stop.clone(), state: state.clone() };
        let sink = open_sink(&scope(planned, &state), planned, &patience).await;
        let sink = sink.map_err(|error| not_begun(planned, &state, error))?;
        opened.push((*planned, sink, patience));
    }
    // None is at work before all can be: a flow whose run fails would be cut off.
    let mut ready: Vec<(&PlannedFlow, oneshot::Sender<()>, AtWork)> = Vec::new();
    for (planned, sink, patience) in opened {
        let state = patience.state.clone();
        let failed = |error: Error| not_begun(planned, &state, error);
        let scope = scope(planned, &state);
        let (drain, drained) = oneshot::channel();
        if planned.runner == Runner::Spark {
            let watched = watch(plan, planned, registry, &scope, options, patience).await;
            let watched = watched.map_err(failed)?;
            let stop = options.stop.clone();
            ready.push((planned, drain, Box::pin(async move { watched.run(stop, drained).await })));
            continue;
        }
        let source = open_source(&scope, planned, &patience).await.map_err(failed)?;
        let dead_letters = open_dead_letters(&scope, planned, registry).await.map_err(failed)?;
        let flow = RunningFlow {
            planned: planned.clone(),
            source,
            sink,
            dead_letters,
            state,
            patience,
            secrets: plan.pipeline.secrets.clone(),
            clock: options.clock,
            dating: Dating::Now,
        };
        let (stop, until) = (options.stop.clone(), options.until);
        let flow = async move {
            let fails_empty = flow.planned.origin.plan.empty_run_fails && until == Until::Drained;
            match flow.run(stop.clone(), drained).await {
                Ok(counts) if counts.read == 0 && fails_empty && !stop.is_cancelled() => {
                    Err(Error::lasting("the source gave no record at all")
                        .help("`when_empty: ok` says that this is all right"))
                }
                ended => ended,
            }
        };
        ready.push((planned, drain, Box::pin(flow)));
    }
    let mut work = Work::default();
    for (planned, drain, flow) in ready {
        if options.until == Until::Drained {
            let upstream = planned.upstream.iter();
            let upstream = upstream.filter(|name| chosen.iter().any(|other| other.name == **name)).cloned();
            work.wait(&planned.name, upstream.collect(), drain);
        }
        work.spawn(&planned.name, flow);
    }
    work.finish(observer).await;
    Ok(summaries(plan, observer))
}

/// What the flows of a run have done so far, in the order in which they feed each other. A flow that was not begun is
/// left out.
pub fn summaries(plan: &Plan, observer: &Observer) -> Vec<(String, FlowSummary)> {
    let states = observer.lock();
    let summary = |planned: &PlannedFlow| {
        let state = states.get(&planned.name)?.lock();
        let error = state.failed.as_ref().map(ToString::to_string);
        Some((planned.name.clone(), FlowSummary { counts: state.counts, error }))
    };
    plan.flows.iter().filter_map(summary).collect()
}

/// Why a flow cannot begin, for whoever looks on and for whoever asked.
fn not_begun(planned: &PlannedFlow, state: &Mutex<FlowState>, error: Error) -> Error {
    state.lock().failed = Some(error.clone());
    error.at(format!("flow {}", planned.name))
}

/// Makes what the sinks of `flows` need: the topics that others wait to read.
pub(crate) async fn prepare(
    plan: &Plan,
    registry: &Registry,
    flows: &[String],
    patience: &Patience,
) -> Result<()> {
    for planned in plan.flows.iter().filter(|flow| flows.contains(&flow.name)) {
        let scope = plan.pipeline.scope(&planned.name, &RunValues::default(), registry.cursors.clone());
        open_sink(&scope, planned, patience).await.map_err(|e| e.at(format!("flow {}", planned.name)))?;
    }
    Ok(())
}

/// Makes what a flow on Spark needs and cannot make itself, its table and the topic of its dead letters.
async fn watch(
    plan: &Plan,
    planned: &PlannedFlow,
    registry: &Registry,
    scope: &Scope,
    options: &RunOptions,
    patience: Patience,
) -> Result<WatchedFlow> {
    let runner = registry.spark.clone().ok_or_else(|| Error::ours("nothing runs flows on Spark"))?;
    let flow = planned.remote(&plan.pipeline).map_err(|mistake| match mistake {
        RemoteMistake::Query(error) => Error::user(error.to_string()),
        RemoteMistake::Flow(error) => error,
    })?;
    let mut dead_letters = open_dead_letters(scope, planned, registry).await?;
    let mut attempts = patience.begin();
    while let Err(error) = dead_letters.prepare().await {
        attempts.wait(error).await?;
    }
    drop(attempts);
    let (until, clock) = (options.until, options.clock);
    Ok(WatchedFlow { planned: planned.clone(), flow, runner, until, patience, clock })
}

/// The flows at work, and those that wait for others to end before they drain.
#[derive(Default)]
struct Work {
    tasks: JoinSet<Result<Counts>>,
    names: HashMap<task::Id, String>,
    /// By flow: whom it waits for, and how it is told.
    waiting: BTreeMap<String, (Vec<String>, oneshot::Sender<()>)>,
}

impl Work {
    fn spawn(&mut self, flow: &str, work: impl Future<Output = Result<Counts>> + Send + 'static) {
        let id = self.tasks.spawn(work).id();
        self.names.insert(id, flow.to_owned());
    }

    fn wait(&mut self, flow: &str, upstream: Vec<String>, drain: oneshot::Sender<()>) {
        self.waiting.insert(flow.to_owned(), (upstream, drain));
        self.tell();
    }

    /// Lets those drain who wait for nobody any more.
    fn tell(&mut self) {
        let ready: Vec<String> = self
            .waiting
            .iter()
            .filter(|(_, (upstream, _))| upstream.is_empty())
            .map(|(name, _)| name.clone())
            .collect();
        for (_, drain) in ready.into_iter().filter_map(|name| self.waiting.remove(&name)) {
            // A flow that has already ended does not listen.
            let _ = drain.send(());
        }
    }

    async fn finish(mut self, observer: &Observer) {
        while let Some(ended) = self.tasks.join_next_with_id().await {
            let (id, result) = match ended {
                Ok(ended) => ended,
                Err(panicked) => {
                    tracing::error!("a flow ended with a panic: {panicked}");
                    (panicked.id(), Err(Error::ours("it ended with a panic, which is a bug of ours")))
                }
            };
            let name = self.names.remove(&id).unwrap_or_default();
            if let Some(state) = observer.lock().get(&name) {
                let mut state = state.lock();
                state.done = true;
                state.failed = result.err();
            }
            for (upstream, _) in self.waiting.values_mut() {
                upstream.retain(|other| *other != name);
            }
            self.tell();
        }
    }
}

/// What the flows ask a run for, and what goes with none of them.
fn check_values(chosen: &[&PlannedFlow], values: &RunValues) -> Result<()> {
    if let Some(flow) = chosen.iter().find(|flow| flow.origin.plan.needs_interval)
        && values.interval.is_none()
    {
        return Err(Error::user(format!("flow {} asks for the data interval of its run", flow.name))
            .help("give --interval START/END, like 2026-01-01T00:00:00Z/2026-01-02T00:00:00Z"));
    }
    if values.since.is_some() && !chosen.iter().any(|flow| flow.origin.plan.has_cursor) {
        return Err(Error::user("--since goes with an incremental source, and there is none")
            .help("take it away, or set `incremental:` up"));
    }
    Ok(())
}

pub(crate) async fn open_sink(scope: &Scope, planned: &PlannedFlow, patience: &Patience) -> Result<Sink> {
    let mut sink = planned.target.kind.open(&planned.target.component.settings, scope).await?;
    let mut attempts = patience.begin();
    while let Err(error) = sink.prepare().await {
        attempts.wait(error).await?;
    }
    Ok(sink)
}

async fn open_source(scope: &Scope, planned: &PlannedFlow, patience: &Patience) -> Result<Box<dyn Source>> {
    let mut attempts = patience.begin();
    loop {
        match planned.origin.kind.open(&planned.origin.component.settings, scope).await {
            Ok(source) => return Ok(source),
            Err(error) => attempts.wait(error).await?,
        }
    }
}

/// The larger messages that a topic of dead letters takes: the original and our headers.
const DEAD_LETTER_BYTES_MAX: &str = "20971520";

pub(crate) async fn open_dead_letters(
    scope: &Scope,
    planned: &PlannedFlow,
    registry: &Registry,
) -> Result<Box<dyn millstream_core::MessageSink>> {
    let topics: &Arc<dyn SinkKind> =
        registry.sink("topic").ok_or_else(|| Error::ours("dead letters need the sink kind `topic`"))?;
    let settings = json!({
        "topic": planned.dead_letter_topic,
        "key": [],
        "config": {
            "max.message.bytes": DEAD_LETTER_BYTES_MAX,
            "message.timestamp.type": "CreateTime",
            "retention.ms": "-1",
        },
    });
    // What the flow's own connectors see is not to be mixed with it.
    let scope = Scope { gauges: Arc::default(), ..scope.clone() };
    match topics.open(&settings, &scope).await? {
        Sink::Messages(sink) => Ok(sink),
        Sink::Rows(_) => Err(Error::ours("a topic takes messages")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_flow_that_panics_holds_up_none_that_waits_for_it() {
        let observer = Observer::default();
        let state = |name: &str| observer.lock().entry(name.to_owned()).or_default().clone();
        let (fetch, store) = (state("fetch"), state("store"));
        let (drain, drained) = oneshot::channel();
        let mut work = Work::default();
        work.spawn("fetch", async { panic!("as if a value had been too odd") });
        work.wait("store", vec!["fetch".to_owned()], drain);
        work.spawn("store", async {
            drained.await.map_err(|_| Error::ours("it is never told"))?;
            Ok(Counts::default())
        });
        work.finish(&observer).await;
        assert!(fetch.lock().failed.as_ref().is_some_and(|error| error.message.contains("panic")));
        assert!(store.lock().done && store.lock().failed.is_none());
    }
}
