//! DECIMAL arithmetic as Spark does it: exact, then rounded half up to the result's type, null
//! where it does not fit or the divisor is zero.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array};
use arrow::datatypes::{DataType, Decimal128Type, i256};
use arrow::error::ArrowError;

use crate::operation::{Kernel, on_arrays};

/// A DECIMAL's digits and how many of them stand behind the point.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Exact {
    unscaled: i256,
    scale: i32,
}

/// A computation, told the scale that the result will have.
pub(crate) type Compute = fn(Exact, Exact, i32) -> Option<Exact>;

/// A division by a number of this many digits first gives so many digits, rounded half up:
/// Spark's `DecimalType.MAX_SCALE + 1`.
const QUOTIENT_SCALE: i32 = 39;

/// `compute` over two DECIMAL columns.
pub(crate) fn kernel(compute: Compute, returns: DataType) -> Kernel {
    let DataType::Decimal128(precision, scale) = returns else {
        unreachable!("DECIMAL arithmetic gives DECIMAL")
    };
    on_arrays(move |args| {
        let (left, right) = (Column::new(&args[0]), Column::new(&args[1]));
        let cells = (0..args[0].len()).map(|row| {
            let result = compute(left.get(row)?, right.get(row)?, scale.into())?;
            fit(result, precision, scale)
        });
        let decimals: Decimal128Array = cells.collect();
        Ok(Arc::new(decimals.with_precision_and_scale(precision, scale)?) as ArrayRef)
    })
}

struct Column<'a> {
    array: &'a Decimal128Array,
    scale: i32,
}

impl<'a> Column<'a> {
    fn new(array: &'a ArrayRef) -> Self {
        let array = array.as_primitive::<Decimal128Type>();
        Self { array, scale: array.scale().into() }
    }

    fn get(&self, row: usize) -> Option<Exact> {
        self.array
            .is_valid(row)
            .then(|| Exact { unscaled: i256::from_i128(self.array.value(row)), scale: self.scale })
    }
}

pub(crate) fn add(left: Exact, right: Exact, _: i32) -> Option<Exact> {
    let scale = left.scale.max(right.scale);
    if let (Some(a), Some(b)) = (small_at_scale(left, scale), small_at_scale(right, scale))
        && let Some(sum) = a.checked_add(b)
    {
        return Some(Exact { unscaled: i256::from_i128(sum), scale });
    }
    let unscaled = at_scale(left, scale)?.checked_add(at_scale(right, scale)?)?;
    Some(Exact { unscaled, scale })
}

pub(crate) fn subtract(left: Exact, right: Exact, scale: i32) -> Option<Exact> {
    add(left, Exact { unscaled: right.unscaled.checked_neg()?, ..right }, scale)
}

pub(crate) fn multiply(left: Exact, right: Exact, _: i32) -> Option<Exact> {
    Some(Exact { unscaled: left.unscaled.checked_mul(right.unscaled)?, scale: left.scale + right.scale })
}

pub(crate) fn modulo(left: Exact, right: Exact, _: i32) -> Option<Exact> {
    let scale = left.scale.max(right.scale);
    if let (Some(a), Some(b)) = (small_at_scale(left, scale), small_at_scale(right, scale)) {
        return Some(Exact { unscaled: i256::from_i128(a.checked_rem(b)?), scale });
    }
    Some(Exact { unscaled: at_scale(left, scale)?.checked_rem(at_scale(right, scale)?)?, scale })
}

/// The remainder that has the divisor's sign, or none.
pub(crate) fn positive_modulo(left: Exact, right: Exact, scale: i32) -> Option<Exact> {
    let rest = modulo(left, right, scale)?;
    if rest.unscaled < i256::ZERO { modulo(add(rest, right, scale)?, right, scale) } else { Some(rest) }
}

/// The negative of a number's digits. Spark computes it with Scala's decimals, which round to 34 digits
/// (half even), and beyond 38 digits its query stops.
pub(crate) fn negate(unscaled: i128) -> Result<i128, ArrowError> {
    const DIGITS: u32 = 34;
    const TOO_LARGE: u128 = 10_u128.pow(38);
    let size = unscaled.unsigned_abs();
    let surplus = size.checked_ilog10().map_or(0, |log| (log + 1).saturating_sub(DIGITS));
    let unit = 10_u128.pow(surplus);
    let (kept, rest) = (size / unit, size % unit * 2);
    let up = rest > unit || (rest == unit && unit > 1 && kept % 2 == 1);
    let size = (kept + u128::from(up)) * unit;
    if size >= TOO_LARGE {
        return Err(ArrowError::ComputeError(format!("-({unscaled}) has more than 38 digits when rounded")));
    }
    let size = i128::try_from(size).unwrap_or(i128::MAX);
    Ok(if unscaled < 0 { size } else { -size })
}

/// What is behind the point is cut off.
pub(crate) fn divide_whole(left: Exact, right: Exact, _: i32) -> Option<Exact> {
    let scale = left.scale.max(right.scale);
    let divisor = at_scale(right, scale)?;
    Some(Exact { unscaled: at_scale(left, scale)?.checked_div(divisor)?, scale: 0 })
}

/// Digit by digit, so that nothing overflows on the way to 39 digits behind the point.
pub(crate) fn divide(left: Exact, right: Exact, scale: i32) -> Option<Exact> {
    if right.unscaled == i256::ZERO {
        return None;
    }
    let negative = (left.unscaled < i256::ZERO) != (right.unscaled < i256::ZERO);
    let (dividend, divisor) = (left.unscaled.checked_abs()?, right.unscaled.checked_abs()?);
    let natural = left.scale - right.scale;
    if let Some(quotient) = divide_small(dividend, divisor, scale - natural, QUOTIENT_SCALE - scale) {
        let quotient = if negative { -quotient } else { quotient };
        return Some(Exact { unscaled: i256::from_i128(quotient), scale });
    }
    let ten = i256::from_i128(10);
    let (mut quotient, mut rest) = (dividend.checked_div(divisor)?, dividend.checked_rem(divisor)?);
    // `quotient` is the result at this scale.
    let mut at = natural;
    while at < scale {
        let next = rest.checked_mul(ten)?;
        quotient = quotient.checked_mul(ten)?.checked_add(next.checked_div(divisor)?)?;
        rest = next.checked_rem(divisor)?;
        at += 1;
    }
    // Spark rounds twice: at 39 digits, then at the result's scale. The digits in between:
    let mut tail = Vec::new();
    while at < QUOTIENT_SCALE {
        let next = rest.checked_mul(ten)?;
        tail.push(next.checked_div(divisor)?.as_i128() as u8);
        rest = next.checked_rem(divisor)?;
        at += 1;
    }
    let mut carry = rest.checked_mul(i256::from_i128(2))? >= divisor;
    for digit in tail.iter_mut().rev() {
        if !carry {
            break;
        }
        *digit = (*digit + 1) % 10;
        carry = *digit == 0;
    }
    let up = carry || tail.first().is_some_and(|digit| *digit >= 5);
    if up {
        quotient = quotient.checked_add(i256::ONE)?;
    }
    let unscaled = if negative { quotient.checked_neg()? } else { quotient };
    Some(Exact { unscaled, scale: scale.max(natural) })
}

/// What [`divide`] gives, eighteen digits at a time, where the divisor has no more: `digits` behind those
/// that are there, rounded by the `tail` digits that follow.
fn divide_small(dividend: i256, divisor: i256, digits: i32, tail: i32) -> Option<i128> {
    const STEP: u32 = 18;
    const STEP_MAX: u128 = 10_u128.pow(STEP);
    let (dividend, divisor) = (dividend.to_i128()?.unsigned_abs(), divisor.to_i128()?.unsigned_abs());
    let (digits, tail) = (u32::try_from(digits).ok()?, u32::try_from(tail).ok()?);
    if divisor >= STEP_MAX {
        return None;
    }
    let mut rest = dividend % divisor;
    let mut longer = |number: u128, digits: u32| {
        let mut number = number;
        let mut left = digits;
        while left > 0 {
            let unit = 10_u128.pow(left.min(STEP));
            let next = rest * unit;
            number = number.checked_mul(unit)?.checked_add(next / divisor)?;
            rest = next % divisor;
            left -= left.min(STEP);
        }
        Some(number)
    };
    let quotient = longer(dividend / divisor, digits)?;
    let behind = longer(0, tail)? + u128::from(rest * 2 >= divisor);
    let half = if tail == 0 { 1 } else { 10_u128.pow(tail - 1).checked_mul(5)? };
    i128::try_from(quotient.checked_add(u128::from(behind >= half))?).ok()
}

/// As [`at_scale`], where it takes no more than 38 digits.
fn small_at_scale(number: Exact, scale: i32) -> Option<i128> {
    let unit = 10_i128.checked_pow(u32::try_from(scale - number.scale).ok()?)?;
    number.unscaled.to_i128()?.checked_mul(unit)
}

fn power_of_ten(exponent: i32) -> Option<i256> {
    i256::from_i128(10).checked_pow(u32::try_from(exponent).ok()?)
}

fn at_scale(number: Exact, scale: i32) -> Option<i256> {
    number.unscaled.checked_mul(power_of_ten(scale - number.scale)?)
}

/// Rounds half up to `scale`; `None` where more than `precision` digits would be needed.
fn fit(number: Exact, precision: u8, scale: i8) -> Option<i128> {
    if let Some(unscaled) = fit_small(number, scale.into()) {
        return (unscaled.unsigned_abs() < 10_u128.pow(precision.into())).then_some(unscaled);
    }
    let unscaled = if number.scale <= scale.into() {
        at_scale(number, scale.into())?
    } else {
        let divisor = power_of_ten(number.scale - i32::from(scale))?;
        let (whole, rest) = (number.unscaled.checked_div(divisor)?, number.unscaled.checked_rem(divisor)?);
        let half_or_more = rest.checked_abs()?.checked_mul(i256::from_i128(2))? >= divisor;
        let away = if number.unscaled < i256::ZERO { i256::MINUS_ONE } else { i256::ONE };
        if half_or_more { whole.checked_add(away)? } else { whole }
    };
    let limit = power_of_ten(precision.into())?;
    (unscaled.checked_abs()? < limit).then(|| unscaled.as_i128())
}

/// Rounds half up to `scale`, where it takes no more than 38 digits.
fn fit_small(number: Exact, scale: i32) -> Option<i128> {
    if number.scale <= scale {
        return small_at_scale(number, scale);
    }
    let divisor = 10_i128.checked_pow(u32::try_from(number.scale - scale).ok()?)?;
    let unscaled = number.unscaled.to_i128()?;
    let (whole, rest) = (unscaled / divisor, unscaled % divisor);
    let half_or_more = rest.unsigned_abs() * 2 >= divisor.unsigned_abs();
    Some(if half_or_more { whole + unscaled.signum() } else { whole })
}

/// A DECIMAL in another precision and scale.
pub(crate) fn rescale(unscaled: i128, from: i8, precision: u8, scale: i8) -> Option<i128> {
    fit(Exact { unscaled: i256::from_i128(unscaled), scale: from.into() }, precision, scale)
}

/// The number `digits × 10^exponent` as a DECIMAL; `digits` may be any number of them.
pub(crate) fn rescale_parts(digits: &str, exponent: i64, precision: u8, scale: i8) -> Option<i128> {
    let (sign, digits) = match digits.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, digits),
    };
    let digits = digits.trim_start_matches('0');
    // How many of the digits, or zeros behind them, are left of the result's last place.
    let kept = i64::try_from(digits.len()).ok()? + exponent + i64::from(scale);
    if digits.is_empty() || kept < 0 {
        return Some(0);
    }
    if kept > i64::from(precision) {
        return None;
    }
    let kept = kept as usize;
    let head = format!("{:0<kept$}", digits.get(..kept).unwrap_or(digits));
    let mut unscaled: i128 = if head.is_empty() { 0 } else { head.parse().ok()? };
    if digits.as_bytes().get(kept).is_some_and(|digit| *digit >= b'5') {
        unscaled += 1;
    }
    (unscaled < 10_i128.checked_pow(precision.into())?).then_some(sign * unscaled)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exact(unscaled: i128, scale: i32) -> Exact {
        Exact { unscaled: i256::from_i128(unscaled), scale }
    }

    #[test]
    fn numbers_are_rounded_half_up_and_must_fit() {
        for (digits, exponent, expected) in [
            ("125", -2, Some(13)),
            ("-125", -2, Some(-13)),
            ("124", -2, Some(12)),
            ("999949", -4, Some(1000)),
            ("99995", -2, None),
            ("0000", 10, Some(0)),
            ("5", -2, Some(1)),
            ("4", -2, Some(0)),
            ("5", -3, Some(0)),
            ("12", 1, Some(1200)),
        ] {
            assert_eq!(rescale_parts(digits, exponent, 4, 1), expected, "{digits}e{exponent}");
        }
        assert_eq!(rescale(125, 2, 4, 1), Some(13));
        assert_eq!(rescale(99995, 1, 4, 1), None);
    }

    #[test]
    fn division_gives_the_digits_asked_for() {
        let divide = |a, b, scale| fit(divide(a, b, scale)?, 38, scale as i8);
        assert_eq!(divide(exact(1, 0), exact(3, 0), 6), Some(333_333));
        assert_eq!(divide(exact(2, 0), exact(3, 0), 6), Some(666_667));
        assert_eq!(divide(exact(-1, 0), exact(8, 0), 2), Some(-13));
        assert_eq!(divide(exact(150, 2), exact(5, 1), 3), Some(3000));
        assert_eq!(divide(exact(1, 0), exact(0, 0), 3), None);
    }

    #[test]
    fn small_numbers_are_divided_as_large_ones_are() {
        for (a, b, scale) in
            [(1, 3, 6), (2, 3, 0), (999_999, 7, 12), (5, 1000, 2), (1, 999_999_999_999_999_999, 38)]
        {
            // The same quotient of numbers that are too large for the shorter way.
            let large = 10_i128.pow(19);
            let long = super::divide(exact(a * large, 0), exact(b * large, 0), scale);
            let short = super::divide(exact(a, 0), exact(b, 0), scale);
            let unscaled = |number: Option<Exact>| number.map(|number| (number.unscaled, number.scale));
            assert_eq!(unscaled(short), unscaled(long), "{a} / {b} at {scale}");
        }
    }
}
