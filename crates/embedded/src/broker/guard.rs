//! Bytes of a request, read so that no number in it can take the memory. The decoder makes room
//! for as many elements as an array says that it has before it has seen the first one; room for
//! more than there are bytes left is never needed, and not given.

use bytes::{Buf, Bytes, TryGetError};
use kafka_protocol::protocol::buf::ByteBuf;

/// A number up to this is handed on whatever it means: room for so many elements does no harm.
const HARMLESS_MAX: i32 = 1 << 22;
/// Bits of a length of variable size in one byte; the highest one says that more follow.
const BITS_PER_BYTE: u32 = 7;
const MORE_FOLLOWS: u8 = 0x80;

/// A request's bytes.
pub(super) struct Guarded {
    bytes: Bytes,
    /// Of a length of variable size: what was read of it so far, and its bits.
    length: u64,
    bits: u32,
}

impl Guarded {
    pub(super) fn new(bytes: Bytes) -> Self {
        Self { bytes, length: 0, bits: 0 }
    }

    fn too_long(&self, requested: usize) -> TryGetError {
        TryGetError { requested, available: self.bytes.remaining() }
    }
}

impl Buf for Guarded {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
    }

    fn copy_to_bytes(&mut self, length: usize) -> Bytes {
        self.bytes.copy_to_bytes(length)
    }

    /// The number of an array's elements, or any other: a time or a size that is larger than what
    /// is harmless means no more than that here.
    fn try_get_i32(&mut self) -> Result<i32, TryGetError> {
        let number = self.bytes.try_get_i32()?;
        let left = i32::try_from(self.bytes.remaining()).unwrap_or(i32::MAX);
        Ok(number.min(left.max(HARMLESS_MAX)))
    }

    /// A single byte, or one of a length of variable size.
    fn try_get_u8(&mut self) -> Result<u8, TryGetError> {
        let byte = self.bytes.try_get_u8()?;
        if self.bits < u64::BITS - BITS_PER_BYTE {
            self.length |= u64::from(byte & !MORE_FOLLOWS) << self.bits;
        }
        self.bits += BITS_PER_BYTE;
        if self.length > HARMLESS_MAX as u64 && self.length > self.bytes.remaining() as u64 + 1 {
            return Err(self.too_long(self.length as usize));
        }
        if byte & MORE_FOLLOWS == 0 {
            (self.length, self.bits) = (0, 0);
        }
        Ok(byte)
    }
}

impl ByteBuf for Guarded {
    fn peek_bytes(&mut self, range: std::ops::Range<usize>) -> Bytes {
        self.bytes.slice(range)
    }

    fn get_bytes(&mut self, size: usize) -> Bytes {
        self.bytes.split_to(size)
    }
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::MetadataRequest;
    use kafka_protocol::protocol::Decodable;

    use super::*;

    #[test]
    fn an_array_that_says_too_much_is_refused_without_making_room() {
        // Topics: 2,147,483,647 of them; in the compact form 4,294,967,294.
        let plain = Bytes::from_static(&[0x7f, 0xff, 0xff, 0xff, 0, 1, b't']);
        assert!(MetadataRequest::decode(&mut Guarded::new(plain), 1).is_err());
        let compact = Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 0x0f, 2, b't']);
        assert!(MetadataRequest::decode(&mut Guarded::new(compact), 9).is_err());
    }

    #[test]
    fn a_request_is_read_as_it_is() {
        let plain = Bytes::from_static(&[0, 0, 0, 1, 0, 1, b't']);
        let request = MetadataRequest::decode(&mut Guarded::new(plain), 1).expect("decodes");
        let names =
            request.topics.expect("topics").into_iter().map(|topic| topic.name.expect("a name").to_string());
        assert_eq!(names.collect::<Vec<_>>(), ["t"]);
    }
}
