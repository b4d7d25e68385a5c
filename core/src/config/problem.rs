//! One thing wrong with a configuration, where, and how to mend it.

use std::cell::RefCell;

use serde::Serialize;

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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// Index into the files read, the main one first.
    pub file: u16,
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

/// Where the parts of one load put what they find, so that one mistake never hides the next.
#[derive(Debug, Default)]
pub(super) struct ProblemSink(RefCell<Vec<Problem>>);

impl ProblemSink {
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
