//! Functions with regular expressions, which are constants: so they are compiled, or refused,
//! when the query is planned. Source: Spark's `regexpExpressions`.

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;

use super::Call;
use super::rows::{Cell, Flag, Int, Text, rows1};
use super::search::text_lists;
use crate::bind::Bind;
use crate::error::SqlError;
use crate::java_regex::{Found, Pattern, PatternError};
use crate::operation::{Bound, on_arrays};

impl Call {
    /// The pattern at `at`; `None` where it is null.
    fn pattern(&self, at: usize) -> Bind<Option<(String, Pattern)>> {
        let Some(text) = self.constant_text(at, "the pattern")? else { return Ok(None) };
        let span = self.spans[at].clone();
        match Pattern::new(&text) {
            Ok(pattern) => Ok(Some((text, pattern))),
            Err(PatternError::Invalid(what)) => {
                Err(SqlError::invalid(format!("this is no regular expression: {what}"), span))
            }
            Err(PatternError::Unsupported(what)) => {
                let message = format!("{what} in a regular expression is not answered natively");
                Err(SqlError::unsupported(message, span).help("run the flow on Spark (`runner: spark`)"))
            }
        }
    }

    /// A pattern for a function that goes from match to match.
    fn pattern_for_all(&self, at: usize) -> Bind<Option<(String, Pattern)>> {
        let pattern = self.pattern(at)?;
        if pattern.as_ref().is_some_and(|(_, pattern)| pattern.may_be_empty) {
            let message = "a regular expression that matches the empty text is not answered natively here";
            return Err(SqlError::unsupported(message, self.spans[at].clone()).help("write + for *"));
        }
        Ok(pattern)
    }

    /// The number of a group that the pattern has.
    fn group(&mut self, at: usize, pattern: &Pattern, default: usize) -> Bind<Option<usize>> {
        if self.args.len() <= at {
            if default > pattern.group_count() {
                let message = format!("the pattern has no group {default}");
                return Err(
                    SqlError::invalid(message, self.span.clone()).help("put a part of it in brackets")
                );
            }
            return Ok(Some(default));
        }
        let Some(number) = self.constant_int(at, "the number of the group")? else { return Ok(None) };
        match usize::try_from(number) {
            Ok(group) if group <= pattern.group_count() => Ok(Some(group)),
            _ => {
                let message = format!("the pattern has {} group(s), not {number}", pattern.group_count());
                Err(SqlError::invalid(message, self.spans[at].clone()))
            }
        }
    }

    /// Computes from the text in front alone.
    fn of_text<R: Cell>(
        mut self,
        name: String,
        compute: impl for<'a> Fn(&'a str) -> Option<R::Owned> + Send + Sync + 'static,
    ) -> Bind {
        self.args.truncate(1);
        self.cast(0, &DataType::Utf8)?;
        self.apply_as(name, R::kind(), rows1::<Text, R>(compute))
    }
}

pub(crate) fn rlike(call: Call) -> Bind {
    call.arity(2..=2)?;
    let Some((text, pattern)) = call.pattern(1)? else { return Ok(Bound::null(&DataType::Boolean)) };
    call.of_text::<Flag>(format!("rlike {text}"), move |text| Some(pattern.is_in(text)))
}

/// A group of the first match, empty where there is none.
pub(super) fn regexp_extract(mut call: Call) -> Bind {
    call.arity(2..=3)?;
    let Some((text, pattern)) = call.pattern(1)? else { return Ok(Bound::null(&DataType::Utf8)) };
    let Some(group) = call.group(2, &pattern, 1)? else { return Ok(Bound::null(&DataType::Utf8)) };
    call.of_text::<Text>(format!("regexp_extract {group} {text}"), move |text| {
        let found = pattern.find_at(text, 0).and_then(|found| found.group(group));
        Some(found.map(|span| text[span].to_owned()).unwrap_or_default())
    })
}

/// The first match, null where there is none or it is empty.
pub(super) fn regexp_substr(call: Call) -> Bind {
    call.arity(2..=2)?;
    let Some((text, pattern)) = call.pattern(1)? else { return Ok(Bound::null(&DataType::Utf8)) };
    call.of_text::<Text>(format!("regexp_substr {text}"), move |text| {
        let found = pattern.find_at(text, 0).filter(|found| !found.span.is_empty())?;
        Some(text[found.span].to_owned())
    })
}

pub(super) fn regexp_extract_all(mut call: Call) -> Bind {
    call.arity(2..=3)?;
    let returns = super::arrays::list_of(DataType::Utf8);
    let Some((text, pattern)) = call.pattern_for_all(1)? else { return Ok(Bound::null(&returns)) };
    let Some(group) = call.group(2, &pattern, 1)? else { return Ok(Bound::null(&returns)) };
    call.args.truncate(1);
    call.cast(0, &DataType::Utf8)?;
    let kernel = on_arrays(move |args| {
        let of = |text: &str| -> Vec<String> {
            let part =
                |found: Found| found.group(group).map(|span| text[span].to_owned()).unwrap_or_default();
            pattern.find_all(text).map(part).collect()
        };
        let texts = arrow::array::AsArray::as_string::<i32>(&args[0]);
        Ok(text_lists(texts.iter().map(|text| text.map(of))))
    });
    call.apply_as(format!("regexp_extract_all {group} {text}"), returns, kernel)
}

pub(super) fn regexp_count(call: Call) -> Bind {
    call.arity(2..=2)?;
    let Some((text, pattern)) = call.pattern_for_all(1)? else { return Ok(Bound::null(&DataType::Int32)) };
    call.of_text::<Int>(format!("regexp_count {text}"), move |text| {
        Some(pattern.find_all(text).count() as i32)
    })
}

/// Where the first match begins, from 1 on and in UTF-16 units; 0 where there is none.
pub(super) fn regexp_instr(mut call: Call) -> Bind {
    call.arity(2..=3)?;
    let Some((text, pattern)) = call.pattern(1)? else { return Ok(Bound::null(&DataType::Int32)) };
    // The group's number is asked for and not used.
    if call.group(2, &pattern, 0)?.is_none() {
        return Ok(Bound::null(&DataType::Int32));
    }
    call.of_text::<Int>(format!("regexp_instr {text}"), move |text| {
        let before = pattern.find_at(text, 0).map(|found| text[..found.span.start].encode_utf16().count());
        Some(before.map_or(0, |before| before as i32 + 1))
    })
}

pub(super) fn regexp_replace(mut call: Call) -> Bind {
    call.arity(3..=4)?;
    let Some((text, pattern)) = call.pattern_for_all(1)? else { return Ok(Bound::null(&DataType::Utf8)) };
    let Some(with) = call.constant_text(2, "the replacement")? else {
        return Ok(Bound::null(&DataType::Utf8));
    };
    if call.args.len() == 4 && call.constant_int(3, "the place to start from")? != Some(1) {
        return Err(SqlError::unsupported("regexp_replace from another place than 1", call.spans[3].clone()));
    }
    let parts = match replacement(&with, &pattern) {
        Ok(parts) => parts,
        Err(what) => return Err(SqlError::invalid(what, call.spans[2].clone())),
    };
    call.of_text::<Text>(format!("regexp_replace {text:?} by {with:?}"), move |text| {
        let mut out = String::with_capacity(text.len());
        let mut done = 0;
        for found in pattern.find_all(text) {
            out.push_str(&text[done..found.span.start]);
            for part in &parts {
                match part {
                    Part::Text(text) => out.push_str(text),
                    Part::Group(group) => out.push_str(&text[found.group(*group).unwrap_or(0..0)]),
                }
            }
            done = found.span.end;
        }
        out.push_str(&text[done..]);
        Some(out)
    })
}

enum Part {
    Text(String),
    Group(usize),
}

/// A replacement in Java's form: `$1` is a group, a backslash takes the meaning of what follows.
fn replacement(with: &str, pattern: &Pattern) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut plain = String::new();
    let mut rest = with.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\\' => plain.push(rest.next().ok_or("a backslash at the end of the replacement")?),
            '$' => {
                let digit = rest.next_if(char::is_ascii_digit).and_then(|c| c.to_digit(10));
                let mut group =
                    digit.ok_or(r"`$` in a replacement stands before a group's number; write \$")?;
                if group as usize > pattern.group_count() {
                    return Err(format!("the pattern has no group {group}"));
                }
                // More digits count as long as there is such a group.
                while let Some(digit) = rest.peek().and_then(|c| c.to_digit(10)) {
                    let longer = group * 10 + digit;
                    if longer as usize > pattern.group_count() {
                        break;
                    }
                    group = longer;
                    rest.next();
                }
                parts.push(Part::Text(std::mem::take(&mut plain)));
                parts.push(Part::Group(group as usize));
            }
            c => plain.push(c),
        }
    }
    parts.push(Part::Text(plain));
    Ok(parts)
}

/// The parts between the matches; with a limit above 0, at most so many.
pub(super) fn split(mut call: Call) -> Bind {
    call.arity(2..=3)?;
    let returns = super::arrays::list_of(DataType::Utf8);
    let limit = if call.args.len() == 3 { call.constant_int(2, "the limit")? } else { Some(-1) };
    let Some(limit) = limit else { return Ok(Bound::null(&returns)) };
    let is_empty = matches!(call.args[1].constant(), Some(ScalarValue::Utf8(Some(text))) if text.is_empty());
    let pattern = if is_empty { call.pattern(1)? } else { call.pattern_for_all(1)? };
    let Some((text, pattern)) = pattern else { return Ok(Bound::null(&returns)) };
    call.args.truncate(1);
    call.cast(0, &DataType::Utf8)?;
    let kernel = on_arrays(move |args| {
        let texts = arrow::array::AsArray::as_string::<i32>(&args[0]);
        let split = |text: &str| if is_empty { letters(text, limit) } else { parts(&pattern, text, limit) };
        Ok(text_lists(texts.iter().map(|text| text.map(split))))
    });
    call.apply_as(format!("split {limit} {text}"), returns, kernel)
}

/// Each letter for itself; the last one, at the limit, with all that follows.
fn letters(text: &str, limit: i32) -> Vec<String> {
    if text.is_empty() {
        return vec![String::new()];
    }
    let alone = if limit <= 0 { usize::MAX } else { limit as usize - 1 };
    let mut letters = text.char_indices();
    let mut parts: Vec<_> = letters.by_ref().take(alone).map(|(_, letter)| letter.to_string()).collect();
    parts.extend(letters.next().map(|(at, _)| text[at..].to_owned()));
    parts
}

pub(super) fn parts(pattern: &Pattern, text: &str, limit: i32) -> Vec<String> {
    let mut parts = Vec::new();
    let mut from = 0;
    for found in pattern.find_all(text) {
        if limit > 0 && parts.len() as i32 == limit - 1 {
            break;
        }
        parts.push(text[from..found.span.start].to_owned());
        from = found.span.end;
    }
    parts.push(text[from..].to_owned());
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::explain;
    use crate::types::parse_schema;

    #[test]
    fn replacements_are_told_apart_by_their_names() {
        let schema = parse_schema("s STRING").expect("a schema");
        let sql =
            "SELECT regexp_replace(s, 'a by b', 'c') AS x, regexp_replace(s, 'a', 'b by c') AS y FROM input";
        let columns = explain(sql, Some(&schema)).expect("a plan").columns;
        assert_ne!(columns[0].1.what, columns[1].1.what);
    }

    #[test]
    fn replacements_name_groups() {
        let pattern = Pattern::new("(a)(b)").expect("a pattern");
        let shown = |with: &str| -> Result<String, String> {
            let parts = replacement(with, &pattern)?;
            Ok(parts
                .iter()
                .map(|part| match part {
                    Part::Text(text) => text.clone(),
                    Part::Group(group) => format!("<{group}>"),
                })
                .collect())
        };
        assert_eq!(shown("x$1y$23"), Ok("x<1>y<2>3".into()));
        assert_eq!(shown(r"\$1\\"), Ok(r"$1\".into()));
        assert!(shown("$3").is_err() && shown("$x").is_err() && shown("\\").is_err());
    }
}
