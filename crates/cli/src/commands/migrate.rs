//! `migrate`: from a table as it is to what the file says. It adds columns where it is asked to, and
//! takes nothing away: whoever wants that runs the statement that it prints.

use std::fmt::Write;

use millstream_core::cql::live::{add_column, drop_column};
use millstream_core::cql::{Migration, Table};
use millstream_core::{Result, SinkPlan};

use crate::args::FileArgs;
use crate::bind::Tables;
use crate::load::load;
use crate::output::sayln;
use crate::{FAILED, Failure, Outcome, output};

pub(super) async fn run(args: &FileArgs, apply: bool) -> Outcome {
    let loaded = load(args)?;
    // What is embedded belongs to one process at a time.
    let _state = if apply { Some(loaded.take_state()?) } else { None };
    let tables = Tables::of(&loaded.plan.pipeline, &loaded.tables)?;
    let mut is_possible = true;
    for flow in &loaded.plan.flows {
        let SinkPlan::Table(table) = &flow.target.plan else { continue };
        is_possible &= loaded.hide(migrate(&tables, table, apply).await)?;
    }
    if is_possible { Ok(()) } else { Err(Failure::Code(FAILED)) }
}

/// Says, and does where asked to, what brings one table to what the file says; whether ALTERs can.
async fn migrate(tables: &Tables<'_>, table: &Table, apply: bool) -> Result<bool> {
    let Some(live) = tables.look(table).await? else {
        sayln!("table {table} is not there yet: the first run makes it");
        return Ok(true);
    };
    let migration = Migration::between(table, &live);
    if migration.is_empty() {
        sayln!("table {table} is what the file says");
    }
    output::results(&statements(table, &migration))?;
    if apply && !migration.added.is_empty() {
        tables.add_columns(table, &migration.added).await?;
        let names: Vec<_> = migration.added.iter().map(|column| column.name.as_str()).collect();
        sayln!("table {table} has {} now: null in the rows that were there", names.join(", "));
    } else if !migration.added.is_empty() {
        sayln!("--apply runs what adds columns; the rows that are there have nulls in them");
    }
    for (what, way) in &migration.impossible {
        sayln!("table {table}: {what}, and no ALTER changes that\n  help: {way}");
    }
    Ok(migration.impossible.is_empty())
}

/// What can be run as it is; what would lose values stands behind dashes.
fn statements(table: &Table, migration: &Migration) -> String {
    let mut text = String::new();
    for column in &migration.added {
        let _ = writeln!(text, "{};", add_column(table, column));
    }
    for name in &migration.dropped {
        let _ = writeln!(text, "-- {}; -- loses its values: run it yourself", drop_column(table, name));
    }
    text
}
