//! The files in `examples/`, as somebody uses them who has cloned the repository: nothing is installed.

#![allow(clippy::print_stdout, reason = "what was skipped is said aloud")]

mod support;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use support::millstream;

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples")
}

fn command(state: &Path, arguments: &[&str]) -> Command {
    let mut command = millstream(&examples());
    command.args(arguments).arg("--state").arg(state).env("KAFKA_BROKERS", "embedded:0");
    command
}

/// What a command says that must end well; what it remembers is in `state`.
fn done(state: &Path, arguments: &[&str]) -> String {
    support::done(&mut command(state, arguments)).0
}

#[test]
fn every_example_is_fine_and_passes_its_tests() {
    let state = tempfile::tempdir().expect("a folder");
    let files = std::fs::read_dir(examples()).expect("is read").map(|entry| entry.expect("a file").path());
    let files: Vec<_> = files.filter(|path| path.extension().is_some_and(|kind| kind == "yaml")).collect();
    assert!(files.len() >= 4, "{files:?}");
    for file in files {
        let name = file.to_str().expect("a name");
        done(state.path(), &["check", name]);
        done(state.path(), &["test", name]);
    }
}

#[test]
fn old_files_cover_nothing_that_is_newer_and_an_existing_topic_is_read() {
    let state = tempfile::tempdir().expect("a folder");
    let state = state.path();
    let meters = || {
        let sql = "SELECT meter, kwh FROM energy.meters ORDER BY meter";
        done(state, &["query", "readings.yaml", sql, "--format", "csv"])
    };
    let newest = "meter,kwh\nm-17,1843.9\nm-18,413.7\nm-19,9.1\n";
    done(state, &["run", "readings.yaml"]);
    assert_eq!(meters(), newest);
    let letters = done(state, &["dead-letters", "list", "readings.yaml"]);
    assert!(
        letters.contains("readings/2023.jsonl") && letters.contains("\"broken\" is no double"),
        "{letters}"
    );

    // Read again, the old ones come last.
    done(state, &["run", "readings.yaml"]);
    assert_eq!(meters(), newest);

    done(state, &["run", "large-meters.yaml"]);
    let sql = "SELECT * FROM billing.large_meters";
    let large = done(state, &["query", "large-meters.yaml", sql, "--format", "csv"]);
    assert_eq!(large, "meter,site\nm-17,Cork\n");
}

#[test]
fn the_api_to_try_orders_with_gives_all_of_them_then_what_is_new() {
    let mut api = Command::new("python3");
    api.current_dir(examples()).args(["orders_api.py", "0"]).stdout(Stdio::piped()).stderr(Stdio::null());
    let Ok(mut api) = api.spawn() else {
        println!("SKIPPED: there is no python3, so examples/orders_api.py was not tried");
        return;
    };
    let mut said = String::new();
    BufReader::new(api.stdout.take().expect("a pipe")).read_line(&mut said).expect("it says where");
    let url = said.trim().rsplit(' ').next().expect("an address");
    let state = tempfile::tempdir().expect("a folder");
    let run = || {
        let run = support::output(command(state.path(), &["run", "orders.yaml"]).env("ORDERS_API", url));
        support::summary(&run)["flows"]["store"]["written"].as_u64()
    };
    // Of three pages. The last order is asked for once more, for a cursor alone cannot tell it from one of the same time.
    assert_eq!((run(), run()), (Some(250), Some(2)));
    let sql = "SELECT count(*) AS orders FROM orders WHERE total > 1";
    let counted = done(state.path(), &["query", "orders.yaml", sql, "--format", "csv"]);
    assert_eq!(counted, "orders\n249\n");
    api.kill().expect("it is alive");
    api.wait().expect("it ends");
}
