//! The directory with the embedded topics and tables: who owns it, and what format it has.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

use millstream_core::{Error, Result};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

/// The format that this version writes.
const FORMAT: u32 = 1;

/// Who owns a state directory, for other processes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Owner {
    /// Its process.
    pub(crate) pid: u32,
    /// Its embedded broker.
    pub(crate) broker: Option<String>,
    /// Its page and API.
    #[serde(default)]
    pub(crate) server: Option<String>,
}

/// A state directory that is ours; it is free again when this is dropped, also by a kill.
pub(crate) struct State {
    pub(crate) dir: PathBuf,
    /// None where nothing is kept there.
    lock: Option<File>,
    addresses: Mutex<(Option<String>, Option<String>)>,
}

impl State {
    /// Takes the directory, made if missing.
    pub(crate) fn take(dir: &Path) -> Result<Self> {
        let failed = |e: std::io::Error| {
            Error::lasting(format!("cannot use the state directory {}: {e}", dir.display()))
                .help("--state names another one")
        };
        std::fs::create_dir_all(dir).map_err(failed)?;
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(dir.join("lock"))
            .map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let by = owner(dir).map_or_else(String::new, |owner| format!(" (process {})", owner.pid));
                return Err(Error::user(format!("another Millstream{by} is using {}", dir.display()))
                    .help("stop it first, or use --state to keep state elsewhere"));
            }
            Err(TryLockError::Error(e)) => return Err(failed(e)),
        }
        check_format(dir)?;
        let state = Self { dir: dir.to_owned(), lock: Some(lock), addresses: Mutex::default() };
        state.announce(None)?;
        Ok(state)
    }

    /// Leaves the directory alone: everything is kept elsewhere, and others may do the same work.
    pub(crate) fn unused(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), lock: None, addresses: Mutex::default() }
    }

    /// Tells other processes where the embedded broker is.
    pub(crate) fn announce(&self, broker: Option<String>) -> Result<()> {
        self.addresses.lock().0 = broker;
        self.write()
    }

    /// Tells other processes where the page and the API are.
    pub(crate) fn announce_server(&self, address: String) -> Result<()> {
        self.addresses.lock().1 = Some(address);
        self.write()
    }

    fn write(&self) -> Result<()> {
        if self.lock.is_none() {
            return Ok(());
        }
        let (broker, server) = self.addresses.lock().clone();
        let owner = Owner { pid: std::process::id(), broker, server };
        let json = serde_json::to_vec(&owner).expect("an owner is JSON");
        std::fs::write(self.dir.join("owner.json"), json)
            .map_err(|e| Error::lasting(format!("cannot write to {}: {e}", self.dir.display())))
    }
}

impl Drop for State {
    fn drop(&mut self) {
        // Only a hint for people: the lock itself goes with the process.
        if self.lock.is_some() {
            let _ = std::fs::remove_file(self.dir.join("owner.json"));
        }
    }
}

/// A folder by which it is known however it is written, be it there or not.
pub(crate) fn identity(dir: &Path) -> PathBuf {
    let absolute = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    // Only what is there can be asked which folder it is.
    for above in absolute.ancestors() {
        if let Ok(real) = above.canonicalize() {
            return real.join(absolute.strip_prefix(above).unwrap_or(Path::new("")));
        }
    }
    absolute
}

/// Who says that they own `dir`.
fn owner(dir: &Path) -> Option<Owner> {
    serde_json::from_slice(&std::fs::read(dir.join("owner.json")).ok()?).ok()
}

/// The owner of `dir`, if it is alive.
pub(crate) fn live_owner(dir: &Path) -> Option<Owner> {
    let lock = OpenOptions::new().write(true).open(dir.join("lock")).ok()?;
    match lock.try_lock() {
        Err(TryLockError::WouldBlock) => owner(dir),
        _ => None,
    }
}

fn check_format(dir: &Path) -> Result<()> {
    let path = dir.join("format");
    let failed = |e: std::io::Error| Error::lasting(format!("cannot use {}: {e}", path.display()));
    match std::fs::read_to_string(&path) {
        Ok(text) => match text.trim().parse::<u32>() {
            Ok(FORMAT) => Ok(()),
            Ok(newer) if newer > FORMAT => Err(Error::user(format!(
                "{} was written by a newer Millstream (format {newer})",
                dir.display()
            ))
            .help("use that one, or --state to begin anew elsewhere")),
            _ => Err(Error::user(format!("{} holds no format that this version knows", path.display()))
                .help("is it a state directory? --state names another one")),
        },
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            let mut file = File::create(&path).map_err(failed)?;
            writeln!(file, "{FORMAT}").map_err(failed)
        }
        Err(e) => Err(failed(e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_the_same_however_it_is_written_and_before_it_is_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let (real, link) = (folder.path().join("real"), folder.path().join("link"));
        std::fs::create_dir(&real).expect("is made");
        std::os::unix::fs::symlink(&real, &link).expect("is linked");
        let known = identity(&real.join("state"));
        let ways = ["real/./state", "real/../real/state", "link/state", "link/../real/state/"];
        for is_there in [false, true] {
            for way in ways {
                assert_eq!(identity(&folder.path().join(way)), known, "{way}, {is_there}");
            }
            assert_ne!(identity(&folder.path().join("state")), known);
            std::fs::create_dir_all(real.join("state")).expect("is made");
        }
        assert_eq!(identity(Path::new("state")), identity(Path::new("./state")));
    }

    #[test]
    fn what_another_version_wrote_is_refused_with_the_ways_out() {
        let folder = tempfile::tempdir().expect("a folder");
        for (format, said) in [("999", "newer Millstream (format 999)"), ("cheese", "no format")] {
            std::fs::write(folder.path().join("format"), format).expect("writes");
            let refused = check_format(folder.path()).expect_err(format);
            assert!(refused.message.contains(said), "{refused}");
            assert!(refused.help.as_ref().is_some_and(|help| help.contains("--state")), "{refused}");
        }
    }
}
