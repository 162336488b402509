//! Rounds of requests on a beat: when the next begins, page after page, and when there is none
//! any more.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use millstream_core::{Checkpoint, Commit, Counts, Error, Origin, Records, Result, Scope, Source, now_ms};
use tokio::time::Instant;

use super::HttpSettings;
use super::fetch::{Fetcher, shown};
use super::incremental::Watermark;
use super::paging::{Next, Page, Pager};
use super::placeholders::Values;

/// One API, asked on a beat.
pub(super) struct HttpSource {
    settings: HttpSettings,
    scope: Scope,
    fetcher: Fetcher,
    beat: Beat,
    /// The pages that are being read.
    round: Option<Round>,
    /// Why the round cannot go on.
    stuck: Option<Error>,
    watermark: Option<Watermark>,
    /// What this run was told to begin from, until it has.
    told_since: Option<String>,
    /// A record that the cursor cannot follow has been seen, and said.
    has_warned: bool,
    started_ms: i64,
    /// How many records came before: each one's place in the run.
    records: i64,
}

/// An answer of several pages.
struct Round {
    values: Values,
    pager: Pager,
    page: Page,
    /// Where its records come from, for dead letters.
    origin: Arc<Origin>,
}

impl HttpSource {
    pub(super) async fn open(settings: HttpSettings, scope: &Scope) -> Result<Self> {
        let beat = Beat {
            every: settings.every.map(|every| every.0),
            duration: settings.duration.map(|duration| duration.0),
            times: settings.times,
            started: None,
            begun: 0,
        };
        let mut watermark = settings.incremental.as_ref().map(Watermark::new).transpose()?;
        if let (Some(watermark), Some(cursors)) = (&mut watermark, &scope.cursors) {
            watermark.resume(cursors.load(scope).await?);
        }
        Ok(Self {
            fetcher: Fetcher::new(settings.clone())?,
            settings,
            scope: scope.clone(),
            beat,
            round: None,
            stuck: None,
            watermark,
            told_since: scope.run.since.clone(),
            has_warned: false,
            started_ms: now_ms(),
            records: 0,
        })
    }

    fn begin_round(&mut self) -> Result<Round> {
        let since = self.watermark.as_ref().map(Watermark::since);
        let since = since.map(|since| self.told_since.take().unwrap_or(since));
        let values = Values::new(&self.scope.run, since.as_deref());
        let url = self.fetcher.url(&values)?;
        let origin = Origin { address: shown(&url), run_ms: Some(self.started_ms) };
        let mut pager = Pager::new(self.settings.paging.clone(), self.settings.max_pages, url);
        let page = pager.first();
        Ok(Round { values, pager, page, origin: Arc::new(origin) })
    }

    fn see(&mut self, records: &Records) {
        let Some(watermark) = &mut self.watermark else { return };
        let came_ms = now_ms();
        for record in records.iter().filter_map(|record| record.value) {
            // The texts come out of one text, so they are UTF-8.
            let text = std::str::from_utf8(record).unwrap_or_default();
            if let Err(why) = watermark.see(text, came_ms)
                && !self.has_warned
            {
                tracing::warn!("flow {}: {why}; it does not move the cursor", self.scope.flow);
                self.has_warned = true;
            }
        }
    }
}

#[async_trait]
impl Source for HttpSource {
    async fn next(&mut self) -> Result<Option<Records>> {
        if let Some(error) = self.stuck.take() {
            return Err(error);
        }
        if self.round.is_none() {
            let Some(due) = self.beat.next(Instant::now()) else { return Ok(None) };
            tokio::time::sleep_until(due).await;
            self.round = Some(self.begin_round()?);
            self.beat.begin(due);
        }
        // Kept in place while it waits: a request that was cancelled is made again.
        let Some(round) = &mut self.round else { return Ok(None) };
        let mut answer = self.fetcher.fetch(&round.page, &round.values, self.records).await?;
        answer.records.origin = Some(round.origin.clone());
        let failed = |why: String| {
            Error::lasting(format!("{}: {why}", round.origin.address)).help("look at `paging:`")
        };
        match round.pager.after(&answer.held).map_err(failed)? {
            Next::Page(page) => round.page = page,
            Next::End => self.round = None,
            // What this page holds is handed on first.
            Next::Nowhere(why) => self.stuck = Some(failed(why)),
        }
        self.records += answer.records.len() as i64;
        self.see(&answer.records);
        Ok(Some(answer.records))
    }

    /// The cursor is kept when a round has been read to its end and everything of it is durable:
    /// pages need not be in the order of their values.
    async fn commit(&mut self, checkpoint: &Checkpoint, _: Commit) -> Result<Counts> {
        if let (None, Some(watermark), Some(cursors)) =
            (&self.round, &mut self.watermark, &self.scope.cursors)
            && let Some(cursor) = watermark.unkept()
        {
            cursors.save(&self.scope, cursor).await?;
            watermark.kept();
        }
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
            let since_beat = Duration::from_nanos((passed % every.as_nanos()) as u64);
            now + (every - since_beat)
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
        let (started, every) = (Instant::now(), Duration::from_millis(1));
        let beat = Beat { every: Some(every), duration: None, times: None, started: Some(started), begun: 1 };
        let after_sixty_days = started + Duration::from_secs(60 * 86_400);
        assert_eq!(beat.next(after_sixty_days), Some(after_sixty_days + every));
    }
}
