//! Waiting: for what failed for a passing reason, for as long as the user has patience, and saying so.

use std::sync::Arc;
use std::time::Duration;

use millstream_core::{Error, Result};
use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::flow::FlowState;

const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// How long to try, and what ends it.
#[derive(Debug, Clone)]
pub(crate) struct Patience {
    /// None: for ever.
    pub(crate) at_most: Option<Duration>,
    pub(crate) stop: CancellationToken,
    /// Is told what is waited for.
    pub(crate) state: Arc<Mutex<FlowState>>,
}

impl Patience {
    /// Begins to try something.
    pub(crate) fn begin(&self) -> Attempts<'_> {
        Attempts { patience: self, failing_since: None, wait: FIRST_WAIT, waiting: None }
    }
}

/// Whoever looks on sees what a flow waits for, until this is dropped.
pub(crate) struct Waiting<'a> {
    state: &'a Mutex<FlowState>,
}

impl<'a> Waiting<'a> {
    /// The flow waits for `what` since then.
    pub(crate) fn begin(state: &'a Mutex<FlowState>, what: String, since: Instant) -> Self {
        let waiting = Self { state };
        {
            let mut state = state.lock();
            state.waiting_for = Some(what);
            state.waiting_since = Some(since);
        }
        waiting
    }

    /// It is something else by now.
    fn is_for(&self, what: String) {
        self.state.lock().waiting_for = Some(what);
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.state.lock();
        state.waiting_for = None;
        state.waiting_since = None;
    }
}

/// Attempts at one thing: `loop { match attempt { Ok(x) => break x, Err(e) => attempts.wait(e).await? } }`
pub(crate) struct Attempts<'a> {
    patience: &'a Patience,
    failing_since: Option<Instant>,
    wait: Duration,
    waiting: Option<Waiting<'a>>,
}

impl Attempts<'_> {
    /// Waits before the next attempt; the error itself where there is to be none.
    pub(crate) async fn wait(&mut self, error: Error) -> Result<()> {
        if !error.is_passing() {
            return Err(error);
        }
        let since = *self.failing_since.get_or_insert_with(Instant::now);
        if self.patience.at_most.is_some_and(|at_most| since.elapsed() >= at_most) {
            let seconds = since.elapsed().as_secs();
            let message = format!("{} (waited {seconds} s; nothing is lost)", error.message);
            return Err(Error { message, ..error });
        }
        tracing::debug!("{error}; trying again");
        self.patience.state.lock().retries += 1;
        match &self.waiting {
            Some(waiting) => waiting.is_for(error.to_string()),
            None => {
                self.waiting = Some(Waiting::begin(&self.patience.state, error.to_string(), since));
            }
        }
        tokio::select! {
            () = tokio::time::sleep(self.wait) => {}
            () = self.patience.stop.cancelled() => return Err(error),
        }
        self.wait = (self.wait * 2).min(LONGEST_WAIT);
        Ok(())
    }

    /// The last attempt has not failed so far: nothing is waited for. If it does, the next one is not the first.
    pub(crate) fn is_at_work(&mut self) {
        self.waiting = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn passing_failures_are_retried_until_patience_ends_and_others_not_at_all() {
        let at_most = Some(Duration::from_secs(60));
        let patience = Patience { at_most, stop: CancellationToken::new(), state: Arc::default() };
        let mut attempts = patience.begin();
        let given_up = loop {
            if let Err(error) = attempts.wait(Error::passing("down")).await {
                break error;
            }
            assert!(patience.state.lock().waiting_for.is_some());
        };
        assert!(given_up.message.starts_with("down (waited 6"), "{given_up}");
        drop(attempts);
        assert!(patience.state.lock().waiting_for.is_none());
        let lasting = patience.begin().wait(Error::lasting("no")).await;
        assert_eq!(lasting.expect_err("fails").message, "no");
    }
}
