//! The same on real services: a topic to nowhere beside a bare consumer, and to Cassandra beside what
//! the driver alone can do there with rows that are always the same.

use std::sync::Arc;

use futures::StreamExt;
use millstream_connectors::kafka::Connection;
use millstream_core::{Error, Result};
use millstream_engine::{Observer, Plan, Values};
use scylla::client::Compression;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::statement::batch::{Batch, BatchType};
use scylla::statement::prepared::PreparedStatement;

use super::made::Made;
use super::usage::Start;
use super::{Nowhere, message, produce, read_bare, say, say_beside, store_once};
use crate::{Outcome, bind, log};

/// Requests of the driver alone that are under way at once.
const IN_FLIGHT: usize = 256;
/// Rows of one batch.
const BATCH_ROWS: u64 = 10;

/// Measures with the services that KAFKA_BROKERS and CASSANDRA_HOSTS name.
pub(super) async fn run(records: u64, partitions: u16) -> Outcome {
    let variable = |name: &str, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_owned());
    let brokers = variable("KAFKA_BROKERS", "localhost:29092");
    let hosts = variable("CASSANDRA_HOSTS", "localhost");
    let made = Made::on(brokers, hosts, "bench");
    made.during(measure(&made, records, partitions)).await
}

async fn measure(made: &Made, records: u64, partitions: u16) -> Outcome {
    let (connection, name) = (Connection::to(&made.brokers), &made.name);
    let bytes = produce(&connection, name, Some(partitions), records, message).await?;
    let mut values = Values::default();
    let services = [("KAFKA_BROKERS", &made.brokers), ("CASSANDRA_HOSTS", &made.hosts)];
    values.variables.extend(services.map(|(variable, value)| (variable.to_owned(), value.clone())));

    let began = Start::now();
    tokio::task::block_in_place(|| read_bare(&connection, name, records))?;
    let bare = say("a bare consumer", records, bytes, &began)?;

    let began = Start::now();
    let nowhere = made.pipeline("nowhere").replace("table: ", "nowhere: ");
    let written = flow(&nowhere, &values).await?;
    let nowhere = say("topic to SQL to nowhere", written, bytes, &began)?;
    say_beside(&nowhere, &bare, "the bare consumer's")?;

    let began = Start::now();
    let written = flow(&made.pipeline("table"), &values).await?;
    let table = say("topic to SQL to Cassandra", written, bytes, &began)?;

    let driver = Driver::open(&made.hosts, name).await?;
    for (what, rows) in
        [("the driver alone, single rows", 1), ("the driver alone, batches of ten", BATCH_ROWS)]
    {
        let began = Start::now();
        driver.write(records, rows).await?;
        let alone = say(what, records, 0, &began)?;
        say_beside(&table, &alone, "its")?;
    }
    Ok(())
}

/// Runs the flow `store` of a file until its topic is drained; gives the rows that were written.
async fn flow(text: &str, values: &Values) -> Outcome<u64> {
    let tables = bind::table_store(std::path::Path::new(""));
    let mut registry = bind::registry(&tables);
    registry.sinks.push(Arc::new(Nowhere));
    let plan = Plan::load("bench", text, values, &registry)?;
    log::hide(&plan.pipeline.secrets);
    let flows = millstream_engine::run(&plan, &registry, &store_once(), &Observer::default()).await?;
    match &flows[0].1.error {
        None => Ok(flows[0].1.counts.written),
        Some(error) => Err(Error::lasting(error.clone()).into()),
    }
}

/// The driver with the table's statement, and nothing of ours between.
struct Driver {
    session: Session,
    insert: PreparedStatement,
}

impl Driver {
    async fn open(hosts: &str, name: &str) -> Result<Self> {
        let failed = |e: &dyn std::fmt::Display| Error::lasting(format!("the driver alone: {e}"));
        let session =
            SessionBuilder::new().known_node(hosts).compression(Some(Compression::Lz4)).build().await;
        let session = session.map_err(|e| failed(&e))?;
        let insert = session
            .prepare(format!(
                "INSERT INTO {name}.users (id, first_name, last_name, gender, address, post_code, email, username, \
                 registered_date, phone, picture) VALUES (uuid(), ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
            ))
            .await
            .map_err(|e| failed(&e))?;
        Ok(Self { session, insert })
    }

    async fn write(&self, rows: u64, at_once: u64) -> Result<()> {
        let row = (
            "First1",
            "Last1",
            "female",
            "9999 Main Street, Springfield, Oregon, United States",
            "12345",
            "first.last1@example.com",
            "user1",
            "2012-06-01T10:00:00.000Z",
            "(555) 010-0000",
            "https://randomuser.me/m/1.jpg",
        );
        let statements = vec![self.insert.clone().into(); at_once as usize];
        let batch = Batch::new_with_statements(BatchType::Unlogged, statements);
        let requests = (0..rows / at_once).map(|_| async {
            match at_once {
                1 => self.session.execute_unpaged(&self.insert, row).await.map(|_| ()),
                _ => self.session.batch(&batch, vec![row; at_once as usize]).await.map(|_| ()),
            }
        });
        let in_flight = (IN_FLIGHT / at_once as usize).max(1) * if at_once > 1 { 5 } else { 1 };
        let mut answers = futures::stream::iter(requests).buffer_unordered(in_flight);
        while let Some(answer) = answers.next().await {
            answer.map_err(|e| Error::lasting(format!("the driver alone: {e}")))?;
        }
        Ok(())
    }
}
