//! What a flow reads from. A source hands out bytes; it does not decode them.

use async_trait::async_trait;

use crate::{Checkpoint, Counts, Records, Result};

/// When a commit reaches whoever keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Commit {
    /// Before it returns: everything that it covers is durable.
    Now,
    /// With the next one: more is there already, and the sink may still have rows in hand.
    Later,
}

/// Something that hands out records in batches and remembers how far they were processed.
#[async_trait]
pub trait Source: Send {
    /// Waits for the next records; `None` means that there will never be more.
    ///
    /// May be cancelled at any await without losing a record.
    async fn next(&mut self) -> Result<Option<Records>>;

    /// Takes back what `next` gave, once nobody needs it: its memory may serve for others.
    fn recycle(&mut self, _records: Records) {}

    /// When what `next` gave last should be committed. One that says later has more ready: `next` gives
    /// something before it waits, be it no records, so that another commit follows.
    fn next_commit(&self) -> Commit {
        Commit::Now
    }

    /// Remembers that everything before `checkpoint`, which covers what `next` gave last, is
    /// written, and durable where `when` is now. Returns the counts that are now part of the totals:
    /// those of a partition that was taken away in the meantime are not, another reader counts them
    /// again, and those of a commit that is put off come with the next one.
    async fn commit(&mut self, checkpoint: &Checkpoint, when: Commit) -> Result<Counts>;

    /// From now on ends (`next` gives `None`) as soon as everything that is there at this
    /// moment has been committed, whoever commits it. A bounded source ends by itself.
    async fn drain(&mut self) -> Result<()> {
        Ok(())
    }
}
