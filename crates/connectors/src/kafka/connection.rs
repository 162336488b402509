//! The broker that all topics of a pipeline live on, how it is spoken to, and what its client
//! complained about last.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use millstream_core::settings::{self, Tls};
use millstream_core::{Error, Result, Scope};
use parking_lot::Mutex;
use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::admin::ANSWER_TIMEOUT;
use super::client;
use super::errors::{Heard, explain};

/// How long one question to a broker that is not reached yet may take.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// The broker that all topics of a pipeline live on. Left out, it is `embedded`.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Connection {
    /// Where it is reached: `host:port`, several with commas between, or `embedded` for a broker
    /// in this process on localhost:29092 (`embedded:PORT` for another port, 0 for any).
    #[schemars(length(min = 1))]
    pub brokers: String,
    /// Encrypts the connection; `{}` trusts whom the system trusts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// Says who we are with SASL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sasl: Option<Sasl>,
    /// Settings of the client library, librdkafka, that have no name here, like
    /// `socket.keepalive.enable: "true"`. They win over what Millstream would choose, like
    /// `compression.type`; what its promises rest on, like `enable.auto.commit`, is refused.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub client: BTreeMap<String, String>,
}

/// Who we are, with SASL.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sasl {
    /// How it is proved.
    pub mechanism: Mechanism,
    /// The user; not with OAUTHBEARER.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The user's password; not with OAUTHBEARER.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-secret" = true))]
    pub password: Option<String>,
    /// Where OAUTHBEARER gets its tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oauth2: Option<TokenSettings>,
}

/// How SASL proves who we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum Mechanism {
    /// The password as it is: only over TLS.
    #[serde(rename = "PLAIN")]
    Plain,
    /// A proof that the password is known, with SHA-256.
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    /// The same with SHA-512.
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
    /// A token of OAuth2, which is fetched and renewed.
    #[serde(rename = "OAUTHBEARER")]
    Oauthbearer,
}

impl Mechanism {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
            Self::Oauthbearer => "OAUTHBEARER",
        }
    }
}

/// OAuth2 with client credentials (RFC 6749, section 4.4).
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenSettings {
    /// Where tokens are given out.
    pub token_url: String,
    /// Who asks for one.
    pub client_id: String,
    /// The secret that goes with it.
    #[schemars(extend("x-secret" = true))]
    pub client_secret: String,
    /// What the token is to allow, words with spaces between.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
}

impl Connection {
    /// A broker that asks for nothing.
    pub fn to(brokers: impl Into<String>) -> Self {
        Self { brokers: brokers.into(), ..Self::default() }
    }

    /// The connection that the scope's pipeline uses.
    pub fn of(scope: &Scope) -> Result<Self> {
        let settings = scope.services.get("kafka");
        settings::read(settings.ok_or_else(|| Error::ours("a topic is opened without `kafka:`"))?)
    }

    /// Refuses what no client can be made of, wherever the broker and the files of certificates are. An error's place
    /// is the setting's path in the file.
    pub fn check(&self) -> Result<()> {
        let checked = self.tls.as_ref().map_or(Ok(()), Tls::check);
        checked.map_err(|error| error.at("tls").at("kafka"))?;
        let without_files = Self { tls: None, ..self.clone() };
        client::check(&without_files.client("millstream")?)
    }

    pub(super) fn client(&self, name: &str) -> Result<ClientConfig> {
        let mut config = ClientConfig::new();
        config.extend(
            client::chosen(&self.client)?.into_iter().map(|(name, value)| (name.into(), value.into())),
        );
        config.set("bootstrap.servers", &self.brokers);
        let choices = [
            ("client.id", name),
            // A broker that comes back is found at once, not after ten seconds.
            ("reconnect.backoff.ms", "50"),
            ("reconnect.backoff.max.ms", "1000"),
            ("log.connection.close", "true"),
        ];
        client::prefer(&mut config, &choices);
        // Warnings and errors come to `Complaints`, and that a connection has ended.
        config.set_log_level(RDKafkaLogLevel::Info);
        let protocol = match (&self.sasl, &self.tls) {
            (None, None) => "plaintext",
            (None, Some(_)) => "ssl",
            (Some(_), None) => "sasl_plaintext",
            (Some(_), Some(_)) => "sasl_ssl",
        };
        config.set("security.protocol", protocol);
        if let Some(tls) = &self.tls {
            encrypt(&mut config, tls)?;
        }
        if let Some(sasl) = &self.sasl {
            authenticate(&mut config, sasl)?;
        }
        Ok(config)
    }
}

/// A client that has reached the broker.
pub(super) struct Reached<'a> {
    connection: &'a Connection,
    what: String,
    complaints: Complaints,
    pub(super) consumer: BaseConsumer<Complaints>,
}

impl<'a> Reached<'a> {
    /// Makes a client and waits until the broker says what it knows of `topic`. Blocks.
    pub(super) fn open(
        connection: &'a Connection,
        config: &ClientConfig,
        topic: &str,
        what: String,
    ) -> Result<Self> {
        let complaints = Complaints::default();
        let consumer = config
            .create_with_context(complaints.clone())
            .map_err(|e| complaints.explain(connection, &what, &e))?;
        let reached = Self { connection, what, complaints, consumer };
        let until = Instant::now() + ANSWER_TIMEOUT;
        while let Err(error) = reached.consumer.fetch_metadata(Some(topic), ASK_EVERY) {
            let failed = reached.failed(&error);
            // A password does not get right by waiting.
            if !failed.is_passing() || Instant::now() >= until {
                return Err(failed);
            }
        }
        Ok(reached)
    }

    pub(super) fn failed(&self, error: &KafkaError) -> Error {
        // What the client has to say about it waits to be fetched.
        while let Some(event) = self.consumer.poll(Duration::from_millis(20)) {
            drop(event);
        }
        self.complaints.explain(self.connection, &self.what, error)
    }
}

fn encrypt(config: &mut ClientConfig, tls: &Tls) -> Result<()> {
    let files = [
        ("ssl.ca.location", &tls.ca),
        ("ssl.certificate.location", &tls.certificate),
        ("ssl.key.location", &tls.key),
    ];
    for (name, path) in files {
        if let Some(path) = path {
            check_readable(path)?;
            config.set(name, path.to_string_lossy());
        }
    }
    Ok(())
}

fn check_readable(path: &Path) -> Result<()> {
    match std::fs::File::open(path) {
        Ok(_) => Ok(()),
        Err(e) => Err(Error::user(format!("cannot read {}: {e}", path.display())).at("tls").at("kafka")),
    }
}

fn authenticate(config: &mut ClientConfig, sasl: &Sasl) -> Result<()> {
    let missing =
        |what: &str| Error::user(format!("{} needs {what}", sasl.mechanism.name())).at("sasl").at("kafka");
    config.set("sasl.mechanism", sasl.mechanism.name());
    if sasl.mechanism == Mechanism::Oauthbearer {
        let oauth2 = sasl.oauth2.as_ref().ok_or_else(|| missing("`oauth2`"))?;
        config
            .set("sasl.oauthbearer.method", "oidc")
            .set("sasl.oauthbearer.token.endpoint.url", &oauth2.token_url)
            .set("sasl.oauthbearer.client.id", &oauth2.client_id)
            .set("sasl.oauthbearer.client.secret", &oauth2.client_secret);
        if let Some(scope) = &oauth2.scope {
            config.set("sasl.oauthbearer.scope", scope);
        }
        return Ok(());
    }
    config.set("sasl.username", sasl.username.as_ref().ok_or_else(|| missing("`username`"))?);
    config.set("sasl.password", sasl.password.as_ref().ok_or_else(|| missing("`password`"))?);
    Ok(())
}

/// What a client complained about last, for its errors.
#[derive(Clone, Default)]
pub(super) struct Complaints(Arc<Mutex<Heard>>);

impl Complaints {
    pub(super) fn note(&self, reason: &str) {
        tracing::debug!("librdkafka: {reason}");
        self.0.lock().note(reason);
    }

    /// What there was since this was asked last.
    pub(super) fn take(&self) -> Option<String> {
        self.0.lock().take()
    }

    /// `what` was attempted at `connection` when `error` came.
    pub(super) fn explain(&self, connection: &Connection, what: &str, error: &KafkaError) -> Error {
        explain(what, error, Some(connection), Some(&*self.0.lock()))
    }
}

impl ConsumerContext for Complaints {}

impl ClientContext for Complaints {
    fn log(&self, level: RDKafkaLogLevel, _: &str, message: &str) {
        match level as i32 <= RDKafkaLogLevel::Warning as i32 {
            true => self.note(message),
            // A connection that has ended is no complaint, but says that there was one.
            false => self.0.lock().note_reached(message),
        }
    }

    fn error(&self, _: KafkaError, reason: &str) {
        self.note(reason);
    }
}
