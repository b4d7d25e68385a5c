//! Why a value does not fit its key.

use std::fmt::{self, Display};

use serde::de::{self, Expected, Unexpected};

use crate::config::problem::{Problem, Span};

/// The codes of all faults that a value alone can have.
const CODES: [&str; 6] = [
    "wrong-type",
    "bad-value",
    "out-of-range",
    "bad-duration",
    "bad-size",
    "bad-status",
];

/// Why a value does not fit its key. The reader adds the place.
#[derive(Debug)]
pub(super) struct ValueFault {
    /// A stable short name; empty when the fault is already reported.
    code: &'static str,
    message: String,
    help: Option<String>,
}

impl ValueFault {
    /// A fault of [`CODES`].
    pub(super) fn new(code: &'static str, message: impl Into<String>) -> Self {
        debug_assert!(CODES.contains(&code), "`{code}` is no code of a value");
        Self {
            code,
            message: message.into(),
            help: None,
        }
    }

    /// A value of another type than the key takes.
    pub(super) fn wrong_type(expected: impl Display, found: &str) -> Self {
        Self::new("wrong-type", format!("expected {expected}, found {found}"))
    }

    /// Nothing to add: what is wrong is already reported.
    pub(super) fn reported() -> Self {
        Self {
            code: "",
            message: String::new(),
            help: None,
        }
    }

    /// The same fault with a line on how to mend it.
    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The problem that this is at `span`.
    pub(super) fn at(self, span: Span) -> Option<Problem> {
        (!self.code.is_empty()).then(|| Problem {
            help: self.help,
            ..Problem::error(self.code, Some(span), self.message)
        })
    }
}

/// What [`de::Error::custom`] reads back: serde hands an error of a value on as text alone.
impl Display for ValueFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let help = self.help.as_deref().unwrap_or_default();
        write!(f, "{}\0{}\0{help}", self.code, self.message)
    }
}

impl std::error::Error for ValueFault {}

impl de::Error for ValueFault {
    fn custom<T: Display>(text: T) -> Self {
        let text = text.to_string();
        let mut parts = text.split('\0');
        let known = parts
            .next()
            .and_then(|code| CODES.into_iter().find(|known| *known == code));
        match (known, parts.next(), parts.next()) {
            (Some(code), Some(message), help) => Self {
                code,
                message: message.to_owned(),
                help: help.filter(|help| !help.is_empty()).map(str::to_owned),
            },
            _ => Self::new("bad-value", text),
        }
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let found = match found {
            Unexpected::Str(_) => "a string",
            Unexpected::Signed(_) | Unexpected::Unsigned(_) => "an integer",
            Unexpected::Float(_) => "a number",
            Unexpected::Bool(_) => "a boolean",
            Unexpected::Seq => "an array",
            Unexpected::Map => "a table",
            _ => "a date",
        };
        Self::wrong_type(expected, found)
    }
}
