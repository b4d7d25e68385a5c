//! What the endpoints need of the rest of the process.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use serde_json::Value;
use tokio::sync::Semaphore;

use crate::admin::health::Flags;
use crate::admin::view::ReloadView;
use crate::board::journal::Journal;
use crate::clock::Clock;
use crate::telemetry::metrics::{Exposition, MetricsRegistry, families};
use meridian_core::apply::Beliefs;
use meridian_core::change::What;

/// So many connections may read events, so that they cannot keep health checks out.
const MAX_EVENT_READERS: usize = 16;

/// Answers something from the rest of the process.
pub type Source<T> = Box<dyn Fn() -> T + Send + Sync>;
/// What a reload answers: what changed, or what is wrong.
pub type ReloadFuture = Pin<Box<dyn Future<Output = Result<Value, Value>> + Send>>;
/// What a confirmation answers: where the region is now, or why nothing was done.
pub type ConfirmFuture = Pin<Box<dyn Future<Output = Result<Value, NotConfirmed>> + Send>>;

/// Why a region's return was not confirmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotConfirmed {
    /// No region has this name.
    UnknownRegion {
        /// The names there are.
        known: Vec<String>,
    },
    /// It waits for nothing; what it does instead, for people.
    NotWaiting(String),
}

/// A request as `explain` takes it, as written in the query.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExplainQuery {
    /// Country code.
    pub country: Option<String>,
    /// Path.
    pub path: Option<String>,
    /// Method.
    pub method: Option<String>,
    /// Host.
    pub host: Option<String>,
    /// Address of the viewer.
    pub ip: Option<String>,
}

/// What the admin server asks of the rest of the process. It is handed closures so that it
/// depends on no other part above the core.
pub struct AdminSources {
    /// What is believed now.
    pub beliefs: Source<Arc<Beliefs>>,
    /// How the last reload ended.
    pub last_reload: Source<Option<ReloadView>>,
    /// The last probe of each endpoint.
    pub probes: Source<Value>,
    /// Certificates served.
    pub certs: Source<Value>,
    /// The configuration in effect, without secrets.
    pub config: Source<Value>,
    /// Where a request would go; the error is for the caller.
    pub explain: Box<dyn Fn(ExplainQuery) -> Result<Value, String> + Send + Sync>,
    /// Reads the configuration again.
    pub reload: Source<ReloadFuture>,
    /// Agrees that the region of this name returns.
    pub confirm: Box<dyn Fn(String) -> ConfirmFuture + Send + Sync>,
    /// Adds what is read from the databases and certificates in use to a scrape.
    pub metrics: Box<dyn Fn(&mut Exposition) + Send + Sync>,
}

impl fmt::Debug for AdminSources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminSources")
    }
}

/// Everything the endpoints need.
#[derive(Debug)]
pub struct AdminContext {
    /// The process's clock.
    pub clock: Clock,
    /// All metrics.
    pub registry: Arc<MetricsRegistry>,
    /// Whether it listens, and whether it is leaving.
    pub flags: Arc<Flags>,
    /// The rest of the process.
    pub sources: AdminSources,
    /// What changed so far, and what changes.
    pub journal: Arc<Journal>,
    pub(super) event_readers: Arc<Semaphore>,
}

impl AdminContext {
    /// Everything the endpoints need.
    #[must_use]
    pub fn new(
        clock: Clock,
        registry: Arc<MetricsRegistry>,
        flags: Arc<Flags>,
        sources: AdminSources,
        journal: Arc<Journal>,
    ) -> Self {
        Self {
            clock,
            registry,
            flags,
            sources,
            journal,
            event_readers: Arc::new(Semaphore::new(MAX_EVENT_READERS)),
        }
    }

    /// Counts every change of belief, until there are no more.
    pub async fn count_changes(self: Arc<Self>) {
        let count = |family, labels: &[&str]| self.registry.counter(family, labels).increment(1);
        let mut changes = self.journal.follow(0);
        while let Some(timed) = changes.next().await {
            let row = timed.change.row();
            count(&families::TRANSITIONS, &[row.kind, timed.evidence]);
            match timed.change.what {
                What::EjectionSuppressed => {
                    count(&families::EJECTIONS_SUPPRESSED, &[row.region]);
                }
                What::CorrelatedFailure { began: true } => {
                    count(&families::CORRELATED_FAILURES, &[]);
                }
                _ => {}
            }
        }
    }
}
