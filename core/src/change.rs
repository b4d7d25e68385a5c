//! A change of belief as a value: what it is about, what changed, and why.

mod cause;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::health::failback::Stage;
use crate::health::rise_fall::Health;
use crate::model::admin::AdminState;
use crate::model::time::Timestamp;

pub use crate::change::cause::{ChangeCause, Comparison};

/// A change worth a log line and a count. All in it is said by name, and nothing by a clock or a
/// number of this process, so it means the same wherever it is read; whoever keeps it writes the
/// wall's time beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// What it is about.
    pub subject: Subject,
    /// What changed.
    #[serde(flatten)]
    pub what: What,
    /// Why.
    pub cause: ChangeCause,
}

/// What a change is about, by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Subject {
    /// All regions.
    Fleet,
    /// One region.
    Region {
        /// Its name.
        region: Arc<str>,
    },
    /// One origin of a region.
    Origin {
        /// The region's name.
        region: Arc<str>,
        /// The origin's URL.
        url: Arc<str>,
    },
    /// One endpoint of a region.
    Endpoint {
        /// The region's name.
        region: Arc<str>,
        /// Where it is dialled.
        address: SocketAddr,
    },
}

/// What changed. As text it is what holds now, in a few words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum What {
    /// The health of an endpoint, or of a region as a whole.
    Health {
        /// Before.
        from: Health,
        /// After.
        to: Health,
    },
    /// Another region is now the first by latency.
    Leader {
        /// The one before it.
        before: Arc<str>,
    },
    /// A region's return went a step on, or was broken off.
    Failback(Stage),
    /// A region's probes fail, and it keeps its traffic all the same.
    EjectionSuppressed,
    /// All regions fell together, or one of them came back from that.
    CorrelatedFailure {
        /// Whether it began.
        began: bool,
    },
    /// An origin's addresses changed.
    Addresses {
        /// Addresses that are new.
        added: usize,
        /// Addresses that went; they drain.
        removed: usize,
    },
    /// The operator's word on a region.
    Operator {
        /// The word.
        state: AdminState,
    },
}

/// How much a change matters to who reads the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// Something came back, or moved.
    News,
    /// Something is lost.
    Loss,
    /// Most likely we are broken ourselves.
    Alarm,
}

/// A change in the words that the log, the JSON and the metrics share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeRow<'a> {
    /// Of which kind it is, as a metric's label.
    pub kind: &'static str,
    /// The region's name; empty where it concerns all.
    pub region: &'a str,
    /// The endpoint, where it concerns one.
    pub address: Option<SocketAddr>,
    /// Before.
    pub from: Option<&'a str>,
    /// After.
    pub to: Option<String>,
    /// Why, or what else there is to say.
    pub cause: String,
    /// How much it matters.
    pub weight: Weight,
    /// What happened, in words that never differ.
    pub message: &'static str,
}

impl Subject {
    /// The region's name; `None` where it concerns all.
    #[must_use]
    pub fn region(&self) -> Option<&Arc<str>> {
        match self {
            Self::Fleet => None,
            Self::Region { region }
            | Self::Origin { region, .. }
            | Self::Endpoint { region, .. } => Some(region),
        }
    }

    fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Endpoint { address, .. } => Some(*address),
            Self::Fleet | Self::Region { .. } | Self::Origin { .. } => None,
        }
    }
}

impl Change {
    /// It in words: the one table that says what each kind of change is called and how much it
    /// matters.
    #[must_use]
    pub fn row(&self) -> ChangeRow<'_> {
        use Weight::{Alarm, Loss, News};
        let address = self.subject.address();
        let region: &str = self.subject.region().map_or("", |region| region);
        let (mut from, mut to) = (None, Some(self.what.to_string()));
        let mut cause = self.cause.to_string();
        let (kind, weight, message) = match &self.what {
            What::Health { from: before, to } => {
                from = Some(before.label());
                match (address.is_some(), *to == Health::Unhealthy) {
                    (true, true) => ("endpoint", Loss, "endpoint lost"),
                    (true, false) => ("endpoint", News, "endpoint serves"),
                    (false, true) => ("region", Loss, "region lost"),
                    (false, false) => ("region", News, "region serves"),
                }
            }
            What::Leader { before } => {
                (from, to) = (Some(&**before), Some(region.to_owned()));
                ("leader", News, "another region is the fastest")
            }
            What::Failback(Stage::Down) => ("failback", Loss, "region loses its traffic after all"),
            What::Failback(_) => ("failback", News, "region returns"),
            What::EjectionSuppressed => {
                to = None;
                let message = "region fails its probes and keeps its traffic";
                ("ejection_suppressed", Loss, message)
            }
            What::CorrelatedFailure { began: true } => {
                let message = "all regions fell together: most likely a fault on this side";
                ("correlated_failure", Alarm, message)
            }
            What::CorrelatedFailure { began: false } => {
                let message = "a region is well again after all fell together";
                ("correlated_failure", News, message)
            }
            What::Addresses { .. } => {
                to = None;
                cause = format!("{}: {cause}", self.what);
                ("addresses", News, "addresses changed")
            }
            What::Operator { .. } => ("operator", News, "operator changed a region"),
        };
        ChangeRow {
            kind,
            region,
            address,
            from,
            to,
            cause,
            weight,
            message,
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Health { to, .. } => f.write_str(to.label()),
            Self::Leader { before } => write!(f, "the fastest, in place of {before}"),
            Self::Failback(Stage::Ramping { share }) => write!(f, "ramping at {share} %"),
            Self::Failback(stage) => f.write_str(stage.label()),
            Self::EjectionSuppressed => f.write_str("ejection suppressed"),
            Self::CorrelatedFailure { began: true } => f.write_str("began"),
            Self::CorrelatedFailure { began: false } => f.write_str("ended"),
            Self::Addresses { added, removed } => write!(f, "{added} added, {removed} removed"),
            Self::Operator { state } => f.write_str(state.label()),
        }
    }
}

/// The changes of one event, in the order in which they followed from each other.
#[derive(Debug)]
pub(crate) struct Changes {
    /// When the event came.
    pub(crate) now: Timestamp,
    pub(crate) all: Vec<Change>,
}

impl Changes {
    /// None yet.
    pub(crate) fn at(now: Timestamp) -> Self {
        Self {
            now,
            all: Vec::new(),
        }
    }

    /// Adds one.
    pub(crate) fn tell(&mut self, subject: Subject, what: What, cause: ChangeCause) {
        self.all.push(Change {
            subject,
            what,
            cause,
        });
    }

    /// Adds one of a region.
    pub(crate) fn tell_region(&mut self, region: &Arc<str>, what: What, cause: ChangeCause) {
        let region = Arc::clone(region);
        self.tell(Subject::Region { region }, what, cause);
    }
}
