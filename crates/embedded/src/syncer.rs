//! Brings a file to the disk, and takes no failure back.
//! When a file is synced, and what follows from a failure, is its owner's affair.

use std::fs::File;
use std::io;

/// Syncs one file. Linux says only once that it could not write something, and may forget it: the next try would
/// succeed without it. After a failure every try fails, therefore, until a restart has read what is there.
#[derive(Debug, Default)]
pub(crate) struct Syncer {
    failure: Option<String>,
}

impl Syncer {
    /// Brings what was written to `file` to the disk.
    pub(crate) fn sync(&mut self, file: &File) -> io::Result<()> {
        self.check()?;
        self.remember(file.sync_data())
    }

    /// Has the first `len` bytes of `file` written, so that the next sync has less to wait for. It alone promises
    /// nothing: neither that they can be found nor that they have left the disk's own memory.
    pub(crate) fn write_out(&mut self, file: &File, len: u64) -> io::Result<()> {
        self.check()?;
        let is_loss =
            |error: &io::Error| matches!(error.raw_os_error(), Some(libc::EIO | libc::ENOSPC | libc::EDQUOT));
        match write_out(file, len) {
            Err(error) if is_loss(&error) => self.remember(Err(error)),
            // Where it cannot be done the sync has more to do.
            _ => Ok(()),
        }
    }

    fn remember(&mut self, written: io::Result<()>) -> io::Result<()> {
        if let Err(error) = written {
            self.failure = Some(format!(
                "the disk may have lost what was written last ({error}); nothing more is written until Millstream is \
                 started again, which reads what is there"
            ));
        }
        self.check()
    }

    /// Fails where a sync has failed.
    pub(crate) fn check(&self) -> io::Result<()> {
        match &self.failure {
            Some(failure) => Err(io::Error::other(failure.clone())),
            None => Ok(()),
        }
    }
}

#[cfg(target_os = "linux")]
#[allow(unsafe_code, reason = "the standard library cannot write out a part of a file")]
fn write_out(file: &File, len: u64) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    let how = libc::SYNC_FILE_RANGE_WRITE | libc::SYNC_FILE_RANGE_WAIT_AFTER;
    // SAFETY: the descriptor is open for as long as `file` is borrowed, and no memory is touched.
    match unsafe { libc::sync_file_range(file.as_raw_fd(), 0, len as libc::off64_t, how) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(not(target_os = "linux"))]
fn write_out(_: &File, _: u64) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_failure_nothing_counts_as_synced() {
        let file = tempfile::tempfile().expect("a file");
        let no_disk = File::open("/dev/null").expect("opens");
        let mut syncer = Syncer::default();
        syncer.sync(&file).expect("syncs");
        syncer.sync(&no_disk).expect_err("there is no disk behind it");
        let again = syncer.sync(&file).expect_err("what was lost stays lost");
        assert!(again.to_string().contains("started again"), "{again}");
    }
    #[test]
    fn a_part_can_be_written_out_before() {
        let mut file = tempfile::tempfile().expect("a file");
        std::io::Write::write_all(&mut file, b"rows").expect("writes");
        let mut syncer = Syncer::default();
        syncer.write_out(&file, 2).expect("is written out");
        syncer.sync(&file).expect("syncs");
        let no_file = File::open("/dev/null").expect("opens");
        syncer.write_out(&no_file, 1).expect("is left to the sync");
        syncer.sync(&file).expect("syncs");
    }
}
