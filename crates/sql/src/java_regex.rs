//! Java's regular expressions, as far as the crate `regex` can do exactly the same: both prefer the
//! leftmost match and in it the first alternative. What Java does beyond that (looking ahead and
//! behind, back references, possessive quantifiers) is refused, and so is what depends on the
//! version of Java or of Unicode. Source: the documentation of `java.util.regex.Pattern`.

mod translate;

use std::ops::Range;

use regex::Regex;

use translate::{LINE_BREAKS, Translator};

/// Why a pattern is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PatternError {
    /// Java refuses it, too.
    Invalid(String),
    /// Java takes it, and may match otherwise than is done here.
    Unsupported(String),
}

/// A pattern ready to match.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    regex: Regex,
    /// For texts that end in CRLF, where a pattern has a `$`: nothing ends between the two.
    before_crlf: Option<Regex>,
    /// For each of Java's groups the number it has here.
    groups: Vec<usize>,
    /// Groups that stand for `$`: the line break at the end of a text, which is no part of a match.
    ends: Vec<usize>,
    /// Whether it can match the empty text.
    pub(crate) may_be_empty: bool,
}

/// A match and its groups, by their places in the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) span: Range<usize>,
    /// The groups from 1 on; `None` where one took no part.
    pub(crate) groups: Vec<Option<Range<usize>>>,
}

impl Found {
    /// The group of that number, 0 being the whole match.
    pub(crate) fn group(&self, number: usize) -> Option<Range<usize>> {
        match number.checked_sub(1) {
            None => Some(self.span.clone()),
            Some(at) => self.groups.get(at).cloned().flatten(),
        }
    }
}

impl Pattern {
    pub(crate) fn new(pattern: &str) -> Result<Self, PatternError> {
        let translated = Translator::new(pattern).translate()?;
        let compiled = |last_line_break: &str| {
            Regex::new(&translated.text_with(last_line_break))
                .map_err(|e| PatternError::Unsupported(format!("it cannot be compiled natively: {e}")))
        };
        let before_crlf = (!translated.ends.is_empty()).then(|| compiled(r"(?:\r\n)")).transpose()?;
        Ok(Self {
            regex: compiled(&format!("[{LINE_BREAKS}]"))?,
            before_crlf,
            groups: translated.groups,
            ends: translated.ends,
            may_be_empty: translated.may_be_empty,
        })
    }

    /// How many groups it has.
    pub(crate) fn group_count(&self) -> usize {
        self.groups.len()
    }

    /// Whether it matches anywhere in `text`.
    pub(crate) fn is_in(&self, text: &str) -> bool {
        self.regex_for(text).is_match(text)
    }

    /// The first match from the byte `from` on.
    pub(crate) fn find_at(&self, text: &str, from: usize) -> Option<Found> {
        let captures = self.regex_for(text).captures_at(text, from)?;
        let whole = captures.get(0)?;
        let line_break = self.ends.iter().find_map(|group| captures.get(*group));
        let end = line_break.map_or(whole.end(), |line_break| line_break.start());
        let span = |found: regex::Match| found.start().min(end)..found.end().min(end);
        let groups = self.groups.iter().map(|group| captures.get(*group).map(span));
        Some(Found { span: span(whole), groups: groups.collect() })
    }

    fn regex_for(&self, text: &str) -> &Regex {
        self.before_crlf.as_ref().filter(|_| text.ends_with("\r\n")).unwrap_or(&self.regex)
    }

    /// Every match, as Java's `Matcher.find` goes from one to the next.
    pub(crate) fn find_all<'t>(&'t self, text: &'t str) -> impl Iterator<Item = Found> + 't {
        let mut from = Some(0);
        std::iter::from_fn(move || {
            let found = self.find_at(text, from?)?;
            from = if found.span.is_empty() {
                text[found.span.end..].chars().next().map(|c| found.span.end + c.len_utf8())
            } else {
                Some(found.span.end)
            };
            Some(found)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(pattern: &str, text: &str) -> Vec<String> {
        let pattern = Pattern::new(pattern).unwrap_or_else(|e| panic!("{pattern}: {e:?}"));
        pattern.find_all(text).map(|found| text[found.span].to_owned()).collect()
    }

    #[test]
    fn matches_are_javas() {
        for (pattern, text, expected) in [
            (r"\d+", "a1b22", vec!["1", "22"]),
            ("a*", "baac", vec!["", "aa", "", ""]),
            ("(?i)ab", "ABaB\u{130}", vec!["AB", "aB"]),
            // Without (?u) only ASCII letters have case.
            ("(?i)k", "K\u{212a}", vec!["K"]),
            (".", "a\n\u{85}b", vec!["a", "b"]),
            ("(?s).", "a\n", vec!["a", "\n"]),
            ("[^a-z]", "aÄb", vec!["Ä"]),
            (r"\w", "é_1", vec!["_", "1"]),
            (r"[\w.]+@", "x.y@", vec!["x.y@"]),
            (r"\Qa.b\E", "axb a.b", vec!["a.b"]),
            ("[a-]", "a-b", vec!["a", "-"]),
            ("x{2}", "xxx", vec!["xx"]),
            ("c$", "abc\r\n", vec!["c"]),
            ("$", "a\r\n", vec!["", ""]),
            (r"c\r?$", "c\r\n", vec!["c"]),
            (r"c\s*$", "c\r\n", vec!["c\r\n"]),
            (r"\n$", "c\r\n", vec!["\n"]),
            (r"\r$", "c\r\n", vec![]),
            (r"\r$", "c\r", vec!["\r"]),
            ("^a|b$", "ab\n", vec!["a", "b"]),
            (r"\p{Punct}", "a,§", vec![","]),
        ] {
            assert_eq!(all(pattern, text), expected, "{pattern}");
        }
    }

    #[test]
    fn what_is_not_the_same_is_refused() {
        for pattern in [
            r"\b", "(?=a)", "(?<!a)", r"(a)\1", "a++", "(?>a)", "[a&&b]", "[[a]]", "(a*)*", "a$b", r"\p{L}",
            r"\R", "(?m)^a",
        ] {
            assert!(matches!(Pattern::new(pattern), Err(PatternError::Unsupported(_))), "{pattern}");
        }
        for pattern in ["(", "a)", "[a", "*a", "a{", "a{2,1}", r"\", r"\i", "[b-a]", "(?<a>x)(?<a>y)"] {
            assert!(matches!(Pattern::new(pattern), Err(PatternError::Invalid(_))), "{pattern}");
        }
    }

    #[test]
    fn groups_have_javas_numbers() {
        let pattern = Pattern::new("(a$|(b))(c)?").map(|_| ());
        assert!(pattern.is_err(), "something may follow the end");
        let pattern = Pattern::new("(x)|(a)$").expect("a pattern");
        let found = pattern.find_at("a\n", 0).expect("a match");
        assert_eq!((found.span.clone(), found.group(1), found.group(2)), (0..1, None, Some(0..1)));
        let pattern = Pattern::new("x(a($))").expect("a pattern");
        let found = pattern.find_at("xa\r\n", 0).expect("a match");
        assert_eq!((found.span.clone(), found.group(1), found.group(2)), (0..2, Some(1..2), Some(2..2)));
    }
}
