//! After `101 Switching Protocols`: bytes both ways until either side closes.

use std::cell::Cell;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

use crate::proxy::recorder::Recorder;
use crate::stream::counted::{CountedStream, StreamMeter};
use crate::stream::prefixed::Prefixed;
use crate::upstream::connect::UpstreamStream;
use crate::upstream::pool::Outstanding;

/// Bytes in flight each way, per tunnel.
const TUNNEL_BUFFER: usize = 16 << 10;

/// Once one side has closed, or takes no more bytes, the tunnel may be silent for so long: a side that
/// takes no notice would keep both connections for ever. Otherwise it may be silent as long as it
/// likes.
const HALF_CLOSED: Duration = Duration::from_secs(60);

/// The two ends of a tunnel to be.
#[derive(Debug)]
pub(super) struct Tunnel {
    /// The viewer's connection, once its answer is written.
    pub(super) viewer: OnUpgrade,
    /// The origin's connection.
    pub(super) origin: Prefixed<UpstreamStream>,
    /// Counts the tunnel at its endpoint.
    pub(super) outstanding: Outstanding,
}

impl Tunnel {
    /// Carries bytes in the background until both sides have closed, or one has and nothing moves;
    /// then finishes the record.
    pub(super) fn start(self, mut recorder: Recorder) {
        tokio::task::spawn_local(async move {
            let _outstanding = self.outstanding;
            let Ok(viewer) = self.viewer.await else {
                return;
            };
            let of_viewer = Rc::<Carried>::default();
            let of_origin = Rc::<Carried>::default();
            let mut viewer = CountedStream::new(TokioIo::new(viewer), Rc::clone(&of_viewer));
            let mut origin = CountedStream::new(self.origin, Rc::clone(&of_origin));
            let carrying = tokio::io::copy_bidirectional_with_sizes(
                &mut viewer,
                &mut origin,
                TUNNEL_BUFFER,
                TUNNEL_BUFFER,
            );
            let mut carrying = pin!(carrying);
            let total = || of_viewer.total() + of_origin.total();
            let mut before = None;
            // How it ended is told to both sides by their closed connections; that one reset its
            // own is an end like another.
            while timeout(HALF_CLOSED, &mut carrying).await.is_err() {
                let stands_still = before.replace(total()) == Some(total());
                if stands_still && (of_viewer.is_half_closed() || of_origin.is_half_closed()) {
                    break;
                }
            }
            recorder.tunnelled(of_viewer.read.get(), of_viewer.written.get());
        });
    }
}

/// What a side of a tunnel has sent and taken.
#[derive(Debug, Default)]
struct Carried {
    read: Cell<u64>,
    written: Cell<u64>,
    /// It will send no more.
    ended: Cell<bool>,
    /// It takes no more.
    blocked: Cell<bool>,
}

impl Carried {
    fn total(&self) -> u64 {
        self.read.get() + self.written.get()
    }

    fn is_half_closed(&self) -> bool {
        self.ended.get() || self.blocked.get()
    }
}

impl<T> StreamMeter<T> for Rc<Carried> {
    fn read(&self, count: usize, is_end: bool) -> io::Result<()> {
        self.read.set(self.read.get() + count as u64);
        self.ended.set(self.ended.get() || is_end);
        Ok(())
    }

    fn wrote(&self, polled: &Poll<io::Result<usize>>) {
        self.blocked.set(polled.is_pending());
        if let Poll::Ready(Ok(count)) = polled {
            self.written.set(self.written.get() + *count as u64);
        }
    }
}
