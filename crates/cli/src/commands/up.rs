//! `up`: pipelines for good, with their schedules, the page and the API.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use millstream_connectors::kafka::Connection;
use millstream_core::{Error, now_ms, settings};
use millstream_embedded::History;
use millstream_engine::Supervisor;
use millstream_server::{Access, Broken, House, Room, Server, shown};

use super::dead_letters::topics;
use super::desk::PipelineDesk;
use super::run::worker;
use crate::args::UpArgs;
use crate::bind::{self, Services};
use crate::load::{Loaded, check_runners, load_beside};
use crate::output::sayln;
use crate::state::{State, identity};
use crate::stop::Stop;
use crate::{Failure, Outcome};

/// Where everybody expects the page.
pub(super) const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 7070);

pub(super) async fn run(args: UpArgs) -> Outcome {
    let access = access(args.token_file.as_deref())?;
    if let Some(flow) = &args.flow {
        let [file] = args.files.as_slice() else {
            let error = Error::user("--flow goes with one file");
            return Err(error.help("start a worker for each").into());
        };
        return worker(
            &args.file(file),
            flow.clone(),
            args.listen.map(|listen| (listen, access)),
            args.format,
        )
        .await;
    }
    let stop = Stop::listen();
    let (loaded, broken) = load_all(&args)?;
    let mut running = Running::default();
    let started = running.start(loaded, &stop).await;
    let served = match started {
        Err(error) => Err(error),
        Ok(()) => {
            let house = House { rooms: running.rooms.clone(), broken, worker: None };
            serve(&running, args.listen.unwrap_or(LISTEN), access, house, &stop).await
        }
    };
    stop.token.cancel();
    running.stop().await?;
    served?;
    match stop.code() {
        Some(code) => Err(Failure::Code(code)),
        None => Ok(()),
    }
}

/// The token that others need.
fn access(file: Option<&Path>) -> Outcome<Access> {
    let token = match file {
        // As in a shell, an empty variable is none. One that is no text is a token all the same, and refused as one.
        None => {
            let token = std::env::var_os("MILLSTREAM_TOKEN").unwrap_or_default();
            Some(token.to_string_lossy().trim().to_owned()).filter(|token| !token.is_empty())
        }
        Some(path) => Some(token_in(path)?),
    };
    Ok(Access { token })
}

/// The token in a file, which must have one: who names it wants to let in nobody else.
fn token_in(path: &Path) -> Outcome<String> {
    let text = std::fs::read_to_string(path).map_err(|e| {
        Error::user(format!("cannot read {}: {e}", path.display())).help("is the path right?")
    })?;
    match text.trim() {
        "" => Err(Error::user(format!("there is no token in {}", path.display()))
            .help("make one with: openssl rand -hex 32")
            .into()),
        token => Ok(token.to_owned()),
    }
}

/// Serves the house until it is to stop.
async fn serve(running: &Running, listen: SocketAddr, access: Access, house: House, stop: &Stop) -> Outcome {
    let server = Server::start(listen, access, house).await?;
    let address = format!("http://{}", shown(server.address()));
    running.announce(&address)?;
    sayln!("page: {address}");
    stop.token.cancelled().await;
    server.stop().await;
    Ok(())
}

/// Every file that is named, and those in folders that are named. A single file that is broken is an
/// error; of several the sound ones run.
fn load_all(args: &UpArgs) -> Outcome<(Vec<Loaded>, Vec<Broken>)> {
    let mut files: Vec<PathBuf> = Vec::new();
    for path in &args.files {
        match path.is_dir() {
            true => files.extend(pipelines_in(path)?),
            false => files.push(path.clone()),
        }
    }
    let is_alone = args.files.len() == 1 && files == args.files;
    let mut stores = BTreeMap::new();
    let (mut all, mut broken): (Vec<Loaded>, Vec<Broken>) = (Vec::new(), Vec::new());
    for file in files {
        let report = match load_beside(&args.file(&file), &mut stores).and_then(without_stdin) {
            Err(failure) if is_alone => return Err(failure),
            Err(Failure::Mistakes(report)) => report.render(false),
            Err(Failure::Error(error)) => error.to_string(),
            Err(Failure::Code(_)) => continue,
            Ok(loaded) => {
                let name = &loaded.plan.pipeline.name;
                match all.iter().any(|other| other.plan.pipeline.name == *name) {
                    false => {
                        all.push(loaded);
                        continue;
                    }
                    true => format!("another file has a pipeline {name}: consumer groups would be shared\n"),
                }
            }
        };
        sayln!("{}: left out, it is broken:\n{report}", file.display());
        broken.push(Broken { path: file.display().to_string(), report });
    }
    match check_runners(&args.with, &all) {
        // Perhaps one that is broken has the flow, which holds up no other.
        Err(error) if !broken.is_empty() => sayln!("note: {error}"),
        checked => checked?,
    }
    Ok((all, broken))
}

/// Refuses standard input: here runs are tried again, and what was read of it does not come again.
fn without_stdin(loaded: Loaded) -> Outcome<Loaded> {
    let error = bind::readers_of_stdin(&loaded.plan).first().map(|flow| {
        Error::user(format!("flow {flow} reads standard input, which is gone when its run is tried again"))
            .help("`millstream run FILE` reads it once; `up` reads files, like file: in/*.jsonl")
    });
    match error {
        None => Ok(loaded),
        Some(error) => Err(error.into()),
    }
}

/// The pipeline files in a folder; what has no flows is none.
fn pipelines_in(folder: &Path) -> Outcome<Vec<PathBuf>> {
    let failed = |e: std::io::Error| Error::user(format!("cannot read the folder {}: {e}", folder.display()));
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let is_yaml = path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
        let has_flows = || {
            std::fs::read_to_string(&path)
                .is_ok_and(|text| text.lines().any(|line| line.starts_with("flows:")))
        };
        if is_yaml && has_flows() {
            files.push(path);
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(Error::user(format!("there is no pipeline file in {}", folder.display()))
            .help("pipeline files end in .yaml and have `flows:`; `millstream init` writes one")
            .into());
    }
    Ok(files)
}

/// What is at work, to be ended in order.
#[derive(Default)]
pub(super) struct Running {
    pub(super) rooms: Vec<Room>,
    /// By [`identity`].
    states: BTreeMap<PathBuf, InUse>,
}

/// A state directory with what runs on it.
struct InUse {
    state: State,
    services: Option<Services>,
    history: Arc<History>,
}

impl Running {
    /// Starts the services of all pipelines, then their flows and schedules.
    pub(super) async fn start(&mut self, mut all: Vec<Loaded>, stop: &Stop) -> Outcome {
        // One broker serves all pipelines of a state directory: the first that needs it starts it.
        all.sort_by_key(|loaded| !matches!(bind::broker_port(&loaded.plan.pipeline), Ok(Some(_))));
        let dead_letters: Vec<_> = all.iter().flat_map(|loaded| topics(&loaded.plan)).collect();
        for loaded in all {
            self.add(loaded, &dead_letters, stop).await?;
        }
        self.rooms.sort_by(|a, b| a.supervisor.plan().pipeline.name.cmp(&b.supervisor.plan().pipeline.name));
        Ok(())
    }

    async fn add(&mut self, mut loaded: Loaded, dead_letters: &[String], stop: &Stop) -> Outcome {
        let in_use = match self.states.entry(identity(&loaded.state)) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let state = State::take(&loaded.state)?;
                let history = Arc::new(History::open(&loaded.state)?);
                new.insert(InUse { state, services: None, history })
            }
        };
        let (backends, services) = match &in_use.services {
            Some(services) => services.beside(&loaded.plan.pipeline, &loaded.state)?,
            None => {
                let (pipeline, tables) = (&loaded.plan.pipeline, &loaded.tables);
                let started =
                    Services::start(pipeline, dead_letters, tables, &loaded.state, loaded.start).await;
                let services = loaded.hide(started)?;
                in_use.state.announce(services.broker())?;
                let all = (services.backends.clone(), services.settings.clone());
                in_use.services = Some(services);
                all
            }
        };
        loaded.plan.pipeline.services = services;
        let where_it_runs: Vec<_> =
            backends.iter().rev().map(|(name, address)| format!("{name}: {address}")).collect();
        sayln!("{}: {}", loaded.plan.pipeline.name, where_it_runs.join("; "));
        let connection: Connection = settings::read(&loaded.plan.pipeline.services["kafka"])?;
        let supervisor = Supervisor::start(
            loaded.plan,
            loaded.registry,
            backends,
            in_use.history.clone(),
            now_ms,
            stop.token.clone(),
        )?;
        let desk = PipelineDesk::new(supervisor.clone(), loaded.tables, connection, stop.token.clone());
        self.rooms.push(Room::new(supervisor, Arc::new(desk)));
        Ok(())
    }

    /// The address of the embedded broker, where there is one.
    pub(super) fn broker(&self) -> Option<String> {
        self.states.values().find_map(|state| state.services.as_ref()?.broker())
    }

    /// Tells other processes where the page is.
    pub(super) fn announce(&self, address: &str) -> Outcome {
        for state in self.states.values() {
            state.state.announce_server(address.to_owned())?;
        }
        Ok(())
    }

    /// Ends everything: the flows first, then what they need. The token that they were started with is set.
    pub(super) async fn stop(self) -> Outcome {
        for room in &self.rooms {
            room.supervisor.ended().await;
        }
        drop(self.rooms);
        for state in self.states.into_values() {
            if let Some(services) = state.services {
                services.stop().await?;
            }
        }
        Ok(())
    }
}
