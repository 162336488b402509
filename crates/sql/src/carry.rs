//! Writes a column of `input` into a query, so that each of its rows carries the column to the end:
//! which message a row came from is known then, whoever runs the query.

use std::collections::BTreeSet;

use crate::error::SqlError;
use crate::syntax::{self, Item, Kind, Query, Relation};

/// The relation that a flow's query reads.
const INPUT: &str = "input";

/// The query with `column` of `input` in each of its rows. A query whose rows come from more than one
/// record is refused: nobody could say then what the write time of a row is.
pub fn carry(sql: &str, column: &str) -> Result<String, SqlError> {
    let places = look_at(sql)?;
    let columns = places.columns.into_iter().map(|at| (at, format!("{column}, ")));
    Ok(written_into(sql, columns))
}

/// The query as [`carry`] gives it, whose every WHERE also lets records through of which `condition`
/// holds: records of nulls, whose other columns are of no use. Of a query that is answered natively it is known
/// that no null stops it, and that each of its records gives a row.
pub fn carry_past_filters(sql: &str, column: &str, condition: &str) -> Result<String, SqlError> {
    let places = look_at(sql)?;
    let columns = places.columns.into_iter().map(|at| (at, format!("{column}, ")));
    let filters = places.filters.into_iter();
    let around =
        filters.flat_map(|(start, end)| [(start, "(".to_owned()), (end, format!(") OR {condition}"))]);
    Ok(written_into(sql, columns.chain(around)))
}

fn written_into(sql: &str, texts: impl Iterator<Item = (usize, String)>) -> String {
    let mut texts: Vec<_> = texts.collect();
    texts.sort_by_key(|(at, _)| *at);
    let mut written = sql.to_owned();
    for (at, text) in texts.iter().rev() {
        written.insert_str(*at, text);
    }
    written
}

/// Where a query is written into.
#[derive(Default)]
struct Places {
    /// Where lists of items begin that want the column.
    columns: BTreeSet<usize>,
    /// Where filters begin and end.
    filters: BTreeSet<(usize, usize)>,
}

fn look_at(sql: &str) -> Result<Places, SqlError> {
    let mut places = Places::default();
    look(&syntax::parse_query(sql)?, &mut places)?;
    Ok(places)
}

fn look(query: &Query, places: &mut Places) -> Result<(), SqlError> {
    let select = &query.select;
    if let Some((what, span)) = query.more_than_one_record() {
        let message =
            format!("{what} makes one row of several records: which write time it has cannot be said");
        return Err(SqlError::unsupported(message, span));
    }
    let reads = match &select.from {
        None => None,
        Some(Relation::Subquery { query: inner, alias }) => {
            let with = [query.with.clone(), inner.with.clone()].concat();
            look(&Query { with, ..(**inner).clone() }, places)?;
            alias.clone()
        }
        Some(Relation::Named { name, alias, span }) => {
            let last = name.last().cloned().unwrap_or_default();
            let defined = query.with.iter().rposition(|(known, _)| known.eq_ignore_ascii_case(&last));
            if let Some(at) = defined {
                let (before, inner) = (&query.with[..at], &query.with[at].1);
                look(
                    &Query { with: [before.to_vec(), inner.with.clone()].concat(), ..inner.clone() },
                    places,
                )?;
            } else if !last.eq_ignore_ascii_case(INPUT) {
                let message = format!("there is no table `{}` here", name.join("."));
                return Err(SqlError::invalid(message, span.clone()).help(format!("write FROM {INPUT}")));
            }
            Some(alias.clone().unwrap_or(last))
        }
    };
    let Some(reads) = reads.or_else(|| select.from.is_some().then(String::new)) else {
        return Err(SqlError::invalid("the query reads nothing", select.span.clone())
            .help(format!("write FROM {INPUT}")));
    };
    // In a call `*` would be the carried column, too.
    let mut star = None;
    for expr in select.items.iter().map(|item| &item.expr).chain(&select.filter) {
        if !matches!(expr.kind, Kind::Star(_)) {
            expr.visit(&mut |part| {
                if matches!(part.kind, Kind::Star(_)) {
                    star = Some(part.span.clone());
                }
            });
        }
    }
    if let Some(span) = star {
        let message = "`*` in a call holds a column of ours where Spark runs the flow";
        return Err(SqlError::unsupported(message, span).help("name the columns"));
    }
    if !select.items.iter().any(|item| is_everything(item, &reads)) {
        places.columns.insert(select.items_start);
    }
    if select.filter.is_some() {
        places.filters.insert((select.filter_span.start, select.filter_span.end));
    }
    Ok(())
}

/// Whether an item of the list is all columns of the relation, and so the carried one, too.
fn is_everything(item: &Item, relation: &str) -> bool {
    match &item.expr.kind {
        Kind::Star(parts) => match parts.as_slice() {
            [] => true,
            [name] => name.eq_ignore_ascii_case(relation),
            _ => false,
        },
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_select_on_the_way_carries_the_column() {
        for (sql, carried) in [
            ("SELECT * FROM input", "SELECT * FROM input"),
            ("SELECT id FROM input WHERE n > 0", "SELECT p, id FROM input WHERE n > 0"),
            ("select all (a) + 1 AS b from INPUT", "select all p, (a) + 1 AS b from INPUT"),
            ("SELECT i.* FROM input i", "SELECT i.* FROM input i"),
            ("SELECT s.* FROM input i", "SELECT p, s.* FROM input i"),
            ("SELECT x.id FROM (SELECT id FROM input) x", "SELECT p, x.id FROM (SELECT p, id FROM input) x"),
            (
                "WITH a AS (SELECT *, 1 AS one FROM input), b AS (SELECT id FROM a) SELECT id FROM b",
                "WITH a AS (SELECT *, 1 AS one FROM input), b AS (SELECT p, id FROM a) SELECT p, id FROM b",
            ),
            ("SELECT 'FROM é' AS t, `select` FROM input", "SELECT p, 'FROM é' AS t, `select` FROM input"),
        ] {
            assert_eq!(carry(sql, "p").as_deref(), Ok(carried), "{sql}");
        }
    }

    #[test]
    fn every_filter_on_the_way_lets_through() {
        for (sql, carried) in [
            ("SELECT * FROM input", "SELECT * FROM input"),
            (
                "SELECT id FROM input WHERE (a) OR (b) -- ab",
                "SELECT p, id FROM input WHERE ((a) OR (b)) OR p.r -- ab",
            ),
            (
                "SELECT * FROM (SELECT id FROM input WHERE a AND (b OR (c))) x WHERE NOT d",
                "SELECT * FROM (SELECT p, id FROM input WHERE (a AND (b OR (c))) OR p.r) x WHERE (NOT d) OR p.r",
            ),
        ] {
            assert_eq!(carry_past_filters(sql, "p", "p.r"), Ok(carried.to_owned()), "{sql}");
        }
    }

    #[test]
    fn what_makes_one_row_of_several_records_is_refused() {
        for sql in [
            "SELECT DISTINCT id FROM input",
            "SELECT n FROM input GROUP BY n",
            "SELECT id FROM input ORDER BY id",
            "SELECT id FROM (SELECT id FROM input LIMIT 1) x",
            "SELECT id FROM other",
            "SELECT struct(*) AS s FROM input",
            "SELECT 1 AS one",
        ] {
            assert!(carry(sql, "p").is_err(), "{sql}");
        }
    }
}
