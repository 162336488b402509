//! The offsets that groups have committed, with their metadata, in one append-only file.
//! Whether a member may commit is the group's decision.
//!
//! A line is there as soon as it is committed, so that a kill loses none. It may stay after the
//! machine has lost its power only where everything that it covers had reached the disk: a mark is
//! written behind the lines of which that is known. Where offsets went back or were deleted, that is before it is
//! answered: after a power loss the old ones would pass over messages that are to be read again.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::syncer::Syncer;

/// The file is written anew when it has so many more lines than offsets.
const STALE_LINES_MAX: usize = 10_000;

/// A committed offset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Committed {
    pub(super) offset: i64,
    pub(super) metadata: String,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Place {
    pub(super) group: String,
    pub(super) topic: String,
    pub(super) partition: i32,
}

/// Behind the lines that are known to be covered.
const MARK: &str = "{\"synced\":true}";

#[derive(Serialize, Deserialize)]
struct Line {
    #[serde(flatten)]
    place: Place,
    /// Absent: the offset was deleted.
    #[serde(flatten)]
    committed: Option<Committed>,
}

/// All committed offsets.
pub(super) struct Offsets {
    path: PathBuf,
    file: File,
    syncer: Syncer,
    /// Bytes of the file that count. What is behind them is a write that failed half way.
    length: u64,
    is_torn: bool,
    lines: usize,
    dirty: bool,
    /// Since the last mark an offset has gone back or was deleted.
    went_back: bool,
    by_place: BTreeMap<Place, Committed>,
}

impl Offsets {
    /// Opens the file at `path`, with notices of what was not taken from it: lines that cannot be read, like a torn
    /// last one, and, where the machine `has_rebooted`, what stands behind the last mark. An offset that is missing
    /// there is no harm: what it covers is read again. It went ahead, for no other one is answered without a mark.
    pub(super) fn open(path: &Path, has_rebooted: bool) -> io::Result<(Self, Vec<String>)> {
        let mut by_place = BTreeMap::new();
        let mut unmarked = Vec::new();
        let mut notices = Vec::new();
        match File::open(path) {
            Ok(file) => {
                for (number, line) in (1..).zip(BufReader::new(file).split(b'\n')) {
                    let line = line?;
                    match serde_json::from_slice::<Line>(&line) {
                        Ok(line) => unmarked.push(line),
                        Err(_) if line == MARK.as_bytes() => {
                            unmarked.drain(..).for_each(|line| line.apply(&mut by_place))
                        }
                        Err(_) => notices.push(format!(
                            "committed offsets: line {number} was not written to its end; what it covers is read again"
                        )),
                    }
                }
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
        if !has_rebooted {
            unmarked.into_iter().for_each(|line| line.apply(&mut by_place));
        } else if !unmarked.is_empty() {
            notices.push(format!(
                "the machine went down, or may have: {} commit(s) of its last second are read again",
                unmarked.len()
            ));
        }
        let (file, length) = rewrite(path, &by_place)?;
        let lines = by_place.len();
        let (path, syncer) = (path.to_owned(), Syncer::default());
        let (is_torn, dirty, went_back) = (false, false, false);
        Ok((Self { path, file, syncer, length, is_torn, lines, dirty, went_back, by_place }, notices))
    }

    /// Puts offsets that lie behind the end of their log, which was cut, back to it; says which.
    pub(super) fn put_back(&mut self, end_of: impl Fn(&Place) -> Option<i64>) -> io::Result<Vec<String>> {
        let mut notices = Vec::new();
        let mut changes = Vec::new();
        for (place, committed) in &self.by_place {
            if let Some(end) = end_of(place).filter(|end| committed.offset > *end) {
                let (Place { group, topic, partition }, offset) = (place, committed.offset);
                notices.push(format!(
                    "group {group}: put back from {offset} to {end}, where topic {topic}, partition \
                     {partition} now ends"
                ));
                changes
                    .push((place.clone(), Committed { offset: end, metadata: committed.metadata.clone() }));
            }
        }
        self.commit(changes)?;
        Ok(notices)
    }

    /// What a group has committed for a partition.
    pub(super) fn get(&self, place: &Place) -> Option<&Committed> {
        self.by_place.get(place)
    }

    /// The partitions for which a group has committed.
    pub(super) fn of_group<'a>(&'a self, group: &'a str) -> impl Iterator<Item = &'a Place> {
        self.by_place.keys().filter(move |place| place.group == group)
    }

    /// The groups that have committed anything.
    pub(super) fn groups(&self) -> Vec<String> {
        let mut groups: Vec<String> = self.by_place.keys().map(|place| place.group.clone()).collect();
        groups.dedup();
        groups
    }

    /// Remembers offsets, all of them or none.
    pub(super) fn commit(&mut self, committed: Vec<(Place, Committed)>) -> io::Result<()> {
        let changes = committed.into_iter().map(|(place, committed)| (place, Some(committed)));
        self.change(changes.collect())
    }

    /// Forgets every offset for which `gone` says so.
    pub(super) fn forget(&mut self, gone: impl Fn(&Place) -> bool) -> io::Result<()> {
        let changes = self.by_place.keys().filter(|place| gone(place)).map(|place| (place.clone(), None));
        self.change(changes.collect())
    }

    fn change(&mut self, changes: Vec<(Place, Option<Committed>)>) -> io::Result<()> {
        let mut text = Vec::new();
        let count = changes.len();
        for (place, committed) in &changes {
            let line = Line { place: place.clone(), committed: committed.clone() };
            serde_json::to_writer(&mut text, &line)?;
            text.push(b'\n');
        }
        self.append(&text)?;
        self.lines += count;
        self.dirty = true;
        for (place, committed) in changes {
            let offset = committed.as_ref().map(|committed| committed.offset);
            let before = match committed {
                Some(committed) => self.by_place.insert(place, committed),
                None => self.by_place.remove(&place),
            };
            let is_behind = |before: Committed| offset.is_none_or(|offset| offset < before.offset);
            self.went_back |= before.is_some_and(is_behind);
        }
        Ok(())
    }

    /// Whether there is something that may not be answered before it is flushed.
    pub(super) fn went_back(&self) -> bool {
        self.went_back
    }

    /// Writes `text` behind what counts, all of it or nothing: a disk that is full takes a part. Nothing is written
    /// once a sync has failed: a mark would speak of lines that may be lost.
    fn append(&mut self, text: &[u8]) -> io::Result<()> {
        self.syncer.check()?;
        if self.is_torn {
            self.file.set_len(self.length)?;
            self.is_torn = false;
        }
        if let Err(error) = self.file.write_all(text) {
            self.is_torn = self.file.set_len(self.length).is_err();
            return Err(error);
        }
        self.length += text.len() as u64;
        Ok(())
    }

    /// Brings what was committed to the disk, where everything that it covers is there by now.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        if !self.dirty {
            return Ok(());
        }
        if self.lines > self.by_place.len() + STALE_LINES_MAX {
            (self.file, self.length) = rewrite(&self.path, &self.by_place)?;
            self.is_torn = false;
            self.lines = self.by_place.len();
        } else {
            self.append(format!("{MARK}\n").as_bytes())?;
            self.syncer.sync(&self.file)?;
        }
        (self.dirty, self.went_back) = (false, false);
        Ok(())
    }
}

impl Line {
    fn apply(self, by_place: &mut BTreeMap<Place, Committed>) {
        match self.committed {
            Some(committed) => by_place.insert(self.place, committed),
            None => by_place.remove(&self.place),
        };
    }
}

/// Writes the file anew; it and its length.
fn rewrite(path: &Path, by_place: &BTreeMap<Place, Committed>) -> io::Result<(File, u64)> {
    let mut text = Vec::new();
    for (place, committed) in by_place {
        let line = Line { place: place.clone(), committed: Some(committed.clone()) };
        serde_json::to_writer(&mut text, &line)?;
        text.push(b'\n');
    }
    text.extend_from_slice(MARK.as_bytes());
    text.push(b'\n');
    super::replace_file(path, &text)?;
    Ok((OpenOptions::new().append(true).open(path)?, text.len() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(partition: i32) -> Place {
        Place { group: "g".into(), topic: "t".into(), partition }
    }

    fn committed(offset: i64) -> Committed {
        Committed { offset, metadata: String::new() }
    }

    #[test]
    fn the_last_commit_is_found_again_and_a_torn_line_is_not() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("offsets");
        let place = place(0);
        let committed = |offset| Committed { offset, metadata: "{\"read\":1}\n".into() };
        let open = |has_rebooted| Offsets::open(&path, has_rebooted).expect("opens");
        let (mut offsets, _) = open(false);
        for offset in [1, 2] {
            offsets.commit(vec![(place.clone(), committed(offset))]).expect("commits");
        }
        offsets.file.write_all(b"{\"group\":\"g\",\"to").expect("tears");
        drop(offsets);
        let (mut offsets, notices) = open(false);
        assert_eq!(notices.len(), 1);
        assert_eq!(offsets.get(&place), Some(&committed(2)));
        offsets.forget(|place| place.group == "g").expect("forgets");
        drop(offsets);
        assert_eq!(open(false).0.groups(), Vec::<String>::new());
    }

    #[test]
    fn a_line_that_was_written_in_part_spoils_no_other() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("offsets");
        let (mut offsets, _) = Offsets::open(&path, false).expect("opens");
        offsets.commit(vec![(place(0), committed(1))]).expect("commits");
        // As a disk leaves it that is full.
        offsets.file.write_all(b"{\"group\":\"g\",\"to\xff").expect("tears");
        offsets.is_torn = true;
        offsets.commit(vec![(place(1), committed(2))]).expect("commits");
        offsets.flush().expect("is synced");
        drop(offsets);
        let (mut offsets, notices) = Offsets::open(&path, false).expect("opens");
        assert_eq!(notices, Vec::<String>::new());
        assert_eq!(
            (offsets.get(&place(0)), offsets.get(&place(1))),
            (Some(&committed(1)), Some(&committed(2)))
        );
        // Where it was not cut, it costs itself only.
        offsets.file.write_all(b"{\"group\":\"g\",\"to\xff\n").expect("tears");
        offsets.commit(vec![(place(1), committed(3))]).expect("commits");
        offsets.flush().expect("is synced");
        drop(offsets);
        let (offsets, notices) = Offsets::open(&path, true).expect("opens");
        assert_eq!((offsets.get(&place(1)), notices.len()), (Some(&committed(3)), 1));
    }

    #[test]
    fn a_sync_that_has_failed_is_not_made_up_for_by_the_next() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("offsets");
        let place = place(0);
        let (mut offsets, _) = Offsets::open(&path, false).expect("opens");
        offsets.commit(vec![(place.clone(), committed(1))]).expect("commits");
        let no_disk = OpenOptions::new().append(true).open("/dev/null").expect("opens");
        let on_disk = std::mem::replace(&mut offsets.file, no_disk);
        offsets.flush().expect_err("there is no disk behind it");
        offsets.file = on_disk;
        let lost = offsets.flush().expect_err("nobody knows what is there");
        assert!(lost.to_string().contains("started again"), "{lost}");
        offsets.commit(vec![(place.clone(), committed(2))]).expect_err("nothing more is taken");
        assert_eq!(offsets.get(&place), Some(&committed(1)));
        drop(offsets);
        let (mut offsets, _) = Offsets::open(&path, false).expect("opens");
        assert_eq!(offsets.get(&place), Some(&committed(1)));
        offsets.commit(vec![(place.clone(), committed(2))]).expect("commits");
        offsets.flush().expect("is synced");
    }

    #[test]
    fn what_went_back_is_not_answered_before_it_is_flushed() {
        let dir = tempfile::tempdir().expect("a directory");
        let place = place(0);
        let (mut offsets, _) = Offsets::open(&dir.path().join("offsets"), false).expect("opens");
        for (offset, goes_back) in [(5, false), (5, false), (7, false), (6, true), (8, false)] {
            offsets.commit(vec![(place.clone(), committed(offset))]).expect("commits");
            assert_eq!(offsets.went_back(), goes_back, "{offset}");
            offsets.flush().expect("is synced");
            assert!(!offsets.went_back());
        }
        offsets.forget(|place| place.group == "nobody's").expect("forgets");
        assert!(!offsets.went_back());
        offsets.forget(|place| place.group == "g").expect("forgets");
        assert!(offsets.went_back());
    }

    #[test]
    fn after_a_power_loss_only_what_is_marked_counts() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("offsets");
        let place = place(0);
        let (mut offsets, _) = Offsets::open(&path, false).expect("opens");
        offsets.commit(vec![(place.clone(), committed(1))]).expect("commits");
        offsets.flush().expect("is synced");
        offsets.commit(vec![(place.clone(), committed(2))]).expect("commits");
        drop(offsets);
        let lines = std::fs::read(&path).expect("reads");
        let (offsets, notices) = Offsets::open(&path, true).expect("opens");
        assert_eq!((offsets.get(&place), notices.len()), (Some(&committed(1)), 1));
        drop(offsets);
        std::fs::write(&path, lines).expect("writes");
        let (mut offsets, notices) = Offsets::open(&path, false).expect("opens");
        assert_eq!((offsets.get(&place), notices.len()), (Some(&committed(2)), 0));
        // The log ends before it.
        let said = offsets.put_back(|_| Some(1)).expect("puts back");
        assert_eq!((offsets.get(&place), said.len()), (Some(&committed(1)), 1));
    }
}
