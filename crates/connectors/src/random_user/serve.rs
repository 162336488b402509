//! Serves users as randomuser.me does: its parameters, its limits, and on demand its bad days.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use chrono::Utc;
use millstream_core::{Error, Result};
use parking_lot::Mutex;
use rand::RngExt;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::people::{NATIONS, People};

const VERSION: &str = "1.4";
const RESULTS_MAX: u32 = 5_000;
const PAGE_MAX: u32 = 10_000;
const LIMIT_WINDOW: Duration = Duration::from_secs(5 * 60);

/// How the API behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// Users that may be fetched in five minutes; then the answer is 429.
    pub limit: u64,
    /// The share of requests, from 0 to 1, that is answered with 503.
    pub fail: f64,
    /// How long an answer takes.
    pub latency: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { limit: u64::MAX, fail: 0.0, latency: Duration::ZERO }
    }
}

struct Api {
    options: Options,
    /// When the window began and how many users were served in it.
    served: Mutex<(Instant, u64)>,
}

/// A running API; it ends when this is dropped.
pub struct Server {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Server {
    /// Listens on 127.0.0.1:`port` (0: any free port).
    pub async fn start(port: u16, options: Options) -> Result<Self> {
        Self::start_on(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), options).await
    }

    /// Starts it on an address that others may reach.
    pub async fn start_on(address: SocketAddr, options: Options) -> Result<Self> {
        let listener = TcpListener::bind(address).await.map_err(|e| {
            Error::user(format!("cannot listen on {address}: {e}")).help("--port 0 takes any free port")
        })?;
        let address = listener.local_addr().map_err(|e| Error::ours(format!("no local address: {e}")))?;
        let api = Arc::new(Api { options, served: Mutex::new((Instant::now(), 0)) });
        let router = Router::new()
            .route("/api", get(users))
            .route("/api/", get(users))
            .route("/api/1.4", get(users))
            .route("/api/1.4/", get(users))
            .fallback(|| async { refuse(StatusCode::NOT_FOUND, "This version of the API does not exist.") })
            .with_state(api);
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!("the built-in Random User API ended: {error}");
            }
        });
        Ok(Self { address, task })
    }

    /// The address to fetch from.
    pub fn url(&self) -> String {
        format!("http://{}/api/", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Debug, Default, Deserialize)]
struct Asked {
    results: Option<String>,
    page: Option<String>,
    seed: Option<String>,
    gender: Option<String>,
    nat: Option<String>,
    inc: Option<String>,
    exc: Option<String>,
    noinfo: Option<String>,
    format: Option<String>,
}

async fn users(State(api): State<Arc<Api>>, Query(asked): Query<Asked>) -> Response {
    tokio::time::sleep(api.options.latency).await;
    if api.options.fail > 0.0 && rand::rng().random_bool(api.options.fail.min(1.0)) {
        return refuse(StatusCode::SERVICE_UNAVAILABLE, "Service unavailable.");
    }
    if asked.format.as_deref().is_some_and(|format| !matches!(format, "json" | "pretty" | "PrettyJSON")) {
        return refuse(StatusCode::BAD_REQUEST, "The built-in API answers in JSON only.");
    }
    // What is out of range is 1, without a word.
    let number = |text: &Option<String>| text.as_ref().and_then(|text| text.parse::<u32>().ok());
    let results = number(&asked.results).filter(|n| (1..=RESULTS_MAX).contains(n)).unwrap_or(1);
    let page = number(&asked.page).filter(|n| *n <= PAGE_MAX).unwrap_or(1);
    if !api.count(results.into()) {
        return refuse(
            StatusCode::TOO_MANY_REQUESTS,
            "Whoa, ease up there cowboy. You've requested too many users recently. Help us keep this service free \
             and spare some bandwidth for other users please :)",
        );
    }
    let seed = asked.seed.clone().unwrap_or_else(|| format!("{:016x}", rand::rng().random::<u64>()));
    // With a seed the gender is the seed's.
    let gender = asked.gender.as_deref().filter(|_| asked.seed.is_none());
    let gender = gender.filter(|gender| matches!(*gender, "female" | "male"));
    let mut people = People::new(&seed, page, gender, nations(asked.nat.as_deref()), Utc::now());
    let list: Vec<Value> = (0..results).map(|_| chosen(people.next_user(), &asked)).collect();
    let body = if asked.noinfo.is_some() {
        json!({"results": list})
    } else {
        let info = json!({"seed": seed, "results": results, "page": page, "version": VERSION});
        json!({"results": list, "info": info})
    };
    ([(header::CONTENT_TYPE, "application/json; charset=utf-8")], body.to_string()).into_response()
}

impl Api {
    /// Whether so many more users are within the limit.
    fn count(&self, users: u64) -> bool {
        let mut served = self.served.lock();
        if served.0.elapsed() >= LIMIT_WINDOW {
            *served = (Instant::now(), 0);
        }
        served.1 += users;
        served.1 <= self.options.limit
    }
}

/// The nationalities asked for; an unknown one among them makes it all of them.
fn nations(asked: Option<&str>) -> Vec<&'static super::people::Nation> {
    let all = || NATIONS.iter().collect();
    let Some(asked) = asked else { return all() };
    let found: Option<Vec<_>> = asked
        .split(',')
        .map(|code| NATIONS.iter().find(|nation| nation.code.eq_ignore_ascii_case(code.trim())))
        .collect();
    found.unwrap_or_else(all)
}

/// The user with the fields of `inc`, without those of `exc`.
fn chosen(user: Value, asked: &Asked) -> Value {
    let Value::Object(fields) = user else { return user };
    let listed = |list: &Option<String>, name: &str| {
        list.as_ref().map(|list| list.split(',').any(|field| field.trim() == name))
    };
    let kept: Map<String, Value> = fields
        .into_iter()
        .filter(|(name, _)| listed(&asked.inc, name) != Some(false) && listed(&asked.exc, name) != Some(true))
        .collect();
    Value::Object(kept)
}

fn refuse(status: StatusCode, message: &str) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], json!({"error": message}).to_string())
        .into_response()
}
