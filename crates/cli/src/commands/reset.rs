//! `reset`: a flow reads again what is there, or passes over it.

use chrono::{DateTime, NaiveDate, NaiveTime};
use millstream_connectors::kafka::{Position, TopicSourceSettings, reset};
use millstream_core::{Error, RunValues, settings};
use millstream_engine::{PlannedFlow, Runner};
use tokio::task::block_in_place;

use super::attached::Attached;
use crate::Outcome;
use crate::args::FileArgs;
use crate::load::{Loaded, load};
use crate::output::sayln;
use crate::state::live_owner;

pub(super) async fn run(args: &FileArgs, flow: &str, to: &str) -> Outcome {
    let mut loaded = load(args)?;
    let flow = loaded.plan.find_flow(flow)?.clone();
    // Whether somebody reads a topic is known to its broker; who has a cursor in hand is known to nobody.
    if let (None, Some(owner)) = (&flow.origin.plan.topic, live_owner(&loaded.state)) {
        let place = loaded.state.display();
        return Err(Error::user(format!(
            "process {} is using {place}, and may have {} at work",
            owner.pid, flow.name
        ))
        .help("stop it first: it would go on from where it is")
        .into());
    }
    if flow.runner == Runner::Spark {
        let folder = format!("{}.{}", loaded.plan.pipeline.name, flow.name);
        return Err(Error::user(format!("{} runs on Spark, which keeps how far it is in its checkpoint", flow.name))
            .help(format!(
                "stop it and remove {folder} in `spark.checkpoints`, or name another folder there: it begins at the \
                 earliest message then"
            ))
            .into());
    }
    let attached = Attached::to(&mut loaded).await?;
    let done = match flow.origin.plan.topic.clone() {
        Some(topic) => reset_group(&loaded, &attached, &flow, &topic, to),
        None => reset_cursor(&loaded, &flow, to).await,
    };
    attached.detach().await?;
    done
}

fn reset_group(loaded: &Loaded, attached: &Attached, flow: &PlannedFlow, topic: &str, to: &str) -> Outcome {
    let position = position(to)?;
    let scope = loaded.plan.pipeline.scope(&flow.name, &RunValues::default(), None);
    let settings: TopicSourceSettings = settings::read(&flow.origin.component.settings)?;
    let group = settings.group(&scope);
    let placed = block_in_place(|| reset(&attached.connection, topic, &group, position));
    for (partition, offset) in loaded.hide(placed)? {
        sayln!("{}: {topic}/{partition} goes on at offset {offset}", flow.name);
    }
    Ok(())
}

async fn reset_cursor(loaded: &Loaded, flow: &PlannedFlow, to: &str) -> Outcome {
    let cursors = loaded.registry.cursors.clone().filter(|_| flow.origin.plan.has_cursor);
    let Some(cursors) = cursors else {
        return Err(Error::user(format!("{} reads everything in every run", flow.name))
            .help("there is nothing to reset")
            .into());
    };
    let scope = loaded.plan.pipeline.scope(&flow.name, &RunValues::default(), None);
    let done = match to {
        "earliest" => cursors.clear(&scope).await,
        "latest" => Err(Error::user("an API does not say what its latest value is").help("name the value")),
        value => cursors.save(&scope, value).await,
    };
    loaded.hide(done)?;
    sayln!("{}: the next run goes on from {to}", flow.name);
    Ok(())
}

fn position(text: &str) -> Outcome<Position> {
    let midnight = |date: NaiveDate| date.and_time(NaiveTime::MIN).and_utc().timestamp_millis();
    match text {
        "earliest" => Ok(Position::Earliest),
        "latest" => Ok(Position::Latest),
        _ => None
            .or_else(|| text.parse().ok().filter(|offset| *offset >= 0).map(Position::Offset))
            .or_else(|| Some(Position::Time(DateTime::parse_from_rfc3339(text).ok()?.timestamp_millis())))
            .or_else(|| Some(Position::Time(midnight(text.parse().ok()?))))
            .ok_or_else(|| {
                Error::user(format!("`{text}` is no place in a topic"))
                    .help("write earliest, latest, an offset, or a moment like 2026-01-01T00:00:00Z")
                    .into()
            }),
    }
}
