//! A session with a Spark Connect server: its settings, its views, its commands. Streaming queries
//! belong to a session, not to a connection, so that whoever names the same session finds them again.

use std::collections::HashMap;
use std::time::Duration;

use arrow::array::AsArray;
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamReader;
use millstream_core::{Error, Result};
use sha2::{Digest, Sha256};
use spark_connect_core::{ChannelBuilder, RetryPolicy, SparkConnectClient, SparkError};
use spark_connect_proto::{self as proto, command, execute_plan_response::ResponseType, plan, relation};
use uuid::Uuid;

use crate::connection::Connection;
use crate::errors;

/// How long a server may take for anything but the end of a query.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);

/// What every query runs with, whatever the server's own settings are: what the portable dialect means.
const SETTINGS: [(&str, &str); 6] = [
    ("spark.sql.ansi.enabled", "false"),
    ("spark.sql.session.timeZone", "UTC"),
    ("spark.sql.caseSensitive", "false"),
    ("spark.sql.streaming.metricsEnabled", "true"),
    // Every batch is counted, however long nobody has asked.
    ("spark.sql.streaming.numRecentProgressUpdates", "1000"),
    // How long a query that found no message waits before it asks again. Its own 10 ms keep the server busy for
    // nothing; a batch that found some is followed by the next at once all the same.
    ("spark.sql.streaming.pollingDelay", "250ms"),
];

/// What the server says of a session that it has ended.
const CLOSED: &str = "INVALID_HANDLE.SESSION_CLOSED";
/// How many it remembers to have ended.
const CLOSED_MAX: u32 = 1_000;

/// A file that the server has read for us.
#[derive(Debug, Clone)]
pub(crate) struct TextFile {
    pub(crate) path: String,
    pub(crate) text: String,
}

/// A session.
pub(crate) struct Session {
    client: SparkConnectClient,
    address: String,
}

impl Session {
    /// The session of that name on the server, with everything set that a query depends on; it is made where it does
    /// not exist. The server ends one of which nobody asks anything for an hour, and never takes its id again: then
    /// the next of its name is looked for, by everybody in the same order.
    pub(crate) async fn open(connection: &Connection, name: &str) -> Result<Self> {
        let mut number = 0;
        loop {
            let numbered = if number == 0 { name.to_owned() } else { format!("{name}#{number}") };
            let session = Self::connect(connection, &numbered).await?;
            match session.set_all(&SETTINGS).await {
                Err(error) if error.message.contains(CLOSED) && number < CLOSED_MAX => number += 1,
                Err(error) => return Err(error),
                Ok(()) => return Ok(session),
            }
        }
    }

    async fn connect(connection: &Connection, name: &str) -> Result<Self> {
        let invalid = |e: SparkError| {
            Error::user(format!(
                "`{}` is no address of a Spark Connect server: {}",
                connection.address(),
                e.message()
            ))
            .help("write it like sc://localhost:15002, and within a token %3D instead of =")
        };
        let mut builder = ChannelBuilder::parse(&connection.connect).map_err(invalid)?;
        if builder.user_id().is_none() {
            builder.set("user_id", "millstream");
        }
        if builder.session_id().map_err(invalid)?.is_some() {
            return Err(Error::user(
                "`spark.connect` names a session, in which flows would take each other's place",
            )
            .help("take session_id out of the address: each flow has a session of its own"));
        }
        builder.set("session_id", &id_of(name).to_string());
        let mut client = SparkConnectClient::connect(&builder).await.map_err(invalid)?;
        // Who waits, and for how long, is decided by the flow.
        client.set_retry_policy(RetryPolicy::no_retries());
        Ok(Self { client, address: connection.address().to_owned() })
    }

    /// Sets one of its settings.
    pub(crate) async fn set(&self, key: &str, value: &str) -> Result<()> {
        self.set_all(&[(key, value)]).await
    }

    async fn set_all(&self, settings: &[(&str, &str)]) -> Result<()> {
        use proto::config_request::operation::OpType;
        let pairs = settings
            .iter()
            .map(|(key, value)| proto::KeyValue { key: (*key).to_owned(), value: Some((*value).to_owned()) });
        let set =
            proto::config_request::Set { pairs: pairs.collect(), ..proto::config_request::Set::default() };
        let request = proto::ConfigRequest {
            session_id: self.client.session_id().to_owned(),
            user_context: Some(self.user()),
            client_type: Some(CLIENT.to_owned()),
            operation: Some(proto::config_request::Operation { op_type: Some(OpType::Set(set)) }),
            ..proto::ConfigRequest::default()
        };
        self.answered("setting up the session", self.client.config(request)).await.map(|_| ())
    }

    /// A setting of the server.
    pub(crate) async fn setting(&self, key: &str) -> Result<Option<String>> {
        let pairs = [(key, None)];
        let found = self.answered("asking for a setting", self.client.get_config_with_defaults(&pairs)).await;
        Ok(found?.into_iter().next().flatten())
    }

    /// The version of the server.
    pub(crate) async fn version(&self) -> Result<String> {
        use proto::analyze_plan_request::{Analyze, SparkVersion};
        use proto::analyze_plan_response::Result as Answer;
        match self.analyze("asking for the version", Analyze::SparkVersion(SparkVersion {})).await? {
            Answer::SparkVersion(found) => Ok(found.version),
            _ => Err(Error::ours("Spark answers something else than its version")),
        }
    }

    /// The columns of a relation: name and type, as Spark finds them.
    pub(crate) async fn columns(&self, what: &str, input: proto::Relation) -> Result<Vec<String>> {
        use proto::analyze_plan_request::{Analyze, Schema};
        use proto::analyze_plan_response::Result as Answer;
        use proto::data_type::Kind;
        let schema = Schema { plan: Some(proto::Plan { op_type: Some(plan::OpType::Root(input)) }) };
        let Answer::Schema(found) = self.analyze(what, Analyze::Schema(schema)).await? else {
            return Err(Error::ours("Spark answers something else than a schema"));
        };
        match found.schema.and_then(|schema| schema.kind) {
            Some(Kind::Struct(found)) => Ok(found.fields.into_iter().map(|field| field.name).collect()),
            _ => Err(Error::ours("the schema that Spark answers has no columns")),
        }
    }

    async fn analyze(
        &self,
        what: &str,
        analyze: proto::analyze_plan_request::Analyze,
    ) -> Result<proto::analyze_plan_response::Result> {
        let request = proto::AnalyzePlanRequest {
            session_id: self.client.session_id().to_owned(),
            user_context: Some(self.user()),
            client_type: Some(CLIENT.to_owned()),
            analyze: Some(analyze),
            ..proto::AnalyzePlanRequest::default()
        };
        let answer = self.answered(what, self.client.analyze_plan(request)).await?;
        answer.result.ok_or_else(|| Error::ours(format!("{what}: Spark answers nothing")))
    }

    /// Makes a view for this session, or another one of its name.
    pub(crate) async fn make_view(&self, name: &str, input: proto::Relation) -> Result<()> {
        let view = proto::CreateDataFrameViewCommand {
            input: Some(input),
            name: name.to_owned(),
            is_global: false,
            replace: true,
        };
        let command = command::CommandType::CreateDataframeView(view);
        self.execute(&format!("making the view {name}"), command).await.map(|_| ())
    }

    /// Runs a command and gives its answers.
    pub(crate) async fn execute(
        &self,
        what: &str,
        command: command::CommandType,
    ) -> Result<Vec<ResponseType>> {
        let command = proto::Command { command_type: Some(command) };
        self.answers(what, plan::OpType::Command(command)).await
    }

    async fn answers(&self, what: &str, plan: plan::OpType) -> Result<Vec<ResponseType>> {
        let request = proto::ExecutePlanRequest {
            session_id: self.client.session_id().to_owned(),
            user_context: Some(self.user()),
            client_type: Some(CLIENT.to_owned()),
            plan: Some(proto::Plan { op_type: Some(plan) }),
            ..proto::ExecutePlanRequest::default()
        };
        let answers = async {
            let mut stream = self.client.execute_plan(request).await?;
            let mut answers = Vec::new();
            while let Some(answer) = stream.message().await.map_err(SparkError::from_grpc_status)? {
                answers.extend(answer.response_type);
            }
            Ok(answers)
        };
        self.answered(what, answers).await
    }

    /// The text files whose paths match a pattern, each whole; none where none does.
    pub(crate) async fn texts(&self, what: &str, pattern: &str) -> Result<Vec<TextFile>> {
        let source = proto::read::DataSource {
            format: Some("text".to_owned()),
            options: HashMap::from([("wholetext".to_owned(), "true".to_owned())]),
            paths: vec![pattern.to_owned()],
            ..proto::read::DataSource::default()
        };
        let read_type = Some(proto::read::ReadType::DataSource(source));
        let files = relation_of(relation::RelType::Read(proto::Read { read_type, is_streaming: false }));
        let expressions = ["_metadata.file_path AS path", "value AS text"].map(expression_of);
        let project = proto::Project { input: Some(Box::new(files)), expressions: expressions.to_vec() };
        let project = relation_of(relation::RelType::Project(Box::new(project)));
        let found = match self.answers(what, plan::OpType::Root(project)).await {
            Err(error) if error.message.contains("PATH_NOT_FOUND") => return Ok(Vec::new()),
            found => found?,
        };
        let unreadable = |e: ArrowError| Error::ours(format!("{what}: cannot read what Spark answers: {e}"));
        let mut texts = Vec::new();
        for answer in found {
            let ResponseType::ArrowBatch(part) = answer else { continue };
            for batch in StreamReader::try_new(&part.data[..], None).map_err(unreadable)? {
                let batch = batch.map_err(unreadable)?;
                let (paths, values) =
                    (batch.column(0).as_string::<i32>(), batch.column(1).as_string::<i32>());
                let files = paths.iter().zip(values).map(|(path, text)| TextFile {
                    path: path.unwrap_or_default().to_owned(),
                    text: text.unwrap_or_default().to_owned(),
                });
                texts.extend(files);
            }
        }
        Ok(texts)
    }

    fn user(&self) -> proto::UserContext {
        proto::UserContext {
            user_id: self.client.user_id().unwrap_or_default().to_owned(),
            ..proto::UserContext::default()
        }
    }

    async fn answered<T>(&self, what: &str, asked: impl Future<Output = Result<T, SparkError>>) -> Result<T> {
        match tokio::time::timeout(ANSWER_TIMEOUT, asked).await {
            Ok(answer) => answer.map_err(|e| errors::explain(&self.address, what, &e)),
            Err(_) => Err(Error::passing(format!(
                "{what}: Spark at {} has not answered for {} s",
                self.address,
                ANSWER_TIMEOUT.as_secs()
            ))
            .help("has it too much to do?")),
        }
    }
}

const CLIENT: &str = concat!("millstream/", env!("CARGO_PKG_VERSION"));

/// The id under which the server knows the session of that name, `PIPELINE.FLOW` for a flow; Spark asks for one of
/// version 4.
pub fn id_of(name: &str) -> Uuid {
    let digest = Sha256::digest(name.as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}

/// A query in SQL.
pub(crate) fn sql(query: String) -> proto::Relation {
    relation_of(relation::RelType::Sql(proto::Sql { query, ..proto::Sql::default() }))
}

/// A stream of a format with options.
pub(crate) fn stream(format: &str, options: HashMap<String, String>) -> proto::Relation {
    let source = proto::read::DataSource {
        format: Some(format.to_owned()),
        options,
        ..proto::read::DataSource::default()
    };
    let read_type = Some(proto::read::ReadType::DataSource(source));
    relation_of(relation::RelType::Read(proto::Read { read_type, is_streaming: true }))
}

/// A relation of which numbers are counted while it is worked on.
pub(crate) fn counted(name: &str, input: proto::Relation, metrics: &[(&str, String)]) -> proto::Relation {
    let metrics =
        metrics.iter().map(|(metric, expression)| expression_of(&format!("{expression} AS {metric}")));
    let counted = proto::CollectMetrics {
        input: Some(Box::new(input)),
        name: name.to_owned(),
        metrics: metrics.collect(),
    };
    relation_of(relation::RelType::CollectMetrics(Box::new(counted)))
}

fn expression_of(text: &str) -> proto::Expression {
    let text = proto::expression::ExpressionString { expression: text.to_owned() };
    proto::Expression {
        expr_type: Some(proto::expression::ExprType::ExpressionString(text)),
        ..proto::Expression::default()
    }
}

fn relation_of(rel_type: relation::RelType) -> proto::Relation {
    proto::Relation { rel_type: Some(rel_type), ..proto::Relation::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_name_is_the_same_session() {
        assert_eq!(id_of("a/b"), id_of("a/b"));
        assert_ne!(id_of("a/b"), id_of("a/c"));
        assert_eq!(id_of("a/b").get_version_num(), 4);
    }

    #[tokio::test]
    async fn what_is_no_address_is_explained() {
        let id = id_of("a");
        for (address, expected) in [
            ("localhost:15002", "`localhost:15002` is no address"),
            (&format!("sc://localhost:1/;session_id={id}"), "`spark.connect` names a session"),
        ] {
            let connection =
                Connection { connect: address.into(), checkpoints: None, batch_messages_max: None };
            let Err(error) = Session::open(&connection, "a").await else { panic!("{address} is taken") };
            assert!(error.message.starts_with(expected), "{error}");
        }
    }

    /// A server that is killed while it is asked: it takes the connection, and the request, and is gone.
    #[tokio::test]
    async fn a_connection_that_breaks_is_nothing_lasting() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let served = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a client");
            let no_settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
            stream.write_all(&no_settings).await.expect("is written");
            let mut request = [0; 1 << 16];
            // Until it has nothing more to say and waits for the answer.
            let silence = Duration::from_secs(1);
            while let Ok(Ok(1..)) = tokio::time::timeout(silence, stream.read(&mut request)).await {}
        });
        let connect = format!("sc://{address}");
        let connection = Connection { connect, checkpoints: None, batch_messages_max: None };
        let Err(error) = Session::open(&connection, "a").await else { panic!("it is gone") };
        assert!(error.is_passing(), "{error}");
        served.await.expect("it ends");
    }
}
