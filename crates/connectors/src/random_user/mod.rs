//! The Random User API, built in: the shape and the rules of randomuser.me, so that a pipeline
//! can be tried without a network. The users are our own inventions.
//!
//! Source of the rules: the API's own generator, version 1.4.

mod people;
mod serve;

pub use serve::{Options, Server};
