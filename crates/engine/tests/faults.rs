//! A source, a table and a topic of dead letters that fail, stall, repeat, do half of what they
//! are asked and lose their answers. Whatever they do, the table is what the source says, and
//! every record is counted once.
//!
//! `MILLSTREAM_FAULTS` says how many seeds are tried, `MILLSTREAM_SEED` with which they begin.

#![allow(clippy::print_stdout, reason = "what was measured is said aloud")]

mod support;

use std::sync::Arc;

use millstream_core::{Counts, RunValues};
use millstream_engine::{Observer, Plan, Registry, RunOptions, Until, Values, run};
use rand::RngExt;
use support::faults::Faults;
use support::log::{Log, LogKind};
use support::stores::{LedgerKind, Letters, LettersKind, Table};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const FILE: &str = r#"
name: faults
flows:
  store:
    from: { log: numbers, schema: "id STRING, n BIGINT, a STRING" }
    sql: SELECT id, n, a FROM input WHERE n % 10 <> 3
    to: { ledger: k.numbers }
"#;

/// A pipeline whose every part fails as `faults` says, until it has caught up.
async fn caught_up(seed: u64) -> u64 {
    let faults = Faults::new(seed);
    let log = Log::generate(seed, &faults);
    let (table, letters) = (Table::new(&faults), Letters::new(&faults));
    let registry = Registry {
        sources: vec![Arc::new(LogKind(log.clone()))],
        sinks: vec![Arc::new(LedgerKind(table.clone())), Arc::new(LettersKind(letters.clone()))],
        ..Registry::default()
    };
    let plan = Plan::load("faults.yaml", FILE, &Values::default(), &registry).expect("is right");
    let mut runs = 0;
    let mut counted = Counts::default();
    loop {
        runs += 1;
        assert!(runs < 100, "seed {seed}: it never ends well");
        let options = RunOptions {
            flows: Vec::new(),
            until: Until::Drained,
            patience: None,
            stop: CancellationToken::new(),
            clock: || 0,
            values: RunValues::default(),
        };
        let observer = Observer::default();
        let ended = run(&plan, &registry, &options, &observer).await;
        // A failure while the parts are opened is the run's, a later one its flow's.
        let Ok(flows) = ended else { continue };
        let (_, summary) = &flows[0];
        counted += summary.counts;
        if summary.error.is_none() {
            break;
        }
    }
    let expected = log.oracle();
    assert_eq!(*table.rows.lock(), expected.rows, "seed {seed}");
    assert_eq!(*letters.kept.lock(), expected.letters, "seed {seed}");
    assert_eq!(log.totals(), expected.counts, "seed {seed}: what the commits say");
    // A commit whose answer was lost before the run ended is in nobody's summary.
    assert!(counted.read <= expected.counts.read, "seed {seed}: the runs say {counted:?}");
    faults.struck()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_table_is_what_the_source_says_whatever_fails() {
    let count = std::env::var("MILLSTREAM_FAULTS").map_or(6, |times| times.parse().expect("a number"));
    let first: u64 = std::env::var("MILLSTREAM_SEED")
        .map_or_else(|_| rand::rng().random_range(0..1 << 40), |seed| seed.parse().expect("a number"));
    println!("MILLSTREAM_SEED={first} repeats it");
    let mut seeds: JoinSet<u64> = (first..first + count * 4).map(caught_up).collect();
    let mut struck = 0;
    while let Some(seed) = seeds.join_next().await {
        struck += seed.expect("no assertion fails");
    }
    println!("{struck} faults in {} pipelines: nothing lost, nothing doubled", count * 4);
    assert!(struck > count * 4 * 10, "the faults do not strike");
}
