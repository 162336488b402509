//! Turns a bound flow into a Spark Connect plan and watches it.
//!
//! [`Spark`] is the runner. The way of a flow: `statements` (each step as Spark SQL, with the same
//! readings and the same refusals as the native runner), `session` (the steps as views of a session),
//! `run` (the queries over them: rows and dead letters), `checkpoints` (where they go on), `query` (one query on
//! the server).
//!
//! It reads no message itself, and it makes no table: that is done before, by the sinks that also
//! serve the native runner.

mod cassandra;
mod checkpoints;
mod connection;
mod doctor;
mod errors;
mod query;
mod run;
mod session;
mod statements;
mod text;
mod validity;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use millstream_core::{FlowRunner, RemoteFlow, RemoteRun, RemoteUntil, Result};

pub use connection::Connection;
pub use doctor::examine;
pub use session::id_of as session_id;

/// The broker of a flow, as Spark's own Kafka client reaches it.
pub struct Reached {
    /// The client's properties.
    pub kafka: BTreeMap<String, String>,
    /// Which of several topics that had the name of the flow's topic it is, where the broker says.
    pub topic_id: Option<String>,
    /// How many partitions the topic has.
    pub partitions: i32,
}

/// Finds the broker of a flow. It may block.
pub type Reach = Arc<dyn Fn(&RemoteFlow) -> Result<Reached> + Send + Sync>;

/// Runs flows on a Spark cluster.
#[derive(Clone)]
pub struct Spark {
    reach: Reach,
    /// How often something was started.
    starts: Arc<AtomicU32>,
    counted: run::Counted,
    had: run::Had,
}

impl Spark {
    /// A runner whose flows reach their brokers as `reach` says.
    pub fn new(reach: Reach) -> Self {
        Self { reach, starts: Arc::default(), counted: Arc::default(), had: Arc::default() }
    }
}

#[async_trait]
impl FlowRunner for Spark {
    fn check(&self, flow: &RemoteFlow) -> Result<()> {
        Connection::of(flow)?.checkpoints()?;
        cassandra::options(&run::tables_of(flow)?)?;
        validity::check(&flow.table)
    }

    async fn start(&self, flow: &RemoteFlow, until: RemoteUntil) -> Result<Box<dyn RemoteRun>> {
        let reached = tokio::task::block_in_place(|| (self.reach)(flow))?;
        let again = self.starts.fetch_add(1, Ordering::Relaxed);
        let known = (self.counted.clone(), self.had.clone());
        let run = run::SparkRun::start(flow, &reached, until, again, known).await?;
        Ok(Box::new(run))
    }
}
