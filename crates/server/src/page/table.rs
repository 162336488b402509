//! A table of the pipeline, with look-up by key.

use std::collections::BTreeMap;

use axum::extract::{Path, Query, State};
use maud::{Markup, html};
use millstream_core::cql;

use super::layout::{self, Tab, address, empty};
use super::{Shown, html as answer, room};
use crate::desk::ROWS_SEARCHED_MAX;
use crate::serve::App;

/// Rows on the page.
const ROWS_SHOWN: usize = 50;

/// What is looked up: `table`, `column` and `value`, and a field for each column of a key of several,
/// which begins with [`KEY`].
type LookUp = BTreeMap<String, String>;

const KEY: &str = "key.";

pub(super) async fn show(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(mut asked): Query<LookUp>,
) -> Shown {
    let room = room(&app, &name)?;
    let view = room.supervisor.view();
    let plan = room.supervisor.plan();
    asked.retain(|_, value| !value.is_empty());
    let Some((_, table)) = plan.table(asked.get("table").map(String::as_str)) else {
        let content = empty("No flow of this pipeline writes such a table.");
        return Ok(answer(layout::page(&view, Tab::Table, "", content)));
    };
    let tables: Vec<&str> =
        view.flows.iter().filter(|flow| flow.to.kind == "table").map(|flow| flow.to.name.as_str()).collect();
    let partition: Vec<&str> = table
        .key()
        .filter(|column| column.key == Some(cql::Key::Partition))
        .map(|column| column.name.as_str())
        .collect();
    let keys: &[&str] = if partition.len() > 1 { &partition } else { &[] };
    let column = asked.get("column").map_or(partition[0], String::as_str);
    let value = asked.get("value").map_or("", String::as_str);
    let key_of = |name: &str| asked.get(&format!("{KEY}{name}")).map_or("", String::as_str);
    let named = keys.iter().map(|name| (*name, key_of(name))).chain([(column, value)]);
    let wanted: Vec<(String, String)> = named
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let found = room.desk.rows(&table.to_string(), &wanted, ROWS_SHOWN).await?;
    let content = html! {
        section.card {
            h2 { (table.to_string()) }
            form.look-up method="get" action=(address(&name, "/table")) role="search" {
                @if tables.len() > 1 {
                    label { "Table " select name="table" { @for each in &tables { option selected[*each == table.to_string()] { (each) } } } }
                }
                @for each in keys {
                    label { (each) " " input name={ (KEY) (each) } value=(key_of(each)) autocomplete="off" spellcheck="false"; }
                }
                label { "Where " select name="column" { @for each in &table.columns { option selected[each.name == column] { (each.name) } } } }
                label { "is " input name="value" value=(value) autocomplete="off" spellcheck="false"; }
                button type="submit" { "Look up" }
                @if !wanted.is_empty() { a href=(address(&name, "/table")) { "All rows" } }
            }
            @match &found {
                None => (empty("The table is not there yet: it is made when the pipeline first runs.")),
                Some(found) => {
                    @if found.rows.is_empty() { (empty("No row.")) } @else { (cells(&found.columns, &found.rows)) }
                    @if found.rows.len() == ROWS_SHOWN { p.quiet { "The first " (ROWS_SHOWN) " rows; the command `millstream query` asks for any." } }
                    @else if found.truncated {
                        p.quiet { "Only the first " (ROWS_SEARCHED_MAX) " rows were searched. A look-up by " (partition.join(" and ")) " finds any; so does the command `millstream query`." }
                    }
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
