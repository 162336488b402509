//! What the page needs besides HTML: one sheet of style, one script, one icon, all in the binary. Their
//! addresses carry the version, so that browsers keep them.

use axum::Router;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;

use crate::serve::App;

const STYLE: &str = include_str!("assets/page.css");
const SCRIPT: &str = include_str!("assets/page.js");
const ICON: &str = include_str!("assets/icon.svg");

/// The address of a file under `/assets`, which changes with the version.
pub(crate) fn address(name: &str) -> String {
    format!("/assets/{name}?v={}", env!("CARGO_PKG_VERSION"))
}

pub(crate) fn router() -> Router<App> {
    let file = |kind: &'static str, text: &'static str| {
        get(async move || {
            let headers = [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "max-age=3600")];
            (headers, text).into_response()
        })
    };
    Router::new()
        .route("/assets/page.css", file("text/css; charset=utf-8", STYLE))
        .route("/assets/page.js", file("text/javascript; charset=utf-8", SCRIPT))
        .route("/assets/icon.svg", file("image/svg+xml", ICON))
}
