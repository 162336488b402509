//! A flow on a real Spark, killed wherever it can be: Spark's server, its worker, our process, Kafka and
//! Cassandra under it. Once it has caught up the table is what the topic says, cell for cell with write
//! times.
//!
//! `dev/test-services` runs these.

#![allow(clippy::print_stdout, reason = "what was measured or skipped is said aloud")]

#[path = "support/real.rs"]
mod real;
mod support;

use std::process::{Child, Stdio};
use std::time::Duration;

use real::{Real, kafka_port, services, wait_for};
use support::numbers::{look_at_topic, numbers, write_pipeline_of};
use support::{output, stderr, stdout, summary};

/// Pages of 4,000 messages that one run of `fetch` sends.
const RUN_PAGES: usize = 10;
const ON_SPARK: [&str; 2] = ["--runner", "store=spark"];

fn take(name: &str) -> Option<Real> {
    let real = Real::take(name)?;
    services(&["start", "spark"]);
    Some(real)
}

/// Sends messages; how many.
fn fetch(real: &Real) -> u64 {
    let run = real.run(&["run", "kill.yaml", "--flow", "fetch", "--format", "json"]);
    summary(&run)["flows"]["fetch"]["written"].as_u64().expect("a number")
}

/// The flow on Spark until it is stopped, watched by a process of its own.
fn up(real: &Real) -> Child {
    let words = [&["up", "kill.yaml", "--flow", "store"], &ON_SPARK[..]].concat();
    let mut command = real.millstream(&words);
    command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the binary runs")
}

fn terminate(mut up: Child) {
    let ended = std::process::Command::new("kill").arg(up.id().to_string()).status();
    assert!(ended.expect("kill runs").success());
    wait_for("the end of the process", || up.try_wait().expect("waits").is_some());
    let said = up.wait_with_output().expect("ends");
    assert_eq!(said.status.code(), Some(143), "{}", stderr(&said));
}

/// Rows that the table has by now; none while it cannot be asked.
fn rows(real: &Real) -> usize {
    let sql = format!("SELECT count(*) AS n FROM k.{}", real.name);
    let asked = output(&mut real.millstream(&["query", "kill.yaml", &sql, "--format", "json"]));
    let answer = serde_json::from_str::<serde_json::Value>(stdout(&asked).trim()).unwrap_or_default();
    answer["n"].as_u64().unwrap_or_default() as usize
}

/// Drains on Spark and compares.
fn caught_up(real: &Real) {
    let words = [&["run", "kill.yaml", "--flow", "store", "--format", "json"], &ON_SPARK[..]].concat();
    let ended = real.run(&words);
    let (oracle, _) = look_at_topic(&format!("localhost:{}", kafka_port()), &real.name, "nobody");
    println!(
        "{}: {} messages, {} rows, drained: {}",
        real.name,
        oracle.messages,
        oracle.rows.len(),
        summary(&ended)
    );
    assert!(oracle.messages > 0);
    real.compare_rows(&oracle);
}

#[test]
fn it_drains_and_goes_on_where_it_was() {
    let Some(real) = take("spark_drains") else { return };
    let api = numbers();
    write_pipeline_of(real.path(), &api.url, 2);
    let sent = fetch(&real);
    let words = [&["run", "kill.yaml", "--flow", "store", "--format", "json"], &ON_SPARK[..]].concat();
    let first = summary(&real.run(&words))["flows"]["store"]["read"].clone();
    assert_eq!(first, sent);
    let again = summary(&real.run(&words))["flows"]["store"]["read"].clone();
    assert_eq!(again, 0, "nothing is read twice");
    let sent = fetch(&real);
    let more = summary(&real.run(&words))["flows"]["store"]["read"].clone();
    assert_eq!(more, sent);
    caught_up(&real);
    // Natively from the beginning: the same table, and no dead letter twice.
    real.run(&["run", "kill.yaml", "--flow", "store"]);
    caught_up(&real);
    let doctor = real.millstream(&[&["doctor", "kill.yaml"], &ON_SPARK[..]].concat()).output().expect("runs");
    assert!(stderr(&doctor).contains("answers: Spark 4.2"), "{}", stderr(&doctor));
    assert!(stderr(&doctor).contains("its Cassandra connector is loaded"), "{}", stderr(&doctor));
}

#[test]
fn its_queries_go_on_without_us_and_are_found_again() {
    let Some(real) = take("spark_alone") else { return };
    let api = numbers();
    write_pipeline_of(real.path(), &api.url, RUN_PAGES);
    fetch(&real);
    let mut watching = up(&real);
    wait_for("the first rows", || rows(&real) > 0);
    watching.kill().expect("is killed");
    watching.wait().expect("ends");
    fetch(&real);
    let before = rows(&real);
    wait_for("more rows with nobody watching", || rows(&real) > before || rows(&real) >= 18_000);
    let watching = up(&real);
    std::thread::sleep(Duration::from_secs(2));
    terminate(watching);
    caught_up(&real);
}

#[test]
fn the_server_may_die_and_come_back() {
    let Some(real) = take("spark_killed") else { return };
    let api = numbers();
    write_pipeline_of(real.path(), &api.url, RUN_PAGES);
    fetch(&real);
    let watching = up(&real);
    wait_for("the first rows", || rows(&real) > 0);
    services(&["kill", "spark"]);
    fetch(&real);
    services(&["start", "spark"]);
    let before = rows(&real);
    wait_for("more rows", || rows(&real) > before || rows(&real) >= 18_000);
    terminate(watching);
    caught_up(&real);
}

#[test]
fn kafka_and_cassandra_may_be_restarted_under_it() {
    let Some(real) = take("spark_under") else { return };
    let api = numbers();
    write_pipeline_of(real.path(), &api.url, RUN_PAGES);
    fetch(&real);
    let watching = up(&real);
    wait_for("the first rows", || rows(&real) > 0);
    for service in ["cassandra", "kafka"] {
        services(&["kill", service]);
        services(&["start", service]);
        fetch(&real);
    }
    terminate(watching);
    caught_up(&real);
}

#[test]
fn the_worker_of_a_cluster_may_be_killed() {
    let Some(real) = take("spark_worker") else { return };
    let api = numbers();
    write_pipeline_of(real.path(), &api.url, RUN_PAGES);
    fetch(&real);
    services(&["kill", "spark"]);
    services(&["start", "spark-master", "spark-worker"]);
    let master = format!("spark://127.0.0.1:{}", real::spark_master_port());
    real::services_with(&["start", "spark"], &[("SPARK_MASTER", &master)]);
    let watching = up(&real);
    wait_for("the first rows", || rows(&real) > 0);
    services(&["kill", "spark-worker"]);
    fetch(&real);
    services(&["start", "spark-worker"]);
    let before = rows(&real);
    wait_for("more rows", || rows(&real) > before || rows(&real) >= 18_000);
    terminate(watching);
    caught_up(&real);
    for service in ["spark", "spark-worker", "spark-master"] {
        services(&["kill", service]);
    }
}

#[test]
fn what_spark_cannot_do_is_said() {
    let Some(real) = take("spark_says") else { return };
    let api = numbers();
    write_pipeline_of(real.path(), &api.url, 1);
    let mut command = real.millstream(&["check", "kill.yaml", "--runner", "fetch=spark"]);
    let refused = output(&mut command);
    assert_eq!(refused.status.code(), Some(2));
    assert!(stderr(&refused).contains("this one reads no topic"), "{}", stderr(&refused));
    let mut command = real.millstream(&[&["check", "kill.yaml"], &ON_SPARK[..]].concat());
    let refused = output(command.env("CHECKPOINTS", ""));
    assert_eq!(refused.status.code(), Some(2));
    assert!(stderr(&refused).contains("spark.checkpoints"), "{}", stderr(&refused));
    let mut command = real.millstream(&[&["run", "kill.yaml", "--patience", "1s"], &ON_SPARK[..]].concat());
    let failed = output(command.env("SPARK", "sc://localhost:1"));
    assert_eq!(failed.status.code(), Some(1), "{}", stderr(&failed));
    assert!(stderr(&failed).contains("Spark at sc://localhost:1 does not answer"), "{}", stderr(&failed));
}
