//! What was found when a service was asked whether a pipeline would run on it.

use crate::Error;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// As it should be.
    Fine,
    /// The pipeline runs; somebody should know.
    Doubtful,
    /// The pipeline would fail.
    Wrong,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// What was found, and what was expected where that is something else.
    pub what: String,
    /// What to do.
    pub help: Option<String>,
}

impl Finding {
    /// Something is as it should be.
    pub fn fine(what: impl Into<String>) -> Self {
        Self { level: Level::Fine, what: what.into(), help: None }
    }

    /// Something should be known.
    pub fn doubtful(what: impl Into<String>, help: impl Into<String>) -> Self {
        Self { level: Level::Doubtful, what: what.into(), help: Some(help.into()) }
    }

    /// Something would fail.
    pub fn wrong(what: impl Into<String>, help: impl Into<String>) -> Self {
        Self { level: Level::Wrong, what: what.into(), help: Some(help.into()) }
    }
}

impl From<Error> for Finding {
    fn from(error: Error) -> Self {
        Self { level: Level::Wrong, what: error.message, help: error.help }
    }
}
