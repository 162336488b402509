//! Arrays as sets: each value once, in the order of its first place. Null is a value like others,
//! −0.0 becomes 0.0.
//! Source: Spark's `collectionOperations`.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::DataType;

use super::Call;
use super::lists::{Builder, Lists, list_of};
use super::order;
use super::rows::{Cell, Flag};
use crate::bind::{Bind, coerce, with_one_zero};
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

/// The places in the order of their values, so that each is found without looking at all.
fn sorted(places: impl Iterator<Item = usize>, compare: impl Fn(usize, usize) -> Ordering) -> Vec<usize> {
    let mut places: Vec<usize> = places.collect();
    places.sort_unstable_by(|x, y| compare(*x, *y));
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
        let items = with_one_zero(lists.items());
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
    let kind = coerce::alike(&call.item(0)?, &call.item(1)?);
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
        let both = with_one_zero(&both);
        let shift = left.items().len();
        let mut builder = Builder::default();
        for row in 0..args[0].len() {
            let (Some(a), Some(b)) = (left.places(row), right.places(row)) else {
                builder.null_row();
                continue;
            };
            let b = b.start + shift..b.end + shift;
            let known = match set {
                Set::Union => Vec::new(),
                Set::Intersection | Set::Difference => {
                    sorted(b.clone(), |x, y| order::compare(&both, x, &both, y))
                }
            };
            let in_b =
                |at: usize| known.binary_search_by(|other| order::compare(&both, *other, &both, at)).is_ok();
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
            let (items, others) = (left.items(), right.items());
            // Null equals nothing.
            let known = sorted(b.clone().filter(|to| !order::is_null(others, *to)), |x, y| {
                order::compare_values(others, x, others, y)
            });
            let in_b = |at: usize| {
                let found = |to: &usize| order::compare_values(others, *to, items, at);
                !order::is_null(items, at) && known.binary_search_by(found).is_ok()
            };
            if a.clone().any(in_b) {
                return Some(true);
            }
            let has_null = a.clone().any(|at| order::is_null(items, at))
                || b.clone().any(|to| order::is_null(others, to));
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

#[cfg(test)]
mod tests {
    use crate::answer;

    #[test]
    fn of_many_items_not_every_pair_is_looked_at() {
        let (a, b) = ("sequence(1, 100000)", "sequence(50001, 150000)");
        let sql = format!(
            "SELECT size(array_intersect({a}, {b})), size(array_except({a}, {b})), size(array_union({a}, {b})), \
             arrays_overlap({a}, sequence(100001, 200000)), arrays_overlap({b}, {a})"
        );
        // All pairs would take minutes.
        let answer = answer(&sql).unwrap_or_else(|e| panic!("{e}")).expect("a row");
        let expected = ["50000", "50000", "150000", "false", "true"].map(|text| Some(text.to_owned()));
        assert_eq!(answer.text, expected);
    }

    #[test]
    fn null_is_an_item_like_others_but_equals_none() {
        for (call, expected) in [
            ("array_intersect(array(1, NULL, 3, NULL), array(NULL, 3, 2))", Some("[null, 3]")),
            ("array_except(array(1, NULL, 1), array(NULL))", Some("[1]")),
            ("array_except(array(1, NULL), array(2, 1))", Some("[null]")),
            ("arrays_overlap(array(1, NULL), array(NULL, 2))", None),
            ("arrays_overlap(array(1, NULL), array(NULL, 1))", Some("true")),
            ("arrays_overlap(array(1), array(2))", Some("false")),
            ("arrays_overlap(array(NULL), array(NULL))", None),
            ("arrays_overlap(array(NULL), array(1))", None),
            ("arrays_overlap(array(), array(NULL))", Some("false")),
            ("array_compact(array(NULL))", Some("[]")),
        ] {
            let answer = answer(&format!("SELECT {call}")).unwrap_or_else(|e| panic!("{call}: {e}"));
            assert_eq!(answer.expect("a row").text[0].as_deref(), expected, "{call}");
        }
    }
}
