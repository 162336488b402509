# shellcheck shell=bash disable=SC2154
# A Spark Connect server with the Kafka source and the Cassandra sink; read by dev/services.
# SPARK_MASTER=spark://localhost:PORT runs its work on a cluster of spark-master and spark-worker
# instead of in its own process.

spark_connect_port=${SPARK_CONNECT_PORT:-15002}
spark_master_port=${SPARK_MASTER_PORT:-7077}

# Jars that Spark has itself, in its own versions: a second one would be taken first.
SPARK_HAS=org.apache.hadoop,org.slf4j,org.xerial.snappy,commons-logging,com.google.code.findbugs
SPARK_HAS_TOO=scala-library,scala-reflect,scala-parallel-collections_2.13,commons-lang3,lz4-java,metrics-core,paranamer,spark-tags_2.13

fetch_spark() {
    fetch_jars spark -DexcludeGroupIds="$SPARK_HAS" -DexcludeArtifactIds="$SPARK_HAS_TOO"
    python3 -m venv "$fetched/spark/venv"
    "$fetched/spark/venv/bin/pip" install -q -r "$here/spark/requirements.txt"
}

spark_home() { echo "$fetched"/spark/venv/lib/python3*/site-packages/pyspark; }

spark_jars() {
    local IFS=, jars=("$fetched"/spark/lib/*.jar)
    echo "${jars[*]}"
}

# On loopback, whatever this machine is called.
spark_spawn() {
    local service=$1
    shift
    spawn "$service" env SPARK_HOME="$(spark_home)" SPARK_LOCAL_IP=127.0.0.1 "$@"
}

start_spark() {
    spark_spawn spark "$(spark_home)/bin/spark-submit" \
        --class org.apache.spark.sql.connect.service.SparkConnectServer \
        --master "${SPARK_MASTER:-local[2]}" --driver-memory "${SPARK_MEMORY:-1g}" --executor-memory "${SPARK_MEMORY:-1g}" \
        --driver-java-options "$(tag spark)" --jars "$(spark_jars)" \
        --conf spark.connect.grpc.binding.address=127.0.0.1 \
        --conf spark.connect.grpc.binding.port="$spark_connect_port" \
        --conf spark.driver.host=127.0.0.1 --conf spark.driver.bindAddress=127.0.0.1 --conf spark.ui.enabled=false \
        --conf spark.sql.warehouse.dir="$data/spark/warehouse" spark-internal
}

ready_spark() { grep -qs 'Spark Connect server started' "$data/spark/log"; }

start_spark-master() {
    spark_spawn spark-master "$(spark_home)/bin/spark-class" \
        org.apache.spark.deploy.master.Master --host 127.0.0.1 --port "$spark_master_port" --webui-port "$((spark_master_port + 1))"
}

ready_spark-master() { grep -qs 'New state: ALIVE' "$data/spark-master/log"; }

start_spark-worker() {
    (cd "$data/spark-worker" && spark_spawn spark-worker "$(spark_home)/bin/spark-class" \
        org.apache.spark.deploy.worker.Worker --host 127.0.0.1 --webui-port "$((spark_master_port + 2))" --cores 2 --memory 2g \
        --work-dir "$data/spark-worker/work" "spark://127.0.0.1:$spark_master_port")
}

ready_spark-worker() { grep -qs 'Successfully registered with master' "$data/spark-worker/log"; }
