//! Which of two values of a cell stays, as Cassandra decides it: the greater write time; on
//! equal ones a deletion before a value, and of two values the one with the greater bytes. A
//! collection that is not frozen is a cell for each element, and each write of it replaces all that
//! is older: of two with equal write times all elements stay.

use millstream_core::cql::Type;
use millstream_core::cql::collection::union;

/// The write time of a cell that was never written.
const NEVER: i64 = i64::MIN;

/// One cell: its bytes as Cassandra has them (`None`: deleted, or never written) and its time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Cell<'a> {
    pub(super) bytes: Option<&'a [u8]>,
    pub(super) time: i64,
}

/// What stays of two values.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Stays {
    Old,
    New,
    /// Something of both.
    Both(Vec<u8>),
}

/// What stays of `new` and `old` in a column of a type.
pub(super) fn stays(new: Cell<'_>, old: Cell<'_>, kind: &Type) -> Stays {
    if kind.is_multi_cell() && new.time == old.time {
        // Deleting the whole covers only what is older, as does writing it anew.
        return match (new.bytes, old.bytes) {
            (None, _) => Stays::Old,
            (Some(_), None) => Stays::New,
            (Some(new), Some(old)) => Stays::Both(union(new, old, kind)),
        };
    }
    if replaces(new, old) { Stays::New } else { Stays::Old }
}

/// Whether `new` replaces `old`.
fn replaces(new: Cell<'_>, old: Cell<'_>) -> bool {
    if new.time != old.time {
        return new.time > old.time;
    }
    match (new.bytes, old.bytes) {
        (_, None) => false,
        (None, Some(_)) => true,
        (Some(new), Some(old)) => new > old,
    }
}

/// The write times of a row's cells, from what is stored: one time for the whole row, and one
/// for each cell where they differ.
pub(super) fn times(
    row_time: i64,
    cells: Option<&[u8]>,
    is_null: impl Fn(usize) -> bool,
    count: usize,
) -> Vec<i64> {
    match cells {
        Some(bytes) => {
            let (times, _) = bytes.as_chunks::<8>();
            let times = times.iter().map(|time| i64::from_le_bytes(*time));
            // A column that was added since has no time in it.
            times.chain(std::iter::repeat(NEVER)).take(count).collect()
        }
        None => (0..count).map(|at| if is_null(at) { NEVER } else { row_time }).collect(),
    }
}

/// How the times are stored: nothing where one time for the row says it all.
pub(super) fn stored_times(row_time: i64, times: &[i64], is_null: impl Fn(usize) -> bool) -> Option<Vec<u8>> {
    let plain =
        times.iter().enumerate().all(|(at, time)| *time == if is_null(at) { NEVER } else { row_time });
    (!plain).then(|| times.iter().flat_map(|time| time.to_le_bytes()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newer_stays_and_ties_fall_as_in_cassandra() {
        let cell = |bytes, time| Cell { bytes, time };
        let (a, b) = (Some(b"a".as_slice()), Some(b"b".as_slice()));
        for (new, old, expected) in [
            (cell(a, 2), cell(b, 1), true),
            (cell(b, 1), cell(a, 2), false),
            (cell(None, 2), cell(a, 1), true),
            (cell(b, 1), cell(a, 1), true),
            (cell(a, 1), cell(b, 1), false),
            (cell(None, 1), cell(a, 1), true),
            (cell(a, 1), cell(None, 1), false),
            (cell(a, -5), cell(None, NEVER), true),
            (cell(a, 1), cell(a, 1), false),
        ] {
            assert_eq!(replaces(new, old), expected, "{new:?} over {old:?}");
        }
    }

    #[test]
    fn a_collection_of_cells_is_merged_with_one_of_the_same_time() {
        let kind = Type::parse("set<text>").expect("a type");
        let (a, b) = (b"\0\0\0\x01\0\0\0\x01a".as_slice(), b"\0\0\0\x01\0\0\0\x01b".as_slice());
        let both = b"\0\0\0\x02\0\0\0\x01a\0\0\0\x01b".to_vec();
        let cell = |bytes, time| Cell { bytes, time };
        for (new, old, expected) in [
            (cell(Some(b), 1), cell(Some(a), 1), Stays::Both(both)),
            (cell(Some(b), 2), cell(Some(a), 1), Stays::New),
            (cell(None, 2), cell(Some(a), 1), Stays::New),
            (cell(None, 1), cell(Some(a), 1), Stays::Old),
            (cell(Some(a), 1), cell(None, 1), Stays::New),
            (cell(Some(a), 1), cell(None, 2), Stays::Old),
        ] {
            assert_eq!(stays(new, old, &kind), expected, "{new:?} over {old:?}");
        }
    }

    #[test]
    fn times_are_kept_only_where_they_differ() {
        let is_null = |at: usize| at == 1;
        assert_eq!(stored_times(7, &[7, NEVER], is_null), None);
        assert_eq!(times(7, None, is_null, 2), [7, NEVER]);
        let kept = stored_times(7, &[6, 7], is_null).expect("they differ");
        assert_eq!(times(7, Some(&kept), is_null, 2), [6, 7]);
    }
}
