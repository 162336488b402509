//! One cell's value, and the bytes in which Cassandra stores it.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use uuid::Uuid;

use super::{Duration, Type};

/// Days of Cassandra's dates before 1970.
const EPOCH_DAY: i64 = 1 << 31;

/// One cell's value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// `ascii` and `text`.
    Text(&'a str),
    /// `blob`.
    Blob(&'a [u8]),
    /// `boolean`.
    Boolean(bool),
    /// `tinyint`, `smallint`, `int`, `bigint`; `date` in days and `timestamp` in milliseconds
    /// since 1970, `time` in nanoseconds since midnight.
    Integer(i64),
    /// `float` and `double`.
    Double(f64),
    /// `decimal` and `varint`: the number is `unscaled / 10^scale`.
    Decimal {
        /// The digits.
        unscaled: i128,
        /// How many of them stand behind the point.
        scale: i8,
    },
    /// `uuid` and `timeuuid`.
    Uuid(Uuid),
    /// `inet`.
    Inet(IpAddr),
    /// `duration`.
    Duration(Duration),
    /// A list, a set or a map, in the bytes that Cassandra stores of a frozen one: each element with
    /// its length, those of a set and the keys of a map once and in Cassandra's order.
    Collection(Cow<'a, [u8]>),
}

impl<'a> Value<'a> {
    /// The value of a type in the bytes that Cassandra stores; `None` for bytes that are none.
    pub fn deserialized(bytes: &'a [u8], kind: &Type) -> Option<Self> {
        Some(match kind {
            Type::Ascii | Type::Text => Self::Text(std::str::from_utf8(bytes).ok()?),
            Type::Blob => Self::Blob(bytes),
            Type::Boolean => Self::Boolean(*bytes.first()? != 0),
            Type::Tinyint => Self::Integer(i8::from_be_bytes(bytes.try_into().ok()?).into()),
            Type::Smallint => Self::Integer(i16::from_be_bytes(bytes.try_into().ok()?).into()),
            Type::Int => Self::Integer(i32::from_be_bytes(bytes.try_into().ok()?).into()),
            Type::Bigint | Type::Time | Type::Timestamp => {
                Self::Integer(i64::from_be_bytes(bytes.try_into().ok()?))
            }
            Type::Date => Self::Integer(i64::from(u32::from_be_bytes(bytes.try_into().ok()?)) - EPOCH_DAY),
            Type::Float => Self::Double(f32::from_be_bytes(bytes.try_into().ok()?).into()),
            Type::Double => Self::Double(f64::from_be_bytes(bytes.try_into().ok()?)),
            Type::Decimal => {
                let (scale, digits) = bytes.split_first_chunk()?;
                let scale = i32::from_be_bytes(*scale).try_into().ok()?;
                Self::Decimal { unscaled: signed(digits)?, scale }
            }
            Type::Varint => Self::Decimal { unscaled: signed(bytes)?, scale: 0 },
            Type::Uuid | Type::Timeuuid => Self::Uuid(Uuid::from_slice(bytes).ok()?),
            Type::Inet => Self::Inet(match bytes.len() {
                4 => IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?),
                _ => IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?),
            }),
            Type::Duration => Self::Duration(Duration::from_bytes(bytes)?),
            Type::List(_) | Type::Set { .. } | Type::Map { .. } => Self::Collection(Cow::Borrowed(bytes)),
        })
    }

    /// The bytes that Cassandra stores, which decide between two values of the same write time.
    pub fn serialized(&self, kind: &Type) -> Cow<'_, [u8]> {
        let owned = match self {
            Self::Text(text) => return Cow::Borrowed(text.as_bytes()),
            Self::Blob(bytes) => return Cow::Borrowed(bytes),
            Self::Collection(bytes) => return Cow::Borrowed(bytes),
            Self::Boolean(value) => vec![u8::from(*value)],
            Self::Integer(number) => match kind {
                Type::Tinyint => (*number as i8).to_be_bytes().to_vec(),
                Type::Smallint => (*number as i16).to_be_bytes().to_vec(),
                Type::Int => (*number as i32).to_be_bytes().to_vec(),
                Type::Date => ((number + EPOCH_DAY) as u32).to_be_bytes().to_vec(),
                _ => number.to_be_bytes().to_vec(),
            },
            Self::Double(number) if *kind == Type::Float => (*number as f32).to_be_bytes().to_vec(),
            Self::Double(number) => number.to_be_bytes().to_vec(),
            Self::Decimal { unscaled, scale } if *kind == Type::Decimal => {
                [i32::from(*scale).to_be_bytes().as_slice(), &varint(*unscaled)].concat()
            }
            Self::Decimal { unscaled, .. } => varint(*unscaled),
            Self::Uuid(uuid) => uuid.as_bytes().to_vec(),
            Self::Inet(IpAddr::V4(address)) => address.octets().to_vec(),
            Self::Inet(IpAddr::V6(address)) => address.octets().to_vec(),
            Self::Duration(duration) => duration.to_bytes(),
        };
        Cow::Owned(owned)
    }
}

impl Value<'_> {
    /// About how many bytes it has where it is stored.
    pub fn size_bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Blob(bytes) => bytes.len(),
            Self::Collection(bytes) => bytes.len(),
            _ => 16,
        }
    }
}

impl fmt::Display for Value<'_> {
    /// For people, short.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(&excerpt(text)),
            Self::Boolean(value) => write!(f, "{value}"),
            Self::Integer(number) => write!(f, "{number}"),
            Self::Double(number) => write!(f, "{number}"),
            Self::Decimal { unscaled, scale: 0 } => write!(f, "{unscaled}"),
            Self::Decimal { unscaled, scale } => write!(f, "{unscaled}e-{scale}"),
            Self::Uuid(uuid) => write!(f, "{uuid}"),
            Self::Inet(address) => write!(f, "{address}"),
            Self::Duration(duration) => write!(f, "{duration}"),
            Self::Blob(bytes) => write!(f, "{} bytes", bytes.len()),
            Self::Collection(_) => f.write_str("a collection"),
        }
    }
}

/// A text in quotes, cut where it is long.
pub(super) fn excerpt(text: &str) -> String {
    const CHARS_MAX: usize = 60;
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("'{}…'", &text[..end]),
        None => format!("'{text}'"),
    }
}

/// Big-endian two's complement; `None` where it has more than 16 bytes.
fn signed(bytes: &[u8]) -> Option<i128> {
    let first = *bytes.first()?;
    let mut whole = if first & 0x80 == 0 { [0; 16] } else { [0xff; 16] };
    let start = whole.len().checked_sub(bytes.len())?;
    whole[start..].copy_from_slice(bytes);
    Some(i128::from_be_bytes(whole))
}

/// The shortest big-endian two's complement.
fn varint(number: i128) -> Vec<u8> {
    let bytes = number.to_be_bytes();
    let sign = if number < 0 { 0xff } else { 0 };
    let redundant =
        bytes.windows(2).take_while(|pair| pair[0] == sign && (pair[1] ^ sign) & 0x80 == 0).count();
    bytes[redundant..].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_stored_as_cassandra_stores_them() {
        let bytes = |number: i128| {
            Value::Decimal { unscaled: number, scale: 0 }.serialized(&Type::Varint).into_owned()
        };
        assert_eq!(bytes(0), [0]);
        assert_eq!(bytes(127), [127]);
        assert_eq!(bytes(128), [0, 128]);
        assert_eq!(bytes(-128), [128]);
        assert_eq!(bytes(-129), [255, 127]);
        assert_eq!(*Value::Integer(-1).serialized(&Type::Date), [0x7f, 255, 255, 255]);
    }

    #[test]
    fn what_is_stored_is_read_again() {
        for (value, kind) in [
            (Value::Text("é"), Type::Text),
            (Value::Blob(&[0, 255]), Type::Blob),
            (Value::Boolean(true), Type::Boolean),
            (Value::Integer(-1), Type::Tinyint),
            (Value::Integer(-2), Type::Smallint),
            (Value::Integer(i32::MIN.into()), Type::Int),
            (Value::Integer(i64::MAX), Type::Timestamp),
            (Value::Integer(-719_162), Type::Date),
            (Value::Double(1.5), Type::Float),
            (Value::Double(-0.1), Type::Double),
            (Value::Decimal { unscaled: -12_345, scale: 2 }, Type::Decimal),
            (Value::Decimal { unscaled: i128::MIN, scale: 0 }, Type::Varint),
            (Value::Uuid(Uuid::from_u128(7)), Type::Uuid),
            (Value::Inet("::1".parse().expect("an address")), Type::Inet),
            (Value::Duration(Duration::parse("-1mo2d3ns").expect("a duration")), Type::Duration),
        ] {
            let bytes = value.serialized(&kind).into_owned();
            assert_eq!(Value::deserialized(&bytes, &kind), Some(value), "{kind}");
            assert_eq!(Value::deserialized(&bytes[..0], &Type::Int), None);
        }
    }
}
