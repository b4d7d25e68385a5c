//! Requests through hours of faults: where they go, what is tried again, and that all comes back.
//!
//! The same pure functions as in a worker decide here (`decide`, `failover::next`, the budget and a
//! worker's detector); only sockets are missing. What must hold is written down a second time,
//! apart from the code: an own table of what may be repeated, and an own count of the budget.

use std::collections::VecDeque;
use std::net::IpAddr;

use meridian_core::decide::Decision;
use meridian_core::decide::failover::{
    Attempt, Attempts, NextAttempt, RetryFacts, is_charged, next,
};
use meridian_core::decide::pick_endpoint::pick_endpoint;
use meridian_core::decide::request::{RequestClass, RequestFacts};
use meridian_core::decide::retry_budget::{Budget, LEAST_REQUESTS, MINIMUM, SHARE};
use meridian_core::decide::snapshot::EndpointState;
use meridian_core::outlier::{Answer, FailureVerdict, OutlierDetector};

use super::*;

const EAST: RegionId = RegionId(0);
const ISLAND: RegionId = RegionId(1);
const WEST: RegionId = RegionId(2);
const ROUTE: RouteId = RouteId(0);

/// What a region does with requests; its probes are `World::down`'s.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Serving {
    #[default]
    Well,
    /// No request gets an answer, for this reason.
    Failing(ErrorKind),
    /// Half of them do not.
    Flaky,
    /// 429, or 503 with `Retry-After`.
    Overloaded,
}

/// A fault of the east: how its probes and its requests fare.
const FAULTS: [(bool, Serving); 8] = [
    (true, Serving::Failing(ErrorKind::ConnectRefused)),
    (true, Serving::Failing(ErrorKind::ConnectTimeout)),
    (true, Serving::Failing(ErrorKind::FirstByteTimeout)),
    (true, Serving::Failing(ErrorKind::GatewayStatus)),
    (false, Serving::Failing(ErrorKind::GatewayStatus)),
    (false, Serving::Failing(ErrorKind::FreshReset)),
    (false, Serving::Flaky),
    (false, Serving::Overloaded),
];

/// One worker without sockets.
struct Worker {
    world: World,
    east: Serving,
    budget: Budget,
    detector: OutlierDetector,
    /// Requests and charged retries of the last ten seconds, counted apart from the budget.
    requests: VecDeque<Timestamp>,
    retries: VecDeque<(Timestamp, RegionId)>,
    copied: Timestamp,
    /// Answers so far.
    moments: u32,
}

impl Pending {
    fn mark(&self) -> Breadth {
        Breadth::of(self.viewer, "/")
    }
}

/// One request that is under way.
struct Pending {
    class: RequestClass,
    decision: Decision,
    viewer: IpAddr,
    attempts: Attempts,
    blamed: Vec<(RegionId, EndpointId, ErrorKind)>,
    charged: Vec<RegionId>,
    done: bool,
}

impl Worker {
    fn new(seed: u64) -> Self {
        let latency = [(5.0, 1.0), (9.0, 1.0), (40.0, 4.0)];
        Self {
            world: World::with(seed, routed(), &latency),
            east: Serving::Well,
            budget: Budget::default(),
            detector: OutlierDetector::default(),
            requests: VecDeque::new(),
            retries: VecDeque::new(),
            copied: Timestamp::ZERO,
            moments: 0,
        }
    }

    /// Lets `span` pass, with a batch of requests at once every four seconds.
    fn pass(&mut self, span: u64) {
        for _ in 0..span.div_ceil(4) {
            self.world.pass(seconds(4));
            let count = self.world.random.usize(4..16);
            self.batch(count);
            let generation = self.world.beliefs.generation;
            let told = self.detector.drain(generation, self.world.now);
            self.tell(told);
        }
    }

    fn tell(&mut self, event: Option<Event>) {
        if let Some(event) = event {
            self.world.tell(event);
        }
    }

    /// `count` requests at the same instant, so that their retries compete for the budget.
    fn batch(&mut self, count: usize) {
        let now = self.world.now;
        let fresh = |at: &Timestamp| now.since(*at) < seconds(9);
        self.requests.retain(fresh);
        self.retries.retain(|(at, _)| fresh(at));
        let mut pending: Vec<_> = (0..count).map(|_| self.arrive()).collect();
        while pending.iter().any(|request| !request.done) {
            for request in pending.iter_mut().filter(|request| !request.done) {
                self.attempt(request);
            }
        }
        for region in pending.iter().flat_map(|request| &request.charged) {
            self.budget.refund(*region);
        }
        self.check_budget(&pending);
    }

    fn arrive(&mut self) -> Pending {
        let now = self.world.now;
        self.requests.push_back(now);
        self.budget.request_seen(now);
        let class = [
            RequestClass::Read,
            RequestClass::Read,
            RequestClass::Read,
            RequestClass::Write,
            RequestClass::Idempotent,
        ][self.world.random.usize(..5)];
        let viewer = IpAddr::from([203, 0, 113, self.world.random.u8(..)]);
        let is_due = now.since(self.copied) >= ProbationPolicy::default().interval;
        if class == RequestClass::Read && is_due {
            self.copied = now;
            self.probation_request();
        }
        let who = Viewer {
            address: viewer,
            country: None,
            source: ViewerSource::Unknown,
            place: None,
        };
        let facts = RequestFacts {
            class,
            ..RequestFacts::get(None, "/", &who)
        };
        let decision = decide(&self.world.snapshot, &facts).expect("two regions are permitted");
        Pending {
            class,
            decision,
            viewer,
            attempts: Attempts::default(),
            blamed: Vec::new(),
            charged: Vec::new(),
            done: false,
        }
    }

    /// One attempt, or the end.
    fn attempt(&mut self, request: &mut Pending) {
        let retry = RetryPolicy::default();
        let facts = RetryFacts {
            class: request.class,
            retry: &retry,
            deadline_left: seconds(30),
            replayable: true,
            other_endpoint: false,
        };
        let now = self.world.now;
        let failed = request.attempts.last().copied();
        let found = next(
            &request.decision,
            &request.attempts,
            &facts,
            &mut self.budget,
            now,
        );
        let region = match found {
            NextAttempt::Try(region) | NextAttempt::Again(region) => region.id(),
            NextAttempt::GiveUp(_) => return request.done = true,
        };
        assert_ne!(region, ISLAND, "outside the permitted set");
        if let Some(failed) = failed {
            assert!(may_repeat(request.class, &failed), "against the table");
        }
        assert!(request.attempts.len() < 4, "no end");
        if is_charged(&request.attempts) {
            request.charged.push(region);
            self.retries.push_back((now, region));
        }
        let endpoints =
            std::sync::Arc::clone(&self.world.beliefs.regions[region.index()].endpoints);
        let endpoint = pick_endpoint(&endpoints, None, |_| 0, |_| 0).expect("an address");
        self.answer_of(request, region, endpoint);
    }

    /// What becomes of an attempt, and what it proves.
    fn answer_of(&mut self, request: &mut Pending, region: RegionId, endpoint: &EndpointState) {
        let pair = (ROUTE, region);
        let serving = if region == EAST {
            self.east
        } else {
            Serving::Well
        };
        let error = match serving {
            Serving::Failing(error) => error,
            Serving::Flaky if self.world.random.bool() => ErrorKind::GatewayStatus,
            Serving::Overloaded => ErrorKind::GatewayStatus,
            Serving::Well | Serving::Flaky => {
                let answer = Answer {
                    first_byte: Duration::from_millis(if region == EAST { 5 } else { 40 }),
                    whole: true,
                    raced: false,
                };
                let (mark, now) = (request.mark(), self.moment());
                let told = (self.detector).answered(pair, endpoint.id, mark, answer, || now);
                self.tell(told);
                for (region, id, kind) in std::mem::take(&mut request.blamed) {
                    let how = (kind, FailureVerdict::Compared);
                    let now = self.moment();
                    let told = (self.detector).failed((ROUTE, region), id, mark, how, now);
                    self.tell(told);
                }
                return request.done = true;
            }
        };
        let asked_to_wait = serving == Serving::Overloaded;
        if asked_to_wait {
            let how = (error, FailureVerdict::AskedToWait);
            let (mark, now) = (request.mark(), self.moment());
            let told = (self.detector).failed(pair, endpoint.id, mark, how, now);
            self.tell(told);
        } else {
            request.blamed.push((region, endpoint.id, error));
        }
        request.attempts.push(Attempt {
            region,
            error,
            asked_to_wait,
        });
    }

    /// Each answer has a moment of its own: a batch is at once only as far as the budget goes.
    fn moment(&mut self) -> Timestamp {
        self.moments += 1;
        self.world.now + Duration::from_millis(25) * (self.moments % 64)
    }

    /// A copy of a read goes to what is on probation; the read itself is answered well elsewhere.
    fn probation_request(&mut self) {
        let regions = self.world.beliefs.regions.iter();
        let endpoint = regions
            .flat_map(|region| region.endpoints.iter())
            .find(|one| one.standing.is_on_probation())
            .map(|one| one.id);
        let good = match self.east {
            Serving::Well => true,
            Serving::Flaky => self.world.random.bool(),
            Serving::Failing(_) | Serving::Overloaded => false,
        };
        if let Some(endpoint) = endpoint {
            self.world.tell(Event::ProbationAnswered { endpoint, good });
        }
    }

    /// At most a fifth of the requests, as if there were some at least, or three at once.
    fn check_budget(&self, batch: &[Pending]) {
        for region in [EAST, WEST] {
            let now = batch.iter().flat_map(|request| &request.charged);
            let now = now.filter(|one| **one == region).count();
            let all = self
                .retries
                .iter()
                .filter(|(_, one)| *one == region)
                .count();
            // The budget's own window is up to a second longer than the one counted here.
            let requests = self.requests.len().max(LEAST_REQUESTS as usize);
            let share = (requests as f64 * SHARE).ceil() as usize + batch.len();
            assert!(
                now <= MINIMUM as usize || all <= share,
                "{now} now, {all} in all"
            );
        }
    }

    fn all_at(&self, region: RegionId) -> bool {
        choices(&self.world).iter().all(|choice| *choice == region)
    }
}

/// The retry table of the manual, read anew.
fn may_repeat(class: RequestClass, failed: &Attempt) -> bool {
    let nothing_sent = matches!(
        failed.error,
        ErrorKind::ConnectRefused | ErrorKind::ConnectTimeout
    );
    match class {
        _ if failed.asked_to_wait => false,
        RequestClass::Write => nothing_sent,
        _ => true,
    }
}

/// How long the return may take: detection, the pause after a failed probation, one of up to 80
/// answers, a hold-down doubled four times, and the ramp.
const LONGEST_WAY_BACK: u64 = 60 + 60 + 400 + 16 * 20 + 40 + 20;

#[test]
fn no_fault_breaks_a_rule_and_a_healed_region_gets_its_viewers_back() {
    for_each_seed_on_all_cores(10_000, |seed| {
        let mut worker = Worker::new(seed);
        worker.pass(16 + seed % 7);
        assert!(worker.all_at(EAST), "at first");
        let faults = worker.world.random.u64(1..4);
        let mut moves = [0; 4];
        for _ in 0..faults {
            let (down, serving) = FAULTS[worker.world.random.usize(..FAULTS.len())];
            worker.east = serving;
            if down {
                worker.world.down.insert(0);
            }
            worker.world.loss = worker.world.random.u8(..3);
            if worker.world.random.u8(..8) == 0 {
                let again = load(routed());
                worker.world.tell(again);
                worker.world.resolve(0, &[1]);
            }
            let before = choices(&worker.world);
            let span = worker.world.random.u64(8..60);
            worker.pass(span);
            count_moves(&mut moves, &before, &choices(&worker.world));
            worker.east = Serving::Well;
            worker.world.down.clear();
            let before = choices(&worker.world);
            let span = worker.world.random.u64(8..120);
            worker.pass(span);
            count_moves(&mut moves, &before, &choices(&worker.world));
        }
        worker.world.loss = 0;
        let before = choices(&worker.world);
        let mut waited = 0;
        while !worker.all_at(EAST) {
            assert!(
                waited < LONGEST_WAY_BACK,
                "left unused: {:?}",
                worker.world.changes
            );
            worker.pass(8);
            waited += 8;
        }
        count_moves(&mut moves, &before, &choices(&worker.world));
        let most = 2 * u32::try_from(faults).unwrap_or(u32::MAX);
        assert!(moves.iter().all(|moves| *moves <= most), "{moves:?} moves");
    });
}

fn count_moves(moves: &mut [u32], before: &[RegionId], now: &[RegionId]) {
    for (moved, (before, now)) in moves.iter_mut().zip(before.iter().zip(now)) {
        *moved += u32::from(before != now);
    }
}

#[test]
fn hours_of_faults_end_as_they_began() {
    for_each_seed_on_all_cores(8, |seed| {
        let mut worker = Worker::new(seed);
        for _ in 0..60 {
            let (down, serving) = FAULTS[worker.world.random.usize(..FAULTS.len())];
            worker.east = serving;
            if down {
                worker.world.down.insert(0);
            }
            let span = worker.world.random.u64(8..120);
            worker.pass(span);
            worker.east = Serving::Well;
            worker.world.down.clear();
            let span = worker.world.random.u64(20..400);
            worker.pass(span);
        }
        worker.pass(LONGEST_WAY_BACK);
        assert!(worker.all_at(EAST));
        let decision = worker.arrive().decision;
        assert_eq!(decision.ranked().serving(), [EAST, WEST]);
    });
}
