//! `up`: schedules and runs across restarts and kills, several pipelines, the API, and who may ask it.

#![allow(clippy::print_stderr, reason = "what the binary says is part of what failed")]

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use millstream_core::{Run, RunHistory, RunState, Trigger, now_ms};
use millstream_embedded::{Broker, History};
use serde_json::Value;
use support::{Api, millstream, output, stderr, stdout, wait_for};

const DAY_MS: i64 = 86_400_000;

/// A pipeline from an API to a table that is asked for what it says.
fn write(folder: &Path, name: &str, api: &str, more: &str) {
    let file = format!(
        "name: {name}
kafka: {{ brokers: \"embedded:0\" }}
{more}
flows:
  fetch:
    from: {{ http: \"{api}\", records: $, retries: 1, schema: \"id STRING, n INT\" }}
    sql: SELECT * FROM input
    to: {{ topic: {name}_numbers, key: id }}
  store:
    from: {{ topic: {name}_numbers }}
    sql: SELECT * FROM input
    to:
      table: k.{name}
      create: CREATE TABLE k.{name} (id TEXT PRIMARY KEY, n INT)
"
    );
    std::fs::write(folder.join(format!("{name}.yaml")), file).expect("writes");
}

/// Changes a pipeline's file, where it says `old` first.
fn change(folder: &Path, name: &str, old: &str, new: &str) {
    let path = folder.join(format!("{name}.yaml"));
    let file = std::fs::read_to_string(&path).expect("reads");
    assert!(file.contains(old), "{file}");
    std::fs::write(path, file.replacen(old, new, 1)).expect("writes");
}

fn good() -> Api {
    Api::start(|_| r#"[{"id": "a", "n": 1}, {"id": "b", "n": 2}, {"id": "c", "n": "no number"}]"#.to_owned())
}

/// `up` at work, and where its page is. It is killed when this is dropped.
struct Up {
    process: Child,
    url: String,
    /// What it has said so far.
    said: Arc<Mutex<Vec<String>>>,
}

impl Up {
    fn start(command: &mut Command) -> Self {
        let mut process = command.stderr(Stdio::piped()).spawn().expect("the binary runs");
        let said = process.stderr.take().expect("is piped");
        let (sender, receiver) = std::sync::mpsc::channel();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let all = lines.clone();
        std::thread::spawn(move || {
            for line in std::io::BufRead::lines(std::io::BufReader::new(said)).map_while(Result::ok) {
                eprintln!("{line}");
                all.lock().expect("is kept").push(line.clone());
                if let Some((_, url)) = line.split_once("page: ").or_else(|| line.split_once("metrics: ")) {
                    let _ = sender.send(url.trim_end_matches("/metrics").to_owned());
                }
            }
        });
        let url = receiver.recv_timeout(Duration::from_secs(120)).expect("it says where its page is");
        Self { process, url, said: lines }
    }

    fn of(folder: &Path, files: &[&str]) -> Self {
        Self::start(millstream(folder).arg("up").args(files).args(["--listen", "127.0.0.1:0"]))
    }

    fn get(&self, path: &str) -> Value {
        let (status, body) = ask("GET", &format!("{}{path}", self.url), &[], None);
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap_or_else(|e| panic!("{path}: {e}: {body}"))
    }

    fn text(&self, path: &str) -> String {
        let (status, body) = ask("GET", &format!("{}{path}", self.url), &[], None);
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    /// Waits for a line that it says, which is kept a moment after it is so.
    fn says(&self, what: &str, is_it: impl Fn(&str) -> bool) -> String {
        wait_for(what, || self.said.lock().expect("is kept").iter().find(|line| is_it(line)).cloned())
    }

    /// In order, as SIGTERM asks.
    fn stop(mut self) -> Option<i32> {
        let pid = self.process.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs");
        self.process.wait().expect("ends").code()
    }

    fn kill(mut self) {
        self.process.kill().expect("is killed");
        self.process.wait().expect("ends");
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn ask(method: &str, url: &str, headers: &[(&str, &str)], body: Option<&str>) -> (u16, String) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let no_redirects = reqwest::redirect::Policy::none();
        let client = reqwest::Client::builder().redirect(no_redirects).build().expect("a client");
        let mut request = client.request(method.parse().expect("a method"), url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_owned());
        }
        let answer = request.send().await.expect("is answered");
        (answer.status().as_u16(), answer.text().await.expect("text"))
    })
}

/// Asks for a run of the pipeline `numbers`; its name.
fn trigger(up: &Up) -> String {
    let (status, run) = ask("POST", &format!("{}/api/v1/pipelines/numbers/runs", up.url), &[], None);
    assert_eq!(status, 202, "{run}");
    let run: Value = serde_json::from_str(&run).expect("JSON");
    run["id"].as_str().expect("a name").to_owned()
}

/// Asks for a run that is to fail, and waits for that; the run with its log.
fn failed_run(up: &Up) -> Value {
    let run = trigger(up);
    wait_for("failed", || (state_of(up, "numbers", &run) == "failed").then_some(()));
    up.get(&format!("/api/v1/pipelines/numbers/runs/{run}"))
}

fn state_of(up: &Up, pipeline: &str, run: &str) -> String {
    let run = up.get(&format!("/api/v1/pipelines/{pipeline}/runs/{run}"));
    run["run"]["state"].as_str().expect("a state").to_owned()
}

#[test]
fn a_run_that_is_asked_for_ends_in_the_table_and_is_remembered() {
    let (folder, api) = (tempfile::tempdir().expect("a folder"), good());
    write(folder.path(), "numbers", &api.url, "schedule: \"@yearly\"");
    let up = Up::of(folder.path(), &["numbers.yaml"]);
    let view = up.get("/api/v1/pipelines/numbers");
    assert_eq!(view["standing"], "ready", "{view}");
    let triggered = output(millstream(folder.path()).args(["runs", "trigger", "numbers.yaml"]));
    assert!(triggered.status.success(), "{}", stderr(&triggered));
    let run = stdout(&triggered).trim().to_owned();
    wait_for("success", || (state_of(&up, "numbers", &run) == "success").then_some(()));
    let store = wait_for("every record", || {
        let view = up.get("/api/v1/pipelines/numbers");
        let store = view["flows"][1].clone();
        (store["counts"]["read"] == 2).then_some(store)
    });
    assert_eq!(store["counts"]["passed"], 2, "{store}");
    let rows = up.get("/api/v1/pipelines/numbers/tables/k.numbers/rows?column=id&value=b");
    assert_eq!(rows, serde_json::json!({ "columns": ["id", "n"], "rows": [["b", "2"]], "truncated": false }));
    let letters = up.get("/api/v1/pipelines/numbers/dead-letters");
    assert_eq!(letters.as_array().expect("a list").len(), 1, "{letters}");
    let metrics = up.text("/metrics");
    for line in [
        r#"millstream_records_read_total{pipeline="numbers",flow="store"} 2"#,
        r#"millstream_records_dead_total{pipeline="numbers",flow="fetch"} 1"#,
        r#"millstream_runs_total{pipeline="numbers",state="success"} 1"#,
        r#"millstream_run_state{pipeline="numbers",state="success"} 1"#,
        r#"millstream_latency_seconds_count{pipeline="numbers",flow="store"} 2"#,
        r#"millstream_latency_seconds_bucket{le="+Inf",pipeline="numbers",flow="store"} 2"#,
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line}\n{metrics}");
    }
    let dashboard = std::fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docker/grafana/dashboards/millstream.json"),
    );
    let dashboard = dashboard.expect("the dashboard is there");
    let shown: std::collections::BTreeSet<&str> = dashboard
        .match_indices("millstream_")
        .map(|(start, _)| {
            let name = dashboard[start..].split(|c: char| c != '_' && !c.is_ascii_alphanumeric()).next();
            name.expect("a name")
        })
        .collect();
    assert!(shown.len() > 8, "{shown:?}");
    // What clients of the broker say comes once a second.
    wait_for("every metric of the dashboard", || {
        let metrics = up.text("/metrics");
        let is_there = |name: &&str| {
            let lines = metrics.lines();
            lines.filter_map(|line| line.strip_prefix(*name)).any(|rest| rest.starts_with('{'))
        };
        shown.iter().all(is_there).then_some(())
    });
    assert_eq!((up.text("/healthz"), up.text("/readyz")), ("ok\n".into(), "ready\n".into()));
    let paused = output(millstream(folder.path()).args(["pause", "numbers.yaml"]));
    assert!(paused.status.success(), "{}", stderr(&paused));
    assert_eq!(up.stop(), Some(143));
    let up = Up::of(folder.path(), &["numbers.yaml"]);
    let view = up.get("/api/v1/pipelines/numbers");
    assert_eq!(
        (&view["is_paused"], &view["last_run"]["id"]),
        (&Value::Bool(true), &Value::String(run.clone()))
    );
    let shown = output(millstream(folder.path()).args(["runs", "show", "numbers.yaml", &run]));
    assert!(stdout(&shown).contains("fetch: 3 read, 2 passed"), "{}", stdout(&shown));
}

#[test]
fn a_run_that_is_killed_is_tried_again_after_the_restart_under_its_name() {
    let folder = tempfile::tempdir().expect("a folder");
    // The first answer never comes.
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let api = Api::start(move |_| {
        if count.fetch_add(1, Ordering::Relaxed) == 0 {
            tokio::task::block_in_place(|| std::thread::sleep(Duration::from_secs(600)));
        }
        r#"[{"id": "a", "n": 1}]"#.to_owned()
    });
    write(folder.path(), "numbers", &api.url, "runs: { retry_delay: 100ms }");
    let up = Up::of(folder.path(), &["numbers.yaml"]);
    let run = trigger(&up);
    wait_for("the request", || (asked.load(Ordering::Relaxed) == 1).then_some(()));
    assert_eq!(state_of(&up, "numbers", &run), "running");
    up.kill();
    let up = Up::of(folder.path(), &["numbers.yaml"]);
    wait_for("success", || (state_of(&up, "numbers", &run) == "success").then_some(()));
    let runs = up.get("/api/v1/pipelines/numbers/runs");
    assert_eq!(runs["runs"].as_array().expect("a list").len(), 1, "{runs}");
    assert_eq!(runs["runs"][0]["attempt"], 2);
    std::mem::forget(api);
}

#[test]
fn a_run_that_never_ends_by_itself_outlives_any_number_of_kills() {
    let folder = tempfile::tempdir().expect("a folder");
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let api = Api::start(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        "[]".to_owned()
    });
    write(folder.path(), "numbers", &api.url, "runs: { retries: 1, retry_delay: 100ms }");
    change(folder.path(), "numbers", "records: $,", "records: $, every: 50ms,");
    let mut up = Up::of(folder.path(), &["numbers.yaml"]);
    let run = trigger(&up);
    for _ in 0..4 {
        let before = asked.load(Ordering::Relaxed);
        wait_for("a request", || (asked.load(Ordering::Relaxed) > before).then_some(()));
        up.kill();
        up = Up::of(folder.path(), &["numbers.yaml"]);
    }
    wait_for("the run", || (state_of(&up, "numbers", &run) == "running").then_some(()));
    let shown = up.get(&format!("/api/v1/pipelines/numbers/runs/{run}"));
    assert_eq!(shown["run"]["attempt"], 2, "{shown}");
}

#[test]
fn a_run_fails_for_good_where_its_endless_flow_reads_nothing_whatever_others_do() {
    let (folder, api) = (tempfile::tempdir().expect("a folder"), good());
    write(folder.path(), "numbers", &api.url, "runs: { retries: 1, retry_delay: 50ms }");
    let nobody = "  watch:
    from: { http: \"http://127.0.0.1:1\", records: $, every: 50ms, retries: 0, schema: \"id STRING, n INT\" }
    sql: SELECT * FROM input
    to: { topic: numbers_numbers, key: id }
  store:
";
    change(folder.path(), "numbers", "  store:\n", nobody);
    let up = Up::of(folder.path(), &["numbers.yaml"]);
    let run = failed_run(&up);
    assert_eq!(run["run"]["attempt"], 2, "{run}");
    assert_eq!(run["run"]["flows"]["fetch"]["read"], 3, "{run}");
}

#[test]
fn a_failure_is_retried_with_its_reason_and_what_fails_for_good_is_failed() {
    let folder = tempfile::tempdir().expect("a folder");
    let api = Api::start(|_| "<html>".to_owned());
    write(
        folder.path(),
        "numbers",
        &format!("{}?token=${{secret:TOKEN}}", api.url),
        "runs: { retries: 1, retry_delay: 100ms }",
    );
    let up = Up::start(millstream(folder.path()).env("TOKEN", "planted-secret-1234").args([
        "up",
        "numbers.yaml",
        "--listen",
        "127.0.0.1:0",
    ]));
    let shown = failed_run(&up);
    let run = shown["run"]["id"].as_str().expect("a name");
    assert_eq!(shown["run"]["attempt"], 2, "{shown}");
    assert!(shown["run"]["error"].as_str().is_some_and(|why| why.contains("JSON")), "{shown}");
    let view = up.get("/api/v1/pipelines/numbers");
    assert_eq!(view["standing"], "stopped", "{view}");
    for path in [
        "/pipelines/numbers",
        "/pipelines/numbers/runs",
        &format!("/pipelines/numbers/runs/{run}"),
        "/api/v1/pipelines",
        "/metrics",
    ] {
        assert!(!up.text(path).contains("planted-secret"), "{path}");
    }
    up.says("why it has failed", |line| line.contains("failed: "));
    let said = up.said.lock().expect("is kept").join("\n");
    assert!(!said.contains("planted-secret"), "{said}");
}

#[test]
fn a_run_with_too_many_dead_letters_has_failed_and_no_retry_hides_it() {
    let (folder, api) = (tempfile::tempdir().expect("a folder"), good());
    write(folder.path(), "numbers", &api.url, "runs: { retries: 3, retry_delay: 100ms }");
    let limited = "key: id }\n    dead_letters: { fail_above: 5% }";
    change(folder.path(), "numbers", "key: id }", limited);
    let up = Up::of(folder.path(), &["numbers.yaml"]);
    let shown = failed_run(&up);
    assert_eq!(shown["run"]["attempt"], 1, "{shown}");
    let why = shown["run"]["error"].as_str().expect("a reason");
    assert!(why.contains("1 of 3 records are dead letters"), "{why}");
}

#[test]
fn a_run_whose_flows_are_gone_from_the_file_has_failed_and_nothing_runs() {
    let folder = tempfile::tempdir().expect("a folder");
    let api = Api::start(|_| "<html>".to_owned());
    write(folder.path(), "numbers", &api.url, "runs: { retry_delay: 1h }");
    let up = Up::of(folder.path(), &["numbers.yaml"]);
    let tried = trigger(&up);
    wait_for("a retry", || (state_of(&up, "numbers", &tried) == "up_for_retry").then_some(()));
    let queued = trigger(&up);
    assert_eq!(up.stop(), Some(143));
    let path = folder.path().join("numbers.yaml");
    let file = std::fs::read_to_string(&path).expect("reads");
    let (head, flows) = file.split_once("  fetch:").expect("the first flow");
    let (_, store) = flows.split_once("  store:").expect("the second flow");
    std::fs::write(&path, format!("{head}  store:{store}")).expect("writes");
    let known = "{ topic: numbers_numbers, schema: \"id STRING, n INT\" }";
    change(folder.path(), "numbers", "{ topic: numbers_numbers }", known);
    let up = Up::of(folder.path(), &["numbers.yaml"]);
    for run in [tried, queued] {
        let shown = up.get(&format!("/api/v1/pipelines/numbers/runs/{run}"));
        assert_eq!(shown["run"]["state"], "failed", "{shown}");
        assert!(shown["run"]["error"].as_str().is_some_and(|why| why.contains("are gone")), "{shown}");
    }
    let view = up.get("/api/v1/pipelines/numbers");
    assert_eq!((&view["active_run"], &view["queued_runs"]), (&Value::Null, &0.into()), "{view}");
}

#[test]
fn a_secret_is_shown_neither_in_a_query_nor_in_what_came_with_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let api = Api::start(|_| r#"[{"id": "a", "n": "planted-secret-1234"}]"#.to_owned());
    write(folder.path(), "numbers", &api.url, "");
    let salted = "SELECT * FROM input WHERE id <> '${secret:SALT}'";
    change(folder.path(), "numbers", "SELECT * FROM input", salted);
    let up = Up::start(millstream(folder.path()).env("SALT", "planted-secret-1234").args([
        "up",
        "numbers.yaml",
        "--listen",
        "127.0.0.1:0",
    ]));
    let run = trigger(&up);
    wait_for("success", || (state_of(&up, "numbers", &run) == "success").then_some(()));
    for path in [
        "/api/v1/pipelines",
        "/api/v1/pipelines/numbers/dead-letters",
        "/api/v1/pipelines/numbers/topics/numbers_numbers.dead-letters/records",
        "/pipelines/numbers/dead-letters",
        "/pipelines/numbers/records?topic=numbers_numbers.dead-letters",
    ] {
        let shown = up.text(path);
        assert!(shown.contains("***") && !shown.contains("planted-secret"), "{path}: {shown}");
    }
}

#[test]
fn a_run_that_takes_too_long_has_failed_and_its_log_is_for_programs_where_asked() {
    let folder = tempfile::tempdir().expect("a folder");
    let api = Api::start(|_| {
        tokio::task::block_in_place(|| std::thread::sleep(Duration::from_secs(600)));
        String::new()
    });
    write(folder.path(), "numbers", &api.url, "runs: { retries: 0, time_limit: 1s }");
    let up = Up::start(millstream(folder.path()).args([
        "--log-format",
        "json",
        "up",
        "numbers.yaml",
        "--listen",
        "127.0.0.1:0",
    ]));
    let shown = failed_run(&up);
    let run = shown["run"]["id"].as_str().expect("a name");
    assert_eq!(shown["run"]["error"], "it took longer than 1s", "{shown}");
    let event = |line: &str| serde_json::from_str::<Value>(line).unwrap_or_default();
    let failed = up.says("its failure", |line| {
        event(line)["message"].as_str().is_some_and(|message| message.starts_with("failed"))
    });
    assert_eq!(event(&failed)["run"], run, "{failed}");
    std::mem::forget(api);
}

#[test]
fn a_broken_file_stops_no_other_and_pipelines_of_a_folder_share_a_broker() {
    let (folder, api) = (tempfile::tempdir().expect("a folder"), good());
    write(folder.path(), "first", &api.url, "");
    write(folder.path(), "second", &api.url, "");
    std::fs::write(folder.path().join("third.yaml"), "name: third\nflows:\n  f: { fro: 1 }\n")
        .expect("writes");
    std::fs::write(folder.path().join("compose.yaml"), "services: {}\n").expect("writes");
    let up = Up::of(folder.path(), &["."]);
    let all = up.get("/api/v1/pipelines");
    assert_eq!(all["pipelines"].as_array().expect("a list").len(), 2, "{all}");
    assert_eq!(all["broken"].as_array().expect("a list").len(), 1, "{all}");
    assert!(all["broken"][0]["report"].as_str().is_some_and(|report| report.contains("from")), "{all}");
    // Whoever watches it learns of that, too.
    let (status, text) = ask("GET", &format!("{}/readyz", up.url), &[], None);
    assert!(status == 503 && text.contains("third.yaml: left out, it is broken"), "{status}: {text}");
    assert!(up.text("/metrics").contains("millstream_broken_files 1"));
    for name in ["first", "second"] {
        ask("POST", &format!("{}/api/v1/pipelines/{name}/runs", up.url), &[], None);
        wait_for("rows", || {
            let view = up.get(&format!("/api/v1/pipelines/{name}"));
            (view["flows"][1]["counts"]["passed"] == 2).then_some(())
        });
    }
    let page = up.text("/");
    assert!(page.contains("first") && page.contains("Broken"), "{page}");
    let again = output(millstream(folder.path()).args(["up", "first.yaml", "--listen", "127.0.0.1:0"]));
    assert_eq!(again.status.code(), Some(2));
    assert!(stderr(&again).contains("another Millstream"), "{}", stderr(&again));
}

#[test]
fn a_broker_of_its_own_is_asked_whoever_has_the_state_directory() {
    let (folder, api) = (tempfile::tempdir().expect("a folder"), good());
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let broker = runtime.block_on(Broker::start(&folder.path().join("elsewhere"), 0)).expect("starts");
    let file = r#"
name: other
kafka: { brokers: "BROKER" }
cassandra: { hosts: embedded }
flows:
  load:
    from: { file: rows.jsonl, schema: "id STRING, n INT" }
    sql: SELECT * FROM input
    to: { topic: numbers, key: id }
  store:
    from: { topic: numbers }
    sql: SELECT * FROM input
    to: { table: k.numbers, create: "CREATE TABLE k.numbers (id UUID PRIMARY KEY, n INT)" }
"#;
    let file = file.replace("BROKER", &broker.address().to_string());
    std::fs::write(folder.path().join("other.yaml"), file).expect("writes");
    std::fs::write(folder.path().join("rows.jsonl"), "{\"id\": \"no uuid\", \"n\": 1}\n").expect("writes");
    write(folder.path(), "mine", &api.url, "");
    let asked = |words: &[&str]| output(millstream(folder.path()).args(words));
    let reset = ["reset", "other.yaml", "--flow", "store", "--to", "earliest"];
    let look = || {
        let letters = asked(&["dead-letters", "list", "other.yaml"]);
        assert_eq!(stdout(&letters).lines().count(), 1, "{}", stderr(&letters));
        let shown = asked(&["preview", "other.yaml", "--flow", "store", "-n", "1"]);
        assert!(stdout(&shown).starts_with("in   {\"id\":\"no uuid\""), "{}", stderr(&shown));
        wait_for("its end", || {
            let waited = asked(&["wait", "other.yaml", "--flow", "store"]);
            assert!(!stderr(&waited).contains("another Millstream"), "{}", stderr(&waited));
            waited.status.success().then_some(())
        });
    };
    support::done(millstream(folder.path()).args(["run", "other.yaml"]));
    // Another pipeline is at work, with an embedded broker.
    let up = Up::of(folder.path(), &["mine.yaml"]);
    look();
    let replay = ["dead-letters", "replay", "other.yaml", "--state", "another/one"];
    let (_, said) = support::done(millstream(folder.path()).args(replay));
    assert!(said.contains("0 dead letter(s) replayed, 1 died again"), "{said}");
    support::done(millstream(folder.path()).args(reset));
    assert_eq!(up.stop(), Some(143));
    // It is at work itself, and nothing but its tables is embedded.
    let up = Up::of(folder.path(), &["other.yaml"]);
    look();
    wait_for("its reader", || stderr(&asked(&reset)).contains("somebody is reading with it").then_some(()));
    assert_eq!(up.stop(), Some(143));
    runtime.block_on(broker.stop()).expect("stops");
}

#[test]
fn pipelines_share_a_state_directory_however_their_files_are_written() {
    let (folder, api) = (tempfile::tempdir().expect("a folder"), good());
    std::fs::create_dir(folder.path().join("other")).expect("a folder");
    for name in ["first", "second", "third"] {
        write(folder.path(), name, &api.url, "");
    }
    let up = Up::of(folder.path(), &["first.yaml", "./second.yaml", "other/../third.yaml"]);
    let all = up.get("/api/v1/pipelines");
    assert_eq!(all["pipelines"].as_array().expect("a list").len(), 3, "{all}");
}

#[test]
fn a_runner_is_for_those_files_that_have_its_flow() {
    let (folder, api) = (tempfile::tempdir().expect("a folder"), good());
    write(folder.path(), "first", &api.url, "");
    write(folder.path(), "second", &api.url, "");
    change(folder.path(), "second", "  store:", "  keep:");
    let arguments = |runner| ["up", ".", "--runner", runner, "--listen", "127.0.0.1:0"];
    let refused = output(millstream(folder.path()).args(arguments("nobody=native")));
    assert_eq!(refused.status.code(), Some(2));
    assert!(stderr(&refused).contains("there is no flow `nobody`"), "{}", stderr(&refused));
    let up = Up::start(millstream(folder.path()).args(arguments("store=native")));
    let all = up.get("/api/v1/pipelines");
    assert_eq!(all["pipelines"].as_array().expect("a list").len(), 2, "{all}");
    assert_eq!(all["broken"].as_array().expect("a list").len(), 0, "{all}");
}

#[test]
fn what_was_due_before_the_first_scheduled_run_is_made_up_for() {
    let (folder, api) = (tempfile::tempdir().expect("a folder"), good());
    write(folder.path(), "numbers", &api.url, "schedule: \"@daily\"\nruns: { catchup: true }");
    // It ended before it was midnight.
    drop(begun_two_days_ago(folder.path()));
    let up = Up::of(folder.path(), &["numbers.yaml"]);
    has_run_for_two_midnights(&up);
}

/// The history of a pipeline that was started so long ago.
fn begun_two_days_ago(folder: &Path) -> History {
    let state = folder.join(".millstream");
    std::fs::create_dir(&state).expect("a folder");
    let history = History::open(&state).expect("opens");
    history.begun_ms("numbers", now_ms() - 2 * DAY_MS).expect("is kept");
    history
}

fn has_run_for_two_midnights(up: &Up) {
    wait_for("a run for each midnight", || {
        let runs = up.get("/api/v1/pipelines/numbers/runs");
        let done = |run: &&Value| run["trigger"] == "schedule" && run["state"] == "success";
        (runs["runs"].as_array().expect("a list").iter().filter(done).count() >= 2).then_some(())
    });
}

#[test]
fn a_clock_that_was_ahead_holds_no_schedule_up() {
    let (folder, api) = (tempfile::tempdir().expect("a folder"), good());
    write(folder.path(), "numbers", &api.url, "schedule: \"@daily\"\nruns: { catchup: true }");
    let history = begun_two_days_ago(folder.path());
    let ahead_ms = now_ms() + 3_650 * DAY_MS;
    let run = Run {
        id: "scheduled__ahead".into(),
        trigger: Trigger::Schedule,
        state: RunState::Failed,
        attempt: 1,
        interval_ms: Some((ahead_ms - DAY_MS, ahead_ms)),
        created_ms: ahead_ms,
        started_ms: Some(ahead_ms),
        ended_ms: Some(ahead_ms),
        retry_at_ms: None,
        flows: BTreeMap::new(),
        error: None,
    };
    history.save("numbers", &run).expect("is kept");
    drop(history);
    let up = Up::of(folder.path(), &["numbers.yaml"]);
    has_run_for_two_midnights(&up);
    up.says("that the clock was wrong", |line| line.contains("the clock was ahead"));
}

#[test]
fn standard_input_is_not_read_where_runs_are_tried_again() {
    let (folder, api) = (tempfile::tempdir().expect("a folder"), good());
    write(folder.path(), "lines", &api.url, "");
    write(folder.path(), "numbers", &api.url, "");
    let http = format!("http: \"{}\", records: $, retries: 1,", api.url);
    change(folder.path(), "lines", &http, "file: \"-\",");
    let refused = output(millstream(folder.path()).args(["up", "lines.yaml", "--listen", "127.0.0.1:0"]));
    assert_eq!(refused.status.code(), Some(2));
    let said = stderr(&refused);
    assert!(said.contains("flow fetch reads standard input") && said.contains("millstream run"), "{said}");
    // It holds up no other.
    let up = Up::of(folder.path(), &["lines.yaml", "numbers.yaml"]);
    let all = up.get("/api/v1/pipelines");
    assert_eq!(all["pipelines"].as_array().expect("a list").len(), 1, "{all}");
    assert!(all["broken"][0]["report"].as_str().is_some_and(|why| why.contains("standard input")), "{all}");
}

#[test]
fn what_cannot_be_run_while_up_has_the_state_is_said_with_what_can() {
    let (folder, api) = (tempfile::tempdir().expect("a folder"), good());
    write(folder.path(), "numbers", &api.url, "schedule: \"@yearly\"");
    change(folder.path(), "numbers", "records: $,", "query: { day: \"{interval.start}\" }, records: $,");
    let up = Up::of(folder.path(), &["numbers.yaml"]);
    for (words, expected) in [
        (&["runs", "trigger", "numbers.yaml"][..], "stop this `up`"),
        (&["run", "numbers.yaml", "--interval", "2026-01-01/2026-01-02"], "stop it, call this again"),
        (&["run", "numbers.yaml"], "`millstream runs trigger FILE`"),
    ] {
        let refused = output(millstream(folder.path()).args(words));
        assert_eq!(refused.status.code(), Some(2), "{words:?}");
        assert!(stderr(&refused).contains(expected), "{words:?}: {}", stderr(&refused));
    }
    // What the first two say works.
    assert_eq!(up.stop(), Some(143));
    let interval = ["run", "numbers.yaml", "--interval", "2026-01-01/2026-01-02"];
    support::done(millstream(folder.path()).args(interval));
}

#[test]
fn who_comes_from_elsewhere_needs_the_token() {
    let (folder, api) = (tempfile::tempdir().expect("a folder"), good());
    write(folder.path(), "numbers", &api.url, "");
    let open = ["up", "numbers.yaml", "--listen", "0.0.0.0:0"];
    let refused = output(millstream(folder.path()).args(open));
    assert_eq!(refused.status.code(), Some(2));
    assert!(stderr(&refused).contains("needs a token"), "{}", stderr(&refused));
    let token = "0123456789abcdef0123456789abcdef";
    let file = folder.path().join("token");
    // Whoever names a file does not mean that everybody may come in, not even on loopback.
    std::fs::write(&file, "\n").expect("writes");
    let local = ["up", "numbers.yaml", "--listen", "127.0.0.1:0"];
    let empty = output(millstream(folder.path()).args(local).arg("--token-file").arg(&file));
    assert_eq!(empty.status.code(), Some(2));
    assert!(stderr(&empty).contains("there is no token in"), "{}", stderr(&empty));
    std::fs::write(&file, format!("{token}\n")).expect("writes");
    // All addresses are meant here, of which loopback is asked.
    let up = Up::start(millstream(folder.path()).args(open).arg("--token-file").arg(&file));
    let url = up.url.replace("0.0.0.0", "127.0.0.1");
    let bearer = format!("Bearer {token}");
    assert_eq!(ask("GET", &format!("{url}/api/v1/pipelines"), &[], None).0, 401);
    assert_eq!(ask("GET", &format!("{url}/metrics"), &[], None).0, 401);
    assert_eq!(ask("GET", &format!("{url}/healthz"), &[], None).0, 200);
    assert_eq!(ask("GET", &format!("{url}/"), &[], None).0, 303);
    assert_eq!(ask("GET", &format!("{url}/sign-in"), &[], None).0, 200);
    let (status, body) = ask("GET", &format!("{url}/api/v1/pipelines"), &[("authorization", &bearer)], None);
    assert_eq!(status, 200, "{body}");
    assert!(!body.contains(token));
    let listed = output(millstream(folder.path()).env("MILLSTREAM_TOKEN", token).args([
        "runs",
        "list",
        "numbers.yaml",
        "--server",
        &url,
    ]));
    assert!(listed.status.success(), "{}", stderr(&listed));
}

#[test]
fn what_is_asked_wrongly_is_a_problem_and_changes_need_our_own_page() {
    let (folder, api) = (tempfile::tempdir().expect("a folder"), good());
    write(folder.path(), "numbers", &api.url, "");
    let up = Up::of(folder.path(), &["numbers.yaml"]);
    let base = format!("{}/api/v1/pipelines", up.url);
    for (path, expected) in [
        ("/nobody", 404),
        ("/numbers/runs/nobody", 404),
        ("/numbers/runs?limit=0", 400),
        ("/numbers/runs?limit=x", 400),
        ("/numbers/runs?colour=red", 400),
        ("/numbers/topics/other/records", 404),
        ("/numbers/tables/other/rows", 404),
        ("/numbers/tables/k.numbers/rows?column=nobody&value=1", 400),
        ("/numbers/dead-letters?reason=nobody", 400),
        ("/numbers/nothing", 404),
    ] {
        let (status, body) = ask("GET", &format!("{base}{path}"), &[], None);
        assert_eq!(status, expected, "{path}: {body}");
        let problem: Value = serde_json::from_str(&body).unwrap_or_else(|e| panic!("{path}: {e}: {body}"));
        assert!(problem["title"].is_string(), "{path}: {body}");
    }
    let purge = format!("{base}/numbers/dead-letters/purge");
    assert_eq!(ask("POST", &purge, &[], Some("{")).0, 400);
    assert_eq!(ask("POST", &purge, &[], Some(r#"{"colour": 1}"#)).0, 422);
    assert_eq!(ask("PUT", &purge, &[], None).0, 405);
    assert_eq!(ask("POST", &purge, &[], Some(&format!("{{\"flow\": \"{}\"}}", "x".repeat(100_000)))).0, 413);
    let trigger = format!("{base}/numbers/runs");
    assert_eq!(ask("POST", &trigger, &[("origin", "http://elsewhere.example")], None).0, 403);
    assert_eq!(ask("POST", &trigger, &[("sec-fetch-site", "cross-site")], None).0, 403);
    assert_eq!(ask("GET", &base, &[("host", "elsewhere.example")], None).0, 421);
}

#[test]
fn a_look_up_reads_a_partition_or_the_first_rows_of_a_table() {
    let folder = tempfile::tempdir().expect("a folder");
    let lines = (0..12_000).map(|n| format!("{{\"a\": \"a{n}\", \"b\": {n}, \"c\": \"c{n}\"}}\n"));
    std::fs::write(folder.path().join("rows.jsonl"), lines.collect::<String>()).expect("writes");
    let file = "
name: many
kafka: { brokers: \"embedded:0\" }
flows:
  fetch:
    from: { file: rows.jsonl, schema: \"a STRING, b INT, c STRING\" }
    sql: SELECT * FROM input
    to: { topic: many, key: a }
  store:
    from: { topic: many }
    sql: SELECT * FROM input
    to:
      table: k.many
      create: CREATE TABLE k.many (a text, b int, c text, PRIMARY KEY ((a, b)))
";
    std::fs::write(folder.path().join("many.yaml"), file).expect("writes");
    support::done(millstream(folder.path()).args(["run", "many.yaml"]));
    let up = Up::of(folder.path(), &["many.yaml"]);
    for n in [0, 6_000, 11_999] {
        let page = up.text(&format!("/pipelines/many/table?key.a=a{n}&key.b={n}&column=a&value="));
        assert!(page.contains(&format!("<td title=\"c{n}\">")), "{page}");
        assert!(!page.contains("were searched"), "{page}");
    }
    let page = up.text("/pipelines/many/table?key.a=&key.b=&column=c&value=nobody");
    assert!(page.contains("Only the first 10000 rows were searched. A look-up by a and b"), "{page}");
    let rows = up.get("/api/v1/pipelines/many/tables/k.many/rows?column=c&value=nobody");
    assert_eq!(rows, serde_json::json!({ "columns": ["a", "b", "c"], "rows": [], "truncated": true }));
}

#[test]
fn a_worker_serves_its_metrics_and_no_page() {
    let (folder, api) = (tempfile::tempdir().expect("a folder"), good());
    write(folder.path(), "numbers", &api.url, "");
    assert_eq!(output(millstream(folder.path()).args(["run", "numbers.yaml"])).status.code(), Some(0));
    let worker = ["up", "numbers.yaml", "--flow", "store", "--listen", "127.0.0.1:0"];
    let up = Up::start(millstream(folder.path()).args(worker));
    assert_eq!(ask("GET", &format!("{}/", up.url), &[], None).0, 404);
    wait_for("readiness", || (ask("GET", &format!("{}/readyz", up.url), &[], None).0 == 200).then_some(()));
    let metrics = up.text("/metrics");
    assert!(metrics.contains(r#"millstream_flow_up{pipeline="numbers",flow="store"} 1"#), "{metrics}");
    assert!(!metrics.contains(r#"flow="fetch""#), "{metrics}");
    assert_eq!(up.stop(), Some(143));
}

#[test]
fn a_port_that_is_taken_is_named() {
    let (folder, api) = (tempfile::tempdir().expect("a folder"), good());
    write(folder.path(), "numbers", &api.url, "");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let refused = output(millstream(folder.path()).args(["up", "numbers.yaml", "--listen", &address]));
    assert_eq!(refused.status.code(), Some(2));
    let said = stderr(&refused);
    assert!(said.contains(&address) && said.contains("--listen"), "{said}");
    // Nothing is left at work, and the state is free.
    drop(taken);
    assert_eq!(Up::of(folder.path(), &["numbers.yaml"]).stop(), Some(143));
}
