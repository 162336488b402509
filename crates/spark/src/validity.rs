//! Which values of a column can be stored: what the native sink finds by trying, as conditions of
//! Spark SQL. A type whose values no condition tells apart is refused.

use millstream_core::cql::{KEY_BYTES_MAX, KEY_PART_BYTES, Key, Table, Type};
use millstream_core::{Error, Reason, Result};

use crate::text::{literal, name};

/// Characters of a value that a detail shows.
const EXCERPT_CHARS: usize = 60;

/// What a column needs beside the query's own.
struct Rule {
    /// Holds for a value that is none of the type.
    bad: Option<String>,
    /// The value as the connector takes it, where that is not as it is.
    handed: Option<String>,
}

fn rule(column: &str, kind: &Type) -> Option<Rule> {
    let text = |bad: String| Rule { bad: Some(bad), handed: None };
    let cast = |kind: &str| Some(format!("CAST({column} AS {kind})"));
    let between = |low: &str, high: &str, kind: &str| Rule {
        bad: Some(format!("{column} NOT BETWEEN {low} AND {high}")),
        handed: cast(kind),
    };
    const UUID: &str = "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}";
    const TIMEUUID: &str = "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-1[0-9a-fA-F]{3}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}";
    Some(match kind {
        Type::Uuid => text(format!("{column} NOT RLIKE {}", literal(&format!(r"\A{UUID}\z")))),
        Type::Timeuuid => text(format!("{column} NOT RLIKE {}", literal(&format!(r"\A{TIMEUUID}\z")))),
        Type::Ascii => text(format!("{column} RLIKE {}", literal(r"[^\x00-\x7F]"))),
        Type::Tinyint => between("-128", "127", "TINYINT"),
        Type::Smallint => between("-32768", "32767", "SMALLINT"),
        Type::Int => between("-2147483648", "2147483647", "INT"),
        Type::Bigint => Rule { bad: None, handed: cast("BIGINT") },
        Type::Time => between("0", "86399999999999", "BIGINT"),
        Type::Double => Rule { bad: None, handed: cast("DOUBLE") },
        Type::Blob | Type::Boolean | Type::Date | Type::Decimal | Type::Float | Type::Text | Type::Varint => {
            Rule { bad: None, handed: None }
        }
        // As a TIMESTAMP it goes through Java's old calendar, which moves what is before October 1582 by days.
        Type::Timestamp => Rule { bad: None, handed: Some(format!("unix_millis({column})")) },
        Type::Duration | Type::Inet | Type::List(_) | Type::Set { .. } | Type::Map { .. } => return None,
    })
}

/// Refuses a table with columns whose validity Spark cannot tell.
pub(crate) fn check(table: &Table) -> Result<()> {
    match table.columns.iter().find(|column| rule(&column.name, &column.kind).is_none()) {
        None => Ok(()),
        Some(column) => Err(Error::user(format!(
            "{} is {}: which values are one is not told apart on Spark, and a single wrong one would stop the query",
            column.name, column.kind
        ))
        .help("run the flow natively, or make the column TEXT")),
    }
}

/// A column as it is handed to the connector.
pub(crate) fn stored(column: &str, kind: &Type) -> String {
    let column = name(column);
    match rule(&column, kind).and_then(|rule| rule.handed) {
        Some(handed) => format!("{handed} AS {column}"),
        None => column,
    }
}

/// Why a row can never be written, as an expression of its columns that is null where it can. `written` are
/// the columns that the query has.
pub(crate) fn reason(table: &Table, written: &[String]) -> String {
    first_of(cases(table, written).into_iter().map(|case| (case.bad, literal(case.reason.name()))))
}

/// The same for people.
pub(crate) fn detail(table: &Table, written: &[String]) -> String {
    first_of(cases(table, written).into_iter().map(|case| (case.bad, case.detail)))
}

/// What of the first condition that holds, null where none does.
fn first_of(cases: impl Iterator<Item = (String, String)>) -> String {
    let branches: String = cases.map(|(when, then)| format!(" WHEN {when} THEN {then}")).collect();
    match branches.is_empty() {
        true => "CAST(NULL AS STRING)".to_owned(),
        false => format!("CASE{branches} END"),
    }
}

/// A condition under which a row can never be written.
struct Case {
    bad: String,
    reason: Reason,
    /// An expression.
    detail: String,
}

fn cases(table: &Table, written: &[String]) -> Vec<Case> {
    let mut cases = Vec::new();
    for column in table.columns.iter().filter(|column| written.contains(&column.name)) {
        let value = name(&column.name);
        if let Some(bad) = rule(&value, &column.kind).and_then(|rule| rule.bad) {
            let text = format!("CAST({value} AS STRING)");
            let more = format!("if(length({text}) > {EXCERPT_CHARS}, '…', '')");
            let detail = format!(
                "concat({}, substring({text}, 1, {EXCERPT_CHARS}), {more}, {})",
                literal(&format!("{}: '", column.name)),
                literal(&format!("' is no {}", column.kind)),
            );
            cases.push(Case { bad, reason: Reason::BadValue, detail });
        }
        if column.key.is_some() {
            let detail = literal(&format!("{} is null", column.name));
            cases.push(Case { bad: format!("{value} IS NULL"), reason: Reason::NullKey, detail });
        }
    }
    cases.extend(long_key(table, Key::Partition));
    cases.extend(long_key(table, Key::Clustering));
    cases
}

/// What makes the columns that are `key` impossible together: that they are too long, and that a partition key is
/// empty. A number of any length counts for nothing: no condition says how long it is.
fn long_key(table: &Table, key: Key) -> Vec<Case> {
    let parts: Vec<_> = table.key().filter(|column| column.key == Some(key)).collect();
    let texts: Vec<_> = parts
        .iter()
        .filter(|column| matches!(column.kind, Type::Ascii | Type::Text | Type::Blob))
        .map(|column| format!("octet_length({})", name(&column.name)))
        .collect();
    let mut cases = Vec::new();
    if let (Key::Partition, [part], [length]) = (key, parts.as_slice(), texts.as_slice()) {
        let detail = literal(&format!("{} is empty, which no partition key may be", part.name));
        cases.push(Case { bad: format!("{length} = 0"), reason: Reason::NullKey, detail });
    }
    if !texts.is_empty() {
        let mut others: usize = parts.iter().filter_map(|column| column.kind.value_bytes()).sum();
        if key == Key::Partition && parts.len() > 1 {
            others += KEY_PART_BYTES * parts.len();
        }
        let mut length = texts.join(" + ");
        if others > 0 {
            length += &format!(" + {others}");
        }
        let detail = format!(
            "concat({}, {length}, {})",
            literal(&format!("{} ", key.has())),
            literal(&format!(" bytes, {KEY_BYTES_MAX} are possible"))
        );
        cases.push(Case { bad: format!("{length} > {KEY_BYTES_MAX}"), reason: Reason::NullKey, detail });
    }
    cases
}

#[cfg(test)]
mod tests {
    use millstream_core::cql;

    use super::*;

    fn table(columns: &str) -> Table {
        cql::parse(&format!("CREATE TABLE k.t ({columns})"), "k", "t").expect("a table")
    }

    #[test]
    fn the_first_column_that_is_wrong_gives_the_reason() {
        let table = table("id TEXT, n INT, v TEXT, PRIMARY KEY (id, n)");
        let written = ["id", "n", "v"].map(str::to_owned);
        let (reason, detail) = (reason(&table, &written), detail(&table, &written));
        assert_eq!(
            reason,
            "CASE WHEN `id` IS NULL THEN 'null-key' WHEN `n` NOT BETWEEN -2147483648 AND 2147483647 THEN \
             'bad-value' WHEN `n` IS NULL THEN 'null-key' WHEN octet_length(`id`) = 0 THEN 'null-key' WHEN \
             octet_length(`id`) > 65535 THEN 'null-key' END"
        );
        assert!(detail.starts_with("CASE WHEN `id` IS NULL THEN 'id is null' WHEN"), "{detail}");
    }

    #[test]
    fn a_key_is_as_long_as_cassandra_takes_it() {
        let table = table("a TEXT, b UUID, c TEXT, d INT, e BLOB, PRIMARY KEY ((a, b), c, d, e)");
        let written = ["a", "b", "c", "d", "e"].map(str::to_owned);
        let (reason, detail) = (reason(&table, &written), detail(&table, &written));
        // A UUID has 16 bytes, and three go with each column of a partition key; an INT has four.
        let ending = " WHEN octet_length(`a`) + 22 > 65535 THEN 'null-key' \
                      WHEN octet_length(`c`) + octet_length(`e`) + 4 > 65535 THEN 'null-key' END";
        assert!(reason.ends_with(ending), "{reason}");
        let ending = "THEN concat('the clustering columns have ', octet_length(`c`) + octet_length(`e`) + 4, \
                      ' bytes, 65535 are possible') END";
        assert!(detail.ends_with(ending), "{detail}");
    }

    #[test]
    fn a_type_that_no_condition_tells_is_refused() {
        let error = check(&table("id TEXT PRIMARY KEY, ip INET")).expect_err("is refused");
        assert!(error.message.starts_with("ip is inet"), "{error}");
        check(&table("id UUID PRIMARY KEY, a TEXT, b DECIMAL")).expect("is taken");
    }
}
