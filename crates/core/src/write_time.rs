//! Which of two values for the same cell is newer, decided without any state.
//! How a table stores write times is the table's affair.

use std::collections::HashMap;

/// The write time of a message's row in microseconds: the same on every engine, so that the
/// order of writes, and how often they are repeated, makes no difference.
///
/// `timestamp_ms` is the message's Kafka timestamp (−1 for none), `offset` its offset.
pub fn write_time(timestamp_ms: i64, offset: i64) -> i64 {
    timestamp_ms.saturating_mul(1000).saturating_add(offset % 1000)
}

/// Gives each key strictly later milliseconds, so that [`write_time`] orders our own messages
/// of one key as they were sent, whatever their offsets are.
#[derive(Debug, Default)]
pub struct EachKeyLater {
    now: i64,
    /// The last millisecond given to a key, for keys whose millisecond is not yet over.
    last: HashMap<Vec<u8>, i64>,
    /// Keys are dropped from `last` when it has grown to this size.
    sweep_at: usize,
}

impl EachKeyLater {
    /// The timestamp for a message of `key` sent at `now_ms`. A clock that steps back is
    /// held where it was.
    pub fn timestamp(&mut self, key: &[u8], now_ms: i64) -> i64 {
        if now_ms > self.now {
            self.now = now_ms;
            self.sweep();
        }
        match self.last.get_mut(key) {
            Some(last) => {
                *last = (*last + 1).max(self.now);
                *last
            }
            None => {
                self.last.insert(key.to_vec(), self.now);
                self.now
            }
        }
    }

    fn sweep(&mut self) {
        if self.last.len() >= self.sweep_at {
            let now = self.now;
            self.last.retain(|_, last| *last >= now);
            self.sweep_at = (self.last.len() * 2).max(1024);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_message_of_a_key_always_wins() {
        let mut clock = EachKeyLater::default();
        let mut before = i64::MIN;
        for (offset, now) in [(998, 5), (999, 5), (1000, 5), (1001, 6), (1002, 3), (1003, 9)] {
            let time = write_time(clock.timestamp(b"k", now), offset);
            assert!(time > before, "offset {offset}");
            before = time;
        }
    }

    #[test]
    fn keys_do_not_push_each_other() {
        let mut clock = EachKeyLater::default();
        assert_eq!(clock.timestamp(b"a", 5), 5);
        assert_eq!(clock.timestamp(b"b", 5), 5);
        assert_eq!(clock.timestamp(b"a", 5), 6);
    }

    #[test]
    fn no_timestamp_goes_through_the_same_formula() {
        assert_eq!(write_time(-1, 1234), -1000 + 234);
    }
}
