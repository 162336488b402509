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
        if let Err(error) = file.sync_data() {
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
}
