//! Where the records are in an answer: found by JSONPath, handed on as they stand there.

use std::borrow::Cow;
use std::collections::HashMap;

use millstream_core::{Error, Result};
use serde_json::Value;
use serde_json::value::RawValue;
use serde_json_path::{JsonPath, PathElement};

/// A place in JSON texts.
#[derive(Debug, Clone)]
pub(super) struct Path {
    written: String,
    parsed: JsonPath,
    /// Where it is nothing but names, these.
    names: Option<Vec<String>>,
}

impl Path {
    /// Reads a JSONPath that the setting `setting` holds.
    pub(super) fn parse(written: &str, setting: &str) -> Result<Self> {
        let parsed = JsonPath::parse(written).map_err(|error| {
            Error::user(format!("`{written}` is no JSONPath: {error}"))
                .help("write $.results, or $ for the whole")
                .at(setting)
        })?;
        Ok(Self { written: written.to_owned(), parsed, names: plain_names(written) })
    }

    /// Whether an answer that has records may still have none there, because a filter leaves them out.
    pub(super) fn filters(&self) -> bool {
        let mut quote = None;
        let is_outside = |c: &char| {
            match quote {
                Some(open) if open == *c => quote = None,
                None if matches!(*c, '\'' | '"') => quote = Some(*c),
                _ => {}
            }
            quote.is_none()
        };
        self.written.chars().filter(is_outside).any(|c| c == '?')
    }

    /// The records' texts in `body`, or why it has none.
    pub(super) fn select<'b>(&self, body: &'b str) -> Result<Vec<&'b str>, String> {
        let nothing = || format!("the answer has nothing at {}", self.written);
        if let Some(names) = &self.names {
            let found = by_names(body, names).map_err(|e| not_json(body, &e))?.ok_or_else(nothing)?;
            return Ok(elements(found).unwrap_or_else(|| vec![found]));
        }
        let found = self.located(body).map_err(|e| not_json(body, &e))?;
        match found.as_slice() {
            // A filter may well select nothing; a path of names that leads nowhere is a wrong answer.
            [] if self.written.contains(['?', '*', ':']) || self.written.contains("..") => Ok(Vec::new()),
            [] => Err(nothing()),
            [one] => Ok(elements(one).unwrap_or_else(|| vec![one])),
            _ => Ok(found),
        }
    }

    /// The first value there, as it stands in `text`.
    pub(super) fn first<'b>(&self, text: &'b str) -> Option<&'b str> {
        match &self.names {
            Some(names) => by_names(text, names).ok()?,
            None => self.located(text).ok()?.first().copied(),
        }
    }

    /// All values there, as they stand in `body`.
    fn located<'b>(&self, body: &'b str) -> Result<Vec<&'b str>, serde_json::Error> {
        let value: Value = serde_json::from_str(body)?;
        let mut raw = Raw { root: serde_json::from_str(body)?, children: HashMap::new() };
        let found = self.parsed.query_located(&value).all();
        Ok(found.iter().map(|node| raw.at(&node.location().iter().collect::<Vec<_>>())).collect())
    }
}

/// The names of a path that is nothing but names: `$.data.items`.
fn plain_names(path: &str) -> Option<Vec<String>> {
    let names: Vec<_> = path.strip_prefix('$')?.split('.').skip(1).map(str::to_owned).collect();
    let is_plain = |name: &String| {
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    (path.len() == 1 || (path.starts_with("$.") && names.iter().all(is_plain))).then_some(names)
}

/// The value behind names, without a tree of the whole answer: most of an answer is its records.
fn by_names<'b>(body: &'b str, names: &[String]) -> Result<Option<&'b str>, serde_json::Error> {
    let mut here: &RawValue = serde_json::from_str(body)?;
    for name in names {
        let members: Option<HashMap<Cow<'b, str>, &'b RawValue>> = serde_json::from_str(here.get()).ok();
        match members.and_then(|members| members.get(name.as_str()).copied()) {
            Some(member) => here = member,
            None => return Ok(None),
        }
    }
    Ok(Some(here.get()))
}

/// The elements of an array.
fn elements(text: &str) -> Option<Vec<&str>> {
    let elements: Vec<&RawValue> = serde_json::from_str(text).ok()?;
    Some(elements.into_iter().map(RawValue::get).collect())
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
        Path::parse(path, "records")
            .expect(path)
            .select(body)
            .map(|found| found.into_iter().map(str::to_owned).collect())
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
    fn a_single_value_is_found_as_it_stands() {
        let body = r#"{"meta": {"next": "a\u0041", "none": null}, "n": [1.0]}"#;
        for (path, found) in [
            ("$.meta.next", Some(r#""a\u0041""#)),
            ("$['meta']['none']", Some("null")),
            ("$.n[0]", Some("1.0")),
            ("$.meta.other", None),
            ("$.n.x", None),
        ] {
            assert_eq!(Path::parse(path, "cursor").expect(path).first(body), found, "{path}");
        }
        assert_eq!(Path::parse("$.a", "cursor").expect("a path").first("<html>"), None);
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
