//! The offsets that groups have committed, with their metadata, in one append-only file.
//! Whether a member may commit is the group's decision.
//!
//! A line is there as soon as it is committed, so that a kill loses none. It may stay after the
//! machine has lost its power only where everything that it covers had reached the disk: a mark says up to where that
//! is known. Where offsets went back or were deleted, that is before it is answered: after a power loss the old ones
//! would pass over messages that are to be read again.

use std::collections::{BTreeMap, VecDeque};
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

/// Says which of the lines before it are known to be covered.
#[derive(Serialize, Deserialize)]
struct Mark {
    synced: Synced,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Synced {
    /// Those in so many bytes of the file, from its beginning.
    Bytes(u64),
    /// All of them, in files of before.
    All(bool),
}

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
    /// Bytes of the file that count: marks say places in it, so that what is behind them, a write that failed half way,
    /// is cut off before anything is appended.
    length: u64,
    is_torn: bool,
    lines: usize,
    /// Bytes of the file that the last mark on the disk covers.
    covered: u64,
    /// Bytes of the file up to the end of the last line, and of the last one that went back or deleted something.
    changed: u64,
    went_back: u64,
    by_place: BTreeMap<Place, Committed>,
}

impl Offsets {
    /// Opens the file at `path`, with notices of what was not taken from it: lines that cannot be read, like a torn
    /// last one, and, where the machine `has_rebooted`, what no mark covers. An offset that is missing there is no
    /// harm: what it covers is read again. It went ahead, for no other one is answered without a mark.
    pub(super) fn open(path: &Path, has_rebooted: bool) -> io::Result<(Self, Vec<String>)> {
        let mut by_place = BTreeMap::new();
        // Each with where it ends.
        let mut unmarked: VecDeque<(u64, Line)> = VecDeque::new();
        let mut notices = Vec::new();
        match File::open(path) {
            Ok(file) => {
                let mut end = 0;
                for (number, line) in (1..).zip(BufReader::new(file).split(b'\n')) {
                    let line = line?;
                    end += line.len() as u64 + 1;
                    if let Ok(line) = serde_json::from_slice(&line) {
                        unmarked.push_back((end, line));
                    } else if let Ok(Mark { synced }) = serde_json::from_slice(&line) {
                        let covered = match synced {
                            Synced::Bytes(bytes) => bytes,
                            Synced::All(_) => end,
                        };
                        while let Some((_, line)) = unmarked.pop_front_if(|(end, _)| *end <= covered) {
                            line.apply(&mut by_place);
                        }
                    } else {
                        notices.push(format!(
                            "committed offsets: line {number} was not written to its end; what it covers is read again"
                        ));
                    }
                }
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
        if !has_rebooted {
            unmarked.into_iter().for_each(|(_, line)| line.apply(&mut by_place));
        } else if !unmarked.is_empty() {
            notices.push(format!(
                "the machine went down, or may have: {} commit(s) of its last second are read again",
                unmarked.len()
            ));
        }
        let (file, length) = rewrite(path, &by_place)?;
        let lines = by_place.len();
        let (path, syncer) = (path.to_owned(), Syncer::default());
        let (covered, changed, went_back) = (length, length, length);
        let offsets =
            Self { path, file, syncer, length, is_torn: false, lines, covered, changed, went_back, by_place };
        Ok((offsets, notices))
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
        if changes.is_empty() {
            return Ok(());
        }
        self.append(&text)?;
        self.lines += count;
        self.changed = self.length;
        for (place, committed) in changes {
            let offset = committed.as_ref().map(|committed| committed.offset);
            let before = match committed {
                Some(committed) => self.by_place.insert(place, committed),
                None => self.by_place.remove(&place),
            };
            if before.is_some_and(|before| offset.is_none_or(|offset| offset < before.offset)) {
                self.went_back = self.length;
            }
        }
        Ok(())
    }

    /// Whether there is something that may not be answered before it is flushed.
    pub(super) fn went_back(&self) -> bool {
        self.covered < self.went_back
    }

    /// Up to where in the file the lines reach that there are now.
    pub(super) fn end(&self) -> u64 {
        self.length
    }

    /// Whether it has so many lines that say nothing any more that the file should be written anew.
    pub(super) fn is_long(&self) -> bool {
        self.lines > self.by_place.len() + STALE_LINES_MAX
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

    /// Brings what was committed to the disk, where everything that the lines before `end` cover is there by now.
    pub(super) fn flush(&mut self, end: u64) -> io::Result<()> {
        if self.changed.min(end) <= self.covered {
            return Ok(());
        }
        if self.is_long() && end == self.length {
            (self.file, self.length) = rewrite(&self.path, &self.by_place)?;
            self.is_torn = false;
            self.lines = self.by_place.len();
            (self.covered, self.changed, self.went_back) = (self.length, self.length, self.length);
        } else {
            self.append(&mark(end)?)?;
            self.syncer.sync(&self.file)?;
            self.covered = end;
        }
        Ok(())
    }
}

/// The line that says that the first `bytes` of the file are covered.
fn mark(bytes: u64) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(&Mark { synced: Synced::Bytes(bytes) })?;
    line.push(b'\n');
    Ok(line)
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
    text.extend(mark(text.len() as u64)?);
    super::replace_file(path, &text)?;
    Ok((OpenOptions::new().append(true).open(path)?, text.len() as u64))
}

#[cfg(test)]
mod tests {
    use std::fs;

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
        offsets.flush(offsets.end()).expect("is synced");
        drop(offsets);
        let (mut offsets, notices) = Offsets::open(&path, false).expect("opens");
        assert_eq!(notices, Vec::<String>::new());
        assert_eq!(
            (offsets.get(&place(0)), offsets.get(&place(1))),
            (Some(&committed(1)), Some(&committed(2)))
        );
        // Where it was not cut, it costs itself only.
        offsets.file.write_all(b"{\"group\":\"g\",\"to\xff\n").expect("tears");
        offsets.length = offsets.file.metadata().expect("a file").len();
        offsets.commit(vec![(place(1), committed(3))]).expect("commits");
        offsets.flush(offsets.end()).expect("is synced");
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
        offsets.flush(offsets.end()).expect_err("there is no disk behind it");
        offsets.file = on_disk;
        let lost = offsets.flush(offsets.end()).expect_err("nobody knows what is there");
        assert!(lost.to_string().contains("started again"), "{lost}");
        offsets.commit(vec![(place.clone(), committed(2))]).expect_err("nothing more is taken");
        assert_eq!(offsets.get(&place), Some(&committed(1)));
        drop(offsets);
        let (mut offsets, _) = Offsets::open(&path, false).expect("opens");
        assert_eq!(offsets.get(&place), Some(&committed(1)));
        offsets.commit(vec![(place.clone(), committed(2))]).expect("commits");
        offsets.flush(offsets.end()).expect("is synced");
    }

    #[test]
    fn what_went_back_is_not_answered_before_it_is_flushed() {
        let dir = tempfile::tempdir().expect("a directory");
        let place = place(0);
        let (mut offsets, _) = Offsets::open(&dir.path().join("offsets"), false).expect("opens");
        for (offset, goes_back) in [(5, false), (5, false), (7, false), (6, true), (8, false)] {
            offsets.commit(vec![(place.clone(), committed(offset))]).expect("commits");
            assert_eq!(offsets.went_back(), goes_back, "{offset}");
            offsets.flush(offsets.end()).expect("is synced");
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
        offsets.flush(offsets.end()).expect("is synced");
        offsets.commit(vec![(place.clone(), committed(2))]).expect("commits");
        drop(offsets);
        let lines = fs::read(&path).expect("reads");
        let (offsets, notices) = Offsets::open(&path, true).expect("opens");
        assert_eq!((offsets.get(&place), notices.len()), (Some(&committed(1)), 1));
        drop(offsets);
        fs::write(&path, lines).expect("writes");
        let (mut offsets, notices) = Offsets::open(&path, false).expect("opens");
        assert_eq!((offsets.get(&place), notices.len()), (Some(&committed(2)), 0));
        // The log ends before it.
        let said = offsets.put_back(|_| Some(1)).expect("puts back");
        assert_eq!((offsets.get(&place), said.len()), (Some(&committed(1)), 1));
    }

    #[test]
    fn what_is_committed_while_the_disk_works_is_not_marked_yet() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("offsets");
        let (mut offsets, _) = Offsets::open(&path, false).expect("opens");
        offsets.commit(vec![(place(0), committed(5)), (place(1), committed(5))]).expect("commits");
        let end = offsets.end();
        offsets.commit(vec![(place(0), committed(6)), (place(1), committed(4))]).expect("commits");
        offsets.flush(end).expect("is synced");
        assert!(offsets.went_back(), "that line is not covered");
        let before = fs::read(&path).expect("reads");
        offsets.flush(offsets.end()).expect("is synced");
        assert!(!offsets.went_back());
        for (lines, first, second) in [(before, 5, 5), (fs::read(&path).expect("reads"), 6, 4)] {
            fs::write(&path, lines).expect("writes");
            let (offsets, _) = Offsets::open(&path, true).expect("opens");
            let found = [0, 1].map(|partition| offsets.get(&place(partition)));
            assert_eq!(found, [Some(&committed(first)), Some(&committed(second))]);
        }
    }

    #[test]
    fn a_mark_of_before_covers_all_that_is_before_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("offsets");
        let line = |offset| {
            serde_json::to_string(&Line { place: place(0), committed: Some(committed(offset)) })
                .expect("JSON")
        };
        fs::write(&path, format!("{}\n{{\"synced\":true}}\n{}\n", line(1), line(2))).expect("writes");
        let (offsets, notices) = Offsets::open(&path, true).expect("opens");
        assert_eq!((offsets.get(&place(0)), notices.len()), (Some(&committed(1)), 1));
    }

    #[test]
    fn a_long_file_is_written_anew_once_all_of_it_is_covered() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("offsets");
        let (mut offsets, _) = Offsets::open(&path, false).expect("opens");
        for offset in 0..=STALE_LINES_MAX as i64 + 1 {
            offsets.commit(vec![(place(0), committed(offset))]).expect("commits");
        }
        let end = offsets.end();
        let last = committed(STALE_LINES_MAX as i64 + 2);
        offsets.commit(vec![(place(0), last.clone())]).expect("commits");
        offsets.flush(end).expect("is synced");
        assert!(offsets.is_long(), "the last line is not covered");
        offsets.flush(offsets.end()).expect("is written anew");
        assert!(!offsets.is_long());
        assert_eq!(fs::read_to_string(&path).expect("reads").lines().count(), 2);
        drop(offsets);
        let (offsets, _) = Offsets::open(&path, true).expect("opens");
        assert_eq!(offsets.get(&place(0)), Some(&last));
    }
}
