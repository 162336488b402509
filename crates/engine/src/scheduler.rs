//! Decides which run of a pipeline is next: the schedule, retries, no two at a time. It has no clock and
//! starts nothing itself, so that a year passes in a second.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use chrono::{DateTime, SecondsFormat};
use millstream_core::settings::Period;
use millstream_core::{Counts, Error, Result, Run, RunState, Trigger};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schedule::Schedule;

/// Runs that may wait for the one at work.
const QUEUED_MAX: usize = 16;
/// A retry waits no longer than so.
const RETRY_WAIT_MAX_MS: i64 = 3_600_000;
/// A clock that is put back by no more holds the schedule up for as long.
const PUT_BACK_MAX_MS: i64 = 60_000;

/// How `up` and Airflow run the pipeline's bounded flows.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RunSettings {
    /// How often a run that has failed is tried again. Of flows that never end by themselves an attempt that
    /// read something, was at work for more than an hour or ended with its process counts as the first.
    /// Default 5.
    pub retries: u32,
    /// How long the first retry waits, like `10s`, the default; each further one waits twice as long, an
    /// hour at most.
    pub retry_delay: Period,
    /// A run that takes longer has failed, like `1h`; by default there is no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_limit: Option<Period>,
    /// Whether what was due while nobody was there is made up for, one run after the other. Default false.
    pub catchup: bool,
}

impl Default for RunSettings {
    fn default() -> Self {
        Self {
            retries: 5,
            retry_delay: Period(std::time::Duration::from_secs(10)),
            time_limit: None,
            catchup: false,
        }
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Everything is done.
    Done,
    /// It failed, and why.
    Failed(String),
    /// What never ends by itself broke off, and why. Where it got on, this attempt counts as the first.
    BrokeOff { why: String, got_on: bool },
    /// It failed, and why; a retry would only hide that.
    FailedForGood(String),
    /// We were asked to stop: it goes on with the next start.
    Stopped,
}

/// The runs of one pipeline that have not ended, and when the next is due.
pub(crate) struct Scheduler {
    schedule: Option<Schedule>,
    settings: RunSettings,
    paused: bool,
    /// Everything that was due until then has been decided.
    decided_ms: i64,
    /// Moments behind it that a clock which was ahead has decided, and that do not come again.
    decided_ahead: BTreeSet<i64>,
    /// Until when a clock that was ahead had decided, or one that was right before it was put back.
    was_decided_ms: Option<i64>,
    /// Which one is at work or waits for its retry.
    active: Option<Run>,
    queue: VecDeque<Run>,
}

impl Scheduler {
    /// Begins at `now_ms` with what an earlier process left: the last moment that it had decided on, if only that of its
    /// start, and the runs that have not ended, the oldest first. One that was at work then has failed in the middle, or
    /// broke off where it `is_endless`. The runs that changed by this are returned.
    pub(crate) fn new(
        schedule: Option<Schedule>,
        settings: RunSettings,
        paused: bool,
        decided_ms: Option<i64>,
        unfinished: Vec<Run>,
        is_endless: bool,
        now_ms: i64,
    ) -> (Self, Vec<Run>) {
        let decided_ms = match decided_ms {
            Some(decided_ms) if settings.catchup => decided_ms,
            // A clock that was put back does not make a moment come twice.
            Some(decided_ms) => decided_ms.max(now_ms),
            None => now_ms,
        };
        let mut scheduler = Self {
            schedule,
            settings,
            paused,
            decided_ms,
            decided_ahead: BTreeSet::new(),
            was_decided_ms: None,
            active: None,
            queue: VecDeque::new(),
        };
        let mut changed = Vec::new();
        for run in unfinished {
            match run.state {
                RunState::Queued => scheduler.queue.push_back(run),
                _ if scheduler.active.is_some() => scheduler.queue.push_back(run),
                RunState::Running => {
                    scheduler.active = Some(run);
                    let why = "the process ended in the middle of it".to_owned();
                    let how = match is_endless {
                        true => Ended::BrokeOff { why, got_on: true },
                        false => Ended::Failed(why),
                    };
                    changed.extend(scheduler.ended(how, BTreeMap::new(), now_ms));
                }
                _ => scheduler.active = Some(run),
            }
        }
        (scheduler, changed)
    }

    /// Queues a run that somebody asks for.
    pub(crate) fn trigger(&mut self, now_ms: i64) -> Result<Run> {
        if self.queue.len() >= QUEUED_MAX {
            return Err(Error::user(format!("{QUEUED_MAX} runs are waiting already"))
                .help("wait until one of them has ended"));
        }
        let mut id = format!("manual__{}", rfc3339(now_ms));
        while self.active.iter().chain(&self.queue).any(|run| run.id == id) {
            id.push('+');
        }
        let run = Run { trigger: Trigger::Manual, ..new_run(id, now_ms) };
        self.queue.push_back(run.clone());
        Ok(run)
    }

    /// Takes back a run that waits.
    pub(crate) fn withdraw(&mut self, id: &str) {
        self.queue.retain(|run| run.id != id);
    }

    /// Lets the schedule rest, or go on from `now_ms`. What waits is run all the same.
    pub(crate) fn set_paused(&mut self, paused: bool, now_ms: i64) {
        if self.paused && !paused && !self.settings.catchup {
            self.decided_ms = self.decided_ms.max(now_ms);
        }
        self.paused = paused;
    }

    /// Until when everything has been decided, where that is so far ahead of `now_ms` that the clock was wrong then.
    pub(crate) fn far_ahead_ms(&self, now_ms: i64) -> Option<i64> {
        Some(self.decided_ms).filter(|ms| self.schedule.is_some() && ms - now_ms > PUT_BACK_MAX_MS)
    }

    /// Goes on after a clock that was ahead: from `now_ms`, or where it makes up for what was due, from the last moment
    /// before that for which there is a run, else from `begun_ms`. `decided` is every moment that has one.
    pub(crate) fn go_on(&mut self, now_ms: i64, begun_ms: i64, decided: impl Iterator<Item = i64>) {
        let mut decided: BTreeSet<i64> = decided.collect();
        self.decided_ahead = decided.split_off(&(now_ms + 1));
        let last_ms = decided.last().copied().unwrap_or(begun_ms.min(now_ms));
        self.was_decided_ms = self.was_decided_ms.max(Some(self.decided_ms));
        self.decided_ms = if self.settings.catchup { last_ms } else { now_ms };
    }

    /// When runs are due by themselves.
    pub(crate) fn schedule(&self) -> Option<&Schedule> {
        self.schedule.as_ref()
    }

    /// Whether the schedule rests.
    pub(crate) fn is_paused(&self) -> bool {
        self.paused
    }

    /// The run at work, or the one that waits for its retry.
    pub(crate) fn active(&self) -> Option<&Run> {
        self.active.as_ref()
    }

    /// How many runs wait for the active one.
    pub(crate) fn queued(&self) -> usize {
        self.queue.len()
    }

    /// When the schedule makes the next run.
    pub(crate) fn next_run_ms(&self) -> Option<i64> {
        match self.paused {
            true => None,
            false => self.next_after_ms(self.decided_ms),
        }
    }

    /// The first moment behind `ms` for which there is no run yet.
    fn next_after_ms(&self, ms: i64) -> Option<i64> {
        let schedule = self.schedule.as_ref()?;
        let mut next_ms = schedule.next_after_ms(ms)?;
        while self.decided_ahead.contains(&next_ms) {
            next_ms = schedule.next_after_ms(next_ms)?;
        }
        Some(next_ms)
    }

    /// When there will be something to do that no call brings about.
    pub(crate) fn next_due_ms(&self) -> Option<i64> {
        let retry = self.active.as_ref().and_then(|run| run.retry_at_ms);
        let next_run = if self.is_held_up() { None } else { self.next_run_ms() };
        [retry, next_run].into_iter().flatten().min()
    }

    /// Whether what is due is made up for when the run that waits has had its turn: the queue stays short.
    fn is_held_up(&self) -> bool {
        self.settings.catchup && self.has_scheduled_waiting()
    }

    fn has_scheduled_waiting(&self) -> bool {
        self.queue.iter().any(|run| run.trigger == Trigger::Schedule)
    }

    /// Does what is due: the runs that changed, in order. The active one is to be started where
    /// [`Scheduler::begin`] gives it.
    pub(crate) fn tick(&mut self, now_ms: i64) -> Vec<Run> {
        let mut changed = Vec::new();
        if let Some(was_ms) = self.was_decided_ms.take_if(|was_ms| *was_ms <= now_ms) {
            // It was not ahead: this clock had been put back for a while.
            self.decided_ms = self.decided_ms.max(was_ms);
        }
        while let Some(due_ms) = self.next_run_ms().filter(|due_ms| *due_ms <= now_ms) {
            if self.is_held_up() {
                break;
            }
            self.decided_ms = due_ms;
            let next_ms = self.next_after_ms(due_ms);
            if !self.settings.catchup && next_ms.is_some_and(|next_ms| next_ms <= now_ms) {
                // We slept: only the newest of what was due counts.
                continue;
            }
            let from_ms = self.schedule.as_ref().and_then(|schedule| schedule.last_before_ms(due_ms));
            let mut run = Run {
                interval_ms: Some((from_ms.unwrap_or(due_ms), due_ms)),
                ..new_run(format!("scheduled__{}", rfc3339(due_ms)), now_ms)
            };
            if self.has_scheduled_waiting() {
                run.state = RunState::Skipped;
                run.error = Some("another scheduled run was waiting already".into());
            } else {
                self.queue.push_back(run.clone());
            }
            changed.push(run);
        }
        changed
    }

    /// Begins an attempt, where one is due and none is at work: the run to be saved and started.
    pub(crate) fn begin(&mut self, now_ms: i64) -> Option<Run> {
        match &self.active {
            Some(run) if run.state == RunState::Running => return None,
            Some(run) if self.is_too_soon(run, now_ms) => return None,
            Some(_) => {}
            None => self.active = Some(self.queue.pop_front()?),
        }
        let run = self.active.as_mut()?;
        run.state = RunState::Running;
        run.attempt += 1;
        run.started_ms = Some(now_ms);
        run.ended_ms = None;
        run.retry_at_ms = None;
        run.error = None;
        Some(run.clone())
    }

    /// Whether a run still waits for its retry. It does so no longer than it was to: a clock that was ahead may have
    /// said when.
    fn is_too_soon(&self, run: &Run, now_ms: i64) -> bool {
        let left_ms = run.retry_at_ms.map_or(0, |at_ms| at_ms - now_ms);
        (1..=self.retry_wait_ms(run.attempt)).contains(&left_ms)
    }

    /// The attempt at work has ended: the run to be saved.
    pub(crate) fn ended(&mut self, how: Ended, flows: BTreeMap<String, Counts>, now_ms: i64) -> Option<Run> {
        let mut run = self.active.take()?;
        if let Ended::BrokeOff { got_on, .. } = how
            && (got_on || has_worked_long(&run, now_ms))
        {
            // Else an outage too many would end it, a year after the first one.
            run.attempt = 1;
        }
        run.ended_ms = Some(now_ms);
        run.flows = flows;
        let may_help = matches!(how, Ended::Failed(_) | Ended::BrokeOff { .. });
        let is_tried_again = may_help && run.attempt <= self.settings.retries;
        match how {
            Ended::Done => run.state = RunState::Success,
            Ended::Failed(why) | Ended::BrokeOff { why, .. } | Ended::FailedForGood(why) => {
                run.error = Some(why);
                run.state = RunState::Failed;
                if is_tried_again {
                    run.state = RunState::UpForRetry;
                    run.retry_at_ms = Some(now_ms.saturating_add(self.retry_wait_ms(run.attempt)));
                }
            }
            Ended::Stopped => {
                // This attempt does not count.
                run.attempt -= 1;
                run.state = RunState::UpForRetry;
                run.retry_at_ms = Some(now_ms);
            }
        }
        if run.state == RunState::UpForRetry {
            self.active = Some(run.clone());
        }
        Some(run)
    }

    fn retry_wait_ms(&self, attempt: u32) -> i64 {
        let first_ms = i64::try_from(self.settings.retry_delay.0.as_millis()).unwrap_or(RETRY_WAIT_MAX_MS);
        let factor = 1_i64.checked_shl(attempt.saturating_sub(1)).filter(|factor| *factor > 0);
        first_ms.saturating_mul(factor.unwrap_or(i64::MAX)).min(RETRY_WAIT_MAX_MS.max(first_ms))
    }
}

/// Whether an attempt was at work for longer than any retry waits.
fn has_worked_long(run: &Run, now_ms: i64) -> bool {
    run.started_ms.is_some_and(|started_ms| now_ms - started_ms > RETRY_WAIT_MAX_MS)
}

fn new_run(id: String, created_ms: i64) -> Run {
    Run {
        id,
        trigger: Trigger::Schedule,
        state: RunState::Queued,
        attempt: 0,
        interval_ms: None,
        created_ms,
        started_ms: None,
        ended_ms: None,
        retry_at_ms: None,
        flows: BTreeMap::new(),
        error: None,
    }
}

/// A moment as runs and people name it.
pub fn rfc3339(ms: i64) -> String {
    let format = if ms % 1000 == 0 { SecondsFormat::Secs } else { SecondsFormat::Millis };
    DateTime::from_timestamp_millis(ms).map_or_else(|| ms.to_string(), |at| at.to_rfc3339_opts(format, true))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: i64 = 3_600_000;
    /// 2026-01-01T00:00:00Z.
    const NEW_YEAR_MS: i64 = 1_767_225_600_000;

    fn scheduler(schedule: &str, settings: RunSettings) -> Scheduler {
        let schedule = Schedule::parse(schedule, None).expect("a schedule");
        Scheduler::new(Some(schedule), settings, false, None, Vec::new(), false, NEW_YEAR_MS).0
    }

    fn retries(retries: u32) -> RunSettings {
        RunSettings { retries, ..RunSettings::default() }
    }

    #[test]
    fn a_year_has_one_run_for_every_hour_and_none_twice() {
        let mut scheduler = scheduler("@hourly", retries(0));
        let mut begun = Vec::new();
        let mut now_ms = NEW_YEAR_MS;
        while now_ms < NEW_YEAR_MS + 365 * 24 * HOUR_MS {
            now_ms = scheduler.next_due_ms().expect("there is always a next");
            assert!(scheduler.tick(now_ms).iter().all(|run| run.state == RunState::Queued));
            let run = scheduler.begin(now_ms).expect("begins");
            assert_eq!(run.interval_ms, Some((now_ms - HOUR_MS, now_ms)));
            begun.push(run.id);
            // Some take longer than others, none an hour.
            let how = if begun.len() % 7 == 0 { Ended::Failed("no".into()) } else { Ended::Done };
            scheduler.ended(how, BTreeMap::new(), now_ms + HOUR_MS / 2).expect("ends");
        }
        assert_eq!(begun.len(), 365 * 24);
        let count = begun.len();
        begun.dedup();
        assert_eq!(begun.len(), count);
    }

    #[test]
    fn runs_do_not_overlap_one_waits_and_further_ones_are_skipped() {
        let mut scheduler = scheduler("@hourly", retries(0));
        let at = |hours: i64| NEW_YEAR_MS + hours * HOUR_MS;
        scheduler.tick(at(1));
        scheduler.begin(at(1)).expect("begins");
        assert_eq!(scheduler.tick(at(2))[0].state, RunState::Queued);
        assert!(scheduler.begin(at(2)).is_none(), "one is at work");
        assert_eq!(scheduler.tick(at(3))[0].state, RunState::Skipped);
        scheduler.ended(Ended::Done, BTreeMap::new(), at(3)).expect("ends");
        assert_eq!(scheduler.begin(at(3)).expect("begins").interval_ms, Some((at(1), at(2))));
    }

    #[test]
    fn a_failure_is_tried_again_later_and_later_and_then_no_more() {
        let mut scheduler = scheduler("@yearly", retries(3));
        let mut now_ms = NEW_YEAR_MS;
        let asked = scheduler.trigger(now_ms).expect("queues");
        let mut waits = Vec::new();
        loop {
            let run = scheduler.begin(now_ms).expect("begins");
            assert_eq!(run.id, asked.id);
            let run = scheduler.ended(Ended::Failed("down".into()), BTreeMap::new(), now_ms).expect("ends");
            let Some(retry_at_ms) = run.retry_at_ms else {
                assert_eq!((run.state, run.attempt), (RunState::Failed, 4));
                break;
            };
            assert_eq!(run.state, RunState::UpForRetry);
            assert!(scheduler.begin(retry_at_ms - 1).is_none(), "it is not time");
            waits.push(retry_at_ms - now_ms);
            now_ms = retry_at_ms;
        }
        assert_eq!(waits, [10_000, 20_000, 40_000]);
        assert!(scheduler.begin(now_ms).is_none());
    }

    /// A run with one retry whose attempts end like `how`, each after so long and with records or without: which attempt
    /// each counts as, and what becomes of the run.
    fn attempts(how: fn(String, bool) -> Ended, each: &[(i64, bool)]) -> Vec<(u32, RunState)> {
        let mut scheduler = scheduler("@yearly", retries(1));
        let mut now_ms = NEW_YEAR_MS;
        scheduler.trigger(now_ms).expect("queues");
        let mut found = Vec::new();
        for (worked_ms, has_read) in each {
            scheduler.begin(now_ms).expect("begins");
            now_ms += worked_ms;
            let how = how("down".into(), *has_read);
            let run = scheduler.ended(how, BTreeMap::new(), now_ms).expect("ends");
            now_ms = run.retry_at_ms.unwrap_or(now_ms);
            found.push((run.attempt, run.state));
        }
        found
    }

    #[test]
    fn an_attempt_that_got_on_counts_as_the_first() {
        let again = (1, RunState::UpForRetry);
        let for_good = (2, RunState::Failed);
        // A flow that never ends by itself, with an outage now and then.
        let broke_off = |why, got_on| Ended::BrokeOff { why, got_on };
        assert_eq!(attempts(broke_off, &[(2 * HOUR_MS, false); 20]), [again; 20]);
        let each = [(1_000, true), (1_000, true), (1_000, false)];
        assert_eq!(attempts(broke_off, &each), [again, again, for_good]);
        // What ends by itself has not ended well, however long it took and whatever it had read.
        assert_eq!(attempts(|why, _| Ended::Failed(why), &[(2 * HOUR_MS, true); 2]), [again, for_good]);
    }

    #[test]
    fn what_a_retry_would_only_hide_is_not_tried_again() {
        let mut scheduler = scheduler("@yearly", retries(3));
        scheduler.trigger(NEW_YEAR_MS).expect("queues");
        scheduler.begin(NEW_YEAR_MS).expect("begins");
        let how = Ended::FailedForGood("6 of 100 records are dead letters".into());
        let run = scheduler.ended(how, BTreeMap::new(), NEW_YEAR_MS).expect("ends");
        assert_eq!((run.state, run.attempt, run.retry_at_ms), (RunState::Failed, 1, None));
        assert!(run.error.is_some_and(|why| why.contains("dead letters")));
        assert!(scheduler.begin(NEW_YEAR_MS + HOUR_MS).is_none());
    }

    #[test]
    fn what_was_due_while_nobody_was_there_is_made_up_for_only_where_asked() {
        let due = |catchup: bool| {
            let schedule = Schedule::parse("@hourly", None).expect("a schedule");
            let settings = RunSettings { catchup, ..RunSettings::default() };
            let now_ms = NEW_YEAR_MS + 5 * HOUR_MS + 1;
            let (mut scheduler, _) =
                Scheduler::new(Some(schedule), settings, false, Some(NEW_YEAR_MS), Vec::new(), false, now_ms);
            let mut ends = Vec::new();
            loop {
                scheduler.tick(now_ms);
                let Some(run) = scheduler.begin(now_ms) else { break };
                ends.push((run.interval_ms.expect("is scheduled").1 - NEW_YEAR_MS) / HOUR_MS);
                scheduler.ended(Ended::Done, BTreeMap::new(), now_ms);
            }
            ends
        };
        assert_eq!(due(false), [0; 0]);
        assert_eq!(due(true), [1, 2, 3, 4, 5]);
    }

    #[test]
    fn what_is_made_up_for_waits_for_a_retry_and_asks_for_nothing_meanwhile() {
        let schedule = Schedule::parse("@hourly", None).expect("a schedule");
        let settings = RunSettings { catchup: true, ..RunSettings::default() };
        let now_ms = NEW_YEAR_MS + 5 * HOUR_MS + 1;
        let (mut scheduler, _) =
            Scheduler::new(Some(schedule), settings, false, Some(NEW_YEAR_MS), Vec::new(), false, now_ms);
        scheduler.tick(now_ms);
        scheduler.begin(now_ms).expect("begins");
        scheduler.tick(now_ms);
        let run = scheduler.ended(Ended::Failed("down".into()), BTreeMap::new(), now_ms).expect("ends");
        assert!(scheduler.begin(now_ms).is_none(), "it is not time");
        assert_eq!(scheduler.next_due_ms(), run.retry_at_ms, "nothing else can be done before");
    }

    #[test]
    fn a_run_that_was_not_remembered_is_taken_back() {
        let mut scheduler = scheduler("@yearly", retries(0));
        let asked = scheduler.trigger(NEW_YEAR_MS).expect("queues");
        scheduler.withdraw(&asked.id);
        assert!(scheduler.begin(NEW_YEAR_MS).is_none());
    }

    #[test]
    fn a_machine_that_slept_runs_the_newest_that_was_due() {
        let mut scheduler = scheduler("@hourly", retries(0));
        let changed = scheduler.tick(NEW_YEAR_MS + 5 * HOUR_MS + 1);
        assert_eq!(changed.len(), 1);
        assert_eq!(changed[0].id, "scheduled__2026-01-01T05:00:00Z");
    }

    #[test]
    fn a_restart_runs_nothing_twice_and_tries_again_what_it_cut_off() {
        let mut before = scheduler("@hourly", retries(1));
        let now_ms = NEW_YEAR_MS + HOUR_MS;
        before.tick(now_ms);
        let run = before.begin(now_ms).expect("begins");
        let schedule = || Some(Schedule::parse("@hourly", None).expect("a schedule"));
        // Killed; the clock is put back by a minute.
        let (mut after, changed) = Scheduler::new(
            schedule(),
            retries(1),
            false,
            Some(now_ms),
            vec![run.clone()],
            false,
            now_ms - 60_000,
        );
        assert_eq!(changed[0].state, RunState::UpForRetry);
        assert_eq!(after.tick(now_ms), []);
        let again = after.begin(now_ms + 60_000).expect("begins");
        assert_eq!((again.id.as_str(), again.attempt), (run.id.as_str(), 2));
        // Stopped in order: that costs no attempt.
        let stopped = after.ended(Ended::Stopped, BTreeMap::new(), now_ms).expect("ends");
        let (mut third, changed) =
            Scheduler::new(schedule(), retries(1), false, Some(now_ms), vec![stopped], false, now_ms);
        assert_eq!(changed, []);
        let again = third.begin(now_ms).expect("begins");
        assert_eq!(again.attempt, 2);
        // Killed once too often.
        let (mut fourth, changed) =
            Scheduler::new(schedule(), retries(1), false, Some(now_ms), vec![again.clone()], false, now_ms);
        assert_eq!(changed[0].state, RunState::Failed);
        assert!(fourth.begin(now_ms).is_none());
        // For what never ends by itself that is never too often.
        let (_, changed) =
            Scheduler::new(schedule(), retries(1), false, Some(now_ms), vec![again], true, now_ms);
        assert_eq!((changed[0].state, changed[0].attempt), (RunState::UpForRetry, 1));
    }

    #[test]
    fn a_clock_that_was_ahead_holds_nothing_up_and_no_moment_comes_twice() {
        let at = |hours: i64| NEW_YEAR_MS + hours * HOUR_MS;
        for (catchup, expected) in [(false, [3, 5, 6]), (true, [2, 3, 5])] {
            let schedule = Schedule::parse("@hourly", None).expect("a schedule");
            let settings = RunSettings { catchup, ..RunSettings::default() };
            let mut now_ms = at(2) + 1;
            let decided = [at(1), at(4), at(500)];
            let (mut scheduler, _) =
                Scheduler::new(Some(schedule), settings, false, Some(decided[2]), Vec::new(), false, now_ms);
            assert_eq!(scheduler.far_ahead_ms(now_ms), Some(decided[2]));
            scheduler.go_on(now_ms, NEW_YEAR_MS, decided.into_iter());
            assert_eq!(scheduler.far_ahead_ms(now_ms), None);
            let mut ends = Vec::new();
            while ends.len() < expected.len() {
                now_ms = scheduler.next_due_ms().expect("there is always a next").max(now_ms);
                scheduler.tick(now_ms);
                let run = scheduler.begin(now_ms).expect("begins");
                ends.push((run.interval_ms.expect("is scheduled").1 - NEW_YEAR_MS) / HOUR_MS);
                scheduler.ended(Ended::Done, BTreeMap::new(), now_ms);
            }
            assert_eq!(ends, expected);
            let later = scheduler.tick(at(500));
            assert!(later.iter().all(|run| run.interval_ms.expect("is scheduled").1 < at(500)), "{later:?}");
        }
    }

    #[test]
    fn a_clock_that_was_put_back_for_a_while_makes_no_moment_come_twice() {
        let schedule = Schedule::parse("@hourly", None).expect("a schedule");
        let settings = RunSettings { catchup: true, ..RunSettings::default() };
        let at = |hours: i64| NEW_YEAR_MS + hours * HOUR_MS;
        // A machine that begins in 1970, until somebody tells it the time.
        let (mut scheduler, _) =
            Scheduler::new(Some(schedule), settings, false, Some(at(100)), Vec::new(), false, 0);
        scheduler.go_on(0, at(0), [at(99), at(100)].into_iter());
        assert!(scheduler.tick(30_000).is_empty());
        let made = scheduler.tick(at(101));
        let ends: Vec<_> = made.iter().map(|run| run.interval_ms.expect("is scheduled").1).collect();
        assert_eq!(ends, [at(101)]);
    }

    #[test]
    fn a_clock_that_is_put_back_a_little_is_no_wrong_one() {
        let mut scheduler = scheduler("@hourly", retries(0));
        scheduler.tick(NEW_YEAR_MS + HOUR_MS);
        assert_eq!(scheduler.far_ahead_ms(NEW_YEAR_MS + HOUR_MS - PUT_BACK_MAX_MS), None);
        assert_eq!(
            scheduler.far_ahead_ms(NEW_YEAR_MS + HOUR_MS - PUT_BACK_MAX_MS - 1),
            Some(NEW_YEAR_MS + HOUR_MS)
        );
    }

    #[test]
    fn a_retry_does_not_wait_for_the_year_of_a_clock_that_was_ahead() {
        let mut scheduler = scheduler("@yearly", retries(1));
        scheduler.trigger(NEW_YEAR_MS).expect("queues");
        let far_ms = NEW_YEAR_MS + 50_000 * HOUR_MS;
        scheduler.begin(far_ms).expect("begins");
        scheduler.ended(Ended::Failed("down".into()), BTreeMap::new(), far_ms).expect("ends");
        assert!(scheduler.begin(far_ms).is_none(), "it is not time");
        assert_eq!(scheduler.begin(NEW_YEAR_MS).expect("begins").attempt, 2);
    }

    #[test]
    fn a_pause_holds_the_schedule_but_not_who_asks() {
        let mut scheduler = scheduler("@hourly", retries(0));
        scheduler.set_paused(true, NEW_YEAR_MS);
        assert_eq!(scheduler.tick(NEW_YEAR_MS + 2 * HOUR_MS), []);
        assert_eq!(scheduler.next_due_ms(), None);
        scheduler.trigger(NEW_YEAR_MS).expect("queues");
        assert!(scheduler.begin(NEW_YEAR_MS).is_some());
        scheduler.set_paused(false, NEW_YEAR_MS + 3 * HOUR_MS);
        assert_eq!(scheduler.next_run_ms(), Some(NEW_YEAR_MS + 4 * HOUR_MS));
    }

    #[test]
    fn the_queue_is_bounded_and_names_differ() {
        let mut scheduler = scheduler("@yearly", retries(0));
        let ids: std::collections::BTreeSet<_> =
            (0..QUEUED_MAX).map(|_| scheduler.trigger(NEW_YEAR_MS).expect("queues").id).collect();
        assert_eq!(ids.len(), QUEUED_MAX);
        assert!(scheduler.trigger(NEW_YEAR_MS).is_err());
    }
}
