//! Functions over the items of arrays and the entries of maps: `transform(a, x -> x + 1)`. The
//! items of all rows are put one after another, and the body is evaluated over them at once.
//! Source: Spark's `higherOrderFunctions`.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, RecordBatch, RecordBatchOptions, UInt64Array};
use arrow::compute::{interleave, take};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::Result;
use datafusion::physical_expr::PhysicalExpr;

use super::Call;
use super::lists::{Builder, Lists, entry_of, list_array, list_of, map_array};
use super::rows::{Cell, Flag};
use crate::bind::{self, Bind, Column, Scope};
use crate::error::SqlError;
use crate::operation::{Bound, on_arrays};
use crate::syntax;
use crate::types::{map_of, simple_string};

/// An argument that is a function, with what its body sees.
pub(crate) struct Lambda {
    pub(crate) names: Vec<String>,
    pub(crate) body: syntax::Expr,
    pub(crate) scope: Scope,
    pub(crate) span: std::ops::Range<usize>,
}

/// A function whose parameters have types.
struct Body {
    kind: DataType,
    /// What it is, for telling operations apart.
    label: String,
    physical: Arc<dyn PhysicalExpr>,
    schema: SchemaRef,
    /// The columns beside the parameters that it uses.
    captured: Vec<Bound>,
}

impl Lambda {
    /// Binds the body for parameters of these types, of which the last may be left out.
    fn bind(self, kinds: &[DataType], required: usize) -> Bind<Body> {
        let count = self.names.len();
        if count < required || count > kinds.len() {
            let message = format!("a function of {} parameter(s) is needed here", kinds.len());
            return Err(SqlError::invalid(message, self.span));
        }
        let depth = self.scope.depth();
        let parameters: Vec<_> = self
            .names
            .iter()
            .zip(kinds)
            .enumerate()
            .map(|(at, (name, kind))| Column::internal(name, format!("l{depth}_{at}"), kind.clone()))
            .collect();
        let scope = self.scope.with_variables(parameters.clone());
        let body = bind::bind(&self.body, &scope)?;
        let own: Vec<_> = parameters.iter().map(|column| column.value.clone()).collect();
        let used: BTreeSet<String> =
            body.expr.column_refs().into_iter().map(|column| column.name.clone()).collect();
        let captured: Vec<Bound> = used
            .into_iter()
            .filter(|name| !own.iter().any(|value| value.expr == bind::internal_column(name)))
            .map(|name| {
                scope.leaf(&name).ok_or_else(|| {
                    SqlError::unsupported(
                        "a column in this function is not answered natively here",
                        self.span.clone(),
                    )
                })
            })
            .collect::<Bind<_>>()?;
        let fields = own.iter().chain(&captured).map(|value| match &value.expr {
            datafusion::logical_expr::Expr::Column(column) => {
                Field::new(&column.name, value.kind.clone(), true)
            }
            _ => Field::new("constant", value.kind.clone(), true),
        });
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let physical = crate::plan::physical(&body.expr, &schema).map_err(bind::failed(&self.span))?;
        let label = format!("{:?} {}", self.names, body.expr);
        Ok(Body { kind: body.kind, label, physical, schema, captured })
    }
}

impl Body {
    /// Evaluates the body over `rows` of parameters (those it has) and captured columns.
    fn evaluate(&self, parameters: &[ArrayRef], captured: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
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
        let name = format!("{} {}", self.name, body.label);
        let kernel = on_arrays(move |args| {
            let (args, captured) = args.split_at(values);
            compute(&body, args, captured)
        });
        self.apply_as(name, returns, kernel)
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

    /// Columns of the rows, repeated for each item.
    fn spread(&self, columns: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
        Ok(columns.iter().map(|column| take(column, &self.rows, None)).collect::<Result<_, _>>()?)
    }

    /// What the body gives for each item.
    fn evaluate(&self, body: &Body, parameters: &[ArrayRef], captured: &[ArrayRef]) -> Result<ArrayRef> {
        body.evaluate(parameters, &self.spread(captured)?, self.len())
    }

    /// The items of each row.
    fn row(&self, row: usize) -> Option<std::ops::Range<usize>> {
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
fn condition(body: Body, span: &std::ops::Range<usize>) -> Bind<Body> {
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
            for at in x.clone() {
                keys.push(0, at);
                lefts.push(0, at);
                match y.clone().find(|to| super::arrays::is_equal(left_keys, at, right_keys, *to)) {
                    Some(to) => rights.push(0, to),
                    None => rights.push(1, 0),
                }
            }
            for to in y {
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
