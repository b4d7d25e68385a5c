//! Why something changed, with the figures that say so.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::health::failback::FailbackCause;
use crate::health::traffic_count::Trouble;
use crate::model::admin::AdminState;
use crate::model::outcome::{ErrorKind, ProbeFailure};
use crate::model::seconds;

/// Why something changed. As text it is a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ChangeCause {
    /// Nothing but time.
    TimePassed,
    /// A probe passed.
    ProbePassed {
        /// The how manieth in a row that says otherwise than was believed.
        in_a_row: u32,
    },
    /// A probe failed.
    ProbeFailed {
        /// The how manieth in a row that says otherwise than was believed.
        in_a_row: u32,
        /// How.
        failure: ProbeFailure,
    },
    /// A request failed in a way that calls for a probe.
    Suspicion,
    /// Requests failed at an endpoint, one after the other.
    RequestsFailed {
        /// How many.
        in_a_row: u32,
        /// How the last one failed.
        error: ErrorKind,
    },
    /// Answers came far later from an endpoint than usual, one after the other.
    RequestsLate {
        /// How many.
        in_a_row: u32,
    },
    /// A region serves a route far worse than a sibling.
    Compared(Comparison),
    /// Requests find other regions worse than their siblings than before.
    ComparedAnew,
    /// Its probes pass again after requests ejected it.
    Probation,
    /// A probation request was answered.
    ProbationRequest,
    /// A probation request was not answered well, which ends the probation.
    ProbationFailed,
    /// Enough probation requests were answered well.
    ProbationPassed {
        /// How many, one after the other.
        in_a_row: u32,
    },
    /// The operator spoke.
    Operator {
        /// The word.
        state: AdminState,
    },
    /// The operator agreed to a region's return.
    Confirmed,
    /// A table was loaded.
    TableLoaded {
        /// Its generation.
        generation: u64,
    },
    /// The name of an origin was resolved.
    Resolved {
        /// The origin's URL.
        url: Arc<str>,
        /// How many addresses it has now.
        addresses: usize,
    },
    /// What an earlier process believed was taken over.
    Restored,
    /// A step of a region's return.
    Failback(FailbackCause),
    /// Probes alone may not take the region out now.
    Suppressed,
    /// They may now.
    SuppressionEnded,
    /// All regions fell at about the same time.
    FellTogether,
    /// One of them is well again.
    WellAgain,
    /// A region's first bytes come sooner than another's.
    Faster {
        /// How soon, if known.
        #[serde(default, rename = "median_seconds", with = "seconds")]
        #[serde(skip_serializing_if = "Option::is_none")]
        median: Option<Duration>,
        /// The other's name.
        than: Arc<str>,
        /// How soon the other's come, if known.
        #[serde(default, rename = "other_median_seconds", with = "seconds")]
        #[serde(skip_serializing_if = "Option::is_none")]
        other: Option<Duration>,
        /// What happened right before.
        after: Box<Self>,
    },
}

/// How requests of one route fared in two regions in the last seconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comparison {
    /// What is wrong in the region.
    pub trouble: Trouble,
    /// How many requests it befell.
    pub count: u32,
    /// Out of how many.
    pub requests: u32,
    /// The route's name.
    pub route: Arc<str>,
    /// The sibling that does better, by name.
    pub sibling: Arc<str>,
    /// How many requests the same befell there.
    pub sibling_count: u32,
    /// Out of how many.
    pub sibling_requests: u32,
}

impl fmt::Display for ChangeCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimePassed => f.write_str("time passed"),
            Self::ProbePassed { in_a_row } => write!(f, "{in_a_row} in a row: the probe passed"),
            Self::ProbeFailed { in_a_row, failure } => {
                write!(f, "{in_a_row} in a row: the probe failed: {failure}")
            }
            Self::Suspicion => f.write_str("a request failed"),
            Self::RequestsFailed { in_a_row, error } => {
                let error = error.label();
                write!(f, "{in_a_row} in a row: a request failed: {error}")
            }
            Self::RequestsLate { in_a_row } => {
                let what = "the answer came far later than usual";
                write!(f, "{in_a_row} in a row: {what}")
            }
            Self::Compared(comparison) => comparison.fmt(f),
            Self::ComparedAnew => f.write_str("requests compare the regions anew"),
            Self::Probation => f.write_str("its probes pass again, so it is on probation"),
            Self::ProbationRequest => f.write_str("a probation request was answered"),
            Self::ProbationFailed => f.write_str("a probation request was not answered well"),
            Self::ProbationPassed { in_a_row } => {
                write!(
                    f,
                    "{in_a_row} in a row: a probation request was answered well"
                )
            }
            Self::Operator { state } => {
                let word = match state {
                    AdminState::Auto => "follow probes and traffic again",
                    AdminState::Drained => "stay out",
                    AdminState::Forced => "serve, whatever probes say",
                };
                write!(f, "the operator wants it to {word}")
            }
            Self::Confirmed => f.write_str("the operator agrees that it returns"),
            Self::TableLoaded { generation } => write!(f, "table {generation} was loaded"),
            Self::Resolved { url, addresses: 1 } => write!(f, "{url} has 1 address now"),
            Self::Resolved { url, addresses } => write!(f, "{url} has {addresses} addresses now"),
            Self::Restored => f.write_str("what was known before the restart holds on"),
            Self::Failback(cause) => cause.fmt(f),
            Self::Suppressed => f.write_str(
                "no other region is sure to be well, or probes took one out a moment ago",
            ),
            Self::SuppressionEnded => {
                f.write_str("its probes still fail, and nothing keeps it any more")
            }
            Self::FellTogether => f.write_str(
                "all regions fell together, so the fault is most likely on this side; none is out",
            ),
            Self::WellAgain => f.write_str("a region is well again"),
            Self::Faster {
                median,
                than,
                other,
                after,
            } => {
                f.write_str("its first byte takes ")?;
                figure(f, *median)?;
                write!(f, ", that of {than} ")?;
                figure(f, *other)?;
                write!(f, "; after: {after}")
            }
        }
    }
}

fn figure(f: &mut fmt::Formatter<'_>, latency: Option<Duration>) -> fmt::Result {
    match latency {
        Some(latency) => write!(f, "{latency:.1?}"),
        None => f.write_str("unknown"),
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.trouble {
            Trouble::Fails => "failed where another region did better",
            Trouble::FailsUncompared => "failed",
            Trouble::Overloaded => "were told to come back later",
        };
        let (count, requests) = (self.count, self.requests);
        write!(
            f,
            "{count} of {requests} requests {what} in the last seconds"
        )
    }
}
