//! What a flow reads from. A source hands out bytes; it does not decode them.

use async_trait::async_trait;

use crate::{Checkpoint, Records, Result};

/// Something that hands out records in batches and remembers how far they were processed.
#[async_trait]
pub trait Source: Send {
    /// Waits for the next records; `None` means that there will never be more.
    ///
    /// May be cancelled at any await without losing a record.
    async fn next(&mut self) -> Result<Option<Records>>;

    /// Remembers that everything before `checkpoint` is durable at the sink.
    /// Counts only become part of the totals when this succeeds.
    async fn commit(&mut self, checkpoint: &Checkpoint) -> Result<()>;

    /// From now on ends (`next` gives `None`) as soon as everything that is there at this
    /// moment has been committed, whoever commits it. A bounded source ends by itself.
    async fn drain(&mut self) -> Result<()> {
        Ok(())
    }

    /// Asks for no more records: what `next` has not handed out yet stays for later.
    async fn stop(&mut self) {}
}
