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
        let (items, having, order) = aggregates.take_out(query, &scope)?;
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
        if let Some(span) = &query.select.distinct {
            for column in &mut columns {
                column.value = bind::normalised(column.value.clone(), span)?;
            }
        }
        let shown = columns.len();
        // What is sorted by is computed beside the columns and left out at the end.
        let mut sorts = Vec::new();
        let mut projected: Vec<Expr> = columns
            .iter()
            .enumerate()
            .map(|(at, column)| column.value.expr.clone().alias(output_name(at)))
            .collect();
        for (written, order) in query.order_by.iter().zip(order) {
            let value = sort_key(&written.expr, &order.expr, &columns, scope)?;
            let value = bind::normalised(value, &order.expr.span)?;
            let is_usual = (order.direction == Direction::Ascending) == (order.nulls == Nulls::First);
            if !is_usual && !bind::coerce::is_atomic(&value.kind) {
                // Also those within would be moved.
                let message = "NULLS FIRST or LAST for arrays and structs";
                return Err(SqlError::unsupported(message, order.expr.span.clone()).into());
            }
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
        let named = columns.into_iter().enumerate().map(|(at, column)| {
            let name = if column.name.is_empty() { format!("column{}", at + 1) } else { column.name };
            (name, column.value.kind)
        });
        Ok(Planned { plan, columns: named.collect() })
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

/// What the query is sorted by: one of its columns by the place in the list, else an expression, as it is written and
/// with what aggregates took out of it. A name in it is that of a column of the query before it is one of the table's.
fn sort_key(written: &syntax::Expr, expr: &syntax::Expr, columns: &[Column], scope: &Scope) -> Bind {
    if let Kind::Literal(syntax::Literal::Int(place)) = &written.kind {
        let at = usize::try_from(*place).ok().and_then(|place| place.checked_sub(1));
        let column = at.and_then(|at| columns.get(at));
        return column.map(|column| column.value.clone()).ok_or_else(|| {
            SqlError::invalid(format!("there is no column {place} to sort by"), written.span.clone())
        });
    }
    let is_own = |name: &str| columns.iter().any(|column| is_called(column, name));
    let expr = match &written.kind {
        // Also where the query is grouped by a column of the table that has this name.
        Kind::Name(parts) if is_own(&parts[0]) => written,
        _ => expr,
    };
    // Whether the query calls something else by the name of that column of the table.
    let is_hidden = |known: &Column| {
        let is_same = |own: &Column| is_called(own, &known.name) && own.value.expr == known.value.expr;
        is_own(&known.name) && !columns.iter().any(is_same)
    };
    let (mut asks_own, mut unclear) = (false, None);
    expr.visit(&mut |part| {
        let Kind::Name(parts) = &part.kind else { return };
        asks_own |= is_own(&parts[0]);
        let [relation, name, ..] = parts.as_slice() else { return };
        let hides = || scope.columns.iter().any(|known| is_called(known, name) && is_hidden(known));
        if scope.is_relation(relation) && (is_own(relation) || hides()) {
            unclear = Some(part.span.clone());
        }
    });
    if !asks_own {
        return bind::bind(expr, scope);
    }
    if let Some(span) = unclear {
        let message = "in ORDER BY this could be the table's column or the query's";
        return Err(SqlError::unsupported(message, span).help("give the query's column another name"));
    }
    bind::bind(expr, &with_own(columns, scope))
}

/// The scope with the query's own columns in place of those of the table that have the same names.
fn with_own(columns: &[Column], scope: &Scope) -> Scope {
    let mut known: Vec<Column> = Vec::new();
    for own in columns {
        // Twice the same is not two.
        if !known.iter().any(|seen| is_called(seen, &own.name) && seen.value.expr == own.value.expr) {
            known.push(own.clone());
        }
    }
    let others = scope.columns.iter().filter(|other| !columns.iter().any(|own| is_called(own, &other.name)));
    known.extend(others.cloned());
    scope.with_columns(known)
}

fn is_called(column: &Column, name: &str) -> bool {
    column.name.to_lowercase() == name.to_lowercase()
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
            (
                "SELECT upper(g), sum(n) FROM k.t GROUP BY upper(g) ORDER BY 1 LIMIT 1",
                "| column1 | sum |/| X       | 1   |",
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

    #[tokio::test]
    async fn thousands_of_conditions_fit_the_stack() {
        let any = (0..2000).map(|at| format!("id = 'k{at}'")).collect::<Vec<_>>().join(" OR ");
        let sql = format!("SELECT count(*) AS n FROM k.t WHERE {any} OR id = 'a'");
        assert_eq!(run(&sql).await, "| n |/| 1 |");
    }

    #[tokio::test]
    async fn there_is_one_zero() {
        let zeros = "CASE WHEN id = 'a' THEN 0.0D ELSE -0.0D END";
        for (sql, expected) in [
            (format!("SELECT DISTINCT {zeros} AS z FROM k.t"), "| z   |/| 0.0 |"),
            (format!("SELECT {zeros} AS z, count(*) AS n FROM k.t GROUP BY 1"), "| z   | n |/| 0.0 | 3 |"),
            (format!("SELECT DISTINCT array({zeros}) AS z FROM k.t"), "| z     |/| [0.0] |"),
            (format!("SELECT count(*) AS n FROM k.t GROUP BY array({zeros})"), "| n |/| 3 |"),
        ] {
            assert_eq!(run(&sql).await, expected, "{sql}");
        }
    }

    #[tokio::test]
    async fn what_is_sorted_by_is_the_querys_before_it_is_the_tables() {
        for (sql, expected) in [
            ("SELECT -n AS n FROM k.t ORDER BY n", "| n  |/|    |/| -2 |/| -1 |"),
            ("SELECT -n AS n FROM k.t ORDER BY n * 1", "| n  |/|    |/| -2 |/| -1 |"),
            ("SELECT -n AS n FROM k.t ORDER BY t.n * 1", "| n  |/|    |/| -1 |/| -2 |"),
            ("SELECT -n AS n FROM k.t ORDER BY N + 0 DESC, id", "| n  |/| -1 |/| -2 |/|    |"),
            ("SELECT id, n, n FROM k.t ORDER BY n + 1 DESC LIMIT 1", "| id | n | n |/| b  | 2 | 2 |"),
            (
                "SELECT upper(g) AS g, sum(n) AS s FROM k.t GROUP BY g ORDER BY s * -1",
                "| g | s |/| Y | 2 |/| X | 1 |",
            ),
            (
                "SELECT -n AS n, count(*) AS c FROM k.t WHERE n > 0 GROUP BY n ORDER BY n",
                "| n  | c |/| -2 | 1 |/| -1 | 1 |",
            ),
        ] {
            assert_eq!(run(sql).await, expected, "{sql}");
        }
        for sql in ["SELECT -n AS n FROM k.t ORDER BY n + t.n", "SELECT *, -n AS n FROM k.t ORDER BY n + 1"] {
            let schema = parse_schema("id STRING, n INT, g STRING").expect("a schema");
            let query = TableQuery::parse(sql).expect("parses");
            assert!(
                matches!(query.run(schema, Box::new(std::iter::empty())).await, Err(QueryError::Sql(_))),
                "{sql}"
            );
        }
    }
}
