//! The flows that end: one run after the other, by the schedule or when somebody asks, each with its log.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use millstream_core::{Counts, LogLine, Result, Run, RunState};
use tokio::time::Instant;

use super::{LOG_EVERY, Supervisor, errors};
use crate::flow::check_share;
use crate::run::{Observer, Until, run};
use crate::scheduler::{Ended, Scheduler, rfc3339};

/// How soon a history that cannot be written is tried again.
const SAVE_AGAIN: Duration = Duration::from_secs(1);

impl Supervisor {
    /// Starts runs when they are due.
    pub(super) async fn schedule(self: Arc<Self>) {
        loop {
            let (changed, begun, next_ms) = {
                let (mut scheduler, now_ms) = (self.scheduler.lock(), (self.clock)());
                let changed = self.tick(&mut scheduler, now_ms);
                let begun = scheduler.begin(now_ms);
                (changed, begun, scheduler.next_due_ms())
            };
            for run in &changed {
                self.save(run).await;
            }
            if let Some(run) = begun {
                self.save(&run).await;
                self.run(run).await;
                if self.stop.is_cancelled() {
                    return;
                }
                continue;
            }
            let now_ms = (self.clock)();
            // A clock may be put forward in the meantime.
            let wait_ms = next_ms.map_or(60_000, |next_ms| (next_ms - now_ms).clamp(0, 60_000));
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = self.due.notified() => {}
                () = tokio::time::sleep(Duration::from_millis(wait_ms as u64)) => {}
            }
        }
    }

    /// Does what is due: the runs that changed.
    fn tick(&self, scheduler: &mut Scheduler, now_ms: i64) -> Vec<Run> {
        if let Some(decided_ms) = scheduler.far_ahead_ms(now_ms)
            && let Err(error) = self.go_on(scheduler, decided_ms, now_ms)
        {
            tracing::warn!("{error}; the schedule goes on from now");
            scheduler.go_on(now_ms, now_ms, std::iter::empty());
        }
        scheduler.tick(now_ms)
    }

    /// Goes on from `now_ms`, though the schedule has decided until `decided_ms` already.
    fn go_on(&self, scheduler: &mut Scheduler, decided_ms: i64, now_ms: i64) -> Result<()> {
        let name = &self.plan.pipeline.name;
        let begun_ms = self.history.begun_ms(name, now_ms)?;
        let runs = self.history.runs(name, u32::MAX, None)?;
        scheduler.go_on(now_ms, begun_ms, runs.iter().filter_map(|run| Some(run.interval_ms?.1)));
        tracing::warn!(
            pipeline = self.plan.pipeline.name,
            "the clock was ahead, or is behind: what was due until {} is decided already. The schedule goes on from \
             now, and what has run does not run again",
            rfc3339(decided_ms)
        );
        Ok(())
    }

    /// How an attempt ended that failed. Where a flow of it never ends by itself, what that one had read counts: the
    /// others read the same again.
    fn broken_off(&self, why: String, flows: &BTreeMap<String, Counts>) -> Ended {
        let mut endless = self.plan.flows.iter().filter(|flow| flow.origin.plan.is_endless).peekable();
        if endless.peek().is_none() {
            return Ended::Failed(why);
        }
        let got_on = endless.any(|flow| flows.get(&flow.name).is_some_and(|counts| counts.read > 0));
        Ended::BrokeOff { why, got_on }
    }

    /// One attempt of a run.
    async fn run(&self, begun: Run) {
        let stop = self.stop.child_token();
        let mut options = self.options(self.bounded(), Until::Drained, stop.clone());
        options.values.interval =
            begun.interval_ms.map(|(from_ms, to_ms)| (rfc3339(from_ms), rfc3339(to_ms)));
        let attempt = match begun.attempt {
            1 => String::new(),
            attempt => format!(", attempt {attempt}"),
        };
        self.log(&begun, format!("run {} begins{attempt}: {}", begun.id, options.flows.join(", ")));
        let observer = Observer::default();
        let limit = self.plan.pipeline.runs.time_limit;
        let running = run(&self.plan, &self.registry, &options, &observer);
        let mut ended = std::pin::pin!(self.shown(&observer, running));
        let mut log = tokio::time::interval(LOG_EVERY);
        let mut said = BTreeMap::new();
        let mut is_late = false;
        let started = Instant::now();
        let ended = loop {
            tokio::select! {
                ended = &mut ended => break ended,
                _ = log.tick() => {
                    self.log_waiting(&begun, &observer, &mut said);
                    // What is due in the meantime waits or is skipped, and is to be seen.
                    let changed = self.tick(&mut self.scheduler.lock(), (self.clock)());
                    for run in &changed {
                        self.save(run).await;
                    }
                    if limit.is_some_and(|limit| started.elapsed() > limit.0) && !is_late {
                        is_late = true;
                        stop.cancel();
                    }
                }
            }
        };
        let mask = |why: String| self.plan.pipeline.secrets.mask(&why);
        let flows: BTreeMap<String, Counts> = match &ended {
            Ok(flows) => flows.iter().map(|(name, flow)| (name.clone(), flow.counts)).collect(),
            Err(_) => {
                observer.lock().iter().map(|(name, state)| (name.clone(), state.lock().counts)).collect()
            }
        };
        let failed = |why| self.broken_off(why, &flows);
        let how = match (&ended, limit) {
            (_, Some(limit)) if is_late => Ended::Failed(format!("it took longer than {limit}")),
            _ if self.stop.is_cancelled() => Ended::Stopped,
            (Err(error), _) => failed(mask(error.to_string())),
            (Ok(flows), _) => match errors(flows).map(mask) {
                None => Ended::Done,
                Some(why) if self.has_too_many_dead(&observer) => Ended::FailedForGood(why),
                Some(why) => failed(why),
            },
        };
        for (name, counts) in &flows {
            let Counts { read, passed, filtered, dead, written } = counts;
            self.log(
                &begun,
                format!("{name}: {read} read, {passed} passed, {filtered} filtered, {dead} dead, {written} written"),
            );
        }
        let run = self.scheduler.lock().ended(how, flows, (self.clock)());
        let Some(run) = run else { return };
        self.log(
            &begun,
            match (&run.error, run.retry_at_ms) {
                (None, None) => "success".to_owned(),
                (None, Some(_)) => "stopped; it goes on with the next start".to_owned(),
                (Some(why), None) => format!("failed: {why}"),
                (Some(why), Some(at_ms)) => format!("failed, tried again at {}: {why}", rfc3339(at_ms)),
            },
        );
        if run.state.has_ended() {
            let ended = if run.state == RunState::Success { &self.succeeded } else { &self.failed };
            ended.fetch_add(1, Ordering::Relaxed);
            *self.last.lock() = Some(run.clone());
        }
        self.save(&run).await;
    }

    /// Whether a flow failed because too many of its records are dead. They are behind it by now: a retry would
    /// find nothing left to read, and call that a success.
    fn has_too_many_dead(&self, observer: &Observer) -> bool {
        observer.lock().iter().any(|(name, state)| {
            let state = state.lock();
            let judged = self.plan.flow(name).map(|flow| check_share(flow, state.counts));
            matches!((&state.failed, judged), (Some(failed), Some(Err(why))) if failed.message == why.message)
        })
    }

    /// Says what is waited for when that changes.
    fn log_waiting(&self, run: &Run, observer: &Observer, said: &mut BTreeMap<String, String>) {
        let states: Vec<_> =
            observer.lock().iter().map(|(name, state)| (name.clone(), state.clone())).collect();
        for (name, state) in states {
            let waiting = state.lock().waiting_for.clone();
            match (waiting, said.get(&name)) {
                (Some(reason), last) if last != Some(&reason) => {
                    self.log(run, format!("{name}: waiting: {reason}"));
                    said.insert(name, reason);
                }
                (None, Some(_)) => {
                    self.log(run, format!("{name}: goes on"));
                    said.remove(&name);
                }
                _ => {}
            }
        }
    }

    fn log(&self, run: &Run, text: String) {
        let text = self.plan.pipeline.secrets.mask(&text);
        tracing::info!(pipeline = self.plan.pipeline.name, run = run.id, "{text}");
        let line = LogLine { at_ms: (self.clock)(), attempt: run.attempt, text };
        if let Err(error) = self.history.log(&self.plan.pipeline.name, &run.id, &line) {
            tracing::warn!("{error}");
        }
    }

    /// Saves a run, as often as it takes: what is not remembered might run twice.
    pub(super) async fn save(&self, run: &Run) {
        while let Err(error) = self.history.save(&self.plan.pipeline.name, run) {
            tracing::warn!("{error}");
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = tokio::time::sleep(SAVE_AGAIN) => {}
            }
        }
    }
}
