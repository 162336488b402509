//! `tap`: records as they come.

use millstream_connectors::kafka::follow;
use millstream_core::{Error, Records, SinkPlan};
use millstream_engine::{Plan, PlannedFlow, preview};
use serde_json::{Value, json};
use tokio::task::block_in_place;

use super::attached::Attached;
use crate::args::FileArgs;
use crate::load::load;
use crate::output::sayln;
use crate::stop::Stop;
use crate::{Outcome, output};

pub(super) async fn run(args: &FileArgs, place: &str, count: Option<usize>) -> Outcome {
    let mut loaded = load(args)?;
    let (topic, through) = find(&loaded.plan, place)?;
    let stop = Stop::listen();
    let attached = Attached::to_running(&mut loaded).await?;
    let flow = through.and_then(|name| loaded.plan.flow(&name).cloned());
    let mut left = count.unwrap_or(usize::MAX);
    let found = block_in_place(|| {
        follow(&attached.connection, &topic, |records| {
            let mut lines = match &flow {
                None => records.iter().map(|record| described(&record)).collect(),
                Some(flow) => rows(flow, &records)?,
            };
            lines.truncate(left);
            left -= lines.len();
            if !lines.is_empty() {
                output::results(&format!("{}\n", lines.join("\n")))?;
            }
            Ok(left > 0 && !stop.token.is_cancelled())
        })
    });
    attached.detach().await?;
    match loaded.hide(found)? {
        true => Ok(()),
        false => {
            Err(Error::user(format!("there is no topic {topic} yet")).help("run the pipeline first").into())
        }
    }
}

/// The topic that a place is at, and the flow whose rows are meant.
fn find(plan: &Plan, place: &str) -> Outcome<(String, Option<String>)> {
    let no_records = |flow: &PlannedFlow, side: &str| {
        Error::user(format!("{} has no records of its own at {side}", flow.name))
            .help("tap the topic that it reads or writes")
    };
    if let Some((name, side)) = place.rsplit_once('.')
        && let Some(flow) = plan.flow(name)
    {
        return match (side, &flow.origin.plan.topic, &flow.target.plan) {
            ("in", Some(topic), _) => Ok((topic.clone(), None)),
            ("out", _, SinkPlan::Topic { topic, .. }) => Ok((topic.clone(), None)),
            ("out", Some(topic), _) => Ok((topic.clone(), Some(flow.name.clone()))),
            _ => Err(no_records(flow, side).into()),
        };
    }
    let mut known: Vec<String> = Vec::new();
    for flow in &plan.flows {
        known.push(format!("{}.in", flow.name));
        known.push(format!("{}.out", flow.name));
        known.extend(flow.origin.plan.topic.clone());
        if let SinkPlan::Topic { topic, .. } = &flow.target.plan {
            known.push(topic.clone());
        }
        known.push(flow.dead_letter_topic.clone());
    }
    known.sort();
    known.dedup();
    match known.iter().any(|known| known == place) && !place.ends_with(".in") && !place.ends_with(".out") {
        true => Ok((place.to_owned(), None)),
        false => {
            let error = Error::user(format!("`{place}` is no place in this pipeline"));
            Err(error.help(format!("one of {}", known.join(", "))).into())
        }
    }
}

/// A message with everything that it carries; bytes that are no JSON as text.
fn described(record: &millstream_core::Record<'_>) -> String {
    let text = |bytes: &[u8]| Value::String(String::from_utf8_lossy(bytes).into_owned());
    let value = record
        .value
        .map_or(Value::Null, |value| serde_json::from_slice(value).unwrap_or_else(|_| text(value)));
    let mut line = json!({
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": record.timestamp,
        "key": record.key.map(text),
    });
    if !record.headers.is_empty() {
        let headers = record.headers.iter();
        line["headers"] = headers.map(|(name, value)| (name.clone(), value.as_deref().map(text))).collect();
    }
    line["value"] = value;
    line.to_string()
}

/// What a flow makes of records; the dead are said aside.
fn rows(flow: &PlannedFlow, records: &Records) -> millstream_core::Result<Vec<String>> {
    let values: Vec<_> = records.iter().map(|record| record.value.unwrap_or_default().to_vec()).collect();
    let result = preview(flow, &values)?;
    for (_, reason, detail) in &result.dead {
        sayln!("dead: {reason}: {detail}");
    }
    Ok(result.rows.into_iter().map(|(_, row)| Value::Object(row).to_string()).collect())
}
