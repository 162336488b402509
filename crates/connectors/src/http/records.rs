//! Where the records are in an answer: found by JSONPath, handed on as they stand there.

use std::borrow::Cow;
use std::collections::HashMap;

use millstream_core::{Error, Result};
use serde_json::Value;
use serde_json::value::RawValue;
use serde_json_path::{JsonPath, PathElement};

/// Reads a JSONPath.
pub(super) fn parse_path(path: &str) -> Result<JsonPath> {
    JsonPath::parse(path).map_err(|error| {
        Error::user(format!("`{path}` is no JSONPath: {error}"))
            .help("write $.results, or $ for the whole")
            .at("records")
    })
}

/// The records' texts in `body`, or why it has none.
pub(super) fn select<'b>(body: &'b str, path: &JsonPath, written: &str) -> Result<Vec<&'b str>, String> {
    if let Some(names) = plain_names(written) {
        return by_names(body, &names, written);
    }
    let value: Value = serde_json::from_str(body).map_err(|e| not_json(body, &e))?;
    let found = path.query_located(&value).all();
    if found.is_empty() {
        // A filter may well select nothing; a path of names that leads nowhere is a wrong answer.
        return if written.contains(['?', '*', ':']) || written.contains("..") {
            Ok(Vec::new())
        } else {
            Err(format!("the answer has nothing at {written}"))
        };
    }
    let mut raw =
        Raw { root: serde_json::from_str(body).expect("it was read before"), children: HashMap::new() };
    let mut texts = Vec::with_capacity(found.len());
    let one_array = found.len() == 1 && found[0].node().is_array();
    for node in &found {
        let path: Vec<_> = node.location().iter().collect();
        let text = raw.at(&path);
        if one_array {
            let elements: Vec<&RawValue> = serde_json::from_str(text).expect("an array");
            texts.extend(elements.into_iter().map(RawValue::get));
        } else {
            texts.push(text);
        }
    }
    Ok(texts)
}

/// The names of a path that is nothing but names: `$.data.items`.
fn plain_names(path: &str) -> Option<Vec<&str>> {
    let names: Vec<_> = path.strip_prefix('$')?.split('.').skip(1).collect();
    let is_plain = |name: &&str| {
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    (path.len() == 1 || (path.starts_with("$.") && names.iter().all(is_plain))).then_some(names)
}

/// As [`select`], without a tree of the whole answer: most of an answer is its records.
fn by_names<'b>(body: &'b str, names: &[&str], written: &str) -> Result<Vec<&'b str>, String> {
    let mut here: &RawValue = serde_json::from_str(body).map_err(|e| not_json(body, &e))?;
    for name in names {
        let members: Option<HashMap<Cow<'b, str>, &'b RawValue>> = serde_json::from_str(here.get()).ok();
        let member = members.and_then(|members| members.get(*name).copied());
        here = member.ok_or_else(|| format!("the answer has nothing at {written}"))?;
    }
    if !here.get().starts_with('[') {
        return Ok(vec![here.get()]);
    }
    let elements: Vec<&RawValue> = serde_json::from_str(here.get()).map_err(|e| not_json(body, &e))?;
    Ok(elements.into_iter().map(RawValue::get).collect())
}

fn not_json(body: &str, error: &serde_json::Error) -> String {
    let start: String = body.trim_start().chars().take(60).collect();
    match body.trim().is_empty() {
        true => "the answer is empty".to_owned(),
        false => format!("the answer is no JSON ({error}); it begins with {start:?}"),
    }
}

/// The text of an answer, and the parts that were already looked into.
struct Raw<'b> {
    root: &'b RawValue,
    children: HashMap<String, Children<'b>>,
}

enum Children<'b> {
    Members(HashMap<Cow<'b, str>, &'b RawValue>),
    Elements(Vec<&'b RawValue>),
}

impl<'b> Raw<'b> {
    fn at(&mut self, path: &[&PathElement<'_>]) -> &'b str {
        let Some((last, parents)) = path.split_last() else { return self.root.get() };
        let key = parents.iter().map(|element| format!("{element:?}/")).collect::<String>();
        if !self.children.contains_key(&key) {
            let parent = self.at(parents);
            let children = match last {
                PathElement::Name(_) => Children::Members(serde_json::from_str(parent).expect("an object")),
                PathElement::Index(_) => Children::Elements(serde_json::from_str(parent).expect("an array")),
            };
            self.children.insert(key.clone(), children);
        }
        match (&self.children[&key], last) {
            (Children::Members(members), PathElement::Name(name)) => members[*name].get(),
            (Children::Elements(elements), PathElement::Index(index)) => elements[*index].get(),
            _ => unreachable!("an object has names, an array has indices"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selected(body: &str, path: &str) -> Result<Vec<String>, String> {
        let parsed = parse_path(path).expect(path);
        select(body, &parsed, path).map(|found| found.into_iter().map(str::to_owned).collect())
    }

    #[test]
    fn records_keep_their_bytes() {
        let body = r#" {"results": [ {"b" : 1.50,"a":"é"} , 2e0, {"b":[ ]} ], "info":{}} "#;
        assert_eq!(
            selected(body, "$.results"),
            Ok(vec![r#"{"b" : 1.50,"a":"é"}"#.into(), "2e0".into(), r#"{"b":[ ]}"#.into()])
        );
        assert_eq!(selected(body, "$.results[*].b"), Ok(vec!["1.50".into(), "[ ]".into()]));
        assert_eq!(selected(body, "$.results[?@.b > 1]"), Ok(vec![r#"{"b" : 1.50,"a":"é"}"#.into()]));
        assert_eq!(selected(body, "$.info"), Ok(vec!["{}".into()]));
        assert_eq!(selected(body, "$['info']"), Ok(vec!["{}".into()]));
        assert_eq!(selected(body, "$['results']"), selected(body, "$.results"));
        assert_eq!(selected("[1, 2]", "$"), Ok(vec!["1".into(), "2".into()]));
        assert_eq!(selected(r#"{"results": []}"#, "$.results"), Ok(vec![]));
        assert_eq!(selected(body, "$.results[?@.c]"), Ok(vec![]));
    }

    #[test]
    fn an_answer_without_records_is_explained() {
        assert!(selected(r#"{"error": "x"}"#, "$.results").expect_err("none").contains("$.results"));
        assert!(selected("<html>", "$.results").expect_err("no JSON").contains("<html>"));
        assert!(selected("{\"results\": [", "$.results").expect_err("cut").contains("no JSON"));
        assert_eq!(selected("", "$").expect_err("empty"), "the answer is empty");
        assert!(selected(r#"{"results": [1, {]}"#, "$.results").expect_err("broken").contains("no JSON"));
        assert!(selected("[1]", "$.results").expect_err("an array").contains("nothing at"));
    }
}
