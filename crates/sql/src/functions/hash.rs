//! `hash` (Murmur3) and `xxhash64` over any values, with seed 42: each value's hash is the seed of
//! the next, a null leaves it as it is.
//! Source: Spark's `HashExpression`, `Murmur3_x86_32` (whose tail differs from the original) and
//! `XXH64`.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, Int64Array};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, TimestampMicrosecondType,
};

use super::Call;
use super::lists::Lists;
use crate::bind::Bind;
use crate::operation::on_arrays;

/// A hash of the three kinds of values that all others become.
trait Hash: Copy {
    fn int(self, value: i32) -> Self;
    fn long(self, value: i64) -> Self;
    fn bytes(self, bytes: &[u8]) -> Self;
}

pub(super) fn murmur(call: Call) -> Bind {
    check(&call)?;
    let kernel = on_arrays(|args| {
        let hashes = (0..args[0].len())
            .map(|row| args.iter().fold(Murmur(42), |hash, arg| of_cell(hash, arg, row)).0 as i32);
        Ok(Arc::new(hashes.collect::<Int32Array>()) as ArrayRef)
    });
    call.apply(DataType::Int32, kernel)
}

pub(super) fn xxhash64(call: Call) -> Bind {
    check(&call)?;
    let kernel = on_arrays(|args| {
        let hashes = (0..args[0].len())
            .map(|row| args.iter().fold(Xx(42), |hash, arg| of_cell(hash, arg, row)).0 as i64);
        Ok(Arc::new(hashes.collect::<Int64Array>()) as ArrayRef)
    });
    call.apply(DataType::Int64, kernel)
}

/// Spark hashes no maps.
fn check(call: &Call) -> Bind<()> {
    fn has_map(kind: &DataType) -> bool {
        match kind {
            DataType::Map(..) => true,
            DataType::List(item) => has_map(item.data_type()),
            DataType::Struct(fields) => fields.iter().any(|field| has_map(field.data_type())),
            _ => false,
        }
    }
    call.arity(1..=usize::MAX)?;
    if call.args.iter().any(|arg| has_map(&arg.kind)) { Err(call.refuse()) } else { Ok(()) }
}

fn of_cell<H: Hash>(hash: H, array: &ArrayRef, row: usize) -> H {
    if array.is_null(row) || *array.data_type() == DataType::Null {
        return hash;
    }
    match array.data_type() {
        DataType::Boolean => hash.int(array.as_boolean().value(row).into()),
        DataType::Int8 => hash.int(array.as_primitive::<Int8Type>().value(row).into()),
        DataType::Int16 => hash.int(array.as_primitive::<Int16Type>().value(row).into()),
        DataType::Int32 => hash.int(array.as_primitive::<Int32Type>().value(row)),
        DataType::Date32 => hash.int(array.as_primitive::<Date32Type>().value(row)),
        DataType::Int64 => hash.long(array.as_primitive::<Int64Type>().value(row)),
        DataType::Timestamp(..) => hash.long(array.as_primitive::<TimestampMicrosecondType>().value(row)),
        DataType::Float32 => {
            let value = array.as_primitive::<Float32Type>().value(row);
            // All NaNs are one, and so are both zeros.
            let bits = if value == 0.0 {
                0
            } else if value.is_nan() {
                0x7fc0_0000
            } else {
                value.to_bits()
            };
            hash.int(bits as i32)
        }
        DataType::Float64 => {
            let value = array.as_primitive::<Float64Type>().value(row);
            let bits = if value == 0.0 {
                0
            } else if value.is_nan() {
                0x7ff8_0000_0000_0000
            } else {
                value.to_bits()
            };
            hash.long(bits as i64)
        }
        DataType::Decimal128(precision, _) => {
            let unscaled = array.as_primitive::<Decimal128Type>().value(row);
            if *precision <= 18 { hash.long(unscaled as i64) } else { hash.bytes(&java_bytes(unscaled)) }
        }
        DataType::Utf8 => hash.bytes(array.as_string::<i32>().value(row).as_bytes()),
        DataType::Binary => hash.bytes(array.as_binary::<i32>().value(row)),
        DataType::List(_) => {
            let lists = Lists::new(array);
            lists.places(row).into_iter().flatten().fold(hash, |hash, at| of_cell(hash, lists.items(), at))
        }
        DataType::Struct(_) => {
            array.as_struct().columns().iter().fold(hash, |hash, column| of_cell(hash, column, row))
        }
        _ => hash,
    }
}

/// The fewest bytes that hold a number, as `BigInteger.toByteArray` gives them.
fn java_bytes(number: i128) -> Vec<u8> {
    let bytes = number.to_be_bytes();
    let sign = if number < 0 { 0xff } else { 0 };
    let mut start = 0;
    while start < 15 && bytes[start] == sign && (bytes[start + 1] ^ sign) & 0x80 == 0 {
        start += 1;
    }
    bytes[start..].to_vec()
}

#[derive(Clone, Copy)]
struct Murmur(u32);

impl Murmur {
    fn mix(self, word: u32) -> Self {
        let word = word.wrapping_mul(0xcc9e_2d51).rotate_left(15).wrapping_mul(0x1b87_3593);
        Self((self.0 ^ word).rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64))
    }

    fn finish(self, length: usize) -> Self {
        let mut hash = self.0 ^ length as u32;
        hash = (hash ^ (hash >> 16)).wrapping_mul(0x85eb_ca6b);
        hash = (hash ^ (hash >> 13)).wrapping_mul(0xc2b2_ae35);
        Self(hash ^ (hash >> 16))
    }
}

impl Hash for Murmur {
    fn int(self, value: i32) -> Self {
        self.mix(value as u32).finish(4)
    }

    fn long(self, value: i64) -> Self {
        self.mix(value as u32).mix((value >> 32) as u32).finish(8)
    }

    /// Words of four bytes, then each byte that is left for itself, with its sign.
    fn bytes(self, bytes: &[u8]) -> Self {
        let (words, rest) = bytes.as_chunks::<4>();
        let hash = words.iter().fold(self, |hash, word| hash.mix(u32::from_le_bytes(*word)));
        rest.iter().fold(hash, |hash, byte| hash.mix(*byte as i8 as i32 as u32)).finish(bytes.len())
    }
}

const P1: u64 = 0x9e37_79b1_85eb_ca87;
const P2: u64 = 0xc2b2_ae3d_27d4_eb4f;
const P3: u64 = 0x1656_67b1_9e37_79f9;
const P4: u64 = 0x85eb_ca77_c2b2_ae63;
const P5: u64 = 0x27d4_eb2f_1656_67c5;

#[derive(Clone, Copy)]
struct Xx(u64);

fn round(hash: u64, word: u64) -> u64 {
    hash.wrapping_add(word.wrapping_mul(P2)).rotate_left(31).wrapping_mul(P1)
}

fn finish(mut hash: u64) -> Xx {
    hash = (hash ^ (hash >> 33)).wrapping_mul(P2);
    hash = (hash ^ (hash >> 29)).wrapping_mul(P3);
    Xx(hash ^ (hash >> 32))
}

fn mix_long(hash: u64, word: u64) -> u64 {
    (hash ^ round(0, word)).rotate_left(27).wrapping_mul(P1).wrapping_add(P4)
}

fn mix_int(hash: u64, word: u32) -> u64 {
    (hash ^ u64::from(word).wrapping_mul(P1)).rotate_left(23).wrapping_mul(P2).wrapping_add(P3)
}

impl Hash for Xx {
    fn int(self, value: i32) -> Self {
        finish(mix_int(self.0.wrapping_add(P5).wrapping_add(4), value as u32))
    }

    fn long(self, value: i64) -> Self {
        finish(mix_long(self.0.wrapping_add(P5).wrapping_add(8), value as u64))
    }

    fn bytes(self, bytes: &[u8]) -> Self {
        let (blocks, rest) = bytes.as_chunks::<32>();
        let mut hash = if blocks.is_empty() { self.0.wrapping_add(P5) } else { blocks_hash(self.0, blocks) };
        hash = hash.wrapping_add(bytes.len() as u64);
        let (longs, rest) = rest.as_chunks::<8>();
        hash = longs.iter().fold(hash, |hash, word| mix_long(hash, u64::from_le_bytes(*word)));
        let (ints, rest) = rest.as_chunks::<4>();
        hash = ints.iter().fold(hash, |hash, word| mix_int(hash, u32::from_le_bytes(*word)));
        hash = rest.iter().fold(hash, |hash, byte| {
            (hash ^ u64::from(*byte).wrapping_mul(P5)).rotate_left(11).wrapping_mul(P1)
        });
        finish(hash)
    }
}

fn blocks_hash(seed: u64, blocks: &[[u8; 32]]) -> u64 {
    let mut lanes =
        [seed.wrapping_add(P1).wrapping_add(P2), seed.wrapping_add(P2), seed, seed.wrapping_sub(P1)];
    for block in blocks {
        let (words, _) = block.as_chunks::<8>();
        for (lane, word) in lanes.iter_mut().zip(words) {
            *lane = round(*lane, u64::from_le_bytes(*word));
        }
    }
    let [a, b, c, d] = lanes;
    let hash = a
        .rotate_left(1)
        .wrapping_add(b.rotate_left(7))
        .wrapping_add(c.rotate_left(12))
        .wrapping_add(d.rotate_left(18));
    lanes.iter().fold(hash, |hash, lane| (hash ^ round(0, *lane)).wrapping_mul(P1).wrapping_add(P4))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_bytes_of_java() {
        for (number, expected) in
            [(0, vec![0]), (127, vec![127]), (128, vec![0, 128]), (-1, vec![255]), (-129, vec![255, 127])]
        {
            assert_eq!(java_bytes(number), expected, "{number}");
        }
    }
}
