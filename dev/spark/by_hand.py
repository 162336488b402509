"""A topic into a table on Spark, as one writes it by hand: what a flow on Spark is measured against.

It has no dead letters: one message that cannot be read is a row of nulls, and ends it.
"""

import os

from pyspark.sql import SparkSession

FIELDS = (
    "id STRING, first_name STRING, last_name STRING, gender STRING, address STRING, post_code STRING, "
    "email STRING, username STRING, registered_date STRING, phone STRING, picture STRING"
)

where = os.environ
spark = SparkSession.builder.remote(where["SPARK_CONNECT"]).getOrCreate()
spark.conf.set("spark.sql.session.timeZone", "UTC")
messages = (
    spark.readStream.format("kafka")
    .option("kafka.bootstrap.servers", where["KAFKA_BROKERS"])
    .option("subscribe", where["TOPIC"])
    .option("startingOffsets", "earliest")
    .option("maxOffsetsPerTrigger", 200_000)
    .load()
)
rows = messages.selectExpr(
    f"from_json(CAST(value AS STRING), '{FIELDS}') AS message",
    "unix_micros(timestamp) + offset % 1000 AS written",
).select("message.*", "written")
host, port = where["CASSANDRA_HOSTS"].rsplit(":", 1)
query = (
    rows.writeStream.format("org.apache.spark.sql.cassandra")
    .option("spark.cassandra.connection.host", host)
    .option("spark.cassandra.connection.port", port)
    .option("spark.cassandra.output.ignoreNulls", "true")
    .option("spark.cassandra.output.consistency.level", "LOCAL_QUORUM")
    .option("keyspace", where["KEYSPACE"])
    .option("table", where["TABLE"])
    .option("writetime", "written")
    .option("checkpointLocation", where["CHECKPOINTS"])
    .trigger(availableNow=True)
    .start()
)
query.awaitTermination()
