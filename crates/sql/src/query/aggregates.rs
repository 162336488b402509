//! Aggregates in a query over a table: taken out of its expressions, planned, and put back as columns.
//! How each is computed is DataFusion's affair; here its type and its meaning are Spark's.

use std::ops::Range;

use arrow::datatypes::DataType;
use datafusion::common::{Column as PlanColumn, ScalarValue};
use datafusion::functions_aggregate::expr_fn::{avg, count, max, min, sum};
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, cast};

use super::QueryError;
use crate::bind::coerce::{bounded_decimal, is_float, is_integer, is_numeric};
use crate::bind::{self, Bind, Scope};
use crate::error::SqlError;
use crate::operation::Bound;
use crate::syntax::{self, Kind, Query};

/// What is grouped by, and the aggregate calls of a query, taken out of its expressions. In their place stands
/// [`Kind::Taken`]: groups first, then calls. A name could be one that the query uses, too.
#[derive(Default)]
pub(super) struct Aggregates {
    calls: Vec<(String, Vec<syntax::Expr>, Range<usize>)>,
    groups: Vec<syntax::Expr>,
    /// The parameters, in lower case, of the functions around the expression that is looked at.
    parameters: Vec<String>,
}

const AGGREGATES: [&str; 6] = ["count", "sum", "min", "max", "avg", "mean"];

impl Aggregates {
    pub(super) fn is_needed(&self, select: &syntax::Select) -> bool {
        !self.calls.is_empty() || !select.group_by.is_empty() || select.having.is_some()
    }

    /// The SELECT list, HAVING and ORDER BY without aggregates and what is grouped by.
    pub(super) fn take_out(
        &mut self,
        query: &Query,
        scope: &Scope,
    ) -> Bind<(Vec<syntax::Item>, Option<syntax::Expr>, Vec<syntax::Order>)> {
        let select = &query.select;
        let groups = select.group_by.iter().map(|group| grouped(group, &select.items, scope));
        self.groups = groups.collect::<Bind<_>>()?;
        let items = select.items.iter().map(|item| {
            let name = match &item.expr.kind {
                Kind::Name(parts) => parts.last().cloned(),
                Kind::Call { name, .. } if AGGREGATES.contains(&name.as_str()) => Some(name.clone()),
                _ => None,
            };
            let alias = item.alias.clone().or(name);
            syntax::Item { expr: self.replaced(&item.expr), alias }
        });
        let items = items.collect();
        let having = select.having.as_ref().map(|having| self.replaced(having));
        let order = query
            .order_by
            .iter()
            .map(|order| syntax::Order { expr: self.replaced(&order.expr), ..order.clone() });
        let order = order.collect();
        Ok((items, having, order))
    }

    fn replaced(&mut self, expr: &syntax::Expr) -> syntax::Expr {
        if let Kind::Lambda(parameters, _) = &expr.kind {
            let around = self.parameters.len();
            self.parameters.extend(parameters.iter().map(|name| name.to_lowercase()));
            let lambda = expr.map_children(&mut |child| self.replaced(child));
            self.parameters.truncate(around);
            return lambda;
        }
        let Some(at) = self.take(expr) else { return expr.map_children(&mut |child| self.replaced(child)) };
        let taken = syntax::Expr { kind: Kind::Taken(at), span: expr.span.clone() };
        match bind::named_after(expr) {
            // A struct names its field after it.
            Some(name) => syntax::Expr { kind: Kind::Named(Box::new(taken), name), span: expr.span.clone() },
            None => taken,
        }
    }

    /// The place of what `expr` is computed as before the query's columns are.
    fn take(&mut self, expr: &syntax::Expr) -> Option<usize> {
        let group = self.groups.iter().position(|group| group.is_same(expr));
        let call = match &expr.kind {
            Kind::Call { name, args, distinct: false } if AGGREGATES.contains(&name.as_str()) => {
                Some((name.clone(), args.clone(), expr.span.clone()))
            }
            _ => None,
        };
        // With a parameter it is another value for each item of an array.
        if (group.is_none() && call.is_none()) || self.has_parameter(expr) {
            return None;
        }
        group.or_else(|| {
            self.calls.extend(call);
            Some(self.groups.len() + self.calls.len() - 1)
        })
    }

    fn has_parameter(&self, expr: &syntax::Expr) -> bool {
        let mut found = false;
        expr.visit(&mut |part| {
            if let Kind::Name(parts) = &part.kind {
                found |= parts.first().is_some_and(|name| self.parameters.contains(&name.to_lowercase()));
            }
        });
        found
    }

    pub(super) fn plan(
        &self,
        select: &syntax::Select,
        scope: &Scope,
        plan: LogicalPlanBuilder,
    ) -> Result<(Scope, LogicalPlanBuilder), QueryError> {
        let mut taken = Vec::new();
        let mut groups = Vec::new();
        for (at, group) in self.groups.iter().enumerate() {
            let value = bind::normalised(bind::bind(group, scope)?, &group.span)?;
            groups.push(value.expr.alias(group_name(at)));
            taken.push(column(group_name(at), value.kind));
        }
        let mut calls = Vec::new();
        for (at, (name, args, span)) in self.calls.iter().enumerate() {
            let (expr, kind) = aggregate(name, args, scope, span)?;
            calls.push(expr.alias(call_name(at)));
            taken.push(column(call_name(at), kind));
        }
        if calls.is_empty() && groups.is_empty() {
            return Err(SqlError::invalid("nothing to group", select.span.clone()).into());
        }
        Ok((Scope::of_taken(taken), plan.aggregate(groups, calls)?))
    }
}

/// `GROUP BY 1` means the item of the list, and so does `GROUP BY alias` where no column has that name.
fn grouped(group: &syntax::Expr, items: &[syntax::Item], scope: &Scope) -> Bind<syntax::Expr> {
    let item = match &group.kind {
        Kind::Literal(syntax::Literal::Int(place)) => {
            let item = usize::try_from(*place).ok().and_then(|place| items.get(place.checked_sub(1)?));
            Some(item.ok_or_else(|| {
                SqlError::invalid(format!("there is no column {place} to group by"), group.span.clone())
            })?)
        }
        Kind::Name(parts) if parts.len() == 1 && !scope.has(&parts[0]) => items
            .iter()
            .find(|item| item.alias.as_ref().is_some_and(|alias| alias.eq_ignore_ascii_case(&parts[0]))),
        _ => None,
    };
    Ok(item.map_or_else(|| group.clone(), |item| item.expr.clone()))
}

/// What only the plan calls a group.
fn group_name(at: usize) -> String {
    format!("g{at}")
}

fn call_name(at: usize) -> String {
    format!("a{at}")
}

fn column(name: String, kind: DataType) -> Bound {
    Bound::new(Expr::Column(PlanColumn::new_unqualified(name)), kind)
}

/// The call and its type, as Spark types it.
fn aggregate(
    name: &str,
    args: &[syntax::Expr],
    scope: &Scope,
    span: &Range<usize>,
) -> Bind<(Expr, DataType)> {
    let refused = |kind: &DataType| {
        let message = format!("{name} is not answered for {}", crate::types::simple_string(kind));
        SqlError::unsupported(message, span.clone())
    };
    let [arg] = args else {
        return Err(SqlError::unsupported(format!("{name} with {} arguments", args.len()), span.clone()));
    };
    if name == "count" {
        let counted = match &arg.kind {
            Kind::Star(parts) if parts.is_empty() => Expr::Literal(ScalarValue::Int64(Some(1)), None),
            // Of a relation it counts the rows in which no column is null.
            Kind::Star(_) => {
                return Err(SqlError::unsupported("count of a relation's columns", arg.span.clone()));
            }
            _ => bind::bind(arg, scope)?.expr,
        };
        return Ok((count(counted), DataType::Int64));
    }
    let value = bind::bind(arg, scope)?;
    let kind = value.kind.clone();
    match name {
        "min" | "max" if bind::coerce::is_atomic(&kind) && kind != DataType::Null => {
            let value = bind::normalised(value, span)?;
            let call = if name == "min" { min(value.expr) } else { max(value.expr) };
            if is_float(&kind) { Err(refused(&kind)) } else { Ok((call, kind)) }
        }
        "sum" if is_integer(&kind) => Ok((sum(cast(value.expr, DataType::Int64)), DataType::Int64)),
        "sum" if is_float(&kind) => Ok((sum(cast(value.expr, DataType::Float64)), DataType::Float64)),
        "sum" => match kind {
            DataType::Decimal128(precision, scale) if precision <= 28 => {
                Ok((sum(value.expr), bounded_decimal(i32::from(precision) + 10, scale.into())))
            }
            kind => Err(refused(&kind)),
        },
        "avg" | "mean" if is_numeric(&kind) && !matches!(kind, DataType::Decimal128(..)) => {
            Ok((avg(cast(value.expr, DataType::Float64)), DataType::Float64))
        }
        _ => Err(refused(&kind)),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::RecordBatch;

    use crate::cast::cell_text;
    use crate::json::Decoder;
    use crate::query::{QueryError, TableQuery, TableReader};
    use crate::types::parse_schema;

    /// Why there is no answer.
    async fn refusal(sql: &str) -> String {
        match answer(sql).await {
            Err(QueryError::Sql(error)) => error.to_string(),
            other => panic!("{sql}: {other:?}"),
        }
    }

    /// The rows of the answer in order of their texts.
    async fn rows(sql: &str) -> Vec<String> {
        let batches = answer(sql).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
        let mut rows = Vec::new();
        for batch in &batches {
            for row in 0..batch.num_rows() {
                let cells = batch.columns().iter().map(|column| cell_text(column, row).unwrap_or_default());
                rows.push(cells.collect::<Vec<_>>().join(" | "));
            }
        }
        rows.sort();
        rows
    }

    async fn answer(sql: &str) -> Result<Vec<RecordBatch>, QueryError> {
        let schema = parse_schema("at TIMESTAMP, n INT, a0 INT, g0 STRING").expect("a schema");
        let messages = [
            r#"{"at":"2024-02-29T10:00:00Z","n":1,"a0":1,"g0":"x"}"#,
            r#"{"at":"2024-02-29T12:00:00Z","n":2,"a0":1,"g0":"x"}"#,
            r#"{"at":"2023-01-05T12:00:00Z","n":3,"a0":9,"g0":"y"}"#,
        ];
        let decoded = Decoder::new(&schema).decode(messages.iter().map(|m| Some(m.as_bytes())));
        let query = TableQuery::parse(sql).unwrap_or_else(|e| panic!("{sql}: {e}"));
        let reader: TableReader = Box::new(std::iter::once(Ok(decoded.batch)));
        query.run(schema, reader).await
    }

    #[tokio::test]
    async fn a_group_is_a_column_before_it_is_an_alias() {
        for (sql, expected) in [
            (
                "SELECT date_trunc('DAY', at) AS at, count(*) AS many FROM k.t GROUP BY at",
                &["2023-01-05 00:00:00 | 1", "2024-02-29 00:00:00 | 1", "2024-02-29 00:00:00 | 1"][..],
            ),
            (
                "SELECT date_trunc('DAY', at) AS at, count(*) AS many FROM k.t GROUP BY 1",
                &["2023-01-05 00:00:00 | 1", "2024-02-29 00:00:00 | 2"],
            ),
            (
                "SELECT date_trunc('DAY', at) AS day, count(*) AS many FROM k.t GROUP BY day",
                &["2023-01-05 00:00:00 | 1", "2024-02-29 00:00:00 | 2"],
            ),
        ] {
            assert_eq!(rows(sql).await, expected, "{sql}");
        }
    }

    #[tokio::test]
    async fn no_name_of_the_users_is_one_of_ours() {
        for (sql, expected) in [
            ("SELECT g0, max(a0) AS m FROM k.t GROUP BY g0", &["x | 1", "y | 9"][..]),
            ("SELECT transform(array(1), a0 -> a0 + count(*)) AS t FROM k.t", &["[4]"]),
            (
                "SELECT to_json(struct(g0, sum(n))) AS j FROM k.t GROUP BY g0",
                &[r#"{"g0":"x","col2":3}"#, r#"{"g0":"y","col2":3}"#],
            ),
            (
                "SELECT to_json(struct(n, max(a0))) AS j FROM k.t WHERE n > 2 GROUP BY n",
                &[r#"{"n":3,"col2":9}"#],
            ),
            ("SELECT g0, count(*) AS a1 FROM k.t GROUP BY g0 ORDER BY sum(a0) DESC LIMIT 1", &["y | 1"]),
        ] {
            assert_eq!(rows(sql).await, expected, "{sql}");
        }
    }

    #[tokio::test]
    async fn a_parameter_is_no_group_and_no_column() {
        let sql = "SELECT transform(array(5), N -> n + 1) AS t FROM k.t GROUP BY n";
        assert_eq!(rows(sql).await, ["[6]", "[6]", "[6]"]);
        assert!(refusal("SELECT transform(array(5), n -> sum(n)) AS t FROM k.t").await.contains("sum"));
    }

    #[tokio::test]
    async fn what_is_not_grouped_by_is_refused() {
        for (sql, expected) in [
            ("SELECT a0, count(*) AS c FROM k.t GROUP BY n", "no column `a0`"),
            ("SELECT n FROM k.t GROUP BY n HAVING g0 > 1", "no column `g0`"),
            ("SELECT *, count(*) AS c FROM k.t GROUP BY g0", "`*` beside GROUP BY"),
            ("SELECT n, count(*) AS c FROM k.t GROUP BY 3", "no column 3 to group by"),
            ("SELECT n, count(*) AS c FROM k.t GROUP BY 0", "no column 0 to group by"),
            ("SELECT count(t.*) AS c FROM k.t", "count of a relation's columns"),
        ] {
            let why = refusal(sql).await;
            assert!(why.contains(expected), "{sql}: {why}");
        }
    }

    #[tokio::test]
    async fn parts_of_one_moment_stay_different_columns() {
        let sql = "SELECT extract(YEAR FROM at) AS y, extract(MONTH FROM at) AS m, extract(DAY FROM at) AS d, \
                   date_part('doy', at) AS doy FROM k.t";
        assert_eq!(rows(sql).await, ["2023 | 1 | 5 | 5", "2024 | 2 | 29 | 60", "2024 | 2 | 29 | 60"]);
        let sql = "SELECT extract(YEAR FROM at) AS y, max(extract(MONTH FROM at)) AS m FROM k.t GROUP BY 1";
        assert_eq!(rows(sql).await, ["2023 | 1", "2024 | 2"]);
    }
}
