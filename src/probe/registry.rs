//! What was last seen of every endpoint, for the probes and for those who want to see it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;

use meridian_core::model::id::EndpointId;
use meridian_core::model::outcome::ProbeOutcome;
use meridian_core::model::time::Timestamp;

/// The last that was seen of one endpoint.
#[derive(Clone, Debug)]
pub struct ProbeReport {
    /// Which endpoint.
    pub endpoint: EndpointId,
    /// Its region's name.
    pub region: Arc<str>,
    /// Its address.
    pub address: SocketAddr,
    /// How the last probe ended; `None` before the first has.
    pub last: Option<ProbeOutcome>,
    /// When it ended, on the wall's clock.
    pub at: Option<SystemTime>,
    /// Probes that passed.
    pub passed: u64,
    /// Probes that failed.
    pub failed: u64,
}

/// What the probe tasks and their readers share: one entry per endpoint.
#[derive(Debug)]
pub(super) struct ProbeRegistry {
    pub(super) entries: Mutex<BTreeMap<EndpointId, ProbeEntry>>,
    pub(super) changed: watch::Sender<u64>,
}

#[derive(Debug)]
pub(super) struct ProbeEntry {
    pub(super) report: ProbeReport,
    /// The suspicion that was followed last.
    pub(super) suspected: Option<Timestamp>,
    pub(super) hurry: Arc<Notify>,
    pub(super) task: AbortHandle,
}

impl ProbeEntry {
    /// Probes at once when requests gave a new reason to.
    pub(super) fn follow_suspicion(&mut self, suspected: Option<Timestamp>) {
        if suspected > self.suspected {
            self.suspected = suspected;
            self.hurry.notify_one();
        }
    }
}

impl ProbeRegistry {
    pub(super) fn lock(&self) -> MutexGuard<'_, BTreeMap<EndpointId, ProbeEntry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn record(&self, endpoint: EndpointId, outcome: &ProbeOutcome, at: SystemTime) {
        if let Some(entry) = self.lock().get_mut(&endpoint) {
            match outcome {
                ProbeOutcome::Passed { .. } => entry.report.passed += 1,
                ProbeOutcome::Failed(_) => entry.report.failed += 1,
            }
            entry.report.last = Some(outcome.clone());
            entry.report.at = Some(at);
        }
        self.touch();
    }

    pub(super) fn touch(&self) {
        self.changed.send_modify(|count| *count += 1);
    }
}
