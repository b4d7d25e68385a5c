//! What a worker watches of its connections, so that one sweep finds the idle, the slow and the
//! stuck: no timer per request.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use socket2::SockRef;
use tokio::time::Instant;

use crate::edge::counters::EdgeCounters;
use crate::edge::end::ConnectionEnd;
use crate::edge::shutdown::ShutdownSignal;
use crate::edge::streams::{Stream, Streams};
use crate::stream::counted::{CountedStream, StreamMeter};
use crate::stream::prefixed::Prefixed;
use crate::stream::socket::Socket;
use meridian_core::config::DownstreamTimeouts;

/// How long a connection that has not asked for anything may still do so once its shutdown is closed.
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

/// Bytes that moved. Written by the connection's own thread only; atomic because hyper wants to
/// send upgraded streams between threads.
#[derive(Debug, Default)]
struct Pulse {
    read: AtomicU64,
    written: AtomicU64,
    /// The last write found the viewer's window full.
    blocked: AtomicBool,
    /// The last answer broke off, and only a reset can say so.
    broken: AtomicBool,
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
    _active: Active,
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
        counters.active.raise();
        Self(counters)
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.active.lower();
    }
}

/// What a sweep asks of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Give buffers back: it has been idle for a while, and still is.
    Park,
    /// Finish what is under way and close.
    Finish(ConnectionEnd),
    /// Close now: it is late with a head, or takes no bytes.
    Abort(ConnectionEnd),
}

/// The connections of one worker.
#[derive(Debug, Default)]
pub struct Connections {
    entries: RefCell<Vec<Option<Rc<Watch>>>>,
    free: RefCell<Vec<usize>>,
}

/// What is watched of one connection.
#[derive(Debug)]
pub struct Watch {
    pulse: Arc<Pulse>,
    counters: Arc<EdgeCounters>,
    shutdown: ShutdownSignal,
    http2: Cell<bool>,
    streams: Streams,
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
    state: Cell<(State, u64, Instant)>,
    /// When it was told to finish.
    farewell: Cell<Option<Instant>>,
    order: Cell<Option<Order>>,
    /// The order was given and not taken yet.
    is_new: Cell<bool>,
    /// The connection, which waits for it.
    waker: RefCell<Option<Waker>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
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

/// While it lives, its connection is watched.
#[derive(Debug)]
pub struct Registration {
    connections: Rc<Connections>,
    place: usize,
    watch: Rc<Watch>,
}

/// While it lives, a request is under way on its connection.
#[derive(Debug)]
pub struct InFlight {
    watch: Rc<Watch>,
    /// Its stream, on HTTP/2.
    stream: Option<Rc<Stream>>,
}

impl Connections {
    /// Watches `stream`, which came in through `shutdown`, under these limits.
    #[must_use]
    pub fn watch<T: Abrupt>(
        self: &Rc<Self>,
        stream: T,
        active: Active,
        shutdown: ShutdownSignal,
        timeouts: DownstreamTimeouts,
    ) -> (WatchedStream<T>, Registration) {
        let pulse = Arc::new(Pulse::default());
        let watch = Rc::new(Watch {
            pulse: Arc::clone(&pulse),
            counters: Arc::clone(&active.0),
            shutdown,
            http2: Cell::new(false),
            streams: Streams::default(),
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
            state: Cell::new((State::Head, 0, Instant::now())),
            farewell: Cell::new(None),
            order: Cell::new(None),
            is_new: Cell::new(false),
            waker: RefCell::default(),
        });
        let place = self.enter(Rc::clone(&watch));
        let registration = Registration {
            connections: Rc::clone(self),
            place,
            watch,
        };
        let meter = ViewerMeter {
            pulse,
            _active: active,
        };
        (CountedStream::new(stream, meter), registration)
    }

    fn enter(&self, watch: Rc<Watch>) -> usize {
        let mut entries = self.entries.borrow_mut();
        if let Some(place) = self.free.borrow_mut().pop() {
            entries[place] = Some(watch);
            return place;
        }
        entries.push(Some(watch));
        entries.len() - 1
    }

    /// Tells every connection that has outstayed a limit to end, and every one to finish whose
    /// shutdown is closed.
    pub fn sweep(&self, now: Instant) {
        for watch in self.entries.borrow().iter().flatten() {
            watch.streams.sweep(now, watch.timeouts.body_progress);
            if let Some(order) = watch.due(now) {
                watch.give(order, now);
            }
        }
    }
}

impl Watch {
    fn give(&self, order: Order, now: Instant) {
        let stronger = match self.order.get() {
            None | Some(Order::Park) => true,
            Some(Order::Finish(_)) => matches!(order, Order::Abort(_)),
            Some(Order::Abort(_)) => false,
        };
        if stronger {
            if matches!(order, Order::Finish(_)) {
                self.farewell.set(Some(now));
            }
            self.order.set(Some(order));
            self.is_new.set(true);
            if let Some(waker) = &*self.waker.borrow() {
                waker.wake_by_ref();
            }
        }
    }

    fn due(&self, now: Instant) -> Option<Order> {
        let state = self.state_now(now);
        let turn = self.turns.get();
        let (before, turn_before, since) = self.state.get();
        let has_turned = turn != turn_before && matches!(state, State::Idle | State::Head);
        if state != before || has_turned || state == State::Serving {
            self.state.set((state, turn, now));
            return self.finish_if_closed(state, Duration::ZERO);
        }
        // What a viewer has not taken yet may also be gone, with a stream that it reset: so this is
        // not told from idling until the connection should end. Requests do not excuse it.
        let since = match state {
            State::Sending => self.taken_at.get(),
            _ => since,
        };
        let lasted = now - since;
        if matches!(state, State::Idle | State::Sending)
            && let Some(Order::Finish(end)) = self.order.get()
            && let Some(told) = self.farewell.get()
            && now - told.max(since) >= FAREWELL
        {
            return Some(Order::Abort(end));
        }
        let (limit, order) = match state {
            State::Head => (self.head_limit(), Order::Abort(ConnectionEnd::HeadTimeout)),
            State::Blocked => (
                self.timeouts.body_progress,
                Order::Abort(ConnectionEnd::WriteStalled),
            ),
            State::Idle | State::Sending => {
                (self.timeouts.idle, Order::Finish(ConnectionEnd::Idle))
            }
            State::Serving => return self.finish_if_closed(state, lasted),
        };
        if lasted >= limit {
            return Some(order);
        }
        self.finish_if_closed(state, lasted)
            .or_else(|| self.park_if_idle(lasted))
    }

    fn park_if_idle(&self, lasted: Duration) -> Option<Order> {
        let due = lasted >= PARK_AFTER && self.may_park();
        (due && !self.parked.replace(true)).then_some(Order::Park)
    }

    /// All that was asked is answered and sent, and no byte of a head has come. Not after a request
    /// with a body: an answer may end before it, and what then still comes of it is no request.
    fn may_park(&self) -> bool {
        let read = self.pulse.read.load(Ordering::Relaxed);
        self.in_flight.get() == 0
            && self.served.get()
            && !self.has_body.get()
            && self.given.get() <= self.pulse.written.load(Ordering::Relaxed)
            && (self.http2.get() || read == self.read_at_end.get())
            && !self.pulse.blocked.load(Ordering::Relaxed)
    }

    /// What comes after a request with a body may still be that body, which outlasts its answer.
    fn head_limit(&self) -> Duration {
        let timeouts = &self.timeouts;
        match self.has_body.get() {
            true => timeouts.head.max(timeouts.body_progress),
            false => timeouts.head,
        }
    }

    /// Once the shutdown is closed, a request under way is the last of its connection. A connection
    /// that has not said a word yet may have its first request on the way: it is given a moment.
    fn finish_if_closed(&self, state: State, lasted: Duration) -> Option<Order> {
        let waits = state == State::Head && lasted < LAST_CALL;
        (!waits && self.shutdown.is_given()).then_some(Order::Finish(ConnectionEnd::Drained))
    }

    fn state_now(&self, now: Instant) -> State {
        let read = self.pulse.read.load(Ordering::Relaxed);
        let written = self.pulse.written.load(Ordering::Relaxed);
        let (_, written_before) = self.seen.replace((read, written));
        let is_sent = self.given.get() <= written;
        if is_sent || written - written_before >= TAKEN {
            self.taken_at.set(now);
        }
        if self.pulse.blocked.load(Ordering::Relaxed) && written == written_before {
            return State::Blocked;
        }
        if self.in_flight.get() > 0 {
            return State::Serving;
        }
        if !is_sent {
            return State::Sending;
        }
        // On HTTP/2 bytes between requests are pings and window updates, not heads.
        let head = !self.served.get() || (!self.http2.get() && read != self.read_at_end.get());
        if head { State::Head } else { State::Idle }
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
    pub fn streams(&self) -> &Streams {
        &self.streams
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
        self.watch.pulse.broken.store(true, Ordering::Relaxed);
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
            watch.counters.panics.raise();
        }
        watch.in_flight.set(watch.in_flight.get().saturating_sub(1));
        watch.turns.set(watch.turns.get().wrapping_add(1));
        watch
            .read_at_end
            .set(watch.pulse.read.load(Ordering::Relaxed));
    }
}

impl Registration {
    /// What is watched.
    #[must_use]
    pub fn watched(&self) -> &Rc<Watch> {
        &self.watch
    }

    /// Waits for the next order of a sweep. It is asked beside every step of the connection: to be
    /// told by a plain cell costs less than by a channel.
    pub fn poll_order(&self, cx: &Context<'_>) -> Poll<Order> {
        if self.watch.is_new.take()
            && let Some(order) = self.watch.order.get()
            && (order != Order::Park || self.watch.may_park())
        {
            return Poll::Ready(order);
        }
        let mut waker = self.watch.waker.borrow_mut();
        if !waker
            .as_ref()
            .is_some_and(|waker| waker.will_wake(cx.waker()))
        {
            *waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.connections.entries.borrow_mut()[self.place] = None;
        self.connections.free.borrow_mut().push(self.place);
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{Empty, empty};
    use tokio::time::advance;

    use super::*;

    impl Abrupt for Empty {
        fn reset_on_close(&self) {}
    }

    const SECOND: Duration = Duration::from_secs(1);

    fn wrote(stream: &WatchedStream<Empty>, polled: &Poll<io::Result<usize>>) {
        StreamMeter::<Empty>::wrote(stream.meter(), polled);
    }

    /// The orders that `seconds` of sweeps bring, one a second.
    async fn orders(
        connections: &Connections,
        registration: &Registration,
        seconds: u32,
    ) -> Vec<Order> {
        let mut orders = Vec::new();
        let cx = Context::from_waker(Waker::noop());
        for _ in 0..seconds {
            advance(SECOND).await;
            connections.sweep(Instant::now());
            if let Poll::Ready(order) = registration.poll_order(&cx) {
                orders.push(order);
            }
        }
        orders
    }

    fn watched() -> (Rc<Connections>, WatchedStream<Empty>, Registration) {
        let connections = Rc::new(Connections::default());
        let (guard, shutdown) = ShutdownSignal::new();
        std::mem::forget(guard);
        let active = Active::new(Arc::default());
        let timeouts = DownstreamTimeouts::default();
        let (stream, registration) = connections.watch(empty(), active, shutdown, timeouts);
        (connections, stream, registration)
    }

    #[tokio::test(start_paused = true)]
    async fn requests_between_two_sweeps_keep_a_connection_from_being_idle() {
        let (connections, _stream, registration) = watched();
        for _ in 0..200 {
            drop(registration.watched().begin(false));
            assert_eq!(orders(&connections, &registration, 1).await, []);
        }
        let idle = orders(&connections, &registration, 80).await;
        assert_eq!(idle[..2], [Order::Park, Order::Finish(ConnectionEnd::Idle)]);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_does_not_close_when_it_should_is_cut_off() {
        let (connections, _stream, registration) = watched();
        registration.watched().speaks_http2();
        drop(registration.watched().begin(false));
        let end = ConnectionEnd::Idle;
        let orders = orders(&connections, &registration, 90).await;
        assert_eq!(orders, [Order::Park, Order::Finish(end), Order::Abort(end)]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_left_of_an_answer_must_be_taken_too() {
        let (connections, stream, registration) = watched();
        drop(registration.watched().begin(false));
        wrote(&stream, &Poll::Pending);
        let orders = orders(&connections, &registration, 20).await;
        assert_eq!(orders, [Order::Abort(ConnectionEnd::WriteStalled)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_viewer_that_takes_its_answers_slowly_but_steadily_is_not_idle() {
        let (connections, stream, registration) = watched();
        registration.watched().speaks_http2();
        let request = registration.watched().begin(false);
        request.gave(200_000);
        drop(request);
        for _ in 0..200 {
            wrote(&stream, &Poll::Ready(Ok(1000)));
            assert_eq!(orders(&connections, &registration, 1).await, []);
        }
        let idle = orders(&connections, &registration, 80).await;
        assert_eq!(idle[..2], [Order::Park, Order::Finish(ConnectionEnd::Idle)]);
    }

    #[tokio::test(start_paused = true)]
    async fn small_answers_do_not_hide_that_large_ones_are_not_taken() {
        let (connections, stream, registration) = watched();
        registration.watched().speaks_http2();
        let request = registration.watched().begin(false);
        request.gave(200_000);
        drop(request);
        let mut all = Vec::new();
        for _ in 0..90 {
            drop(registration.watched().begin(false));
            wrote(&stream, &Poll::Ready(Ok(100)));
            all.extend(orders(&connections, &registration, 1).await);
        }
        let end = ConnectionEnd::Idle;
        assert_eq!(all, [Order::Finish(end), Order::Abort(end)]);
    }

    #[tokio::test(start_paused = true)]
    async fn new_requests_do_not_excuse_a_viewer_that_takes_no_bytes() {
        let (connections, stream, registration) = watched();
        let _first = registration.watched().begin(false);
        wrote(&stream, &Poll::Pending);
        let mut all = Vec::new();
        for _ in 0..20 {
            drop(registration.watched().begin(false));
            all.extend(orders(&connections, &registration, 1).await);
        }
        assert_eq!(all, [Order::Abort(ConnectionEnd::WriteStalled)]);
    }
}
