//! A query over a whole table: what flows answer, and aggregates, DISTINCT, ORDER BY and LIMIT.
//! Values are computed by the same rules; DataFusion groups, sorts and cuts.

mod aggregates;

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::catalog::streaming::StreamingTable;
use datafusion::common::{Column as PlanColumn, DataFusionError};
use datafusion::datasource::provider_as_source;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, SortExpr};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use datafusion::prelude::{SessionConfig, SessionContext};
use millstream_core::{Error, Result};
use parking_lot::Mutex;

use self::aggregates::Aggregates;
use crate::bind::coerce::{is_integer, is_numeric};
use crate::bind::{self, Bind, Column, Scope};
use crate::error::SqlError;
use crate::plan::{self, Base, Used, internal_schema};
use crate::syntax::{self, Binary, Direction, Kind, Nulls, Query, Relation};

/// Batches of a table, read once.
pub type TableReader = Box<dyn Iterator<Item = Result<RecordBatch, String>> + Send>;

/// A query over one table.
#[derive(Debug)]
pub struct TableQuery {
    query: Query,
    table: Vec<String>,
}

impl TableQuery {
    /// Reads `sql`.
    pub fn parse(sql: &str) -> Result<Self, SqlError> {
        let query = syntax::parse_query(sql)?;
        let table = table_of(&query, sql)?;
        Ok(Self { query, table })
    }

    /// The name of the table it reads, in parts.
    pub fn table(&self) -> &[String] {
        &self.table
    }

    /// Columns of `schema` that have one value in every row that can be in the answer, each with an array
    /// of that value: a table need not be read but for those rows.
    pub fn constants(&self, schema: &Schema) -> Vec<(String, ArrayRef)> {
        let select = &self.query.select;
        let (Some(Relation::Named { name, alias, .. }), Some(filter)) = (&select.from, &select.filter) else {
            return Vec::new();
        };
        if *name != self.table || is_defined(&self.query, name) {
            return Vec::new();
        }
        let scope = Scope::of_schema(alias.clone().or_else(|| name.last().cloned()), schema);
        let mut found = Vec::new();
        let mut open = vec![filter];
        while let Some(expr) = open.pop() {
            match &expr.kind {
                Kind::Binary(Binary::And, left, right) => open.extend([&**left, &**right]),
                Kind::Binary(Binary::Equal, left, right) => {
                    found.extend(constant(left, right, &scope).or_else(|| constant(right, left, &scope)));
                }
                _ => {}
            }
        }
        found
    }

    /// Answers the query over a table of `schema`, whose rows `open` gives.
    pub async fn run(&self, schema: SchemaRef, open: TableReader) -> Result<Vec<RecordBatch>, QueryError> {
        let stream =
            Arc::new(Once { schema: Arc::new(internal_schema(&schema)), reader: Mutex::new(Some(open)) });
        let table = StreamingTable::try_new(stream.schema.clone(), vec![stream])?;
        let source = provider_as_source(Arc::new(table));
        let plan = LogicalPlanBuilder::scan("base", source, None)?;
        let planned = Planner { schema: &schema, table: &self.table }.query(&self.query, plan)?;
        let config = SessionConfig::new().with_target_partitions(1).with_information_schema(false);
        let context = SessionContext::new_with_config(config);
        let batches = context.execute_logical_plan(planned.plan.build()?).await?.collect().await?;
        let names = Schema::new(
            planned
                .columns
                .iter()
                .map(|(name, kind)| arrow::datatypes::Field::new(name, kind.clone(), true))
                .collect::<Vec<_>>(),
        );
        let names = Arc::new(names);
        let renamed = |batch: RecordBatch| RecordBatch::try_new(names.clone(), batch.columns().to_vec());
        let mut result =
            batches.into_iter().map(renamed).collect::<Result<Vec<_>, _>>().map_err(DataFusionError::from)?;
        if result.is_empty() {
            result.push(RecordBatch::new_empty(names));
        }
        Ok(result)
    }
}

/// Why a query over a table has no answer.
#[derive(Debug)]
pub enum QueryError {
    /// The query is wrong or not answered.
    Sql(SqlError),
    /// It failed while it ran.
    Run(Error),
}

impl From<SqlError> for QueryError {
    fn from(error: SqlError) -> Self {
        Self::Sql(error)
    }
}

impl From<DataFusionError> for QueryError {
    fn from(error: DataFusionError) -> Self {
        Self::Run(Error::lasting(format!("the query failed: {error}")))
    }
}

fn table_of(query: &Query, sql: &str) -> Bind<Vec<String>> {
    match &query.select.from {
        Some(Relation::Named { name, .. }) => {
            let defined =
                query.with.iter().find(|(known, _)| name.len() == 1 && known.eq_ignore_ascii_case(&name[0]));
            match defined {
                Some((_, inner)) => table_of(inner, sql),
                None => Ok(name.clone()),
            }
        }
        Some(Relation::Subquery { query, .. }) => table_of(query, sql),
        None => {
            Err(SqlError::invalid("the query names no table", 0..sql.len()).help("write FROM and the table"))
        }
    }
}

/// The table's batches as DataFusion reads them: once.
struct Once {
    schema: SchemaRef,
    reader: Mutex<Option<TableReader>>,
}

impl fmt::Debug for Once {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table, read once")
    }
}

impl PartitionStream for Once {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let schema = self.schema.clone();
        let batches = self.reader.lock().take().into_iter().flatten().map(move |batch| {
            let batch = batch.map_err(DataFusionError::Execution)?;
            Ok(RecordBatch::try_new(schema.clone(), batch.columns().to_vec())?)
        });
        Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), futures::stream::iter(batches)))
    }
}

struct Planned {
    plan: LogicalPlanBuilder,
    /// What the user calls the columns `o0`, `o1`, … of the plan.
    columns: Vec<(String, DataType)>,
}

struct Planner<'a> {
    schema: &'a Schema,
    table: &'a [String],
}

impl Planner<'_> {
    fn query(&self, query: &Query, plan: LogicalPlanBuilder) -> Result<Planned, QueryError> {
        let select = &query.select;
        let (scope, plan) = self.read_from(query, plan)?;
        let plan = match &select.filter {
            Some(filter) => plan.filter(bind::bind_condition(filter, &scope)?.expr)?,
            None => plan,
        };
        let mut aggregates = Aggregates::default();
        let (items, having, order) = aggregates.take_out(query);
        let (scope, plan) =
            if aggregates.is_needed(select) { aggregates.plan(select, &scope, plan)? } else { (scope, plan) };
        let plan = match &having {
            Some(having) => plan.filter(bind::bind_condition(having, &scope)?.expr)?,
            None => plan,
        };
        let columns = plan::columns(&items, &scope)?;
        self.finish(query, columns, &order, &scope, plan)
    }

    fn finish(
        &self,
        query: &Query,
        mut columns: Vec<Column>,
        order: &[syntax::Order],
        scope: &Scope,
        plan: LogicalPlanBuilder,
    ) -> Result<Planned, QueryError> {
        for (at, column) in columns.iter_mut().enumerate().filter(|(_, column)| column.name.is_empty()) {
            column.name = format!("column{}", at + 1);
        }
        let shown = columns.len();
        // What is sorted by is computed beside the columns and left out at the end.
        let mut sorts = Vec::new();
        let mut projected: Vec<Expr> = columns
            .iter()
            .enumerate()
            .map(|(at, column)| column.value.expr.clone().alias(output_name(at)))
            .collect();
        for order in order {
            let value = self.sort_key(order, &columns, scope)?;
            let value = bind::normalised(value, &order.expr.span)?;
            let name = output_name(projected.len());
            projected.push(value.expr.alias(&name));
            sorts.push(SortExpr::new(
                Expr::Column(PlanColumn::new_unqualified(name)),
                order.direction == Direction::Ascending,
                order.nulls == Nulls::First,
            ));
        }
        if query.select.distinct.is_some() && !sorts.is_empty() {
            let span = query.order_by[0].expr.span.clone();
            return Err(SqlError::unsupported("DISTINCT with ORDER BY", span).into());
        }
        let mut plan = plan.project(projected)?;
        if query.select.distinct.is_some() {
            plan = plan.distinct()?;
        }
        if !sorts.is_empty() {
            plan = plan.sort(sorts)?;
        }
        if query.limit.is_some() || query.offset.is_some() {
            plan = plan.limit(query.offset.unwrap_or(0) as usize, query.limit.map(|limit| limit as usize))?;
        }
        let names = (0..shown).map(|at| Expr::Column(PlanColumn::new_unqualified(output_name(at))));
        let plan = plan.project(names.collect::<Vec<_>>())?;
        let columns = columns.into_iter().map(|column| (column.name, column.value.kind)).collect();
        Ok(Planned { plan, columns })
    }

    /// A column by its alias or its place in the list, else an expression.
    fn sort_key(&self, order: &syntax::Order, columns: &[Column], scope: &Scope) -> Bind {
        match &order.expr.kind {
            Kind::Literal(syntax::Literal::Int(place)) => {
                let at = usize::try_from(*place).ok().and_then(|place| place.checked_sub(1));
                let column = at.and_then(|at| columns.get(at));
                column.map(|column| column.value.clone()).ok_or_else(|| {
                    SqlError::invalid(
                        format!("there is no column {place} to sort by"),
                        order.expr.span.clone(),
                    )
                })
            }
            Kind::Name(parts) if parts.len() == 1 => {
                match columns.iter().find(|column| column.name.eq_ignore_ascii_case(&parts[0])) {
                    Some(column) => Ok(column.value.clone()),
                    None => bind::bind(&order.expr, scope),
                }
            }
            _ => bind::bind(&order.expr, scope),
        }
    }

    fn read_from(
        &self,
        query: &Query,
        plan: LogicalPlanBuilder,
    ) -> Result<(Scope, LogicalPlanBuilder), QueryError> {
        match &query.select.from {
            Some(Relation::Named { name, alias, .. }) if *name == self.table && !is_defined(query, name) => {
                let shown = alias.clone().or_else(|| name.last().cloned());
                Ok((Scope::of_schema(shown, self.schema), plan))
            }
            _ => {
                // Queries in FROM are flattened as a flow's are.
                let name = self.table.last().cloned().unwrap_or_default();
                let inner = Query {
                    select: syntax::Select {
                        items: vec![star()],
                        filter: None,
                        group_by: Vec::new(),
                        having: None,
                        distinct: None,
                        ..query.select.clone()
                    },
                    order_by: Vec::new(),
                    limit: None,
                    offset: None,
                    with: query.with.clone(),
                };
                let used: Used = RefCell::default();
                let flat = plan::flatten(&inner, Some(&Base { name: &name, schema: self.schema }), &used)?;
                let plan = match flat.filter {
                    Some(filter) => plan.filter(filter.expr)?,
                    None => plan,
                };
                let alias = match &query.select.from {
                    Some(Relation::Subquery { alias, .. } | Relation::Named { alias, .. }) => alias.clone(),
                    None => None,
                };
                Ok((Scope::of_columns(alias, flat.columns), plan))
            }
        }
    }
}

/// The column and its value, where one side of an equation is a column and the other a literal of its
/// type. Numbers with a fraction are left out: there are two zeros, and one decimal has many forms.
fn constant(name: &syntax::Expr, literal: &syntax::Expr, scope: &Scope) -> Option<(String, ArrayRef)> {
    let (Kind::Name(_), Kind::Literal(_)) = (&name.kind, &literal.kind) else { return None };
    let (column, value) = (bind::bind(name, scope).ok()?, bind::bind(literal, scope).ok()?);
    let is_comparable = match (&column.kind, &value.kind) {
        (column, value) if is_integer(column) => is_integer(value),
        (column, value) => column == value && !is_numeric(column),
    };
    let (Expr::Literal(scalar, _), true) = (&value.expr, is_comparable) else { return None };
    let known = scope.columns.iter().find(|known| known.value.expr == column.expr)?;
    Some((known.name.clone(), scalar.to_array().ok()?))
}

fn is_defined(query: &Query, name: &[String]) -> bool {
    matches!(name, [name] if query.with.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)))
}

fn star() -> syntax::Item {
    syntax::Item { expr: syntax::Expr { kind: Kind::Star(Vec::new()), span: 0..0 }, alias: None }
}

fn output_name(at: usize) -> String {
    format!("o{at}")
}

#[cfg(test)]
mod tests {
    use arrow::util::pretty::pretty_format_batches;

    use super::*;
    use crate::json::Decoder;
    use crate::types::parse_schema;

    async fn run(sql: &str) -> String {
        let schema = parse_schema("id STRING, n INT, g STRING").expect("a schema");
        let messages =
            [r#"{"id":"a","n":1,"g":"x"}"#, r#"{"id":"b","n":2,"g":"y"}"#, r#"{"id":"c","g":"x"}"#];
        let decoded = Decoder::new(&schema).decode(messages.iter().map(|m| Some(m.as_bytes())));
        let query = TableQuery::parse(sql).unwrap_or_else(|e| panic!("{sql}: {e}"));
        assert_eq!(query.table(), ["k", "t"]);
        let reader: TableReader = Box::new(std::iter::once(Ok(decoded.batch)));
        let batches = query.run(schema, reader).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
        pretty_format_batches(&batches)
            .expect("prints")
            .to_string()
            .lines()
            .map(str::trim)
            .filter(|l| !l.starts_with('+'))
            .collect::<Vec<_>>()
            .join("/")
    }

    #[test]
    fn constants_are_what_every_row_of_the_answer_has() {
        let schema = parse_schema("id STRING, n BIGINT, x DOUBLE, d DECIMAL(3,1)").expect("a schema");
        for (filter, expected) in [
            ("id = 'a' AND n = 1", &["n", "id"][..]),
            ("ID = 'a' AND (t.n = 1 AND x = 1.5D)", &["n", "ID"]),
            ("'a' = id", &["id"]),
            ("id = 'a' OR n = 1", &[]),
            ("NOT id = 'a'", &[]),
            ("id = 1", &[]),
            ("d = 1", &[]),
            ("n = 1.0", &[]),
            ("upper(id) = 'A'", &[]),
            ("id <=> 'a'", &[]),
        ] {
            let query = TableQuery::parse(&format!("SELECT * FROM k.t WHERE {filter}")).expect("parses");
            let names: Vec<_> = query.constants(&schema).into_iter().map(|(name, _)| name).collect();
            let expected: Vec<_> = expected.iter().map(|name| name.to_lowercase()).collect();
            assert_eq!(names, expected, "{filter}");
        }
    }

    #[tokio::test]
    async fn tables_are_counted_grouped_sorted_and_cut() {
        for (sql, expected) in [
            (
                "SELECT count(*), count(n) AS some, sum(n), avg(n), min(id), max(id) FROM k.t",
                "| count | some | sum | avg | min | max |/| 3     | 2    | 3   | 1.5 | a   | c   |",
            ),
            (
                "SELECT g, count(*) AS many FROM k.t GROUP BY g HAVING count(*) > 1",
                "| g | many |/| x | 2    |",
            ),
            (
                "SELECT upper(g) AS u, sum(n) + 1 AS s FROM k.t GROUP BY u ORDER BY s DESC, 1",
                "| u | s |/| Y | 3 |/| X | 2 |",
            ),
            ("SELECT id FROM k.t ORDER BY n DESC LIMIT 2", "| id |/| b  |/| a  |"),
            ("SELECT id FROM k.t WHERE n IS NULL", "| id |/| c  |"),
            ("SELECT DISTINCT g FROM k.t WHERE g = 'x'", "| g |/| x |"),
            ("SELECT * FROM k.t ORDER BY id OFFSET 2", "| id | n | g |/| c  |   | x |"),
            ("SELECT count(*) AS n FROM k.t WHERE id = 'nobody'", "| n |/| 0 |"),
        ] {
            assert_eq!(run(sql).await, expected, "{sql}");
        }
    }
}
