//! The example with a token, pages and a cursor against an API of its own: only what is new is
//! asked for, and a kill between the messages and the cursor repeats but never skips.

mod support;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use serde_json::json;
use support::{millstream, output, spawn, stderr, stdout, summary, wait_for};

const PAGE: usize = 10;

/// A shop's orders, newest first, ten a page.
#[derive(Default)]
struct Shop {
    /// By id: when it was last changed, in minutes of a day, and its state.
    orders: Mutex<BTreeMap<String, (usize, String)>>,
    /// The second page is never answered.
    is_stalled: AtomicBool,
    tokens: AtomicUsize,
    /// What was asked from, and the pages asked for.
    asked: Mutex<Vec<(String, String)>>,
}

fn at(minute: usize) -> String {
    format!("2024-05-01T{:02}:{:02}:00Z", minute / 60, minute % 60)
}

impl Shop {
    fn change(&self, id: usize, minute: usize, state: &str) {
        self.orders.lock().expect("not poisoned").insert(format!("o{id:03}"), (minute, state.to_owned()));
    }

    fn asked(&self) -> Vec<(String, String)> {
        std::mem::take(&mut *self.asked.lock().expect("not poisoned"))
    }

    /// What the table is to hold.
    fn states(&self) -> Vec<String> {
        let orders = self.orders.lock().expect("not poisoned");
        orders.iter().map(|(id, (_, state))| format!("{id},{}", state.to_uppercase())).collect()
    }
}

async fn orders(
    State(shop): State<Arc<Shop>>,
    headers: HeaderMap,
    Query(query): Query<HashMap<String, String>>,
) -> Result<String, StatusCode> {
    // Each token is good for the requests until the next one is given out.
    let token = format!("Bearer t{}", shop.tokens.load(Ordering::Relaxed));
    if headers.get("authorization").and_then(|value| value.to_str().ok()) != Some(&token) {
        return Err(StatusCode::UNAUTHORIZED);
    }
    let page = query.get("page_token").cloned().unwrap_or_default();
    let since = query["updated_after"].clone();
    shop.asked.lock().expect("not poisoned").push((since.clone(), page.clone()));
    if shop.is_stalled.load(Ordering::Relaxed) && !page.is_empty() {
        std::future::pending::<()>().await;
    }
    let orders = shop.orders.lock().expect("not poisoned");
    let mut found: Vec<_> = orders.iter().filter(|(_, (minute, _))| at(*minute) > since).collect();
    found.sort_by_key(|(_, (minute, _))| std::cmp::Reverse(*minute));
    let from: usize = page.parse().unwrap_or(0);
    let next = (from + PAGE < found.len()).then(|| (from + PAGE).to_string());
    let data = found.into_iter().skip(from).take(PAGE).map(|(id, (minute, state))| {
        json!({"id": id, "updated_at": at(*minute), "state": state, "total": "1.5", "customer": {"name": "ü"}})
    });
    Ok(json!({"data": data.collect::<Vec<_>>(), "meta": {"next": next}}).to_string())
}

async fn token(State(shop): State<Arc<Shop>>) -> String {
    let number = shop.tokens.fetch_add(1, Ordering::Relaxed) + 1;
    json!({"access_token": format!("t{number}"), "expires_in": 3600}).to_string()
}

fn serve(shop: &Arc<Shop>) -> (String, tokio::runtime::Runtime) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let router =
        Router::new().route("/orders", get(orders)).route("/token", post(token)).with_state(shop.clone());
    runtime.spawn(async move { axum::serve(listener, router).await });
    (url, runtime)
}

fn pipeline(folder: &Path, url: &str, arguments: &[&str]) -> Command {
    std::fs::write(folder.join("orders.yaml"), include_str!("../../../examples/orders.yaml"))
        .expect("writes");
    let mut command = millstream(folder);
    command.args(arguments).env("ORDERS_API", url).env("KAFKA_BROKERS", "embedded:0");
    command
}

fn table(folder: &Path, url: &str) -> Vec<String> {
    let sql = "SELECT id, state FROM orders ORDER BY id";
    let asked = output(&mut pipeline(folder, url, &["query", "orders.yaml", sql, "--format", "csv"]));
    stdout(&asked).lines().skip(1).map(str::to_owned).collect()
}

#[test]
fn only_what_is_new_is_asked_for_and_a_kill_skips_nothing() {
    let shop = Arc::new(Shop::default());
    (0..25).for_each(|id| shop.change(id, id * 10, "new"));
    let (url, _runtime) = serve(&shop);
    let folder = tempfile::tempdir().expect("a folder");

    // Killed after the first page, with the newest orders, is in the topic, and the second one is asked for.
    shop.is_stalled.store(true, Ordering::Relaxed);
    let mut killed = spawn(&mut pipeline(folder.path(), &url, &["run", "orders.yaml"]));
    wait_for("the first page", || (table(folder.path(), &url).len() >= PAGE).then_some(()));
    let asked = || shop.asked.lock().expect("not poisoned").len();
    wait_for("the second page to be asked for", || (asked() >= 2).then_some(()));
    killed.kill().expect("it is alive");
    killed.wait().expect("it ends");
    shop.is_stalled.store(false, Ordering::Relaxed);
    let initial = "2024-01-01T00:00:00Z".to_owned();
    assert_eq!(shop.asked(), [(initial.clone(), String::new()), (initial.clone(), "10".into())]);

    let run = output(&mut pipeline(folder.path(), &url, &["run", "orders.yaml"]));
    assert_eq!(run.status.code(), Some(0), "{}", stderr(&run));
    assert_eq!(summary(&run)["flows"]["fetch"]["read"], 25);
    let pages = ["", "10", "20"].map(|page| (initial.clone(), page.to_owned()));
    assert_eq!(shop.asked(), pages);
    assert_eq!(table(folder.path(), &url), shop.states());

    // From now on from the newest one, less the overlap.
    let run = output(&mut pipeline(folder.path(), &url, &["run", "orders.yaml"]));
    assert_eq!(summary(&run)["flows"]["fetch"]["read"], 1, "{}", stderr(&run));
    assert_eq!(shop.asked(), [("2024-05-01T03:55:00Z".into(), String::new())]);
    shop.change(3, 300, "paid");
    shop.change(25, 301, "new");
    let run = output(&mut pipeline(folder.path(), &url, &["run", "orders.yaml"]));
    assert_eq!(summary(&run)["flows"]["fetch"]["read"], 3, "{}", stderr(&run));
    assert_eq!(table(folder.path(), &url), shop.states());

    // Told to begin earlier once, what is old covers nothing that is new.
    shop.asked();
    let since = ["run", "orders.yaml", "--since", "2024-05-01T00:00:00Z"];
    let run = output(&mut pipeline(folder.path(), &url, &since));
    assert_eq!(summary(&run)["flows"]["fetch"]["read"], 25, "{}", stderr(&run));
    assert_eq!(table(folder.path(), &url), shop.states());
    output(&mut pipeline(folder.path(), &url, &["run", "orders.yaml"]));
    assert_eq!(shop.asked().last().expect("asked").0, "2024-05-01T04:56:00Z");
}
