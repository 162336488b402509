//! The first glance: the sentence, the graph, the last and the next run, the newest rows.

use axum::extract::State;
use maud::{Markup, html};
use millstream_core::RunState;
use millstream_engine::{FlowStanding, FlowView, PipelineView, PlaceView};

use super::layout::{self, Tab, action, address, empty};
use super::words::{count, duration, moment, rate};
use super::{Shown, html as answer, room};
use crate::api::RunModel;
use crate::house::House;
use crate::page::table::cells;
use crate::serve::App;

pub(super) async fn show(
    State(app): State<App>,
    axum::extract::Path(name): axum::extract::Path<String>,
) -> Shown {
    let view = room(&app, &name)?.supervisor.view();
    let content = html! {
        (graph(&view))
        div.columns {
            (run_card(&view))
            (newest(&view))
        }
    };
    Ok(answer(layout::page(&view, Tab::Overview, "", content)))
}

/// All pipelines, where there are several.
pub(super) fn list(house: &House) -> Markup {
    layout::plain(
        "Pipelines",
        html! {
            h1 { "Pipelines" }
            @for view in house.views() {
                section.card {
                    h2 { a href=(address(&view.name, "")) { (view.name) } }
                    (layout::sentence(&view))
                }
            }
            @for broken in &house.broken {
                section.card {
                    h2 { (broken.path) }
                    p.sentence.bad { span.dot aria-hidden="true" {} span { "Broken: it does not run until it is mended." } }
                    pre.value tabindex="0" { (broken.report) }
                }
            }
            @if house.rooms.is_empty() && house.broken.is_empty() { (empty("There is no pipeline here.")) }
        },
    )
}

/// From the sources to the tables: places as boxes, flows as the way between them.
pub(super) fn graph(view: &PipelineView) -> Markup {
    html! {
        section.graph #graph data-live aria-label="The way of a record" {
            @for (index, flow) in view.flows.iter().enumerate() {
                @let before = index.checked_sub(1).and_then(|before| view.flows.get(before));
                // A topic between two flows is one place.
                @if before.map(|before| &before.to) != Some(&flow.from) { (place(&flow.from)) }
                (edge(flow))
                (place(&flow.to))
            }
        }
    }
}

fn place(place: &PlaceView) -> Markup {
    html! {
        div.place {
            span.kind { (place.kind) }
            strong title=(place.name) { (place.name) }
            @match (&place.service, place.in_process) {
                (Some(service), true) => { span.where { span.tag { "embedded" } " " (service.trim_start_matches("embedded, ")) } }
                (Some(service), false) => { span.where { span.tag.real { "real" } " " (service) } }
                (None, _) => { span.where { span.tag.real { "real" } } }
            }
        }
    }
}

fn edge(flow: &FlowView) -> Markup {
    let (class, state) = match flow.standing {
        FlowStanding::Idle => ("calm", "at rest"),
        FlowStanding::Working if flow.lag_total() > 0 || flow.read_rate > 0.0 => ("good", "working"),
        FlowStanding::Working => ("calm", "listening"),
        FlowStanding::Waiting => ("bad", "blocked"),
        FlowStanding::Stopped => ("bad", "stopped"),
    };
    let counts = &flow.totals.counts;
    html! {
        div.edge.(class) {
            div.line aria-hidden="true" {}
            div.flow {
                strong { (flow.name) }
                span.state { (state) }
                span.runner { (format!("{:?}", flow.runner).to_lowercase()) }
            }
            dl {
                div { dt { "rate" } dd { (rate(flow.written_rate)) } }
                @if flow.is_streaming { div { dt { "lag" } dd { (count(flow.lag_total())) } } }
                div { dt { "dead" } dd.(if counts.dead > 0 { "warn" } else { "" }) { (count(counts.dead)) } }
                div { dt { "written" } dd { (count(counts.written)) } }
            }
        }
    }
}

/// The last and the next run, and what can be done about it.
pub(super) fn run_card(view: &PipelineView) -> Markup {
    html! {
        section.card aria-labelledby="runs-title" {
            h2 #runs-title { "Runs" }
            (run_facts(view))
            @if view.has_runs {
                div.actions {
                    (action(&address(&view.name, "/trigger"), "Trigger", "primary", Some("t")))
                    @if view.schedule.is_some() { (pause_button(view)) }
                }
            }
        }
    }
}

pub(super) fn pause_button(view: &PipelineView) -> Markup {
    html! {
        div #pause data-live {
            @if view.is_paused {
                (action(&address(&view.name, "/unpause"), "Go on with the schedule", "", None))
            } @else {
                (action(&address(&view.name, "/pause"), "Pause the schedule", "", None))
            }
        }
    }
}

pub(super) fn run_facts(view: &PipelineView) -> Markup {
    html! {
        dl.facts #run-facts data-live {
            @if let Some(run) = &view.active {
                dt { @if run.state == RunState::Running { "Now" } @else { "Waits" } }
                dd {
                    (run_link(view, &run.id, run.state))
                    @let flows = run.flows.iter();
                    @for (name, counts) in flows { " " span.quiet { (name) ": " (count(counts.read)) " read" } }
                }
            }
            @if view.queued > 0 { dt { "Queued" } dd { (count(view.queued as u64)) } }
            dt { "Last" }
            dd {
                @match &view.last {
                    Some(run) => {
                        (run_link(view, &run.id, run.state))
                        @if let Some(seconds) = RunModel::from(run.clone()).seconds {
                            " " span.quiet { "took " (duration((seconds * 1000.0) as i64)) }
                        }
                    }
                    None => span.quiet { "none yet" }
                }
            }
            dt { "Next" }
            dd {
                @match (view.next_run_ms, &view.schedule) {
                    (Some(ms), Some(schedule)) => { (moment(ms)) " " span.quiet { (schedule) } }
                    (None, Some(schedule)) if view.is_paused => { "paused " span.quiet { (schedule) } }
                    _ if view.has_runs => span.quiet { "when you press Trigger: the file has no schedule" }
                    _ => span.quiet { "its flows read topics, all the time" }
                }
            }
        }
    }
}

pub(super) fn run_link(view: &PipelineView, id: &str, state: RunState) -> Markup {
    html! {
        a href=(address(&view.name, &format!("/runs/{id}"))) {
            span.run-state.(state.name()) { (state.name().replace('_', " ")) }
        }
    }
}

fn newest(view: &PipelineView) -> Markup {
    html! {
        section.card.wide aria-labelledby="rows-title" {
            h2 #rows-title { "Newest rows" }
            (newest_rows(view))
        }
    }
}

/// The newest rows that went to a table.
pub(super) fn newest_rows(view: &PipelineView) -> Markup {
    let flow = view.flows.iter().find(|flow| flow.to.kind == "table");
    html! {
        div #newest data-live {
            @match flow.map(|flow| &flow.totals.newest) {
                Some(rows) if !rows.is_empty() => (rows_of_json(rows)),
                Some(_) => (empty("None since this process began. The Table page shows what is there.")),
                None => (empty("No flow writes a table.")),
            }
        }
    }
}

fn rows_of_json(rows: &[String]) -> Markup {
    let rows: Vec<serde_json::Map<String, serde_json::Value>> =
        rows.iter().rev().filter_map(|row| serde_json::from_str(row).ok()).collect();
    let mut columns: Vec<String> = Vec::new();
    for name in rows.iter().flat_map(|row| row.keys()) {
        if !columns.contains(name) {
            columns.push(name.clone());
        }
    }
    let text = |value: &serde_json::Value| match value {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let cells_of: Vec<Vec<Option<String>>> =
        rows.iter().map(|row| columns.iter().map(|name| row.get(name).map(text)).collect()).collect();
    cells(&columns, &cells_of)
}
