//! The header of a record batch (format version 2) and the few things a broker does with it.
//! A batch is stored as it came: only its base offset and leader epoch, which its checksum does
//! not cover, are changed.
//!
//! Layout: <https://kafka.apache.org/documentation/#recordbatch>

use bytes::Bytes;
use kafka_protocol::records::RecordBatchDecoder;

/// Bytes of the header, before the first record.
pub(super) const HEADER_BYTES: usize = 61;
/// Bytes that the length field does not count.
const LENGTH_OFFSET: usize = 12;
/// Where the bytes begin that the checksum covers.
const CHECKED_FROM: usize = 21;

/// A record is no shorter: its length, attributes, the distance of its time and its offset from the batch's, and the
/// lengths of key, value and headers, a byte each.
const RECORD_BYTES_MIN: usize = 7;
/// Records of a batch that is packed.
const RECORDS_MAX: usize = 1 << 22;

/// Which codec it is packed with; 0: none.
const COMPRESSED: i16 = 0b111;
const TRANSACTIONAL: i16 = 1 << 4;
const CONTROL: i16 = 1 << 5;
const LOG_APPEND_TIME: i16 = 1 << 3;

/// What the header says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Header {
    pub(super) base_offset: i64,
    /// Length of the whole batch in bytes.
    pub(super) length: usize,
    crc: u32,
    attributes: i16,
    last_offset_delta: i32,
    pub(super) timestamp_max: i64,
    pub(super) producer_id: i64,
    pub(super) producer_epoch: i16,
    pub(super) base_sequence: i32,
    count: i32,
}

impl Header {
    /// Reads the header at the start of `bytes`; `None` where there is none of version 2.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        if bytes.len() < HEADER_BYTES || bytes[16] != 2 {
            return None;
        }
        let length = i32::from_be_bytes(array(bytes, 8));
        let length = usize::try_from(length).ok()? + LENGTH_OFFSET;
        (length >= HEADER_BYTES).then(|| Self {
            base_offset: i64::from_be_bytes(array(bytes, 0)),
            length,
            crc: u32::from_be_bytes(array(bytes, 17)),
            attributes: i16::from_be_bytes(array(bytes, 21)),
            last_offset_delta: i32::from_be_bytes(array(bytes, 23)),
            timestamp_max: i64::from_be_bytes(array(bytes, 35)),
            producer_id: i64::from_be_bytes(array(bytes, 43)),
            producer_epoch: i16::from_be_bytes(array(bytes, 51)),
            base_sequence: i32::from_be_bytes(array(bytes, 53)),
            count: i32::from_be_bytes(array(bytes, 57)),
        })
    }

    /// Whether `batch` is the whole batch with the content that was sent.
    pub(super) fn is_intact(&self, batch: &[u8]) -> bool {
        batch.len() == self.length
            && self.last_offset_delta >= 0
            && crc32c::crc32c(&batch[CHECKED_FROM..]) == self.crc
    }

    /// Whether it is what a producer may send here: records, outside a transaction, with their
    /// own timestamps, their number being what the offsets say.
    pub(super) fn is_plain(&self) -> bool {
        // Whoever reads the records makes room for as many.
        let most = match self.attributes & COMPRESSED {
            0 => (self.length - HEADER_BYTES) / RECORD_BYTES_MIN,
            _ => RECORDS_MAX,
        };
        self.attributes & (TRANSACTIONAL | CONTROL | LOG_APPEND_TIME) == 0
            && self.count == self.last_offset_delta.saturating_add(1)
            && usize::try_from(self.count).is_ok_and(|count| count <= most)
    }

    /// The offset behind the last record.
    pub(super) fn next_offset(&self) -> i64 {
        self.base_offset + i64::from(self.last_offset_delta) + 1
    }

    /// The sequence number that the producer's next batch must have: after 2³¹−1 comes 0.
    pub(super) fn next_sequence(&self) -> i32 {
        ((i64::from(self.base_sequence) + i64::from(self.last_offset_delta) + 1) % (1 << 31)) as i32
    }

    /// The header, had the batch been appended at `base_offset`.
    pub(super) fn at(self, base_offset: i64) -> Self {
        Self { base_offset, ..self }
    }
}

/// Gives `batch` its place in the log.
pub(super) fn place(batch: &mut [u8], base_offset: i64) {
    batch[..8].copy_from_slice(&base_offset.to_be_bytes());
    batch[12..16].copy_from_slice(&0_i32.to_be_bytes());
}

/// Offset and timestamp of the first record in `batch` that is not older than `timestamp`.
/// Where the records cannot be read, that of the batch: too early is safe, too late is not.
pub(super) fn first_since(header: &Header, batch: Bytes, timestamp: i64) -> (i64, i64) {
    let found = RecordBatchDecoder::decode(&mut batch.clone()).ok().and_then(|set| {
        let record = set.records.into_iter().find(|record| record.timestamp >= timestamp)?;
        Some((record.offset, record.timestamp))
    });
    found.unwrap_or((header.base_offset, header.timestamp_max))
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("the header was long enough")
}
