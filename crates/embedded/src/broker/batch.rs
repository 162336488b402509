//! The header of a record batch (format version 2) and the few things a broker does with it.
//! A batch is stored as it came: only its base offset and leader epoch, which its checksum does
//! not cover, are changed.
//!
//! Layout: <https://kafka.apache.org/documentation/#recordbatch>

use bytes::{Buf, Bytes};
use kafka_protocol::compression::{Decompressor, Gzip, Lz4, Snappy, Zstd};

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
    timestamp_base: i64,
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
            timestamp_base: i64::from_be_bytes(array(bytes, 27)),
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
        self.base_offset.saturating_add(i64::from(self.last_offset_delta)).saturating_add(1)
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
    let found = unpacked(header, batch).and_then(|records| find_since(header, &records, timestamp));
    found.unwrap_or((header.base_offset, header.timestamp_max))
}

/// The records of a batch.
fn unpacked(header: &Header, batch: Bytes) -> Option<Bytes> {
    let mut packed = batch.slice(HEADER_BYTES..);
    match header.attributes & COMPRESSED {
        0 => Some(packed),
        1 => Gzip::decompress(&mut packed, |records| Ok(records.copy_to_bytes(records.remaining()))).ok(),
        2 => Snappy::decompress(&mut packed, |records| Ok(records.copy_to_bytes(records.remaining()))).ok(),
        3 => Lz4::decompress(&mut packed, |records| Ok(records.copy_to_bytes(records.remaining()))).ok(),
        4 => Zstd::decompress(&mut packed, |records| Ok(records.copy_to_bytes(records.remaining()))).ok(),
        _ => None,
    }
}

/// Of a record no more is read than its offset and time: whatever else a producer has written there is for consumers.
fn find_since(header: &Header, mut records: &[u8], timestamp: i64) -> Option<(i64, i64)> {
    for _ in 0..header.count {
        let length = usize::try_from(varint(&mut records)?).ok()?;
        let (record, others) = records.split_at_checked(length)?;
        records = others;
        // Behind the attributes.
        let mut record = record.get(1..)?;
        let time = header.timestamp_base.saturating_add(varint(&mut record)?);
        let offset = header.base_offset.saturating_add(varint(&mut record)?);
        if time >= timestamp {
            return Some((offset, time));
        }
    }
    None
}

/// A number in zigzag form, seven bits a byte, the lowest first
/// (<https://protobuf.dev/programming-guides/encoding/#signed-ints>).
fn varint(bytes: &mut &[u8]) -> Option<i64> {
    let mut number = 0_u64;
    for shift in (0..u64::BITS).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((number >> 1) as i64 ^ -((number & 1) as i64));
        }
    }
    None
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("the header was long enough")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A batch of records that are distinguished by their times, each with so many headers as it says.
    fn batch(times: &[i64], headers: &[u8]) -> Bytes {
        let mut bytes = vec![0; HEADER_BYTES];
        for (at, time) in (0..).zip(times) {
            let mut record = vec![0];
            record.extend([2 * (time - times[0]) as u8, 2 * at]);
            // Neither key nor value.
            record.extend([1, 1]);
            record.extend(headers);
            bytes.push(2 * record.len() as u8);
            bytes.extend(record);
        }
        let length = (bytes.len() - LENGTH_OFFSET) as i32;
        bytes[..8].copy_from_slice(&40_i64.to_be_bytes());
        bytes[8..12].copy_from_slice(&length.to_be_bytes());
        bytes[16] = 2;
        bytes[27..35].copy_from_slice(&times[0].to_be_bytes());
        bytes[35..43].copy_from_slice(&times.iter().max().expect("a record").to_be_bytes());
        bytes[57..61].copy_from_slice(&(times.len() as i32).to_be_bytes());
        bytes.into()
    }

    #[test]
    fn a_record_is_found_by_its_time_whatever_else_it_says() {
        // The second has two thousand million headers, as it says.
        for headers in [&[0][..], &[0xfe, 0xff, 0xff, 0xff, 0x0f]] {
            let bytes = batch(&[1_000, 1_005, 1_003], headers);
            let header = Header::read(&bytes).expect("a header");
            for (since, expected) in
                [(0, (40, 1_000)), (1_001, (41, 1_005)), (1_005, (41, 1_005)), (2_000, (40, 1_005))]
            {
                assert_eq!(first_since(&header, bytes.clone(), since), expected, "{since}");
            }
            // Cut anywhere, it ends before.
            for length in HEADER_BYTES..bytes.len() {
                let cut = bytes.slice(..length);
                assert!([(40, 1_005), (41, 1_005)].contains(&first_since(&header, cut, 1_005)));
            }
        }
    }

    #[test]
    fn numbers_are_read_as_they_are_written() {
        for (bytes, number) in [
            (&[0_u8][..], Some(0)),
            (&[1], Some(-1)),
            (&[0xac, 0x02], Some(150)),
            (&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], Some(i64::MIN)),
            (&[0x80; 12], None),
            (&[0x80], None),
        ] {
            assert_eq!(varint(&mut &*bytes), number, "{bytes:?}");
        }
    }
}
