//! Paths into JSON as Spark's `get_json_object` follows them. They are Hive's, not JSONPath's: an
//! array with a wildcard that gives one result gives it without brackets.
//! Source: Spark's `JsonPathParser` and `GetJsonObjectEvaluator`.

use arrow::error::ArrowError;

use super::tree::Node;

/// One step of a path.
#[derive(Debug, Clone, PartialEq)]
enum Step {
    /// `.name`, `['name']`
    Name(String),
    /// `.*`
    AnyName,
    /// `[1]`
    Index(usize),
    /// `[*]`
    AnyIndex,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Path {
    steps: Vec<Step>,
}

/// How a result is written.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Style {
    /// A text without quotes.
    Raw,
    /// As JSON.
    Quoted,
    /// An array as its items.
    Flat,
}

impl Path {
    /// `None` where this is no path, an error where Spark's query would stop.
    pub(crate) fn parse(text: &str) -> Result<Option<Self>, String> {
        let Some(mut rest) = text.strip_prefix('$') else { return Ok(None) };
        let mut steps = Vec::new();
        while !rest.is_empty() {
            if is_beyond(rest) {
                return Err("an index in this path is larger than a BIGINT".into());
            }
            let Some((step, after)) = step(rest) else { return Ok(None) };
            steps.push(step);
            rest = after;
        }
        Ok(Some(Self { steps }))
    }

    /// What the path leads to, as text; `None` where it leads nowhere, an error where that is no text.
    pub(crate) fn evaluate(&self, root: &Node) -> Result<Option<String>, ArrowError> {
        // Spark reads `.*` and finds nothing by it.
        if self.steps.contains(&Step::AnyName) {
            return Ok(None);
        }
        let mut out = Vec::new();
        let mut writer = Writer { out: &mut out, escapes: true, started: false, depth: 0 };
        let found = follow(root, &self.steps, Style::Raw, &mut writer);
        if found { as_text(out) } else { Ok(None) }
    }
}

/// What Jackson writes, which fails at half of a surrogate pair; but two second halves it takes for a pair.
fn as_text(bytes: Vec<u8>) -> Result<Option<String>, ArrowError> {
    let bytes = match String::from_utf8(bytes) {
        Ok(text) => return Ok(Some(text)),
        Err(error) => error.into_bytes(),
    };
    let is_half = |at: usize, first: u8| {
        bytes[at..].starts_with(&[0xed]) && bytes.get(at + 1).is_some_and(|b| *b >= first)
    };
    let mut from = 0;
    while let Some(at) = (from..bytes.len()).find(|at| is_half(*at, 0xa0)) {
        from = at + 6;
        if from > bytes.len() || !is_half(at + 3, 0xb0) {
            return Ok(None);
        }
    }
    let what = "two second halves of characters in a row, of which Spark makes bytes that are no text";
    Err(ArrowError::ComputeError(what.into()))
}

/// Whether an index comes next that is larger than a BIGINT.
fn is_beyond(text: &str) -> bool {
    let Some(rest) = text.strip_prefix('[') else { return false };
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    digits > 0 && rest[..digits].parse::<i64>().is_err()
}

fn step(text: &str) -> Option<(Step, &str)> {
    if let Some(rest) = text.strip_prefix(".*").or_else(|| text.strip_prefix("['*']")) {
        return Some((Step::AnyName, rest));
    }
    if let Some(rest) = text.strip_prefix('.') {
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        return (end > 0).then(|| (Step::Name(rest[..end].to_owned()), &rest[end..]));
    }
    if let Some(rest) = text.strip_prefix("['") {
        let end = rest.find(['\'', '?'])?;
        let after = rest[end..].strip_prefix("']")?;
        return (end > 0).then(|| (Step::Name(rest[..end].to_owned()), after));
    }
    if let Some(rest) = text.strip_prefix("[*]") {
        return Some((Step::AnyIndex, rest));
    }
    let rest = text.strip_prefix('[')?;
    let end = rest.find(|c: char| !c.is_ascii_digit())?;
    let index = rest[..end].parse().ok()?;
    Some((Step::Index(index), rest[end..].strip_prefix(']')?))
}

/// Values one after another, with commas between them where they are in an array.
struct Writer<'a> {
    out: &'a mut Vec<u8>,
    escapes: bool,
    /// Whether something stands before, on the same level.
    started: bool,
    depth: usize,
}

impl Writer<'_> {
    fn separate(&mut self) {
        if self.started {
            // Values that are in no array are parted by a blank.
            self.out.push(if self.depth > 0 { b',' } else { b' ' });
        }
        self.started = true;
    }

    fn node(&mut self, node: &Node) {
        self.separate();
        node.write(self.escapes, self.out);
    }

    fn array(&mut self, write: impl FnOnce(&mut Self) -> bool) -> bool {
        self.separate();
        self.out.push(b'[');
        self.started = false;
        self.depth += 1;
        let written = write(self);
        self.depth -= 1;
        self.started = true;
        self.out.push(b']');
        written
    }
}

fn follow(node: &Node, path: &[Step], style: Style, writer: &mut Writer<'_>) -> bool {
    match (node, path) {
        (Node::Text(text), []) if style == Style::Raw => {
            text.write_raw(writer.out);
            true
        }
        (Node::Array(items), []) if style == Style::Flat => each(items, &[], Style::Flat, writer),
        (node, []) => {
            writer.node(node);
            true
        }
        (Node::Object(members), [Step::Name(name), rest @ ..]) => members
            .iter()
            // The first of that name that leads on; null leads nowhere.
            .filter(|(known, value)| known.is(name) && *value != Node::Null)
            .any(|(_, value)| follow(value, rest, style, writer)),
        (Node::Array(items), [Step::AnyIndex, Step::AnyIndex, rest @ ..]) => {
            writer.array(|writer| each(items, rest, Style::Flat, writer))
        }
        (Node::Array(items), [Step::AnyIndex, rest @ ..]) if style != Style::Quoted => {
            let inner = if style == Style::Raw { Style::Quoted } else { Style::Flat };
            let mut buffer = Vec::new();
            // This one writes letters, not bytes, and so without escapes.
            let mut part = Writer { out: &mut buffer, escapes: false, started: false, depth: 0 };
            let mut found = 0;
            part.array(|part| {
                found = items.iter().filter(|item| follow(item, rest, inner, part)).count();
                true
            });
            if found == 0 {
                return false;
            }
            writer.separate();
            let kept = if found > 1 { &buffer[..] } else { &buffer[1..buffer.len() - 1] };
            writer.out.extend_from_slice(kept);
            true
        }
        (Node::Array(items), [Step::AnyIndex, rest @ ..]) => {
            writer.array(|writer| each(items, rest, Style::Quoted, writer))
        }
        (Node::Array(items), [Step::Index(index), rest @ ..]) => {
            let style = if matches!(rest, [Step::AnyIndex, ..]) { Style::Quoted } else { style };
            items.get(*index).is_some_and(|item| follow(item, rest, style, writer))
        }
        _ => false,
    }
}

fn each(items: &[Node], path: &[Step], style: Style, writer: &mut Writer<'_>) -> bool {
    items.iter().filter(|item| follow(item, path, style, writer)).count() > 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::tree::{OF_PATHS, first_value};

    #[test]
    fn paths_lead_where_sparks_do() {
        let text =
            r#"{"a":[{"b":1,"c":"x"},{"b":2}],"n":null,"t":"q\"","one":[{"b":[3]}],"dotted.name":1.50}"#;
        let root = first_value(text, OF_PATHS).expect("JSON").expect("a value");
        for (path, expected) in [
            ("$.a[0].c", Some("x")),
            ("$.a[*].b", Some("[1,2]")),
            ("$.a[*].c", Some("\"x\"")),
            ("$.a[1]", Some(r#"{"b":2}"#)),
            ("$.n", None),
            ("$.t", Some("q\"")),
            ("$['t']", Some("q\"")),
            ("$.one[*].b", Some("[3]")),
            ("$['dotted.name']", Some("1.5")),
            ("$.missing", None),
        ] {
            assert_eq!(followed(path, &root).expect(path).as_deref(), expected, "{path}");
        }
        for path in ["a", "$.", "$[x]", "$['a", "$a", "$x[9223372036854775808]"] {
            assert_eq!(Path::parse(path), Ok(None), "{path}");
        }
        for path in ["$[9223372036854775808]", "$.a[99999999999999999999"] {
            assert!(Path::parse(path).is_err(), "{path}");
        }
    }

    #[test]
    fn halves_of_characters_are_no_text() {
        let text =
            r#"{"a":"\ud83d","b":{"k":"\ud83d"},"c":["x\ude00y","\ud83d\ude00"],"?":1,"d":"\ude00\ude00"}"#;
        let root = first_value(text, OF_PATHS).expect("JSON").expect("a value");
        for (path, expected) in [
            ("$.a", None),
            ("$.b", Some(r#"{"k":"\uD83D"}"#)),
            ("$.b.k", None),
            ("$.c", Some(r#"["x\uDE00y","\uD83D\uDE00"]"#)),
            ("$.c[*]", None),
            ("$.c[0]", None),
            ("$.c[1]", Some("😀")),
            ("$.?", Some("1")),
        ] {
            assert_eq!(followed(path, &root).expect(path).as_deref(), expected, "{path}");
        }
        assert!(followed("$.d", &root).is_err());
        let root = first_value(r#"{"\ud83d":1}"#, OF_PATHS).expect("JSON").expect("a value");
        assert_eq!(followed("$.?", &root).expect("a text"), None);
    }

    fn followed(path: &str, root: &Node) -> Result<Option<String>, ArrowError> {
        Path::parse(path).expect(path).expect(path).evaluate(root)
    }
}
