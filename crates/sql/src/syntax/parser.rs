//! Tokens to a tree: recursive descent, operators by precedence. Queries, values, types and
//! intervals have files of their own.

use arrow::datatypes::DataType;

use super::ast::{Binary, Expr, Field, Kind, Predicate, Query, Unary};
use super::cursor::{Cursor, Parsed};
use super::lexer::Token;
use super::values::number_literal;
use crate::error::SqlError;

/// Reads a whole query.
pub(crate) fn parse_query(text: &str) -> Parsed<Query> {
    let mut cursor = Cursor::new(text)?;
    let query = cursor.query()?;
    cursor.symbol(";");
    cursor.expect_end()?;
    Ok(query)
}

/// Reads a schema of JSON: `a INT, b STRUCT<c: STRING>`.
pub(crate) fn parse_fields(text: &str) -> Parsed<Vec<Field>> {
    let mut cursor = Cursor::new(text)?;
    let mut fields = Vec::new();
    loop {
        let name = cursor.span();
        let field = cursor.field()?;
        if !has_text_keys(&field.kind) {
            let kind = text[name.end..].trim_start_matches(|c: char| c == ':' || c.is_whitespace());
            let span = cursor.since(text.len() - kind.len());
            let error = SqlError::invalid("the keys of a MAP in JSON are STRINGs", span);
            return Err(error.help("write MAP<STRING, …>, or STRUCT<…> where the names are known"));
        }
        fields.push(field);
        if !cursor.symbol(",") {
            break;
        }
    }
    cursor.expect_end()?;
    Ok(fields)
}

/// Whether the keys of all maps in a type are texts.
pub fn has_text_keys(kind: &DataType) -> bool {
    match kind {
        DataType::List(item) => has_text_keys(item.data_type()),
        DataType::Struct(fields) => fields.iter().all(|field| has_text_keys(field.data_type())),
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(entry) => {
                *entry[0].data_type() == DataType::Utf8 && has_text_keys(entry[1].data_type())
            }
            _ => false,
        },
        _ => true,
    }
}

/// Reads a type: `STRUCT<a: INT>`.
pub(crate) fn parse_data_type(text: &str) -> Parsed<DataType> {
    let mut cursor = Cursor::new(text)?;
    let kind = cursor.data_type()?;
    cursor.expect_end()?;
    Ok(kind)
}

/// So many conditions stand one in another where AND or OR joins them.
const CONDITIONS_IN_A_ROW: usize = 8;

/// Expressions, the loosest binding first.
impl Cursor {
    pub(super) fn expr(&mut self) -> Parsed<Expr> {
        self.within(Self::or)
    }

    pub(super) fn or(&mut self) -> Parsed<Expr> {
        self.conditions("OR", Binary::Or, Self::and)
    }

    pub(super) fn and(&mut self) -> Parsed<Expr> {
        self.conditions("AND", Binary::And, Self::not)
    }

    fn conditions(
        &mut self,
        word: &str,
        operator: Binary,
        condition: fn(&mut Self) -> Parsed<Expr>,
    ) -> Parsed<Expr> {
        let mut conditions = vec![condition(self)?];
        while self.word(word) {
            conditions.push(self.beside(condition)?);
        }
        let (all, levels) = joined(operator, conditions);
        self.raise(levels)?;
        Ok(all)
    }

    pub(super) fn not(&mut self) -> Parsed<Expr> {
        let start = self.span().start;
        if self.word("NOT") || self.symbol("!") {
            let operand = Box::new(self.within(Self::not)?);
            return Ok(Expr { kind: Kind::Unary(Unary::Not, operand), span: self.since(start) });
        }
        self.predicate()
    }

    /// A value, and at most one test of it.
    pub(super) fn predicate(&mut self) -> Parsed<Expr> {
        let start = self.span().start;
        let value = self.comparison()?;
        if self.word("IS") {
            let negated = self.word("NOT");
            let test = if self.word("NULL") {
                Predicate::IsNull
            } else if self.word("TRUE") {
                Predicate::IsBoolean(true)
            } else if self.word("FALSE") {
                Predicate::IsBoolean(false)
            } else if self.word("UNKNOWN") {
                Predicate::IsUnknown
            } else if self.word("DISTINCT") {
                self.expect_word("FROM")?;
                Predicate::IsDistinctFrom(Box::new(self.beside(Self::comparison)?))
            } else {
                return self.expected("NULL, TRUE, FALSE, UNKNOWN or DISTINCT FROM");
            };
            self.raise(1)?;
            let kind = Kind::Predicate(Box::new(value), test, negated);
            return Ok(Expr { kind, span: self.since(start) });
        }
        let tests = ["BETWEEN", "IN", "LIKE", "ILIKE", "RLIKE", "REGEXP"];
        let negated = self.is_word(0, "NOT") && tests.iter().any(|test| self.is_word(1, test));
        if negated {
            self.advance();
        }
        let Some(test) = self.test()? else { return Ok(value) };
        self.raise(1)?;
        Ok(Expr { kind: Kind::Predicate(Box::new(value), test, negated), span: self.since(start) })
    }

    pub(super) fn test(&mut self) -> Parsed<Option<Predicate>> {
        if self.word("BETWEEN") {
            let low = self.beside(Self::comparison)?;
            self.expect_word("AND")?;
            let high = self.beside(Self::comparison)?;
            return Ok(Some(Predicate::Between(Box::new(low), Box::new(high))));
        }
        if self.word("IN") {
            self.expect_symbol("(")?;
            if self.is_word(0, "SELECT") || self.is_word(0, "WITH") {
                return self.unsupported("a query in IN (…)");
            }
            let mut values = vec![self.expr()?];
            while self.symbol(",") {
                values.push(self.expr()?);
            }
            self.expect_symbol(")")?;
            return Ok(Some(Predicate::In(values)));
        }
        if self.is_word(0, "LIKE") || self.is_word(0, "ILIKE") {
            let ignore_case = self.is_word(0, "ILIKE");
            self.advance();
            if ["ANY", "SOME", "ALL"].iter().any(|word| self.is_word(0, word)) {
                return self.unsupported("LIKE ANY, SOME or ALL");
            }
            let pattern = Box::new(self.beside(Self::comparison)?);
            let escape = if self.word("ESCAPE") { Some(self.escape_character()?) } else { None };
            return Ok(Some(Predicate::Like { pattern, escape, ignore_case }));
        }
        if self.word("RLIKE") || self.word("REGEXP") {
            return Ok(Some(Predicate::Rlike(Box::new(self.beside(Self::comparison)?))));
        }
        Ok(None)
    }

    pub(super) fn escape_character(&mut self) -> Parsed<char> {
        if let Token::String(text) = self.peek() {
            let mut chars = text.chars();
            if let (Some(escape), None) = (chars.next(), chars.next()) {
                self.advance();
                return Ok(escape);
            }
        }
        self.expected("one character behind ESCAPE")
    }

    pub(super) fn comparison(&mut self) -> Parsed<Expr> {
        let operators = [
            ("<=>", Binary::EqualNullSafe),
            ("==", Binary::Equal),
            ("=", Binary::Equal),
            ("<>", Binary::NotEqual),
            ("!=", Binary::NotEqual),
            ("<=", Binary::LessEqual),
            (">=", Binary::GreaterEqual),
            ("!>", Binary::LessEqual),
            ("!<", Binary::GreaterEqual),
            ("<", Binary::Less),
            (">", Binary::Greater),
        ];
        self.left_associative(&operators, |cursor| cursor.bit_or())
    }

    pub(super) fn bit_or(&mut self) -> Parsed<Expr> {
        self.left_associative(&[("|", Binary::BitOr)], |cursor| cursor.bit_xor())
    }

    pub(super) fn bit_xor(&mut self) -> Parsed<Expr> {
        self.left_associative(&[("^", Binary::BitXor)], |cursor| cursor.bit_and())
    }

    pub(super) fn bit_and(&mut self) -> Parsed<Expr> {
        self.left_associative(&[("&", Binary::BitAnd)], |cursor| {
            let value = cursor.sum()?;
            if ["<<", ">>", ">>>"].iter().any(|shift| cursor.is_symbol(0, shift)) {
                let error = SqlError::unsupported("the shift operators are new in Spark 4", cursor.span());
                return Err(error.help("write shiftleft, shiftright or shiftrightunsigned"));
            }
            Ok(value)
        })
    }

    pub(super) fn sum(&mut self) -> Parsed<Expr> {
        let operators = [("+", Binary::Add), ("-", Binary::Subtract), ("||", Binary::Concat)];
        self.left_associative(&operators, |cursor| cursor.product())
    }

    pub(super) fn product(&mut self) -> Parsed<Expr> {
        let mut left = self.unary()?;
        loop {
            let operator = match self.peek() {
                Token::Symbol("*") => Binary::Multiply,
                Token::Symbol("/") => Binary::Divide,
                Token::Symbol("%") => Binary::Modulo,
                Token::Word(word) if word.eq_ignore_ascii_case("DIV") => Binary::IntegerDivide,
                _ => return Ok(left),
            };
            self.advance();
            let right = self.beside(Self::unary)?;
            self.raise(1)?;
            left = binary(operator, left, right);
        }
    }

    pub(super) fn left_associative(
        &mut self,
        operators: &[(&str, Binary)],
        operand: impl Fn(&mut Self) -> Parsed<Expr>,
    ) -> Parsed<Expr> {
        let mut left = operand(self)?;
        loop {
            let found = operators.iter().find(|(symbol, _)| self.is_symbol(0, symbol));
            let Some((_, operator)) = found else { return Ok(left) };
            self.advance();
            let right = self.beside(&operand)?;
            self.raise(1)?;
            left = binary(*operator, left, right);
        }
    }

    pub(super) fn unary(&mut self) -> Parsed<Expr> {
        let start = self.span().start;
        let operator = match self.peek() {
            Token::Symbol("-") => Unary::Minus,
            Token::Symbol("+") => Unary::Plus,
            Token::Symbol("~") => Unary::BitNot,
            _ => return self.postfix(),
        };
        self.advance();
        // A minus directly before a number belongs to it: −2147483648 is an INT.
        if operator == Unary::Minus
            && let Token::Number(number) = self.peek().clone()
        {
            let span = self.span();
            self.advance();
            let kind = Kind::Literal(number_literal(&format!("-{number}"), span)?);
            return self.postfix_of(Expr { kind, span: self.since(start) });
        }
        let operand = Box::new(self.within(Self::unary)?);
        Ok(Expr { kind: Kind::Unary(operator, operand), span: self.since(start) })
    }

    pub(super) fn postfix(&mut self) -> Parsed<Expr> {
        let value = self.primary()?;
        self.postfix_of(value)
    }

    pub(super) fn postfix_of(&mut self, mut value: Expr) -> Parsed<Expr> {
        let start = value.span.start;
        loop {
            if self.is_symbol(0, "::") {
                let error = SqlError::unsupported("`::` is new in Spark 4", self.span());
                return Err(error.help("write CAST(… AS …)"));
            }
            if self.symbol(".") {
                let is_name = matches!(value.kind, Kind::Name(_));
                if self.symbol("*") {
                    let Kind::Name(parts) = value.kind else { return self.expected("a name before .*") };
                    return Ok(Expr { kind: Kind::Star(parts), span: self.since(start) });
                }
                let name = self.name()?;
                let kind = match value.kind {
                    Kind::Name(mut parts) if is_name => {
                        parts.push(name);
                        Kind::Name(parts)
                    }
                    kind => {
                        self.raise(1)?;
                        Kind::Field(Box::new(Expr { kind, span: value.span }), name)
                    }
                };
                value = Expr { kind, span: self.since(start) };
            } else if self.symbol("[") {
                let index = self.expr()?;
                self.expect_symbol("]")?;
                self.raise(1)?;
                let kind = Kind::Index(Box::new(value), Box::new(index));
                value = Expr { kind, span: self.since(start) };
            } else {
                return Ok(value);
            }
        }
    }
}

fn binary(operator: Binary, left: Expr, right: Expr) -> Expr {
    let span = left.span.start..right.span.end;
    Expr { kind: Kind::Binary(operator, Box::new(left), Box::new(right)), span }
}

/// Conditions as one, and how many levels that makes. A few stand one in another from the left, as they are written;
/// many are parted in the middle until they are few, so that thousands do not become deep: they are still asked from
/// the first to the last, and brackets change nothing in AND and OR.
fn joined(operator: Binary, mut conditions: Vec<Expr>) -> (Expr, usize) {
    if conditions.len() > CONDITIONS_IN_A_ROW {
        let right = conditions.split_off(conditions.len() / 2);
        let ((left, levels), (right, others)) = (joined(operator, conditions), joined(operator, right));
        return (binary(operator, left, right), levels.max(others) + 1);
    }
    let levels = conditions.len() - 1;
    let all = conditions.into_iter().reduce(|left, right| binary(operator, left, right));
    (all.expect("at least one condition"), levels)
}
