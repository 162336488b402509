//! `healthy`: whether an `up` on this machine answers, or another server of ours. An image needs no other program for that.

use std::time::Duration;

use crate::output::sayln;
use crate::{FAILED, Failure, Outcome};

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(4);

pub(super) async fn run(port: u16, path: &str, if_served: bool) -> Outcome {
    let url = format!("http://127.0.0.1:{port}{path}");
    let client = reqwest::Client::builder().timeout(TIMEOUT).no_proxy().build();
    let answer = match client {
        Ok(client) => client.get(&url).send().await,
        Err(error) => Err(error),
    };
    let why = match answer {
        Ok(answer) if answer.status().is_success() => return Ok(()),
        Err(error) if error.is_connect() && if_served => return Ok(()),
        Ok(answer) => answer.status().to_string(),
        Err(error) => error.without_url().to_string(),
    };
    sayln!("{url}: {why}");
    Err(Failure::Code(FAILED))
}
