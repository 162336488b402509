//! How Kafka's own client, in Java, reaches a broker: a pipeline's `kafka:` in its words, for what
//! reads topics by itself.

use std::collections::BTreeMap;
use std::path::Path;

use millstream_core::{Error, Result};
use rdkafka::consumer::Consumer;
use tokio::task::block_in_place;

use super::admin::{ANSWER_TIMEOUT, find_partition_count};
use super::connection::Reached;
use super::{Connection, Mechanism, Sasl, topic_id};

impl Connection {
    /// The client's properties. Certificates are read here and go along as text.
    pub fn java_properties(&self) -> Result<BTreeMap<String, String>> {
        if let Some(name) = self.client.keys().next() {
            return Err(Error::user(format!(
                "`{name}` is a setting of librdkafka, and here another client is at work"
            ))
            .help("take `kafka.client:` away, or run the flow natively"));
        }
        let mut properties = BTreeMap::new();
        let mut set = |name: &str, value: String| properties.insert(name.to_owned(), value);
        set("bootstrap.servers", self.brokers.clone());
        let protocol = match (&self.sasl, &self.tls) {
            (None, None) => "PLAINTEXT",
            (None, Some(_)) => "SSL",
            (Some(_), None) => "SASL_PLAINTEXT",
            (Some(_), Some(_)) => "SASL_SSL",
        };
        set("security.protocol", protocol.to_owned());
        if let Some(tls) = &self.tls {
            if let Some(ca) = &tls.ca {
                set("ssl.truststore.type", "PEM".to_owned());
                set("ssl.truststore.certificates", read(ca)?);
            }
            if let (Some(certificate), Some(key)) = (&tls.certificate, &tls.key) {
                set("ssl.keystore.type", "PEM".to_owned());
                set("ssl.keystore.certificate.chain", read(certificate)?);
                set("ssl.keystore.key", read(key)?);
            }
        }
        if let Some(sasl) = &self.sasl {
            set("sasl.mechanism", sasl.mechanism.name().to_owned());
            set("sasl.jaas.config", login(sasl)?);
        }
        Ok(properties)
    }

    /// What the broker says of a topic. Blocks.
    pub fn known_topic(&self, topic: &str) -> Result<KnownTopic> {
        let mut config = self.client("millstream-look")?;
        config.set("group.id", "millstream-look");
        let what = format!("looking at topic {topic} on {}", self.brokers);
        block_in_place(|| {
            let reached = Reached::open(self, &config, topic, what)?;
            let client = reached.consumer.client();
            let partitions = find_partition_count(client, topic)?.unwrap_or(0);
            let id = topic_id::ask(client, topic, ANSWER_TIMEOUT).map_err(|_| {
                let seconds = ANSWER_TIMEOUT.as_secs();
                Error::passing(format!(
                    "{} did not say within {seconds} s which topic {topic} is",
                    self.brokers
                ))
            })?;
            Ok(KnownTopic { id, partitions })
        })
    }
}

/// What a broker says of a topic.
pub struct KnownTopic {
    /// Which of several topics that had the name it is; none where the broker does not say, or there is no such topic.
    pub id: Option<String>,
    /// How many partitions it has; 0 where there is no such topic.
    pub partitions: i32,
}

fn login(sasl: &Sasl) -> Result<String> {
    let class = match sasl.mechanism {
        Mechanism::Plain => "org.apache.kafka.common.security.plain.PlainLoginModule",
        Mechanism::ScramSha256 | Mechanism::ScramSha512 => {
            "org.apache.kafka.common.security.scram.ScramLoginModule"
        }
        Mechanism::Oauthbearer => {
            return Err(Error::user("OAUTHBEARER needs settings of the Java machines that read the topic")
                .help("take PLAIN or SCRAM over TLS, or run the flow natively"));
        }
    };
    let quoted = |text: &Option<String>| {
        let text = text.as_deref().unwrap_or_default();
        format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
    };
    Ok(format!("{class} required username={} password={};", quoted(&sasl.username), quoted(&sasl.password)))
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|e| {
        Error::user(format!("cannot read {}: {e}", path.display())).help("it must be a PEM file")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_ends_nothing() {
        let sasl = Sasl {
            mechanism: Mechanism::Plain,
            username: Some("alice".into()),
            password: Some(r#"a"b\c"#.into()),
            oauth2: None,
        };
        let connection = Connection { sasl: Some(sasl), ..Connection::to("a:1") };
        let properties = connection.java_properties().expect("properties");
        assert_eq!(properties["security.protocol"], "SASL_PLAINTEXT");
        let login = &properties["sasl.jaas.config"];
        assert!(login.ends_with(r#"required username="alice" password="a\"b\\c";"#), "{login}");
    }

    #[test]
    fn settings_of_another_client_are_refused() {
        let mut connection = Connection::to("a:1");
        connection.client.insert("socket.keepalive.enable".into(), "true".into());
        assert!(connection.java_properties().is_err());
    }
}
