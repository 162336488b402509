//! Why a query cannot be taken: what is wrong with it, or what of Spark is not answered natively.

use std::fmt;
use std::ops::Range;

/// Whether the query itself is wrong, or only not known to be answered as Spark answers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// Spark would refuse it, too.
    Invalid,
    /// Spark may answer it; natively the answer is not proven to be the same.
    Unsupported,
}

/// A mistake in a query, with its place in the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlError {
    /// Whose limit it is.
    pub kind: ErrorKind,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
    /// The bytes of the query's text that are meant.
    pub span: Range<usize>,
}

impl SqlError {
    pub(crate) fn invalid(message: impl Into<String>, span: Range<usize>) -> Self {
        Self { kind: ErrorKind::Invalid, message: message.into(), help: None, span }
    }

    pub(crate) fn unsupported(message: impl Into<String>, span: Range<usize>) -> Self {
        Self { kind: ErrorKind::Unsupported, message: message.into(), help: None, span }
    }

    #[must_use]
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl fmt::Display for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.help {
            Some(help) => write!(f, " ({help})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for SqlError {}
