//! How far a flow has come and what became of the records on the way.
//! It is committed as one: an offset without its counts, or the reverse, cannot happen.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What became of records. Always `read = passed + filtered + dead`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Counts {
    /// Records that were read.
    pub read: u64,
    /// Records that the query let through and the sink took.
    pub passed: u64,
    /// Records that the query's WHERE held back.
    pub filtered: u64,
    /// Records that became dead letters.
    pub dead: u64,
    /// Messages or rows that the passed records became.
    pub written: u64,
}

/// It stops at the end of its numbers: what a group's commits say of earlier ones comes from outside.
impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.read = self.read.saturating_add(other.read);
        self.passed = self.passed.saturating_add(other.passed);
        self.filtered = self.filtered.saturating_add(other.filtered);
        self.dead = self.dead.saturating_add(other.dead);
        self.written = self.written.saturating_add(other.written);
    }
}

/// How far one partition has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// The offset to read next: everything before it is durable at the sink.
    pub next_offset: i64,
    /// What became of the records that this step covers.
    pub counts: Counts,
}

/// How far each partition has come, with what became of its records since the last checkpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// By partition.
    pub partitions: BTreeMap<i32, Progress>,
}

impl Checkpoint {
    /// The counts of all partitions.
    pub fn counts(&self) -> Counts {
        let mut sum = Counts::default();
        for progress in self.partitions.values() {
            sum += progress.counts;
        }
        sum
    }
}
