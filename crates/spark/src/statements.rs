//! The steps of a flow as statements of Spark SQL, each over the view of the one before.
//!
//! messages (Kafka) → read (`from_json`, and whether it could) → `input` → the flow's own query →
//! checked (whether the table takes it) → rows, and beside them dead letters.

use millstream_core::{DeadLetter, Nulls, RemoteFlow, Result, TableSettings, settings};

use crate::text::{literal, options};
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
const DETAIL: &str = "_millstream_detail";
const CORRUPT: &str = "_millstream_corrupt";
/// What stands for a message that is passed over.
const IGNORED: &str = "ignored";

/// A regular expression of the white space that JSON knows.
const NOT_SPACE: &str = r"[^ \t\n\r]";
const OBJECT: &str = r"\A[ \t\n\r]*\{";

/// Messages read by the declared schema, with the reason why one could not be.
///
/// Spark reads the first value of a message and drops what follows. Here a message is read as a part
/// of an object of ours, whose last field comes back only where the message was exactly one value:
/// that field's value is a hash of the message, so that no message can contain it.
pub(crate) fn read(flow: &RemoteFlow) -> String {
    let schema = format!("message STRUCT<{}>, behind STRING, {CORRUPT} STRING", flow.schema);
    let settings = [("mode", "PERMISSIVE"), ("columnNameOfCorruptRecord", CORRUPT)];
    let settings = options(settings.into_iter().chain(flow.reading.iter().copied()));
    let empty = if flow.nulls_ignored { IGNORED } else { "empty" };
    format!(
        "SELECT *, CASE WHEN value IS NULL THEN {empty} WHEN text NOT RLIKE {not_space} THEN 'empty' \
         WHEN text RLIKE {object} AND whole.{CORRUPT} IS NULL AND whole.behind <=> mark THEN NULL \
         ELSE 'unreadable' END AS {REASON} FROM \
         (SELECT *, from_json(concat('{{\"message\":', text, ',\"behind\":\"', mark, '\"}}'), {schema}, {settings}) AS whole FROM \
         (SELECT *, CAST(value AS STRING) AS text, CAST(xxhash64(value) AS STRING) AS mark FROM {MESSAGES}))",
        empty = literal(empty),
        not_space = literal(NOT_SPACE),
        object = literal(OBJECT),
        schema = literal(&schema),
    )
}

/// What the flow's query reads: the fields of the messages, each with its message beside it.
pub(crate) fn input() -> String {
    format!(
        "SELECT whole.message.*, struct(key, value, headers, partition, offset, timestamp) AS {} FROM {READ} \
         WHERE {REASON} IS NULL",
        RemoteFlow::PLACE
    )
}

/// The query's rows with the reason why one can never be written; `written` are the columns of the
/// query.
pub(crate) fn checked(flow: &RemoteFlow, written: &[String]) -> String {
    let (reason, detail) = validity::reason_and_detail(&flow.table, written);
    format!("SELECT *, {reason} AS {REASON}, {detail} AS {DETAIL} FROM (\n{}\n)", flow.sql)
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
pub(crate) fn dead_letters(flow: &RemoteFlow) -> String {
    let place = RemoteFlow::PLACE;
    let letters = |prefix: &str, detail: &str, from: &str, dead: &str| {
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
    };
    let unreadable = literal("the message is not what the schema says");
    format!(
        "{} UNION ALL {}",
        letters("", &unreadable, READ, &format!("{REASON} <> {}", literal(IGNORED))),
        letters(&format!("{place}."), DETAIL, CHECKED, &format!("{REASON} IS NOT NULL")),
    )
}

/// A number that Spark counts while it works: its name, and the expression.
pub(crate) type Metric = (&'static str, String);

/// What is counted of the messages that are read.
pub(crate) fn read_metrics() -> Vec<Metric> {
    vec![
        ("read", "count(1)".to_owned()),
        ("readable", format!("count_if({REASON} IS NULL)")),
        ("ignored", format!("count_if({REASON} <=> {})", literal(IGNORED))),
    ]
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
