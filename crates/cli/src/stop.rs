//! Ctrl-C and SIGTERM: the first ends in order, the second at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::output::sayln;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A request to stop, and the exit code that goes with it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stop {
    pub(crate) token: CancellationToken,
    code: Arc<AtomicU8>,
}

impl Stop {
    /// Listens from now on.
    pub(crate) fn listen() -> Self {
        let stop = Self::default();
        for (kind, code) in [(SignalKind::interrupt(), 130), (SignalKind::terminate(), 143)] {
            let stop = stop.clone();
            tokio::spawn(async move {
                let Ok(mut signals) = signal(kind) else { return };
                while signals.recv().await.is_some() {
                    if stop.token.is_cancelled() {
                        std::process::exit(code);
                    }
                    sayln!("stopping: the batch in hand is finished; once more stops at once");
                    stop.code.store(code as u8, Ordering::Relaxed);
                    stop.token.cancel();
                }
            });
        }
        stop
    }

    /// The exit code, where a signal came.
    pub(crate) fn code(&self) -> Option<u8> {
        Some(self.code.load(Ordering::Relaxed)).filter(|code| *code > 0)
    }
}
