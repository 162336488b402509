//! The newest messages of a topic.

use axum::extract::{Path, Query, State};
use maud::html;
use serde::Deserialize;

use super::layout::{self, Tab, address, empty};
use super::words::{moment, pretty};
use super::{Shown, html as answer, room};
use crate::api::Problem;
use crate::serve::App;

/// Messages on the page.
const RECORDS_SHOWN: usize = 25;

#[derive(Deserialize)]
pub(super) struct Place {
    topic: Option<String>,
}

pub(super) async fn show(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(place): Query<Place>,
) -> Shown {
    let room = room(&app, &name)?;
    let view = room.supervisor.view();
    let topics = view.topics();
    let topic = place.topic.or_else(|| topics.first().map(|first| (*first).to_owned())).unwrap_or_default();
    if !topics.contains(&topic.as_str()) {
        return Err(Problem::not_found(format!("No flow reads or writes a topic {topic}.")).into());
    }
    let records = room.desk.records(&topic, RECORDS_SHOWN).await?;
    let content = html! {
        section.card {
            h2 { "Records" }
            nav.choices aria-label="Topics" {
                @for each in &topics {
                    a href={ (address(&name, "/records")) "?topic=" (each) } aria-current=[(*each == topic.as_str()).then_some("true")] { (each) }
                }
            }
            @if records.is_empty() { (empty("No message yet.")) }
            @for record in &records {
                details.record {
                    summary {
                        span.quiet { (record.partition) "/" (record.offset) }
                        " " strong { (record.key.as_deref().unwrap_or("no key")) }
                        " " @if record.timestamp_ms >= 0 { (moment(record.timestamp_ms)) }
                        " " span.quiet.glance { (record.value.as_deref().unwrap_or("no value").chars().take(120).collect::<String>()) }
                    }
                    @if !record.headers.is_empty() {
                        dl.facts { @for (key, value) in &record.headers { dt { (key) } dd { (value.as_deref().unwrap_or("null")) } } }
                    }
                    (pretty(record.value.as_deref().unwrap_or("null")))
                }
            }
        }
    };
    Ok(answer(layout::page(&view, Tab::Records, "", content)))
}
