//! Records to the rows of a flow's query, with the fate of each record remembered.

use millstream_core::{Reason, Records, Result};
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
    let mut rows = query.run(&decoded.batch)?;
    for origin in &mut rows.origins {
        *origin = decoded.origins[*origin as usize];
    }
    Ok(Processed { rows, dead })
}
