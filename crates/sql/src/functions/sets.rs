//! Arrays as sets: each value once, in the order of its first place. Null is a value like others,
//! −0.0 becomes 0.0.
//! Source: Spark's `collectionOperations`.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::DataType;

use super::Call;
use super::arrays::is_equal;
use super::lists::{Builder, Lists, list_of};
use super::order;
use super::rows::{Cell, Flag};
use crate::bind::{Bind, coerce};
use crate::operation::on_arrays;

/// The places of values that were not there before.
fn distinct(items: &ArrayRef, places: impl Iterator<Item = usize>) -> Vec<usize> {
    let mut places: Vec<usize> = places.collect();
    // By value, then by place: of equal ones the first stays.
    let mut sorted = places.clone();
    sorted.sort_by(|a, b| order::compare(items, *a, items, *b).then(a.cmp(b)));
    sorted.dedup_by(|next, kept| order::compare(items, *next, items, *kept).is_eq());
    sorted.sort_unstable();
    places.retain(|at| sorted.binary_search(at).is_ok());
    places
}

pub(super) fn array_distinct(call: Call) -> Bind {
    call.arity(1..=1)?;
    let kind = call.item(0)?;
    if !order::is_orderable(&kind) {
        return Err(call.refuse());
    }
    let returns = list_of(kind.clone());
    let kernel = on_arrays(move |args| {
        let lists = Lists::new(&args[0]);
        let items = order::without_negative_zeros(lists.items());
        let mut builder = Builder::default();
        for row in 0..args[0].len() {
            builder.row(0, lists.places(row).map(|places| distinct(&items, places)));
        }
        builder.finish(&kind, &[&items])
    });
    call.apply(returns, kernel)
}

/// Brings both arrays to one type.
fn two_alike(call: &mut Call) -> Bind<DataType> {
    call.arity(2..=2)?;
    let kind = coerce::wider(&call.item(0)?, &call.item(1)?, false);
    let Some(kind) = kind.filter(order::is_orderable) else { return Err(call.refuse()) };
    call.convert(0, &list_of(kind.clone()))?;
    call.convert(1, &list_of(kind.clone()))?;
    Ok(kind)
}

#[derive(Clone, Copy, PartialEq)]
enum Set {
    Union,
    Intersection,
    Difference,
}

fn combined(mut call: Call, set: Set) -> Bind {
    let kind = two_alike(&mut call)?;
    let returns = list_of(kind.clone());
    let kernel = on_arrays(move |args| {
        let (left, right) = (Lists::new(&args[0]), Lists::new(&args[1]));
        // One column with the items of both, so that places tell them apart.
        let both = arrow::compute::concat(&[left.items().as_ref(), right.items().as_ref()])?;
        let both = order::without_negative_zeros(&both);
        let shift = left.items().len();
        let mut builder = Builder::default();
        for row in 0..args[0].len() {
            let (Some(a), Some(b)) = (left.places(row), right.places(row)) else {
                builder.null_row();
                continue;
            };
            let b = b.start + shift..b.end + shift;
            let in_b = |at: usize| b.clone().any(|other| order::compare(&both, at, &both, other).is_eq());
            let places = match set {
                Set::Union => distinct(&both, a.chain(b)),
                Set::Intersection => distinct(&both, a.filter(|at| in_b(*at))),
                Set::Difference => distinct(&both, a.filter(|at| !in_b(*at))),
            };
            builder.row(0, Some(places));
        }
        builder.finish(&kind, &[&both])
    });
    call.apply(returns, kernel)
}

pub(super) fn array_union(call: Call) -> Bind {
    combined(call, Set::Union)
}

pub(super) fn array_intersect(call: Call) -> Bind {
    combined(call, Set::Intersection)
}

pub(super) fn array_except(call: Call) -> Bind {
    combined(call, Set::Difference)
}

/// Whether both have a value in common; null where only a null might be one.
pub(super) fn arrays_overlap(mut call: Call) -> Bind {
    two_alike(&mut call)?;
    let kernel = on_arrays(|args| {
        let (left, right) = (Lists::new(&args[0]), Lists::new(&args[1]));
        let cells = (0..args[0].len()).map(|row| {
            let (a, b) = (left.places(row)?, right.places(row)?);
            let found = a.clone().any(|at| b.clone().any(|to| is_equal(left.items(), at, right.items(), to)));
            let has_null =
                a.clone().any(|at| left.items().is_null(at)) || b.clone().any(|at| right.items().is_null(at));
            if found {
                return Some(true);
            }
            (a.is_empty() || b.is_empty() || !has_null).then_some(false)
        });
        Ok(Flag::collect(cells))
    });
    call.apply(DataType::Boolean, kernel)
}

/// The keys of a column of maps as arrays.
pub(super) fn keys(array: &ArrayRef, kind: &DataType) -> ArrayRef {
    let map = array.as_map();
    column_of_maps(array, map.keys(), kind)
}

/// One of the columns of a map's entries as arrays.
pub(super) fn column_of_maps(array: &ArrayRef, column: &ArrayRef, kind: &DataType) -> ArrayRef {
    let map = array.as_map();
    let DataType::List(field) = list_of(kind.clone()) else { unreachable!("an array's type") };
    Arc::new(arrow::array::ListArray::new(field, map.offsets().clone(), column.clone(), map.nulls().cloned()))
}
