//! One partition: a run of segments, the producers seen in it, and what may be appended.
//! It knows nothing of topics, requests or groups.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::batch::{self, Header};
use super::segment::{self, Segment};
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
    /// More than one batch, as Kafka takes none either; one that only makes sense in a transaction, or whose numbers
    /// contradict each other.
    Invalid,
    /// Larger than the topic takes.
    TooLarge,
    /// A batch before it is missing.
    OutOfOrder,
    /// A newer instance of the producer has taken over.
    Fenced,
    /// The topic has been deleted meanwhile.
    Deleted,
}

#[derive(Debug)]
struct Producer {
    epoch: i16,
    next_sequence: i32,
    /// (first sequence, its offset) of the latest batches.
    recent: VecDeque<(i32, i64)>,
    last_offset: i64,
}

impl Producer {
    /// Whether the batch is its next (`None`) or one that is already here (its offset).
    fn sequence(&self, header: &Header) -> Result<Option<i64>, Refusal> {
        if header.producer_epoch < self.epoch {
            return Err(Refusal::Fenced);
        }
        let expected = if header.producer_epoch == self.epoch { self.next_sequence } else { 0 };
        if header.base_sequence == expected {
            return Ok(None);
        }
        let known = self.recent.iter().find(|(first, _)| *first == header.base_sequence);
        match known {
            Some((_, offset)) if header.producer_epoch == self.epoch => Ok(Some(*offset)),
            _ => Err(Refusal::OutOfOrder),
        }
    }
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
    /// Whoever still holds it leaves the disk alone: another topic's files may be where its own were.
    is_deleted: bool,
}

impl Log {
    /// Opens the log in `dir`. A torn end is cut off; how many bytes is returned. Damage before it is an error in a full
    /// file, which stays as it is; out of the last file it is taken, and kept beside it. What is behind it stays.
    pub(super) fn open(dir: &Path) -> io::Result<(Self, u64)> {
        std::fs::create_dir_all(dir)?;
        let mut bases = Vec::new();
        for entry in std::fs::read_dir(dir)? {
            let name = entry?.file_name();
            let base: Option<i64> =
                name.to_str().and_then(|name| name.strip_suffix(".log")).and_then(|base| base.parse().ok());
            bases.extend(base.filter(|base| (0..OFFSET_MAX).contains(base)));
        }
        bases.sort_unstable();
        let first = bases.first().copied().unwrap_or(0);
        let start = read_start(dir)?.map_or(first, |start| start.max(first));
        // What was deleted stays deleted, also where its files could not be.
        let unread = bases.windows(2).take_while(|pair| pair[1] <= start).count();
        for base in bases.drain(..unread) {
            std::fs::remove_file(segment::path(dir, base))?;
        }
        let mut log = Self {
            dir: dir.to_owned(),
            segments: Vec::new(),
            start,
            end: bases.first().copied().unwrap_or(start),
            producers: HashMap::new(),
            dirty: true,
            is_deleted: false,
        };
        let mut torn = 0;
        for (at, base) in bases.iter().enumerate() {
            let mut segment = Segment::open(dir, *base)?;
            let (end, producers) = (&mut log.end, &mut log.producers);
            let found = |header: &Header| {
                *end = header.next_offset();
                remember(producers, header);
            };
            match bases.get(at + 1) {
                Some(next) => segment.recover_full(*next, found)?,
                None => torn = segment.recover(found)?,
            }
            log.segments.push(segment);
        }
        if log.segments.is_empty() || log.end < log.start {
            // Where the end was lost with the power, all that is left had been deleted. No offset is given twice.
            log.end = log.start;
            log.begin_segment()?;
            log.delete_unread()?;
        }
        Ok((log, torn))
    }

    /// Appends the batch in `records` and returns the offset of the first record; of a
    /// repeated batch the offset that it already has.
    pub(super) fn append(&mut self, records: &[u8], config: &Config) -> io::Result<Result<i64, Refusal>> {
        let header = match self.check(records, config) {
            Ok(header) => header,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let header = header.at(self.end);
        // A new producer is known before anything can fail: its next batch, which is under way, is not taken first.
        if let Some(producer) = producer_of(&mut self.producers, &header) {
            match producer.sequence(&header) {
                Ok(None) => {}
                Ok(Some(known)) => return Ok(Ok(known)),
                Err(refusal) => return Ok(Err(refusal)),
            }
        }
        let mut bytes = records.to_vec();
        batch::place(&mut bytes, header.base_offset);
        if self.active().size_bytes >= config.segment_bytes {
            self.roll()?;
        }
        self.active().append(&bytes, &header)?;
        self.dirty = true;
        self.end = header.next_offset();
        remember(&mut self.producers, &header);
        Ok(Ok(header.base_offset))
    }

    /// The header of the one batch in `records`, which is whole and may be appended.
    fn check(&self, records: &[u8], config: &Config) -> Result<Header, Refusal> {
        if self.is_deleted {
            return Err(Refusal::Deleted);
        }
        let header = Header::read(records).filter(|header| header.length <= records.len());
        let header = header.ok_or(Refusal::Corrupt)?;
        if header.length < records.len() {
            return Err(Refusal::Invalid);
        }
        if !header.is_intact(records) {
            return Err(Refusal::Corrupt);
        }
        if !header.is_plain() {
            return Err(Refusal::Invalid);
        }
        if header.length > config.max_message_bytes {
            return Err(Refusal::TooLarge);
        }
        Ok(header)
    }

    fn active(&mut self) -> &mut Segment {
        self.segments.last_mut().expect("a log has a segment")
    }

    fn roll(&mut self) -> io::Result<()> {
        self.active().flush()?;
        self.begin_segment()
    }

    /// Begins the file that is appended to from now on.
    fn begin_segment(&mut self) -> io::Result<()> {
        let next = Segment::open(&self.dir, self.end)?;
        if let Some(full) = self.segments.last_mut() {
            full.close();
        }
        self.segments.push(next);
        Ok(())
    }

    /// Whole batches from the one that holds `offset` on, up to `max_bytes`, or the first where there has to be
    /// `at_least_one`.
    pub(super) fn read(&self, offset: i64, max_bytes: usize, at_least_one: bool) -> io::Result<Bytes> {
        let after = self.segments.partition_point(|segment| segment.base_offset <= offset);
        match after.checked_sub(1) {
            Some(at) if offset < self.end => self.segments[at].read(offset, max_bytes, at_least_one),
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
        let mut start = self.start;
        for pair in self.segments.windows(2) {
            let (oldest, next) = (&pair[0], &pair[1]);
            let too_old = match config.retention_ms {
                Some(keep) if oldest.timestamp_max < now_ms - keep => oldest.written_ms()? < now_ms - keep,
                _ => false,
            };
            let too_much = config.retention_bytes.is_some_and(|keep| size - oldest.size_bytes >= keep);
            if !too_old && !too_much {
                break;
            }
            size -= oldest.size_bytes;
            start = start.max(next.base_offset);
        }
        if start == self.start {
            return Ok(());
        }
        // A full disk may not take it, and the room is needed: in their order the files leave no gap all the same.
        let remembered = self.remember_start(start);
        self.start = start;
        self.delete_unread().and(remembered)
    }

    /// Deletes everything before `offset`, which is in the log or its end; whole files only leave
    /// the disk.
    pub(super) fn delete_before(&mut self, offset: i64) -> io::Result<()> {
        if offset <= self.start || self.is_deleted {
            return Ok(());
        }
        // On the disk the log never ends before it starts.
        self.flush()?;
        self.remember_start(offset)?;
        self.start = offset;
        self.delete_unread()
    }

    /// Before files go: what a kill or a failure leaves of them goes when the log is opened.
    fn remember_start(&self, start: i64) -> io::Result<()> {
        super::replace_file(&self.dir.join(START), start.to_string().as_bytes())
    }

    /// Deletes the files that end before the start.
    fn delete_unread(&mut self) -> io::Result<()> {
        while self.segments.len() > 1 && self.segments[1].base_offset <= self.start {
            self.segments.remove(0).delete()?;
        }
        Ok(())
    }

    /// The topic was deleted, and its files with it.
    pub(super) fn leave(&mut self) {
        self.is_deleted = true;
        // The last file is open. One of the others would be looked for where another topic's may be.
        self.segments.drain(..self.segments.len() - 1);
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

/// No log comes so far, and behind it is room for any batch.
const OFFSET_MAX: i64 = i64::MAX / 2;

/// The file with the offset before which everything was deleted.
const START: &str = "start";

fn read_start(dir: &Path) -> io::Result<Option<i64>> {
    match std::fs::read_to_string(dir.join(START)) {
        Ok(text) => match text.trim().parse() {
            Ok(start) if (0..OFFSET_MAX).contains(&start) => Ok(Some(start)),
            _ => {
                let place = dir.join(START);
                let why = format!("{} holds no offset", place.display());
                Err(io::Error::new(io::ErrorKind::InvalidData, why))
            }
        },
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

fn remember(producers: &mut HashMap<i64, Producer>, header: &Header) {
    let Some(producer) = producer_of(producers, header) else { return };
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

/// The producer of a batch; one that is not known is expected to begin with it. `None` where it has no id.
fn producer_of<'a>(producers: &'a mut HashMap<i64, Producer>, header: &Header) -> Option<&'a mut Producer> {
    if header.producer_id < 0 {
        return None;
    }
    if producers.len() >= PRODUCERS_MAX && !producers.contains_key(&header.producer_id) {
        let silent = producers.iter().min_by_key(|(_, producer)| producer.last_offset).map(|(id, _)| *id);
        producers.remove(&silent.expect("there are producers"));
    }
    Some(producers.entry(header.producer_id).or_insert_with(|| Producer {
        epoch: header.producer_epoch,
        next_sequence: header.base_sequence,
        recent: VecDeque::new(),
        last_offset: header.base_offset,
    }))
}

#[cfg(test)]
pub(super) mod tests {
    use bytes::BytesMut;
    use kafka_protocol::records::{
        Compression, Record, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
    };

    use super::*;

    pub(in crate::broker) fn batch(producer_id: i64, sequence: i32, timestamps: &[i64]) -> Bytes {
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

    /// Appends so many batches of one record each, three of which fill a file.
    fn fill(log: &mut Log, count: i64) {
        for timestamp in 0..count {
            let records = batch(-1, -1, &[timestamp]);
            log.append(&records, &small_segments()).expect("writes").expect("is taken");
        }
    }

    /// The files in `dir` with their content.
    fn files(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
        let paths = std::fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry").path());
        let mut files: Vec<_> =
            paths.map(|path| (path.clone(), std::fs::read(path).expect("reads"))).collect();
        files.sort();
        files
    }

    /// The offsets that can be read from the start on.
    fn readable(log: &Log) -> Vec<i64> {
        let mut offsets: Vec<i64> = Vec::new();
        while offsets.last().map_or(log.start, |last| last + 1) < log.end {
            let next = offsets.last().map_or(log.start, |last| last + 1);
            let bytes = log.read(next, 1, true).expect("reads");
            let header = Header::read(&bytes).expect("a batch");
            offsets.extend(next..header.next_offset());
        }
        offsets
    }

    #[test]
    fn what_was_deleted_stays_deleted() {
        let dir = tempfile::tempdir().expect("a directory");
        let (mut log, _) = open(dir.path());
        fill(&mut log, 10);
        let before = files(dir.path()).len();
        log.delete_before(7).expect("deletes");
        assert!(files(dir.path()).len() < before);
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
    fn a_new_producers_second_batch_waits_for_its_first() {
        let dir = tempfile::tempdir().expect("a directory");
        let (mut log, _) = open(dir.path());
        let config = Config::default();
        let append = |log: &mut Log, sequence| log.append(&batch(7, sequence, &[1, 2]), &config);
        log.active().write_to(Path::new("/dev/full"));
        let full = append(&mut log, 0).expect_err("the disk is full");
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
        // There is room again for the next one, which was sent already.
        log.active().write_to(&segment::path(dir.path(), 0));
        assert_eq!(append(&mut log, 2).expect("writes"), Err(Refusal::OutOfOrder));
        assert_eq!(append(&mut log, 0).expect("writes"), Ok(0));
        assert_eq!(append(&mut log, 2).expect("writes"), Ok(2));
        assert_eq!(readable(&log), [0, 1, 2, 3]);
    }

    #[test]
    fn one_batch_is_taken_at_a_time() {
        let dir = tempfile::tempdir().expect("a directory");
        let (mut log, _) = open(dir.path());
        let config = Config::default();
        let (first, second) = (batch(7, 0, &[1]), batch(7, 1, &[2]));
        log.append(&first, &config).expect("writes").expect("is taken");
        // The first of them is a repeated one.
        let both = [&first[..], &second[..]].concat();
        assert_eq!(log.append(&both, &config).expect("writes"), Err(Refusal::Invalid));
        assert_eq!(log.append(&second[..second.len() - 1], &config).expect("writes"), Err(Refusal::Corrupt));
        assert_eq!(log.append(&second, &config).expect("writes"), Ok(1));
    }

    #[test]
    fn a_sync_that_has_failed_is_not_made_up_for_by_the_next() {
        let dir = tempfile::tempdir().expect("a directory");
        let (mut log, _) = open(dir.path());
        fill(&mut log, 2);
        log.active().write_to(Path::new("/dev/null"));
        log.flush().expect_err("there is no disk behind it");
        log.active().write_to(&segment::path(dir.path(), 0));
        let lost = log.flush().expect_err("nobody knows what is there");
        assert!(lost.to_string().contains("started again"), "{lost}");
        log.append(&batch(-1, -1, &[2]), &small_segments()).expect_err("nothing more is taken");
        log.delete_before(1).expect_err("it would count on what is not there");
        assert_eq!(readable(&log), [0, 1]);
        let (mut log, _) = open(dir.path());
        fill(&mut log, 1);
        log.flush().expect("is synced");
        assert_eq!(readable(&log), [0, 1, 2]);
    }

    #[test]
    fn damage_before_the_end_is_said_and_deletes_nothing() {
        let dir = tempfile::tempdir().expect("a directory");
        let (mut log, _) = open(dir.path());
        fill(&mut log, 20);
        drop(log);
        let before = files(dir.path());
        let (damaged, content) = &before[1];
        let mut flipped = content.clone();
        // A bit of the first batch's offset.
        flipped[7] ^= 1;
        std::fs::write(damaged, flipped).expect("writes");
        let there = files(dir.path());
        let refused = Log::open(dir.path()).expect_err("a file is damaged");
        assert_eq!(refused.kind(), io::ErrorKind::InvalidData);
        assert!(refused.to_string().contains(&format!("{}, byte 0: ", damaged.display())), "{refused}");
        assert!(files(dir.path()) == there);
        // The same where it is missing: the one before does not lead on.
        std::fs::remove_file(damaged).expect("is removed");
        let there = files(dir.path());
        let refused = Log::open(dir.path()).expect_err("a file is missing");
        let (one_before, content) = &before[0];
        let place = format!("{}, byte {}: ", one_before.display(), content.len());
        assert!(refused.to_string().contains(&place), "{refused}");
        assert!(files(dir.path()) == there);
        // What it says helps.
        std::fs::remove_file(one_before).expect("is moved away");
        let (log, torn) = open(dir.path());
        assert_eq!((log.end, torn), (20, 0));
        assert_eq!(readable(&log), (log.start..20).collect::<Vec<_>>());
    }

    /// What is wrong with a batch that was written.
    type Damage = fn(&mut [u8]);

    #[test]
    fn damage_in_the_last_file_costs_what_is_damaged_and_nothing_behind_it() {
        let of_a_batch: [(&str, Damage); 8] = [
            ("offset", |batch| batch[7] ^= 0x40),
            ("length, beyond the end", |batch| batch[9] ^= 1),
            ("length, within the file", |batch| batch[10] ^= 1),
            ("length, by a little", |batch| batch[11] ^= 8),
            ("version", |batch| batch[16] ^= 1),
            ("checksum", |batch| batch[18] ^= 1),
            ("record", |batch| *batch.last_mut().expect("a byte") ^= 1),
            ("nothing left", |batch| batch.fill(0)),
        ];
        for (what, damage) in of_a_batch {
            for damaged in [0, 2] {
                let dir = tempfile::tempdir().expect("a directory");
                let (mut log, _) = open(dir.path());
                for at in 0..5 {
                    log.append(&batch(-1, -1, &[at, at]), &Config::default())
                        .expect("writes")
                        .expect("appends");
                }
                drop(log);
                let path = segment::path(dir.path(), 0);
                let mut content = std::fs::read(&path).expect("reads");
                let length = content.len() / 5;
                let bytes = damaged * length..(damaged + 1) * length;
                damage(&mut content[bytes.clone()]);
                // A kill has come in the middle of the next write.
                content.extend_from_slice(&batch(-1, -1, &[9])[..70]);
                std::fs::write(&path, &content).expect("writes");
                let (mut log, torn) = open(dir.path());
                assert_eq!((log.start, log.end, torn), (0, 10, 70), "{what}");
                let read = log.read(0, usize::MAX / 2, true).expect("reads");
                let (before, behind) = (&content[..bytes.start], &content[bytes.end..5 * length]);
                assert!(read.starts_with(before) && read.ends_with(behind), "{what}");
                let stand_in = &read[before.len()..read.len() - behind.len()];
                let header = Header::read(stand_in).expect("a batch");
                assert!(header.is_intact(stand_in), "{what}");
                let first = 2 * damaged as i64;
                assert_eq!((header.base_offset, header.next_offset()), (first, first + 2), "{what}");
                let kept = path.with_extension(format!("{first}-{}.cut", first + 1));
                assert_eq!(std::fs::read(kept).expect("reads"), content[bytes], "{what}");
                // It can be read from anywhere, and goes on, also as a full file.
                assert_eq!(readable(&log), (0..10).collect::<Vec<_>>(), "{what}");
                fill(&mut log, 2);
                drop(log);
                let there = files(dir.path());
                let (log, torn) = open(dir.path());
                assert_eq!((log.segments.len(), log.end, torn), (2, 12, 0), "{what}");
                assert!(files(dir.path()) == there, "{what}");
            }
        }
    }

    #[test]
    fn every_damage_in_the_last_file_is_taken_out() {
        let dir = tempfile::tempdir().expect("a directory");
        let (mut log, _) = open(dir.path());
        for at in 0..9 {
            log.append(&batch(7, at as i32, &[at]), &Config::default()).expect("writes").expect("appends");
        }
        drop(log);
        let path = segment::path(dir.path(), 0);
        let mut content = std::fs::read(&path).expect("reads");
        let length = content.len() / 9;
        for damaged in [1, 2, 5, 8] {
            content[(damaged + 1) * length - 1] ^= 1;
        }
        std::fs::write(&path, &content).expect("writes");
        let (mut log, torn) = open(dir.path());
        // Nothing is behind the last one: it is a torn end, as far as anybody can tell.
        assert_eq!((log.end, torn), (8, length as u64));
        for (offsets, bytes) in [("1-2", length..3 * length), ("5-5", 5 * length..6 * length)] {
            let kept = std::fs::read(path.with_extension(format!("{offsets}.cut"))).expect("reads");
            assert_eq!(kept, content[bytes], "{offsets}");
        }
        // Its producer goes on.
        let next = log.append(&batch(7, 8, &[8]), &Config::default()).expect("writes");
        assert_eq!(next, Ok(8));
        assert_eq!(log.first_since(5).expect("reads"), Some((6, 6)));
    }

    #[test]
    fn an_offset_that_no_log_can_have_is_none() {
        let dir = tempfile::tempdir().expect("a directory");
        let (mut log, _) = open(dir.path());
        fill(&mut log, 1);
        drop(log);
        std::fs::write(segment::path(dir.path(), i64::MAX), "not ours").expect("writes");
        let (mut log, _) = open(dir.path());
        fill(&mut log, 1);
        assert_eq!(readable(&log), [0, 1]);
        drop(log);
        for start in [i64::MAX, -1] {
            std::fs::write(dir.path().join(START), start.to_string()).expect("writes");
            let refused = Log::open(dir.path()).expect_err("the file is damaged");
            assert!(refused.to_string().contains("start holds no offset"), "{refused}");
        }
    }

    #[test]
    fn a_batch_within_a_torn_message_is_none_of_the_file() {
        let mut torn = batch(-1, -1, &[3])[..61].to_vec();
        torn[..8].copy_from_slice(&1_i64.to_be_bytes());
        torn[8..12].copy_from_slice(&100_000_i32.to_be_bytes());
        let within = |offset: i64| {
            let mut batch = batch(-1, -1, &[2]).to_vec();
            batch[..8].copy_from_slice(&offset.to_be_bytes());
            batch
        };
        for tail in [vec![], vec![b'x'; 30], vec![b'x'; 200], vec![0; 200], within(8)] {
            let dir = tempfile::tempdir().expect("a directory");
            let (mut log, _) = open(dir.path());
            log.append(&batch(-1, -1, &[1]), &Config::default()).expect("writes").expect("appends");
            drop(log);
            let path = segment::path(dir.path(), 0);
            let content = [std::fs::read(&path).expect("reads"), torn.clone(), within(7), tail].concat();
            std::fs::write(&path, &content).expect("writes");
            let (mut log, cut) = open(dir.path());
            assert_eq!((log.end, log.active().size_bytes + cut), (1, content.len() as u64));
            assert_eq!(files(dir.path()).len(), 1, "nothing is kept of it");
        }
    }

    #[test]
    fn what_is_beside_two_damages_stays() {
        let further: [(&str, Damage); 4] = [
            ("offset", |batch| batch[7] ^= 0x40),
            ("a record", |batch| *batch.last_mut().expect("a byte") ^= 1),
            ("version", |batch| batch[16] ^= 1),
            ("everything", |batch| batch.fill(7)),
        ];
        for (place, (what, damage)) in [3, 2].into_iter().flat_map(|place| further.map(|each| (place, each)))
        {
            let dir = tempfile::tempdir().expect("a directory");
            let (mut log, _) = open(dir.path());
            for at in 0..6 {
                log.append(&batch(-1, -1, &[at]), &Config::default()).expect("writes").expect("appends");
            }
            drop(log);
            let path = segment::path(dir.path(), 0);
            let mut content = std::fs::read(&path).expect("reads");
            let length = content.len() / 6;
            content[2 * length - 1] ^= 1;
            damage(&mut content[place * length..(place + 1) * length]);
            // What a loss of power leaves of a write.
            content.extend_from_slice(&[0; 200]);
            std::fs::write(&path, &content).expect("writes");
            let (log, torn) = open(dir.path());
            assert_eq!((log.end, torn), (6, 200), "{what} of {place}");
            let read = log.read(0, usize::MAX / 2, true).expect("reads");
            for kept in (0..6).filter(|at| ![1, place].contains(at)) {
                let batch = &content[kept * length..(kept + 1) * length];
                assert!(read.windows(length).any(|part| part == batch), "{what} of {place}: {kept}");
            }
        }
    }

    #[test]
    fn what_a_full_disk_took_of_a_batch_is_no_damage() {
        let dir = tempfile::tempdir().expect("a directory");
        let (mut log, _) = open(dir.path());
        while log.segments.len() == 1 {
            let path = segment::path(dir.path(), 0);
            // The next batch would be written over it; the last one goes to the next file.
            let mut content = std::fs::read(&path).expect("reads");
            content.truncate(log.segments[0].size_bytes as usize);
            content.extend_from_slice(&batch(-1, -1, &[9])[..70]);
            std::fs::write(path, content).expect("writes");
            fill(&mut log, 1);
        }
        fill(&mut log, 5);
        let end = log.end;
        let (log, torn) = open(dir.path());
        assert_eq!((log.end, torn), (end, 0));
        assert_eq!(readable(&log), (0..end).collect::<Vec<_>>());
    }

    #[test]
    fn files_that_a_kill_has_left_of_what_expired_go_at_the_next_start() {
        let dir = tempfile::tempdir().expect("a directory");
        let (mut log, _) = open(dir.path());
        fill(&mut log, 20);
        let before = files(dir.path());
        log.expire(&Config { retention_bytes: Some(1), ..Config::default() }, 0).expect("expires");
        let (start, left) = (log.start, files(dir.path()));
        assert_eq!(log.segments.len(), 1);
        drop(log);
        for (path, content) in [&before[0], &before[2]] {
            std::fs::write(path, content).expect("writes");
        }
        let (mut log, torn) = open(dir.path());
        assert_eq!((log.start, log.end, torn), (start, 20, 0));
        assert!(files(dir.path()) == left);
        fill(&mut log, 1);
        assert_eq!(readable(&log), (start..21).collect::<Vec<_>>());
    }

    #[test]
    fn no_offset_is_given_twice_where_what_was_deleted_went_with_the_power() {
        let dir = tempfile::tempdir().expect("a directory");
        let (mut log, _) = open(dir.path());
        let config = Config::default();
        let append = |log: &mut Log, count: i64| {
            for timestamp in 0..count {
                log.append(&batch(-1, -1, &[timestamp]), &config).expect("writes").expect("is taken");
            }
        };
        append(&mut log, 8);
        let eight = log.segments[0].size_bytes;
        append(&mut log, 2);
        log.delete_before(10).expect("deletes");
        drop(log);
        // The last two never reached the disk.
        let path = segment::path(dir.path(), 0);
        let file = std::fs::OpenOptions::new().write(true).open(&path).expect("opens");
        file.set_len(eight).expect("cuts");
        let (mut log, _) = open(dir.path());
        append(&mut log, 3);
        drop(log);
        let (log, torn) = open(dir.path());
        assert_eq!((log.start, log.end, torn), (10, 13, 0));
        assert_eq!(readable(&log), [10, 11, 12]);
        assert!(!path.exists());
    }

    #[test]
    fn one_file_is_open_however_long_the_log_is() {
        let dir = tempfile::tempdir().expect("a directory");
        let place = dir.path().canonicalize().expect("a path");
        let open_files = || {
            let open = std::fs::read_dir("/proc/self/fd").expect("a directory").filter_map(Result::ok);
            open.filter(|fd| std::fs::read_link(fd.path()).is_ok_and(|path| path.starts_with(&place))).count()
        };
        let (mut log, _) = open(dir.path());
        fill(&mut log, 20);
        assert_eq!(open_files(), 1);
        drop(log);
        let (mut log, _) = open(dir.path());
        assert_eq!(open_files(), 1);
        fill(&mut log, 1);
        assert_eq!(readable(&log), (0..21).collect::<Vec<_>>());
        assert_eq!(log.first_since(3).expect("reads"), Some((3, 3)));
        assert_eq!(open_files(), 1);
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
        assert_eq!(log.read(0, usize::MAX / 2, true).expect("reads").len() as u64, whole / 3 * 2);
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
            let bytes = log.read(offset, 1, true).expect("reads");
            let header = Header::read(&bytes).expect("a batch");
            assert_eq!((header.base_offset, header.length), (offset / 2 * 2, bytes.len()));
        }
        assert!(log.read(40, 100, true).expect("reads").is_empty());
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
        // From before they are written: however long that takes, none is older.
        let began = millstream_core::now_ms();
        for at in 0..20 {
            log.append(&batch(-1, -1, &[at * 10]), &small_segments()).expect("writes").expect("appends");
        }
        // All of them were true long ago, and are here since a moment ago.
        log.expire(&small_segments(), began).expect("expires");
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
