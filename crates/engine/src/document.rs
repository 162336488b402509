//! A YAML 1.2 file as a tree in which every value knows its place in the text.
//! What the values mean is not decided here.

use std::collections::HashSet;
use std::ops::Range;

use saphyr::{MarkedYaml, Scalar, ScalarStyle, YamlData};
use serde_json::{Map, Number, Value};

use crate::diagnostic::Diagnostic;

/// A value and its place.
#[derive(Debug, Clone)]
pub struct Node {
    /// The bytes of the file that it stands in.
    pub span: Range<usize>,
    /// What it is.
    pub kind: Kind,
}

/// What a value is.
#[derive(Debug, Clone)]
pub enum Kind {
    /// A single value; whether it was written in quotes decides what a text like `5` is.
    Scalar {
        /// As written, without quotes.
        text: String,
        /// In quotes, or a block.
        quoted: bool,
    },
    /// A list.
    List(Vec<Node>),
    /// Names with values.
    Map(Vec<(Node, Node)>),
}

/// A file's text and its tree.
#[derive(Debug, Clone)]
pub struct Document {
    /// The text.
    pub text: String,
    /// The tree.
    pub root: Node,
}

impl Document {
    /// Reads a file's text.
    pub fn parse(text: &str) -> Result<Self, Diagnostic> {
        let bytes_of: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
        let byte = |index: usize| bytes_of[index.min(bytes_of.len() - 1)];
        let mut parser = saphyr_parser::Parser::new_from_str(text);
        let mut loader = saphyr::YamlLoader::<MarkedYaml<'_>>::default();
        loader.early_parse(false);
        let failed = |error: &saphyr::ScanError| {
            let at = byte(error.marker().index());
            Diagnostic::error(format!("this is no YAML: {}", error.info()), at..at)
        };
        parser.load(&mut loader, true).map_err(|e| failed(&e))?;
        if let Some(error) = loader.error() {
            return Err(failed(error));
        }
        let mut documents = loader.into_documents();
        match documents.len() {
            1 => {}
            0 => {
                return Err(Diagnostic::error("there is nothing in it", 0..0)
                    .help("`millstream init` writes a pipeline file to begin with"));
            }
            several => {
                return Err(Diagnostic::error(
                    format!("there are {several} documents in it, and a pipeline file holds one"),
                    0..0,
                )
                .help("give each a file of its own: `up` takes several"));
            }
        }
        let root = convert(documents.remove(0), &byte)?;
        Ok(Self { text: text.to_owned(), root })
    }

    /// The value at `path`, as far as there is one: else the last one on the way.
    pub fn nearest(&self, path: &[&str]) -> &Node {
        let mut node = &self.root;
        for part in path {
            match node.get(part) {
                Some(next) => node = next,
                None => break,
            }
        }
        node
    }

    /// Whether a value, and not a name, stands at `span`.
    pub(crate) fn is_value(&self, span: &Range<usize>) -> bool {
        self.root.holds_value(span)
    }

    /// The place of the name of `path`'s last part, or of the nearest value that is there.
    pub fn name_span(&self, path: &[&str]) -> Range<usize> {
        let Some((last, parents)) = path.split_last() else { return self.root.span.clone() };
        match &self.nearest(parents).kind {
            Kind::Map(entries) => {
                let found = entries.iter().find(|(name, _)| name.is_text(last));
                found.map_or_else(|| self.name_span(parents), |(name, _)| name.span.clone())
            }
            _ => self.nearest(path).span.clone(),
        }
    }

    /// The place in the file of a part of a text, which may be a block over several lines.
    pub fn part_span(&self, node: &Node, part: &Range<usize>) -> Range<usize> {
        let found = self.supposed_part_span(node, part);
        // YAML has ways to write a text (folded lines) that put what is looked for elsewhere: it must
        // still be a place between characters.
        let end = self.text.floor_char_boundary(found.end);
        self.text.floor_char_boundary(found.start).min(end)..end
    }

    fn supposed_part_span(&self, node: &Node, part: &Range<usize>) -> Range<usize> {
        let Kind::Scalar { text, .. } = &node.kind else { return node.span.clone() };
        let source = &self.text[node.span.start..];
        if let Some(found) = source.find(text.as_str()).filter(|at| *at < 3) {
            let start = node.span.start + found;
            return start + part.start..start + part.end.max(part.start + 1);
        }
        let before = &text[..text.floor_char_boundary(part.start)];
        let line = before.matches('\n').count();
        let column = before.len() - before.rfind('\n').map_or(0, |at| at + 1);
        let Some(first) = text.lines().next() else { return node.span.clone() };
        // The block's first line, then as many lines further as in the text.
        let mut start = self.text[..node.span.start].rfind('\n').map_or(0, |at| at + 1);
        let mut indent = None;
        let mut left = line;
        for here in self.text[start..].split_inclusive('\n') {
            if indent.is_none() && here.trim() == first.trim() {
                let spaces = |line: &str| line.len() - line.trim_start().len();
                indent = Some(spaces(here).saturating_sub(spaces(first)));
            }
            match indent {
                Some(_) if left == 0 => break,
                Some(_) => left -= 1,
                None => {}
            }
            start += here.len();
        }
        let Some(indent) = indent else { return node.span.clone() };
        let start = start + indent + column;
        let end = (start + part.len().max(1)).min(self.text.len());
        let seen = self.text.floor_char_boundary(start.min(end))..self.text.floor_char_boundary(end);
        let stop = self.text[seen].find('\n').map_or(end, |at| start + at);
        start..stop
    }
}

fn convert(yaml: MarkedYaml<'_>, byte: &impl Fn(usize) -> usize) -> Result<Node, Diagnostic> {
    let span = byte(yaml.span.start.index())..byte(yaml.span.end.index());
    let kind = match yaml.data {
        YamlData::Representation(text, style, _) => {
            Kind::Scalar { text: text.into_owned(), quoted: style != ScalarStyle::Plain }
        }
        YamlData::Sequence(items) => {
            Kind::List(items.into_iter().map(|item| convert(item, byte)).collect::<Result<_, _>>()?)
        }
        YamlData::Mapping(entries) => {
            let mut names = HashSet::new();
            let mut members = Vec::new();
            for (name, value) in entries {
                let name = convert(name, byte)?;
                let Some(text) = name.text() else {
                    let mistake = Diagnostic::error("a key is a single text", name.span.clone());
                    return Err(mistake.help("put it in quotes to make it a text"));
                };
                // The parser takes `a` and `"a"` for two keys; of two that are one here, one would be lost.
                if !names.insert(text.to_owned()) {
                    let message = format!("the key `{text}` is there twice");
                    return Err(Diagnostic::error(message, name.span.clone()));
                }
                members.push((name, convert(value, byte)?));
            }
            Kind::Map(members)
        }
        YamlData::Value(_) => Kind::Scalar { text: String::new(), quoted: false },
        _ => return Err(Diagnostic::error("tags and aliases are not used in a pipeline file", span)),
    };
    Ok(Node { span, kind })
}

impl Node {
    /// The value behind a name.
    pub fn get(&self, name: &str) -> Option<&Self> {
        match &self.kind {
            Kind::Map(entries) => entries.iter().find(|(key, _)| key.is_text(name)).map(|(_, value)| value),
            Kind::List(items) => items.get(name.parse::<usize>().ok()?),
            Kind::Scalar { .. } => None,
        }
    }

    /// Whether it is this text.
    pub fn is_text(&self, wanted: &str) -> bool {
        matches!(&self.kind, Kind::Scalar { text, .. } if text == wanted)
    }

    /// The text of a single value.
    pub fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// Adds every single value in it to `out`.
    pub(crate) fn texts(&self, out: &mut Vec<String>) {
        match &self.kind {
            Kind::Scalar { text, .. } => out.push(text.clone()),
            Kind::List(items) => items.iter().for_each(|item| item.texts(out)),
            Kind::Map(entries) => entries.iter().for_each(|(_, value)| value.texts(out)),
        }
    }

    fn holds_value(&self, span: &Range<usize>) -> bool {
        self.span == *span
            || match &self.kind {
                Kind::Scalar { .. } => false,
                Kind::List(items) => items.iter().any(|item| item.holds_value(span)),
                Kind::Map(entries) => entries.iter().any(|(_, value)| value.holds_value(span)),
            }
    }

    /// Takes out the entries whose key or value stands at one of `places`.
    pub(crate) fn leave_out(&mut self, places: &[Range<usize>]) {
        match &mut self.kind {
            Kind::Scalar { .. } => {}
            Kind::List(items) => items.iter_mut().for_each(|item| item.leave_out(places)),
            Kind::Map(entries) => {
                entries.retain(|(key, value)| !places.contains(&key.span) && !places.contains(&value.span));
                entries.iter_mut().for_each(|(_, value)| value.leave_out(places));
            }
        }
    }

    /// The value as JSON, a plain scalar being what YAML 1.2's core schema makes of it.
    pub fn to_json(&self) -> Value {
        match &self.kind {
            Kind::Scalar { text, quoted: true } => Value::String(text.clone()),
            Kind::Scalar { text, quoted: false } => plain(text),
            Kind::List(items) => Value::Array(items.iter().map(Self::to_json).collect()),
            Kind::Map(entries) => {
                let entries = entries
                    .iter()
                    .map(|(name, value)| (name.text().unwrap_or_default().to_owned(), value.to_json()));
                Value::Object(entries.collect::<Map<_, _>>())
            }
        }
    }
}

fn plain(text: &str) -> Value {
    match Scalar::parse_from_cow(text.into()) {
        Scalar::Null => Value::Null,
        // An empty value is null in YAML; for this function of the parser it is a text.
        Scalar::String(text) if text.is_empty() => Value::Null,
        Scalar::Boolean(value) => Value::Bool(value),
        Scalar::Integer(number) => Value::from(number),
        // For the parser whole numbers end where BIGINT does; beyond it the last digits would be lost.
        Scalar::FloatingPoint(number) => match text.parse::<u64>() {
            Ok(whole) => Value::from(whole),
            Err(_) => Number::from_f64(*number).map_or_else(|| Value::String(text.to_owned()), Value::Number),
        },
        Scalar::String(text) => Value::String(text.into_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_yaml_1_2() {
        let document = Document::parse("a: NO\nb: 5\nc: '5'\nd: [1.5, ~, true]\né: x\n").expect("parses");
        assert_eq!(
            document.root.to_json(),
            serde_json::json!({"a": "NO", "b": 5, "c": "5", "d": [1.5, null, true], "é": "x"})
        );
        let span = document.nearest(&["é"]).span.clone();
        assert_eq!(&document.text[span], "x");
        assert_eq!(&document.text[document.name_span(&["d"])], "d");
    }

    #[test]
    fn what_is_empty_is_null_and_what_is_quoted_a_text() {
        let document = Document::parse("a:\nb: { c: , d: }\ne: ''\nf:\n  -\n  - \"\"\n").expect("parses");
        assert_eq!(
            document.root.to_json(),
            serde_json::json!({"a": null, "b": {"c": null, "d": null}, "e": "", "f": [null, ""]})
        );
    }

    #[test]
    fn whole_numbers_beyond_bigint_stay_whole() {
        let document = Document::parse(
            "[10000000000000000001, 18446744073709551615, 18446744073709551616, -9223372036854775808, 1e3]",
        )
        .expect("parses");
        assert_eq!(
            document.root.to_json().to_string(),
            serde_json::json!([10_000_000_000_000_000_001_u64, u64::MAX, 2_f64.powi(64), i64::MIN, 1_000.0])
                .to_string()
        );
    }

    #[test]
    fn a_file_holds_one_document() {
        for (text, why) in [("", "nothing"), ("# soon\n", "nothing"), ("a: 1\n---\na: 2\n", "2 documents")] {
            let error = Document::parse(text).expect_err(text);
            assert!(error.message.contains(why), "{text}: {}", error.message);
        }
    }

    #[test]
    fn a_key_is_one_text_and_there_once_however_it_is_written() {
        for (text, second) in [
            ("store: 1\n\"store\": 2\n", "\"store\""),
            ("a: { 'x': 1, y: 2, x: 3 }\n", "x"),
            ("a:\n  - 5: 1\n    '5': 2\n", "'5'"),
        ] {
            let error = Document::parse(text).expect_err(text);
            assert!(error.message.contains("is there twice"), "{text}: {}", error.message);
            assert_eq!(&text[error.span.clone()], second, "{text}");
            assert_eq!(error.span.start, text.rfind(second).expect("it is there"), "{text}");
        }
        let error = Document::parse("? [a]\n: 1\n? [b]\n: 2\n").expect_err("two lists");
        assert_eq!(error.message, "a key is a single text");
    }

    #[test]
    fn every_part_of_a_folded_text_is_a_place_between_characters() {
        let document = Document::parse("a: >\n  a\n\n  b\n  üüüü 😀😀 üüüü\n").expect("parses");
        let node = document.nearest(&["a"]);
        for at in 0..node.text().expect("a text").len() {
            let span = document.part_span(node, &(at..at + 1));
            assert!(document.text.get(span.clone()).is_some(), "{at}: {span:?}");
        }
    }

    #[test]
    fn a_part_of_a_text_is_found_in_the_file() {
        let document = Document::parse(
            "flows:\n  a:\n    sql: |\n      SELECT x,\n        yy\n      FROM input\n    q: SELECT zz\n",
        )
        .expect("parses");
        for (path, wanted) in [(["flows", "a", "sql"], "yy"), (["flows", "a", "q"], "zz")] {
            let node = document.nearest(&path);
            let text = node.text().expect("a text");
            let at = text.find(wanted).expect("it is there");
            assert_eq!(&document.text[document.part_span(node, &(at..at + 2))], wanted);
        }
    }

    #[test]
    fn mistakes_have_their_place() {
        let error = Document::parse("a: [1\nb: 2\n").expect_err("no YAML");
        assert!(error.message.contains("no YAML"));
        assert!(Document::parse("a: 1\na: 2\n").is_err());
    }
}
