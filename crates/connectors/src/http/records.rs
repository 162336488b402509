//! Where the records are in an answer: found by JSONPath, handed on as they stand there.

use std::borrow::Cow;
use std::collections::HashMap;

use millstream_core::{Error, Result};
use serde_json::Value;
use serde_json::value::RawValue;
use serde_json_path::{JsonPath, PathElement};

const NULL: &str = "null";

/// A place in JSON texts.
#[derive(Debug, Clone)]
pub(super) struct Path {
    written: String,
    parsed: JsonPath,
    /// Where it is nothing but names, these.
    names: Option<Vec<String>>,
    /// What stands before its first part that may well lead to nothing: a wildcard, a filter, a slice, a descent.
    before: Option<Box<Path>>,
    /// Whether its last part takes elements, which are records then, even a single one that is an array.
    takes_elements: bool,
}

impl Path {
    /// Reads a JSONPath that the setting `setting` holds.
    pub(super) fn parse(written: &str, setting: &str) -> Result<Self> {
        let parsed = JsonPath::parse(written).map_err(|error| {
            Error::user(format!("`{written}` is no JSONPath: {error}"))
                .help("write $.results, or $ for the whole")
                .at(setting)
        })?;
        let parts = parts(written);
        let before = match parts.iter().position(|part| part.starts_with("..") || takes_elements(part)) {
            None => None,
            Some(place) => {
                let before = format!("${}", parts[..place].concat());
                Some(Box::new(Self::parse(before.trim_end(), setting)?))
            }
        };
        Ok(Self {
            written: written.to_owned(),
            parsed,
            names: plain_names(written),
            before,
            takes_elements: parts.last().is_some_and(|part| takes_elements(part)),
        })
    }

    /// The whole answer as one record, also where it is an array.
    pub(super) fn whole() -> Self {
        let root = Self::parse("$", "records").expect("the root is a JSONPath");
        Self { names: None, takes_elements: true, ..root }
    }

    /// Whether an answer that has records may still have none there, because a filter leaves them out.
    pub(super) fn filters(&self) -> bool {
        outside_quotes(&self.written).any(|(_, c)| c == '?')
    }

    /// The records' texts in `body`, or why it has none.
    pub(super) fn select<'b>(&self, body: &'b str) -> Result<Vec<&'b str>, String> {
        if let Some(names) = &self.names {
            let found = by_names(body, names).map_err(|e| not_json(body, &e))?;
            return found.map(records_at).ok_or_else(|| self.nothing());
        }
        let found = self.located(body).map_err(|e| not_json(body, &e))?;
        match found.as_slice() {
            [] => self.none_in(body),
            [one] if !self.takes_elements => Ok(records_at(one)),
            _ => Ok(found),
        }
    }

    /// A filter may well select nothing, but only from something that is there: an answer that is all but an error
    /// would end the pages as if they had been read.
    fn none_in<'b>(&self, body: &'b str) -> Result<Vec<&'b str>, String> {
        let place = self.before.as_deref().unwrap_or(self);
        match place.first(body)? {
            Some(text) if text == NULL || text.starts_with(['[', '{']) => Ok(Vec::new()),
            _ => Err(place.nothing()),
        }
    }

    fn nothing(&self) -> String {
        format!("the answer has nothing at {}", self.written)
    }

    /// The list in `body` of which the path selects nothing, though it is not empty.
    pub(super) fn unselected<'b>(&self, body: &'b str) -> Option<&'b str> {
        let list = self.before.as_deref()?.first(body).ok()??;
        elements(list).is_some_and(|elements| !elements.is_empty()).then_some(list)
    }

    /// The first value there, as it stands in `text`, or why nobody can tell.
    pub(super) fn first<'b>(&self, text: &'b str) -> Result<Option<&'b str>, String> {
        let found = match &self.names {
            Some(names) => by_names(text, names),
            None => self.located(text).map(|found| found.first().copied()),
        };
        found.map_err(|e| not_json(text, &e))
    }

    /// All values there, as they stand in `body`.
    fn located<'b>(&self, body: &'b str) -> Result<Vec<&'b str>, serde_json::Error> {
        let value: Value = serde_json::from_str(body)?;
        let mut raw = Raw { root: serde_json::from_str(body)?, children: HashMap::new() };
        let found = self.parsed.query_located(&value).all();
        Ok(found.iter().map(|node| raw.at(&node.location().iter().collect::<Vec<_>>())).collect())
    }
}

/// The parts of a path behind its `$`: `.a`, `['a']`, `[?@.b > 1]`, `..a`.
fn parts(path: &str) -> Vec<&str> {
    let mut depth = 0;
    let mut starts = Vec::new();
    for (at, c) in outside_quotes(path) {
        if depth == 0 && matches!(c, '.' | '[') && !path[..at].ends_with('.') {
            starts.push(at);
        }
        match c {
            '[' => depth += 1,
            ']' => depth -= 1,
            _ => {}
        }
    }
    let ends = starts.iter().skip(1).copied().chain([path.len()]);
    starts.iter().zip(ends).map(|(start, end)| &path[*start..end]).collect()
}

/// Whether a part of a path takes what is in an array or object: as many as there are.
fn takes_elements(part: &str) -> bool {
    outside_quotes(part).any(|(_, c)| matches!(c, '?' | '*' | ':'))
}

/// The characters of a path that stand in no quotes, and where they are.
fn outside_quotes(path: &str) -> impl Iterator<Item = (usize, char)> {
    let mut quote: Option<char> = None;
    let mut is_escaped = false;
    path.char_indices().filter(move |(_, c)| match quote {
        Some(open) => {
            if *c == open && !is_escaped {
                quote = None;
            }
            is_escaped = *c == '\\' && !is_escaped;
            false
        }
        None => {
            quote = matches!(*c, '\'' | '"').then_some(*c);
            quote.is_none()
        }
    })
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
        if !here.get().starts_with('{') {
            return Ok(None);
        }
        let members: HashMap<Cow<'b, str>, &'b RawValue> = serde_json::from_str(here.get())?;
        match members.get(name.as_str()).copied() {
            Some(member) => here = member,
            None => return Ok(None),
        }
    }
    Ok(Some(here.get()))
}

/// The records at one place: an array's elements, or the value itself. An empty list may be written as null, as Go does.
fn records_at(text: &str) -> Vec<&str> {
    match text {
        NULL => Vec::new(),
        _ => elements(text).unwrap_or_else(|| vec![text]),
    }
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
            assert_eq!(Path::parse(path, "cursor").expect(path).first(body), Ok(found), "{path}");
        }
        for (body, path) in [
            ("<html>", "$.a"),
            (r#"{"a": 1, "b": "\ud800"}"#, "$['a']"),
            (r#"{"a": {"\ud800": 1, "b": 2}}"#, "$.a.b"),
        ] {
            let found = Path::parse(path, "cursor").expect(path).first(body);
            assert!(found.expect_err(path).contains("no JSON"), "{path}");
        }
    }

    #[test]
    fn a_list_of_which_nothing_is_selected_is_not_empty() {
        for (body, path, list) in [
            (r#"{"a": [{"b": []}]}"#, "$.a[*].b[*]", Some(r#"[{"b": []}]"#)),
            (r#"{"a": [1]}"#, "$.a[1:]", Some("[1]")),
            (r#"{"a": []}"#, "$.a[*].b[*]", None),
            (r#"{"a": null}"#, "$.a[*]", None),
            (r#"{"a": []}"#, "$.a", None),
            (r#"{"a": [], "page": 9}"#, "$..a", None),
            ("", "$.a[*]", None),
        ] {
            assert_eq!(Path::parse(path, "records").expect(path).unselected(body), list, "{path}");
        }
    }

    #[test]
    fn elements_are_none_only_of_something_that_is_there() {
        for (path, place) in [
            ("$.items[*]", "$.items"),
            ("$.items.*", "$.items"),
            ("$.items [?@.a == ']..*']", "$.items"),
            ("$['items'][1:]", "$['items']"),
            (r"$['it\'s: [a]'][*]", r"$['it\'s: [a]']"),
            ("$.a.items[*].b[0]", "$.a.items"),
            ("$.items..a", "$.items"),
            ("$['a:b']", "$['a:b']"),
        ] {
            for body in [r#"{"error": "rate limited"}"#, r#"{"items": "none", "a": {"items": 0}}"#] {
                let error = selected(body, path).expect_err(path);
                assert_eq!(error, format!("the answer has nothing at {place}"), "{path}");
            }
        }
        for (body, path) in [
            (r#"{"items": []}"#, "$.items[*]"),
            (r#"{"items": {}}"#, "$.items.*"),
            (r#"{"items": [{"a": 1}]}"#, "$.items[?@.a > 1]"),
            (r#"{"items": [{"a": 1}]}"#, "$['items'][1:]"),
            (r#"{"items": [{"a": 1}]}"#, "$.items[*].b"),
            ("[]", "$[*]"),
            ("{}", "$..a"),
        ] {
            assert_eq!(selected(body, path), Ok(vec![]), "{path}");
        }
    }

    #[test]
    fn a_record_that_is_an_array_stays_whole() {
        let body = r#"{"items": [[1, 2]], "pages": [{"items": [3, 4]}]}"#;
        for path in ["$.items", "$.items[*]", "$['items'].*", "$.items[:1]", "$.items[?@[0] == 1]"] {
            assert_eq!(selected(body, path), Ok(vec!["[1, 2]".into()]), "{path}");
        }
        // Here it is the list itself that is selected.
        for path in ["$.pages[0].items", "$.pages[*].items", "$.pages..items"] {
            assert_eq!(selected(body, path), Ok(vec!["3".into(), "4".into()]), "{path}");
        }
    }

    #[test]
    fn the_whole_of_an_answer_is_one_record_whatever_it_is() {
        for body in [r#"[{"a": 1}]"#, "[]", r#"{"a": [1]}"#, "null", "7"] {
            assert_eq!(Path::whole().select(body), Ok(vec![body]), "{body}");
        }
        assert!(Path::whole().select("<html>").expect_err("no JSON").contains("<html>"));
    }

    #[test]
    fn null_is_an_empty_list() {
        let body = r#"{"items": null, "a": [null]}"#;
        for path in ["$.items", "$['items']", "$.items[*]", "$..items"] {
            assert_eq!(selected(body, path), Ok(vec![]), "{path}");
        }
        assert_eq!(selected("null", "$"), Ok(vec![]));
        // A null in a list is a record, if a strange one.
        for path in ["$.a", "$.a[*]"] {
            assert_eq!(selected(body, path), Ok(vec!["null".into()]), "{path}");
        }
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
