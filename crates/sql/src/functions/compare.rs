//! The greatest and the least of several values: nulls do not count, NaN is above all numbers.
//! Source: Spark's `Greatest`, `Least`.

use std::cmp::Ordering;

use arrow::array::{Array, ArrayRef};
use arrow::compute::interleave;
use arrow::datatypes::DataType;

use super::Call;
use super::order;
use crate::bind::{Bind, coerce};
use crate::operation::on_arrays;

pub(super) fn greatest(call: Call) -> Bind {
    extreme(call, Ordering::Greater)
}

pub(super) fn least(call: Call) -> Bind {
    extreme(call, Ordering::Less)
}

fn extreme(mut call: Call, wanted: Ordering) -> Bind {
    call.arity(2..=usize::MAX)?;
    let mut kind = DataType::Null;
    for arg in &call.args {
        // Unlike elsewhere, texts and numbers have no type in common.
        kind = coerce::wider(&kind, &arg.kind, false).ok_or_else(|| call.refuse())?;
    }
    if !order::is_orderable(&kind) {
        return Err(call.refuse());
    }
    for at in 0..call.args.len() {
        call.convert(at, &kind)?;
    }
    let kernel = on_arrays(move |args| {
        let best =
            |row: usize| {
                let known = args.iter().enumerate().filter(|(_, arg)| arg.is_valid(row));
                let best = known.reduce(|best, next| {
                    if order::compare(next.1, row, best.1, row) == wanted { next } else { best }
                });
                best.map_or((0, row), |(at, _)| (at, row))
            };
        let cells: Vec<_> = (0..args[0].len()).map(best).collect();
        let arrays: Vec<&dyn Array> = args.iter().map(ArrayRef::as_ref).collect();
        Ok(interleave(&arrays, &cells)?)
    });
    call.apply(kind, kernel)
}
