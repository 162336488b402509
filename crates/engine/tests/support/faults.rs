//! When something fails, and how.

use std::sync::Arc;
use std::time::Duration;

use millstream_core::{Error, Result};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is done and answered.
    Done,
    /// Nothing is done.
    Failed,
    /// Half is done.
    Torn,
    /// All is done, and the answer lost.
    AnswerLost,
    /// Nothing is done, and trying again does not help: the run ends.
    Over,
}

/// Decides, the same way for the same seed.
#[derive(Clone)]
pub(crate) struct Faults(Arc<Mutex<(StdRng, u64)>>);

impl Faults {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new((StdRng::seed_from_u64(seed), 0))))
    }

    /// How often something failed.
    pub(crate) fn struck(&self) -> u64 {
        self.0.lock().1
    }

    pub(crate) fn choose(&self, below: usize) -> usize {
        self.0.lock().0.random_range(0..below.max(1))
    }

    /// The next request's fate; some are answered late.
    pub(crate) async fn next(&self) -> Fate {
        let (fate, stalls) = {
            let (random, struck) = &mut *self.0.lock();
            let fate = match random.random_range(0..100) {
                0..8 => Fate::Failed,
                8..14 => Fate::Torn,
                14..20 => Fate::AnswerLost,
                20..22 => Fate::Over,
                _ => Fate::Done,
            };
            let stalls = random.random_range(0..20) == 0;
            *struck += u64::from(fate != Fate::Done) + u64::from(stalls);
            (fate, stalls)
        };
        if stalls {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        fate
    }
}

impl Fate {
    /// The answer to a request with this fate.
    pub(crate) fn answer<T>(self, done: T) -> Result<T> {
        match self {
            Self::Done => Ok(done),
            Self::Over => Err(Error::lasting("it is over")),
            Self::Failed | Self::Torn | Self::AnswerLost => Err(Error::passing("it fails")),
        }
    }
}
