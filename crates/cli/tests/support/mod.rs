//! What the tests of the binary share: running it, and an API that serves what it is told.

#![allow(dead_code, reason = "each test uses its part of it")]

pub(crate) mod numbers;

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Query, State};
use axum::routing::get;
use serde::Deserialize;

/// The binary, in a folder of its own, with nothing of our environment that it would heed.
pub(crate) fn millstream(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millstream"));
    command.current_dir(folder).stdin(Stdio::null());
    for name in ["KAFKA_BROKERS", "CASSANDRA_HOSTS", "RANDOM_USER_API", "MILLSTREAM_EMBEDDED"] {
        command.env_remove(name);
    }
    command.env("USER", "test").env("TMPDIR", folder);
    command
}

/// Runs to the end.
pub(crate) fn output(command: &mut Command) -> Output {
    command.output().expect("the binary runs")
}

/// Runs to an end that must be a good one; standard output and standard error.
pub(crate) fn done(command: &mut Command) -> (String, String) {
    let ended = output(command);
    assert_eq!(ended.status.code(), Some(0), "{command:?}: {}", stderr(&ended));
    (stdout(&ended), stderr(&ended))
}

/// Runs in the background.
pub(crate) fn spawn(command: &mut Command) -> Child {
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary runs")
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

/// The run's summary, from standard output.
pub(crate) fn summary(output: &Output) -> serde_json::Value {
    let text = stdout(output);
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}\n{}", stderr(output)))
}

/// Waits for something that must come.
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + Duration::from_secs(120);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < until, "{what} does not come");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// An API that answers page after page.
pub(crate) struct Api {
    pub(crate) url: String,
    runtime: Option<tokio::runtime::Runtime>,
}

#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    page: usize,
}

type Pages = Arc<dyn Fn(usize) -> String + Send + Sync>;

impl Api {
    /// `page` gives the body of the answer to the n-th request, or to `?page=n`, whatever its path is.
    pub(crate) fn start(page: impl Fn(usize) -> String + Send + Sync + 'static) -> Self {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let count = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let pages: Pages = Arc::new(move |asked| {
            let next = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            page(if asked > 0 { asked - 1 } else { next })
        });
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a port");
        let url = format!("http://{}/", listener.local_addr().expect("an address"));
        let answer =
            |State(pages): State<Pages>, Query(asked): Query<Asked>| async move { pages(asked.page) };
        let router = Router::new().route("/", get(answer)).route("/{*path}", get(answer)).with_state(pages);
        runtime.spawn(async move { axum::serve(listener, router).await });
        Self { url, runtime: Some(runtime) }
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
