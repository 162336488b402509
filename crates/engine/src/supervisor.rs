//! A pipeline for good: flows that read topics work all the time, the others in runs, by the schedule or
//! when somebody asks. It serves nothing itself; whoever looks takes a [`PipelineView`].

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use millstream_core::{Counts, Error, LogLine, Result, Run, RunHistory, RunState, RunValues};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::flow::FlowState;
use crate::plan::Plan;
use crate::registry::Registry;
use crate::retry::Patience;
use crate::run::{Backends, FlowSummary, Observer, RunOptions, Until, prepare, run};
use crate::schedule::Schedule;
use crate::scheduler::{Ended, Scheduler, rfc3339};
use crate::view::{FlowStanding, FlowTotals, PipelineView, Sample, flow_view, sentence};

/// How often it is noted what the flows do.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);
/// How many of these notes are kept of a flow.
const SAMPLES_MAX: usize = 900;
/// Rates are means of so many.
const RATE_SAMPLES: usize = 5;
/// How often a run's log is brought up to date.
const LOG_EVERY: Duration = Duration::from_millis(200);
/// A flow that has failed is started again after so long, each time twice as long.
const RESTART_FIRST: Duration = Duration::from_secs(5);
const RESTART_LONGEST: Duration = Duration::from_secs(300);
/// A flow that has failed and is started again is taken for healthy when it lasts so long.
const HEALTHY_AFTER: Duration = Duration::from_secs(3);
/// How soon a history that cannot be written is tried again.
const SAVE_AGAIN: Duration = Duration::from_secs(1);

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
    /// Why it is not started, and since when.
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
        let schedule = match &pipeline.schedule {
            Some(text) if plan.flows.iter().any(|flow| flow.origin.plan.topic.is_none()) => {
                Some(Schedule::parse(text, pipeline.timezone.as_deref())?)
            }
            _ => None,
        };
        let (scheduler, changed) = Scheduler::new(
            schedule,
            pipeline.runs.clone(),
            history.is_paused(name)?,
            history.last_scheduled_ms(name)?,
            history.unfinished(name)?,
            now_ms,
        );
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
            .help("`millstream run FILE --interval START/END` runs it for one"));
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
                    view.look_at(&state.lock(), now_ms);
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
            view.trouble = view.trouble.map(|(why, since)| (self.plan.pipeline.secrets.mask(&why), since));
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

    /// A flow that reads a topic, started again where it fails.
    async fn stream(self: Arc<Self>, name: String) {
        let Some(watched) = self.flows.get(&name) else { return };
        let Ok(planned) = self.plan.find_flow(&name) else { return };
        let mut wait = RESTART_FIRST;
        while !self.stop.is_cancelled() {
            let before = watched.live.lock().past.counts.read;
            let failed = self.stream_once(planned.name.clone(), &planned.upstream).await;
            let Some(error) = failed else { return };
            let error = self.plan.pipeline.secrets.mask(&error);
            tracing::warn!("{}: flow {name} has stopped: {error}", self.plan.pipeline.name);
            {
                let mut live = watched.live.lock();
                if live.past.counts.read > before {
                    wait = RESTART_FIRST;
                }
                let since_ms = live.stopped.take().map_or_else(self.clock, |(_, since_ms)| since_ms);
                live.stopped = Some((error, since_ms));
            }
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.stop.cancelled() => return,
            }
            wait = (wait * 2).min(RESTART_LONGEST);
        }
    }

    /// Until it fails, with the reason, or is stopped.
    async fn stream_once(&self, name: String, upstream: &[String]) -> Option<String> {
        // Topics that flows of runs write may not be there before the first run.
        let state = Arc::new(Mutex::new(FlowState::default()));
        let patience = Patience { at_most: None, stop: self.stop.clone(), state: state.clone() };
        let preparing: Observer = Arc::new(Mutex::new([(name.clone(), state)].into_iter().collect()));
        let prepared = self.shown(&preparing, prepare(&self.plan, &self.registry, upstream, &patience)).await;
        let observer = Observer::default();
        let ended = match prepared {
            Err(error) => Err(error),
            Ok(()) => {
                let options = self.options(vec![name], Until::Stopped, self.stop.clone());
                self.shown(&observer, run(&self.plan, &self.registry, &options, &observer)).await
            }
        };
        if self.stop.is_cancelled() {
            return None;
        }
        match ended {
            Err(error) => Some(error.to_string()),
            Ok(flows) => Some(errors(&flows).unwrap_or_else(|| "it has ended by itself".to_owned())),
        }
    }

    /// Lets whoever looks see the flows of `observer` while `work` goes on, and keeps what they did.
    async fn shown<T>(&self, observer: &Observer, work: impl Future<Output = T>) -> T {
        let started = Instant::now();
        let mut work = std::pin::pin!(work);
        let mut look = tokio::time::interval(LOG_EVERY);
        let ended = loop {
            tokio::select! {
                ended = &mut work => break ended,
                _ = look.tick() => self.show(observer, started.elapsed() > HEALTHY_AFTER),
            }
        };
        self.show(observer, false);
        for name in observer.lock().keys() {
            if let Some(watched) = self.flows.get(name) {
                let mut live = watched.live.lock();
                if let Some(state) = live.state.take() {
                    live.past.add(&state.lock());
                }
            }
        }
        ended
    }

    /// A flow that failed before counts as stopped until it is healthy or has done something.
    fn show(&self, observer: &Observer, is_healthy: bool) {
        for (name, state) in observer.lock().iter() {
            if let Some(watched) = self.flows.get(name) {
                let mut live = watched.live.lock();
                if is_healthy || state.lock().counts.read > 0 {
                    live.stopped = None;
                }
                live.state = Some(state.clone());
            }
        }
    }

    /// Starts runs when they are due.
    async fn schedule(self: Arc<Self>) {
        loop {
            let (changed, begun, next_ms) = {
                let (mut scheduler, now_ms) = (self.scheduler.lock(), (self.clock)());
                let changed = scheduler.tick(now_ms);
                let begun = scheduler.begin(now_ms);
                (changed, begun, scheduler.next_due_ms())
            };
            for run in &changed {
                self.save(run).await;
            }
            if let Some(run) = begun {
                self.save(&run).await;
                self.run(run).await;
                if self.stop.is_cancelled() {
                    return;
                }
                continue;
            }
            let now_ms = (self.clock)();
            // A clock may be put forward in the meantime.
            let wait_ms = next_ms.map_or(60_000, |next_ms| (next_ms - now_ms).clamp(0, 60_000));
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = self.due.notified() => {}
                () = tokio::time::sleep(Duration::from_millis(wait_ms as u64)) => {}
            }
        }
    }

    /// One attempt of a run.
    async fn run(&self, begun: Run) {
        let stop = self.stop.child_token();
        let mut options = self.options(self.bounded(), Until::Drained, stop.clone());
        options.values.interval =
            begun.interval_ms.map(|(from_ms, to_ms)| (rfc3339(from_ms), rfc3339(to_ms)));
        let attempt = match begun.attempt {
            1 => String::new(),
            attempt => format!(", attempt {attempt}"),
        };
        self.log(&begun, format!("run {} begins{attempt}: {}", begun.id, options.flows.join(", ")));
        let observer = Observer::default();
        let limit = self.plan.pipeline.runs.time_limit;
        let running = run(&self.plan, &self.registry, &options, &observer);
        let mut ended = std::pin::pin!(self.shown(&observer, running));
        let mut log = tokio::time::interval(LOG_EVERY);
        let mut said = BTreeMap::new();
        let mut is_late = false;
        let started = Instant::now();
        let ended = loop {
            tokio::select! {
                ended = &mut ended => break ended,
                _ = log.tick() => {
                    self.log_waiting(&begun, &observer, &mut said);
                    // What is due in the meantime waits or is skipped, and is to be seen.
                    let changed = self.scheduler.lock().tick((self.clock)());
                    for run in &changed {
                        self.save(run).await;
                    }
                    if limit.is_some_and(|limit| started.elapsed() > limit.0) && !is_late {
                        is_late = true;
                        stop.cancel();
                    }
                }
            }
        };
        let how = match (&ended, limit) {
            (_, Some(limit)) if is_late => Ended::Failed(format!("it took longer than {limit}")),
            _ if self.stop.is_cancelled() => Ended::Stopped,
            (Err(error), _) => Ended::Failed(error.to_string()),
            (Ok(flows), _) => errors(flows).map_or(Ended::Done, Ended::Failed),
        };
        let how = match how {
            Ended::Failed(why) => Ended::Failed(self.plan.pipeline.secrets.mask(&why)),
            how => how,
        };
        let flows: BTreeMap<String, Counts> = match ended {
            Ok(flows) => flows.into_iter().map(|(name, flow)| (name, flow.counts)).collect(),
            Err(_) => {
                observer.lock().iter().map(|(name, state)| (name.clone(), state.lock().counts)).collect()
            }
        };
        for (name, counts) in &flows {
            let Counts { read, passed, filtered, dead, written } = counts;
            self.log(
                &begun,
                format!("{name}: {read} read, {passed} passed, {filtered} filtered, {dead} dead, {written} written"),
            );
        }
        let run = self.scheduler.lock().ended(how, flows, (self.clock)());
        let Some(run) = run else { return };
        self.log(
            &begun,
            match (&run.error, run.retry_at_ms) {
                (None, None) => "success".to_owned(),
                (None, Some(_)) => "stopped; it goes on with the next start".to_owned(),
                (Some(why), None) => format!("failed: {why}"),
                (Some(why), Some(at_ms)) => format!("failed, tried again at {}: {why}", rfc3339(at_ms)),
            },
        );
        if run.state.has_ended() {
            let ended = if run.state == RunState::Success { &self.succeeded } else { &self.failed };
            ended.fetch_add(1, Ordering::Relaxed);
            *self.last.lock() = Some(run.clone());
        }
        self.save(&run).await;
    }

    /// Says what is waited for when that changes.
    fn log_waiting(&self, run: &Run, observer: &Observer, said: &mut BTreeMap<String, String>) {
        let states: Vec<_> =
            observer.lock().iter().map(|(name, state)| (name.clone(), state.clone())).collect();
        for (name, state) in states {
            let waiting = state.lock().waiting_for.clone();
            match (waiting, said.get(&name)) {
                (Some(reason), last) if last != Some(&reason) => {
                    self.log(run, format!("{name}: waiting: {reason}"));
                    said.insert(name, reason);
                }
                (None, Some(_)) => {
                    self.log(run, format!("{name}: goes on"));
                    said.remove(&name);
                }
                _ => {}
            }
        }
    }

    fn log(&self, run: &Run, text: String) {
        let text = self.plan.pipeline.secrets.mask(&text);
        tracing::info!(pipeline = self.plan.pipeline.name, run = run.id, "{text}");
        let line = LogLine { at_ms: (self.clock)(), attempt: run.attempt, text };
        if let Err(error) = self.history.log(&self.plan.pipeline.name, &run.id, &line) {
            tracing::warn!("{error}");
        }
    }

    /// Saves a run, as often as it takes: what is not remembered might run twice.
    async fn save(&self, run: &Run) {
        while let Err(error) = self.history.save(&self.plan.pipeline.name, run) {
            tracing::warn!("{error}");
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = tokio::time::sleep(SAVE_AGAIN) => {}
            }
        }
    }

    /// Notes every second what the flows do.
    async fn sample(self: Arc<Self>) {
        let mut every = tokio::time::interval(SAMPLE_EVERY);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let mut before: BTreeMap<String, FlowTotals> = BTreeMap::new();
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                _ = every.tick() => {}
            }
            for (name, watched) in &self.flows {
                let (totals, lag) = {
                    let live = watched.live.lock();
                    let mut totals = live.past.clone();
                    let mut lag = 0;
                    if let Some(state) = &live.state {
                        let state = state.lock();
                        totals.add(&state);
                        lag = state.gauges.read().lag.values().sum();
                    }
                    (totals, lag)
                };
                let earlier = before.insert(name.clone(), totals.clone()).unwrap_or_default();
                let mut samples = watched.samples.lock();
                if samples.len() == SAMPLES_MAX {
                    samples.pop_front();
                }
                samples.push_back(Sample {
                    at_ms: (self.clock)(),
                    read: totals.counts.read - earlier.counts.read,
                    written: totals.counts.written - earlier.counts.written,
                    dead: totals.counts.dead - earlier.counts.dead,
                    lag,
                    latency_p99_ms: totals.latency.since(&earlier.latency).quantile_ms(0.99),
                });
            }
        }
    }
}

/// Why flows failed, in one text.
fn errors(flows: &[(String, FlowSummary)]) -> Option<String> {
    let errors = flows.iter().filter_map(|(name, flow)| Some(format!("{name}: {}", flow.error.as_ref()?)));
    let errors: Vec<_> = errors.collect();
    (!errors.is_empty()).then(|| errors.join("; "))
}
