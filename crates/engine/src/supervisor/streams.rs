//! The flows that read topics: at work all the time, started again where they fail.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::{LOG_EVERY, Supervisor, errors};
use crate::flow::FlowState;
use crate::retry::Patience;
use crate::run::{Observer, Until, prepare, run};

/// A flow that has failed is started again after so long, each time twice as long.
const RESTART_FIRST: Duration = Duration::from_secs(5);
const RESTART_LONGEST: Duration = Duration::from_secs(300);
/// A flow that has failed and is started again is taken for healthy when it lasts so long.
const HEALTHY_AFTER: Duration = Duration::from_secs(3);

impl Supervisor {
    /// A flow that reads a topic, started again where it fails.
    pub(super) async fn stream(self: Arc<Self>, name: String) {
        let Some(watched) = self.flows.get(&name) else { return };
        let Ok(planned) = self.plan.find_flow(&name) else { return };
        let mut wait = RESTART_FIRST;
        while !self.stop.is_cancelled() {
            let before = watched.live.lock().past.counts.read;
            let failed = self.stream_once(planned.name.clone(), &planned.upstream).await;
            let Some(error) = failed else { return };
            let error = self.plan.pipeline.secrets.mask(&error);
            tracing::warn!("{}: flow {name} has stopped: {error}", self.plan.pipeline.name);
            {
                let mut live = watched.live.lock();
                if live.past.counts.read > before {
                    wait = RESTART_FIRST;
                }
                let since_ms = live.stopped.take().map_or_else(self.clock, |(_, since_ms)| since_ms);
                live.stopped = Some((error, since_ms));
            }
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.stop.cancelled() => return,
            }
            wait = (wait * 2).min(RESTART_LONGEST);
        }
    }

    /// Until it fails, with the reason, or is stopped.
    async fn stream_once(&self, name: String, upstream: &[String]) -> Option<String> {
        // Topics that flows of runs write may not be there before the first run.
        let state = Arc::new(Mutex::new(FlowState::default()));
        let patience = Patience { at_most: None, stop: self.stop.clone(), state: state.clone() };
        let preparing: Observer = Arc::new(Mutex::new([(name.clone(), state)].into_iter().collect()));
        let prepared = self.shown(&preparing, prepare(&self.plan, &self.registry, upstream, &patience)).await;
        let observer = Observer::default();
        let ended = match prepared {
            Err(error) => Err(error),
            Ok(()) => {
                let options = self.options(vec![name], Until::Stopped, self.stop.clone());
                self.shown(&observer, run(&self.plan, &self.registry, &options, &observer)).await
            }
        };
        if self.stop.is_cancelled() {
            return None;
        }
        match ended {
            Err(error) => Some(error.to_string()),
            Ok(flows) => Some(errors(&flows).unwrap_or_else(|| "it has ended by itself".to_owned())),
        }
    }

    /// Lets whoever looks see the flows of `observer` while `work` goes on, and keeps what they did.
    pub(super) async fn shown<T>(&self, observer: &Observer, work: impl Future<Output = T>) -> T {
        let started = Instant::now();
        let mut work = std::pin::pin!(work);
        let mut look = tokio::time::interval(LOG_EVERY);
        let ended = loop {
            tokio::select! {
                ended = &mut work => break ended,
                _ = look.tick() => self.show(observer, started.elapsed() > HEALTHY_AFTER),
            }
        };
        self.show(observer, false);
        for name in observer.lock().keys() {
            if let Some(watched) = self.flows.get(name) {
                let mut live = watched.live.lock();
                if let Some(state) = live.state.take() {
                    live.past.add(&state.lock());
                }
            }
        }
        ended
    }

    /// A flow that failed before counts as stopped until it is healthy or has done something.
    fn show(&self, observer: &Observer, is_healthy: bool) {
        for (name, state) in observer.lock().iter() {
            if let Some(watched) = self.flows.get(name) {
                let mut live = watched.live.lock();
                if is_healthy || state.lock().counts.read > 0 {
                    live.stopped = None;
                }
                live.state = Some(state.clone());
            }
        }
    }
}
