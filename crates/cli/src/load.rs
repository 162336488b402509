//! From the command line to a checked plan.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use millstream_core::{Error, Result};
use millstream_embedded::TableStore;
use millstream_engine::{Plan, Registry, Values};

use crate::args::{FileArgs, WithArgs};
use crate::bind::{self, StartOptions};
use crate::state::{State, identity};
use crate::{Failure, Outcome, log};

/// The example that the demo runs and `init` writes.
pub(crate) const EXAMPLE: &str = include_str!("../../../examples/users.yaml");

/// A checked plan, and where its state is.
pub(crate) struct Loaded {
    pub(crate) plan: Plan,
    pub(crate) registry: Registry,
    /// The embedded tables.
    pub(crate) tables: TableStore,
    pub(crate) state: PathBuf,
    pub(crate) start: StartOptions,
}

/// Reads and checks the file that the arguments name.
pub(crate) fn load(args: &FileArgs) -> Outcome<Loaded> {
    let loaded = load_beside(args, &mut BTreeMap::new())?;
    check_runners(&args.with, std::slice::from_ref(&loaded))?;
    Ok(loaded)
}

/// Refuses a runner for a flow that none of the files has.
pub(crate) fn check_runners(args: &WithArgs, files: &[Loaded]) -> Result<()> {
    let flows: Vec<&str> =
        files.iter().flat_map(|file| &file.plan.flows).map(|flow| flow.name.as_str()).collect();
    match args.runner.iter().find(|(name, _)| !flows.contains(&name.as_str())) {
        None => Ok(()),
        Some((name, _)) => Err(Error::user(format!("there is no flow `{name}`"))
            .help(format!("one of {}", flows.join(", ")))
            .at("--runner")),
    }
}

/// One of several files, without [`check_runners`]; `stores` are the tables of the state directories that the others
/// use, by [`identity`].
pub(crate) fn load_beside(args: &FileArgs, stores: &mut BTreeMap<PathBuf, TableStore>) -> Outcome<Loaded> {
    if args.file == Path::new("demo") && !args.file.exists() {
        return load_demo(&[]);
    }
    let read = |path: &Path| {
        std::fs::read_to_string(path).map_err(|e| {
            Error::user(format!("cannot read {}: {e}", path.display())).help("is the path right?")
        })
    };
    let text = read(&args.file)?;
    let env_file = args.with.env_file.as_deref().map(read).transpose()?;
    let mut values = Values::of_process(env_file.as_deref());
    let folder = args.file.parent().map(Path::to_owned).unwrap_or_default();
    let state = args.with.state.clone().unwrap_or_else(|| folder.join(".millstream"));
    values.folder = folder;
    values.runners = args.with.runner.iter().cloned().collect();
    let denied = values.variables.get("MILLSTREAM_EMBEDDED").is_some_and(|value| value == "deny");
    let start = StartOptions { no_embedded: args.with.no_embedded || denied, any_port: false };
    let tables = stores.entry(identity(&state)).or_insert_with(|| bind::table_store(&state)).clone();
    finish(&args.file.display().to_string(), &text, &values, state, tables, start)
}

/// The demo's pipeline, with `variables` put in.
pub(crate) fn load_demo(variables: &[(&str, &str)]) -> Outcome<Loaded> {
    let mut values = Values::default();
    values.variables.extend(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    let start = StartOptions { no_embedded: false, any_port: true };
    let state = demo_state();
    let tables = bind::table_store(&state);
    finish("demo", EXAMPLE, &values, state, tables, start)
}

/// Where the demo keeps its state, until the next demo.
fn demo_state() -> PathBuf {
    let user = std::env::var("USER").unwrap_or_default();
    std::env::temp_dir().join(format!("millstream-demo-{user}"))
}

fn finish(
    path: &str,
    text: &str,
    values: &Values,
    state: PathBuf,
    tables: TableStore,
    start: StartOptions,
) -> Outcome<Loaded> {
    let registry = bind::registry(&tables);
    let plan = Plan::load(path, text, values, &registry)?;
    log::hide(&plan.pipeline.secrets);
    bind::check_services(&plan.pipeline, start)?;
    Ok(Loaded { plan, registry, tables, state, start })
}

impl Loaded {
    /// Takes the state directory, where something is kept there.
    pub(crate) fn take_state(&self) -> Result<State> {
        match bind::keeps_state(&self.plan.pipeline)? {
            true => State::take(&self.state),
            false => Ok(State::unused(&self.state)),
        }
    }

    /// Hides secrets in an error.
    pub(crate) fn masked(&self, error: Error) -> Failure {
        let mask = |text: String| self.plan.pipeline.secrets.mask(&text);
        Failure::Error(Error { message: mask(error.message), help: error.help.map(mask), ..error })
    }

    /// As [`Loaded::masked`], for a result.
    pub(crate) fn hide<T>(&self, result: Result<T>) -> Outcome<T> {
        result.map_err(|error| self.masked(error))
    }
}
