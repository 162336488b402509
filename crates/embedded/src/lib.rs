//! The broker and the table store that live inside our process: what a laptop needs so that a
//! pipeline runs with nothing installed. Both keep their state in one directory.
//!
//! [`Broker`] speaks Kafka's wire protocol on loopback, so that the one Kafka connector, and any
//! other client, serves it as it serves a real broker. [`TableStore`] keeps tables with
//! Cassandra's rule of which value is newer. [`History`] remembers the runs of a scheduler.

mod broker;
mod history;
mod syncer;
mod table;

pub use broker::Broker;
pub use history::History;
pub use table::{Scan, TableKind, TableStore};
