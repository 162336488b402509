//! Mistakes in a pipeline file, each shown with its line, what is wrong and what to write.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The pipeline cannot run.
    Error,
    /// It runs, but perhaps not as meant.
    Warning,
}

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
    /// The bytes of the file that are meant.
    pub span: Range<usize>,
}

impl Diagnostic {
    /// A mistake that keeps the pipeline from running.
    pub fn error(message: impl Into<String>, span: Range<usize>) -> Self {
        Self { severity: Severity::Error, message: message.into(), help: None, span }
    }

    /// Something that is perhaps not as meant.
    pub fn warning(message: impl Into<String>, span: Range<usize>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(message, span) }
    }

    /// Adds what to write instead.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// All mistakes of a file.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// As the user named the file.
    pub path: String,
    /// Its text.
    pub text: String,
    /// In the order in which they were found.
    pub diagnostics: Vec<Diagnostic>,
}

impl Report {
    /// Whether anything keeps the pipeline from running.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|found| found.severity == Severity::Error)
    }

    /// The mistakes in the order of the file, for people.
    pub fn render(&self, colours: bool) -> String {
        let renderer = if colours { Renderer::styled() } else { Renderer::plain() };
        let mut diagnostics: Vec<_> = self.diagnostics.iter().collect();
        diagnostics.sort_by_key(|found| (found.severity, found.span.start));
        let mut out = String::new();
        for found in diagnostics {
            let level = match found.severity {
                Severity::Error => Level::ERROR,
                Severity::Warning => Level::WARNING,
            };
            let end = found.span.end.min(self.text.len());
            let span = found.span.start.min(end)..end;
            let snippet =
                Snippet::source(&self.text).path(&self.path).annotation(AnnotationKind::Primary.span(span));
            let mut group = level.primary_title(&found.message).element(snippet);
            if let Some(help) = &found.help {
                group = group.element(Level::HELP.message(help));
            }
            out.push_str(&renderer.render(&[group]));
            out.push_str("\n\n");
        }
        out
    }
}
