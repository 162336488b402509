//! Maps: made out of constants, looked into, taken apart. A key that comes twice, or that is null,
//! stops Spark's query, so maps with keys out of columns are refused.
//! Source: Spark's `complexTypeCreator`, `collectionOperations`, `ArrayBasedMapBuilder`.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StructArray, UInt64Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::DataFusionError;

use super::Call;
use super::arrays::is_equal;
use super::lists::{Builder, Lists, entry_of, list_of};
use super::order;
use super::rows::{Cell, Flag, Text};
use super::sets::column_of_maps;
use crate::bind::{Bind, coerce, has_floats};
use crate::error::SqlError;
use crate::java_regex::Pattern;
use crate::operation::on_arrays;
use crate::types::map_of;

const BUILD: &str =
    "write map(…) with constant keys, named_struct(…), or run the flow on Spark (`runner: spark`)";

/// `map(key, value, …)`, of constant keys.
pub(super) fn map(mut call: Call) -> Bind {
    call.arity(2..=usize::MAX)?;
    if !call.args.len().is_multiple_of(2) {
        return Err(SqlError::invalid("map takes pairs of a key and a value", call.span));
    }
    let (keys, values): (Vec<_>, Vec<_>) = call.args.drain(..).enumerate().partition(|(at, _)| at % 2 == 0);
    let bare =
        |pairs: Vec<(usize, crate::operation::Bound)>| pairs.into_iter().map(|(_, value)| value).collect();
    let (key, keys) = coerce::all_alike(bare(keys), call.span.clone())?;
    let (value, values) = coerce::all_alike(bare(values), call.span.clone())?;
    if keys.iter().any(|key| key.constant().is_none()) {
        let message = "map of keys that are no constants: a key that comes twice stops Spark's query";
        return Err(SqlError::unsupported(message, call.span).help("write named_struct('name', value, …)"));
    }
    if keys.iter().any(|key| key.is_null_constant()) {
        return Err(SqlError::invalid("a map's key is null", call.span));
    }
    if !order::is_orderable(&key) || has_floats(&key) {
        return Err(call.refuse());
    }
    let twice = keys
        .iter()
        .enumerate()
        .any(|(at, key)| keys[..at].iter().any(|before| before.constant() == key.constant()));
    if twice {
        return Err(SqlError::invalid("a map's key comes twice", call.span));
    }
    let returns = map_of(key.clone(), value.clone());
    let pairs = keys.len();
    let kernel = on_arrays(move |args| {
        let mut builder = Builder::default();
        for row in 0..args[0].len() {
            (0..pairs).for_each(|pair| builder.push(pair, row));
            builder.end_row();
        }
        let (keys, values) = args.split_at(pairs);
        builder.finish_map(
            (&key, &value),
            &keys.iter().collect::<Vec<_>>(),
            &values.iter().collect::<Vec<_>>(),
        )
    });
    call.args = keys.into_iter().chain(values).collect();
    call.apply(returns, kernel)
}

impl Call {
    /// Refuses keys that are FLOATs or DOUBLEs: what −0.0 becomes depends on how Spark makes the map.
    pub(super) fn exact_key(&self, key: &DataType) -> Bind<()> {
        if has_floats(key) { Err(self.refuse()) } else { Ok(()) }
    }
}

/// Refuses a key that comes twice.
pub(super) fn check_keys(map: &ArrayRef) -> Result<(), DataFusionError> {
    let lists = Lists::new(map);
    let keys = map.as_map().keys();
    for places in (0..map.len()).filter_map(|row| lists.places(row)) {
        for at in places.clone() {
            if (places.start..at).any(|before| is_equal(keys, before, keys, at)) {
                return Err(DataFusionError::Execution("a map's key comes twice".into()));
            }
        }
    }
    Ok(())
}

pub(super) fn map_from_arrays(call: Call) -> Bind {
    call.arity(2..=2)?;
    call.only_constants("a key that comes twice", BUILD)?;
    let (key, value) = (call.item(0)?, call.item(1)?);
    call.exact_key(&key)?;
    let returns = map_of(key.clone(), value.clone());
    let kernel = on_arrays(move |args| {
        let (keys, values) = (Lists::new(&args[0]), Lists::new(&args[1]));
        let mut all_keys = Builder::default();
        let mut all_values = Builder::default();
        for row in 0..args[0].len() {
            let (Some(a), Some(b)) = (keys.places(row), values.places(row)) else {
                all_keys.null_row();
                all_values.null_row();
                continue;
            };
            if a.len() != b.len() {
                return Err(DataFusionError::Execution("not as many keys as values".into()));
            }
            all_keys.row(0, Some(a));
            all_values.row(0, Some(b));
        }
        zipped(all_keys.finish(&key, &[keys.items()])?, all_values.finish(&value, &[values.items()])?)
    });
    call.apply(returns, kernel)
}

/// A map out of arrays of its keys and its values, which are as long as each other.
fn zipped(keys: ArrayRef, values: ArrayRef) -> Result<ArrayRef, DataFusionError> {
    let (keys, values) = (keys.as_list::<i32>(), values.as_list::<i32>());
    let ends = keys.value_offsets()[1..].to_vec();
    let valid = (0..keys.len()).map(|row| keys.is_valid(row)).collect();
    let map = super::lists::map_array(keys.values().clone(), values.values().clone(), ends, valid)?;
    check_keys(&map)?;
    Ok(map)
}

pub(super) fn map_from_entries(call: Call) -> Bind {
    call.arity(1..=1)?;
    call.only_constants("a key that comes twice", BUILD)?;
    let DataType::Struct(fields) = call.item(0)? else { return Err(call.refuse()) };
    let [key, value] = fields.as_ref() else { return Err(call.refuse()) };
    let (key, value) = (key.data_type().clone(), value.data_type().clone());
    call.exact_key(&key)?;
    let returns = map_of(key.clone(), value.clone());
    let kernel = on_arrays(move |args| {
        let lists = Lists::new(&args[0]);
        let entries = lists.items().as_struct();
        let mut keys = Builder::default();
        let mut values = Builder::default();
        for row in 0..args[0].len() {
            // An entry that is null makes the map null.
            let places = lists.places(row).filter(|places| places.clone().all(|at| entries.is_valid(at)));
            keys.row(0, places.clone());
            values.row(0, places);
        }
        zipped(keys.finish(&key, &[entries.column(0)])?, values.finish(&value, &[entries.column(1)])?)
    });
    call.apply(returns, kernel)
}

/// Texts between delimiters, which are patterns, as keys and values.
pub(super) fn str_to_map(mut call: Call) -> Bind {
    call.arity(1..=3)?;
    call.only_constants("a key that comes twice", BUILD)?;
    let mut delimiters = Vec::new();
    for (at, default) in [(1, ","), (2, ":")] {
        let text = if at < call.args.len() {
            call.constant_text(at, "a delimiter")?
        } else {
            Some(default.to_owned())
        };
        let pattern = text.and_then(|text| Pattern::new(&text).ok()).filter(|pattern| !pattern.may_be_empty);
        delimiters.push(pattern.ok_or_else(|| call.refuse())?);
    }
    call.args.truncate(1);
    call.cast(0, &DataType::Utf8)?;
    let kernel = on_arrays(move |args| {
        let mut keys = arrow::array::StringBuilder::new();
        let mut values = arrow::array::StringBuilder::new();
        let (mut ends, mut valid, mut end) = (Vec::new(), Vec::new(), 0);
        for row in 0..args[0].len() {
            valid.push(args[0].is_valid(row));
            if args[0].is_valid(row) {
                for pair in super::pattern::parts(&delimiters[0], Text::get(&args[0], row), -1) {
                    let mut parts = super::pattern::parts(&delimiters[1], &pair, 2).into_iter();
                    keys.append_option(parts.next());
                    values.append_option(parts.next());
                    end += 1;
                }
            }
            ends.push(end);
        }
        let map = super::lists::map_array(Arc::new(keys.finish()), Arc::new(values.finish()), ends, valid)?;
        check_keys(&map)?;
        Ok(map)
    });
    call.apply(map_of(DataType::Utf8, DataType::Utf8), kernel)
}

/// All entries of all maps, null where any map is.
pub(super) fn map_concat(call: Call) -> Bind {
    call.arity(1..=usize::MAX)?;
    call.only_constants("a key that comes twice", BUILD)?;
    let kind = call.args[0].kind.clone();
    let Some((key, value)) = entry_of(&kind) else { return Err(call.refuse()) };
    call.exact_key(&key)?;
    if call.args.iter().any(|arg| arg.kind != kind) {
        return Err(call.refuse());
    }
    let kernel = on_arrays(move |args| {
        let maps: Vec<_> = args.iter().map(Lists::new).collect();
        let mut builder = Builder::default();
        for row in 0..args[0].len() {
            let all: Option<Vec<_>> = maps.iter().map(|map| map.places(row)).collect();
            match all {
                Some(all) => {
                    all.into_iter()
                        .enumerate()
                        .for_each(|(map, places)| places.for_each(|at| builder.push(map, at)));
                    builder.end_row();
                }
                None => builder.null_row(),
            }
        }
        let keys: Vec<_> = args.iter().map(|map| map.as_map().keys()).collect();
        let values: Vec<_> = args.iter().map(|map| map.as_map().values()).collect();
        let map = builder.finish_map((&key, &value), &keys, &values)?;
        check_keys(&map)?;
        Ok(map)
    });
    call.apply(kind, kernel)
}

impl Call {
    fn entry(&self, at: usize) -> Bind<(DataType, DataType)> {
        entry_of(&self.args[at].kind).ok_or_else(|| self.refuse())
    }
}

pub(super) fn map_keys(call: Call) -> Bind {
    call.arity(1..=1)?;
    let (key, _) = call.entry(0)?;
    let returns = list_of(key.clone());
    call.apply(returns, on_arrays(move |args| Ok(super::sets::keys(&args[0], &key))))
}

pub(super) fn map_values(call: Call) -> Bind {
    call.arity(1..=1)?;
    let (_, value) = call.entry(0)?;
    let returns = list_of(value.clone());
    call.apply(
        returns,
        on_arrays(move |args| Ok(column_of_maps(&args[0], args[0].as_map().values(), &value))),
    )
}

/// Structs of `key` and `value`.
pub(super) fn map_entries(call: Call) -> Bind {
    call.arity(1..=1)?;
    let (key, value) = call.entry(0)?;
    let fields = Fields::from(vec![Field::new("key", key, true), Field::new("value", value, true)]);
    let kind = DataType::Struct(fields.clone());
    let returns = list_of(kind.clone());
    let kernel = on_arrays(move |args| {
        let map = args[0].as_map();
        let entries: ArrayRef = Arc::new(StructArray::try_new(
            fields.clone(),
            vec![map.keys().clone(), map.values().clone()],
            None,
        )?);
        Ok(column_of_maps(&args[0], &entries, &kind))
    });
    call.apply(returns, kernel)
}

pub(super) fn map_contains_key(mut call: Call) -> Bind {
    call.arity(2..=2)?;
    call.refuse_null(1)?;
    let (key, _) = call.entry(0)?;
    if coerce::wider(&key, &call.args[1].kind, false).as_ref() != Some(&key) {
        return Err(call.refuse());
    }
    call.cast(1, &key)?;
    let kernel = on_arrays(|args| {
        let map = Lists::new(&args[0]);
        let keys = args[0].as_map().keys();
        let cells = (0..args[0].len()).map(|row| {
            let mut places = map.places(row).filter(|_| args[1].is_valid(row))?;
            Some(places.any(|at| is_equal(keys, at, &args[1], row)))
        });
        Ok(Flag::collect(cells))
    });
    call.apply(DataType::Boolean, kernel)
}

/// The value of a key, which is of the map's type; null where there is none.
pub(super) fn value_of(call: Call) -> Bind {
    let (key, value) = call.entry(0)?;
    if !order::is_orderable(&key) {
        return Err(call.refuse());
    }
    let kernel = on_arrays(|args| {
        let map = Lists::new(&args[0]);
        let keys = args[0].as_map().keys();
        let places = (0..args[0].len()).map(|row| {
            let mut places = map.places(row).filter(|_| args[1].is_valid(row))?;
            places.find(|at| is_equal(keys, *at, &args[1], row)).map(|at| at as u64)
        });
        Ok(take(args[0].as_map().values(), &places.collect::<UInt64Array>(), None)?)
    });
    call.apply(value, kernel)
}

#[cfg(test)]
mod tests {
    use crate::answer;

    #[test]
    fn no_key_is_null_or_comes_twice() {
        for (sql, expected) in [
            ("SELECT map(1/0, 2)", "key is null"),
            ("SELECT map_from_arrays(array(1 DIV 0, 3), array('2', '4'))", "key is null"),
            ("SELECT map_from_entries(array(struct(1 DIV 0, 2)))", "key is null"),
            ("SELECT transform_keys(map(1, 2), (k, v) -> 1 DIV 0)", "key is null"),
            ("SELECT map_from_arrays(array(NULL), array(1))", "key is null"),
            ("SELECT map_from_arrays(array(1, 1), array('2', '4'))", "key comes twice"),
            ("SELECT map_from_entries(array(struct(0.0D, 2)))", "not answered natively"),
            ("SELECT transform_keys(map(1, 2), (k, v) -> 1/2)", "not answered natively"),
        ] {
            let error = answer(sql).expect_err(sql).to_string();
            assert!(error.contains(expected), "{sql}: {error}");
        }
    }
}
