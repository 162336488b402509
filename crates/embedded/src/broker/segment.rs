//! One file of a partition's log and the sparse index that finds batches in it.
//! When to begin a new file and when to delete one is the log's decision.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use bytes::Bytes;

use super::batch::{HEADER_BYTES, Header};

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
    file: File,
    pub(super) base_offset: i64,
    pub(super) size_bytes: u64,
    /// The greatest timestamp in the file, or −1.
    pub(super) timestamp_max: i64,
    index: Vec<IndexEntry>,
}

impl Segment {
    /// The file for the log's part from `base_offset` on, made if missing.
    pub(super) fn open(dir: &Path, base_offset: i64) -> io::Result<Self> {
        let path = dir.join(format!("{base_offset:020}.log"));
        let is_new = !path.exists();
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
        if is_new {
            super::sync_folder(dir)?;
        }
        Ok(Self { path, file, base_offset, size_bytes: 0, timestamp_max: -1, index: Vec::new() })
    }

    /// Reads the file from its start and hands each intact batch's header to `found`. What
    /// follows the last intact batch in order is cut off; its length is returned.
    pub(super) fn recover(&mut self, mut found: impl FnMut(&Header)) -> io::Result<u64> {
        let end = self.file.metadata()?.len();
        let mut next = self.base_offset;
        let mut batch = Vec::new();
        while let Some(header) = self.header_at(self.size_bytes, end)? {
            batch.resize(header.length, 0);
            self.file.read_exact_at(&mut batch, self.size_bytes)?;
            if header.base_offset != next || !header.is_intact(&batch) {
                break;
            }
            next = header.next_offset();
            self.note(&header);
            found(&header);
        }
        let torn = end - self.size_bytes;
        if torn > 0 {
            self.file.set_len(self.size_bytes)?;
        }
        Ok(torn)
    }

    fn header_at(&self, position: u64, end: u64) -> io::Result<Option<Header>> {
        if position + HEADER_BYTES as u64 > end {
            return Ok(None);
        }
        let mut bytes = [0; HEADER_BYTES];
        self.file.read_exact_at(&mut bytes, position)?;
        Ok(Header::read(&bytes).filter(|header| position + header.length as u64 <= end))
    }

    /// Writes `bytes`, whose batches are `headers`, at the end. When it fails, nothing of it
    /// counts: the next append writes over it.
    pub(super) fn append(&mut self, bytes: &[u8], headers: &[Header]) -> io::Result<()> {
        self.file.write_all_at(bytes, self.size_bytes)?;
        for header in headers {
            self.note(header);
        }
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

    /// Whole batches from the one that holds `offset` on: at least one, and no more than fit
    /// into `max_bytes`. Empty where the file ends before `offset`.
    pub(super) fn read(&self, offset: i64, max_bytes: usize) -> io::Result<Bytes> {
        let Some(mut position) = self.position_before(offset) else { return Ok(Bytes::new()) };
        // One read serves nearly always: from the index entry on, the batches before the wanted
        // one and what was asked for.
        let wanted = INDEX_EVERY_BYTES + max_bytes as u64;
        let mut bytes = self.bytes(position, wanted.min(self.size_bytes - position))?;
        loop {
            let Some(header) = Header::read(&bytes) else {
                if position + bytes.len() as u64 >= self.size_bytes {
                    return Ok(Bytes::new());
                }
                bytes = self.bytes(position, wanted.min(self.size_bytes - position))?;
                continue;
            };
            if header.next_offset() > offset {
                if header.length > bytes.len() {
                    return self.bytes(position, header.length as u64);
                }
                return Ok(bytes.slice(..whole_batches(&bytes, max_bytes)));
            }
            position += header.length as u64;
            bytes = bytes.slice(header.length.min(bytes.len())..);
        }
    }

    fn position_before(&self, offset: i64) -> Option<u64> {
        let after = self.index.partition_point(|entry| entry.base_offset <= offset);
        Some(self.index.get(after.checked_sub(1)?)?.position)
    }

    fn bytes(&self, position: u64, length: u64) -> io::Result<Bytes> {
        let mut bytes = vec![0; length as usize];
        self.file.read_exact_at(&mut bytes, position)?;
        Ok(bytes.into())
    }

    /// The first batch with a record that is not older than `timestamp`.
    pub(super) fn first_batch_since(&self, timestamp: i64) -> io::Result<Option<(Header, Bytes)>> {
        let mut position = 0;
        while let Some(header) = self.header_at(position, self.size_bytes)? {
            if header.timestamp_max >= timestamp {
                return Ok(Some((header, self.bytes(position, header.length as u64)?)));
            }
            position += header.length as u64;
        }
        Ok(None)
    }

    /// When it was written last, in milliseconds since 1970.
    pub(super) fn written_ms(&self) -> io::Result<i64> {
        let since = self.file.metadata()?.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(since.as_millis() as i64)
    }

    #[cfg(test)]
    pub(super) fn set_written_ms(&self, ms: i64) {
        let at = UNIX_EPOCH + std::time::Duration::from_millis(ms as u64);
        self.file.set_modified(at).expect("a file's time");
    }

    /// Brings what was appended to the disk.
    pub(super) fn flush(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Deletes the file; reads already under way finish.
    pub(super) fn delete(self) -> io::Result<()> {
        std::fs::remove_file(&self.path)
    }
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
