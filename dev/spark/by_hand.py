"""A topic into a table on Spark, as one writes it by hand: what a flow on Spark is measured against. As a flow does, it
counts, and sends what cannot be stored to a topic of its own, with its headers, its place and the reason.

    by_hand.py [DEAD_LETTERS]    the topic of messages that cannot be stored; without it, one ends the job
"""

import os
import sys

from pyspark.sql import SparkSession
from pyspark.sql.functions import expr

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
    .option("includeHeaders", len(sys.argv) > 1)
    .load()
)
dead_letters = sys.argv[1] if len(sys.argv) > 1 else None
schema = f"{FIELDS}, broken STRING" if dead_letters else FIELDS
read = messages.selectExpr(
    "*",
    f"from_json(CAST(value AS STRING), '{schema}', map('columnNameOfCorruptRecord', 'broken')) AS message",
    "unix_micros(timestamp) + offset % 1000 AS written",
)
UUID = "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
REASON = f"""
    CASE WHEN value IS NULL OR trim(CAST(value AS STRING)) = '' THEN 'empty'
         WHEN message.broken IS NOT NULL THEN 'unreadable'
         WHEN message.id IS NULL THEN 'null-key'
         WHEN message.id NOT RLIKE '^{UUID}$' THEN 'bad-value' END
"""
fine = read
if dead_letters:
    read = read.withColumn("reason", expr(REASON))
    counts = [expr("count(1)").alias("read"), expr("count_if(reason IS NULL)").alias("passed")]
    fine = read.observe("counts", *counts).where("reason IS NULL")
host, port = where["CASSANDRA_HOSTS"].rsplit(":", 1)
queries = [
    fine.select("message.*", "written")
    .drop("broken")
    .writeStream.format("org.apache.spark.sql.cassandra")
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
]
if dead_letters:
    added = ["topic", "partition", "offset", "reason", "unix_millis(timestamp)"]
    headers = ", ".join(
        f"named_struct('key', '{name.split('(')[-1].rstrip(')')}', 'value', CAST(CAST({name} AS STRING) AS BINARY))"
        for name in added
    )
    queries.append(
        read.where("reason IS NOT NULL")
        .selectExpr("key", "value", f"concat(coalesce(headers, array()), array({headers})) AS headers")
        .writeStream.format("kafka")
        .option("kafka.bootstrap.servers", where["KAFKA_BROKERS"])
        .option("topic", dead_letters)
        .option("checkpointLocation", where["CHECKPOINTS"] + "-dead-letters")
        .trigger(availableNow=True)
        .start()
    )
for query in queries:
    query.awaitTermination()
    if query.lastProgress:
        print(query.lastProgress["observedMetrics"])
