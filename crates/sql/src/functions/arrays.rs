//! Arrays: looked into and sorted. What puts them together is in `array_items`, arrays as sets in `sets`,
//! functions over their items in `lambdas`.
//! Source: Spark's `collectionOperations`.

use std::cmp::Ordering;

use arrow::array::{Array, ArrayRef, Int64Array, UInt64Array};
use arrow::compute::take;
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;

pub(super) use super::lists::list_of;
use super::lists::{Builder, Lists, entry_of, item_of};
use super::order::{self, compare};
use super::rows::{Cell, Flag, Int, Long};
use super::{Call, nested};
use crate::bind::Bind;
use crate::bind::coerce;
use crate::error::SqlError;
use crate::operation::{Bound, on_arrays};

impl Call {
    /// The type of the items of the array at `at`.
    pub(super) fn item(&self, at: usize) -> Bind<DataType> {
        item_of(&self.args[at].kind).cloned().ok_or_else(|| self.refuse())
    }

    /// Brings an array and a value to types with which the value may be one of its items.
    pub(super) fn item_and_value(&mut self, array: usize, value: usize) -> Bind<DataType> {
        let kind = coerce::alike(&self.item(array)?, &self.args[value].kind);
        self.as_item(array, value, kind)
    }

    fn as_item(&mut self, array: usize, value: usize, kind: Option<DataType>) -> Bind<DataType> {
        let Some(kind) = kind else { return Err(self.refuse()) };
        self.convert(array, &list_of(kind.clone()))?;
        self.convert(value, &kind)?;
        Ok(kind)
    }

    /// As [`Call::cast`], also of what is nested.
    pub(super) fn convert(&mut self, at: usize, kind: &DataType) -> Bind<()> {
        let arg = self.args[at].clone();
        self.args[at] = crate::cast::explicit(arg, kind, self.spans[at].clone())?;
        Ok(())
    }

    /// Refuses a NULL without a type, as Spark does where it looks for a value.
    pub(super) fn refuse_null(&self, at: usize) -> Bind<()> {
        if self.args[at].kind == DataType::Null { Err(self.refuse()) } else { Ok(()) }
    }

    fn orderable(&self, kind: &DataType) -> Bind<()> {
        if order::is_orderable(kind) { Ok(()) } else { Err(self.refuse()) }
    }
}

/// How many items; −1 for null, as Spark has it with ANSI off.
pub(super) fn size(call: Call) -> Bind {
    count(call, Some(-1))
}

/// How many items; null for null.
pub(super) fn array_size(call: Call) -> Bind {
    if matches!(call.args.first().map(|arg| &arg.kind), Some(DataType::Map(..))) {
        return Err(call.refuse());
    }
    count(call, None)
}

fn count(call: Call, of_null: Option<i32>) -> Bind {
    call.arity(1..=1)?;
    match call.args[0].kind {
        DataType::List(_) | DataType::Map(..) => {}
        DataType::Null => return Ok(Bound::literal(ScalarValue::Int32(of_null))),
        _ => return Err(call.refuse()),
    }
    let kernel = on_arrays(move |args| {
        let lists = Lists::new(&args[0]);
        let sizes =
            (0..args[0].len()).map(|row| lists.places(row).map(|places| places.len() as i32).or(of_null));
        Ok(Int::collect(sizes))
    });
    call.apply(DataType::Int32, kernel)
}

/// Whether an item equals the value; null where only an item that is null might.
pub(super) fn array_contains(mut call: Call) -> Bind {
    call.arity(2..=2)?;
    call.refuse_null(1)?;
    // Here, and only here, DECIMALs are widened.
    let kind = coerce::wider(&call.item(0)?, &call.args[1].kind, false);
    let kind = call.as_item(0, 1, kind)?;
    call.orderable(&kind)?;
    let kernel = on_arrays(|args| {
        let lists = Lists::new(&args[0]);
        let cells = (0..args[0].len()).map(|row| {
            let places = lists.places(row).filter(|_| args[1].is_valid(row))?;
            let items = lists.items();
            let found = places.clone().any(|at| is_equal(items, at, &args[1], row));
            let has_null = places.into_iter().any(|at| items.is_null(at));
            (found || !has_null).then_some(found)
        });
        Ok(Flag::collect(cells))
    });
    call.apply(DataType::Boolean, kernel)
}

/// Whether two cells are equal values; null equals nothing.
pub(super) fn is_equal(left: &ArrayRef, at: usize, right: &ArrayRef, to: usize) -> bool {
    left.is_valid(at) && right.is_valid(to) && order::compare_values(left, at, right, to).is_eq()
}

/// The place of the first item that equals the value, from 1 on; 0 where there is none.
pub(super) fn array_position(mut call: Call) -> Bind {
    call.arity(2..=2)?;
    let kind = call.item_and_value(0, 1)?;
    call.refuse_null(1)?;
    call.orderable(&kind)?;
    let kernel = on_arrays(|args| {
        let lists = Lists::new(&args[0]);
        let cells = (0..args[0].len()).map(|row| {
            let mut places = lists.places(row).filter(|_| args[1].is_valid(row))?;
            Some(
                places
                    .position(|at| is_equal(lists.items(), at, &args[1], row))
                    .map_or(0, |at| at as i64 + 1),
            )
        });
        Ok(Long::collect(cells))
    });
    call.apply(DataType::Int64, kernel)
}

/// Without the items that equal the value.
pub(super) fn array_remove(mut call: Call) -> Bind {
    call.arity(2..=2)?;
    let kind = call.item_and_value(0, 1)?;
    call.refuse_null(1)?;
    call.orderable(&kind)?;
    let returns = list_of(kind.clone());
    let kernel = on_arrays(move |args| {
        let lists = Lists::new(&args[0]);
        let mut builder = Builder::default();
        for row in 0..args[0].len() {
            let places = lists.places(row).filter(|_| args[1].is_valid(row));
            builder.row(
                0,
                places.map(|places| places.filter(|at| !is_equal(lists.items(), *at, &args[1], row))),
            );
        }
        builder.finish(&kind, &[lists.items()])
    });
    call.apply(returns, kernel)
}

/// Without the items that are null.
pub(super) fn array_compact(call: Call) -> Bind {
    rearranged(call, |items, places| places.filter(|at| !order::is_null(items, *at)).collect())
}

/// Ascending, nulls last.
pub(super) fn array_sort(call: Call) -> Bind {
    let kind = call.arity(1..=1).and_then(|()| call.item(0))?;
    call.orderable(&kind)?;
    rearranged(call, |items, places| {
        let (mut places, nulls): (Vec<_>, Vec<_>) = places.partition(|at| items.is_valid(*at));
        places.sort_by(|a, b| compare(items, *a, items, *b));
        places.extend(nulls);
        places
    })
}

/// Ascending with nulls first, or descending with nulls last.
pub(super) fn sort_array(mut call: Call) -> Bind {
    call.arity(1..=2)?;
    let kind = call.item(0)?;
    call.orderable(&kind)?;
    let ascending = match call.args.get(1).map(|arg| arg.constant().cloned()) {
        None => true,
        Some(Some(ScalarValue::Boolean(Some(ascending)))) => ascending,
        Some(_) => return Err(call.not_constant(1, "the direction")),
    };
    call.args.truncate(1);
    let sort = move |items: &ArrayRef, places: std::ops::Range<usize>| -> Vec<usize> {
        let mut places: Vec<usize> = places.collect();
        places.sort_by(|a, b| {
            let order = compare(items, *a, items, *b);
            if ascending { order } else { order.reverse() }
        });
        places
    };
    let name = format!("sort_array {ascending}");
    rearranged_as(call, name, sort)
}

pub(super) fn reverse(call: Call) -> Bind {
    rearranged(call, |_, places| places.rev().collect())
}

/// The same items, fewer or in another order.
pub(super) fn rearranged(call: Call, arrange: fn(&ArrayRef, std::ops::Range<usize>) -> Vec<usize>) -> Bind {
    let name = call.name.to_owned();
    rearranged_as(call, name, arrange)
}

pub(super) fn rearranged_as(
    call: Call,
    name: String,
    arrange: impl Fn(&ArrayRef, std::ops::Range<usize>) -> Vec<usize> + Send + Sync + 'static,
) -> Bind {
    call.arity(1..=1)?;
    let kind = call.item(0)?;
    let returns = list_of(kind.clone());
    let kernel = on_arrays(move |args| {
        let lists = Lists::new(&args[0]);
        let mut builder = Builder::default();
        for row in 0..args[0].len() {
            builder.row(0, lists.places(row).map(|places| arrange(lists.items(), places)));
        }
        builder.finish(&kind, &[lists.items()])
    });
    call.apply_as(name, returns, kernel)
}

fn extreme(call: Call, wanted: Ordering) -> Bind {
    call.arity(1..=1)?;
    let kind = call.item(0)?;
    call.orderable(&kind)?;
    let kernel = on_arrays(move |args| {
        let lists = Lists::new(&args[0]);
        let items = lists.items();
        let best = (0..args[0].len()).map(|row| {
            let known = lists.places(row)?.filter(|at| items.is_valid(*at));
            let best =
                known.reduce(|best, at| if compare(items, at, items, best) == wanted { at } else { best });
            best.map(|at| at as u64)
        });
        Ok(take(items, &best.collect::<UInt64Array>(), None)?)
    });
    call.apply(kind, kernel)
}

pub(super) fn array_max(call: Call) -> Bind {
    extreme(call, Ordering::Greater)
}

pub(super) fn array_min(call: Call) -> Bind {
    extreme(call, Ordering::Less)
}

/// An array's item, from 1 on or from the end; a map's value. Null where there is none.
pub(super) fn element_at(mut call: Call) -> Bind {
    call.arity(2..=2)?;
    if let Some((key, _)) = entry_of(&call.args[0].kind) {
        if coerce::alike(&key, &call.args[1].kind).as_ref() != Some(&key) {
            return Err(call.refuse());
        }
        call.cast(1, &key)?;
        return super::maps::value_of(call);
    }
    let kind = call.item(0)?;
    if !coerce::is_integer(&call.args[1].kind) || call.args[1].kind == DataType::Int64 {
        return Err(call.refuse());
    }
    // 0 stops Spark's query, and so does the least INT, which has no size in Java: it must be seen before.
    let Some(at) = call.constant_int(1, "the place (`[…]` takes any)")? else {
        return Ok(Bound::null(&kind));
    };
    if let 0 | i32::MIN = at {
        return Err(SqlError::invalid(
            "places in an array are from 1 on, or back from -1",
            call.spans[1].clone(),
        ));
    }
    call.args.truncate(1);
    let kernel = on_arrays(move |args| {
        let lists = Lists::new(&args[0]);
        let places = (0..args[0].len()).map(|row| {
            let places = lists.places(row)?;
            let (start, end) = (places.start as i64, places.end as i64);
            let place = if at > 0 { start + i64::from(at) - 1 } else { end + i64::from(at) };
            (start..end).contains(&place).then_some(place)
        });
        Ok(take(lists.items(), &places.collect::<Int64Array>(), None)?)
    });
    call.apply_as(format!("element_at {at}"), kind, kernel)
}

/// An array's item, from 0 on.
pub(super) fn get(mut call: Call) -> Bind {
    call.arity(2..=2)?;
    let index = call.args.remove(1);
    nested::index(call.args.remove(0), index, call.span)
}

#[cfg(test)]
mod tests {
    use crate::answer;

    #[test]
    fn a_null_without_a_type_is_looked_for_nowhere() {
        for call in [
            "array_contains(array(1), NULL)",
            "array_position(array(NULL), NULL)",
            "array_remove(array(NULL), NULL)",
            "map_contains_key(map(1, 2), NULL)",
        ] {
            let error = answer(&format!("SELECT {call}")).expect_err(call);
            assert!(error.message.contains("void"), "{call}: {error}");
        }
        let typed = answer("SELECT array_contains(array(1), CAST(NULL AS INT))").expect("an answer");
        assert_eq!(typed.expect("a row").text, [None::<String>]);
    }
}
