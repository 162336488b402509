//! `dead-letters replay`: through the flow again, with the original timestamps.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use millstream_core::{Records, RunValues, Settled};
use millstream_engine::{RunOptions, Until};

use super::book::{Book, Found, settle};
use super::{topics, wanted};
use crate::args::{FileArgs, LetterFilter};
use crate::commands::attached::Attached;
use crate::commands::run::now_ms;
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
    let topics = topics(&loaded);
    let book = loaded.hide(Book::read(&attached.connection, &topics))?;
    let mut flows: BTreeMap<&str, Vec<(&String, &Found)>> = BTreeMap::new();
    let (mut cut, mut sent) = (0, Vec::new());
    for (place, found) in wanted(&book, filter)? {
        match found.letter.cut {
            Some(_) => cut += 1,
            None => flows.entry(&found.letter.flow).or_default().push((place, found)),
        }
    }
    let options = RunOptions {
        flow: None,
        until: Until::Drained,
        patience: Some(patience),
        stop: stop.token.clone(),
        clock: now_ms,
        values: RunValues::default(),
    };
    for (flow, mut letters) in flows {
        letters.sort_by_key(|(_, found)| (found.timestamp, found.letter.partition, found.letter.offset));
        let batches = batches(&letters);
        let replayed =
            millstream_engine::replay(&loaded.plan, &loaded.registry, flow, batches, &options).await;
        loaded.hide(replayed)?;
        if let Some(code) = stop.code() {
            // What went through is not marked; sending it again changes nothing.
            attached.detach().await?;
            return Err(Failure::Code(code));
        }
        sent.extend(letters);
    }
    let now = loaded.hide(Book::read(&attached.connection, &topics))?;
    let (again, done): (Vec<_>, Vec<_>) =
        sent.into_iter().partition(|(place, found)| now.died_again(place, found));
    loaded.hide(settle(&attached.connection, &done, Settled::Replayed).await)?;
    sayln!("{} dead letter(s) replayed, {} died again", done.len(), again.len());
    if cut > 0 {
        sayln!("{cut} cannot be replayed: only their beginning was kept; purge them");
    }
    attached.detach().await
}

/// The originals in order, in batches that have one origin each.
fn batches(letters: &[(&String, &Found)]) -> Vec<Records> {
    let mut batches: Vec<Records> = Vec::new();
    for (_, found) in letters {
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
            last.push(found.original());
        }
    }
    batches
}
