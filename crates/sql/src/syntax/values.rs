//! What an operator stands between: constants, names, calls, CASE and CAST.

use std::ops::Range;

use super::ast::{CastKind, Expr, Kind, Literal};
use super::cursor::{Cursor, Parsed};
use super::lexer::Token;
use crate::cast::DECIMAL_DIGITS_MAX;
use crate::error::SqlError;

impl Cursor {
    pub(super) fn primary(&mut self) -> Parsed<Expr> {
        let start = self.span().start;
        let kind = match self.peek().clone() {
            Token::Number(number) => {
                let span = self.span();
                self.advance();
                Kind::Literal(number_literal(&number, span)?)
            }
            Token::String(mut text) => {
                self.advance();
                // Texts that stand side by side are one.
                while let Token::String(more) = self.peek() {
                    text.push_str(more);
                    self.advance();
                }
                Kind::Literal(Literal::String(text))
            }
            Token::Symbol("(") => return self.parenthesised(),
            Token::Quoted(name) => {
                self.advance();
                return self.name_or_call(name, start);
            }
            Token::Word(word) => return self.word_expr(&word, start),
            _ => return self.expected("a value"),
        };
        Ok(Expr { kind, span: self.since(start) })
    }

    pub(super) fn parenthesised(&mut self) -> Parsed<Expr> {
        let start = self.span().start;
        self.expect_symbol("(")?;
        if self.is_word(0, "SELECT") || self.is_word(0, "WITH") {
            return self.unsupported("a query as a value");
        }
        let mut values = vec![self.expr()?];
        while self.symbol(",") {
            values.push(self.expr()?);
        }
        self.expect_symbol(")")?;
        // One parameter stands without brackets.
        if values.len() > 1 && self.symbol("->") {
            let mut names = Vec::new();
            for value in values {
                match value.kind {
                    Kind::Name(parts) if parts.len() == 1 => names.extend(parts),
                    _ => return Err(SqlError::invalid("a lambda's parameters are names", value.span)),
                }
            }
            let body = Box::new(self.expr()?);
            return Ok(Expr { kind: Kind::Lambda(names, body), span: self.since(start) });
        }
        match values.len() {
            1 => Ok(values.remove(0)),
            _ => Err(SqlError::unsupported("a list of values in brackets", self.since(start))
                .help("write struct(…)")),
        }
    }

    pub(super) fn word_expr(&mut self, word: &str, start: usize) -> Parsed<Expr> {
        let upper = word.to_ascii_uppercase();
        let string_follows = matches!(self.peek_at(1), Token::String(_));
        let call_follows = self.is_symbol(1, "(");
        self.advance();
        let kind = match upper.as_str() {
            "NULL" => Kind::Literal(Literal::Null),
            "TRUE" => Kind::Literal(Literal::Boolean(true)),
            "FALSE" => Kind::Literal(Literal::Boolean(false)),
            "DATE" | "TIMESTAMP" | "X" if string_follows => self.typed_literal(&upper, start)?,
            "TIMESTAMP_LTZ" | "TIMESTAMP_NTZ" if string_follows => {
                return Err(SqlError::unsupported(format!("{upper} literals"), self.since(start))
                    .help("write TIMESTAMP '…'"));
            }
            "INTERVAL" if self.is_interval() => Kind::Interval(self.interval(start)?),
            "CASE" => self.case()?,
            "CAST" | "TRY_CAST" if call_follows => {
                self.expect_symbol("(")?;
                let value = self.expr()?;
                self.expect_word("AS")?;
                let kind = self.data_type()?;
                self.expect_symbol(")")?;
                let cast = if upper == "CAST" { CastKind::Cast } else { CastKind::TryCast };
                Kind::Cast(Box::new(value), kind, cast)
            }
            "EXISTS" if call_follows && (self.is_word(1, "SELECT") || self.is_word(1, "WITH")) => {
                return self.unsupported("EXISTS (query)");
            }
            "TRIM" | "SUBSTRING" | "SUBSTR" | "POSITION" | "OVERLAY" | "EXTRACT" if call_follows => {
                return self.keyword_call(&upper, start);
            }
            _ => return self.name_or_call(word.to_owned(), start),
        };
        Ok(Expr { kind, span: self.since(start) })
    }

    pub(super) fn typed_literal(&mut self, kind: &str, start: usize) -> Parsed<Kind> {
        let Token::String(text) = self.peek().clone() else { return self.expected("a text") };
        self.advance();
        Ok(Kind::Literal(match kind {
            "DATE" => Literal::Date(text),
            "TIMESTAMP" => Literal::Timestamp(text),
            _ => {
                // An odd number of digits has a zero in front.
                let padded = if text.len().is_multiple_of(2) { text } else { format!("0{text}") };
                if !padded.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                    return Err(SqlError::invalid("X'…' takes hexadecimal digits", self.since(start)));
                }
                let (pairs, _) = padded.as_bytes().as_chunks::<2>();
                let bytes: Option<Vec<u8>> = pairs
                    .iter()
                    .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
                    .collect();
                match bytes {
                    Some(bytes) => Literal::Binary(bytes),
                    None => {
                        return Err(SqlError::invalid("X'…' takes hexadecimal digits", self.since(start)));
                    }
                }
            }
        }))
    }

    pub(super) fn case(&mut self) -> Parsed<Kind> {
        let operand = if self.is_word(0, "WHEN") { None } else { Some(Box::new(self.expr()?)) };
        let mut branches = Vec::new();
        while self.word("WHEN") {
            let condition = self.expr()?;
            self.expect_word("THEN")?;
            branches.push((condition, self.expr()?));
        }
        if branches.is_empty() {
            return self.expected("WHEN");
        }
        let otherwise = if self.word("ELSE") { Some(Box::new(self.expr()?)) } else { None };
        self.expect_word("END")?;
        Ok(Kind::Case { operand, branches, otherwise })
    }

    /// Calls whose arguments may be set apart by words: `trim(BOTH 'x' FROM y)`.
    pub(super) fn keyword_call(&mut self, name: &str, start: usize) -> Parsed<Expr> {
        self.expect_symbol("(")?;
        let mut name = name.to_ascii_lowercase();
        let mut args = Vec::new();
        if name == "trim" {
            for (word, function) in [("BOTH", "btrim"), ("LEADING", "ltrim"), ("TRAILING", "rtrim")] {
                // `trim(both)` is a call with a column of that name.
                if self.is_word(0, word) && !self.is_symbol(1, ")") && !self.is_symbol(1, ",") {
                    self.advance();
                    name = function.to_owned();
                }
            }
            if name != "trim" && self.word("FROM") {
                args.push(self.expr()?);
                return self.end_call(name, args, start);
            }
        }
        if name == "extract" {
            let field = self.name()?;
            self.expect_word("FROM")?;
            let kind = Kind::Literal(Literal::String(field));
            let source = self.expr()?;
            args = vec![Expr { kind, span: self.since(start) }, source];
            return self.end_call("date_part".into(), args, start);
        }
        // `POSITION(a IN b)` must not read `a IN (…)`.
        args.push(if name == "position" { self.within(Self::comparison)? } else { self.expr()? });
        if name.ends_with("trim") && self.word("FROM") {
            let text = self.expr()?;
            // The SQL form names first what is trimmed off; Spark's functions differ in that.
            args = match name.as_str() {
                "ltrim" | "rtrim" => vec![args.remove(0), text],
                _ => vec![text, args.remove(0)],
            };
            if name == "trim" {
                name = "btrim".to_owned();
            }
        } else if name == "position" && self.word("IN") {
            args.push(self.expr()?);
        } else if name.starts_with("subst") && self.word("FROM") {
            args.push(self.expr()?);
            if self.word("FOR") {
                args.push(self.expr()?);
            }
        } else if name == "overlay" && self.word("PLACING") {
            args.push(self.expr()?);
            self.expect_word("FROM")?;
            args.push(self.expr()?);
            if self.word("FOR") {
                args.push(self.expr()?);
            }
        } else {
            while self.symbol(",") {
                args.push(self.expr()?);
            }
        }
        self.end_call(name, args, start)
    }

    pub(super) fn end_call(&mut self, name: String, args: Vec<Expr>, start: usize) -> Parsed<Expr> {
        self.expect_symbol(")")?;
        Ok(Expr { kind: Kind::Call { name, args, distinct: false }, span: self.since(start) })
    }

    pub(super) fn name_or_call(&mut self, name: String, start: usize) -> Parsed<Expr> {
        if self.symbol("->") {
            let body = Box::new(self.expr()?);
            return Ok(Expr { kind: Kind::Lambda(vec![name], body), span: self.since(start) });
        }
        if !self.symbol("(") {
            return Ok(Expr { kind: Kind::Name(vec![name]), span: self.since(start) });
        }
        let distinct = self.is_word(0, "DISTINCT") && !self.is_symbol(1, ")") && !self.is_symbol(1, ",");
        if distinct {
            self.advance();
        }
        let mut args = Vec::new();
        if !self.is_symbol(0, ")") {
            loop {
                let start = self.span().start;
                if self.symbol("*") {
                    args.push(Expr { kind: Kind::Star(Vec::new()), span: self.since(start) });
                } else if self.is_symbol(1, "=>") {
                    return self.unsupported("an argument by name");
                } else {
                    let value = self.expr()?;
                    args.push(match name.eq_ignore_ascii_case("struct") && self.word("AS") {
                        true => {
                            Expr { kind: Kind::Named(Box::new(value), self.name()?), span: self.since(start) }
                        }
                        false => value,
                    });
                }
                if !self.symbol(",") {
                    break;
                }
            }
        }
        self.expect_symbol(")")?;
        for word in ["OVER", "FILTER", "WITHIN", "IGNORE", "RESPECT"] {
            if self.is_word(0, word)
                && (self.is_symbol(1, "(") || self.is_word(1, "NULLS") || self.is_word(1, "GROUP"))
            {
                return self.unsupported(word);
            }
        }
        let kind = Kind::Call { name: name.to_ascii_lowercase(), args, distinct };
        Ok(Expr { kind, span: self.since(start) })
    }
}

/// A number with its suffix: INT where it fits, else BIGINT, else DECIMAL; a fraction is a
/// DECIMAL, an exponent makes a DOUBLE.
pub(super) fn number_literal(text: &str, span: Range<usize>) -> Parsed<Literal> {
    let upper = text.to_ascii_uppercase();
    let out_of_range = || SqlError::invalid(format!("{text} is out of its type's range"), span.clone());
    let has_exponent = upper.contains('E');
    let double = |digits: &str| {
        let number = digits.parse().ok().filter(|number: &f64| number.is_finite())?;
        // What is rounded down to the greatest number is beyond it.
        let is_greatest = number.abs() == f64::MAX && significant(digits) != "17976931348623157";
        (!is_greatest).then_some(number)
    };
    let float = |digits: &str| {
        let number: f64 = digits.parse().ok()?;
        (number.abs() <= f32::MAX.into()).then(|| digits.parse::<f32>().ok()).flatten()
    };
    if let Some(digits) = upper.strip_suffix("BD") {
        return decimal(digits).ok_or_else(out_of_range);
    }
    let (digits, suffix) = match upper.as_bytes().last() {
        Some(b'L' | b'S' | b'Y' | b'F' | b'D') => upper.split_at(upper.len() - 1),
        _ => (upper.as_str(), ""),
    };
    Ok(match suffix {
        "L" => Literal::Bigint(digits.parse().map_err(|_| out_of_range())?),
        "S" => Literal::Smallint(digits.parse().map_err(|_| out_of_range())?),
        "Y" => Literal::Tinyint(digits.parse().map_err(|_| out_of_range())?),
        "F" => Literal::Float(float(digits).ok_or_else(out_of_range)?),
        _ if suffix == "D" || has_exponent => Literal::Double(double(digits).ok_or_else(out_of_range)?),
        _ => match (digits.parse::<i32>(), digits.parse::<i64>()) {
            (Ok(number), _) => Literal::Int(number),
            (_, Ok(number)) => Literal::Bigint(number),
            _ => decimal(digits).ok_or_else(out_of_range)?,
        },
    })
}

/// The digits of a number without the zeros around them.
fn significant(number: &str) -> String {
    let mantissa = number.split('E').next().unwrap_or_default();
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    digits.trim_matches('0').to_owned()
}

/// The DECIMAL with just the digits that are written.
fn decimal(text: &str) -> Option<Literal> {
    let (mantissa, exponent) = match text.split_once('E') {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let unscaled: i128 = format!("{whole}{fraction}").parse().ok()?;
    let mut scale = i32::try_from(fraction.len()).ok()?.checked_sub(exponent)?;
    if scale < -DECIMAL_DIGITS_MAX {
        return None;
    }
    let mut unscaled = unscaled;
    // Zeros that are not written count also behind a zero.
    let zeros = if unscaled == 0 { (-scale).max(0) } else { 0 };
    while scale < 0 {
        unscaled = unscaled.checked_mul(10)?;
        scale += 1;
    }
    let digits = zeros + unscaled.unsigned_abs().checked_ilog10().map_or(1, |log| log as i32 + 1);
    let precision = digits.max(scale);
    (precision <= DECIMAL_DIGITS_MAX).then_some(Literal::Decimal {
        unscaled,
        precision: precision as u8,
        scale: scale as i8,
    })
}
