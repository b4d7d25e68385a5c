//! One worker's outlier detector.
//!
//! Plain cells of one worker: nothing is locked, and after the first request of a route in a
//! region nothing is allocated.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::apply::{Event, WindowCount};
use crate::health::traffic_count::viewer_mark;
use crate::hedge_delay::unmeasured_hedge_delay;
use crate::model::id::{EndpointId, RegionSet};
use crate::model::outcome::ErrorKind;
use crate::model::time::Timestamp;
use crate::outlier::route_stats::{FailureVerdict, RouteRegion, RouteStats};
use crate::outlier::streak::EndpointStreak;
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
    /// One of 64 bits for each viewer of this second, and of the one before.
    viewers: [u64; 2],
    /// Probes that were asked for, and counts that were told early, in this second.
    probes: u32,
    urgent_counts: u32,
}

impl OutlierDetector {
    /// From now on judges by `policy`.
    pub fn follow_policy(&self, policy: TrafficPolicy) {
        self.inner.borrow_mut().policy = policy;
    }

    /// A good answer came `first_byte` after the request was sent; `whole` says whether its body is
    /// here to the last byte. Gives what the board must hear at once.
    #[must_use]
    pub fn answered(
        &self,
        at: RouteRegion,
        endpoint: EndpointId,
        viewer: IpAddr,
        first_byte: Duration,
        whole: bool,
    ) -> Option<Event> {
        let inner = &mut *self.inner.borrow_mut();
        inner.viewers[0] |= viewer_mark(viewer);
        let hedge = inner.policy.hedge;
        let mut late = false;
        if let Some(stats) = inner.stats(at) {
            stats.answered(viewer, first_byte);
            late = stats.latency.is_late(first_byte, &hedge);
            stats.latency.observe(first_byte, &hedge);
        }
        if late {
            // Nothing was faster: it may be the path, or the viewer, that is slow.
            return inner.late_uncompared(endpoint, viewer, false);
        }
        inner.streak(endpoint).answered(whole);
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
        viewer: IpAddr,
        kind: ErrorKind,
        verdict: FailureVerdict,
    ) -> Option<Event> {
        let inner = &mut *self.inner.borrow_mut();
        inner.viewers[0] |= viewer_mark(viewer);
        let urgent = inner.count_bad(at, |stats| stats.failed(viewer, verdict));
        if urgent.is_some() {
            return urgent;
        }
        match verdict {
            FailureVerdict::Compared => inner.failed(endpoint, kind),
            FailureVerdict::Uncompared => inner.inconclusive(endpoint),
            FailureVerdict::AskedToWait => None,
        }
    }

    /// The body of an answer that was counted as good broke off or stood still.
    #[must_use]
    pub fn body_failed(
        &self,
        at: RouteRegion,
        endpoint: EndpointId,
        viewer: IpAddr,
    ) -> Option<Event> {
        let inner = &mut *self.inner.borrow_mut();
        inner.streak(endpoint).body_broke();
        inner
            .count_bad(at, |stats| stats.body_failed(viewer))
            .or_else(|| inner.inconclusive(endpoint))
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
    pub fn late_write(&self, endpoint: EndpointId, viewer: IpAddr) -> Option<Event> {
        let inner = &mut *self.inner.borrow_mut();
        inner.late_uncompared(endpoint, viewer, true)
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
        inner.viewers = [0, inner.viewers[0]];
        (inner.probes, inner.urgent_counts) = (0, 0);
        inner.stats.retain(|_, stats| stats.is_alive());
        let mut counts: Vec<_> = inner
            .stats
            .iter_mut()
            .filter_map(|(at, stats)| Some(WindowCount::new(*at, stats.take()?)))
            .collect();
        // The order in a hash map is not the same twice; what is believed must be.
        counts.sort_unstable_by_key(|count| (count.route, count.region));
        (!counts.is_empty()).then_some(Event::TrafficWindow { generation, counts })
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
    fn failed(&mut self, endpoint: EndpointId, kind: ErrorKind) -> Option<Event> {
        let policy = self.policy.outlier_detection;
        let in_a_row = self.streak(endpoint).failed(kind);
        if in_a_row.is_multiple_of(policy.consecutive_failures) {
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
        viewer: IpAddr,
        write: bool,
    ) -> Option<Event> {
        let recent = self.viewers[0] | self.viewers[1];
        let policy = self.policy.outlier_detection;
        let lates = self.streak(endpoint).late_uncompared(viewer, write);
        let most_viewers = lates.viewers.count_ones() * 2 >= recent.count_ones();
        if lates
            .in_a_row
            .is_multiple_of(policy.consecutive_late_uncompared)
            && most_viewers
        {
            Some(Event::TrafficLate {
                endpoint,
                in_a_row: lates.in_a_row,
                alone: true,
            })
        } else {
            self.probe_after(endpoint, lates.in_a_row)
        }
    }

    /// An answer that was late where another one was faster.
    fn late(&mut self, endpoint: EndpointId, body: bool) -> Option<Event> {
        let policy = self.policy.outlier_detection;
        let in_a_row = self.streak(endpoint).late(body);
        if in_a_row.is_multiple_of(policy.consecutive_late) {
            Some(Event::TrafficLate {
                endpoint,
                in_a_row,
                alone: false,
            })
        } else {
            self.probe_after(endpoint, in_a_row)
        }
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

    /// Takes in by `count` what ended badly; gives the counts of `at`, if they should not wait for the
    /// second's end.
    fn count_bad(&mut self, at: RouteRegion, count: impl FnOnce(&mut RouteStats)) -> Option<Event> {
        let policy = self.policy.outlier_detection;
        let may_be_told = self.urgent_counts < URGENT_COUNTS_A_SECOND;
        let stats = self.stats(at)?;
        count(stats);
        if !may_be_told || !stats.is_urgent(&policy) {
            return None;
        }
        let count = WindowCount::new(at, stats.take()?);
        self.urgent_counts += 1;
        Some(Event::TrafficWindow {
            generation: self.generation,
            counts: vec![count],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::{RegionId, RouteId};
    use crate::table::traffic_policy::OutlierDetection;

    const AT: RouteRegion = (RouteId(0), RegionId(1));
    const ENDPOINT: EndpointId = EndpointId {
        slot: 3,
        generation: 0,
    };
    const VIEWER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const FINE: Duration = Duration::from_millis(20);

    fn fails(detector: &OutlierDetector, verdict: FailureVerdict) -> Option<Event> {
        detector.failed(AT, ENDPOINT, VIEWER, ErrorKind::GatewayStatus, verdict)
    }

    fn window(event: Option<Event>) -> WindowCount {
        match event {
            Some(Event::TrafficWindow { counts, .. }) => counts[0],
            other => panic!("no window: {other:?}"),
        }
    }

    #[test]
    fn the_second_failure_in_a_row_has_it_probed_and_the_fifth_ejects() {
        let detector = OutlierDetector::default();
        let told: Vec<_> = (0..5)
            .map(|_| fails(&detector, FailureVerdict::Compared))
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
        let detector = OutlierDetector::default();
        for _ in 0..20 {
            for _ in 0..4 {
                let told = fails(&detector, FailureVerdict::Compared);
                assert!(!matches!(told, Some(Event::TrafficFailed { .. })));
            }
            let told = detector.answered(AT, ENDPOINT, VIEWER, FINE, true);
            assert!(told.is_none());
        }
    }

    #[test]
    fn heads_in_time_do_not_clear_bad_bodies() {
        let detector = OutlierDetector::default();
        let breaks = || {
            let kind = ErrorKind::BodyBroken;
            detector.failed(AT, ENDPOINT, VIEWER, kind, FailureVerdict::Compared)
        };
        for _ in 0..4 {
            let _ = breaks();
            let _ = detector.answered(AT, ENDPOINT, VIEWER, FINE, false);
        }
        assert!(matches!(breaks(), Some(Event::TrafficFailed { .. })));
    }

    #[test]
    fn what_could_not_be_compared_only_has_it_probed() {
        let detector = OutlierDetector::default();
        let told = (0..9).filter_map(|_| fails(&detector, FailureVerdict::Uncompared));
        let told: Vec<_> = told.collect();
        assert_eq!(told.len(), 4, "the first, second, fourth and eighth");
        assert!(
            told.iter()
                .all(|told| matches!(told, Event::Suspected { .. }))
        );
    }

    #[test]
    fn many_failures_are_told_before_the_second_is_over() {
        let detector = OutlierDetector::default();
        for _ in 0..9 {
            let _ = fails(&detector, FailureVerdict::AskedToWait);
        }
        let count = window(fails(&detector, FailureVerdict::AskedToWait));
        assert_eq!((count.count.requests, count.count.put_off), (10, 10));
        assert_eq!(count.count.viewers.count_ones(), 1);
    }

    #[test]
    fn routes_beyond_the_bound_are_not_counted_and_that_is() {
        let detector = OutlierDetector::default();
        for route in 0..u32::try_from(MOST_ROUTE_REGIONS + 3).unwrap() {
            let at = (RouteId(route), RegionId(1));
            let _ = detector.answered(at, ENDPOINT, VIEWER, FINE, true);
        }
        assert_eq!(detector.take_untracked(), 3);
        assert_eq!(detector.take_untracked(), 0);
    }

    #[test]
    fn counts_go_out_once_a_second() {
        let detector = OutlierDetector::default();
        let _ = detector.answered(AT, ENDPOINT, VIEWER, FINE, true);
        let _ = fails(&detector, FailureVerdict::Compared);
        let at = |millis| Timestamp::after_start(Duration::from_millis(millis));
        assert!(detector.drain(0, at(900)).is_none());
        let count = window(detector.drain(0, at(1000)));
        assert_eq!((count.count.requests, count.count.failures), (2, 1));
        let about = count.count.mean_first_byte().unwrap_or_default();
        assert_eq!(about, FINE);
        assert!(detector.drain(0, at(3000)).is_none());
    }

    #[test]
    fn late_answers_that_nothing_was_compared_with_are_told_when_there_are_ten() {
        let detector = OutlierDetector::default();
        for _ in 0..100 {
            assert!(
                detector
                    .answered(AT, ENDPOINT, VIEWER, FINE, true)
                    .is_none()
            );
        }
        let late = Duration::from_secs(2);
        let told: Vec<_> = (0..10)
            .map(|_| detector.answered(AT, ENDPOINT, VIEWER, late, true))
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
        let detector = OutlierDetector::default();
        for host in 0..100_u8 {
            let viewer = IpAddr::from([203, 0, 113, host]);
            let _ = detector.answered(AT, ENDPOINT, viewer, FINE, true);
        }
        for _ in 0..100 {
            let told = detector.late_write(ENDPOINT, VIEWER);
            assert!(!matches!(told, Some(Event::TrafficLate { .. })));
        }
    }

    #[test]
    fn bodies_that_all_break_are_nearly_all_requests() {
        let detector = OutlierDetector::default();
        let mut told = Vec::new();
        for _ in 0..10 {
            let _ = detector.answered(AT, ENDPOINT, VIEWER, FINE, false);
            told.push(detector.body_failed(AT, ENDPOINT, VIEWER));
        }
        let count = window(told.pop().flatten());
        assert_eq!((count.count.requests, count.count.uncompared), (10, 10));
    }

    #[test]
    fn counts_are_urgent_at_the_thresholds_that_were_written() {
        let until_told = |outlier_detection| {
            let detector = OutlierDetector::default();
            detector.follow_policy(TrafficPolicy {
                outlier_detection,
                ..TrafficPolicy::default()
            });
            for _ in 0..30 {
                let _ = detector.answered(AT, ENDPOINT, VIEWER, FINE, true);
            }
            let told = |_: &usize| fails(&detector, FailureVerdict::AskedToWait).is_some();
            (1..100).find(told)
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
    }

    /// How many times `tell` is to be called until it gives an event that ejects.
    fn until_it_ejects(mut tell: impl FnMut() -> Option<Event>) -> usize {
        let ejects = |event: &Event| {
            matches!(
                event,
                Event::TrafficFailed { .. } | Event::TrafficLate { .. }
            )
        };
        1 + (0..100)
            .position(|_| tell().as_ref().is_some_and(ejects))
            .unwrap_or(100)
    }

    #[test]
    fn each_threshold_is_the_one_that_was_written() {
        let outlier_detection = OutlierDetection {
            consecutive_failures: 3,
            consecutive_late: 4,
            consecutive_late_uncompared: 6,
            suspect_after: 1,
            late_write_at_least: Duration::from_millis(700),
            ..OutlierDetection::default()
        };
        let detector = OutlierDetector::default();
        detector.follow_policy(TrafficPolicy {
            outlier_detection,
            ..TrafficPolicy::default()
        });
        let first = fails(&detector, FailureVerdict::Compared);
        assert!(matches!(first, Some(Event::Suspected { .. })));
        let ejects = until_it_ejects(|| fails(&detector, FailureVerdict::Compared));
        assert_eq!(ejects, 2, "after the one before");
        assert_eq!(until_it_ejects(|| detector.late(ENDPOINT, false)), 4);
        assert_eq!(until_it_ejects(|| detector.late_write(ENDPOINT, VIEWER)), 6);
        for _ in 0..100 {
            detector.written(AT, ENDPOINT, FINE);
        }
        let delay = detector.late_write_delay(AT);
        assert_eq!(delay, Some(outlier_detection.late_write_at_least));
    }
}
