//! A place among the tokens of a text: looking ahead, going on, and saying what was expected.
//! What the tokens mean is known to the parsers.

use std::ops::Range;

use super::lexer::{Token, tokens};
use crate::error::SqlError;

pub(super) type Parsed<T> = Result<T, SqlError>;

/// Deeper nesting than any person writes; it keeps the stack bounded.
const DEPTH_MAX: usize = 150;

/// As [`DEPTH_MAX`], of the tree that is made: in a chain of operators each stands within the next, without any
/// brackets. Binding takes some 3 kB of stack for a level, planning and evaluating up to 4 kB for each of the one or
/// two steps that it becomes; a thread has 2 MB.
const HEIGHT_MAX: usize = 200;

/// A place among the tokens of a text.
pub(super) struct Cursor {
    tokens: Vec<(Token, Range<usize>)>,
    at: usize,
    depth: usize,
    /// How many levels the expression has that is being read: of its parts so far the tallest counts.
    height: usize,
}

impl Cursor {
    pub(super) fn new(text: &str) -> Parsed<Self> {
        Ok(Self { tokens: tokens(text)?, at: 0, depth: 0, height: 0 })
    }

    pub(super) fn peek(&self) -> &Token {
        &self.tokens[self.at].0
    }

    pub(super) fn peek_at(&self, ahead: usize) -> &Token {
        &self.tokens[(self.at + ahead).min(self.tokens.len() - 1)].0
    }

    pub(super) fn span(&self) -> Range<usize> {
        self.tokens[self.at].1.clone()
    }

    pub(super) fn since(&self, start: usize) -> Range<usize> {
        start..self.at.checked_sub(1).map_or(start, |before| self.tokens[before].1.end)
    }

    pub(super) fn advance(&mut self) {
        self.at = (self.at + 1).min(self.tokens.len() - 1);
    }

    pub(super) fn symbol(&mut self, symbol: &str) -> bool {
        let found = matches!(self.peek(), Token::Symbol(here) if *here == symbol);
        if found {
            self.advance();
        }
        found
    }

    pub(super) fn is_word(&self, ahead: usize, word: &str) -> bool {
        matches!(self.peek_at(ahead), Token::Word(here) if here.eq_ignore_ascii_case(word))
    }

    pub(super) fn is_symbol(&self, ahead: usize, symbol: &str) -> bool {
        matches!(self.peek_at(ahead), Token::Symbol(here) if *here == symbol)
    }

    pub(super) fn word(&mut self, word: &str) -> bool {
        let found = self.is_word(0, word);
        if found {
            self.advance();
        }
        found
    }

    pub(super) fn expected<T>(&self, what: &str) -> Parsed<T> {
        let found = match self.peek() {
            Token::End => "the query ends here".to_owned(),
            Token::Word(word) => format!("found `{word}`"),
            Token::Quoted(name) => format!("found `{name}`"),
            Token::String(_) => "found a text".to_owned(),
            Token::Number(number) => format!("found {number}"),
            Token::Symbol(symbol) => format!("found `{symbol}`"),
        };
        Err(SqlError::invalid(format!("expected {what}, {found}"), self.span()))
    }

    pub(super) fn expect_symbol(&mut self, symbol: &str) -> Parsed<()> {
        if self.symbol(symbol) { Ok(()) } else { self.expected(&format!("`{symbol}`")) }
    }

    pub(super) fn expect_word(&mut self, word: &str) -> Parsed<()> {
        if self.word(word) { Ok(()) } else { self.expected(word) }
    }

    pub(super) fn expect_end(&self) -> Parsed<()> {
        if *self.peek() == Token::End { Ok(()) } else { self.expected("the end") }
    }

    pub(super) fn name(&mut self) -> Parsed<String> {
        let name = match self.peek() {
            Token::Word(name) | Token::Quoted(name) => name.clone(),
            _ => return self.expected("a name"),
        };
        self.advance();
        Ok(name)
    }

    pub(super) fn unsupported<T>(&self, what: &str) -> Parsed<T> {
        Err(SqlError::unsupported(format!("{what} is not answered natively"), self.span())
            .help("run the flow on Spark (`runner: spark`)"))
    }

    pub(super) fn nested<T>(&mut self, parse: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth >= DEPTH_MAX {
            return Err(SqlError::unsupported(format!("nested deeper than {DEPTH_MAX}"), self.span()));
        }
        self.depth += 1;
        let parsed = parse(self);
        self.depth -= 1;
        parsed
    }

    /// Reads an expression that stands within another.
    pub(super) fn within<T>(&mut self, parse: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        self.nested(|cursor| {
            cursor.beside(|cursor| {
                let parsed = parse(cursor)?;
                cursor.raise(1)?;
                Ok(parsed)
            })
        })
    }

    /// Reads a part of an expression beside the parts that were read before.
    pub(super) fn beside<T>(&mut self, parse: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        let others = std::mem::take(&mut self.height);
        let parsed = parse(self)?;
        self.height = self.height.max(others);
        Ok(parsed)
    }

    /// Puts so many levels around what was read.
    pub(super) fn raise(&mut self, levels: usize) -> Parsed<()> {
        self.height += levels;
        if self.height <= HEIGHT_MAX {
            return Ok(());
        }
        let message = format!("operators stand within each other, deeper than {HEIGHT_MAX}");
        let error = SqlError::unsupported(message, self.span());
        Err(error.help("write concat(…) for many texts, or run the flow on Spark (`runner: spark`)"))
    }

    /// Closes one `<`, where the lexer may have read `>>` or `>>>`.
    pub(super) fn close_angle(&mut self) -> Parsed<()> {
        for (symbol, rest) in [(">", None), (">>", Some(">")), (">>>", Some(">>"))] {
            if self.is_symbol(0, symbol) {
                match rest {
                    None => self.advance(),
                    Some(rest) => {
                        let (token, span) = &mut self.tokens[self.at];
                        *token = Token::Symbol(rest);
                        span.start += 1;
                    }
                }
                return Ok(());
            }
        }
        self.expected("`>`")
    }
}
