//! The steps of a flow as statements of Spark SQL, each over the view of the one before.
//!
//! messages (Kafka) → read (`from_json`, and whether it could) → `input` → the flow's own query →
//! checked (whether the table takes it) → rows, and beside them dead letters.

use millstream_core::{DeadLetter, Nulls, RemoteFlow, Result, TableSettings, settings};

use crate::text::{literal, name, options};
use crate::validity;

/// The view of the messages as Kafka gives them.
pub(crate) const MESSAGES: &str = "millstream_messages";
/// The view of the messages as they are read.
pub(crate) const READ: &str = "millstream_read";
/// The view that the flow's query reads.
pub(crate) const INPUT: &str = "input";
/// The view of the query's rows with what the table says of them.
pub(crate) const CHECKED: &str = "millstream_checked";

/// The column with a row's write time; the connector takes no name that begins with an underscore.
pub(crate) const WRITE_TIME: &str = "millstream_write_time";
const REASON: &str = "_millstream_reason";
const CORRUPT: &str = "_millstream_corrupt";
/// What stands for a message that is passed over.
const IGNORED: &str = "ignored";

/// What is said of a message that could not be read, as an expression.
const UNREADABLE: &str = "'the message is not what the schema says'";

/// The white space that JSON knows.
const SPACE: &str = " \t\n\r";

/// What of a message goes with what is read of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carried {
    /// What a write time is made of.
    Time,
    /// All of it, as a dead letter needs it.
    Message,
}

impl Carried {
    fn columns(self) -> &'static str {
        match self {
            Self::Time => "offset, timestamp",
            Self::Message => "key, value, headers, partition, offset, timestamp",
        }
    }
}

/// Messages read by the declared schema, with the reason why one could not be.
///
/// Spark reads the first value of a message and drops what follows. Where a message has no brace that closes but the one
/// at its end, nothing can follow. Any other is read as one of three elements of a list of ours, whose first and last
/// come back as they were only where the message was exactly one value: they hold a hash of the message, so that no
/// message can contain them. That takes half as long again.
///
/// All that is made of a message's bytes is made in one step: Spark copies what one step hands to the next. It computes
/// `simple` once for every message, since that stands alone, too.
pub(crate) fn read(flow: &RemoteFlow, carried: Carried) -> String {
    let fields: String =
        flow.fields.iter().map(|(field, kind)| format!("{} {kind}, ", name(field))).collect();
    let settings = [("mode", "PERMISSIVE"), ("columnNameOfCorruptRecord", CORRUPT)];
    let settings = options(settings.into_iter().chain(flow.reading.iter().copied()));
    // Both have the same type: in an element the column of that name is a field like any other.
    let alone = format!("{fields}{CORRUPT} STRING");
    let among = format!("parts ARRAY<STRUCT<{alone}>>, {CORRUPT} STRING");
    let empty = literal(if flow.nulls_ignored { IGNORED } else { "empty" });
    let text = "CAST(value AS STRING)";
    let simple = format!(
        "startswith({text}, '{{') AND endswith({text}, '}}') \
         AND NOT contains(CAST(substring(value, 1, octet_length(value) - 1) AS STRING), '}}')"
    );
    let trimmed = format!("ltrim({}, {text})", literal(SPACE));
    let mark = "CAST(xxhash64(value) AS STRING)";
    let seal = format!("'{{\"{CORRUPT}\":\"', {mark}, '\"}}'");
    let is_mark = |at: u8| format!("whole.parts[{at}].{CORRUPT} <=> mark");
    format!(
        "SELECT {columns}, CASE WHEN is_simple THEN single ELSE whole.parts[1] END AS message, \
         CASE WHEN is_simple AND single.{CORRUPT} IS NULL THEN NULL \
         WHEN trouble IS NOT NULL THEN trouble \
         WHEN NOT is_simple AND whole.{CORRUPT} IS NULL AND size(whole.parts) = 3 AND {first} AND {last} THEN NULL \
         ELSE 'unreadable' END AS {REASON} FROM \
         (SELECT {columns}, {simple} AS is_simple, \
         CASE WHEN {simple} THEN from_json({text}, {alone}, {settings}) END AS single, \
         CASE WHEN {simple} THEN NULL ELSE \
         from_json(concat('{{\"parts\":[', {seal}, ',', {text}, ',', {seal}, ']}}'), {among}, {settings}) END AS whole, \
         CASE WHEN {simple} THEN NULL WHEN value IS NULL THEN {empty} WHEN {trimmed} = '' THEN 'empty' \
         WHEN NOT startswith({trimmed}, '{{') THEN 'unreadable' END AS trouble, \
         CASE WHEN {simple} THEN NULL ELSE {mark} END AS mark FROM {MESSAGES})",
        columns = carried.columns(),
        first = is_mark(0),
        last = is_mark(2),
        alone = literal(&alone),
        among = literal(&among),
    )
}

/// The fields of a message that stands in the column `of`.
fn fields(flow: &RemoteFlow, of: &str) -> String {
    let fields = flow.fields.iter().map(|(field, _)| format!("{of}.{}", name(field)));
    fields.collect::<Vec<_>>().join(", ")
}

/// What the flow's query reads: the fields of the messages, each with its message beside it.
pub(crate) fn input(flow: &RemoteFlow, carried: Carried) -> String {
    format!(
        "SELECT {}, struct({}) AS {} FROM {READ} WHERE {REASON} IS NULL",
        fields(flow, "message"),
        carried.columns(),
        RemoteFlow::PLACE
    )
}

/// The same, and a record of nulls for every message that could not be read.
pub(crate) fn input_with_unread(flow: &RemoteFlow, carried: Carried) -> String {
    format!(
        "SELECT {}, struct({}, {REASON} AS reason) AS {} FROM \
         (SELECT *, CASE WHEN {REASON} IS NULL THEN message END AS readable FROM {READ} WHERE NOT {REASON} <=> {})",
        fields(flow, "readable"),
        carried.columns(),
        RemoteFlow::PLACE,
        literal(IGNORED)
    )
}

/// The query's rows with the reason why one can never be written; `written` are the columns of the
/// query.
pub(crate) fn checked(flow: &RemoteFlow, written: &[String]) -> String {
    let reason = validity::reason(&flow.table, written);
    format!("SELECT *, {reason} AS {REASON} FROM (\n{}\n)", flow.sql)
}

/// The same of a query that gives unread messages, too: those keep their reason.
pub(crate) fn checked_with_unread(flow: &RemoteFlow, query: &str, written: &[String]) -> String {
    let reason = validity::reason(&flow.table, written);
    format!("SELECT *, coalesce({}.reason, {reason}) AS {REASON} FROM (\n{query}\n)", RemoteFlow::PLACE)
}

/// The rows that are written, with their write times.
pub(crate) fn rows(flow: &RemoteFlow, written: &[String]) -> String {
    let columns = flow.table.columns.iter().filter(|column| written.contains(&column.name));
    let columns: Vec<_> = columns.map(|column| validity::stored(&column.name, &column.kind)).collect();
    let place = RemoteFlow::PLACE;
    format!(
        "SELECT {}, unix_micros({place}.timestamp) + {place}.offset % 1000 AS {WRITE_TIME} FROM {CHECKED} WHERE {REASON} IS NULL",
        columns.join(", ")
    )
}

/// The messages that cannot be processed, as messages of the dead letters' topic: key, value and
/// headers as they came, ours behind them. Spark dates what it sends itself, so that the original
/// timestamp is one of our headers.
pub(crate) fn dead_letters(flow: &RemoteFlow, written: &[String]) -> String {
    let detail = validity::detail(&flow.table, written);
    let of_rows = |detail: &str| {
        let place = format!("{}.", RemoteFlow::PLACE);
        letters(flow, &place, detail, CHECKED, &format!("{REASON} IS NOT NULL"))
    };
    match flow.sql_with_unread {
        Some(_) => {
            of_rows(&format!("CASE WHEN {} THEN {UNREADABLE} ELSE {detail} END", RemoteFlow::IS_UNREAD))
        }
        // The topic is read once for each of them.
        None => {
            let unread = format!("{REASON} <> {}", literal(IGNORED));
            format!("{} UNION ALL {}", letters(flow, "", UNREADABLE, READ, &unread), of_rows(&detail))
        }
    }
}

/// The messages of a view of which `dead` holds; `prefix` is where their parts are.
fn letters(flow: &RemoteFlow, prefix: &str, detail: &str, from: &str, dead: &str) -> String {
    let headers = [
        (DeadLetter::FLOW, literal(&flow.flow)),
        (DeadLetter::TOPIC, literal(&flow.topic)),
        (DeadLetter::PARTITION, format!("{prefix}partition")),
        (DeadLetter::OFFSET, format!("{prefix}offset")),
        (DeadLetter::REASON, REASON.to_owned()),
        (DeadLetter::DETAIL, detail.to_owned()),
        (DeadLetter::TIMESTAMP, format!("unix_millis({prefix}timestamp)")),
    ];
    let headers = headers.map(|(key, value)| {
        format!("named_struct('key', {}, 'value', CAST(CAST({value} AS STRING) AS BINARY))", literal(key))
    });
    format!(
        "SELECT {prefix}key AS key, {prefix}value AS value, concat(coalesce({prefix}headers, array()), array({})) AS headers \
         FROM {from} WHERE {dead}",
        headers.join(", ")
    )
}

/// A number that Spark counts while it works: its name, and the expression.
pub(crate) type Metric = (&'static str, String);

/// What is counted of the messages, where no row of the query stands for one that could not be read.
pub(crate) fn read_metrics() -> Vec<Metric> {
    vec![("unread", format!("count_if({REASON} <> {})", literal(IGNORED)))]
}

/// What is counted of the query's rows.
pub(crate) fn checked_metrics() -> Vec<Metric> {
    vec![("rows", "count(1)".to_owned()), ("passed", format!("count_if({REASON} IS NULL)"))]
}

/// The options of the sink that have to do with the table and not with the cluster.
pub(crate) fn table_options(flow: &RemoteFlow) -> Result<Vec<(String, String)>> {
    let sink: TableSettings = settings::read(&flow.sink)?;
    let consistency = serde_json::to_value(sink.consistency).unwrap_or_default();
    let ignores_nulls = (sink.nulls == Nulls::Keep).to_string();
    let mut options = vec![
        ("keyspace".to_owned(), flow.table.keyspace.clone()),
        ("table".to_owned(), flow.table.name.clone()),
        ("writetime".to_owned(), WRITE_TIME.to_owned()),
        ("spark.cassandra.output.ignoreNulls".to_owned(), ignores_nulls),
        (
            "spark.cassandra.output.consistency.level".to_owned(),
            consistency.as_str().unwrap_or_default().to_owned(),
        ),
    ];
    if let Some(ttl) = sink.ttl {
        options.push(("spark.cassandra.output.ttl".to_owned(), ttl.0.as_secs().max(1).to_string()));
    }
    Ok(options)
}

/// The columns of a query that are the user's.
pub(crate) fn user_columns(columns: Vec<String>) -> Vec<String> {
    columns.into_iter().filter(|column| column != RemoteFlow::PLACE).collect()
}
