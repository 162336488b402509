//! Checks sources, queries and sinks against each other: source schema → query → message → query
//! → table. Nobody is asked; all of it comes from the file.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::datatypes::{DataType, Schema, SchemaRef};
use millstream_core::settings::Share;
use millstream_core::{DeadLetter, Error, SinkKind, SinkPlan, SourceKind, SourcePlan, cql};
use millstream_sql::{
    ErrorKind, FlowQuery, SqlError, has_text_keys, is_writable, parse_schema, simple_string,
};

use crate::diagnostic::{Diagnostic, Report, Severity};
use crate::document::{Kind, Node};
use crate::pipeline::{Component, Flow, Pipeline, Runner};
use crate::registry::Registry;
use crate::remote::RemoteMistake;
use crate::shape::{secrets_by_name, suggestion};
use crate::values::Values;

/// Where a flow's records come from.
#[derive(Clone)]
pub struct Origin {
    /// What opens it.
    pub kind: Arc<dyn SourceKind>,
    /// Its settings.
    pub component: Component,
    /// What is known of it.
    pub plan: SourcePlan,
}

/// Where a flow's rows go.
#[derive(Clone)]
pub struct Target {
    /// What opens it.
    pub kind: Arc<dyn SinkKind>,
    /// Its settings.
    pub component: Component,
    /// What is known of it.
    pub plan: SinkPlan,
}

/// A flow whose parts fit together.
#[derive(Clone)]
pub struct PlannedFlow {
    /// Its name.
    pub name: String,
    /// Where its records come from.
    pub origin: Origin,
    /// What they look like.
    pub input: SchemaRef,
    /// What runs it.
    pub runner: Runner,
    /// What is done with them; none where only Spark can answer it.
    pub query: Option<Arc<FlowQuery>>,
    /// The query as it is written.
    pub sql: String,
    /// Where the rows go.
    pub target: Target,
    /// Where records go that cannot be processed.
    pub dead_letter_topic: String,
    /// The share of dead letters that makes it fail.
    pub fail_above: Option<Share>,
    /// The flows of this pipeline that write the topic it reads.
    pub upstream: Vec<String>,
}

impl PlannedFlow {
    /// The topic that its dead letters name: the one it reads, else the one it writes.
    pub fn topic(&self) -> String {
        match (&self.origin.plan.topic, &self.target.plan) {
            (Some(topic), _) => topic.clone(),
            (None, SinkPlan::Topic { topic, .. }) => topic.clone(),
            (None, SinkPlan::Table(table)) => table.to_string(),
            (None, SinkPlan::Lines(_)) => self.name.clone(),
        }
    }

    /// The query as this process runs it.
    pub fn native_query(&self) -> millstream_core::Result<&Arc<FlowQuery>> {
        self.query.as_ref().ok_or_else(|| {
            Error::user(format!("flow {} has a query that only Spark answers", self.name))
                .help("`run` and `up` have it answered there")
        })
    }
}

/// A pipeline whose flows fit together.
#[derive(Clone)]
pub struct Plan {
    /// The file.
    pub pipeline: Pipeline,
    /// The flows, writers before readers.
    pub flows: Vec<PlannedFlow>,
    /// What is perhaps not as meant.
    pub warnings: Report,
}

impl Plan {
    /// Reads and checks a file's text; every mistake, of its shape as of its queries, is in the
    /// report.
    pub fn load(path: &str, text: &str, values: &Values, registry: &Registry) -> Result<Self, Report> {
        let report = |diagnostics, secrets| Report {
            path: path.to_owned(),
            text: text.to_owned(),
            diagnostics,
            secrets,
        };
        let (pipeline, mistakes) = Pipeline::draft(text, values, registry)
            .map_err(|mistake| report(vec![mistake], secrets_by_name(text, &registry.json_schema())))?;
        let mut planner = Planner { pipeline: &pipeline, registry, mistakes, written: BTreeMap::new() };
        let flows = planner.flows();
        let report = report(std::mem::take(&mut planner.mistakes), pipeline.secrets.clone());
        if report.has_errors() {
            return Err(report);
        }
        Ok(Self { pipeline, flows, warnings: report })
    }

    /// The flow of that name.
    pub fn flow(&self, name: &str) -> Option<&PlannedFlow> {
        self.flows.iter().find(|flow| flow.name == name)
    }

    /// The flow of that name, or an error that names those there are.
    pub fn find_flow(&self, name: &str) -> millstream_core::Result<&PlannedFlow> {
        self.flow(name).ok_or_else(|| {
            let names = self.flows.iter().map(|flow| flow.name.as_str()).collect::<Vec<_>>().join(", ");
            Error::user(format!("there is no flow `{name}`")).help(format!("one of {names}"))
        })
    }

    /// The only table that flows write, or the one of that name.
    pub fn table(&self, name: Option<&str>) -> Option<(&PlannedFlow, &cql::Table)> {
        self.flows.iter().find_map(|flow| match &flow.target.plan {
            SinkPlan::Table(table) => name
                .is_none_or(|name| table.to_string() == name || table.name == name)
                .then_some((flow, table)),
            SinkPlan::Topic { .. } | SinkPlan::Lines(_) => None,
        })
    }
}

/// What the flows that write a topic agree on.
#[derive(Clone)]
struct WrittenTopic {
    schema: SchemaRef,
    key: Vec<String>,
    by: Vec<String>,
}

struct Planner<'a> {
    pipeline: &'a Pipeline,
    registry: &'a Registry,
    mistakes: Vec<Diagnostic>,
    written: BTreeMap<String, WrittenTopic>,
}

impl Planner<'_> {
    fn flows(&mut self) -> Vec<PlannedFlow> {
        let mut waiting: Vec<_> = self.pipeline.flows.iter().collect();
        let mut done = Vec::new();
        while !waiting.is_empty() {
            let ready = waiting.iter().position(|(_, _, from, to)| {
                let Some(topic) = topic_of(from) else { return true };
                let is_it = |component: &Component| topic_of(component).as_ref() == Some(&topic);
                let mut writers = waiting.iter().filter(|(_, _, _, to)| is_it(to));
                // What fills its own topic waits only for those that fill it out of something else.
                writers.all(|(_, _, from, _)| is_it(to) && is_it(from))
            });
            let Some(at) = ready else {
                let names: Vec<_> = waiting.iter().map(|(name, ..)| name.as_str()).collect();
                let span = self.pipeline.document.name_span(&["flows", names[0]]);
                let message =
                    format!("the flows {} wait for each other's topics in a circle", names.join(" and "));
                self.mistakes.push(Diagnostic::error(message, span));
                break;
            };
            let (name, flow, from, to) = waiting.remove(at);
            match self.flow(name, flow, from, to) {
                Some(planned) => done.push(planned),
                None if self.has_errors() => {}
                // Else the file would pass as one without this flow.
                None => {
                    let span = self.pipeline.document.name_span(&["flows", name]);
                    let message = format!("the flow {name} cannot be planned, which is a bug of ours");
                    self.mistakes.push(Diagnostic::error(message, span));
                }
            }
        }
        done
    }

    fn has_errors(&self) -> bool {
        self.mistakes.iter().any(|mistake| mistake.severity == Severity::Error)
    }

    fn flow(&mut self, name: &str, flow: &Flow, from: &Component, to: &Component) -> Option<PlannedFlow> {
        let (source, sink) =
            (self.registry.source(&from.kind)?.clone(), self.registry.sink(&to.kind)?.clone());
        let origin = source.plan(&from.settings).map_err(|e| self.component(&["flows", name, "from"], &e));
        let target = sink.plan(&to.settings).map_err(|e| self.component(&["flows", name, "to"], &e));
        let Ok(origin) = origin else {
            self.query_alone(name, flow, from);
            return None;
        };
        let (input, upstream) = self.input(name, &origin)?;
        let runner = self.pipeline.runners.get(name).copied().unwrap_or(flow.runner);
        let query = self.query(name, flow, &input, runner)?;
        let target = target.ok()?;
        if let Some(query) = &query {
            self.unread(name, &origin, query);
            self.sink(name, &origin, &target, query.schema());
        }
        let topic = origin.topic.clone().or_else(|| topic_of(to)).unwrap_or_else(|| name.to_owned());
        let dead_letter_topic =
            flow.dead_letters.topic.clone().unwrap_or_else(|| format!("{topic}{}", DeadLetter::TOPIC_ENDING));
        let planned = PlannedFlow {
            name: name.to_owned(),
            origin: Origin { kind: source, component: from.clone(), plan: origin },
            input,
            runner,
            sql: flow.sql.clone(),
            query: query.map(Arc::new),
            target: Target { kind: sink, component: to.clone(), plan: target },
            dead_letter_topic,
            fail_above: flow.dead_letters.fail_above,
            upstream,
        };
        if runner == Runner::Spark {
            self.check_spark(&planned);
        }
        Some(planned)
    }

    /// The query as this process runs it; what it cannot answer as Spark does is a mistake, unless Spark
    /// runs it.
    fn query(
        &mut self,
        name: &str,
        flow: &Flow,
        input: &SchemaRef,
        runner: Runner,
    ) -> Option<Option<FlowQuery>> {
        match FlowQuery::new(&flow.sql, input) {
            Ok(query) => Some(Some(query)),
            Err(error) if runner == Runner::Spark && error.kind == ErrorKind::Unsupported => Some(None),
            Err(error) => {
                self.sql(name, &error);
                None
            }
        }
    }

    /// Whether Spark can run the flow.
    fn check_spark(&mut self, planned: &PlannedFlow) {
        let name = planned.name.as_str();
        let runner = match &self.registry.spark {
            Some(runner) => runner.clone(),
            None => return,
        };
        match planned.remote(self.pipeline) {
            Ok(flow) => {
                if let Err(error) = runner.check(&flow) {
                    self.component(&["flows", name, "runner"], &error);
                }
            }
            Err(RemoteMistake::Query(error)) => self.sql(name, &error),
            Err(RemoteMistake::Flow(error)) => self.component(&["flows", name, "runner"], &error),
        }
    }

    fn sink(&mut self, name: &str, origin: &SourcePlan, target: &SinkPlan, columns: &SchemaRef) {
        match target {
            SinkPlan::Topic { topic, key, timestamp } => {
                self.json_sink(name, columns);
                self.topic_sink(name, topic, key, timestamp.as_deref(), columns);
                if origin.is_dated && timestamp.is_none() {
                    let message = "the newest message of a key is the one that is sent last, not the one that \
                                   was true last";
                    let span = self.pipeline.document.name_span(&["flows", name, "to"]);
                    let help = "write timestamp: with the column that says when a row was true";
                    self.mistakes.push(Diagnostic::warning(message, span).help(help));
                }
            }
            SinkPlan::Table(table) => self.table_sink(name, table, columns, origin),
            SinkPlan::Lines(_) => self.json_sink(name, columns),
        }
    }

    /// Refuses columns of which Spark makes JSON that nobody could read.
    fn json_sink(&mut self, name: &str, columns: &SchemaRef) {
        let span = self.pipeline.document.name_span(&["flows", name, "sql"]);
        for field in columns.fields().iter().filter(|field| !is_writable(field.data_type())) {
            let kind = simple_string(field.data_type());
            let message =
                format!("`{}` is {kind}: as JSON Spark would write its keys as it keeps them", field.name());
            self.mistakes.push(Diagnostic::error(message, span.clone()).help("make the keys texts"));
        }
    }

    /// The mistakes of a query whose source has mistakes of its own, where its records are known.
    fn query_alone(&mut self, name: &str, flow: &Flow, from: &Component) {
        let text = |key: &str| from.settings[key].as_str().map(str::to_owned);
        let origin = SourcePlan { schema: text("schema"), topic: text("topic"), ..SourcePlan::default() };
        if (origin.schema.is_some() || origin.topic.is_some())
            && let Some((input, _)) = self.input(name, &origin)
        {
            self.query(name, flow, &input, flow.runner);
        }
    }

    /// A mistake in a component's settings, at the key that the error names.
    fn component(&mut self, component: &[&str], error: &Error) {
        let path: Vec<&str> =
            component.iter().copied().chain(error.place.iter().map(String::as_str)).collect();
        let document = &self.pipeline.document;
        let (part, name) = (document.nearest(component).span.clone(), document.name_span(component));
        let is_inside = |span: &Range<usize>| part.start <= span.start && span.end <= part.end;
        // Where its shape is wrong, what it says is not what was meant. A warning leaves it as it is.
        let mut errors = self.mistakes.iter().filter(|mistake| mistake.severity == Severity::Error);
        if errors.any(|mistake| is_inside(&mistake.span) || mistake.span == name) {
            return;
        }
        let span = match error.place.is_empty() {
            true => name,
            false => document.nearest(&path).span.clone(),
        };
        let mistake = Diagnostic::error(&error.message, span);
        self.mistakes.push(match &error.help {
            Some(help) => mistake.help(help),
            None => mistake,
        });
    }

    /// The schema of a flow's records, and who writes them.
    fn input(&mut self, name: &str, origin: &SourcePlan) -> Option<(SchemaRef, Vec<String>)> {
        let document = &self.pipeline.document;
        let written = origin.topic.as_ref().and_then(|topic| self.written.get(topic).cloned());
        match (&origin.schema, written) {
            (Some(text), written) => match parse_schema(text) {
                Ok(schema) => Some((schema, written.map(|written| written.by).unwrap_or_default())),
                Err(error) => {
                    let node = document.nearest(&["flows", name, "from", "schema"]);
                    let span = document.part_span(node, &error.span);
                    self.mistakes
                        .push(with_help(Diagnostic::error(&error.message, span), error.help.as_ref()));
                    None
                }
            },
            (None, Some(written)) => {
                // What cannot be written has been said.
                let is_unreadable = |kind: &DataType| is_writable(kind) && !has_text_keys(kind);
                for field in written.schema.fields().iter().filter(|field| is_unreadable(field.data_type())) {
                    let kind = simple_string(field.data_type());
                    let message =
                        format!("`{}` was {kind}, but the keys of a MAP in JSON are STRINGs", field.name());
                    let span = document.name_span(&["flows", name, "from"]);
                    let help =
                        "make the keys texts where it is written, or write schema: with MAP<STRING, …>";
                    self.mistakes.push(Diagnostic::error(message, span).help(help));
                }
                Some((written.schema, written.by))
            }
            (None, None) => {
                let topic = origin.topic.clone().unwrap_or_default();
                // Another flow, with a mistake, may well be the one that writes it.
                let written_by_broken_flow = self.has_errors() && self.written_by_another(name, &topic);
                if !written_by_broken_flow {
                    let span = document.name_span(&["flows", name, "from"]);
                    let message = format!(
                        "what the messages of topic {topic} look like is not known: no other flow here writes it"
                    );
                    self.mistakes
                        .push(Diagnostic::error(message, span).help("write schema: \"id STRING, …\""));
                }
                None
            }
        }
    }

    /// Whether another flow of the file, sound or not, names the topic as its sink.
    fn written_by_another(&self, name: &str, topic: &str) -> bool {
        let Some(Kind::Map(flows)) = self.pipeline.document.root.get("flows").map(|flows| &flows.kind) else {
            return false;
        };
        let written = |flow: &Node| flow.get("to")?.get("topic").map(|written| written.is_text(topic));
        flows.iter().any(|(other, flow)| !other.is_text(name) && written(flow) == Some(true))
    }

    fn sql(&mut self, name: &str, error: &SqlError) {
        let document = &self.pipeline.document;
        let node = document.nearest(&["flows", name, "sql"]);
        let span = document.part_span(node, &error.span);
        self.mistakes.push(with_help(Diagnostic::error(&error.message, span), error.help.as_ref()));
    }

    fn unread(&mut self, name: &str, origin: &SourcePlan, query: &FlowQuery) {
        // Of somebody else's topic one takes what one needs.
        if query.unread().is_empty() || (origin.topic.is_some() && origin.schema.is_some()) {
            return;
        }
        let document = &self.pipeline.document;
        let path: &[&str] = if origin.schema.is_some() {
            &["flows", name, "from", "schema"]
        } else {
            &["flows", name, "sql"]
        };
        let message = format!("nobody reads {}", query.unread().join(", "));
        let mistake = Diagnostic::warning(message, document.name_span(path));
        self.mistakes.push(mistake.help("take them out of the schema, or into the query"));
    }

    fn topic_sink(
        &mut self,
        name: &str,
        topic: &str,
        key: &[String],
        timestamp: Option<&str>,
        schema: &SchemaRef,
    ) {
        let document = &self.pipeline.document;
        let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        for column in key {
            if !names.contains(&column.as_str()) {
                let span = document.nearest(&["flows", name, "to", "key"]).span.clone();
                let message = format!("the key `{column}` is no column of the query");
                self.mistakes.push(Diagnostic::error(message, span).help(suggestion(column, &names)));
            }
        }
        if let Some(column) = timestamp {
            let span = document.nearest(&["flows", name, "to", "timestamp"]).span.clone();
            match schema.field_with_name(column).map(|field| field.data_type()) {
                Ok(DataType::Timestamp(..)) => {}
                Ok(kind) => {
                    let message = format!(
                        "`{column}` is {}, a message's timestamp is a TIMESTAMP",
                        simple_string(kind)
                    );
                    self.mistakes.push(
                        Diagnostic::error(message, span).help("write CAST(… AS TIMESTAMP) in the query"),
                    );
                }
                Err(_) => {
                    let message = format!("`{column}` is no column of the query");
                    self.mistakes.push(Diagnostic::error(message, span).help(suggestion(column, &names)));
                }
            }
        }
        let others = self.written.get(topic).cloned();
        if let Some(others) = &others {
            let by = others.by.join(", ");
            let has_all = |key: &[String]| key.iter().all(|column| names.contains(&column.as_str()));
            if !same_columns(&others.schema, schema) {
                let span = document.name_span(&["flows", name, "sql"]);
                let message = format!("the messages of topic {topic} differ from those of the flow {by}");
                let help = format!("give them the same columns and types: {}", described(&others.schema));
                self.mistakes.push(Diagnostic::error(message, span).help(help));
            } else if others.key != key && has_all(key) && has_all(&others.key) {
                let span = document.nearest(&["flows", name, "to", "key"]).span.clone();
                let message = format!(
                    "the messages of topic {topic} have another key than those of the flow {by}: one row's messages \
                     would be in several partitions"
                );
                let help = format!("give them the same key: [{}]", others.key.join(", "));
                self.mistakes.push(Diagnostic::error(message, span).help(help));
            }
        }
        let mut by = others.map(|others| others.by).unwrap_or_default();
        by.push(name.to_owned());
        let written = WrittenTopic { schema: message_schema(schema), key: key.to_vec(), by };
        self.written.insert(topic.to_owned(), written);
    }

    fn table_sink(&mut self, name: &str, table: &cql::Table, schema: &SchemaRef, origin: &SourcePlan) {
        let document = &self.pipeline.document;
        let sql = document.name_span(&["flows", name, "sql"]);
        let create = document.name_span(&["flows", name, "to", "create"]);
        let columns: Vec<&str> = table.columns.iter().map(|column| column.name.as_str()).collect();
        for field in schema.fields() {
            match table.column(field.name()) {
                None => {
                    let message = format!("the query's column `{}` is in no column of {table}", field.name());
                    let help = suggestion(field.name(), &columns);
                    self.mistakes.push(Diagnostic::error(message, sql.clone()).help(help));
                }
                Some(column) if !column.kind.takes(field.data_type()) => {
                    let message = format!(
                        "`{}` is {} in the query and {} in {table}",
                        field.name(),
                        simple_string(field.data_type()),
                        column.kind
                    );
                    let help =
                        format!("write CAST(… AS {}) AS {} in the query", column.kind.wants(), field.name());
                    self.mistakes.push(Diagnostic::error(message, sql.clone()).help(help));
                }
                Some(_) => {}
            }
        }
        for column in &table.columns {
            if schema.field_with_name(&column.name).is_ok() {
                continue;
            }
            if column.key.is_some() {
                let message =
                    format!("nothing fills `{}`, which is part of the primary key of {table}", column.name);
                let help = "add it to the query, or write its name in lower case there";
                self.mistakes.push(Diagnostic::error(message, sql.clone()).help(help));
            } else {
                let message = format!("nobody fills the column `{}` of {table}", column.name);
                self.mistakes.push(Diagnostic::warning(message, create.clone()));
            }
        }
        let written = origin.topic.as_ref().and_then(|topic| self.written.get(topic));
        for key in written.map(|written| written.key.clone()).unwrap_or_default() {
            let in_table = table.column(&key);
            if in_table.is_some_and(|column| column.key.is_none()) {
                let message = format!(
                    "messages are ordered by `{key}`, which is not part of the primary key of {table}: one row's \
                     messages would be in several partitions"
                );
                let help = "make the topic's key (part of) the table's primary key";
                self.mistakes.push(Diagnostic::error(message, create.clone()).help(help));
            }
        }
    }
}

fn with_help(mistake: Diagnostic, help: Option<&String>) -> Diagnostic {
    match help {
        Some(help) => mistake.help(help),
        None => mistake,
    }
}

fn topic_of(component: &Component) -> Option<String> {
    component.settings["topic"].as_str().map(str::to_owned)
}

/// What comes out of a message: everything may be missing.
fn message_schema(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn same_columns(a: &Schema, b: &Schema) -> bool {
    let columns = |schema: &Schema| -> BTreeMap<String, String> {
        schema.fields().iter().map(|field| (field.name().clone(), simple_string(field.data_type()))).collect()
    };
    columns(a) == columns(b)
}

fn described(schema: &Schema) -> String {
    let columns = schema.fields().iter();
    columns
        .map(|field| format!("{} {}", field.name(), simple_string(field.data_type())))
        .collect::<Vec<_>>()
        .join(", ")
}
