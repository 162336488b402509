//! The kinds of sources and sinks there are, and the JSON Schema of a file that uses them.

use std::sync::Arc;

use millstream_core::{Cursors, FlowRunner, Result, SinkKind, SourceKind};
use schemars::{Schema, schema_for};
use serde_json::{Map, Value, json};

use crate::pipeline::PipelineFile;
use crate::shape::BY_FIRST_NAME;

/// What a pipeline can be made of.
#[derive(Clone, Default)]
pub struct Registry {
    /// Kinds of sources.
    pub sources: Vec<Arc<dyn SourceKind>>,
    /// Kinds of sinks.
    pub sinks: Vec<Arc<dyn SinkKind>>,
    /// What a file sets up for all its flows.
    pub services: Vec<Service>,
    /// What runs the flows with `runner: spark`.
    pub spark: Option<Arc<dyn FlowRunner>>,
    /// Where incremental sources keep how far they have come.
    pub cursors: Option<Arc<dyn Cursors>>,
}

/// What a file sets up for all its flows: a broker, a database.
#[derive(Clone)]
pub struct Service {
    /// Where a file does it.
    pub name: &'static str,
    /// What can be set.
    pub settings: Schema,
    /// Refuses settings of the right shape that cannot be meant; an error's place is the setting's path in the file.
    pub check: fn(&Value) -> Result<()>,
}

impl Registry {
    /// The source kind of that name.
    pub fn source(&self, name: &str) -> Option<&Arc<dyn SourceKind>> {
        self.sources.iter().find(|kind| kind.name() == name)
    }

    /// The sink kind of that name.
    pub fn sink(&self, name: &str) -> Option<&Arc<dyn SinkKind>> {
        self.sinks.iter().find(|kind| kind.name() == name)
    }

    /// The JSON Schema of a pipeline file.
    pub fn json_schema(&self) -> Value {
        let mut root = schema_for!(PipelineFile).to_value();
        let mut definitions = root["$defs"].as_object().cloned().unwrap_or_default();
        let sources = self.sources.iter().map(|kind| (kind.name(), kind.settings()));
        let sinks = self.sinks.iter().map(|kind| (kind.name(), kind.settings()));
        let mut all = Map::new();
        let source = choice("Source", sources, &mut all);
        let sink = choice("Sink", sinks, &mut all);
        definitions.insert("Source".into(), source);
        definitions.insert("Sink".into(), sink);
        definitions.extend(all);
        for service in &self.services {
            let mut settings = service.settings.clone().to_value();
            take_definitions(&mut settings, &mut definitions);
            root["properties"][service.name] = settings;
        }
        root["$defs"] = Value::Object(definitions);
        let flow = &mut root["$defs"]["Flow"]["properties"];
        for (name, definition) in [("from", "Source"), ("to", "Sink")] {
            let description = flow[name]["description"].take();
            flow[name] = json!({"$ref": format!("#/$defs/{definition}"), "description": description});
        }
        root
    }
}

/// One of several kinds, by the first name.
fn choice<'a>(
    role: &str,
    kinds: impl Iterator<Item = (&'a str, Schema)>,
    definitions: &mut Map<String, Value>,
) -> Value {
    let choices: Vec<Value> = kinds
        .map(|(name, schema)| {
            let mut schema = schema.to_value();
            take_definitions(&mut schema, definitions);
            let definition = format!("{role}:{name}");
            definitions.insert(definition.clone(), schema);
            json!({"$ref": format!("#/$defs/{definition}"), "x-name": name})
        })
        .collect();
    json!({"oneOf": choices, BY_FIRST_NAME: true})
}

fn take_definitions(schema: &mut Value, definitions: &mut Map<String, Value>) {
    if let Some(schema) = schema.as_object_mut() {
        schema.remove("$schema");
        if let Some(Value::Object(own)) = schema.remove("$defs") {
            definitions.extend(own);
        }
    }
}
