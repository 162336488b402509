//! One file of a partition's log and the sparse index that finds batches in it.
//! When to begin a new file and when to delete one is the log's decision.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use bytes::Bytes;

use super::batch::{HEADER_BYTES, Header};
use crate::syncer::Syncer;

/// An index entry is made for the first batch and then whenever so many bytes have passed.
const INDEX_EVERY_BYTES: u64 = 64 * 1024;

/// A place in the file from which batches can be read on.
#[derive(Debug, Clone, Copy)]
struct IndexEntry {
    base_offset: i64,
    position: u64,
}

/// One append-only file of batches.
#[derive(Debug)]
pub(super) struct Segment {
    path: PathBuf,
    /// Open while it is appended to, so that it learns of every failure to write it. A full file is opened to be read:
    /// a long log has more of them than a process may have open.
    file: Option<Arc<File>>,
    syncer: Syncer,
    pub(super) base_offset: i64,
    pub(super) size_bytes: u64,
    /// The greatest timestamp in the file, or −1.
    pub(super) timestamp_max: i64,
    index: Vec<IndexEntry>,
}

impl Segment {
    /// The file for the log's part from `base_offset` on, made if missing, to be appended to.
    pub(super) fn open(dir: &Path, base_offset: i64) -> io::Result<Self> {
        let path = path(dir, base_offset);
        let is_new = !path.exists();
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let file = Some(Arc::new(opened.map_err(failed("opening", &path))?));
        if is_new && let Err(error) = super::sync_folder(dir) {
            // The next try makes it anew, and brings its name to the disk.
            std::fs::remove_file(&path)?;
            return Err(failed("making", &path)(error));
        }
        let (syncer, index) = (Syncer::default(), Vec::new());
        Ok(Self { path, file, syncer, base_offset, size_bytes: 0, timestamp_max: -1, index })
    }

    /// Nothing more is appended to it.
    pub(super) fn close(&mut self) {
        self.file = None;
    }

    fn file(&self) -> io::Result<Arc<File>> {
        match &self.file {
            Some(file) => Ok(file.clone()),
            None => File::open(&self.path).map(Arc::new).map_err(failed("opening", &self.path)),
        }
    }

    /// Reads the file from its start and hands each intact batch's header to `found`. What
    /// follows the last intact batch in order is cut off; its length is returned.
    pub(super) fn recover(&mut self, mut found: impl FnMut(&Header)) -> io::Result<u64> {
        let file = self.file()?;
        let end = file.metadata()?.len();
        let mut next = self.base_offset;
        let mut batch = Vec::new();
        while let Some(header) = header_at(&file, self.size_bytes, end)? {
            batch.resize(header.length, 0);
            file.read_exact_at(&mut batch, self.size_bytes)?;
            if header.base_offset != next || !header.is_intact(&batch) {
                break;
            }
            next = header.next_offset();
            self.note(&header);
            found(&header);
        }
        let torn = end - self.size_bytes;
        if torn > 0 {
            file.set_len(self.size_bytes)?;
        }
        Ok(torn)
    }

    /// As [`Segment::recover`], of a file behind which another begins with offset `until`. It was on the disk before
    /// that one was made: it has no torn end, and what does not lead there is damage that nobody but a person may mend.
    pub(super) fn recover_full(&mut self, until: i64, mut found: impl FnMut(&Header)) -> io::Result<()> {
        let file = self.file()?;
        let end = file.metadata()?.len();
        let mut next = self.base_offset;
        // What is behind `until` was left by a write that failed half way, and counts for nothing.
        while next < until
            && let Some(header) = header_at(&file, self.size_bytes, end)?
            && header.base_offset == next
            && header.next_offset() > next
        {
            next = header.next_offset();
            self.note(&header);
            found(&header);
        }
        if next != until {
            return Err(self.damaged(
                self.size_bytes,
                &format!(
                    "offset {next} should be here, for the log goes on with {until} in the next file: this one is \
                     damaged, or one behind it is missing. Nothing was changed. Put the file back from a copy, or move \
                     this one and those before it out of the folder: what follows is kept"
                ),
            ));
        }
        self.close();
        Ok(())
    }

    fn damaged(&self, position: u64, what: &str) -> io::Error {
        let place = format!("{}, byte {position}", self.path.display());
        io::Error::new(io::ErrorKind::InvalidData, format!("{place}: {what}"))
    }

    /// Writes the batch `bytes`, whose header is `header`, at the end. When it fails, nothing of it
    /// counts: the next append writes over it.
    pub(super) fn append(&mut self, bytes: &[u8], header: &Header) -> io::Result<()> {
        let file = self.file()?;
        let written = self.syncer.check().and_then(|()| file.write_all_at(bytes, self.size_bytes));
        written.map_err(failed("writing", &self.path))?;
        self.note(header);
        Ok(())
    }

    fn note(&mut self, header: &Header) {
        let due = self.index.last().is_none_or(|last| self.size_bytes - last.position >= INDEX_EVERY_BYTES);
        if due {
            self.index.push(IndexEntry { base_offset: header.base_offset, position: self.size_bytes });
        }
        self.size_bytes += header.length as u64;
        self.timestamp_max = self.timestamp_max.max(header.timestamp_max);
    }

    /// Whole batches from the one that holds `offset` on, no more than fit into `max_bytes`, or the first where
    /// there has to be `at_least_one`. Empty where the file ends before `offset`.
    pub(super) fn read(&self, offset: i64, max_bytes: usize, at_least_one: bool) -> io::Result<Bytes> {
        let Some(mut position) = self.position_before(offset) else { return Ok(Bytes::new()) };
        let file = self.file()?;
        // One read serves nearly always: from the index entry on, the batches before the wanted
        // one and what was asked for.
        let wanted = INDEX_EVERY_BYTES + max_bytes as u64;
        let mut bytes = self.bytes(&file, position, wanted.min(self.size_bytes - position))?;
        loop {
            let Some(header) = Header::read(&bytes) else {
                if bytes.len() >= HEADER_BYTES {
                    return Err(self.damaged(position, "this is no batch: the file is damaged"));
                }
                if position + bytes.len() as u64 >= self.size_bytes {
                    return Ok(Bytes::new());
                }
                bytes = self.bytes(&file, position, wanted.min(self.size_bytes - position))?;
                continue;
            };
            if header.next_offset() > offset {
                if header.length > max_bytes && !at_least_one {
                    return Ok(Bytes::new());
                }
                if header.length > bytes.len() {
                    return self.bytes(&file, position, header.length as u64);
                }
                let whole = bytes.slice(..whole_batches(&bytes, max_bytes));
                // A small part would keep all of it in memory.
                return Ok(if whole.len() < bytes.len() / 2 {
                    Bytes::copy_from_slice(&whole)
                } else {
                    whole
                });
            }
            position += header.length as u64;
            bytes = bytes.slice(header.length.min(bytes.len())..);
        }
    }

    fn position_before(&self, offset: i64) -> Option<u64> {
        let after = self.index.partition_point(|entry| entry.base_offset <= offset);
        Some(self.index.get(after.checked_sub(1)?)?.position)
    }

    fn bytes(&self, file: &File, position: u64, length: u64) -> io::Result<Bytes> {
        let mut bytes = vec![0; length as usize];
        file.read_exact_at(&mut bytes, position).map_err(failed("reading", &self.path))?;
        Ok(bytes.into())
    }

    /// The first batch with a record that is not older than `timestamp`.
    pub(super) fn first_batch_since(&self, timestamp: i64) -> io::Result<Option<(Header, Bytes)>> {
        let file = self.file()?;
        let mut position = 0;
        while let Some(header) = header_at(&file, position, self.size_bytes)? {
            if header.timestamp_max >= timestamp {
                return Ok(Some((header, self.bytes(&file, position, header.length as u64)?)));
            }
            position += header.length as u64;
        }
        Ok(None)
    }

    /// When it was written last, in milliseconds since 1970.
    pub(super) fn written_ms(&self) -> io::Result<i64> {
        let since = std::fs::metadata(&self.path)?.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(since.as_millis() as i64)
    }

    #[cfg(test)]
    pub(super) fn set_written_ms(&self, ms: i64) {
        let at = UNIX_EPOCH + std::time::Duration::from_millis(ms as u64);
        let file = OpenOptions::new().write(true).open(&self.path).expect("opens");
        file.set_modified(at).expect("a file's time");
    }

    /// Whatever is written and synced from now on goes to another file, like one that fails.
    #[cfg(test)]
    pub(super) fn write_to(&mut self, path: &Path) {
        let file = OpenOptions::new().read(true).write(true).open(path).expect("opens");
        self.file = Some(Arc::new(file));
    }

    /// Brings what was appended to the disk. Once that has failed, nothing more is appended or brought there.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        let file = self.file()?;
        self.syncer.sync(&file).map_err(failed("syncing", &self.path))
    }

    /// Deletes the file.
    pub(super) fn delete(self) -> io::Result<()> {
        std::fs::remove_file(&self.path).map_err(failed("deleting", &self.path))
    }
}

/// The file in `dir` for the log's part from `base_offset` on.
pub(super) fn path(dir: &Path, base_offset: i64) -> PathBuf {
    dir.join(format!("{base_offset:020}.log"))
}

/// The header of the batch at `position`, if one begins there and the whole of it is before `end`.
fn header_at(file: &File, position: u64, end: u64) -> io::Result<Option<Header>> {
    if position + HEADER_BYTES as u64 > end {
        return Ok(None);
    }
    let mut bytes = [0; HEADER_BYTES];
    file.read_exact_at(&mut bytes, position)?;
    Ok(Header::read(&bytes).filter(|header| position + header.length as u64 <= end))
}

/// Says of an error what was attempted: the system's words are the same for reading and writing, and name no file.
fn failed(what: &'static str, path: &Path) -> impl Fn(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{what} {}: {error}", path.display()))
}

/// Bytes of the whole batches at the start of `bytes` that fit into `max_bytes`, at least one.
fn whole_batches(bytes: &[u8], max_bytes: usize) -> usize {
    let mut end = 0;
    while let Some(header) = Header::read(&bytes[end..]) {
        let next = end + header.length;
        if next > bytes.len() || (end > 0 && next > max_bytes) {
            break;
        }
        end = next;
    }
    end
}
