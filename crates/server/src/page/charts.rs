//! The last quarter of an hour as lines: throughput, lag, latency. Drawn here as SVG, so that the browser
//! needs no library.

use axum::extract::{Path, State};
use maud::{Markup, html};
use millstream_engine::Sample;

use super::layout::{self, Tab, empty};
use super::words::{count, duration, rate};
use super::{Shown, html as answer, room};
use crate::house::Room;
use crate::serve::App;

const WIDTH: usize = 900;
const HEIGHT: f64 = 120.0;

pub(super) async fn show(State(app): State<App>, Path(name): Path<String>) -> Shown {
    let room = room(&app, &name)?;
    let view = room.supervisor.view();
    Ok(answer(layout::page(&view, Tab::Charts, "", charts(room))))
}

/// Three for each flow.
pub(super) fn charts(room: &Room) -> Markup {
    let flows = &room.supervisor.plan().flows;
    html! {
        div #charts data-live {
            @for flow in flows {
                @let samples = room.supervisor.samples(&flow.name);
                section.card {
                    h2 { (flow.name) " " span.quiet { "the last " (duration(samples.len() as i64 * 1000)) } }
                    @if samples.len() < 2 { (empty("In a moment.")) } @else {
                        (chart("Written", &samples, |sample| Some(sample.written as f64), rate))
                        @if flow.origin.plan.topic.is_some() {
                            (chart("Lag, messages", &samples, |sample| Some(sample.lag as f64), |most| count(most as u64)))
                            (chart("Latency, 99 of 100", &samples, |sample| sample.latency_p99_ms.map(|ms| ms as f64), |most| duration(most as i64)))
                        }
                    }
                }
            }
        }
    }
}

fn chart(
    title: &str,
    samples: &[Sample],
    value: fn(&Sample) -> Option<f64>,
    text: fn(f64) -> String,
) -> Markup {
    let values: Vec<Option<f64>> = samples.iter().map(value).collect();
    let most = values.iter().flatten().copied().fold(0.0, f64::max);
    let now = values.iter().rev().flatten().next().copied();
    let top = if most > 0.0 { most } else { 1.0 };
    let step = WIDTH as f64 / (values.len().max(60) - 1) as f64;
    let first = WIDTH as f64 - step * (values.len() - 1) as f64;
    let mut path = String::new();
    let mut is_drawn = false;
    for (index, value) in values.iter().enumerate() {
        match value {
            None => is_drawn = false,
            Some(value) => {
                let (x, y) = (first + step * index as f64, HEIGHT - 4.0 - (HEIGHT - 8.0) * value / top);
                path.push_str(&format!("{}{x:.1} {y:.1}", if is_drawn { 'L' } else { 'M' }));
                is_drawn = true;
            }
        }
    }
    let now = now.map_or_else(|| "nothing yet".to_owned(), text);
    html! {
        figure.chart {
            figcaption { (title) " " strong { (now) } span.quiet { " at most " (text(most)) } }
            svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } preserveAspectRatio="none" role="img"
                aria-label={ (title) ": now " (now) ", at most " (text(most)) } {
                path.grid d={ "M0 " (HEIGHT - 4.0) "H" (WIDTH) "M0 4H" (WIDTH) } {}
                path.drawn d=(path) {}
            }
        }
    }
}
