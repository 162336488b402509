//! Mistakes in a pipeline file, each shown with its line, what is wrong and what to write.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

use crate::values::Secrets;

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
    /// What is not to be shown of it.
    pub secrets: Secrets,
}

impl Report {
    /// Whether anything keeps the pipeline from running.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|found| found.severity == Severity::Error)
    }

    /// The mistakes in the order of the file, for people; secrets are hidden.
    pub fn render(&self, colours: bool) -> String {
        let renderer = if colours { Renderer::styled() } else { Renderer::plain() };
        let mut diagnostics: Vec<_> = self.diagnostics.iter().collect();
        diagnostics.sort_by_key(|found| (found.severity, found.span.start));
        // Before it is laid out: a long line is cut, and half a secret would not be known as one.
        let source = self.secrets.cover(&self.text);
        let mut out = String::new();
        for found in diagnostics {
            let level = match found.severity {
                Severity::Error => Level::ERROR,
                Severity::Warning => Level::WARNING,
            };
            let end = found.span.end.min(source.len());
            let span = found.span.start.min(end)..end;
            let snippet =
                Snippet::source(&source).path(&self.path).annotation(AnnotationKind::Primary.span(span));
            let mut group = level.primary_title(self.secrets.mask(&found.message)).element(snippet);
            if let Some(help) = &found.help {
                group = group.element(Level::HELP.message(self.secrets.mask(help)));
            }
            out.push_str(&renderer.render(&[group]));
            out.push_str("\n\n");
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden_and_what_is_behind_them_is_still_pointed_at() {
        let text = "kafka: { password: hunter22, brokrs: x }\n";
        let at = text.find("brokrs").expect("it is there");
        let mistake = Diagnostic::error("unknown key `brokrs` behind hunter22", at..at + 6);
        let mut secrets = Secrets::default();
        secrets.add("hunter22");
        let report = Report {
            path: "p.yaml".to_owned(),
            text: text.to_owned(),
            diagnostics: vec![mistake.help("write brokers: and not hunter22")],
            secrets,
        };
        for colours in [false, true] {
            assert!(!report.render(colours).contains("hunter22"), "{}", report.render(colours));
        }
        let shown = report.render(false);
        let place = format!("p.yaml:1:{}", at + 1);
        for part in ["behind ***\n", "and not ***\n", "password: ********, ", place.as_str()] {
            assert!(shown.contains(part), "{part}\n{shown}");
        }
        let column = |part: &str| shown.lines().find_map(|line| line.find(part)).expect("it is there");
        assert_eq!(column("brokrs: x"), column("^^^^^^"), "{shown}");
    }
}
