//! The file as it was written: every value with its place, variables already replaced.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::config::expand::{self, Environment};
use crate::config::problem::{Problem, ProblemSink, Span};
use crate::config::scalar::Scalar;

/// Nothing in a configuration nests deeper than a handful of tables.
const DEEPEST: usize = 32;

/// One value and where it was written.
#[derive(Debug)]
pub(super) struct TomlNode {
    pub(super) value: TomlValue,
    pub(super) span: Span,
}

/// A value of the file.
#[derive(Debug)]
pub(super) enum TomlValue {
    Scalar(Scalar),
    Array(Vec<TomlNode>),
    Table(TomlTable),
    /// A value whose fault is already reported: readers pass over it without a word.
    Broken,
}

/// A table's entries, sorted by name.
pub(super) type TomlTable = Vec<TomlEntry>;

/// One entry of a table.
#[derive(Debug)]
pub(super) struct TomlEntry {
    pub(super) name: String,
    /// Where its key was written.
    pub(super) key: Span,
    pub(super) node: TomlNode,
}

impl TomlValue {
    /// The value's type, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Scalar(scalar) => scalar.kind(),
            Self::Array(_) => "an array",
            Self::Table(_) => "a table",
            Self::Broken => "nothing",
        }
    }
}

/// Where `table` has the entry called `name`, or where it belongs.
pub(super) fn position(table: &TomlTable, name: &str) -> Result<usize, usize> {
    table.binary_search_by(|entry| entry.name.as_str().cmp(name))
}

/// Parses the text of file number `file`. Every syntax error is reported; what could be read
/// comes back.
pub(super) fn parse(
    text: &str,
    file: u16,
    env: Environment<'_>,
    findings: &ProblemSink,
) -> (TomlTable, Span) {
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let span = error.span().unwrap_or(0..0);
        findings.error(
            "syntax",
            Span {
                file,
                start: span.start,
                end: span.end,
            },
            error.message(),
        );
    }
    let conversion = Conversion {
        text,
        file,
        env,
        findings,
    };
    let span = conversion.span(&table);
    (conversion.table(table.into_inner(), 0), span)
}

struct Conversion<'a> {
    text: &'a str,
    file: u16,
    env: Environment<'a>,
    findings: &'a ProblemSink,
}

impl Conversion<'_> {
    fn span<T>(&self, spanned: &Spanned<T>) -> Span {
        let span = spanned.span();
        Span {
            file: self.file,
            start: span.start,
            end: span.end,
        }
    }

    fn node(&self, value: Spanned<DeValue<'_>>, depth: usize) -> TomlNode {
        let span = self.span(&value);
        let value = match value.into_inner() {
            DeValue::String(text) => self.text(text.into_owned(), span),
            DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix())
                .map_or_else(
                    |_| self.broken(span, "this number is too large"),
                    |number| TomlValue::Scalar(Scalar::Integer(number)),
                ),
            DeValue::Float(float) => float.as_str().parse().map_or_else(
                |_| self.broken(span, "this number cannot be read"),
                |number| TomlValue::Scalar(Scalar::Float(number)),
            ),
            DeValue::Boolean(flag) => TomlValue::Scalar(Scalar::Boolean(flag)),
            DeValue::Datetime(_) => TomlValue::Scalar(Scalar::Other("a date")),
            _ if depth >= DEEPEST => self.broken(span, "tables nest too deep"),
            DeValue::Array(items) => TomlValue::Array(
                items
                    .into_iter()
                    .map(|item| self.node(item, depth + 1))
                    .collect(),
            ),
            DeValue::Table(table) => TomlValue::Table(self.table(table, depth + 1)),
        };
        TomlNode { value, span }
    }

    fn table(&self, table: DeTable<'_>, depth: usize) -> TomlTable {
        let entries = table.into_iter().map(|(key, value)| TomlEntry {
            key: self.span(&key),
            name: key.into_inner().into_owned(),
            node: self.node(value, depth),
        });
        entries.collect()
    }

    fn text(&self, text: String, span: Span) -> TomlValue {
        if !text.contains('$') {
            return TomlValue::Scalar(Scalar::Text(text));
        }
        match expand::expand(&text, self.env) {
            Ok(text) => TomlValue::Scalar(Scalar::Text(text)),
            Err(fault) => {
                // The caret goes under the variable itself where it stands in the file as is.
                let written = &self.text[span.start..span.end];
                let at = written.find(fault.reference).map_or(span, |offset| Span {
                    file: span.file,
                    start: span.start + offset,
                    end: span.start + offset + fault.reference.len(),
                });
                self.findings.push(Problem {
                    span: Some(at),
                    ..fault.problem
                });
                TomlValue::Broken
            }
        }
    }

    fn broken(&self, span: Span, message: &str) -> TomlValue {
        self.findings.error("bad-value", span, message);
        TomlValue::Broken
    }
}
