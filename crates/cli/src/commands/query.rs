//! `query`: SQL over a pipeline's table, also while it is written.

use millstream_core::{Error, cql};
use millstream_engine::{Diagnostic, Report};
use millstream_sql::{QueryError, SqlError, TableQuery};

use crate::args::{FileArgs, RowFormat};
use crate::load::load;
use crate::output::sayln;
use crate::{Failure, Outcome, bind, output};

/// Rows that are read at once.
const ROWS_MAX: usize = 8_192;

pub(super) async fn run(args: &FileArgs, sql: &str, format: RowFormat) -> Outcome {
    let loaded = load(args)?;
    let query = TableQuery::parse(sql).map_err(|e| mistake(sql, &e))?;
    let name = query.table().join(".");
    let Some((_, table)) = loaded.plan.table(Some(&name)) else {
        let known: Vec<_> = loaded
            .plan
            .flows
            .iter()
            .filter_map(|flow| match &flow.target.plan {
                millstream_core::SinkPlan::Table(table) => Some(table.to_string()),
                _ => None,
            })
            .collect();
        return Err(Error::user(format!("no flow writes a table `{name}`"))
            .help(format!("tables are {}", known.join(", ")))
            .into());
    };
    let schema = cql::schema_of(table);
    let key = cql::PartitionKey::of(table, &query.constants(&schema));
    let tables = bind::Tables::of(&loaded.plan.pipeline, &loaded.tables)?;
    if key.is_none() && matches!(tables, bind::Tables::Real(_)) {
        let columns = table.key().filter(|column| column.key == Some(cql::Key::Partition));
        let columns: Vec<_> = columns.map(|column| format!("{} = …", column.name)).collect();
        sayln!("all rows of {table} are read; with WHERE {} only those", columns.join(" AND "));
    }
    let scan = tables.scan(table, key.as_ref(), ROWS_MAX).await;
    let Some(scan) = loaded.hide(scan)? else {
        return Err(Error::user(format!("table {table} is not there yet"))
            .help("run the pipeline first")
            .into());
    };
    let rows = query.run(schema, scan).await.map_err(|e| match e {
        QueryError::Sql(error) => mistake(sql, &error),
        QueryError::Run(error) => Failure::Error(error),
    })?;
    output::results(&output::rows(&rows, format)?)?;
    Ok(())
}

fn mistake(sql: &str, error: &SqlError) -> Failure {
    mistake_in("query", sql, error).into()
}

/// A mistake in a statement, shown as one in a file is.
pub(super) fn mistake_in(what: &str, sql: &str, error: &SqlError) -> Report {
    let found = Diagnostic::error(&error.message, error.span.clone());
    let found = match &error.help {
        Some(help) => found.help(help),
        None => found,
    };
    Report { path: what.to_owned(), text: sql.to_owned(), diagnostics: vec![found], ..Report::default() }
}
