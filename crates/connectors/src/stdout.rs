//! Standard output as a sink: a JSON object a line, for other programs to read. What was written
//! cannot be taken back, so a run that is repeated repeats its lines.

use std::io::{self, Write};

use async_trait::async_trait;
use millstream_core::{
    Error, MessageSink, Records, Result, Scope, Sink, SinkKind, SinkPlan, Written, settings,
};
use schemars::{JsonSchema, Schema, schema_for};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::task::block_in_place;

/// Lines on standard output, each row one JSON object.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StdoutSettings {
    /// What is written: `jsonl`, one JSON object a line.
    pub stdout: Format,
}

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One JSON object a line.
    Jsonl,
}

/// The kind `stdout`.
#[derive(Debug, Clone, Copy)]
pub struct StdoutKind;

#[async_trait]
impl SinkKind for StdoutKind {
    fn name(&self) -> &'static str {
        "stdout"
    }

    fn settings(&self) -> Schema {
        schema_for!(StdoutSettings)
    }

    fn plan(&self, settings: &Value) -> Result<SinkPlan> {
        settings::read::<StdoutSettings>(settings)?;
        Ok(SinkPlan::Lines("standard output".to_owned()))
    }

    async fn open(&self, _: &Value, _: &Scope) -> Result<Sink> {
        Ok(Sink::Messages(Box::new(Stdout)))
    }
}

struct Stdout;

#[async_trait]
impl MessageSink for Stdout {
    async fn prepare(&mut self) -> Result<()> {
        Ok(())
    }

    async fn write(&mut self, messages: &Records) -> Result<Written> {
        block_in_place(|| write_lines(&mut io::stdout().lock(), messages)).map_err(|error| {
            let gone = error.kind() == io::ErrorKind::BrokenPipe;
            let help = if gone { "its reader has ended" } else { "is there room where it goes?" };
            Error::lasting(format!("cannot write to standard output: {error}")).help(help)
        })?;
        Ok(Written { written: messages.len() as u64, refused: Vec::new() })
    }
}

fn write_lines(out: &mut impl Write, messages: &Records) -> io::Result<()> {
    let mut lines = Vec::with_capacity(messages.size_bytes() + messages.len());
    for message in messages.iter() {
        lines.extend_from_slice(message.value.unwrap_or(b"null"));
        lines.push(b'\n');
    }
    out.write_all(&lines)?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use millstream_core::Record;

    use super::*;

    #[test]
    fn each_message_is_a_line() {
        let mut messages = Records::default();
        messages.push(Record::of_value(b"{\"a\":1}", 0));
        messages.push(Record::of_value(b"{}", 1));
        let mut out = Vec::new();
        write_lines(&mut out, &messages).expect("writes");
        assert_eq!(out, b"{\"a\":1}\n{}\n");
    }
}
