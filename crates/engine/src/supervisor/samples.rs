//! What each flow does, noted second by second for rates and charts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::Supervisor;
use crate::view::{FlowTotals, Sample};

/// How often it is noted what the flows do.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);
/// How many of these notes are kept of a flow.
const SAMPLES_MAX: usize = 900;

impl Supervisor {
    /// Notes every second what the flows do.
    pub(super) async fn sample(self: Arc<Self>) {
        let mut every = tokio::time::interval(SAMPLE_EVERY);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let mut before: BTreeMap<String, FlowTotals> = BTreeMap::new();
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                _ = every.tick() => {}
            }
            for (name, watched) in &self.flows {
                let (totals, lag) = {
                    let live = watched.live.lock();
                    let mut totals = live.past.clone();
                    let mut lag = 0;
                    if let Some(state) = &live.state {
                        let state = state.lock();
                        totals.add(&state);
                        lag = state.gauges.read().lag.values().sum();
                    }
                    (totals, lag)
                };
                let earlier = before.insert(name.clone(), totals.clone()).unwrap_or_default();
                let mut samples = watched.samples.lock();
                if samples.len() == SAMPLES_MAX {
                    samples.pop_front();
                }
                samples.push_back(Sample {
                    at_ms: (self.clock)(),
                    read: totals.counts.read - earlier.counts.read,
                    written: totals.counts.written - earlier.counts.written,
                    dead: totals.counts.dead - earlier.counts.dead,
                    lag,
                    latency_p99_ms: totals.latency.since(&earlier.latency).quantile_ms(0.99),
                });
            }
        }
    }
}
