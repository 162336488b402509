//! From sample records to a schema, a query, a table and its key. Everything here is a guess, and
//! says so where the samples leave a choice.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use millstream_core::cql;
use serde_json::{Map, Value};

/// What sample records look like.
#[derive(Debug, Clone)]
pub struct Inferred {
    /// The schema's fields in Spark's DDL form, one each.
    pub fields: Vec<String>,
    /// The columns that the fields become when they are laid flat.
    pub columns: Vec<InferredColumn>,
    /// The column that seems to be the key, by index, and why.
    pub key: Option<(usize, String)>,
    /// What the samples leave open, for the reader.
    pub notes: Vec<String>,
}

/// A field, laid flat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InferredColumn {
    /// The column's name.
    pub name: String,
    /// The query's expression for it.
    pub expression: String,
    /// The column's type in CQL.
    pub cql: &'static str,
    /// Where it is in a record.
    path: Vec<String>,
}

impl InferredColumn {
    /// The column's value in a record, as a message's key would hold it.
    pub fn text_of(&self, record: &Value) -> Option<String> {
        match self.path.iter().try_fold(record, |value, part| value.get(part))? {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        }
    }
}

/// What was seen at one place.
#[derive(Debug, Clone, PartialEq)]
enum Seen {
    /// Nothing but nulls.
    Null,
    Boolean,
    Whole,
    /// A whole number beyond BIGINT.
    Huge,
    Fraction,
    Text,
    /// An array; its JSON text is what a column can hold.
    Array,
    Object(Fields),
    /// Different things: its JSON text.
    Mixed(BTreeSet<&'static str>),
}

/// Members in the order in which they were first seen.
#[derive(Debug, Clone, Default, PartialEq)]
struct Fields {
    order: Vec<String>,
    seen: BTreeMap<String, Seen>,
}

impl Fields {
    fn add(&mut self, name: &str, seen: Seen) {
        match self.seen.remove(name) {
            None => self.order.push(name.to_owned()),
            Some(before) => return drop(self.seen.insert(name.to_owned(), before.and(seen))),
        }
        self.seen.insert(name.to_owned(), seen);
    }

    fn of(object: &Map<String, Value>) -> Self {
        let mut fields = Self::default();
        object.iter().for_each(|(name, value)| fields.add(name, Seen::of(value)));
        fields
    }

    fn iter(&self) -> impl Iterator<Item = (&String, &Seen)> {
        self.order.iter().map(|name| (name, &self.seen[name]))
    }
}

impl Seen {
    fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(_) => Self::Boolean,
            Value::Number(number) if number.is_i64() => Self::Whole,
            Value::Number(number) if number.is_u64() => Self::Huge,
            Value::Number(_) => Self::Fraction,
            Value::String(_) => Self::Text,
            Value::Array(_) => Self::Array,
            // A struct without fields cannot be declared.
            Value::Object(object) if object.is_empty() => Self::Null,
            Value::Object(object) => Self::Object(Fields::of(object)),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean => "a boolean",
            Self::Whole | Self::Huge | Self::Fraction => "a number",
            Self::Text => "a text",
            Self::Array => "an array",
            Self::Object(_) => "an object",
            Self::Mixed(_) => "different things",
        }
    }

    /// What holds both.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Null, seen) | (seen, Self::Null) => seen,
            (Self::Object(mut fields), Self::Object(others)) => {
                others.order.iter().for_each(|name| fields.add(name, others.seen[name].clone()));
                Self::Object(fields)
            }
            (Self::Whole, Self::Huge) | (Self::Huge, Self::Whole) => Self::Huge,
            (Self::Whole | Self::Huge, Self::Fraction) | (Self::Fraction, Self::Whole | Self::Huge) => {
                Self::Fraction
            }
            (Self::Mixed(mut names), Self::Mixed(others)) => {
                names.extend(others);
                Self::Mixed(names)
            }
            (Self::Mixed(mut names), seen) | (seen, Self::Mixed(mut names)) => {
                names.insert(seen.name());
                Self::Mixed(names)
            }
            (one, other) if one == other => one,
            (one, other) => Self::Mixed([one.name(), other.name()].into_iter().collect()),
        }
    }

    /// The type in Spark's DDL form, and in CQL where it is a single value.
    fn types(&self) -> (String, &'static str) {
        let (ddl, cql) = match self {
            Self::Boolean => ("BOOLEAN", "boolean"),
            Self::Whole => ("BIGINT", "bigint"),
            Self::Huge => ("DECIMAL(38,0)", "decimal"),
            Self::Fraction => ("DOUBLE", "double"),
            Self::Null | Self::Text | Self::Array | Self::Mixed(_) => ("STRING", "text"),
            Self::Object(fields) => {
                let inner: Vec<_> = fields
                    .iter()
                    .map(|(name, seen)| format!("{}: {}", quoted(name), seen.types().0))
                    .collect();
                return (format!("STRUCT<{}>", inner.join(", ")), "text");
            }
        };
        (ddl.to_owned(), cql)
    }
}

/// Looks at sample records; those that are no JSON objects are passed over.
pub fn infer(samples: &[Value]) -> Inferred {
    let objects: Vec<&Map<String, Value>> = samples.iter().filter_map(Value::as_object).collect();
    let mut fields = Fields::default();
    for object in &objects {
        object.iter().for_each(|(name, value)| fields.add(name, Seen::of(value)));
    }
    let mut found = Inferred {
        fields: fields.iter().map(|(name, seen)| format!("{} {}", quoted(name), seen.types().0)).collect(),
        columns: Vec::new(),
        key: None,
        notes: Vec::new(),
    };
    let mut taken = HashSet::new();
    flatten(&fields, &[], &mut found, &mut taken);
    found.key = guess_key(&found.columns, samples);
    found
}

fn flatten(fields: &Fields, path: &[String], found: &mut Inferred, taken: &mut HashSet<String>) {
    for (name, seen) in fields.iter() {
        let path: Vec<String> = path.iter().chain([name]).cloned().collect();
        let shown = path.join(".");
        match seen {
            Seen::Object(inner) => {
                flatten(inner, &path, found, taken);
                continue;
            }
            Seen::Null => found.notes.push(format!("{shown} never had a value: STRING is a guess")),
            Seen::Array => found.notes.push(format!("{shown} is an array: here its JSON text")),
            Seen::Mixed(kinds) => {
                let kinds = kinds.iter().copied().collect::<Vec<_>>().join(" and ");
                found.notes.push(format!("{shown} is sometimes {kinds}: here its text"));
            }
            Seen::Boolean | Seen::Whole | Seen::Huge | Seen::Fraction | Seen::Text => {}
        }
        let expression = path.iter().map(|part| quoted(part)).collect::<Vec<_>>().join(".");
        let plain = column_name(&path);
        let mut name = plain.clone();
        let mut number = 2;
        while !taken.insert(name.clone()) {
            name = format!("{plain}_{number}");
            number += 1;
        }
        found.columns.push(InferredColumn { name, expression, cql: seen.types().1, path });
    }
}

/// The column that is there in every sample, differs in all of them and is named most like a key.
fn guess_key(columns: &[InferredColumn], samples: &[Value]) -> Option<(usize, String)> {
    let is_unique = |column: &InferredColumn| {
        let mut seen = HashSet::new();
        samples
            .iter()
            .all(|sample| column.text_of(sample).is_some_and(|text| !text.is_empty() && seen.insert(text)))
    };
    let likeness = |column: &InferredColumn| {
        let last = column.path.last().map(|last| last.to_lowercase()).unwrap_or_default();
        let by_name = match last.as_str() {
            "id" | "uuid" | "guid" | "key" | "_id" => 0,
            _ if last.ends_with("id") || last.ends_with("key") || last.ends_with("number") => 1,
            _ => 2,
        };
        // Among alike names what is less deep, and no fraction or boolean.
        (by_name, column.path.len(), matches!(column.cql, "double" | "boolean"))
    };
    let unique = columns.iter().enumerate().filter(|(_, column)| is_unique(column));
    let (index, column) = unique.min_by_key(|(_, column)| likeness(column))?;
    let shown = column.path.join(".");
    Some((index, format!("{shown} is there and differs in all {} samples", samples.len())))
}

/// Words that a query cannot have as a bare name, beside those of CQL.
const WORDS_OF_SQL: [&str; 15] = [
    "as", "between", "case", "cast", "distinct", "else", "end", "false", "group", "having", "interval",
    "like", "then", "true", "when",
];

fn is_reserved(name: &str) -> bool {
    cql::is_reserved(name) || WORDS_OF_SQL.contains(&name.to_lowercase().as_str())
}

/// A name as it stands in a schema or a query.
fn quoted(name: &str) -> String {
    let is_plain = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && !is_reserved(name);
    if is_plain { name.to_owned() } else { format!("`{}`", name.replace('`', "``")) }
}

/// A path as the name of a column: `firstName` and `first-name` become `first_name`.
fn column_name(path: &[String]) -> String {
    let mut out = String::new();
    for part in path {
        if !out.is_empty() {
            out.push('_');
        }
        let mut before_is_lower = false;
        for c in part.chars() {
            if c.is_ascii_uppercase() && before_is_lower {
                out.push('_');
            }
            before_is_lower = c.is_ascii_lowercase() || c.is_ascii_digit();
            out.push(if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' });
        }
    }
    let out = out.trim_matches('_').to_owned();
    if out.is_empty() || out.starts_with(|c: char| c.is_ascii_digit()) {
        return format!("c_{out}");
    }
    if is_reserved(&out) { format!("{out}_") } else { out }
}

/// Where in an answer the records are: the array with the most objects, not too deep.
pub fn guess_records(answer: &Value) -> (String, Vec<Value>) {
    let mut best: (String, Vec<Value>) = ("$".to_owned(), vec![answer.clone()]);
    let mut most = 0;
    let mut places = vec![("$".to_owned(), answer)];
    while let Some((path, value)) = places.pop() {
        match value {
            Value::Array(items) => {
                let objects = items.iter().filter(|item| item.is_object()).count();
                if objects > most {
                    most = objects;
                    best = (path, items.clone());
                }
            }
            Value::Object(members) if path.matches('.').count() < 4 => {
                let is_plain = |name: &str| {
                    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
                };
                // The last is looked at first, so that of equals the first one stays.
                places.extend(members.iter().rev().map(|(name, value)| match is_plain(name) {
                    true => (format!("{path}.{name}"), value),
                    false => {
                        (format!("{path}['{}']", name.replace('\\', "\\\\").replace('\'', "\\'")), value)
                    }
                }));
            }
            _ => {}
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use millstream_sql::{FlowQuery, parse_schema};
    use serde_json::json;

    use super::*;

    #[test]
    fn samples_become_a_schema_that_holds_all_of_them() {
        let found = infer(&[
            json!({"id": "a", "n": 1, "postcode": 90210, "name": {"firstName": "x"}, "tags": ["t"], "none": null}),
            json!({"id": "b", "n": 1.5, "postcode": "U0H", "name": {"last-name": "y"}, "big": 18446744073709551615_u64}),
            json!({"id": "c", "ok": true, "order": 7, "name": null, "name_first_name": 1, "e": {}}),
        ]);
        assert_eq!(
            found.fields,
            [
                "id STRING",
                "n DOUBLE",
                "postcode STRING",
                "name STRUCT<firstName: STRING, `last-name`: STRING>",
                "tags STRING",
                "none STRING",
                "big DECIMAL(38,0)",
                "ok BOOLEAN",
                "`order` BIGINT",
                "name_first_name BIGINT",
                "e STRING",
            ]
        );
        let columns: Vec<_> = found.columns.iter().map(|column| (column.name.as_str(), column.cql)).collect();
        assert_eq!(columns[3..5], [("name_first_name", "text"), ("name_last_name", "text")]);
        assert_eq!(columns[9..11], [("order_", "bigint"), ("name_first_name_2", "bigint")]);
        assert_eq!(found.key.expect("a key").0, 0);
        assert_eq!(
            found.notes,
            [
                "postcode is sometimes a number and a text: here its text",
                "tags is an array: here its JSON text",
                "none never had a value: STRING is a guess",
                "e never had a value: STRING is a guess",
            ]
        );
    }

    #[test]
    fn what_is_inferred_is_a_query_that_binds_whatever_the_names() {
        let odd =
            ["a b", "ü", "1st", "`", "Ä.b", "date", "timestamp", "struct", "array", "order", "Select", "to"];
        let names = WORDS_OF_SQL.iter().chain(&odd);
        let mut record = Map::new();
        for name in names {
            record.insert((*name).to_owned(), json!({ (*name): 1, "x": [1] }));
        }
        let found = infer(&[Value::Object(record)]);
        let schema = parse_schema(&found.fields.join(", ")).unwrap_or_else(|e| panic!("{e:?}"));
        let columns =
            found.columns.iter().map(|column| format!("{} AS `{}`", column.expression, column.name));
        let sql = format!("SELECT {} FROM input", columns.collect::<Vec<_>>().join(", "));
        FlowQuery::new(&sql, &schema).unwrap_or_else(|e| panic!("{e:?}"));
    }

    #[test]
    fn records_are_where_most_objects_are() {
        for (answer, path, count) in [
            (json!({"meta": {"links": [{"a": 1}]}, "data": [{"id": 1}, {"id": 2}]}), "$.data", 2),
            (json!([{"id": 1}]), "$", 1),
            (json!({"id": 1, "tags": ["a", "b"]}), "$", 1),
            (json!({"a": {"b c": [{}, {}]}}), "$.a['b c']", 2),
            (json!({"x": [{"i": 1}], "y": [{"i": 2}]}), "$.x", 1),
        ] {
            let (found, records) = guess_records(&answer);
            assert_eq!((found.as_str(), records.len()), (path, count), "{answer}");
        }
    }

    #[test]
    fn the_key_is_named_like_one_and_differs_everywhere() {
        let samples = [
            json!({"name": "a", "group_id": 1, "login": {"uuid": "x"}}),
            json!({"name": "b", "group_id": 1, "login": {"uuid": "y"}}),
        ];
        let found = infer(&samples);
        let (key, why) = found.key.expect("a key");
        assert_eq!(found.columns[key].name, "login_uuid");
        assert_eq!(why, "login.uuid is there and differs in all 2 samples");
        assert!(infer(&[json!({"a": 1}), json!({"a": 1})]).key.is_none());
    }
}
