//! How large an expression may become. What a query in FROM computes stands in place of its name wherever that is
//! used, and some functions ask twice for what they are given: a short text can mean more steps than there is
//! memory for. Nothing is shared here by places that compute the same.

use std::cell::Cell;
use std::ops::Range;
use std::rc::Rc;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::Expr;

use super::Bind;
use crate::error::SqlError;
use crate::operation::{Bound, hidden_steps};

/// More steps than any person's query has, counting those of each part again in what it is a part of.
const STEPS_MAX: usize = 500_000;

/// Steps within steps, however many queries they come from; it keeps the stack bounded.
const DEPTH_MAX: usize = 300;

/// How many steps a query may still have. The functions in it take of the same.
#[derive(Debug, Clone)]
pub(super) struct StepsLeft(Rc<Cell<usize>>);

impl Default for StepsLeft {
    fn default() -> Self {
        Self(Rc::new(Cell::new(STEPS_MAX)))
    }
}

impl StepsLeft {
    /// Takes the steps of a value that has been made; refuses it where there are not so many left.
    pub(super) fn take(&self, value: &Bound, span: &Range<usize>) -> Bind<()> {
        let mut left = self.0.get();
        if !is_within(&value.expr, &mut left, DEPTH_MAX) {
            return Err(too_large(span));
        }
        self.0.set(left);
        Ok(())
    }
}

/// Refuses a value that is to be written so many times into one expression, where that becomes too large.
pub(crate) fn check_copies(value: &Bound, times: usize, span: &Range<usize>) -> Bind<()> {
    let mut left = STEPS_MAX / times.max(1);
    if is_within(&value.expr, &mut left, DEPTH_MAX) { Ok(()) } else { Err(too_large(span)) }
}

/// Whether an expression has no more steps than are left, which it takes, and is no deeper than that.
fn is_within(expr: &Expr, left: &mut usize, depth: usize) -> bool {
    let hidden = match expr {
        Expr::ScalarFunction(call) => hidden_steps(&call.func),
        _ => 0,
    };
    let Some(rest) = left.checked_sub(1 + hidden).filter(|_| depth > 0) else { return false };
    *left = rest;
    let mut is_small = true;
    // It cannot fail: every part is seen, until one is too much.
    let _ = expr.apply_children(|part| {
        is_small = is_small && is_within(part, left, depth - 1);
        Ok(if is_small { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    });
    is_small
}

/// How many steps an expression has, with those that its functions hide.
pub(crate) fn steps(expr: &Expr) -> usize {
    let mut left = usize::MAX;
    let _ = is_within(expr, &mut left, usize::MAX);
    usize::MAX - left
}

fn too_large(span: &Range<usize>) -> SqlError {
    let message = format!(
        "this becomes an expression of more than {STEPS_MAX} steps, or of more than {DEPTH_MAX} within each other"
    );
    SqlError::unsupported(message, span.clone())
        .help("what a name of a query in FROM or WITH stands for is computed wherever it is used")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::FlowQuery;
    use crate::types::parse_schema;

    fn refused(sql: &str) -> SqlError {
        let schema = parse_schema("id STRING, n INT, m MAP<STRING, STRING>, a ARRAY<INT>, s STRUCT<x: INT>");
        let planned = FlowQuery::new(sql, &schema.expect("a schema"));
        planned.err().unwrap_or_else(|| panic!("{sql:.100} is answered"))
    }

    /// So many queries, each reading the one before.
    fn chain(queries: usize, items: &str) -> String {
        let mut sql = format!("WITH q0 AS (SELECT {items} FROM input)");
        for at in 1..queries {
            sql.push_str(&format!(", q{at} AS (SELECT {items} FROM q{})", at - 1));
        }
        format!("{sql} SELECT 1 AS one FROM q{}", queries - 1)
    }

    fn nested(times: usize, before: &str, inner: &str, after: &str) -> String {
        format!("SELECT {}{inner}{} AS r FROM input", before.repeat(times), after.repeat(times))
    }

    #[test]
    fn what_would_take_the_memory_is_refused_with_its_place() {
        let doubled = chain(27, "n + n AS n");
        for sql in [
            doubled.clone(),
            chain(60, "*, *"),
            chain(60, "named_struct('a', n, 'b', n) AS n"),
            chain(60, "transform(a, x -> x + n) AS a, n + n AS n"),
            nested(25, "coalesce(", "n", ", 1)"),
            nested(25, "nullif(", "n", ", 1)"),
            nested(25, "pmod(", "n", ", 7)"),
            nested(25, "(CASE ", "n", " WHEN 1 THEN 2 WHEN 2 THEN 3 END)"),
            nested(25, "decode(", "n", ", 1, 2, 2, 3)"),
            nested(25, "if(", "n", " BETWEEN 1 AND 2, 1, 0)"),
            nested(25, "size(transform(a, x -> nvl(", "n", ", x)))"),
        ] {
            let error = refused(&sql);
            assert!(error.message.contains("steps"), "{sql:.100}: {error}");
            assert!(error.span.end > error.span.start && error.span.end <= sql.len(), "{sql:.100}");
        }
        let error = refused(&doubled);
        assert_eq!(&doubled[error.span], "n + n");
    }

    #[test]
    fn an_operand_of_many_branches_is_refused_before_it_is_copied() {
        let pairs = (0..2000).map(|at| format!(" WHEN {at} THEN {at}")).collect::<String>();
        let choices = (0..2000).map(|at| format!(", {at}, {at}")).collect::<String>();
        let items = (0..2000).map(|at| format!("named_struct('x', {at})")).collect::<Vec<_>>().join(", ");
        let large = (0..9).fold("n".to_owned(), |n, _| format!("coalesce({n}, 1)"));
        for sql in [
            format!("SELECT CASE {large} WHEN 1 THEN 1 END + CASE {large}{pairs} END AS r FROM input"),
            format!("SELECT decode({large}{choices}) AS r FROM input"),
            format!("SELECT named_struct('x', {large}) IN ({items}) AS r FROM input"),
        ] {
            assert!(refused(&sql).message.contains("steps"), "{sql:.100}");
        }
    }

    #[test]
    fn queries_do_not_nest_without_end() {
        let error = refused(&chain(1000, "n"));
        assert!(error.message.contains("nested deeper"), "{error}");
        assert!(refused(&chain(100, "n + 1 + 1 + 1 + 1 + 1 + 1 AS n")).message.contains("within each other"));
    }

    #[test]
    fn what_people_write_is_small() {
        let schema = parse_schema("n INT, s STRING").expect("a schema");
        let branches = (0..3000).map(|at| format!(" WHEN s = 'k{at}' THEN {at}")).collect::<String>();
        let values = (0..20_000).map(|at| at.to_string()).collect::<Vec<_>>().join(", ");
        let columns =
            (0..2000).map(|at| format!("coalesce(upper(trim(s)), 'x') AS c{at}")).collect::<Vec<_>>();
        for sql in [
            format!("SELECT CASE{branches} END AS r FROM input"),
            format!("SELECT n FROM input WHERE n IN ({values})"),
            format!("SELECT {} FROM input", columns.join(", ")),
            chain(50, "n + 1 AS n"),
        ] {
            assert!(FlowQuery::new(&sql, &schema).is_ok(), "{sql:.100}");
        }
    }
}
