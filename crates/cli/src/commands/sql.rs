//! `sql`: statements in, answers out.

use std::io::{self, BufRead, IsTerminal, Write};

use millstream_core::Error;
use millstream_sql::answer;
use serde_json::json;

use crate::output::{say, sayln};
use crate::{Outcome, output};

pub(super) fn run() -> Outcome {
    let terminal = io::stdin().is_terminal();
    if terminal {
        sayln!("portable Spark SQL, one statement a line; Ctrl-D ends");
    }
    for line in prompted(terminal) {
        let line = line.map_err(|e| Error::user(format!("cannot read a statement: {e}")))?;
        if line.trim().is_empty() {
            continue;
        }
        let text = if terminal { for_people(&line) } else { format!("{}\n", for_programs(&line)) };
        output::results(&text)?;
    }
    Ok(())
}

fn prompted(terminal: bool) -> impl Iterator<Item = io::Result<String>> {
    let mut lines = io::stdin().lock().lines();
    std::iter::from_fn(move || {
        if terminal {
            say!("sql> ");
            io::stderr().flush().ok()?;
        }
        lines.next()
    })
}

fn for_programs(statement: &str) -> serde_json::Value {
    match answer(statement) {
        Ok(Some(answer)) => json!({"types": answer.types, "text": answer.text}),
        Ok(None) => json!({"types": [], "text": []}),
        Err(error) => json!({"error": error.to_string()}),
    }
}

fn for_people(statement: &str) -> String {
    match answer(statement) {
        Ok(Some(answer)) => {
            let cells = answer.text.iter().zip(&answer.types);
            let cells: Vec<_> =
                cells.map(|(text, kind)| format!("{} ({kind})", text.as_deref().unwrap_or("null"))).collect();
            format!("{}\n", cells.join("  |  "))
        }
        Ok(None) => "no row\n".to_owned(),
        Err(error) => format!("{}^\nerror: {error}\n", " ".repeat(error.span.start + "sql> ".len())),
    }
}
