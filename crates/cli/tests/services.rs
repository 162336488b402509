//! Real Kafka and real Cassandra: the same file, the same table. Services are killed, paused and cut
//! off; whatever happened, once the flow has caught up the table is what the topic says, cell for cell
//! with write times, and every message is counted once.
//!
//! `dev/test-services` runs these. `MILLSTREAM_KILLS` says how often the worker is killed.

#![allow(clippy::print_stdout, reason = "what was measured or skipped is said aloud")]

#[path = "support/real.rs"]
mod real;
mod support;

use std::process::{Child, Stdio};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use real::{Real, cassandra_port, certificates, ended, kafka_port, services, terminate, wait_for};
use support::numbers::{PAGE, numbers, record, write_pipeline_of};
use support::{Api, output, spawn, stderr, stdout, summary};

/// How long a service is away: longer than a request takes, …
const OUTAGE: Duration = Duration::from_secs(2);
/// … or than every timeout.
const SILENCE: Duration = Duration::from_secs(20);
/// Pages of 4,000 messages that one run of `fetch` sends: some seconds of Cassandra's work.
const RUN_PAGES: usize = 15;

fn seed() -> StdRng {
    let seed = std::env::var("MILLSTREAM_SEED")
        .map_or_else(|_| rand::rng().random(), |seed| seed.parse().expect("a number"));
    println!("MILLSTREAM_SEED={seed} repeats the moments");
    StdRng::seed_from_u64(seed)
}

fn kills() -> usize {
    std::env::var("MILLSTREAM_KILLS").map_or(10, |kills| kills.parse().expect("a number"))
}

/// A process that ends with the test, however that ends.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.kill().and_then(|()| self.0.wait()).expect("is ended");
    }
}

/// A worker on the flow `store`, with what it says.
fn worker(real: &Real) -> Child {
    let mut command = real.millstream(&["up", "kill.yaml", "--flow", "store"]);
    command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the binary runs")
}

/// The messages of one run of `fetch`, which is all the work that a test has.
fn fetch(real: &Real) {
    real.run(&["run", "kill.yaml", "--flow", "fetch"]);
}

/// The services for a test, with a pipeline and the messages of its first run.
fn filled(name: &str) -> Option<(Real, Api)> {
    let real = Real::take(name)?;
    let api = numbers();
    write_pipeline_of(real.path(), &api.url, RUN_PAGES);
    fetch(&real);
    Some((real, api))
}

/// Stores what is there and compares.
fn caught_up(real: &Real) {
    let stored = real.run(&["run", "kill.yaml", "--flow", "store"]);
    let oracle = real.compare();
    println!("{}: {} messages, {} rows", real.name, oracle.messages, oracle.rows.len());
    assert!(oracle.messages > 0, "{}", stderr(&stored));
}

#[test]
fn the_tutorials_file_runs_on_the_tutorials_services() {
    let Some(real) = Real::take("tutorial") else { return };
    let file = include_str!("../../../examples/users.yaml")
        .replace("every: 1s", "every: 10ms")
        .replace("for: 60s", "times: 20");
    std::fs::write(real.path().join("users.yaml"), file).expect("writes");
    let mut api = support::millstream(real.path());
    let api = api.args(["random-user", "--port", "0"]).stderr(Stdio::piped()).stdout(Stdio::null()).spawn();
    let mut api = Ended(api.expect("runs"));
    let mut said = std::io::BufReader::new(api.0.stderr.take().expect("piped"));
    let mut line = String::new();
    std::io::BufRead::read_line(&mut said, &mut line).expect("says where it is");
    let url = line.trim().rsplit(' ').next().expect("an address").to_owned();
    let users = |words: &[&str]| {
        let mut command = support::millstream(real.path());
        command.args(words).env("KAFKA_BROKERS", &real.brokers).env("CASSANDRA_HOSTS", &real.hosts);
        let ended = output(command.env("RANDOM_USER_API", &url));
        assert_eq!(ended.status.code(), Some(0), "{words:?}: {}", stderr(&ended));
        ended
    };
    let run = users(&["run", "users.yaml", "--format", "json"]);
    drop(api);
    let counts = summary(&run);
    let stored = counts["flows"]["store"]["written"].as_u64().expect("a number");
    assert_eq!(counts["flows"]["fetch"]["written"].as_u64(), Some(stored), "{counts}");
    assert!(counts["backends"]["kafka"].as_str().is_some_and(|address| address == real.brokers), "{counts}");
    let count =
        users(&["query", "users.yaml", "SELECT count(*) AS n FROM created_users", "--format", "json"]);
    assert_eq!(stdout(&count).trim(), format!("{{\"n\":{stored}}}"));
    // What others see: the tutorial's topic and its eleven columns.
    let topic = services(&["kafka-offsets", "--topic", "users_created"]);
    assert_eq!(topic.trim(), format!("users_created:0:{stored}"));
    let columns = services(&[
        "cqlsh",
        "-e",
        "SELECT column_name, type FROM system_schema.columns WHERE keyspace_name = 'spark_streams' AND table_name = 'created_users'",
    ]);
    let wanted = [
        "first_name",
        "last_name",
        "gender",
        "address",
        "post_code",
        "email",
        "username",
        "registered_date",
        "phone",
        "picture",
    ];
    for column in wanted {
        let is_text = columns.lines().any(|line| line.split('|').map(str::trim).eq([column, "text"]));
        assert!(is_text, "{column}: {columns}");
    }
    assert!(columns.lines().any(|line| line.split('|').map(str::trim).eq(["id", "uuid"])), "{columns}");
}

#[test]
fn a_worker_that_is_killed_loses_and_doubles_nothing() {
    let Some((real, _api)) = filled("kills") else { return };
    let mut random = seed();
    let (mut killed, mut attempts) = (0, 0);
    while killed < kills() {
        attempts += 1;
        assert!(attempts < 10 * kills(), "the worker ends before it can be killed");
        if attempts % 3 == 0 {
            fetch(&real);
        }
        let mut process = spawn(&mut real.millstream(&["run", "kill.yaml", "--flow", "store"]));
        std::thread::sleep(Duration::from_millis(random.random_range(500..3_000)));
        killed += usize::from(process.try_wait().expect("waits").is_none());
        process.kill().expect("kills");
        process.wait().expect("waits");
    }
    println!("killed {killed} times at work");
    caught_up(&real);
}

#[test]
fn kafka_and_cassandra_may_die_and_come_back() {
    let Some((real, _api)) = filled("restarts") else { return };
    let up = worker(&real);
    for service in ["cassandra", "kafka"] {
        real.wait_for_rows();
        services(&["kill", service]);
        std::thread::sleep(OUTAGE);
        services(&["start", service]);
        fetch(&real);
    }
    terminate(up);
    caught_up(&real);
}

#[test]
fn cassandra_may_be_silent_for_longer_than_every_timeout() {
    let Some((real, _api)) = filled("silence") else { return };
    let up = worker(&real);
    real.wait_for_rows();
    services(&["pause", "cassandra"]);
    std::thread::sleep(SILENCE);
    services(&["resume", "cassandra"]);
    fetch(&real);
    let newest = format!("WHERE n >= {}", RUN_PAGES * PAGE);
    wait_for("rows of what was sent since", || real.count(&newest) > 0);
    terminate(up);
    caught_up(&real);
}

#[test]
fn workers_share_the_partitions_and_may_come_and_go() {
    let Some((real, _api)) = filled("storm") else { return };
    let mut random = seed();
    let mut workers: Vec<Child> = (0..3).map(|_| worker(&real)).collect();
    for _ in 0..8 {
        std::thread::sleep(Duration::from_millis(random.random_range(300..1_500)));
        let mut leaving = workers.swap_remove(random.random_range(0..workers.len()));
        workers.push(worker(&real));
        match random.random_bool(0.5) {
            true => terminate(leaving),
            false => drop(leaving.kill().and_then(|()| leaving.wait()).expect("is killed")),
        }
    }
    fetch(&real);
    workers.into_iter().for_each(terminate);
    caught_up(&real);
}

#[test]
fn a_dropped_table_stops_the_flow_which_goes_on_when_it_is_back() {
    let Some((real, _api)) = filled("dropped") else { return };
    let up = worker(&real);
    real.wait_for_rows();
    let drop = format!("DROP TABLE k.{}", real.name);
    services(&["cqlsh", "-e", &drop]);
    fetch(&real);
    let (code, said) = ended(up);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(&format!("there is no table k.{}", real.name)), "{said}");
    // The table that comes back is empty: what was in it is read again from the topic.
    let ended = real.run(&["reset", "kill.yaml", "--flow", "store", "--to", "earliest"]);
    println!("{}", stderr(&ended));
    real.run(&["run", "kill.yaml", "--flow", "store"]);
    let (rows, oracle) =
        (real.table(), support::numbers::look_at_topic(&real.brokers, &real.name, "nobody").0);
    assert_eq!(rows.len(), oracle.rows.len());
}

/// Toxiproxy's words.
fn toxiproxy(words: &[&str]) {
    let mut all = vec!["toxiproxy"];
    all.extend(words);
    services(&all);
}

#[test]
fn the_network_may_be_slow_and_cut() {
    let Some(mut real) = Real::take("network") else { return };
    services(&["start", "toxiproxy"]);
    let (kafka, cassandra) = (kafka_port(), cassandra_port());
    for (name, port, to) in [("kafka", kafka + 6, kafka + 5), ("cassandra", cassandra + 1, cassandra)] {
        toxiproxy(&["create", name, &port.to_string(), &to.to_string()]);
    }
    real.brokers = format!("localhost:{}", kafka + 6);
    real.hosts = format!("localhost:{}", cassandra + 1);
    let api = numbers();
    write_pipeline_of(real.path(), &api.url, RUN_PAGES);
    fetch(&real);
    let up = worker(&real);
    real.wait_for_rows();
    for name in ["kafka", "cassandra"] {
        toxiproxy(&["slow", name, "200"]);
        std::thread::sleep(OUTAGE);
        toxiproxy(&["disable", name]);
        std::thread::sleep(OUTAGE);
        toxiproxy(&["enable", name]);
        toxiproxy(&["fast", name]);
        fetch(&real);
    }
    terminate(up);
    caught_up(&real);
}

#[test]
fn what_a_transaction_aborted_is_nobodys_row() {
    let Some((real, _api)) = filled("transactions") else { return };
    let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
        .set("bootstrap.servers", &real.brokers)
        .set("transactional.id", &real.name)
        .create()
        .expect("a producer");
    let wait = Duration::from_secs(60);
    producer.init_transactions(wait).expect("begins");
    // The last one is aborted, and leaves more behind at the topic's end than is looked at each time.
    for round in 0..11 {
        producer.begin_transaction().expect("begins");
        let count = if round == 10 { 4_500 } else { 200 };
        for n in 0..count {
            // What is aborted would change every row that it is about.
            let mut value = record(n * 5 + 100);
            value["n"] = serde_json::json!(round * 1_000_000 + 1);
            let key = value["id"].as_str().expect("an id").to_owned();
            let payload = value.to_string();
            let sent = producer.send(BaseRecord::to(&real.name).key(&key).payload(&payload));
            sent.expect("has room");
        }
        // An abort throws away what has not been sent: what the broker holds is what counts here.
        producer.flush(wait).expect("everything is sent");
        match round % 2 {
            0 => producer.abort_transaction(wait).expect("aborts"),
            _ => producer.commit_transaction(wait).expect("commits"),
        }
    }
    caught_up(&real);
}

#[test]
fn a_topic_made_anew_is_noticed() {
    let Some((real, _api)) = filled("anew") else { return };
    let up = worker(&real);
    real.wait_for_rows();
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", &real.brokers).create().expect("a client");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let deleted = runtime.block_on(admin.delete_topics(&[&real.name], &AdminOptions::new()));
    deleted.expect("answers")[0].as_ref().expect("is deleted");
    wait_for("the end of the topic", || {
        let metadata = admin.inner().fetch_metadata(None, Duration::from_secs(60)).expect("answers");
        metadata.topics().iter().all(|topic| topic.name() != real.name)
    });
    fetch(&real);
    let (code, said) = ended(up);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("made anew") || said.contains("no such topic"), "{said}");
    assert!(said.contains("reset FILE") || said.contains("deleted"), "{said}");
}

#[test]
fn a_table_comes_to_what_the_file_says_and_reading_all_of_it_is_announced() {
    let Some(real) = Real::take("growing") else { return };
    let table = format!("k.{}", real.name);
    let write = |name: &str, columns: &str, sql: &str| {
        let file = format!(
            r#"
name: growing
kafka: {{ brokers: "${{BROKERS}}" }}
cassandra: {{ hosts: "${{HOSTS}}" }}
flows:
  store:
    from: {{ file: rows.jsonl, schema: "id STRING, a STRING, n INT" }}
    sql: {sql}
    dead_letters: {{ topic: "{table}.dead-letters" }}
    to: {{ table: {table}, create: 'CREATE TABLE {table} ({columns})' }}
"#
        );
        std::fs::write(real.path().join(name), file).expect("writes");
    };
    std::fs::write(real.path().join("rows.jsonl"), "{\"id\": \"a\", \"a\": \"b\", \"n\": 1}\n")
        .expect("writes");
    let said = |words: &[&str], code: i32| {
        let ended = output(&mut real.millstream(words));
        assert_eq!(ended.status.code(), Some(code), "{words:?}: {}", stderr(&ended));
        (stdout(&ended), stderr(&ended))
    };
    write("one.yaml", "id TEXT PRIMARY KEY, a TEXT, n INT", "SELECT * FROM input");
    assert!(said(&["migrate", "one.yaml"], 0).1.contains("the first run makes it"));
    real.run(&["run", "one.yaml"]);

    // Columns are added where that is asked for, and only then does the flow run.
    let more = "id TEXT PRIMARY KEY, a TEXT, n INT, x DATE, \"order\" SET<INT>";
    write("two.yaml", more, "SELECT *, DATE '2024-01-01' AS x, array(2, 1) AS `order` FROM input");
    let early = said(&["run", "two.yaml"], 2).1;
    assert!(early.contains("it has no column x date") && early.contains("migrate"), "{early}");
    let alters = format!(
        "ALTER TABLE \"k\".\"{0}\" ADD \"x\" date;\nALTER TABLE \"k\".\"{0}\" ADD \"order\" set<int>;\n",
        real.name
    );
    assert_eq!(said(&["migrate", "two.yaml"], 0).0, alters);
    assert_eq!(said(&["migrate", "two.yaml", "--apply"], 0).0, alters);
    assert!(said(&["migrate", "two.yaml"], 0).1.contains("is what the file says"));
    real.run(&["run", "two.yaml"]);

    // All rows are read only where they are asked for, and that is said.
    let row = r#"{"id":"a","a":"b","n":1,"x":"2024-01-01","order":[1,2]}"#;
    let query = |condition: &str| {
        let sql = format!("SELECT * FROM {table} {condition}");
        said(&["query", "two.yaml", &sql, "--format", "json"], 0)
    };
    let (rows, words) = query("");
    assert_eq!(rows.trim(), row);
    assert!(
        words.contains(&format!("all rows of {table} are read; with WHERE id = … only those")),
        "{words}"
    );
    let (rows, words) = query("WHERE id = 'a'");
    assert_eq!(rows.trim(), row);
    assert!(!words.contains("all rows"), "{words}");
    assert_eq!(query("WHERE id = 'nobody'").0, "");

    // What no ALTER does is said, and what would lose values is not run.
    write("three.yaml", "id TEXT PRIMARY KEY, n BIGINT", "SELECT id, n FROM input");
    let (statements, words) = said(&["migrate", "three.yaml", "--apply"], 1);
    assert!(words.contains("n is int there and bigint in the file, and no ALTER changes that"), "{words}");
    assert!(words.contains("help: give the column another name in the file"), "{words}");
    let lost = format!("-- ALTER TABLE \"k\".\"{}\" DROP \"a\"; -- loses its values", real.name);
    assert!(statements.contains(&lost), "{statements}");
    write("four.yaml", "id TEXT, n INT, a TEXT, PRIMARY KEY (id, n)", "SELECT id, n, a FROM input");
    let words = said(&["migrate", "four.yaml", "--apply"], 1).1;
    assert!(words.contains("its primary key is ((id)) there and ((id), n) in the file"), "{words}");
    assert_eq!(query("WHERE id = 'a'").0.trim(), row, "nothing was lost");
}

#[test]
fn a_consistency_is_for_rows_alone_and_a_misspelt_data_centre_is_not_waited_for() {
    let Some(real) = Real::take("copies") else { return };
    let table = format!("k.{}", real.name);
    let said = |words: &[&str], connection: &str, sink: &str| {
        let file = format!(
            r#"
name: copies
kafka: {{ brokers: "${{BROKERS}}" }}
cassandra: {{ hosts: "${{HOSTS}}" {connection} }}
flows:
  store:
    from: {{ file: rows.jsonl, schema: "id STRING" }}
    sql: SELECT id FROM input
    dead_letters: {{ topic: "{table}.dead-letters" }}
    to: {{ table: {table}, create: 'CREATE TABLE {table} (id TEXT PRIMARY KEY)' {sink} }}
"#
        );
        std::fs::write(real.path().join("copies.yaml"), file).expect("writes");
        std::fs::write(real.path().join("rows.jsonl"), "{\"id\": \"a\"}\n").expect("writes");
        let ended = output(&mut real.millstream(words));
        assert_ne!(ended.status.code(), Some(0), "{words:?}: {}", stderr(&ended));
        stderr(&ended)
    };
    // One node keeps one copy of a row, as it does of its schema: only rows wait for a second one.
    let run = ["run", "copies.yaml", "--patience", "1s"];
    let words = said(&run, "", ", consistency: TWO");
    assert!(words.contains(&format!("writing table {table}")), "{words}");
    assert!(words.contains("too few copies are reachable"), "{words}");
    for words in [&["run", "copies.yaml"][..], &["doctor", "copies.yaml"][..]] {
        let words = said(words, ", data_center: nowhere", "");
        assert!(words.contains("no node is in the data centre `nowhere`"), "{words}");
        assert!(words.contains("nodes are in "), "{words}");
    }
}

/// A file whose `kafka:` has `settings` beside its brokers.
fn secured(real: &Real, settings: &str, tables: &str) {
    let file = format!(
        r#"
name: secured
kafka: {{ brokers: "${{BROKERS}}" {settings} }}
cassandra: {{ hosts: "${{HOSTS}}" {tables} }}
flows:
  fetch:
    from: {{ file: one.jsonl, schema: "id STRING, n INT" }}
    sql: SELECT id, n FROM input
    to: {{ topic: "${{TOPIC}}", key: id }}
  store:
    from: {{ topic: "${{TOPIC}}", group: "${{TOPIC}}" }}
    sql: SELECT * FROM input
    to: {{ table: "k.${{TOPIC}}", create: "CREATE TABLE k.${{TOPIC}} (id TEXT PRIMARY KEY, n INT)" }}
"#
    );
    std::fs::write(real.path().join("secured.yaml"), file).expect("writes");
    std::fs::write(real.path().join("one.jsonl"), "{\"id\": \"a\", \"n\": 1}\n").expect("writes");
}

#[test]
fn each_way_in_works_and_each_wrong_one_is_explained() {
    let Some(mut real) = Real::take("security") else { return };
    let pem = |name: &str| certificates().join(name).display().to_string();
    let (ca, certificate, key) = (pem("ca.pem"), pem("client.crt"), pem("client.key"));
    let tls = format!(", tls: {{ ca: \"{ca}\" }}");
    let mutual = format!(", tls: {{ ca: \"{ca}\", certificate: \"{certificate}\", key: \"{key}\" }}");
    let sasl = |mechanism: &str, password: &str| {
        format!(", sasl: {{ mechanism: {mechanism}, username: alice, password: {password} }}")
    };
    let tokens = Tokens::start();
    let oauth = format!(
        ", sasl: {{ mechanism: OAUTHBEARER, oauth2: {{ token_url: \"{}\", client_id: we, client_secret: hush }} }}",
        tokens.url
    );
    let no_token = oauth.replace(&tokens.url, "http://localhost:1/token");
    let (plain, sasl_port, mtls_port, sasl_tls_port) =
        (kafka_port(), kafka_port() + 2, kafka_port() + 3, kafka_port() + 4);
    let right = [
        (sasl_port, sasl("PLAIN", "alice-secret")),
        (sasl_port, sasl("SCRAM-SHA-256", "alice-secret")),
        (sasl_port, sasl("SCRAM-SHA-512", "alice-secret")),
        (sasl_port, oauth),
        (mtls_port, mutual.clone()),
        (sasl_tls_port, format!("{}{tls}", sasl("PLAIN", "alice-secret"))),
    ];
    for (port, settings) in right {
        real.brokers = format!("localhost:{port}");
        secured(&real, &settings, &tls);
        let ended = real.run(&["run", "secured.yaml", "--format", "json"]);
        assert_eq!(summary(&ended)["flows"]["store"]["written"], 1, "{settings}");
    }
    let wrong = [
        (sasl_port, sasl("PLAIN", "wrong"), "does not let us in"),
        (sasl_port, no_token, "no token from http://localhost:1/token: "),
        (sasl_port, String::new(), "another protocol"),
        (plain, tls.clone(), "another protocol"),
        (mtls_port, tls.clone(), "no TLS with"),
        (mtls_port, ", tls: {}".to_owned(), "no TLS with"),
        (1, String::new(), "Connection refused"),
    ];
    for (port, settings, words) in wrong {
        real.brokers = format!("localhost:{port}");
        secured(&real, &settings, "");
        let ended = output(&mut real.millstream(&["run", "secured.yaml", "--patience", "1s"]));
        assert_eq!(ended.status.code(), Some(1), "{settings}");
        assert!(stderr(&ended).contains(words), "{settings}: {}", stderr(&ended));
        assert!(stderr(&ended).contains("help: "), "{settings}: {}", stderr(&ended));
        assert!(!stderr(&ended).contains("wrong\n"), "the password is shown: {}", stderr(&ended));
    }
}

#[test]
fn who_looks_at_a_topic_needs_no_group() {
    let Some(mut real) = Real::take("looking") else { return };
    real.brokers = format!("localhost:{}", kafka_port() + 2);
    secured(&real, ", sasl: { mechanism: PLAIN, username: alice, password: alice-secret }", "");
    real.run(&["run", "secured.yaml"]);
    // Now nobody but bob may read as those that look.
    let rule = |action: &str| {
        let whom = ["--allow-principal", "User:bob", "--operation", "Read", "--group", "millstream-look"];
        services(&[&["kafka-acls", action, "--force"], &whom[..]].concat());
    };
    rule("--add");
    let mut tap = real.millstream(&["tap", "secured.yaml", "fetch.out", "-n", "1"]);
    let mut tap = tap.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary runs");
    while tap.try_wait().expect("waits").is_none() {
        real.run(&["run", "secured.yaml", "--flow", "fetch"]);
    }
    let tapped = tap.wait_with_output().expect("has ended");
    rule("--remove");
    assert_eq!(tapped.status.code(), Some(0), "{}", stderr(&tapped));
}

/// A server that gives out tokens which a broker without keys takes.
struct Tokens {
    url: String,
    _runtime: tokio::runtime::Runtime,
}

impl Tokens {
    fn start() -> Self {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a port");
        let url = format!("http://{}/token", listener.local_addr().expect("an address"));
        let answer = || async {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
            let claims =
                serde_json::json!({"sub": "alice", "iat": now.as_secs(), "exp": now.as_secs() + 3600});
            let (head, body) = (base64(b"{\"alg\":\"none\"}"), base64(claims.to_string().as_bytes()));
            let token = format!("{head}.{body}.");
            let answer =
                serde_json::json!({"access_token": token, "token_type": "bearer", "expires_in": 3600});
            ([("content-type", "application/json")], answer.to_string())
        };
        let router = axum::Router::new().route("/token", axum::routing::post(answer));
        runtime.spawn(async move { axum::serve(listener, router).await });
        Self { url, _runtime: runtime }
    }
}

/// Base64 for URLs, without padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let digits = bytes.chunks(3).flat_map(|chunk| {
        let bits =
            chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        (0..=chunk.len()).map(move |at| DIGITS[(bits >> (18 - 6 * at)) as usize & 63] as char)
    });
    digits.collect()
}
