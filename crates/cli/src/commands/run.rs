//! `run`: a pipeline once; a worker: a flow of it for good.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, SecondsFormat, Utc};
use millstream_core::{Error, RunValues, SinkPlan, now_ms};
use millstream_engine::{
    Backends, FlowSummary, Observer, PipelineView, Plan, RunOptions, Secrets, Status, Summary, Until,
    summaries,
};
use millstream_server::{Access, House, Server, Worker};

use tokio_util::sync::CancellationToken;

use super::dead_letters::topics;
use crate::args::{FileArgs, SummaryFormat};
use crate::bind::{self, Services};
use crate::load::{Loaded, load};
use crate::output::{say, sayln};
use crate::state::{State, live_owner};
use crate::stop::Stop;
use crate::{FAILED, Failure, Outcome, output};

/// A pipeline once.
pub(super) async fn run(
    args: &FileArgs,
    flow: Option<String>,
    patience: Duration,
    values: RunValues,
    stop_at_eof: bool,
    format: Option<SummaryFormat>,
) -> Outcome {
    let options = RunOptions {
        flows: flow.into_iter().collect(),
        until: Until::Drained,
        patience: Some(patience),
        stop: CancellationToken::new(),
        clock: now_ms,
        values,
    };
    let loaded = load(args)?;
    let stop = Stop::listen();
    if stop_at_eof {
        check_input_is_free(&loaded)?;
        stop.also_at_eof();
    }
    work(loaded, stop, options, None, format).await
}

/// A flow until it is stopped; its metrics are on `listen`.
pub(super) async fn worker(
    args: &FileArgs,
    flow: String,
    listen: Option<(SocketAddr, Access)>,
    format: Option<SummaryFormat>,
) -> Outcome {
    let loaded = load(args)?;
    if loaded.plan.find_flow(&flow)?.origin.plan.topic.is_none() {
        return Err(Error::user(format!("flow {flow} reads no topic: it ends by itself"))
            .help(format!("`run FILE --flow {flow}` runs it once"))
            .into());
    }
    let options = RunOptions {
        flows: vec![flow],
        until: Until::Stopped,
        patience: None,
        stop: CancellationToken::new(),
        clock: now_ms,
        values: RunValues::default(),
    };
    work(loaded, Stop::listen(), options, listen, format).await
}

/// That no flow reads the standard input whose end is to be the stop.
fn check_input_is_free(loaded: &Loaded) -> Outcome {
    match bind::readers_of_stdin(&loaded.plan).first() {
        None => Ok(()),
        Some(flow) => {
            Err(Error::user(format!("flow {flow} reads standard input, whose end is to stop the run"))
                .help("take --stop-at-eof away, or name a file")
                .into())
        }
    }
}

/// Refuses several flows of a run on standard input: whichever is quicker would get a line.
fn check_input_is_for_one(plan: &Plan, flows: &[String]) -> Outcome {
    let mut readers = bind::readers_of_stdin(plan);
    readers.retain(|name| flows.is_empty() || flows.iter().any(|flow| flow == name));
    match readers.as_slice() {
        [] | [_] => Ok(()),
        readers => {
            let readers = readers.join(" and ");
            Err(Error::user(format!("the flows {readers} read standard input, which is there once"))
                .help("run one of them at a time with --flow, or let the others read files")
                .into())
        }
    }
}

/// The error of a run whose state directory somebody else has, with what to do where that is an `up`.
fn beside_up(error: Error, loaded: &Loaded, options: &RunOptions) -> Error {
    let has_api = live_owner(&loaded.state).is_some_and(|owner| owner.server.is_some());
    if !has_api || options.until != Until::Drained {
        return error;
    }
    error.help(match options.values == RunValues::default() {
        true => "it is an `up`: `millstream runs trigger FILE` asks it for a run; or stop it first",
        false => {
            "it is an `up`, which cannot be asked for a run with --interval or --since: stop it, call this again, and \
             start it again"
        }
    })
}

async fn work(
    mut loaded: Loaded,
    stop: Stop,
    options: RunOptions,
    listen: Option<(SocketAddr, Access)>,
    format: Option<SummaryFormat>,
) -> Outcome {
    let options = RunOptions { stop: stop.token.clone(), ..options };
    check_input_is_for_one(&loaded.plan, &options.flows)?;
    let state = loaded.take_state().map_err(|error| beside_up(error, &loaded, &options))?;
    let services = start(&mut loaded, &state).await?;
    let observer = Observer::default();
    let server = match listen {
        None => None,
        Some((address, access)) => {
            let worker = Observed::new(&loaded.plan, services.backends.clone(), &observer);
            let house = House { worker: Some(Arc::new(worker)), ..House::default() };
            let server = Server::start(address, access, house).await?;
            sayln!("metrics: http://{}/metrics", server.address());
            Some(server)
        }
    };
    let progress = show_progress(&observer, &loaded.plan.pipeline.secrets);
    let began = Began::now();
    let ended = millstream_engine::run(&loaded.plan, &loaded.registry, &options, &observer).await;
    progress.abort();
    if std::io::stderr().is_terminal() {
        say!("\r\x1b[K");
    }
    if let Some(server) = server {
        server.stop().await;
    }
    let backends = services.backends.clone();
    services.stop().await?;
    let (flows, error) = match ended {
        Ok(flows) => (flows, None),
        Err(error) => {
            let flows = summaries(&loaded.plan, &observer);
            // Of what cannot be asked for there is nothing to tell.
            if flows.is_empty() {
                return Err(loaded.masked(error));
            }
            (flows, Some(error))
        }
    };
    // Stopped while it waited for a service: that this one does not answer is no failure of the run.
    let stopped = stop.code().filter(|_| error.as_ref().is_none_or(Error::is_passing));
    let failed = flows.iter().any(|(_, flow)| flow.error.is_some());
    let status = match (stopped, failed) {
        (Some(_), _) => Status::Interrupted,
        (None, true) => Status::Failed,
        (None, false) => Status::Success,
    };
    match error {
        None => report(&loaded, &flows),
        // The error itself is said last, with its help.
        Some(_) => output::counts(&flows),
    }
    // Where a flow writes lines there, they are the result.
    let is_taken = loaded.plan.flows.iter().any(|flow| matches!(flow.target.plan, SinkPlan::Lines(_)));
    let unasked = !std::io::stdout().is_terminal() && !is_taken;
    let json = format.map_or(unasked, |format| format == SummaryFormat::Json);
    if json {
        let flows = flows.into_iter().map(|(name, flow)| (name, masked(&loaded, flow)));
        output::summary(&began.summary(&loaded, status, backends, flows))?;
    }
    match (stopped, error) {
        (Some(code), _) => Err(Failure::Code(code)),
        (None, Some(error)) => Err(loaded.masked(error)),
        (None, None) if failed => Err(Failure::Code(FAILED)),
        (None, None) => Ok(()),
    }
}

/// When a run began, which is also its name.
pub(super) struct Began {
    at: DateTime<Utc>,
    clock: Instant,
}

impl Began {
    pub(super) fn now() -> Self {
        Self { at: Utc::now(), clock: Instant::now() }
    }

    /// The summary of a run that ends now.
    pub(super) fn summary(
        &self,
        loaded: &Loaded,
        status: Status,
        backends: Backends,
        flows: impl IntoIterator<Item = (String, FlowSummary)>,
    ) -> Summary {
        let counts = |flow| serde_json::to_value(flow).expect("counts are JSON");
        Summary {
            pipeline: loaded.plan.pipeline.name.clone(),
            run: format!("manual__{}", self.at.to_rfc3339_opts(SecondsFormat::Secs, true)),
            status,
            started: self.at.to_rfc3339_opts(SecondsFormat::Millis, true),
            seconds: (self.clock.elapsed().as_secs_f64() * 1000.0).round() / 1000.0,
            backends,
            flows: flows.into_iter().map(|(name, flow)| (name, counts(flow))).collect(),
        }
    }
}

fn masked(loaded: &Loaded, flow: FlowSummary) -> FlowSummary {
    FlowSummary { error: flow.error.map(|error| loaded.plan.pipeline.secrets.mask(&error)), ..flow }
}

/// Starts the services, puts their addresses into the plan and says where it runs.
pub(super) async fn start(loaded: &mut Loaded, state: &State) -> Outcome<Services> {
    let (pipeline, dead_letters) = (&loaded.plan.pipeline, topics(&loaded.plan));
    let services = Services::start(pipeline, &dead_letters, &loaded.tables, &state.dir, loaded.start).await;
    let services = loaded.hide(services)?;
    state.announce(services.broker())?;
    loaded.plan.pipeline.services = services.settings.clone();
    let where_it_runs: Vec<_> =
        services.backends.iter().rev().map(|(name, address)| format!("{name}: {address}")).collect();
    sayln!("{}: {}", loaded.plan.pipeline.name, where_it_runs.join("; "));
    Ok(services)
}

/// What the flows did, for people.
pub(super) fn report(loaded: &Loaded, flows: &[(String, FlowSummary)]) {
    output::counts(flows);
    for (name, flow) in flows {
        if let Some(error) = &flow.error {
            sayln!("error: flow {name}: {}", loaded.plan.pipeline.secrets.mask(error));
        }
    }
    let dead: Vec<_> =
        flows.iter().filter(|(_, flow)| flow.counts.dead > 0).map(|(name, _)| name.as_str()).collect();
    if !dead.is_empty() {
        sayln!("dead letters in {}: `millstream dead-letters list` shows them", dead.join(", "));
    }
}

/// At a terminal, one line that is kept up to date; elsewhere, what is waited for.
fn show_progress(observer: &Observer, secrets: &Secrets) -> tokio::task::JoinHandle<()> {
    let (observer, secrets) = (Arc::clone(observer), secrets.clone());
    tokio::spawn(async move {
        let terminal = std::io::stderr().is_terminal();
        let mut said = String::new();
        loop {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let states: Vec<_> =
                observer.lock().iter().map(|(name, state)| (name.clone(), state.lock().clone())).collect();
            let waiting = states.iter().find_map(|(name, state)| Some((name, state.waiting_for.as_ref()?)));
            if let Some((name, reason)) = waiting {
                if said != *reason {
                    let clear = if terminal { "\r\x1b[K" } else { "" };
                    sayln!("{clear}waiting: {name}: {}", secrets.mask(reason));
                    said.clone_from(reason);
                }
            } else if terminal {
                let parts: Vec<_> = states
                    .iter()
                    .map(|(name, state)| {
                        format!("{name}: {} read, {} written", state.counts.read, state.counts.written)
                    })
                    .collect();
                say!("\r\x1b[K{}", parts.join("   "));
            }
        }
    })
}

/// A worker's flow as its metrics show it.
struct Observed {
    plan: Plan,
    backends: Backends,
    observer: Observer,
    started_ms: i64,
}

impl Observed {
    fn new(plan: &Plan, backends: Backends, observer: &Observer) -> Self {
        Self { plan: plan.clone(), backends, observer: observer.clone(), started_ms: now_ms() }
    }
}

impl Worker for Observed {
    fn view(&self) -> PipelineView {
        PipelineView::of_observer(&self.plan, &self.backends, &self.observer, self.started_ms, now_ms())
    }
}
