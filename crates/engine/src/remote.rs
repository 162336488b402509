//! Flows that a cluster runs: what it is told of them, and how they are watched from here.

use std::sync::Arc;

use millstream_core::{Counts, Error, FlowRunner, RemoteFlow, RemoteRun, RemoteUntil, Result, SinkPlan};
use millstream_sql::{FROM_JSON, SqlError, carry, carry_past_filters, type_ddl};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::flow::{check_share, check_share_at_work};
use crate::pipeline::Pipeline;
use crate::plan::PlannedFlow;
use crate::retry::{Attempts, Patience};
use crate::run::Until;

/// Why a flow cannot be handed to a cluster.
pub(crate) enum RemoteMistake {
    /// Its query.
    Query(SqlError),
    /// Anything else of it.
    Flow(Error),
}

impl PlannedFlow {
    /// What a cluster is told of the flow.
    pub(crate) fn remote(&self, pipeline: &Pipeline) -> Result<RemoteFlow, RemoteMistake> {
        let refused = |what: &str| {
            let error = Error::user(format!("on Spark a flow reads a topic and writes a table: {what}"));
            Err(RemoteMistake::Flow(error.help("take `runner: spark` away: it runs natively")))
        };
        let Some(topic) = self.origin.plan.topic.clone() else {
            return refused("this one reads no topic");
        };
        let SinkPlan::Table(table) = self.target.plan.clone() else {
            return refused("Spark cannot date the messages that it sends");
        };
        let sql = carry(&self.sql, RemoteFlow::PLACE).map_err(RemoteMistake::Query)?;
        let with_unread = carry_past_filters(&self.sql, RemoteFlow::PLACE, RemoteFlow::IS_UNREAD).ok();
        let fields = self.input.fields().iter();
        let fields = fields.map(|field| (field.name().clone(), type_ddl(field.data_type())));
        Ok(RemoteFlow {
            pipeline: pipeline.name.clone(),
            flow: self.name.clone(),
            services: pipeline.services.clone(),
            topic,
            fields: fields.collect(),
            reading: FROM_JSON,
            nulls_ignored: self.origin.plan.nulls_ignored,
            sql,
            sql_with_unread: with_unread.filter(|_| self.query.is_some()),
            table,
            sink: self.target.component.settings.clone(),
            dead_letter_topic: self.dead_letter_topic.clone(),
        })
    }
}

/// A flow that a cluster runs, watched from here.
pub(crate) struct WatchedFlow {
    pub(crate) planned: PlannedFlow,
    pub(crate) flow: RemoteFlow,
    pub(crate) runner: Arc<dyn FlowRunner>,
    pub(crate) until: Until,
    pub(crate) patience: Patience,
    /// Now in milliseconds since 1970.
    pub(crate) clock: fn() -> i64,
}

impl WatchedFlow {
    /// Starts the flow there and watches it until it ends or `stop` is set. One that drains waits for
    /// `drain`, which fires when the flows that write its topic have ended.
    pub(crate) async fn run(self, stop: CancellationToken, drain: oneshot::Receiver<()>) -> Result<Counts> {
        let until = match self.until {
            Until::Drained => {
                tokio::select! {
                    () = stop.cancelled() => return Ok(Counts::default()),
                    _ = drain => RemoteUntil::Drained,
                }
            }
            Until::Stopped => RemoteUntil::Stopped,
        };
        // Attempts at making something of it, while that fails.
        let mut attempts = None;
        loop {
            let mut started = self.runner.start(&self.flow, until).await;
            let watched = match &mut started {
                Ok(run) => self.watch(run.as_mut(), &stop, &mut attempts).await,
                Err(error) => Err(error.clone()),
            };
            let Err(error) = watched else { break };
            if let Err(error) = attempts.get_or_insert_with(|| self.patience.begin()).wait(error).await {
                // What of it is still at work is not left alone there.
                if let Ok(run) = &mut started {
                    self.stop(run.as_mut()).await.ok();
                }
                return Err(error);
            }
        }
        drop(attempts);
        let counts = self.patience.state.lock().counts;
        check_share(&self.planned, counts)?;
        Ok(counts)
    }

    async fn watch(
        &self,
        run: &mut dyn RemoteRun,
        stop: &CancellationToken,
        attempts: &mut Option<Attempts<'_>>,
    ) -> Result<()> {
        loop {
            let next = tokio::select! {
                biased;
                () = stop.cancelled() => return self.stop(run).await,
                next = run.next() => next?,
            };
            let Some(counts) = next else { return Ok(()) };
            if counts.read > 0 {
                // What it has done is done: the next start goes on behind it.
                *attempts = None;
            } else if let Some(attempts) = attempts {
                attempts.is_at_work();
            }
            check_share_at_work(&self.planned, self.add(counts, run))?;
        }
    }

    async fn stop(&self, run: &mut dyn RemoteRun) -> Result<()> {
        let counts = run.stop().await?;
        self.add(counts, run);
        Ok(())
    }

    /// What became of all records by now.
    fn add(&self, counts: Counts, run: &dyn RemoteRun) -> Counts {
        let mut state = self.patience.state.lock();
        state.counts += counts;
        state.gauges.set_lag(run.lag());
        if counts.read > 0 {
            state.committed_ms = Some((self.clock)());
        }
        state.counts
    }
}
