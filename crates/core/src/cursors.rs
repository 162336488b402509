//! Where a source that goes on from a value, and not from an offset, keeps that value.

use std::fmt;

use async_trait::async_trait;

use crate::{Result, Scope};

/// The topic with the cursors, beside those that they belong to.
pub const STATE_TOPIC: &str = "millstream.state";

/// The cursor of each flow, kept beside its topics.
#[async_trait]
pub trait Cursors: Send + Sync + fmt::Debug {
    /// The flow's cursor, where it has one.
    async fn load(&self, scope: &Scope) -> Result<Option<String>>;

    /// Returns when the cursor is durable. It is saved only after everything that it covers.
    async fn save(&self, scope: &Scope, cursor: &str) -> Result<()>;

    /// Forgets the cursor: the next run begins anew.
    async fn clear(&self, scope: &Scope) -> Result<()>;
}
