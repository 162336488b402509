//! Arrays: looked into, cut, joined, put together. Nothing is said here of arrays as sets
//! (`sets`) and of functions over their items (`lambdas`).
//! Source: Spark's `collectionOperations`.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, UInt64Array};
use arrow::compute::take;
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;

pub(super) use super::lists::list_of;
use super::lists::{Builder, Lists, entry_of, item_of};
use super::order::{self, compare};
use super::rows::{Cell, Flag, Int, Long, Text};
use super::{Call, nested};
use crate::bind::Bind;
use crate::bind::coerce;
use crate::error::SqlError;
use crate::operation::{Bound, on_arrays};

/// More items than one call may make out of a constant.
const ITEMS_MAX: i64 = 100_000;

impl Call {
    /// The type of the items of the array at `at`.
    pub(super) fn item(&self, at: usize) -> Bind<DataType> {
        item_of(&self.args[at].kind).cloned().ok_or_else(|| self.refuse())
    }

    /// Brings an array and a value to types with which the value may be one of its items.
    pub(super) fn item_and_value(&mut self, array: usize, value: usize) -> Bind<DataType> {
        let item = self.item(array)?;
        let Some(kind) = coerce::wider(&item, &self.args[value].kind, false) else {
            return Err(self.refuse());
        };
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
    let kind = call.item_and_value(0, 1)?;
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
    rearranged(call, |items, places| places.filter(|at| items.is_valid(*at)).collect())
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

fn added(mut call: Call, at_end: bool) -> Bind {
    call.arity(2..=2)?;
    if call.args[0].kind == DataType::Null {
        return Err(call.refuse());
    }
    let kind = call.item_and_value(0, 1)?;
    let returns = list_of(kind.clone());
    let kernel = on_arrays(move |args| {
        let lists = Lists::new(&args[0]);
        let mut builder = Builder::default();
        for row in 0..args[0].len() {
            let Some(places) = lists.places(row) else {
                builder.null_row();
                continue;
            };
            if !at_end {
                builder.push(1, row);
            }
            places.for_each(|at| builder.push(0, at));
            if at_end {
                builder.push(1, row);
            }
            builder.end_row();
        }
        builder.finish(&kind, &[lists.items(), &args[1]])
    });
    call.apply(returns, kernel)
}

pub(super) fn array_append(call: Call) -> Bind {
    added(call, true)
}

pub(super) fn array_prepend(call: Call) -> Bind {
    added(call, false)
}

/// Puts a value at a place, from 1 on or from the end; nulls fill what is between.
pub(super) fn array_insert(mut call: Call) -> Bind {
    call.arity(3..=3)?;
    let at = call.constant_int(1, "the place")?;
    let kind = call.item_and_value(0, 2)?;
    let returns = list_of(kind.clone());
    let Some(at) = at else { return Ok(Bound::null(&returns)) };
    if at == 0 {
        return Err(SqlError::invalid("places in an array are from 1 on", call.spans[1].clone()));
    }
    if i64::from(at).abs() > ITEMS_MAX {
        return Err(super::letters::too_long(&call, 1));
    }
    let name = format!("array_insert {at}");
    let kernel = on_arrays(move |args| {
        let lists = Lists::new(&args[0]);
        let mut builder = Builder::default();
        for row in 0..args[0].len() {
            let Some(places) = lists.places(row) else {
                builder.null_row();
                continue;
            };
            let size = places.len() as i64;
            let wanted = if at > 0 { i64::from(at) - 1 } else { i64::from(at) + size + 1 };
            if at < 0 && -i64::from(at) > size {
                builder.push(1, row);
                (0..-i64::from(at) - size - 1).for_each(|_| builder.push(2, 0));
                places.for_each(|at| builder.push(0, at));
            } else {
                let mut items = places.map(|at| (0, at)).collect::<Vec<_>>();
                items.resize(items.len().max(wanted as usize), (2, 0));
                items.insert(wanted as usize, (1, row));
                items.into_iter().for_each(|(column, at)| builder.push(column, at));
            }
            builder.end_row();
        }
        builder.finish(&kind, &[lists.items(), &args[2]])
    });
    call.apply_as(name, returns, kernel)
}

/// The items with a text between them; nulls are left out or have a text of their own.
pub(super) fn array_join(mut call: Call) -> Bind {
    call.arity(2..=3)?;
    call.convert(0, &list_of(DataType::Utf8))?;
    for at in 1..call.args.len() {
        call.cast(at, &DataType::Utf8)?;
    }
    let kernel = on_arrays(|args| {
        let lists = Lists::new(&args[0]);
        let items = lists.items();
        let cells = (0..args[0].len()).map(|row| {
            let places = lists.places(row)?;
            if args[1..].iter().any(|arg| arg.is_null(row)) {
                return None;
            }
            let of_null = args.get(2).map(|texts| Text::get(texts, row));
            let texts =
                places.filter_map(|at| if items.is_valid(at) { Some(Text::get(items, at)) } else { of_null });
            Some(texts.collect::<Vec<_>>().join(Text::get(&args[1], row)))
        });
        Ok(Text::collect(cells))
    });
    call.apply(DataType::Utf8, kernel)
}

/// The value so many times.
pub(super) fn array_repeat(mut call: Call) -> Bind {
    call.arity(2..=2)?;
    let kind = call.args[0].kind.clone();
    let returns = list_of(kind.clone());
    let Some(count) = call.constant_int(1, "the number of items")? else { return Ok(Bound::null(&returns)) };
    if i64::from(count) > ITEMS_MAX {
        return Err(super::letters::too_long(&call, 1));
    }
    let name = format!("array_repeat {count}");
    let kernel = on_arrays(move |args| {
        let mut builder = Builder::default();
        for row in 0..args[0].len() {
            builder.row(0, Some((0..count.max(0)).map(|_| row)));
        }
        builder.finish(&kind, &[&args[0]])
    });
    call.args.truncate(1);
    call.apply_as(name, returns, kernel)
}

/// All items of all arrays, null where any array is.
pub(super) fn concat(mut call: Call) -> Bind {
    let mut kind = DataType::Null;
    for arg in &call.args {
        let item = match &arg.kind {
            DataType::Null => continue,
            other => item_of(other).ok_or_else(|| call.refuse())?,
        };
        kind = coerce::wider(&kind, item, true).ok_or_else(|| call.refuse())?;
    }
    let returns = list_of(kind.clone());
    for at in 0..call.args.len() {
        call.convert(at, &returns)?;
    }
    let kernel = on_arrays(move |args| {
        let lists: Vec<_> = args.iter().map(Lists::new).collect();
        let mut builder = Builder::default();
        for row in 0..args[0].len() {
            let places: Option<Vec<_>> = lists.iter().map(|lists| lists.places(row)).collect();
            match places {
                Some(places) => {
                    places
                        .into_iter()
                        .enumerate()
                        .for_each(|(column, places)| places.for_each(|at| builder.push(column, at)));
                    builder.end_row();
                }
                None => builder.null_row(),
            }
        }
        builder.finish(&kind, &lists.iter().map(Lists::items).collect::<Vec<_>>())
    });
    call.apply(returns, kernel)
}

/// The items of the inner arrays, null where any of those is.
pub(super) fn flatten(call: Call) -> Bind {
    call.arity(1..=1)?;
    let inner = call.item(0)?;
    let kind = item_of(&inner).cloned().ok_or_else(|| call.refuse())?;
    let kernel = on_arrays(move |args| {
        let outer = Lists::new(&args[0]);
        let inner = Lists::new(outer.items());
        let mut builder = Builder::default();
        for row in 0..args[0].len() {
            let all: Option<Vec<_>> =
                outer.places(row).and_then(|places| places.map(|at| inner.places(at)).collect());
            builder.row(0, all.map(|all| all.into_iter().flatten()));
        }
        builder.finish(&kind, &[inner.items()])
    });
    call.apply(inner, kernel)
}

/// Some items from a place on, from 1 or from the end.
pub(super) fn slice(mut call: Call) -> Bind {
    call.arity(3..=3)?;
    let kind = call.item(0)?;
    let returns = list_of(kind.clone());
    let (start, length) = (call.constant_int(1, "the start")?, call.constant_int(2, "the length")?);
    let (Some(start), Some(length)) = (start, length) else { return Ok(Bound::null(&returns)) };
    if start == 0 || length < 0 {
        let message = "slice takes a start from 1 on or from −1 down, and no negative length";
        return Err(SqlError::invalid(message, call.span));
    }
    call.args.truncate(1);
    rearranged_as(call, format!("slice {start} {length}"), move |_, places| {
        let size = places.len() as i64;
        let from = if start > 0 { i64::from(start) - 1 } else { size + i64::from(start) };
        if from < 0 || from >= size {
            return Vec::new();
        }
        let from = from as usize;
        places.skip(from).take(length as usize).collect()
    })
}

/// An array's item, from 1 on or from the end; a map's value. Null where there is none.
pub(super) fn element_at(mut call: Call) -> Bind {
    call.arity(2..=2)?;
    if let Some((key, _)) = entry_of(&call.args[0].kind) {
        let Some(kind) = coerce::wider(&key, &call.args[1].kind, false) else { return Err(call.refuse()) };
        if kind != key {
            return Err(call.refuse());
        }
        call.cast(1, &key)?;
        return super::maps::value_of(call);
    }
    let kind = call.item(0)?;
    if !coerce::is_integer(&call.args[1].kind) {
        return Err(call.refuse());
    }
    // 0 stops Spark's query, so it must be seen before.
    let Some(at) = call.constant_int(1, "the place (`[…]` takes any)")? else {
        return Ok(Bound::null(&kind));
    };
    if at == 0 {
        return Err(SqlError::invalid("places in an array are from 1 on", call.spans[1].clone()));
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

/// Structs of the items in the same places, as many as the longest array has.
pub(super) fn arrays_zip(call: Call) -> Bind {
    call.arity(1..=usize::MAX)?;
    // Columns lend their names to the fields.
    if call.args.iter().any(|arg| arg.constant().is_none()) {
        let error = SqlError::unsupported("arrays_zip of columns", call.span);
        return Err(error.help("write zip_with(a, b, (x, y) -> named_struct('a', x, 'b', y))"));
    }
    let kinds: Vec<_> = (0..call.args.len()).map(|at| call.item(at)).collect::<Bind<_>>()?;
    let fields: arrow::datatypes::Fields = kinds
        .iter()
        .enumerate()
        .map(|(at, kind)| arrow::datatypes::Field::new(at.to_string(), kind.clone(), true))
        .collect();
    let kind = DataType::Struct(fields.clone());
    let returns = list_of(kind.clone());
    let kernel = on_arrays(move |args| {
        let lists: Vec<_> = args.iter().map(Lists::new).collect();
        let mut columns: Vec<Builder> = args.iter().map(|_| Builder::default()).collect();
        let (mut ends, mut valid, mut end) = (Vec::new(), Vec::new(), 0_i32);
        for row in 0..args[0].len() {
            let places: Option<Vec<_>> = lists.iter().map(|lists| lists.places(row)).collect();
            let longest = places.iter().flatten().map(|places| places.len()).max().unwrap_or(0);
            for (column, places) in columns.iter_mut().zip(places.iter().flatten()) {
                (0..longest).for_each(|at| match at < places.len() {
                    true => column.push(0, places.start + at),
                    false => column.push(1, 0),
                });
            }
            end += longest as i32;
            ends.push(end);
            valid.push(places.is_some());
        }
        let mut children = Vec::new();
        for ((mut column, lists), kind) in columns.into_iter().zip(&lists).zip(&kinds) {
            column.end_row();
            let whole = column.finish(kind, &[lists.items()])?;
            children.push(whole.as_list::<i32>().values().clone());
        }
        let items: ArrayRef = Arc::new(arrow::array::StructArray::try_new(fields.clone(), children, None)?);
        Ok(super::lists::list_array(&kind, items, ends, valid))
    });
    call.apply(returns, kernel)
}

/// Whole numbers or dates from one to another, both included.
pub(super) fn sequence(mut call: Call) -> Bind {
    call.arity(2..=3)?;
    call.only_constants(
        "a step in the wrong direction",
        "write the numbers out, or run the flow on Spark (`runner: spark`)",
    )?;
    let kind = coerce::wider(&call.args[0].kind, &call.args[1].kind, false).filter(coerce::is_integer);
    let Some(kind) = kind else { return Err(call.refuse()) };
    let kind = call
        .args
        .get(2)
        .map_or(Some(kind.clone()), |step| coerce::wider(&kind, &step.kind, false))
        .filter(coerce::is_integer);
    let Some(kind) = kind else { return Err(call.refuse()) };
    let mut numbers = Vec::new();
    for at in 0..call.args.len() {
        call.cast(at, &DataType::Int64)?;
        match call.args[at].constant() {
            Some(ScalarValue::Int64(Some(number))) => numbers.push(*number),
            _ => return Ok(Bound::null(&list_of(kind))),
        }
    }
    let (start, stop) = (numbers[0], numbers[1]);
    let step = numbers.get(2).copied().unwrap_or(if start <= stop { 1 } else { -1 });
    let wrong = (step > 0 && start > stop) || (step < 0 && start < stop) || (step == 0 && start != stop);
    if wrong {
        return Err(SqlError::invalid("the step leads away from the end", call.span));
    }
    let count = if step == 0 { 1 } else { (i128::from(stop) - i128::from(start)) / i128::from(step) + 1 };
    if count > ITEMS_MAX.into() {
        return Err(super::letters::too_long(&call, 1));
    }
    let items: Int64Array = (0..count as i64).map(|at| start + at * step).collect();
    let items = arrow::compute::cast(&items, &kind)
        .map_err(|e| SqlError::unsupported(e.to_string(), call.span.clone()))?;
    let list = super::lists::list_array(&kind, items, vec![count as i32], vec![true]);
    let value =
        ScalarValue::try_from_array(&list, 0).map_err(|e| SqlError::unsupported(e.to_string(), call.span))?;
    Ok(Bound::literal(value))
}
