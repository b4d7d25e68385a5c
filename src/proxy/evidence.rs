//! What a worker's own requests prove of endpoints, and how late answers usually come.
//!
//! Plain cells of one worker: nothing is locked, and after the first request of a route in a
//! region nothing is allocated.

use std::cell::RefCell;
use std::time::Duration;

use crate::apply::{Event, WindowCount};
use crate::model::id::{EndpointId, MAX_REGIONS, RegionId, RouteId};
use crate::model::outcome::ErrorKind;
use crate::model::time::Timestamp;
use crate::telemetry::histogram::HistogramTotals;

/// Failures in a row at one endpoint, seen by one worker, that condemn it at once, long before
/// its probes would. Envoy's default for consecutive gateway failures.
const FAILURES_THAT_CONDEMN: u32 = 5;

/// Late answers in a row that are worth telling.
const LATES_THAT_TELL: u32 = 5;

/// Answers until their times say what is usual.
const ENOUGH: u64 = 20;

/// When to hedge while too little is known: late enough to spare regions across an ocean, early
/// enough that a viewer does not give up.
const UNKNOWN_DELAY: Duration = Duration::from_millis(300);

/// Never hedge sooner: below it the scatter of a busy host alone would.
const LEAST_DELAY: Duration = Duration::from_millis(50);

/// Never hedge later.
const MOST_DELAY: Duration = Duration::from_secs(1);

/// How often counts go to the board.
const WINDOW: Duration = Duration::from_secs(1);

/// What is usual is taken of the newest one to two spans of this length.
const SPAN: Duration = Duration::from_secs(30);

/// One worker's evidence.
#[derive(Debug, Default)]
pub struct Evidence {
    inner: RefCell<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    generation: u64,
    streaks: Vec<Streaks>,
    /// By route, then by region.
    pairs: Vec<Option<Box<Pair>>>,
    drained: Timestamp,
    turned: Timestamp,
}

/// What happened in a row at one endpoint.
#[derive(Clone, Copy, Debug, Default)]
struct Streaks {
    generation: u32,
    failures: u32,
    lates: u32,
}

/// One route in one region.
#[derive(Debug, Default)]
struct Pair {
    requests: u32,
    failures: u32,
    second: HistogramTotals,
    newer: HistogramTotals,
    older: HistogramTotals,
    /// Three times the p99 of recent first bytes, without bounds; `None` while unknown.
    late: Option<Duration>,
}

impl Evidence {
    /// The response head of an attempt came `first_byte` after it was sent; `failed` if it is a
    /// gateway's failure (502, 503, 504 without `Retry-After`). Gives what the board must hear
    /// at once.
    #[must_use]
    pub fn answered(
        &self,
        (route, region): (RouteId, RegionId),
        endpoint: EndpointId,
        first_byte: Duration,
        failed: bool,
    ) -> Option<Event> {
        let inner = &mut *self.inner.borrow_mut();
        let pair = inner.pair(route, region);
        pair.requests = pair.requests.saturating_add(1);
        if failed {
            pair.failures = pair.failures.saturating_add(1);
            return inner.failed(endpoint, ErrorKind::GatewayStatus);
        }
        // The first second of a new pair counts as recent at the next sweep.
        pair.second.record(first_byte);
        let late = pair
            .late
            .is_some_and(|limit| first_byte > limit.max(LEAST_DELAY));
        let streaks = inner.streaks(endpoint);
        streaks.failures = 0;
        if late {
            return inner.late(endpoint);
        }
        streaks.lates = 0;
        None
    }

    /// An attempt failed in a way that blames the origin. Gives what the board must hear at once.
    #[must_use]
    pub fn failed(
        &self,
        (route, region): (RouteId, RegionId),
        endpoint: EndpointId,
        kind: ErrorKind,
    ) -> Option<Event> {
        let inner = &mut *self.inner.borrow_mut();
        let pair = inner.pair(route, region);
        pair.requests = pair.requests.saturating_add(1);
        pair.failures = pair.failures.saturating_add(1);
        inner.failed(endpoint, kind)
    }

    /// A hedge had to be sent because of this endpoint, and won. Gives what the board must hear
    /// at once.
    #[must_use]
    pub fn late(&self, endpoint: EndpointId) -> Option<Event> {
        self.inner.borrow_mut().late(endpoint)
    }

    /// How long to wait for a first byte before a second region is asked too: about three times
    /// what 99 of 100 answers of this route and region take, 50 ms to 1 s.
    #[must_use]
    pub fn hedge_delay(&self, route: RouteId, region: RegionId) -> Duration {
        let inner = self.inner.borrow();
        let pair = inner.pairs.get(place(route, region));
        let late = pair.and_then(|pair| pair.as_ref()?.late);
        late.map_or(UNKNOWN_DELAY, |late| late.clamp(LEAST_DELAY, MOST_DELAY))
    }

    /// What was counted since the last time, about once a second; to be called more often. Under
    /// another `generation` of the table routes and regions have other numbers, so that all is
    /// counted anew.
    #[must_use]
    pub fn drain(&self, generation: u64, now: Timestamp) -> Option<Event> {
        let inner = &mut *self.inner.borrow_mut();
        if inner.generation != generation {
            inner.generation = generation;
            inner.pairs.clear();
            return None;
        }
        if now.since(inner.drained) < WINDOW {
            return None;
        }
        inner.drained = now;
        let turns = now.since(inner.turned) >= SPAN;
        if turns {
            inner.turned = now;
        }
        let mut counts = Vec::new();
        for (at, pair) in inner.pairs.iter_mut().enumerate() {
            let Some(pair) = pair else { continue };
            let route = RouteId(u32::try_from(at / MAX_REGIONS).unwrap_or(u32::MAX));
            counts.extend(pair.close_window(route, RegionId::at(at % MAX_REGIONS), turns));
        }
        (!counts.is_empty()).then_some(Event::TrafficWindow { generation, counts })
    }
}

impl Inner {
    fn pair(&mut self, route: RouteId, region: RegionId) -> &mut Pair {
        let place = place(route, region);
        if self.pairs.len() <= place {
            self.pairs.resize_with(place + 1, || None);
        }
        self.pairs[place].get_or_insert_with(Box::default)
    }

    fn streaks(&mut self, endpoint: EndpointId) -> &mut Streaks {
        if self.streaks.len() <= endpoint.index() {
            self.streaks
                .resize_with(endpoint.index() + 1, Streaks::default);
        }
        let streaks = &mut self.streaks[endpoint.index()];
        if streaks.generation != endpoint.generation {
            *streaks = Streaks {
                generation: endpoint.generation,
                ..Streaks::default()
            };
        }
        streaks
    }

    fn failed(&mut self, endpoint: EndpointId, kind: ErrorKind) -> Option<Event> {
        let streaks = self.streaks(endpoint);
        streaks.failures = streaks.failures.saturating_add(1);
        let in_a_row = streaks.failures;
        in_a_row
            .is_multiple_of(FAILURES_THAT_CONDEMN)
            .then_some(Event::TrafficFailed {
                endpoint,
                kind,
                in_a_row,
            })
    }

    fn late(&mut self, endpoint: EndpointId) -> Option<Event> {
        let streaks = self.streaks(endpoint);
        streaks.lates = streaks.lates.saturating_add(1);
        let in_a_row = streaks.lates;
        in_a_row
            .is_multiple_of(LATES_THAT_TELL)
            .then_some(Event::TrafficLate { endpoint, in_a_row })
    }
}

impl Pair {
    /// Ends a window: gives its counts, and learns what is usual.
    fn close_window(
        &mut self,
        route: RouteId,
        region: RegionId,
        turns: bool,
    ) -> Option<WindowCount> {
        if turns {
            self.older = std::mem::take(&mut self.newer);
        }
        if self.requests == 0 && !turns {
            return None;
        }
        let second = std::mem::take(&mut self.second);
        self.newer.merge(&second);
        let mut recent = self.older.clone();
        recent.merge(&self.newer);
        let usual = recent.quantile(0.99).filter(|_| recent.count() >= ENOUGH);
        self.late = usual.map(|usual| usual * 3);
        let count = WindowCount {
            route,
            region,
            requests: std::mem::take(&mut self.requests),
            failures: std::mem::take(&mut self.failures),
            first_byte: second.quantile(0.5),
        };
        (count.requests > 0).then_some(count)
    }
}

fn place(route: RouteId, region: RegionId) -> usize {
    route.index() * MAX_REGIONS + region.index()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAIR: (RouteId, RegionId) = (RouteId(0), RegionId(1));
    const ENDPOINT: EndpointId = EndpointId {
        slot: 3,
        generation: 0,
    };

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::after_start(Duration::from_secs(seconds))
    }

    #[test]
    fn five_failures_in_a_row_are_told_at_once() {
        let evidence = Evidence::default();
        for _ in 0..4 {
            assert!(evidence.answered(PAIR, ENDPOINT, millis(5), true).is_none());
        }
        assert!(
            evidence
                .answered(PAIR, ENDPOINT, millis(5), false)
                .is_none()
        );
        for _ in 0..4 {
            let told = evidence.failed(PAIR, ENDPOINT, ErrorKind::ConnectRefused);
            assert!(told.is_none());
        }
        let told = evidence.failed(PAIR, ENDPOINT, ErrorKind::ConnectRefused);
        assert!(matches!(
            told,
            Some(Event::TrafficFailed { in_a_row: 5, .. })
        ));
    }

    #[test]
    fn the_hedge_follows_what_is_usual_within_bounds() {
        let evidence = Evidence::default();
        let delay = || evidence.hedge_delay(PAIR.0, PAIR.1);
        assert_eq!(delay(), millis(300));
        for second in 1..=2 {
            for _ in 0..20 {
                let _ = evidence.answered(PAIR, ENDPOINT, millis(40), false);
            }
            let _ = evidence.drain(0, at(second));
        }
        assert!(
            (millis(110)..millis(160)).contains(&delay()),
            "{:?}",
            delay()
        );
        for second in 100..=101 {
            for _ in 0..200 {
                let _ = evidence.answered(PAIR, ENDPOINT, millis(900), false);
            }
            let _ = evidence.drain(0, at(second));
        }
        assert_eq!(delay(), millis(1000));
    }

    #[test]
    fn late_answers_in_a_row_are_told_and_a_window_counts_all() {
        let evidence = Evidence::default();
        for _ in 0..20 {
            let _ = evidence.answered(PAIR, ENDPOINT, millis(10), false);
        }
        let _ = evidence.drain(0, at(1));
        let late = |_| evidence.answered(PAIR, ENDPOINT, millis(900), false);
        let told: Vec<_> = (0..5).filter_map(late).collect();
        assert!(matches!(told[..], [Event::TrafficLate { in_a_row: 5, .. }]));
        let Some(Event::TrafficWindow { counts, .. }) = evidence.drain(0, at(2)) else {
            panic!("a window is over");
        };
        assert_eq!((counts[0].requests, counts[0].failures), (5, 0));
        assert!(evidence.drain(0, at(3)).is_none());
    }
}
