//! A whole pipeline file out of an API, a topic or a file: it passes `check` and runs at once.
//! What is a guess has a comment.

use std::fmt::Write;
use std::path::Path;

use millstream_connectors::file::{FileKind, STDIN, pattern_in};
use millstream_connectors::http;
use millstream_connectors::kafka::{Connection, read_all};
use millstream_core::{Error, Records, Result, Scope, SourceKind, cql, settings};
use millstream_engine::{Inferred, InferredColumn, Plan, Values, guess_records, infer, preview};
use serde_json::{Map, Value, json};
use tokio::task::block_in_place;

use crate::{Outcome, bind};

/// Records that are looked at.
const SAMPLES_MAX: usize = 1_000;
/// A record that is longer makes no readable test.
const TEST_BYTES_MAX: usize = 4_000;

/// What there is, with some of its records.
struct Sampled {
    /// The pipeline's name.
    pipeline: String,
    /// What its topic and its table are called.
    name: String,
    /// As the user named it.
    source: String,
    /// The first lines of `from:`, comments included.
    from: Vec<String>,
    /// The flow that reads it.
    flow: &'static str,
    /// For a topic: the broker that it is on.
    broker: Option<String>,
    samples: Vec<Value>,
    /// Keys of the messages, for a topic.
    keys: Vec<Option<String>>,
}

impl Sampled {
    /// Leaves out what is no JSON object, and says how much that is: nothing can be learnt from it.
    fn keep_objects(&mut self) -> usize {
        let before = self.samples.len();
        let mut keys = self.samples.iter().map(Value::is_object);
        self.keys.retain(|_| keys.next().unwrap_or_default());
        self.samples.retain(Value::is_object);
        before - self.samples.len()
    }
}

/// The name and the text of a pipeline that reads `source`.
pub(super) async fn pipeline(source: &str) -> Outcome<(String, String)> {
    let mut sampled = if source.starts_with("http://") || source.starts_with("https://") {
        api(source).await?
    } else if let Some(address) = source.strip_prefix("kafka://") {
        topic(source, address)?
    } else {
        file(source).await?
    };
    let left_out = sampled.keep_objects();
    let nothing = |what: &str| {
        Error::user(format!("{} gave {what} to learn from", sampled.source)).help(
            "ask where there are records, or write a pipeline by hand: `millstream init` gives an example",
        )
    };
    if sampled.samples.is_empty() {
        return Err(nothing("no JSON object").into());
    }
    let inferred = infer(&sampled.samples);
    if inferred.columns.is_empty() {
        return Err(nothing("only empty objects, and no field").into());
    }
    let mut text = written(&sampled, left_out, &inferred);
    add_test(&mut text, &sampled)?;
    Ok((sampled.pipeline, text))
}

async fn api(url: &str) -> Outcome<Sampled> {
    let asked = json!({ "http": url, "schema": "answer STRING", "retries": 3 });
    let answer = http::answer(settings::read(&asked)?).await?;
    let (path, samples) = guess_records(&answer);
    let mut from = vec![format!("http: {}", json!(url))];
    if path != "$" {
        from.push(format!("records: {}    # a guess: {} objects are there", json!(path), samples.len()));
    }
    from.push(
        "# every: 10s    asks again and again; paging, auth and incremental: see the reference".to_owned(),
    );
    let source = without_user(url);
    let last = source.split(['?', '#']).next().unwrap_or_default().trim_end_matches('/');
    let path = last.split_once("://").map_or(last, |(_, rest)| rest);
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let host = path.split(['/', ':']).next().unwrap_or(path);
    let name = segments.iter().rev().find(|segment| !matches!(**segment, "api" | "v1" | "v2" | "v3"));
    let name = name_of(name.copied().unwrap_or(host));
    Ok(Sampled {
        pipeline: name.clone(),
        name,
        source,
        from,
        flow: "fetch",
        broker: None,
        samples,
        keys: Vec::new(),
    })
}

/// The address without a name and a password.
fn without_user(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{scheme}://{host}{path}")
}

async fn file(path: &str) -> Outcome<Sampled> {
    let settings = json!({ "file": path, "schema": "line STRING" });
    let mut source = FileKind.open(&settings, &Scope::default()).await?;
    let records = source.next().await?.unwrap_or_default();
    let mut samples = values(&records);
    samples.truncate(SAMPLES_MAX);
    let stem =
        Path::new(path).file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let name = name_of(stem.split('.').next().unwrap_or_default());
    let from = vec![format!("file: {}", json!(absolute(path)?))];
    Ok(Sampled {
        pipeline: name.clone(),
        name,
        source: path.to_owned(),
        from,
        flow: "load",
        broker: None,
        samples,
        keys: Vec::new(),
    })
}

/// What means the same files from any folder. The pattern itself is the user's.
fn absolute(pattern: &str) -> Result<String> {
    if pattern == STDIN || Path::new(pattern).is_absolute() {
        return Ok(pattern.to_owned());
    }
    let here = std::env::current_dir()
        .map_err(|e| Error::lasting(format!("cannot tell which folder this is: {e}")))?;
    pattern_in(&here, pattern.trim_start_matches("./"))
}

fn topic(source: &str, address: &str) -> Outcome<Sampled> {
    let Some((brokers, topic)) = address.split_once('/').filter(|(_, topic)| !topic.is_empty()) else {
        return Err(Error::user(format!("`{source}` is no topic"))
            .help("write kafka://HOST:PORT/TOPIC")
            .into());
    };
    let (mut samples, mut keys) = (Vec::new(), Vec::new());
    let connection = Connection::to(brokers);
    let exists = block_in_place(|| {
        read_all(&connection, topic, |records| {
            for record in records.iter() {
                let value = record.value.and_then(|value| serde_json::from_slice(value).ok());
                samples.push(value.unwrap_or(Value::Null));
                keys.push(record.key.map(|key| String::from_utf8_lossy(key).into_owned()));
            }
            Ok(samples.len() < SAMPLES_MAX)
        })
    })?;
    if !exists {
        return Err(Error::user(format!("there is no topic {topic} on {brokers}"))
            .help("is its name right?")
            .into());
    }
    let name = name_of(topic);
    Ok(Sampled {
        // Not the topic's name: whoever writes it may well be called so, and groups begin with it.
        pipeline: format!("{name}_to_table"),
        name,
        source: source.to_owned(),
        from: vec![format!("topic: {}", json!(topic))],
        flow: "store",
        broker: Some(brokers.to_owned()),
        samples,
        keys,
    })
}

fn values(records: &Records) -> Vec<Value> {
    let values = records.iter().filter_map(|record| record.value);
    values.map(|value| serde_json::from_slice(value).unwrap_or(Value::Null)).collect()
}

/// A name that a topic, a keyspace and a table can have.
fn name_of(text: &str) -> String {
    let name: String =
        text.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).collect();
    let name = name.trim_matches('_').to_owned();
    match name.starts_with(|c: char| c.is_ascii_alphabetic()) && !cql::is_reserved(&name) {
        true => name,
        false => format!("my_{name}").trim_end_matches('_').to_owned(),
    }
}

/// The key column and why it is that one.
fn key<'a>(sampled: &Sampled, inferred: &'a Inferred) -> (&'a InferredColumn, String) {
    let is_message_key = |column: &&InferredColumn| {
        let texts = sampled.samples.iter().map(|sample| column.text_of(sample));
        !sampled.keys.is_empty() && texts.zip(&sampled.keys).all(|(text, key)| text.is_some() && text == *key)
    };
    if let Some(column) = inferred.columns.iter().find(is_message_key) {
        return (column, "it is the messages' key".to_owned());
    }
    match &inferred.key {
        Some((index, why)) => (&inferred.columns[*index], format!("a guess: {why}")),
        None => {
            (&inferred.columns[0], "a guess: nothing differs in all samples; choose a better one".to_owned())
        }
    }
}

fn written(sampled: &Sampled, left_out: usize, inferred: &Inferred) -> String {
    let name = &sampled.name;
    let (key, why) = key(sampled, inferred);
    let mut out = String::new();
    let mut line = |indent: usize, text: &str| {
        let _ = writeln!(out, "{:indent$}{text}", "");
    };
    line(
        0,
        &format!(
            "# Made from {} samples of {}; what is a guess says so.",
            sampled.samples.len(),
            sampled.source
        ),
    );
    if left_out > 0 {
        line(0, &format!("# There are {left_out} more that are no JSON objects: they will be dead letters."));
    }
    line(0, &format!("name: {}", sampled.pipeline));
    line(0, "");
    match &sampled.broker {
        None => {
            line(0, "kafka: { brokers: \"${KAFKA_BROKERS:-embedded}\" }");
            line(0, "cassandra: { hosts: \"${CASSANDRA_HOSTS:-embedded}\" }");
        }
        Some(broker) => {
            line(0, &format!("kafka: {{ brokers: {} }}", json!(broker)));
            line(0, "cassandra: { hosts: embedded }    # a table of your own, beside this file");
        }
    }
    line(0, "");
    line(0, "flows:");
    line(2, &format!("{}:", sampled.flow));
    line(4, "from:");
    sampled.from.iter().for_each(|text| line(6, text));
    inferred.notes.iter().for_each(|note| line(6, &format!("# {}", note.replace('\n', " "))));
    line(6, "schema: |");
    listed(&inferred.fields).for_each(|text| line(8, &text));
    line(4, "sql: |");
    line(6, "SELECT");
    let columns = inferred.columns.iter().map(|column| match column.expression == column.name {
        true => column.name.clone(),
        false => format!("{} AS {}", column.expression, column.name),
    });
    listed(&columns.collect::<Vec<_>>()).for_each(|text| line(8, &text));
    line(6, "FROM input");
    if sampled.broker.is_none() {
        line(4, &format!("# The key is {why}."));
        line(4, &format!("to: {{ topic: {name}, key: {} }}", key.name));
        line(2, "store:");
        line(4, &format!("from: {{ topic: {name} }}"));
        line(4, "sql: SELECT * FROM input");
    } else {
        line(4, &format!("# The key is {}: {why}.", key.name));
    }
    line(4, "to:");
    line(6, &format!("table: {name}.{name}"));
    line(6, "create: |");
    line(8, &format!("CREATE TABLE {name}.{name} ("));
    let columns: Vec<_> = inferred
        .columns
        .iter()
        .map(|column| {
            format!("{} {}{}", column.name, column.cql, if column == key { " PRIMARY KEY" } else { "" })
        })
        .collect();
    listed(&columns).for_each(|text| line(10, &text));
    line(8, ")");
    out
}

/// Lines with commas between them.
fn listed(items: &[String]) -> impl Iterator<Item = String> {
    let last = items.len() - 1;
    items.iter().enumerate().map(move |(at, item)| if at == last { item.clone() } else { format!("{item},") })
}

/// Adds a test of the first sample, with the row that it becomes.
fn add_test(text: &mut String, sampled: &Sampled) -> Outcome {
    let plan = Plan::load(
        &sampled.name,
        text,
        &Values::default(),
        &bind::registry(&bind::table_store(Path::new(""))),
    )?;
    let (Some(flow), Some(sample)) = (plan.flow(sampled.flow), sampled.samples.first()) else {
        return Ok(());
    };
    let given = sample.to_string();
    let result = preview(flow, &[given.clone().into_bytes()])?;
    let Some((_, row)) = result.rows.first().filter(|_| given.len() <= TEST_BYTES_MAX) else { return Ok(()) };
    let row: Map<String, Value> = row.clone();
    let _ = write!(
        text,
        "\ntests:\n  - name: the first sample\n    flow: {}\n    given:\n      - {}\n    expect:\n      - {}\n",
        sampled.flow,
        yaml(&given),
        yaml(&Value::Object(row).to_string()),
    );
    Ok(())
}

/// JSON as YAML takes it: `${` would be a value to put in.
fn yaml(json: &str) -> String {
    json.replace("${", "$${")
}
