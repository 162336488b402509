//! Which type two values have together, and how a value is brought to another type without the
//! user asking: Spark's `TypeCoercion` with ANSI off.

use std::ops::Range;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field};

use super::Bind;
use crate::cast;
use crate::error::SqlError;
use crate::operation::Bound;
use crate::types::simple_string;

/// The numeric types without DECIMAL, narrowest first.
const LADDER: [DataType; 6] =
    [DataType::Int8, DataType::Int16, DataType::Int32, DataType::Int64, DataType::Float32, DataType::Float64];

pub(crate) fn is_integer(kind: &DataType) -> bool {
    matches!(kind, DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64)
}

pub(crate) fn is_float(kind: &DataType) -> bool {
    matches!(kind, DataType::Float32 | DataType::Float64)
}

pub(crate) fn is_numeric(kind: &DataType) -> bool {
    is_integer(kind) || is_float(kind) || matches!(kind, DataType::Decimal128(..))
}

/// A single value, not an array, map or struct.
pub(crate) fn is_atomic(kind: &DataType) -> bool {
    !matches!(kind, DataType::List(_) | DataType::Map(..) | DataType::Struct(_))
}

/// The DECIMAL that holds every value of an integer type.
pub(crate) fn decimal_of(kind: &DataType) -> Option<(u8, i8)> {
    match kind {
        DataType::Int8 => Some((3, 0)),
        DataType::Int16 => Some((5, 0)),
        DataType::Int32 => Some((10, 0)),
        DataType::Int64 => Some((20, 0)),
        DataType::Decimal128(precision, scale) => Some((*precision, *scale)),
        _ => None,
    }
}

/// A DECIMAL with room for so many digits, cut to what exists: digits behind the point go first,
/// but six of them stay.
pub(crate) fn bounded_decimal(precision: i32, scale: i32) -> DataType {
    if precision <= 38 {
        return DataType::Decimal128(precision as u8, scale as i8);
    }
    let whole = precision - scale;
    let scale = (38 - whole).max(scale.min(6));
    DataType::Decimal128(38, scale as i8)
}

/// The narrowest type that holds both, without going over text.
fn tightest(a: &DataType, b: &DataType) -> Option<DataType> {
    use DataType as D;
    if a == b {
        return Some(a.clone());
    }
    match (a, b) {
        (D::Null, other) | (other, D::Null) => Some(other.clone()),
        (D::Date32, D::Timestamp(..)) => Some(b.clone()),
        (D::Timestamp(..), D::Date32) => Some(a.clone()),
        _ => {
            let rung = |kind: &DataType| LADDER.iter().position(|step| step == kind);
            Some(LADDER[rung(a)?.max(rung(b)?)].clone())
        }
    }
}

/// The type that both have together where no DECIMAL is widened for it: Spark's `findTightestCommonType`, also in
/// arrays and structs.
pub(crate) fn alike(a: &DataType, b: &DataType) -> Option<DataType> {
    use DataType as D;
    if let Some(kind) = tightest(a, b) {
        return Some(kind);
    }
    match (a, b) {
        (decimal @ D::Decimal128(precision, scale), whole)
        | (whole, decimal @ D::Decimal128(precision, scale))
            if is_integer(whole) =>
        {
            let digits = i32::from(decimal_of(whole)?.0);
            (i32::from(*precision) - i32::from(*scale) >= digits).then(|| decimal.clone())
        }
        _ => nested(a, b, alike),
    }
}

/// The type of arrays or structs whose parts have a type together.
fn nested(
    a: &DataType,
    b: &DataType,
    together: impl Fn(&DataType, &DataType) -> Option<DataType>,
) -> Option<DataType> {
    use DataType as D;
    match (a, b) {
        (D::List(x), D::List(y)) => {
            let item = together(x.data_type(), y.data_type())?;
            Some(D::List(Arc::new(Field::new("element", item, true))))
        }
        (D::Struct(x), D::Struct(y)) if x.len() == y.len() => {
            let fields = x.iter().zip(y).map(|(x, y)| {
                // The names must be the same, up to letter case; the first's are kept.
                let kind = together(x.data_type(), y.data_type())?;
                x.name().eq_ignore_ascii_case(y.name()).then(|| Field::new(x.name(), kind, true))
            });
            Some(D::Struct(fields.collect::<Option<Vec<_>>>()?.into()))
        }
        _ => None,
    }
}

/// The type in which both can be held, with DECIMALs and, where allowed, over text.
pub(crate) fn wider(a: &DataType, b: &DataType, over_text: bool) -> Option<DataType> {
    use DataType as D;
    if let Some(kind) = tightest(a, b) {
        return Some(kind);
    }
    match (a, b) {
        (D::Decimal128(..), other) | (other, D::Decimal128(..)) if is_float(other) => Some(D::Float64),
        (D::Decimal128(..), other) | (other, D::Decimal128(..)) if is_numeric(other) => {
            let ((p1, s1), (p2, s2)) = (decimal_of(a)?, decimal_of(b)?);
            let scale = i32::from(s1.max(s2));
            let whole = (i32::from(p1) - i32::from(s1)).max(i32::from(p2) - i32::from(s2));
            // Digits in front of the point are kept before those behind it.
            let scale = scale - (whole + scale - 38).max(0);
            Some(D::Decimal128((whole + scale) as u8, scale.max(0) as i8))
        }
        (D::Utf8, other) | (other, D::Utf8)
            if over_text && is_atomic(other) && !matches!(other, D::Binary | D::Boolean) =>
        {
            Some(D::Utf8)
        }
        _ => nested(a, b, |a, b| wider(a, b, over_text)),
    }
}

/// The type in which two values are compared: a text is read as what it is compared with.
pub(crate) fn comparable(a: &DataType, b: &DataType) -> Option<DataType> {
    use DataType as D;
    match (a, b) {
        (D::Utf8, D::Decimal128(_, 1..)) | (D::Decimal128(_, 1..), D::Utf8) => Some(D::Float64),
        (D::Utf8, other) | (other, D::Utf8)
            if is_atomic(other) && !matches!(other, D::Binary | D::Utf8 | D::Null) =>
        {
            Some(other.clone())
        }
        _ => wider(a, b, false),
    }
}

/// Brings a value to a type without being asked to.
pub(crate) fn to(value: Bound, kind: &DataType, span: &Range<usize>) -> Bind {
    if value.kind == *kind {
        return Ok(value);
    }
    if matches!(
        (&value.kind, kind),
        (DataType::List(_), DataType::List(_)) | (DataType::Struct(_), DataType::Struct(_))
    ) {
        return cast::explicit(value, kind, span.clone());
    }
    cast::implicit(value, kind, span.clone())
}

/// Brings all values to the one type that holds them.
pub(crate) fn all_alike(values: Vec<Bound>, span: Range<usize>) -> Bind<(DataType, Vec<Bound>)> {
    // Texts first: Spark looks for the common type of the non-texts only when there is no text.
    let any_text = values.iter().any(|value| value.kind == DataType::Utf8);
    let mut kind = if any_text { DataType::Utf8 } else { DataType::Null };
    for value in &values {
        kind = wider(&kind, &value.kind, true).ok_or_else(|| {
            let message = format!(
                "these values have no type in common: {} and {}",
                simple_string(&kind),
                simple_string(&value.kind)
            );
            SqlError::invalid(message, span.clone()).help("CAST one of them")
        })?;
    }
    let values = values.into_iter().map(|value| to(value, &kind, &span)).collect::<Bind<Vec<_>>>()?;
    Ok((kind, values))
}
