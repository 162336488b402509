//! `sql`: statements in, answers out. For people a statement ends with `;` and is answered by a
//! table; for programs each line is one and is answered by a JSON object. Nothing is kept or written.

mod prompt;
mod statements;

use std::io::{self, BufRead, IsTerminal};
use std::time::Instant;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use millstream_connectors::file::FileKind;
use millstream_core::{Error, Scope, SourceKind};
use millstream_engine::infer;
use millstream_sql::{
    Decoder, Explanation, QueryError, TableQuery, answer, answered_functions, cell_text, explain,
    parse_schema, schema_ddl, simple_string,
};
use serde_json::{Value, json};

use prompt::Prompt;
use statements::Statements;

use super::query::mistake_in;
use crate::args::{AnswerFormat, SqlArgs};
use crate::output::{say, sayln};
use crate::{Outcome, output};

/// Records that a schema is guessed from.
const SAMPLES_MAX: usize = 1_000;

pub(super) async fn run(args: &SqlArgs) -> Outcome {
    let terminal = io::stdin().is_terminal();
    let format = args.format.unwrap_or(if terminal { AnswerFormat::Table } else { AnswerFormat::Json });
    let input = match &args.input {
        Some(path) => Some(Input::read(path, args.schema.as_deref()).await?),
        None => None,
    };
    let asked = Asked { input, explain: args.explain };
    match format {
        AnswerFormat::Json => {
            for line in io::stdin().lock().lines() {
                let line = line.map_err(unreadable)?;
                if !line.trim().is_empty() {
                    output::results(&format!("{}\n", asked.for_programs(&line).await))?;
                }
            }
        }
        AnswerFormat::Table => {
            let mut statements = if terminal {
                sayln!("portable Spark SQL; a statement ends with ; and Ctrl-D ends all");
                Statements::typed(Prompt::new(asked.words()).map_err(unreadable)?)
            } else {
                Statements::piped()
            };
            while let Some(statement) = statements.next().map_err(unreadable)? {
                if !statement.trim().is_empty() {
                    asked.for_people(statement.trim()).await?;
                }
            }
        }
    }
    Ok(())
}

fn unreadable(error: io::Error) -> Error {
    Error::user(format!("cannot read a statement: {error}"))
}

/// A file as the view `input`.
struct Input {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
}

impl Input {
    async fn read(path: &str, schema: Option<&str>) -> Outcome<Self> {
        if path == "-" {
            return Err(Error::user("standard input holds the statements").help("name a file").into());
        }
        let settings = json!({ "file": path, "schema": "line STRING" });
        let mut source = FileKind.open(&settings, &Scope::default()).await?;
        let mut pages = Vec::new();
        while let Some(page) = source.next().await? {
            pages.push(page);
        }
        let schema = match schema {
            Some(text) => parse_schema(text).map_err(|e| mistake_in("--schema", text, &e))?,
            None => {
                let values = pages.iter().flat_map(|page| page.iter()).filter_map(|record| record.value);
                let samples: Vec<Value> =
                    values.take(SAMPLES_MAX).filter_map(|value| serde_json::from_slice(value).ok()).collect();
                if !samples.iter().any(Value::is_object) {
                    return Err(
                        Error::user(format!("{path} has no JSON object to guess a schema from")).into()
                    );
                }
                let text = infer(&samples).fields.join(", ");
                parse_schema(&text).map_err(|e| mistake_in("the guessed schema", &text, &e))?
            }
        };
        let mut decoder = Decoder::new(&schema);
        let (mut batches, mut dead) = (Vec::new(), 0);
        for page in &pages {
            let decoded = decoder.decode(page.iter().map(|record| record.value));
            if dead == 0
                && let Some((_, reason, detail)) = decoded.refused.first()
            {
                sayln!("{path}: a record is {reason}: {detail}");
            }
            dead += decoded.refused.len();
            batches.push(decoded.batch);
        }
        let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
        sayln!("input: {rows} record(s), {dead} unreadable; {}", schema_ddl(&schema));
        Ok(Self { schema: decoder.schema().clone(), batches })
    }
}

/// Names and types of columns, and rows of texts.
struct Rows {
    names: Vec<String>,
    types: Vec<String>,
    rows: Vec<Vec<Option<String>>>,
}

impl Rows {
    fn of(batches: &[RecordBatch]) -> Self {
        let fields = batches.first().map(|batch| batch.schema().fields().clone()).unwrap_or_default();
        let row = |batch: &RecordBatch, row: usize| {
            batch.columns().iter().map(|column| cell_text(column, row)).collect::<Vec<_>>()
        };
        Self {
            names: fields.iter().map(|field| field.name().clone()).collect(),
            types: fields.iter().map(|field| simple_string(field.data_type())).collect(),
            rows: batches
                .iter()
                .flat_map(|batch| (0..batch.num_rows()).map(move |at| row(batch, at)))
                .collect(),
        }
    }
}

/// What a statement gave.
enum Said {
    /// Without a table: one row at most.
    Answer(Option<millstream_sql::Answer>),
    /// Over `input`.
    Rows(Rows),
    Plan(Explanation),
}

struct Asked {
    input: Option<Input>,
    explain: bool,
}

impl Asked {
    /// What a statement may name: the columns of `input` and the functions.
    fn words(&self) -> Vec<String> {
        let columns = self.input.iter().flat_map(|input| input.schema.fields());
        let functions = answered_functions().into_iter().map(|function| function.name.to_owned());
        columns.map(|field| field.name().clone()).chain(functions).collect()
    }

    async fn answer(&self, statement: &str) -> Result<Said, QueryError> {
        if self.explain {
            let schema = self.input.as_ref().map(|input| &*input.schema);
            return Ok(Said::Plan(explain(statement, schema)?));
        }
        let query = TableQuery::parse(statement).ok();
        let (Some(input), Some(query)) = (&self.input, query) else {
            return Ok(Said::Answer(answer(statement)?));
        };
        if !matches!(query.table(), [name] if name.eq_ignore_ascii_case("input")) {
            let message = format!("there is no table `{}` here", query.table().join("."));
            return Err(QueryError::Run(Error::user(message).help("write FROM input")));
        }
        let batches = input.batches.clone().into_iter().map(Ok);
        Ok(Said::Rows(Rows::of(&query.run(input.schema.clone(), Box::new(batches)).await?)))
    }

    async fn for_programs(&self, statement: &str) -> Value {
        match self.answer(statement).await {
            Ok(Said::Answer(Some(answer))) => json!({"types": answer.types, "text": answer.text}),
            Ok(Said::Answer(None)) => json!({"types": [], "text": []}),
            Ok(Said::Rows(rows)) => json!({"names": rows.names, "types": rows.types, "rows": rows.rows}),
            Ok(Said::Plan(plan)) => json!({"plan": plan.to_string().lines().collect::<Vec<_>>()}),
            Err(QueryError::Sql(error)) => json!({"error": error.to_string()}),
            Err(QueryError::Run(error)) => json!({"error": error.message}),
        }
    }

    async fn for_people(&self, statement: &str) -> Outcome {
        let began = Instant::now();
        let rows = match self.answer(statement).await {
            Ok(Said::Answer(answer)) => {
                let answer = answer.into_iter();
                answer.fold(Rows { names: Vec::new(), types: Vec::new(), rows: Vec::new() }, |_, answer| {
                    Rows { names: answer.names, types: answer.types, rows: vec![answer.text] }
                })
            }
            Ok(Said::Rows(rows)) => rows,
            Ok(Said::Plan(plan)) => return Ok(output::results(&plan.to_string())?),
            Err(QueryError::Sql(error)) => {
                let report = mistake_in("statement", statement, &error);
                say!("{}", report.render(output::has_colours()));
                return Ok(());
            }
            Err(QueryError::Run(error)) => {
                output::error(&error);
                return Ok(());
            }
        };
        let heads = rows.names.iter().zip(&rows.types);
        let heads: Vec<_> = heads
            .map(|(name, kind)| if name.is_empty() { kind.clone() } else { format!("{name}: {kind}") })
            .collect();
        if !heads.is_empty() {
            output::results(&output::table_of(&heads, &rows.rows)?)?;
        }
        sayln!("{} row(s), {} ms", rows.rows.len(), began.elapsed().as_millis());
        Ok(())
    }
}
