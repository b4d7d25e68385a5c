//! What one worker counts about its viewers' connections.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::edge::end::ConnectionEnd;
use crate::edge::handshake::HandshakeFailure;
use crate::edge::proxy_header::ProxyHeaderFailure;

/// A count that one worker raises and anyone reads.
///
/// These move per connection, not per request, and nobody else writes them, so a plain atomic
/// addition costs a few nanoseconds and no cache line travels.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// One more.
    pub fn raise(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// One less; for gauges.
    pub fn lower(&self) -> u64 {
        self.0.fetch_sub(1, Ordering::Relaxed).saturating_sub(1)
    }

    /// The count now.
    #[must_use]
    pub fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counters of one worker's edge; shared with the admin, which reads them.
#[derive(Debug, Default)]
pub struct EdgeCounters {
    /// Connections accepted and admitted.
    pub accepted: Count,
    /// Connections open now, upgraded ones included.
    pub active: Count,
    /// Connections closed at once because the worker had `connections_per_worker`.
    pub refused_at_limit: Count,
    /// Times that accepting failed for want of file descriptors.
    pub out_of_descriptors: Count,
    /// Times that accepting failed for another reason.
    pub accept_errors: Count,
    /// Requests begun.
    pub requests: Count,
    /// Requests or connections that ended in a panic.
    pub panics: Count,
    /// TLS handshakes that succeeded.
    pub handshakes: Count,
    /// Of these, those that resumed an earlier session.
    pub handshakes_resumed: Count,
    handshake_failures: [Count; HandshakeFailure::ALL.len()],
    proxy_header_failures: [Count; ProxyHeaderFailure::ALL.len()],
    ends: [Count; ConnectionEnd::ALL.len()],
}

impl EdgeCounters {
    /// Counts a handshake that failed.
    pub fn handshake_failed(&self, failure: HandshakeFailure) {
        self.handshake_failures[failure.index()].raise();
    }

    /// Counts a PROXY header that could not be read.
    pub fn proxy_header_failed(&self, failure: ProxyHeaderFailure) {
        self.proxy_header_failures[failure.index()].raise();
    }

    /// Counts how a connection ended.
    pub fn ended(&self, end: ConnectionEnd) {
        self.ends[end.index()].raise();
    }

    /// A copy of all counts. Each is exact; they are not of one instant.
    #[must_use]
    pub fn snapshot(&self) -> EdgeCounts {
        EdgeCounts {
            accepted: self.accepted.read(),
            active: self.active.read(),
            refused_at_limit: self.refused_at_limit.read(),
            out_of_descriptors: self.out_of_descriptors.read(),
            accept_errors: self.accept_errors.read(),
            requests: self.requests.read(),
            panics: self.panics.read(),
            handshakes: self.handshakes.read(),
            handshakes_resumed: self.handshakes_resumed.read(),
            handshake_failures: HandshakeFailure::ALL
                .map(|kind| (kind.label(), self.handshake_failures[kind.index()].read())),
            proxy_header_failures: ProxyHeaderFailure::ALL.map(|kind| {
                (
                    kind.label(),
                    self.proxy_header_failures[kind.index()].read(),
                )
            }),
            ends: ConnectionEnd::ALL.map(|end| (end.label(), self.ends[end.index()].read())),
        }
    }
}

/// What [`EdgeCounters::snapshot`] gives; the fields are the counters of the same name, the
/// arrays one label and count per kind.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "documented on EdgeCounters")]
pub struct EdgeCounts {
    pub accepted: u64,
    pub active: u64,
    pub refused_at_limit: u64,
    pub out_of_descriptors: u64,
    pub accept_errors: u64,
    pub requests: u64,
    pub panics: u64,
    pub handshakes: u64,
    pub handshakes_resumed: u64,
    pub handshake_failures: [(&'static str, u64); HandshakeFailure::ALL.len()],
    pub proxy_header_failures: [(&'static str, u64); ProxyHeaderFailure::ALL.len()],
    pub ends: [(&'static str, u64); ConnectionEnd::ALL.len()],
}

impl EdgeCounts {
    /// How many connections ended as `end`.
    #[must_use]
    pub fn ended(&self, end: ConnectionEnd) -> u64 {
        self.ends[end.index()].1
    }
}
