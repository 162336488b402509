//! What operators do with values of each type: Spark's arithmetic with ANSI off (integers wrap,
//! division by zero and DECIMAL overflow give null) and its comparisons (NaN equals NaN and is
//! greater than any number, 0.0 equals −0.0).

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, ListArray, PrimitiveArray, StructArray,
};
use arrow::compute::{binary as zip_arrays, unary as map_array};
use arrow::datatypes::{
    ArrowNativeTypeOp, DataType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
};
use datafusion::common::{DataFusionError, ScalarValue};
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{BinaryExpr, Expr, Like, Operator};

use super::coerce::{self, bounded_decimal, decimal_of, is_float, is_integer, is_numeric};
use super::{Bind, condition, failed};
use crate::cast;
use crate::error::SqlError;
use crate::functions::{self, Call, decimal};
use crate::operation::{Bound, Kernel, apply, on_arrays};
use crate::syntax::{Binary, Unary};
use crate::types::simple_string;

type Computed = Result<ArrayRef, DataFusionError>;

pub(crate) fn binary(operator: Binary, left: Bound, right: Bound, span: Range<usize>) -> Bind {
    match operator {
        Binary::And => Ok(joined(Operator::And, condition(left, &span)?, condition(right, &span)?)),
        Binary::Or => Ok(joined(Operator::Or, condition(left, &span)?, condition(right, &span)?)),
        Binary::Equal => compare(Operator::Eq, left, right, span),
        Binary::NotEqual => compare(Operator::NotEq, left, right, span),
        Binary::Less => compare(Operator::Lt, left, right, span),
        Binary::LessEqual => compare(Operator::LtEq, left, right, span),
        Binary::Greater => compare(Operator::Gt, left, right, span),
        Binary::GreaterEqual => compare(Operator::GtEq, left, right, span),
        Binary::EqualNullSafe => compare(Operator::IsNotDistinctFrom, left, right, span),
        Binary::Concat => {
            let spans = vec![span.clone(), span.clone()];
            functions::concat(Call::new("concat", vec![left, right], spans, span))
        }
        Binary::BitAnd | Binary::BitOr | Binary::BitXor => bitwise(operator, left, right, span),
        _ => arithmetic(operator, left, right, span),
    }
}

pub(crate) fn unary(operator: Unary, operand: Bound, span: Range<usize>) -> Bind {
    let operand = match operand.kind {
        DataType::Utf8 => coerce::to(operand, &DataType::Float64, &span)?,
        DataType::Null => return Err(no_meaning("an operator on NULL", &[&operand], span)),
        _ => operand,
    };
    let kind = operand.kind.clone();
    match operator {
        Unary::Plus if is_numeric(&kind) => Ok(operand),
        Unary::Minus if is_numeric(&kind) => apply(
            format!("negate {}", simple_string(&kind)),
            kind,
            on_arrays(|args| negate(&args[0])),
            vec![operand],
        )
        .map_err(failed(&span)),
        Unary::BitNot if is_integer(&kind) => {
            let name = format!("bitwise not {}", simple_string(&kind));
            apply(name, kind, on_arrays(|args| bit_not(&args[0])), vec![operand]).map_err(failed(&span))
        }
        _ => Err(no_meaning("this operator", &[&operand], span)),
    }
}

fn no_meaning(what: &str, operands: &[&Bound], span: Range<usize>) -> SqlError {
    let kinds: Vec<_> = operands.iter().map(|operand| simple_string(&operand.kind)).collect();
    SqlError::unsupported(format!("{what} is not answered for {}", kinds.join(" and ")), span)
        .help("CAST to the type you mean")
}

/// `left operator right`, true or false or null.
pub(super) fn joined(operator: Operator, left: Bound, right: Bound) -> Bound {
    let expr = Expr::BinaryExpr(BinaryExpr::new(Box::new(left.expr), operator, Box::new(right.expr)));
    Bound::new(expr, DataType::Boolean)
}

fn compare(operator: Operator, left: Bound, right: Bound, span: Range<usize>) -> Bind {
    let equality = matches!(operator, Operator::Eq | Operator::NotEq | Operator::IsNotDistinctFrom);
    if equality {
        match (&left.kind, &right.kind) {
            (DataType::Boolean, number) if is_numeric(number) => {
                let (left, right) = as_numbers(left, right, &span)?;
                return compare(operator, left, right, span);
            }
            (number, DataType::Boolean) if is_numeric(number) => {
                let (right, left) = as_numbers(right, left, &span)?;
                return compare(operator, left, right, span);
            }
            _ => {}
        }
    } else if let Some(known) = beyond_bigint(operator, &left, &right) {
        return Ok(Bound::literal(ScalarValue::Boolean(Some(known))));
    }
    if !coerce::is_atomic(&left.kind) || !coerce::is_atomic(&right.kind) {
        return compare_nested(operator, left, right, span);
    }
    let (left, right) = match (&left.kind, &right.kind) {
        (DataType::Decimal128(..), whole) if is_integer(whole) => (left, as_decimal(right, &span)?),
        (whole, DataType::Decimal128(..)) if is_integer(whole) => (as_decimal(left, &span)?, right),
        _ => (left, right),
    };
    let Some(kind) = coerce::comparable(&left.kind, &right.kind) else {
        return Err(no_meaning("comparing", &[&left, &right], span));
    };
    if kind == DataType::Null {
        let value = (operator == Operator::IsNotDistinctFrom).then_some(true);
        return Ok(Bound::literal(ScalarValue::Boolean(value)));
    }
    let left = normalised(coerce::to(left, &kind, &span)?, &span)?;
    let right = normalised(coerce::to(right, &kind, &span)?, &span)?;
    Ok(joined(operator, left, right))
}

/// A truth beside a number: true is 1 and false is 0.
fn as_numbers(truth: Bound, number: Bound, span: &Range<usize>) -> Bind<(Bound, Bound)> {
    let is_zero = matches!(number.constant(), Some(ScalarValue::Decimal128(Some(0), ..)));
    let kind = match number.kind {
        _ if is_zero && number.is_literal => DataType::Int32,
        // 1 is none of its numbers, which stops Spark's query.
        DataType::Decimal128(precision, scale) if i32::from(precision) <= i32::from(scale) => {
            return Err(no_meaning("comparing", &[&truth, &number], span.clone()));
        }
        ref kind => kind.clone(),
    };
    Ok((cast::explicit(truth, &kind, span.clone())?, coerce::to(number, &kind, span)?))
}

/// What a whole number is to a DECIMAL that is written out and no BIGINT: Spark says so before it looks at the
/// number, which may be null.
fn beyond_bigint(operator: Operator, left: &Bound, right: &Bound) -> Option<bool> {
    let is_less = matches!(operator, Operator::Lt | Operator::LtEq);
    let is_great = |value: &Bound| match value.constant().filter(|_| value.is_literal) {
        Some(ScalarValue::Decimal128(Some(unscaled), _, scale)) => {
            let unit = 10_i128.pow(scale.unsigned_abs().into());
            let (whole, rest) = (unscaled.div_euclid(unit), unscaled.rem_euclid(unit));
            if whole >= i64::MAX.into() && (whole > i64::MAX.into() || rest > 0) {
                Some(true)
            } else {
                (whole < i64::MIN.into()).then_some(false)
            }
        }
        _ => None,
    };
    match (is_integer(&left.kind), is_integer(&right.kind)) {
        (true, false) => is_great(right).map(|is_great| is_great == is_less),
        (false, true) => is_great(left).map(|is_great| is_great != is_less),
        _ => None,
    }
}

/// Arrays and structs, item by item.
fn compare_nested(operator: Operator, left: Bound, right: Bound, span: Range<usize>) -> Bind {
    let kind = coerce::alike(&left.kind, &right.kind).filter(functions::is_orderable);
    let Some(kind) = kind else { return Err(no_meaning("comparing", &[&left, &right], span)) };
    let left = cast::explicit(left, &kind, span.clone())?;
    let right = cast::explicit(right, &kind, span.clone())?;
    let kernel = on_arrays(move |args| {
        let (left, right) = (&args[0], &args[1]);
        let cells = (0..left.len()).map(|row| {
            let null_safe = operator == Operator::IsNotDistinctFrom;
            if left.is_null(row) || right.is_null(row) {
                return null_safe.then(|| left.is_null(row) && right.is_null(row));
            }
            let order = functions::compare_values(left, row, right, row);
            Some(match operator {
                Operator::Eq | Operator::IsNotDistinctFrom => order.is_eq(),
                Operator::NotEq => order.is_ne(),
                Operator::Lt => order.is_lt(),
                Operator::LtEq => order.is_le(),
                Operator::Gt => order.is_gt(),
                _ => order.is_ge(),
            })
        });
        Ok(Arc::new(cells.collect::<BooleanArray>()))
    });
    let name = format!("{operator} {}", simple_string(&kind));
    apply(name, DataType::Boolean, kernel, vec![left, right]).map_err(failed(&span))
}

/// Arrow orders floating-point numbers by their bits: all NaNs become one and −0.0 becomes 0.0.
pub(crate) fn normalised(value: Bound, span: &Range<usize>) -> Bind {
    if !has_floats(&value.kind) {
        return Ok(value);
    }
    let kind = value.kind.clone();
    let kernel = on_arrays(|args| Ok(with_one_zero(&args[0])));
    apply(format!("normalise {}", simple_string(&kind)), kind, kernel, vec![value]).map_err(failed(span))
}

pub(crate) fn has_floats(kind: &DataType) -> bool {
    match kind {
        DataType::List(item) => has_floats(item.data_type()),
        DataType::Struct(fields) => fields.iter().any(|field| has_floats(field.data_type())),
        kind => is_float(kind),
    }
}

/// The column with one NaN and one zero, also in arrays and structs.
pub(crate) fn with_one_zero(array: &ArrayRef) -> ArrayRef {
    match array.data_type() {
        DataType::Float32 => {
            let map = |n: f32| if n.is_nan() { f32::NAN } else { n + 0.0 };
            Arc::new(map_array::<Float32Type, _, Float32Type>(array.as_primitive(), map))
        }
        DataType::Float64 => {
            let map = |n: f64| if n.is_nan() { f64::NAN } else { n + 0.0 };
            Arc::new(map_array::<Float64Type, _, Float64Type>(array.as_primitive(), map))
        }
        DataType::List(item) => {
            let list = array.as_list::<i32>();
            let items = with_one_zero(list.values());
            Arc::new(ListArray::new(item.clone(), list.offsets().clone(), items, list.nulls().cloned()))
        }
        DataType::Struct(fields) if !fields.is_empty() => {
            let parts = array.as_struct();
            let columns = parts.columns().iter().map(with_one_zero).collect();
            Arc::new(StructArray::new(fields.clone(), columns, parts.nulls().cloned()))
        }
        _ => array.clone(),
    }
}

pub(super) fn is_in(value: Bound, values: Vec<Bound>, span: Range<usize>) -> Bind {
    // Where all types are the same nothing is changed; else all go to one type, over text.
    let all = std::iter::once(value).chain(values).collect();
    let (kind, mut all) = coerce::all_alike(all, span.clone())?;
    if !coerce::is_atomic(&kind) {
        let value = all.remove(0);
        let tests =
            all.into_iter().map(|item| compare_nested(Operator::Eq, value.clone(), item, span.clone()));
        return any(tests.collect::<Bind<Vec<_>>>()?).ok_or_else(|| no_meaning("IN", &[&value], span));
    }
    if kind == DataType::Null {
        return Err(no_meaning("IN", &[&all[0]], span));
    }
    let value = normalised(all.remove(0), &span)?;
    let list = all.into_iter().map(|item| Ok(normalised(item, &span)?.expr)).collect::<Bind<Vec<_>>>()?;
    let expr = Expr::InList(InList::new(Box::new(value.expr), list, false));
    Ok(Bound::new(expr, DataType::Boolean))
}

/// Whether any of these holds; they are parted in the middle, so that many do not become deep.
fn any(mut conditions: Vec<Bound>) -> Option<Bound> {
    if conditions.len() < 2 {
        return conditions.pop();
    }
    let right = conditions.split_off(conditions.len() / 2);
    Some(joined(Operator::Or, any(conditions)?, any(right)?))
}

pub(crate) fn like(
    value: Bound,
    pattern: &Bound,
    escape: Option<char>,
    ignore_case: bool,
    span: Range<usize>,
) -> Bind {
    if pattern.is_null_constant() {
        return Ok(Bound::null(&DataType::Boolean));
    }
    let Some(text) = pattern.constant_text() else {
        return Err(SqlError::unsupported("LIKE with a pattern that is no constant text", span));
    };
    let escape = escape.unwrap_or('\\');
    if escape.len_utf16() > 1 {
        return Err(SqlError::invalid("the escape is one character of the first 65,536", span));
    }
    let text = if ignore_case { text.to_lowercase() } else { text.to_owned() };
    let mut rewritten = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let literal = match c {
            c if c == escape => chars.next().filter(|next| matches!(next, '%' | '_') || *next == escape),
            '%' | '_' => {
                rewritten.push(c);
                continue;
            }
            c => Some(c),
        };
        let Some(literal) = literal else {
            let message = format!("in a LIKE pattern {escape} stands before %, _ or {escape}");
            return Err(SqlError::invalid(message, span));
        };
        if matches!(literal, '%' | '_' | '\\') {
            rewritten.push('\\');
        }
        rewritten.push(literal);
    }
    let mut value = coerce::to(value, &DataType::Utf8, &span)?;
    if ignore_case {
        value = functions::lower(Call::new("lower", vec![value], vec![span.clone()], span))?;
    }
    let pattern = Expr::Literal(ScalarValue::Utf8(Some(rewritten)), None);
    let expr = Expr::Like(Like::new(false, Box::new(value.expr), Box::new(pattern), None, false));
    Ok(Bound::new(expr, DataType::Boolean))
}

fn arithmetic(operator: Binary, left: Bound, right: Bound, span: Range<usize>) -> Bind {
    let is_days = |kind: &DataType| matches!(kind, DataType::Int8 | DataType::Int16 | DataType::Int32);
    match (operator, &left.kind, &right.kind) {
        (Binary::Add, DataType::Date32, days) if is_days(days) => {
            return functions::date_add(Call::new(
                "date_add",
                vec![left, right],
                vec![span.clone(); 2],
                span,
            ));
        }
        (Binary::Add, days, DataType::Date32) if is_days(days) => {
            return functions::date_add(Call::new(
                "date_add",
                vec![right, left],
                vec![span.clone(); 2],
                span,
            ));
        }
        (Binary::Subtract, DataType::Date32, days) if is_days(days) => {
            return functions::date_sub(Call::new(
                "date_sub",
                vec![left, right],
                vec![span.clone(); 2],
                span,
            ));
        }
        (
            Binary::Subtract,
            DataType::Date32 | DataType::Timestamp(..),
            DataType::Date32 | DataType::Timestamp(..),
        ) => {
            let error = SqlError::unsupported("the difference of dates or times is an interval", span);
            return Err(error.help("write datediff(…), or unix_seconds(…) - unix_seconds(…)"));
        }
        _ => {}
    }
    let promoted = |side: Bound| match side.kind {
        DataType::Utf8 if operator != Binary::IntegerDivide => coerce::to(side, &DataType::Float64, &span),
        _ => Ok(side),
    };
    let (left, right) = (promoted(left)?, promoted(right)?);
    let (left, right) = match (&left.kind, &right.kind) {
        // What is divided says which type it is, as long as nobody knows that of the null.
        (DataType::Null, other) if is_numeric(other) && operator == Binary::Divide => {
            (Bound::null(&DataType::Float64), coerce::to(right, &DataType::Float64, &span)?)
        }
        (DataType::Null, other) if is_numeric(other) => (Bound::null(other), right),
        (other, DataType::Null) if is_numeric(other) => {
            let null = Bound::null(other);
            (left, null)
        }
        _ => (left, right),
    };
    if !is_numeric(&left.kind) || !is_numeric(&right.kind) {
        return Err(no_meaning("arithmetic", &[&left, &right], span));
    }
    let has_decimal = [&left, &right].iter().any(|side| matches!(side.kind, DataType::Decimal128(..)));
    let has_float = is_float(&left.kind) || is_float(&right.kind);
    if operator == Binary::IntegerDivide && has_float {
        return Err(no_meaning("DIV", &[&left, &right], span));
    }
    if has_decimal && !has_float {
        let compute = match operator {
            Binary::Add => decimal::add,
            Binary::Subtract => decimal::subtract,
            Binary::Multiply => decimal::multiply,
            Binary::Divide => decimal::divide,
            Binary::IntegerDivide => decimal::divide_whole,
            _ => decimal::modulo,
        };
        return decimal_arithmetic(operator, compute, &format!("{operator:?}"), left, right, &span);
    }
    let common = coerce::wider(&left.kind, &right.kind, false).expect("numbers have a common type");
    let (operands, returns) = match operator {
        Binary::Divide => (DataType::Float64, DataType::Float64),
        Binary::IntegerDivide => (DataType::Int64, DataType::Int64),
        _ => (common.clone(), common),
    };
    let left = coerce::to(left, &operands, &span)?;
    let right = coerce::to(right, &operands, &span)?;
    let name = format!("{operator:?} {}", simple_string(&operands));
    let kernel = on_arrays(move |args| number_arithmetic(operator, &args[0], &args[1]));
    apply(name, returns, kernel, vec![left, right]).map_err(failed(&span))
}

fn number_arithmetic(operator: Binary, left: &ArrayRef, right: &ArrayRef) -> Computed {
    match left.data_type() {
        DataType::Int8 => typed_arithmetic::<Int8Type>(operator, left, right),
        DataType::Int16 => typed_arithmetic::<Int16Type>(operator, left, right),
        DataType::Int32 => typed_arithmetic::<Int32Type>(operator, left, right),
        DataType::Int64 => typed_arithmetic::<Int64Type>(operator, left, right),
        DataType::Float32 => typed_arithmetic::<Float32Type>(operator, left, right),
        _ => typed_arithmetic::<Float64Type>(operator, left, right),
    }
}

fn typed_arithmetic<T>(operator: Binary, left: &ArrayRef, right: &ArrayRef) -> Computed
where
    T: ArrowPrimitiveType,
    T::Native: ArrowNativeTypeOp,
{
    let (left, right) = (left.as_primitive::<T>(), right.as_primitive::<T>());
    let total = |compute: fn(T::Native, T::Native) -> T::Native| -> Computed {
        Ok(Arc::new(zip_arrays::<_, _, _, T>(left, right, compute)?))
    };
    // By zero is null.
    let partial = |compute: fn(T::Native, T::Native) -> T::Native| -> Computed {
        let result: PrimitiveArray<T> = left
            .iter()
            .zip(right.iter())
            .map(|(left, right)| match (left, right) {
                (Some(left), Some(right)) if right.is_ne(T::Native::ZERO) && !is_minus_zero(right) => {
                    Some(compute(left, right))
                }
                _ => None,
            })
            .collect();
        Ok(Arc::new(result))
    };
    match operator {
        Binary::Add => total(|a, b| a.add_wrapping(b)),
        Binary::Subtract => total(|a, b| a.sub_wrapping(b)),
        Binary::Multiply => total(|a, b| a.mul_wrapping(b)),
        Binary::Divide | Binary::IntegerDivide => partial(|a, b| a.div_wrapping(b)),
        _ => partial(|a, b| a.mod_wrapping(b)),
    }
}

/// −0.0, which Arrow orders apart from 0.0.
fn is_minus_zero<N: ArrowNativeTypeOp>(number: N) -> bool {
    number.add_wrapping(N::ZERO).is_eq(N::ZERO)
}

/// `pmod` of numbers one of which is a DECIMAL and none a FLOAT or DOUBLE.
pub(crate) fn decimal_pmod(left: Bound, right: Bound, span: &Range<usize>) -> Bind {
    decimal_arithmetic(Binary::Modulo, decimal::positive_modulo, "pmod", left, right, span)
}

fn decimal_arithmetic(
    operator: Binary,
    compute: decimal::Compute,
    name: &str,
    left: Bound,
    right: Bound,
    span: &Range<usize>,
) -> Bind {
    let (left, right) = (as_decimal(left, span)?, as_decimal(right, span)?);
    let (Some((p1, s1)), Some((p2, s2))) = (decimal_of(&left.kind), decimal_of(&right.kind)) else {
        return Err(no_meaning("arithmetic", &[&left, &right], span.clone()));
    };
    let (p1, s1, p2, s2) = (i32::from(p1), i32::from(s1), i32::from(p2), i32::from(s2));
    let scale = s1.max(s2);
    // Spark's DecimalPrecision: room for every digit, then cut to 38.
    let returns = match operator {
        Binary::Add | Binary::Subtract => bounded_decimal((p1 - s1).max(p2 - s2) + scale + 1, scale),
        Binary::Multiply => bounded_decimal(p1 + p2 + 1, s1 + s2),
        Binary::IntegerDivide => bounded_decimal((p1 - s1 + s2).max(1), 0),
        Binary::Divide => {
            let scale = 6.max(s1 + p2 + 1);
            bounded_decimal(p1 - s1 + s2 + scale, scale)
        }
        _ => bounded_decimal((p1 - s1).min(p2 - s2) + scale, scale),
    };
    let name = format!("{name} {} {}", simple_string(&left.kind), simple_string(&right.kind));
    let kernel = decimal::kernel(compute, returns.clone());
    let result = apply(name, returns, kernel, vec![left, right]).map_err(failed(span))?;
    match operator {
        Binary::IntegerDivide => cast::widened(result, span),
        _ => Ok(result),
    }
}

/// A whole number as the DECIMAL that holds it: one that is written out takes just its own digits, any other,
/// also where it is always the same, and a TINYINT, all that its type may have.
fn as_decimal(value: Bound, span: &Range<usize>) -> Bind {
    if matches!(value.kind, DataType::Decimal128(..)) {
        return Ok(value);
    }
    let digits = match value.constant().filter(|_| value.is_literal) {
        Some(ScalarValue::Int32(Some(number))) => Some(i64::from(*number)),
        Some(ScalarValue::Int64(Some(number))) => Some(*number),
        Some(ScalarValue::Int16(Some(number))) => Some(i64::from(*number)),
        _ => None,
    };
    let precision = match digits {
        Some(number) => number.unsigned_abs().checked_ilog10().map_or(1, |log| log as u8 + 1),
        None => decimal_of(&value.kind).expect("a whole number").0,
    };
    coerce::to(value, &DataType::Decimal128(precision, 0), span)
}

fn bitwise(operator: Binary, left: Bound, right: Bound, span: Range<usize>) -> Bind {
    let kind = coerce::wider(&left.kind, &right.kind, false).filter(is_integer);
    let Some(kind) = kind else { return Err(no_meaning("a bitwise operator", &[&left, &right], span)) };
    // As 64 bits all widths have the same low bits.
    let left = cast::widened(coerce::to(left, &kind, &span)?, &span)?;
    let right = cast::widened(coerce::to(right, &kind, &span)?, &span)?;
    let kernel: Kernel = on_arrays(move |args| {
        let compute = match operator {
            Binary::BitAnd => |a: i64, b: i64| a & b,
            Binary::BitOr => |a: i64, b: i64| a | b,
            _ => |a: i64, b: i64| a ^ b,
        };
        let (left, right) = (args[0].as_primitive::<Int64Type>(), args[1].as_primitive::<Int64Type>());
        Ok(Arc::new(zip_arrays::<_, _, _, Int64Type>(left, right, compute)?))
    });
    let wide =
        apply(format!("{operator:?}"), DataType::Int64, kernel, vec![left, right]).map_err(failed(&span))?;
    coerce::to(wide, &kind, &span)
}

fn negate(array: &ArrayRef) -> Computed {
    fn typed<T>(array: &ArrayRef) -> ArrayRef
    where
        T: ArrowPrimitiveType,
        T::Native: ArrowNativeTypeOp,
    {
        let negated: PrimitiveArray<T> = map_array::<T, _, T>(array.as_primitive(), |n| n.neg_wrapping());
        Arc::new(negated.with_data_type(array.data_type().clone()))
    }
    Ok(match array.data_type() {
        DataType::Int8 => typed::<Int8Type>(array),
        DataType::Int16 => typed::<Int16Type>(array),
        DataType::Int32 => typed::<Int32Type>(array),
        DataType::Int64 => typed::<Int64Type>(array),
        DataType::Float32 => typed::<Float32Type>(array),
        DataType::Float64 => typed::<Float64Type>(array),
        _ => {
            use arrow::datatypes::Decimal128Type;
            let negated = arrow::compute::try_unary::<Decimal128Type, _, Decimal128Type>(
                array.as_primitive(),
                decimal::negate,
            )?;
            Arc::new(negated.with_data_type(array.data_type().clone()))
        }
    })
}

fn bit_not(array: &ArrayRef) -> Computed {
    Ok(match array.data_type() {
        DataType::Int8 => {
            Arc::new(map_array::<Int8Type, _, Int8Type>(array.as_primitive(), |n| !n)) as ArrayRef
        }
        DataType::Int16 => Arc::new(map_array::<Int16Type, _, Int16Type>(array.as_primitive(), |n| !n)),
        DataType::Int32 => Arc::new(map_array::<Int32Type, _, Int32Type>(array.as_primitive(), |n| !n)),
        _ => Arc::new(map_array::<Int64Type, _, Int64Type>(array.as_primitive(), |n| !n)),
    })
}

#[cfg(test)]
mod tests {
    use crate::flow::FlowQuery;
    use crate::types::{parse_schema, simple_string};

    #[test]
    fn only_a_literal_has_its_own_digits_as_a_decimal() {
        let schema = parse_schema("a DECIMAL(10,2)").expect("a schema");
        for (value, expected) in [
            ("a / 60", "decimal(14,6)"),
            ("a / (60)", "decimal(14,6)"),
            ("a / (24 * 60)", "decimal(21,13)"),
            ("a / CAST(3600 AS INT)", "decimal(21,13)"),
            ("a * 5", "decimal(12,2)"),
            ("a * -5", "decimal(12,2)"),
            ("a * -(5)", "decimal(21,2)"),
            ("a * coalesce(5)", "decimal(21,2)"),
            ("a * (2 + 3L)", "decimal(31,2)"),
            ("mod(a, 3)", "decimal(3,2)"),
            ("mod(a, 1 + 2)", "decimal(10,2)"),
        ] {
            let query = FlowQuery::new(&format!("SELECT {value} AS r FROM input"), &schema).expect(value);
            assert_eq!(simple_string(query.schema().field(0).data_type()), expected, "{value}");
        }
        let sql = "WITH c AS (SELECT *, 60 AS k FROM input) SELECT a / k AS r FROM c";
        let query = FlowQuery::new(sql, &schema).expect("plans");
        assert_eq!(simple_string(query.schema().field(0).data_type()), "decimal(21,13)");
    }
}
