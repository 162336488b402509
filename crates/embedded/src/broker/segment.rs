//! One file of a partition's log and the sparse index that finds batches in it.
//! When to begin a new file and when to delete one is the log's decision.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
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

    /// Reads the file from its start and hands each intact batch's header to `found`. What follows the last intact
    /// batch is cut off; its length is returned. Damage with an intact batch behind it is no torn end: only what is
    /// damaged is taken out, for the rest was acknowledged.
    pub(super) fn recover(&mut self, mut found: impl FnMut(&Header)) -> io::Result<u64> {
        let file = self.file()?;
        let end = file.metadata()?.len();
        let (mut next, mut position) = (self.base_offset, 0);
        let mut batch = Vec::new();
        let mut gaps = Vec::new();
        loop {
            let intact = intact_at(&file, position, end, &mut batch)?;
            let header = match intact.filter(|header| header.base_offset == next) {
                Some(header) => {
                    position += header.length as u64;
                    header
                }
                None => {
                    let Some(gap) = gap_at(&file, position, end, next)? else { break };
                    let header = Header::read(&gap.stand_in()).expect("a whole header");
                    position = gap.bytes.end;
                    gaps.push(gap);
                    header
                }
            };
            next = header.next_offset();
            self.note(&header);
            found(&header);
        }
        if !gaps.is_empty() {
            self.mend(&file, &gaps, position)?;
        } else if position < end {
            file.set_len(position)?;
        }
        Ok(end - position)
    }

    /// Puts a file in place of the `damaged` one, up to `end` of it. What is in `gaps` is kept beside it.
    fn mend(&mut self, damaged: &File, gaps: &[Gap], end: u64) -> io::Result<()> {
        let new = self.path.with_extension("log.new");
        let mended = self.mended(damaged, gaps, end, &new).inspect_err(|_| {
            // A disk that is full needs the room.
            std::fs::remove_file(&new).ok();
        })?;
        std::fs::rename(&new, &self.path).map_err(failed("replacing", &self.path))?;
        self.path.parent().map_or(Ok(()), super::sync_folder)?;
        self.file = Some(Arc::new(mended));
        Ok(())
    }

    /// The file at `new` as the damaged one is without what is in `gaps`.
    fn mended(&self, damaged: &File, gaps: &[Gap], end: u64, new: &Path) -> io::Result<File> {
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(new);
        let mut mended = opened.map_err(failed("making", new))?;
        let mut from = 0;
        for gap in gaps {
            let kept = self.keep(damaged, gap)?;
            tracing::warn!(
                "{}, byte {}: the messages with offsets {} to {} are damaged and cannot be read any more. What is left \
                 of them is kept in {}; those behind them stay",
                self.path.display(),
                gap.bytes.start,
                gap.offsets.start,
                gap.offsets.end - 1,
                kept.display()
            );
            copy(damaged, from..gap.bytes.start, &mut mended)
                .and_then(|()| mended.write_all(&gap.stand_in()))
                .map_err(failed("writing", new))?;
            from = gap.bytes.end;
        }
        copy(damaged, from..end, &mut mended)
            .and_then(|()| mended.sync_all())
            .map_err(failed("writing", new))?;
        Ok(mended)
    }

    /// Brings the bytes of `gap` to a file of their own, whose name says which offsets they had.
    fn keep(&self, damaged: &File, gap: &Gap) -> io::Result<PathBuf> {
        let offsets = format!("{}-{}.cut", gap.offsets.start, gap.offsets.end - 1);
        let path = self.path.with_extension(offsets);
        let mut kept = File::create(&path).map_err(failed("making", &path))?;
        copy(damaged, gap.bytes.clone(), &mut kept)
            .and_then(|()| kept.sync_all())
            .map_err(failed("writing", &path))?;
        Ok(path)
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

/// Damage between two intact batches.
#[derive(Debug)]
struct Gap {
    bytes: Range<u64>,
    /// Those of the messages that were there.
    offsets: Range<i64>,
}

impl Gap {
    /// What is there instead: a batch without records, as Kafka's compaction leaves them, which every consumer steps
    /// over. So a file leads from offset to offset, and one that does not is still known to be damaged.
    fn stand_in(&self) -> [u8; HEADER_BYTES] {
        let length = (HEADER_BYTES - 12) as i32;
        let last_offset_delta = (self.offsets.end - self.offsets.start - 1) as i32;
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(&self.offsets.start.to_be_bytes());
        bytes[8..12].copy_from_slice(&length.to_be_bytes());
        bytes[16] = 2;
        bytes[23..27].copy_from_slice(&last_offset_delta.to_be_bytes());
        // No timestamps, no producer, no sequence: each is −1.
        bytes[27..57].fill(0xff);
        let checksum = crc32c::crc32c(&bytes[21..]);
        bytes[17..21].copy_from_slice(&checksum.to_be_bytes());
        bytes
    }
}

/// The damage at `position`, where the batch with offset `next` should be, up to the next intact one; none where
/// nothing intact follows.
fn gap_at(file: &File, position: u64, end: u64, next: i64) -> io::Result<Option<Gap>> {
    let mut rest = vec![0; (end - position) as usize];
    file.read_exact_at(&mut rest, position)?;
    let damaged = Header::read(&rest);
    let own = damaged.filter(|header| header.base_offset == next);
    let expected = own.map(|header| header.next_offset());
    // All that follows is in the batch itself, for the write was torn; or else its length is what is damaged.
    let seems_torn = own.is_some_and(|header| header.length > rest.len());
    let fits = |header: &Header, behind: &[u8]| {
        expected == Some(header.base_offset) || (!seems_torn && leads_on(header, behind))
    };
    // Where the length is not what is damaged, the batch is stepped over whole: a message may have batches in it.
    let mut places = damaged.map(|header| header.length).into_iter().chain(1..rest.len());
    let found = places.find_map(|at| Some((at as u64, goes_on_with(rest.get(at..)?, next, fits)?)));
    Ok(found.map(|(length, offset)| Gap { bytes: position..position + length, offsets: next..offset }))
}

/// The offset of the intact batch at the start of `bytes`, where one begins there that can be behind the one with
/// offset `next`, and fits with what is behind it.
fn goes_on_with(bytes: &[u8], next: i64, fits: impl Fn(&Header, &[u8]) -> bool) -> Option<i64> {
    let header = Header::read(bytes)?;
    let batch = bytes.get(..header.length)?;
    let missing = header.base_offset.checked_sub(next)?;
    // More than that no batch can stand in for.
    let is_behind = (1..=i64::from(i32::MAX)).contains(&missing);
    let is_one =
        is_behind && header.is_plain() && fits(&header, &bytes[header.length..]) && header.is_intact(batch);
    is_one.then_some(header.base_offset)
}

/// Whether an intact batch behind another one, where there is one, has the offset that follows. No checksum covers a
/// batch's offset: the one behind it tells whether it is right.
fn leads_on(header: &Header, behind: &[u8]) -> bool {
    let next = Header::read(behind);
    let intact = next.filter(|next| behind.get(..next.length).is_some_and(|batch| next.is_intact(batch)));
    intact.is_none_or(|next| next.base_offset == header.next_offset())
}

/// Appends a part of a file to another.
fn copy(file: &File, bytes: Range<u64>, to: &mut File) -> io::Result<()> {
    let mut from = file;
    from.seek(SeekFrom::Start(bytes.start))?;
    io::copy(&mut from.take(bytes.end - bytes.start), to)?;
    Ok(())
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

/// The header of the batch at `position`, if it is intact; its bytes are in `batch` then.
fn intact_at(file: &File, position: u64, end: u64, batch: &mut Vec<u8>) -> io::Result<Option<Header>> {
    let Some(header) = header_at(file, position, end)? else { return Ok(None) };
    batch.resize(header.length, 0);
    file.read_exact_at(batch, position)?;
    Ok(Some(header).filter(|header| header.is_intact(batch)))
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
