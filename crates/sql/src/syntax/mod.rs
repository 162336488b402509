//! Spark's grammar for queries: text to tree, each node with its place in the text.
//! It knows neither types nor functions; what the dialect leaves out it refuses by name.
//!
//! A parser of our own because precedence and literals must be Spark's to the letter:
//! `a DIV b * c`, `'a\tb'`, `1e3`, `2L`, `NOT a = b IS NULL`.
//! Source: Spark's `SqlBaseParser.g4` and `SqlBaseLexer.g4`, 3.5 and 4.0.

mod ast;
mod cursor;
mod interval;
mod lexer;
mod parser;
mod queries;
mod types;
mod values;

pub(crate) use ast::{
    Binary, CastKind, Direction, Expr, Interval, Item, Kind, Literal, Nulls, Order, Predicate, Query,
    Relation, Select, Unary,
};
pub use parser::has_text_keys;
pub(crate) use parser::{parse_data_type, parse_fields, parse_query};

#[cfg(test)]
mod tests;
