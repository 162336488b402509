//! The driver's errors in our words: whose fault, whether waiting helps, what to do next.

use millstream_core::{Error, TableConnection};
use scylla::errors::{
    ConnectionError, ConnectionPoolError, ConnectionSetupRequestErrorKind, DbError, ExecutionError,
    MetadataError, NewSessionError, NextPageError, NextRowError, PagerExecutionError, PrepareError,
    RequestAttemptError,
};

/// What a failed request means for who asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The service is down or overloaded, or the answer was lost.
    Passing,
    /// The server refuses what it was sent.
    Refused,
    /// The server refuses who sent it, or has no such table.
    Lasting,
}

/// What an error of a request means.
pub(super) fn meaning(error: &ExecutionError) -> Meaning {
    match db_error(error) {
        // Some refusals say that a node cannot, not that it may not.
        Some((_, words)) if words.starts_with(UNABLE) || words.contains(DISK_FULL) => Meaning::Passing,
        Some((DbError::Invalid, words)) if CONSISTENCY.iter().any(|name| words.contains(name)) => {
            Meaning::Lasting
        }
        Some((DbError::Invalid | DbError::SyntaxError | DbError::FunctionFailure { .. }, _)) => {
            Meaning::Refused
        }
        Some((DbError::Unauthorized | DbError::AuthenticationError | DbError::ConfigError, _)) => {
            Meaning::Lasting
        }
        Some(_) => Meaning::Passing,
        None => match error {
            // The row cannot be put into a request at all.
            ExecutionError::BadQuery(_) => Meaning::Refused,
            _ => Meaning::Passing,
        },
    }
}

/// How Cassandra begins when the tables with roles and permissions do not answer: `CassandraAuthorizer`,
/// `PasswordAuthenticator`, `CassandraRoleManager`.
const UNABLE: &str = "Unable to perform auth";
/// What it says where disks are too full to write, and who wrote is no superuser: `Guardrails`.
const DISK_FULL: &str = "disk usage exceeds";
/// How it calls what `consistency:` sets, where that one is forbidden: `Guardrails`.
const CONSISTENCY: [&str; 2] = ["write_consistency_levels", "write consistency levels"];

/// Whether the server's words are about a table that it does not know, or not as it is: nodes learn of changes one
/// after the other.
pub(super) fn is_of_schema(words: &str) -> bool {
    let words = words.to_lowercase();
    ["does not exist", "unconfigured table", "undefined column"].iter().any(|part| words.contains(part))
}

fn db_error(error: &ExecutionError) -> Option<(&DbError, &str)> {
    let attempt = match error {
        ExecutionError::LastAttemptError(attempt) => attempt,
        ExecutionError::PrepareError(PrepareError::AllAttemptsFailed { first_attempt, .. }) => first_attempt,
        _ => return None,
    };
    match attempt {
        RequestAttemptError::DbError(error, message) => Some((error, message)),
        _ => None,
    }
}

/// What the server says, without what the driver says about it.
pub(super) fn words(error: &ExecutionError) -> String {
    match db_error(error) {
        Some((_, message)) => message.to_owned(),
        None => error.to_string(),
    }
}

/// `what` was attempted when `error` came.
pub(super) fn explain(what: &str, error: &ExecutionError) -> Error {
    let message = format!("{what}: {}", words(error));
    match meaning(error) {
        Meaning::Passing => Error::passing(message).help(help_in_passing(error)),
        Meaning::Refused => Error::lasting(message),
        Meaning::Lasting => Error::lasting(message).help(match db_error(error) {
            Some((DbError::Invalid, _)) => "`consistency:` of the table sets another one",
            _ => "may the user of `cassandra.username` do that?",
        }),
    }
}

/// As [`explain`], for a request whose answer comes in pages.
pub(super) fn explain_pages(what: &str, error: PagerExecutionError) -> Error {
    let error: ExecutionError = match error {
        PagerExecutionError::NextPageError(error) => return explain_page(what, error),
        PagerExecutionError::PrepareError(error) => error.into(),
        PagerExecutionError::SerializationError(error) => error.into(),
        PagerExecutionError::UseKeyspaceError(error) => error.into(),
        PagerExecutionError::SchemaAgreementError(error) => error.into(),
        PagerExecutionError::MetadataError(error) => error.into(),
        other => return Error::ours(format!("{what}: {other}")),
    };
    explain(what, &error)
}

/// As [`explain_pages`], for a row in one of the pages.
pub(super) fn explain_row(what: &str, error: NextRowError) -> Error {
    match error {
        NextRowError::NextPageError(error) => explain_page(what, error),
        other => Error::ours(format!("{what}: {other}")),
    }
}

fn explain_page(what: &str, error: NextPageError) -> Error {
    match error {
        NextPageError::RequestFailure(error) => explain(what, &error.into_execution_error()),
        // The answer is there, and we cannot read it.
        other => Error::ours(format!("{what}: {other}")),
    }
}

fn help_in_passing(error: &ExecutionError) -> &'static str {
    match (db_error(error), error) {
        (Some((_, words)), _) if words.contains(DISK_FULL) => {
            "free some space on Cassandra's nodes, or add one"
        }
        (Some((DbError::Unavailable { .. }, _)), _) => {
            "too few copies are reachable for that; `consistency:` says how many a row is written to"
        }
        (Some((DbError::Overloaded | DbError::WriteTimeout { .. }, _)), _) => "Cassandra has too much to do",
        (None, ExecutionError::EmptyPlan) => {
            "is a node of `cassandra.data_center` still part of the cluster?"
        }
        _ => "is Cassandra running, and reachable from here?",
    }
}

/// Why there is no session.
pub(super) fn of_connecting(connection: &TableConnection, error: &NewSessionError) -> Error {
    let hosts = &connection.hosts;
    let NewSessionError::MetadataError(MetadataError::ConnectionPoolError(ConnectionPoolError::Broken {
        last_connection_error,
        ..
    })) = error
    else {
        let message = format!("Cassandra at {hosts} does not answer: {error}");
        return match error {
            NewSessionError::FailedToResolveAnyHostname(names) => {
                Error::passing(format!("there is no host {}", names.join(" or ")))
                    .help("is `cassandra.hosts` written right?")
            }
            NewSessionError::EmptyKnownNodesList | NewSessionError::IllegalConfig(_) => Error::user(message),
            _ => Error::passing(message).help("is Cassandra running, and reachable from here?"),
        };
    };
    match last_connection_error {
        ConnectionError::ConnectionSetupRequestError(setup) => match &setup.error {
            ConnectionSetupRequestErrorKind::DbError(_, message) if message.starts_with(UNABLE) => {
                Error::passing(format!("Cassandra at {hosts} does not let us in now: {message}"))
                    .help("are the nodes with the keyspace system_auth up?")
            }
            ConnectionSetupRequestErrorKind::DbError(DbError::AuthenticationError, message) => {
                Error::lasting(format!("Cassandra at {hosts} does not let us in: {message}"))
                    .help("are `cassandra.username` and `cassandra.password` right?")
            }
            ConnectionSetupRequestErrorKind::MissingAuthentication => {
                Error::lasting(format!("Cassandra at {hosts} asks for a password"))
                    .help("set `cassandra.username` and `cassandra.password`")
            }
            other => Error::passing(format!("Cassandra at {hosts} does not take the connection: {other}"))
                .help("is that a CQL port, and does it speak TLS exactly where `cassandra.tls` is set?"),
        },
        ConnectionError::IoError(error) if error.kind() == std::io::ErrorKind::InvalidData => {
            Error::lasting(format!("no TLS with Cassandra at {hosts}: {error}"))
                .help("is `cassandra.tls.ca` the authority that signed the server's certificate?")
        }
        other => Error::passing(format!("Cassandra at {hosts} does not answer: {other}"))
            .help("is Cassandra running, and reachable from here?"),
    }
}

#[cfg(test)]
mod tests {
    use millstream_core::Fault;
    use scylla::errors::RequestError;

    use super::*;

    #[test]
    fn what_comes_in_pages_fails_like_everything_else() {
        let failed = |error: DbError| {
            let attempt = RequestAttemptError::DbError(error, "the server's words".to_owned());
            NextPageError::RequestFailure(RequestError::LastAttemptError(attempt))
        };
        let first = |error| explain_pages("reading", PagerExecutionError::NextPageError(failed(error)));
        let later = |error| explain_row("reading", NextRowError::NextPageError(failed(error)));
        for (error, fault) in [
            (DbError::Unauthorized, Fault::Lasting),
            (DbError::Invalid, Fault::Lasting),
            (DbError::Overloaded, Fault::Passing),
        ] {
            for explained in [first(error.clone()), later(error)] {
                assert_eq!(explained.message, "reading: the server's words");
                assert_eq!(explained.fault, fault);
            }
        }
        assert!(first(DbError::Unauthorized).help.is_some_and(|help| help.contains("cassandra.username")));
        // What a node says that cannot just now.
        for (error, words, fault) in [
            (
                DbError::Unauthorized,
                "Unable to perform authorization of permissions: Cannot achieve consistency level LOCAL_ONE",
                Fault::Passing,
            ),
            (
                DbError::Invalid,
                "Write request failed because disk usage exceeds failure threshold",
                Fault::Passing,
            ),
            (
                DbError::Invalid,
                "Provided values [ONE] are not allowed for write_consistency_levels (disallowed values are: [ONE])",
                Fault::Lasting,
            ),
        ] {
            let attempt = RequestAttemptError::DbError(error, words.to_owned());
            let explained = explain("writing", &ExecutionError::LastAttemptError(attempt));
            assert_eq!(explained.fault, fault, "{words}");
            assert!(explained.help.is_some(), "{words}");
        }
        let not_sent = NextPageError::RequestFailure(RequestError::EmptyPlan);
        let explained = explain_row("reading", not_sent.into());
        assert!(explained.is_passing());
        assert!(explained.help.is_some_and(|help| help.contains("cassandra.data_center")));
    }
}
