//! One partition: a run of segments, the producers seen in it, and what may be appended.
//! It knows nothing of topics, requests or groups.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};

use super::batch::{self, Header};
use super::segment::Segment;
use super::topic::Config;

/// Batches of one producer that are remembered, so that a repeated one is recognised: as many
/// as an idempotent producer may have in flight.
const BATCHES_PER_PRODUCER: usize = 5;
/// Producers that are remembered; beyond it the one that was silent for longest is forgotten.
const PRODUCERS_MAX: usize = 1_000;

/// Why a batch is not appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Not a batch, or not the bytes that were sent.
    Corrupt,
    /// A batch that only makes sense in a transaction, or whose numbers contradict each other.
    Invalid,
    /// Larger than the topic takes.
    TooLarge,
    /// A batch before it is missing.
    OutOfOrder,
    /// A newer instance of the producer has taken over.
    Fenced,
}

#[derive(Debug)]
struct Producer {
    epoch: i16,
    next_sequence: i32,
    /// (first sequence, its offset) of the latest batches.
    recent: VecDeque<(i32, i64)>,
    last_offset: i64,
}

/// One partition's log.
#[derive(Debug)]
pub(super) struct Log {
    dir: PathBuf,
    /// In order; never empty, the last is appended to.
    segments: Vec<Segment>,
    /// The first offset that can be read.
    pub(super) start: i64,
    /// The offset of the next record.
    pub(super) end: i64,
    producers: HashMap<i64, Producer>,
    /// Something of it may not be on the disk yet.
    dirty: bool,
}

impl Log {
    /// Opens the log in `dir`. A torn end is cut off; how many bytes is returned.
    pub(super) fn open(dir: &Path) -> io::Result<(Self, u64)> {
        std::fs::create_dir_all(dir)?;
        let mut bases = Vec::new();
        for entry in std::fs::read_dir(dir)? {
            let name = entry?.file_name();
            let base: Option<i64> =
                name.to_str().and_then(|name| name.strip_suffix(".log")).and_then(|base| base.parse().ok());
            bases.extend(base);
        }
        bases.sort_unstable();
        let start = bases.first().copied().unwrap_or(0);
        let mut log = Self {
            dir: dir.to_owned(),
            segments: Vec::new(),
            start,
            end: start,
            producers: HashMap::new(),
            dirty: true,
        };
        let mut torn = 0;
        for base in bases {
            let mut segment = Segment::open(dir, base)?;
            if torn > 0 || base != log.end {
                // Nothing can follow a torn end: what comes behind it has no place any more.
                torn += std::fs::metadata(dir.join(format!("{base:020}.log")))?.len();
                segment.delete()?;
                continue;
            }
            let (end, producers) = (&mut log.end, &mut log.producers);
            torn += segment.recover(|header| {
                *end = header.next_offset();
                remember(producers, header);
            })?;
            log.segments.push(segment);
        }
        if log.segments.is_empty() {
            log.segments.push(Segment::open(dir, log.end)?);
        }
        // What was deleted stays deleted, even where the end was lost with the power.
        log.start = read_start(dir)?.map_or(log.start, |start| start.max(log.start).min(log.end));
        Ok((log, torn))
    }

    /// Appends the batches in `records` and returns the offset of the first record; of a
    /// repeated batch the offset that it already has.
    pub(super) fn append(&mut self, records: &[u8], config: &Config) -> io::Result<Result<i64, Refusal>> {
        let mut bytes = BytesMut::from(records);
        let mut headers = Vec::new();
        let mut next = self.end;
        let mut at = 0;
        while at < bytes.len() {
            let Some(header) = Header::read(&bytes[at..]) else { return Ok(Err(Refusal::Corrupt)) };
            let Some(whole) = bytes.get_mut(at..at + header.length) else { return Ok(Err(Refusal::Corrupt)) };
            if !header.is_intact(whole) {
                return Ok(Err(Refusal::Corrupt));
            }
            if !header.is_plain() {
                return Ok(Err(Refusal::Invalid));
            }
            if header.length > config.max_message_bytes {
                return Ok(Err(Refusal::TooLarge));
            }
            match self.sequence(&header) {
                Ok(None) => {}
                Ok(Some(known)) => return Ok(Ok(known)),
                Err(refusal) => return Ok(Err(refusal)),
            }
            batch::place(whole, next);
            at += header.length;
            let placed = header.at(next);
            next = placed.next_offset();
            headers.push(placed);
        }
        let Some(first) = headers.first().map(|header| header.base_offset) else {
            return Ok(Err(Refusal::Corrupt));
        };
        if self.active().size_bytes >= config.segment_bytes {
            self.roll()?;
        }
        self.active().append(&bytes, &headers)?;
        self.dirty = true;
        self.end = next;
        for header in &headers {
            remember(&mut self.producers, header);
        }
        Ok(Ok(first))
    }

    /// Whether the batch is the producer's next (`None`) or one that is already here (its offset).
    fn sequence(&self, header: &Header) -> Result<Option<i64>, Refusal> {
        let Some(producer) = self.producers.get(&header.producer_id) else { return Ok(None) };
        if header.producer_epoch < producer.epoch {
            return Err(Refusal::Fenced);
        }
        let expected = if header.producer_epoch == producer.epoch { producer.next_sequence } else { 0 };
        if header.base_sequence == expected {
            return Ok(None);
        }
        let known = producer.recent.iter().find(|(first, _)| *first == header.base_sequence);
        match known {
            Some((_, offset)) if header.producer_epoch == producer.epoch => Ok(Some(*offset)),
            _ => Err(Refusal::OutOfOrder),
        }
    }

    fn active(&mut self) -> &mut Segment {
        self.segments.last_mut().expect("a log has a segment")
    }

    fn roll(&mut self) -> io::Result<()> {
        self.active().flush()?;
        self.segments.push(Segment::open(&self.dir, self.end)?);
        Ok(())
    }

    /// Whole batches from the one that holds `offset` on, at least one, up to `max_bytes`.
    pub(super) fn read(&self, offset: i64, max_bytes: usize) -> io::Result<Bytes> {
        let after = self.segments.partition_point(|segment| segment.base_offset <= offset);
        match after.checked_sub(1) {
            Some(at) if offset < self.end => self.segments[at].read(offset, max_bytes),
            _ => Ok(Bytes::new()),
        }
    }

    /// Offset and timestamp of the first record that is not older than `timestamp`.
    pub(super) fn first_since(&self, timestamp: i64) -> io::Result<Option<(i64, i64)>> {
        for segment in self.segments.iter().filter(|segment| segment.timestamp_max >= timestamp) {
            if let Some((header, bytes)) = segment.first_batch_since(timestamp)? {
                let (offset, found) = batch::first_since(&header, bytes, timestamp);
                return Ok(Some((offset.max(self.start), found)));
            }
        }
        Ok(None)
    }

    /// Deletes the oldest segments while the rest is still as large, or as new, as `config`
    /// asks for. The one that is appended to stays. A message is no older than its file: Kafka would delete messages
    /// of long ago, as a back-fill writes them, before anybody has read them.
    pub(super) fn expire(&mut self, config: &Config, now_ms: i64) -> io::Result<()> {
        let mut size: u64 = self.segments.iter().map(|segment| segment.size_bytes).sum();
        while self.segments.len() > 1 {
            let oldest = &self.segments[0];
            let too_old = match config.retention_ms {
                Some(keep) if oldest.timestamp_max < now_ms - keep => oldest.written_ms()? < now_ms - keep,
                _ => false,
            };
            let too_much = config.retention_bytes.is_some_and(|keep| size - oldest.size_bytes >= keep);
            if !too_old && !too_much {
                break;
            }
            size -= oldest.size_bytes;
            self.segments.remove(0).delete()?;
            self.start = self.start.max(self.segments[0].base_offset);
        }
        Ok(())
    }

    /// Deletes everything before `offset`, which is in the log or its end; whole files only leave
    /// the disk.
    pub(super) fn delete_before(&mut self, offset: i64) -> io::Result<()> {
        if offset <= self.start {
            return Ok(());
        }
        super::replace_file(&self.dir.join(START), offset.to_string().as_bytes())?;
        self.start = offset;
        while self.segments.len() > 1 && self.segments[1].base_offset <= offset {
            self.segments.remove(0).delete()?;
        }
        Ok(())
    }

    /// Brings what was appended to the disk.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        if self.dirty {
            self.active().flush()?;
            self.dirty = false;
        }
        Ok(())
    }
}

/// The file with the offset before which everything was deleted.
const START: &str = "start";

fn read_start(dir: &Path) -> io::Result<Option<i64>> {
    match std::fs::read_to_string(dir.join(START)) {
        Ok(text) => text.trim().parse().map(Some).map_err(io::Error::other),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

fn remember(producers: &mut HashMap<i64, Producer>, header: &Header) {
    if header.producer_id < 0 {
        return;
    }
    if producers.len() >= PRODUCERS_MAX && !producers.contains_key(&header.producer_id) {
        let silent = producers.iter().min_by_key(|(_, producer)| producer.last_offset).map(|(id, _)| *id);
        producers.remove(&silent.expect("there are producers"));
    }
    let producer = producers.entry(header.producer_id).or_insert_with(|| Producer {
        epoch: header.producer_epoch,
        next_sequence: 0,
        recent: VecDeque::new(),
        last_offset: 0,
    });
    if producer.epoch != header.producer_epoch {
        producer.epoch = header.producer_epoch;
        producer.recent.clear();
    }
    producer.next_sequence = header.next_sequence();
    producer.last_offset = header.base_offset;
    producer.recent.push_back((header.base_sequence, header.base_offset));
    if producer.recent.len() > BATCHES_PER_PRODUCER {
        producer.recent.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use kafka_protocol::records::{
        Compression, Record, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
    };

    use super::*;

    fn batch(producer_id: i64, sequence: i32, timestamps: &[i64]) -> Bytes {
        let records: Vec<Record> = timestamps
            .iter()
            .enumerate()
            .map(|(at, timestamp)| Record {
                transactional: false,
                control: false,
                delete_horizon: false,
                partition_leader_epoch: -1,
                producer_id,
                producer_epoch: 0,
                timestamp_type: TimestampType::Creation,
                offset: at as i64,
                sequence: sequence + at as i32,
                timestamp: *timestamp,
                key: None,
                value: Some(Bytes::from(format!("value {timestamp}"))),
                headers: Default::default(),
            })
            .collect();
        let options = RecordEncodeOptions { version: 2, compression: Compression::None };
        let mut bytes = BytesMut::new();
        RecordBatchEncoder::encode(&mut bytes, &records, &options).expect("encodes");
        bytes.freeze()
    }

    fn small_segments() -> Config {
        Config { segment_bytes: 200, retention_ms: Some(100), ..Config::default() }
    }

    fn open(dir: &Path) -> (Log, u64) {
        Log::open(dir).expect("opens")
    }

    #[test]
    fn what_was_deleted_stays_deleted() {
        let dir = tempfile::tempdir().expect("a directory");
        let (mut log, _) = open(dir.path());
        for number in 0..10 {
            let records = batch(-1, -1, &[number]);
            log.append(&records, &small_segments()).expect("writes").expect("is taken");
        }
        let files = |dir: &Path| std::fs::read_dir(dir).expect("a directory").count();
        let before = files(dir.path());
        log.delete_before(7).expect("deletes");
        assert!(files(dir.path()) < before);
        assert_eq!((log.start, log.end), (7, 10));
        let (mut log, _) = open(dir.path());
        assert_eq!((log.start, log.end), (7, 10));
        log.delete_before(3).expect("is gone already");
        log.delete_before(10).expect("deletes");
        drop(log);
        let (log, _) = open(dir.path());
        assert_eq!((log.start, log.end), (10, 10));
    }

    #[test]
    fn a_repeated_batch_gets_its_old_offset_and_a_gap_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let (mut log, _) = open(dir.path());
        let config = Config::default();
        let append =
            |log: &mut Log, sequence| log.append(&batch(7, sequence, &[1, 2]), &config).expect("writes");
        assert_eq!(append(&mut log, 0), Ok(0));
        assert_eq!(append(&mut log, 2), Ok(2));
        assert_eq!(append(&mut log, 0), Ok(0));
        assert_eq!(append(&mut log, 6), Err(Refusal::OutOfOrder));
        // The producers are known again after a restart.
        let (mut log, torn) = open(dir.path());
        assert_eq!((log.end, torn), (4, 0));
        assert_eq!(append(&mut log, 2), Ok(2));
        assert_eq!(append(&mut log, 4), Ok(4));
    }

    #[test]
    fn a_torn_end_is_cut_and_the_rest_stays() {
        let dir = tempfile::tempdir().expect("a directory");
        let (mut log, _) = open(dir.path());
        for at in 0..3 {
            log.append(&batch(-1, -1, &[at]), &Config::default()).expect("writes").expect("appends");
        }
        let path = dir.path().join(format!("{:020}.log", 0));
        let whole = std::fs::metadata(&path).expect("a file").len();
        let file = std::fs::OpenOptions::new().write(true).open(&path).expect("opens");
        file.set_len(whole - 5).expect("cuts");
        let (log, torn) = open(dir.path());
        assert_eq!(log.end, 2);
        assert!(torn > 0);
        assert_eq!(std::fs::metadata(&path).expect("a file").len(), whole - (whole / 3));
        assert_eq!(log.read(0, usize::MAX / 2).expect("reads").len() as u64, whole / 3 * 2);
    }

    #[test]
    fn reads_whole_batches_across_segments() {
        let dir = tempfile::tempdir().expect("a directory");
        let (mut log, _) = open(dir.path());
        for at in 0..20 {
            log.append(&batch(-1, -1, &[at, at]), &small_segments()).expect("writes").expect("appends");
        }
        assert!(log.segments.len() > 3);
        for offset in 0..40 {
            let bytes = log.read(offset, 1).expect("reads");
            let header = Header::read(&bytes).expect("a batch");
            assert_eq!((header.base_offset, header.length), (offset / 2 * 2, bytes.len()));
        }
        assert!(log.read(40, 100).expect("reads").is_empty());
    }

    #[test]
    fn finds_the_first_record_of_a_time() {
        let dir = tempfile::tempdir().expect("a directory");
        let (mut log, _) = open(dir.path());
        for at in 0..10 {
            log.append(&batch(-1, -1, &[10 * at, 10 * at + 5]), &small_segments())
                .expect("writes")
                .expect("appends");
        }
        assert_eq!(log.first_since(0).expect("reads"), Some((0, 0)));
        assert_eq!(log.first_since(41).expect("reads"), Some((9, 45)));
        assert_eq!(log.first_since(96).expect("reads"), None);
    }

    #[test]
    fn expired_segments_go_and_the_start_moves() {
        let dir = tempfile::tempdir().expect("a directory");
        let (mut log, _) = open(dir.path());
        for at in 0..20 {
            log.append(&batch(-1, -1, &[at * 10]), &small_segments()).expect("writes").expect("appends");
        }
        // All of them were true long ago, and are here since a moment ago.
        let now = millstream_core::now_ms();
        log.expire(&small_segments(), now).expect("expires");
        assert_eq!(log.start, 0);
        for segment in &log.segments {
            segment.set_written_ms(segment.timestamp_max);
        }
        log.expire(&small_segments(), 250).expect("expires");
        assert!(log.start > 0 && log.start <= 15, "{}", log.start);
        let (reopened, torn) = open(dir.path());
        assert_eq!((reopened.start, reopened.end, torn), (log.start, 20, 0));
    }
}
