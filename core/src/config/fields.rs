//! Reads a table of the file by its description; what does not fit is reported, not returned.

use std::time::Duration;

use crate::config::keys::{Kind, Section};
use crate::config::problem::{Findings, Problem, Span, nearest};
use crate::config::tree::{Node, Table, Value};
use crate::config::value;

/// One table, its description, and where to report.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'a> {
    table: &'a Table,
    /// Where the table was written.
    pub(super) span: Span,
    section: &'static Section,
    report: &'a Findings,
}

/// One entry of a table whose keys are the user's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Named<'a> {
    pub(super) name: &'a str,
    /// Where the key was written.
    pub(super) key: Span,
    pub(super) node: &'a Node,
}

/// A text and where it was written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text<'a> {
    pub(super) text: &'a str,
    pub(super) span: Span,
}

impl<'a> Fields<'a> {
    /// The table `table`, whose unknown and missing keys are reported.
    pub(super) fn new(
        table: &'a Table,
        span: Span,
        section: &'static Section,
        report: &'a Findings,
    ) -> Self {
        for (name, entry) in table {
            if section.key(name).is_none() {
                report.push(unknown_key(name, entry.key, section));
            }
        }
        for key in section.keys.iter().filter(|key| key.required) {
            if !table.contains_key(key.name) {
                report.error(
                    "missing-key",
                    span,
                    format!("`{}` is missing here", key.name),
                );
            }
        }
        Self {
            table,
            span,
            section,
            report,
        }
    }

    fn open(node: &'a Node, section: &'static Section, report: &'a Findings) -> Option<Self> {
        match &node.value {
            Value::Table(table) => Some(Self::new(table, node.span, section, report)),
            _ => wrong_type(report, node, "a table", None),
        }
    }

    /// The value of `key`, if it was written.
    pub(super) fn node(&self, key: &str) -> Option<&'a Node> {
        debug_assert!(self.section.key(key).is_some(), "`{key}` is not described");
        self.table.get(key).map(|entry| &entry.node)
    }

    /// Where the key `key` was written.
    pub(super) fn key_span(&self, key: &str) -> Option<Span> {
        self.table.get(key).map(|entry| entry.key)
    }

    /// Where the value of `key` was written, or else the table.
    pub(super) fn place(&self, key: &str) -> Span {
        self.table
            .get(key)
            .map_or(self.span, |entry| entry.node.span)
    }

    fn kind(&self, key: &str) -> Option<Kind> {
        self.section.key(key).map(|key| key.kind)
    }

    /// A string.
    pub(super) fn text(&self, key: &str) -> Option<Text<'a>> {
        text(self.node(key)?, "a string", self.report)
    }

    /// One of the described words.
    pub(super) fn word(&self, key: &str) -> Option<&'static str> {
        let Some(Kind::Word(words)) = self.kind(key) else {
            return None;
        };
        let written = self.text(key)?;
        let found = words.iter().find(|word| **word == written.text).copied();
        if found.is_none() {
            let message = format!("`{}` is none of {}", written.text, quoted(words));
            let problem = Problem::error("bad-value", Some(written.span), message);
            self.report
                .push(match nearest(written.text, words.iter().copied()) {
                    Some(word) => problem.help(format!("did you mean `{word}`?")),
                    None => problem,
                });
        }
        found
    }

    /// `true` or `false`, also as a string, where a variable was replaced.
    pub(super) fn flag(&self, key: &str) -> Option<bool> {
        let node = self.node(key)?;
        match &node.value {
            Value::Flag(flag) => Some(*flag),
            Value::Text(text) if text == "true" => Some(true),
            Value::Text(text) if text == "false" => Some(false),
            _ => wrong_type(self.report, node, "`true` or `false`", None),
        }
    }

    /// A whole number within the described range, also as a string.
    pub(super) fn integer(&self, key: &str) -> Option<u64> {
        match self.kind(key) {
            Some(Kind::Integer(least, most)) => {
                integer(self.node(key)?, (least, most), self.report)
            }
            _ => None,
        }
    }

    /// A share from 0 to 1, also as `"20%"`.
    pub(super) fn share(&self, key: &str) -> Option<f64> {
        let node = self.node(key)?;
        let share = match &node.value {
            Value::Float(number) => (0.0..=1.0).contains(number).then_some(*number),
            Value::Integer(0) => Some(0.0),
            Value::Integer(1) => Some(1.0),
            Value::Integer(_) => None,
            Value::Text(text) => value::share(text),
            _ => return wrong_type(self.report, node, "a number from 0 to 1", None),
        };
        self.or_problem(
            share,
            node,
            "out-of-range",
            "a share is from 0 to 1, or from \"0%\" to \"100%\"",
        )
    }

    /// Degrees within the described range.
    pub(super) fn degrees(&self, key: &str) -> Option<f32> {
        let Some(Kind::Degrees(most)) = self.kind(key) else {
            return None;
        };
        let node = self.node(key)?;
        let number = match &node.value {
            Value::Float(number) => Some(*number),
            Value::Integer(number) => i32::try_from(*number).ok().map(f64::from),
            Value::Text(text) => text.parse().ok(),
            _ => return wrong_type(self.report, node, "a number", None),
        };
        let number = number.filter(|number| (-most..=most).contains(number));
        let message = format!("`{key}` is from -{most} to {most} degrees");
        // Six digits are a metre: more than any policy asks for.
        self.or_problem(
            number.map(|number| number as f32),
            node,
            "out-of-range",
            &message,
        )
    }

    /// A duration with a unit, at least the described one.
    pub(super) fn duration(&self, key: &str) -> Option<Duration> {
        let Some(Kind::Duration(least)) = self.kind(key) else {
            return None;
        };
        let node = self.node(key)?;
        let help = "write a number and a unit: \"250ms\", \"5s\", \"10m\", \"24h\"";
        let Value::Text(text) = &node.value else {
            return wrong_type(self.report, node, "a duration", Some(help));
        };
        let Some(duration) = value::duration(text) else {
            let message = format!("`{text}` is not a duration");
            self.report
                .push(Problem::error("bad-duration", Some(node.span), message).help(help));
            return None;
        };
        let enough = (duration >= least).then_some(duration);
        let message = format!("`{key}` is at least {least:?}");
        self.or_problem(enough, node, "out-of-range", &message)
    }

    /// A number of bytes, at least the described one.
    pub(super) fn size(&self, key: &str) -> Option<usize> {
        let Some(Kind::Size(least)) = self.kind(key) else {
            return None;
        };
        let node = self.node(key)?;
        let help = "write bytes, or a number and a unit: \"64KiB\", \"10MB\"";
        let bytes = match &node.value {
            Value::Integer(bytes) => u64::try_from(*bytes).ok(),
            Value::Text(text) => value::size(text),
            _ => return wrong_type(self.report, node, "a size", Some(help)),
        };
        let Some(bytes) = bytes.and_then(|bytes| usize::try_from(bytes).ok()) else {
            let problem = Problem::error("bad-size", Some(node.span), "this is not a size");
            self.report.push(problem.help(help));
            return None;
        };
        let enough = (bytes as u64 >= least).then_some(bytes);
        let message = format!("`{key}` is at least {least} bytes");
        self.or_problem(enough, node, "out-of-range", &message)
    }

    /// A list of strings; `None` when the key was not written.
    pub(super) fn texts(&self, key: &str) -> Option<Vec<Text<'a>>> {
        Some(texts(self.node(key)?, self.report))
    }

    /// The table under `key`.
    pub(super) fn section(&self, key: &str) -> Option<Self> {
        match self.kind(key) {
            Some(Kind::Table(section)) => Self::open(self.node(key)?, section, self.report),
            _ => None,
        }
    }

    /// The tables under `[[key]]`.
    pub(super) fn sections(&self, key: &str) -> Vec<Self> {
        match (self.kind(key), self.node(key)) {
            (Some(Kind::Tables(section)), Some(node)) => {
                let expected = format!("an array of tables (`[[{key}]]`)");
                tables(node, section, &expected, self.report)
            }
            _ => Vec::new(),
        }
    }

    /// The one table under `key`, or the several of its array.
    pub(super) fn one_or_more(&self, key: &str) -> Option<OneOrMore<'a>> {
        let Some(Kind::TableOrTables(one, many)) = self.kind(key) else {
            return None;
        };
        let node = self.node(key)?;
        match &node.value {
            Value::Array(_) => Some(OneOrMore::More(tables(node, many, "an array", self.report))),
            _ => Self::open(node, one, self.report).map(OneOrMore::One),
        }
    }

    /// The entries of a table whose keys are the user's, in order of those keys.
    pub(super) fn entries(&self, key: &str) -> Vec<Named<'a>> {
        let Some(node) = self.node(key) else {
            return Vec::new();
        };
        let Value::Table(table) = &node.value else {
            let none: Option<()> = wrong_type(self.report, node, "a table", None);
            debug_assert!(none.is_none());
            return Vec::new();
        };
        table
            .iter()
            .map(|(name, entry)| Named {
                name,
                key: entry.key,
                node: &entry.node,
            })
            .collect()
    }

    /// The tables under `[key.NAME]`, each with its name.
    pub(super) fn named(&self, key: &str) -> Vec<(Named<'a>, Self)> {
        let Some(Kind::Named(_, section)) = self.kind(key) else {
            return Vec::new();
        };
        let entries = self.entries(key).into_iter();
        entries
            .filter_map(|entry| Some((entry, Self::open(entry.node, section, self.report)?)))
            .collect()
    }

    fn or_problem<T>(
        &self,
        value: Option<T>,
        node: &Node,
        code: &'static str,
        message: &str,
    ) -> Option<T> {
        if value.is_none() {
            self.report.error(code, node.span, message);
        }
        value
    }
}

/// What stands under a key that takes one table or several.
#[derive(Clone, Debug)]
pub(super) enum OneOrMore<'a> {
    One(Fields<'a>),
    More(Vec<Fields<'a>>),
}

fn tables<'a>(
    node: &'a Node,
    section: &'static Section,
    expected: &str,
    report: &'a Findings,
) -> Vec<Fields<'a>> {
    let Value::Array(items) = &node.value else {
        return wrong_type(report, node, expected, None).unwrap_or_default();
    };
    let open = |item| Fields::open(item, section, report);
    items.iter().filter_map(open).collect()
}

/// A string; `expected` says what for.
pub(super) fn text<'a>(node: &'a Node, expected: &str, report: &Findings) -> Option<Text<'a>> {
    match &node.value {
        Value::Text(text) => Some(Text {
            text,
            span: node.span,
        }),
        _ => wrong_type(report, node, expected, None),
    }
}

/// The strings of an array.
pub(super) fn texts<'a>(node: &'a Node, report: &Findings) -> Vec<Text<'a>> {
    let Value::Array(items) = &node.value else {
        let help = matches!(node.value, Value::Text(_)).then_some("put it in brackets: [\"..\"]");
        return wrong_type(report, node, "an array of strings", help).unwrap_or_default();
    };
    let item = |item| text(item, "a string", report);
    items.iter().filter_map(item).collect()
}

/// How many items an array has; 0 for other values.
pub(super) fn count(node: &Node) -> usize {
    match &node.value {
        Value::Array(items) => items.len(),
        _ => 0,
    }
}

/// A whole number from `range`, both ends included, also as a string.
pub(super) fn integer(node: &Node, range: (u64, u64), report: &Findings) -> Option<u64> {
    let (least, most) = range;
    let number = match &node.value {
        Value::Integer(number) => u64::try_from(*number).ok(),
        Value::Text(text) if text.parse::<i64>().is_ok() => text.parse().ok(),
        _ => return wrong_type(report, node, "an integer", None),
    };
    let number = number.filter(|number| (least..=most).contains(number));
    if number.is_none() {
        let message = format!("this is from {least} to {most}");
        report.error("out-of-range", node.span, message);
    }
    number
}

/// Says that `node` is of another type than `expected`; always `None`.
pub(super) fn wrong_type<T>(
    report: &Findings,
    node: &Node,
    expected: &str,
    help: Option<&str>,
) -> Option<T> {
    if !matches!(node.value, Value::Broken) {
        let message = format!("expected {expected}, found {}", node.value.kind());
        let problem = Problem::error("wrong-type", Some(node.span), message);
        report.push(Problem {
            help: help.map(str::to_owned),
            ..problem
        });
    }
    None
}

fn unknown_key(name: &str, span: Span, section: &Section) -> Problem {
    let known = || section.keys.iter().map(|key| key.name);
    let problem = Problem::error("unknown-key", Some(span), format!("unknown key `{name}`"));
    match nearest(name, known()) {
        Some(word) => problem.help(format!("did you mean `{word}`?")),
        None => {
            let known: Vec<_> = known().collect();
            problem.help(format!("known here: {}", known.join(", ")))
        }
    }
}

fn quoted(words: &[&str]) -> String {
    let quoted: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
    quoted.join(", ")
}
