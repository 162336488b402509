//! What a flow writes to: messages to a topic or a stream of text, rows to a table.
//! Writing the same output twice leaves the same rows behind.

use arrow::array::RecordBatch;
use async_trait::async_trait;

use crate::{Reason, Records, Result};

/// Rows for a table.
pub struct Rows<'a> {
    /// The columns, by name those of the table.
    pub batch: &'a RecordBatch,
    /// For each row its write time in microseconds since 1970: of two values for the same
    /// cell the one with the greater write time stays.
    pub write_times: &'a [i64],
}

/// What a sink did with what it was given.
#[derive(Debug, Default, PartialEq)]
pub struct Written {
    /// Rows or messages that were taken.
    pub written: u64,
    /// Rows that can never be written, by index, with the reason and a detail for people.
    pub refused: Vec<(u32, Reason, String)>,
}

/// Takes messages: key, value, headers, timestamp.
#[async_trait]
pub trait MessageSink: Send {
    /// Makes what is missing (a topic) and compares what is there.
    async fn prepare(&mut self) -> Result<()>;

    /// Returns when every message is durable or refused.
    async fn write(&mut self, messages: &Records) -> Result<Written>;
}

/// Takes rows of a table.
#[async_trait]
pub trait RowSink: Send {
    /// Makes what is missing (a keyspace, a table) and compares what is there.
    async fn prepare(&mut self) -> Result<()>;

    /// Returns when every row is taken or refused. Those that are taken are durable after the next
    /// `flush`, if not before.
    async fn write(&mut self, rows: &Rows<'_>) -> Result<Written>;

    /// Returns when every row that was taken is durable. After an error it can be tried again.
    async fn flush(&mut self) -> Result<()>;
}

/// What a flow writes to, by what it takes.
pub enum Sink {
    /// The query's rows go out as JSON messages.
    Messages(Box<dyn MessageSink>),
    /// The query's rows go out as rows.
    Rows(Box<dyn RowSink>),
}

impl Sink {
    /// Makes what is missing and compares what is there.
    pub async fn prepare(&mut self) -> Result<()> {
        match self {
            Self::Messages(sink) => sink.prepare().await,
            Self::Rows(sink) => sink.prepare().await,
        }
    }

    /// Returns when everything that was taken is durable.
    pub async fn flush(&mut self) -> Result<()> {
        match self {
            Self::Messages(_) => Ok(()),
            Self::Rows(sink) => sink.flush().await,
        }
    }
}
