//! Checksums and digests of bytes: a text counts as its UTF-8.

use arrow::datatypes::DataType;
use md5::{Digest, Md5};
use sha1::Sha1;
use sha2::{Sha224, Sha256, Sha384, Sha512};

use super::Call;
use super::rows::{Bytes, Int, Long, Text};
use crate::bind::Bind;

impl Call {
    /// Refuses what is neither text nor binary: Spark does not cast it by itself.
    fn bytes(&self) -> Bind<()> {
        match self.args.first().map(|arg| &arg.kind) {
            Some(DataType::Utf8 | DataType::Binary | DataType::Null) => Ok(()),
            _ => Err(self.refuse()),
        }
    }
}

fn lower_hex(bytes: &[u8]) -> String {
    super::bits::hexadecimal(bytes).to_lowercase()
}

pub(super) fn md5(call: Call) -> Bind {
    call.bytes()?;
    call.one::<Bytes, Text>(|bytes| Some(lower_hex(&Md5::digest(bytes))))
}

pub(super) fn sha1(call: Call) -> Bind {
    call.bytes()?;
    call.one::<Bytes, Text>(|bytes| Some(lower_hex(&Sha1::digest(bytes))))
}

/// Of 224, 256 (also written 0), 384 or 512 bits; null for another number.
pub(super) fn sha2(call: Call) -> Bind {
    call.bytes()?;
    call.two::<Bytes, Int, Text>(|bytes, bits| {
        Some(match bits {
            224 => lower_hex(&Sha224::digest(bytes)),
            0 | 256 => lower_hex(&Sha256::digest(bytes)),
            384 => lower_hex(&Sha384::digest(bytes)),
            512 => lower_hex(&Sha512::digest(bytes)),
            _ => return None,
        })
    })
}

pub(super) fn crc32(call: Call) -> Bind {
    call.bytes()?;
    call.one::<Bytes, Long>(|bytes| Some(crc32fast::hash(bytes).into()))
}
