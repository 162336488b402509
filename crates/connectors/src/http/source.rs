//! Requests on a beat: when the next begins, and when there is none any more.

use std::time::Duration;

use async_trait::async_trait;
use millstream_core::{Checkpoint, Counts, Record, Records, Result, Source};
use tokio::time::Instant;

use super::HttpSettings;
use super::fetch::Fetcher;

/// One API, asked on a beat.
pub(super) struct HttpSource {
    fetcher: Fetcher,
    beat: Beat,
    /// How many records came before: each one's place in the run.
    records: i64,
}

impl HttpSource {
    pub(super) fn open(settings: HttpSettings) -> Result<Self> {
        let beat = Beat {
            every: settings.every.map(|every| every.0),
            duration: settings.duration.map(|duration| duration.0),
            times: settings.times,
            started: None,
            begun: 0,
        };
        Ok(Self { fetcher: Fetcher::new(settings)?, beat, records: 0 })
    }
}

#[async_trait]
impl Source for HttpSource {
    async fn next(&mut self) -> Result<Option<Records>> {
        let Some(due) = self.beat.next(Instant::now()) else { return Ok(None) };
        tokio::time::sleep_until(due).await;
        let fetched = self.fetcher.fetch().await?;
        // Only now: a request that was cancelled is made again.
        self.beat.begin(due);
        let mut records = Records::default();
        for value in &fetched {
            records.push(Record::of_value(value, self.records));
            self.records += 1;
        }
        Ok(Some(records))
    }

    async fn commit(&mut self, checkpoint: &Checkpoint) -> Result<Counts> {
        Ok(checkpoint.counts())
    }
}

/// When requests begin.
struct Beat {
    every: Option<Duration>,
    duration: Option<Duration>,
    times: Option<u64>,
    started: Option<Instant>,
    begun: u64,
}

impl Beat {
    /// When the next request begins; `None` when there is none any more. Beats that were missed
    /// are not made up for.
    fn next(&self, now: Instant) -> Option<Instant> {
        let Some(started) = self.started else { return Some(now) };
        let every = self.every?;
        if self.times.is_some_and(|times| self.begun >= times) {
            return None;
        }
        let due = if every.is_zero() {
            now
        } else {
            let passed = now.duration_since(started).as_nanos();
            let beats = passed / every.as_nanos() + 1;
            started + every.saturating_mul(u32::try_from(beats).unwrap_or(u32::MAX))
        };
        let last = self.duration.map(|duration| started + duration);
        last.is_none_or(|last| due <= last).then_some(due)
    }

    fn begin(&mut self, at: Instant) {
        self.started.get_or_insert(at);
        self.begun += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beat(every: Option<u64>, duration: Option<u64>, times: Option<u64>) -> Beat {
        let seconds = Duration::from_secs;
        Beat { every: every.map(seconds), duration: duration.map(seconds), times, started: None, begun: 0 }
    }

    /// The beginnings of requests that take `takes` seconds each.
    fn beginnings(mut beat: Beat, takes: u64) -> Vec<u64> {
        let start = Instant::now();
        let mut now = start;
        let mut found = Vec::new();
        while let Some(due) = beat.next(now) {
            found.push(due.duration_since(start).as_secs());
            beat.begin(due);
            now = due.max(now) + Duration::from_secs(takes);
        }
        found
    }

    #[test]
    fn requests_begin_on_the_beat_and_missed_ones_are_not_made_up() {
        assert_eq!(beginnings(beat(None, None, None), 0), [0]);
        assert_eq!(beginnings(beat(Some(2), Some(6), None), 0), [0, 2, 4, 6]);
        assert_eq!(beginnings(beat(Some(2), Some(9), None), 3), [0, 4, 8]);
        assert_eq!(beginnings(beat(Some(2), None, Some(3)), 0), [0, 2, 4]);
        assert_eq!(beginnings(beat(Some(0), None, Some(3)), 0), [0, 0, 0]);
    }
}
