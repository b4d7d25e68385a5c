//! The three tables and their rows.

use std::path::Path;

use serde_json::{Value, json};

use crate::cell;
use crate::day::{Day, ordinary, play, second};
use crate::fault::Fault;
use crate::measure::Numbers;
use crate::process::Running;
use crate::proxy::Proxy;
use crate::rows::FAULTS;
use crate::timing::Timing;

/// One of the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Suite {
    BadDays,
    SecondIncidents,
    OrdinaryDays,
}

/// Every table, in order.
pub(crate) const SUITES: [Suite; 3] = [Suite::BadDays, Suite::SecondIncidents, Suite::OrdinaryDays];

/// One row of a table.
#[derive(Clone, Debug)]
pub(crate) enum Scenario {
    Fault(Fault),
    Day(Box<Day>),
}

/// What a cell says.
pub(crate) struct Mark {
    pub(crate) meets_bar: bool,
    /// In the table.
    pub(crate) short: String,
    /// Every number on one line.
    pub(crate) long: String,
    /// Every number for other programs.
    pub(crate) json: Value,
}

/// A cell, or why there is none; nothing where the proxy cannot have such regions.
pub(crate) type Judged = Option<Result<Mark, String>>;

impl Suite {
    /// The word on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::BadDays => "bad",
            Self::SecondIncidents => "second",
            Self::OrdinaryDays => "ordinary",
        }
    }

    /// The heading of the table.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::BadDays => "Bad days",
            Self::SecondIncidents => "Second incidents",
            Self::OrdinaryDays => "Ordinary days",
        }
    }

    /// The head of the first column.
    pub(crate) fn head(self) -> &'static str {
        match self {
            Self::BadDays => "fault in the preferred region",
            Self::SecondIncidents => "what happens",
            Self::OrdinaryDays => "ordinary day",
        }
    }

    /// Every row, in order.
    pub(crate) fn scenarios(self) -> Vec<Scenario> {
        let days = |days: Vec<Day>| {
            let each = days.into_iter().map(|day| Scenario::Day(Box::new(day)));
            each.collect()
        };
        match self {
            Self::BadDays => FAULTS.iter().copied().map(Scenario::Fault).collect(),
            Self::SecondIncidents => days(second::days()),
            Self::OrdinaryDays => days(ordinary::days()),
        }
    }
}

impl Scenario {
    /// The word on the command line.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Fault(fault) => fault.name,
            Self::Day(day) => &day.name,
        }
    }

    /// The first column.
    pub(crate) fn title(&self) -> &str {
        match self {
            Self::Fault(fault) => fault.title,
            Self::Day(day) => &day.title,
        }
    }

    /// What is asked of a proxy, where the parts of a bad day last so long.
    pub(crate) fn bar(&self, timing: Timing) -> String {
        match self {
            Self::Fault(fault) => Numbers::bar(*fault, timing),
            Self::Day(day) => day.promise.text(),
        }
    }

    /// How the proxy does, with its files in `folder`.
    pub(crate) fn run(
        &self,
        proxy: Proxy,
        timing: Timing,
        folder: &Path,
        running: &Running,
    ) -> Judged {
        let suits = match self {
            Self::Fault(fault) => fault.setup.suits(proxy),
            Self::Day(day) => day.topology.suits(proxy),
        };
        suits.then(|| match self {
            Self::Fault(fault) => {
                cell::run(proxy, *fault, timing, folder, running).map(|numbers| Mark {
                    meets_bar: numbers.misses().is_empty(),
                    short: numbers.short(),
                    long: numbers.long(),
                    json: numbers.json(),
                })
            }
            Self::Day(day) => play::run(proxy, day, folder, running).map(|review| Mark {
                meets_bar: review.is_kept(),
                short: review.short(),
                long: review.long(),
                json: review.json(),
            }),
        })
    }
}

/// The cell as the table shows it.
pub(crate) fn short(judged: &Judged) -> String {
    match judged {
        Some(Ok(mark)) => mark.short.clone(),
        Some(Err(why)) => format!("failed: {why}"),
        None => "-".to_owned(),
    }
}

/// Whether the cell meets the bar.
pub(crate) fn meets_bar(judged: &Judged) -> bool {
    matches!(judged, Some(Ok(mark)) if mark.meets_bar)
}

/// The cell for other programs.
pub(crate) fn json(judged: &Judged) -> Value {
    match judged {
        Some(Ok(mark)) => mark.json.clone(),
        Some(Err(why)) => json!({ "failed": why }),
        None => Value::Null,
    }
}
