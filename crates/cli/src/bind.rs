//! The only place where a name meets a backend: which kinds there are, and what `embedded` is.

mod tables;

use std::path::Path;
use std::sync::Arc;

use crate::output::sayln;
use millstream_connectors::file::{FileKind, STDIN};
use millstream_connectors::http::HttpKind;
use millstream_connectors::kafka::{Connection, KafkaCursors, TopicKind};
use millstream_connectors::stdout::StdoutKind;
use millstream_core::{Error, RemoteFlow, Result, TableConnection, settings};
use millstream_embedded::{Broker, TableStore};
use millstream_engine::{Backends, Component, Flow, Pipeline, Plan, Registry, Runner, Service};
use millstream_spark::{Reached, Spark};
use schemars::schema_for;
use serde_json::{Map, Value, json};

use tables::TableSinks;
pub(crate) use tables::{Tables, table_store, tables_of};

/// The port on which everybody expects the tutorial's broker.
const BROKER_PORT: u16 = 29092;
const EMBEDDED: &str = "embedded";

/// Every kind of source and sink, with `tables` as what is embedded.
pub(crate) fn registry(tables: &TableStore) -> Registry {
    Registry {
        sources: vec![Arc::new(HttpKind), Arc::new(TopicKind), Arc::new(FileKind)],
        sinks: vec![Arc::new(TopicKind), Arc::new(TableSinks::new(tables)), Arc::new(StdoutKind)],
        services: services(),
        spark: Some(Arc::new(Spark::new(Arc::new(reach_from_spark)))),
        cursors: Some(Arc::new(KafkaCursors::default())),
    }
}

fn services() -> Vec<Service> {
    let kafka = Service { name: "kafka", settings: schema_for!(Connection), check: check_broker };
    let cassandra = Service {
        name: "cassandra",
        settings: schema_for!(TableConnection),
        check: |settings| settings::read::<TableConnection>(settings)?.check(),
    };
    let spark = Service {
        name: "spark",
        settings: schema_for!(millstream_spark::Connection),
        check: |settings| settings::read::<millstream_spark::Connection>(settings).map(drop),
    };
    vec![kafka, cassandra, spark]
}

fn check_broker(settings: &Value) -> Result<()> {
    let connection: Connection = settings::read(settings)?;
    embedded_port(&connection)?;
    connection.check()
}

/// How Spark's own client reaches the topic of a flow, and which topic it is.
fn reach_from_spark(flow: &RemoteFlow) -> Result<Reached> {
    let connection: Connection = settings::read(flow.services.get("kafka").unwrap_or(&Value::Null))?;
    let topic = connection.known_topic(&flow.topic)?;
    Ok(Reached { kafka: connection.java_properties()?, topic_id: topic.id, partitions: topic.partitions })
}

/// The Spark that flows of a pipeline run on; none where all run natively.
pub(crate) fn spark_of(pipeline: &Pipeline) -> Result<Option<millstream_spark::Connection>> {
    let runner = |(name, flow, ..): &(String, Flow, Component, Component)| {
        pipeline.runners.get(name).copied().unwrap_or(flow.runner) == Runner::Spark
    };
    match pipeline.services.get("spark") {
        Some(set) if !set.is_null() && pipeline.flows.iter().any(runner) => settings::read(set).map(Some),
        _ => Ok(None),
    }
}

/// The services of a pipeline, running.
pub(crate) struct Services {
    broker: Option<Broker>,
    /// Each service with its address, for people: nothing in it is secret.
    pub(crate) backends: Backends,
    /// The settings with real addresses in place of `embedded`.
    pub(crate) settings: Map<String, Value>,
}

/// What a start may do.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct StartOptions {
    /// Nothing embedded is started.
    pub(crate) no_embedded: bool,
    /// The broker takes a free port where its own is taken.
    pub(crate) any_port: bool,
}

/// The broker as a pipeline's file has it.
fn broker_of(pipeline: &Pipeline) -> Result<Connection> {
    match &pipeline.services["kafka"] {
        Value::Null => Ok(Connection::to(EMBEDDED)),
        set => settings::read(set),
    }
}

/// How a pipeline whose broker is embedded reaches it at `address`: it asks for neither TLS nor a name.
pub(crate) fn embedded_at(pipeline: &Pipeline, address: &str) -> Result<Connection> {
    Ok(Connection { client: broker_of(pipeline)?.client, ..Connection::to(address) })
}

/// Whether a pipeline keeps topics in this process.
pub(crate) fn broker_port(pipeline: &Pipeline) -> Result<Option<u16>> {
    embedded_port(&broker_of(pipeline)?)
}

fn embedded_port(connection: &Connection) -> Result<Option<u16>> {
    match connection.brokers.strip_prefix(EMBEDDED) {
        None => Ok(None),
        Some("") => Ok(Some(BROKER_PORT)),
        Some(port) => match port.strip_prefix(':').and_then(|port| port.parse().ok()) {
            Some(port) => Ok(Some(port)),
            None => Err(Error::user(format!("`{}` is no broker", connection.brokers))
                .help("write embedded, embedded:PORT, or host:port")
                .at("brokers")
                .at("kafka")),
        },
    }
}

/// Whether anybody may look for the topics of a pipeline; dead letters alone need no known port.
fn has_topics(pipeline: &Pipeline) -> bool {
    pipeline.flows.iter().any(|(_, _, from, to)| from.kind == "topic" || to.kind == "topic")
}

/// The flows that read standard input, which is there once.
pub(crate) fn readers_of_stdin(plan: &Plan) -> Vec<&str> {
    let readers = plan.flows.iter().filter(|flow| flow.origin.component.settings["file"] == STDIN);
    readers.map(|flow| flow.name.as_str()).collect()
}

/// Whether a pipeline keeps something in its state directory.
pub(crate) fn keeps_state(pipeline: &Pipeline) -> Result<bool> {
    Ok(broker_port(pipeline)?.is_some() || tables_of(&pipeline.services)?.is_embedded())
}

/// Checks that a pipeline's services are what this start may use.
pub(crate) fn check_services(pipeline: &Pipeline, options: StartOptions) -> Result<()> {
    let embedded_broker = broker_port(pipeline)?.is_some();
    let embedded_tables = tables_of(&pipeline.services)?.is_embedded();
    for (name, key, embedded) in
        [("kafka", "brokers", embedded_broker), ("cassandra", "hosts", embedded_tables)]
    {
        let variable =
            written(pipeline, name, key).split_once("${").and_then(|(_, rest)| rest.split([':', '}']).next());
        let set = variable
            .map_or_else(|| format!("{name}.{key} in the file"), |name| format!("the variable {name}"));
        if embedded && options.no_embedded {
            return Err(Error::user(format!("{name} would be embedded, which this start forbids"))
                .help(format!("give {set} the address of a real service")));
        }
        if embedded && variable.is_some() && embedded_broker != embedded_tables {
            return Err(Error::user(format!("{name} would be embedded and the other service real")).help(
                format!("give {set} an address; or write `{name}: {{ {key}: embedded }}` if it is meant"),
            ));
        }
    }
    Ok(())
}

/// A service's setting as it stands in the file; nothing where it is left out.
fn written<'a>(pipeline: &'a Pipeline, service: &str, key: &str) -> &'a str {
    let document = &pipeline.document;
    let node = document.root.get(service).and_then(|settings| settings.get(key));
    node.map_or("", |node| &document.text[node.span.clone()])
}

/// Each service with its address, without what is secret in it; `broker` is the embedded one.
fn backends_of(pipeline: &Pipeline, state: &Path, broker: Option<&Broker>) -> Result<Backends> {
    let mask = |address: &str| pipeline.secrets.mask(address);
    let kafka = match broker {
        Some(broker) => format!("embedded, localhost:{}", broker.address().port()),
        None => mask(&broker_of(pipeline)?.brokers),
    };
    let tables = tables_of(&pipeline.services)?;
    let cassandra = match tables.is_embedded() {
        true => format!("embedded, {}", mask(&state.join("tables.sqlite").display().to_string())),
        false => mask(&tables.hosts),
    };
    let mut backends = Backends::from([("kafka".to_owned(), kafka), ("cassandra".to_owned(), cassandra)]);
    if let Some(spark) = spark_of(pipeline)? {
        backends.insert("spark".to_owned(), mask(spark.address()));
    }
    Ok(backends)
}

impl Services {
    /// Starts what is embedded: a broker beside `tables`, with its state in `state`. `dead_letters` are the topics of
    /// dead letters of all pipelines that use it.
    pub(crate) async fn start(
        pipeline: &Pipeline,
        dead_letters: &[String],
        tables: &TableStore,
        state: &Path,
        options: StartOptions,
    ) -> Result<Self> {
        check_services(pipeline, options)?;
        let mut settings = pipeline.services.clone();
        let broker = match broker_port(pipeline)? {
            None => None,
            Some(port) => {
                let dir = state.join("broker");
                let port = if has_topics(pipeline) { port } else { 0 };
                let start = |port| Broker::start_beside(tables.clone(), dead_letters, &dir, port);
                let broker = match start(port).await {
                    Err(_) if options.any_port => start(0).await?,
                    started => started?,
                };
                for notice in broker.notices() {
                    sayln!("note: {notice}");
                }
                let address = broker.address().to_string();
                settings.insert("kafka".into(), json!(embedded_at(pipeline, &address)?));
                Some(broker)
            }
        };
        let backends = backends_of(pipeline, state, broker.as_ref())?;
        Ok(Self { broker, backends, settings })
    }

    /// What another pipeline of the same state directory has of them: it uses the same broker.
    pub(crate) fn beside(&self, pipeline: &Pipeline, state: &Path) -> Result<(Backends, Map<String, Value>)> {
        let mut settings = pipeline.services.clone();
        let broker = match (broker_port(pipeline)?, &self.broker) {
            (None, _) => None,
            (Some(_), Some(broker)) => {
                settings.insert("kafka".into(), json!(embedded_at(pipeline, &broker.address().to_string())?));
                Some(broker)
            }
            (Some(_), None) => return Err(Error::ours("an embedded broker was not started")),
        };
        Ok((backends_of(pipeline, state, broker)?, settings))
    }

    /// The embedded broker's address.
    pub(crate) fn broker(&self) -> Option<String> {
        self.broker.as_ref().map(|broker| broker.address().to_string())
    }

    /// Ends what was started, in order.
    pub(crate) async fn stop(self) -> Result<()> {
        match self.broker {
            Some(broker) => broker.stop().await,
            None => Ok(()),
        }
    }
}
