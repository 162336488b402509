//! JSON in texts: read into structs, looked into by paths, written.
//! Source: Spark's `jsonExpressions`.

use arrow::array::AsArray;
use arrow::datatypes::{DataType, Fields};

use super::Call;
use super::rows::{Cell, Int, Text, try_rows1};
use super::search::text_lists;
use crate::bind::Bind;
use crate::error::SqlError;
use crate::java_time::TimePattern;
use crate::json::{
    Formats, JavaText, Node, OF_PATHS, Path, first_value, from_texts, is_readable, is_writable, to_texts,
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
    let path = Path::parse(&text).map_err(|what| SqlError::invalid(what, call.spans[1].clone()))?;
    let Some(path) = path else { return Ok(Bound::null(&DataType::Utf8)) };
    call.args.truncate(1);
    call.cast(0, &DataType::Utf8)?;
    let kernel =
        try_rows1::<Text, Text>(move |text| root(text).map_or(Ok(None), |root| path.evaluate(&root)));
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
            Node::Object(members) => Some(members.into_iter().map(|(name, _)| name.shown).collect()),
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
        let message =
            "from_json is answered natively for structs without BINARY, and for maps of texts in them";
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
            let field = |(name, node): &(JavaText, Node)| Some((name.whole()?.to_owned(), inferred(node)?));
            let mut fields = members.iter().map(field).collect::<Option<Vec<_>>>()?;
            // As Java compares texts.
            fields.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
            let distinct = fields.windows(2).all(|pair| pair[0].0 != pair[1].0);
            if !distinct || fields.is_empty() || fields.iter().any(|(name, _)| name.is_empty()) {
                return None;
            }
            let fields: Vec<_> =
                fields.iter().map(|(name, kind)| format!("{}: {kind}", name_in_ddl(name))).collect();
            format!("STRUCT<{}>", fields.join(", "))
        }
    })
}

/// A field's name, in backticks where it is no word or begins with a digit.
fn name_in_ddl(name: &str) -> String {
    let is_word = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if is_word && !name.starts_with(|c: char| c.is_ascii_digit()) {
        return name.to_owned();
    }
    format!("`{}`", name.replace('`', "``"))
}

#[cfg(test)]
mod tests {
    use crate::answer;

    #[test]
    fn names_in_schemas_have_backticks_where_they_need_them() {
        for (text, expected) in [
            (r#"{"1":2}"#, "STRUCT<`1`: BIGINT>"),
            (r#"{"1a":2,"a1":3}"#, "STRUCT<`1a`: BIGINT, a1: BIGINT>"),
            (r#"{"_":1,"é b":[],"A":"x"}"#, "STRUCT<A: STRING, _: BIGINT, `é b`: ARRAY<STRING>>"),
            (r#"{"a`b":true}"#, "STRUCT<`a``b`: BOOLEAN>"),
        ] {
            let sql = format!("SELECT schema_of_json('{text}')");
            let answer = answer(&sql).expect(&sql).expect("a row");
            assert_eq!(answer.text, [Some(expected.to_owned())], "{sql}");
        }
    }

    #[test]
    fn what_spark_reads_otherwise_or_not_is_refused() {
        for arguments in [
            "'a INT, a STRING'",
            "'b STRUCT<k: STRING, k: STRING>'",
            "'a: INT'",
            "'a: INT, b: STRING'",
            "'STRUCT<a: INT,>'",
            "'a INT,'",
            "'a `INT`'",
            "'a VOID'",
            "'a DATE', map('dateFormat', 'EEE yyyy-MM-dd')",
            "'a TIMESTAMP', map('timestampFormat', 'yyyy-MM-dd VV')",
        ] {
            let sql = format!("SELECT from_json('{{\"a\":1}}', {arguments})");
            assert!(answer(&sql).is_err(), "{sql}");
        }
        for schema in ["a INT, A INT", "STRUCT<a INT, b: STRING>", "a INT COMMENT \"x\""] {
            let sql = format!("SELECT from_json('{{\"a\":1}}', '{schema}')");
            assert!(answer(&sql).is_ok(), "{sql}");
        }
        assert!(answer("SELECT get_json_object('{}', '$[99999999999999999999]')").is_err());
    }
}
