//! Compares a tree with a JSON Schema and names every place where they differ. It knows just the
//! part of JSON Schema that the settings' types make use of.

use std::collections::BTreeSet;
use std::ops::Range;

use serde_json::{Map, Value};

use crate::diagnostic::Diagnostic;
use crate::document::{Kind, Node};
use crate::values::Secrets;

/// In a schema: the value's first name says which of `oneOf` is meant.
pub(crate) const BY_FIRST_NAME: &str = "x-by-first-name";

/// In a schema: how a text with a pattern is written.
const HELP: &str = "x-help";

/// How like two words are, out of 1, of which one may be meant by the other.
const LIKENESS_MIN: f64 = 0.8;

/// Where a tree differs from its schema.
#[derive(Debug, Default)]
pub(crate) struct Differences {
    pub(crate) mistakes: Vec<Diagnostic>,
    /// The places of keys that nobody knows: without them the rest can still be looked at.
    pub(crate) unknown_keys: Vec<Range<usize>>,
    /// The texts of settings that are marked as secret, and of what may be one of them.
    pub(crate) secrets: Vec<String>,
}

/// In a schema: every text of the value is a secret.
const SECRET: &str = "x-secret";

/// Names all mistakes of `node` against `schema`, whose references lead into `root`.
pub(crate) fn check(node: &Node, schema: &Value, root: &Value) -> Differences {
    let mut checker = Checker { root, secret_names: secret_names(root), found: Differences::default() };
    checker.value(node, schema, &node.span);
    checker.found
}

/// The secrets of a file that is no tree yet: whatever is behind, or below, the name of a secret setting.
pub(crate) fn secrets_by_name(text: &str, schema: &Value) -> Secrets {
    let names = secret_names(schema);
    let mut secrets = Secrets::default();
    // How far the name is indented that the lines further in belong to.
    let mut above: Option<usize> = None;
    for line in text.lines() {
        let indent = line.len() - line.trim_start().len();
        if above.is_some_and(|above| indent > above) {
            secrets.add(line);
            continue;
        }
        let behind = names.iter().filter_map(|name| text_behind(line, name)).max_by_key(|text| text.len());
        if let Some(text) = behind {
            secrets.add(text);
        }
        above = behind.map(|_| indent);
    }
    secrets
}

/// What stands behind the key `name` in a line.
fn text_behind<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.match_indices(name)
        .find_map(|(at, _)| line[at + name.len()..].trim_start_matches(['"', '\'', ' ']).strip_prefix(':'))
}

/// What the settings are called whose texts are secrets.
fn secret_names(schema: &Value) -> BTreeSet<&str> {
    let mut names = BTreeSet::new();
    let mut left = vec![schema];
    while let Some(schema) = left.pop() {
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            if schema[SECRET] == true || property[SECRET] == true {
                names.insert(name.as_str());
            }
        }
        match schema {
            Value::Array(items) => left.extend(items),
            Value::Object(members) => left.extend(members.values()),
            _ => {}
        }
    }
    names
}

struct Checker<'a> {
    root: &'a Value,
    secret_names: BTreeSet<&'a str>,
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

    /// Hides what may be a secret where no schema says what is one: what is called like one.
    fn suspect(&mut self, key: &str, node: &Node) {
        match &node.kind {
            _ if self.secret_names.iter().any(|name| strsim::jaro_winkler(key, name) > LIKENESS_MIN) => {
                node.texts(&mut self.found.secrets);
            }
            Kind::Scalar { .. } => {}
            Kind::List(items) => items.iter().for_each(|item| self.suspect("", item)),
            Kind::Map(entries) => {
                entries.iter().for_each(|(key, value)| self.suspect(key.text().unwrap_or_default(), value));
            }
        }
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
            self.suspect("", node);
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
            return self.add(format!("expected {wanted}, this is {}", shown(node, &json)), span, help);
        }
        if json.as_str() == Some("") && schema["minLength"].as_u64().is_some_and(|least| least > 0) {
            let message = "expected a text, this is an empty one".to_owned();
            return self.add(message, &node.span, first_sentence(schema));
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
            return self.add(format!("{} is less than {minimum}", shown(node, &json)), &node.span, None);
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
                    self.suspect(text, value);
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
            self.suspect("", node);
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
                self.suspect("", node);
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
        let mut secrets = Vec::new();
        for choice in choices {
            let others = std::mem::take(&mut self.found);
            self.value(node, choice, name);
            let mut found = std::mem::replace(&mut self.found, others);
            if found.mistakes.is_empty() {
                return self.found.secrets.extend(found.secrets);
            }
            // Whichever is meant, its secrets are hidden.
            secrets.append(&mut found.secrets);
            // What is only a null is no help to anybody.
            let is_null = self.resolve(choice)["type"] == "null";
            if !is_null && fewest.as_ref().is_none_or(|fewest| found.mistakes.len() < fewest.mistakes.len()) {
                fewest = Some(found);
            }
        }
        let fewest = fewest.unwrap_or_default();
        self.found.mistakes.extend(fewest.mistakes);
        self.found.unknown_keys.extend(fewest.unknown_keys);
        self.found.secrets.extend(secrets);
    }

    fn one_of_texts(&mut self, node: &Node, allowed: &[Value]) {
        let json = node.to_json();
        if allowed.contains(&json) {
            return;
        }
        let names: Vec<&str> = allowed.iter().filter_map(Value::as_str).collect();
        let help = suggestion(json.as_str().unwrap_or_default(), &names);
        self.add(format!("{} is none of the choices", shown(node, &json)), &node.span, Some(help));
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

fn shown(node: &Node, json: &Value) -> String {
    match json {
        Value::Null => "empty".to_owned(),
        // As it is written: of a secret like 0042 the number 42 would not be hidden.
        Value::Bool(_) | Value::Number(_) => node.text().unwrap_or_default().to_owned(),
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
        Some((likeness, nearest)) if likeness > LIKENESS_MIN => format!("did you mean `{nearest}`?"),
        _ => format!("one of {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::document::Document;

    fn schema() -> Value {
        let broker = json!({
            "type": "object",
            "additionalProperties": false,
            "properties": {
                "brokers": {"type": "string"},
                "password": {"type": ["string", "null"], "x-secret": true},
            },
        });
        let bearer = json!({
            "type": "object",
            "additionalProperties": false,
            "properties": {"bearer": {"type": "string"}},
            "x-secret": true,
        });
        let oauth2 = json!({
            "type": "object",
            "additionalProperties": false,
            "properties": {"client_secret": {"type": "string", "x-secret": true}},
        });
        let http = json!({
            "x-name": "http",
            "properties": {"http": {"type": "string"}, "headers": {"type": "object", "x-secret": true}},
        });
        json!({
            "type": "object",
            "additionalProperties": false,
            "properties": {
                "kafka": broker,
                "auth": {"anyOf": [{"oneOf": [oauth2, bearer]}, {"type": "null"}]},
                "from": {BY_FIRST_NAME: true, "oneOf": [http]},
            },
        })
    }

    fn checked(text: &str) -> Differences {
        let schema = schema();
        check(&Document::parse(text).expect(text).root, &schema, &schema)
    }

    #[test]
    fn secrets_are_known_also_where_something_is_wrong_with_them() {
        for text in [
            "kafka: { password: 12345678 }",
            "kafka: { pasword: 12345678 }",
            "kafak: { password: 12345678 }",
            "kafka: [{ password: 12345678 }]",
            "auth: { client_secret: 12345678, more: 1 }",
            "auth: { bearer: 12345678, more: 1 }",
            "from: { htpp: x, headers: { Authorization: 12345678 } }",
            "from: [{ headers: { Authorization: 12345678 } }]",
        ] {
            let found = checked(text);
            assert!(!found.mistakes.is_empty(), "{text}");
            assert!(found.secrets.iter().any(|secret| secret == "12345678"), "{text}: {:?}", found.secrets);
        }
        let found = checked("{ kafka: { brokers: here, password: 'of mine' }, auth: { bearer: token } }");
        assert!(found.mistakes.is_empty(), "{:?}", found.mistakes);
        assert_eq!(found.secrets, ["of mine", "token"]);
    }

    #[test]
    fn a_value_is_shown_as_it_is_written() {
        let found = checked("kafka: { password: 0012345678 }");
        assert_eq!(found.mistakes[0].message, "expected a text, this is 0012345678");
        assert_eq!(found.secrets, ["0012345678"]);
    }

    #[test]
    fn secrets_are_known_by_their_names_where_there_is_no_tree() {
        let text = "kafka: { brokers: here, 'password' : @hunter22 }\nfrom:\n  headers:\n    \
                    Authorization: Bearer %1234\n  http: here\nauth:\n  bearer: `1234\n";
        let shown = "kafka: { brokers: here, 'password' : ***\nfrom:\n  headers:\n    ***\n  http: here\n\
                     auth:\n  bearer: ***\n";
        assert_eq!(secrets_by_name(text, &schema()).mask(text), shown);
    }
}
