//! What Airflow needs of the binary: the DAG file that `airflow` prints, `wait`, and a run that ends
//! with who started it. That a real Airflow runs it is `dev/test-airflow`'s affair.

mod support;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Output, Stdio};
use std::time::{Duration, Instant};

use support::{Api, millstream, output, stderr, stdout, summary};

/// What `airflow` says of a pipeline that stands in a file of its own.
fn airflow(pipeline: &str, options: &[&str]) -> Output {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("p.yaml"), pipeline).expect("writes");
    output(millstream(folder.path()).args(["airflow", "p.yaml"]).args(options))
}

/// The DAG of a pipeline.
fn dag_of(pipeline: &str, options: &[&str]) -> String {
    let made = airflow(pipeline, options);
    assert_eq!(made.status.code(), Some(0), "{}", stderr(&made));
    stdout(&made)
}

#[test]
fn the_examples_dag_is_not_stale() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let arguments = ["airflow", "users.yaml", "--pipeline", "../users.yaml"];
    let made = stdout(&output(millstream(&examples).args(arguments)));
    let there = std::fs::read_to_string(examples.join("dags/user_automation.py")).unwrap_or_default();
    assert!(
        made == there,
        "examples/dags/user_automation.py is stale: from examples/, millstream {} > dags/user_automation.py",
        arguments.join(" "),
    );
}

const MANY: &str = r#"
name: many-flows
schedule: "0 6 * * 1-5"
timezone: Europe/Paris
flows:
  import:
    from: { http: "http://user:secret@localhost/", schema: "id STRING" }
    sql: SELECT id FROM input
    to: { topic: a, key: id }
  2nd.import:
    from: { file: "*.jsonl", schema: "id STRING" }
    sql: SELECT id FROM input
    to: { topic: a, key: id }
  2nd-import:
    from: { topic: a }
    sql: SELECT * FROM input
    to: { topic: b, key: id }
  show:
    from: { topic: b }
    sql: SELECT * FROM input
    to: { stdout: jsonl }
"#;

#[test]
fn readers_come_after_all_writers_and_every_name_is_a_variable() {
    let dag = dag_of(MANY, &[]);
    for part in [
        "schedule=CronTriggerTimetable(\"0 6 * * 1-5\", timezone=\"Europe/Paris\"),",
        "    import_ = MillstreamOperator(\n        task_id=\"import\",\n",
        "    _2nd_import = MillstreamOperator(\n        task_id=\"2nd.import\",\n",
        "    # topic a → topic b\n    _2nd_import_ = MillstreamOperator(\n        task_id=\"2nd-import\",\n",
        "    [import_, _2nd_import] >> _2nd_import_\n",
        "    _2nd_import_ >> show\n",
    ] {
        assert!(dag.contains(part), "{part}\n{dag}");
    }
    assert!(!dag.contains("secret") && !dag.contains("Asset"), "{dag}");
}

#[test]
fn with_workers_elsewhere_topics_are_waited_for() {
    let dag = dag_of(MANY, &["--streaming"]);
    for part in [
        "import_ = MillstreamOperator(",
        "    # topic a → topic b: done by workers elsewhere, and waited for\n    _2nd_import_ = MillstreamSensor(",
        "show = MillstreamSensor(",
    ] {
        assert!(dag.contains(part), "{part}\n{dag}");
    }
}

#[test]
fn the_line_that_makes_it_anew_is_python_whatever_the_file_is_called() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("größe.yaml"), MANY).expect("writes");
    let made =
        output(millstream(folder.path()).args(["airflow", "größe.yaml", "--pipeline", "a\\\"b\".yaml"]));
    assert_eq!(made.status.code(), Some(0), "{}", stderr(&made));
    let line = "    millstream airflow größe.yaml --pipeline a\\\\\\\"b\\\".yaml\n";
    assert!(stdout(&made).contains(line), "{}", stdout(&made));
}

#[test]
fn a_runner_for_once_goes_into_no_dag() {
    let refused = airflow(MANY, &["--runner", "2nd-import=spark"]);
    assert_eq!(refused.status.code(), Some(2), "{}", stderr(&refused));
    let words = stderr(&refused);
    assert!(words.contains("write `runner:` into the file, at the flow 2nd-import"), "{words}");
}

#[test]
fn what_asks_for_its_interval_gets_one() {
    let file = r#"
name: daily
schedule: "@daily"
flows:
  fetch:
    from: { http: "http://localhost/", query: { day: "{interval.start}" }, schema: "id STRING" }
    sql: SELECT id FROM input
    to: { topic: a, key: id }
"#;
    let dag = dag_of(file, &[]);
    assert!(dag.contains("schedule=CronDataIntervalTimetable(\"@daily\", timezone=\"UTC\"),"), "{dag}");
    assert!(dag.contains("from airflow.sdk import DAG, CronDataIntervalTimetable\n"), "{dag}");
    // Airflow never begins one that makes up for missed runs and has no first day.
    let file = file.replace("flows:", "runs: { catchup: true }\nflows:");
    let refused = airflow(&file, &[]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(stderr(&refused).contains("--start-date"), "{}", stderr(&refused));
    let dag = dag_of(&file, &["--start-date", "2026-01-31"]);
    assert!(
        dag.contains("    start_date=datetime(2026, 1, 31, tzinfo=timezone.utc),\n    catchup=True,"),
        "{dag}"
    );
    assert!(dag.contains("from datetime import datetime, timedelta, timezone\n"), "{dag}");
    assert!(dag.contains("millstream airflow p.yaml --start-date 2026-01-31\n"), "{dag}");
}

#[test]
fn what_is_done_on_spark_cannot_be_waited_for() {
    let file = r#"
name: on-spark
kafka: { brokers: "localhost:1" }
cassandra: { hosts: "localhost:1" }
spark: { connect: "sc://localhost:1", checkpoints: /checkpoints }
flows:
  store:
    runner: spark
    from: { topic: a, schema: "id STRING" }
    sql: SELECT id FROM input
    to: { table: k.t, create: "CREATE TABLE k.t (id text PRIMARY KEY)" }
"#;
    let refused = airflow(file, &["--streaming"]);
    assert_eq!(refused.status.code(), Some(2), "{}", stderr(&refused));
    assert!(stderr(&refused).contains("flow store runs on Spark"), "{}", stderr(&refused));
    assert!(dag_of(file, &[]).contains("store = MillstreamOperator("));
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("p.yaml"), file).expect("writes");
    let waited = output(millstream(folder.path()).args(["wait", "p.yaml", "--flow", "store"]));
    assert_eq!(waited.status.code(), Some(2), "{}", stderr(&waited));
    assert!(stderr(&waited).contains("store runs on Spark"), "{}", stderr(&waited));
}

const NUMBERS: &str = r#"
name: numbers
kafka: { brokers: "embedded:0" }
cassandra: { hosts: embedded }
flows:
  fetch:
    from: { http: "API", every: 20ms, for: 10m, schema: "id STRING, n INT" }
    sql: SELECT id, n FROM input
    to: { topic: numbers, key: id }
  store:
    from: { topic: numbers }
    sql: SELECT id, n FROM input
    to: { table: k.t, create: "CREATE TABLE k.t (id text PRIMARY KEY, n int)" }
"#;

/// A run that goes on until its standard input ends.
fn running(folder: &Path, more: &[&str]) -> Child {
    let mut command = millstream(folder);
    command.args(["run", "p.yaml", "--stop-at-eof"]).args(more);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("runs")
}

/// The answer of `wait`, as soon as it is this: broker, topic and members need a moment.
fn waited(folder: &Path, is_it: impl Fn(&Output) -> bool) -> Output {
    let began = Instant::now();
    loop {
        let waited = output(millstream(folder).args(["wait", "p.yaml", "--flow", "store"]));
        if is_it(&waited) {
            return waited;
        }
        assert!(began.elapsed() < Duration::from_secs(120), "{}", stderr(&waited));
    }
}

#[test]
fn what_workers_have_still_to_do_is_waited_for_and_a_run_ends_with_who_started_it() {
    let api = Api::start(|n| format!("[{{\"id\":\"k{n}\",\"n\":{n}}}]"));
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("p.yaml"), NUMBERS.replace("API", &api.url)).expect("writes");

    let fetching = running(folder.path(), &["--flow", "fetch"]);
    let left = |waited: &Output| stderr(waited).contains("left, and nobody reads as group numbers.store");
    let nobody = waited(folder.path(), left);
    assert_eq!(nobody.status.code(), Some(1));
    assert!(stderr(&nobody).contains("start a worker: `up FILE --flow store`"), "{}", stderr(&nobody));
    // Its end of the pipe is dropped here.
    let stopped = fetching.wait_with_output().expect("ends");
    assert_eq!(stopped.status.code(), Some(143), "{}", stderr(&stopped));
    assert_eq!(summary(&stopped)["status"], "interrupted");
    let fetched = summary(&stopped)["flows"]["fetch"]["written"].as_u64().expect("a number");

    let storing = running(folder.path(), &[]);
    let caught_up = waited(folder.path(), |waited| waited.status.success());
    let counts = &summary(&caught_up)["flows"]["store"];
    assert!(counts["written"].as_u64() >= Some(fetched), "{counts}");
    let no_topic = output(millstream(folder.path()).args(["wait", "p.yaml", "--flow", "fetch"]));
    assert_eq!(no_topic.status.code(), Some(2));
    assert!(stderr(&no_topic).contains("it has no workers"), "{}", stderr(&no_topic));
    drop(storing.wait_with_output().expect("ends"));
}

#[test]
fn a_run_that_is_stopped_while_it_waits_for_a_service_has_not_failed() {
    let file =
        NUMBERS.replace("embedded:0", "127.0.0.1:1").replace("hosts: embedded", "hosts: \"127.0.0.1:1\"");
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("p.yaml"), file.replace("API", "http://127.0.0.1:1/")).expect("writes");
    let mut waiting = running(folder.path(), &["--flow", "store"]);
    let said = BufReader::new(waiting.stderr.take().expect("piped")).lines();
    let waits = |line: std::io::Result<String>| line.expect("UTF-8").starts_with("waiting: store: ");
    assert!(said.into_iter().any(waits), "it waits");
    drop(waiting.stdin.take());
    let ended = waiting.wait_with_output().expect("ends");
    assert_eq!(ended.status.code(), Some(143));
    assert_eq!(summary(&ended)["status"], "interrupted");
}

#[test]
fn input_that_is_read_cannot_be_the_sign_to_stop() {
    let file = NUMBERS.replace("http: \"API\", every: 20ms, for: 10m", "file: \"-\"");
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("p.yaml"), file).expect("writes");
    let refused = output(millstream(folder.path()).args(["run", "p.yaml", "--stop-at-eof"]));
    assert_eq!(refused.status.code(), Some(2));
    assert!(stderr(&refused).contains("flow fetch reads standard input"), "{}", stderr(&refused));
}
