//! What a query is once it is bound: a tree of steps for every column, each with its type and with
//! where its meaning comes from. Nothing is computed; what is constant already is.

use std::cell::RefCell;
use std::fmt;

use arrow::datatypes::{DataType, Schema};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, DataFusionError};
use datafusion::logical_expr::{Expr, ExprSchemable};

use crate::bind::internal_name;
use crate::cast::cell_text;
use crate::error::SqlError;
use crate::functions;
use crate::plan::{Base, flatten, internal_schema};
use crate::syntax;
use crate::types::simple_string;

/// A bound query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The columns that come out, by their names.
    pub columns: Vec<(String, Step)>,
    /// What a record has to be to pass.
    pub filter: Option<Step>,
}

/// One step of a computation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// A column, a constant, an operator or a function.
    pub what: String,
    /// Spark's name of its type.
    pub kind: String,
    /// Where a function's meaning comes from.
    pub source: Option<&'static str>,
    /// What it is computed from.
    pub parts: Vec<Step>,
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, step) in &self.columns {
            writeln!(f, "{name}: {}", step.kind)?;
            step.write(f, 1)?;
        }
        if let Some(filter) = &self.filter {
            writeln!(f, "WHERE")?;
            filter.write(f, 1)?;
        }
        Ok(())
    }
}

impl Step {
    fn write(&self, f: &mut fmt::Formatter<'_>, depth: usize) -> fmt::Result {
        let source = self.source.map(|source| format!("  ({source})")).unwrap_or_default();
        writeln!(f, "{}{}: {}{source}", "  ".repeat(depth), self.what, self.kind)?;
        self.parts.iter().try_for_each(|part| part.write(f, depth + 1))
    }
}

/// Explains `sql` over messages of `schema`, or over none.
pub fn explain(sql: &str, schema: Option<&Schema>) -> Result<Explanation, SqlError> {
    let query = syntax::parse_query(sql)?;
    let base = schema.map(|schema| Base { name: "input", schema });
    let flat = flatten(&query, base.as_ref(), &RefCell::default())?;
    let empty = Schema::empty();
    let input = schema.unwrap_or(&empty);
    let known = DFSchema::try_from(internal_schema(input));
    let failed =
        |e: DataFusionError| SqlError::unsupported(format!("cannot be explained: {e}"), 0..sql.len());
    let known = known.map_err(failed)?;
    let step = |expr: &Expr| step(expr, input, &known);
    let columns = flat.columns.iter().map(|column| (column.name.clone(), step(&column.value.expr))).collect();
    Ok(Explanation { columns, filter: flat.filter.as_ref().map(|filter| step(&filter.expr)) })
}

fn step(expr: &Expr, input: &Schema, known: &DFSchema) -> Step {
    let kind = expr.get_type(known).map_or("?".to_owned(), |kind| simple_string(&kind));
    let (what, source) = match expr {
        Expr::Column(column) => {
            let at = (0..input.fields().len()).find(|at| internal_name(*at) == column.name);
            (at.map_or("a parameter".to_owned(), |at| format!("column {}", input.field(at).name())), None)
        }
        Expr::Literal(value, _) => {
            let text = value.to_array().ok().and_then(|array| cell_text(&array, 0));
            let text =
                text.map(|text| if value.data_type() == DataType::Utf8 { format!("'{text}'") } else { text });
            (text.unwrap_or("NULL".to_owned()), None)
        }
        Expr::ScalarFunction(call) => {
            let label = call.func.name();
            let label = label.split(" -> ").next().unwrap_or(label);
            let name = label.split(' ').next().unwrap_or(label);
            (label.to_owned(), functions::find(name).map(|function| function.source))
        }
        Expr::BinaryExpr(binary) => (binary.op.to_string(), None),
        Expr::Case(_) => ("CASE".to_owned(), None),
        other => (other.variant_name().to_owned(), None),
    };
    let mut parts = Vec::new();
    // It cannot fail: every part is seen.
    let _ = expr.apply_children(|part| {
        parts.push(step(part, input, known));
        Ok(TreeNodeRecursion::Continue)
    });
    Step { what, kind, source, parts }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::parse_schema;

    #[test]
    fn a_query_is_shown_with_its_types_and_sources() {
        let schema = parse_schema("id STRING, n INT").expect("a schema");
        let shown = explain("SELECT upper(id) AS id, n + 1L AS m FROM input WHERE n > 0", Some(&schema));
        assert_eq!(
            shown.expect("a plan").to_string(),
            "id: string\n  upper: string  (UTF8String)\n    column id: string\n\
             m: bigint\n  Add bigint: bigint\n    cast int as bigint: bigint\n      column n: int\n    1: bigint\n\
             WHERE\n  >: boolean\n    column n: int\n    0: int\n"
        );
    }
}
