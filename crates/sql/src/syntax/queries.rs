//! SELECT and what stands around it.

use super::ast::{Direction, Expr, Item, Kind, Nulls, Order, Query, Relation, Select};
use super::cursor::{Cursor, Parsed};
use super::lexer::Token;
use crate::error::SqlError;

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

impl Cursor {
    pub(super) fn query(&mut self) -> Parsed<Query> {
        self.nested(Self::query_inner)
    }

    pub(super) fn query_inner(&mut self) -> Parsed<Query> {
        let mut with = Vec::new();
        if self.word("WITH") {
            loop {
                let name = self.name()?;
                if self.is_symbol(0, "(") {
                    return self.unsupported("a list of columns behind a WITH name");
                }
                if with.iter().any(|(known, _): &(String, Query)| known.eq_ignore_ascii_case(&name)) {
                    let message = format!("WITH has two queries of the name `{name}`");
                    return Err(SqlError::invalid(message, self.span()));
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
        if limit.unwrap_or(0) + offset.unwrap_or(0) > i32::MAX as u64 {
            return self.unsupported("so many rows");
        }
        Ok(Query { with, select, order_by, limit, offset })
    }

    pub(super) fn count(&mut self) -> Parsed<u64> {
        if let Token::Number(number) = self.peek()
            && let Ok(count) = number.parse::<i32>()
        {
            self.advance();
            return Ok(count as u64);
        }
        self.expected("a whole number")
    }

    pub(super) fn order(&mut self) -> Parsed<Order> {
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

    pub(super) fn select(&mut self) -> Parsed<Select> {
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
        let (filter, filter_span) = if self.word("WHERE") {
            let start = self.span().start;
            (Some(self.expr()?), self.since(start))
        } else {
            (None, 0..0)
        };
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
        let span = self.since(start);
        Ok(Select { distinct, items_start, items, from, filter, filter_span, group_by, having, span })
    }

    pub(super) fn item(&mut self) -> Parsed<Item> {
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

    pub(super) fn star_item(&mut self, expr: Expr) -> Parsed<Item> {
        if self.is_word(0, "EXCEPT") {
            return self.unsupported("* EXCEPT (…)");
        }
        Ok(Item { expr, alias: None })
    }

    pub(super) fn implicit_alias(&mut self) -> Parsed<Option<String>> {
        let is_alias = match self.peek() {
            Token::Quoted(_) => true,
            Token::Word(word) => !NO_ALIAS.iter().any(|no| no.eq_ignore_ascii_case(word)),
            _ => false,
        };
        if is_alias { self.name().map(Some) } else { Ok(None) }
    }

    pub(super) fn relation(&mut self) -> Parsed<Relation> {
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
}
