//! In which order Cassandra keeps the elements of a set and the keys of a map: that of their type,
//! which is not that of their bytes.

use std::cmp::Ordering;

use super::collection::parts;
use super::{Type, Value};

/// Compares two values of a type by the bytes that Cassandra stores.
pub(super) fn compare(a: &[u8], b: &[u8], kind: &Type) -> Ordering {
    match kind {
        Type::Ascii | Type::Text | Type::Blob | Type::Boolean | Type::Inet | Type::Date | Type::Time => {
            a.cmp(b)
        }
        // It has no order: neither a set nor the keys of a map can have it.
        Type::Duration => a.cmp(b),
        Type::Uuid => uuid(a, b),
        Type::Timeuuid => timeuuid(a, b),
        Type::List(element) | Type::Set { element, .. } => each(a, b, &[element]),
        Type::Map { key, value, .. } => each(a, b, &[key, value]),
        Type::Bigint
        | Type::Int
        | Type::Smallint
        | Type::Tinyint
        | Type::Timestamp
        | Type::Float
        | Type::Double
        | Type::Decimal
        | Type::Varint => match (Value::deserialized(a, kind), Value::deserialized(b, kind)) {
            (Some(a), Some(b)) => number(&a, &b),
            _ => a.cmp(b),
        },
    }
}

/// Part by part, whose types repeat; then by how many there are.
fn each(a: &[u8], b: &[u8], kinds: &[&Type]) -> Ordering {
    let pairs = parts(a).zip(parts(b)).zip(kinds.iter().cycle());
    let mut orders = pairs.map(|((a, b), kind)| compare(a, b, kind));
    let different = orders.find(|order| order.is_ne());
    different.unwrap_or_else(|| parts(a).count().cmp(&parts(b).count()))
}

fn number(a: &Value<'_>, b: &Value<'_>) -> Ordering {
    match (a, b) {
        (Value::Integer(a), Value::Integer(b)) => a.cmp(b),
        // As Java: −0.0 before 0.0, one NaN as the other, behind everything.
        (Value::Double(a), Value::Double(b)) => match (a.is_nan(), b.is_nan()) {
            (false, false) => a.total_cmp(b),
            (a, b) => a.cmp(&b),
        },
        (Value::Decimal { unscaled: a, scale: a_scale }, Value::Decimal { unscaled: b, scale: b_scale }) => {
            decimal((*a, *a_scale), (*b, *b_scale))
        }
        _ => Ordering::Equal,
    }
}

fn decimal((a, a_scale): (i128, i8), (b, b_scale): (i128, i8)) -> Ordering {
    let scaled = |number: i128, by: i16| match u32::try_from(by) {
        Ok(by) if number != 0 => 10_i128.checked_pow(by).and_then(|factor| number.checked_mul(factor)),
        _ => Some(number),
    };
    let (a_up, b_up) = (i16::from(b_scale) - i16::from(a_scale), i16::from(a_scale) - i16::from(b_scale));
    match (scaled(a, a_up), scaled(b, b_up)) {
        (Some(a), Some(b)) => a.cmp(&b),
        // One is so much larger than the other that it fits no more.
        (None, _) => a.signum().cmp(&0).then(Ordering::Greater),
        (_, None) => 0.cmp(&b.signum()).then(Ordering::Less),
    }
}

/// By version; of version 1 by time; then by bytes.
fn uuid(a: &[u8], b: &[u8]) -> Ordering {
    let (Some((a, a_low)), Some((b, b_low))) = (halves(a), halves(b)) else { return a.cmp(b) };
    let version = |high: u64| (high >> 12) & 0xf;
    let by_version = version(a).cmp(&version(b));
    let by_high = if version(a) == 1 { in_time(a).cmp(&in_time(b)) } else { a.cmp(&b) };
    by_version.then(by_high).then(a_low.cmp(&b_low))
}

/// By time; then by bytes with a sign.
fn timeuuid(a: &[u8], b: &[u8]) -> Ordering {
    let (Some((a, a_low)), Some((b, b_low))) = (halves(a), halves(b)) else { return a.cmp(b) };
    let signed = |low: u64| low.to_be_bytes().map(|byte| byte as i8);
    in_time(a).cmp(&in_time(b)).then_with(|| signed(a_low).cmp(&signed(b_low)))
}

fn halves(bytes: &[u8]) -> Option<(u64, u64)> {
    let (high, rest) = bytes.split_first_chunk()?;
    Some((u64::from_be_bytes(*high), u64::from_be_bytes(rest.try_into().ok()?)))
}

/// The high half of a UUID of version 1 with its time from the greatest bits to the least.
fn in_time(high: u64) -> u64 {
    (high << 48) | ((high << 16) & 0xffff_0000_0000) | (high >> 32)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn assert_ascending(kind: &str, values: &[Value<'_>]) {
        let kind = Type::parse(kind).expect("a type");
        for pair in values.windows(2) {
            let (a, b) = (pair[0].serialized(&kind), pair[1].serialized(&kind));
            assert_eq!(compare(&a, &b, &kind), Ordering::Less, "{pair:?}");
            assert_eq!(compare(&b, &a, &kind), Ordering::Greater, "{pair:?}");
            assert_eq!(compare(&a, &a, &kind), Ordering::Equal, "{pair:?}");
        }
    }

    #[test]
    fn values_are_in_the_order_of_their_type() {
        assert_ascending("int", &[-2, -1, 0, 1, 300].map(Value::Integer));
        assert_ascending("date", &[-2, -1, 0, 1].map(Value::Integer));
        let doubles = [f64::NEG_INFINITY, -1.0, -0.0, 0.0, 1.0, f64::INFINITY, f64::NAN];
        assert_ascending("double", &doubles.map(Value::Double));
        let decimals = [(i128::MIN, 0), (-15, 1), (-1, 0), (0, 5), (9, 30), (10, 1), (2, 0), (i128::MAX, 0)];
        assert_ascending("decimal", &decimals.map(|(unscaled, scale)| Value::Decimal { unscaled, scale }));
        let uuid = |text| Value::Uuid(Uuid::parse_str(text).expect("a UUID"));
        // A later one of version 1 may have the smaller bytes; a version comes before its bytes.
        let uuids = [
            uuid("ffffffff-0000-1000-8000-000000000000"),
            uuid("00000000-0001-1000-8000-000000000000"),
            uuid("00000000-0000-4000-8000-000000000000"),
            uuid("00000001-0000-4000-8000-000000000000"),
        ];
        assert_ascending("uuid", &uuids);
        let times =
            [uuid("00000000-0000-1000-8000-000000000000"), uuid("00000000-0000-1000-7000-000000000000")];
        assert_ascending("timeuuid", &times);
    }

    #[test]
    fn collections_are_compared_part_by_part() {
        let kind = Type::parse("frozen<list<int>>").expect("a type");
        let of = |numbers: &[i32]| {
            let parts: Vec<_> = numbers.iter().map(|number| number.to_be_bytes().to_vec()).collect();
            crate::cql::collection::joined(&parts, 1)
        };
        for (less, more) in [(&[-1, 5][..], &[1][..]), (&[1], &[1, 0]), (&[], &[0])] {
            assert_eq!(compare(&of(less), &of(more), &kind), Ordering::Less, "{less:?} {more:?}");
        }
    }
}
