//! Records to the rows of a flow's query, with the fate of each record remembered.

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use millstream_core::{Error, Fault, Reason, Records, Result};
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
        Err(error) if error.fault != Fault::Lasting => return Err(error),
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
    let ours = |e| Error::ours(format!("a batch cannot be taken apart: {e}"));
    let (mut parts, mut origins, mut failed) = (Vec::new(), Vec::new(), Vec::new());
    let mut left = vec![(0, batch.num_rows() as u32)];
    while let Some((first, rows)) = left.pop() {
        // Of a slice, arrays would still have the items of its neighbours.
        let places = UInt32Array::from_iter_values(first..first + rows);
        match query.run(&take_record_batch(batch, &places).map_err(ours)?) {
            Ok(part) => {
                origins.extend(part.origins.iter().map(|origin| first + origin));
                parts.push(part.batch);
            }
            Err(error) if error.fault != Fault::Lasting => return Err(error),
            Err(error) if rows == 1 => failed.push((first, error.message)),
            Err(_) => left.extend([(first + rows / 2, rows - rows / 2), (first, rows / 2)]),
        }
    }
    let batch = concat_batches(query.schema(), &parts).map_err(|e| {
        Error::lasting(format!(
            "what the query makes of {} messages is too much at once: {e}",
            batch.num_rows()
        ))
        .help("let it make less of each")
    })?;
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
        let schema = parse_schema("d DATE, n INT, days ARRAY<DATE>, m MAP<STRING, DATE>").expect("a schema");
        let far = "+300000-01-01";
        let mut records = Records::default();
        for (n, day) in
            [(1, "1970-01-01"), (2_147_483_647, far), (0, far), (2, "2024-02-29"), (2_147_483_646, far)]
        {
            let value =
                format!(r#"{{"d":"2024-01-31","n":{n},"days":["2024-01-01","{day}"],"m":{{"k":"{day}"}}}}"#);
            records.push(Record::of_value(value.as_bytes(), 0));
        }
        records.push(Record::of_value(br#"{"n":3}"#, 0));
        records.push(Record::of_value(b"{", 0));
        for value in
            ["add_months(d, n)", "CAST(days AS ARRAY<TIMESTAMP>)", "CAST(m AS MAP<STRING, TIMESTAMP>)"]
        {
            let sql = format!("SELECT n, {value} AS v FROM input WHERE n > 0");
            let query = FlowQuery::new(&sql, &schema).expect(value);
            let processed = process(&mut Decoder::new(&schema), &query, &records, false).expect(value);
            assert_eq!(processed.rows.origins, [0, 3, 5], "{value}");
            let kept = processed.rows.batch.column(0).as_primitive::<arrow::datatypes::Int32Type>();
            assert_eq!(kept.values(), &[1, 2, 3], "{value}");
            let dead: Vec<_> = processed.dead.iter().map(|(place, reason, _)| (*place, *reason)).collect();
            assert_eq!(
                dead,
                [(1, Reason::BadValue), (4, Reason::BadValue), (6, Reason::Unreadable)],
                "{value}"
            );
            assert!(processed.dead[0].2.contains("beyond what its type holds"), "{}", processed.dead[0].2);
        }
    }

    #[test]
    fn a_record_of_which_too_much_is_made_is_dead_alone() {
        let schema = parse_schema("s STRING").expect("a schema");
        let query = FlowQuery::new("SELECT repeat(s, 100000) AS s FROM input", &schema).expect("a query");
        let mut records = Records::default();
        for text in ["a".to_owned(), "x".repeat(30_000), "b".to_owned()] {
            records.push(Record::of_value(format!(r#"{{"s":"{text}"}}"#).as_bytes(), 0));
        }
        let processed = process(&mut Decoder::new(&schema), &query, &records, false).expect("processes");
        assert_eq!(processed.rows.origins, [0, 2]);
        let [(1, Reason::BadValue, why)] = &processed.dead[..] else { panic!("{:?}", processed.dead) };
        assert!(why.contains("2 GiB"), "{why}");
    }
}
