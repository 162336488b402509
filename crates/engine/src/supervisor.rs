//! A pipeline for good: flows that read topics work all the time, the others in runs, by the schedule or
//! when somebody asks. It serves nothing itself; whoever looks takes a [`PipelineView`].

mod runs;
mod samples;
mod streams;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use millstream_core::{Counts, Error, LogLine, Result, Run, RunHistory, RunState, RunValues};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::flow::FlowState;
use crate::plan::Plan;
use crate::registry::Registry;
use crate::run::{Backends, FlowSummary, RunOptions, Until};
use crate::schedule::Schedule;
use crate::scheduler::Scheduler;
use crate::view::{FlowStanding, FlowTotals, PipelineView, Sample, flow_view, sentence};

/// Rates are means of so many.
const RATE_SAMPLES: usize = 5;
/// How often a run's log is brought up to date.
const LOG_EVERY: Duration = Duration::from_millis(200);

/// A pipeline at work for good.
pub struct Supervisor {
    plan: Plan,
    registry: Registry,
    backends: Backends,
    history: Arc<dyn RunHistory>,
    /// Milliseconds since 1970.
    clock: fn() -> i64,
    started_ms: i64,
    stop: CancellationToken,
    scheduler: Mutex<Scheduler>,
    /// Tells the scheduling task that something may be due.
    due: Notify,
    flows: BTreeMap<String, Watched>,
    last: Mutex<Option<Run>>,
    succeeded: AtomicU64,
    failed: AtomicU64,
    tasks: Mutex<JoinSet<()>>,
}

/// What is known of a flow.
#[derive(Default)]
struct Watched {
    live: Mutex<Live>,
    samples: Mutex<VecDeque<Sample>>,
}

#[derive(Default)]
struct Live {
    /// What its earlier starts did.
    past: FlowTotals,
    /// What it does now, while it is started.
    state: Option<Arc<Mutex<FlowState>>>,
    /// Why it is not started, without what is secret in it, and since when.
    stopped: Option<(String, i64)>,
}

impl Supervisor {
    /// Starts the pipeline's flows and its schedule; they end when `stop` is set.
    pub fn start(
        plan: Plan,
        registry: Registry,
        backends: Backends,
        history: Arc<dyn RunHistory>,
        clock: fn() -> i64,
        stop: CancellationToken,
    ) -> Result<Arc<Self>> {
        let pipeline = &plan.pipeline;
        let (name, now_ms) = (&pipeline.name, clock());
        let has_runs = plan.flows.iter().any(|flow| flow.origin.plan.topic.is_none());
        let schedule = match &pipeline.schedule {
            Some(text) if has_runs => Some(Schedule::parse(text, pipeline.timezone.as_deref())?),
            _ => None,
        };
        let decided_ms = match (history.last_scheduled_ms(name)?, &schedule) {
            // As it is, also where that is ahead of us: a clock that is far behind has not begun anything.
            (None, Some(_)) => Some(history.begun_ms(name, now_ms)?),
            (last_ms, _) => last_ms,
        };
        let (unfinished, without_flows): (Vec<Run>, Vec<Run>) =
            history.unfinished(name)?.into_iter().partition(|_| has_runs);
        let (scheduler, mut changed) = Scheduler::new(
            schedule,
            pipeline.runs.clone(),
            history.is_paused(name)?,
            decided_ms,
            unfinished,
            plan.flows.iter().any(|flow| flow.origin.plan.is_endless),
            now_ms,
        );
        changed.extend(without_flows.into_iter().map(|run| ended_without_flows(run, now_ms)));
        for run in &changed {
            history.save(name, run)?;
            let text = run.error.clone().unwrap_or_default();
            history.log(name, &run.id, &LogLine { at_ms: now_ms, attempt: run.attempt, text })?;
        }
        let last = history
            .runs(name, 20, None)?
            .into_iter()
            .find(|run| matches!(run.state, RunState::Success | RunState::Failed));
        let flows = plan.flows.iter().map(|flow| (flow.name.clone(), Watched::default())).collect();
        let supervisor = Arc::new(Self {
            plan,
            registry,
            backends,
            history,
            clock,
            started_ms: now_ms,
            stop,
            scheduler: Mutex::new(scheduler),
            due: Notify::new(),
            flows,
            last: Mutex::new(last),
            succeeded: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            tasks: Mutex::default(),
        });
        let mut tasks = supervisor.tasks.lock();
        for flow in supervisor.plan.flows.iter().filter(|flow| flow.origin.plan.topic.is_some()) {
            tasks.spawn(supervisor.clone().stream(flow.name.clone()));
        }
        tasks.spawn(supervisor.clone().schedule());
        tasks.spawn(supervisor.clone().sample());
        drop(tasks);
        Ok(supervisor)
    }

    /// Waits until everything has ended; `stop` is to be set before.
    pub async fn ended(&self) {
        let mut tasks = std::mem::take(&mut *self.tasks.lock());
        while let Some(ended) = tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!("{}: a task ended with a panic: {error}", self.plan.pipeline.name);
            }
        }
    }

    /// The plan that is at work.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// What the flows are made with.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Where its runs are remembered.
    pub fn history(&self) -> &Arc<dyn RunHistory> {
        &self.history
    }

    /// Asks for a run.
    pub fn trigger(&self) -> Result<Run> {
        let bounded = self.bounded();
        if bounded.is_empty() {
            return Err(Error::user("there is nothing to trigger: its flows read topics, all the time"));
        }
        let flows = &self.plan.flows;
        if let Some(flow) = flows.iter().find(|flow| flow.origin.plan.needs_interval) {
            return Err(Error::user(format!(
                "flow {} asks for the data interval of its run, which only the schedule gives",
                flow.name
            ))
            .help(self.how_to_run_for_an_interval()));
        }
        // It cannot begin before it is remembered as one that waits.
        let mut scheduler = self.scheduler.lock();
        let run = scheduler.trigger((self.clock)())?;
        if let Err(error) = self.history.save(&self.plan.pipeline.name, &run) {
            scheduler.withdraw(&run.id);
            return Err(error);
        }
        drop(scheduler);
        self.due.notify_one();
        Ok(run)
    }

    /// No other process can use what is embedded here.
    fn how_to_run_for_an_interval(&self) -> &'static str {
        match self.backends.values().any(|address| address.starts_with("embedded")) {
            true => {
                "to run it for one, stop this `up`, which has the embedded services, call `millstream run FILE \
                 --interval START/END`, and start `up` again"
            }
            false => "`millstream run FILE --interval START/END` runs it for one, also beside this `up`",
        }
    }

    /// Lets the schedule rest, or go on.
    pub fn set_paused(&self, paused: bool) -> Result<()> {
        self.history.set_paused(&self.plan.pipeline.name, paused)?;
        self.scheduler.lock().set_paused(paused, (self.clock)());
        self.due.notify_one();
        Ok(())
    }

    /// The last quarter of an hour of a flow, a note a second, the oldest first.
    pub fn samples(&self, flow: &str) -> Vec<Sample> {
        self.flows
            .get(flow)
            .map(|watched| watched.samples.lock().iter().copied().collect())
            .unwrap_or_default()
    }

    /// The pipeline as it is now.
    pub fn view(&self) -> PipelineView {
        let now_ms = (self.clock)();
        let mut flows = Vec::new();
        for planned in &self.plan.flows {
            let mut view = flow_view(&self.plan.pipeline, &self.backends, planned);
            if let Some(watched) = self.flows.get(&planned.name) {
                let live = watched.live.lock();
                view.totals = live.past.clone();
                if let Some(state) = &live.state {
                    view.look_at(&state.lock(), &self.plan.pipeline.secrets, now_ms);
                }
                if let Some((reason, since_ms)) = &live.stopped {
                    view.standing = FlowStanding::Stopped;
                    view.trouble = Some((reason.clone(), *since_ms));
                }
                let samples = watched.samples.lock();
                let count = samples.len().clamp(1, RATE_SAMPLES) as f64;
                let sum = |of: fn(&Sample) -> u64| {
                    samples.iter().rev().take(RATE_SAMPLES).map(of).sum::<u64>() as f64 / count
                };
                (view.read_rate, view.written_rate) =
                    (sum(|sample| sample.read), sum(|sample| sample.written));
            }
            flows.push(view);
        }
        let scheduler = self.scheduler.lock();
        let mut view = PipelineView {
            name: self.plan.pipeline.name.clone(),
            standing: crate::view::Standing::Ready,
            sentence: String::new(),
            schedule: scheduler.schedule().map(Schedule::described),
            is_paused: scheduler.is_paused(),
            has_runs: !self.bounded().is_empty(),
            next_run_ms: scheduler.next_run_ms(),
            active: scheduler.active().cloned().map(|run| self.with_counts(run)),
            last: self.last.lock().clone(),
            queued: scheduler.queued(),
            runs_succeeded: self.succeeded.load(Ordering::Relaxed),
            runs_failed: self.failed.load(Ordering::Relaxed),
            backends: self.backends.clone(),
            flows,
            started_ms: self.started_ms,
        };
        drop(scheduler);
        (view.standing, view.sentence) = sentence(&view);
        view
    }

    /// A run at work with what it has done so far.
    pub fn with_counts(&self, mut run: Run) -> Run {
        if run.state == RunState::Running {
            run.flows = self.counts_now();
        }
        run
    }

    fn counts_now(&self) -> BTreeMap<String, Counts> {
        let counts = self.bounded().into_iter().filter_map(|name| {
            let state = self.flows.get(&name)?.live.lock().state.clone()?;
            let counts = state.lock().counts;
            Some((name, counts))
        });
        counts.collect()
    }

    /// The flows that end by themselves.
    fn bounded(&self) -> Vec<String> {
        let bounded = self.plan.flows.iter().filter(|flow| flow.origin.plan.topic.is_none());
        bounded.map(|flow| flow.name.clone()).collect()
    }

    fn options(&self, flows: Vec<String>, until: Until, stop: CancellationToken) -> RunOptions {
        RunOptions { flows, until, patience: None, stop, clock: self.clock, values: RunValues::default() }
    }
}

/// A run that an earlier process left, and for which the file has no flow any more. It must not begin again: a run
/// that names no flow is one of all flows, and those are at work already.
fn ended_without_flows(run: Run, now_ms: i64) -> Run {
    let why = "its flows are gone from the file: those that are left read topics, all the time".to_owned();
    Run { state: RunState::Failed, ended_ms: Some(now_ms), retry_at_ms: None, error: Some(why), ..run }
}

/// Why flows failed, in one text.
fn errors(flows: &[(String, FlowSummary)]) -> Option<String> {
    let errors = flows.iter().filter_map(|(name, flow)| Some(format!("{name}: {}", flow.error.as_ref()?)));
    let errors: Vec<_> = errors.collect();
    (!errors.is_empty()).then(|| errors.join("; "))
}
