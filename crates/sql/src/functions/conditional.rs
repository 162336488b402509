//! Choosing among values, and asking for null.

use std::ops::Range;

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Expr;

use super::Call;
use crate::bind::{self, Bind, coerce};
use crate::operation::Bound;

fn not_null(value: &Bound) -> Bound {
    Bound::new(Expr::IsNotNull(Box::new(value.expr.clone())), DataType::Boolean)
}

/// The first that is not null.
pub(super) fn coalesce(call: Call) -> Bind {
    call.arity(1..=usize::MAX)?;
    first_not_null(call.args, call.span)
}

fn first_not_null(values: Vec<Bound>, span: Range<usize>) -> Bind {
    let (kind, mut values) = coerce::all_alike(values, span)?;
    let conditions = values[..values.len() - 1].iter().map(not_null).collect();
    if values.len() == 1 {
        return Ok(values.remove(0));
    }
    Ok(bind::case(conditions, values, &kind))
}

pub(super) fn nvl(call: Call) -> Bind {
    call.arity(2..=2)?;
    first_not_null(call.args, call.span)
}

/// The second where the first is not null, else the third.
pub(super) fn nvl2(mut call: Call) -> Bind {
    call.arity(3..=3)?;
    let asked = call.args.remove(0);
    let (kind, values) = coerce::all_alike(call.args, call.span)?;
    Ok(bind::case(vec![not_null(&asked)], values, &kind))
}

/// Zero where it is null.
pub(super) fn zeroifnull(mut call: Call) -> Bind {
    call.arity(1..=1)?;
    call.args.push(zero());
    first_not_null(call.args, call.span)
}

/// Null where it is zero.
pub(super) fn nullifzero(mut call: Call) -> Bind {
    call.arity(1..=1)?;
    call.args.push(zero());
    null_if_equal(call)
}

fn zero() -> Bound {
    Bound { is_literal: true, ..Bound::literal(ScalarValue::Int32(Some(0))) }
}

/// Null where both are equal, else the first.
pub(super) fn nullif(call: Call) -> Bind {
    call.arity(2..=2)?;
    null_if_equal(call)
}

fn null_if_equal(mut call: Call) -> Bind {
    let (right, left) = (call.args.pop().expect("two"), call.args.pop().expect("two"));
    let kind = left.kind.clone();
    let equal = bind::equal(left.clone(), right, call.span)?;
    Ok(bind::case(vec![equal], vec![Bound::null(&kind), left], &kind))
}

pub(super) fn r#if(mut call: Call) -> Bind {
    call.arity(3..=3)?;
    let condition = bind::condition(call.args.remove(0), &call.spans[0])?;
    let (kind, values) = coerce::all_alike(call.args, call.span)?;
    Ok(bind::case(vec![condition], values, &kind))
}

pub(super) fn is_null(mut call: Call) -> Bind {
    call.arity(1..=1)?;
    let expr = Expr::IsNull(Box::new(call.args.remove(0).expr));
    Ok(Bound::new(expr, DataType::Boolean))
}

pub(super) fn is_not_null(call: Call) -> Bind {
    call.arity(1..=1)?;
    Ok(not_null(&call.args[0]))
}

/// `NOT` as a function.
pub(super) fn not(mut call: Call) -> Bind {
    call.arity(1..=1)?;
    Ok(bind::not(bind::condition(call.args.remove(0), &call.spans[0])?))
}

pub(super) fn equal_null(mut call: Call) -> Bind {
    call.arity(2..=2)?;
    let (right, left) = (call.args.pop().expect("two"), call.args.pop().expect("two"));
    bind::equal_null_safe(left, right, call.span)
}
