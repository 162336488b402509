//! Tokens to a tree: recursive descent, operators by precedence.

use std::ops::Range;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field as ArrowField, Fields, TimeUnit};

use super::ast::{
    Binary, CastKind, Direction, Expr, Field, Item, Kind, Literal, Nulls, Order, Predicate, Query, Relation,
    Select, Unary,
};
use super::lexer::{Token, tokens};
use crate::error::SqlError;

pub(super) type Parsed<T> = Result<T, SqlError>;

/// Deeper nesting than any person writes; it keeps the stack bounded.
const DEPTH_MAX: usize = 150;

/// Words that end an expression or a list, so that they are no alias where `AS` is left out.
const NO_ALIAS: [&str; 30] = [
    "FROM",
    "WHERE",
    "GROUP",
    "HAVING",
    "ORDER",
    "SORT",
    "CLUSTER",
    "DISTRIBUTE",
    "LIMIT",
    "OFFSET",
    "UNION",
    "EXCEPT",
    "MINUS",
    "INTERSECT",
    "JOIN",
    "INNER",
    "LEFT",
    "RIGHT",
    "FULL",
    "CROSS",
    "NATURAL",
    "ANTI",
    "SEMI",
    "ON",
    "USING",
    "LATERAL",
    "WINDOW",
    "TABLESAMPLE",
    "PIVOT",
    "UNPIVOT",
];

/// Reads a whole query.
pub(crate) fn parse_query(text: &str) -> Parsed<Query> {
    let mut cursor = Cursor::new(text)?;
    let query = cursor.query()?;
    cursor.symbol(";");
    cursor.expect_end()?;
    Ok(query)
}

/// Reads a schema: `a INT, b STRUCT<c: STRING>`.
pub(crate) fn parse_fields(text: &str) -> Parsed<Vec<Field>> {
    let mut cursor = Cursor::new(text)?;
    let mut fields = Vec::new();
    loop {
        fields.push(cursor.field()?);
        if !cursor.symbol(",") {
            break;
        }
    }
    cursor.expect_end()?;
    Ok(fields)
}

/// Reads a type: `STRUCT<a: INT>`.
pub(crate) fn parse_data_type(text: &str) -> Parsed<DataType> {
    let mut cursor = Cursor::new(text)?;
    let kind = cursor.data_type()?;
    cursor.expect_end()?;
    Ok(kind)
}

/// A place among the tokens of a text.
pub(crate) struct Cursor {
    tokens: Vec<(Token, Range<usize>)>,
    at: usize,
    depth: usize,
}

impl Cursor {
    pub(crate) fn new(text: &str) -> Parsed<Self> {
        Ok(Self { tokens: tokens(text)?, at: 0, depth: 0 })
    }

    pub(super) fn peek(&self) -> &Token {
        &self.tokens[self.at].0
    }

    pub(super) fn peek_at(&self, ahead: usize) -> &Token {
        &self.tokens[(self.at + ahead).min(self.tokens.len() - 1)].0
    }

    fn span(&self) -> Range<usize> {
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

    fn is_word(&self, ahead: usize, word: &str) -> bool {
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

    fn expect_symbol(&mut self, symbol: &str) -> Parsed<()> {
        if self.symbol(symbol) { Ok(()) } else { self.expected(&format!("`{symbol}`")) }
    }

    fn expect_word(&mut self, word: &str) -> Parsed<()> {
        if self.word(word) { Ok(()) } else { self.expected(word) }
    }

    pub(crate) fn expect_end(&self) -> Parsed<()> {
        if *self.peek() == Token::End { Ok(()) } else { self.expected("the end") }
    }

    fn name(&mut self) -> Parsed<String> {
        let name = match self.peek() {
            Token::Word(name) | Token::Quoted(name) => name.clone(),
            _ => return self.expected("a name"),
        };
        self.advance();
        Ok(name)
    }

    fn unsupported<T>(&self, what: &str) -> Parsed<T> {
        Err(SqlError::unsupported(format!("{what} is not answered natively"), self.span())
            .help("run the flow on Spark (`runner: spark`)"))
    }

    fn nested<T>(&mut self, parse: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth >= DEPTH_MAX {
            return Err(SqlError::unsupported(format!("nested deeper than {DEPTH_MAX}"), self.span()));
        }
        self.depth += 1;
        let parsed = parse(self);
        self.depth -= 1;
        parsed
    }

    // Queries.

    pub(crate) fn query(&mut self) -> Parsed<Query> {
        self.nested(Self::query_inner)
    }

    fn query_inner(&mut self) -> Parsed<Query> {
        let mut with = Vec::new();
        if self.word("WITH") {
            loop {
                let name = self.name()?;
                if self.is_symbol(0, "(") {
                    return self.unsupported("a list of columns behind a WITH name");
                }
                self.word("AS");
                self.expect_symbol("(")?;
                with.push((name, self.query()?));
                self.expect_symbol(")")?;
                if !self.symbol(",") {
                    break;
                }
            }
        }
        let select = self.select()?;
        for word in ["UNION", "EXCEPT", "MINUS", "INTERSECT", "SORT", "CLUSTER", "DISTRIBUTE", "WINDOW"] {
            if self.is_word(0, word) {
                return self.unsupported(word);
            }
        }
        let mut order_by = Vec::new();
        if self.word("ORDER") {
            self.expect_word("BY")?;
            loop {
                order_by.push(self.order()?);
                if !self.symbol(",") {
                    break;
                }
            }
        }
        let limit = if self.word("LIMIT") && !self.word("ALL") { Some(self.count()?) } else { None };
        let offset = if self.word("OFFSET") { Some(self.count()?) } else { None };
        Ok(Query { with, select, order_by, limit, offset })
    }

    fn count(&mut self) -> Parsed<u64> {
        if let Token::Number(number) = self.peek()
            && let Ok(count) = number.parse()
        {
            self.advance();
            return Ok(count);
        }
        self.expected("a whole number")
    }

    fn order(&mut self) -> Parsed<Order> {
        let expr = self.expr()?;
        let direction = if self.word("DESC") {
            Direction::Descending
        } else {
            self.word("ASC");
            Direction::Ascending
        };
        let mut nulls = if direction == Direction::Ascending { Nulls::First } else { Nulls::Last };
        if self.word("NULLS") {
            nulls = if self.word("FIRST") {
                Nulls::First
            } else {
                self.expect_word("LAST")?;
                Nulls::Last
            };
        }
        Ok(Order { expr, direction, nulls })
    }

    fn select(&mut self) -> Parsed<Select> {
        let start = self.span().start;
        if self.is_word(0, "FROM") || self.is_word(0, "VALUES") || self.is_word(0, "TABLE") {
            return self.unsupported("a query that does not begin with SELECT");
        }
        self.expect_word("SELECT")?;
        let distinct = self.is_word(0, "DISTINCT").then(|| self.span());
        if distinct.is_some() || self.is_word(0, "ALL") {
            self.advance();
        }
        let items_start = self.span().start;
        let mut items = Vec::new();
        loop {
            items.push(self.item()?);
            if !self.symbol(",") {
                break;
            }
        }
        let from = if self.word("FROM") { Some(self.relation()?) } else { None };
        let filter = if self.word("WHERE") { Some(self.expr()?) } else { None };
        let mut group_by = Vec::new();
        if self.word("GROUP") {
            self.expect_word("BY")?;
            loop {
                group_by.push(self.expr()?);
                if !self.symbol(",") {
                    break;
                }
            }
            if self.is_word(0, "WITH") || self.is_word(0, "GROUPING") {
                return self.unsupported("GROUP BY with more than columns");
            }
        }
        let having = if self.word("HAVING") { Some(self.expr()?) } else { None };
        Ok(Select { distinct, items_start, items, from, filter, group_by, having, span: self.since(start) })
    }

    fn item(&mut self) -> Parsed<Item> {
        let start = self.span().start;
        if self.symbol("*") {
            let expr = Expr { kind: Kind::Star(Vec::new()), span: self.since(start) };
            return self.star_item(expr);
        }
        let expr = self.expr()?;
        if matches!(expr.kind, Kind::Star(_)) {
            return self.star_item(expr);
        }
        let alias = if self.word("AS") {
            if self.is_symbol(0, "(") {
                return self.unsupported("an alias with several names");
            }
            Some(self.name()?)
        } else {
            self.implicit_alias()?
        };
        Ok(Item { expr, alias })
    }

    fn star_item(&mut self, expr: Expr) -> Parsed<Item> {
        if self.is_word(0, "EXCEPT") {
            return self.unsupported("* EXCEPT (…)");
        }
        Ok(Item { expr, alias: None })
    }

    fn implicit_alias(&mut self) -> Parsed<Option<String>> {
        let is_alias = match self.peek() {
            Token::Quoted(_) => true,
            Token::Word(word) => !NO_ALIAS.iter().any(|no| no.eq_ignore_ascii_case(word)),
            _ => false,
        };
        if is_alias { self.name().map(Some) } else { Ok(None) }
    }

    fn relation(&mut self) -> Parsed<Relation> {
        let start = self.span().start;
        let relation = if self.symbol("(") {
            let query = Box::new(self.query()?);
            self.expect_symbol(")")?;
            self.word("AS");
            Relation::Subquery { query, alias: self.implicit_alias()? }
        } else {
            let mut name = vec![self.name()?];
            while self.symbol(".") {
                name.push(self.name()?);
            }
            let span = self.since(start);
            self.word("AS");
            Relation::Named { name, alias: self.implicit_alias()?, span }
        };
        let more = [
            "JOIN", "INNER", "LEFT", "RIGHT", "FULL", "CROSS", "NATURAL", "ANTI", "SEMI", "LATERAL", "PIVOT",
        ];
        if self.is_symbol(0, ",") || more.iter().any(|word| self.is_word(0, word)) {
            return self.unsupported("reading from more than one table");
        }
        Ok(relation)
    }

    // Expressions, the loosest binding first.

    pub(crate) fn expr(&mut self) -> Parsed<Expr> {
        self.nested(Self::or)
    }

    fn or(&mut self) -> Parsed<Expr> {
        let mut left = self.and()?;
        while self.word("OR") {
            left = binary(Binary::Or, left, self.and()?);
        }
        Ok(left)
    }

    fn and(&mut self) -> Parsed<Expr> {
        let mut left = self.not()?;
        while self.word("AND") {
            left = binary(Binary::And, left, self.not()?);
        }
        Ok(left)
    }

    fn not(&mut self) -> Parsed<Expr> {
        let start = self.span().start;
        if self.word("NOT") || self.symbol("!") {
            let operand = Box::new(self.nested(Self::not)?);
            return Ok(Expr { kind: Kind::Unary(Unary::Not, operand), span: self.since(start) });
        }
        self.predicate()
    }

    /// A value, and at most one test of it.
    fn predicate(&mut self) -> Parsed<Expr> {
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
                Predicate::IsDistinctFrom(Box::new(self.comparison()?))
            } else {
                return self.expected("NULL, TRUE, FALSE, UNKNOWN or DISTINCT FROM");
            };
            let kind = Kind::Predicate(Box::new(value), test, negated);
            return Ok(Expr { kind, span: self.since(start) });
        }
        let tests = ["BETWEEN", "IN", "LIKE", "ILIKE", "RLIKE", "REGEXP"];
        let negated = (self.is_word(0, "NOT") || self.is_symbol(0, "!"))
            && tests.iter().any(|test| self.is_word(1, test));
        if negated {
            self.advance();
        }
        let Some(test) = self.test()? else { return Ok(value) };
        Ok(Expr { kind: Kind::Predicate(Box::new(value), test, negated), span: self.since(start) })
    }

    fn test(&mut self) -> Parsed<Option<Predicate>> {
        if self.word("BETWEEN") {
            let low = self.comparison()?;
            self.expect_word("AND")?;
            return Ok(Some(Predicate::Between(Box::new(low), Box::new(self.comparison()?))));
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
            let pattern = Box::new(self.comparison()?);
            let escape = if self.word("ESCAPE") { Some(self.escape_character()?) } else { None };
            return Ok(Some(Predicate::Like { pattern, escape, ignore_case }));
        }
        if self.word("RLIKE") || self.word("REGEXP") {
            return Ok(Some(Predicate::Rlike(Box::new(self.comparison()?))));
        }
        Ok(None)
    }

    fn escape_character(&mut self) -> Parsed<char> {
        if let Token::String(text) = self.peek() {
            let mut chars = text.chars();
            if let (Some(escape), None) = (chars.next(), chars.next()) {
                self.advance();
                return Ok(escape);
            }
        }
        self.expected("one character behind ESCAPE")
    }

    fn comparison(&mut self) -> Parsed<Expr> {
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

    fn bit_or(&mut self) -> Parsed<Expr> {
        self.left_associative(&[("|", Binary::BitOr)], |cursor| cursor.bit_xor())
    }

    fn bit_xor(&mut self) -> Parsed<Expr> {
        self.left_associative(&[("^", Binary::BitXor)], |cursor| cursor.bit_and())
    }

    fn bit_and(&mut self) -> Parsed<Expr> {
        self.left_associative(&[("&", Binary::BitAnd)], |cursor| {
            let value = cursor.sum()?;
            if ["<<", ">>", ">>>"].iter().any(|shift| cursor.is_symbol(0, shift)) {
                let error = SqlError::unsupported("the shift operators are new in Spark 4", cursor.span());
                return Err(error.help("write shiftleft, shiftright or shiftrightunsigned"));
            }
            Ok(value)
        })
    }

    fn sum(&mut self) -> Parsed<Expr> {
        let operators = [("+", Binary::Add), ("-", Binary::Subtract), ("||", Binary::Concat)];
        self.left_associative(&operators, |cursor| cursor.product())
    }

    fn product(&mut self) -> Parsed<Expr> {
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
            left = binary(operator, left, self.unary()?);
        }
    }

    fn left_associative(
        &mut self,
        operators: &[(&str, Binary)],
        operand: impl Fn(&mut Self) -> Parsed<Expr>,
    ) -> Parsed<Expr> {
        let mut left = operand(self)?;
        loop {
            let found = operators.iter().find(|(symbol, _)| self.is_symbol(0, symbol));
            let Some((_, operator)) = found else { return Ok(left) };
            self.advance();
            left = binary(*operator, left, operand(self)?);
        }
    }

    fn unary(&mut self) -> Parsed<Expr> {
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
        let operand = Box::new(self.nested(Self::unary)?);
        Ok(Expr { kind: Kind::Unary(operator, operand), span: self.since(start) })
    }

    fn postfix(&mut self) -> Parsed<Expr> {
        let value = self.primary()?;
        self.postfix_of(value)
    }

    fn postfix_of(&mut self, mut value: Expr) -> Parsed<Expr> {
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
                    kind => Kind::Field(Box::new(Expr { kind, span: value.span }), name),
                };
                value = Expr { kind, span: self.since(start) };
            } else if self.symbol("[") {
                let index = self.expr()?;
                self.expect_symbol("]")?;
                let kind = Kind::Index(Box::new(value), Box::new(index));
                value = Expr { kind, span: self.since(start) };
            } else {
                return Ok(value);
            }
        }
    }

    fn primary(&mut self) -> Parsed<Expr> {
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

    fn parenthesised(&mut self) -> Parsed<Expr> {
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
        if self.symbol("->") {
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

    fn word_expr(&mut self, word: &str, start: usize) -> Parsed<Expr> {
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
            "CURRENT_DATE" | "CURRENT_TIMESTAMP" | "CURRENT_USER" | "USER" | "SESSION_USER"
                if !call_follows =>
            {
                Kind::Call { name: upper.to_ascii_lowercase(), args: Vec::new(), distinct: false }
            }
            "TRIM" | "SUBSTRING" | "SUBSTR" | "POSITION" | "OVERLAY" | "EXTRACT" if call_follows => {
                return self.keyword_call(&upper, start);
            }
            _ => return self.name_or_call(word.to_owned(), start),
        };
        Ok(Expr { kind, span: self.since(start) })
    }

    fn typed_literal(&mut self, kind: &str, start: usize) -> Parsed<Kind> {
        let Token::String(text) = self.peek().clone() else { return self.expected("a text") };
        self.advance();
        Ok(Kind::Literal(match kind {
            "DATE" => Literal::Date(text),
            "TIMESTAMP" => Literal::Timestamp(text),
            _ => {
                // An odd number of digits has a zero in front.
                let padded = if text.len().is_multiple_of(2) { text } else { format!("0{text}") };
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

    fn case(&mut self) -> Parsed<Kind> {
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
    fn keyword_call(&mut self, name: &str, start: usize) -> Parsed<Expr> {
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
        args.push(if name == "position" { self.comparison()? } else { self.expr()? });
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

    fn end_call(&mut self, name: String, args: Vec<Expr>, start: usize) -> Parsed<Expr> {
        self.expect_symbol(")")?;
        Ok(Expr { kind: Kind::Call { name, args, distinct: false }, span: self.since(start) })
    }

    fn name_or_call(&mut self, name: String, start: usize) -> Parsed<Expr> {
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

    // Types.

    pub(crate) fn data_type(&mut self) -> Parsed<DataType> {
        self.nested(Self::data_type_inner)
    }

    fn data_type_inner(&mut self) -> Parsed<DataType> {
        let span = self.span();
        let name = self.name()?.to_ascii_uppercase();
        Ok(match name.as_str() {
            "BOOLEAN" => DataType::Boolean,
            "TINYINT" | "BYTE" => DataType::Int8,
            "SMALLINT" | "SHORT" => DataType::Int16,
            "INT" | "INTEGER" => DataType::Int32,
            "BIGINT" | "LONG" => DataType::Int64,
            "FLOAT" | "REAL" => DataType::Float32,
            "DOUBLE" => DataType::Float64,
            "DATE" => DataType::Date32,
            "TIMESTAMP" | "TIMESTAMP_LTZ" => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            "TIMESTAMP_NTZ" => DataType::Timestamp(TimeUnit::Microsecond, None),
            "STRING" => DataType::Utf8,
            "BINARY" => DataType::Binary,
            "VOID" => DataType::Null,
            "DECIMAL" | "DEC" | "NUMERIC" => self.decimal_type(span)?,
            "ARRAY" => {
                self.expect_symbol("<")?;
                let item = self.data_type()?;
                self.close_angle()?;
                DataType::List(Arc::new(ArrowField::new("element", item, true)))
            }
            "MAP" => {
                self.expect_symbol("<")?;
                let key = self.data_type()?;
                self.expect_symbol(",")?;
                let value = self.data_type()?;
                self.close_angle()?;
                crate::types::map_of(key, value)
            }
            "STRUCT" => self.struct_type()?,
            "CHAR" | "CHARACTER" | "VARCHAR" | "INTERVAL" | "VARIANT" => {
                return Err(SqlError::unsupported(format!("the type {name} is not answered natively"), span)
                    .help("STRING holds texts of every length"));
            }
            _ => {
                let known = "BOOLEAN, TINYINT, SMALLINT, INT, BIGINT, FLOAT, DOUBLE, DECIMAL, STRING, BINARY, DATE, \
                             TIMESTAMP, ARRAY, MAP and STRUCT";
                return Err(SqlError::invalid(format!("`{name}` is no type"), span)
                    .help(format!("types are {known}")));
            }
        })
    }

    fn decimal_type(&mut self, span: Range<usize>) -> Parsed<DataType> {
        let (mut precision, mut scale) = (10, 0);
        if self.symbol("(") {
            precision = self.count()?;
            if self.symbol(",") {
                scale = self.count()?;
            }
            self.expect_symbol(")")?;
        }
        if precision == 0 || precision > 38 || scale > precision {
            let message = format!(
                "DECIMAL({precision},{scale}) does not exist: at most 38 digits, of which {scale} behind the point"
            );
            return Err(SqlError::invalid(message, span));
        }
        Ok(DataType::Decimal128(precision as u8, scale as i8))
    }

    /// Closes one `<`, where the lexer may have read `>>` or `>>>`.
    fn close_angle(&mut self) -> Parsed<()> {
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

    fn struct_type(&mut self) -> Parsed<DataType> {
        let mut fields = Vec::new();
        // `<>` is how the lexer reads a struct without fields.
        if !self.symbol("<>") {
            self.expect_symbol("<")?;
            while !self.is_symbol(0, ">") {
                let field = self.field()?;
                fields.push(ArrowField::new(field.name, field.kind, field.nullable));
                if !self.symbol(",") {
                    break;
                }
            }
            self.close_angle()?;
        }
        Ok(DataType::Struct(Fields::from(fields)))
    }

    fn field(&mut self) -> Parsed<Field> {
        let name = self.name()?;
        self.symbol(":");
        let kind = self.data_type()?;
        let nullable = !self.word("NOT");
        if !nullable {
            self.expect_word("NULL")?;
        }
        if self.word("COMMENT") {
            match self.peek() {
                Token::String(_) => self.advance(),
                _ => return self.expected("a text behind COMMENT"),
            }
        }
        Ok(Field { name, kind, nullable })
    }
}

fn binary(operator: Binary, left: Expr, right: Expr) -> Expr {
    let span = left.span.start..right.span.end;
    Expr { kind: Kind::Binary(operator, Box::new(left), Box::new(right)), span }
}

/// A number with its suffix: INT where it fits, else BIGINT, else DECIMAL; a fraction is a
/// DECIMAL, an exponent makes a DOUBLE.
fn number_literal(text: &str, span: Range<usize>) -> Parsed<Literal> {
    let upper = text.to_ascii_uppercase();
    let out_of_range = || SqlError::invalid(format!("{text} is out of its type's range"), span.clone());
    let is_hexadecimal_like = upper.contains('E');
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
        "D" => Literal::Double(digits.parse().ok().filter(|n: &f64| n.is_finite()).ok_or_else(out_of_range)?),
        "F" => Literal::Float(digits.parse().ok().filter(|n: &f32| n.is_finite()).ok_or_else(out_of_range)?),
        _ if is_hexadecimal_like => {
            Literal::Double(digits.parse().ok().filter(|n: &f64| n.is_finite()).ok_or_else(out_of_range)?)
        }
        _ => match (digits.parse::<i32>(), digits.parse::<i64>()) {
            (Ok(number), _) => Literal::Int(number),
            (_, Ok(number)) => Literal::Bigint(number),
            _ => decimal(digits).ok_or_else(out_of_range)?,
        },
    })
}

/// The DECIMAL with just the digits that are written.
fn decimal(text: &str) -> Option<Literal> {
    let (mantissa, exponent) = match text.split_once('E') {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let unscaled: i128 = format!("{whole}{fraction}").parse().ok()?;
    let mut scale = i32::try_from(fraction.len()).ok()? - exponent;
    let mut unscaled = unscaled;
    while scale < 0 {
        unscaled = unscaled.checked_mul(10)?;
        scale += 1;
    }
    let digits = unscaled.unsigned_abs().checked_ilog10().map_or(1, |log| log as i32 + 1);
    let precision = digits.max(scale);
    (precision <= 38).then_some(Literal::Decimal { unscaled, precision: precision as u8, scale: scale as i8 })
}
