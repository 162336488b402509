//! What this process uses, as Linux counts it.

use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::allocator;
use crate::output::sayln;

/// In KiB, since the last start.
static OWN_PEAK: AtomicU64 = AtomicU64::new(0);
/// Memory that is in use for shorter than this may not be seen.
const SAMPLE_EVERY: Duration = Duration::from_millis(5);

/// Where something begins that is measured.
pub(super) struct Start {
    began: Instant,
    cpu: f64,
}

/// What it took.
pub(super) struct Took {
    pub(super) seconds: f64,
    /// Of all threads, in seconds.
    pub(super) cpu: f64,
    /// All memory, and what of it is our own. That leaves out the pages of files, above all of the binary: how many of
    /// them are mapped is the system's choice and differs from run to run.
    pub(super) peak_mib: (u64, u64),
}

impl Start {
    /// The peak begins anew at what is in use now; what filled the topic has left more behind the more it was.
    pub(super) fn now() -> Self {
        static SAMPLER: Once = Once::new();
        SAMPLER.call_once(|| {
            std::thread::spawn(|| {
                loop {
                    own_peak_kib();
                    std::thread::sleep(SAMPLE_EVERY);
                }
            });
        });
        allocator::give_back();
        OWN_PEAK.store(0, Ordering::Relaxed);
        if let Err(error) = std::fs::write("/proc/self/clear_refs", "5") {
            sayln!("the peak is that of the whole bench: {error}");
        }
        Self { began: Instant::now(), cpu: cpu_seconds() }
    }

    pub(super) fn took(&self) -> Took {
        Took {
            seconds: self.began.elapsed().as_secs_f64(),
            cpu: cpu_seconds() - self.cpu,
            peak_mib: (status_kib("VmHWM") / 1024, own_peak_kib() / 1024),
        }
    }
}

/// CPU seconds that this process has used.
fn cpu_seconds() -> f64 {
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let fields: Vec<f64> = after_name.split_whitespace().filter_map(|field| field.parse().ok()).collect();
    // User and system time; the state, a letter, is not among the numbers.
    fields.get(10..12).map_or(0.0, |times| times.iter().sum::<f64>() / TICKS_PER_SECOND)
}

/// Looks at our own memory, for which the system keeps no peak; gives the most seen.
fn own_peak_kib() -> u64 {
    let own = status_kib("RssAnon");
    OWN_PEAK.fetch_max(own, Ordering::Relaxed).max(own)
}

fn status_kib(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).unwrap_or(0)
}
