//! A single statement without a table, answered as Spark answers it.

use std::cell::RefCell;
use std::sync::Arc;

use arrow::array::{NullArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};

use crate::cast::Formatter;
use crate::error::SqlError;
use crate::plan::{Evaluator, flatten};
use crate::syntax;
use crate::types::simple_string;

/// The one row of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The columns' names; empty where a column has none.
    pub names: Vec<String>,
    /// Spark's names of the columns' types.
    pub types: Vec<String>,
    /// Each value cast to STRING.
    pub text: Vec<Option<String>>,
}

/// Answers `sql`; `None` where its WHERE leaves no row.
pub fn answer(sql: &str) -> Result<Option<Answer>, SqlError> {
    let query = syntax::parse_query(sql)?;
    let flat = flatten(&query, None, &RefCell::default())?;
    let failed = |e: String| SqlError::unsupported(format!("cannot be answered natively: {e}"), 0..sql.len());
    // One row of nothing, so that every expression is evaluated once.
    let schema = Arc::new(Schema::new(vec![Field::new("nothing", DataType::Null, true)]));
    let evaluator = Evaluator::new(&flat, &schema).map_err(|e| failed(e.to_string()))?;
    let row =
        RecordBatch::try_new(schema, vec![Arc::new(NullArray::new(1))]).map_err(|e| failed(e.to_string()))?;
    let mask = evaluator.mask(&row).map_err(|e| failed(e.to_string()))?;
    if mask.is_some_and(|mask| !mask.value(0)) {
        return Ok(None);
    }
    let result = evaluator.project(&row).map_err(|e| failed(e.to_string()))?;
    let text = result.columns().iter().map(|column| {
        let mut text = String::new();
        Formatter::new(column).write(0, &mut text).then_some(text)
    });
    let types = flat.columns.iter().map(|column| simple_string(&column.value.kind)).collect();
    let names = flat.columns.iter().map(|column| column.name.clone()).collect();
    Ok(Some(Answer { names, types, text: text.collect() }))
}
