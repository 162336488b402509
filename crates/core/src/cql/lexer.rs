//! CQL's words: names, quoted texts, signs. What they mean together is the parser's affair.

use std::fmt;
use std::ops::Range;

/// Why a `create:` text cannot be used, and where in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    /// What is wrong and what to write instead.
    pub message: String,
    /// The bytes of the text that are meant.
    pub span: Range<usize>,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    Word(String),
    Quoted(String),
    Literal,
    Symbol(char),
    End,
}

pub(super) type Parsed<T> = Result<T, ParseError>;

pub(super) fn tokens(text: &str) -> Parsed<Vec<(Token, Range<usize>)>> {
    let mut found = Vec::new();
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let start = at;
        let rest = &text[at..];
        if byte.is_ascii_whitespace() {
            at += 1;
            continue;
        }
        if rest.starts_with("--") || rest.starts_with("//") {
            at += rest.find('\n').unwrap_or(rest.len());
            continue;
        }
        if rest.starts_with("/*") {
            at += rest.find("*/").map_or(rest.len(), |end| end + 2);
            continue;
        }
        let token = match byte {
            b'"' | b'\'' => {
                let (content, length) = quoted(rest, byte as char).ok_or_else(|| ParseError {
                    message: format!("this {} is never closed", byte as char),
                    span: start..text.len(),
                })?;
                at += length;
                if byte == b'"' { Token::Quoted(content) } else { Token::Literal }
            }
            _ if byte.is_ascii_alphanumeric() || byte == b'_' => {
                let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
                at += end;
                Token::Word(rest[..end].to_owned())
            }
            _ => {
                let symbol = rest.chars().next().expect("not at the end");
                at += symbol.len_utf8();
                Token::Symbol(symbol)
            }
        };
        found.push((token, start..at));
    }
    found.push((Token::End, text.len()..text.len()));
    Ok(found)
}

/// The content of a quoted text at the start of `rest` (a doubled quote is one) and its length.
fn quoted(rest: &str, quote: char) -> Option<(String, usize)> {
    let mut content = String::new();
    let mut chars = rest.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c != quote {
            content.push(c);
        } else if chars.next_if(|(_, next)| *next == quote).is_some() {
            content.push(quote);
        } else {
            return Some((content, at + 1));
        }
    }
    None
}
