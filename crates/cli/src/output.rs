//! What people and programs get to see: words on standard error, results on standard output.

use std::fmt::Arguments;
use std::io::{self, IsTerminal, Write};

use arrow::array::RecordBatch;
use arrow::util::pretty::pretty_format_batches;
use millstream_core::{Error, Result};
use millstream_engine::{FlowSummary, Summary};
use millstream_sql::{cell_text, encode_rows};

use crate::args::RowFormat;

/// Words for people, on standard error. Where nobody reads it any more, they are lost and the
/// work goes on, which the standard library's macros do not allow.
macro_rules! say {
    ($($words:tt)*) => { $crate::output::write_words(format_args!($($words)*)) };
}

/// As `say!`, with the end of the line.
macro_rules! sayln {
    ($($words:tt)*) => { $crate::output::write_words(format_args!("{}\n", format_args!($($words)*))) };
}

pub(crate) use {say, sayln};

pub(crate) fn write_words(words: Arguments<'_>) {
    // There is nobody to tell.
    let _ = io::stderr().write_fmt(words);
}

/// Whether words for people may have colours.
pub(crate) fn has_colours() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

/// An error with its next step.
pub(crate) fn error(error: &Error) {
    let place: String = error.place.iter().map(|place| format!("{place}: ")).collect();
    sayln!("error: {place}{}", error.message);
    if let Some(help) = &error.help {
        sayln!("  help: {help}");
    }
}

/// Writes to standard output; a reader that has gone is no failure.
pub(crate) fn results(text: &str) -> Result<()> {
    match io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::lasting(format!("cannot write the result: {e}")))
        }
        _ => Ok(()),
    }
}

/// Rows in a format.
pub(crate) fn rows(batches: &[RecordBatch], format: RowFormat) -> Result<String> {
    match format {
        RowFormat::Table => table(batches),
        RowFormat::Json => {
            let mut out = Vec::new();
            for batch in batches {
                let mut rows = Vec::new();
                let mut start = 0;
                for end in encode_rows(batch, &mut rows) {
                    out.extend_from_slice(&rows[start..end]);
                    out.push(b'\n');
                    start = end;
                }
            }
            Ok(String::from_utf8(out).expect("JSON is UTF-8"))
        }
        RowFormat::Csv => Ok(csv(batches)),
    }
}

fn table(batches: &[RecordBatch]) -> Result<String> {
    let texts = batches.iter().map(as_texts).collect::<Vec<_>>();
    let table =
        pretty_format_batches(&texts).map_err(|e| Error::ours(format!("cannot print the rows: {e}")))?;
    Ok(format!("{table}\n"))
}

/// Texts as a table.
pub(crate) fn table_of(heads: &[String], rows: &[Vec<Option<String>>]) -> Result<String> {
    use arrow::array::{ArrayRef, RecordBatchOptions, StringArray};
    use arrow::datatypes::{DataType, Field, Schema};
    let columns = (0..heads.len()).map(|at| {
        let cells: StringArray = rows.iter().map(|row| Some(row[at].as_deref().unwrap_or("NULL"))).collect();
        std::sync::Arc::new(cells) as ArrayRef
    });
    let schema =
        Schema::new(heads.iter().map(|head| Field::new(head, DataType::Utf8, true)).collect::<Vec<_>>());
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    let batch = RecordBatch::try_new_with_options(schema.into(), columns.collect(), &options);
    table(&[batch.expect("texts of the same length")])
}

/// Every cell as CAST(… AS STRING) prints it.
fn as_texts(batch: &RecordBatch) -> RecordBatch {
    use arrow::array::{ArrayRef, StringArray};
    use arrow::datatypes::{DataType, Field, Schema};
    let columns = batch.columns().iter().map(|column| {
        let cells: StringArray = (0..batch.num_rows()).map(|row| cell_text(column, row)).collect();
        std::sync::Arc::new(cells) as ArrayRef
    });
    let schema = batch.schema();
    let fields = schema.fields().iter().map(|field| Field::new(field.name(), DataType::Utf8, true));
    let schema = Schema::new(fields.collect::<Vec<_>>());
    RecordBatch::try_new(schema.into(), columns.collect()).expect("texts of the same length")
}

/// RFC 4180: quotes where they are needed, a null as nothing, an empty text in quotes.
fn csv(batches: &[RecordBatch]) -> String {
    let quoted = |text: &str| match text.is_empty() || text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    };
    let mut out = String::new();
    let Some(first) = batches.first() else { return out };
    let names: Vec<_> = first.schema().fields().iter().map(|field| quoted(field.name())).collect();
    out.push_str(&names.join(","));
    out.push('\n');
    for batch in batches {
        for row in 0..batch.num_rows() {
            let cells = batch.columns().iter().map(|column| cell_text(column, row).map(|text| quoted(&text)));
            let cells: Vec<_> = cells.map(Option::unwrap_or_default).collect();
            out.push_str(&cells.join(","));
            out.push('\n');
        }
    }
    out
}

/// The counts of a run, for people.
pub(crate) fn counts(flows: &[(String, FlowSummary)]) {
    sayln!(
        "{:<12} {:>10} {:>10} {:>10} {:>10} {:>10}",
        "flow",
        "read",
        "passed",
        "filtered",
        "dead",
        "written"
    );
    for (name, flow) in flows {
        let counts = &flow.counts;
        sayln!(
            "{name:<12} {:>10} {:>10} {:>10} {:>10} {:>10}",
            counts.read,
            counts.passed,
            counts.filtered,
            counts.dead,
            counts.written
        );
    }
}

/// The summary, for programs.
pub(crate) fn summary(summary: &Summary) -> Result<()> {
    results(&format!("{}\n", serde_json::to_string(summary).expect("a summary is JSON")))
}
