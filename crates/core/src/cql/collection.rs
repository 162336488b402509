//! The bytes of lists, sets and maps as Cassandra stores frozen ones: how many there are, then each
//! part with its length. Those of a set, and the keys of a map, are there once and in Cassandra's
//! order, so that equal collections have equal bytes wherever they were written.

use std::cmp::Ordering;

use super::Type;
use super::order::compare;

/// Parts one after the other; `parts_per_entry` is 2 for a map, else 1.
pub(super) fn joined(parts: &[Vec<u8>], parts_per_entry: usize) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| 4 + part.len()).sum();
    let mut bytes = Vec::with_capacity(4 + length);
    bytes.extend_from_slice(&((parts.len() / parts_per_entry) as i32).to_be_bytes());
    for part in parts {
        bytes.extend_from_slice(&(part.len() as i32).to_be_bytes());
        bytes.extend_from_slice(part);
    }
    bytes
}

/// A set of `elements` of a type.
pub(super) fn set(mut elements: Vec<Vec<u8>>, kind: &Type) -> Vec<u8> {
    elements.sort_by(|a, b| compare(a, b, kind));
    elements.dedup_by(|b, a| compare(a, b, kind) == Ordering::Equal);
    joined(&elements, 1)
}

/// A map of `entries`, whose keys are of a type; of those with the same key the last stays.
pub(super) fn map(mut entries: Vec<(Vec<u8>, Vec<u8>)>, key: &Type) -> Vec<u8> {
    entries.reverse();
    entries.sort_by(|(a, _), (b, _)| compare(a, b, key));
    entries.dedup_by(|(b, _), (a, _)| compare(a, b, key) == Ordering::Equal);
    let parts: Vec<_> = entries.into_iter().flat_map(|(key, value)| [key, value]).collect();
    joined(&parts, 2)
}

/// The parts of a collection one after the other, keys and values of a map in turn. It ends early
/// where the bytes are none of a collection.
pub fn parts(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes.get(4..).unwrap_or_default();
    std::iter::from_fn(move || {
        let (length, behind) = rest.split_first_chunk()?;
        let length = usize::try_from(i32::from_be_bytes(*length)).ok()?;
        let (part, behind) = behind.split_at_checked(length)?;
        rest = behind;
        Some(part)
    })
}

/// What stays of two collections that are not frozen and were written at the same time: all that is
/// in either, and for a key of both the value with the greater bytes.
pub fn union(one: &[u8], other: &[u8], kind: &Type) -> Vec<u8> {
    match kind {
        Type::Map { key, .. } => {
            let mut entries: Vec<_> = entries(one).chain(entries(other)).collect();
            // The last of a key stays.
            entries.sort_by(|(_, a), (_, b)| a.cmp(b));
            map(entries, key)
        }
        Type::Set { element, .. } => {
            set(parts(one).chain(parts(other)).map(<[u8]>::to_vec).collect(), element)
        }
        _ => one.max(other).to_vec(),
    }
}

fn entries(bytes: &[u8]) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
    let mut parts = parts(bytes);
    std::iter::from_fn(move || Some((parts.next()?.to_vec(), parts.next()?.to_vec())))
}

/// Whether there is nothing in it.
pub fn is_empty(bytes: &[u8]) -> bool {
    parts(bytes).next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_maps_of_one_time_are_merged_entry_by_entry() {
        let kind = Type::parse("map<text, text>").expect("a type");
        let of = |entries: &[(&str, &str)]| {
            let bytes = |text: &str| text.as_bytes().to_vec();
            map(entries.iter().map(|(k, v)| (bytes(k), bytes(v))).collect(), &Type::Text)
        };
        let (one, other) = (of(&[("a", "1"), ("b", "9")]), of(&[("b", "2"), ("c", "3")]));
        let both = of(&[("a", "1"), ("b", "9"), ("c", "3")]);
        assert_eq!(union(&one, &other, &kind), both);
        assert_eq!(union(&other, &one, &kind), both);
    }

    #[test]
    fn bytes_of_no_collection_have_no_parts() {
        for bytes in [&b""[..], b"\0\0", b"\0\0\0\x01\xff\xff\xff\xff", b"\0\0\0\x01\0\0\0\x05ab"] {
            assert!(is_empty(bytes), "{bytes:?}");
        }
    }
}
