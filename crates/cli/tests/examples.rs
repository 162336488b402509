//! The files in `examples/`, as somebody uses them who has cloned the repository: nothing is installed.

mod support;

use std::path::{Path, PathBuf};

use support::millstream;

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples")
}

/// What a command says that must end well; what it remembers is in `state`.
fn done(state: &Path, arguments: &[&str]) -> String {
    let mut command = millstream(&examples());
    support::done(command.args(arguments).arg("--state").arg(state).env("KAFKA_BROKERS", "embedded:0")).0
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
