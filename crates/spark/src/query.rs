//! A streaming query on the server: started, found again, watched, stopped.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use millstream_core::{Error, Result};
use serde::Deserialize;
use serde_json::Value;
use spark_connect_proto::execute_plan_response::ResponseType;
use spark_connect_proto::streaming_query_command::{AwaitTerminationCommand, Command};
use spark_connect_proto::streaming_query_command_result::ResultType;
use spark_connect_proto::streaming_query_manager_command_result::ResultType as ManagerResult;
use spark_connect_proto::write_stream_operation_start::Trigger;
use spark_connect_proto::{self as proto, command};

use crate::session::Session;

/// What a query is to do.
pub(crate) struct Start {
    pub(crate) name: String,
    pub(crate) input: proto::Relation,
    pub(crate) format: &'static str,
    pub(crate) options: HashMap<String, String>,
    /// Whether it ends when it has read what is there now.
    pub(crate) drains: bool,
}

/// A query by its name on the server, and which of its runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Query {
    name: String,
    id: proto::StreamingQueryInstanceId,
}

impl Query {
    /// Starts it; what its checkpoint says is done is not done again.
    pub(crate) async fn start(session: &Session, start: Start) -> Result<Self> {
        let what = format!("starting the query {}", start.name);
        let operation = proto::WriteStreamOperationStart {
            input: Some(start.input),
            format: start.format.to_owned(),
            options: start.options,
            output_mode: "append".to_owned(),
            query_name: start.name.clone(),
            trigger: Some(match start.drains {
                true => Trigger::AvailableNow(true),
                false => Trigger::ProcessingTimeInterval("0 seconds".to_owned()),
            }),
            ..proto::WriteStreamOperationStart::default()
        };
        let command = command::CommandType::WriteStreamOperationStart(operation);
        for answer in session.execute(&what, command).await? {
            if let ResponseType::WriteStreamOperationStartResult(started) = answer
                && let Some(id) = started.query_id
            {
                return Ok(Self { name: start.name, id });
            }
        }
        Err(Error::ours(format!("{what}: Spark does not name the query")))
    }

    /// The queries of the session that are at work.
    pub(crate) async fn active(session: &Session) -> Result<Vec<Self>> {
        let command = proto::StreamingQueryManagerCommand {
            command: Some(proto::streaming_query_manager_command::Command::Active(true)),
        };
        let command = command::CommandType::StreamingQueryManagerCommand(command);
        let mut found = Vec::new();
        for answer in session.execute("looking for queries", command).await? {
            let ResponseType::StreamingQueryManagerCommandResult(answer) = answer else { continue };
            if let Some(ManagerResult::Active(active)) = answer.result_type {
                let queries = active.active_queries.into_iter();
                found.extend(queries.filter_map(|query| Some(Self { name: query.name?, id: query.id? })));
            }
        }
        Ok(found)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Which of its runs this is: each start makes another one.
    pub(crate) fn run(&self) -> &str {
        &self.id.run_id
    }

    /// Whether it ends within that time; a query that fails is an error.
    pub(crate) async fn ends_within(&self, session: &Session, time: Duration) -> Result<bool> {
        // Nothing but positive times are taken.
        let timeout_ms = i64::try_from(time.as_millis()).unwrap_or(i64::MAX).max(1);
        let awaited = AwaitTerminationCommand { timeout_ms: Some(timeout_ms) };
        match self.ask(session, Command::AwaitTermination(awaited)).await? {
            Some(ResultType::AwaitTermination(awaited)) => Ok(awaited.terminated),
            _ => Err(Error::ours(format!("Spark says nothing of the query {}", self.name))),
        }
    }

    /// Why it has ended, where that was no end in order.
    pub(crate) async fn exception(&self, session: &Session) -> Result<Option<String>> {
        match self.ask(session, Command::Exception(true)).await? {
            Some(ResultType::Exception(exception)) => {
                Ok(exception.exception_message.map(|message| match exception.stack_trace {
                    Some(trace) => format!("{message}\n{trace}"),
                    None => message,
                }))
            }
            _ => Ok(None),
        }
    }

    /// What it did in the batches that it remembers, oldest first.
    pub(crate) async fn progress(&self, session: &Session) -> Result<Vec<Progress>> {
        match self.ask(session, Command::RecentProgress(true)).await? {
            Some(ResultType::RecentProgress(recent)) => recent
                .recent_progress_json
                .iter()
                .map(|json| {
                    serde_json::from_str(json)
                        .map_err(|e| Error::ours(format!("cannot read the progress of Spark: {e}: {json}")))
                })
                .collect(),
            _ => Ok(Vec::new()),
        }
    }

    /// Ends it at once; the batch in hand is done again by the next start.
    pub(crate) async fn stop(&self, session: &Session) -> Result<()> {
        self.ask(session, Command::Stop(true)).await.map(|_| ())
    }

    async fn ask(&self, session: &Session, command: Command) -> Result<Option<ResultType>> {
        let command =
            proto::StreamingQueryCommand { query_id: Some(self.id.clone()), command: Some(command) };
        let command = command::CommandType::StreamingQueryCommand(command);
        let what = format!("asking for the query {}", self.name);
        for answer in session.execute(&what, command).await? {
            if let ResponseType::StreamingQueryCommandResult(answer) = answer {
                return Ok(answer.result_type);
            }
        }
        Ok(None)
    }
}

/// What a query did in one batch, as Spark reports it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Progress {
    pub(crate) batch_id: i64,
    /// What was counted, by the name under which it was.
    pub(crate) observed_metrics: HashMap<String, Observed>,
    /// Where it reads.
    pub(crate) sources: Vec<SourceProgress>,
}

/// How far a batch came in one source.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct SourceProgress {
    /// Messages that were read.
    pub(crate) num_input_rows: u64,
    /// By topic and partition, what is read next.
    pub(crate) end_offset: Option<Value>,
    /// By topic and partition, where the topic ended.
    pub(crate) latest_offset: Option<Value>,
}

/// Numbers, and beside them what each is called.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Observed {
    pub(crate) values: Vec<u64>,
    pub(crate) schema: ObservedSchema,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct ObservedSchema {
    pub(crate) fields: Vec<ObservedField>,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct ObservedField {
    pub(crate) name: String,
}

impl Progress {
    /// Messages behind this batch, by partition; nothing where Spark does not say.
    pub(crate) fn lag(&self, topic: &str) -> BTreeMap<i32, u64> {
        let mut lag = BTreeMap::new();
        for source in &self.sources {
            let offsets = |of: &Option<Value>| of.as_ref()?.get(topic)?.as_object().cloned();
            let (Some(read), Some(ends)) = (offsets(&source.end_offset), offsets(&source.latest_offset))
            else {
                continue;
            };
            for (partition, end) in ends {
                let next = read.get(&partition).and_then(Value::as_u64).unwrap_or(0);
                if let (Ok(partition), Some(end)) = (partition.parse(), end.as_u64()) {
                    lag.insert(partition, end.saturating_sub(next));
                }
            }
        }
        lag
    }

    /// Messages that were read. Their sum is not among what a Connect server tells, unlike what Spark logs.
    pub(crate) fn num_input_rows(&self) -> u64 {
        self.sources.iter().map(|source| source.num_input_rows).sum()
    }

    /// A number that was counted; 0 where nothing was.
    pub(crate) fn metric(&self, of: &str, name: &str) -> u64 {
        let Some(observed) = self.observed_metrics.get(of) else { return 0 };
        let named = observed.schema.fields.iter().zip(&observed.values);
        named.into_iter().find(|(field, _)| field.name == name).map_or(0, |(_, value)| *value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_read_as_spark_writes_it() {
        let json = r#"{"id":"a","batchId":3,"sources":[{"description":"KafkaV2","numInputRows":5,"endOffset":{"t":{"0":7,"1":4}},"latestOffset":{"t":{"0":9,"1":4,"2":3}}}],"observedMetrics":{"read":{"values":[5,4],"schema":{"type":"struct","fields":[{"name":"read","type":"long"},{"name":"readable","type":"long"}]}}}}"#;
        let progress: Progress = serde_json::from_str(json).expect("progress");
        assert_eq!((progress.batch_id, progress.num_input_rows()), (3, 5));
        assert_eq!(progress.metric("read", "readable"), 4);
        assert_eq!(progress.metric("checked", "rows"), 0);
        assert_eq!(progress.lag("t"), BTreeMap::from([(0, 2), (1, 0), (2, 3)]));
        assert_eq!(progress.lag("other"), BTreeMap::new());
    }
}
