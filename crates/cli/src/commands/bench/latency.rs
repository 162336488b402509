//! How long it takes from handing a message to the producer until its row can be read, while messages
//! come at a steady rate: everything embedded, and on the services of KAFKA_BROKERS and CASSANDRA_HOSTS
//! where those are set. It measures one stage of the pipeline, topic to table, as `up` runs it.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, StringArray};
use millstream_connectors::kafka::{Connection, TopicKind};
use millstream_core::{
    Error, Record, Records, Result, Scope, Sink, SinkKind, SinkPlan, cql, now_ms, settings,
};
use millstream_embedded::TableStore;
use millstream_engine::{Observer, Plan, RunOptions, Until, Values};
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::statement::prepared::PreparedStatement;
use serde_json::{Value, json};
use tokio::task::{JoinSet, block_in_place};
use tokio::time::MissedTickBehavior;

use super::made::Made;
use super::{clear, message, store_once, topics};
use crate::load::{EXAMPLE, load_demo};
use crate::{Outcome, bind, output};

/// Messages a second, and how many are sent at once.
const RATE: u64 = 1_000;
const AT_ONCE: u64 = 5;
/// One message of so many is looked for.
const SAMPLED: u64 = 20;
/// How often it is looked for: no figure is more exact than this.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// Messages before the measured ones, so that connections and plans are there.
const WARM_UP: u64 = 2_000;
/// A row that is not there by then never comes.
const LONGEST: Duration = Duration::from_secs(30);

/// Measures `records` messages on each pair of backends.
pub(super) async fn run(records: u64) -> Outcome {
    embedded(records).await?;
    match (std::env::var("KAFKA_BROKERS"), std::env::var("CASSANDRA_HOSTS")) {
        (Ok(brokers), Ok(hosts)) => real(records, brokers, hosts).await,
        _ => Ok(output::results("real services: set KAFKA_BROKERS and CASSANDRA_HOSTS\n")?),
    }
}

async fn embedded(records: u64) -> Outcome {
    let loaded = load_demo(&[])?;
    let state = std::env::temp_dir().join(format!("millstream-bench-{}", std::process::id()));
    let store = bind::table_store(&state);
    let registry = bind::registry(&store);
    let mut plan = Plan::load("bench", EXAMPLE, &Values::default(), &registry)?;
    let services =
        bind::Services::start(&plan.pipeline, &topics(&plan), &store, &state, loaded.start).await?;
    plan.pipeline.services = services.settings.clone();
    let connection: Connection = settings::read(&services.settings["kafka"])?;
    let table = table_of(&plan)?;
    let measured = measure(plan, registry, &connection, Reader::Embedded(store, table), records).await;
    services.stop().await?;
    clear(&state);
    say("embedded", &measured?)
}

async fn real(records: u64, brokers: String, hosts: String) -> Outcome {
    let made = Made::on(brokers, hosts, "latency");
    made.during(measure_real(&made, records)).await
}

async fn measure_real(made: &Made, records: u64) -> Outcome {
    let mut values = Values::default();
    let services = [("KAFKA_BROKERS", &made.brokers), ("CASSANDRA_HOSTS", &made.hosts)];
    values.variables.extend(services.map(|(variable, value)| (variable.to_owned(), value.clone())));
    let registry = bind::registry(&bind::table_store(Path::new("")));
    let plan = Plan::load("bench", &made.pipeline("table"), &values, &registry)?;
    let reader = Reader::real(&made.hosts, &table_of(&plan)?).await?;
    let connection = Connection::to(&made.brokers);
    say("real services", &measure(plan, registry, &connection, reader, records).await?)
}

fn table_of(plan: &Plan) -> Result<cql::Table> {
    let table = plan.flows.iter().find_map(|flow| match &flow.target.plan {
        SinkPlan::Table(table) => Some(table.clone()),
        SinkPlan::Topic { .. } | SinkPlan::Lines(_) => None,
    });
    table.ok_or_else(|| Error::ours("the example writes a table"))
}

/// Whoever looks for rows.
enum Reader {
    Embedded(TableStore, cql::Table),
    /// A session; its statement comes when the table is there.
    Real(Box<Session>, String, tokio::sync::OnceCell<PreparedStatement>),
}

impl Reader {
    async fn real(hosts: &str, table: &cql::Table) -> Result<Self> {
        let session = SessionBuilder::new().known_node(hosts).build().await.map_err(|e| failed(&e))?;
        let sql = format!("SELECT id FROM {table} WHERE id = ?");
        Ok(Self::Real(Box::new(session), sql, tokio::sync::OnceCell::new()))
    }

    /// Whether the row can be read.
    async fn finds(&self, id: &str) -> Result<bool> {
        match self {
            Self::Embedded(store, table) => {
                let constant: ArrayRef = Arc::new(StringArray::from(vec![id]));
                let key = cql::PartitionKey::of(table, &[("id".to_owned(), constant)]);
                let mut rows = block_in_place(|| store.scan(table, key.as_ref(), 1))?.into_iter().flatten();
                Ok(block_in_place(|| rows.next()).is_some())
            }
            Self::Real(session, sql, statement) => {
                let prepare = || async { session.prepare(sql.as_str()).await.map_err(|e| failed(&e)) };
                // Until the flow has made the table there is nothing to prepare.
                let Ok(statement) = statement.get_or_try_init(prepare).await else { return Ok(false) };
                let id: uuid::Uuid = id.parse().map_err(|e| failed(&e))?;
                let found = session.execute_unpaged(statement, (id,)).await.map_err(|e| failed(&e))?;
                Ok(found.into_rows_result().map_err(|e| failed(&e))?.rows_num() > 0)
            }
        }
    }

    /// How long it takes until the row can be read.
    async fn waits_for(&self, id: &str, sent: Instant) -> Result<Duration> {
        while !self.finds(id).await? {
            if sent.elapsed() > LONGEST {
                return Err(Error::lasting(format!("the row {id} does not come")));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(sent.elapsed())
    }
}

fn failed(error: &dyn std::fmt::Display) -> Error {
    Error::lasting(format!("looking for a row: {error}"))
}

/// Runs the flow `store` beside a producer of so many messages; gives each wait, the shortest first.
async fn measure(
    plan: Plan,
    registry: millstream_engine::Registry,
    connection: &Connection,
    reader: Reader,
    records: u64,
) -> Result<Vec<Duration>> {
    let options = RunOptions { until: Until::Stopped, ..store_once() };
    let (stop, topic) = (options.stop.clone(), topic_of(&plan)?);
    let mut sink = producer(connection, &topic).await?;
    let flow = tokio::spawn(async move {
        millstream_engine::run(&plan, &registry, &options, &Observer::default()).await
    });
    // The rate begins when the flow is at work.
    let mut first = Records::default();
    let first_id = push(&mut first, 0)?;
    sink.write(&first).await?;
    reader.waits_for(&first_id, Instant::now()).await?;
    let reader = Arc::new(reader);
    let mut waits = JoinSet::new();
    let mut ticks = tokio::time::interval(Duration::from_micros(1_000_000 * AT_ONCE / RATE));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut number = 1;
    while number < WARM_UP.saturating_add(records) {
        ticks.tick().await;
        let mut batch = Records::default();
        let sent = Instant::now();
        for _ in 0..AT_ONCE {
            let id = push(&mut batch, number)?;
            if number >= WARM_UP && number.is_multiple_of(SAMPLED) {
                let reader = reader.clone();
                waits.spawn(async move { reader.waits_for(&id, sent).await });
            }
            number += 1;
        }
        sink.write(&batch).await?;
    }
    let mut found = Vec::new();
    while let Some(wait) = waits.join_next().await {
        found.push(wait.map_err(|e| failed(&e))??);
    }
    stop.cancel();
    let flows = flow.await.map_err(|e| failed(&e))??;
    if let Some(error) = flows.iter().find_map(|(_, flow)| flow.error.clone()) {
        return Err(Error::lasting(error));
    }
    found.sort_unstable();
    Ok(found)
}

/// Adds a message; gives its id.
fn push(batch: &mut Records, number: u64) -> Result<String> {
    let value = message(number);
    let parsed: Value = serde_json::from_str(&value).map_err(|e| failed(&e))?;
    let id = parsed["id"].as_str().unwrap_or_default().to_owned();
    batch.push(Record {
        key: Some(id.as_bytes()),
        value: Some(value.as_bytes()),
        headers: &[],
        timestamp: now_ms(),
        partition: -1,
        offset: 0,
    });
    Ok(id)
}

fn topic_of(plan: &Plan) -> Result<String> {
    let topic = plan.flow("store").and_then(|flow| flow.origin.plan.topic.clone());
    topic.ok_or_else(|| Error::ours("the example's flow `store` reads a topic"))
}

async fn producer(connection: &Connection, topic: &str) -> Result<Box<dyn millstream_core::MessageSink>> {
    let services = [("kafka".to_owned(), json!({"brokers": connection.brokers}))].into_iter().collect();
    let scope = Scope { services, ..Scope::default() };
    let settings = json!({"topic": topic, "key": "id"});
    let Sink::Messages(mut sink) = SinkKind::open(&TopicKind, &settings, &scope).await? else {
        return Err(Error::ours("a topic takes messages"));
    };
    sink.prepare().await?;
    Ok(sink)
}

fn say(what: &str, waits: &[Duration]) -> Outcome {
    let at = |share: f64| {
        let index = ((waits.len() as f64 * share) as usize).min(waits.len().saturating_sub(1));
        waits.get(index).map_or(0.0, |wait| wait.as_secs_f64() * 1_000.0)
    };
    Ok(output::results(&format!(
        "{what}: from produce to readable row at {RATE} messages a second: {:.0} ms at the median, {:.0} ms at \
         p99, {:.0} ms at most ({} rows looked for every {} ms)\n",
        at(0.5),
        at(0.99),
        at(1.0),
        waits.len(),
        LOOK_EVERY.as_millis(),
    ))?)
}
