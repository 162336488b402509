//! Dead letters to their end: sent again once the cause is mended, laid aside, or too many.

mod support;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use support::{Api, millstream, output, stderr, stdout, summary};

const UUID: &str = "7c1d7a5e-0000-4000-8000-000000000001";

/// Old lines into a topic, a topic into a table with a column that is not any text.
const PIPELINE: &str = r#"
name: letters
kafka: { brokers: "embedded:0" }
cassandra: { hosts: embedded }
flows:
  load:
    from: { file: lines.jsonl, schema: "id STRING, at TIMESTAMP, n STRING, m INT" }
    sql: SELECT * FROM input
    to: { topic: lines, key: id, timestamp: at }
  store:
    from: { topic: lines }
    sql: SELECT id, N AS n, m FROM input
    to: { table: k.t, create: "CREATE TABLE k.t (id text PRIMARY KEY, n uuid, m int)" }
"#;

fn write(folder: &Path, name: &str, text: &str) {
    std::fs::write(folder.join(name), text).expect("writes");
}

/// Runs a command that succeeds; what it printed, and what it said.
fn done(folder: &Path, arguments: &[&str]) -> (String, String) {
    let ended = output(millstream(folder).args(arguments));
    assert_eq!(ended.status.code(), Some(0), "{arguments:?}: {}", stderr(&ended));
    (stdout(&ended), stderr(&ended))
}

fn rows(folder: &Path) -> String {
    let sql = "SELECT * FROM k.t ORDER BY id";
    done(folder, &["query", "p.yaml", sql, "--format", "json"]).0
}

#[test]
fn replaying_gives_the_rows_that_would_have_been_and_twice_changes_nothing() {
    let lines = [
        // Dead at first, and older than what comes next.
        r#"{"id":"a","at":"2024-05-01T00:00:00Z","n":"unknown","m":1}"#.to_owned(),
        format!(r#"{{"id":"a","at":"2024-05-02T00:00:00Z","n":"{UUID}","m":2}}"#),
        // Dead at first, and newer than what came before.
        format!(r#"{{"id":"b","at":"2024-05-01T00:00:00Z","n":"{UUID}","m":1}}"#),
        r#"{"id":"b","at":"2024-05-02T00:00:00Z","n":"unknown","m":5}"#.to_owned(),
        r#"{"id":"c","at":"2024-05-01T00:00:00Z","n":"unknown","m":7}"#.to_owned(),
        // Mending does not help this one.
        r#"{"id":"d","at":"2024-05-01T00:00:00Z","n":"never","m":9}"#.to_owned(),
    ];
    let broken = PIPELINE.replace("N AS n", "n");
    let mended = PIPELINE.replace("N AS n", "nullif(n, 'unknown') AS n");
    let oracle = tempfile::tempdir().expect("a folder");
    write(oracle.path(), "p.yaml", &mended);
    write(oracle.path(), "lines.jsonl", &lines.join("\n"));
    done(oracle.path(), &["run", "p.yaml"]);

    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "p.yaml", &broken);
    write(folder.path(), "lines.jsonl", &lines.join("\n"));
    done(folder.path(), &["run", "p.yaml"]);
    let list = |filter: &[&str]| {
        let arguments = [&["dead-letters", "list", "p.yaml"], filter].concat();
        done(folder.path(), &arguments).0.lines().count()
    };
    assert_eq!(list(&[]), 4);
    assert_eq!(list(&["--flow", "store", "--reason", "bad-value", "--contains", "never"]), 1);
    assert_eq!(list(&["--flow", "load"]), 0);

    // Nothing is mended yet.
    let (_, said) = done(folder.path(), &["dead-letters", "replay", "p.yaml"]);
    assert!(said.contains("0 dead letter(s) replayed, 4 died again"), "{said}");
    assert_eq!(list(&[]), 4);

    write(folder.path(), "p.yaml", &mended);
    let (_, said) = done(folder.path(), &["dead-letters", "replay", "p.yaml"]);
    assert!(said.contains("3 dead letter(s) replayed, 1 died again"), "{said}");
    assert_eq!(rows(folder.path()), rows(oracle.path()));
    assert_eq!(list(&[]), 1);
    let (_, said) = done(folder.path(), &["dead-letters", "replay", "p.yaml"]);
    assert!(said.contains("0 dead letter(s) replayed, 1 died again"), "{said}");
    assert_eq!(rows(folder.path()), rows(oracle.path()));

    let unclear = output(millstream(folder.path()).args(["dead-letters", "purge", "p.yaml"]));
    assert_eq!(unclear.status.code(), Some(2));
    let (_, said) = done(folder.path(), &["dead-letters", "purge", "p.yaml", "--contains", "never"]);
    assert!(said.contains("1 dead letter(s) purged"), "{said}");
    assert_eq!(list(&[]), 0);
}

#[test]
fn a_long_dead_letter_is_shown_and_replayed_whole() {
    let long = "long ".repeat(50_000);
    let line = format!(r#"{{"id":"a","at":"2024-05-01T00:00:00Z","n":"unknown","m":"{long}"}}"#);
    let text = PIPELINE.replace("m INT", "m STRING").replace("m int", "m text");
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "p.yaml", &text.replace("N AS n", "n"));
    write(folder.path(), "lines.jsonl", &line);
    done(folder.path(), &["run", "p.yaml"]);
    let (list, _) = done(folder.path(), &["dead-letters", "list", "p.yaml"]);
    let place = list.split('\t').next().expect("a place");
    let (shown, _) = done(folder.path(), &["dead-letters", "show", "p.yaml", place]);
    assert!(shown.contains(&long), "{:.300}", shown);
    write(folder.path(), "p.yaml", &text.replace("N AS n", "nullif(n, 'unknown') AS n"));
    done(folder.path(), &["dead-letters", "replay", "p.yaml"]);
    assert!(rows(folder.path()).contains(&long));
}

/// A pipeline to which a number that the API at `url` gives as a text is a dead letter.
fn numbers_of(url: &str) -> String {
    format!(
        r#"
name: numbers
kafka: {{ brokers: "embedded:0" }}
cassandra: {{ hosts: embedded }}
flows:
  fetch:
    from: {{ http: "{url}", schema: "id STRING, n INT" }}
    sql: SELECT id, CAST(n AS INT) AS n FROM input
    to: {{ topic: numbers, key: id }}
  store:
    from: {{ topic: numbers }}
    sql: SELECT * FROM input
    to: {{ table: k.t, create: "CREATE TABLE k.t (id text PRIMARY KEY, n int)" }}
"#
    )
}

#[test]
fn a_replayed_record_of_an_api_covers_nothing_newer() {
    let api = Api::start(|n| match n {
        0 => r#"[{"id":"a","n":"1"},{"id":"b","n":"1"},{"id":"b","n":"2"}]"#.to_owned(),
        _ => r#"[{"id":"a","n":2}]"#.to_owned(),
    });
    let text = numbers_of(&api.url);
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "p.yaml", &text);
    done(folder.path(), &["run", "p.yaml"]);
    done(folder.path(), &["run", "p.yaml"]);
    assert_eq!(rows(folder.path()), "{\"id\":\"a\",\"n\":2}\n");
    write(folder.path(), "p.yaml", &text.replace("n INT\"", "n STRING\""));
    let (_, said) = done(folder.path(), &["dead-letters", "replay", "p.yaml"]);
    assert!(said.contains("3 dead letter(s) replayed, 0 died again"), "{said}");
    done(folder.path(), &["run", "p.yaml", "--flow", "store"]);
    // Of two that were fetched together the later one counts.
    assert_eq!(rows(folder.path()), "{\"id\":\"a\",\"n\":2}\n{\"id\":\"b\",\"n\":2}\n");
}

#[test]
fn a_secret_in_the_path_of_an_api_is_not_in_its_dead_letters() {
    let api = Api::start(|_| r#"[{"id":"a","n":"1"}]"#.to_owned());
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "p.yaml", &numbers_of(&format!("{}${{secret:TOKEN}}/users", api.url)));
    let run = output(millstream(folder.path()).args(["run", "p.yaml"]).env("TOKEN", "s3cr3t-t0ken"));
    assert_eq!(summary(&run)["flows"]["fetch"]["dead"], 1, "{}", stderr(&run));
    // Whoever looks at it later does not know what is secret.
    write(folder.path(), "p.yaml", &numbers_of(&api.url));
    let (list, _) = done(folder.path(), &["dead-letters", "list", "p.yaml"]);
    let place = list.split('\t').next().expect("a place");
    let (shown, _) = done(folder.path(), &["dead-letters", "show", "p.yaml", place]);
    assert!(shown.contains(&format!("origin     {}***/users\n", api.url)), "{shown}");
}

#[test]
fn of_more_dead_letters_than_are_read_at_once_the_last_one_counts() {
    const RECORDS: usize = 40_000;
    let api = Api::start(|_| {
        let records: Vec<_> = (1..=RECORDS).map(|n| format!(r#"{{"id":"a","n":"{n}"}}"#)).collect();
        format!("[{}]", records.join(","))
    });
    let text = numbers_of(&api.url);
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "p.yaml", &text);
    done(folder.path(), &["run", "p.yaml"]);
    write(folder.path(), "p.yaml", &text.replace("n INT\"", "n STRING\""));
    let (_, said) = done(folder.path(), &["dead-letters", "replay", "p.yaml"]);
    assert!(said.contains(&format!("{RECORDS} dead letter(s) replayed, 0 died again")), "{said}");
    done(folder.path(), &["run", "p.yaml", "--flow", "store"]);
    assert_eq!(rows(folder.path()), format!("{{\"id\":\"a\",\"n\":{RECORDS}}}\n"));
    assert_eq!(done(folder.path(), &["dead-letters", "list", "p.yaml"]).0, "");
}

/// A folder whose pipeline has a dead letter of `load` and one of `store`. The cause is mended by now, and its
/// Cassandra does not answer.
fn with_a_table_that_is_down() -> tempfile::TempDir {
    let lines = [
        format!(r#"{{"at":"2024-05-01T00:00:00Z","n":"{UUID}","m":1}}"#),
        r#"{"id":"a","at":"2024-05-01T00:00:00Z","n":"unknown","m":1}"#.to_owned(),
    ];
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "p.yaml", &PIPELINE.replace("N AS n", "n"));
    write(folder.path(), "lines.jsonl", &lines.join("\n"));
    done(folder.path(), &["run", "p.yaml"]);
    assert_eq!(done(folder.path(), &["dead-letters", "list", "p.yaml"]).0.lines().count(), 2);
    let mended = PIPELINE
        .replace("N AS n", "nullif(n, 'unknown') AS n")
        .replace("SELECT * FROM input", "SELECT coalesce(id, 'b') AS id, at, n, m FROM input")
        .replace("hosts: embedded", "hosts: \"127.0.0.1:1\"");
    write(folder.path(), "p.yaml", &mended);
    folder
}

#[test]
fn a_replay_that_fails_says_how_many_were_sent_and_they_stay_settled() {
    let folder = with_a_table_that_is_down();
    let replay = ["dead-letters", "replay", "p.yaml", "--patience", "1s"];
    let failed = output(millstream(folder.path()).args(replay));
    assert_eq!(failed.status.code(), Some(1), "{}", stderr(&failed));
    assert!(stderr(&failed).contains("1 of 2 dead letters had been sent"), "{}", stderr(&failed));
    let (list, _) = done(folder.path(), &["dead-letters", "list", "p.yaml"]);
    assert!(list.starts_with("store/") && list.lines().count() == 1, "{list}");
}

#[test]
fn a_replay_that_is_stopped_while_it_waits_for_a_service_has_not_failed() {
    let folder = with_a_table_that_is_down();
    let mut command = millstream(folder.path());
    command.args(["dead-letters", "replay", "p.yaml"]).stderr(Stdio::piped());
    let mut replay = command.spawn().expect("runs");
    let said = BufReader::new(replay.stderr.take().expect("piped")).lines();
    let is_at_work = |line: std::io::Result<String>| line.expect("UTF-8").starts_with("letters: ");
    assert!(said.into_iter().any(is_at_work), "it has begun");
    let interrupted = Command::new("kill").args(["-INT", &replay.id().to_string()]).status();
    assert!(interrupted.expect("kill runs").success());
    assert_eq!(replay.wait().expect("ends").code(), Some(130));
}

#[test]
fn too_many_dead_letters_fail_the_run_and_nothing_is_lost() {
    let api = Api::start(|_| {
        let records: Vec<_> =
            (0..100).map(|n| format!("{{\"n\":{}}}", if n < 6 { "[]" } else { "1" })).collect();
        format!("[{}]", records.join(","))
    });
    for (limit, code) in [("5%", 1), ("6%", 0)] {
        let text = format!(
            "name: limit\nkafka: {{ brokers: \"embedded:0\" }}\nflows:\n  fetch:\n    from: {{ http: \"{}\", \
             schema: \"n INT\" }}\n    sql: SELECT n, 'k' AS k FROM input\n    to: {{ topic: t, key: k }}\n    \
             dead_letters: {{ fail_above: {limit} }}\n",
            api.url
        );
        let folder = tempfile::tempdir().expect("a folder");
        write(folder.path(), "p.yaml", &text);
        let run = output(millstream(folder.path()).args(["run", "p.yaml"]));
        assert_eq!(run.status.code(), Some(code), "{}", stderr(&run));
        assert_eq!(summary(&run)["flows"]["fetch"]["dead"], 6);
        assert_eq!(stderr(&run).contains("6 of 100 records are dead letters, more than 5%"), code == 1);
        write(folder.path(), "p.yaml", &text.replace(limit, "a lot"));
        let check = output(millstream(folder.path()).args(["check", "p.yaml"]));
        assert!(stderr(&check).contains("is not a share like 5%"), "{}", stderr(&check));
    }
}

#[test]
fn of_a_dead_letter_larger_than_its_topic_takes_the_beginning_is_kept() {
    const LENGTH: usize = 40 << 20;
    // Five random bits in eight: however it is packed, more than the 20 MiB that the topic takes.
    let mut state = 1_u64;
    let letters = std::iter::repeat_with(move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        char::from(b'0' + (state >> 59) as u8)
    });
    let body = format!("[\"{}\"]", letters.take(LENGTH).collect::<String>().replace(['\\', '"'], "a"));
    let api = Api::start(move |_| body.clone());
    let text = format!(
        "name: large\nkafka: {{ brokers: \"embedded:0\" }}\nflows:\n  fetch:\n    from: {{ http: \"{}\", schema: \
         \"n INT\" }}\n    sql: SELECT n, 'k' AS k FROM input\n    to: {{ topic: t, key: k }}\n",
        api.url
    );
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "p.yaml", &text);
    let run = output(millstream(folder.path()).args(["run", "p.yaml"]));
    assert_eq!(summary(&run)["flows"]["fetch"]["dead"], 1, "{}", stderr(&run));
    let (list, _) = done(folder.path(), &["dead-letters", "list", "p.yaml"]);
    let place = list.split('\t').next().expect("a place");
    let (shown, _) = done(folder.path(), &["dead-letters", "show", "p.yaml", place]);
    assert!(shown.contains(&format!("cut        of {} bytes, SHA-256 ", LENGTH + 2)), "{:.300}", shown);
    let (_, said) = done(folder.path(), &["dead-letters", "replay", "p.yaml"]);
    assert!(said.contains("1 cannot be replayed"), "{said}");
}

#[test]
fn what_the_client_itself_finds_too_large_is_a_dead_letter_too() {
    const LENGTH: usize = 200_000;
    let long = "x".repeat(LENGTH);
    let api = Api::start(move |_| format!(r#"[{{"k":"a","v":"{long}"}},{{"k":"b","v":"short"}}]"#));
    let text = format!(
        "name: large\nkafka: {{ brokers: \"embedded:0\", client: {{ message.max.bytes: \"100000\" }} }}\nflows:\n  \
         fetch:\n    from: {{ http: \"{}\", schema: \"k STRING, v STRING\" }}\n    sql: SELECT k, v FROM input\n    \
         to: {{ topic: t, key: k }}\n",
        api.url
    );
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "p.yaml", &text);
    let run = output(millstream(folder.path()).args(["run", "p.yaml"]));
    let fetch = &summary(&run)["flows"]["fetch"];
    assert_eq!((&fetch["dead"], &fetch["written"]), (&1.into(), &1.into()), "{}", stderr(&run));
}
