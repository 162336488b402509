//! The commands, one file each.

mod airflow;
mod attached;
mod bench;
mod check;
mod dead_letters;
mod demo;
mod desk;
mod doctor;
mod healthy;
mod init;
mod migrate;
mod preview;
mod query;
mod reference;
mod reset;
mod run;
mod runs;
mod sql;
mod tap;
mod test;
mod up;
mod wait;

use std::net::SocketAddr;
use std::path::Path;

use clap::CommandFactory;
use millstream_connectors::random_user::{Options, Server};

use crate::args::{Args, Command};
use crate::output::sayln;
use crate::stop::Stop;
use crate::{Outcome, bind, output};

/// Runs what was asked for.
pub(crate) async fn run(args: Args) -> Outcome {
    match args.command {
        Command::Demo { once } => demo::run(once).await,
        Command::Init { folder, from } => init::run(&folder, from.as_deref()).await,
        Command::Check { file } => check::run(&file),
        Command::Preview { file, flow, n, values } => {
            preview::run(&file, flow.as_deref(), n, &values.values()).await
        }
        Command::Test { file } => test::run(&file),
        Command::Run { file, flow, patience, values, stop_at_eof, format } => {
            run::run(&file, flow, patience, values.values(), stop_at_eof, format).await
        }
        Command::Doctor { file } => doctor::run(&file).await,
        Command::Up(args) => up::run(args).await,
        Command::Runs { command } => runs::run(command).await,
        Command::Pause { at } => runs::set_paused(&at, true).await,
        Command::Unpause { at } => runs::set_paused(&at, false).await,
        Command::Wait { file, flow, patience, stop_at_eof, format } => {
            wait::run(&file, &flow, patience, stop_at_eof, format).await
        }
        Command::Query { file, sql, format } => query::run(&file, &sql, format).await,
        Command::Migrate { file, apply } => migrate::run(&file, apply).await,
        Command::Tap { file, place, n } => tap::run(&file, &place, n).await,
        Command::Reset { file, flow, to } => reset::run(&file, &flow, &to).await,
        Command::DeadLetters { command } => dead_letters::run(command).await,
        Command::Airflow { file, pipeline, streaming, start_date } => {
            airflow::run(&file, &airflow::Options { pipeline, streaming, start_date })
        }
        Command::Sql(args) => sql::run(&args).await,
        Command::RandomUser { port, host, limit, fail, latency } => {
            random_user(SocketAddr::new(host, port), Options { limit, fail, latency }).await
        }
        Command::Healthy { port, path, if_served } => healthy::run(port, &path, if_served).await,
        Command::Bench { what, records, partitions } => bench::run(what, records, partitions).await,
        Command::JsonSchema { markdown } => {
            let schema = bind::registry(&bind::table_store(Path::new(""))).json_schema();
            let text = match markdown {
                true => reference::markdown(&schema),
                false => format!("{}\n", serde_json::to_string_pretty(&schema).expect("a schema is JSON")),
            };
            Ok(output::results(&text)?)
        }
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Args::command(), "millstream", &mut std::io::stdout());
            Ok(())
        }
    }
}

async fn random_user(address: SocketAddr, options: Options) -> Outcome {
    let stop = Stop::listen();
    let server = Server::start_on(address, options).await?;
    sayln!("the built-in Random User API is at {}", server.url());
    stop.token.cancelled().await;
    Ok(())
}
