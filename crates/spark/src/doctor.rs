//! Asks a Spark Connect server whether flows would run on it.

use millstream_core::{Finding, Result};

use crate::connection::Connection;
use crate::query::Query;
use crate::session::{Session, sql, stream};

/// The version of the Cassandra connector that is tried with.
const CONNECTOR: &str = "3.5.1";

/// What was found about the server.
pub async fn examine(connection: &Connection) -> Vec<Finding> {
    match look(connection).await {
        Ok(found) => found,
        Err(error) => vec![error.into()],
    }
}

async fn look(connection: &Connection) -> Result<Vec<Finding>> {
    let session = Session::open(connection, "millstream doctor").await?;
    let version = session.version().await?;
    let mut found = vec![Finding::fine(format!("{} answers: Spark {version}", connection.address()))];
    let scala = if version.starts_with("3.") { "2.12" } else { "2.13" };
    if !version.starts_with("4.") {
        found.push(Finding::doubtful(
            format!("flows are tested with Spark 4.2, and were tried with 3.5.7: this is {version}"),
            "known to be read differently by 3.5 is one thing: an object or an array in a STRING field is written anew \
             there, and stays as it came with 4.2",
        ));
    }
    let packages = [
        ("Kafka source", "kafka", format!("org.apache.spark:spark-sql-kafka-0-10_{scala}:{version}")),
        (
            "Cassandra connector",
            "org.apache.spark.sql.cassandra",
            format!("com.datastax.spark:spark-cassandra-connector_{scala}:{CONNECTOR}"),
        ),
    ];
    for (name, format, package) in packages {
        // A format is looked for when its columns are asked for; any other answer is that it is there.
        let missing = match session.columns("looking for a package", stream(format, Default::default())).await
        {
            Ok(_) => false,
            Err(error) if error.is_passing() => return Err(error),
            Err(error) => error.message.contains("DATA_SOURCE_NOT_FOUND"),
        };
        found.push(match missing {
            false => Finding::fine(format!("its {name} is loaded")),
            true => Finding::wrong(
                format!("it has no {name}"),
                format!("start the Connect server with --packages {package}"),
            ),
        });
    }
    let extensions = session.setting("spark.sql.extensions").await?.unwrap_or_default();
    if extensions.contains("CassandraSparkExtensions") && version.starts_with("4.") {
        found.push(Finding::wrong(
            "spark.sql.extensions names CassandraSparkExtensions, with which no query runs on Spark 4",
            "take it out of the server's settings",
        ));
    }
    match &connection.checkpoints {
        None => found.push(Finding::wrong(
            "where queries keep how far they have come is not said",
            "set `spark.checkpoints:` to a folder that the driver and every executor reach",
        )),
        Some(folder) => found.push(Finding::fine(format!("queries keep how far they have come in {folder}"))),
    }
    session.columns("running a query", sql("SELECT 1 AS one".to_owned())).await?;
    let active = Query::active(&session).await?;
    debug_assert!(active.is_empty(), "nobody else has the doctor's session");
    Ok(found)
}
