//! Which of two values for the same cell is newer, decided without any state.
//! How a table stores write times is the table's affair.

use std::collections::HashMap;
use std::time::SystemTime;

/// The write time of a message's row in microseconds: the same on every engine, so that the
/// order of writes, and how often they are repeated, makes no difference.
///
/// `timestamp_ms` is the message's Kafka timestamp (−1 for none), `offset` its offset.
pub fn write_time(timestamp_ms: i64, offset: i64) -> i64 {
    timestamp_ms.saturating_mul(1000).saturating_add(offset % 1000)
}

/// Now, in milliseconds since 1970.
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    since.as_millis() as i64
}

/// Dates records of a source that has no times of its own, so that [`write_time`] orders them as they came, and after
/// those of any run before.
#[derive(Debug, Default)]
pub struct Arrivals {
    now: i64,
    /// The offset of the last one, as far as it is part of a write time.
    last: Option<i64>,
}

impl Arrivals {
    /// The timestamp of the record at `offset`, which came at `now_ms`. Within a millisecond a thousand offsets find
    /// room; where they begin anew, so does the millisecond. A clock that steps back is held where it was.
    pub fn timestamp(&mut self, offset: i64, now_ms: i64) -> i64 {
        let place = offset % 1000;
        if now_ms > self.now {
            self.now = now_ms;
        } else if self.last.is_some_and(|last| place <= last) {
            self.now += 1;
        }
        self.last = Some(place);
        self.now
    }
}

/// Gives each key strictly later milliseconds, so that [`write_time`] orders our own messages
/// of one key as they were sent, whatever their offsets are.
#[derive(Debug, Default)]
pub struct EachKeyLater {
    now: i64,
    latest: i64,
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
        let given = match self.last.get_mut(key) {
            Some(last) => {
                *last = last.saturating_add(1).max(self.now);
                *last
            }
            None => {
                self.last.insert(key.to_vec(), self.now);
                self.now
            }
        };
        self.latest = self.latest.max(given);
        given
    }

    /// Milliseconds by which the latest timestamp is ahead of the clock, which comes of a key with more than a
    /// thousand messages a second: whoever begins anew before they have passed gives earlier ones.
    pub fn ahead_ms(&self) -> u64 {
        self.latest.saturating_sub(self.now).unsigned_abs()
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
    fn behind_the_last_moment_there_is_none() {
        let mut clock = EachKeyLater::default();
        assert_eq!(clock.timestamp(b"k", i64::MAX), i64::MAX);
        assert_eq!(clock.timestamp(b"k", i64::MAX), i64::MAX);
    }

    #[test]
    fn how_far_a_hot_key_is_ahead_is_known() {
        let mut clock = EachKeyLater::default();
        assert_eq!(clock.ahead_ms(), 0);
        for _ in 0..=30 {
            clock.timestamp(b"hot", 50);
        }
        clock.timestamp(b"cold", 50);
        assert_eq!(clock.ahead_ms(), 30);
        // A clock that steps back takes nothing with it.
        clock.timestamp(b"cold", 10);
        assert_eq!(clock.ahead_ms(), 30);
        clock.timestamp(b"cold", 90);
        assert_eq!(clock.ahead_ms(), 0);
    }

    #[test]
    fn what_came_later_wins_whatever_the_offsets_are() {
        let mut arrivals = Arrivals::default();
        let mut before = i64::MIN;
        // Two files, the second within the same millisecond; then a clock that steps back.
        let files = (1..=2_500).chain(1..=3).map(|line| (line, 7));
        for (offset, now) in files.chain([(999, 8), (1000, 8), (1001, 3), (1002, 90)]) {
            let time = write_time(arrivals.timestamp(offset, now), offset);
            assert!(time > before, "offset {offset}");
            before = time;
        }
        assert_eq!(before, 90_002);
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
