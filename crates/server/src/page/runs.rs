//! Runs as a grid over time, one run with its log, and what can be asked for.

use axum::extract::{Path, State};
use axum::response::Redirect;
use maud::{Markup, html};
use millstream_core::{LogLine, Run};
use millstream_engine::PipelineView;

use super::layout::{self, Tab, address, empty};
use super::overview::run_card;
use super::words::{count, duration, moment};
use super::{Failed, Shown, html as answer, room};
use crate::api::Problem;
use crate::house::Room;
use crate::serve::App;

/// Runs on the page: some weeks of hours.
const RUNS_SHOWN: u32 = 300;

pub(super) async fn list(State(app): State<App>, Path(name): Path<String>) -> Shown {
    let room = room(&app, &name)?;
    let view = room.supervisor.view();
    let content = html! {
        (run_card(&view))
        (grid(room, &view)?)
    };
    Ok(answer(layout::page(&view, Tab::Runs, "", content)))
}

/// The runs that there were, the newest first.
pub(super) fn grid(room: &Room, view: &PipelineView) -> Result<Markup, Failed> {
    let runs = room.supervisor.history().runs(&view.name, RUNS_SHOWN, None)?;
    let runs: Vec<Run> = runs.into_iter().map(|run| room.supervisor.with_counts(run)).collect();
    let longest_ms = runs.iter().filter_map(took_ms).max().unwrap_or(1).max(1);
    Ok(html! {
        section.card #runs data-live aria-label="All runs" {
            h2 { "Over time" }
            @if runs.is_empty() { (empty("There was no run yet.")) } @else {
                svg.bars viewBox={ "0 0 " (runs.len().max(60) * 10) " 60" } preserveAspectRatio="xMaxYMid meet" role="img"
                    aria-label={ "The last " (runs.len()) " runs by length and result" } {
                    @for (index, run) in runs.iter().rev().enumerate() {
                        @let height = (took_ms(run).unwrap_or(0) * 54 / longest_ms + 6).min(60);
                        @let x = runs.len().max(60) * 10 - (runs.len() - index) * 10;
                        rect.(run.state.name()) x=(x) y=(60 - height) width="8" height=(height) rx="2" {
                            title { (run.id) ": " (run.state.name()) }
                        }
                    }
                }
                div.scroll tabindex="0" role="region" aria-label="Runs" {
                    table {
                        thead { tr { th { "Run" } th { "State" } th { "Began" } th { "Took" } th.number { "Read" } th.number { "Written" } th.number { "Dead" } } }
                        tbody {
                            @for run in &runs { (row(view, run)) }
                        }
                    }
                }
            }
        }
    })
}

fn took_ms(run: &Run) -> Option<i64> {
    Some(run.ended_ms? - run.started_ms?)
}

fn row(view: &PipelineView, run: &Run) -> Markup {
    let sum = |of: fn(&millstream_core::Counts) -> u64| count(run.flows.values().map(of).sum());
    html! {
        tr {
            td { a href=(address(&view.name, &format!("/runs/{}", run.id))) { (run.id) } }
            td { span.run-state.(run.state.name()) { (run.state.name().replace('_', " ")) } @if run.attempt > 1 { " " span.quiet { "attempt " (run.attempt) } } }
            td { @if let Some(ms) = run.started_ms { (moment(ms)) } }
            td { @if let Some(ms) = took_ms(run) { (duration(ms)) } }
            td.number { (sum(|counts| counts.read)) }
            td.number { (sum(|counts| counts.written)) }
            td.number { (sum(|counts| counts.dead)) }
        }
    }
}

pub(super) async fn show(State(app): State<App>, Path((name, id)): Path<(String, String)>) -> Shown {
    let room = room(&app, &name)?;
    let view = room.supervisor.view();
    let content = html! {
        (run(room, &view, &id)?)
    };
    let query = format!("&run={}", id.replace('+', "%2B"));
    Ok(answer(layout::page(&view, Tab::Runs, &query, content)))
}

/// A run with its log.
pub(super) fn run(room: &Room, view: &PipelineView, id: &str) -> Result<Markup, Failed> {
    let found = room.supervisor.history().run(&view.name, id)?;
    let run = found.ok_or_else(|| Problem::not_found(format!("There is no run {id}.")))?;
    let run = room.supervisor.with_counts(run);
    let lines = room.supervisor.history().lines(&view.name, id)?;
    Ok(html! {
        section.card #run data-live {
            h2 { (run.id) }
            dl.facts {
                dt { "State" } dd { span.run-state.(run.state.name()) { (run.state.name().replace('_', " ")) } }
                dt { "Attempt" } dd { (run.attempt) }
                @if let Some((from_ms, to_ms)) = run.interval_ms { dt { "Interval" } dd { (moment(from_ms)) " – " (moment(to_ms)) } }
                @if let Some(ms) = run.started_ms { dt { "Began" } dd { (moment(ms)) } }
                @if let Some(ms) = took_ms(&run) { dt { "Took" } dd { (duration(ms)) } }
                @if let Some(ms) = run.retry_at_ms { dt { "Tried again" } dd { (moment(ms)) } }
                @if let Some(error) = &run.error { dt { "Why" } dd.error { (error) } }
            }
            @if !run.flows.is_empty() {
                div.scroll tabindex="0" role="region" aria-label="What became of records" {
                    table {
                        thead { tr { th { "Flow" } th.number { "Read" } th.number { "Passed" } th.number { "Filtered" } th.number { "Dead" } th.number { "Written" } } }
                        tbody {
                            @for (flow, counts) in &run.flows {
                                tr {
                                    td { (flow) }
                                    @for number in [counts.read, counts.passed, counts.filtered, counts.dead, counts.written] { td.number { (count(number)) } }
                                }
                            }
                        }
                    }
                }
            }
            h3 { "Log" }
            (log(&lines))
        }
    })
}

fn log(lines: &[LogLine]) -> Markup {
    html! {
        @if lines.is_empty() { (empty("Nothing yet.")) } @else {
            ol.log tabindex="0" { @for line in lines { li { (moment(line.at_ms)) " " (line.text) } } }
        }
    }
}

pub(super) async fn trigger(State(app): State<App>, Path(name): Path<String>) -> Result<Redirect, Failed> {
    room(&app, &name)?.supervisor.trigger()?;
    Ok(Redirect::to(&address(&name, "")))
}

pub(super) async fn pause(State(app): State<App>, Path(name): Path<String>) -> Result<Redirect, Failed> {
    room(&app, &name)?.supervisor.set_paused(true)?;
    Ok(Redirect::to(&address(&name, "")))
}

pub(super) async fn unpause(State(app): State<App>, Path(name): Path<String>) -> Result<Redirect, Failed> {
    room(&app, &name)?.supervisor.set_paused(false)?;
    Ok(Redirect::to(&address(&name, "")))
}
