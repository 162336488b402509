//! A flow on a real Spark, killed wherever it can be: Spark's server, its worker, our process, Kafka and
//! Cassandra under it. Once it has caught up the table is what the topic says, cell for cell with write
//! times.
//!
//! `dev/test-services` runs these.

#![allow(clippy::print_stdout, reason = "what was measured or skipped is said aloud")]

#[path = "support/real.rs"]
mod real;
mod support;

use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

use real::{Real, kafka_port, services, terminate, wait_for};
use spark_connect_core::{ChannelBuilder, SparkConnectClient};
use support::numbers::{PAGE, look_at_topic, numbers, write_pipeline_of};
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

/// Drains on Spark; how many messages it read.
fn drain(real: &Real) -> u64 {
    let words = [&["run", "kill.yaml", "--flow", "store", "--format", "json"], &ON_SPARK[..]].concat();
    summary(&real.run(&words))["flows"]["store"]["read"].as_u64().expect("a number")
}

/// Drains on Spark and compares.
fn caught_up(real: &Real) {
    let read = drain(real);
    let (oracle, _) = look_at_topic(&format!("localhost:{}", kafka_port()), &real.name, "nobody");
    println!(
        "{}: {} messages, {} rows; the last {read} were drained",
        real.name,
        oracle.messages,
        oracle.rows.len(),
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
    assert_eq!(drain(&real), sent);
    assert_eq!(drain(&real), 0, "nothing is read twice");
    let sent = fetch(&real);
    assert_eq!(drain(&real), sent);
    caught_up(&real);
    // Natively from the beginning: the same table, and no dead letter twice.
    real.run(&["run", "kill.yaml", "--flow", "store"]);
    caught_up(&real);
    let doctor = real.millstream(&[&["doctor", "kill.yaml"], &ON_SPARK[..]].concat()).output().expect("runs");
    assert!(stderr(&doctor).contains("answers: Spark 4.2"), "{}", stderr(&doctor));
    assert!(stderr(&doctor).contains("its Cassandra connector is loaded"), "{}", stderr(&doctor));
}

/// Ends the flow's session, as the server does when nobody has asked anything for an hour: its id is never taken again.
fn end_session() {
    let mut address =
        ChannelBuilder::parse(&format!("sc://localhost:{}", real::spark_port())).expect("an address");
    address.set("user_id", "millstream");
    address.set("session_id", &millstream_spark::session_id("kill.store").to_string());
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let client = SparkConnectClient::connect(&address).await.expect("a server");
        client.release_session().await.expect("ends the session");
    });
}

#[test]
fn a_session_that_the_server_has_ended_is_followed_by_another() {
    let Some(real) = take("spark_ended") else { return };
    let api = numbers();
    write_pipeline_of(real.path(), &api.url, 1);
    let sent = fetch(&real);
    assert_eq!(drain(&real), sent);
    end_session();
    let sent = fetch(&real);
    assert_eq!(drain(&real), sent);
    caught_up(&real);
}

#[test]
fn its_queries_go_on_without_us_and_are_found_again() {
    let Some(real) = take("spark_alone") else { return };
    let api = numbers();
    write_pipeline_of(real.path(), &api.url, RUN_PAGES);
    fetch(&real);
    let mut watching = up(&real);
    real.wait_for_rows();
    watching.kill().expect("is killed");
    watching.wait().expect("ends");
    fetch(&real);
    let before = real.count("");
    wait_for("more rows with nobody watching", || real.count("") > before || real.count("") >= 18_000);
    let watching = up(&real);
    // So long that it has asked for them once or twice.
    std::thread::sleep(Duration::from_secs(5));
    terminate(watching);
    caught_up(&real);
}

#[test]
fn a_run_beside_a_worker_takes_the_flow_over_and_gives_it_back() {
    let Some(real) = take("spark_beside") else { return };
    let api = numbers();
    write_pipeline_of(real.path(), &api.url, RUN_PAGES);
    fetch(&real);
    let watching = up(&real);
    real.wait_for_rows();
    drain(&real);
    fetch(&real);
    let topic = || look_at_topic(&format!("localhost:{}", kafka_port()), &real.name, "nobody").0;
    wait_for("the worker to store what came after the run", || real.count("") == topic().rows.len());
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
    real.wait_for_rows();
    services(&["kill", "spark"]);
    fetch(&real);
    services(&["start", "spark"]);
    let before = real.count("");
    wait_for("more rows", || real.count("") > before || real.count("") >= 18_000);
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
    real.wait_for_rows();
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
    real.wait_for_rows();
    services(&["kill", "spark-worker"]);
    fetch(&real);
    services(&["start", "spark-worker"]);
    let before = real.count("");
    wait_for("more rows", || real.count("") > before || real.count("") >= 18_000);
    terminate(watching);
    caught_up(&real);
    for service in ["spark", "spark-worker", "spark-master"] {
        services(&["kill", service]);
    }
}

/// Changes the flow's query.
fn change_query(real: &Real, from: &str, to: &str) {
    let path = real.path().join("kill.yaml");
    let text = std::fs::read_to_string(&path).expect("reads");
    assert!(text.contains(from), "{text}");
    std::fs::write(&path, text.replace(from, to)).expect("writes");
}

#[test]
fn a_changed_query_goes_on_where_the_old_one_was() {
    let Some(real) = take("spark_changed") else { return };
    let api = numbers();
    write_pipeline_of(real.path(), &api.url, 1);
    let first = fetch(&real);
    assert_eq!(drain(&real), first);
    let mut watching = up(&real);
    fetch(&real);
    let newer = format!("WHERE n >= {PAGE}");
    wait_for("rows by queries that stay", || real.count(&newer) > 0);
    // The queries go on, and they are those of the old file.
    watching.kill().expect("is killed");
    watching.wait().expect("ends");
    let arrows = "WHERE b LIKE '→%'";
    change_query(&real, "SELECT id, n, a, b FROM", "SELECT id, n, a, concat('→', b) AS b FROM");
    let watching = up(&real);
    // What is sent before they have begun the old ones take.
    wait_for("rows by the new queries", || {
        fetch(&real);
        let mut asked = 0..20;
        asked.any(|_| {
            std::thread::sleep(Duration::from_millis(500));
            real.count(arrows) > 0
        })
    });
    terminate(watching);
    drain(&real);
    let (new, all) = (real.count(arrows), real.count("WHERE b IS NOT NULL"));
    println!("{first} messages by the old query; {new} of {all} rows by the new one");
    assert!(new < all, "what was done is not done again: {new} of {all}");
    assert_eq!(drain(&real), 0);
    // How to have it done again is said …
    let reset = [&["reset", "kill.yaml", "--flow", "store", "--to", "earliest"], &ON_SPARK[..]].concat();
    let refused = output(&mut real.millstream(&reset));
    assert_eq!(refused.status.code(), Some(2), "{}", stderr(&refused));
    assert!(stderr(&refused).contains("spark.checkpoints"), "{}", stderr(&refused));
    // … and is so.
    std::fs::remove_dir_all(real.path().join("checkpoints")).expect("is removed");
    assert!(drain(&real) > first);
    assert_eq!(real.count(arrows), all);
    // A query that nothing can resume, because it keeps what it has seen, is refused before it starts.
    change_query(&real, "WHERE n % 10 <> 3", "WHERE n % 10 <> 3 GROUP BY id, n, a, b");
    let refused = output(&mut real.millstream(&[&["run", "kill.yaml"], &ON_SPARK[..]].concat()));
    assert_eq!(refused.status.code(), Some(2), "{}", stderr(&refused));
    assert!(stderr(&refused).contains("one row of several records"), "{}", stderr(&refused));
}

/// Takes a query of the flow back by a batch, as a kill may leave it behind the other one.
fn take_back(real: &Real, query: &str) {
    let newest = |folder: PathBuf| {
        let entries =
            std::fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("an entry").path());
        entries.max().unwrap_or_else(|| panic!("nothing in {}", folder.display()))
    };
    let folder = newest(newest(real.path().join("checkpoints/kill.store"))).join(query);
    for part in ["commits", "offsets"] {
        let numbers = std::fs::read_dir(folder.join(part))
            .expect("a folder")
            .filter_map(|entry| entry.expect("an entry").file_name().to_str()?.parse::<u64>().ok());
        let last = numbers.max().expect("a batch");
        for file in [last.to_string(), format!(".{last}.crc")] {
            std::fs::remove_file(folder.join(part).join(file)).expect("is removed");
        }
    }
}

#[test]
fn no_message_falls_between_the_queries_of_two_files() {
    let Some(real) = take("spark_between") else { return };
    let api = numbers();
    write_pipeline_of(real.path(), &api.url, 1);
    let letters = || {
        let listed = real.run(&["dead-letters", "list", "kill.yaml", "--flow", "store"]);
        stdout(&listed).lines().count() as u64
    };
    let look = || look_at_topic(&format!("localhost:{}", kafka_port()), &real.name, "nobody").0;
    let first = fetch(&real);
    assert_eq!(drain(&real), first);
    let dead = look().dead;
    let second = fetch(&real);
    assert_eq!(drain(&real), second);
    // The dead letters' query is through, the rows' query is not, and now every id is a wrong one.
    take_back(&real, "rows");
    let (fine, bad) = ("SELECT id, n, a, b FROM", "SELECT concat('no-', id) AS id, n, a, b FROM");
    change_query(&real, fine, bad);
    assert_eq!(drain(&real), second, "both begin at the earlier one");
    let both = look();
    let filtered_of_first = (0..PAGE).filter(|n| n % 10 == 3).count() as u64;
    assert_eq!(
        letters(),
        dead + second - (both.filtered - filtered_of_first),
        "dead in the second, and before"
    );
    // The rows' query is through, with no row; the dead letters' query is not, and now ids are fine.
    let third = fetch(&real);
    assert_eq!(drain(&real), third);
    take_back(&real, "dead-letters");
    change_query(&real, bad, fine);
    assert_eq!(drain(&real), third, "both begin at the earlier one");
    assert_eq!(drain(&real), 0);
    let rows = real.table();
    let expected = look().rows;
    assert_eq!(rows.len(), expected.len());
    assert!(rows.keys().eq(expected.keys()), "every message has its row");
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
