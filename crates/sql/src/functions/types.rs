//! `int(x)` for `CAST(x AS INT)`, and the name of a type.

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;

use super::Call;
use crate::bind::Bind;
use crate::cast;
use crate::operation::Bound;
use crate::types::{self, simple_string};

fn cast_to(mut call: Call, kind: &DataType) -> Bind {
    call.arity(1..=1)?;
    cast::explicit(call.args.remove(0), kind, call.span)
}

macro_rules! casts {
    ($($function:ident => $kind:expr;)*) => {
        $(pub(super) fn $function(call: Call) -> Bind {
            cast_to(call, &$kind)
        })*
    };
}

casts! {
    boolean => DataType::Boolean;
    tinyint => DataType::Int8;
    smallint => DataType::Int16;
    int => DataType::Int32;
    bigint => DataType::Int64;
    float => DataType::Float32;
    double => DataType::Float64;
    decimal => DataType::Decimal128(10, 0);
    string => DataType::Utf8;
    binary => DataType::Binary;
    date => DataType::Date32;
    timestamp => types::timestamp();
}

pub(super) fn type_of(call: Call) -> Bind {
    call.arity(1..=1)?;
    Ok(Bound::literal(ScalarValue::Utf8(Some(simple_string(&call.args[0].kind)))))
}
