//! `demo`: the example pipeline with everything embedded and an API of its own.

use std::time::{Duration, Instant};

use millstream_connectors::random_user::{Options, Server};
use millstream_core::RunValues;
use millstream_core::{Error, cql};
use millstream_engine::{Observer, RunOptions, Until};
use millstream_sql::TableQuery;
use serde_json::json;

use super::run::{now_ms, report, start};
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
    let state = loaded.take_state()?;
    let services = start(&mut loaded, &state).await?;
    let table = loaded.plan.table(None).map(|(_, table)| table.clone());
    let table = table.ok_or_else(|| Error::ours("the example writes a table"))?;
    let options = RunOptions {
        flow: None,
        until: if once { Until::Drained } else { Until::Stopped },
        patience: None,
        stop: stop.token.clone(),
        clock: now_ms,
        values: RunValues::default(),
    };
    let observer = Observer::default();
    let running = millstream_engine::run(&loaded.plan, &loaded.registry, &options, &observer);
    let look = async {
        let enough = if once { ROWS_SHOWN_ONCE } else { ROWS_SHOWN };
        let first_row = wait_for_rows(&observer, enough, began).await;
        show_rows(&loaded, &table, enough).await?;
        if let Some(first_row) = first_row {
            sayln!("first row after {:.1} s", first_row.as_secs_f64());
        }
        if !once {
            say_what_next(&loaded, services.broker());
        }
        Outcome::Ok(())
    };
    let (ended, looked) = tokio::join!(running, look);
    services.stop().await?;
    looked?;
    let flows = loaded.hide(ended)?;
    report(&loaded, &flows);
    if once {
        sayln!(
            "look further: millstream query demo \"SELECT gender, count(*) AS users FROM created_users GROUP BY gender\""
        );
    }
    if flows.iter().any(|(_, flow)| flow.error.is_some()) {
        return Err(Failure::Code(FAILED));
    }
    match stop.code() {
        Some(code) if once => Err(Failure::Code(code)),
        _ => Ok(()),
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

/// Waits until the table has so many rows, or nothing runs any more; when the first was there.
async fn wait_for_rows(observer: &Observer, enough: usize, began: Instant) -> Option<Duration> {
    let mut first = None;
    loop {
        let (written, done) = {
            let states = observer.lock();
            let store = states.get("store").map(|state| state.lock().clone()).unwrap_or_default();
            let failed = states.values().any(|state| state.lock().failed.is_some());
            (store.counts.written as usize, store.done || failed)
        };
        if written > 0 {
            first.get_or_insert_with(|| began.elapsed());
        }
        if written >= enough || done {
            return first;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn show_rows(loaded: &Loaded, table: &cql::Table, count: usize) -> Outcome {
    let query = TableQuery::parse(&format!("SELECT {SHOWN} FROM t LIMIT {count}"))
        .map_err(|e| Error::ours(format!("the demo's own query is wrong: {e}")))?;
    let Some(scan) = loaded.tables.scan(table, None, count)? else { return Ok(()) };
    let schema = millstream_core::cql::schema_of(table);
    let rows = query.run(schema, Box::new(scan)).await.map_err(|e| Error::ours(format!("{e:?}")))?;
    output::results(&output::rows(&rows, RowFormat::Table)?)?;
    Ok(())
}

fn say_what_next(loaded: &Loaded, broker: Option<String>) {
    let topic = loaded.plan.flows.iter().find_map(|flow| flow.origin.plan.topic.clone()).unwrap_or_default();
    sayln!("it goes on until Ctrl-C; in another terminal:");
    sayln!("  millstream query demo \"SELECT gender, count(*) AS users FROM created_users GROUP BY gender\"");
    sayln!("  kcat -C -b {} -t {topic} -o -5 -e     the newest messages", broker.unwrap_or_default());
    sayln!("  millstream init my-pipeline             keep the file and make it yours");
}
