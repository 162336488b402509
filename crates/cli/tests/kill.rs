//! Killed anywhere: at random moments the process gets SIGKILL; once it has caught up, the table
//! is what the topic says, cell for cell, and every message was counted exactly once.

#![allow(clippy::print_stdout, reason = "what was measured or skipped is said aloud")]

mod support;

use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;
use support::numbers::{PAGE, PAGES, compare, numbers, write_pipeline};
use support::{millstream, output, spawn, stderr, summary};

#[test]
fn nothing_is_lost_or_doubled_or_out_of_order() {
    let kills: usize = std::env::var("MILLSTREAM_KILLS").map_or(10, |kills| kills.parse().expect("a number"));
    let seed = std::env::var("MILLSTREAM_SEED")
        .map_or_else(|_| rand::rng().random(), |s| s.parse().expect("a number"));
    println!("{kills} kills; MILLSTREAM_SEED={seed} repeats their moments");
    let mut random = StdRng::seed_from_u64(seed);
    let api = numbers();
    let folder = tempfile::tempdir().expect("a folder");
    write_pipeline(folder.path(), &api.url);

    // Whether the process was still at work: what has ended by itself was not killed.
    let kill = |random: &mut StdRng, args: &[&str], longest_ms: u64| {
        let mut process = spawn(millstream(folder.path()).args(args));
        // Most are to be killed at work, however slow the machine is; some while they start.
        if random.random_bool(0.8) {
            wait_for_start(folder.path(), &mut process);
        }
        std::thread::sleep(Duration::from_millis(random.random_range(60..longest_ms)));
        let at_work = process.try_wait().expect("waits").is_none();
        process.kill().expect("kills");
        process.wait().expect("waits");
        at_work
    };
    let mut killed = 0;
    let mut attempts = 0;
    while killed < kills {
        attempts += 1;
        assert!(attempts < kills * 10, "the processes end before they can be killed");
        // While messages come in and are stored at the same time, or while what has come is stored.
        // The first one makes the topic.
        let at_work = match killed == 0 || random.random_bool(0.4) {
            true => kill(&mut random, &["run", "kill.yaml"], 900),
            false => kill(&mut random, &["run", "kill.yaml", "--flow", "store"], 300),
        };
        killed += usize::from(at_work);
    }
    println!("killed {killed} times at work");
    let store = || {
        let stored = output(millstream(folder.path()).args(["run", "kill.yaml", "--flow", "store"]));
        assert_eq!(stored.status.code(), Some(0), "{}", stderr(&stored));
        let (oracle, totals) = compare(folder.path());
        println!("{} messages in the topic, {} rows", oracle.messages, oracle.rows.len());
        let passed = oracle.messages - oracle.filtered - oracle.dead;
        // It may be that each process was killed before it had sent anything.
        let expected = match oracle.messages {
            0 => json!({}),
            read => json!({
                "read": read, "passed": passed, "filtered": oracle.filtered, "dead": oracle.dead, "written": passed,
            }),
        };
        assert_eq!(totals, expected, "every message is counted once");
    };
    // Before everything is sent once more, which would mend what was lost.
    store();
    let fetched = output(millstream(folder.path()).args(["run", "kill.yaml", "--flow", "fetch"]));
    assert_eq!(fetched.status.code(), Some(0), "{}", stderr(&fetched));
    let counts = summary(&fetched)["flows"]["fetch"].clone();
    assert_eq!(counts["read"], json!(PAGE * PAGES));
    assert_eq!(counts["dead"], json!((0..PAGE * PAGES).filter(|n| n % 1_013 == 1).count()));
    store();
}

/// Waits until the process says that its broker runs, or has ended.
fn wait_for_start(folder: &Path, process: &mut Child) {
    let until = Instant::now() + Duration::from_secs(60);
    while Instant::now() < until && process.try_wait().expect("waits").is_none() {
        let owner = std::fs::read(folder.join(".millstream/owner.json")).unwrap_or_default();
        let owner: serde_json::Value = serde_json::from_slice(&owner).unwrap_or_default();
        if owner["pid"] == process.id() && owner["broker"].is_string() {
            return;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}
