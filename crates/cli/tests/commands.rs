//! The commands as a user meets them: what they print, how they end.

mod support;

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use support::{Api, millstream, output, stderr, stdout, summary};

fn folder_with(name: &str, text: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join(name), text).expect("writes");
    folder
}

const ONE: &str = r#"
name: one
kafka: { brokers: "embedded:0" }
cassandra: { hosts: embedded }
flows:
  fetch:
    from: { http: "API", schema: "id STRING, n INT" }
    sql: SELECT id, n FROM input WHERE n > 0
    to: { topic: numbers, key: id }
  store:
    from: { topic: numbers }
    sql: SELECT * FROM input
    to: { table: k.t, create: "CREATE TABLE k.t (id text PRIMARY KEY, n int)" }
"#;

#[test]
fn the_demo_shows_rows_and_counts_and_can_be_asked() {
    let folder = tempfile::tempdir().expect("a folder");
    let demo = output(millstream(folder.path()).args(["demo", "--once"]));
    assert_eq!(demo.status.code(), Some(0), "{}", stderr(&demo));
    assert_eq!(stdout(&demo).lines().filter(|line| line.starts_with("| ")).count(), 1 + 10);
    let words = stderr(&demo);
    assert!(words.starts_with("user_automation: kafka: embedded, localhost:"), "{words}");
    for flow in ["fetch", "store"] {
        let line = words.lines().find(|line| line.starts_with(flow)).expect("counts");
        assert_eq!(line.split_whitespace().collect::<Vec<_>>()[1..], ["30", "30", "0", "0", "30"]);
    }
    let asked = output(millstream(folder.path()).args([
        "query",
        "demo",
        "SELECT count(*) AS n FROM created_users",
        "--format",
        "csv",
    ]));
    assert_eq!(stdout(&asked), "n\n30\n");
}

#[test]
fn every_record_is_passed_filtered_or_dead_and_dead_ones_are_shown() {
    let api =
        Api::start(|_| r#"[{"id":"a","n":1},{"id":"b","n":0},{"id":"c","n":"x"},{"n":5}, 7]"#.to_owned());
    let folder = folder_with("one.yaml", &ONE.replace("API", &api.url));
    let run = output(millstream(folder.path()).args(["run", "one.yaml"]));
    assert_eq!(run.status.code(), Some(0), "{}", stderr(&run));
    let summary = summary(&run);
    assert_eq!(
        summary["flows"]["fetch"],
        serde_json::json!({"read": 5, "passed": 1, "filtered": 1, "dead": 3, "written": 1})
    );
    assert_eq!(summary["pipeline"], "one");
    assert_eq!(summary["backends"].as_object().expect("backends").len(), 2);
    let list = output(millstream(folder.path()).args(["dead-letters", "list", "one.yaml"]));
    let list = stdout(&list);
    let letters: Vec<_> = list.lines().map(|line| line.split_once('@').expect("a run")).collect();
    let expected = [
        ("fetch/numbers/0/2", "unreadable\tn: \"x\" is no int at byte 17"),
        ("fetch/numbers/0/3", "null-key\tid is null"),
        ("fetch/numbers/0/4", "unreadable\tthe message is no JSON object"),
    ];
    assert_eq!(letters.len(), expected.len(), "{list}");
    for ((place, rest), (expected_place, reason)) in letters.into_iter().zip(expected) {
        assert_eq!(place, expected_place);
        assert_eq!(rest.split_once('\t').expect("a reason").1, reason);
    }
    let place = list.split('\t').next().expect("a place");
    let show = output(millstream(folder.path()).args(["dead-letters", "show", "one.yaml", place]));
    assert!(stdout(&show).contains(r#"value      {"id":"c","n":"x"}"#), "{}", stdout(&show));
    assert!(stdout(&show).contains(&format!("origin     {}", api.url)), "{}", stdout(&show));
    let wrong =
        output(millstream(folder.path()).args(["dead-letters", "list", "one.yaml", "--reason", "odd"]));
    assert_eq!(wrong.status.code(), Some(2));
}

#[test]
fn a_run_without_a_record_fails_and_a_dead_api_is_said() {
    let api = Api::start(|_| "[]".to_owned());
    let folder = folder_with("one.yaml", &ONE.replace("API", &api.url));
    let run = output(millstream(folder.path()).args(["run", "one.yaml"]));
    assert_eq!(run.status.code(), Some(1), "{}", stderr(&run));
    assert!(stderr(&run).contains("the source gave no record at all"));
    let dead = ONE.replace("http: \"API\"", "http: \"http://127.0.0.1:9/\", retries: 1");
    let folder = folder_with("one.yaml", &dead);
    let run = output(millstream(folder.path()).args(["run", "one.yaml"]));
    assert_eq!(run.status.code(), Some(1));
    assert!(stderr(&run).contains("tried 2 times"), "{}", stderr(&run));
}

#[test]
fn a_run_that_cannot_begin_is_summed_up_too() {
    let api = Api::start(|_| r#"[{"id":"a","n":1}]"#.to_owned());
    let text = ONE.replace("API", &api.url).replace("hosts: embedded", "hosts: \"127.0.0.1:1\"");
    let folder = folder_with("one.yaml", &text);
    let run = output(millstream(folder.path()).args(["run", "one.yaml", "--patience", "1s"]));
    assert_eq!(run.status.code(), Some(1), "{}", stderr(&run));
    let summary = summary(&run);
    assert_eq!(summary["status"], "failed");
    assert_eq!(summary["flows"]["fetch"]["read"], 0, "{summary}");
    let why = summary["flows"]["store"]["error"].as_str().expect("a reason");
    assert!(why.contains("nothing is lost"), "{why}");
    let words = stderr(&run);
    assert_eq!(words.lines().filter(|line| line.starts_with("error: ")).count(), 1, "{words}");
    // What cannot be asked for is no run.
    let wrong = output(millstream(folder.path()).args(["run", "one.yaml", "--since", "1"]));
    assert_eq!((wrong.status.code(), stdout(&wrong).as_str()), (Some(2), ""), "{}", stderr(&wrong));
}

#[test]
fn a_variable_that_is_no_text_is_passed_over() {
    let folder = folder_with("one.yaml", &ONE.replace("API", "http://localhost/"));
    let mut check = millstream(folder.path());
    check.args(["check", "one.yaml"]).env("ODD", OsStr::from_bytes(b"\xff"));
    let checked = output(&mut check);
    assert_eq!(checked.status.code(), Some(0), "{}", stderr(&checked));
}

#[test]
fn all_mistakes_of_a_file_are_shown_at_once() {
    let text = r#"name: x
shedule: "@daily"
flows:
  a:
    from: { htpp: "http://localhost/" }
    sql: SELECT 1
    to: { topic: t }
  b:
    from: { http: "http://localhost/", schema: "id STRING", recrods: $.x }
    sql: SELECT id, missing FROM input
    to: { topic: u, key: [id] }
  c:
    from: { http: "${NOT_SET_ANYWHERE}", schema: "id STRING", timeout: soon }
    sql: SELECT other FROM input
    to: { topic: v }
  d:
    from: { topic: t }
    sql: SELECT 1
    to: { table: k.t, create: "CREATE TABLE k.t" }
  e:
    from: { topic: nobody }
    sql: SELECT 1
kafka: { brokers: "embedded:0", client: { linger.ms: "2", acks: "1" } }
cassandra: { hosts: here, tls: { key: a.pem } }
"#;
    let folder = folder_with("bad.yaml", text);
    let check = output(millstream(folder.path()).args(["check", "bad.yaml"]));
    assert_eq!(check.status.code(), Some(2));
    let words = stderr(&check);
    let expected = [
        ("bad.yaml:2:1", "unknown key `shedule`"),
        ("bad.yaml:2:1", "did you mean `schedule`?"),
        ("bad.yaml:5:13", "unknown kind `htpp`"),
        ("bad.yaml:7:5", "`key` is missing"),
        ("bad.yaml:9:61", "unknown key `recrods`"),
        ("bad.yaml:10:21", "there is no column `missing`"),
        ("bad.yaml:13:19", "the variable NOT_SET_ANYWHERE is not set"),
        ("bad.yaml:13:72", "`soon` is not a length of time"),
        ("bad.yaml:14:17", "there is no column `other`"),
        ("bad.yaml:15:5", "`key` is missing"),
        ("bad.yaml:19:31", "expected `(`, found the end"),
        ("bad.yaml:20:3", "`to` is missing"),
        ("bad.yaml:23:59", "`kafka.client` cannot set `acks`: no message is to be lost"),
        ("bad.yaml:24:34", "a key is of no use without its `certificate`"),
    ];
    for (line, said) in expected {
        assert!(words.contains(line) && words.contains(said), "{line} {said}\n{words}");
    }
    // Every mistake once, and none that only follows from another.
    assert_eq!(words.matches("error: ").count(), expected.len() - 1, "{words}");
}

#[test]
fn proxy_variables_are_honoured() {
    let proxy = Api::start(|_| r#"[{"id":"a","n":1}]"#.to_owned());
    let folder = folder_with("one.yaml", &ONE.replace("API", "http://api.example.invalid/"));
    let run = output(millstream(folder.path()).args(["run", "one.yaml"]).env("HTTP_PROXY", &proxy.url));
    assert_eq!(run.status.code(), Some(0), "{}", stderr(&run));
    assert_eq!(summary(&run)["flows"]["fetch"]["read"], 1);
    let direct = ONE.replace("http: \"API\"", &format!("http: \"{}\"", proxy.url));
    let folder = folder_with("one.yaml", &direct);
    let mut command = millstream(folder.path());
    command.args(["run", "one.yaml"]).env("HTTP_PROXY", "http://127.0.0.1:9/").env("NO_PROXY", "127.0.0.1");
    assert_eq!(output(&mut command).status.code(), Some(0));
}

#[test]
fn queries_and_tables_are_checked_against_each_other() {
    for (from, to, said) in [
        ("SELECT id, n FROM input", "SELECT id, m FROM input", "there is no column `m`"),
        ("SELECT id, n FROM input", "SELECT id, uuid() AS n FROM input", "uuid is not answered natively"),
        (
            "SELECT id, n FROM input",
            "SELECT id, map(DATE'2024-01-01', n) AS n FROM input",
            "`n` is map<date,int>: as JSON Spark would write its keys as it keeps them",
        ),
        ("SELECT id, n FROM input", "SELECT id, map(1, n) AS n FROM input", "`n` was map<int,int>"),
        ("n int)", "n text)", "`n` is int in the query and text in k.t"),
        ("n int)", "m int)", "`n` is in no column of k.t"),
        ("n int)", "n int, order int)", "as a name it stands in quotes, \"order\""),
        ("id text PRIMARY KEY", "idx text PRIMARY KEY", "nothing fills `idx`"),
        ("key: id", "key: ident", "the key `ident` is no column"),
        ("id STRING, n INT", "id STRING, n INT, unused DATE", "nobody reads unused"),
        ("id STRING, n INT", "id STRNG, n INT", "`STRNG` is no type"),
        ("{ topic: numbers }", "{ topic: other }", "what the messages of topic other look like is not known"),
        ("id text PRIMARY KEY, n int", "id text, n int, PRIMARY KEY (n)", "messages are ordered by `id`"),
        ("http: \"API\"", "http: \"ftp://x/\"", "does not begin with http"),
        ("schema:", "records: \"$[\", schema:", "is no JSONPath"),
        (
            "brokers: \"embedded:0\"",
            "brokers: \"${NOT_SET_ANYWHERE}\"",
            "the variable NOT_SET_ANYWHERE is not set",
        ),
    ] {
        let text = ONE.replace(from, to).replace("API", "http://localhost/");
        assert_ne!(text, ONE.replace("API", "http://localhost/"), "{from}");
        let folder = folder_with("one.yaml", &text);
        let check = output(millstream(folder.path()).args(["check", "one.yaml"]));
        let words = stderr(&check);
        assert!(words.contains(said), "{to}: {said}\n{words}");
        let warning = said.starts_with("nobody");
        assert_eq!(check.status.code(), Some(if warning { 0 } else { 2 }), "{words}");
    }
}

#[test]
fn a_warning_hides_no_mistake() {
    let text = ONE.replace("n INT\"", "n INT, unused DATE\"").replace("API", "http://localhost/");
    let folder = folder_with("one.yaml", &text);
    let check = output(millstream(folder.path()).args(["check", "one.yaml", "--runner", "fetch=spark"]));
    let words = stderr(&check);
    assert_eq!(check.status.code(), Some(2), "{words}");
    for said in ["nobody reads unused", "this one reads no topic"] {
        assert!(words.contains(said), "{said}\n{words}");
    }
}

#[test]
fn collections_are_written_read_and_refused_element_by_element() {
    let file = r#"
name: tagged
kafka: { brokers: "embedded:0" }
flows:
  store:
    from: { file: rows.jsonl, schema: "id STRING, tags ARRAY<STRING>, counts MAP<STRING, INT>" }
    sql: SELECT id, tags, counts FROM input
    to:
      table: k.tagged
      create: CREATE TABLE k.tagged (id TEXT PRIMARY KEY, tags SET<TEXT>, counts MAP<TEXT, SMALLINT>)
"#;
    let folder = folder_with("tagged.yaml", file);
    let rows = [
        r#"{"id": "a", "tags": ["y", "x", "y"], "counts": {"two": 2, "one": 1}}"#,
        r#"{"id": "b", "tags": ["x", null]}"#,
        r#"{"id": "c", "counts": {"many": 40000}}"#,
    ];
    std::fs::write(folder.path().join("rows.jsonl"), rows.join("\n")).expect("writes");
    let run = output(millstream(folder.path()).args(["run", "tagged.yaml", "--format", "json"]));
    assert_eq!(run.status.code(), Some(0), "{}", stderr(&run));
    let sql = "SELECT * FROM tagged";
    let rows = output(millstream(folder.path()).args(["query", "tagged.yaml", sql, "--format", "json"]));
    let expected = r#"{"id":"a","tags":["x","y"],"counts":{"one":1,"two":2}}"#;
    assert_eq!(stdout(&rows).trim(), expected, "{}", stderr(&rows));
    let letters = output(millstream(folder.path()).args(["dead-letters", "list", "tagged.yaml"]));
    for detail in ["tags[1]: an element is null", "counts['many']: 40000 is no smallint"] {
        assert!(stdout(&letters).contains(detail), "{}{}", stdout(&letters), stderr(&letters));
    }
    let refused = file.replace("SET<TEXT>", "LIST<TEXT>");
    std::fs::write(folder.path().join("list.yaml"), refused).expect("writes");
    let check = output(millstream(folder.path()).args(["check", "list.yaml"]));
    assert_eq!(check.status.code(), Some(2));
    assert!(stderr(&check).contains("write frozen<list<text>>"), "{}", stderr(&check));
}

#[test]
fn a_table_comes_to_what_the_file_says() {
    let file = |columns: &str| {
        format!(
            r#"
name: growing
kafka: {{ brokers: "embedded:0" }}
flows:
  store:
    from: {{ file: rows.jsonl, schema: "id STRING, a STRING, n INT" }}
    sql: SELECT * FROM input
    to: {{ table: k.t, create: "CREATE TABLE k.t ({columns})" }}
"#
        )
    };
    let folder = folder_with("one.yaml", &file("id TEXT PRIMARY KEY, a TEXT, n INT"));
    std::fs::write(folder.path().join("rows.jsonl"), r#"{"id": "a", "a": "b", "n": 1}"#).expect("writes");
    let millstream = |words: &[&str]| output(millstream(folder.path()).args(words));
    let two = file("id TEXT PRIMARY KEY, a TEXT, n INT, x DATE");
    let none = millstream(&["migrate", "one.yaml"]);
    assert!(stderr(&none).contains("the first run makes it"), "{}", stderr(&none));
    let run = millstream(&["run", "one.yaml"]);
    assert_eq!(run.status.code(), Some(0), "{}", stderr(&run));

    let query = two.replace("SELECT * FROM input", "SELECT *, DATE '2024-01-01' AS x FROM input");
    std::fs::write(folder.path().join("two.yaml"), &query).expect("writes");
    let early = millstream(&["query", "two.yaml", "SELECT * FROM t"]);
    assert_eq!(early.status.code(), Some(2));
    assert!(stderr(&early).contains("migrate"), "{}", stderr(&early));
    let shown = millstream(&["migrate", "two.yaml"]);
    assert_eq!(
        (shown.status.code(), stdout(&shown).as_str()),
        (Some(0), "ALTER TABLE \"k\".\"t\" ADD \"x\" date;\n")
    );
    let applied = millstream(&["migrate", "two.yaml", "--apply"]);
    assert_eq!(applied.status.code(), Some(0), "{}", stderr(&applied));
    assert!(stderr(&millstream(&["migrate", "two.yaml"])).contains("is what the file says"));
    let run = millstream(&["run", "two.yaml"]);
    assert_eq!(run.status.code(), Some(0), "{}", stderr(&run));
    let rows = millstream(&["query", "two.yaml", "SELECT * FROM t", "--format", "json"]);
    assert_eq!(stdout(&rows).trim(), r#"{"id":"a","a":"b","n":1,"x":"2024-01-01"}"#);

    // What no ALTER does is said, and what would lose values is not run.
    let narrow = file("id TEXT PRIMARY KEY, n BIGINT").replace("SELECT * FROM", "SELECT id, n FROM");
    std::fs::write(folder.path().join("three.yaml"), narrow).expect("writes");
    let left = millstream(&["migrate", "three.yaml", "--apply"]);
    assert_eq!(left.status.code(), Some(1), "{}", stderr(&left));
    assert!(stderr(&left).contains("n is int there and bigint in the file"), "{}", stderr(&left));
    let dropped = "-- ALTER TABLE \"k\".\"t\" DROP \"a\"; -- loses its values: run it yourself";
    assert!(stdout(&left).contains(dropped), "{}", stdout(&left));
}

#[test]
fn embedded_backends_can_be_forbidden_and_are_never_mixed_by_accident() {
    let folder = folder_with("users.yaml", include_str!("../../../examples/users.yaml"));
    let denied = output(millstream(folder.path()).args(["run", "users.yaml", "--no-embedded"]));
    assert_eq!(denied.status.code(), Some(2));
    assert!(
        stderr(&denied).contains("KAFKA_BROKERS") || stderr(&denied).contains("CASSANDRA_HOSTS"),
        "{}",
        stderr(&denied)
    );
    let mixed =
        output(millstream(folder.path()).args(["run", "users.yaml"]).env("KAFKA_BROKERS", "localhost:9"));
    assert_eq!(mixed.status.code(), Some(2));
    assert!(stderr(&mixed).contains("CASSANDRA_HOSTS"), "{}", stderr(&mixed));
}

#[test]
fn a_service_that_is_left_out_has_no_variable_of_another() {
    let file = r#"
name: direct
cassandra: { hosts: "${CASSANDRA_HOSTS}" }
flows:
  store:
    from: { file: rows.jsonl, schema: "id STRING" }
    sql: SELECT id FROM input
    to: { table: k.t, create: "CREATE TABLE k.t (id text PRIMARY KEY)" }
"#;
    let folder = folder_with("direct.yaml", file);
    let check = |more: &[&str]| {
        let mut command = millstream(folder.path());
        output(command.args(["check", "direct.yaml"]).args(more).env("CASSANDRA_HOSTS", "localhost:9"))
    };
    let sound = check(&[]);
    assert_eq!(sound.status.code(), Some(0), "{}", stderr(&sound));
    let denied = check(&["--no-embedded"]);
    assert_eq!(denied.status.code(), Some(2));
    assert!(stderr(&denied).contains("give kafka.brokers in the file"), "{}", stderr(&denied));
}

#[test]
fn a_setting_of_a_topic_that_the_broker_refuses_is_named() {
    let api = Api::start(|_| r#"[{"id":"a","n":1}]"#.to_owned());
    let config = r#"key: id, config: { retention.ms: "-1", segment.ms: "3600000", segment.sise: "5" } }"#;
    let text = ONE.replace("API", &api.url).replace("key: id }", config);
    let folder = folder_with("one.yaml", &text);
    let refused = output(millstream(folder.path()).args(["run", "one.yaml"]));
    assert_ne!(refused.status.code(), Some(0));
    assert!(stderr(&refused).contains("the broker refuses `segment.sise: 5`"), "{}", stderr(&refused));
    let right = text.replace(r#", segment.sise: "5""#, "");
    std::fs::write(folder.path().join("one.yaml"), right).expect("writes");
    for _ in 0..2 {
        let (_, words) = support::done(millstream(folder.path()).args(["run", "one.yaml"]));
        assert!(!words.contains("the file says"), "{words}");
    }
}

#[test]
fn secrets_are_shown_nowhere() {
    let api = Api::start(|_| r#"{"error":"the token s3cr3t-t0ken is wrong"}"#.to_owned());
    let text = ONE
        .replace("http: \"API\"", &format!("http: \"{}\", retries: 0, records: $.results, headers: {{ Authorization: \"Bearer ${{secret:TOKEN}}\" }}", api.url));
    let folder = folder_with("one.yaml", &text);
    let run = output(millstream(folder.path()).args(["run", "one.yaml"]).env("TOKEN", "s3cr3t-t0ken"));
    assert_eq!(run.status.code(), Some(1));
    assert!(!stderr(&run).contains("s3cr3t") && !stdout(&run).contains("s3cr3t"), "{}", stderr(&run));
}

#[test]
fn the_log_shows_no_secrets() {
    let text = ONE.replace("\"API\"", "\"http://127.0.0.1:9/${secret:TOKEN}/users\", retries: 1");
    let folder = folder_with("one.yaml", &text);
    for format in ["text", "json"] {
        let mut command = millstream(folder.path());
        command.args(["--log-format", format, "run", "one.yaml"]).env("TOKEN", "s3cr3t-t0ken");
        let words = stderr(&output(&mut command));
        let warned = words.lines().find(|line| line.contains("trying again")).unwrap_or(&words);
        assert!(warned.contains("GET http://127.0.0.1:9/***/users: "), "{words}");
        assert!(!words.contains("s3cr3t"), "{words}");
    }
}

#[test]
fn check_shows_no_secret_of_an_address() {
    let folder = folder_with("one.yaml", &ONE.replace("API", "http://localhost/${secret:KEY}/users"));
    let check = output(millstream(folder.path()).args(["check", "one.yaml"]).env("KEY", "s3cr3t-k3y"));
    assert_eq!(check.status.code(), Some(0), "{}", stderr(&check));
    assert!(stderr(&check).contains("fetch: http://localhost/***/users → "), "{}", stderr(&check));
}

#[test]
fn mistakes_of_a_file_show_no_secrets() {
    for (from, to, said) in [
        (
            "cassandra: { hosts: embedded }",
            "cassandra:\n  hosts: embedded\n  password: ${secret:PW}",
            "expected a text, this is ***",
        ),
        (
            "http: \"API\"",
            "http: \"api.example.com?key=${secret:PW}\"",
            "`api.example.com?key=***` is no address",
        ),
        (
            "hosts: embedded",
            "hosts: embedded, password: '12345678', usr: x",
            "password: '********', usr: x }",
        ),
        ("hosts: embedded", "hosts: embedded, password: @12345678", "this is no YAML"),
    ] {
        let text = ONE.replace(from, to).replace("API", "http://localhost/");
        let folder = folder_with("one.yaml", &text);
        let check = output(millstream(folder.path()).args(["check", "one.yaml"]).env("PW", "12345678"));
        let words = stderr(&check);
        assert_eq!(check.status.code(), Some(2), "{words}");
        assert!(words.contains(said) && !words.contains("12345678"), "{said}\n{words}");
    }
}

#[test]
fn what_is_empty_is_not_set() {
    let file = r#"
name: empty
schedule: ${NEVER:-}
timezone:
kafka: { brokers: "embedded:0" }
flows:
  store:
    from: { topic: numbers, group: , schema: "id STRING, n INT" }
    sql: SELECT id, n FROM input
    to: { stdout: jsonl }
    dead_letters: { topic: }
tests:
  - name: a null
    flow: store
    given: [{ id: a }]
    expect: [{ id: a, n: }]
"#;
    let folder = folder_with("empty.yaml", file);
    let test = output(millstream(folder.path()).args(["test", "empty.yaml"]));
    assert_eq!(test.status.code(), Some(0), "{}", stderr(&test));
    let twice = file.replace("tests:", "  'store':\n    sql: SELECT 1\ntests:");
    std::fs::write(folder.path().join("twice.yaml"), twice).expect("writes");
    let check = output(millstream(folder.path()).args(["check", "twice.yaml"]));
    assert_eq!(check.status.code(), Some(2));
    assert!(stderr(&check).contains("the key `store` is there twice"), "{}", stderr(&check));
}

#[test]
fn a_name_that_is_an_empty_text_is_refused() {
    let file = r#"name: empty
kafka: { brokers: "" }
cassandra: { hosts: '' }
flows:
  write:
    from: { file: "", schema: "id STRING" }
    sql: SELECT id FROM input
    to: { topic: "", key: id }
  store:
    from: { topic: numbers, group: "${NEVER:-}", schema: "id STRING" }
    sql: SELECT id FROM input
    to: { stdout: jsonl }
    dead_letters: { topic: "" }
"#;
    let folder = folder_with("empty.yaml", file);
    let check = output(millstream(folder.path()).args(["check", "empty.yaml"]));
    assert_eq!(check.status.code(), Some(2));
    let words = stderr(&check);
    let places = ["2:19", "3:21", "6:19", "8:18", "10:36", "13:28"];
    for place in places {
        assert!(words.contains(&format!("empty.yaml:{place}")), "{place}\n{words}");
    }
    assert_eq!(words.matches("expected a text, this is an empty one").count(), places.len(), "{words}");
    assert_eq!(words.matches("error: ").count(), places.len(), "{words}");
}

#[test]
fn a_flow_that_fills_its_own_topic_is_planned_or_refused() {
    let file = |schema: &str, more: &str| {
        format!(
            r#"
name: fixed
kafka: {{ brokers: "embedded:0" }}
flows:
  fix:
    from: {{ topic: users{schema} }}
    sql: SELECT id FROM input
    to: {{ topic: users, key: id }}
{more}"#
        )
    };
    let fill = r#"
  fill:
    from: { file: "*.jsonl", schema: "id STRING" }
    sql: SELECT id FROM input
    to: { topic: users, key: id }
"#;
    for (schema, more, said) in [
        ("", "", "what the messages of topic users look like is not known"),
        (", schema: \"id STRING\"", "", "is fine: 1 flow(s)"),
        ("", fill, "is fine: 2 flow(s)"),
    ] {
        let folder = folder_with("fixed.yaml", &file(schema, more));
        let check = output(millstream(folder.path()).args(["check", "fixed.yaml"]));
        assert!(stderr(&check).contains(said), "{said}\n{}", stderr(&check));
        assert_eq!(check.status.code(), Some(if said.starts_with("is fine") { 0 } else { 2 }));
    }
}

#[test]
fn flows_that_write_one_topic_have_one_key() {
    let file = r#"
name: shared
kafka: { brokers: "embedded:0" }
flows:
  a:
    from: { file: "a.jsonl", schema: "id STRING, name STRING" }
    sql: SELECT id, name FROM input
    to: { topic: t, key: FIRST }
  b:
    from: { file: "b.jsonl", schema: "id STRING, name STRING" }
    sql: SELECT id, name FROM input
    to: { topic: t, key: SECOND }
  store:
    from: { topic: t }
    sql: SELECT * FROM input
    to: { table: k.t, create: "CREATE TABLE k.t (id text PRIMARY KEY, name text)" }
"#;
    for (first, second, code) in [("name", "id", 2), ("id", "name", 2), ("id", "[id]", 0)] {
        let folder = folder_with("shared.yaml", &file.replace("FIRST", first).replace("SECOND", second));
        let check = output(millstream(folder.path()).args(["check", "shared.yaml"]));
        assert_eq!(check.status.code(), Some(code), "{}", stderr(&check));
        let said = "have another key than those of the flow a";
        assert_eq!(stderr(&check).contains(said), code == 2, "{}", stderr(&check));
    }
}

#[test]
fn a_stop_finishes_the_batch_and_says_so() {
    let api = Api::start(|page| format!(r#"[{{"id":"{page}","n":1}}]"#));
    let text = ONE.replace("http: \"API\"", &format!("http: \"{}\", every: 10ms", api.url));
    let folder = folder_with("one.yaml", &text);
    let child = millstream(folder.path())
        .args(["run", "one.yaml"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("runs");
    // The table can be asked while it is written.
    let began = Instant::now();
    loop {
        let sql = "SELECT count(*) > 3 AS enough FROM t";
        let asked = output(millstream(folder.path()).args(["query", "one.yaml", sql, "--format", "csv"]));
        if stdout(&asked) == "enough\ntrue\n" {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(120), "{}", stderr(&asked));
    }
    let second = output(millstream(folder.path()).args(["run", "one.yaml"]));
    assert_eq!(second.status.code(), Some(2));
    assert!(stderr(&second).contains(&format!("(process {})", child.id())), "{}", stderr(&second));
    let signalled = std::process::Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
    assert!(signalled.expect("kill").success());
    let ended = child.wait_with_output().expect("ends");
    assert_eq!(ended.status.code(), Some(143));
    let summary = summary(&ended);
    assert_eq!(summary["status"], "interrupted");
    let flows = &summary["flows"];
    assert!(flows["fetch"]["written"].as_u64().expect("a count") > 0, "{summary}");
}

#[test]
fn a_schedule_of_six_fields_is_refused_with_what_to_write() {
    for (schedule, code) in [("0 6 * * *", 0), ("@daily", 0), ("0 0 6 * * *", 2)] {
        let text = ONE.replace("name: one", &format!("name: one\nschedule: \"{schedule}\""));
        let folder = folder_with("one.yaml", &text.replace("API", "http://localhost/"));
        let check = output(millstream(folder.path()).args(["check", "one.yaml"]));
        assert_eq!(check.status.code(), Some(code), "{schedule}: {}", stderr(&check));
        assert_eq!(stderr(&check).contains("or five fields like"), code == 2, "{}", stderr(&check));
    }
}

#[test]
fn a_files_own_tests_and_init() {
    let folder = tempfile::tempdir().expect("a folder");
    assert!(output(millstream(folder.path()).arg("init")).status.success());
    let again = output(millstream(folder.path()).arg("init"));
    assert_eq!(again.status.code(), Some(2));
    let test = output(millstream(folder.path()).args(["test", "users.yaml"]));
    assert_eq!(test.status.code(), Some(0), "{}", stderr(&test));
    assert!(stderr(&test).contains("2 passed, 0 failed"));
    let check = output(millstream(folder.path()).args(["check", "users.yaml"]));
    assert_eq!(check.status.code(), Some(0), "{}", stderr(&check));
    assert!(!stderr(&check).contains("warning"), "{}", stderr(&check));
    let path = folder.path().join("users.yaml");
    let broken = std::fs::read_to_string(&path)
        .expect("reads")
        .replace("\"post_code\": \"90210\"", "\"post_code\": 90210");
    std::fs::write(&path, broken).expect("writes");
    let test = output(millstream(folder.path()).args(["test", "users.yaml"]));
    assert_eq!(test.status.code(), Some(1));
    assert!(stderr(&test).contains("expected 90210, got \"90210\""), "{}", stderr(&test));
    let file = output(millstream(folder.path()).args(["init", "more/users.yaml"]));
    assert_eq!(file.status.code(), Some(2));
    assert!(stderr(&file).contains("`init more`"), "{}", stderr(&file));
    assert!(!folder.path().join("more").exists());
}

#[test]
fn a_preview_shows_input_and_output_side_by_side() {
    let api = Api::start(|_| r#"[{"id":"a","n":1},{"id":"b","n":0},{"id":"c","n":"x"}]"#.to_owned());
    let folder = folder_with("one.yaml", &ONE.replace("API", &api.url));
    let preview = output(millstream(folder.path()).args(["preview", "one.yaml", "-n", "3"]));
    assert_eq!(
        stdout(&preview),
        "in   {\"id\":\"a\",\"n\":1}\nout  {\"id\":\"a\",\"n\":1}\nin   {\"id\":\"b\",\"n\":0}\n     filtered\n\
         in   {\"id\":\"c\",\"n\":\"x\"}\ndead unreadable: n: \"x\" is no int at byte 17\n"
    );
    assert!(!folder.path().join(".millstream").exists(), "nothing is written");
}

/// What a command says to this on its standard input.
fn fed(command: &mut Command, input: &str) -> Output {
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().expect("starts");
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("writes");
    child.wait_with_output().expect("ends")
}

#[test]
fn files_are_read_and_lines_are_written() {
    let text = r#"
name: convert
kafka: { brokers: "embedded:0" }
flows:
  load:
    from: { file: "in/*.jsonl", schema: "id STRING, n INT" }
    sql: SELECT id, n * 2 AS n FROM input WHERE n > 1
    to: { stdout: jsonl }
"#;
    let folder = folder_with("convert.yaml", text);
    std::fs::create_dir(folder.path().join("in")).expect("a folder");
    std::fs::write(folder.path().join("in/a.jsonl"), "{\"id\":\"a\",\"n\":2}\n{\"n\":1}\nbroken\n")
        .expect("writes");
    std::fs::write(folder.path().join("in/b.jsonl"), "{\"id\":\"é\",\"n\":3}").expect("writes");
    let run = output(millstream(folder.path()).args(["run", "convert.yaml"]));
    assert_eq!(run.status.code(), Some(0), "{}", stderr(&run));
    assert_eq!(stdout(&run), "{\"id\":\"a\",\"n\":4}\n{\"id\":\"é\",\"n\":6}\n");
    let list = output(millstream(folder.path()).args(["dead-letters", "list", "convert.yaml"]));
    assert!(stdout(&list).starts_with("load/load/0/3@in/a.jsonl\tunreadable\t"), "{}", stdout(&list));

    // From standard input, in a pipe.
    let folder = folder_with("convert.yaml", &text.replace("in/*.jsonl", "-"));
    let run = fed(millstream(folder.path()).args(["run", "convert.yaml"]), "{\"id\":\"x\",\"n\":5}\n");
    assert_eq!(stdout(&run), "{\"id\":\"x\",\"n\":10}\n", "{}", stderr(&run));
}

#[test]
fn standard_input_is_for_one_flow_of_a_run() {
    let text = r#"
name: lines
kafka: { brokers: "embedded:0" }
flows:
  one:
    from: { file: "-", schema: "n INT" }
    sql: SELECT n FROM input
    to: { stdout: jsonl }
  two:
    from: { file: "-", schema: "n INT" }
    sql: SELECT n FROM input
    to: { topic: numbers, key: n }
"#;
    let folder = folder_with("lines.yaml", text);
    let refused = output(millstream(folder.path()).args(["run", "lines.yaml"]));
    let said = stderr(&refused);
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains("the flows one and two read standard input"), "{said}");
    let alone = fed(millstream(folder.path()).args(["run", "lines.yaml", "--flow", "one"]), "{\"n\": 1}\n");
    assert_eq!(stdout(&alone), "{\"n\":1}\n", "{}", stderr(&alone));
}

#[test]
fn old_files_fill_in_without_covering_what_is_newer() {
    let text = r#"
name: backfill
kafka: { brokers: "embedded:0" }
cassandra: { hosts: embedded }
flows:
  load:
    from: { file: "FILE", schema: "id STRING, at TIMESTAMP, n INT, m INT" }
    sql: SELECT * FROM input
    to: { topic: numbers, key: id, timestamp: at }
  store:
    from: { topic: numbers }
    sql: SELECT id, n, m FROM input
    to: { table: k.t, create: "CREATE TABLE k.t (id text PRIMARY KEY, n int, m int)" }
"#;
    let folder = folder_with("new.yaml", &text.replace("FILE", "new.jsonl"));
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("writes");
    write("old.yaml", &text.replace("FILE", "old.jsonl"));
    write("new.jsonl", "{\"id\":\"a\",\"at\":\"2024-05-02T00:00:00Z\",\"n\":2}\n");
    write(
        "old.jsonl",
        "{\"id\":\"a\",\"at\":\"2024-05-01T00:00:00Z\",\"n\":1,\"m\":1}\n\
         {\"id\":\"b\",\"at\":\"2024-05-01T00:00:00Z\",\"n\":1}\n{\"id\":\"c\",\"n\":1}\n\
         {\"id\":\"d\",\"at\":\"2124-05-01T00:00:00Z\",\"n\":1}\n",
    );
    for (file, dead) in [("new.yaml", 0), ("old.yaml", 2), ("old.yaml", 2)] {
        let run = output(millstream(folder.path()).args(["run", file]));
        assert_eq!(run.status.code(), Some(0), "{}", stderr(&run));
        // Without a date, or with one that would win for ever, nothing is sent.
        assert_eq!(summary(&run)["flows"]["load"]["dead"], dead);
    }
    let asked = output(millstream(folder.path()).args([
        "query",
        "new.yaml",
        "SELECT * FROM k.t ORDER BY id",
        "--format",
        "json",
    ]));
    assert_eq!(stdout(&asked), "{\"id\":\"a\",\"n\":2,\"m\":1}\n{\"id\":\"b\",\"n\":1}\n");
    let list = output(millstream(folder.path()).args(["dead-letters", "list", "old.yaml"]));
    assert_eq!(stdout(&list).lines().count(), 2, "the same lines were dead twice: {}", stdout(&list));
}

#[test]
fn nobody_reading_what_is_said_stops_no_run() {
    let api = Api::start(|_| r#"[{"id":"a","n":1}, 7]"#.to_owned());
    let endless = ONE.replace("http: \"API\"", &format!("http: \"{}\", every: 10ms", api.url));
    let folder = folder_with("one.yaml", &endless);
    let mut command = millstream(folder.path());
    let mut run = command
        .args(["run", "one.yaml"])
        .stderr(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("runs");
    let mut first = String::new();
    BufReader::new(run.stderr.take().expect("piped")).read_line(&mut first).expect("it speaks");
    // Standard error is closed now; being told to stop is said there.
    assert!(Command::new("kill").args(["-TERM", &run.id().to_string()]).status().expect("kill").success());
    let ended = run.wait_with_output().expect("ends");
    assert_eq!(ended.status.code(), Some(143));
    assert_eq!(summary(&ended)["status"], "interrupted");
}
