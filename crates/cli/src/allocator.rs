//! What glibc's allocator is told before anything else: to give memory back. By default it keeps
//! an arena for every few threads and a heap as large as the largest buffer ever freed.

/// Larger buffers come from the system and go back to it when they are freed.
#[cfg(target_env = "gnu")]
const MAPPED_BYTES_MIN: i32 = 1 << 20;

/// Bounds what freed memory stays with the process: half the peak of `bench store` at the same
/// speed.
pub(crate) fn set_up() {
    #[cfg(target_env = "gnu")]
    #[allow(unsafe_code, reason = "glibc's allocator can be told from C only; no thread runs yet")]
    // SAFETY: `mallopt` takes two numbers, touches no memory of ours and may be called at any time.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
        libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED_BYTES_MIN);
    }
}
