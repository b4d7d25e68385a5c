//! What is wrong with a configuration, where, and how to mend it.

use std::cell::RefCell;
use std::fmt;

use serde::Serialize;

use crate::config::{Config, SourceText, render};

/// One thing wrong, or worth a warning, in a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Refused, or only said.
    pub severity: Severity,
    /// A stable short name, such as `unknown-region`.
    pub code: &'static str,
    /// One sentence.
    pub message: String,
    /// Where; `None` when it concerns no line.
    pub span: Option<Span>,
    /// How to mend it.
    pub help: Option<String>,
}

impl Problem {
    /// A problem that stops the configuration from loading, at `span`.
    #[must_use]
    pub fn error(code: &'static str, span: Option<Span>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            code,
            message: message.into(),
            span,
            help: None,
        }
    }

    /// A problem that is only said, at `span`.
    #[must_use]
    pub fn warning(code: &'static str, span: Option<Span>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(code, span, message)
        }
    }

    /// The same problem with a line on how to mend it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// Whether a problem stops the configuration from loading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It does.
    Error,
    /// It does not.
    Warning,
}

/// A range of bytes of one file's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// Index into the files read, the main one first.
    pub file: u16,
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

/// Everything that is wrong with a configuration, with the texts it is wrong in. At least one
/// problem is an error when this stands in a `Result`'s `Err`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems {
    sources: Vec<SourceText>,
    list: Vec<Problem>,
}

/// One problem as JSON output shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlacedProblem {
    /// A stable short name, such as `unknown-region`.
    pub code: &'static str,
    /// Refused, or only said.
    pub severity: Severity,
    /// One sentence.
    pub message: String,
    /// The file, as it was named; absent when the problem concerns no file.
    pub file: Option<String>,
    /// Line, from 1.
    pub line: Option<usize>,
    /// Column in characters, from 1.
    pub column: Option<usize>,
    /// How to mend it.
    pub help: Option<String>,
}

impl Problems {
    /// Problems found in `sources`, put in the order of the files; those of no place come first.
    #[must_use]
    pub fn new(sources: Vec<SourceText>, mut list: Vec<Problem>) -> Self {
        list.sort_by(|one, other| {
            (one.span, one.severity, one.code).cmp(&(other.span, other.severity, other.code))
        });
        list.dedup();
        Self { sources, list }
    }

    /// Problems that a later step found in what a configuration names, such as an unreadable
    /// certificate; the place of each file is in [`Config::named_files`].
    #[must_use]
    pub fn from_config(config: &Config, list: Vec<Problem>) -> Self {
        Self::new(config.sources.clone(), list)
    }

    /// The problems, in the order of the files.
    #[must_use]
    pub fn list(&self) -> &[Problem] {
        &self.list
    }

    /// How many problems stop the configuration from loading.
    #[must_use]
    pub fn errors(&self) -> usize {
        let errors = |problem: &&Problem| problem.severity == Severity::Error;
        self.list.iter().filter(errors).count()
    }

    /// Each problem with its line and caret, as rustc shows them, and a last line that counts;
    /// `color` adds ANSI colours.
    #[must_use]
    pub fn render(&self, color: bool) -> String {
        let mut text = render::problems(&self.sources, &self.list, color);
        text.push_str(&self.summary());
        text.push('\n');
        text
    }

    /// The counts as one line: `meridian: 2 errors, 1 warning`.
    #[must_use]
    pub fn summary(&self) -> String {
        let errors = self.errors();
        let warnings = self.list.len() - errors;
        let count = |number: usize, word: &str| {
            format!("{number} {word}{}", if number == 1 { "" } else { "s" })
        };
        match (errors, warnings) {
            (_, 0) => format!("meridian: {}", count(errors, "error")),
            (0, _) => format!("meridian: {}", count(warnings, "warning")),
            _ => format!(
                "meridian: {}, {}",
                count(errors, "error"),
                count(warnings, "warning")
            ),
        }
    }

    /// The problems with file, line and column, for JSON output.
    #[must_use]
    pub fn placed(&self) -> Vec<PlacedProblem> {
        self.list
            .iter()
            .map(|problem| {
                let place = problem
                    .span
                    .and_then(|span| render::place(&self.sources, span));
                PlacedProblem {
                    code: problem.code,
                    severity: problem.severity,
                    message: problem.message.clone(),
                    file: place.as_ref().map(|place| place.file.clone()),
                    line: place.as_ref().map(|place| place.line),
                    column: place.as_ref().map(|place| place.column),
                    help: problem.help.clone(),
                }
            })
            .collect()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Problems {}

/// Where the parts of one load put what they find, so that one mistake never hides the next.
#[derive(Debug, Default)]
pub(super) struct Report(RefCell<Vec<Problem>>);

impl Report {
    /// Adds one problem.
    pub(super) fn push(&self, problem: Problem) {
        self.0.borrow_mut().push(problem);
    }

    /// Adds an error at `span`.
    pub(super) fn error(&self, code: &'static str, span: Span, message: impl Into<String>) {
        self.push(Problem::error(code, Some(span), message));
    }

    /// All that was found.
    pub(super) fn into_list(self) -> Vec<Problem> {
        self.0.into_inner()
    }
}

/// The word of `known` that `written` was probably meant to be.
#[must_use]
pub(super) fn nearest<'k>(
    written: &str,
    known: impl IntoIterator<Item = &'k str>,
) -> Option<&'k str> {
    known
        .into_iter()
        .map(|word| (strsim::damerau_levenshtein(written, word), word))
        // A third of the letters wrong is still a slip; more is another word.
        .filter(|(distance, word)| *distance <= word.len().max(written.len()).div_ceil(3))
        .min()
        .map(|(_, word)| word)
}
