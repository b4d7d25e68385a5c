//! What a worker's own requests prove of endpoints and regions, and how late answers usually come.
//!
//! Plain cells of one worker: nothing is locked, and after the first request of a route in a
//! region nothing is allocated.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::apply::{Event, WindowCount};
use crate::hedge::Pace;
use crate::model::id::{EndpointId, RegionId, RegionSet, RouteId};
use crate::model::outcome::ErrorKind;
use crate::model::time::Timestamp;

/// Failures in a row at one endpoint, seen by one worker, that condemn it at once, long before
/// its probes would. Envoy's default for consecutive gateway failures.
const FAILURES_THAT_CONDEMN: u32 = 5;

/// Late answers in a row that are worth telling.
const LATES_THAT_TELL: u32 = 5;

/// Late answers in a row that condemn where nothing else was asked, so that more of them are needed.
const LATES_ALONE_THAT_TELL: u32 = 10;

/// A write is not late before, whatever is usual: nobody else is asked, so that nothing is gained by
/// knowing sooner.
const LEAST_WRITE_PATIENCE: Duration = Duration::from_millis(250);

/// Failures in a row that call for a probe at once.
const FAILURES_THAT_ALARM: u32 = 2;

/// So many failures, and every fifth request among them, are told before the second is over.
const FAILURES_THAT_HURRY: u32 = 10;

/// What one worker's requests may ask of the board in a second: a viewer can make as many of them fail
/// as it likes.
const ALARMS_A_SECOND: u32 = 32;
const HURRIES_A_SECOND: u32 = 10;

/// Seconds without a request after which a pair makes room.
const QUIET: u8 = 60;

/// How often counts go to the board.
const WINDOW: Duration = Duration::from_secs(1);

/// Pairs of a route and a region that are counted; further ones are not, and take the usual
/// patience.
const PAIRS: usize = 4096;

/// A route in a region.
pub type PairId = (RouteId, RegionId);

/// One worker's evidence.
#[derive(Debug, Default)]
pub struct Evidence {
    inner: RefCell<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    generation: u64,
    streaks: Vec<Streaks>,
    pairs: HashMap<PairId, Pair, foldhash::fast::RandomState>,
    drained: Timestamp,
    /// Requests whose pair there was no room for.
    crowded_out: u64,
    /// One of 64 bits for each viewer of this second, and of the one before.
    viewers: [u64; 2],
    /// Probes that were asked for, and windows that were hurried, in this second.
    alarms: u32,
    hurries: u32,
}

/// What happened in a row at one endpoint.
#[derive(Clone, Copy, Debug, Default)]
struct Streaks {
    generation: u32,
    failures: u32,
    lates: u32,
    /// Late answers in a row that nothing was compared with, and whose they were. Reads that go well
    /// say nothing of writes.
    reads_alone: Alone,
    writes_alone: Alone,
    /// Failures that could not be compared.
    doubts: u32,
    /// Among the failures or lates was a body: a head that comes in time clears nothing then.
    bodies_doubted: bool,
}

/// Late answers in a row that nothing was compared with, and whose they were.
#[derive(Clone, Copy, Debug, Default)]
struct Alone {
    late: u32,
    viewers: u64,
}

/// One route in one region.
#[derive(Debug, Default)]
struct Pair {
    pace: Pace,
    /// Seconds without a request.
    quiet: u8,
    /// Of requests that must not be asked twice, which are known by their own times only.
    writes: Pace,
    seen: Seen,
}

/// What was seen since the last time the board was told.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    requests: u32,
    failures: u32,
    alone: u32,
    waits: u32,
    viewers: u64,
    failing_viewers: u64,
    /// Sum of first bytes in microseconds, and how many.
    first_bytes: u64,
    timed: u32,
}

/// How an attempt failed, as far as evidence goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Another region, or another endpoint, did better with the same request.
    Compared,
    /// Nothing else was tried: the request could not be repeated.
    Alone,
    /// It asked to be spared: 429, or 503 with `Retry-After`.
    AskedToWait,
}

impl Evidence {
    /// A good answer came `first_byte` after the request was sent; `whole` says whether its body is
    /// here to the last byte. Gives what the board must hear at once.
    #[must_use]
    pub fn answered(
        &self,
        pair: PairId,
        endpoint: EndpointId,
        viewer: IpAddr,
        first_byte: Duration,
        whole: bool,
    ) -> Option<Event> {
        let inner = &mut *self.inner.borrow_mut();
        inner.viewers[0] |= mark(viewer);
        let mut late = false;
        if let Some(pair) = inner.pair(pair) {
            pair.seen.request(viewer);
            pair.seen.timed(first_byte);
            late = pair.pace.is_late(first_byte);
            pair.pace.observe(first_byte);
        }
        if late {
            // Nothing was faster: it may be the path, or the viewer, that is slow.
            return inner.late_alone(endpoint, viewer, false);
        }
        let streaks = inner.streaks(endpoint);
        if whole || !streaks.bodies_doubted {
            *streaks = streaks.cleared();
        }
        None
    }

    /// A body that came after a good head is here to its last byte.
    pub fn whole(&self, endpoint: EndpointId) {
        let inner = &mut *self.inner.borrow_mut();
        let streaks = inner.streaks(endpoint);
        if streaks.bodies_doubted {
            *streaks = streaks.cleared();
        }
    }

    /// An attempt failed in a way that blames the origin. Gives what the board must hear at once.
    #[must_use]
    pub fn failed(
        &self,
        pair: PairId,
        endpoint: EndpointId,
        viewer: IpAddr,
        kind: ErrorKind,
        verdict: Verdict,
    ) -> Option<Event> {
        let inner = &mut *self.inner.borrow_mut();
        let may_hurry = inner.hurries < HURRIES_A_SECOND;
        inner.viewers[0] |= mark(viewer);
        let hurried = inner
            .pair(pair)
            .and_then(|found| found.failed(pair, viewer, verdict, may_hurry));
        if let Some(count) = hurried {
            return Some(inner.hurry(count));
        }
        match verdict {
            Verdict::Compared => inner.failed(endpoint, kind),
            Verdict::Alone => inner.doubted(endpoint),
            Verdict::AskedToWait => None,
        }
    }

    /// The body of an answer that was counted as good broke off or stood still.
    #[must_use]
    pub fn body_failed(&self, pair: PairId, endpoint: EndpointId, viewer: IpAddr) -> Option<Event> {
        let inner = &mut *self.inner.borrow_mut();
        let may_hurry = inner.hurries < HURRIES_A_SECOND;
        inner.streaks(endpoint).bodies_doubted = true;
        let hurried = inner
            .pair(pair)
            .and_then(|found| found.body_failed(pair, viewer, may_hurry));
        match hurried {
            Some(count) => Some(inner.hurry(count)),
            None => inner.doubted(endpoint),
        }
    }

    /// A request failed there, and everywhere else: nothing is proved, and a probe should look.
    #[must_use]
    pub fn doubted(&self, endpoint: EndpointId) -> Option<Event> {
        self.inner.borrow_mut().doubted(endpoint)
    }

    /// A write was answered well, so long after it was sent. To be called beside
    /// [`Evidence::answered`].
    pub fn written(&self, pair: PairId, endpoint: EndpointId, first_byte: Duration) {
        let inner = &mut *self.inner.borrow_mut();
        inner.streaks(endpoint).writes_alone = Alone::default();
        if let Some(pair) = inner.pair(pair) {
            pair.writes.observe(first_byte);
        }
    }

    /// How long a write may take until it counts as late; `None` while too little is known of
    /// writes.
    #[must_use]
    pub fn write_patience(&self, pair: PairId) -> Option<Duration> {
        let inner = self.inner.borrow();
        let late = inner.pairs.get(&pair)?.writes.late_after()?;
        Some(late.max(LEAST_WRITE_PATIENCE))
    }

    /// A write is late. Gives what the board must hear at once.
    #[must_use]
    pub fn late_write(&self, endpoint: EndpointId, viewer: IpAddr) -> Option<Event> {
        self.inner.borrow_mut().late_alone(endpoint, viewer, true)
    }

    /// A hedge had to be sent because of this endpoint, and won; the body was already on its way if
    /// `body`. Gives what the board must hear at once.
    #[must_use]
    pub fn late(&self, endpoint: EndpointId, body: bool) -> Option<Event> {
        self.inner.borrow_mut().late(endpoint, body)
    }

    /// How long to wait for a first byte before a second region is asked too. `probed` is what
    /// probes say that a first byte takes, for while no request has told.
    #[must_use]
    pub fn hedge_delay(&self, pair: PairId, probed: Option<Duration>) -> Duration {
        let inner = self.inner.borrow();
        let known = inner
            .pairs
            .get(&pair)
            .and_then(|pair| pair.pace.late_after());
        known.unwrap_or_else(|| Pace::late_after_probes(probed))
    }

    /// Forgets how `regions` did: they come back, and what was usual of them need not be.
    pub fn forget(&self, regions: RegionSet) {
        let pairs = &mut self.inner.borrow_mut().pairs;
        pairs.retain(|(_, region), _| !regions.contains(*region));
    }

    /// Requests since the last time whose pair of a route and a region there was no room for.
    #[must_use]
    pub fn take_crowded_out(&self) -> u64 {
        std::mem::take(&mut self.inner.borrow_mut().crowded_out)
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
        inner.viewers = [0, inner.viewers[0]];
        (inner.alarms, inner.hurries) = (0, 0);
        inner.pairs.retain(|_, pair| pair.is_alive());
        let mut counts: Vec<_> = inner
            .pairs
            .iter_mut()
            .filter_map(|(id, pair)| pair.seen.take(*id))
            .collect();
        // The order in a hash map is not the same twice; what is believed must be.
        counts.sort_unstable_by_key(|count| (count.route, count.region));
        (!counts.is_empty()).then_some(Event::TrafficWindow { generation, counts })
    }
}

impl Inner {
    fn pair(&mut self, id: PairId) -> Option<&mut Pair> {
        if self.pairs.len() >= PAIRS && !self.pairs.contains_key(&id) {
            self.crowded_out += 1;
            return None;
        }
        Some(self.pairs.entry(id).or_default())
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
        streaks.bodies_doubted |= kind == ErrorKind::BodyBroken;
        match streaks.failures {
            in_a_row if in_a_row.is_multiple_of(FAILURES_THAT_CONDEMN) => {
                Some(Event::TrafficFailed {
                    endpoint,
                    kind,
                    in_a_row,
                })
            }
            FAILURES_THAT_ALARM => self.alarm(endpoint),
            _ => None,
        }
    }

    /// Told less and less often while nothing good comes from there.
    fn doubted(&mut self, endpoint: EndpointId) -> Option<Event> {
        let streaks = self.streaks(endpoint);
        streaks.doubts = streaks.doubts.saturating_add(1);
        if streaks.doubts.is_power_of_two() {
            self.alarm(endpoint)
        } else {
            None
        }
    }

    /// A late answer that nothing was compared with. It takes more of them than of others, and most of
    /// the viewers there are.
    fn late_alone(&mut self, endpoint: EndpointId, viewer: IpAddr, write: bool) -> Option<Event> {
        let recent = self.viewers[0] | self.viewers[1];
        let streaks = self.streaks(endpoint);
        let alone = if write {
            &mut streaks.writes_alone
        } else {
            &mut streaks.reads_alone
        };
        alone.late = alone.late.saturating_add(1);
        alone.viewers |= mark(viewer);
        let most = alone.viewers.count_ones() * 2 >= recent.count_ones();
        match alone.late {
            in_a_row if in_a_row.is_multiple_of(LATES_ALONE_THAT_TELL) && most => {
                Some(Event::TrafficLate {
                    endpoint,
                    in_a_row,
                    alone: true,
                })
            }
            FAILURES_THAT_ALARM => self.alarm(endpoint),
            _ => None,
        }
    }

    /// Has the endpoint probed at once, within bounds: each of these is work for the board.
    fn alarm(&mut self, endpoint: EndpointId) -> Option<Event> {
        self.alarms += 1;
        (self.alarms <= ALARMS_A_SECOND).then_some(Event::Suspected { endpoint })
    }

    fn hurry(&mut self, count: WindowCount) -> Event {
        self.hurries += 1;
        Event::TrafficWindow {
            generation: self.generation,
            counts: vec![count],
        }
    }

    fn late(&mut self, endpoint: EndpointId, body: bool) -> Option<Event> {
        let streaks = self.streaks(endpoint);
        streaks.lates = streaks.lates.saturating_add(1);
        streaks.bodies_doubted |= body;
        match streaks.lates {
            in_a_row if in_a_row.is_multiple_of(LATES_THAT_TELL) => Some(Event::TrafficLate {
                endpoint,
                in_a_row,
                alone: false,
            }),
            FAILURES_THAT_ALARM => self.alarm(endpoint),
            _ => None,
        }
    }
}

impl Streaks {
    /// The same after a good answer.
    fn cleared(self) -> Self {
        Self {
            generation: self.generation,
            writes_alone: self.writes_alone,
            ..Self::default()
        }
    }
}

impl Pair {
    /// To be asked once a second.
    fn is_alive(&mut self) -> bool {
        let quiet = self.seen.requests == 0;
        self.quiet = if quiet {
            self.quiet.saturating_add(1)
        } else {
            0
        };
        self.quiet < QUIET
    }

    /// Counts a body that failed after its head was counted as good.
    fn body_failed(&mut self, id: PairId, viewer: IpAddr, may_hurry: bool) -> Option<WindowCount> {
        self.seen.failing_viewers |= mark(viewer);
        self.seen.alone = self.seen.alone.saturating_add(1);
        may_hurry.then(|| self.hurried(id)).flatten()
    }

    /// Counts a failure; gives the counts when they should not wait for the second's end.
    fn failed(
        &mut self,
        id: PairId,
        viewer: IpAddr,
        verdict: Verdict,
        may_hurry: bool,
    ) -> Option<WindowCount> {
        let seen = &mut self.seen;
        seen.request(viewer);
        seen.failing_viewers |= mark(viewer);
        let counter = match verdict {
            Verdict::Compared => &mut seen.failures,
            Verdict::Alone => &mut seen.alone,
            Verdict::AskedToWait => &mut seen.waits,
        };
        *counter = counter.saturating_add(1);
        may_hurry.then(|| self.hurried(id)).flatten()
    }

    fn hurried(&mut self, id: PairId) -> Option<WindowCount> {
        let seen = &self.seen;
        let bad = seen.failures.saturating_add(seen.alone);
        let bad = bad.saturating_add(seen.waits);
        (bad >= FAILURES_THAT_HURRY && bad.saturating_mul(5) >= seen.requests)
            .then(|| self.seen.take(id))
            .flatten()
    }
}

impl Seen {
    fn request(&mut self, viewer: IpAddr) {
        self.requests = self.requests.saturating_add(1);
        self.viewers |= mark(viewer);
    }

    fn timed(&mut self, first_byte: Duration) {
        let micros = u64::try_from(first_byte.as_micros()).unwrap_or(u64::MAX);
        self.first_bytes = self.first_bytes.saturating_add(micros);
        self.timed = self.timed.saturating_add(1);
    }

    fn take(&mut self, (route, region): PairId) -> Option<WindowCount> {
        let seen = std::mem::take(self);
        (seen.requests > 0).then(|| WindowCount {
            route,
            region,
            requests: seen.requests,
            failures: seen.failures,
            alone: seen.alone,
            waits: seen.waits,
            viewers: seen.viewers,
            failing_viewers: seen.failing_viewers,
            first_byte: seen
                .first_bytes
                .checked_div(u64::from(seen.timed))
                .map(Duration::from_micros),
        })
    }
}

/// One of 64 bits for a viewer: enough to tell one who fails from many who do.
fn mark(viewer: IpAddr) -> u64 {
    let folded = match viewer {
        IpAddr::V4(address) => u64::from(u32::from(address)),
        IpAddr::V6(address) => (u128::from(address) >> 64) as u64,
    };
    1 << (folded.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAIR: PairId = (RouteId(0), RegionId(1));
    const ENDPOINT: EndpointId = EndpointId {
        slot: 3,
        generation: 0,
    };
    const VIEWER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const FINE: Duration = Duration::from_millis(20);

    fn fails(evidence: &Evidence, verdict: Verdict) -> Option<Event> {
        evidence.failed(PAIR, ENDPOINT, VIEWER, ErrorKind::GatewayStatus, verdict)
    }

    fn window(event: Option<Event>) -> WindowCount {
        match event {
            Some(Event::TrafficWindow { counts, .. }) => counts[0],
            other => panic!("no window: {other:?}"),
        }
    }

    #[test]
    fn the_second_failure_in_a_row_alarms_and_the_fifth_condemns() {
        let evidence = Evidence::default();
        let told: Vec<_> = (0..5)
            .map(|_| fails(&evidence, Verdict::Compared))
            .collect();
        assert!(matches!(told[1], Some(Event::Suspected { .. })));
        assert!(told[0].is_none() && told[2].is_none() && told[3].is_none());
        assert!(matches!(
            told[4],
            Some(Event::TrafficFailed { in_a_row: 5, .. })
        ));
    }

    #[test]
    fn a_whole_good_answer_between_failures_starts_the_count_anew() {
        let evidence = Evidence::default();
        for _ in 0..20 {
            for _ in 0..4 {
                let told = fails(&evidence, Verdict::Compared);
                assert!(!matches!(told, Some(Event::TrafficFailed { .. })));
            }
            let told = evidence.answered(PAIR, ENDPOINT, VIEWER, FINE, true);
            assert!(told.is_none());
        }
    }

    #[test]
    fn heads_in_time_clear_no_doubt_about_bodies() {
        let evidence = Evidence::default();
        let breaks = || {
            let kind = ErrorKind::BodyBroken;
            evidence.failed(PAIR, ENDPOINT, VIEWER, kind, Verdict::Compared)
        };
        for _ in 0..4 {
            let _ = breaks();
            let _ = evidence.answered(PAIR, ENDPOINT, VIEWER, FINE, false);
        }
        assert!(matches!(breaks(), Some(Event::TrafficFailed { .. })));
    }

    #[test]
    fn what_could_not_be_compared_only_raises_suspicion() {
        let evidence = Evidence::default();
        let told = (0..9).filter_map(|_| fails(&evidence, Verdict::Alone));
        let told: Vec<_> = told.collect();
        assert_eq!(told.len(), 4, "the first, second, fourth and eighth");
        assert!(
            told.iter()
                .all(|told| matches!(told, Event::Suspected { .. }))
        );
    }

    #[test]
    fn many_failures_are_told_before_the_second_is_over() {
        let evidence = Evidence::default();
        for _ in 0..9 {
            let _ = fails(&evidence, Verdict::AskedToWait);
        }
        let count = window(fails(&evidence, Verdict::AskedToWait));
        assert_eq!((count.requests, count.waits), (10, 10));
        assert_eq!(count.viewers.count_ones(), 1);
    }

    #[test]
    fn pairs_beyond_the_bound_are_not_counted_and_that_is() {
        let evidence = Evidence::default();
        for route in 0..u32::try_from(PAIRS + 3).unwrap() {
            let pair = (RouteId(route), RegionId(1));
            let _ = evidence.answered(pair, ENDPOINT, VIEWER, FINE, true);
        }
        assert_eq!(evidence.take_crowded_out(), 3);
        assert_eq!(evidence.take_crowded_out(), 0);
    }

    #[test]
    fn counts_go_out_once_a_second() {
        let evidence = Evidence::default();
        let _ = evidence.answered(PAIR, ENDPOINT, VIEWER, FINE, true);
        let _ = fails(&evidence, Verdict::Compared);
        let at = |millis| Timestamp::after_start(Duration::from_millis(millis));
        assert!(evidence.drain(0, at(900)).is_none());
        let count = window(evidence.drain(0, at(1000)));
        assert_eq!((count.requests, count.failures), (2, 1));
        let about = count.first_byte.unwrap_or_default();
        assert_eq!(about, FINE);
        assert!(evidence.drain(0, at(3000)).is_none());
    }

    #[test]
    fn late_answers_that_nothing_was_compared_with_are_told_when_there_are_ten() {
        let evidence = Evidence::default();
        for _ in 0..100 {
            assert!(
                evidence
                    .answered(PAIR, ENDPOINT, VIEWER, FINE, true)
                    .is_none()
            );
        }
        let late = Duration::from_secs(2);
        let told: Vec<_> = (0..10)
            .map(|_| evidence.answered(PAIR, ENDPOINT, VIEWER, late, true))
            .collect();
        let tells = |told: &&Option<Event>| matches!(told, Some(Event::TrafficLate { .. }));
        assert_eq!(told.iter().filter(tells).count(), 1);
        assert!(matches!(
            told[9],
            Some(Event::TrafficLate { alone: true, .. })
        ));
    }

    #[test]
    fn one_viewer_among_many_makes_no_endpoint_late() {
        let evidence = Evidence::default();
        for host in 0..100_u8 {
            let viewer = IpAddr::from([203, 0, 113, host]);
            let _ = evidence.answered(PAIR, ENDPOINT, viewer, FINE, true);
        }
        for _ in 0..100 {
            let told = evidence.late_write(ENDPOINT, VIEWER);
            assert!(!matches!(told, Some(Event::TrafficLate { .. })));
        }
    }

    #[test]
    fn bodies_that_all_break_are_nearly_all_requests() {
        let evidence = Evidence::default();
        let mut told = Vec::new();
        for _ in 0..10 {
            let _ = evidence.answered(PAIR, ENDPOINT, VIEWER, FINE, false);
            told.push(evidence.body_failed(PAIR, ENDPOINT, VIEWER));
        }
        let count = window(told.pop().flatten());
        assert_eq!((count.requests, count.alone), (10, 10));
    }
}
