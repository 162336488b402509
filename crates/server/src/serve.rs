//! One address, everything that is served on it, and its end.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use millstream_core::{Error, Result};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::access::{self, Access, Guard};
use crate::house::House;
use crate::{api, assets, metrics, page};

/// The largest body that is accepted.
const BODY_BYTES_MAX: usize = 64 << 10;
/// How long open answers may take when we are asked to stop.
const STOP_WITHIN: std::time::Duration = std::time::Duration::from_secs(2);

/// What every handler has.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) house: Arc<House>,
    pub(crate) guard: Arc<Guard>,
    /// Set when the server is to end: event streams close.
    pub(crate) stop: CancellationToken,
}

/// A server at work.
pub struct Server {
    address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Server {
    /// Serves `house` on `listen`.
    pub async fn start(listen: SocketAddr, access: Access, house: House) -> Result<Self> {
        access.check(listen)?;
        let listener = TcpListener::bind(listen).await.map_err(|e| {
            Error::user(format!("cannot serve the page on {listen}: {e}"))
                .help("--listen takes another address, like 127.0.0.1:7071; port 0 is any free one")
        })?;
        let address = listener.local_addr().map_err(|e| Error::ours(format!("no address: {e}")))?;
        let stop = CancellationToken::new();
        let app =
            App { house: Arc::new(house), guard: Arc::new(Guard::new(access, address)), stop: stop.clone() };
        // Whoever asks is known by address.
        let service = router(app).into_make_service_with_connect_info::<SocketAddr>();
        let ended = stop.clone();
        let task = tokio::spawn(async move {
            let serving = axum::serve(listener, service).with_graceful_shutdown(ended.cancelled_owned());
            if let Err(error) = serving.await {
                tracing::error!("the page is served no longer: {error}");
            }
        });
        Ok(Self { address, stop, task })
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it; who does not stop reading is left.
    pub async fn stop(self) {
        self.stop.cancel();
        let abort = self.task.abort_handle();
        if tokio::time::timeout(STOP_WITHIN, self.task).await.is_err() {
            abort.abort();
        }
    }
}

fn router(app: App) -> Router {
    let open = Router::new().merge(metrics::health()).merge(assets::router());
    let mut guarded = Router::new().merge(api::router()).merge(metrics::router());
    if app.house.worker.is_none() {
        guarded = guarded.merge(page::router());
    }
    let guarded = guarded.layer(middleware::from_fn_with_state(app.clone(), access::guard));
    open.merge(guarded)
        .fallback(page::not_found)
        .method_not_allowed_fallback(api::method_not_allowed)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn(access::headers))
        .with_state(app)
}
