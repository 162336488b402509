//! Records to the rows of a flow's query, with the fate of each record remembered.

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use millstream_core::{Error, Reason, Records, Result};
use millstream_sql::{Decoder, FlowQuery, Transformed};

/// What became of a run of records before they reach the sink.
pub(crate) struct Processed {
    /// The query's rows; their origins are places in the records.
    pub(crate) rows: Transformed,
    /// Records that are dead, by place.
    pub(crate) dead: Vec<(u32, Reason, String)>,
}

/// Reads records and runs the query over them.
pub(crate) fn process(
    decoder: &mut Decoder,
    query: &FlowQuery,
    records: &Records,
    nulls_ignored: bool,
) -> Result<Processed> {
    let decoded = decoder.decode(records.iter().map(|record| record.value));
    let mut dead = decoded.refused;
    if nulls_ignored {
        dead.retain(|(place, ..)| records.get(*place as usize).value.is_some());
    }
    let place = |row: u32| decoded.origins[row as usize];
    let mut rows = match query.run(&decoded.batch) {
        Ok(rows) => rows,
        Err(_) => {
            let (rows, failed) = run_apart(query, &decoded.batch)?;
            dead.extend(failed.into_iter().map(|(row, why)| (place(row), Reason::BadValue, why)));
            dead.sort_by_key(|(place, ..)| *place);
            rows
        }
    };
    rows.origins.iter_mut().for_each(|origin| *origin = place(*origin));
    Ok(Processed { rows, dead })
}

/// Runs the query over ever smaller parts of a batch that it fails for: what came of the others, and which rows it
/// fails for, with why.
fn run_apart(query: &FlowQuery, batch: &RecordBatch) -> Result<(Transformed, Vec<(u32, String)>)> {
    let (mut parts, mut origins, mut failed) = (Vec::new(), Vec::new(), Vec::new());
    let mut left = vec![(0, batch.num_rows())];
    while let Some((start, rows)) = left.pop() {
        let first = start as u32;
        match query.run(&batch.slice(start, rows)) {
            Ok(part) => {
                origins.extend(part.origins.iter().map(|origin| first + origin));
                parts.push(part.batch);
            }
            Err(error) if rows == 1 => failed.push((first, error.message)),
            Err(_) => left.extend([(start + rows / 2, rows - rows / 2), (start, rows / 2)]),
        }
    }
    let batch = concat_batches(query.schema(), &parts)
        .map_err(|e| Error::ours(format!("the parts of a batch do not fit together: {e}")))?;
    Ok((Transformed { batch, origins }, failed))
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;
    use millstream_core::Record;
    use millstream_sql::parse_schema;

    use super::*;

    #[test]
    fn a_record_that_the_query_fails_for_is_dead_alone() {
        let schema = parse_schema("d DATE, n INT").expect("a schema");
        let sql = "SELECT n, add_months(d, n) AS d FROM input WHERE n > 0";
        let query = FlowQuery::new(sql, &schema).expect("a query");
        let mut records = Records::default();
        for n in [1, 2_147_483_647, 0, 2, 2_147_483_646, 3] {
            let value = format!(r#"{{"d":"2024-01-31","n":{n}}}"#);
            records.push(Record::of_value(value.as_bytes(), 0));
        }
        records.push(Record::of_value(b"{", 0));
        let processed = process(&mut Decoder::new(&schema), &query, &records, false).expect("processes");
        assert_eq!(processed.rows.origins, [0, 3, 5]);
        let kept = processed.rows.batch.column(0).as_primitive::<arrow::datatypes::Int32Type>();
        assert_eq!(kept.values(), &[1, 2, 3]);
        let dead: Vec<_> = processed.dead.iter().map(|(place, reason, _)| (*place, *reason)).collect();
        assert_eq!(dead, [(1, Reason::BadValue), (4, Reason::BadValue), (6, Reason::Unreadable)]);
        assert!(processed.dead[0].2.contains("beyond what its type holds"), "{}", processed.dead[0].2);
    }
}
