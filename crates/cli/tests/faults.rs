//! Disks and clocks that fail: power lost, no space left, a write torn in two, a clock that jumps.
//! Whatever happened, once the pipeline has caught up its table is what its topic says.
//!
//! `MILLSTREAM_FAULTS` says how often power is lost and writes are torn.

#![allow(clippy::print_stdout, reason = "what was measured or skipped is said aloud")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use millstream_connectors::kafka::{Connection, read_all};
use millstream_embedded::Broker;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;
use support::numbers::{
    compare, look_at_topic, numbers, page_of_numbers, record, write_pipeline, write_pipeline_of,
};
use support::{Api, millstream, output, stderr, stdout};

/// The disk that fails, compiled.
fn disk(folder: &Path) -> PathBuf {
    let library = folder.join("disk.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/faults/disk.c");
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"])
        .args([library.as_os_str(), source.as_ref(), "-ldl".as_ref()])
        .status();
    assert!(compiled.expect("a C compiler, which building needs too").success());
    library
}

/// The binary on that disk, with its faults below the state directory.
fn on_disk(folder: &Path, library: &Path, arguments: &[&str], faults: &[(&str, &str)]) -> Command {
    let root = fs::canonicalize(folder).expect("a folder").join(".millstream");
    let mut command = millstream(folder);
    command.args(arguments).env("LD_PRELOAD", library).env("FAULTS_ROOT", root);
    command.envs(faults.iter().copied()).stdout(Stdio::null());
    command
}

fn seed() -> StdRng {
    let seed = std::env::var("MILLSTREAM_SEED")
        .map_or_else(|_| rand::rng().random(), |seed| seed.parse().expect("a number"));
    println!("MILLSTREAM_SEED={seed} repeats the moments");
    StdRng::seed_from_u64(seed)
}

fn times() -> usize {
    std::env::var("MILLSTREAM_FAULTS").map_or(6, |times| times.parse().expect("a number"))
}

/// Catches up and compares the table with the topic.
fn caught_up(folder: &Path) -> String {
    let stored = output(millstream(folder).args(["run", "kill.yaml", "--flow", "store"]));
    assert_eq!(stored.status.code(), Some(0), "{}", stderr(&stored));
    compare(folder);
    stderr(&stored)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        match entry.file_type().expect("a type").is_dir() {
            true => copy(&entry.path(), &target),
            // A copy that was not finished when the power went.
            false if entry.file_name().to_string_lossy().ends_with(".copy") => {}
            false => drop(fs::copy(entry.path(), target).expect("copies")),
        }
    }
}

/// The machine comes back with what had been synced, as it is in `shadow`.
fn come_back(shadow: &Path, state: &Path) {
    fs::remove_dir_all(state).expect("is removed");
    copy(shadow, state);
    fs::remove_dir_all(shadow).expect("is removed");
    // It has begun anew, which its system says.
    let boot = state.join("broker/boot-id");
    if boot.exists() {
        fs::write(boot, "that of before").expect("writes");
    }
}

#[test]
fn a_power_loss_takes_the_last_second_and_nothing_else() {
    let mut random = seed();
    let api = numbers();
    let folder = tempfile::tempdir().expect("a folder");
    write_pipeline(folder.path(), &api.url);
    let library = disk(folder.path());
    let (state, shadow) = (folder.path().join(".millstream"), folder.path().join("shadow"));
    let shadow_text = shadow.to_str().expect("UTF-8").to_owned();
    let fetched = output(millstream(folder.path()).args(["run", "kill.yaml", "--flow", "fetch"]));
    assert_eq!(fetched.status.code(), Some(0), "{}", stderr(&fetched));
    let mut mended = 0;
    for _ in 0..times() {
        // What is there now has been there for long.
        copy(&state, &shadow);
        let flow: &[&str] = if random.random_bool(0.7) { &[] } else { &["--flow", "store"] };
        let arguments = [&["run", "kill.yaml"], flow].concat();
        let faults = [("FAULTS_SHADOW", shadow_text.as_str())];
        let mut process = on_disk(folder.path(), &library, &arguments, &faults)
            .stderr(Stdio::null())
            .spawn()
            .expect("runs");
        std::thread::sleep(Duration::from_millis(random.random_range(300..3_000)));
        process.kill().expect("kills");
        process.wait().expect("ends");
        come_back(&shadow, &state);
        mended += usize::from(caught_up(folder.path()).contains("note: "));
    }
    println!("lost power {} times; {mended} times something had to be mended", times());
}

/// What is on the disk changes when something is synced: the power goes after each of these moments of a run of the
/// pipeline in `folder`, which has been used before. `check` looks at what has come back.
fn lose_power_at_each_moment(folder: &Path, library: &Path, pipeline: &str, check: impl Fn(&Path)) {
    let before = folder.join(".millstream");
    let mut moments = 0;
    let ended = loop {
        moments += 1;
        let run = folder.join(moments.to_string());
        fs::create_dir(&run).expect("a folder");
        fs::copy(folder.join(pipeline), run.join(pipeline)).expect("copies");
        let (state, shadow) = (run.join(".millstream"), run.join("shadow"));
        copy(&before, &state);
        copy(&before, &shadow);
        let (nth, shadow_text) = (moments.to_string(), shadow.to_str().expect("UTF-8").to_owned());
        let faults = [("FAULTS_SHADOW", shadow_text.as_str()), ("FAULTS_POWER", nth.as_str())];
        let ended = output(&mut on_disk(&run, library, &["run", pipeline], &faults));
        if ended.status.code() == Some(0) {
            break ended;
        }
        assert_eq!(ended.status.code(), Some(137), "{moments}: {}", stderr(&ended));
        come_back(&shadow, &state);
        check(&run);
        fs::remove_dir_all(&run).expect("is removed");
    };
    println!("lost power at each of {} moments", moments - 1);
    assert!(moments > 10, "{}", stderr(&ended));
}

#[test]
fn no_moment_of_a_run_is_bad_for_a_power_loss() {
    let api = Api::start(page_of_numbers);
    let folder = tempfile::tempdir().expect("a folder");
    let library = disk(folder.path());
    write_pipeline_of(folder.path(), &api.url, 5);
    support::done(millstream(folder.path()).args(["run", "kill.yaml", "--flow", "fetch"]));
    lose_power_at_each_moment(folder.path(), &library, "kill.yaml", |run| drop(caught_up(run)));
}

/// A cursor says that what comes before it has been asked for: on the disk without it, it would be asked for never again.
#[test]
fn a_power_loss_leaves_no_cursor_before_what_it_covers() {
    const ITEMS: usize = 30;
    // One of them is a dead letter.
    let item = |n: usize| if n == 17 { json!({"n": n, "m": "bad"}) } else { json!({"n": n, "m": 1}) };
    let answer = move |since: usize| json!((since..=ITEMS).map(item).collect::<Vec<_>>()).to_string();
    // The cursor is what the API calls a page; it counts them from 1.
    let has_items = Arc::new(AtomicBool::new(false));
    let has_any = has_items.clone();
    let api = Api::start(move |since| match has_any.load(Ordering::Relaxed) {
        true => answer(since + 1),
        false => "[]".to_owned(),
    });
    let folder = tempfile::tempdir().expect("a folder");
    let library = disk(folder.path());
    let file = format!(
        r#"
name: items
kafka: {{ brokers: "embedded:0" }}
flows:
  fetch:
    from: {{ http: "{}", query: {{ page: "{{since}}" }}, incremental: {{ field: $.n, initial: 1 }}, schema: "n INT, m INT" }}
    sql: SELECT n FROM input
    to: {{ topic: zeroes, key: n }}
  direct:
    from: {{ http: "{}", query: {{ page: "{{since}}" }}, incremental: {{ field: $.n, initial: 1 }}, schema: "n INT, m INT" }}
    sql: SELECT n FROM input
    to: {{ table: k.direct, create: "CREATE TABLE k.direct (n INT PRIMARY KEY)" }}
  store:
    from: {{ topic: zeroes }}
    sql: SELECT n FROM input
    to: {{ table: k.zeroes, create: "CREATE TABLE k.zeroes (n INT PRIMARY KEY)" }}
"#,
        api.url, api.url
    );
    fs::write(folder.path().join("items.yaml"), file).expect("writes");
    // What makes topics and tables is not what this is about.
    support::done(millstream(folder.path()).args(["run", "items.yaml"]));
    has_items.store(true, Ordering::Relaxed);
    lose_power_at_each_moment(folder.path(), &library, "items.yaml", |run| {
        support::done(millstream(run).args(["run", "items.yaml"]));
        for table in ["direct", "zeroes"] {
            let sql = format!("SELECT count(*) AS n FROM {table}");
            let ask = ["query", "items.yaml", &sql, "--format", "csv"];
            let (counted, _) = support::done(millstream(run).args(ask));
            assert_eq!(counted, format!("n\n{}\n", ITEMS - 1), "{table}, {}", run.display());
        }
        for flow in ["fetch", "direct"] {
            let list = ["dead-letters", "list", "items.yaml", "--flow", flow];
            let (letters, _) = support::done(millstream(run).args(list));
            assert!(letters.contains("unreadable"), "{flow}, {}: {letters}", run.display());
        }
    });
}

/// Where the partitions of a topic end, in the state of a broker that is not at work.
fn ends(state: &Path, topic: &str) -> BTreeMap<i32, i64> {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let broker = runtime.block_on(Broker::start(state, 0)).expect("the broker starts");
    let mut ends = BTreeMap::new();
    let read = read_all(&Connection::to(broker.address().to_string()), topic, |records| {
        ends.extend(records.iter().map(|record| (record.partition, record.offset + 1)));
        Ok(true)
    });
    read.expect("the topic is read");
    runtime.block_on(broker.stop()).expect("the broker stops");
    ends
}

/// Of another message, which takes the place of the one that is gone, it would say the same.
#[test]
fn a_power_loss_leaves_no_dead_letter_of_a_message_that_is_gone() {
    let api = Api::start(|asked| match asked {
        0 => json!([{"n": 1_000}]).to_string(),
        _ => json!((100..150).map(|n| json!({"n": n})).collect::<Vec<_>>()).to_string(),
    });
    let folder = tempfile::tempdir().expect("a folder");
    let library = disk(folder.path());
    // By its name the topic of dead letters comes before the one that they are about.
    let file = format!(
        r#"
name: letters
kafka: {{ brokers: "embedded:0" }}
flows:
  fetch:
    from: {{ http: "{}", schema: "n INT" }}
    sql: SELECT n FROM input
    to: {{ topic: users, key: n, partitions: 3 }}
  store:
    from: {{ topic: users }}
    sql: SELECT n, n AS small FROM input
    to: {{ table: k.users, create: "CREATE TABLE k.users (n INT PRIMARY KEY, small TINYINT)" }}
    dead_letters: {{ topic: bad }}
"#,
        api.url
    );
    fs::write(folder.path().join("letters.yaml"), file).expect("writes");
    // It makes the topics, with a first dead letter.
    support::done(millstream(folder.path()).args(["run", "letters.yaml"]));
    lose_power_at_each_moment(folder.path(), &library, "letters.yaml", |run| {
        let (letters, _) = support::done(millstream(run).args(["dead-letters", "list", "letters.yaml"]));
        let ends = ends(&run.join(".millstream/broker"), "users");
        assert!(letters.lines().count() > 0, "{}", run.display());
        for letter in letters.lines() {
            let mut place = letter.split(['/', '\t']).skip(2).map(|number| number.parse::<i64>());
            let (Some(Ok(partition)), Some(Ok(offset))) = (place.next(), place.next()) else {
                panic!("{letter}");
            };
            let end = ends.get(&(partition as i32)).copied().unwrap_or_default();
            assert!(offset < end, "{}: the topic ends at {end}: {letter}", run.display());
        }
    });
}

#[test]
fn a_write_that_was_torn_in_two_counts_for_nothing() {
    let mut random = seed();
    let api = numbers();
    let folder = tempfile::tempdir().expect("a folder");
    write_pipeline(folder.path(), &api.url);
    let library = disk(folder.path());
    let fetched = output(millstream(folder.path()).args(["run", "kill.yaml", "--flow", "fetch"]));
    assert_eq!(fetched.status.code(), Some(0), "{}", stderr(&fetched));
    for _ in 0..times() {
        let nth = random.random_range(1..400).to_string();
        let run =
            output(&mut on_disk(folder.path(), &library, &["run", "kill.yaml"], &[("FAULTS_TEAR", &nth)]));
        assert_ne!(run.status.code(), Some(0), "write {nth} was never made");
        caught_up(folder.path());
    }
}

#[test]
fn a_full_disk_is_waited_for() {
    for what in ["/broker/topics/", "/tables.sqlite", "/broker/offsets"] {
        let folder = tempfile::tempdir().expect("a folder");
        let library = disk(folder.path());
        let full = folder.path().join("full");
        let full_text = full.to_str().expect("UTF-8").to_owned();
        // The disk runs full while the third page is waited for.
        let (asked, is_asked) = std::sync::mpsc::channel();
        let is_full = Arc::new(AtomicBool::new(false));
        let seen = is_full.clone();
        let api = Api::start(move |page| {
            if page == 2 {
                asked.send(()).expect("the test waits");
                while !seen.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
            page_of_numbers(page)
        });
        write_pipeline(folder.path(), &api.url);
        let mut command =
            on_disk(folder.path(), &library, &["run", "kill.yaml"], &[("FAULTS_FULL", &full_text)]);
        let mut process = command.stderr(Stdio::piped()).spawn().expect("runs");
        let mut words = BufReader::new(process.stderr.take().expect("piped")).lines().map_while(Result::ok);
        is_asked.recv().expect("the API is asked");
        fs::write(&full, what).expect("writes");
        is_full.store(true, Ordering::Relaxed);
        let mut said = String::new();
        let says_full =
            |line: &String| line.to_lowercase().contains("space") || line.contains("disk is full");
        let full_said = words.by_ref().inspect(|line| said.push_str(&format!("{line}\n"))).find(says_full);
        assert!(full_said.is_some(), "{what}: {said}");
        assert!(process.try_wait().expect("waits").is_none(), "{what}: it has given up");
        fs::remove_file(&full).expect("is removed");
        said.extend(words.map(|line| format!("{line}\n")));
        assert_eq!(process.wait().expect("ends").code(), Some(0), "{what}: {said}");
        let (oracle, totals) = compare(folder.path());
        assert_eq!(totals["read"], oracle.messages, "{what}");
    }
}

#[test]
fn a_run_that_cannot_be_remembered_does_not_begin() {
    let api = numbers();
    let folder = tempfile::tempdir().expect("a folder");
    write_pipeline_of(folder.path(), &api.url, 1);
    let library = disk(folder.path());
    let full = folder.path().join("full");
    let faults = [("FAULTS_FULL", full.to_str().expect("UTF-8"))];
    let arguments = ["up", "kill.yaml", "--listen", "127.0.0.1:0"];
    let mut up =
        on_disk(folder.path(), &library, &arguments, &faults).stderr(Stdio::piped()).spawn().expect("runs");
    let mut words = BufReader::new(up.stderr.take().expect("piped")).lines().map_while(Result::ok);
    let url =
        words.find_map(|line| Some(line.split_once("page: ")?.1.to_owned())).expect("where its page is");
    std::thread::spawn(move || words.for_each(drop));
    let trigger =
        || output(millstream(folder.path()).args(["runs", "trigger", "kill.yaml", "--server", &url]));
    fs::write(&full, "/runs.sqlite").expect("writes");
    let refused = trigger();
    assert_ne!(refused.status.code(), Some(0));
    assert!(stderr(&refused).contains("the disk is full; free some space"), "{}", stderr(&refused));
    fs::remove_file(&full).expect("is removed");
    support::done(millstream(folder.path()).args(["runs", "trigger", "kill.yaml", "--server", &url]));
    up.kill().expect("is killed");
    up.wait().expect("ends");
}

/// As after an election of a leader that was behind: an idempotent producer is refused for good.
#[test]
fn a_broker_that_has_lost_messages_is_written_to_again() {
    let (pages, gate) = (10, Arc::new(AtomicUsize::new(0)));
    // A page is asked for once the broker has acknowledged the one before.
    let asked = Arc::new(AtomicUsize::new(0));
    let (allowed, asks) = (gate.clone(), asked.clone());
    let api = Api::start(move |page| {
        asks.fetch_max(page, Ordering::Relaxed);
        while allowed.load(Ordering::Relaxed) <= page {
            std::thread::sleep(Duration::from_millis(1));
        }
        json!([record(10 + page)]).to_string()
    });
    let folder = tempfile::tempdir().expect("a folder");
    write_pipeline_of(folder.path(), &api.url, pages);
    let (state, before) = (folder.path().join("broker"), folder.path().join("before"));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let start = |port| runtime.block_on(Broker::start(&state, port)).expect("the broker starts");
    let stop = |broker: Broker| runtime.block_on(broker.stop()).expect("the broker stops");
    let broker = start(0);
    let (address, port) = (broker.address().to_string(), broker.address().port());
    let is_there = |count: u64| {
        support::wait_for("a message", || {
            let (found, _) = look_at_topic(&address, "numbers", "nobody");
            (found.messages == count).then_some(found)
        })
    };
    let run = millstream(folder.path())
        .args(["run", "kill.yaml", "--flow", "fetch"])
        .envs([("BROKERS", address.as_str()), ("HOSTS", "not-asked.invalid")])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("runs");
    let acknowledged = |count: usize| {
        gate.store(count, Ordering::Relaxed);
        support::wait_for("an acknowledgement", || (asked.load(Ordering::Relaxed) >= count).then_some(()));
        is_there(count as u64);
    };
    acknowledged(3);
    stop(broker);
    copy(&state, &before);
    let broker = start(port);
    acknowledged(6);
    stop(broker);
    fs::remove_dir_all(&state).expect("is removed");
    copy(&before, &state);
    let broker = start(port);
    gate.store(pages, Ordering::Relaxed);
    let ended = run.wait_with_output().expect("ends");
    assert_eq!(ended.status.code(), Some(0), "{}", stderr(&ended));
    assert!(stderr(&ended).contains("the broker no longer knows what we wrote last"), "{}", stderr(&ended));
    is_there(3 + 4);
    stop(broker);
}

#[test]
fn a_clock_that_jumps_changes_nothing_about_what_the_table_is() {
    let api = numbers();
    let folder = tempfile::tempdir().expect("a folder");
    write_pipeline(folder.path(), &api.url);
    let library = disk(folder.path());
    for ahead in ["86400", "-86400", "0"] {
        let run =
            output(&mut on_disk(folder.path(), &library, &["run", "kill.yaml"], &[("FAULTS_CLOCK", ahead)]));
        assert_eq!(run.status.code(), Some(0), "{}", stderr(&run));
        compare(folder.path());
    }
}

#[test]
fn two_processes_on_one_state_directory_are_one_too_many() {
    let api = numbers();
    let folder = tempfile::tempdir().expect("a folder");
    write_pipeline(folder.path(), &api.url);
    let mut first = millstream(folder.path())
        .args(["run", "kill.yaml"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("runs");
    // Its broker is the last thing that it writes down there.
    support::wait_for("the first process to say who it is", || {
        let owner = fs::read(folder.path().join(".millstream/owner.json")).unwrap_or_default();
        let owner: serde_json::Value = serde_json::from_slice(&owner).unwrap_or_default();
        owner["broker"].is_string().then_some(())
    });
    let second = output(millstream(folder.path()).args(["run", "kill.yaml"]));
    assert_eq!(second.status.code(), Some(2), "{}", stdout(&second));
    assert!(stderr(&second).contains(&format!("(process {})", first.id())), "{}", stderr(&second));
    assert!(first.wait().expect("ends").success());
    compare(folder.path());
}
