//! The web page: rendered here, brought up to date by server-sent events, usable without a script but for
//! that. It shows what the engine's views say and changes nothing but through forms.

mod charts;
mod layout;
mod letters;
mod live;
mod overview;
mod records;
mod runs;
mod table;
mod words;

use std::net::SocketAddr;

use axum::Router;
use axum::extract::{ConnectInfo, Form, State};
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use maud::Markup;
use serde::Deserialize;

use crate::access::{Given, set_cookie};
use crate::api::Problem;
use crate::house::Room;
use crate::serve::App;

pub(crate) use live::Rendered;

pub(crate) fn router() -> Router<App> {
    Router::new()
        .route("/", get(front))
        .route("/sign-in", get(sign_in).post(signed_in))
        .route("/pipelines/{pipeline}", get(overview::show))
        .route("/pipelines/{pipeline}/events", get(live::events))
        .route("/pipelines/{pipeline}/trigger", post(runs::trigger))
        .route("/pipelines/{pipeline}/pause", post(runs::pause))
        .route("/pipelines/{pipeline}/unpause", post(runs::unpause))
        .route("/pipelines/{pipeline}/runs", get(runs::list))
        .route("/pipelines/{pipeline}/runs/{run}", get(runs::show))
        .route("/pipelines/{pipeline}/records", get(records::show))
        .route("/pipelines/{pipeline}/table", get(table::show))
        .route("/pipelines/{pipeline}/dead-letters", get(letters::list))
        .route("/pipelines/{pipeline}/dead-letters/replay", post(letters::replay))
        .route("/pipelines/{pipeline}/dead-letters/purge", post(letters::purge))
        .route("/pipelines/{pipeline}/charts", get(charts::show))
}

/// What a page could not do, as a page.
pub(crate) struct Failed(Problem);

impl<E: Into<Problem>> From<E> for Failed {
    fn from(problem: E) -> Self {
        Self(problem.into())
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        (self.0.status(), Html(layout::problem(&self.0).into_string())).into_response()
    }
}

type Shown = Result<Html<String>, Failed>;

fn html(markup: Markup) -> Html<String> {
    Html(markup.into_string())
}

fn room<'a>(app: &'a App, name: &str) -> Result<&'a Room, Failed> {
    let room = app.house.room(name);
    Ok(room.ok_or_else(|| Problem::not_found(format!("There is no pipeline {name}.")))?)
}

/// Nothing is served under this path.
pub(crate) async fn not_found(uri: Uri) -> Response {
    let problem = Problem::not_found("There is nothing here.");
    match uri.path().starts_with("/api") {
        true => problem.into_response(),
        false => Failed(problem).into_response(),
    }
}

/// One pipeline is shown at once; of several there is a list.
async fn front(State(app): State<App>) -> Response {
    match (app.house.rooms.as_slice(), app.house.broken.as_slice()) {
        ([only], []) => {
            Redirect::to(&layout::address(&only.supervisor.plan().pipeline.name, "")).into_response()
        }
        _ => html(overview::list(&app.house)).into_response(),
    }
}

async fn sign_in() -> Html<String> {
    html(layout::sign_in(None))
}

#[derive(Deserialize)]
struct SignIn {
    token: String,
}

async fn signed_in(
    State(app): State<App>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Form(form): Form<SignIn>,
) -> Response {
    match app.guard.try_token(peer.ip(), Given::Token(form.token.trim())) {
        Ok(true) => {
            let cookie = HeaderValue::from_str(&set_cookie(form.token.trim()));
            let mut response = Redirect::to("/").into_response();
            if let Ok(cookie) = cookie {
                response.headers_mut().insert(header::SET_COOKIE, cookie);
            }
            response
        }
        Ok(false) => {
            let page = layout::sign_in(Some("That is not the token."));
            (StatusCode::UNAUTHORIZED, html(page)).into_response()
        }
        Err(problem) => Failed(problem).into_response(),
    }
}
