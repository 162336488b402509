//! A query without aggregates as one filter and a list of columns over the relation it reads:
//! queries in FROM and WITH are put in place of their names.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::{DFSchema, DataFusionError};
use datafusion::execution::context::ExecutionProps;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{ColumnarValue, Expr};
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};

use crate::bind::{self, Bind, Column, Scope, internal_name};
use crate::error::SqlError;
use crate::operation::Bound;
use crate::syntax::{self, Item, Kind, Query, Relation};

/// The relation that a query may read from.
pub(crate) struct Base<'a> {
    pub(crate) name: &'a str,
    pub(crate) schema: &'a Schema,
}

/// What a query is when nothing is nested in it any more.
#[derive(Debug)]
pub(crate) struct Flat {
    pub(crate) filter: Option<Bound>,
    pub(crate) columns: Vec<Column>,
}

/// The names that a query uses of its base, each with the fields it leads through.
pub(crate) type Used = RefCell<BTreeSet<Vec<String>>>;

/// Queries within queries, also by the names that WITH gives them; it keeps the stack bounded.
const DEPTH_MAX: usize = 150;

/// Flattens `query`; what cannot be answered row by row is refused.
pub(crate) fn flatten(query: &Query, base: Option<&Base<'_>>, used: &Used) -> Bind<Flat> {
    flatten_at(DEPTH_MAX, query, base, used)
}

/// As [`flatten`], with so many queries to go at most.
fn flatten_at(depth: usize, query: &Query, base: Option<&Base<'_>>, used: &Used) -> Bind<Flat> {
    let select = &query.select;
    if depth == 0 {
        let message = format!("queries are nested deeper than {DEPTH_MAX}");
        return Err(SqlError::unsupported(message, select.span.clone()));
    }
    if let Some((what, span)) = query.more_than_one_record() {
        let message = format!("{what} looks at more than one record, which a flow does not do");
        return Err(SqlError::unsupported(message, span).help("ask the table with `millstream query`"));
    }
    let (scope, inner) = read_from(depth, query, base, used)?;
    let columns = columns(&select.items, &scope)?;
    let own = select.filter.as_ref().map(|filter| bind::bind_condition(filter, &scope)).transpose()?;
    let filter = match (inner, own) {
        (Some(inner), Some(own)) => {
            let both = bind::and(inner, own);
            bind::check_copies(&both, 1, &select.filter_span)?;
            Some(both)
        }
        (inner, own) => inner.or(own),
    };
    Ok(Flat { filter, columns })
}

/// What the query's FROM sees, and the filter that is already on it.
fn read_from(
    depth: usize,
    query: &Query,
    base: Option<&Base<'_>>,
    used: &Used,
) -> Bind<(Scope, Option<Bound>)> {
    let from_query = |inner: &Query, alias: Option<&String>| {
        let flat = flatten_at(depth - 1, inner, base, used)?;
        Ok((Scope::of_columns(alias.cloned(), flat.columns), flat.filter))
    };
    match &query.select.from {
        None => Ok((Scope::default(), None)),
        Some(Relation::Subquery { query: inner, alias }) => {
            let inner =
                Query { with: [query.with.clone(), inner.with.clone()].concat(), ..(**inner).clone() };
            from_query(&inner, alias.as_ref())
        }
        Some(Relation::Named { name, alias, span }) => {
            let [name] = name.as_slice() else { return Err(no_such_relation(&name.join("."), base, span)) };
            let shown = alias.as_ref().unwrap_or(name);
            let defined = query.with.iter().rposition(|(known, _)| known.eq_ignore_ascii_case(name));
            if let Some(at) = defined {
                // A definition sees those before it.
                let (before, inner) = (&query.with[..at], &query.with[at].1);
                let inner = Query { with: [before.to_vec(), inner.with.clone()].concat(), ..inner.clone() };
                return from_query(&inner, Some(shown));
            }
            match base {
                Some(base) if base.name.eq_ignore_ascii_case(name) => {
                    let schema = base.schema;
                    collect_used(query, shown, schema, used);
                    Ok((Scope::of_schema(Some(shown.clone()), schema), None))
                }
                _ => Err(no_such_relation(name, base, span)),
            }
        }
    }
}

fn no_such_relation(name: &str, base: Option<&Base<'_>>, span: &std::ops::Range<usize>) -> SqlError {
    let error = SqlError::invalid(format!("there is no table `{name}` here"), span.clone());
    match base {
        Some(base) => error.help(format!("write FROM {}", base.name)),
        None => error,
    }
}

/// The columns of a SELECT list.
pub(crate) fn columns(items: &[Item], scope: &Scope) -> Bind<Vec<Column>> {
    let mut columns = Vec::new();
    for item in items {
        match &item.expr.kind {
            Kind::Star(parts) => {
                let all = parts.is_empty() || matches!(parts.as_slice(), [name] if scope.is_relation(name));
                if !all {
                    let value = scope.resolve(parts, item.expr.span.clone())?;
                    let DataType::Struct(fields) = value.kind.clone() else {
                        return Err(SqlError::invalid("`.*` needs a struct", item.expr.span.clone()));
                    };
                    for field in &fields {
                        let value = bind::field(value.clone(), field.name(), item.expr.span.clone())?;
                        scope.take_steps(&value, &item.expr.span)?;
                        columns.push(Column { name: field.name().clone(), value });
                    }
                    continue;
                }
                if scope.is_grouped() {
                    let message = "`*` beside GROUP BY or an aggregate";
                    return Err(
                        SqlError::unsupported(message, item.expr.span.clone()).help("name the columns")
                    );
                }
                if scope.columns.is_empty() {
                    return Err(SqlError::invalid("`*` needs a FROM", item.expr.span.clone()));
                }
                for column in scope.columns.iter() {
                    scope.take_steps(&column.value, &item.expr.span)?;
                    columns.push(column.clone());
                }
            }
            _ => {
                let value = bind::bind(&item.expr, scope)?;
                columns.push(Column { name: name_of(item), value });
            }
        }
    }
    Ok(columns)
}

/// The name of a column without an alias, where it has one: `a.b` is called `b`. Spark names all others after
/// their text, `items[0].sku` as much as `n + 1`.
fn name_of(item: &Item) -> String {
    match (&item.alias, &item.expr.kind) {
        (Some(alias), _) => alias.clone(),
        (None, Kind::Name(parts)) => parts.last().cloned().unwrap_or_default(),
        _ => String::new(),
    }
}

/// Notes every name of the base that the query mentions.
fn collect_used(query: &Query, relation: &str, schema: &Schema, used: &Used) {
    let mut used = used.borrow_mut();
    let mut note = |parts: &[String]| {
        let parts = match parts {
            [first, rest @ ..] if first.eq_ignore_ascii_case(relation) && !rest.is_empty() => rest,
            parts => parts,
        };
        used.insert(parts.iter().map(|part| part.to_lowercase()).collect());
    };
    let mut exprs: Vec<&syntax::Expr> = query.select.items.iter().map(|item| &item.expr).collect();
    exprs.extend(&query.select.filter);
    exprs.extend(&query.select.group_by);
    exprs.extend(&query.select.having);
    exprs.extend(query.order_by.iter().map(|order| &order.expr));
    for expr in exprs {
        expr.visit(&mut |expr| match &expr.kind {
            Kind::Name(parts) => note(parts),
            Kind::Star(parts) if parts.is_empty() || parts[0].eq_ignore_ascii_case(relation) => {
                schema.fields().iter().for_each(|field| note(&[field.name().clone()]));
            }
            Kind::Star(parts) => note(parts),
            _ => {}
        });
    }
}

/// Expressions ready to be evaluated over batches of one schema.
#[derive(Debug)]
pub(crate) struct Evaluator {
    filter: Option<Arc<dyn PhysicalExpr>>,
    columns: Vec<Arc<dyn PhysicalExpr>>,
    input: SchemaRef,
    output: SchemaRef,
}

impl Evaluator {
    pub(crate) fn new(flat: &Flat, input: &Schema) -> Result<Self, DataFusionError> {
        let input = Arc::new(internal_schema(input));
        let physical = |expr: &Expr| physical(expr, &input);
        let filter = flat.filter.as_ref().map(|filter| physical(&filter.expr)).transpose()?;
        let columns =
            flat.columns.iter().map(|column| physical(&column.value.expr)).collect::<Result<_, _>>()?;
        let fields = flat.columns.iter().map(|column| {
            let nullable = is_nullable(&column.value.expr);
            Field::new(&column.name, column.value.kind.clone(), nullable)
        });
        let output = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        Ok(Self { filter, columns, input, output })
    }

    /// The columns that come out.
    pub(crate) fn output(&self) -> &SchemaRef {
        &self.output
    }

    /// The rows that pass the filter, as a mask; `None` where all do.
    pub(crate) fn mask(&self, batch: &RecordBatch) -> Result<Option<BooleanArray>, DataFusionError> {
        let Some(filter) = &self.filter else { return Ok(None) };
        let batch = self.renamed(batch)?;
        let mask = filter.evaluate(&batch)?.into_array(batch.num_rows())?;
        let mask = mask.as_boolean();
        Ok(Some(match mask.nulls() {
            // Null is not true.
            Some(nulls) => BooleanArray::new(mask.values() & nulls.inner(), None),
            None => mask.clone(),
        }))
    }

    /// The columns of every row of `batch`.
    pub(crate) fn project(&self, batch: &RecordBatch) -> Result<RecordBatch, DataFusionError> {
        let batch = self.renamed(batch)?;
        let rows = batch.num_rows();
        let columns = self
            .columns
            .iter()
            .map(|column| match column.evaluate(&batch)? {
                ColumnarValue::Array(array) => Ok(array),
                ColumnarValue::Scalar(value) => value.to_array_of_size(rows),
            })
            .collect::<Result<Vec<ArrayRef>, DataFusionError>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(self.output.clone(), columns, &options)?)
    }

    fn renamed(&self, batch: &RecordBatch) -> Result<RecordBatch, DataFusionError> {
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        Ok(RecordBatch::try_new_with_options(self.input.clone(), batch.columns().to_vec(), &options)?)
    }
}

/// An expression over columns of `schema`, ready to be evaluated.
pub(crate) fn physical(expr: &Expr, schema: &Schema) -> Result<Arc<dyn PhysicalExpr>, DataFusionError> {
    let known = DFSchema::try_from(schema.clone())?;
    create_physical_expr(expr, &known, &ExecutionProps::new(), &PhysicalPlanningContext::default())
}

/// The schema with names that are unique whatever the user calls the columns.
pub(crate) fn internal_schema(schema: &Schema) -> Schema {
    let fields = schema.fields().iter().enumerate();
    Schema::new(
        fields
            .map(|(at, field)| Field::new(internal_name(at), field.data_type().clone(), true))
            .collect::<Vec<_>>(),
    )
}

/// Whether the expression can be null, as far as it is plain to see. A column can, whatever its schema says: what a
/// message lacks is null.
fn is_nullable(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(value, _) => value.is_null(),
        Expr::IsNull(_) | Expr::IsNotNull(_) | Expr::IsTrue(_) | Expr::IsFalse(_) => false,
        _ => true,
    }
}
