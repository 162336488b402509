//! Ctrl-C and SIGTERM: the first ends in order, the second at once. Where asked for, the end of
//! standard input is such a signal too.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::output::sayln;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The exit codes that shells use for these signals.
const INTERRUPTED: u8 = 130;
const TERMINATED: u8 = 143;

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
        for (kind, code) in [(SignalKind::interrupt(), INTERRUPTED), (SignalKind::terminate(), TERMINATED)] {
            // At once: a signal that came before the task's first turn would end the process on the spot.
            let Ok(mut signals) = signal(kind) else { continue };
            let stop = stop.clone();
            tokio::spawn(async move {
                while signals.recv().await.is_some() {
                    if stop.token.is_cancelled() {
                        std::process::exit(code.into());
                    }
                    sayln!("stopping: the batch in hand is finished; once more stops at once");
                    stop.code.store(code, Ordering::Relaxed);
                    stop.token.cancel();
                }
            });
        }
        stop
    }

    /// Also stops, as SIGTERM does, when standard input ends: whoever started us with a pipe has gone
    /// then, even if it was killed and could not send a signal. The thread ends with the process.
    pub(crate) fn also_at_eof(&self) {
        let stop = self.clone();
        std::thread::spawn(move || {
            // What is read does not matter, and neither does why there is no more.
            let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
            sayln!("stopping: standard input has ended; the batch in hand is finished");
            stop.code.store(TERMINATED, Ordering::Relaxed);
            stop.token.cancel();
        });
    }

    /// The exit code, where a signal came.
    pub(crate) fn code(&self) -> Option<u8> {
        Some(self.code.load(Ordering::Relaxed)).filter(|code| *code > 0)
    }
}
