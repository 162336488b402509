//! A table of the pipeline, with look-up by key.

use axum::extract::{Path, Query, State};
use maud::{Markup, html};
use serde::Deserialize;

use super::layout::{self, Tab, address, empty};
use super::{Shown, html as answer, room};
use crate::serve::App;

/// Rows on the page.
const ROWS_SHOWN: usize = 50;

#[derive(Deserialize)]
pub(super) struct LookUp {
    table: Option<String>,
    column: Option<String>,
    value: Option<String>,
}

pub(super) async fn show(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(asked): Query<LookUp>,
) -> Shown {
    let room = room(&app, &name)?;
    let view = room.supervisor.view();
    let plan = room.supervisor.plan();
    let Some((_, table)) = plan.table(asked.table.as_deref().filter(|name| !name.is_empty())) else {
        let content = empty("No flow of this pipeline writes such a table.");
        return Ok(answer(layout::page(&view, Tab::Table, "", content)));
    };
    let tables: Vec<&str> =
        view.flows.iter().filter(|flow| flow.to.kind == "table").map(|flow| flow.to.name.as_str()).collect();
    let value = asked.value.as_deref().unwrap_or_default();
    let column = asked.column.clone().or_else(|| Some(table.key().next()?.name.clone())).unwrap_or_default();
    let key: Vec<(String, String)> = match value {
        "" => Vec::new(),
        value => vec![(column.clone(), value.to_owned())],
    };
    let found = room.desk.rows(&table.to_string(), &key, ROWS_SHOWN).await?;
    let content = html! {
        section.card {
            h2 { (table.to_string()) }
            form.look-up method="get" action=(address(&name, "/table")) role="search" {
                @if tables.len() > 1 {
                    label { "Table " select name="table" { @for each in &tables { option selected[*each == table.to_string()] { (each) } } } }
                }
                label { "Where " select name="column" { @for each in &table.columns { option selected[each.name == column] { (each.name) } } } }
                label { "is " input name="value" value=(value) autocomplete="off" spellcheck="false"; }
                button type="submit" { "Look up" }
                @if !value.is_empty() { a href=(address(&name, "/table")) { "All rows" } }
            }
            @match &found {
                None => (empty("The table is not there yet: it is made when the pipeline first runs.")),
                Some(found) if found.rows.is_empty() => (empty("No row.")),
                Some(found) => {
                    (cells(&found.columns, &found.rows))
                    @if found.rows.len() == ROWS_SHOWN { p.quiet { "The first " (ROWS_SHOWN) " rows; the command `millstream query` asks for any." } }
                }
            }
        }
    };
    Ok(answer(layout::page(&view, Tab::Table, "", content)))
}

/// Rows and columns.
pub(super) fn cells(columns: &[String], rows: &[Vec<Option<String>>]) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Rows" {
            table.rows {
                thead { tr { @for column in columns { th scope="col" { (column) } } } }
                tbody {
                    @for row in rows {
                        tr {
                            @for cell in row {
                                td title=[cell.as_deref()] { @match cell { Some(text) => (text), None => span.null { "null" } } }
                            }
                        }
                    }
                }
            }
        }
    }
}
