//! The binary: arguments in, a command run, an exit code out.

mod allocator;
mod args;
mod bind;
mod commands;
mod load;
mod output;
mod state;
mod stop;

use std::process::ExitCode;

use clap::Parser;
use millstream_core::Fault;
use millstream_engine::Report;

use crate::args::{Args, Command, LogFormat};
use crate::output::{say, sayln};

/// How a command ends when it does not succeed.
#[derive(Debug)]
enum Failure {
    /// With an error that nobody has shown yet.
    Error(millstream_core::Error),
    /// With mistakes in the file.
    Mistakes(Box<Report>),
    /// With an exit code; what there is to say has been said.
    Code(u8),
}

impl From<millstream_core::Error> for Failure {
    fn from(error: millstream_core::Error) -> Self {
        Self::Error(error)
    }
}

impl From<Report> for Failure {
    fn from(report: Report) -> Self {
        Self::Mistakes(Box::new(report))
    }
}

type Outcome<T = ()> = Result<T, Failure>;

/// The run failed.
const FAILED: u8 = 1;
/// The user asked for something that cannot be.
const ASKED_WRONGLY: u8 = 2;

/// What happens goes to standard error; where pipelines run for good, what becomes of runs, too.
fn set_up_log(format: LogFormat, tells_runs: bool) {
    let runs = if tells_runs { "info" } else { "warn" };
    let filter = tracing_subscriber::EnvFilter::try_from_env("MILLSTREAM_LOG").unwrap_or_else(|_| {
        tracing_subscriber::EnvFilter::new(format!(
            "warn,millstream_engine::supervisor={runs},librdkafka=off,rdkafka=off,scylla=off"
        ))
    });
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(output::has_colours())
        // It would panic where nobody reads standard error any more.
        .log_internal_errors(false);
    match format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
}

fn main() -> ExitCode {
    allocator::set_up();
    let args = Args::parse();
    set_up_log(args.log_format, matches!(args.command, Command::Up(_)));
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            sayln!("error: cannot start: {error}");
            return ExitCode::from(FAILED);
        }
    };
    let ended = runtime.block_on(commands::run(args));
    // A thread that waits for librdkafka must not hold up the end.
    runtime.shutdown_timeout(std::time::Duration::from_millis(200));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Code(code)) => ExitCode::from(code),
        Err(Failure::Mistakes(report)) => {
            say!("{}", report.render(output::has_colours()));
            ExitCode::from(ASKED_WRONGLY)
        }
        Err(Failure::Error(error)) => {
            output::error(&error);
            ExitCode::from(if error.fault == Fault::User { ASKED_WRONGLY } else { FAILED })
        }
    }
}
