//! Functions over the items of arrays and the entries of maps: `transform(a, x -> x + 1)`. The
//! items of all rows are put one after another, and the body is evaluated over them at once, or over some after
//! others where much of their rows is repeated for them. Source: Spark's `higherOrderFunctions`.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Int32Array, RecordBatch, RecordBatchOptions, UInt64Array, new_empty_array,
};
use arrow::compute::{concat, interleave, take};
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::Result;
use datafusion::physical_expr::PhysicalExpr;

use super::Call;
use super::lists::{Builder, Lists, entry_of, list_array, list_of, map_array};
use super::rows::{Cell, Flag};
use crate::bind::{self, Bind, Scope};
use crate::error::SqlError;
use crate::operation::{Bound, apply_hiding, on_arrays};
use crate::syntax;
use crate::types::{map_of, simple_string};

/// More bytes of rows are not repeated for their items at once.
const REPEATED_BYTES_MAX: usize = 64 << 20;

/// An argument that is a function, with what its body sees.
pub(crate) struct Lambda {
    pub(crate) names: Vec<String>,
    pub(crate) body: syntax::Expr,
    pub(crate) scope: Scope,
    pub(crate) span: Range<usize>,
}

/// A function whose parameters have types.
struct Body {
    kind: DataType,
    /// What it is, for telling operations apart.
    label: String,
    physical: Arc<dyn PhysicalExpr>,
    schema: SchemaRef,
    /// What it takes of its row, beside the parameters.
    captured: Vec<Bound>,
    /// How many steps it is computed in.
    steps: usize,
}

impl Lambda {
    /// Binds the body for parameters of these types, of which the last may be left out.
    fn bind(self, kinds: &[DataType], required: usize) -> Bind<Body> {
        let count = self.names.len();
        if count < required || count > kinds.len() {
            let message = format!("a function of {} parameter(s) is needed here", kinds.len());
            return Err(SqlError::invalid(message, self.span));
        }
        let lower: Vec<_> = self.names.iter().map(|name| name.to_lowercase()).collect();
        if (1..count).any(|at| lower[..at].contains(&lower[at])) {
            return Err(SqlError::invalid("two parameters of a function have one name", self.span));
        }
        let parameters: Vec<_> = self.names.iter().cloned().zip(kinds.iter().cloned()).collect();
        let scope = Scope::of_function(self.scope, &parameters);
        let body = bind::bind(&self.body, &scope)?;
        let (schema, captured) = scope.function_inputs();
        let physical = crate::plan::physical(&body.expr, &schema).map_err(bind::failed(&self.span))?;
        let (label, steps) = (format!("{:?} {}", self.names, body.expr), bind::steps(&body.expr));
        Ok(Body { kind: body.kind, label, physical, schema: Arc::new(schema), captured, steps })
    }
}

impl Body {
    /// Evaluates the body over `rows` of parameters (those it has) and captured columns.
    fn evaluate(&self, parameters: &[ArrayRef], captured: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
        if rows == 0 {
            // DataFusion computes some branches also for no row, and may fail.
            return Ok(new_empty_array(&self.kind));
        }
        let own = self.schema.fields().len() - captured.len();
        let columns = parameters[..own].iter().chain(captured).cloned().collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?;
        self.physical.evaluate(&batch)?.into_array(rows)
    }
}

impl Call {
    /// The function at `at`.
    fn lambda(&mut self, at: usize) -> Bind<Lambda> {
        match self.lambdas.get_mut(at).and_then(Option::take) {
            Some(lambda) => Ok(lambda),
            None => {
                let message = format!("{} takes a function here, like x -> x + 1", self.name);
                Err(SqlError::invalid(message, self.spans.get(at).unwrap_or(&self.span).clone()))
            }
        }
    }

    /// Applies a kernel that is handed the first `values` arguments and the captured columns.
    fn apply_body(
        mut self,
        values: usize,
        body: Body,
        returns: DataType,
        compute: impl Fn(&Body, &[ArrayRef], &[ArrayRef]) -> Result<ArrayRef> + Send + Sync + 'static,
    ) -> Bind {
        self.args.truncate(values);
        self.args.extend(body.captured.iter().cloned());
        let (name, steps) = (format!("{} {}", self.name, body.label), body.steps);
        let kernel = on_arrays(move |args| {
            let (args, captured) = args.split_at(values);
            compute(&body, args, captured)
        });
        apply_hiding(steps, name, returns, kernel, self.args).map_err(bind::failed(&self.span))
    }
}

/// The items of all rows: their places, and the row each is in.
struct Items {
    places: UInt64Array,
    rows: UInt64Array,
    /// The place of each in its own row.
    indexes: ArrayRef,
    /// Where each row's items end among them.
    ends: Vec<i32>,
    valid: Vec<bool>,
}

impl Items {
    fn new(array: &ArrayRef) -> Self {
        let lists = Lists::new(array);
        let (mut places, mut rows, mut indexes) = (Vec::new(), Vec::new(), Vec::new());
        let (mut ends, mut valid) = (Vec::new(), Vec::new());
        for row in 0..array.len() {
            let items = lists.places(row);
            valid.push(items.is_some());
            for (index, place) in items.into_iter().flatten().enumerate() {
                places.push(place as u64);
                rows.push(row as u64);
                indexes.push(index as i32);
            }
            ends.push(places.len() as i32);
        }
        Self {
            places: places.into(),
            rows: rows.into(),
            indexes: Arc::new(Int32Array::from(indexes)),
            ends,
            valid,
        }
    }

    fn len(&self) -> usize {
        self.places.len()
    }

    /// The items themselves, out of the column that holds them.
    fn of(&self, items: &ArrayRef) -> Result<ArrayRef> {
        Ok(take(items, &self.places, None)?)
    }

    /// What the body gives for each item.
    fn evaluate(&self, body: &Body, parameters: &[ArrayRef], captured: &[ArrayRef]) -> Result<ArrayRef> {
        let at_once = self.at_once(captured);
        if self.len() <= at_once {
            return self.evaluate_some(0..self.len(), body, parameters, captured);
        }
        let starts = (0..self.len()).step_by(at_once);
        let some = starts.map(|start| {
            self.evaluate_some(start..self.len().min(start + at_once), body, parameters, captured)
        });
        let parts: Vec<ArrayRef> = some.collect::<Result<_>>()?;
        let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
        Ok(concat(&parts)?)
    }

    fn evaluate_some(
        &self,
        some: Range<usize>,
        body: &Body,
        parameters: &[ArrayRef],
        captured: &[ArrayRef],
    ) -> Result<ArrayRef> {
        let parameters: Vec<_> = parameters.iter().map(|items| items.slice(some.start, some.len())).collect();
        let rows = self.rows.slice(some.start, some.len());
        let captured: Vec<ArrayRef> =
            captured.iter().map(|column| take(column, &rows, None)).collect::<Result<_, _>>()?;
        body.evaluate(&parameters, &captured, some.len())
    }

    /// For how many items the columns of their rows are repeated at once. No row is repeated more often than the
    /// longest has items.
    fn at_once(&self, columns: &[ArrayRef]) -> usize {
        let bytes: usize = columns.iter().map(|column| column.get_array_memory_size()).sum();
        let places = (0..self.valid.len()).filter_map(|row| self.row(row));
        let longest = places.map(|places| places.len()).max().unwrap_or(0);
        match bytes.saturating_mul(longest) > REPEATED_BYTES_MAX {
            true => (REPEATED_BYTES_MAX / bytes).max(1),
            false => usize::MAX,
        }
    }

    /// The items of each row.
    fn row(&self, row: usize) -> Option<Range<usize>> {
        let start = row.checked_sub(1).map_or(0, |before| self.ends[before]);
        self.valid[row].then(|| start as usize..self.ends[row] as usize)
    }
}

/// The array of what the function gives for each item (and its place).
pub(super) fn transform(mut call: Call) -> Bind {
    call.arity(2..=2)?;
    let kind = call.item(0)?;
    let body = call.lambda(1)?.bind(&[kind, DataType::Int32], 1)?;
    let item = body.kind.clone();
    call.apply_body(1, body, list_of(item.clone()), move |body, args, captured| {
        let items = Items::new(&args[0]);
        let own = [items.of(args[0].as_list::<i32>().values())?, items.indexes.clone()];
        let results = items.evaluate(body, &own, captured)?;
        Ok(list_array(&item, results, items.ends, items.valid))
    })
}

/// Refuses a function that gives no truth value.
fn condition(body: Body, span: &Range<usize>) -> Bind<Body> {
    if body.kind == DataType::Boolean {
        return Ok(body);
    }
    let message = format!("this function must give true or false, it gives {}", simple_string(&body.kind));
    Err(SqlError::invalid(message, span.clone()))
}

/// The items for which the function gives true.
pub(super) fn filter(mut call: Call) -> Bind {
    call.arity(2..=2)?;
    let kind = call.item(0)?;
    let body = call.lambda(1)?.bind(&[kind.clone(), DataType::Int32], 1)?;
    let body = condition(body, &call.span)?;
    call.apply_body(1, body, list_of(kind.clone()), move |body, args, captured| {
        let items = Items::new(&args[0]);
        let all = args[0].as_list::<i32>().values();
        let own = [items.of(all)?, items.indexes.clone()];
        let kept = items.evaluate(body, &own, captured)?;
        let kept = kept.as_boolean();
        let mut builder = Builder::default();
        for row in 0..args[0].len() {
            let places = items.row(row).map(|places| {
                places
                    .filter(|at| kept.is_valid(*at) && kept.value(*at))
                    .map(|at| items.places.value(at) as usize)
            });
            builder.row(0, places);
        }
        builder.finish(&kind, &[all])
    })
}

/// Whether the function gives `wanted` for any item; null where it gives it for none and null for one.
fn any(mut call: Call, wanted: bool) -> Bind {
    call.arity(2..=2)?;
    let kind = call.item(0)?;
    let body = call.lambda(1)?.bind(&[kind], 1)?;
    let body = condition(body, &call.span)?;
    call.apply_body(1, body, DataType::Boolean, move |body, args, captured| {
        let items = Items::new(&args[0]);
        let own = [items.of(args[0].as_list::<i32>().values())?];
        let answers = items.evaluate(body, &own, captured)?;
        let answers = answers.as_boolean();
        let cells = (0..args[0].len()).map(|row| {
            let places = items.row(row)?;
            let found = places.clone().any(|at| answers.is_valid(at) && answers.value(at) == wanted);
            let unknown = places.into_iter().any(|at| answers.is_null(at));
            if found { Some(wanted) } else { (!unknown).then_some(!wanted) }
        });
        Ok(Flag::collect(cells))
    })
}

pub(super) fn exists(call: Call) -> Bind {
    any(call, true)
}

pub(super) fn forall(call: Call) -> Bind {
    any(call, false)
}

/// Item by item from a start value on: `aggregate(a, 0, (sum, x) -> sum + x, sum -> sum)`.
pub(super) fn aggregate(mut call: Call) -> Bind {
    call.arity(3..=4)?;
    let item = call.item(0)?;
    let state = call.args[1].kind.clone();
    let merge = call.lambda(2)?.bind(&[state.clone(), item], 2)?;
    if merge.kind != state {
        let (from, to) = (simple_string(&state), simple_string(&merge.kind));
        let message = format!("the start value is {from}, but the function makes it {to}");
        return Err(SqlError::invalid(message, call.spans[2].clone()).help("CAST the start value"));
    }
    let finish = if call.args.len() == 4 { Some(call.lambda(3)?) } else { None };
    let (span, array) = (call.span.clone(), call.args[0].clone());
    let folded = call.apply_body(2, merge, state.clone(), |body, args, captured| {
        let items = Items::new(&args[0]);
        let all = items.of(args[0].as_list::<i32>().values())?;
        let rows = args[0].len();
        let longest =
            (0..rows).filter_map(|row| items.row(row)).map(|places| places.len()).max().unwrap_or(0);
        let mut state = args[1].clone();
        for step in 0..longest {
            // The rows that have so many items, and those items.
            let active: Vec<(usize, usize)> = (0..rows)
                .filter_map(|row| Some((row, items.row(row)?)))
                .filter(|(_, places)| places.len() > step)
                .map(|(row, places)| (row, places.start + step))
                .collect();
            let picked: UInt64Array = active.iter().map(|(row, _)| *row as u64).collect::<Vec<_>>().into();
            let of_step: UInt64Array =
                active.iter().map(|(_, place)| *place as u64).collect::<Vec<_>>().into();
            let own = [take(&state, &picked, None)?, take(&all, &of_step, None)?];
            let captured: Vec<ArrayRef> =
                captured.iter().map(|column| take(column, &picked, None)).collect::<Result<_, _>>()?;
            let next = body.evaluate(&own, &captured, active.len())?;
            let mut cells: Vec<(usize, usize)> = (0..rows).map(|row| (0, row)).collect();
            active.iter().enumerate().for_each(|(at, (row, _))| cells[*row] = (1, at));
            state = interleave(&[state.as_ref(), next.as_ref()], &cells)?;
        }
        // Null where the array is.
        let cells: Vec<Option<u64>> = (0..rows).map(|row| items.valid[row].then_some(row as u64)).collect();
        Ok(take(&state, &UInt64Array::from(cells), None)?)
    })?;
    let Some(finish) = finish else { return Ok(folded) };
    let body = finish.bind(&[state], 1)?;
    let kind = body.kind.clone();
    let call = Call::new("aggregate's end", vec![folded, array], vec![span.clone(); 2], span);
    call.apply_body(2, body, kind, |body, args, captured| {
        let rows = args[0].len();
        let finished = body.evaluate(args, captured, rows)?;
        let known: UInt64Array = (0..rows).map(|row| args[1].is_valid(row).then_some(row as u64)).collect();
        Ok(take(&finished, &known, None)?)
    })
}

/// The array of what the function gives for the items in the same places; the shorter array is
/// filled up with nulls.
pub(super) fn zip_with(mut call: Call) -> Bind {
    call.arity(3..=3)?;
    let (a, b) = (call.item(0)?, call.item(1)?);
    let body = call.lambda(2)?.bind(&[a.clone(), b.clone()], 2)?;
    let item = body.kind.clone();
    call.apply_body(2, body, list_of(item.clone()), move |body, args, captured| {
        let (left, right) = (Lists::new(&args[0]), Lists::new(&args[1]));
        let (mut lefts, mut rights) = (Builder::default(), Builder::default());
        for row in 0..args[0].len() {
            let (Some(x), Some(y)) = (left.places(row), right.places(row)) else {
                lefts.null_row();
                rights.null_row();
                continue;
            };
            for at in 0..x.len().max(y.len()) {
                if at < x.len() {
                    lefts.push(0, x.start + at)
                } else {
                    lefts.push(1, 0)
                }
                if at < y.len() { rights.push(0, y.start + at) } else { rights.push(1, 0) }
            }
            lefts.end_row();
            rights.end_row();
        }
        let lefts = lefts.finish(&a, &[left.items()])?;
        let rights = rights.finish(&b, &[right.items()])?;
        let items = Items::new(&lefts);
        let own = [items.of(lefts.as_list::<i32>().values())?, items.of(rights.as_list::<i32>().values())?];
        let results = items.evaluate(body, &own, captured)?;
        Ok(list_array(&item, results, items.ends, items.valid))
    })
}

/// The keys and values of a map's entries, one after another.
fn entries(items: &Items, map: &ArrayRef) -> Result<[ArrayRef; 2]> {
    Ok([items.of(map.as_map().keys())?, items.of(map.as_map().values())?])
}

impl Call {
    fn entry_body(&mut self) -> Bind<(DataType, DataType, Body)> {
        self.arity(2..=2)?;
        let Some((key, value)) = entry_of(&self.args[0].kind) else { return Err(self.refuse()) };
        let body = self.lambda(1)?.bind(&[key.clone(), value.clone()], 2)?;
        Ok((key, value, body))
    }
}

/// The entries for which the function gives true.
pub(super) fn map_filter(mut call: Call) -> Bind {
    let (key, value, body) = call.entry_body()?;
    let body = condition(body, &call.span)?;
    let returns = map_of(key.clone(), value.clone());
    call.apply_body(1, body, returns, move |body, args, captured| {
        let items = Items::new(&args[0]);
        let kept = items.evaluate(body, &entries(&items, &args[0])?, captured)?;
        let kept = kept.as_boolean();
        let mut builder = Builder::default();
        for row in 0..args[0].len() {
            let places = items.row(row).map(|places| {
                places
                    .filter(|at| kept.is_valid(*at) && kept.value(*at))
                    .map(|at| items.places.value(at) as usize)
            });
            builder.row(0, places);
        }
        let map = args[0].as_map();
        builder.finish_map((&key, &value), &[map.keys()], &[map.values()])
    })
}

/// The map with the values that the function gives.
pub(super) fn transform_values(mut call: Call) -> Bind {
    let (key, _, body) = call.entry_body()?;
    let returns = map_of(key, body.kind.clone());
    call.apply_body(1, body, returns, |body, args, captured| {
        let items = Items::new(&args[0]);
        let own = entries(&items, &args[0])?;
        let values = items.evaluate(body, &own, captured)?;
        map_array(own[0].clone(), values, items.ends, items.valid)
    })
}

/// The map with the keys that the function gives, out of constants: two that are alike stop Spark's
/// query.
pub(super) fn transform_keys(mut call: Call) -> Bind {
    let (_, value, body) = call.entry_body()?;
    if call.args[0].constant().is_none() || !body.captured.is_empty() {
        let message = "transform_keys of a column: two keys that become one stop Spark's query";
        return Err(SqlError::unsupported(message, call.span).help("run the flow on Spark (`runner: spark`)"));
    }
    call.exact_key(&body.kind)?;
    let returns = map_of(body.kind.clone(), value);
    call.apply_body(1, body, returns, |body, args, captured| {
        let items = Items::new(&args[0]);
        let own = entries(&items, &args[0])?;
        let keys = items.evaluate(body, &own, captured)?;
        let map = map_array(keys, own[1].clone(), items.ends, items.valid)?;
        super::maps::check_keys(&map)?;
        Ok(map)
    })
}

/// A map of the keys of both with what the function makes of their values, null where one has none.
pub(super) fn map_zip_with(mut call: Call) -> Bind {
    call.arity(3..=3)?;
    let (Some((key, a)), Some((other, b))) = (entry_of(&call.args[0].kind), entry_of(&call.args[1].kind))
    else {
        return Err(call.refuse());
    };
    if key != other || !super::order::is_orderable(&key) {
        return Err(call.refuse());
    }
    let body = call.lambda(2)?.bind(&[key.clone(), a.clone(), b.clone()], 3)?;
    let returns = map_of(key.clone(), body.kind.clone());
    call.apply_body(2, body, returns, move |body, args, captured| {
        let (left, right) = (Lists::new(&args[0]), Lists::new(&args[1]));
        let (left_keys, right_keys) = (args[0].as_map().keys(), args[1].as_map().keys());
        let mut keys = Builder::default();
        let mut lefts = Builder::default();
        let mut rights = Builder::default();
        for row in 0..args[0].len() {
            let (Some(x), Some(y)) = (left.places(row), right.places(row)) else {
                [&mut keys, &mut lefts, &mut rights].into_iter().for_each(Builder::null_row);
                continue;
            };
            let is_new = |column: &ArrayRef, from: usize, at: usize| {
                // What a message says twice counts once here, and the first time.
                !(from..at).any(|before| super::arrays::is_equal(column, before, column, at))
            };
            for at in x.clone().filter(|at| is_new(left_keys, x.start, *at)) {
                keys.push(0, at);
                lefts.push(0, at);
                match y.clone().find(|to| super::arrays::is_equal(left_keys, at, right_keys, *to)) {
                    Some(to) => rights.push(0, to),
                    None => rights.push(1, 0),
                }
            }
            for to in y.clone().filter(|to| is_new(right_keys, y.start, *to)) {
                if !x.clone().any(|at| super::arrays::is_equal(left_keys, at, right_keys, to)) {
                    keys.push(1, to);
                    lefts.push(1, 0);
                    rights.push(0, to);
                }
            }
            [&mut keys, &mut lefts, &mut rights].into_iter().for_each(Builder::end_row);
        }
        let keys = keys.finish(&key, &[left_keys, right_keys])?;
        let lefts = lefts.finish(&a, &[args[0].as_map().values()])?;
        let rights = rights.finish(&b, &[args[1].as_map().values()])?;
        let items = Items::new(&keys);
        let own = [
            items.of(keys.as_list::<i32>().values())?,
            items.of(lefts.as_list::<i32>().values())?,
            items.of(rights.as_list::<i32>().values())?,
        ];
        let values = items.evaluate(body, &own, captured)?;
        map_array(own[0].clone(), values, items.ends, items.valid)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cast::cell_text;
    use crate::explain::{Step, explain};
    use crate::flow::FlowQuery;
    use crate::json::Decoder;
    use crate::types::parse_schema;

    const SCHEMA: &str = "data STRUCT<id: STRING, rates: MAP<STRING, INT>, items: ARRAY<STRUCT<sku: STRING, \
                          parts: ARRAY<INT>>>>, big STRING, n INT";

    /// What a function is computed from: columns and the look-ups in them.
    fn taken(sql: &str) -> Vec<String> {
        fn path(step: &Step) -> String {
            let inner = step.parts.iter().map(path).collect::<Vec<_>>();
            let what = step.what.split(" of ").next().unwrap_or_default();
            if inner.is_empty() { what.to_owned() } else { format!("{what} ({})", inner.join(", ")) }
        }
        let schema = parse_schema(SCHEMA).expect("a schema");
        let explained = explain(sql, Some(&schema)).unwrap_or_else(|e| panic!("{sql}: {e}"));
        explained.columns[0].1.parts.iter().map(path).collect()
    }

    #[test]
    fn of_what_is_around_only_what_is_looked_up_is_repeated() {
        let (items, id) = ("field 2 (column data)", "field 0 (column data)");
        for (body, expected) in [
            ("concat(data.id, i.sku)", &[id][..]),
            ("named_struct('a', data.id, 'b', i.sku, 'c', DATA.ID)", &[id]),
            ("concat(i.sku, input.data.rates['EUR'])", &["element_at (field 1 (column data), 'EUR')"]),
            ("transform(i.parts, p -> p + length(data.id) + n)", &[id, "column n"]),
            ("upper(i.sku)", &[]),
            ("concat(i.sku, 'x')", &[]),
        ] {
            let sql = format!("SELECT transform(data.items, i -> {body}) AS r FROM input");
            let expected: Vec<&str> = std::iter::once(items).chain(expected.iter().copied()).collect();
            assert_eq!(taken(&sql), expected, "{sql}");
        }
    }

    fn run(sql: &str, message: &str) -> Vec<Option<String>> {
        let schema = parse_schema(SCHEMA).expect("a schema");
        let query = FlowQuery::new(sql, &schema).unwrap_or_else(|e| panic!("{sql}: {e}"));
        let decoded = Decoder::new(&schema).decode([Some(message.as_bytes())].into_iter());
        let batch = query.run(&decoded.batch).unwrap_or_else(|e| panic!("{sql}: {e}")).batch;
        batch.columns().iter().map(|column| cell_text(column, 0)).collect()
    }

    #[test]
    fn functions_see_what_is_around_them() {
        let message =
            r#"{"data":{"id":"d","rates":{"EUR":7},"items":[{"sku":"a","parts":[1,2]},{"sku":"b"}]},"n":5}"#;
        for (sql, expected) in [
            ("SELECT transform(data.items, i -> concat(data.id, i.sku, n)) AS r FROM input", "[da5, db5]"),
            (
                "SELECT transform(data.items, i -> transform(i.parts, (p, at) -> p * n + data.rates['EUR'] + at)) AS r \
                 FROM input",
                "[[12, 18], null]",
            ),
            (
                "SELECT transform(x.items, i -> concat(x.id, x.m, i.sku)) AS r FROM (SELECT data.items, data.id, n + 1 AS m \
                 FROM input) x",
                "[d6a, d6b]",
            ),
            (
                "SELECT transform(data.items, n -> transform(array(1), x -> concat(n.sku, x))) AS r FROM input",
                "[[a1], [b1]]",
            ),
            ("SELECT transform(array(1), x -> struct(*).n) AS r FROM input", "[5]"),
            (
                "SELECT transform(array(1), x -> named_struct('x', x, 's', struct(*)).s.n) AS r FROM input",
                "[5]",
            ),
            ("SELECT aggregate(data.items, n, (sum, i) -> sum + n, sum -> sum * n) AS r FROM input", "75"),
        ] {
            assert_eq!(run(sql, message), [Some(expected.to_owned())], "{sql}");
        }
    }

    #[test]
    fn a_large_row_of_many_items_is_evaluated_part_by_part() {
        // All at once its text would be repeated over more bytes than a column of texts holds.
        let big = "x".repeat(1_200_000);
        let parts = (0..2000).map(|at| at.to_string()).collect::<Vec<_>>().join(",");
        let message = format!(r#"{{"data":{{"items":[{{"parts":[{parts}]}}]}},"big":"{big}"}}"#);
        let sql = "SELECT aggregate(transform(data.items[0].parts, (p, at) -> octet_length(big) + p - at), 0L, \
                   (sum, p) -> sum + p) AS sum FROM input";
        assert_eq!(run(sql, &message), [Some("2400000000".to_owned())]);
    }

    #[test]
    fn rows_are_repeated_for_no_more_items_than_their_bytes_allow() {
        let places = |lengths: &[i32]| {
            let ends: Vec<i32> = lengths
                .iter()
                .scan(0, |end, length| {
                    *end += length;
                    Some(*end)
                })
                .collect();
            let count = *ends.last().expect("rows") as usize;
            let items: ArrayRef = Arc::new(Int32Array::from(vec![0; count]));
            Items::new(&list_array(&DataType::Int32, items, ends, vec![true; lengths.len()]))
        };
        let column =
            |bytes: usize| -> ArrayRef { Arc::new(arrow::array::StringArray::from(vec!["x".repeat(bytes)])) };
        assert_eq!(places(&[3, 2]).at_once(&[column(1 << 20)]), usize::MAX);
        let at_once = places(&[3, 1000]).at_once(&[column(1 << 20)]);
        assert!((16..=64).contains(&at_once), "{at_once}");
        assert_eq!(places(&[2]).at_once(&[column(65 << 20)]), 1);
    }
}
