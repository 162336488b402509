//! The log on standard error, which shows no secret of a file. It does not know who writes into it: a connector has its
//! settings, and cannot tell which of them are secret.

use std::io::{self, Write};
use std::sync::LazyLock;

use millstream_engine::Secrets;
use parking_lot::RwLock;
use tracing_subscriber::EnvFilter;

use crate::args::LogFormat;
use crate::output;

/// The secrets of every file that this process has read. The log is one for all of them.
static SECRETS: LazyLock<RwLock<Secrets>> = LazyLock::new(RwLock::default);

/// Keeps the secrets of a file out of the log.
pub(crate) fn hide(secrets: &Secrets) {
    SECRETS.write().add_all(secrets);
}

/// What happens goes to standard error; where pipelines run for good, what becomes of runs, too.
pub(crate) fn set_up(format: LogFormat, tells_runs: bool) {
    let runs = if tells_runs { "info" } else { "warn" };
    let filter = EnvFilter::try_from_env("MILLSTREAM_LOG").unwrap_or_else(|_| {
        EnvFilter::new(format!(
            "warn,millstream_engine::supervisor={runs},librdkafka=off,rdkafka=off,scylla=off"
        ))
    });
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| Masked)
        .with_target(false)
        .with_ansi(output::has_colours())
        // It would panic where nobody reads standard error any more.
        .log_internal_errors(false);
    match format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
}

/// Standard error with secrets replaced. Each event comes in one piece, so that none of them is cut in two.
struct Masked;

impl Write for Masked {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        // Nobody waits for the lock while standard error is slow.
        let masked = SECRETS.read().mask(&String::from_utf8_lossy(event));
        io::stderr().write_all(masked.as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
