//! What is typed or piped, cut into statements at each `;`.

use std::io::{self, BufRead};

use super::prompt::Prompt;

/// Statements, one after the other.
pub(super) struct Statements {
    from: Reader,
    /// What has been read and not been asked.
    read: String,
}

enum Reader {
    Pipe(io::Lines<io::StdinLock<'static>>),
    Prompt(Box<Prompt>),
}

impl Statements {
    /// Out of what somebody types.
    pub(super) fn typed(prompt: Prompt) -> Self {
        Self { from: Reader::Prompt(Box::new(prompt)), read: String::new() }
    }

    /// Out of standard input.
    pub(super) fn piped() -> Self {
        Self { from: Reader::Pipe(io::stdin().lock().lines()), read: String::new() }
    }

    /// The next one, without its `;`; the last one needs none.
    pub(super) fn next(&mut self) -> io::Result<Option<String>> {
        loop {
            if let Some(end) = end_of_statement(&self.read) {
                let rest = self.read.split_off(end + 1);
                let mut statement = std::mem::replace(&mut self.read, rest);
                statement.truncate(end);
                return Ok(Some(statement));
            }
            if is_goodbye(&self.read) {
                return Ok(None);
            }
            let more = match &mut self.from {
                Reader::Pipe(lines) => lines.next().transpose()?,
                Reader::Prompt(prompt) => {
                    // What follows the last `;` of a line is edited together with what comes now.
                    let begun = std::mem::take(&mut self.read);
                    prompt.read(begun.trim())?
                }
            };
            match more {
                Some(more) => {
                    self.read.push_str(&more);
                    self.read.push('\n');
                }
                None if self.read.trim().is_empty() => return Ok(None),
                None => return Ok(Some(std::mem::take(&mut self.read))),
            }
        }
    }
}

/// Whether it is a word that ends all.
fn is_goodbye(text: &str) -> bool {
    matches!(text.trim(), "exit" | "quit")
}

/// Whether nothing is missing: a statement with its `;`, a word that ends all, or nothing at all.
pub(super) fn is_whole(text: &str) -> bool {
    text.trim().is_empty() || is_goodbye(text) || end_of_statement(text).is_some()
}

/// Where the first `;` stands that is in no text, name or comment.
fn end_of_statement(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut quote = None;
    let mut at = 0;
    while at < bytes.len() {
        match (quote, bytes[at]) {
            (None, b';') => return Some(at),
            (None, b'-') if text[at..].starts_with("--") => at += text[at..].find('\n')?,
            (None, b'/') if bytes[at..].starts_with(b"/*") => at += text[at..].find("*/")? + 1,
            (None, open @ (b'\'' | b'"' | b'`')) => quote = Some(open),
            (Some(b'\'' | b'"'), b'\\') => at += 1,
            (Some(open), byte) if open == byte => quote = None,
            _ => {}
        }
        at += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_ends_at_a_semicolon_that_is_its_own() {
        for (text, end) in [
            ("SELECT 1; SELECT 2", Some(8)),
            ("SELECT ';'", None),
            ("SELECT '\\';' ;", Some(13)),
            ("SELECT `;` -- ;\n;", Some(16)),
            ("SELECT /* ; */ 1;", Some(16)),
            ("SELECT -- ;", None),
            ("SELECT \"it's;\"; x", Some(14)),
        ] {
            assert_eq!(end_of_statement(text), end, "{text}");
        }
    }

    #[test]
    fn a_line_goes_on_until_its_statement_is_whole() {
        for (text, whole) in [("", true), (" quit ", true), ("SELECT 1", false), ("SELECT ';'\n;", true)] {
            assert_eq!(is_whole(text), whole, "{text}");
        }
    }
}
