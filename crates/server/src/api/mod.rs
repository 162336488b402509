//! `/api/v1`: everything that the page and the command line can do, for programs. The list of operations is
//! the router and the OpenAPI document at once.

mod answer;
mod model;
mod openapi;
mod operations;

pub(crate) use answer::{Problem, method_not_allowed};
pub(crate) use model::RunModel;
pub use openapi::openapi;
pub(crate) use operations::router;
