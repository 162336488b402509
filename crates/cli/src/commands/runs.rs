//! `runs`, `pause`, `unpause`: what is asked of a pipeline that `up` has at work, through its API.

use std::time::Duration;

use millstream_core::{Error, Fault, Result};
use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::Outcome;
use crate::args::{Runs, ServerArgs};
use crate::load::load;
use crate::output::{results, sayln};
use crate::state::live_owner;

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(30);

pub(super) async fn run(command: Runs) -> Outcome {
    match command {
        Runs::List { at, n } => list(&at, n).await,
        Runs::Trigger { at } => trigger(&at).await,
        Runs::Show { at, run } => show(&at, &run).await,
    }
}

async fn list(at: &ServerArgs, n: u32) -> Outcome {
    let answer = Api::of(at)?.get(&format!("/runs?limit={n}")).await?;
    let runs = answer["runs"].as_array().into_iter().flatten();
    let line = |run: &Value| {
        let sum = |of: &str| -> u64 {
            let flows = run["flows"].as_object().into_iter().flatten();
            flows.map(|(_, counts)| counts[of].as_u64().unwrap_or(0)).sum()
        };
        let (id, state) = (run["id"].as_str().unwrap_or_default(), run["state"].as_str().unwrap_or_default());
        format!("{id}\t{state}\t{} read\t{} written\t{} dead\n", sum("read"), sum("written"), sum("dead"))
    };
    Ok(results(&runs.map(line).collect::<String>())?)
}

async fn trigger(at: &ServerArgs) -> Outcome {
    let run = Api::of(at)?.post("/runs").await?;
    Ok(results(&format!("{}\n", run["id"].as_str().unwrap_or_default()))?)
}

async fn show(at: &ServerArgs, run: &str) -> Outcome {
    let answer = Api::of(at)?.get(&format!("/runs/{run}")).await?;
    let (run, log) = (&answer["run"], answer["log"].as_array());
    let text = |of: &Value| of.as_str().unwrap_or_default().to_owned();
    let mut out = format!("state    {}\nattempt  {}\n", text(&run["state"]), run["attempt"]);
    for (name, key) in
        [("began   ", "started"), ("ended   ", "ended"), ("again at", "retry_at"), ("why     ", "error")]
    {
        if let Some(value) = run[key].as_str() {
            out.push_str(&format!("{name} {value}\n"));
        }
    }
    for line in log.into_iter().flatten() {
        out.push_str(&format!("{}  {}\n", text(&line["at"]), text(&line["text"])));
    }
    Ok(results(&out)?)
}

pub(super) async fn set_paused(at: &ServerArgs, paused: bool) -> Outcome {
    let answer = Api::of(at)?.post(if paused { "/pause" } else { "/unpause" }).await?;
    match answer["next_run"].as_str() {
        Some(next) => sayln!("next run {next}"),
        None => sayln!("no run is due by itself"),
    }
    Ok(())
}

/// The API of one pipeline.
struct Api {
    server: String,
    pipeline: String,
    token: Option<String>,
}

impl Api {
    fn of(at: &ServerArgs) -> Outcome<Self> {
        let loaded = load(&at.file)?;
        let owned = || live_owner(&loaded.state)?.server;
        let server = at.server.clone().or_else(owned).ok_or_else(|| {
            Error::user(format!("no `up` has {} at work", at.file.file.display()))
                .help("start `millstream up FILE`, or say where it is with --server")
        })?;
        let token = std::env::var("MILLSTREAM_TOKEN").ok();
        let pipeline = loaded.plan.pipeline.name.clone();
        Ok(Self { server: server.trim_end_matches('/').to_owned(), pipeline, token })
    }

    async fn get(&self, path: &str) -> Result<Value> {
        self.ask(Method::GET, path).await
    }

    async fn post(&self, path: &str) -> Result<Value> {
        self.ask(Method::POST, path).await
    }

    async fn ask(&self, method: Method, path: &str) -> Result<Value> {
        let url = format!("{}/api/v1/pipelines/{}{path}", self.server, self.pipeline);
        let failed = |e: reqwest::Error| {
            let error = Error::lasting(format!("{url} cannot be asked: {}", e.without_url()));
            error.help("is `millstream up` at work there, and --server right?")
        };
        // What runs on this machine is not asked through a proxy.
        let client = reqwest::Client::builder().timeout(TIMEOUT).no_proxy().build().map_err(failed)?;
        let mut request = client.request(method, &url);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let answer = request.send().await.map_err(failed)?;
        let status = answer.status();
        let body = answer.bytes().await.map_err(failed)?;
        let refused = |what: String| Error::new(fault(status), what);
        let answer: Value = serde_json::from_slice(&body)
            .map_err(|e| refused(format!("{url} is no Millstream: {e}")).help("is --server right?"))?;
        if status.is_success() {
            return Ok(answer);
        }
        let title = answer["title"].as_str().unwrap_or("it says no");
        let error = refused(format!("{} says: {title}", self.server));
        Err(match answer["detail"].as_str() {
            Some(detail) => error.help(detail),
            None => error,
        })
    }
}

/// Whose fault it is that an answer is not what was asked for: a server in trouble, or one that is asked too often,
/// would give it at another time.
fn fault(status: StatusCode) -> Fault {
    match status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        true => Fault::Lasting,
        false => Fault::User,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_asked_wrongly_is_the_users_fault() {
        for (status, expected) in [
            (200, Fault::User),
            (401, Fault::User),
            (404, Fault::User),
            (409, Fault::User),
            (429, Fault::Lasting),
            (500, Fault::Lasting),
            (503, Fault::Lasting),
        ] {
            assert_eq!(fault(StatusCode::from_u16(status).expect("a status")), expected, "{status}");
        }
    }
}
