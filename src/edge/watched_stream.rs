//! A viewer's stream, whose bytes tell the sweep what it needs to know.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use socket2::SockRef;

use crate::edge::counters::EdgeCounters;
use crate::stream::counted::{CountedStream, StreamMeter};
use crate::stream::prefixed::Prefixed;
use crate::stream::socket::Socket;

/// Bytes that moved. Written by the connection's own thread only; atomic because hyper wants to
/// send upgraded streams between threads.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    read: AtomicU64,
    written: AtomicU64,
    /// The last write found the viewer's window full.
    blocked: AtomicBool,
    /// The last answer broke off, and only a reset can say so.
    broken: AtomicBool,
}

impl Pulse {
    /// Bytes read so far.
    pub(super) fn read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// Bytes written so far.
    pub(super) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Whether the viewer takes no bytes now.
    pub(super) fn is_blocked(&self) -> bool {
        self.blocked.load(Ordering::Relaxed)
    }

    /// An answer broke off, and only a reset can say so.
    pub(super) fn broke(&self) {
        self.broken.store(true, Ordering::Relaxed);
    }
}

/// A stream that can be closed so that the peer takes what it has for incomplete.
pub trait Abrupt {
    /// From now on closing it is a TCP reset (RFC 9293 section 3.10.5).
    fn reset_on_close(&self);
}

impl<T: Abrupt> Abrupt for Box<tokio_rustls::server::TlsStream<T>> {
    fn reset_on_close(&self) {
        self.get_ref().0.reset_on_close();
    }
}

impl Abrupt for Prefixed<Socket> {
    fn reset_on_close(&self) {
        let _ = SockRef::from(self.inner().tcp()).set_linger(Some(Duration::ZERO));
    }
}

/// A viewer's stream whose bytes are counted.
pub type WatchedStream<T> = CountedStream<T, ViewerMeter>;

/// What is told of a viewer's stream. While it lives, its connection counts as active, also after an
/// upgrade.
#[derive(Debug)]
pub struct ViewerMeter {
    pulse: Arc<Pulse>,
    /// Counts it.
    active: Active,
}

impl ViewerMeter {
    /// Nothing has moved yet on the connection that `active` counts.
    pub(super) fn new(active: Active) -> Self {
        let pulse = Arc::default();
        Self { pulse, active }
    }

    pub(super) fn pulse(&self) -> &Arc<Pulse> {
        &self.pulse
    }

    pub(super) fn counters(&self) -> &Arc<EdgeCounters> {
        &self.active.0
    }
}

impl<T: Abrupt> StreamMeter<T> for ViewerMeter {
    fn read(&self, count: usize, _is_end: bool) -> io::Result<()> {
        let read = &self.pulse.read;
        read.store(
            read.load(Ordering::Relaxed) + count as u64,
            Ordering::Relaxed,
        );
        Ok(())
    }

    fn wrote(&self, polled: &Poll<io::Result<usize>>) {
        let Pulse {
            written, blocked, ..
        } = &*self.pulse;
        match polled {
            Poll::Pending => blocked.store(true, Ordering::Relaxed),
            Poll::Ready(Ok(count)) => {
                let before = written.load(Ordering::Relaxed);
                written.store(before + *count as u64, Ordering::Relaxed);
                blocked.store(false, Ordering::Relaxed);
            }
            Poll::Ready(Err(_)) => {}
        }
    }

    fn flushed(&self, polled: &Poll<io::Result<()>>) {
        // What a viewer has taken whole leaves it nothing to be late with.
        let blocked = &self.pulse.blocked;
        blocked.store(polled.is_pending(), Ordering::Relaxed);
    }

    /// A farewell would say that all went well.
    fn may_shut_down(&self) -> bool {
        !self.pulse.broken.load(Ordering::Relaxed)
    }

    fn closing(&self, stream: &T) {
        if self.pulse.broken.load(Ordering::Relaxed) {
            stream.reset_on_close();
        }
    }
}

/// One active connection.
#[derive(Debug)]
pub struct Active(Arc<EdgeCounters>);

impl Active {
    /// Counts a connection until it is dropped.
    #[must_use]
    pub fn new(counters: Arc<EdgeCounters>) -> Self {
        counters.active.add(1);
        Self(counters)
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.active.subtract(1);
    }
}
