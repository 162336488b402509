//! `dead-letters replay`: through the flow again, with the original timestamps.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use millstream_connectors::kafka::Connection;
use millstream_core::{Records, Result, RunValues, Settled, now_ms};
use millstream_engine::{Plan, Registry, RunOptions, Until};

use super::book::{Book, Found, Original, WHOLE, read_originals, settle};
use super::{topics, wanted};
use crate::args::{FileArgs, LetterFilter};
use crate::commands::attached::Attached;
use crate::load::load;
use crate::output::sayln;
use crate::stop::Stop;
use crate::{Failure, Outcome};

/// A batch has at most so many records or bytes.
const BATCH_RECORDS_MAX: usize = 8_192;
const BATCH_BYTES_MAX: usize = 4 << 20;

pub(super) async fn run(args: &FileArgs, filter: &LetterFilter, patience: Duration) -> Outcome {
    let mut loaded = load(args)?;
    let stop = Stop::listen();
    let attached = Attached::to(&mut loaded).await?;
    let options = RunOptions {
        flows: Vec::new(),
        until: Until::Drained,
        patience: Some(patience),
        stop: stop.token.clone(),
        clock: now_ms,
        values: RunValues::default(),
    };
    let replayed = replay(&loaded.plan, &loaded.registry, &attached.connection, filter, &options).await;
    let replayed = loaded.hide(replayed)?;
    attached.detach().await?;
    if let Some(code) = stop.code() {
        return Err(Failure::Code(code));
    }
    sayln!("{} dead letter(s) replayed, {} died again", replayed.done, replayed.again);
    if replayed.cut > 0 {
        sayln!("{} cannot be replayed: only their beginning was kept; purge them", replayed.cut);
    }
    Ok(())
}

/// What became of letters that were to be sent again.
#[derive(Debug, Default)]
pub(in crate::commands) struct Replayed {
    pub(in crate::commands) done: usize,
    pub(in crate::commands) again: usize,
    /// Only their beginning was kept.
    pub(in crate::commands) cut: usize,
}

/// Sends the letters that are meant through their flows, and marks those that got through. A stop in the
/// middle marks nothing: sending again changes nothing.
pub(in crate::commands) async fn replay(
    plan: &Plan,
    registry: &Registry,
    connection: &Connection,
    filter: &LetterFilter,
    options: &RunOptions,
) -> Result<Replayed> {
    let topics = topics(plan);
    let book = Book::read(connection, &topics)?;
    let mut flows: BTreeMap<&str, Vec<(&String, &Found)>> = BTreeMap::new();
    let (mut cut, mut sent) = (0, Vec::new());
    for (place, found) in wanted(&book, filter)? {
        match found.letter.cut {
            Some(_) => cut += 1,
            None => flows.entry(&found.letter.flow).or_default().push((place, found)),
        }
    }
    for (flow, mut letters) in flows {
        letters.sort_by_key(|(_, found)| (found.timestamp, found.letter.partition, found.letter.offset));
        let batches = batches(&letters, &read_originals(connection, &letters, WHOLE)?);
        millstream_engine::replay(plan, registry, flow, batches, options).await?;
        if options.stop.is_cancelled() {
            return Ok(Replayed::default());
        }
        sent.extend(letters);
    }
    let now = Book::read(connection, &topics)?;
    let (again, done): (Vec<_>, Vec<_>) =
        sent.into_iter().partition(|(place, found)| now.died_again(place, found));
    settle(connection, &done, Settled::Replayed).await?;
    Ok(Replayed { done: done.len(), again: again.len(), cut })
}

/// The originals in order, in batches that have one origin each.
fn batches(letters: &[(&String, &Found)], originals: &[Original]) -> Vec<Records> {
    let mut batches: Vec<Records> = Vec::new();
    for ((_, found), original) in letters.iter().zip(originals) {
        let origin = &found.letter.origin;
        let fits = batches.last().is_some_and(|last| {
            last.origin.as_deref() == origin.as_ref()
                && last.len() < BATCH_RECORDS_MAX
                && last.size_bytes() < BATCH_BYTES_MAX
        });
        if !fits {
            batches.push(match origin {
                Some(origin) => Records::from_origin(Arc::new(origin.clone())),
                None => Records::default(),
            });
        }
        if let Some(last) = batches.last_mut() {
            last.push(original.record(found));
        }
    }
    batches
}
