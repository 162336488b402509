//! `kafka.client:`, the settings of librdkafka that a pipeline may choose: what is left to it, and what
//! is not because the pipeline's promises rest on it.

use std::collections::BTreeMap;

use millstream_core::{Error, Result};
use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;

/// Names that stand for another one (librdkafka's CONFIGURATION.md, "Alias for").
const ALIASES: &[(&str, &str)] = &[
    ("compression.codec", "compression.type"),
    ("delivery.timeout.ms", "message.timeout.ms"),
    ("max.in.flight", "max.in.flight.requests.per.connection"),
    ("max.partition.fetch.bytes", "fetch.message.max.bytes"),
    ("metadata.broker.list", "bootstrap.servers"),
    ("queue.buffering.max.ms", "linger.ms"),
    ("request.required.acks", "acks"),
    ("sasl.mechanisms", "sasl.mechanism"),
];

const TLS: &str = "`kafka.tls` says it";
const SASL: &str = "`kafka.sasl` says it";
const AFTER_THE_ROWS: &str = "offsets are committed after the rows that they cover";
const GROUP: &str = "a flow that leaves its place to another one has to know when";
const ONCE: &str = "no message is to be lost, written twice or out of order";
const ONE_FILE: &str = "workers that run one file would shut each other out";
const REPORTED: &str = "a write waits until the broker has said of each message that it has it";

/// What a pipeline cannot choose here, and why.
const OURS: &[(&str, &str)] = &[
    ("acks", ONCE),
    ("auto.offset.reset", "an offset that is gone is an error, and `reset` says where to go on"),
    ("bootstrap.servers", "`kafka.brokers` says it"),
    ("delivery.report.only.error", REPORTED),
    ("enable.auto.commit", AFTER_THE_ROWS),
    ("enable.auto.offset.store", AFTER_THE_ROWS),
    ("enable.gapless.guarantee", "a message that is too large is left out, a dead letter"),
    ("enable.idempotence", ONCE),
    ("enable.partition.eof", "the end of a topic is asked for"),
    ("group.id", "`group` of the flow's `from:` says it"),
    ("group.instance.id", ONE_FILE),
    ("isolation.level", "a message of a transaction that was aborted is none"),
    ("partition.assignment.strategy", GROUP),
    ("sasl.mechanism", SASL),
    ("sasl.oauthbearer.client.id", SASL),
    ("sasl.oauthbearer.client.secret", SASL),
    ("sasl.oauthbearer.method", SASL),
    ("sasl.oauthbearer.scope", SASL),
    ("sasl.oauthbearer.token.endpoint.url", SASL),
    ("sasl.password", SASL),
    ("sasl.username", SASL),
    ("security.protocol", "it follows from `kafka.tls` and `kafka.sasl`"),
    ("ssl.ca.location", TLS),
    ("ssl.certificate.location", TLS),
    ("ssl.key.location", TLS),
    ("transactional.id", "messages are not written in transactions"),
];

/// What `kafka.client:` sets, by its first names, none of it ours.
pub(super) fn chosen(written: &BTreeMap<String, String>) -> Result<BTreeMap<&str, &str>> {
    let mut settings = BTreeMap::new();
    for (written, value) in written {
        let refused = |why: String| Error::user(why).at(written).at("client").at("kafka");
        let alias = ALIASES.iter().find(|(alias, _)| alias == written);
        let name = alias.map_or(written.as_str(), |(_, name)| name);
        if let Some((_, why)) = OURS.iter().find(|(ours, _)| *ours == name) {
            return Err(refused(format!("`kafka.client` cannot set `{written}`: {why}")));
        }
        if settings.insert(name, value.as_str()).is_some() {
            return Err(refused(format!("`kafka.client` sets `{name}` twice, as `{written}` too")));
        }
    }
    Ok(settings)
}

/// Refuses what librdkafka does not know, and values that it does not take.
pub(super) fn check(config: &ClientConfig) -> Result<()> {
    match config.create_native_config() {
        Err(KafkaError::ClientConfig(_, why, name, _)) => {
            Err(Error::user(format!("librdkafka refuses `{name}`: {why}"))
                .help("its CONFIGURATION.md has the settings and what they take")
                .at(name)
                .at("client")
                .at("kafka"))
        }
        Err(error) => Err(Error::user(error.to_string()).at("client").at("kafka")),
        Ok(_) => Ok(()),
    }
}

/// What we would choose, where the pipeline chooses nothing else.
pub(super) fn prefer(config: &mut ClientConfig, choices: &[(&str, &str)]) {
    for (name, value) in choices {
        if config.get(name).is_none() {
            config.set(*name, *value);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kafka::Connection;

    fn connection(client: serde_json::Value) -> Connection {
        serde_json::from_value(json!({ "brokers": "a:1", "client": client })).expect("settings")
    }

    #[test]
    fn the_pipeline_chooses_before_we_do_by_whatever_name() {
        let connection = connection(json!({ "queue.buffering.max.ms": "50", "client.id": "mine" }));
        let mut config = connection.client("millstream").expect("a client");
        prefer(&mut config, &[("linger.ms", "2"), ("compression.type", "zstd")]);
        let got = |name| config.get(name);
        assert_eq!((got("linger.ms"), got("compression.type")), (Some("50"), Some("zstd")));
        assert_eq!((got("client.id"), got("queue.buffering.max.ms")), (Some("mine"), None));
    }

    #[test]
    fn what_the_promises_rest_on_is_refused_with_the_reason_and_its_place() {
        for (name, why) in [
            ("delivery.report.only.error", REPORTED),
            ("enable.auto.commit", AFTER_THE_ROWS),
            ("group.instance.id", ONE_FILE),
            ("request.required.acks", ONCE),
            ("sasl.mechanisms", SASL),
        ] {
            let refused = connection(json!({ name: "0" })).check().expect_err(name);
            assert_eq!(refused.message, format!("`kafka.client` cannot set `{name}`: {why}"));
            assert_eq!(refused.place, ["kafka", "client", name]);
        }
        let twice = connection(json!({ "linger.ms": "1", "queue.buffering.max.ms": "2" }));
        assert!(twice.check().expect_err("twice").message.contains("twice"), "two names of one setting");
    }

    #[test]
    fn what_the_library_does_not_take_is_refused_before_anything_starts() {
        for (name, value) in [("socket.keepalive", "true"), ("socket.keepalive.enable", "perhaps")] {
            let refused = connection(json!({ name: value })).check().expect_err(name);
            assert!(refused.message.starts_with(&format!("librdkafka refuses `{name}`: ")), "{refused}");
            assert_eq!(refused.place, ["kafka", "client", name]);
        }
        connection(json!({ "socket.keepalive.enable": "true" })).check().expect("a setting");
    }
}
