//! librdkafka's errors in our words: whose fault, whether waiting helps, what to do next.

use millstream_core::Error;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

/// `what` was attempted when `error` came.
pub(super) fn explain(what: &str, error: &KafkaError) -> Error {
    let Some(code) = error.rdkafka_error_code() else {
        return Error::lasting(format!("{what}: {error}"));
    };
    match code {
        Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition => {
            Error::lasting(format!("{what}: there is no such topic"))
                .help("was it deleted? a flow that writes it makes it anew")
        }
        Code::AutoOffsetReset | Code::OffsetOutOfRange => Error::lasting(format!(
            "{what}: the offset that the group has committed is no longer in the topic"
        ))
        .help("messages have expired, or the topic was made anew; reset the group to earliest to read what is there"),
        Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::SaslAuthenticationFailed
        | Code::Authentication => Error::lasting(format!("{what}: the broker does not allow it ({code})")),
        Code::InvalidTopic | Code::PolicyViolation | Code::InvalidConfig | Code::InvalidPartitions => {
            Error::user(format!("{what}: the broker refuses the settings ({code})"))
        }
        Code::MessageSizeTooLarge => Error::lasting(format!("{what}: the message is larger than the broker takes")),
        _ => Error::passing(format!("{what}: {code}")).help("is the broker running?"),
    }
}
