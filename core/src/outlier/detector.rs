//! One worker's outlier detector.
//!
//! Plain cells of one worker: nothing is locked, and after the first request of a route in a
//! region nothing is allocated.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

use crate::apply::{Event, LateAnswers};
use crate::health::breadth::Breadth;
use crate::hedge_delay::unmeasured_hedge_delay;
use crate::model::id::{EndpointId, RegionSet};
use crate::model::outcome::ErrorKind;
use crate::model::time::Timestamp;
use crate::outlier::answer::Answer;
use crate::outlier::route_stats::{FailureVerdict, RouteRegion, RouteStats};
use crate::outlier::streak::{EndpointStreak, Lates};
use crate::table::traffic_policy::TrafficPolicy;

/// What one worker's requests may ask of the board in a second: a viewer can make as many of them fail
/// as it likes.
const PROBES_A_SECOND: u32 = 32;
const URGENT_COUNTS_A_SECOND: u32 = 10;

/// How often counts go to the board.
const WINDOW: Duration = Duration::from_secs(1);

/// Routes in regions that are counted; further ones are not, and have the hedge delay of probes.
const MOST_ROUTE_REGIONS: usize = 4096;

/// What the live requests of one worker prove.
#[derive(Debug, Default)]
pub struct OutlierDetector {
    inner: RefCell<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    policy: TrafficPolicy,
    generation: u64,
    streaks: Vec<EndpointStreak>,
    stats: HashMap<RouteRegion, RouteStats, foldhash::fast::RandomState>,
    drained: Timestamp,
    /// Requests whose route in a region there was no room for.
    untracked: u64,
    /// Whose requests these were, and for what, in this second and in the one before.
    seen: [Breadth; 2],
    /// Probes that were asked for, and counts that were told early, in this second.
    probes: u32,
    urgent_counts: u32,
}

impl OutlierDetector {
    /// From now on judges by `policy`.
    pub fn follow_policy(&self, policy: TrafficPolicy) {
        self.inner.borrow_mut().policy = policy;
    }

    /// A good answer to a request of `mark` came `first_byte` after it was sent. Gives what the board
    /// must hear at once.
    #[must_use]
    pub fn answered(
        &self,
        at: RouteRegion,
        endpoint: EndpointId,
        mark: Breadth,
        answer: Answer,
        now: impl FnOnce() -> Timestamp,
    ) -> Option<Event> {
        let inner = &mut *self.inner.borrow_mut();
        inner.seen[0].add(mark);
        let hedge = inner.policy.hedge;
        let mut late = false;
        if let Some(stats) = inner.stats(at) {
            stats.answered(mark, endpoint, answer.first_byte);
            late = stats.latency.is_late(answer.first_byte, &hedge);
            stats.latency.observe(answer.first_byte, &hedge);
        }
        let streak = inner.streak(endpoint);
        match (late, answer.raced) {
            (false, _) => streak.answered(answer.whole),
            // Whoever was asked beside it did no better: it is the path, or all, that is slow.
            (true, true) => streak.acquitted(),
            (true, false) => {
                streak.answered_late(answer.first_byte <= hedge.max_delay);
                return inner.late_uncompared(endpoint, mark, false, now());
            }
        }
        None
    }

    /// A body that came after a good head is here to its last byte.
    pub fn body_ended(&self, endpoint: EndpointId) {
        self.inner.borrow_mut().streak(endpoint).body_ended();
    }

    /// An attempt failed in a way that speaks against the origin. Gives what the board must hear at
    /// once.
    #[must_use]
    pub fn failed(
        &self,
        at: RouteRegion,
        endpoint: EndpointId,
        mark: Breadth,
        (kind, verdict): (ErrorKind, FailureVerdict),
        now: Timestamp,
    ) -> Option<Event> {
        let inner = &mut *self.inner.borrow_mut();
        inner.seen[0].add(mark);
        if let Some(stats) = inner.stats(at) {
            stats.failed(mark, endpoint, verdict, now);
        }
        let told = match verdict {
            FailureVerdict::Compared => inner.failed(endpoint, kind, mark, now),
            FailureVerdict::Uncompared => inner.inconclusive(endpoint),
            FailureVerdict::AskedToWait => None,
        };
        match told {
            Some(Event::TrafficFailed { .. }) => told,
            _ => inner.urgent_count(at).or(told),
        }
    }

    /// The body of an answer that was counted as good broke off or stood still.
    #[must_use]
    pub fn body_failed(
        &self,
        at: RouteRegion,
        endpoint: EndpointId,
        mark: Breadth,
        now: Timestamp,
    ) -> Option<Event> {
        let inner = &mut *self.inner.borrow_mut();
        inner.streak(endpoint).body_broke();
        if let Some(stats) = inner.stats(at) {
            stats.body_failed(mark, endpoint, now);
        }
        (inner.urgent_count(at)).or_else(|| inner.inconclusive(endpoint))
    }

    /// A request failed there, and everywhere else: nothing is proved, and a probe should look.
    #[must_use]
    pub fn inconclusive(&self, endpoint: EndpointId) -> Option<Event> {
        self.inner.borrow_mut().inconclusive(endpoint)
    }

    /// A write was answered well, so long after it was sent. To be called beside
    /// [`answered`](Self::answered).
    pub fn written(&self, at: RouteRegion, endpoint: EndpointId, first_byte: Duration) {
        let inner = &mut *self.inner.borrow_mut();
        inner.streak(endpoint).written();
        let hedge = inner.policy.hedge;
        if let Some(stats) = inner.stats(at) {
            stats.write_latency.observe(first_byte, &hedge);
        }
    }

    /// After how long without a first byte a write counts as late; `None` while too little is known
    /// of writes.
    #[must_use]
    pub fn late_write_delay(&self, at: RouteRegion) -> Option<Duration> {
        let inner = self.inner.borrow();
        let stats = inner.stats.get(&at)?;
        let delay = stats.write_latency.hedge_delay(&inner.policy.hedge)?;
        Some(delay.max(inner.policy.outlier_detection.late_write_at_least))
    }

    /// A write is late. Gives what the board must hear at once.
    #[must_use]
    pub fn late_write(&self, endpoint: EndpointId, mark: Breadth, now: Timestamp) -> Option<Event> {
        let inner = &mut *self.inner.borrow_mut();
        inner.late_uncompared(endpoint, mark, true, now)
    }

    /// A hedge had to be sent because of this endpoint, and won, in its own usual time; the body was
    /// already on its way if `body`. Gives what the board must hear at once.
    #[must_use]
    pub fn late(
        &self,
        endpoint: EndpointId,
        body: bool,
        mark: Breadth,
        now: Timestamp,
    ) -> Option<Event> {
        self.inner.borrow_mut().late(endpoint, body, mark, now)
    }

    /// Whether `first_byte` is what answers usually take there, as far as that is known; `probed` as
    /// for [`hedge_delay`](Self::hedge_delay).
    #[must_use]
    pub fn is_usual(
        &self,
        at: RouteRegion,
        first_byte: Duration,
        probed: Option<Duration>,
    ) -> bool {
        let inner = self.inner.borrow();
        let hedge = &inner.policy.hedge;
        match inner
            .stats
            .get(&at)
            .and_then(|stats| stats.latency.late_at(hedge))
        {
            Some(late) => first_byte <= late,
            None => first_byte <= unmeasured_hedge_delay(probed, hedge),
        }
    }

    /// How long to wait for a first byte before a second region is asked too. `probed` is what
    /// probes say that a first byte takes, for while no request has told.
    #[must_use]
    pub fn hedge_delay(&self, at: RouteRegion, probed: Option<Duration>) -> Duration {
        let inner = self.inner.borrow();
        let hedge = &inner.policy.hedge;
        let stats = inner.stats.get(&at);
        let known = stats.and_then(|stats| stats.latency.hedge_delay(hedge));
        known.unwrap_or_else(|| unmeasured_hedge_delay(probed, hedge))
    }

    /// Forgets how `regions` did: they come back, and what was usual of them need not be.
    pub fn forget(&self, regions: RegionSet) {
        let stats = &mut self.inner.borrow_mut().stats;
        stats.retain(|(_, region), _| !regions.contains(*region));
    }

    /// Requests since the last time whose route in a region there was no room for.
    #[must_use]
    pub fn take_untracked(&self) -> u64 {
        std::mem::take(&mut self.inner.borrow_mut().untracked)
    }

    /// What was counted since the last time, about once a second; to be called more often. Under
    /// another `generation` of the table routes and regions have other numbers, so that all is
    /// counted anew.
    #[must_use]
    pub fn drain(&self, generation: u64, now: Timestamp) -> Option<Event> {
        let inner = &mut *self.inner.borrow_mut();
        if inner.generation != generation {
            inner.generation = generation;
            inner.stats.clear();
            return None;
        }
        if now.since(inner.drained) < WINDOW {
            return None;
        }
        inner.drained = now;
        inner.seen = [Breadth::default(), inner.seen[0]];
        (inner.probes, inner.urgent_counts) = (0, 0);
        inner.stats.retain(|_, stats| stats.is_alive());
        let mut counts: Vec<_> = inner
            .stats
            .iter_mut()
            .filter_map(|(at, stats)| stats.take(*at))
            .collect();
        // The order in a hash map is not the same twice; what is believed must be.
        counts.sort_unstable_by_key(|count| (count.route, count.region));
        (!counts.is_empty()).then_some(Event::TrafficWindow { generation, counts })
    }
}

fn late_event(endpoint: EndpointId, lates: &Lates, compared: bool, now: Timestamp) -> Event {
    Event::TrafficLate {
        endpoint,
        lates: LateAnswers {
            in_a_row: lates.in_a_row,
            compared,
            lasted: lates.lasted(now),
            answered: lates.answered,
        },
    }
}

impl Inner {
    fn stats(&mut self, at: RouteRegion) -> Option<&mut RouteStats> {
        if self.stats.len() >= MOST_ROUTE_REGIONS && !self.stats.contains_key(&at) {
            self.untracked += 1;
            return None;
        }
        Some(self.stats.entry(at).or_default())
    }

    fn streak(&mut self, endpoint: EndpointId) -> &mut EndpointStreak {
        EndpointStreak::of(&mut self.streaks, endpoint)
    }

    /// A failure that another endpoint did better with.
    fn failed(
        &mut self,
        endpoint: EndpointId,
        kind: ErrorKind,
        mark: Breadth,
        now: Timestamp,
    ) -> Option<Event> {
        let policy = self.policy.outlier_detection;
        let seen = self.seen_lately();
        let failures = self.streak(endpoint).failed(kind, mark, now)?;
        let in_a_row = failures.in_a_row;
        // What nothing was sent to fails whoever asks for what.
        let is_broad =
            kind.nothing_sent() || failures.breadth.is_broad(&seen, policy.minimum_breadth);
        if in_a_row >= policy.consecutive_failures && is_broad {
            Some(Event::TrafficFailed {
                endpoint,
                kind,
                in_a_row,
            })
        } else {
            self.probe_after(endpoint, in_a_row)
        }
    }

    /// A failure that proves nothing. Told less and less often while nothing good comes from there.
    fn inconclusive(&mut self, endpoint: EndpointId) -> Option<Event> {
        let failures = self.streak(endpoint).inconclusive();
        (failures.is_power_of_two())
            .then(|| self.probe(endpoint))
            .flatten()
    }

    /// A late answer that nothing was compared with. It takes more of them than of others, and most of
    /// the viewers there are.
    fn late_uncompared(
        &mut self,
        endpoint: EndpointId,
        mark: Breadth,
        write: bool,
        now: Timestamp,
    ) -> Option<Event> {
        let policy = self.policy.outlier_detection;
        let seen = self.seen_lately();
        let lates = self.streak(endpoint).late_uncompared(write, mark, now);
        let least = policy.consecutive_late_uncompared;
        let told = (lates.breadth.is_most(&seen)
            && lates.is_to_be_told(least, policy.late_for, now))
        .then(|| late_event(endpoint, lates, false, now));
        let in_a_row = lates.in_a_row;
        told.or_else(|| self.probe_after(endpoint, in_a_row))
    }

    /// An answer that was late where another one was faster.
    fn late(
        &mut self,
        endpoint: EndpointId,
        body: bool,
        mark: Breadth,
        now: Timestamp,
    ) -> Option<Event> {
        let policy = self.policy.outlier_detection;
        let lates = self.streak(endpoint).late(body, mark, now);
        let told = lates
            .is_to_be_told(policy.consecutive_late, policy.late_for, now)
            .then(|| late_event(endpoint, lates, true, now));
        let in_a_row = lates.in_a_row;
        told.or_else(|| self.probe_after(endpoint, in_a_row))
    }

    /// Whose requests came lately, and for what.
    fn seen_lately(&self) -> Breadth {
        let mut seen = self.seen[0];
        seen.add(self.seen[1]);
        seen
    }

    fn probe_after(&mut self, endpoint: EndpointId, in_a_row: u32) -> Option<Event> {
        (in_a_row == self.policy.outlier_detection.suspect_after)
            .then(|| self.probe(endpoint))
            .flatten()
    }

    /// Has the endpoint probed at once, within bounds: each of these is work for the board.
    fn probe(&mut self, endpoint: EndpointId) -> Option<Event> {
        self.probes += 1;
        (self.probes <= PROBES_A_SECOND).then_some(Event::Suspected { endpoint })
    }

    /// The counts of `at`, if they should not wait for the second's end.
    fn urgent_count(&mut self, at: RouteRegion) -> Option<Event> {
        let policy = self.policy.outlier_detection;
        let stats = self.stats.get_mut(&at)?;
        if self.urgent_counts >= URGENT_COUNTS_A_SECOND || !stats.is_urgent(&policy) {
            return None;
        }
        self.urgent_counts += 1;
        let count = stats.take(at)?;
        Some(Event::TrafficWindow {
            generation: self.generation,
            counts: vec![count],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apply::WindowCount;
    use crate::model::id::{RegionId, RouteId};
    use crate::table::traffic_policy::OutlierDetection;

    const AT: RouteRegion = (RouteId(0), RegionId(1));
    const ENDPOINT: EndpointId = EndpointId {
        slot: 3,
        generation: 0,
    };
    const FINE: Duration = Duration::from_millis(20);
    const LATE: Duration = Duration::from_secs(2);

    fn at(millis: u64) -> Timestamp {
        Timestamp::after_start(Duration::from_millis(millis))
    }

    fn of(viewer: u8, path: &str) -> Breadth {
        Breadth::of([203, 0, 113, viewer].into(), path)
    }

    /// One worker's requests, a few milliseconds apart, all of one viewer and path unless said.
    struct Worker {
        detector: OutlierDetector,
        millis: u64,
        mark: Breadth,
    }

    impl Worker {
        fn new() -> Self {
            Self::judging_by(OutlierDetection::default())
        }

        fn judging_by(outlier_detection: OutlierDetection) -> Self {
            let detector = OutlierDetector::default();
            detector.follow_policy(TrafficPolicy {
                outlier_detection,
                ..TrafficPolicy::default()
            });
            Self {
                detector,
                millis: 0,
                mark: of(1, "/"),
            }
        }

        fn pass(&mut self, millis: u64) -> Timestamp {
            self.millis += millis;
            at(self.millis)
        }

        fn fails(&mut self, verdict: FailureVerdict) -> Option<Event> {
            self.fails_after(30, ErrorKind::GatewayStatus, verdict)
        }

        fn fails_after(
            &mut self,
            millis: u64,
            kind: ErrorKind,
            verdict: FailureVerdict,
        ) -> Option<Event> {
            let now = self.pass(millis);
            (self.detector).failed(AT, ENDPOINT, self.mark, (kind, verdict), now)
        }

        fn answers(&mut self, first_byte: Duration, whole: bool, raced: bool) -> Option<Event> {
            let now = self.pass(30);
            let answer = Answer {
                first_byte,
                whole,
                raced,
            };
            (self.detector).answered(AT, ENDPOINT, self.mark, answer, || now)
        }

        fn answers_in_time(&mut self, times: usize) {
            for _ in 0..times {
                assert!(self.answers(FINE, true, false).is_none());
            }
        }

        fn is_overtaken(&mut self, millis: u64) -> Option<Event> {
            let now = self.pass(millis);
            self.detector.late(ENDPOINT, false, self.mark, now)
        }

        fn is_late_with_a_write(&mut self, millis: u64) -> Option<Event> {
            let now = self.pass(millis);
            self.detector.late_write(ENDPOINT, self.mark, now)
        }
    }

    fn ejects(event: &Event) -> bool {
        matches!(
            event,
            Event::TrafficFailed { .. } | Event::TrafficLate { .. }
        )
    }

    /// How many times `tell` is to be called until it gives an event that may eject.
    fn until_it_ejects(mut tell: impl FnMut() -> Option<Event>) -> Option<usize> {
        (1..100).find(|_| tell().as_ref().is_some_and(ejects))
    }

    fn window(event: Option<Event>) -> WindowCount {
        match event {
            Some(Event::TrafficWindow { counts, .. }) => counts[0],
            other => panic!("no window: {other:?}"),
        }
    }

    #[test]
    fn the_second_failure_in_a_row_has_it_probed_and_the_fifth_ejects() {
        let mut worker = Worker::new();
        let told: Vec<_> = (0..5)
            .map(|_| worker.fails(FailureVerdict::Compared))
            .collect();
        assert!(matches!(told[1], Some(Event::Suspected { .. })));
        assert!(told[0].is_none() && told[2].is_none() && told[3].is_none());
        assert!(matches!(
            told[4],
            Some(Event::TrafficFailed { in_a_row: 5, .. })
        ));
    }

    #[test]
    fn what_was_in_flight_at_one_moment_is_one_failure() {
        let mut worker = Worker::new();
        let reset = |worker: &mut Worker| {
            worker.fails_after(0, ErrorKind::FreshReset, FailureVerdict::Compared)
        };
        for _ in 0..60 {
            assert!(reset(&mut worker).is_none());
        }
        worker.pass(100);
        assert!(matches!(reset(&mut worker), Some(Event::Suspected { .. })));
    }

    #[test]
    fn one_broken_object_ejects_nobody_and_a_refused_connection_is_about_no_object() {
        let mut worker = Worker::new();
        for viewer in 2..40 {
            worker.mark = of(viewer, &format!("/page/{viewer}"));
            worker.answers_in_time(1);
        }
        worker.mark = of(1, "/object");
        let object = until_it_ejects(|| worker.fails(FailureVerdict::Compared));
        assert_eq!(object, None);
        let refused = |worker: &mut Worker| {
            worker.fails_after(30, ErrorKind::ConnectRefused, FailureVerdict::Compared)
        };
        assert!(refused(&mut worker).as_ref().is_some_and(ejects));
    }

    #[test]
    fn a_whole_good_answer_between_failures_starts_the_count_anew() {
        let mut worker = Worker::new();
        for _ in 0..20 {
            for _ in 0..4 {
                let told = worker.fails(FailureVerdict::Compared);
                assert!(!told.as_ref().is_some_and(ejects));
            }
            worker.answers_in_time(1);
        }
    }

    #[test]
    fn heads_in_time_do_not_clear_bad_bodies() {
        let mut worker = Worker::new();
        let breaks = |worker: &mut Worker| {
            worker.fails_after(30, ErrorKind::BodyBroken, FailureVerdict::Compared)
        };
        for _ in 0..4 {
            let _ = breaks(&mut worker);
            let _ = worker.answers(FINE, false, false);
        }
        assert!(breaks(&mut worker).as_ref().is_some_and(ejects));
    }

    #[test]
    fn what_could_not_be_compared_only_has_it_probed() {
        let mut worker = Worker::new();
        let told = (0..9).filter_map(|_| worker.fails(FailureVerdict::Uncompared));
        let told: Vec<_> = told.collect();
        assert_eq!(told.len(), 4, "the first, second, fourth and eighth");
        assert!(
            told.iter()
                .all(|told| matches!(told, Event::Suspected { .. }))
        );
    }

    #[test]
    fn many_failures_are_told_before_the_second_is_over() {
        let mut worker = Worker::new();
        for _ in 0..9 {
            let _ = worker.fails(FailureVerdict::AskedToWait);
        }
        let count = window(worker.fails(FailureVerdict::AskedToWait)).count;
        assert_eq!((count.requests, count.put_off), (10, 10));
        assert!(count.failing.is_most(&count.seen));
    }

    #[test]
    fn many_failures_of_one_moment_wait_for_the_second_to_end() {
        let mut worker = Worker::new();
        for _ in 0..60 {
            let told = worker.fails_after(0, ErrorKind::FreshReset, FailureVerdict::Uncompared);
            assert!(!matches!(told, Some(Event::TrafficWindow { .. })));
        }
    }

    #[test]
    fn routes_beyond_the_bound_are_not_counted_and_that_is() {
        let worker = Worker::new();
        let answer = Answer {
            first_byte: FINE,
            whole: true,
            raced: false,
        };
        for route in 0..u32::try_from(MOST_ROUTE_REGIONS + 3).unwrap() {
            let pair = (RouteId(route), RegionId(1));
            let _ = (worker.detector).answered(pair, ENDPOINT, worker.mark, answer, || at(0));
        }
        assert_eq!(worker.detector.take_untracked(), 3);
        assert_eq!(worker.detector.take_untracked(), 0);
    }

    #[test]
    fn counts_go_out_once_a_second() {
        let mut worker = Worker::new();
        worker.answers_in_time(1);
        let _ = worker.fails(FailureVerdict::Compared);
        assert!(worker.detector.drain(0, at(900)).is_none());
        let count = window(worker.detector.drain(0, at(1000)));
        assert_eq!((count.count.requests, count.count.failures), (2, 1));
        assert_eq!(count.first_byte, Some(FINE));
        assert!(worker.detector.drain(0, at(3000)).is_none());
    }

    #[test]
    fn lateness_is_told_when_it_has_lasted_a_second_and_a_pause_is_not() {
        let mut worker = Worker::new();
        worker.answers_in_time(100);
        // A garbage collection: all that is in flight is overtaken, and then all is well.
        for _ in 0..20 {
            let pause = (0..30).filter_map(|_| worker.is_overtaken(10));
            assert!(!pause.into_iter().any(|told| ejects(&told)));
            worker.answers_in_time(1);
        }
        assert_eq!(until_it_ejects(|| worker.is_overtaken(300)), Some(5));
        let told = worker.is_overtaken(300);
        let Some(Event::TrafficLate { lates, .. }) = told else {
            panic!("it lasts: {told:?}");
        };
        assert!(lates.compared && !lates.answered && lates.in_a_row == 6);
        assert_eq!(lates.lasted, Duration::from_millis(1500));
        assert!(worker.is_overtaken(1).is_none(), "told a moment ago");
    }

    #[test]
    fn a_late_answer_that_another_region_could_not_beat_acquits() {
        let mut worker = Worker::new();
        worker.answers_in_time(100);
        for _ in 0..50 {
            let late = (0..4).filter_map(|_| worker.is_overtaken(500));
            assert!(!late.into_iter().any(|told| ejects(&told)));
            assert!(worker.answers(LATE, true, true).is_none());
        }
    }

    #[test]
    fn late_answers_that_nothing_was_compared_with_are_told_when_there_are_ten() {
        let mut worker = Worker::new();
        worker.answers_in_time(100);
        let mut late = || {
            worker.pass(100);
            worker.answers(LATE, true, false)
        };
        assert_eq!(until_it_ejects(&mut late), Some(10));
        let Some(Event::TrafficLate { lates, .. }) = late() else {
            panic!("it lasts");
        };
        assert!(
            !lates.compared && !lates.answered,
            "two seconds are as good as none"
        );
    }

    #[test]
    fn one_viewer_of_two_makes_no_endpoint_late() {
        let mut worker = Worker::new();
        worker.mark = of(2, "/other");
        worker.answers_in_time(100);
        worker.mark = of(1, "/");
        assert_eq!(until_it_ejects(|| worker.is_late_with_a_write(100)), None);
    }

    #[test]
    fn bodies_that_all_break_are_nearly_all_requests() {
        let mut worker = Worker::new();
        let mut told = Vec::new();
        for _ in 0..10 {
            let _ = worker.answers(FINE, false, false);
            let now = worker.pass(30);
            told.push((worker.detector).body_failed(AT, ENDPOINT, worker.mark, now));
        }
        let count = window(told.pop().flatten());
        assert_eq!((count.count.requests, count.count.uncompared), (10, 10));
    }

    #[test]
    fn counts_are_urgent_at_the_thresholds_that_were_written() {
        let until_told = |outlier_detection| {
            let mut worker = Worker::judging_by(outlier_detection);
            worker.answers_in_time(30);
            (1..100).find(|_| worker.fails(FailureVerdict::AskedToWait).is_some())
        };
        let usual = OutlierDetection::default();
        assert_eq!(until_told(usual), Some(10));
        let share = OutlierDetection {
            failure_percent: 50,
            ..usual
        };
        assert_eq!(until_told(share), Some(30));
        let many = OutlierDetection {
            minimum_failures: 14,
            ..usual
        };
        assert_eq!(until_told(many), Some(14));
        let moments = OutlierDetection {
            minimum_breadth: 20,
            ..usual
        };
        assert_eq!(until_told(moments), Some(20));
    }

    #[test]
    fn each_threshold_is_the_one_that_was_written() {
        let outlier_detection = OutlierDetection {
            consecutive_failures: 3,
            consecutive_late: 4,
            consecutive_late_uncompared: 6,
            late_for: Duration::from_millis(200),
            suspect_after: 1,
            late_write_at_least: Duration::from_millis(700),
            ..OutlierDetection::default()
        };
        let mut worker = Worker::judging_by(outlier_detection);
        let first = worker.fails(FailureVerdict::Compared);
        assert!(matches!(first, Some(Event::Suspected { .. })));
        let ejects = until_it_ejects(|| worker.fails(FailureVerdict::Compared));
        assert_eq!(ejects, Some(2), "after the one before");
        assert_eq!(until_it_ejects(|| worker.is_overtaken(150)), Some(4));
        assert_eq!(
            until_it_ejects(|| worker.is_late_with_a_write(150)),
            Some(6)
        );
        let slow = OutlierDetection {
            late_for: Duration::from_millis(900),
            ..outlier_detection
        };
        let mut worker = Worker::judging_by(slow);
        assert_eq!(until_it_ejects(|| worker.is_overtaken(150)), Some(7));
        for _ in 0..100 {
            worker.detector.written(AT, ENDPOINT, FINE);
        }
        let delay = worker.detector.late_write_delay(AT);
        assert_eq!(delay, Some(outlier_detection.late_write_at_least));
    }

    #[test]
    fn what_is_usual_is_known_by_requests_or_else_by_probes() {
        let mut worker = Worker::new();
        let millis = Duration::from_millis;
        let usual = |worker: &Worker, took| worker.detector.is_usual(AT, took, Some(millis(120)));
        assert!(usual(&worker, millis(350)) && !usual(&worker, millis(400)));
        worker.answers_in_time(100);
        assert!(usual(&worker, millis(60)) && !usual(&worker, millis(350)));
    }
}
