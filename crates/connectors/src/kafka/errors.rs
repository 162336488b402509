//! librdkafka's errors in our words: whose fault, whether waiting helps, what to do next.

use std::collections::BTreeSet;

use millstream_core::Error;
use rdkafka::client::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::producer::{FutureProducer, Producer};

use super::Connection;

/// `what` was attempted when `error` came; `heard` is from the client of `connection`.
pub(super) fn explain(
    what: &str,
    error: &KafkaError,
    connection: Option<&Connection>,
    heard: Option<&Heard>,
) -> Error {
    let Some(code) = code_of(error) else {
        // The settings themselves: a file that is no certificate, a name that librdkafka lacks.
        return Error::user(format!("{what}: {error}"));
    };
    let complaint = heard.and_then(|heard| heard.complaint.as_deref());
    match code {
        Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition => {
            Error::lasting(format!("{what}: there is no such topic"))
                .help("was it deleted? a flow that writes it makes it anew")
        }
        Code::AutoOffsetReset | Code::OffsetOutOfRange => Error::lasting(format!(
            "{what}: the offset that the group has committed is no longer in the topic"
        ))
        .help("messages have expired, or the topic was made anew; `reset FILE --flow FLOW --to earliest` reads what is there"),
        Code::TopicAuthorizationFailed => forbidden(what, "read or write the topic"),
        Code::GroupAuthorizationFailed => forbidden(what, "read as this group"),
        Code::ClusterAuthorizationFailed => forbidden(what, "make topics, or write idempotently"),
        Code::SaslAuthenticationFailed | Code::Authentication => match complaint.and_then(token_failure) {
            Some(reason) => no_token(what, connection, reason),
            None => not_let_in(what, complaint.and_then(Complaint::parse).map(|complaint| complaint.reason)),
        },
        Code::InvalidTopic => Error::user(format!("{what}: the broker takes no topic of that name"))
            .help(
                "letters, digits, `.`, `_` and `-` it may have, 249 of them; the embedded broker takes none that differs \
                 from another in case only",
            ),
        Code::PolicyViolation | Code::InvalidConfig | Code::InvalidPartitions => {
            Error::user(format!("{what}: the broker refuses the settings ({code})"))
        }
        Code::InvalidReplicationFactor => Error::user(format!("{what}: there are not as many brokers as copies"))
            .help("set `replication:` to what the cluster has"),
        Code::MessageSizeTooLarge | Code::MessageBatchTooLarge => {
            Error::lasting(format!("{what}: the message is larger than the broker takes"))
        }
        Code::UnsupportedCompressionType => {
            Error::lasting(format!("{what}: the broker does not know the compression ({code})"))
                .help("set `compression.type` in `kafka.client`, like `gzip`")
        }
        Code::InvalidTimestamp => Error::lasting(format!(
            "{what}: a message is dated further from now than the topic allows ({code})"
        ))
        .help("raise the topic's message.timestamp.before.max.ms and message.timestamp.after.max.ms"),
        Code::InvalidRecord | Code::InvalidDifferentRecord => {
            Error::lasting(format!("{what}: the broker finds a message invalid ({code})"))
                .help("a compacted topic takes no message without a key; the broker's log may say more")
        }
        Code::InconsistentGroupProtocol => Error::passing(format!(
            "{what}: another member of the group shares partitions by other rules ({code})"
        ))
        .help("is it another program? give the flow a `group` of its own, or stop the other one"),
        Code::RebalanceInProgress | Code::IllegalGeneration | Code::UnknownMemberId | Code::AssignmentLost => {
            Error::passing(format!("{what}: the group is sharing its partitions anew"))
        }
        Code::KafkaStorageError => Error::passing(format!("{what}: the broker cannot write to its disk"))
            .help("is there space left? it goes on by itself"),
        Code::Fatal | Code::OutOfOrderSequenceNumber | Code::UnknownProducerId | Code::InvalidProducerEpoch => {
            Error::passing(format!("{what}: the broker no longer knows what we wrote last"))
                .help("it has lost messages that it had acknowledged; the flow goes on by itself")
        }
        _ if is_about_the_connection(code) => {
            let error = unreachable(what, connection, heard);
            Error { message: format!("{} ({code:?})", error.message), ..error }
        }
        _ => Error::passing(format!("{what}: {code}")).help("if it does not end, the broker's log may say more"),
    }
}

/// Whether a code is librdkafka's own for a connection that fails, of which its log says more. Every other one is an
/// answer, which no complaint about something else may cover.
fn is_about_the_connection(code: Code) -> bool {
    matches!(
        code,
        Code::AllBrokersDown
            | Code::BrokerTransportFailure
            | Code::MessageTimedOut
            | Code::OperationTimedOut
            | Code::Resolve
            | Code::SSL
            | Code::TimedOutQueue
            | Code::WaitingForCoordinator
    )
}

/// Whether an idempotent producer will never write again, so that another must take its place: its broker has
/// forgotten what it had acknowledged, as after an election of a leader that was behind.
pub(super) fn has_failed_for_good<C: ClientContext + 'static>(producer: &FutureProducer<C>) -> bool {
    producer.client().fatal_error().is_some()
}

/// The code in an error, which the library does not give for all of its kinds.
fn code_of(error: &KafkaError) -> Option<Code> {
    match error {
        KafkaError::AdminOp(code) => Some(*code),
        _ => error.rdkafka_error_code(),
    }
}

fn forbidden(what: &str, action: &str) -> Error {
    Error::lasting(format!("{what}: the broker does not allow us to {action}"))
        .help("the broker's rules (ACLs) must allow it to the user of `kafka.sasl`")
}

fn not_let_in(what: &str, reason: Option<&str>) -> Error {
    let why = reason.map_or_else(String::new, |reason| format!(" ({reason})"));
    Error::lasting(format!("{what}: the broker does not let us in{why}"))
        .help("are `kafka.sasl`'s mechanism, user and password right, and is this the listener for it?")
}

/// librdkafka keeps the token that it has, and asks again.
fn no_token(what: &str, connection: Option<&Connection>, reason: &str) -> Error {
    let oauth2 = connection.and_then(|connection| connection.sasl.as_ref()?.oauth2.as_ref());
    let url = oauth2.map_or("the token server", |oauth2| oauth2.token_url.as_str());
    Error::passing(format!("{what}: no token from {url}: {reason}"))
        .help("is `kafka.sasl.oauth2` right, and does the server answer? it is asked again every ten seconds")
}

/// What a client has said of its connections: librdkafka's error codes alone say "timed out" where its log says why.
#[derive(Default)]
pub(super) struct Heard {
    /// The last line that says what is the matter.
    complaint: Option<String>,
    /// The addresses of brokers that it has been connected with.
    reached: BTreeSet<String>,
}

impl Heard {
    /// Notes a line of librdkafka's log, or the reason of one of its errors.
    pub(super) fn note(&mut self, line: &str) {
        self.note_reached(line);
        // That all brokers are down says less than why one is.
        if token_failure(line).is_some() || Complaint::parse(line).is_some() {
            self.complaint = Some(line.to_owned());
        }
    }

    /// Notes only with which broker there was a connection, where the line says that it has ended.
    pub(super) fn note_reached(&mut self, line: &str) {
        if let Some(complaint) = Complaint::parse(line).filter(|complaint| complaint.was_up) {
            self.reached.insert(complaint.broker.to_owned());
        }
    }

    /// The last complaint, which is forgotten.
    pub(super) fn take(&mut self) -> Option<String> {
        self.complaint.take()
    }
}

/// Why there is no OAuth token, where a line of librdkafka says that.
fn token_failure(line: &str) -> Option<&str> {
    // The error is raised only where the reason is another one than before; the log has each.
    let error = line.split_once("Failed to acquire SASL OAUTHBEARER token: ");
    let log = || line.split_once("Failed to retrieve OIDC token from ")?.1.split_once("\": ");
    error.or_else(log).map(|(_, reason)| reason)
}

/// A line of librdkafka about one broker: `HOST:PORT/ID: REASON`.
struct Complaint<'a> {
    broker: &'a str,
    /// Whether the broker is one that we were told of by another, and not the one we were given.
    is_named_by_broker: bool,
    reason: &'a str,
    /// Whether there was a connection until then.
    was_up: bool,
}

impl<'a> Complaint<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        // In the log the thread's name, with the broker's, stands in front.
        let line = line.rsplit_once("]: ").map_or(line, |(_, line)| line);
        let line = line.split_once("://").map_or(line, |(_, line)| line);
        let (place, said) = line.split_once(": ")?;
        let (broker, id) = place.rsplit_once('/')?;
        let reason = said.split(" (after").next().unwrap_or(said).trim_end_matches(':').trim();
        let is_named_by_broker = id.parse::<i32>().is_ok();
        Some(Self { broker, is_named_by_broker, reason, was_up: said.contains(" in state UP") })
    }
}

/// A broker that does not answer: which, and what is probably the matter.
fn unreachable(what: &str, connection: Option<&Connection>, heard: Option<&Heard>) -> Error {
    let complaint = heard.and_then(|heard| heard.complaint.as_deref());
    if let Some(reason) = complaint.and_then(token_failure) {
        return no_token(what, connection, reason);
    }
    let Some(complaint) = complaint.and_then(Complaint::parse) else {
        return Error::passing(format!("{what}: no broker answers")).help("is the broker running?");
    };
    let reason = complaint.reason;
    let lower = reason.to_lowercase();
    let brokers = connection.map_or("", |connection| &connection.brokers);
    let is_ours = brokers.split(',').any(|broker| broker.trim() == complaint.broker);
    // One that has answered there is only away.
    let was_reached = heard.is_some_and(|heard| heard.reached.contains(complaint.broker));
    if complaint.is_named_by_broker && !is_ours && !was_reached {
        return Error::passing(format!(
            "{what}: we reached {brokers}, the broker calls itself {}, and there nobody answers: {reason}",
            complaint.broker
        ))
        .help("the broker's advertised.listeners must be an address that can be reached from here");
    }
    if lower.contains("unsupported sasl mechanism") || lower.contains("authentication failed") {
        return not_let_in(what, Some(reason));
    }
    let about_certificate = ["certificate verify failed", "certificate required", "bad certificate"];
    if about_certificate.iter().any(|sign| lower.contains(sign)) {
        return Error::lasting(format!("{what}: no TLS with {}: {reason}", complaint.broker))
            .help("`kafka.tls.ca` must be the authority that signed the broker's certificate; some listeners want `certificate` and `key` of ours too");
    }
    // What librdkafka says when the listener wants TLS, SASL, neither, or is no Kafka at all.
    let other_protocol = [
        "ssl handshake failed",
        "security.protocol",
        "sasl state",
        "closed by peer",
        "invalid response size",
    ];
    if other_protocol.iter().any(|sign| lower.contains(sign)) {
        return Error::passing(format!(
            "{what}: {} speaks another protocol than we do: {reason}",
            complaint.broker
        ))
        .help("set `kafka.tls` and `kafka.sasl` for what the listener at this port asks, or take them away");
    }
    // It took the connection and gave it up, which may be seen while we are still sending.
    if lower.contains("broken pipe") || lower.contains("connection reset") {
        return Error::passing(format!("{what}: {} hangs up: {reason}", complaint.broker)).help(
            "if the listener at this port speaks another protocol than we do, set `kafka.tls` and `kafka.sasl` for it; else it may just have been restarted",
        );
    }
    if lower.contains("failed to resolve") {
        return Error::passing(format!("{what}: {reason}")).help("is `kafka.brokers` written right?");
    }
    Error::passing(format!("{what}: {} does not answer: {reason}", complaint.broker))
        .help("is the broker running?")
}

#[cfg(test)]
mod tests {
    use rdkafka::config::RDKafkaLogLevel;

    use super::*;
    use crate::kafka::connection::Complaints;
    use crate::kafka::{Mechanism, Sasl, TokenSettings};

    /// What becomes of a code for one whose client has said `lines`.
    fn explained(lines: &[&str], code: Code) -> Error {
        let complaints = Complaints::default();
        for line in lines {
            complaints.note(line);
        }
        complaints.explain(&Connection::to("a:1,b:2"), "reading", &KafkaError::MetadataFetch(code))
    }

    fn said(complaint: &str) -> Error {
        explained(&[complaint], Code::BrokerTransportFailure)
    }

    #[test]
    fn a_broker_that_does_not_answer_is_explained_by_what_the_client_says() {
        let refused = said(
            "a:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection refused (after 0ms in state CONNECT)",
        );
        assert!(refused.is_passing());
        assert!(refused.message.contains("a:1 does not answer: Connect to"), "{refused}");
        assert!(refused.message.ends_with("Connection refused (BrokerTransportFailure)"), "{refused}");
        let advertised =
            said("[thrd:kafka:9092/1]: kafka:9092/1: Failed to resolve 'kafka:9092': unknown host");
        assert!(
            advertised.message.contains("we reached a:1,b:2, the broker calls itself kafka:9092"),
            "{advertised}"
        );
        let certificate =
            said("ssl://a:1/bootstrap: SSL handshake failed: error:0A000086: certificate verify failed");
        assert!(!certificate.is_passing(), "{certificate}");
        let plain = said(
            "a:1/bootstrap: Disconnected while requesting ApiVersion: might be caused by incorrect security.protocol configuration",
        );
        assert!(plain.message.contains("another protocol"), "{plain}");
        let hung_up = said("a:1/bootstrap: Send failed: Broken pipe (after 1ms in state APIVERSION_QUERY)");
        assert!(hung_up.message.contains("a:1 hangs up: Send failed: Broken pipe"), "{hung_up}");
        assert!(hung_up.help.is_some_and(|help| help.contains("another protocol")));
    }

    #[test]
    fn a_broker_that_has_answered_before_is_only_away() {
        let refused = "kafka:9092/1: Connect to ipv4#10.0.0.1:9092 failed: Connection refused (after 0ms in state CONNECT)";
        assert!(said(refused).message.contains("calls itself kafka:9092"));
        let complaints = Complaints::default();
        let closed = "[thrd:kafka:9092/1]: kafka:9092/1: Disconnected (after 5123ms in state UP)";
        complaints.log(RDKafkaLogLevel::Info, "FAIL", closed);
        assert_eq!(complaints.take(), None, "that a connection was closed is no complaint");
        complaints.note(refused);
        let error = KafkaError::MetadataFetch(Code::AllBrokersDown);
        let away = complaints.explain(&Connection::to("a:1"), "reading", &error);
        assert!(away.message.contains("kafka:9092 does not answer: Connect to"), "{away}");
    }

    #[test]
    fn what_a_broker_answers_is_covered_by_no_complaint() {
        let old = "a:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection refused";
        for (code, is_passing) in [
            (Code::UnsupportedCompressionType, false),
            (Code::InvalidTimestamp, false),
            (Code::InvalidRecord, false),
            (Code::InconsistentGroupProtocol, true),
            (Code::NotEnoughReplicas, true),
        ] {
            let answered = explained(&[old], code);
            assert_eq!(answered.is_passing(), is_passing, "{answered}");
            assert!(answered.message.contains(&format!("{code}")), "{answered}");
            assert!(!answered.message.contains("a:1"), "{answered}");
        }
    }

    #[test]
    fn a_token_that_does_not_come_is_waited_for() {
        let oauth2 = TokenSettings {
            token_url: "https://idp/token".into(),
            client_id: "we".into(),
            client_secret: "hush".into(),
            scope: None,
        };
        let sasl =
            Sasl { mechanism: Mechanism::Oauthbearer, username: None, password: None, oauth2: Some(oauth2) };
        let connection = Connection { sasl: Some(sasl), ..Connection::to("a:1") };
        for line in [
            "Failed to acquire SASL OAUTHBEARER token: Connection refused",
            "[thrd:main]: Failed to retrieve OIDC token from \"https://idp/token\": Connection refused (-1)",
        ] {
            for code in [Code::Authentication, Code::BrokerTransportFailure] {
                let complaints = Complaints::default();
                complaints.note(line);
                let error = KafkaError::MessageConsumption(code);
                let failed = complaints.explain(&connection, "reading", &error);
                assert!(failed.is_passing(), "{failed}");
                let words = "reading: no token from https://idp/token: Connection refused";
                assert!(failed.message.starts_with(words), "{failed}");
            }
        }
        // A broker that refuses one that came is another matter.
        let refused = explained(&["a:1/bootstrap: SASL authentication error: invalid"], Code::Authentication);
        assert!(!refused.is_passing() && refused.message.contains("does not let us in"), "{refused}");
    }
}
