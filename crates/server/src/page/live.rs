//! What changes on an open page: once a second the parts of it are rendered anew, for all who look at the
//! same page, and those that differ are sent.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Path, Query, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::Stream;
use maud::Markup;
use parking_lot::Mutex;
use serde::Deserialize;

use super::{Failed, charts, layout, overview, room, runs};
use crate::house::Room;
use crate::serve::App;

const EVERY: Duration = Duration::from_secs(1);
/// How long what was rendered for one is shown to others.
const FRESH: Duration = Duration::from_millis(900);

/// The parts of a page: the id of an element, and its HTML, of which there is one for all who look.
type Parts = Arc<[(&'static str, Arc<str>)]>;

/// The parts of a pipeline's pages as they were rendered last.
#[derive(Default)]
pub(crate) struct Rendered {
    by_tab: Mutex<HashMap<&'static str, (Instant, Parts)>>,
}

impl Rendered {
    fn parts(&self, room: &Room, open: &Open) -> Parts {
        let render = || {
            let parts = parts(room, open).into_iter();
            parts.map(|(id, markup)| (id, markup.into_string().into())).collect::<Parts>()
        };
        // What many look at: not one run of many.
        let shared = ["", "runs", "charts"].into_iter().find(|tab| *tab == open.tab && open.run.is_none());
        let Some(tab) = shared else { return render() };
        let mut by_tab = self.by_tab.lock();
        match by_tab.get(tab) {
            Some((at, parts)) if at.elapsed() < FRESH => parts.clone(),
            _ => {
                let parts = render();
                by_tab.insert(tab, (Instant::now(), parts.clone()));
                parts
            }
        }
    }
}

#[derive(Deserialize)]
pub(super) struct Open {
    tab: String,
    run: Option<String>,
}

/// Events whose data is an object: by the id of an element its new HTML.
pub(super) async fn events(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(open): Query<Open>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Failed> {
    let room = room(&app, &name)?.clone();
    let every = tokio::time::interval(EVERY);
    let state = (room, open, every, HashMap::new(), app.stop.clone());
    let events = futures::stream::unfold(state, |(room, open, mut every, mut sent, stop)| async move {
        tokio::select! {
            () = stop.cancelled() => return None,
            _ = every.tick() => {}
        }
        let mut changed = HashMap::new();
        let parts = room.rendered.parts(&room, &open);
        for (id, html) in parts.iter() {
            if sent.get(id) != Some(html) {
                sent.insert(*id, html.clone());
                changed.insert(*id, html.as_ref());
            }
        }
        let event = Event::default().json_data(&changed).expect("texts are JSON");
        Some((Ok(event), (room, open, every, sent, stop)))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}

fn parts(room: &Room, open: &Open) -> Vec<(&'static str, Markup)> {
    let view = room.supervisor.view();
    let mut parts = vec![("sentence", layout::sentence(&view))];
    match (open.tab.as_str(), &open.run) {
        ("", _) => {
            parts.push(("graph", overview::graph(&view)));
            parts.push(("run-facts", overview::run_facts(&view)));
            parts.push(("pause", overview::pause_button(&view)));
            parts.push(("newest", overview::newest_rows(&view)));
        }
        // What cannot be read at the moment stays as it is.
        ("runs", Some(id)) => parts.extend(runs::run(room, &view, id).ok().map(|run| ("run", run))),
        ("runs", None) => {
            parts.push(("run-facts", overview::run_facts(&view)));
            parts.push(("pause", overview::pause_button(&view)));
            parts.extend(runs::grid(room, &view).ok().map(|grid| ("runs", grid)));
        }
        ("charts", _) => parts.push(("charts", charts::charts(room))),
        _ => {}
    }
    parts
}
