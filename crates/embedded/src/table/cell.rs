//! How a cell's value is kept in SQLite, and read back: nothing of it may change on the way.

use std::borrow::Cow;
use std::net::IpAddr;

use millstream_core::cql::{Duration, Type, Value};
use rusqlite::types::{ToSqlOutput, Value as Owned, ValueRef};
use uuid::Uuid;

/// The value as SQLite keeps it.
pub(super) fn stored<'a>(value: &'a Value<'_>) -> ToSqlOutput<'a> {
    let blob = |bytes: &'a [u8]| ToSqlOutput::Borrowed(ValueRef::Blob(bytes));
    match value {
        Value::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
        Value::Blob(bytes) => blob(bytes),
        Value::Collection(bytes) => blob(bytes),
        Value::Boolean(value) => ToSqlOutput::Owned(Owned::Integer(i64::from(*value))),
        Value::Integer(number) => ToSqlOutput::Owned(Owned::Integer(*number)),
        // SQLite makes NaN a null and −0.0 a 0: these two go in as their bytes.
        Value::Double(number) if number.is_nan() || (*number == 0.0 && number.is_sign_negative()) => {
            ToSqlOutput::Owned(Owned::Blob(number.to_be_bytes().to_vec()))
        }
        Value::Double(number) => ToSqlOutput::Owned(Owned::Real(*number)),
        Value::Decimal { unscaled, scale } => ToSqlOutput::Owned(Owned::Text(format!("{unscaled}e-{scale}"))),
        Value::Uuid(uuid) => blob(uuid.as_bytes()),
        Value::Inet(IpAddr::V4(address)) => ToSqlOutput::Owned(Owned::Blob(address.octets().to_vec())),
        Value::Inet(IpAddr::V6(address)) => ToSqlOutput::Owned(Owned::Blob(address.octets().to_vec())),
        Value::Duration(duration) => ToSqlOutput::Owned(Owned::Blob(duration.to_bytes())),
    }
}

/// What SQLite keeps, without what it was borrowed from.
pub(super) fn owned(value: ToSqlOutput<'_>) -> Owned {
    match value {
        ToSqlOutput::Borrowed(value) => value.try_into().unwrap_or(Owned::Null),
        ToSqlOutput::Owned(value) => value,
        _ => Owned::Null,
    }
}

/// The value that [`stored`] kept; `None` for null and for what was never ours.
pub(super) fn restored<'a>(kept: ValueRef<'a>, kind: &Type) -> Option<Value<'a>> {
    Some(match (kept, kind) {
        (ValueRef::Text(text), Type::Decimal | Type::Varint) => {
            let (unscaled, scale) = std::str::from_utf8(text).ok()?.split_once("e-")?;
            Value::Decimal { unscaled: unscaled.parse().ok()?, scale: scale.parse().ok()? }
        }
        (ValueRef::Text(text), _) => Value::Text(std::str::from_utf8(text).ok()?),
        (ValueRef::Blob(bytes), Type::Uuid | Type::Timeuuid) => Value::Uuid(Uuid::from_slice(bytes).ok()?),
        (ValueRef::Blob(bytes), Type::Inet) => Value::Inet(match bytes.len() {
            4 => IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?),
            _ => IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?),
        }),
        (ValueRef::Blob(bytes), Type::Duration) => Value::Duration(Duration::from_bytes(bytes)?),
        (ValueRef::Blob(bytes), Type::Double | Type::Float) => {
            Value::Double(f64::from_be_bytes(bytes.try_into().ok()?))
        }
        (ValueRef::Blob(bytes), kind) if kind.is_collection() => Value::Collection(Cow::Borrowed(bytes)),
        (ValueRef::Blob(bytes), _) => Value::Blob(bytes),
        (ValueRef::Integer(number), Type::Boolean) => Value::Boolean(number != 0),
        (ValueRef::Integer(number), _) => Value::Integer(number),
        (ValueRef::Real(number), _) => Value::Double(number),
        (ValueRef::Null, _) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_comes_back_as_it_was() {
        let connection = rusqlite::Connection::open_in_memory().expect("opens");
        for (value, kind) in [
            (Value::Text("é"), Type::Text),
            (Value::Blob(&[0, 255]), Type::Blob),
            (Value::Boolean(true), Type::Boolean),
            (Value::Integer(i64::MIN), Type::Bigint),
            (Value::Double(-0.0), Type::Double),
            (Value::Double(1.5), Type::Float),
            (Value::Decimal { unscaled: i128::MIN, scale: 2 }, Type::Decimal),
            (Value::Uuid(Uuid::nil()), Type::Uuid),
            (Value::Inet("::1".parse().expect("an address")), Type::Inet),
            (Value::Duration(Duration::parse("-1mo2d3ns").expect("a duration")), Type::Duration),
            (
                Value::Collection(Cow::Borrowed(&[0, 0, 0, 0])),
                Type::Set { element: Box::new(Type::Int), is_frozen: false },
            ),
        ] {
            let same = connection
                .query_row("SELECT ?1", [stored(&value)], |row| {
                    Ok(restored(row.get_ref(0)?, &kind) == Some(value.clone()))
                })
                .expect("selects");
            assert!(same, "{value:?}");
        }
        let nan = connection.query_row("SELECT ?1", [stored(&Value::Double(f64::NAN))], |row| {
            Ok(matches!(restored(row.get_ref(0)?, &Type::Double), Some(Value::Double(n)) if n.is_nan()))
        });
        assert!(nan.expect("selects"));
    }
}
