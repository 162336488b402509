//! `INTERVAL` as a constant: `INTERVAL 1 DAY`, `INTERVAL 1 DAY 2 HOURS`, `INTERVAL '1' MONTH` and
//! `INTERVAL '1 02:03' DAY TO MINUTE`. Months do not mix with days here: Spark has an interval for
//! that, but no date or time takes it alike in all its versions.

use std::ops::Range;

use super::ast::Interval;
use super::cursor::{Cursor, Parsed};
use super::lexer::Token;
use crate::error::SqlError;

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;
/// Ten thousand years: no date or time moves further and stays one.
const MICROS_MAX: i64 = 3_652_500 * DAY;
const MONTHS_MAX: i64 = 120_000;

/// How much one of a unit is.
#[derive(Clone, Copy, PartialEq)]
enum Unit {
    Months(i64),
    Micros(i64),
}

fn unit(name: &str) -> Option<Unit> {
    let name = name.to_ascii_uppercase();
    Some(match name.strip_suffix('S').unwrap_or(&name) {
        "YEAR" => Unit::Months(12),
        "MONTH" => Unit::Months(1),
        "WEEK" => Unit::Micros(7 * DAY),
        "DAY" => Unit::Micros(DAY),
        "HOUR" => Unit::Micros(3600 * SECOND),
        "MINUTE" => Unit::Micros(60 * SECOND),
        "SECOND" => Unit::Micros(SECOND),
        "MILLISECOND" => Unit::Micros(1000),
        "MICROSECOND" => Unit::Micros(1),
        _ => return None,
    })
}

impl Cursor {
    /// What follows the word INTERVAL, which begins at `start`.
    pub(super) fn interval(&mut self, start: usize) -> Parsed<Interval> {
        let mut months = None;
        let mut micros = None;
        let mut whole_days = true;
        loop {
            let negative = !self.symbol("+") && self.symbol("-");
            let amount = match self.peek().clone() {
                Token::Number(text) | Token::String(text) => text,
                _ => return self.expected("a number and a unit"),
            };
            self.advance();
            let Token::Word(word) = self.peek().clone() else { return self.expected("a unit") };
            let Some(unit) = unit(&word) else {
                return self.expected("YEAR, MONTH, WEEK, DAY, HOUR, MINUTE or SECOND");
            };
            self.advance();
            let is_range = self.word("TO");
            let found = if is_range {
                let Token::Word(last) = self.peek().clone() else { return self.expected("a unit") };
                self.advance();
                range(&amount, &word.to_ascii_uppercase(), &last.to_ascii_uppercase())
            } else {
                scaled(&amount, unit)
            };
            let Some(found) = found else {
                let message = "this interval is not read natively";
                return Err(SqlError::unsupported(message, self.since(start))
                    .help("write INTERVAL 1 DAY, or INTERVAL '1 02:03:04' DAY TO SECOND"));
            };
            let sum = if matches!(unit, Unit::Months(_)) { &mut months } else { &mut micros };
            let before: i64 = sum.unwrap_or(0);
            let after = if negative { before.checked_sub(found) } else { before.checked_add(found) };
            *sum = Some(after.ok_or_else(|| too_long(self.since(start)))?);
            if let Unit::Micros(size) = unit {
                // By the units that are written, not by the amount: 24 HOURS make no DAY.
                whole_days &= size >= DAY && !is_range;
            }
            let goes_on =
                matches!(self.peek(), Token::Number(_)) && matches!(self.peek_at(1), Token::Word(_));
            if !goes_on {
                break;
            }
        }
        let signed =
            (self.is_symbol(0, "-") || self.is_symbol(0, "+")) && matches!(self.peek_at(1), Token::Number(_));
        if signed && matches!(self.peek_at(2), Token::Word(word) if unit(word).is_some()) {
            let message = "a unit with a sign behind another one belongs to the same interval";
            return Err(
                SqlError::unsupported(message, self.since(start)).help("write INTERVAL in front of it, too")
            );
        }
        match (months, micros) {
            (Some(months), None) if (-MONTHS_MAX..=MONTHS_MAX).contains(&months) => {
                Ok(Interval::Months(months as i32))
            }
            (None, Some(micros)) if (-MICROS_MAX..=MICROS_MAX).contains(&micros) => {
                Ok(Interval::Micros { micros, days: whole_days })
            }
            (Some(_), Some(_)) => {
                let message = "an interval of months and days together is not answered natively";
                Err(SqlError::unsupported(message, self.since(start)).help("add one after the other"))
            }
            _ => Err(too_long(self.since(start))),
        }
    }

    /// Whether an amount and a word follow: else INTERVAL is a name like others.
    pub(super) fn is_interval(&self) -> bool {
        let sign = usize::from(self.is_symbol(0, "-") || self.is_symbol(0, "+"));
        matches!(self.peek_at(sign), Token::Number(_) | Token::String(_))
            && matches!(self.peek_at(sign + 1), Token::Word(_))
    }
}

fn too_long(span: Range<usize>) -> SqlError {
    SqlError::unsupported("an interval of more than 10,000 years", span)
}

/// `amount` of a unit; only seconds may have a fraction.
fn scaled(amount: &str, unit: Unit) -> Option<i64> {
    let amount = amount.trim();
    match unit {
        Unit::Months(size) => amount.parse::<i64>().ok()?.checked_mul(size),
        Unit::Micros(SECOND) => seconds(amount),
        Unit::Micros(size) => amount.parse::<i64>().ok()?.checked_mul(size),
    }
}

/// Seconds with up to six digits behind the point, as microseconds.
fn seconds(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || fraction.len() > 6 || !all_digits(whole) || !all_digits(fraction) {
        return None;
    }
    let fraction: i64 = format!("{fraction:0<6}").parse().ok()?;
    let micros = whole.parse::<i64>().ok()?.checked_mul(SECOND)?.checked_add(fraction)?;
    Some(if negative { -micros } else { micros })
}

/// `'1-2' YEAR TO MONTH`, `'1 02:03:04.5' DAY TO SECOND` and what lies between them.
fn range(text: &str, first: &str, last: &str) -> Option<i64> {
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let number = |text: &str, max: i64| {
        let plain = !text.is_empty() && text.len() <= 9 && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = if plain { text.parse::<i64>().ok()? } else { return None };
        (number <= max).then_some(number)
    };
    let total = if (first, last) == ("YEAR", "MONTH") {
        let (years, months) = text.split_once('-')?;
        number(years, i64::MAX)? * 12 + number(months, 11)?
    } else {
        const UNITS: [&str; 4] = ["DAY", "HOUR", "MINUTE", "SECOND"];
        let place = |name: &str| UNITS.iter().position(|unit| *unit == name);
        let (from, to) = (place(first)?, place(last)?);
        let parts: Vec<&str> = text.split([' ', ':']).collect();
        let has_blank = text.contains(' ');
        if from >= to || parts.len() != to - from + 1 || has_blank != (from == 0) {
            return None;
        }
        let mut total = 0_i64;
        for (at, part) in (from..=to).zip(parts) {
            // The first may be any number, what follows stays below the next unit.
            let max = if at == from { i64::MAX } else { [i64::MAX, 23, 59, 59][at] };
            let size = [DAY, 3600 * SECOND, 60 * SECOND, SECOND][at];
            let part = match (at, part.split_once('.')) {
                (3, Some((whole, _))) => {
                    number(whole, max)?;
                    seconds(part)?
                }
                _ => number(part, max)?.checked_mul(size)?,
            };
            total = total.checked_add(part)?;
        }
        total
    };
    Some(if negative { -total } else { total })
}
