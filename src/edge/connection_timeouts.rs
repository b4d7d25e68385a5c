//! What is watched of one connection, and what is due of it: no timer per request.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::Instant;

use crate::edge::counters::EdgeCounters;
use crate::edge::end::ConnectionEnd;
use crate::edge::http2_streams::{Http2Stream, Http2Streams};
use crate::edge::shutdown::ShutdownSignal;
use crate::edge::watched_stream::{Pulse, ViewerMeter};
use meridian_core::config::DownstreamTimeouts;

/// How long a connection that has not asked for anything may still do so once it is to shut down.
pub(super) const LAST_CALL: Duration = Duration::from_secs(1);

/// How long a connection must be idle until it gives its buffers back. A viewer that comes again
/// sooner finds them in place.
const PARK_AFTER: Duration = Duration::from_secs(1);

/// How long a connection that was told to finish, and serves no request, may take to close. A viewer
/// that answers no PING, or takes no bytes, would else keep it for ever.
const FAREWELL: Duration = Duration::from_secs(5);

/// Bytes written between two sweeps that show a viewer to take what is left of its answers: more than
/// what answers its PINGs.
const TAKEN: u64 = 512;

/// What a sweep asks of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SweepOrder {
    /// Give buffers back: it has been idle for a while, and still is.
    Park,
    /// Finish what is under way and close.
    Finish(ConnectionEnd),
    /// Close now: it is late with a head, or takes no bytes.
    Abort(ConnectionEnd),
}

/// What is watched of one connection.
#[derive(Debug)]
pub struct ConnectionWatch {
    pulse: Arc<Pulse>,
    counters: Arc<EdgeCounters>,
    shutdown: ShutdownSignal,
    http2: Cell<bool>,
    streams: Http2Streams,
    timeouts: DownstreamTimeouts,
    in_flight: Cell<u32>,
    served: Cell<bool>,
    /// It was told to park since its last request.
    parked: Cell<bool>,
    /// Its last request has a body, of which hyper may still be in the midst when it is answered.
    has_body: Cell<bool>,
    /// Counts beginnings and ends of requests: a state that they came between is not the same.
    turns: Cell<u64>,
    /// Bytes of bodies given to hyper. What is not written of them is in our buffers.
    given: Cell<u64>,
    /// When nothing was left there, or the viewer last took some of it.
    taken_at: Cell<Instant>,
    /// `pulse.read` when the last request ended.
    read_at_end: Cell<u64>,
    seen: Cell<(u64, u64)>,
    /// Since when the present state lasts, and in which turn it was first seen.
    state: Cell<(WatchState, u64, Instant)>,
    /// When it was told to finish.
    farewell: Cell<Option<Instant>>,
    order: Cell<Option<SweepOrder>>,
    /// The order was given and not taken yet.
    is_new: Cell<bool>,
    /// The connection, which waits for it.
    waker: RefCell<Option<Waker>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WatchState {
    /// Between requests, no byte of the next one.
    Idle,
    /// Some bytes of a head, or none of the first one.
    Head,
    /// A request is under way and bytes move, or none are due.
    Serving,
    /// The viewer takes no bytes, whether a request is under way or not.
    Blocked,
    /// All requests are done, and some of their answers may not be written yet.
    Sending,
}

/// While it lives, a request is under way on its connection.
#[derive(Debug)]
pub struct InFlight {
    watch: Rc<ConnectionWatch>,
    /// Its stream, on HTTP/2.
    stream: Option<Rc<Http2Stream>>,
}

impl ConnectionWatch {
    /// A connection that has not said a word yet.
    pub(super) fn new(
        meter: &ViewerMeter,
        shutdown: ShutdownSignal,
        timeouts: DownstreamTimeouts,
    ) -> Self {
        Self {
            pulse: Arc::clone(meter.pulse()),
            counters: Arc::clone(meter.counters()),
            shutdown,
            http2: Cell::new(false),
            streams: Http2Streams::default(),
            timeouts,
            in_flight: Cell::new(0),
            served: Cell::new(false),
            parked: Cell::new(false),
            has_body: Cell::new(false),
            turns: Cell::new(0),
            given: Cell::new(0),
            taken_at: Cell::new(Instant::now()),
            read_at_end: Cell::new(0),
            seen: Cell::new((0, 0)),
            state: Cell::new((WatchState::Head, 0, Instant::now())),
            farewell: Cell::new(None),
            order: Cell::new(None),
            is_new: Cell::new(false),
            waker: RefCell::default(),
        }
    }

    /// One look at it: orders what is due.
    pub(super) fn sweep(&self, now: Instant) {
        self.streams.sweep(now, self.timeouts.body_progress);
        if let Some(order) = self.due(now) {
            self.give(order, now);
        }
    }

    fn give(&self, order: SweepOrder, now: Instant) {
        let stronger = match self.order.get() {
            None | Some(SweepOrder::Park) => true,
            Some(SweepOrder::Finish(_)) => matches!(order, SweepOrder::Abort(_)),
            Some(SweepOrder::Abort(_)) => false,
        };
        if stronger {
            if matches!(order, SweepOrder::Finish(_)) {
                self.farewell.set(Some(now));
            }
            self.order.set(Some(order));
            self.is_new.set(true);
            if let Some(waker) = &*self.waker.borrow() {
                waker.wake_by_ref();
            }
        }
    }

    fn due(&self, now: Instant) -> Option<SweepOrder> {
        let state = self.state_now(now);
        let turn = self.turns.get();
        let (before, turn_before, since) = self.state.get();
        let has_turned =
            turn != turn_before && matches!(state, WatchState::Idle | WatchState::Head);
        if state != before || has_turned || state == WatchState::Serving {
            self.state.set((state, turn, now));
            return self.finish_if_closed(state, Duration::ZERO);
        }
        // What a viewer has not taken yet may also be gone, with a stream that it reset: so this is
        // not told from idling until the connection should end. Requests do not excuse it.
        let since = match state {
            WatchState::Sending => self.taken_at.get(),
            _ => since,
        };
        let lasted = now - since;
        if matches!(state, WatchState::Idle | WatchState::Sending)
            && let Some(SweepOrder::Finish(end)) = self.order.get()
            && let Some(told) = self.farewell.get()
            && now - told.max(since) >= FAREWELL
        {
            return Some(SweepOrder::Abort(end));
        }
        let (limit, order) = match state {
            WatchState::Head => (
                self.head_limit(),
                SweepOrder::Abort(ConnectionEnd::HeadTimeout),
            ),
            WatchState::Blocked => (
                self.timeouts.body_progress,
                SweepOrder::Abort(ConnectionEnd::WriteStalled),
            ),
            WatchState::Idle | WatchState::Sending => {
                (self.timeouts.idle, SweepOrder::Finish(ConnectionEnd::Idle))
            }
            WatchState::Serving => return self.finish_if_closed(state, lasted),
        };
        if lasted >= limit {
            return Some(order);
        }
        self.finish_if_closed(state, lasted)
            .or_else(|| self.park_if_idle(lasted))
    }

    fn park_if_idle(&self, lasted: Duration) -> Option<SweepOrder> {
        let due = lasted >= PARK_AFTER && self.may_park();
        (due && !self.parked.replace(true)).then_some(SweepOrder::Park)
    }

    /// All that was asked is answered and sent, and no byte of a head has come. Not after a request
    /// with a body: an answer may end before it, and what then still comes of it is no request.
    fn may_park(&self) -> bool {
        let read = self.pulse.read();
        self.in_flight.get() == 0
            && self.served.get()
            && !self.has_body.get()
            && self.given.get() <= self.pulse.written()
            && (self.http2.get() || read == self.read_at_end.get())
            && !self.pulse.is_blocked()
    }

    /// What comes after a request with a body may still be that body, which outlasts its answer.
    fn head_limit(&self) -> Duration {
        let timeouts = &self.timeouts;
        match self.has_body.get() {
            true => timeouts.head.max(timeouts.body_progress),
            false => timeouts.head,
        }
    }

    /// Once it is to shut down, a request under way is the last of its connection. A connection
    /// that has not said a word yet may have its first request on the way: it is given a moment.
    fn finish_if_closed(&self, state: WatchState, lasted: Duration) -> Option<SweepOrder> {
        let waits = state == WatchState::Head && lasted < LAST_CALL;
        (!waits && self.shutdown.is_given()).then_some(SweepOrder::Finish(ConnectionEnd::Drained))
    }

    fn state_now(&self, now: Instant) -> WatchState {
        let read = self.pulse.read();
        let written = self.pulse.written();
        let (_, written_before) = self.seen.replace((read, written));
        let is_sent = self.given.get() <= written;
        if is_sent || written - written_before >= TAKEN {
            self.taken_at.set(now);
        }
        if self.pulse.is_blocked() && written == written_before {
            return WatchState::Blocked;
        }
        if self.in_flight.get() > 0 {
            return WatchState::Serving;
        }
        if !is_sent {
            return WatchState::Sending;
        }
        // On HTTP/2 bytes between requests are pings and window updates, not heads.
        let head = !self.served.get() || (!self.http2.get() && read != self.read_at_end.get());
        if head {
            WatchState::Head
        } else {
            WatchState::Idle
        }
    }

    /// From now on it is known that the connection speaks HTTP/2.
    pub fn speaks_http2(&self) {
        self.http2.set(true);
    }

    /// Bytes of the next head were read with the request before it.
    pub fn has_begun_a_head(&self) {
        self.read_at_end.set(self.read_at_end.get().wrapping_sub(1));
    }

    /// A request begins, with or without a body.
    #[must_use]
    pub fn begin(self: &Rc<Self>, has_body: bool) -> InFlight {
        self.in_flight.set(self.in_flight.get() + 1);
        self.served.set(true);
        self.parked.set(false);
        self.has_body.set(has_body);
        self.turns.set(self.turns.get().wrapping_add(1));
        InFlight {
            watch: Rc::clone(self),
            stream: self.http2.get().then(|| self.streams.begin()),
        }
    }

    /// Its streams, on HTTP/2.
    #[must_use]
    pub fn streams(&self) -> &Http2Streams {
        &self.streams
    }

    /// Waits for the next order of a sweep. It is asked beside every step of the connection: to be
    /// told by a plain cell costs less than by a channel.
    pub fn poll_order(&self, cx: &Context<'_>) -> Poll<SweepOrder> {
        if self.is_new.take()
            && let Some(order) = self.order.get()
            && (order != SweepOrder::Park || self.may_park())
        {
            return Poll::Ready(order);
        }
        let mut waker = self.waker.borrow_mut();
        if !waker
            .as_ref()
            .is_some_and(|waker| waker.will_wake(cx.waker()))
        {
            *waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl InFlight {
    /// hyper asks for the response's next frame.
    pub fn asked(&self) {
        if let Some(stream) = &self.stream {
            stream.asked();
        }
    }

    /// The response's body broke off, and the viewer was to take the connection's end for its end.
    pub fn broke(&self) {
        self.watch.pulse.broke();
    }

    /// hyper was given the response's head, or a frame of it with so many bytes.
    pub fn gave(&self, bytes: usize) {
        let given = &self.watch.given;
        given.set(given.get() + bytes as u64);
        if let Some(stream) = &self.stream {
            stream.gave();
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let watch = &self.watch;
        if let Some(stream) = &self.stream {
            watch.streams.end(stream);
        }
        if std::thread::panicking() {
            watch.counters.panics.add(1);
        }
        watch.in_flight.set(watch.in_flight.get().saturating_sub(1));
        watch.turns.set(watch.turns.get().wrapping_add(1));
        watch.read_at_end.set(watch.pulse.read());
    }
}
