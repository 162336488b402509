//! The words of the system and the contracts between its parts; no I/O, no clock.
//!
//! Read in this order: [`Records`] is what a source hands on, [`Checkpoint`] says how far a
//! flow has come, [`Source`] and the two sinks ([`MessageSink`], [`RowSink`]) are what a
//! connector implements, [`Error`] says whose fault a failure is and whether a retry helps.

mod checkpoint;
mod connector;
pub mod cql;
mod cursors;
mod dead_letter;
mod error;
mod finding;
mod gauges;
mod records;
mod run;
mod runner;
pub mod settings;
mod sink;
mod source;
mod table;
mod write_time;

pub use checkpoint::{Checkpoint, Counts, Progress};
pub use connector::{RunValues, Scope, SinkKind, SinkPlan, SourceKind, SourcePlan};
pub use cursors::{Cursors, STATE_TOPIC};
pub use dead_letter::{Cut, DeadLetter, Marker, Reason, Settled};
pub use error::{Error, Fault, Result};
pub use finding::{Finding, Level};
pub use gauges::{ClientValues, Gauges, Values as GaugeValues};
pub use records::{Header, Origin, Record, Records};
pub use run::{LogLine, Run, RunHistory, RunState, Trigger};
pub use runner::{FlowRunner, RemoteFlow, RemoteRun, RemoteUntil};
pub use sink::{MessageSink, RowSink, Rows, Sink, Written};
pub use source::{Commit, Source};
pub use table::{Consistency, KeyspaceSettings, Nulls, TableConnection, TableSettings};
pub use write_time::{Arrivals, EachKeyLater, now_ms, write_time};
