//! The HTTP API and the web page over the engine.
//!
//! A [`House`] holds the pipelines that are shown; [`Server`] serves it on one address: the page, `/api`
//! with its OpenAPI document, `/metrics`, `/healthz` and `/readyz`. What is asked of a pipeline's data goes
//! through its [`Desk`], which the binary implements. Nothing here talks to a broker or a database.

mod access;
mod api;
mod assets;
mod desk;
mod house;
mod metrics;
mod page;
mod serve;

pub use access::{Access, shown};
pub use api::openapi;
pub use desk::{
    Desk, FoundLetter, FoundLetters, FoundRecord, LetterFilter, ROWS_SEARCHED_MAX, Replayed, Rows,
};
pub use house::{Broken, House, Room, Worker};
pub use serve::Server;
