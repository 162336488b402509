//! Arrays put together: items added, arrays joined, cut, zipped and counted out.
//! Source: Spark's `collectionOperations`.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;

use super::Call;
use super::arrays::rearranged_as;
use super::lists::{Builder, Lists, item_of, list_of};
use super::rows::{Cell, Text};
use crate::bind::Bind;
use crate::bind::coerce;
use crate::error::SqlError;
use crate::operation::{Bound, on_arrays};

/// More items than one call may make out of a constant.
const ITEMS_MAX: i64 = 100_000;

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
    if !coerce::is_integer(&call.args[1].kind) || call.args[1].kind == DataType::Int64 {
        return Err(call.refuse());
    }
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
    if !coerce::is_atomic(&call.item(0)?) {
        return Err(call.refuse());
    }
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
    if !matches!(call.args[1].kind, DataType::Int32 | DataType::Null) {
        return Err(call.refuse());
    }
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
        let item = item_of(&arg.kind).ok_or_else(|| call.refuse())?;
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
    let Some(distance) = stop.checked_sub(start) else {
        return Err(SqlError::invalid(
            "the end is farther from the beginning than a BIGINT counts",
            call.span,
        ));
    };
    let wrong = (step > 0 && start > stop) || (step < 0 && start < stop) || (step == 0 && start != stop);
    if wrong {
        return Err(SqlError::invalid("the step leads away from the end", call.span));
    }
    let count = if step == 0 { 1 } else { i128::from(distance) / i128::from(step) + 1 };
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
