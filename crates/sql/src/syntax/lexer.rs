//! Text to tokens: words, quoted names, numbers with their suffixes, strings with their escapes.

use std::ops::Range;

use crate::error::SqlError;

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Token {
    /// A keyword or a plain name, as written.
    Word(String),
    /// A name in backticks.
    Quoted(String),
    /// A text, its escapes resolved.
    String(String),
    /// A number as written, with its suffix.
    Number(String),
    /// An operator or a bracket.
    Symbol(&'static str),
    End,
}

/// Longest first, so that the first that fits is the right one.
const SYMBOLS: [&str; 35] = [
    "<=>", ">>>", "->", "=>", "<=", ">=", "<>", "!=", "==", "!<", "!>", "||", "::", "<<", ">>", "(", ")",
    "[", "]", ",", ".", ":", ";", "+", "-", "*", "/", "%", "&", "|", "^", "~", "<", ">", "=",
];

/// The tokens of `text` with their places, the last being the end.
pub(crate) fn tokens(text: &str) -> Result<Vec<(Token, Range<usize>)>, SqlError> {
    let mut lexer = Lexer { text, at: 0 };
    let mut found = Vec::new();
    loop {
        lexer.skip_space()?;
        let start = lexer.at;
        let token = lexer.next()?;
        let end = token == Token::End;
        found.push((token, start..lexer.at));
        if end {
            return Ok(found);
        }
    }
}

/// What Spark's grammar takes for a blank.
fn is_space(c: char) -> bool {
    c.is_whitespace() && !matches!(c, '\u{85}' | '\u{2029}')
}

/// The bytes of a comment up to the end of its line; behind a backslash it goes on in the next.
fn line_length(comment: &str) -> usize {
    let ends = comment.match_indices(['\n', '\r']).map(|(at, _)| at);
    let goes_on = |at: &usize| comment[*at..].starts_with('\n') && comment[..*at].ends_with('\\');
    ends.into_iter().find(|at| !goes_on(at)).unwrap_or(comment.len())
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn skip_space(&mut self) -> Result<(), SqlError> {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start_matches(is_space);
            self.at += rest.len() - trimmed.len();
            if trimmed.starts_with("--") {
                self.at += line_length(trimmed);
            } else if trimmed.starts_with("/*+") {
                return Err(SqlError::unsupported("a hint", self.at..self.at + 3)
                    .help("take it away, or write a blank between * and +"));
            } else if trimmed.starts_with("/*") {
                self.skip_comment()?;
            } else {
                return Ok(());
            }
        }
    }

    /// Comments nest, as they do in Spark.
    fn skip_comment(&mut self) -> Result<(), SqlError> {
        let start = self.at;
        let mut depth = 0;
        loop {
            let rest = self.rest();
            if rest.starts_with("/*") {
                depth += 1;
                self.at += 2;
            } else if rest.starts_with("*/") {
                depth -= 1;
                self.at += 2;
                if depth == 0 {
                    return Ok(());
                }
            } else {
                let Some(c) = rest.chars().next() else {
                    return Err(SqlError::invalid("this comment is never closed", start..start + 2));
                };
                self.at += c.len_utf8();
            }
        }
    }

    fn next(&mut self) -> Result<Token, SqlError> {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else { return Ok(Token::End) };
        if let Some(number) = number(rest) {
            self.at += number.len();
            return Ok(Token::Number(number.to_owned()));
        }
        if matches!(first, 'r' | 'R') && rest[1..].starts_with(['\'', '"']) {
            return self.raw_string();
        }
        if matches!(first, '\'' | '"') {
            return self.string(first);
        }
        if first == '`' {
            return self.quoted();
        }
        if first.is_ascii_alphanumeric() || first == '_' {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            self.at += end;
            return Ok(Token::Word(rest[..end].to_owned()));
        }
        if let Some(symbol) = SYMBOLS.into_iter().find(|symbol| rest.starts_with(symbol)) {
            self.at += symbol.len();
            return Ok(Token::Symbol(symbol));
        }
        if first == '!' {
            self.at += 1;
            return Ok(Token::Symbol("!"));
        }
        let span = self.at..self.at + first.len_utf8();
        Err(SqlError::invalid(format!("`{first}` has no meaning here"), span)
            .help("put names with other letters than a-z, 0-9 and _ in backticks"))
    }

    fn quoted(&mut self) -> Result<Token, SqlError> {
        let start = self.at;
        self.at += 1;
        let mut name = String::new();
        loop {
            let rest = self.rest();
            let Some(end) = rest.find('`') else {
                return Err(SqlError::invalid("this backtick is never closed", start..start + 1));
            };
            name.push_str(&rest[..end]);
            self.at += end + 1;
            if !self.rest().starts_with('`') {
                return Ok(Token::Quoted(name));
            }
            name.push('`');
            self.at += 1;
        }
    }

    fn raw_string(&mut self) -> Result<Token, SqlError> {
        let start = self.at;
        let quote = self.rest()[1..].chars().next().expect("a quote follows");
        let content = &self.rest()[2..];
        let Some(end) = content.find(quote) else {
            return Err(SqlError::invalid("this text is never closed", start..start + 2));
        };
        self.at += 2 + end + 1;
        Ok(Token::String(content[..end].to_owned()))
    }

    fn string(&mut self, quote: char) -> Result<Token, SqlError> {
        let start = self.at;
        self.at += 1;
        let mut content = String::new();
        loop {
            let rest = self.rest();
            let Some(c) = rest.chars().next() else {
                return Err(SqlError::invalid("this text is never closed", start..start + 1));
            };
            self.at += c.len_utf8();
            if c == quote {
                if self.rest().starts_with(quote) {
                    // Spark 3.5 reads two texts here, Spark 4 one with a quote in it.
                    let message =
                        format!("{quote}{quote} in a text means different things to Spark 3.5 and 4");
                    let span = self.at - 1..self.at + 1;
                    return Err(SqlError::unsupported(message, span).help(format!("write \\{quote}")));
                }
                return Ok(Token::String(content));
            }
            if c == '\\' { self.escape(&mut content)? } else { content.push(c) }
        }
    }

    /// Resolves what follows a backslash, as Spark's `unescapeSQLString` does.
    fn escape(&mut self, content: &mut String) -> Result<(), SqlError> {
        let start = self.at - 1;
        if let Some(code) = self.code() {
            let c = char::from_u32(code).or_else(|| self.other_half(code));
            let Some(c) = c else {
                let message = "this is half of a character, or none";
                return Err(SqlError::unsupported(message, start..self.at).help("write the character itself"));
            };
            content.push(c);
            return Ok(());
        }
        let Some(c) = self.rest().chars().next() else { return Ok(()) };
        self.at += c.len_utf8();
        match c {
            '0' => content.push('\0'),
            'b' => content.push('\u{8}'),
            'n' => content.push('\n'),
            'r' => content.push('\r'),
            't' => content.push('\t'),
            'Z' => content.push('\u{1a}'),
            // Left for LIKE to read.
            '%' | '_' => content.extend(['\\', c]),
            other => content.push(other),
        }
        Ok(())
    }

    /// Reads the code of a character, if one follows the backslash.
    fn code(&mut self) -> Option<u32> {
        let rest = self.rest();
        let (before, length, radix) = match rest.chars().next()? {
            'u' => (1, 4, 16),
            'U' => (1, 8, 16),
            '0' | '1' => (0, 3, 8),
            _ => return None,
        };
        let digits = rest.get(before..before + length)?;
        if !digits.chars().all(|c| c.is_digit(radix)) {
            return None;
        }
        self.at += before + length;
        u32::from_str_radix(digits, radix).ok()
    }

    /// Characters beyond the first 65,536 may be written in halves, as Java has them: the whole, where a second
    /// half follows `high`.
    fn other_half(&mut self, high: u32) -> Option<char> {
        if !(0xd800..0xdc00).contains(&high) || !self.rest().starts_with('\\') {
            return None;
        }
        self.at += 1;
        let low = self.code().filter(|low| (0xdc00..0xe000).contains(low))?;
        char::from_u32(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00))
    }
}

/// The number at the start of `rest`, with exponent and suffix. A word that begins with digits
/// (`1a`) is a name.
fn number(rest: &str) -> Option<&str> {
    let bytes = rest.as_bytes();
    let digits_from = |from: usize| bytes[from..].iter().take_while(|b| b.is_ascii_digit()).count();
    let whole = digits_from(0);
    let mut end = whole;
    let mut fraction = 0;
    if bytes.get(end) == Some(&b'.') {
        fraction = digits_from(end + 1);
        // `1.` is a number, but `a.b` and a lone dot are not.
        if whole + fraction == 0
            || (fraction == 0 && bytes.get(end + 1).is_some_and(|b| b.is_ascii_alphabetic() || *b == b'_'))
        {
            if whole == 0 {
                return None;
            }
        } else {
            end += 1 + fraction;
        }
    }
    if whole + fraction == 0 {
        return None;
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        let exponent = bytes.get(end + 1 + sign).map_or(0, |_| digits_from(end + 1 + sign));
        if exponent > 0 {
            end += 1 + sign + exponent;
        }
    }
    let suffix = match bytes.get(end).map(u8::to_ascii_uppercase) {
        Some(b'B') if bytes.get(end + 1).is_some_and(|b| b.eq_ignore_ascii_case(&b'D')) => 2,
        Some(b'L' | b'S' | b'Y' | b'F' | b'D') => 1,
        _ => 0,
    };
    end += suffix;
    let is_name = bytes.get(end).is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_');
    (!is_name).then(|| &rest[..end])
}
