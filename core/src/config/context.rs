//! What every check needs: the files, the world, and where to say what is wrong.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::config::field::Field;
use crate::config::problem::{Problem, ProblemSink, Span};
use crate::config::quantity::FilePath;
use crate::config::source::{Reader, SourceFiles, reason};
use crate::config::value;

/// What every check needs: the files, the world, and where to say what is wrong.
pub(super) struct CheckContext<'a> {
    pub(super) sources: &'a SourceFiles,
    pub(super) reader: &'a Reader<'a>,
    pub(super) findings: &'a ProblemSink,
    named_files: RefCell<BTreeMap<PathBuf, Span>>,
}

impl<'a> CheckContext<'a> {
    pub(super) fn new(
        sources: &'a SourceFiles,
        reader: &'a Reader<'a>,
        findings: &'a ProblemSink,
    ) -> Self {
        Self {
            sources,
            reader,
            findings,
            named_files: RefCell::default(),
        }
    }

    /// Adds an error at `span`.
    pub(super) fn fault(&self, code: &'static str, span: Span, message: impl Into<String>) {
        self.findings.error(code, span, message);
    }

    /// Adds an error at `span` with a line on how to mend it.
    pub(super) fn error(
        &self,
        code: &'static str,
        span: Span,
        message: impl Into<String>,
        help: &str,
    ) {
        self.findings
            .push(Problem::error(code, Some(span), message).help(help));
    }

    /// Adds an error of no place: something is missing in the whole file.
    pub(super) fn missing(&self, code: &'static str, message: &str, help: &str) {
        self.findings
            .push(Problem::error(code, None, message).help(help));
    }

    /// Adds a warning at `span`.
    pub(super) fn warn(&self, code: &'static str, span: Span, message: &str, help: &str) {
        self.findings
            .push(Problem::warning(code, Some(span), message).help(help));
    }

    /// The file that `field` names, remembered with its place.
    pub(super) fn path(&self, field: &Field<FilePath>) -> Option<PathBuf> {
        let (path, span) = field.written()?;
        if path.0.is_empty() {
            self.fault("bad-value", span, "this names no file");
            return None;
        }
        let path = self.sources.relative(&path.0, span);
        self.named_files
            .borrow_mut()
            .entry(path.clone())
            .or_insert(span);
        Some(path)
    }

    /// The path under `field`, of what is written and not only read: nothing to watch.
    pub(super) fn written_path(&self, field: &Field<FilePath>) -> Option<PathBuf> {
        let (path, span) = field.written()?;
        Some(self.sources.relative(&path.0, span))
    }

    /// Says so when `name` cannot be a `Host`.
    pub(super) fn authority(&self, name: &str, span: Span) {
        if !value::is_authority(name) {
            let message = format!("`{name}` is not a host");
            let help = "write a name, perhaps with a port: \"api.example.com\"";
            self.error("bad-host", span, message, help);
        }
    }

    /// The text of a file that the configuration names.
    pub(super) fn text_of(&self, field: &Field<FilePath>) -> Option<String> {
        let path = self.path(field)?;
        match (self.reader.read)(&path) {
            Ok(text) => Some(text),
            Err(error) => {
                let message = format!("{}: {}", path.display(), reason(&error));
                self.fault("unreadable", field.written()?.1, message);
                None
            }
        }
    }

    /// Every file that the configuration names.
    pub(super) fn into_named_files(self) -> BTreeMap<PathBuf, Span> {
        self.named_files.into_inner()
    }
}
