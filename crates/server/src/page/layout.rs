//! What all pages have around them.

use maud::{DOCTYPE, Markup, html};
use millstream_engine::{PipelineView, Standing};
use serde_json::json;

use crate::api::Problem;
use crate::assets;

/// The pages of a pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tab {
    Overview,
    Runs,
    Records,
    Table,
    DeadLetters,
    Charts,
}

impl Tab {
    const ALL: [Self; 6] =
        [Self::Overview, Self::Runs, Self::Records, Self::Table, Self::DeadLetters, Self::Charts];

    fn name(self) -> &'static str {
        match self {
            Self::Overview => "Overview",
            Self::Runs => "Runs",
            Self::Records => "Records",
            Self::Table => "Table",
            Self::DeadLetters => "Dead letters",
            Self::Charts => "Charts",
        }
    }

    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Overview => "",
            Self::Runs => "/runs",
            Self::Records => "/records",
            Self::Table => "/table",
            Self::DeadLetters => "/dead-letters",
            Self::Charts => "/charts",
        }
    }
}

/// The address of a pipeline's page. Names need no escaping: `check` lets nothing else through.
pub(super) fn address(pipeline: &str, path: &str) -> String {
    format!("/pipelines/{pipeline}{path}")
}

/// A whole document.
pub(super) fn document(title: &str, body: Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · Millstream" }
                link rel="icon" href=(assets::address("icon.svg"));
                link rel="stylesheet" href=(assets::address("page.css"));
                script src=(assets::address("page.js")) defer {}
            }
            body { (body) }
        }
    }
}

fn brand() -> Markup {
    html! {
        a.brand href="/" aria-label="Millstream, all pipelines" {
            svg viewBox="0 0 24 24" aria-hidden="true" {
                path d="M3 8c3 0 3-2 6-2s3 2 6 2 3-2 6-2M3 13c3 0 3-2 6-2s3 2 6 2 3-2 6-2M3 18c3 0 3-2 6-2s3 2 6 2 3-2 6-2" {}
            }
            span { "Millstream" }
        }
    }
}

/// A page that belongs to no pipeline.
pub(super) fn plain(title: &str, content: Markup) -> Markup {
    document(
        title,
        html! {
            header.top { (brand()) }
            main #content { (content) }
        },
    )
}

/// A page of a pipeline. Parts with `data-live` are brought up to date while it is open; `query` says which.
pub(super) fn page(view: &PipelineView, tab: Tab, query: &str, content: Markup) -> Markup {
    let events =
        format!("{}?tab={}{query}", address(&view.name, "/events"), tab.path().trim_start_matches('/'));
    document(
        &view.name,
        html! {
            a.skip href="#content" { "Skip to content" }
            header.top {
                (brand())
                nav.tabs aria-label="Pages of the pipeline" {
                    @for each in Tab::ALL {
                        a href=(address(&view.name, each.path())) aria-current=[(each == tab).then_some("page")] {
                            (each.name())
                        }
                    }
                }
            }
            main #content data-events=(events) {
                h1 { (view.name) }
                p.connection hidden role="status" data-connection {
                    "The connection is lost; what stands here may be old. Trying again …"
                }
                (sentence(view))
                (content)
            }
            footer {
                span { "Millstream " (env!("CARGO_PKG_VERSION")) }
                a href="/api/openapi.json" { "API" }
                a href="/metrics" { "Metrics" }
            }
        },
    )
}

/// How the pipeline stands.
pub(super) fn sentence(view: &PipelineView) -> Markup {
    let class = match view.standing {
        Standing::Ready | Standing::UpToDate => "calm",
        Standing::Working => "good",
        Standing::CatchingUp => "busy",
        Standing::Stopped => "bad",
    };
    html! {
        p.sentence.(class) #sentence data-live role="status" {
            span.dot aria-hidden="true" {}
            span { (view.sentence) }
        }
    }
}

/// Something that could not be done.
pub(super) fn problem(problem: &Problem) -> Markup {
    let detail = json!(problem)["detail"].as_str().map(str::to_owned);
    plain(
        problem.title(),
        html! {
            h1 { (problem.status().as_u16()) " · " (problem.title()) }
            @if let Some(detail) = detail { p { (detail) } }
            p { a.button href="/" { "To the pipelines" } }
        },
    )
}

/// Where a token is asked for.
pub(super) fn sign_in(wrong: Option<&str>) -> Markup {
    plain(
        "Sign in",
        html! {
            section.card.narrow {
                h1 { "Sign in" }
                p { "This page can be reached from other machines, so it asks for the token that Millstream was started with." }
                @if let Some(wrong) = wrong { p.error role="alert" { (wrong) } }
                form method="post" action="/sign-in" {
                    label for="token" { "Token" }
                    input #token type="password" name="token" autocomplete="current-password" required autofocus;
                    button.primary type="submit" { "Sign in" }
                }
            }
        },
    )
}

/// A form that is one button.
pub(super) fn action(path: &str, label: &str, class: &str, key: Option<&str>) -> Markup {
    html! {
        form method="post" action=(path) {
            button.(class) type="submit" accesskey=[key] { (label) }
        }
    }
}

/// Nothing.
pub(super) fn empty(text: &str) -> Markup {
    html! { p.empty { (text) } }
}
