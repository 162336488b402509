//! Reads a pipeline, binds it, runs its flows, reports.
//!
//! The way of a file: [`Document`] (text to tree, every value with its place), [`Pipeline`]
//! (values put in, the shape checked against the connectors' settings), [`Plan`] (sources,
//! queries and sinks checked against each other), [`run`] (the flows at work), [`Supervisor`] (for good,
//! by a schedule).
//!
//! The engine never names a connector: it knows the [`Registry`] that the binary hands it.

mod decode;
mod diagnostic;
mod document;
mod flow;
mod infer;
mod keys;
mod latency;
mod pipeline;
mod plan;
mod registry;
mod remote;
mod replay;
mod retry;
mod run;
mod schedule;
mod scheduler;
mod shape;
mod supervisor;
mod trial;
mod values;
mod view;
mod words;

pub use diagnostic::{Diagnostic, Report, Severity};
pub use document::Document;
pub use flow::FlowState;
pub use infer::{Inferred, InferredColumn, guess_records, infer};
pub use latency::{BOUNDS_MS, Latency};
pub use pipeline::{Component, Flow, Pipeline, Runner, Test};
pub use plan::{Origin, Plan, PlannedFlow, Target};
pub use registry::{Registry, Service};
pub use replay::replay;
pub use run::{Backends, FlowSummary, Observer, RunOptions, Status, Summary, Until, run, summaries};
pub use schedule::Schedule;
pub use scheduler::{RunSettings, rfc3339};
pub use supervisor::Supervisor;
pub use trial::{Preview, TestResult, preview, test};
pub use values::{Secrets, Values};
pub use view::{FlowStanding, FlowView, PipelineView, PlaceView, Sample, Standing};
pub use words::{grouped, rounded};
