//! Where people type: lines that can be edited and found again, words that complete themselves.

use std::io;

use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::MemHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Behavior, CompletionType, Config, Context, Editor, Helper};

use super::statements::is_whole;

/// A terminal at which statements are typed. What was typed is remembered until the end, not longer.
pub(super) struct Prompt(Editor<Hand, MemHistory>);

impl Prompt {
    /// Tab completes one of `words`.
    pub(super) fn new(words: Vec<String>) -> io::Result<Self> {
        // The prompt is no answer: it goes to the terminal wherever standard output goes.
        let config = Config::builder()
            .behavior(Behavior::PreferTerm)
            .completion_type(CompletionType::List)
            .auto_add_history(true)
            .build();
        let history = MemHistory::with_config(&config);
        let mut editor = Editor::with_history(config, history).map_err(failed)?;
        editor.set_helper(Some(Hand { words }));
        Ok(Self(editor))
    }

    /// Lines up to the end of a statement, the first of which begins with `begun`; `None` at Ctrl-D.
    /// Ctrl-C throws away what has been typed.
    pub(super) fn read(&mut self, begun: &str) -> io::Result<Option<String>> {
        let mut begun = begun;
        loop {
            match self.0.readline_with_initial("sql> ", (begun, "")) {
                Ok(lines) => return Ok(Some(lines)),
                Err(ReadlineError::Interrupted) => begun = "",
                Err(ReadlineError::Eof) => return Ok(None),
                Err(error) => return Err(failed(error)),
            }
        }
    }
}

fn failed(error: ReadlineError) -> io::Error {
    match error {
        ReadlineError::Io(error) => error,
        other => io::Error::other(other.to_string()),
    }
}

/// Helps to type.
struct Hand {
    words: Vec<String>,
}

impl Helper for Hand {}

impl Highlighter for Hand {}

impl Hinter for Hand {
    type Hint = String;
}

impl Validator for Hand {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        Ok(match is_whole(context.input()) {
            true => ValidationResult::Valid(None),
            false => ValidationResult::Incomplete,
        })
    }
}

impl Completer for Hand {
    type Candidate = String;

    fn complete(&self, line: &str, at: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        let is_part = |c: char| c.is_alphanumeric() || c == '_';
        let start = line[..at]
            .rfind(|c| !is_part(c))
            .map_or(0, |before| before + line[before..].chars().next().map_or(0, char::len_utf8));
        let typed = line[start..at].to_lowercase();
        let fits = |word: &&String| !typed.is_empty() && word.to_lowercase().starts_with(&typed);
        Ok((start, self.words.iter().filter(fits).cloned().collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_completed_where_it_stands() {
        let hand = Hand { words: ["first_name", "first", "from_json"].map(str::to_owned).to_vec() };
        let history = MemHistory::new();
        for (line, start, words) in [
            ("SELECT FIR", 7, vec!["first_name", "first"]),
            ("SELECT é(from_", 10, vec!["from_json"]),
            ("SELECT ", 7, vec![]),
        ] {
            let found = hand.complete(line, line.len(), &Context::new(&history)).expect("words");
            assert_eq!(found, (start, words.into_iter().map(str::to_owned).collect()), "{line}");
        }
    }
}
