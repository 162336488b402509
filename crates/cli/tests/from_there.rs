//! A pipeline out of what is there: an API, a file, a topic; and looking at records as they come,
//! reading them again.

mod support;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

use millstream_connectors::random_user::{Options, Server};
use support::{Api, millstream, output, stderr, stdout, summary, wait_for};

/// Runs a command that succeeds.
fn done(folder: &Path, arguments: &[&str]) -> (String, String) {
    support::done(millstream(folder).args(arguments).env("KAFKA_BROKERS", "embedded:0"))
}

fn count(folder: &Path, file: &str, table: &str) -> String {
    done(folder, &["query", file, &format!("SELECT count(*) AS n FROM {table}"), "--format", "csv"]).0
}

#[test]
fn an_api_becomes_a_pipeline_that_runs() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let server = runtime.block_on(Server::start(0, Options::default())).expect("starts");
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("{}?results=20&seed=abc", server.url());
    let (_, said) = done(folder.path(), &["init", ".", "--from", &url]);
    let file = said.split_whitespace().nth(1).expect("a name").trim_end_matches(';').to_owned();
    let text = std::fs::read_to_string(folder.path().join(&file)).expect("it is there");
    for part in [
        "records: \"$.results\"    # a guess: 20 objects are there",
        "# location.postcode is sometimes a number and a text: here its text",
        "login_uuid text PRIMARY KEY",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    done(folder.path(), &["check", &file]);
    done(folder.path(), &["test", &file]);
    done(folder.path(), &["run", &file]);
    let name = Path::new(&file).file_stem().expect("a name").to_string_lossy().into_owned();
    assert_eq!(count(folder.path(), &file, &name), "n\n20\n");
    let again = output(millstream(folder.path()).args(["init", ".", "--from", &url]));
    assert_eq!(again.status.code(), Some(2));
    assert!(stderr(&again).contains("is there already"), "{}", stderr(&again));
}

#[test]
fn a_file_becomes_a_pipeline_that_runs() {
    let folder = tempfile::tempdir().expect("a folder");
    let lines = "{\"order-id\":7,\"at\":{\"day\":\"2024-01-01\"},\"from\":\"x${y}\"}\n{\"order-id\":8,\"at\":null,\"from\":\"y\"}\n";
    std::fs::write(folder.path().join("My Orders.jsonl"), lines).expect("writes");
    done(folder.path(), &["init", "made", "--from", "My Orders.jsonl"]);
    done(folder.path(), &["check", "made/my_orders.yaml"]);
    done(folder.path(), &["test", "made/my_orders.yaml"]);
    done(folder.path(), &["run", "made/my_orders.yaml"]);
    let sql = "SELECT * FROM my_orders.my_orders ORDER BY order_id";
    let (rows, _) = done(folder.path(), &["query", "made/my_orders.yaml", sql, "--format", "json"]);
    let expected =
        "{\"order_id\":7,\"at_day\":\"2024-01-01\",\"from_\":\"x${y}\"}\n{\"order_id\":8,\"from_\":\"y\"}\n";
    assert_eq!(rows, expected);
    let nothing = output(millstream(folder.path()).args(["init", "--from", "none.jsonl"]));
    assert!(stderr(&nothing).contains("no file matches"), "{}", stderr(&nothing));
}

#[test]
fn a_line_that_is_no_object_hides_neither_the_key_nor_itself() {
    let folder = tempfile::tempdir().expect("a folder");
    let lines = "{\"id\":\"a\"}\nno JSON\n{\"id\":\"b\"}\n7\n";
    std::fs::write(folder.path().join("torn.jsonl"), lines).expect("writes");
    done(folder.path(), &["init", "made", "--from", "torn.jsonl"]);
    let text = std::fs::read_to_string(folder.path().join("made/torn.yaml")).expect("it is there");
    assert!(text.starts_with("# Made from 2 samples of torn.jsonl;"), "{text}");
    assert!(text.contains("# There are 2 more that are no JSON objects"), "{text}");
    assert!(text.contains("id is there and differs in all 2 samples"), "{text}");
    let run = output(millstream(folder.path()).args(["run", "made/torn.yaml"]));
    assert_eq!(summary(&run)["flows"]["load"]["dead"], 2, "{}", stderr(&run));
}

#[test]
fn a_whole_number_beyond_bigint_is_tested_as_what_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let line = "{\"id\":\"a\",\"hash\":10000000000000000001}\n";
    std::fs::write(folder.path().join("big.jsonl"), line).expect("writes");
    done(folder.path(), &["init", "made", "--from", "big.jsonl"]);
    let (_, said) = done(folder.path(), &["test", "made/big.yaml"]);
    assert!(said.contains("1 passed, 0 failed"), "{said}");
}

#[test]
fn a_list_of_one_is_a_list_and_its_own_lists_are_not_the_records() {
    let api = Api::start(|_| r#"[{"id": 1, "assets": [{"n": 1}, {"n": 2}]}]"#.to_owned());
    let folder = tempfile::tempdir().expect("a folder");
    let (_, said) = done(folder.path(), &["init", ".", "--from", &api.url]);
    let file = said.split_whitespace().nth(1).expect("a name").trim_end_matches(';').to_owned();
    let text = std::fs::read_to_string(folder.path().join(&file)).expect("it is there");
    assert!(!text.contains("records:"), "{text}");
    done(folder.path(), &["run", &file]);
    let name = Path::new(&file).file_stem().expect("a name").to_string_lossy().into_owned();
    assert_eq!(count(folder.path(), &file, &name), "n\n1\n");
}

#[test]
fn an_api_may_answer_nothing_to_learn_from() {
    for answer in ["{}", "[]", "[{}, {}]", r#"{"results": [{}]}"#, "7", r#""text""#, "null", "[1, 2]"] {
        let api = Api::start(move |_| answer.to_owned());
        let folder = tempfile::tempdir().expect("a folder");
        let url = api.url.replace("://", "://me:hunter22@");
        let init = output(millstream(folder.path()).args(["init", ".", "--from", &url]));
        let said = stderr(&init);
        assert_eq!(init.status.code(), Some(2), "{answer}: {said}");
        assert!(said.contains("to learn from") && said.contains("`millstream init`"), "{answer}: {said}");
        assert!(!said.contains("hunter22"), "{answer}: {said}");
    }
}

#[test]
fn who_asks_is_written_once_and_names_nothing() {
    let api = Api::start(|_| r#"[{"id": 1}]"#.to_owned());
    let folder = tempfile::tempdir().expect("a folder");
    let url = api.url.replace("://", "://me:hunter22@");
    done(folder.path(), &["init", ".", "--from", &url]);
    let text = std::fs::read_to_string(folder.path().join("my_127_0_0_1.yaml")).expect("it is there");
    assert_eq!(text.matches("hunter22").count(), 1, "{text}");
    done(folder.path(), &["check", "my_127_0_0_1.yaml"]);
}

#[test]
fn the_folder_of_a_file_may_have_a_name_like_a_pattern() {
    let parent = tempfile::tempdir().expect("a folder");
    let folder = parent.path().join("2024[Q1]");
    std::fs::create_dir(&folder).expect("makes");
    std::fs::write(folder.join("a.jsonl"), "{\"id\":\"a\",\"n\":1}\n").expect("writes");
    std::fs::write(folder.join("b.jsonl"), "{\"id\":\"b\",\"n\":2}\n").expect("writes");
    for (file, name, expected) in [("a.jsonl", "a", "n\n1\n"), ("./[ab].jsonl", "ab", "n\n2\n")] {
        done(&folder, &["init", "made", "--from", file]);
        let made = format!("made/{name}.yaml");
        done(&folder, &["check", &made]);
        done(&folder, &["run", &made]);
        assert_eq!(count(&folder, &made, name), expected);
    }
}

const NUMBERS: &str = r#"
name: numbers
kafka: { brokers: "embedded:0" }
cassandra: { hosts: embedded }
flows:
  fetch:
    from: { http: "API", every: 50ms, for: 10m, schema: "id STRING, n INT" }
    sql: SELECT id, n FROM input
    to: { topic: numbers, key: id }
  store:
    from: { topic: numbers }
    sql: SELECT id, n + 1 AS n FROM input WHERE n >= 0
    to: { table: k.t, create: "CREATE TABLE k.t (id text PRIMARY KEY, n int)" }
"#;

#[test]
fn records_are_tapped_as_they_come_a_topic_becomes_a_pipeline_and_a_flow_reads_again() {
    let api = Api::start(|n| format!("[{{\"id\":\"k{}\",\"n\":{n}}}]", n % 7));
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("p.yaml"), NUMBERS.replace("API", &api.url)).expect("writes");
    let idle = output(millstream(folder.path()).args(["tap", "p.yaml", "store.out"]));
    assert!(stderr(&idle).contains("nobody is running it"), "{}", stderr(&idle));
    let mut running = millstream(folder.path())
        .args(["run", "p.yaml"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("runs");
    let mut first = String::new();
    BufReader::new(running.stderr.take().expect("piped")).read_line(&mut first).expect("speaks");
    let broker = format!(
        "localhost:{}",
        first.split("localhost:").nth(1).expect("a port").split(';').next().expect("a port")
    );
    // The topic is there as soon as something came.
    let tap = |place: &str, n: &str| done(folder.path(), &["tap", "p.yaml", place, "-n", n]).0;
    wait_for("the topic", || {
        let tapped = output(millstream(folder.path()).args(["tap", "p.yaml", "numbers", "-n", "1"]));
        tapped.status.success().then_some(())
    });
    // So many that each key has come.
    let messages = tap("fetch.out", "7");
    let lines: Vec<serde_json::Value> =
        messages.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.len(), 7);
    assert_eq!(lines[0]["key"], lines[0]["value"]["id"]);
    let rows = tap("store.out", "2");
    let row: serde_json::Value = serde_json::from_str(rows.lines().next().expect("a row")).expect("JSON");
    assert!(row["n"].as_i64().expect("a number") > 0 && row.get("id").is_some(), "{rows}");
    let wrong = output(millstream(folder.path()).args(["tap", "p.yaml", "fetch.in"]));
    assert!(stderr(&wrong).contains("has no records of its own"), "{}", stderr(&wrong));
    let unknown = output(millstream(folder.path()).args(["tap", "p.yaml", "nowhere"]));
    assert!(stderr(&unknown).contains("one of fetch.in, fetch.out"), "{}", stderr(&unknown));

    // Somebody else's topic, on a broker that is not ours.
    let source = format!("kafka://{broker}/numbers");
    done(folder.path(), &["init", "made", "--from", &source]);
    let text =
        std::fs::read_to_string(folder.path().join("made/numbers_to_table.yaml")).expect("it is there");
    assert!(text.contains("# The key is id: it is the messages' key."), "{text}");
    done(folder.path(), &["check", "made/numbers_to_table.yaml"]);
    done(folder.path(), &["run", "made/numbers_to_table.yaml"]);
    assert_eq!(count(folder.path(), "made/numbers_to_table.yaml", "numbers.numbers"), "n\n7\n");

    // It reads as soon as it has written.
    let enough = "SELECT count(*) > 0 AS enough FROM k.t";
    wait_for("the first row", || {
        let asked = output(millstream(folder.path()).args(["query", "p.yaml", enough, "--format", "csv"]));
        (stdout(&asked) == "enough\ntrue\n").then_some(())
    });
    let busy =
        output(millstream(folder.path()).args(["reset", "p.yaml", "--flow", "store", "--to", "earliest"]));
    assert_eq!(busy.status.code(), Some(2), "{}", stderr(&busy));
    assert!(stderr(&busy).contains("somebody is reading with it"), "{}", stderr(&busy));
    let unsure =
        output(millstream(folder.path()).args(["reset", "p.yaml", "--flow", "fetch", "--to", "earliest"]));
    let words = format!("process {} is using", running.id());
    assert!(stderr(&unsure).contains(&words), "{}", stderr(&unsure));
    let pid = running.id().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().expect("kill").success());
    running.wait().expect("ends");
    done(folder.path(), &["run", "p.yaml", "--flow", "store"]);
    let read = |to: &str| {
        done(folder.path(), &["reset", "p.yaml", "--flow", "store", "--to", to]);
        let run = output(millstream(folder.path()).args(["run", "p.yaml", "--flow", "store"]));
        summary(&run)["flows"]["store"]["read"].as_u64().expect("a count")
    };
    let all = read("earliest");
    assert!(all > 7, "{all}");
    assert_eq!(
        (read("latest"), read("5"), read("2100-01-01"), read("2020-01-01T00:00:00Z")),
        (0, all - 5, 0, all)
    );
    assert_eq!(count(folder.path(), "p.yaml", "k.t"), "n\n7\n");
    let wrong =
        output(millstream(folder.path()).args(["reset", "p.yaml", "--flow", "fetch", "--to", "earliest"]));
    assert!(stderr(&wrong).contains("reads everything in every run"), "{}", stderr(&wrong));
}
