//! CAST from every type to every type, with Spark's answers (ANSI off: what is no value of the
//! type becomes null, whole numbers wrap). A pair that is not here is refused.

mod from_text;
mod java_floating;
mod nested;
mod numbers;
mod times;
mod to_text;
mod zones;

use std::ops::Range;

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::TreeNode;
use datafusion::logical_expr::Expr;

pub(crate) use from_text::{DECIMAL_DIGITS_MAX, big_decimal, digit};
pub(crate) use java_floating::java_double;
pub(crate) use times::{
    civil_from_days, days_from_civil, days_in_month, parse_date, parse_timestamp, too_far,
};
pub(crate) use to_text::Formatter;
pub(crate) use zones::{offset_at, offset_of};

use crate::bind::coerce::{is_atomic, is_numeric};
use crate::bind::{Bind, failed};
use crate::error::SqlError;
use crate::operation::{Bound, Kernel, apply, on_arrays};
use crate::types::simple_string;

/// One cell as `CAST(… AS STRING)` gives it; `None` for null.
pub fn cell_text(array: &ArrayRef, row: usize) -> Option<String> {
    let mut text = String::new();
    Formatter::new(array).write(row, &mut text).then_some(text)
}

/// `CAST(value AS kind)`.
pub(crate) fn explicit(value: Bound, kind: &DataType, span: Range<usize>) -> Bind {
    if value.kind == *kind {
        return Ok(value);
    }
    if value.kind == DataType::Null
        || (value.is_null_constant()
            && is_atomic(&value.kind)
            && is_atomic(kind)
            && kernel(&value.kind, kind).is_some())
    {
        return Ok(Bound::null(kind));
    }
    let Some(kernel) = kernel(&value.kind, kind) else {
        let message =
            format!("CAST from {} to {} is not answered", simple_string(&value.kind), simple_string(kind));
        return Err(SqlError::unsupported(message, span));
    };
    if makes_text_of_bytes(&value.kind, kind) && !is_text(value.constant()) {
        let message = "bytes as text: Spark keeps those that are no UTF-8, which no text natively has";
        return Err(SqlError::unsupported(message, span)
            .help("write base64(…) or hex(…), or run the flow on Spark (`runner: spark`)"));
    }
    if makes_times_of_decimals(&value.kind, kind) && has_wide_decimal(&value.expr) {
        let message = "seconds of more than 28 digits that the query has itself: Spark rounds them, or does not, by \
                       how it runs the query";
        return Err(SqlError::unsupported(message, span).help("write fewer digits"));
    }
    let name = format!("cast {} as {}", simple_string(&value.kind), simple_string(kind));
    apply(name, kind.clone(), kernel, vec![value]).map_err(failed(&span))
}

/// Whether a cast takes BINARY for the bytes of a text, in any part.
fn makes_text_of_bytes(from: &DataType, to: &DataType) -> bool {
    match (from, to) {
        (DataType::Binary, DataType::Utf8) => true,
        (DataType::List(a) | DataType::Map(a, _), DataType::Utf8) => makes_text_of_bytes(a.data_type(), to),
        (DataType::Struct(a), DataType::Utf8) => a.iter().any(|a| makes_text_of_bytes(a.data_type(), to)),
        (DataType::List(a), DataType::List(b)) | (DataType::Map(a, _), DataType::Map(b, _)) => {
            makes_text_of_bytes(a.data_type(), b.data_type())
        }
        (DataType::Struct(a), DataType::Struct(b)) => {
            a.iter().zip(b).any(|(a, b)| makes_text_of_bytes(a.data_type(), b.data_type()))
        }
        _ => false,
    }
}

/// Whether a cast takes DECIMALs for seconds, in any part.
fn makes_times_of_decimals(from: &DataType, to: &DataType) -> bool {
    match (from, to) {
        (DataType::Decimal128(..), DataType::Timestamp(..)) => true,
        (DataType::List(a), DataType::List(b)) | (DataType::Map(a, _), DataType::Map(b, _)) => {
            makes_times_of_decimals(a.data_type(), b.data_type())
        }
        (DataType::Struct(a), DataType::Struct(b)) => {
            a.iter().zip(b).any(|(a, b)| makes_times_of_decimals(a.data_type(), b.data_type()))
        }
        _ => false,
    }
}

/// What Spark keeps of a product beside the six digits of a second.
const SECONDS_DIGITS_MAX: u8 = 28;

/// Whether an expression has a constant DECIMAL of more than 28 digits, or one that may have a part of so many.
fn has_wide_decimal(expr: &Expr) -> bool {
    let is_wide = |value: &ScalarValue| match value {
        ScalarValue::Decimal128(unscaled, ..) => {
            unscaled.is_some_and(|unscaled| unscaled.unsigned_abs() >= 10_u128.pow(SECONDS_DIGITS_MAX.into()))
        }
        nested => may_be_wide(&nested.data_type()),
    };
    let found = expr.exists(|part| Ok(matches!(part, Expr::Literal(value, _) if is_wide(value))));
    found.expect("nothing fails in it")
}

fn may_be_wide(kind: &DataType) -> bool {
    match kind {
        DataType::Decimal128(precision, _) => *precision > SECONDS_DIGITS_MAX,
        DataType::List(part) | DataType::Map(part, _) => may_be_wide(part.data_type()),
        DataType::Struct(parts) => parts.iter().any(|part| may_be_wide(part.data_type())),
        _ => false,
    }
}

/// Whether it is known that these bytes are a text.
fn is_text(bytes: Option<&ScalarValue>) -> bool {
    matches!(bytes, Some(ScalarValue::Binary(Some(bytes))) if std::str::from_utf8(bytes).is_ok())
}

/// `TRY_CAST(value AS kind)`: what is out of the type's range is null, too.
pub(crate) fn tried(value: Bound, kind: &DataType, span: Range<usize>) -> Bind {
    let is_whole = |kind: &DataType| crate::bind::coerce::is_integer(kind);
    if value.kind == DataType::Utf8 && is_whole(kind) {
        // A fraction is no whole number here.
        let name = format!("try_cast string as {}", simple_string(kind));
        let kernel = from_text::strict_kernel();
        let wide = apply(name, DataType::Int64, kernel, vec![value]).map_err(failed(&span))?;
        return tried(wide, kind, span);
    }
    let same = value.kind == *kind || *kind == DataType::Utf8 || value.kind == DataType::Null;
    let from_text = value.kind == DataType::Utf8 && is_atomic(kind);
    let widening = is_numeric(&value.kind) && matches!(kind, DataType::Float64 | DataType::Decimal128(..));
    if same || from_text || widening {
        return explicit(value, kind, span);
    }
    if is_whole(&value.kind) && is_whole(kind) {
        let back = value.kind.clone();
        let narrow = explicit(value.clone(), kind, span.clone())?;
        let again = explicit(narrow.clone(), &back, span.clone())?;
        let is_same = crate::bind::equal(again, value, span)?;
        return Ok(crate::bind::case(vec![is_same], vec![narrow], kind));
    }
    let message =
        format!("TRY_CAST from {} to {} is not answered", simple_string(&value.kind), simple_string(kind));
    Err(SqlError::unsupported(message, span).help("write CAST"))
}

/// A cast that Spark makes by itself.
pub(crate) fn implicit(value: Bound, kind: &DataType, span: Range<usize>) -> Bind {
    let (from, to) = (&value.kind, kind);
    let allowed = match (from, to) {
        (DataType::Null, _) => true,
        (from, DataType::Utf8) => is_atomic(from),
        (DataType::Utf8, to) => {
            is_numeric(to) || !matches!(to, DataType::List(_) | DataType::Map(..) | DataType::Struct(_))
        }
        (DataType::Date32, DataType::Timestamp(..)) | (DataType::Timestamp(..), DataType::Date32) => true,
        (from, to) => is_numeric(from) && is_numeric(to),
    };
    if !allowed {
        let message = format!("expected {}, this is {}", simple_string(to), simple_string(from));
        return Err(SqlError::invalid(message, span));
    }
    explicit(value, kind, span)
}

/// A whole number as BIGINT.
pub(crate) fn widened(value: Bound, span: &Range<usize>) -> Bind {
    explicit(value, &DataType::Int64, span.clone())
}

pub(super) fn kernel(from: &DataType, to: &DataType) -> Option<Kernel> {
    match (from, to) {
        (DataType::Null, _) => {
            let to = to.clone();
            Some(on_arrays(move |args| Ok(arrow::array::new_null_array(&to, args[0].len()))))
        }
        (DataType::List(_) | DataType::Map(..) | DataType::Struct(_), to) if *to != DataType::Utf8 => {
            nested::kernel(from, to)
        }
        (_, DataType::Utf8) => to_text::kernel(from),
        (DataType::Utf8, _) => from_text::kernel(to),
        (_, DataType::Binary) => numbers::to_bytes(from),
        (from, to) => numbers::kernel(from, to).or_else(|| times::kernel(from, to)),
    }
}

#[cfg(test)]
mod tests {
    use crate::answer;
    use crate::flow::FlowQuery;
    use crate::types::parse_schema;

    #[test]
    fn bytes_become_text_only_where_they_are_one() {
        let schema =
            parse_schema("b BINARY, s STRING, l ARRAY<BINARY>, o STRUCT<b: BINARY>, m MAP<STRING, BINARY>");
        let schema = schema.expect("a schema");
        for value in [
            "CAST(b AS STRING)",
            "TRY_CAST(b AS STRING)",
            "string(b)",
            "concat(b, s)",
            "concat_ws('-', s, b)",
            "contains(b, s)",
            "upper(b)",
            "CAST(l AS STRING)",
            "CAST(o AS STRING)",
            "CAST(m AS STRING)",
            "CAST(l AS ARRAY<STRING>)",
            "CAST(m AS MAP<STRING, STRING>)",
            "CAST(X'FF' AS STRING)",
            "CAST(X'C3' AS STRING)",
            "CAST(array(X'FF') AS STRING)",
        ] {
            let error = FlowQuery::new(&format!("SELECT {value} AS r FROM input"), &schema).expect_err(value);
            assert!(error.message.contains("no UTF-8"), "{value}: {error}");
        }
        for value in ["hex(b)", "base64(b)", "length(b)", "concat(b, b)", "contains(b, X'FF')", "md5(b)", "b"]
        {
            let planned = FlowQuery::new(&format!("SELECT {value} AS r FROM input"), &schema);
            assert!(planned.is_ok(), "{value}");
        }
        for (sql, expected) in [
            ("SELECT hex(CAST(X'C3A9' AS STRING))", Some("C3A9")),
            ("SELECT concat(X'C3A9', 'x')", Some("éx")),
            ("SELECT CAST(CAST(NULL AS BINARY) AS STRING)", None),
            ("SELECT hex(concat(X'FF', X'00'))", Some("FF00")),
        ] {
            let answer = answer(sql).expect(sql).expect("a row");
            assert_eq!(answer.text, [expected.map(str::to_owned)], "{sql}");
        }
    }
}
