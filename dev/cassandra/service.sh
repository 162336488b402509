# shellcheck shell=bash disable=SC2154
# A Cassandra node, cqlsh and nodetool; read by dev/services.

cassandra_port=${CASSANDRA_PORT:-9042}
cassandra_jmx_port=${CASSANDRA_JMX_PORT:-7199}

fetch_cassandra() {
    fetch_jars cassandra
    python3 -m venv "$fetched/cassandra/venv"
    "$fetched/cassandra/venv/bin/pip" install -q -r "$here/cassandra/requirements.txt"
}

cqlsh() { "$fetched/cassandra/venv/bin/cqlsh" "$@" 127.0.0.1 "$cassandra_port"; }

nodetool() {
    "$java" @"$here/cassandra/java.options" -cp "$fetched/cassandra/lib/*" -Xmx128m \
        -Dlogback.configurationFile="$here/cassandra/logback.xml" org.apache.cassandra.tools.NodeTool \
        -h 127.0.0.1 -p "$cassandra_jmx_port" "$@"
}

start_cassandra() {
    local dir=$data/cassandra jamm=("$fetched"/cassandra/lib/jamm-*.jar)
    certificates
    sed "s|@PORT@|$cassandra_port|; s|@STORAGE@|${CASSANDRA_STORAGE_PORT:-7000}|; s|@TLS@|$data/tls|;
         s|@AUTHENTICATOR@|${CASSANDRA_AUTHENTICATOR:-AllowAllAuthenticator}|" \
        "$here/cassandra/cassandra.yaml" >"$dir/cassandra.yaml"
    # A node alone has nobody to wait for.
    (cd "$dir" && spawn cassandra "$java" "$(tag cassandra)" @"$here/cassandra/java.options" \
        -cp "$fetched/cassandra/lib/*" -javaagent:"${jamm[0]}" \
        -Xms"${CASSANDRA_HEAP:-1g}" -Xmx"${CASSANDRA_HEAP:-1g}" -Xss256k -XX:+UseG1GC -XX:+ExitOnOutOfMemoryError \
        -Dcassandra.config="file://$dir/cassandra.yaml" -Dcassandra.storagedir="$dir/storage" \
        -Dcassandra-foreground=yes -Dcassandra.logdir="$dir" -Dcassandra.triggers_dir="$dir" \
        -Dlogback.configurationFile="$here/cassandra/logback.xml" \
        -Dcassandra.jmx.local.port="$cassandra_jmx_port" -Djava.rmi.server.hostname=127.0.0.1 \
        -Dcassandra.initial_token=0 -Dcassandra.ring_delay_ms=0 -Dcassandra.skip_wait_for_gossip_to_settle=0 \
        -Dcassandra.superuser_setup_delay_ms=0 -Dio.netty.tryReflectionSetAccessible=true \
        org.apache.cassandra.service.CassandraDaemon)
}

ready_cassandra() { grep -qs 'Starting listening for CQL clients' "$data/cassandra/log"; }
