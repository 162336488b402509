//! A flow's query: planned once, run for every batch, at most one row for each record.

use std::cell::RefCell;
use std::collections::BTreeSet;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::{filter, filter_record_batch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use datafusion::error::DataFusionError;
use millstream_core::{Error, Result};

use crate::error::SqlError;
use crate::plan::{Base, Evaluator, flatten};
use crate::syntax;

/// The name of the relation that a flow's query reads.
const INPUT: &str = "input";

/// The rows that came of a batch.
#[derive(Debug)]
pub struct Transformed {
    /// The query's columns.
    pub batch: RecordBatch,
    /// For each row the index of the row it came from.
    pub origins: Vec<u32>,
}

/// A query over the view `input`, ready to run.
#[derive(Debug)]
pub struct FlowQuery {
    evaluator: Evaluator,
    unread: Vec<String>,
}

impl FlowQuery {
    /// Plans `sql` over messages of `schema`.
    pub fn new(sql: &str, schema: &Schema) -> Result<Self, SqlError> {
        let query = syntax::parse_query(sql)?;
        let used = RefCell::default();
        let flat = flatten(&query, Some(&Base { name: INPUT, schema }), &used)?;
        let whole = 0..sql.len();
        if let Some(at) = flat.columns.iter().position(|column| column.name.is_empty()) {
            let message = format!("column {} has no name", at + 1);
            return Err(SqlError::invalid(message, whole).help("write AS and a name behind it"));
        }
        for (at, column) in flat.columns.iter().enumerate() {
            let twice =
                flat.columns[..at].iter().any(|before| before.name.eq_ignore_ascii_case(&column.name));
            if twice {
                let message = format!("two columns are named `{}`", column.name);
                return Err(SqlError::invalid(message, whole).help("give one of them another name with AS"));
            }
        }
        let evaluator = Evaluator::new(&flat, schema)
            .map_err(|e| SqlError::unsupported(format!("cannot be planned natively: {e}"), whole))?;
        Ok(Self { evaluator, unread: unread(schema, &used.into_inner()) })
    }

    /// The query's columns.
    pub fn schema(&self) -> &SchemaRef {
        self.evaluator.output()
    }

    /// Fields of the input that the query does not mention.
    pub fn unread(&self) -> &[String] {
        &self.unread
    }

    /// Runs the query over one batch. An error whose fault is [`Fault::Lasting`](millstream_core::Fault) is about values
    /// in it; any other is a bug.
    pub fn run(&self, batch: &RecordBatch) -> Result<Transformed> {
        if batch.num_rows() == 0 {
            return Ok(self.nothing());
        }
        let all = UInt32Array::from_iter_values(0..batch.num_rows() as u32);
        let (batch, origins) = match self.evaluator.mask(batch).map_err(failed)? {
            None => (batch.clone(), all),
            Some(mask) => {
                let kept = filter(&all, &mask).map_err(|e| failed(e.into()))?;
                let kept = arrow::array::AsArray::as_primitive(&kept).clone();
                (filter_record_batch(batch, &mask).map_err(|e| failed(e.into()))?, kept)
            }
        };
        if batch.num_rows() == 0 {
            return Ok(self.nothing());
        }
        let batch = self.evaluator.project(&batch).map_err(failed)?;
        Ok(Transformed { batch, origins: origins.values().to_vec() })
    }

    /// What comes of no rows. DataFusion computes some branches also for none, and may fail.
    fn nothing(&self) -> Transformed {
        Transformed { batch: RecordBatch::new_empty(self.schema().clone()), origins: Vec::new() }
    }
}

fn failed(error: DataFusionError) -> Error {
    let is_of_a_value = match error.find_root() {
        DataFusionError::Execution(_) | DataFusionError::ResourcesExhausted(_) => true,
        // What is made of a value may have more bytes than a column has offsets.
        DataFusionError::ArrowError(arrow, _) => {
            matches!(**arrow, ArrowError::ComputeError(_) | ArrowError::OffsetOverflowError(_))
        }
        _ => false,
    };
    match is_of_a_value {
        true => Error::lasting(format!("the query fails: {error}")),
        false => Error::ours(format!("the query failed over a batch: {error}")),
    }
}

/// The fields of `schema`, dotted, that no name in `used` leads to.
fn unread(schema: &Schema, used: &BTreeSet<Vec<String>>) -> Vec<String> {
    let mut found = Vec::new();
    for field in schema.fields() {
        look(field, &mut Vec::new(), used, &mut found);
    }
    found
}

fn look(field: &Field, path: &mut Vec<String>, used: &BTreeSet<Vec<String>>, found: &mut Vec<String>) {
    path.push(field.name().clone());
    let lower: Vec<String> = path.iter().map(|part| part.to_lowercase()).collect();
    // Named itself, or with everything in it by naming what it is in.
    let is_used = used.iter().any(|name| lower.starts_with(name));
    let leads_on = used.iter().any(|name| name.starts_with(&lower));
    match field.data_type() {
        _ if is_used => {}
        DataType::Struct(fields) if leads_on => {
            fields.iter().for_each(|field| look(field, path, used, found))
        }
        _ => found.push(path.join(".")),
    }
    path.pop();
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, AsArray};
    use millstream_core::Fault;

    use super::*;
    use crate::json::Decoder;
    use crate::types::parse_schema;

    const SCHEMA: &str = "id STRING, n INT, name STRUCT<first: STRING, last: STRING>";

    fn run(sql: &str, messages: &[&str]) -> Transformed {
        let schema = parse_schema(SCHEMA).expect("a schema");
        let query = FlowQuery::new(sql, &schema).unwrap_or_else(|e| panic!("{sql}: {e}"));
        let decoded = Decoder::new(&schema).decode(messages.iter().map(|message| Some(message.as_bytes())));
        query.run(&decoded.batch).expect("runs")
    }

    #[test]
    fn rows_remember_where_they_came_from() {
        let messages = [r#"{"id":"a","n":1}"#, r#"{"id":"b"}"#, r#"{"id":"c","n":3}"#];
        let result = run("SELECT upper(id) AS id, n + 1 AS m FROM input WHERE n > 0", &messages);
        assert_eq!(result.origins, [0, 2]);
        assert_eq!(
            result.batch.column(0).as_string::<i32>().iter().flatten().collect::<Vec<_>>(),
            ["A", "C"]
        );
    }

    #[test]
    fn what_is_computed_for_no_row_fails_for_none() {
        let sql = "SELECT add_months(DATE'2024-01-01', if(n > 0, 2147483647, n)) AS d FROM input";
        assert!(run(sql, &["{"]).origins.is_empty());
        assert!(run(&format!("{sql} WHERE n < 0"), &[r#"{"n":5}"#]).origins.is_empty());
    }

    #[test]
    fn what_values_are_the_reason_of_is_a_lasting_error() {
        let schema = parse_schema("s STRING, n INT").expect("a schema");
        let message = format!(r#"{{"s":"{}","n":2147483647}}"#, "x".repeat(30_000));
        for value in ["add_months(DATE'2024-01-31', n)", "repeat(s, 100000)"] {
            let query = FlowQuery::new(&format!("SELECT {value} AS r FROM input"), &schema).expect(value);
            let decoded = Decoder::new(&schema).decode(std::iter::once(Some(message.as_bytes())));
            assert_eq!(query.run(&decoded.batch).expect_err(value).fault, Fault::Lasting, "{value}");
        }
        let too_large = DataFusionError::from(ArrowError::OffsetOverflowError(1 << 31)).context("of a batch");
        assert_eq!(failed(too_large).fault, Fault::Lasting);
        assert_eq!(failed(DataFusionError::Internal("a bug".into())).fault, Fault::Ours);
    }

    #[test]
    fn queries_in_from_and_with_are_put_in_place() {
        let messages = [r#"{"id":"a","n":1}"#, r#"{"id":"b","n":5}"#];
        for sql in [
            "WITH big AS (SELECT id, n * 10 AS t FROM input WHERE n > 2) SELECT id FROM big WHERE t = 50",
            "SELECT x.id FROM (SELECT id, n * 10 AS t FROM input i WHERE i.n > 2) x WHERE x.t = 50",
        ] {
            assert_eq!(run(sql, &messages).origins, [1], "{sql}");
        }
    }

    #[test]
    fn what_a_message_lacks_is_null_whatever_the_schema_promises() {
        let schema = "id STRING NOT NULL, s STRUCT<x: INT NOT NULL>, m MAP<STRING, STRUCT<x: INT NOT NULL>>";
        let schema = parse_schema(schema).expect("a schema");
        let sql = "SELECT id, s.x, m, from_json('{}', 'STRUCT<a: INT NOT NULL>') AS j FROM input";
        let query = FlowQuery::new(sql, &schema).expect("plans");
        assert!(query.schema().field(0).is_nullable());
        let messages = ["{}", r#"{"s":{}}"#, r#"{"id":"a","s":{"x":1},"m":{"k":{}}}"#];
        let decoded = Decoder::new(&schema).decode(messages.iter().map(|message| Some(message.as_bytes())));
        let result = query.run(&decoded.batch).expect("runs");
        let ids = result.batch.column(0).as_string::<i32>().iter().collect::<Vec<_>>();
        assert_eq!(ids, [None, None, Some("a")]);
        assert_eq!(result.batch.column(1).null_count(), 2);
    }

    #[test]
    fn a_column_is_named_by_a_name_or_an_alias_alone() {
        let schema = "id STRING, name STRUCT<first: STRING>, items ARRAY<STRUCT<sku: STRING>>, \
                      m MAP<STRING, STRUCT<p: INT>>";
        let schema = parse_schema(schema).expect("a schema");
        for value in ["items[0].sku", "m['k'].p", "from_json(id, 'a INT').a", "upper(id)"] {
            let error = FlowQuery::new(&format!("SELECT id, {value} FROM input"), &schema).expect_err(value);
            assert!(error.message.contains("column 2 has no name"), "{value}: {error}");
        }
        let sql = "SELECT id, name.first, items.sku, input.m.k, items[0].sku AS one FROM input";
        let query = FlowQuery::new(sql, &schema).expect("plans");
        let names: Vec<_> = query.schema().fields().iter().map(|field| field.name().as_str()).collect();
        assert_eq!(names, ["id", "first", "sku", "k", "one"]);
    }

    #[test]
    fn unread_fields_are_named() {
        let schema = parse_schema(SCHEMA).expect("a schema");
        let unread = |sql: &str| FlowQuery::new(sql, &schema).expect("plans").unread().to_vec();
        assert_eq!(unread("SELECT id, name.FIRST AS f FROM input"), ["n", "name.last"]);
        assert_eq!(unread("SELECT name FROM input WHERE n = 1"), ["id"]);
        assert_eq!(unread("SELECT * FROM input"), Vec::<String>::new());
    }

    #[test]
    fn a_column_goes_before_the_function_of_its_name() {
        let planned = |schema: &str, sql: &str| FlowQuery::new(sql, &parse_schema(schema).expect("a schema"));
        let query = planned(
            "user STRUCT<id: STRING>, Current_Date DATE",
            "SELECT user.id, input.user, current_date, transform(array(1), user -> user) AS t FROM input",
        );
        let query = query.expect("plans");
        let names: Vec<_> = query.schema().fields().iter().map(|field| field.name().as_str()).collect();
        assert_eq!(names, ["id", "user", "current_date", "t"]);
        assert_eq!(query.unread(), Vec::<String>::new());
        for (name, why) in [("user", "Spark's session"), ("CURRENT_TIMESTAMP", "another value each time")] {
            let error = planned("id STRING", &format!("SELECT {name} AS u FROM input")).expect_err(name);
            assert!(error.message.contains(why), "{error}");
        }
        let error = planned("id STRING", "SELECT user.id AS u FROM input").expect_err("no column");
        assert!(error.message.contains("no column `user`"), "{error}");
    }

    #[test]
    fn thousands_of_conditions_and_branches_fit_the_stack() {
        let messages =
            [r#"{"id":"k0","n":0}"#, r#"{"id":"k1999","n":1999}"#, r#"{"n":7}"#, r#"{"id":"x","n":-1}"#];
        let any = (0..2000).map(|at| format!("id = 'k{at}'")).collect::<Vec<_>>().join(" OR ");
        let all = (0..2000).map(|at| format!("id <> 'k{at}'")).collect::<Vec<_>>().join(" AND ");
        let arrays = (0..2000).map(|at| format!("array({at})")).collect::<Vec<_>>().join(", ");
        let branches = (0..2000).map(|at| format!(" WHEN id = 'k{at}' THEN {at}")).collect::<String>();
        for (condition, origins) in [
            (any.clone(), &[0, 1][..]),
            (format!("NOT ({any})"), &[3]),
            (all, &[3]),
            (format!("array(n) IN ({arrays})"), &[0, 1, 2]),
            (format!("CASE{branches} END = n"), &[0, 1]),
        ] {
            assert_eq!(run(&format!("SELECT id FROM input WHERE {condition}"), &messages).origins, origins);
        }
    }

    #[test]
    fn what_looks_at_more_than_one_record_is_refused() {
        let schema = parse_schema(SCHEMA).expect("a schema");
        for sql in [
            "SELECT DISTINCT id FROM input",
            "SELECT id FROM input ORDER BY id",
            "SELECT id FROM input LIMIT 1",
            "SELECT n FROM input GROUP BY n",
            "SELECT count(*) AS n FROM input",
            "SELECT id FROM other",
            "SELECT id || 'x' FROM input",
            "SELECT id, ID FROM input",
            "SELECT nothing FROM input",
        ] {
            assert!(FlowQuery::new(sql, &schema).is_err(), "{sql}");
        }
    }
}
