//! How long records are under way, as a histogram: from a message's timestamp to the commit that covers it.

/// The upper bounds of the buckets, in milliseconds; what is above the last one is counted apart.
pub const BOUNDS_MS: [i64; 14] =
    [5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000, 300_000];

/// Counts by bucket.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Latency {
    /// Records by bucket, the last one for all that is above.
    pub counts: [u64; BOUNDS_MS.len() + 1],
    /// The sum of all latencies.
    pub sum_ms: u64,
}

impl Latency {
    /// Counts one record. A message of the future is here at once.
    pub fn observe(&mut self, latency_ms: i64) {
        let bucket = BOUNDS_MS.partition_point(|bound_ms| *bound_ms < latency_ms);
        self.counts[bucket] += 1;
        self.sum_ms = self.sum_ms.saturating_add(latency_ms.max(0) as u64);
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Adds what another one counted.
    pub fn add(&mut self, other: &Self) {
        self.counts.iter_mut().zip(other.counts).for_each(|(count, more)| *count += more);
        self.sum_ms = self.sum_ms.saturating_add(other.sum_ms);
    }

    /// What has come since `earlier`.
    pub fn since(&self, earlier: &Self) -> Self {
        let mut more = self.clone();
        more.counts.iter_mut().zip(earlier.counts).for_each(|(count, before)| *count -= before);
        more.sum_ms -= earlier.sum_ms;
        more
    }

    /// The bound under which `share` of the records are, like 0.99; none where there are no records. What
    /// is above all bounds is taken for the greatest of them.
    pub fn quantile_ms(&self, share: f64) -> Option<i64> {
        let wanted = (self.count() as f64 * share).ceil() as u64;
        let mut below = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            below += count;
            if *count > 0 && below >= wanted {
                return Some(BOUNDS_MS[bucket.min(BOUNDS_MS.len() - 1)]);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_the_bounds_of_their_buckets() {
        let mut latency = Latency::default();
        assert_eq!(latency.quantile_ms(0.5), None);
        for ms in [-4, 0, 5, 6, 80, 90, 99, 100, 101, 1_000_000] {
            latency.observe(ms);
        }
        assert_eq!(latency.count(), 10);
        assert_eq!(latency.quantile_ms(0.3), Some(5));
        assert_eq!(latency.quantile_ms(0.4), Some(10));
        assert_eq!(latency.quantile_ms(0.8), Some(100));
        assert_eq!(latency.quantile_ms(0.9), Some(250));
        assert_eq!(latency.quantile_ms(0.99), Some(300_000));
        assert_eq!(latency.since(&latency.clone()).count(), 0);
    }

    #[test]
    fn messages_of_the_first_moment_there_is_fill_no_sum() {
        let mut latency = Latency::default();
        (0..3).for_each(|_| latency.observe(i64::MAX));
        let mut all = latency.clone();
        all.add(&latency);
        assert_eq!((all.count(), all.sum_ms, all.since(&latency).count()), (6, u64::MAX, 3));
    }
}
