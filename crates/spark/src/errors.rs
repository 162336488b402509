//! Spark's errors in our words: whose fault, whether waiting helps, what to do next.

use millstream_core::Error;
use spark_connect_core::SparkError;

/// Codes of gRPC that say that the server is not there, or not ready.
const DEADLINE_EXCEEDED: i32 = 4;
const UNAVAILABLE: i32 = 14;
const UNAUTHENTICATED: i32 = 16;
/// Codes that this end gives an answer that was cut off (CANCELLED, UNKNOWN, INTERNAL). Spark gives them, too, and says
/// more beside them.
const CUT_OFF: [i32; 3] = [1, 2, 13];

/// `what` was attempted on the server at `address` when `error` came.
pub(crate) fn explain(address: &str, what: &str, error: &SparkError) -> Error {
    let said = first_line(&error.message());
    match error.grpc_code() {
        Some(UNAVAILABLE | DEADLINE_EXCEEDED) => {
            Error::passing(format!("{what}: Spark at {address} does not answer: {said}"))
                .help("is its Connect server running, and reachable from here?")
        }
        Some(code) if CUT_OFF.contains(&code) && error.grpc_details().is_none() => {
            Error::passing(format!("{what}: the connection to Spark at {address} broke: {said}"))
                .help("is its Connect server still running?")
        }
        Some(UNAUTHENTICATED) => Error::lasting(format!("{what}: Spark at {address} does not let us in"))
            .help("the address takes a token: sc://HOST:PORT/;use_ssl=true;token=…"),
        _ => of_message(&format!("{what}: {said}"), &error.message()),
    }
}

/// Why a query has ended, from what Spark says of it.
pub(crate) fn of_query(message: &str) -> Error {
    of_message(&format!("the query on Spark has ended: {}", cause(message)), message)
}

/// Signs that Cassandra would say the same again.
const REFUSED: [&str; 8] = [
    "permission",
    "nauthorized",
    "nvalid",
    "Expected",
    "may not be empty",
    "marshal",
    "larger than",
    "too large",
];

/// What a message of Spark means; `shown` is what people see of it.
fn of_message(shown: &str, message: &str) -> Error {
    let says = |part: &str| message.contains(part);
    if says("ClassNotFoundException: kafka")
        || says("Failed to find data source: kafka")
        || says("find data source: \"kafka\"")
    {
        return Error::lasting(shown.to_owned())
            .help("this Spark has no Kafka source: `doctor` prints the package that it needs");
    }
    if says("org.apache.spark.sql.cassandra") && (says("ClassNotFound") || says("DATA_SOURCE_NOT_FOUND")) {
        return Error::lasting(shown.to_owned())
            .help("this Spark has no Cassandra connector: `doctor` prints the package that it needs");
    }
    if says("DATA_SOURCE_NOT_FOUND") {
        return Error::lasting(shown.to_owned())
            .help("this Spark lacks a package: `doctor` prints those that it needs");
    }
    if says("Some data may have been lost") || says("KAFKA_DATA_LOSS") || says("failOnDataLoss") {
        return Error::lasting(shown.to_owned()).help(
            "messages that the query has not read have expired, or the topic was made anew: remove PIPELINE.FLOW in `spark.checkpoints`, and it reads what is there",
        );
    }
    // The connector looks at the cluster's tables now and then, and names an exception that Spark 4 lacks.
    if says("NoSuchTableException") {
        return Error::passing("Spark's Cassandra connector does not know the table yet")
            .help("it looks again by itself; where it never does, is it the cluster of `cassandra.hosts`?");
    }
    if let Some(reason) = write_failure(message)
        && REFUSED.iter().any(|sign| reason.contains(sign))
    {
        return Error::lasting(shown.to_owned())
            .help("it would be refused again: mend what it says; the flow then goes on where it was");
    }
    let passing = [
        "TimeoutException",
        "Failed to open native connection to Cassandra",
        "NoNodeAvailableException",
        "AllNodesFailedException",
        "WriteTimeoutException",
        "UnavailableException",
        // The driver has lost Cassandra, and looks for it.
        "Control channel not available",
        "ClosedConnectionException",
        "HeartbeatException",
        "Failed to write statements",
        "ConnectException",
        "ExecutorLostFailure",
        "SparkContext was shut down",
        "SESSION_CHANGED",
        "SESSION_NOT_FOUND",
        "SESSION_CLOSED",
        // Another start of the flow was a moment earlier.
        "already active in this SparkSession",
        // The server is another one since.
        "treaming query",
    ];
    if passing.iter().any(|sign| says(sign)) {
        return Error::passing(shown.to_owned()).help("it is started again and goes on where it was");
    }
    Error::lasting(shown.to_owned()).help("Spark's log says more")
}

/// Why rows could not be written, out of the several lines that the Cassandra connector makes of it.
fn write_failure(message: &str) -> Option<&str> {
    let (_, said) = message.split_once("Failed to write statements")?;
    let (_, reason) = said.split_once("latest exception was")?;
    reason.lines().map(str::trim).find(|line| !line.is_empty())
}

/// The cause that stands innermost in a message, which is what went wrong; else its first line.
fn cause(message: &str) -> String {
    if let Some(reason) = write_failure(message) {
        return format!("Cassandra does not take what is written: {}", first_line(reason));
    }
    let innermost = message.lines().rev().find_map(|line| line.trim().strip_prefix("Caused by: "));
    innermost.map_or_else(|| first_line(message), first_line)
}

fn first_line(message: &str) -> String {
    const CHARS_MAX: usize = 300;
    let line = message.lines().find(|line| !line.trim().is_empty()).unwrap_or_default().trim();
    match line.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn why_rows_are_not_taken_is_shown_and_decides() {
        let said = |reason: &str| {
            format!(
                "[STREAM_FAILED] Query [id = 1] terminated with exception: Writing job aborted\n\tat a.b\n\
                 Caused by: java.io.IOException: Failed to write statements to k.t. The\nlatest exception was\n  {reason}\n\n\
                 Please check the executor logs for more exceptions and information\n\tat c.d"
            )
        };
        let refused =
            of_query(&said("User bob has no MODIFY permission on <table k.t> or any of its parents"));
        assert!(!refused.is_passing() && refused.message.contains("User bob has no MODIFY"), "{refused}");
        let late = of_query(&said("Cassandra timeout during SIMPLE write query at consistency LOCAL_QUORUM"));
        assert!(late.is_passing() && late.message.contains("Cassandra timeout"), "{late}");
    }

    #[test]
    fn the_innermost_cause_is_shown_and_decides() {
        let said = "[STREAM_FAILED] Query [id = 1] terminated with exception: Writing job aborted\n\tat a.b\nCaused by: java.io.IOException: Failed to open native connection to Cassandra at {localhost:9042}\n\tat c.d";
        let error = of_query(said);
        assert!(error.is_passing());
        assert!(
            error.message.ends_with("Failed to open native connection to Cassandra at {localhost:9042}"),
            "{error}"
        );
        let restarted =
            "java.lang.IllegalStateException: Control channel not available, aborting schema refresh";
        assert!(of_query(restarted).is_passing());
        assert!(!of_query("[UNRESOLVED_COLUMN] no such column").is_passing());
    }
}
