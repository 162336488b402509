//! The binary: arguments in, a command run, an exit code out.

mod allocator;
mod args;
mod bind;
mod commands;
mod load;
mod log;
mod output;
mod state;
mod stop;

use std::process::ExitCode;

use clap::Parser;
use millstream_core::Fault;
use millstream_engine::Report;

use crate::args::{Args, Command};
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

fn main() -> ExitCode {
    allocator::set_up();
    // The embedded broker keeps a file open for each partition, of which a shell allows few.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let args = Args::parse();
    log::set_up(args.log_format, matches!(args.command, Command::Up(_)));
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
