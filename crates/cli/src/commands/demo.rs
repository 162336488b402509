//! `demo`: the example pipeline with everything embedded and an API of its own.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use millstream_connectors::random_user::{Options, Server};
use millstream_core::RunValues;
use millstream_core::{Error, cql, now_ms};
use millstream_embedded::TableStore;
use millstream_engine::{Observer, RunOptions, Supervisor, Until};
use millstream_server::{Access, House, Server as Page};
use millstream_sql::TableQuery;
use serde_json::json;

use super::run::{report, start};
use super::up::{LISTEN, Running};
use crate::args::RowFormat;
use crate::load::{Loaded, load_demo};
use crate::output::sayln;
use crate::state::live_owner;
use crate::stop::Stop;
use crate::{FAILED, Failure, Outcome, output};

/// Rows that are shown as soon as they are there.
const ROWS_SHOWN: usize = 5;
/// Rows that `--once` shows.
const ROWS_SHOWN_ONCE: usize = 10;
/// Columns that fit on a screen.
const SHOWN: &str = "first_name, last_name, gender, address, post_code";

pub(super) async fn run(once: bool) -> Outcome {
    let began = Instant::now();
    let stop = Stop::listen();
    let api = Server::start(0, Options::default()).await?;
    let mut loaded = load_demo(&[("RANDOM_USER_API", &api.url())])?;
    set_pace(&mut loaded, once);
    begin_anew(&loaded)?;
    let table = loaded.plan.table(None).map(|(_, table)| table.clone());
    let table = table.ok_or_else(|| Error::ours("the example writes a table"))?;
    match once {
        true => run_once(loaded, &table, stop, began).await,
        false => run_for_good(loaded, &table, stop, began).await,
    }
}

async fn run_once(mut loaded: Loaded, table: &cql::Table, stop: Stop, began: Instant) -> Outcome {
    let state = loaded.take_state()?;
    let services = start(&mut loaded, &state).await?;
    let options = RunOptions {
        flows: Vec::new(),
        until: Until::Drained,
        patience: None,
        stop: stop.token.clone(),
        clock: now_ms,
        values: RunValues::default(),
    };
    let observer = Observer::default();
    let running = millstream_engine::run(&loaded.plan, &loaded.registry, &options, &observer);
    let look = async {
        let first_row = wait_for_rows(ROWS_SHOWN_ONCE, began, || progress(&observer)).await;
        show_rows(&loaded.tables, table, ROWS_SHOWN_ONCE).await?;
        say_first_row(first_row);
        Outcome::Ok(())
    };
    let (ended, looked) = tokio::join!(running, look);
    services.stop().await?;
    looked?;
    let flows = loaded.hide(ended)?;
    report(&loaded, &flows);
    sayln!(
        "look further: millstream query demo \"SELECT gender, count(*) AS users FROM created_users GROUP BY gender\""
    );
    if flows.iter().any(|(_, flow)| flow.error.is_some()) {
        return Err(Failure::Code(FAILED));
    }
    stop.code().map_or(Ok(()), |code| Err(Failure::Code(code)))
}

/// What `up` does, with a run that is asked for at once and a page on a free port where 7070 is taken.
async fn run_for_good(loaded: Loaded, table: &cql::Table, stop: Stop, began: Instant) -> Outcome {
    let tables = loaded.tables.clone();
    let topic = loaded.plan.flows.iter().find_map(|flow| flow.origin.plan.topic.clone()).unwrap_or_default();
    let mut running = Running::default();
    let shown = show_for_good(loaded, &mut running, &stop, async |supervisor: &Supervisor| {
        let look = || {
            let view = supervisor.view();
            let written = view.flows.iter().filter(|flow| flow.name == "store");
            (written.map(|flow| flow.totals.counts.written).sum(), stop.token.is_cancelled())
        };
        let first_row = wait_for_rows(ROWS_SHOWN, began, look).await;
        show_rows(&tables, table, ROWS_SHOWN).await?;
        say_first_row(first_row);
        Ok(())
    })
    .await;
    let shown = match shown {
        Ok(page) => {
            let address = format!("http://{}", millstream_server::shown(page.address()));
            running.announce(&address)?;
            say_what_next(&topic, running.broker(), &address);
            stop.token.cancelled().await;
            page.stop().await;
            Ok(())
        }
        Err(failure) => Err(failure),
    };
    stop.token.cancel();
    running.stop().await?;
    shown
}

/// Starts everything, looks, and serves the page.
async fn show_for_good(
    loaded: Loaded,
    running: &mut Running,
    stop: &Stop,
    look: impl AsyncFnOnce(&Supervisor) -> Outcome,
) -> Outcome<Page> {
    running.start(vec![loaded], stop).await?;
    let room = running.rooms.first().ok_or_else(|| Error::ours("the demo has a pipeline"))?;
    room.supervisor.trigger()?;
    look(&room.supervisor).await?;
    let house = House { rooms: running.rooms.clone(), ..House::default() };
    match Page::start(LISTEN, Access::default(), house.clone()).await {
        Ok(page) => Ok(page),
        Err(_) => Ok(Page::start(SocketAddr::new(LISTEN.ip(), 0), Access::default(), house).await?),
    }
}

/// Rows in the table, and whether there will be no more.
fn progress(observer: &Observer) -> (u64, bool) {
    let states = observer.lock();
    let store = states.get("store").map(|state| state.lock().clone()).unwrap_or_default();
    let failed = states.values().any(|state| state.lock().failed.is_some());
    (store.counts.written, store.done || failed)
}

fn say_first_row(after: Option<Duration>) {
    if let Some(after) = after {
        sayln!("first row after {:.1} s", after.as_secs_f64());
    }
}

/// Three requests without waiting, or one a second for ever.
fn set_pace(loaded: &mut Loaded, once: bool) {
    for flow in &mut loaded.plan.flows {
        if let Some(settings) = flow.origin.component.settings.as_object_mut()
            && settings.remove("for").is_some()
            && once
        {
            settings.insert("every".into(), json!("0ms"));
            settings.insert("times".into(), json!(3));
        }
    }
}

/// Takes away what an earlier demo has left.
fn begin_anew(loaded: &Loaded) -> Outcome {
    if let Some(owner) = live_owner(&loaded.state) {
        return Err(Error::user(format!("a demo is running already (process {})", owner.pid))
            .help("stop it first, or ask it: millstream query demo \"SELECT count(*) FROM created_users\"")
            .into());
    }
    match std::fs::remove_dir_all(&loaded.state) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::lasting(format!("cannot clear {}: {e}", loaded.state.display())).into())
        }
        _ => Ok(()),
    }
}

/// Waits until the table has so many rows, or there will be no more; when the first was there.
async fn wait_for_rows(enough: usize, began: Instant, look: impl Fn() -> (u64, bool)) -> Option<Duration> {
    let mut first = None;
    loop {
        let (written, done) = look();
        if written > 0 {
            first.get_or_insert_with(|| began.elapsed());
        }
        if written >= enough as u64 || done {
            return first;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn show_rows(tables: &TableStore, table: &cql::Table, count: usize) -> Outcome {
    let query = TableQuery::parse(&format!("SELECT {SHOWN} FROM t LIMIT {count}"))
        .map_err(|e| Error::ours(format!("the demo's own query is wrong: {e}")))?;
    let Some(scan) = tables.scan(table, None, count)? else { return Ok(()) };
    let schema = millstream_core::cql::schema_of(table);
    let rows = query.run(schema, Box::new(scan)).await.map_err(|e| Error::ours(format!("{e:?}")))?;
    output::results(&output::rows(&rows, RowFormat::Table)?)?;
    Ok(())
}

fn say_what_next(topic: &str, broker: Option<String>, page: &str) {
    sayln!("page: {page}");
    sayln!("it goes on until Ctrl-C; in another terminal:");
    sayln!("  millstream query demo \"SELECT gender, count(*) AS users FROM created_users GROUP BY gender\"");
    sayln!("  kcat -C -b {} -t {topic} -o -5 -e     the newest messages", broker.unwrap_or_default());
    sayln!("  millstream init my-pipeline             keep the file and make it yours");
}
