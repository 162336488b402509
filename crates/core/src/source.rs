//! What a flow reads from. A source hands out bytes; it does not decode them.

use async_trait::async_trait;

use crate::{Checkpoint, Counts, Records, Result};

/// Something that hands out records in batches and remembers how far they were processed.
#[async_trait]
pub trait Source: Send {
    /// Waits for the next records; `None` means that there will never be more.
    ///
    /// May be cancelled at any await without losing a record.
    async fn next(&mut self) -> Result<Option<Records>>;

    /// Remembers that everything before `checkpoint`, which covers what `next` gave last, is
    /// durable at the sink. Returns the counts that are now part of the totals: those of a
    /// partition that was taken away in the meantime are not, another reader counts them again, and
    /// those of a commit that is put off come with the next one.
    async fn commit(&mut self, checkpoint: &Checkpoint) -> Result<Counts>;

    /// From now on ends (`next` gives `None`) as soon as everything that is there at this
    /// moment has been committed, whoever commits it. A bounded source ends by itself.
    async fn drain(&mut self) -> Result<()> {
        Ok(())
    }
}
