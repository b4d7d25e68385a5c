//! What one worker counts about its viewers' connections.

use std::sync::Arc;

use crate::edge::end::ConnectionEnd;
use crate::edge::handshake::HandshakeFailure;
use crate::edge::proxy_header::ProxyHeaderFailure;
use crate::telemetry::histogram::WorkerCell;
use crate::telemetry::metrics::{MetricsRegistry, families};

/// Counters of one worker's edge, which alone may write them.
#[derive(Debug)]
pub struct EdgeCounters {
    /// Connections accepted and admitted.
    pub(crate) accepted: Arc<WorkerCell>,
    /// Connections open now, upgraded ones included.
    pub(crate) active: Arc<WorkerCell>,
    /// Connections closed at once because the worker had `connections_per_worker`.
    pub(crate) refused_at_limit: Arc<WorkerCell>,
    /// Times that accepting failed for want of file descriptors.
    pub(crate) out_of_descriptors: Arc<WorkerCell>,
    /// Requests or connections that ended in a panic.
    pub(crate) panics: Arc<WorkerCell>,
    handshakes_full: Arc<WorkerCell>,
    handshakes_resumed: Arc<WorkerCell>,
    handshake_failures: [Arc<WorkerCell>; HandshakeFailure::ALL.len()],
    proxy_header_failures: [Arc<WorkerCell>; ProxyHeaderFailure::ALL.len()],
    ends: [Arc<WorkerCell>; ConnectionEnd::ALL.len()],
}

impl EdgeCounters {
    /// Counters of one more worker, which are shown by `registry`.
    #[must_use]
    pub fn new(registry: &MetricsRegistry) -> Self {
        let cell = |family, labels: &[&str]| registry.worker_cell(family, labels);
        let handshake = |result| cell(&families::TLS_HANDSHAKES, &[result]);
        Self {
            accepted: cell(&families::CONNECTIONS, &[]),
            active: cell(&families::CONNECTIONS_ACTIVE, &[]),
            refused_at_limit: cell(&families::SHED, &["connection_limit"]),
            out_of_descriptors: cell(&families::SHED, &["file_descriptors"]),
            panics: cell(&families::PANICS, &[]),
            handshakes_full: handshake("full"),
            handshakes_resumed: handshake("resumed"),
            handshake_failures: HandshakeFailure::ALL.map(|failure| handshake(failure.label())),
            proxy_header_failures: ProxyHeaderFailure::ALL
                .map(|failure| cell(&families::PROXY_HEADER_FAILURES, &[failure.label()])),
            ends: ConnectionEnd::ALL.map(|end| cell(&families::CONNECTION_ENDS, &[end.label()])),
        }
    }

    /// Counts a handshake that succeeded, and `resumed` an earlier session or did not.
    pub fn handshake_done(&self, resumed: bool) {
        let cell = if resumed {
            &self.handshakes_resumed
        } else {
            &self.handshakes_full
        };
        cell.add(1);
    }

    /// Counts a handshake that failed.
    pub fn handshake_failed(&self, failure: HandshakeFailure) {
        self.handshake_failures[failure.index()].add(1);
    }

    /// Counts a PROXY header that could not be read.
    pub fn proxy_header_failed(&self, failure: ProxyHeaderFailure) {
        self.proxy_header_failures[failure.index()].add(1);
    }

    /// Counts how a connection ended.
    pub fn ended(&self, end: ConnectionEnd) {
        self.ends[end.index()].add(1);
    }
}
