//! Mathematics on numbers. What Spark computes with `StrictMath` is in `fdlibm`.
//! Source: Spark's `mathExpressions`, `bitwiseExpressions` and `NumberConverter`.

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::datatypes::{DataType, Int8Type, Int16Type, Int32Type, Int64Type};
use datafusion::common::ScalarValue;
use std::sync::Arc;

use super::rows::{Double, Int, Long, rows2};
use super::{Call, fdlibm};
use crate::bind::coerce::{self, is_integer, is_numeric};
use crate::bind::{self, Bind};
use crate::operation::{Bound, on_arrays};
use crate::syntax::{Binary, Unary};

fn real(call: Call, compute: fn(f64) -> f64) -> Bind {
    call.one::<Double, Double>(move |x| Some(compute(x)))
}

macro_rules! reals {
    ($($name:ident => $compute:expr;)*) => {
        $(pub(super) fn $name(call: Call) -> Bind {
            real(call, $compute)
        })*
    };
}

reals! {
    acos => libm::acos;
    acosh => fdlibm::acosh;
    asin => libm::asin;
    asinh => fdlibm::asinh;
    atan => libm::atan;
    atanh => |x| 0.5 * (fdlibm::log1p(x) - fdlibm::log1p(-x));
    cbrt => fdlibm::cbrt;
    cosh => fdlibm::cosh;
    degrees => |x| x * 57.295_779_513_082_32;
    exp => fdlibm::exp;
    expm1 => fdlibm::expm1;
    radians => |x| x * 0.017_453_292_519_943_295;
    rint => f64::round_ties_even;
    sinh => fdlibm::sinh;
    sqrt => f64::sqrt;
    tanh => fdlibm::tanh;
    signum => |x| if x == 0.0 || x.is_nan() { x } else { x.signum() };
}

/// Logarithms are null where there is none.
fn logarithm(call: Call, above: f64, compute: fn(f64) -> f64) -> Bind {
    call.one::<Double, Double>(move |x| (x.is_nan() || x > above).then(|| compute(x)))
}

pub(super) fn ln(call: Call) -> Bind {
    logarithm(call, 0.0, fdlibm::log)
}

pub(super) fn log10(call: Call) -> Bind {
    logarithm(call, 0.0, fdlibm::log10)
}

pub(super) fn log2(call: Call) -> Bind {
    logarithm(call, 0.0, |x| fdlibm::log(x) / fdlibm::log(2.0))
}

pub(super) fn log1p(call: Call) -> Bind {
    logarithm(call, -1.0, fdlibm::log1p)
}

/// `log(base, number)`, or the natural logarithm.
pub(super) fn log(call: Call) -> Bind {
    if call.args.len() == 1 {
        return ln(call);
    }
    call.two::<Double, Double, Double>(|base, x| {
        let has_one = !(base <= 0.0 || x <= 0.0);
        has_one.then(|| fdlibm::log(x) / fdlibm::log(base))
    })
}

pub(super) fn pow(call: Call) -> Bind {
    call.two::<Double, Double, Double>(|x, y| Some(fdlibm::pow(x, y)))
}

pub(super) fn atan2(call: Call) -> Bind {
    // A zero's sign does not count.
    call.two::<Double, Double, Double>(|y, x| Some(fdlibm::atan2(y + 0.0, x + 0.0)))
}

pub(super) fn hypot(call: Call) -> Bind {
    call.two::<Double, Double, Double>(|x, y| Some(fdlibm::hypot(x, y)))
}

pub(super) fn e(call: Call) -> Bind {
    call.arity(0..=0)?;
    Ok(Bound::literal(ScalarValue::Float64(Some(std::f64::consts::E))))
}

pub(super) fn pi(call: Call) -> Bind {
    call.arity(0..=0)?;
    Ok(Bound::literal(ScalarValue::Float64(Some(std::f64::consts::PI))))
}

pub(super) fn factorial(call: Call) -> Bind {
    call.one::<Int, Long>(|n| (0..=20).contains(&n).then(|| (1..=i64::from(n)).product()))
}

/// The second where the first is NaN; both as floating-point numbers.
pub(super) fn nanvl(mut call: Call) -> Bind {
    call.arity(2..=2)?;
    if call.args.iter().all(|arg| arg.kind == DataType::Float32) {
        return Err(call.refuse());
    }
    call.cast(0, &DataType::Float64)?;
    call.cast(1, &DataType::Float64)?;
    let kernel = on_arrays(|args| {
        let (value, other) = (&args[0], &args[1]);
        let pick = |row: usize| {
            let value = value
                .is_valid(row)
                .then(|| value.as_primitive::<arrow::datatypes::Float64Type>().value(row))?;
            if !value.is_nan() {
                return Some(value);
            }
            other.is_valid(row).then(|| other.as_primitive::<arrow::datatypes::Float64Type>().value(row))
        };
        Ok(Arc::new((0..value.len()).map(pick).collect::<arrow::array::Float64Array>()) as ArrayRef)
    });
    call.apply(DataType::Float64, kernel)
}

pub(super) fn is_nan(mut call: Call) -> Bind {
    call.arity(1..=1)?;
    call.cast(0, &DataType::Float64)?;
    // Null is not NaN, and the answer is never null.
    let kernel = on_arrays(|args| {
        let values = args[0].as_primitive::<arrow::datatypes::Float64Type>();
        Ok(Arc::new(values.iter().map(|x| Some(x.is_some_and(f64::is_nan))).collect::<BooleanArray>())
            as ArrayRef)
    });
    call.apply(DataType::Boolean, kernel)
}

/// Absolute value; the smallest whole number stays as it is.
pub(super) fn abs(mut call: Call) -> Bind {
    call.arity(1..=1)?;
    if call.args[0].kind == DataType::Utf8 || call.args[0].kind == DataType::Null {
        call.cast(0, &DataType::Float64)?;
    }
    let kind = call.args[0].kind.clone();
    if !is_numeric(&kind) {
        return Err(call.refuse());
    }
    let kernel = on_arrays(|args| {
        use arrow::compute::unary;
        use arrow::datatypes::{Decimal128Type, Float32Type, Float64Type};
        let array = &args[0];
        Ok(match array.data_type() {
            DataType::Int8 => {
                Arc::new(unary::<Int8Type, _, Int8Type>(array.as_primitive(), i8::wrapping_abs)) as ArrayRef
            }
            DataType::Int16 => {
                Arc::new(unary::<Int16Type, _, Int16Type>(array.as_primitive(), i16::wrapping_abs))
            }
            DataType::Int32 => {
                Arc::new(unary::<Int32Type, _, Int32Type>(array.as_primitive(), i32::wrapping_abs))
            }
            DataType::Int64 => {
                Arc::new(unary::<Int64Type, _, Int64Type>(array.as_primitive(), i64::wrapping_abs))
            }
            DataType::Float32 => {
                Arc::new(unary::<Float32Type, _, Float32Type>(array.as_primitive(), f32::abs))
            }
            DataType::Float64 => {
                Arc::new(unary::<Float64Type, _, Float64Type>(array.as_primitive(), f64::abs))
            }
            _ => Arc::new(
                arrow::compute::try_unary::<Decimal128Type, _, Decimal128Type>(array.as_primitive(), |n| {
                    if n < 0 { super::decimal::negate(n) } else { Ok(n) }
                })?
                .with_data_type(array.data_type().clone()),
            ),
        })
    });
    call.apply(kind, kernel)
}

pub(super) fn negative(mut call: Call) -> Bind {
    call.arity(1..=1)?;
    bind::unary(Unary::Minus, call.args.remove(0), call.span)
}

pub(super) fn positive(mut call: Call) -> Bind {
    call.arity(1..=1)?;
    bind::unary(Unary::Plus, call.args.remove(0), call.span)
}

fn operator(mut call: Call, operator: Binary) -> Bind {
    call.arity(2..=2)?;
    let right = call.args.remove(1);
    bind::binary(operator, call.args.remove(0), right, call.span)
}

pub(super) fn modulo(call: Call) -> Bind {
    operator(call, Binary::Modulo)
}

/// The remainder that is never negative where the divisor is positive: `((a % n) + n) % n` where
/// `a % n` is negative.
pub(super) fn pmod(mut call: Call) -> Bind {
    call.arity(2..=2)?;
    let (n, span) = (call.args.remove(1), call.span);
    let kinds = [&call.args[0].kind, &n.kind];
    let is_exact = |kind: &&DataType| is_integer(kind) || matches!(kind, DataType::Decimal128(..));
    if kinds.iter().all(is_exact) && !kinds.iter().all(|kind| is_integer(kind)) {
        return bind::decimal_pmod(call.args.remove(0), n, &span);
    }
    let rest = bind::binary(Binary::Modulo, call.args.remove(0), n.clone(), span.clone())?;
    let kind = rest.kind.clone();
    let n = coerce::to(n, &kind, &span)?;
    let zero = coerce::to(Bound::literal(ScalarValue::Int32(Some(0))), &kind, &span)?;
    let negative = bind::binary(Binary::Less, rest.clone(), zero, span.clone())?;
    // Java adds bytes and shorts as ints.
    let is_short = matches!(kind, DataType::Int8 | DataType::Int16);
    let n = if is_short { coerce::to(n, &DataType::Int32, &span)? } else { n };
    let raised = bind::binary(Binary::Add, rest.clone(), n.clone(), span.clone())?;
    let raised = bind::binary(Binary::Modulo, raised, n, span.clone())?;
    let raised = coerce::to(raised, &kind, &span)?;
    Ok(bind::case(vec![negative], vec![raised, rest], &kind))
}

/// Arithmetic that gives null where it overflows.
fn try_arithmetic(mut call: Call, binary: Binary) -> Bind {
    call.arity(2..=2)?;
    let (left, right) = (call.args[0].clone(), call.args[1].clone());
    let kind = coerce::wider(&left.kind, &right.kind, false).filter(is_integer);
    let Some(kind) = kind else { return operator(call, binary) };
    let kind = if kind == DataType::Null { DataType::Int32 } else { kind };
    call.cast(0, &kind)?;
    call.cast(1, &kind)?;
    let wide: Vec<Bound> =
        call.args.iter().map(|arg| crate::cast::widened(arg.clone(), &call.span)).collect::<Bind<_>>()?;
    let (min, max) = match kind {
        DataType::Int8 => (i8::MIN.into(), i8::MAX.into()),
        DataType::Int16 => (i16::MIN.into(), i16::MAX.into()),
        DataType::Int32 => (i32::MIN.into(), i32::MAX.into()),
        _ => (i64::MIN, i64::MAX),
    };
    let kernel = rows2::<Long, Long, Long>(move |a, b| {
        let result = match binary {
            Binary::Add => a.checked_add(b),
            Binary::Subtract => a.checked_sub(b),
            Binary::Multiply => a.checked_mul(b),
            _ if b == 0 => None,
            _ => Some(a.wrapping_rem(b)),
        };
        result.filter(|result| (min..=max).contains(result))
    });
    let span = call.span.clone();
    let name = format!("{} {kind}", call.name);
    let result = Call { args: wide, ..call }.apply_as(name, DataType::Int64, kernel)?;
    coerce::to(result, &kind, &span)
}

pub(super) fn try_add(call: Call) -> Bind {
    try_arithmetic(call, Binary::Add)
}

pub(super) fn try_subtract(call: Call) -> Bind {
    try_arithmetic(call, Binary::Subtract)
}

pub(super) fn try_multiply(call: Call) -> Bind {
    try_arithmetic(call, Binary::Multiply)
}

pub(super) fn try_mod(call: Call) -> Bind {
    try_arithmetic(call, Binary::Modulo)
}

pub(super) fn try_divide(call: Call) -> Bind {
    operator(call, Binary::Divide)
}

pub(super) fn width_bucket(mut call: Call) -> Bind {
    call.arity(4..=4)?;
    for at in 0..3 {
        call.cast(at, &DataType::Float64)?;
    }
    call.cast(3, &DataType::Int64)?;
    let kernel = on_arrays(|args| {
        use arrow::datatypes::Float64Type;
        let number = |at: usize, row: usize| {
            args[at].is_valid(row).then(|| args[at].as_primitive::<Float64Type>().value(row))
        };
        let count = args[3].as_primitive::<Int64Type>();
        let cells = (0..args[0].len()).map(|row| {
            let (value, min, max) = (number(0, row)?, number(1, row)?, number(2, row)?);
            let count = count.is_valid(row).then(|| count.value(row))?;
            bucket(value, min, max, count)
        });
        Ok(Arc::new(cells.collect::<arrow::array::Int64Array>()) as ArrayRef)
    });
    call.apply(DataType::Int64, kernel)
}

fn bucket(value: f64, min: f64, max: f64, count: i64) -> Option<i64> {
    let impossible = count <= 0
        || count == i64::MAX
        || value.is_nan()
        || min == max
        || !min.is_finite()
        || !max.is_finite();
    if impossible {
        return None;
    }
    let (lower, upper) = (min.min(max), min.max(max));
    Some(if min < max {
        if value < lower {
            0
        } else if value >= upper {
            count + 1
        } else {
            ((count as f64 * (value - lower) / (upper - lower)) as i64).wrapping_add(1)
        }
    } else if value > upper {
        0
    } else if value <= lower {
        count + 1
    } else {
        ((count as f64 * (upper - value) / (upper - lower)) as i64).wrapping_add(1)
    })
}
