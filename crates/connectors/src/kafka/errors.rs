//! librdkafka's errors in our words: whose fault, whether waiting helps, what to do next.

use millstream_core::Error;
use rdkafka::client::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::producer::{FutureProducer, Producer};

use super::Connection;

/// `what` was attempted when `error` came; `complaint` is what the client of `connection` logged
/// last.
pub(super) fn explain(
    what: &str,
    error: &KafkaError,
    connection: Option<&Connection>,
    complaint: Option<&str>,
) -> Error {
    let Some(code) = code_of(error) else {
        // The settings themselves: a file that is no certificate, a name that librdkafka lacks.
        return Error::user(format!("{what}: {error}"));
    };
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
        Code::SaslAuthenticationFailed | Code::Authentication => not_let_in(what, complaint),
        Code::InvalidTopic | Code::PolicyViolation | Code::InvalidConfig | Code::InvalidPartitions => {
            Error::user(format!("{what}: the broker refuses the settings ({code})"))
        }
        Code::InvalidReplicationFactor => Error::user(format!("{what}: there are not as many brokers as copies"))
            .help("set `replication:` to what the cluster has"),
        Code::MessageSizeTooLarge => Error::lasting(format!("{what}: the message is larger than the broker takes")),
        Code::RebalanceInProgress | Code::IllegalGeneration | Code::UnknownMemberId | Code::AssignmentLost => {
            Error::passing(format!("{what}: the group is sharing its partitions anew"))
        }
        Code::KafkaStorageError => Error::passing(format!("{what}: the broker cannot write to its disk"))
            .help("is there space left? it goes on by itself"),
        Code::Fatal | Code::OutOfOrderSequenceNumber | Code::UnknownProducerId | Code::InvalidProducerEpoch => {
            Error::passing(format!("{what}: the broker no longer knows what we wrote last"))
                .help("it has lost messages that it had acknowledged; the flow goes on by itself")
        }
        _ => unreachable(what, code, connection, complaint),
    }
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

fn not_let_in(what: &str, complaint: Option<&str>) -> Error {
    let why = complaint.and_then(Complaint::parse).map_or_else(String::new, |c| format!(" ({})", c.reason));
    Error::lasting(format!("{what}: the broker does not let us in{why}"))
        .help("are `kafka.sasl`'s mechanism, user and password right, and is this the listener for it?")
}

/// A line of librdkafka about one broker: `HOST:PORT/ID: REASON`.
struct Complaint<'a> {
    broker: &'a str,
    /// Whether the broker is one that we were told of by another, and not the one we were given.
    is_named_by_broker: bool,
    reason: &'a str,
}

impl<'a> Complaint<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        // In the log the thread's name, with the broker's, stands in front.
        let line = line.rsplit_once("]: ").map_or(line, |(_, line)| line);
        let line = line.split_once("://").map_or(line, |(_, line)| line);
        let (place, reason) = line.split_once(": ")?;
        let (broker, id) = place.rsplit_once('/')?;
        let reason = reason.split(" (after").next().unwrap_or(reason).trim_end_matches(':').trim();
        Some(Self { broker, is_named_by_broker: id.parse::<i32>().is_ok(), reason })
    }
}

/// Whether a line of librdkafka says what is the matter with one broker.
pub(super) fn is_about_a_broker(line: &str) -> bool {
    Complaint::parse(line).is_some()
}

/// A broker that does not answer: which, and what is probably the matter.
fn unreachable(what: &str, code: Code, connection: Option<&Connection>, complaint: Option<&str>) -> Error {
    let Some(complaint) = complaint.and_then(Complaint::parse) else {
        return Error::passing(format!("{what}: {code}")).help("is the broker running?");
    };
    let reason = complaint.reason;
    let lower = reason.to_lowercase();
    let brokers = connection.map_or("", |connection| &connection.brokers);
    let is_ours = brokers.split(',').any(|broker| broker.trim() == complaint.broker);
    if complaint.is_named_by_broker && !is_ours {
        return Error::passing(format!(
            "{what}: we reached {brokers}, the broker calls itself {}, and there nobody answers: {reason}",
            complaint.broker
        ))
        .help("the broker's advertised.listeners must be an address that can be reached from here");
    }
    if lower.contains("unsupported sasl mechanism") || lower.contains("authentication failed") {
        return not_let_in(what, Some(&format!("{}/0: {reason}", complaint.broker)));
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
    use super::*;

    fn said(complaint: &str) -> Error {
        let error = KafkaError::MetadataFetch(Code::BrokerTransportFailure);
        explain("reading", &error, Some(&Connection::to("a:1,b:2")), Some(complaint))
    }

    #[test]
    fn a_broker_that_does_not_answer_is_explained_by_what_the_client_says() {
        let refused = said(
            "a:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection refused (after 0ms in state CONNECT)",
        );
        assert!(refused.is_passing());
        assert!(refused.message.contains("a:1 does not answer: Connect to"), "{refused}");
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
}
