//! `dead-letters replay`: through the flow again, with the original timestamps. However many there are, it does not
//! hold more than a chunk of the originals.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use millstream_connectors::kafka::Connection;
use millstream_core::{
    Checkpoint, Commit, Counts, Error, Records, Result, RunValues, Settled, Source, now_ms,
};
use millstream_engine::{Plan, Registry, RunOptions, Until};

use super::book::{Book, Found, Original, WHOLE, read_originals, settle};
use super::{topics, wanted};
use crate::args::{FileArgs, LetterFilter};
use crate::commands::attached::Attached;
use crate::load::load;
use crate::output::sayln;
use crate::stop::Stop;
use crate::{Failure, Outcome};

/// Originals are read until there are so many records or bytes. A chunk is several batches, as each is looked for anew.
const CHUNK_RECORDS_MAX: usize = 32_768;
const CHUNK_BYTES_MAX: u64 = 32 << 20;
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
    attached.detach().await?;
    // Stopped, perhaps while it waited for a service: that this one does not answer is no failure.
    if let Some(code) = stop.code()
        && replayed.as_ref().err().is_none_or(Error::is_passing)
    {
        return Err(Failure::Code(code));
    }
    let replayed = loaded.hide(replayed)?;
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

/// Sends the letters that are meant through their flows, and marks those that got through, also where a failure
/// ends it. A stop in the middle marks nothing: sending again changes nothing.
pub(in crate::commands) async fn replay(
    plan: &Plan,
    registry: &Registry,
    connection: &Connection,
    filter: &LetterFilter,
    options: &RunOptions,
) -> Result<Replayed> {
    let topics = topics(plan);
    let book = Book::read(connection, &topics)?;
    let meant: BTreeSet<String> =
        wanted(&book, filter)?.into_iter().map(|(place, _)| place.clone()).collect();
    let mut flows: BTreeMap<String, Vec<(String, Found)>> = BTreeMap::new();
    let mut cut = 0;
    for (place, found) in book.open.into_iter().filter(|(place, _)| meant.contains(place)) {
        match found.letter.cut {
            Some(_) => cut += 1,
            None => flows.entry(found.letter.flow.clone()).or_default().push((place, found)),
        }
    }
    let all: usize = flows.values().map(Vec::len).sum();
    let mut sent = Vec::new();
    let mut ended = Ok(());
    for (flow, mut letters) in flows {
        letters.sort_by_key(|(_, found)| (found.timestamp, found.letter.partition, found.letter.offset));
        let (letters, count) = (Arc::new(letters), Arc::new(AtomicUsize::new(0)));
        let source = Box::new(Letters {
            connection: connection.clone(),
            letters: letters.clone(),
            read: 0,
            batches: VecDeque::new(),
            sent: count.clone(),
        });
        ended = millstream_engine::replay(plan, registry, &flow, source, options).await.map(|_| ());
        if options.stop.is_cancelled() {
            return ended.map(|()| Replayed::default());
        }
        sent.push((letters, count.load(Ordering::Relaxed)));
        if ended.is_err() {
            break;
        }
    }
    let sent: Vec<(&String, &Found)> = sent
        .iter()
        .flat_map(|(letters, count)| &letters[..*count])
        .map(|(place, found)| (place, found))
        .collect();
    let count = sent.len();
    let marked = mark(connection, &topics, sent).await;
    match ended {
        // Where they could not be marked either, they are sent once more, which changes nothing.
        Err(error) if count > 0 => {
            let message = format!("{}; {count} of {all} dead letters had been sent", error.message);
            Err(Error { message, ..error })
        }
        Err(error) => Err(error),
        Ok(()) => marked.map(|(done, again)| Replayed { done, again, cut }),
    }
}

/// Marks those of the letters sent that got through: how many these are, and how many have died again.
async fn mark(
    connection: &Connection,
    topics: &[String],
    sent: Vec<(&String, &Found)>,
) -> Result<(usize, usize)> {
    if sent.is_empty() {
        return Ok((0, 0));
    }
    let now = Book::read(connection, topics)?;
    let (again, done): (Vec<_>, Vec<_>) =
        sent.into_iter().partition(|(place, found)| now.died_again(place, found));
    settle(connection, &done, Settled::Replayed).await?;
    Ok((done.len(), again.len()))
}

/// Letters of a flow as its source. The next chunk of originals is read when the one before it has been sent.
struct Letters {
    connection: Connection,
    /// In the order in which they are sent.
    letters: Arc<Vec<(String, Found)>>,
    /// How many of them are read.
    read: usize,
    /// What of them is not yet handed out.
    batches: VecDeque<Records>,
    /// How many of them are sent, for good.
    sent: Arc<AtomicUsize>,
}

#[async_trait]
impl Source for Letters {
    async fn next(&mut self) -> Result<Option<Records>> {
        if self.batches.is_empty() {
            self.read_chunk()?;
        }
        Ok(self.batches.pop_front())
    }

    async fn commit(&mut self, checkpoint: &Checkpoint, _: Commit) -> Result<Counts> {
        let counts = checkpoint.counts();
        self.sent.fetch_add(counts.read as usize, Ordering::Relaxed);
        Ok(counts)
    }
}

impl Letters {
    /// Nothing is lost where it fails: it can be tried again.
    fn read_chunk(&mut self) -> Result<()> {
        let left = &self.letters[self.read..];
        let count = chunk(left.iter().map(|(_, found)| found.value_bytes));
        let letters: Vec<_> = left[..count].iter().map(|(place, found)| (place, found)).collect();
        self.batches = batches(&letters, &read_originals(&self.connection, &letters, WHOLE)?).into();
        self.read += count;
        Ok(())
    }
}

/// How many of the letters that are left are read at once, by the bytes of their values; one where it is large alone.
fn chunk(value_bytes: impl Iterator<Item = u64>) -> usize {
    let mut sum = 0;
    let fits = |bytes: &u64| {
        let fits = sum < CHUNK_BYTES_MAX;
        sum += bytes;
        fits
    };
    value_bytes.take(CHUNK_RECORDS_MAX).take_while(fits).count()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_has_a_bound_of_records_and_one_of_bytes() {
        assert_eq!(chunk(std::iter::repeat_n(1, CHUNK_RECORDS_MAX + 1)), CHUNK_RECORDS_MAX);
        assert_eq!(chunk([CHUNK_BYTES_MAX / 2; 5].into_iter()), 2);
        assert_eq!(chunk([CHUNK_BYTES_MAX + 1, 1].into_iter()), 1);
        assert_eq!(chunk(std::iter::empty()), 0);
    }
}
