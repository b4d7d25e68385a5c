//! A change of belief as a value: what it is about, what changed, and why.

mod cause;

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::health::failback::Stage;
use crate::health::rise_fall::Health;
use crate::model::admin::AdminState;
use crate::model::time::Timestamp;

pub use crate::change::cause::{ChangeCause, Comparison};

/// A change worth a log line and a count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// What it is about.
    pub subject: Subject,
    /// What changed.
    pub what: What,
    /// Why.
    pub cause: ChangeCause,
    /// Since when.
    pub since: Timestamp,
}

/// What a change is about, by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// All regions.
    Fleet,
    /// One region.
    Region(Arc<str>),
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

/// What changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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
    Operator(AdminState),
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
    pub to: Option<Cow<'a, str>>,
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
            Self::Region(region) | Self::Origin { region, .. } | Self::Endpoint { region, .. } => {
                Some(region)
            }
        }
    }

    fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Endpoint { address, .. } => Some(*address),
            Self::Fleet | Self::Region(_) | Self::Origin { .. } => None,
        }
    }
}

impl Change {
    /// It in words: the one place that knows what to say of each kind of change.
    #[must_use]
    pub fn row(&self) -> ChangeRow<'_> {
        use Weight::{Alarm, Loss, News};
        let address = self.subject.address();
        let region: &str = self.subject.region().map_or("", |region| region);
        let lost = |to: &Health| *to == Health::Unhealthy;
        let (kind, weight, message) = match &self.what {
            What::Health { to, .. } => match (address.is_some(), lost(to)) {
                (true, true) => ("endpoint", Loss, "endpoint lost"),
                (true, false) => ("endpoint", News, "endpoint serves"),
                (false, true) => ("region", Loss, "region lost"),
                (false, false) => ("region", News, "region serves"),
            },
            What::Leader { .. } => ("leader", News, "another region is the fastest"),
            What::Failback(Stage::Down) => ("failback", Loss, "region loses its traffic after all"),
            What::Failback(_) => ("failback", News, "region returns"),
            What::EjectionSuppressed => {
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
            What::Addresses { .. } => ("addresses", News, "addresses changed"),
            What::Operator(_) => ("operator", News, "operator changed a region"),
        };
        let (from, to) = self.what.words(region);
        let cause = match &self.what {
            What::Addresses { added, removed } => {
                format!("{added} added, {removed} removed: {}", self.cause)
            }
            _ => self.cause.to_string(),
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

impl What {
    /// Before and after, as words; `region` is whom it is about.
    fn words<'a>(&'a self, region: &'a str) -> (Option<&'a str>, Option<Cow<'a, str>>) {
        match self {
            Self::Health { from, to } => (Some(from.label()), Some(to.label().into())),
            Self::Leader { before } => (Some(before), Some(region.into())),
            Self::Failback(Stage::Ramping { share, .. }) => {
                (None, Some(format!("ramping at {share} %").into()))
            }
            Self::Failback(stage) => (None, Some(stage.label().into())),
            Self::CorrelatedFailure { began: true } => (None, Some("began".into())),
            Self::CorrelatedFailure { began: false } => (None, Some("ended".into())),
            Self::Operator(state) => (None, Some(state.label().into())),
            Self::EjectionSuppressed | Self::Addresses { .. } => (None, None),
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
            since: self.now,
        });
    }

    /// Adds one of a region.
    pub(crate) fn tell_region(&mut self, region: &Arc<str>, what: What, cause: ChangeCause) {
        self.tell(Subject::Region(Arc::clone(region)), what, cause);
    }
}
