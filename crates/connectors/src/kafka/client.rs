//! `kafka.client:`, the settings of librdkafka that a pipeline may choose: what is left to it, and what
//! is not because the pipeline's promises rest on it.

use std::collections::BTreeMap;

use rdkafka::ClientConfig;
use serde::de::{Deserialize, Deserializer, Error};

/// Names that stand for another one (librdkafka's CONFIGURATION.md, "Alias for").
const ALIASES: &[(&str, &str)] = &[
    ("compression.codec", "compression.type"),
    ("delivery.timeout.ms", "message.timeout.ms"),
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

/// What a pipeline cannot choose here, and why.
const OURS: &[(&str, &str)] = &[
    ("acks", ONCE),
    ("auto.offset.reset", "an offset that is gone is an error, and `reset` says where to go on"),
    ("bootstrap.servers", "`kafka.brokers` says it"),
    ("enable.auto.commit", AFTER_THE_ROWS),
    ("enable.auto.offset.store", AFTER_THE_ROWS),
    ("enable.idempotence", ONCE),
    ("enable.partition.eof", "the end of a topic is asked for"),
    ("group.id", "`group` of the flow's `from:` says it"),
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

/// Settings by their first names, none of them ours.
pub(super) fn read<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, String>, D::Error> {
    let mut settings = BTreeMap::new();
    for (written, value) in BTreeMap::<String, String>::deserialize(from)? {
        let alias = ALIASES.iter().find(|(alias, _)| *alias == written);
        let name = alias.map_or(written.as_str(), |(_, name)| name);
        if let Some((_, why)) = OURS.iter().find(|(ours, _)| *ours == name) {
            return Err(D::Error::custom(format!("`kafka.client` cannot set `{written}`: {why}")));
        }
        if settings.insert(name.to_owned(), value).is_some() {
            return Err(D::Error::custom(format!("`kafka.client` sets `{name}` twice, as `{written}` too")));
        }
    }
    Ok(settings)
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

    fn connection(client: serde_json::Value) -> Result<Connection, String> {
        serde_json::from_value(json!({ "brokers": "a:1", "client": client })).map_err(|e| e.to_string())
    }

    #[test]
    fn the_pipeline_chooses_before_we_do_by_whatever_name() {
        let chosen = json!({ "queue.buffering.max.ms": "50", "client.id": "mine" });
        let connection = connection(chosen).expect("settings");
        let mut config = connection.client("millstream").expect("a client");
        prefer(&mut config, &[("linger.ms", "2"), ("compression.type", "zstd")]);
        let got = |name| config.get(name);
        assert_eq!((got("linger.ms"), got("compression.type")), (Some("50"), Some("zstd")));
        assert_eq!((got("client.id"), got("queue.buffering.max.ms")), (Some("mine"), None));
    }

    #[test]
    fn what_the_promises_rest_on_is_refused_with_the_reason() {
        for (name, why) in [
            ("enable.auto.commit", AFTER_THE_ROWS),
            ("request.required.acks", ONCE),
            ("sasl.mechanisms", SASL),
        ] {
            let refused = connection(json!({ name: "0" })).expect_err(name);
            assert_eq!(refused, format!("`kafka.client` cannot set `{name}`: {why}"));
        }
        let twice = connection(json!({ "linger.ms": "1", "queue.buffering.max.ms": "2" }));
        assert!(twice.expect_err("twice").contains("twice"), "two names of one setting");
    }
}
