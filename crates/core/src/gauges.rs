//! What a connector sees of its service while it works. It writes, whoever looks on reads; nothing
//! depends on it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The last known values of one flow.
#[derive(Debug, Default)]
pub struct Gauges(Mutex<Values>);

/// What is known.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Values {
    /// By partition of the topic that is read, as far as it is ours: messages behind the last one that is
    /// committed.
    pub lag: BTreeMap<i32, u64>,
    /// The clients of the broker by what they do, `consumer` or `producer`.
    pub clients: BTreeMap<&'static str, ClientValues>,
}

/// What a client of a broker says of itself, since it was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ClientValues {
    /// Bytes that came from brokers.
    pub received_bytes: u64,
    /// Bytes that went to brokers.
    pub sent_bytes: u64,
    /// Requests sent.
    pub requests: u64,
    /// Requests that were sent again.
    pub retries: u64,
    /// Requests that were not answered in time.
    pub timeouts: u64,
    /// Messages that wait in the client.
    pub waiting_messages: u64,
    /// The 99th percentile of a request's way there and back, in seconds, of the slowest broker.
    pub round_trip_p99_seconds: f64,
}

impl Gauges {
    /// Sets the lag of all partitions that are read.
    pub fn set_lag(&self, lag: BTreeMap<i32, u64>) {
        self.values().lag = lag;
    }

    /// Sets what a client says of itself.
    pub fn set_client(&self, role: &'static str, values: ClientValues) {
        self.values().clients.insert(role, values);
    }

    /// What is known now.
    pub fn read(&self) -> Values {
        self.values().clone()
    }

    fn values(&self) -> MutexGuard<'_, Values> {
        // Nothing here is left half done by a panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
