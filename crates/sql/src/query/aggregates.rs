//! Aggregates in a query over a table: taken out of its expressions, planned, and put back as columns.
//! How each is computed is DataFusion's affair; here its type and its meaning are Spark's.

use std::ops::Range;

use arrow::datatypes::DataType;
use datafusion::common::{Column as PlanColumn, ScalarValue};
use datafusion::functions_aggregate::expr_fn::{avg, count, max, min, sum};
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, cast};

use super::QueryError;
use crate::bind::coerce::{bounded_decimal, is_float, is_integer, is_numeric};
use crate::bind::{self, Bind, Column, Scope};
use crate::error::SqlError;
use crate::operation::Bound;
use crate::syntax::{self, Kind, Query};

/// The aggregate calls of a query, taken out of its expressions: in their place stand names.
#[derive(Default)]
pub(super) struct Aggregates {
    calls: Vec<(String, Vec<syntax::Expr>, Range<usize>)>,
    groups: Vec<syntax::Expr>,
}

const AGGREGATES: [&str; 6] = ["count", "sum", "min", "max", "avg", "mean"];

impl Aggregates {
    pub(super) fn is_needed(&self, select: &syntax::Select) -> bool {
        !self.calls.is_empty() || !select.group_by.is_empty()
    }

    /// The SELECT list, HAVING and ORDER BY with names in place of aggregates and of what is
    /// grouped by.
    pub(super) fn take_out(
        &mut self,
        query: &Query,
        scope: &Scope,
    ) -> (Vec<syntax::Item>, Option<syntax::Expr>, Vec<syntax::Order>) {
        let select = &query.select;
        self.groups = select.group_by.iter().map(|group| grouped(group, &select.items, scope)).collect();
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
        (items, having, order)
    }

    fn replaced(&mut self, expr: &syntax::Expr) -> syntax::Expr {
        if let Some(at) = self.groups.iter().position(|group| group.is_same(expr)) {
            return syntax::Expr { kind: Kind::Name(vec![group_name(at)]), span: expr.span.clone() };
        }
        match &expr.kind {
            Kind::Call { name, args, distinct: false } if AGGREGATES.contains(&name.as_str()) => {
                self.calls.push((name.clone(), args.clone(), expr.span.clone()));
                let kind = Kind::Name(vec![call_name(self.calls.len() - 1)]);
                syntax::Expr { kind, span: expr.span.clone() }
            }
            _ => expr.map_children(&mut |child| self.replaced(child)),
        }
    }

    pub(super) fn plan(
        &self,
        select: &syntax::Select,
        scope: &Scope,
        plan: LogicalPlanBuilder,
    ) -> Result<(Scope, LogicalPlanBuilder), QueryError> {
        let mut columns = Vec::new();
        let mut groups = Vec::new();
        for (at, group) in self.groups.iter().enumerate() {
            let value = bind::normalised(bind::bind(group, scope)?, &group.span)?;
            groups.push(value.expr.alias(group_name(at)));
            columns.push(named(group_name(at), value.kind));
        }
        let mut calls = Vec::new();
        for (at, (name, args, span)) in self.calls.iter().enumerate() {
            let (expr, kind) = aggregate(name, args, scope, span)?;
            calls.push(expr.alias(call_name(at)));
            columns.push(named(call_name(at), kind));
        }
        if calls.is_empty() && groups.is_empty() {
            return Err(SqlError::invalid("nothing to group", select.span.clone()).into());
        }
        Ok((Scope::of_columns(None, columns), plan.aggregate(groups, calls)?))
    }
}

/// `GROUP BY 1` means the item of the list, and so does `GROUP BY alias` where no column has that name.
fn grouped(group: &syntax::Expr, items: &[syntax::Item], scope: &Scope) -> syntax::Expr {
    let item = match &group.kind {
        Kind::Literal(syntax::Literal::Int(place)) => {
            usize::try_from(*place).ok().and_then(|place| items.get(place.checked_sub(1)?))
        }
        Kind::Name(parts) if parts.len() == 1 && !scope.has(&parts[0]) => items
            .iter()
            .find(|item| item.alias.as_ref().is_some_and(|alias| alias.eq_ignore_ascii_case(&parts[0]))),
        _ => None,
    };
    item.map_or_else(|| group.clone(), |item| item.expr.clone())
}

fn group_name(at: usize) -> String {
    format!("g{at}")
}

fn call_name(at: usize) -> String {
    format!("a{at}")
}

fn named(name: String, kind: DataType) -> Column {
    let expr = Expr::Column(PlanColumn::new_unqualified(name.clone()));
    Column { name, value: Bound::new(expr, kind) }
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
            Kind::Star(_) => Expr::Literal(ScalarValue::Int64(Some(1)), None),
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
    use crate::cast::cell_text;
    use crate::json::Decoder;
    use crate::query::{TableQuery, TableReader};
    use crate::types::parse_schema;

    /// The rows of the answer in order of their texts.
    async fn rows(sql: &str) -> Vec<String> {
        let schema = parse_schema("at TIMESTAMP, n INT").expect("a schema");
        let messages = [
            r#"{"at":"2024-02-29T10:00:00Z","n":1}"#,
            r#"{"at":"2024-02-29T12:00:00Z","n":2}"#,
            r#"{"at":"2023-01-05T12:00:00Z","n":3}"#,
        ];
        let decoded = Decoder::new(&schema).decode(messages.iter().map(|m| Some(m.as_bytes())));
        let query = TableQuery::parse(sql).unwrap_or_else(|e| panic!("{sql}: {e}"));
        let reader: TableReader = Box::new(std::iter::once(Ok(decoded.batch)));
        let batches = query.run(schema, reader).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
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
    async fn parts_of_one_moment_stay_different_columns() {
        let sql = "SELECT extract(YEAR FROM at) AS y, extract(MONTH FROM at) AS m, extract(DAY FROM at) AS d, \
                   date_part('doy', at) AS doy FROM k.t";
        assert_eq!(rows(sql).await, ["2023 | 1 | 5 | 5", "2024 | 2 | 29 | 60", "2024 | 2 | 29 | 60"]);
        let sql = "SELECT extract(YEAR FROM at) AS y, max(extract(MONTH FROM at)) AS m FROM k.t GROUP BY 1";
        assert_eq!(rows(sql).await, ["2023 | 1", "2024 | 2"]);
    }
}
