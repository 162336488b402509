//! How long to wait before a request is repeated.

use std::time::{Duration, SystemTime};

use rand::RngExt;

/// The wait before the first repetition; it doubles from one to the next.
const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(30);
/// More than a server may ask for with `Retry-After`.
const ASKED_MAX: Duration = Duration::from_secs(15 * 60);

/// The wait before repetition number `attempt` (from 0), between a half and the whole of what
/// doubling gives, so that many clients do not come back at once.
pub(super) fn backoff(attempt: u32, random: &mut impl RngExt) -> Duration {
    let whole = FIRST.saturating_mul(1 << attempt.min(16)).min(LONGEST);
    whole.mul_f64(random.random_range(0.5..=1.0))
}

/// What `Retry-After` asks for: seconds, or a moment.
pub(super) fn retry_after(header: &str, now: SystemTime) -> Option<Duration> {
    let header = header.trim();
    let asked = match header.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => httpdate::parse_http_date(header).ok()?.duration_since(now).unwrap_or_default(),
    };
    Some(asked.min(ASKED_MAX))
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    #[test]
    fn waits_double_up_to_a_bound() {
        let mut random = StdRng::seed_from_u64(1);
        for (attempt, whole_ms) in [(0, 500), (1, 1_000), (5, 16_000), (6, 30_000), (60, 30_000)] {
            let wait = backoff(attempt, &mut random).as_millis();
            assert!((whole_ms / 2..=whole_ms).contains(&wait), "attempt {attempt}: {wait}");
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_moment() {
        let now = httpdate::parse_http_date("Sun, 22 Nov 2026 10:00:00 GMT").expect("a date");
        for (header, seconds) in [
            ("7", Some(7)),
            ("Sun, 22 Nov 2026 10:00:30 GMT", Some(30)),
            ("Sun, 22 Nov 2026 09:00:00 GMT", Some(0)),
            ("86400", Some(900)),
            ("soon", None),
        ] {
            assert_eq!(retry_after(header, now), seconds.map(Duration::from_secs), "{header}");
        }
    }
}
