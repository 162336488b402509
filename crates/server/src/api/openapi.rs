//! The OpenAPI 3.1 document, made from the list of operations: its schemas are JSON Schema 2020-12, as
//! schemars writes them.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::answer::Problem;
use super::operations::{Operation, operations};

/// How a type describes itself.
pub(super) type Describe = fn(&mut SchemaGenerator) -> Schema;

/// As [`Describe`], of `T`.
pub(super) fn of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// The document.
pub fn openapi() -> Value {
    let mut generator = SchemaSettings::draft2020_12()
        .with(|settings| settings.definitions_path = "/components/schemas".into())
        .into_generator();
    let problem = generator.subschema_for::<Problem>();
    let mut paths = Map::new();
    for operation in operations() {
        let described = describe(&operation, &mut generator, &problem);
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        path[operation.method.as_str().to_lowercase()] = described;
    }
    let schemas = generator.take_definitions(true);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Millstream",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Pipelines at work: how they stand, their runs, records, tables and dead letters.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
        },
        // Nothing is asked for on loopback.
        "security": [{}, { "token": [] }],
    })
}

fn describe(operation: &Operation, generator: &mut SchemaGenerator, problem: &Schema) -> Value {
    let mut parameters: Vec<Value> = operation
        .path
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
        .map(|name| {
            let schema = json!({ "type": "string", "minLength": 1 });
            json!({ "name": name, "in": "path", "required": true, "schema": schema })
        })
        .collect();
    if let Some(query) = operation.query {
        parameters.extend(in_query(query));
    }
    let mut answers = Map::new();
    let answer = match operation.answer {
        Some((media_type, schema)) => {
            let content = json!({ media_type: { "schema": schema(generator) } });
            json!({ "description": operation.summary, "content": content })
        }
        None => json!({ "description": operation.summary }),
    };
    answers.insert(operation.status.as_u16().to_string(), answer);
    for status in [400, 401, 403, 404, 409, 413, 415, 422, 421, 429, 503] {
        let content = json!({ "application/problem+json": { "schema": problem } });
        answers
            .insert(status.to_string(), json!({ "description": "it could not be done", "content": content }));
    }
    let mut described = json!({
        "operationId": operation.id,
        "summary": operation.summary,
        "parameters": parameters,
        "responses": answers,
    });
    if let Some(body) = operation.body {
        let content = json!({ "application/json": { "schema": body(generator) } });
        described["requestBody"] = json!({ "required": true, "content": content });
    }
    described
}

/// Each property of a type is a parameter of its own.
fn in_query(query: Describe) -> Vec<Value> {
    let mut generator =
        SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true).into_generator();
    let schema = query(&mut generator).to_value();
    let required: Vec<&Value> = schema["required"].as_array().into_iter().flatten().collect();
    let properties = schema["properties"].as_object().into_iter().flatten();
    properties
        .map(|(name, schema)| {
            let is_required = required.iter().any(|required| *required == name);
            let mut schema = schema.clone();
            let description = schema.as_object_mut().and_then(|schema| schema.remove("description"));
            json!({
                "name": name, "in": "query", "required": is_required, "schema": schema,
                "description": description,
            })
        })
        .collect()
}
