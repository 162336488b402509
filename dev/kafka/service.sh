# shellcheck shell=bash disable=SC2154
# A Kafka broker and its tools; read by dev/services.

kafka_port=${KAFKA_PORT:-29092}

fetch_kafka() { fetch_jars kafka; }

kafka_java() {
    "$java" -cp "$fetched/kafka/lib/*" -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 \
        -Dlog4j2.configurationFile="$here/kafka/log4j2.properties" "$@"
}

kafka_tool() {
    local name=$1 class
    shift
    case $name in
        topics) class=org.apache.kafka.tools.TopicCommand ;;
        produce) class=org.apache.kafka.tools.ConsoleProducer ;;
        consume) class=org.apache.kafka.tools.consumer.ConsoleConsumer ;;
        groups) class=org.apache.kafka.tools.consumer.group.ConsumerGroupCommand ;;
        configs) class=kafka.admin.ConfigCommand ;;
        offsets) class=org.apache.kafka.tools.GetOffsetShell ;;
        acls) class=org.apache.kafka.tools.AclCommand ;;
        *) fail "unknown command kafka-$name; see dev/services help" ;;
    esac
    kafka_java "$class" --bootstrap-server "${KAFKA_BOOTSTRAP:-localhost:$kafka_port}" "$@"
}

start_kafka() {
    local dir=$data/kafka
    certificates
    sed "s|@PORT@|$kafka_port|g; s|@CONTROLLER@|$((kafka_port + 1))|g; s|@SASL@|$((kafka_port + 2))|g;
         s|@MTLS@|$((kafka_port + 3))|g; s|@SASL_TLS@|$((kafka_port + 4))|g; s|@PROXIED@|$((kafka_port + 5))|g; s|@PROXY@|$((kafka_port + 6))|g; s|@DATA@|$dir/topics|g; s|@TLS@|$data/tls|g" \
        "$here/kafka/server.properties" >"$dir/server.properties"
    [ -f "$dir/topics/meta.properties" ] ||
        kafka_java kafka.tools.StorageTool format -t MillstreamDevServices -c "$dir/server.properties" \
            --add-scram 'SCRAM-SHA-256=[name=alice,password=alice-secret]' \
            --add-scram 'SCRAM-SHA-512=[name=alice,password=alice-secret]' >/dev/null
    spawn kafka "$java" "$(tag kafka)" -cp "$fetched/kafka/lib/*" -Xmx"${KAFKA_HEAP:-512m}" -Dmillstream.log=INFO \
        -Dlog4j2.configurationFile="$here/kafka/log4j2.properties" kafka.Kafka "$dir/server.properties"
}

ready_kafka() { grep -qs 'Kafka Server started' "$data/kafka/log"; }
