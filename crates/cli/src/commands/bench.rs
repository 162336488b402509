//! `bench`: what this machine does, each figure with the load it was measured under.

mod functions;
mod latency;
mod made;
mod services;
mod usage;
mod users;

use std::sync::Arc;
use std::time::Duration;

use millstream_connectors::kafka::{Connection, TopicKind, read_all};
use millstream_core::{
    Error, Record, Records, RowSink, Rows, RunValues, Scope, Sink, SinkKind, SinkPlan, Written, now_ms,
};
use millstream_embedded::{Broker, TableKind, TableStore};
use millstream_engine::{Observer, Plan, RunOptions, Until, Values};
use millstream_sql::Decoder;
use rdkafka::consumer::{BaseConsumer, Consumer};
use schemars::{Schema, json_schema};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::dead_letters::topics;
use crate::args::BenchKind;
use crate::load::{EXAMPLE, load_demo};
use crate::output::sayln;
use crate::{Outcome, bind, output};
use usage::{Start, Took};
use users::message;

/// Records where no number is given; where they come at a steady rate, ten seconds of them.
const RECORDS: u64 = 500_000;
const LATENCY_RECORDS: u64 = 10_000;
/// Records that are decoded, queried or handed to the producer at once; the Kafka source hands over at most 2,048.
const BATCH: u64 = 8_192;

pub(super) async fn run(what: BenchKind, given: Option<u64>, partitions: u16) -> Outcome {
    let records = given.unwrap_or(RECORDS);
    match what {
        BenchKind::Query => query(records),
        BenchKind::Functions => functions::run(records),
        BenchKind::Broker => broker(records).await,
        BenchKind::Store => store(records).await,
        BenchKind::Pipe => pipe(records).await,
        BenchKind::Latency => latency::run(given.unwrap_or(LATENCY_RECORDS)).await,
        BenchKind::Services => services::run(records, partitions).await,
    }
}

fn say(what: &str, records: u64, bytes: usize, start: &Start) -> Outcome<Took> {
    let took = start.took();
    let (peak, own) = took.peak_mib;
    output::results(&format!(
        "{what}: {records} records of {} bytes in {:.2} s = {:.0} a second; {:.2} CPU seconds a million, {:.0} a second and core; peak {peak} MiB, {own} of it our own\n",
        bytes as u64 / records.max(1),
        took.seconds,
        records as f64 / took.seconds,
        took.cpu / records as f64 * 1e6,
        records as f64 / took.cpu,
    ))?;
    Ok(took)
}

/// Says how much of another's rate something reaches, both for the same records, and what that costs.
fn say_beside(took: &Took, other: &Took, whose: &str) -> Outcome {
    let (rate, cpu) = (other.seconds / took.seconds * 100.0, took.cpu / other.cpu);
    Ok(output::results(&format!(
        "the flow reaches {rate:.0} % of {whose} rate, at {cpu:.1} times its CPU\n"
    ))?)
}

fn query(records: u64) -> Outcome {
    let loaded = load_demo(&[])?;
    let flow = loaded.plan.flow("fetch").ok_or_else(|| Error::ours("the example has a flow `fetch`"))?;
    let messages: Vec<String> = (0..BATCH).map(users::of_the_api).collect();
    let bytes: usize = messages.iter().map(String::len).sum();
    let mut decoder = Decoder::new(&flow.input);
    let began = Start::now();
    let mut done = 0;
    while done < records {
        let decoded = decoder.decode(messages.iter().map(|message| Some(message.as_bytes())));
        done += flow.native_query()?.run(&decoded.batch)?.batch.num_rows() as u64;
    }
    say("JSON bytes to the query's columns", done, bytes * (done / BATCH) as usize, &began).map(|_| ())
}

/// Fills a topic through the connector.
async fn produce(
    connection: &Connection,
    topic: &str,
    partitions: Option<u16>,
    records: u64,
    value: impl Fn(u64) -> String,
) -> Outcome<usize> {
    let scope = Scope {
        services: [("kafka".to_owned(), json!({"brokers": connection.brokers}))].into_iter().collect(),
        ..Scope::default()
    };
    let mut settings = json!({"topic": topic, "key": "id"});
    if let Some(partitions) = partitions {
        settings["partitions"] = json!(partitions);
    }
    let Sink::Messages(mut sink) = SinkKind::open(&TopicKind, &settings, &scope).await? else {
        return Err(Error::ours("a topic takes messages").into());
    };
    sink.prepare().await?;
    let mut bytes = 0;
    let mut number = 0;
    while number < records {
        let mut batch = Records::default();
        for _ in 0..BATCH.min(records - number) {
            let (key, value) = (number.to_string(), value(number));
            bytes += value.len();
            batch.push(Record {
                key: Some(key.as_bytes()),
                value: Some(value.as_bytes()),
                headers: &[],
                timestamp: now_ms(),
                partition: -1,
                offset: 0,
            });
            number += 1;
        }
        sink.write(&batch).await?;
    }
    Ok(bytes)
}

async fn broker(records: u64) -> Outcome {
    let dir = std::env::temp_dir().join(format!("millstream-bench-{}", std::process::id()));
    let broker = Broker::start(&dir, 0).await?;
    let connection = Connection::to(broker.address().to_string());
    let values: Vec<String> = (0..BATCH).map(users::of_the_api).collect();
    let began = Start::now();
    let value = |number| values[(number % BATCH) as usize].clone();
    let bytes = produce(&connection, "bench", None, records, value).await?;
    say("into the embedded broker, with the client", records, bytes, &began)?;
    let began = Start::now();
    let mut read = 0;
    tokio::task::block_in_place(|| {
        read_all(&connection, "bench", |records| {
            read += records.len() as u64;
            Ok(true)
        })
    })?;
    say("out of the embedded broker, with the client", read, bytes, &began)?;
    broker.stop().await?;
    clear(&dir);
    Ok(())
}

/// A run of the flow that reads the topic, until that is drained.
fn store_once() -> RunOptions {
    RunOptions {
        flows: vec!["store".into()],
        until: Until::Drained,
        patience: None,
        stop: CancellationToken::new(),
        clock: now_ms,
        values: RunValues::default(),
    }
}

async fn store(records: u64) -> Outcome {
    let mut loaded = load_demo(&[])?;
    loaded.state = std::env::temp_dir().join(format!("millstream-bench-{}", std::process::id()));
    loaded.tables = bind::table_store(&loaded.state);
    loaded.registry = bind::registry(&loaded.tables);
    let mut plan = Plan::load("bench", EXAMPLE, &Values::default(), &loaded.registry)?;
    let (tables, state) = (&loaded.tables, &loaded.state);
    let services = bind::Services::start(&plan.pipeline, &topics(&plan), tables, state, loaded.start).await?;
    let connection: Connection = millstream_core::settings::read(&services.settings["kafka"])?;
    let bytes = produce(&connection, "users_created", None, records, message).await?;
    plan.pipeline.services = services.settings.clone();
    let began = Start::now();
    let flows = millstream_engine::run(&plan, &loaded.registry, &store_once(), &Observer::default()).await?;
    say("topic to SQL to embedded table", flows[0].1.counts.written, bytes, &began)?;
    services.stop().await?;
    clear(&loaded.state);
    Ok(())
}

/// A table that forgets its rows.
struct Nowhere;

#[async_trait::async_trait]
impl SinkKind for Nowhere {
    fn name(&self) -> &'static str {
        "nowhere"
    }

    fn settings(&self) -> Schema {
        json_schema!({"type": "object"})
    }

    fn plan(&self, settings: &serde_json::Value) -> millstream_core::Result<SinkPlan> {
        let create = settings["create"].as_str().unwrap_or_default();
        let settings = json!({"table": settings["nowhere"], "create": create});
        SinkKind::plan(&TableKind::new(TableStore::new("".as_ref())), &settings)
    }

    async fn open(&self, _: &serde_json::Value, _: &Scope) -> millstream_core::Result<Sink> {
        Ok(Sink::Rows(Box::new(Nowhere)))
    }
}

#[async_trait::async_trait]
impl RowSink for Nowhere {
    async fn prepare(&mut self) -> millstream_core::Result<()> {
        Ok(())
    }

    async fn write(&mut self, rows: &Rows<'_>) -> millstream_core::Result<Written> {
        Ok(Written { written: rows.batch.num_rows() as u64, refused: Vec::new() })
    }

    async fn flush(&mut self) -> millstream_core::Result<()> {
        Ok(())
    }
}

/// Polls librdkafka, as it comes out of the box, for so many messages and throws them away.
fn read_bare(connection: &Connection, topic: &str, records: u64) -> millstream_core::Result<()> {
    let failed = |e: rdkafka::error::KafkaError| Error::lasting(format!("the bare consumer: {e}"));
    let mut config = rdkafka::ClientConfig::new();
    config.set("bootstrap.servers", &connection.brokers).set("group.id", format!("{topic}.bare"));
    config.set("auto.offset.reset", "earliest");
    let consumer: BaseConsumer = config.create().map_err(failed)?;
    consumer.subscribe(&[topic]).map_err(failed)?;
    let mut bytes = 0;
    let mut read = 0;
    while read < records {
        if let Some(message) = consumer.poll(Duration::from_millis(100)) {
            bytes += message.map_err(failed)?.payload_len();
            read += 1;
        }
    }
    std::hint::black_box(bytes);
    Ok(())
}

/// What the flow costs beyond reading: both read the same topic, one after the other.
async fn pipe(records: u64) -> Outcome {
    let loaded = load_demo(&[])?;
    let state = std::env::temp_dir().join(format!("millstream-bench-{}", std::process::id()));
    let tables = bind::table_store(&state);
    let mut registry = bind::registry(&tables);
    registry.sinks.push(Arc::new(Nowhere));
    let text = EXAMPLE.replace("table: spark_streams", "nowhere: spark_streams");
    let mut plan = Plan::load("bench", &text, &Values::default(), &registry)?;
    let services =
        bind::Services::start(&plan.pipeline, &topics(&plan), &tables, &state, loaded.start).await?;
    let connection: Connection = millstream_core::settings::read(&services.settings["kafka"])?;
    plan.pipeline.services = services.settings.clone();
    let bytes = produce(&connection, "users_created", None, records, message).await?;
    let began = Start::now();
    tokio::task::block_in_place(|| read_bare(&connection, "users_created", records))?;
    let bare = say("a bare consumer", records, bytes, &began)?;
    let began = Start::now();
    let flows = millstream_engine::run(&plan, &registry, &store_once(), &Observer::default()).await?;
    let ours = say("topic to SQL to nowhere", flows[0].1.counts.written, bytes, &began)?;
    say_beside(&ours, &bare, "the bare consumer's")?;
    services.stop().await?;
    clear(&state);
    Ok(())
}

fn clear(dir: &std::path::Path) {
    if let Err(error) = std::fs::remove_dir_all(dir) {
        sayln!("cannot clear {}: {error}", dir.display());
    }
}
