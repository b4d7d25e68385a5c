//! A change of belief, as readers of events get it.

use std::net::SocketAddr;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::board::journal::{History, TimedChange};
use meridian_core::change::Change;

/// A change of belief.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EventView {
    /// Counts the changes of this process, from 1.
    #[serde(default)]
    pub sequence: u64,
    /// When, in seconds since 1970.
    pub at_unix_seconds: f64,
    /// The revision that first shows it.
    #[serde(default)]
    pub revision: u64,
    /// `endpoint`, `region`, `ejection_suppressed`, `correlated_failure`, `leader`, `failback`,
    /// `addresses` or `operator`.
    pub kind: String,
    /// Whose.
    pub region: String,
    /// The endpoint, where it concerns one.
    pub address: Option<SocketAddr>,
    /// Before.
    pub from: Option<String>,
    /// After.
    pub to: Option<String>,
    /// Why, or what else there is to say.
    pub cause: Option<String>,
    /// The kind of evidence that led to it, as in `meridian_transitions_total`.
    #[serde(default)]
    pub evidence: String,
    /// The same as data.
    pub change: Option<Change>,
}

/// What changed after a change that the caller knows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HistoryView {
    /// The sequence of the oldest change that is kept; earlier ones are gone.
    pub oldest: u64,
    /// The sequence of the newest change, to ask with the next time; 0 before the first.
    pub newest: u64,
    /// How many changes are gone for newer ones since the process started.
    pub dropped: u64,
    /// The changes, the oldest first.
    pub events: Vec<EventView>,
}

impl EventView {
    /// A change as it was published.
    #[must_use]
    pub fn of(timed: &TimedChange) -> Self {
        let row = timed.change.row();
        let since_1970 = timed.at.duration_since(SystemTime::UNIX_EPOCH);
        Self {
            sequence: timed.sequence,
            at_unix_seconds: since_1970.unwrap_or_default().as_secs_f64(),
            revision: timed.revision,
            kind: row.kind.to_owned(),
            region: row.region.to_owned(),
            address: row.address,
            from: row.from.map(str::to_owned),
            to: row.to,
            cause: Some(row.cause),
            evidence: timed.evidence.to_owned(),
            change: Some(timed.change.clone()),
        }
    }
}

impl HistoryView {
    /// A part of the history.
    #[must_use]
    pub fn of(history: &History) -> Self {
        let events = history.changes.iter().map(|timed| EventView::of(timed));
        Self {
            oldest: history.oldest,
            newest: history.newest,
            dropped: history.oldest.saturating_sub(1),
            events: events.collect(),
        }
    }
}
