//! The file as it was written: every value with its place, variables already replaced.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::config::expand::{self, Environment};
use crate::config::problem::{Findings, Problem, Span};

/// Nothing in a configuration nests deeper than a handful of tables.
const DEEPEST: usize = 32;

/// One value and where it was written.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) span: Span,
}

/// A value of the file.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Text(String),
    Integer(i64),
    Float(f64),
    Flag(bool),
    Date,
    Array(Vec<Node>),
    Table(Table),
    /// A value whose fault is already reported: readers pass over it without a word.
    Broken,
}

/// A table's entries by key.
pub(super) type Table = BTreeMap<String, Entry>;

/// One entry of a table.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// Where its key was written.
    pub(super) key: Span,
    pub(super) node: Node,
}

impl Value {
    /// The value's type, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a string",
            Self::Integer(_) => "an integer",
            Self::Float(_) => "a number",
            Self::Flag(_) => "a boolean",
            Self::Date => "a date",
            Self::Array(_) => "an array",
            Self::Table(_) => "a table",
            Self::Broken => "nothing",
        }
    }
}

/// Parses the text of file number `file`. Every syntax error is reported; what could be read
/// comes back.
pub(super) fn parse(text: &str, file: u16, env: Environment<'_>, report: &Findings) -> Node {
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let span = error.span().unwrap_or(0..0);
        report.error(
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
        report,
    };
    let span = conversion.span(&table);
    let value = conversion.table(table.into_inner(), 0);
    Node { value, span }
}

struct Conversion<'a> {
    text: &'a str,
    file: u16,
    env: Environment<'a>,
    report: &'a Findings,
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

    fn node(&self, value: Spanned<DeValue<'_>>, depth: usize) -> Node {
        let span = self.span(&value);
        let value = match value.into_inner() {
            DeValue::String(text) => self.text(&text, span),
            DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix())
                .map_or_else(
                    |_| self.broken(span, "this number is too large"),
                    Value::Integer,
                ),
            DeValue::Float(float) => float.as_str().parse().map_or_else(
                |_| self.broken(span, "this number cannot be read"),
                Value::Float,
            ),
            DeValue::Boolean(flag) => Value::Flag(flag),
            DeValue::Datetime(_) => Value::Date,
            _ if depth >= DEEPEST => self.broken(span, "tables nest too deep"),
            DeValue::Array(items) => Value::Array(
                items
                    .into_iter()
                    .map(|item| self.node(item, depth + 1))
                    .collect(),
            ),
            DeValue::Table(table) => self.table(table, depth + 1),
        };
        Node { value, span }
    }

    fn table(&self, table: DeTable<'_>, depth: usize) -> Value {
        let entries = table.into_iter().map(|(key, value)| {
            let entry = Entry {
                key: self.span(&key),
                node: self.node(value, depth),
            };
            (key.into_inner().into_owned(), entry)
        });
        Value::Table(entries.collect())
    }

    fn text(&self, text: &str, span: Span) -> Value {
        match expand::expand(text, self.env) {
            Ok(text) => Value::Text(text),
            Err(fault) => {
                // The caret goes under the variable itself where it stands in the file as is.
                let written = &self.text[span.start..span.end];
                let at = written.find(&fault.reference).map_or(span, |offset| Span {
                    file: span.file,
                    start: span.start + offset,
                    end: span.start + offset + fault.reference.len(),
                });
                let problem = Problem::error(fault.code, Some(at), fault.message);
                self.report.push(Problem {
                    help: fault.help,
                    ..problem
                });
                Value::Broken
            }
        }
    }

    fn broken(&self, span: Span, message: &str) -> Value {
        self.report.error("bad-value", span, message);
        Value::Broken
    }
}
