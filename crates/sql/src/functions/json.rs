//! JSON in texts: read into structs, looked into by paths, written.
//! Source: Spark's `jsonExpressions`.

use arrow::array::AsArray;
use arrow::datatypes::{DataType, Fields};

use super::Call;
use super::rows::{Cell, Int, Text, rows1};
use super::search::text_lists;
use crate::bind::Bind;
use crate::error::SqlError;
use crate::java_time::TimePattern;
use crate::json::{
    Formats, Node, OF_PATHS, Path, first_value, from_texts, is_readable, is_writable, to_texts,
};
use crate::operation::{Bound, on_arrays};

/// The first value of a text; `None` where it is no JSON.
fn root(text: &str) -> Option<Node> {
    first_value(text, OF_PATHS).ok().flatten()
}

pub(super) fn get_json_object(mut call: Call) -> Bind {
    call.arity(2..=2)?;
    let Some(text) = call.constant_text(1, "the path")? else { return Ok(Bound::null(&DataType::Utf8)) };
    if text.contains(char::is_whitespace) {
        return Err(SqlError::unsupported("a path with white space", call.spans[1].clone()));
    }
    let Some(path) = Path::parse(&text) else { return Ok(Bound::null(&DataType::Utf8)) };
    call.args.truncate(1);
    call.cast(0, &DataType::Utf8)?;
    let kernel = rows1::<Text, Text>(move |text| path.evaluate(&root(text)?));
    call.apply_as(format!("get_json_object {text}"), DataType::Utf8, kernel)
}

/// How many items an array has; null for everything else.
pub(super) fn json_array_length(call: Call) -> Bind {
    call.one::<Text, Int>(|text| match root(text)? {
        Node::Array(items) => Some(items.len() as i32),
        _ => None,
    })
}

/// The names in an object; null for everything else.
pub(super) fn json_object_keys(mut call: Call) -> Bind {
    call.arity(1..=1)?;
    call.cast(0, &DataType::Utf8)?;
    let kernel = on_arrays(|args| {
        let keys = |text: &str| match root(text)? {
            Node::Object(members) => Some(members.into_iter().map(|(name, _)| name).collect()),
            _ => None,
        };
        Ok(text_lists(args[0].as_string::<i32>().iter().map(|text| keys(text?))))
    });
    call.apply(super::arrays::list_of(DataType::Utf8), kernel)
}

/// `from_json(text, 'a INT, b STRING')`: the schema in Spark's DDL form, a struct at the root.
pub(super) fn from_json(mut call: Call) -> Bind {
    call.arity(2..=3)?;
    let Some(schema) = call.constant_text(1, "the schema")? else { return Err(call.refuse()) };
    let span = call.spans[1].clone();
    let kind = crate::types::parse_type(&schema).map_err(|error| SqlError { span: span.clone(), ..error })?;
    let keeps_text = |fields: &Fields| fields.iter().any(|field| field.name() == "_corrupt_record");
    if matches!(&kind, DataType::Struct(fields) if keeps_text(fields)) {
        let message =
            "in `_corrupt_record` Spark keeps a text that it cannot read, which is not done natively";
        return Err(SqlError::unsupported(message, span).help("give the field another name"));
    }
    if !matches!(kind, DataType::Struct(_)) || !is_readable(&kind) {
        let message = "from_json is answered natively for structs, and for maps of texts in them";
        return Err(SqlError::unsupported(message, span)
            .help("declare the fields, or run the flow on Spark (`runner: spark`)"));
    }
    let options = if call.args.len() == 3 { call.options(2)? } else { Vec::new() };
    let mut formats = Formats::default();
    for (name, value) in &options {
        let pattern = TimePattern::new(value).ok().filter(|pattern| pattern.check_read().is_ok());
        let Some(pattern) = pattern else { return Err(call.refuse()) };
        match name.to_lowercase().as_str() {
            "timestampformat" => formats.timestamp = Some(pattern),
            "dateformat" => formats.date = Some(pattern),
            _ => {
                let message = format!("the option {name} of from_json is not answered natively");
                return Err(SqlError::unsupported(message, call.spans[2].clone()));
            }
        }
    }
    call.args.truncate(1);
    call.cast(0, &DataType::Utf8)?;
    let name = format!("from_json {schema} {options:?}");
    let returns = kind.clone();
    call.apply_as(name, returns, on_arrays(move |args| Ok(from_texts(&args[0], &kind, &formats))))
}

impl Call {
    /// A constant map of texts.
    pub(super) fn options(&self, at: usize) -> Bind<Vec<(String, String)>> {
        let refused = || SqlError::unsupported("options are a map of constant texts", self.spans[at].clone());
        let map = match self.args[at].constant() {
            Some(datafusion::common::ScalarValue::Map(map)) => map.clone(),
            _ => return Err(refused()),
        };
        let is_text = |array: &arrow::array::ArrayRef| *array.data_type() == DataType::Utf8;
        if !is_text(map.keys()) || !is_text(map.values()) {
            return Err(refused());
        }
        let (keys, values) = (map.keys().as_string::<i32>(), map.values().as_string::<i32>());
        Ok(keys
            .iter()
            .zip(values)
            .filter_map(|(key, value)| Some((key?.to_owned(), value?.to_owned())))
            .collect())
    }
}

/// A struct, array or map as JSON; in structs nulls are left out.
pub(super) fn to_json(mut call: Call) -> Bind {
    call.arity(1..=2)?;
    if call.args.len() == 2 && !call.options(1)?.is_empty() {
        return Err(SqlError::unsupported("to_json with options", call.spans[1].clone()));
    }
    call.args.truncate(1);
    if !matches!(call.args[0].kind, DataType::Struct(_) | DataType::List(_) | DataType::Map(..)) {
        return Err(call.refuse());
    }
    if !is_writable(&call.args[0].kind) {
        let message = "to_json of a map whose keys are neither texts nor numbers";
        return Err(SqlError::unsupported(message, call.spans[0].clone()).help("make the keys texts"));
    }
    call.apply(DataType::Utf8, on_arrays(|args| Ok(Text::collect(to_texts(&args[0]).into_iter()))))
}

/// The schema of a constant text, in Spark's DDL form.
pub(super) fn schema_of_json(call: Call) -> Bind {
    call.arity(1..=1)?;
    let Some(text) = call.constant_text(0, "the text")? else { return Err(call.refuse()) };
    let Some(node) = first_value(&text, crate::json::OF_FROM_JSON).ok().flatten() else {
        return Err(call.refuse());
    };
    let Some(kind) = inferred(&node) else { return Err(call.refuse()) };
    Ok(super::search::text(&kind))
}

/// `None` where Spark would have to merge types.
fn inferred(node: &Node) -> Option<String> {
    Some(match node {
        Node::Null | Node::Text(_) => "STRING".to_owned(),
        Node::Boolean(_) => "BOOLEAN".to_owned(),
        Node::Number(_, false) | Node::NonNumber(_) => "DOUBLE".to_owned(),
        Node::Number(text, true) if text.parse::<i64>().is_ok() => "BIGINT".to_owned(),
        Node::Number(..) => return None,
        Node::Array(items) => {
            let mut kinds = items.iter().map(inferred);
            let first = kinds.next().unwrap_or(Some("STRING".to_owned()))?;
            kinds.all(|kind| kind.as_ref() == Some(&first)).then(|| format!("ARRAY<{first}>"))?
        }
        Node::Object(members) => {
            let mut fields: Vec<_> =
                members.iter().map(|(name, node)| Some((name, inferred(node)?))).collect::<Option<_>>()?;
            fields.sort();
            let plain =
                |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && !name.is_empty();
            let distinct = fields.windows(2).all(|pair| pair[0].0 != pair[1].0);
            if !distinct || !fields.iter().all(|(name, _)| plain(name)) || fields.is_empty() {
                return None;
            }
            let fields: Vec<_> = fields.iter().map(|(name, kind)| format!("{name}: {kind}")).collect();
            format!("STRUCT<{}>", fields.join(", "))
        }
    })
}
