//! A broker measures batches, and says of one that is too large no more than that; only what is so alone is dead.

mod support;

use std::fmt::Write;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use support::{millstream, output, stderr, stdout, summary};

const PIPELINE: &str = r#"
name: large
kafka: { brokers: "embedded:0" }
flows:
  load:
    from: { file: lines.jsonl, schema: "id STRING, text STRING" }
    sql: SELECT * FROM input
    to: { topic: lines, key: id, partitions: 1, config: { max.message.bytes: "20000" } }
"#;
const LINES: usize = 1_000;

/// A text that cannot be compressed to much less than its half.
fn text(random: &mut StdRng, words: usize) -> String {
    (0..words).fold(String::new(), |mut text, _| {
        write!(text, "{:016x}", random.random::<u64>()).expect("a text grows");
        text
    })
}

#[test]
fn what_shares_a_batch_with_too_much_is_no_dead_letter() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("p.yaml"), PIPELINE).expect("writes");
    let mut random = StdRng::seed_from_u64(1);
    let mut lines = String::new();
    for n in 0..LINES {
        let words = if n == 500 { 4_000 } else { 12 };
        writeln!(lines, "{{\"id\": \"{n}\", \"text\": \"{}\"}}", text(&mut random, words))
            .expect("a text grows");
    }
    std::fs::write(folder.path().join("lines.jsonl"), lines).expect("writes");
    let ended = output(millstream(folder.path()).args(["run", "p.yaml", "--format", "json"]));
    assert_eq!(ended.status.code(), Some(0), "{}", stderr(&ended));
    let load = &summary(&ended)["flows"]["load"];
    assert_eq!(
        (load["written"].as_u64(), load["dead"].as_u64()),
        (Some(LINES as u64 - 1), Some(1)),
        "{load}"
    );
    let list = ["dead-letters", "list", "p.yaml", "--reason", "too-large"];
    let listed = output(millstream(folder.path()).args(list));
    assert_eq!(stdout(&listed).lines().count(), 1, "{}", stdout(&listed));
}
