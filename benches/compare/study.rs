//! What one number per request does not tell: studies, each with a table of its own.

mod cores;
mod findings;
mod idle;
mod latency;
mod reload;

pub(crate) use findings::{Findings, Measured};
pub(crate) use idle::look as look_idle;

use std::io;

use crate::cell::Cell;
use crate::ground::Ground;
use crate::options::Options;
use crate::proxy::Proxy;
use crate::report::median;

/// One of the studies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Study {
    Idle,
    Latency,
    Cores,
    Reload,
}

/// Every study, in order.
pub(crate) const STUDIES: &[Study] = &[Study::Idle, Study::Latency, Study::Cores, Study::Reload];

impl Study {
    /// The word on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Latency => "latency",
            Self::Cores => "cores",
            Self::Reload => "reload",
        }
    }

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Idle => "10,000 idle TLS connections beside 64 busy ones",
            Self::Latency => "latency over TLS at a fixed rate",
            Self::Cores => "two cores instead of one, HTTP/1.1 over TLS",
            Self::Reload => "10,000 routes, reloaded every second",
        }
    }

    /// Takes all of its measurements.
    pub(crate) fn run(self, proxies: &[Proxy], options: &Options, ground: &Ground) -> Findings {
        match self {
            Self::Idle => idle::run(proxies, options, ground),
            Self::Latency => latency::run(proxies, options, ground),
            Self::Cores => cores::run(proxies, options, ground),
            Self::Reload => reload::run(proxies, options, ground),
        }
    }
}

/// The study of this name.
pub(crate) fn named(name: &str) -> Option<Study> {
    STUDIES.iter().copied().find(|study| study.name() == name)
}

/// Processor time per request under the load of the cell's row: the median of all rounds.
fn per_request(cell: &Cell, options: &Options, ground: &Ground) -> io::Result<f64> {
    let mut all = Vec::new();
    for _ in 0..options.rounds {
        let taken = cell.measure(options.length, false, ground)?;
        all.push(taken.per_request);
    }
    middle(all)
}

/// The median of what there must be some of.
fn middle(all: Vec<f64>) -> io::Result<f64> {
    median(all).ok_or_else(|| io::Error::other("nothing was measured"))
}
