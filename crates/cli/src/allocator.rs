//! What glibc's allocator is told before anything else: to give memory back. By default it keeps
//! an arena for every few threads and a heap as large as the largest buffer ever freed.

/// Larger buffers come from the system and go back to it when they are freed. Those that are
/// received from a broker, up to 1 MiB each, are not: to clear them anew each time costs a third of the
/// rate (docs/performance.md).
#[cfg(target_env = "gnu")]
const MAPPED_BYTES_MIN: i32 = 4 << 20;

/// So much free memory at the end of the heap stays there. With glibc's 128 KiB every buffer of a fetch is handed back
/// and fetched anew, page by page: nine in ten page faults of `bench store`, a tenth of its CPU, at the same peak.
#[cfg(target_env = "gnu")]
const KEPT_BYTES: i32 = 4 << 20;

/// Bounds what freed memory stays with the process: two thirds of the peak of `bench store`
/// at the same speed.
pub(crate) fn set_up() {
    #[cfg(target_env = "gnu")]
    #[allow(unsafe_code, reason = "glibc's allocator can be told from C only; no thread runs yet")]
    // SAFETY: `mallopt` takes two numbers, touches no memory of ours and may be called at any time.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
        libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED_BYTES_MIN);
        libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT_BYTES);
    }
}

/// Gives freed memory back to the system now, so that a measurement begins without what came before it.
pub(crate) fn give_back() {
    #[cfg(target_env = "gnu")]
    #[allow(unsafe_code, reason = "glibc's allocator can be told from C only")]
    // SAFETY: `malloc_trim` touches no memory in use and may be called at any time, by any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}
