//! The cases of `tests/pipelines`: a topic, a pipeline, and what must come of it, the same whatever runs
//! it: everything embedded, or a real Kafka and a real Cassandra, natively or by a real Spark.
//!
//! `MILLSTREAM_WRITE_EXPECTED=1` writes down what came of the embedded run instead of comparing it.

#![allow(clippy::print_stdout, reason = "what was skipped is said aloud")]

#[path = "support/cases.rs"]
mod cases;
#[path = "support/real.rs"]
mod real;
mod support;

use cases::{Backend, Case};
use millstream_embedded::Broker;
use real::{Real, services};

#[test]
fn every_case_comes_out_embedded_as_it_must() {
    for case in Case::all() {
        let folder = tempfile::tempdir().expect("a folder");
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let broker = || runtime.block_on(Broker::start(&folder.path().join(".millstream/broker"), 0));
        let backend = Backend::embedded(folder.path(), &case.name);
        let started = broker().expect("the broker starts");
        case.fill_topic(&started.address().to_string(), &backend.name);
        runtime.block_on(started.stop()).expect("the broker stops");
        let counts = case.run(&backend, &[]);
        let rows = case.rows(&backend);
        let started = broker().expect("the broker starts");
        let dead = case.dead_letters(&started.address().to_string(), &backend.name);
        runtime.block_on(started.stop()).expect("the broker stops");
        case.compare("embedded", &counts, &rows, &dead);
    }
}

#[test]
fn every_case_comes_out_of_real_services_as_it_must_run_natively_and_by_spark() {
    let Some(real) = Real::take("cases") else { return };
    services(&["start", "spark"]);
    for case in Case::all() {
        let mut cells = Vec::new();
        for by in ["native", "spark"] {
            let backend = Backend::real(&real, &case.name, by);
            let runner = ["--runner", &format!("store={by}")];
            if let Some(reason) = case.refused_by_spark().filter(|_| by == "spark") {
                case.is_refused(&backend, &runner, &reason);
                continue;
            }
            case.fill_topic(&real.brokers, &backend.name);
            let counts = case.run(&backend, &runner);
            let rows = case.rows(&backend);
            let dead = case.dead_letters(&real.brokers, &backend.name);
            case.compare(&format!("real services, {by}"), &counts, &rows, &dead);
            cells.push(case.cells(&backend.name));
        }
        if let [native, spark] = cells.as_slice() {
            assert_eq!(native, spark, "cells with their write times of {}, natively and by Spark", case.name);
        }
    }
}
