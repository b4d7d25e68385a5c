//! All that is wrong with a configuration, as people and programs read it.

use std::fmt;

use serde::Serialize;

use crate::config::problem::{Problem, Severity};
use crate::config::render;
use crate::config::source::SourceText;

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
