//! Compares a tree with a JSON Schema and names every place where they differ. It knows just the
//! part of JSON Schema that the settings' types make use of.

use std::ops::Range;

use serde_json::{Map, Value};

use crate::diagnostic::Diagnostic;
use crate::document::{Kind, Node};

/// In a schema: the value's first name says which of `oneOf` is meant.
pub(crate) const BY_FIRST_NAME: &str = "x-by-first-name";

/// In a schema: how a text with a pattern is written.
const HELP: &str = "x-help";

/// Where a tree differs from its schema.
#[derive(Debug, Default)]
pub(crate) struct Differences {
    pub(crate) mistakes: Vec<Diagnostic>,
    /// The places of keys that nobody knows: without them the rest can still be looked at.
    pub(crate) unknown_keys: Vec<Range<usize>>,
    /// The texts of settings that are marked as secret.
    pub(crate) secrets: Vec<String>,
}

/// In a schema: every text of the value is a secret.
const SECRET: &str = "x-secret";

/// Names all mistakes of `node` against `schema`, whose references lead into `root`.
pub(crate) fn check(node: &Node, schema: &Value, root: &Value) -> Differences {
    let mut checker = Checker { root, found: Differences::default() };
    checker.value(node, schema, &node.span);
    checker.found
}

struct Checker<'a> {
    root: &'a Value,
    found: Differences,
}

impl<'a> Checker<'a> {
    fn resolve(&self, schema: &'a Value) -> &'a Value {
        let Some(reference) = schema["$ref"].as_str() else { return schema };
        let target = reference.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer));
        target.map_or(schema, |target| self.resolve(target))
    }

    fn add(&mut self, message: String, span: &Range<usize>, help: Option<String>) {
        let mistake = Diagnostic::error(message, span.clone());
        self.found.mistakes.push(match help {
            Some(help) => mistake.help(help),
            None => mistake,
        });
    }

    /// `name` is where the value's name stands, or the value itself.
    fn value(&mut self, node: &Node, schema: &'a Value, name: &Range<usize>) {
        if schema[SECRET] == true {
            node.texts(&mut self.found.secrets);
        }
        let schema = self.resolve(schema);
        if schema[BY_FIRST_NAME] == true {
            return self.by_first_name(node, schema, name);
        }
        let choices = schema["anyOf"].as_array().or_else(|| schema["oneOf"].as_array());
        if let Some(choices) = choices {
            return self.one_of(node, choices, name);
        }
        if let Some(allowed) = schema["enum"].as_array() {
            return self.one_of_texts(node, allowed);
        }
        let json = node.to_json();
        let kinds: Vec<&str> = match &schema["type"] {
            Value::String(kind) => vec![kind],
            Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
            _ => return self.parts(node, schema, name),
        };
        if !kinds.iter().any(|kind| is_of(&json, kind)) {
            let wanted =
                kinds.iter().filter(|kind| **kind != "null").map(|kind| described(kind)).collect::<Vec<_>>();
            let wanted = schema["title"].as_str().map_or_else(|| wanted.join(" or "), str::to_owned);
            let is_single = !json.is_object() && !json.is_array();
            let help = match kinds.contains(&"string") && is_single {
                true if schema[HELP].is_string() => schema[HELP].as_str().map(str::to_owned),
                true => Some("put it in quotes to make it a text".to_owned()),
                false => None,
            };
            let span = if matches!(node.kind, Kind::Scalar { .. }) { &node.span } else { name };
            return self.add(format!("expected {wanted}, this is {}", shown(&json)), span, help);
        }
        if let (Some(text), Some(pattern)) = (json.as_str(), schema["pattern"].as_str())
            && !regex::Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(text))
        {
            let wanted = schema["title"].as_str().unwrap_or("what is asked for");
            let help = schema[HELP].as_str().map(str::to_owned);
            return self.add(format!("`{text}` is not {wanted}"), &node.span, help);
        }
        if let (Some(number), Some(minimum)) = (json.as_f64(), schema["minimum"].as_f64())
            && number < minimum
        {
            return self.add(format!("{json} is less than {minimum}"), &node.span, None);
        }
        self.parts(node, schema, name);
    }

    fn parts(&mut self, node: &Node, schema: &'a Value, name: &Range<usize>) {
        match &node.kind {
            Kind::Scalar { .. } => {}
            Kind::List(items) => {
                if schema["items"].is_object() {
                    items.iter().for_each(|item| self.value(item, &schema["items"], &item.span));
                }
            }
            Kind::Map(entries) => self.members(entries, schema, name),
        }
    }

    fn members(&mut self, entries: &[(Node, Node)], schema: &'a Value, name: &Range<usize>) {
        let none = Map::new();
        let properties = schema["properties"].as_object();
        for (key, value) in entries {
            let text = key.text().unwrap_or_default();
            match (properties.and_then(|known| known.get(text)), &schema["additionalProperties"]) {
                (Some(property), _) => self.value(value, property, &key.span),
                (None, Value::Bool(false)) => {
                    let known = properties.unwrap_or(&none).keys().map(String::as_str).collect::<Vec<_>>();
                    self.add(format!("unknown key `{text}`"), &key.span, Some(suggestion(text, &known)));
                    self.found.unknown_keys.push(key.span.clone());
                }
                (None, Value::Object(_)) => self.value(value, &schema["additionalProperties"], &key.span),
                (None, _) => {}
            }
        }
        for required in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !entries.iter().any(|(key, _)| key.is_text(required)) {
                let meaning = properties.and_then(|known| known.get(required)).map(first_sentence);
                self.add(format!("`{required}` is missing"), name, meaning.flatten());
            }
        }
    }

    fn by_first_name(&mut self, node: &Node, schema: &'a Value, name: &Range<usize>) {
        let choices = schema["oneOf"].as_array().into_iter().flatten();
        let named: Vec<(&str, &'a Value)> =
            choices.filter_map(|choice| Some((choice["x-name"].as_str()?, self.resolve(choice)))).collect();
        let names: Vec<&str> = named.iter().map(|(name, _)| *name).collect();
        let Kind::Map(entries) = &node.kind else {
            let wanted = names.iter().map(|name| format!("{{ {name}: … }}")).collect::<Vec<_>>().join(" or ");
            return self.add(format!("expected {wanted}"), name, None);
        };
        let Some((first, _)) = entries.first() else {
            return self.add(format!("empty; the first key is one of {}", names.join(", ")), name, None);
        };
        let text = first.text().unwrap_or_default();
        match named.iter().find(|(known, _)| *known == text) {
            Some((_, chosen)) => self.members(entries, chosen, name),
            None => {
                let later = entries.iter().find_map(|(key, _)| names.iter().find(|known| key.is_text(known)));
                let help = match later {
                    Some(later) => format!("put `{later}` first: the first key names the kind"),
                    None => format!("the first key names the kind: {}", suggestion(text, &names)),
                };
                self.add(format!("unknown kind `{text}`"), &first.span, Some(help));
            }
        }
    }

    fn one_of(&mut self, node: &Node, choices: &'a [Value], name: &Range<usize>) {
        let constants: Vec<Value> = choices
            .iter()
            .map(|choice| self.resolve(choice)["const"].clone())
            .filter(|found| !found.is_null())
            .collect();
        if constants.len() == choices.len() {
            return self.one_of_texts(node, &constants);
        }
        let mut fewest: Option<Differences> = None;
        for choice in choices {
            let mut checker = Checker { root: self.root, found: Differences::default() };
            checker.value(node, choice, name);
            let found = checker.found;
            if found.mistakes.is_empty() {
                return self.found.secrets.extend(found.secrets);
            }
            // What is only a null is no help to anybody.
            let is_null = self.resolve(choice)["type"] == "null";
            if !is_null && fewest.as_ref().is_none_or(|fewest| found.mistakes.len() < fewest.mistakes.len()) {
                fewest = Some(found);
            }
        }
        let fewest = fewest.unwrap_or_default();
        self.found.mistakes.extend(fewest.mistakes);
        self.found.unknown_keys.extend(fewest.unknown_keys);
    }

    fn one_of_texts(&mut self, node: &Node, allowed: &[Value]) {
        let json = node.to_json();
        if allowed.contains(&json) {
            return;
        }
        let names: Vec<&str> = allowed.iter().filter_map(Value::as_str).collect();
        let help = suggestion(json.as_str().unwrap_or_default(), &names);
        self.add(format!("{} is none of the choices", shown(&json)), &node.span, Some(help));
    }
}

fn is_of(json: &Value, kind: &str) -> bool {
    match kind {
        "string" => json.is_string(),
        "integer" => json.is_i64() || json.is_u64(),
        "number" => json.is_number(),
        "boolean" => json.is_boolean(),
        "array" => json.is_array(),
        "object" => json.is_object(),
        "null" => json.is_null(),
        _ => true,
    }
}

fn described(kind: &str) -> &'static str {
    match kind {
        "string" => "a text",
        "integer" => "a whole number",
        "number" => "a number",
        "boolean" => "true or false",
        "array" => "a list",
        _ => "keys with values",
    }
}

fn shown(json: &Value) -> String {
    match json {
        Value::Null => "empty".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => format!("the text `{text}`"),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "keys with values".to_owned(),
    }
}

fn first_sentence(schema: &Value) -> Option<String> {
    let text = schema["description"].as_str()?.replace('\n', " ");
    Some(text.split_inclusive(". ").next().unwrap_or_default().trim().to_owned())
}

/// What was perhaps meant, or all there is.
pub(crate) fn suggestion(written: &str, known: &[&str]) -> String {
    let near = known.iter().map(|known| (strsim::jaro_winkler(written, known), known));
    match near.max_by(|(a, _), (b, _)| a.total_cmp(b)) {
        Some((likeness, nearest)) if likeness > 0.8 => format!("did you mean `{nearest}`?"),
        _ => format!("one of {}", known.join(", ")),
    }
}
