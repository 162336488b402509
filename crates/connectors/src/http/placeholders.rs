//! Values that are known only when a run begins: `{since}`, `{interval.start}`, `{interval.end}`
//! in an address, its parameters, headers and body. Nothing else in braces is touched in a body.

use std::collections::BTreeMap;

use millstream_core::{Error, Result, RunValues};
use serde_json::Value;

/// What can stand in braces.
const NAMES: [&str; 3] = ["since", "interval.start", "interval.end"];

/// What stands for each name in one request.
#[derive(Debug, Clone, Default)]
pub(super) struct Values {
    known: BTreeMap<&'static str, String>,
}

impl Values {
    pub(super) fn new(run: &RunValues, since: Option<&str>) -> Self {
        let mut known = BTreeMap::new();
        if let Some((start, end)) = &run.interval {
            known.insert("interval.start", start.clone());
            known.insert("interval.end", end.clone());
        }
        if let Some(since) = since {
            known.insert("since", since.to_owned());
        }
        Self { known }
    }

    /// `text` with every name replaced by its value, changed by `encode`.
    pub(super) fn fill(&self, text: &str, encode: impl Fn(&str) -> String) -> Result<String> {
        let mut out = text.to_owned();
        for name in used(text) {
            let value = self.known.get(name).ok_or_else(|| missing(name))?;
            out = out.replace(&format!("{{{name}}}"), &encode(value));
        }
        Ok(out)
    }

    /// As [`Values::fill`], in every text of a body.
    pub(super) fn fill_body(&self, body: &Value) -> Result<Value> {
        Ok(match body {
            Value::String(text) => Value::String(self.fill(text, str::to_owned)?),
            Value::Array(items) => {
                Value::Array(items.iter().map(|item| self.fill_body(item)).collect::<Result<_>>()?)
            }
            Value::Object(members) => {
                let filled = members.iter().map(|(name, value)| Ok((name.clone(), self.fill_body(value)?)));
                Value::Object(filled.collect::<Result<_>>()?)
            }
            other => other.clone(),
        })
    }
}

fn missing(name: &str) -> Error {
    let help = match name {
        "since" => "write incremental: { field: …, initial: … }, which says what it is",
        _ => "give --interval START/END, like 2026-01-01T00:00:00Z/2026-01-02T00:00:00Z",
    };
    Error::user(format!("nothing says what {{{name}}} is in this run")).help(help)
}

/// The names that `text` makes use of.
pub(super) fn used(text: &str) -> Vec<&'static str> {
    NAMES.into_iter().filter(|name| text.contains(&format!("{{{name}}}"))).collect()
}

/// What looks like a name in braces and is none.
pub(super) fn unknown(text: &str) -> Option<&str> {
    let mut rest = text;
    while let Some(start) = rest.find('{') {
        rest = &rest[start + 1..];
        let end = rest.find('}')?;
        let name = &rest[..end];
        let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b"._".contains(&b));
        if is_name && !NAMES.contains(&name) {
            return Some(name);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_are_replaced_and_nothing_else() {
        let run = RunValues { interval: Some(("A".into(), "B&".into())), since: None };
        let values = Values::new(&run, Some("2024"));
        let encode = |text: &str| text.replace('&', "%26");
        let filled = values.fill("x={since}&y={interval.end}&z={ since }", encode).expect("all are known");
        assert_eq!(filled, "x=2024&y=B%26&z={ since }");
        let body = json!({"q": ["{interval.start}", 5], "raw": "{}"});
        assert_eq!(values.fill_body(&body).expect("known"), json!({"q": ["A", 5], "raw": "{}"}));
        let error = Values::default().fill("{since}", encode).expect_err("unknown");
        assert!(error.to_string().contains("incremental:"), "{error}");
        assert_eq!(unknown("a{since}b{sinc}"), Some("sinc"));
        assert_eq!(unknown("{\"a\": 1} {interval.start} {"), None);
    }
}
