//! The connections of one worker, so that one sweep finds the idle, the slow and the stuck.

use std::cell::RefCell;
use std::rc::Rc;

use slab::Slab;
use tokio::time::Instant;

use crate::edge::connection_timeouts::ConnectionWatch;
use crate::edge::shutdown::ShutdownSignal;
use crate::edge::watched_stream::{Abrupt, Active, ViewerMeter, WatchedStream};
use crate::stream::counted::CountedStream;
use meridian_core::config::DownstreamTimeouts;

/// The connections of one worker.
#[derive(Debug, Default)]
pub struct Connections(RefCell<Slab<Rc<ConnectionWatch>>>);

/// While it lives, its connection is watched.
#[derive(Debug)]
pub struct Registration {
    connections: Rc<Connections>,
    place: usize,
    watch: Rc<ConnectionWatch>,
}

impl Connections {
    /// Watches `stream`, which ends with `shutdown`, under these limits.
    #[must_use]
    pub fn watch<T: Abrupt>(
        self: &Rc<Self>,
        stream: T,
        active: Active,
        shutdown: ShutdownSignal,
        timeouts: DownstreamTimeouts,
    ) -> (WatchedStream<T>, Registration) {
        let meter = ViewerMeter::new(active);
        let watch = Rc::new(ConnectionWatch::new(&meter, shutdown, timeouts));
        let registration = Registration {
            connections: Rc::clone(self),
            place: self.0.borrow_mut().insert(Rc::clone(&watch)),
            watch,
        };
        (CountedStream::new(stream, meter), registration)
    }

    /// Tells every connection that has outstayed a limit to end, and every one to finish that is
    /// to shut down.
    pub fn sweep(&self, now: Instant) {
        for (_, watch) in self.0.borrow().iter() {
            watch.sweep(now);
        }
    }
}

impl Registration {
    /// What is watched.
    #[must_use]
    pub fn watch(&self) -> &Rc<ConnectionWatch> {
        &self.watch
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.connections.0.borrow_mut().remove(self.place);
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;
    use std::task::{Context, Poll, Waker};
    use std::time::Duration;

    use tokio::io::{Empty, empty};
    use tokio::time::advance;

    use super::*;
    use crate::edge::connection_timeouts::SweepOrder;
    use crate::edge::counters::EdgeCounters;
    use crate::edge::end::ConnectionEnd;
    use crate::stream::counted::StreamMeter;
    use crate::telemetry::metrics::MetricsRegistry;

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
    ) -> Vec<SweepOrder> {
        let mut orders = Vec::new();
        let cx = Context::from_waker(Waker::noop());
        for _ in 0..seconds {
            advance(SECOND).await;
            connections.sweep(Instant::now());
            if let Poll::Ready(order) = registration.watch().poll_order(&cx) {
                orders.push(order);
            }
        }
        orders
    }

    fn watched() -> (Rc<Connections>, WatchedStream<Empty>, Registration) {
        let connections = Rc::new(Connections::default());
        let (guard, shutdown) = ShutdownSignal::new();
        std::mem::forget(guard);
        let active = Active::new(Arc::new(EdgeCounters::new(&MetricsRegistry::default())));
        let timeouts = DownstreamTimeouts::default();
        let (stream, registration) = connections.watch(empty(), active, shutdown, timeouts);
        (connections, stream, registration)
    }

    #[tokio::test(start_paused = true)]
    async fn requests_between_two_sweeps_keep_a_connection_from_being_idle() {
        let (connections, _stream, registration) = watched();
        for _ in 0..200 {
            drop(registration.watch().begin(false));
            assert_eq!(orders(&connections, &registration, 1).await, []);
        }
        let idle = orders(&connections, &registration, 80).await;
        assert_eq!(
            idle[..2],
            [SweepOrder::Park, SweepOrder::Finish(ConnectionEnd::Idle)]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_does_not_close_when_it_should_is_cut_off() {
        let (connections, _stream, registration) = watched();
        registration.watch().speaks_http2();
        drop(registration.watch().begin(false));
        let end = ConnectionEnd::Idle;
        let orders = orders(&connections, &registration, 90).await;
        assert_eq!(
            orders,
            [
                SweepOrder::Park,
                SweepOrder::Finish(end),
                SweepOrder::Abort(end)
            ]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_left_of_an_answer_must_be_taken_too() {
        let (connections, stream, registration) = watched();
        drop(registration.watch().begin(false));
        wrote(&stream, &Poll::Pending);
        let orders = orders(&connections, &registration, 20).await;
        assert_eq!(orders, [SweepOrder::Abort(ConnectionEnd::WriteStalled)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_viewer_that_takes_its_answers_slowly_but_steadily_is_not_idle() {
        let (connections, stream, registration) = watched();
        registration.watch().speaks_http2();
        let request = registration.watch().begin(false);
        request.gave(200_000);
        drop(request);
        for _ in 0..200 {
            wrote(&stream, &Poll::Ready(Ok(1000)));
            assert_eq!(orders(&connections, &registration, 1).await, []);
        }
        let idle = orders(&connections, &registration, 80).await;
        assert_eq!(
            idle[..2],
            [SweepOrder::Park, SweepOrder::Finish(ConnectionEnd::Idle)]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn small_answers_do_not_hide_that_large_ones_are_not_taken() {
        let (connections, stream, registration) = watched();
        registration.watch().speaks_http2();
        let request = registration.watch().begin(false);
        request.gave(200_000);
        drop(request);
        let mut all = Vec::new();
        for _ in 0..90 {
            drop(registration.watch().begin(false));
            wrote(&stream, &Poll::Ready(Ok(100)));
            all.extend(orders(&connections, &registration, 1).await);
        }
        let end = ConnectionEnd::Idle;
        assert_eq!(all, [SweepOrder::Finish(end), SweepOrder::Abort(end)]);
    }

    #[tokio::test(start_paused = true)]
    async fn new_requests_do_not_excuse_a_viewer_that_takes_no_bytes() {
        let (connections, stream, registration) = watched();
        let _first = registration.watch().begin(false);
        wrote(&stream, &Poll::Pending);
        let mut all = Vec::new();
        for _ in 0..20 {
            drop(registration.watch().begin(false));
            all.extend(orders(&connections, &registration, 1).await);
        }
        assert_eq!(all, [SweepOrder::Abort(ConnectionEnd::WriteStalled)]);
    }
}
