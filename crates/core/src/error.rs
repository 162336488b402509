//! What went wrong, whose fault it is, whether a retry helps, and what to do next.
//! An [`Error`] is about a component; what is wrong with one record is a [`crate::Reason`].

use std::fmt;

/// The result of everything in Millstream that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Whose fault a failure is; it decides what happens next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The user asked for something that cannot be: the flow does not start (exit 2).
    User,
    /// A service is down, overloaded or slow: retried for as long as it takes.
    Passing,
    /// A service says no and will say no again: the flow stops and commits nothing.
    Lasting,
    /// An invariant of ours is broken: a bug.
    Ours,
}

/// A failure with everything a person needs to act on it.
#[derive(Debug, Clone)]
pub struct Error {
    /// Whose fault it is.
    pub fault: Fault,
    /// What was attempted, with the offending value.
    pub message: String,
    /// What to try next.
    pub help: Option<String>,
    /// Where it happened, from the outside in: `flow store`, `topic users_created`.
    pub place: Vec<String>,
}

impl Error {
    /// A failure of kind `fault`.
    pub fn new(fault: Fault, message: impl Into<String>) -> Self {
        Self { fault, message: message.into(), help: None, place: Vec::new() }
    }

    /// The user asked for something that cannot be.
    pub fn user(message: impl Into<String>) -> Self {
        Self::new(Fault::User, message)
    }

    /// The outside world does not answer now; a retry may help.
    pub fn passing(message: impl Into<String>) -> Self {
        Self::new(Fault::Passing, message)
    }

    /// The outside world says no; a retry does not help.
    pub fn lasting(message: impl Into<String>) -> Self {
        Self::new(Fault::Lasting, message)
    }

    /// A broken invariant of ours.
    pub fn ours(message: impl Into<String>) -> Self {
        Self::new(Fault::Ours, message)
    }

    /// Adds what to try next.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds where it happened, around the places already known.
    #[must_use]
    pub fn at(mut self, place: impl Into<String>) -> Self {
        self.place.insert(0, place.into());
        self
    }

    /// Whether waiting and trying again may succeed.
    pub fn is_passing(&self) -> bool {
        self.fault == Fault::Passing
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for place in &self.place {
            write!(f, "{place}: ")?;
        }
        f.write_str(&self.message)?;
        match &self.help {
            Some(help) => write!(f, " ({help})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_from_the_outside_in_and_ends_with_the_next_step() {
        let error = Error::passing("no answer").help("is it running?").at("topic t").at("flow f");
        assert_eq!(error.to_string(), "flow f: topic t: no answer (is it running?)");
    }
}
