//! A pipeline file as types: the doc comments are the manual, the parser and the JSON Schema
//! come from here.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use millstream_core::settings::Share;
use millstream_core::{Cursors, Gauges, RunValues, Scope};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::diagnostic::Diagnostic;
use crate::document::{Document, Kind, Node};
use crate::registry::{Registry, Service};
use crate::schedule::Schedule;
use crate::scheduler::RunSettings;
use crate::shape;
use crate::values::{Secrets, Values};

/// A pipeline: a few flows that meet at topics.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PipelineFile {
    /// The pipeline's name, in letters, digits, `_`, `-` and `.`; consumer groups begin with it.
    name: String,
    /// When it runs by itself: a cron expression of five fields, or `@hourly`, `@daily`,
    /// `@weekly`, `@monthly`, `@yearly`. Without it, it runs when it is asked to.
    #[serde(default)]
    schedule: Option<String>,
    /// The time zone of the schedule, like `Europe/Paris`. Default UTC.
    #[serde(default)]
    timezone: Option<String>,
    /// How often a run that fails is tried again, and how long it may take.
    #[serde(default)]
    runs: RunSettings,
    /// The broker that the topics live on.
    #[serde(default)]
    kafka: Option<Value>,
    /// The database that the tables live in.
    #[serde(default)]
    cassandra: Option<Value>,
    /// The Spark that flows with `runner: spark` run on.
    #[serde(default)]
    spark: Option<Value>,
    /// The flows by name, in any order: a flow that reads a topic waits for those that write it.
    #[schemars(with = "BTreeMap<String, Flow>")]
    flows: Map<String, Value>,
    /// Tests of single flows, run by `millstream test`.
    #[serde(default)]
    tests: Vec<Test>,
}

/// A flow: one source, one query, one sink.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Flow {
    /// Where records come from; the first key names the kind.
    pub from: Map<String, Value>,
    /// One SELECT over the view `input`, in portable Spark SQL.
    pub sql: String,
    /// Where the rows go; the first key names the kind.
    pub to: Map<String, Value>,
    /// What runs the flow: `native`, or `spark` for a flow from a topic to a table. Default `native`.
    #[serde(default)]
    pub runner: Runner,
    /// Where records go that cannot be processed.
    #[serde(default)]
    pub dead_letters: DeadLetterSettings,
}

/// What runs a flow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Runner {
    /// This process.
    #[default]
    Native,
    /// A Spark cluster.
    Spark,
}

/// Where records go that cannot be processed.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeadLetterSettings {
    /// Their topic; by default the name of the topic that the flow reads, else of the one that it writes, else of
    /// the flow, with `.dead-letters` behind it.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub topic: Option<String>,
    /// The flow fails when more than this share of the records that it read since it was started
    /// are dead letters, like `5%`: looked at when it ends, and from a thousand records on. By default
    /// there may be any number.
    #[serde(default)]
    pub fail_above: Option<Share>,
}

/// A test of one flow.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Test {
    /// What it shows, in words.
    pub name: String,
    /// The flow that is tested.
    pub flow: String,
    /// The records that come in.
    pub given: Vec<Value>,
    /// The rows that come out, in order; only the columns that are named are compared.
    #[serde(default)]
    pub expect: Vec<Map<String, Value>>,
    /// The reasons of the records that become dead letters, in order.
    #[serde(default)]
    pub expect_dead: Vec<String>,
}

/// One side of a flow: a kind and its settings.
#[derive(Debug, Clone, PartialEq)]
pub struct Component {
    /// The first key.
    pub kind: String,
    /// All keys.
    pub settings: Value,
}

impl Component {
    fn new(settings: Map<String, Value>) -> Self {
        let kind = settings.keys().next().cloned().unwrap_or_default();
        Self { kind, settings: Value::Object(settings) }
    }
}

/// A pipeline with all values put in and its shape checked.
#[derive(Debug, Clone)]
pub struct Pipeline {
    /// Its name.
    pub name: String,
    /// When it runs by itself, as the file says it.
    pub schedule: Option<String>,
    /// The time zone of that.
    pub timezone: Option<String>,
    /// How its runs are tried again.
    pub runs: RunSettings,
    /// The services that are set up, by name.
    pub services: Map<String, Value>,
    /// The flows, in the order of the file.
    pub flows: Vec<(String, Flow, Component, Component)>,
    /// What runs a flow this once, whatever the file says.
    pub runners: BTreeMap<String, Runner>,
    /// The tests.
    pub tests: Vec<Test>,
    /// The file it came from.
    pub document: Document,
    /// What is not to be shown.
    pub secrets: Secrets,
    /// The folder that the file is in.
    pub folder: PathBuf,
}

impl Pipeline {
    /// Reads a file's text as far as it is sound, with all mistakes of its shape: flows without
    /// one can be looked at further.
    pub(crate) fn draft(
        text: &str,
        values: &Values,
        registry: &Registry,
    ) -> Result<(Self, Vec<Diagnostic>), Diagnostic> {
        let mut document = Document::parse(text)?;
        let mut mistakes = Vec::new();
        let mut secrets = Secrets::default();
        values.fill(&mut document.root, &mut secrets, &mut mistakes);
        let schema = registry.json_schema();
        let differences = shape::check(&document.root, &schema, &schema);
        let wrong_values = differences.mistakes.iter().map(|mistake| mistake.span.clone());
        let mut left_out: Vec<_> = wrong_values.filter(|span| document.is_value(span)).collect();
        left_out.extend(differences.unknown_keys);
        mistakes.extend(differences.mistakes);
        check_words(&document, &mut mistakes);
        differences.secrets.iter().for_each(|secret| secrets.add(secret));
        let mut sound = document.root.clone();
        sound.leave_out(&left_out);
        let json = sound.to_json();
        if mistakes.is_empty()
            && let Err(error) = serde_json::from_value::<PipelineFile>(json.clone())
        {
            mistakes.push(Diagnostic::error(error.to_string(), 0..0));
        }
        for service in &registry.services {
            check_service(service, &json, &document, &mut mistakes);
        }
        let mut flows = Vec::new();
        for (name, flow) in json["flows"].as_object().into_iter().flatten() {
            match serde_json::from_value::<Flow>(flow.clone()) {
                Ok(flow) => {
                    let (from, to) = (Component::new(flow.from.clone()), Component::new(flow.to.clone()));
                    flows.push((name.clone(), flow, from, to));
                }
                Err(error) if mistakes.is_empty() => {
                    let span = document.name_span(&["flows", name]);
                    mistakes.push(Diagnostic::error(error.to_string(), span));
                }
                // What is wrong with it has been said.
                Err(_) => {}
            }
        }
        let tests = json["tests"].as_array().into_iter().flatten();
        let services = ["kafka", "cassandra", "spark"].map(|name| (name.to_owned(), json[name].clone()));
        let pipeline = Self {
            name: json["name"].as_str().unwrap_or_default().to_owned(),
            schedule: json["schedule"].as_str().map(str::to_owned),
            timezone: json["timezone"].as_str().map(str::to_owned),
            runs: serde_json::from_value(json["runs"].clone()).unwrap_or_default(),
            services: services.into_iter().collect(),
            flows,
            runners: values.runners.clone(),
            tests: tests.filter_map(|test| serde_json::from_value(test.clone()).ok()).collect(),
            document,
            secrets,
            folder: values.folder.clone(),
        };
        Ok((pipeline, mistakes))
    }

    /// For whom a flow's connectors are opened in a run that was told `run`.
    pub fn scope(&self, flow: &str, run: &RunValues, cursors: Option<Arc<dyn Cursors>>) -> Scope {
        Scope {
            pipeline: self.name.clone(),
            flow: flow.to_owned(),
            services: self.services.clone(),
            folder: self.folder.clone(),
            run: run.clone(),
            cursors,
            gauges: Arc::new(Gauges::default()),
        }
    }
}

/// What is wrong with a service beyond the shape of its settings.
fn check_service(service: &Service, json: &Value, document: &Document, mistakes: &mut Vec<Diagnostic>) {
    let Some(node) = document.root.get(service.name) else { return };
    let is_in =
        |mistake: &Diagnostic| node.span.start <= mistake.span.start && mistake.span.end <= node.span.end;
    let is_told = mistakes.iter().any(is_in);
    if let (false, Err(error)) = (is_told, (service.check)(&json[service.name])) {
        let place: Vec<_> = error.place.iter().map(String::as_str).collect();
        let mistake = Diagnostic::error(error.message, document.name_span(&place));
        mistakes.push(Diagnostic { help: error.help, ..mistake });
    }
}

/// What the types alone do not say.
fn check_words(document: &Document, mistakes: &mut Vec<Diagnostic>) {
    let is_name = |name: &str| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
    };
    let mut names: Vec<&Node> = document.root.get("name").into_iter().collect();
    if let Some(Kind::Map(flows)) = document.root.get("flows").map(|flows| &flows.kind) {
        names.extend(flows.iter().map(|(name, _)| name));
        if flows.is_empty() {
            let span = document.name_span(&["flows"]);
            mistakes.push(Diagnostic::error("a pipeline has at least one flow", span));
        }
    }
    for node in names {
        if let Some(name) = node.text().filter(|name| !is_name(name)) {
            let mistake = Diagnostic::error(format!("`{name}` is no name"), node.span.clone());
            mistakes.push(mistake.help("use letters, digits, _, - and ."));
        }
    }
    // What is empty is not set.
    let set = |name: &str| document.root.get(name).filter(|node| !node.to_json().is_null());
    if let Some(node) = set("schedule")
        && let Some(Err(wrong)) = node.text().map(|text| Schedule::parse(text, None))
    {
        mistakes.push(
            Diagnostic::error(wrong.message, node.span.clone())
                .help("write @hourly, @daily, or five fields like \"0 6 * * 1-5\""),
        );
    }
    if let Some(node) = set("timezone")
        && let Some(zone) = node.text().filter(|zone| zone.parse::<chrono_tz::Tz>().is_err())
    {
        mistakes.push(
            Diagnostic::error(format!("`{zone}` is no time zone"), node.span.clone())
                .help("write one like Europe/Paris"),
        );
    }
}
