//! The offsets that groups have committed, with their metadata, in one append-only file.
//! Whether a member may commit is the group's decision.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

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
    lines: usize,
    dirty: bool,
    by_place: BTreeMap<Place, Committed>,
}

impl Offsets {
    /// Opens the file at `path`, with a notice where its last line was torn.
    pub(super) fn open(path: &Path) -> io::Result<(Self, Option<String>)> {
        let mut by_place = BTreeMap::new();
        let mut notice = None;
        match File::open(path) {
            Ok(file) => {
                let mut lines = BufReader::new(file).lines().peekable();
                while let Some(line) = lines.next() {
                    match serde_json::from_str::<Line>(&line?) {
                        Ok(Line { place, committed: Some(committed) }) => {
                            by_place.insert(place, committed);
                        }
                        Ok(Line { place, committed: None }) => {
                            by_place.remove(&place);
                        }
                        Err(_) if lines.peek().is_none() => {
                            notice = Some("committed offsets: cut off a torn last line".to_owned());
                        }
                        Err(error) => return Err(error.into()),
                    }
                }
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
        let file = rewrite(path, &by_place)?;
        let lines = by_place.len();
        Ok((Self { path: path.to_owned(), file, lines, dirty: false, by_place }, notice))
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
        self.file.write_all(&text)?;
        self.lines += count;
        self.dirty = true;
        for (place, committed) in changes {
            match committed {
                Some(committed) => self.by_place.insert(place, committed),
                None => self.by_place.remove(&place),
            };
        }
        if self.lines > self.by_place.len() + STALE_LINES_MAX {
            self.file = rewrite(&self.path, &self.by_place)?;
            self.lines = self.by_place.len();
        }
        Ok(())
    }

    /// Brings what was committed to the disk.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        if self.dirty {
            self.file.sync_data()?;
            self.dirty = false;
        }
        Ok(())
    }
}

fn rewrite(path: &Path, by_place: &BTreeMap<Place, Committed>) -> io::Result<File> {
    let mut text = Vec::new();
    for (place, committed) in by_place {
        let line = Line { place: place.clone(), committed: Some(committed.clone()) };
        serde_json::to_writer(&mut text, &line)?;
        text.push(b'\n');
    }
    super::replace_file(path, &text)?;
    OpenOptions::new().append(true).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_commit_is_found_again_and_a_torn_line_is_not() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("offsets");
        let place = Place { group: "g".into(), topic: "t".into(), partition: 0 };
        let committed = |offset| Committed { offset, metadata: "{\"read\":1}\n".into() };
        let (mut offsets, _) = Offsets::open(&path).expect("opens");
        for offset in [1, 2] {
            offsets.commit(vec![(place.clone(), committed(offset))]).expect("commits");
        }
        offsets.file.write_all(b"{\"group\":\"g\",\"to").expect("tears");
        drop(offsets);
        let (mut offsets, notice) = Offsets::open(&path).expect("opens");
        assert!(notice.is_some());
        assert_eq!(offsets.get(&place), Some(&committed(2)));
        offsets.forget(|place| place.group == "g").expect("forgets");
        drop(offsets);
        assert_eq!(Offsets::open(&path).expect("opens").0.groups(), Vec::<String>::new());
    }
}
