//! Records that could not be processed: why, where from, their bytes; sent again or laid aside.

use axum::extract::{Path, Query, RawForm, State};
use axum::response::Redirect;
use maud::{Markup, html};
use serde::Deserialize;

use super::layout::{self, Tab, address, empty};
use super::words::{bytes, count, moment, pretty};
use super::{Failed, Shown, html as answer, room};
use crate::api::Problem;
use crate::desk::{FoundLetter, LetterFilter};
use crate::serve::App;

/// Letters on the page.
const LETTERS_SHOWN: usize = 100;

#[derive(Deserialize)]
pub(super) struct Asked {
    flow: Option<String>,
    reason: Option<String>,
    contains: Option<String>,
    /// What an action before this page did.
    done: Option<String>,
}

pub(super) async fn list(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(asked): Query<Asked>,
) -> Shown {
    let room = room(&app, &name)?;
    let view = room.supervisor.view();
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let filter = LetterFilter {
        places: Vec::new(),
        flow: given(&asked.flow),
        reason: given(&asked.reason),
        contains: given(&asked.contains),
    };
    let found = room.desk.dead_letters(&filter, LETTERS_SHOWN).await?;
    let reasons = millstream_core::Reason::ALL.map(millstream_core::Reason::name);
    let content = html! {
        section.card {
            h2 { "Dead letters " span.quiet { (count(found.count as u64)) } }
            @if let Some(done) = &asked.done { p.done role="status" { (done) } }
            form.look-up method="get" action=(address(&name, "/dead-letters")) role="search" {
                label { "Flow " select name="flow" { option value="" { "any" } @for flow in &view.flows { option selected[filter.flow.as_ref() == Some(&flow.name)] { (flow.name) } } } }
                label { "Reason " select name="reason" { option value="" { "any" } @for reason in reasons { option selected[filter.reason.as_deref() == Some(reason)] { (reason) } } } }
                label { "Detail has " input name="contains" value=(filter.contains.as_deref().unwrap_or_default()) autocomplete="off"; }
                button type="submit" { "Show" }
            }
            @if found.letters.is_empty() { (empty("None: every record was processed, or what died is settled.")) } @else {
                form method="post" {
                    div.actions {
                        button.primary type="submit" formaction=(address(&name, "/dead-letters/replay")) { "Replay the chosen" }
                        button.danger type="submit" formaction=(address(&name, "/dead-letters/purge")) { "Purge the chosen" }
                        span.quiet { "Replay sends them through their flow again, dated as they were: nothing newer is covered." }
                    }
                    @for letter in &found.letters { (shown(letter)) }
                    @if found.count > LETTERS_SHOWN { p.quiet { "The first " (LETTERS_SHOWN) "; narrow them down, or use `millstream dead-letters`." } }
                }
            }
        }
    };
    Ok(answer(layout::page(&view, Tab::DeadLetters, "", content)))
}

fn shown(letter: &FoundLetter) -> Markup {
    html! {
        div.letter {
            input type="checkbox" name="place" value=(letter.place) aria-label={ "Choose " (letter.place) };
            details.record {
                summary {
                    span.run-state.failed { (letter.reason) }
                    " " strong { (letter.place) }
                    " " span.quiet.glance { (letter.detail) }
                }
                dl.facts {
                    dt { "Detail" } dd { (letter.detail) }
                    @if let Some(origin) = &letter.origin { dt { "From" } dd { (origin) } }
                    @if letter.timestamp_ms >= 0 { dt { "Dated" } dd { (moment(letter.timestamp_ms)) } }
                    dt { "Key" } dd { (letter.key.as_deref().unwrap_or("none")) }
                    dt { "Value" } dd { (bytes(letter.value_bytes)) }
                }
                (pretty(letter.value.as_deref().unwrap_or("null")))
            }
        }
    }
}

/// The places that were chosen on the page.
fn chosen(form: &[u8]) -> Result<LetterFilter, Failed> {
    let text = std::str::from_utf8(form).unwrap_or_default();
    let pairs: Vec<(String, String)> = axum::extract::Query::try_from_uri(
        &format!("/?{text}")
            .parse()
            .map_err(|_| Problem::new(axum::http::StatusCode::BAD_REQUEST, "This form cannot be read."))?,
    )?
    .0;
    let places: Vec<String> =
        pairs.into_iter().filter(|(name, _)| name == "place").map(|(_, place)| place).collect();
    if places.is_empty() {
        let problem = Problem::new(axum::http::StatusCode::BAD_REQUEST, "No dead letter was chosen.");
        return Err(problem.detail("Go back and choose some.").into());
    }
    Ok(LetterFilter { places, ..LetterFilter::default() })
}

fn back(pipeline: &str, done: &str) -> Redirect {
    Redirect::to(&format!("{}?done={}", address(pipeline, "/dead-letters"), done.replace(' ', "+")))
}

pub(super) async fn replay(
    State(app): State<App>,
    Path(name): Path<String>,
    RawForm(form): RawForm,
) -> Result<Redirect, Failed> {
    let replayed = room(&app, &name)?.replay(chosen(&form)?).await?;
    let again = match replayed.died_again {
        0 => String::new(),
        again => format!(" {again} died again."),
    };
    Ok(back(&name, &format!("{} replayed.{again}", replayed.replayed)))
}

pub(super) async fn purge(
    State(app): State<App>,
    Path(name): Path<String>,
    RawForm(form): RawForm,
) -> Result<Redirect, Failed> {
    let purged = room(&app, &name)?.purge(chosen(&form)?).await?;
    Ok(back(&name, &format!("{purged} purged.")))
}
