//! Which failed attempt of which request may be followed by another: one test per cell.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use meridian_core::decide::failover::{
    Attempt, Attempts, GiveUp, NextAttempt, RetryFacts, hedge, next,
};
use meridian_core::decide::request::RequestClass;
use meridian_core::decide::retry_budget::Budget;
use meridian_core::decide::{Decision, decide};
use meridian_core::model::id::RegionId;
use meridian_core::model::outcome::ErrorKind;
use meridian_core::model::time::Timestamp;
use meridian_core::table::policy::{Policy, RetryPolicy};
use meridian_core::table::residency::PermittedRegion;

use crate::support::world::{World, facts, viewer};

const A: RegionId = RegionId(0);
const B: RegionId = RegionId(1);
const C: RegionId = RegionId(2);

const STOP: NextAttempt = NextAttempt::GiveUp(GiveUp::NotRetryable);

const NOTHING_SENT: [ErrorKind; 7] = [
    ErrorKind::NoEndpoint,
    ErrorKind::ConnectRefused,
    ErrorKind::ConnectTimeout,
    ErrorKind::ConnectFailed,
    ErrorKind::TlsFailed,
    ErrorKind::TlsTimeout,
    ErrorKind::ClosedBeforeSend,
];

/// A, B and C in this order; C is the last resort.
fn decision() -> Decision {
    let mut world = World::new(&["a", "b", "c"]);
    world.route("all", "/", &["a", "b", "c"], Policy::Failover);
    world.measured("a", 1.0);
    world.measured("b", 1.0);
    world.down("c");
    decide(&world.snapshot(), &facts("/", &viewer(None))).expect("two regions serve")
}

/// `region`, which residency permits.
fn permitted(region: RegionId) -> PermittedRegion {
    let permitted = decision().permitted();
    permitted.get(region).expect("nothing is forbidden")
}

fn other() -> NextAttempt {
    NextAttempt::Try(permitted(B))
}

fn fresh() -> NextAttempt {
    NextAttempt::Again(permitted(A))
}

fn failed(region: RegionId, error: ErrorKind) -> Attempt {
    Attempt {
        region,
        error,
        asked_to_wait: false,
    }
}

fn attempts(made: &[Attempt]) -> Attempts {
    let mut attempts = Attempts::default();
    for attempt in made {
        attempts.push(*attempt);
    }
    attempts
}

/// One request; the fields are what most tests leave as they are.
struct Request {
    class: RequestClass,
    retry: RetryPolicy,
    deadline_left: Duration,
    replayable: bool,
    decision: Decision,
    budget: Budget,
}

fn request(class: RequestClass) -> Request {
    Request {
        class,
        retry: RetryPolicy::default(),
        deadline_left: Duration::from_secs(10),
        replayable: true,
        decision: decision(),
        budget: Budget::default(),
    }
}

impl Request {
    fn after(&mut self, made: &[Attempt]) -> NextAttempt {
        let facts = RetryFacts {
            class: self.class,
            retry: &self.retry,
            deadline_left: self.deadline_left,
            replayable: self.replayable,
            other_endpoint: false,
        };
        let made = attempts(made);
        next(
            &self.decision,
            &made,
            &facts,
            &mut self.budget,
            Timestamp::ZERO,
        )
    }
}

impl Request {
    /// Where a second attempt goes while the one at `current` is late.
    fn hedge(&mut self, made: &[Attempt], current: RegionId) -> Option<RegionId> {
        let facts = RetryFacts {
            class: self.class,
            retry: &self.retry,
            deadline_left: self.deadline_left,
            replayable: self.replayable,
            other_endpoint: false,
        };
        let now = Timestamp::ZERO;
        let budget = &mut self.budget;
        let region = hedge(
            &self.decision,
            &attempts(made),
            current,
            &facts,
            budget,
            now,
        );
        region.map(PermittedRegion::id)
    }
}

#[test]
fn only_a_safe_request_gets_a_second_attempt_beside_the_first() {
    assert_eq!(request(RequestClass::Read).hedge(&[], A), Some(B));
    for class in [
        RequestClass::Idempotent,
        RequestClass::Write,
        RequestClass::KeyedWrite,
        RequestClass::Upgrade,
        RequestClass::Grpc,
    ] {
        assert_eq!(request(class).hedge(&[], A), None, "{class:?}");
    }
}

#[test]
fn a_second_attempt_goes_to_no_last_resort_and_to_no_region_twice() {
    assert_eq!(request(RequestClass::Read).hedge(&[], B), Some(A));
    let tried = [failed(A, ErrorKind::ConnectRefused)];
    assert_eq!(request(RequestClass::Read).hedge(&tried, B), None);
}

#[test]
fn a_region_on_its_way_back_is_asked_beside_the_one_that_serves_alone() {
    let mut world = World::new(&["a", "b", "c"]);
    world.route("all", "/", &["c", "b", "a"], Policy::Failover);
    world.measured("a", 1.0);
    world.measured("b", 1.0);
    world.down("c");
    let mut snapshot = world.snapshot();
    // It is well, and still held.
    snapshot.serving.remove(B);
    let mut read = request(RequestClass::Read);
    read.decision = decide(&snapshot, &facts("/", &viewer(None))).unwrap();
    assert_eq!(read.decision.ranked().all(), [A, B, C]);
    assert_eq!(read.decision.ranked().serving(), [A]);
    assert_eq!(read.hedge(&[], A), Some(B));
    let timed_out = failed(A, ErrorKind::FirstByteTimeout);
    assert_eq!(read.after(&[timed_out]), other());
}

#[test]
fn a_second_attempt_counts_as_an_attempt_and_against_the_budget() {
    let mut read = request(RequestClass::Read);
    read.retry.attempts = 1;
    assert_eq!(read.hedge(&[], A), None);
    let mut read = request(RequestClass::Read);
    read.budget = Budget::new(0.0, 3);
    for _ in 0..3 {
        assert_eq!(read.hedge(&[], A), Some(B));
    }
    assert_eq!(read.hedge(&[], A), None, "the minimum of three is spent");
}

/// What follows when the first attempt of a request like this failed so.
fn follows(class: RequestClass, error: ErrorKind) -> NextAttempt {
    request(class).after(&[failed(A, error)])
}

fn follows_with_grpc_opt_in(error: ErrorKind) -> NextAttempt {
    let mut request = request(RequestClass::Grpc);
    request.retry.grpc = true;
    request.after(&[failed(A, error)])
}

fn nothing_sent(class: RequestClass) {
    for error in NOTHING_SENT {
        assert_eq!(follows(class, error), other(), "{error:?}");
    }
}

fn asked_to_wait(class: RequestClass) {
    let waits = Attempt {
        asked_to_wait: true,
        ..failed(A, ErrorKind::GatewayStatus)
    };
    let mut request = request(class);
    request.retry.grpc = true;
    assert_eq!(request.after(&[waits]), STOP);
}

/// One named test per cell.
macro_rules! cells {
    ($($name:ident: $check:expr;)*) => { $(#[test] fn $name() { $check; })* };
}

cells! {
    a_get_of_which_nothing_was_sent_goes_to_another_region: nothing_sent(RequestClass::Read);
    a_put_of_which_nothing_was_sent_goes_to_another_region: nothing_sent(RequestClass::Idempotent);
    a_post_of_which_nothing_was_sent_goes_to_another_region: nothing_sent(RequestClass::Write);
    a_keyed_post_of_which_nothing_was_sent_goes_to_another_region: nothing_sent(RequestClass::KeyedWrite);
    an_upgrade_of_which_nothing_was_sent_goes_to_another_region: nothing_sent(RequestClass::Upgrade);
    a_grpc_call_of_which_nothing_was_sent_goes_to_another_region: nothing_sent(RequestClass::Grpc);

    a_get_proved_unprocessed_is_sent_on_a_fresh_connection: assert_eq!(follows(RequestClass::Read, ErrorKind::Unprocessed), fresh());
    a_put_proved_unprocessed_is_sent_on_a_fresh_connection: assert_eq!(follows(RequestClass::Idempotent, ErrorKind::Unprocessed), fresh());
    a_post_proved_unprocessed_is_sent_on_a_fresh_connection: assert_eq!(follows(RequestClass::Write, ErrorKind::Unprocessed), fresh());
    a_keyed_post_proved_unprocessed_is_sent_on_a_fresh_connection: assert_eq!(follows(RequestClass::KeyedWrite, ErrorKind::Unprocessed), fresh());
    an_upgrade_proved_unprocessed_is_sent_on_a_fresh_connection: assert_eq!(follows(RequestClass::Upgrade, ErrorKind::Unprocessed), fresh());
    a_grpc_call_proved_unprocessed_is_sent_on_a_fresh_connection: assert_eq!(follows(RequestClass::Grpc, ErrorKind::Unprocessed), fresh());

    a_get_on_a_reset_reused_connection_is_sent_on_a_fresh_one: assert_eq!(follows(RequestClass::Read, ErrorKind::ReusedReset), fresh());
    a_put_on_a_reset_reused_connection_is_sent_on_a_fresh_one: assert_eq!(follows(RequestClass::Idempotent, ErrorKind::ReusedReset), fresh());
    a_post_on_a_reset_reused_connection_is_not_sent_again: assert_eq!(follows(RequestClass::Write, ErrorKind::ReusedReset), STOP);
    a_keyed_post_on_a_reset_reused_connection_is_sent_on_a_fresh_one: assert_eq!(follows(RequestClass::KeyedWrite, ErrorKind::ReusedReset), fresh());
    an_upgrade_on_a_reset_reused_connection_is_not_sent_again: assert_eq!(follows(RequestClass::Upgrade, ErrorKind::ReusedReset), STOP);
    a_grpc_call_on_a_reset_reused_connection_is_not_sent_again: assert_eq!(follows_with_grpc_opt_in(ErrorKind::ReusedReset), STOP);

    a_get_without_a_first_byte_goes_to_another_region: assert_eq!(follows(RequestClass::Read, ErrorKind::FirstByteTimeout), other());
    a_put_without_a_first_byte_goes_to_another_region: assert_eq!(follows(RequestClass::Idempotent, ErrorKind::FirstByteTimeout), other());
    a_post_without_a_first_byte_is_not_sent_again: assert_eq!(follows(RequestClass::Write, ErrorKind::FirstByteTimeout), STOP);
    a_keyed_post_without_a_first_byte_goes_to_another_region: assert_eq!(follows(RequestClass::KeyedWrite, ErrorKind::FirstByteTimeout), other());
    an_upgrade_without_a_first_byte_goes_to_another_region: assert_eq!(follows(RequestClass::Upgrade, ErrorKind::FirstByteTimeout), other());
    a_grpc_call_without_a_first_byte_is_not_sent_again: assert_eq!(follows(RequestClass::Grpc, ErrorKind::FirstByteTimeout), STOP);
    a_grpc_call_without_a_first_byte_goes_on_where_the_route_opts_in: assert_eq!(follows_with_grpc_opt_in(ErrorKind::FirstByteTimeout), other());

    a_get_on_a_reset_fresh_connection_goes_to_another_region: assert_eq!(follows(RequestClass::Read, ErrorKind::FreshReset), other());
    a_put_on_a_reset_fresh_connection_goes_to_another_region: assert_eq!(follows(RequestClass::Idempotent, ErrorKind::FreshReset), other());
    a_post_on_a_reset_fresh_connection_is_not_sent_again: assert_eq!(follows(RequestClass::Write, ErrorKind::FreshReset), STOP);
    a_keyed_post_on_a_reset_fresh_connection_goes_to_another_region: assert_eq!(follows(RequestClass::KeyedWrite, ErrorKind::FreshReset), other());

    a_get_answered_by_a_bad_gateway_goes_to_another_region: assert_eq!(follows(RequestClass::Read, ErrorKind::GatewayStatus), other());
    a_put_answered_by_a_bad_gateway_goes_to_another_region: assert_eq!(follows(RequestClass::Idempotent, ErrorKind::GatewayStatus), other());
    a_post_answered_by_a_bad_gateway_is_not_sent_again: assert_eq!(follows(RequestClass::Write, ErrorKind::GatewayStatus), STOP);
    a_keyed_post_answered_by_a_bad_gateway_goes_to_another_region: assert_eq!(follows(RequestClass::KeyedWrite, ErrorKind::GatewayStatus), other());
    an_upgrade_refused_by_a_bad_gateway_goes_to_another_region: assert_eq!(follows(RequestClass::Upgrade, ErrorKind::GatewayStatus), other());
    a_grpc_call_that_is_unavailable_is_not_sent_again: assert_eq!(follows(RequestClass::Grpc, ErrorKind::GatewayStatus), STOP);
    a_grpc_call_that_is_unavailable_goes_on_where_the_route_opts_in: assert_eq!(follows_with_grpc_opt_in(ErrorKind::GatewayStatus), other());

    a_get_whose_held_body_broke_goes_to_another_region: assert_eq!(follows(RequestClass::Read, ErrorKind::BodyBroken), other());
    a_put_whose_answer_broke_is_not_sent_again: assert_eq!(follows(RequestClass::Idempotent, ErrorKind::BodyBroken), STOP);
    a_post_whose_answer_broke_is_not_sent_again: assert_eq!(follows(RequestClass::KeyedWrite, ErrorKind::BodyBroken), STOP);

    a_get_that_was_asked_to_wait_is_not_sent_again: asked_to_wait(RequestClass::Read);
    a_put_that_was_asked_to_wait_is_not_sent_again: asked_to_wait(RequestClass::Idempotent);
    a_post_that_was_asked_to_wait_is_not_sent_again: asked_to_wait(RequestClass::Write);
    a_keyed_post_that_was_asked_to_wait_is_not_sent_again: asked_to_wait(RequestClass::KeyedWrite);
    an_upgrade_that_was_asked_to_wait_is_not_sent_again: asked_to_wait(RequestClass::Upgrade);
    a_grpc_call_that_was_asked_to_wait_is_not_sent_again: asked_to_wait(RequestClass::Grpc);

    a_get_whose_viewer_left_is_not_sent_again: assert_eq!(follows(RequestClass::Read, ErrorKind::ViewerBody), STOP);
}

#[test]
fn the_first_attempt_goes_to_the_best_region_and_costs_no_budget() {
    let mut request = request(RequestClass::Write);
    for _ in 0..10 {
        assert_eq!(request.after(&[]), NextAttempt::Try(permitted(A)));
    }
}

#[test]
fn after_a_second_reset_the_request_moves_on() {
    let reset = ErrorKind::ReusedReset;
    let mut request = request(RequestClass::Read);
    let made = [failed(A, reset), failed(A, reset)];
    assert_eq!(request.after(&made), NextAttempt::Try(permitted(B)));
    let made = [failed(A, reset), failed(A, reset), failed(B, reset)];
    assert_eq!(request.after(&made), NextAttempt::Try(permitted(C)));
}

#[test]
fn two_dead_regions_and_a_stale_connection_leave_room_for_the_third() {
    let mut request = request(RequestClass::Read);
    let made = [
        failed(A, ErrorKind::ReusedReset),
        failed(A, ErrorKind::ConnectRefused),
        failed(B, ErrorKind::ConnectRefused),
    ];
    assert_eq!(request.after(&made), NextAttempt::Try(permitted(C)));
}

#[test]
fn one_attempt_means_no_second_one_of_any_kind() {
    for error in [ErrorKind::ReusedReset, ErrorKind::ConnectRefused] {
        let mut request = request(RequestClass::Read);
        request.retry.attempts = 1;
        assert_eq!(
            request.after(&[failed(A, error)]),
            NextAttempt::GiveUp(GiveUp::AttemptsUsed)
        );
    }
}

#[test]
fn the_route_bounds_the_attempts() {
    let mut request = request(RequestClass::Read);
    request.retry.attempts = 2;
    let made = [
        failed(A, ErrorKind::ConnectRefused),
        failed(B, ErrorKind::ConnectRefused),
    ];
    assert_eq!(
        request.after(&made),
        NextAttempt::GiveUp(GiveUp::AttemptsUsed)
    );
}

#[test]
fn the_last_region_left_is_dialled_once_more() {
    let mut request = request(RequestClass::Read);
    request.decision.retain(|region| *region == A);
    let refused = failed(A, ErrorKind::ConnectRefused);
    assert_eq!(request.after(&[refused]), NextAttempt::Again(permitted(A)));
    let last = request.after(&[refused, refused]);
    assert_eq!(last, NextAttempt::GiveUp(GiveUp::NoRegionLeft));
    let nowhere = request.after(&[failed(A, ErrorKind::NoEndpoint)]);
    assert_eq!(nowhere, NextAttempt::GiveUp(GiveUp::NoRegionLeft));
}

#[test]
fn a_region_outside_the_permitted_set_is_never_tried() {
    let mut request = request(RequestClass::Read);
    request.decision.retain(|region| *region != B);
    assert_eq!(
        request.after(&[failed(A, ErrorKind::GatewayStatus)]),
        NextAttempt::Try(permitted(C))
    );
    assert_eq!(request.hedge(&[], A), None, "C does not serve");
}

#[test]
fn a_body_that_is_gone_moves_on_only_if_nothing_was_sent() {
    let mut request = request(RequestClass::Idempotent);
    request.replayable = false;
    let gone = NextAttempt::GiveUp(GiveUp::BodyTooLarge);
    assert_eq!(
        request.after(&[failed(A, ErrorKind::FirstByteTimeout)]),
        gone
    );
    assert_eq!(request.after(&[failed(A, ErrorKind::ReusedReset)]), gone);
    assert_eq!(
        request.after(&[failed(A, ErrorKind::ConnectTimeout)]),
        NextAttempt::Try(permitted(B))
    );
}

#[test]
fn nothing_is_tried_after_the_deadline() {
    let mut request = request(RequestClass::Read);
    request.deadline_left = Duration::ZERO;
    let over = NextAttempt::GiveUp(GiveUp::DeadlineOver);
    assert_eq!(request.after(&[failed(A, ErrorKind::ConnectTimeout)]), over);
    assert_eq!(request.after(&[]), over);
}

#[test]
fn a_spent_budget_ends_the_attempts() {
    let mut request = request(RequestClass::Read);
    let answered = [failed(A, ErrorKind::GatewayStatus)];
    request.budget = Budget::new(0.0, 3);
    for _ in 0..3 {
        assert_eq!(request.after(&answered), NextAttempt::Try(permitted(B)));
    }
    assert_eq!(
        request.after(&answered),
        NextAttempt::GiveUp(GiveUp::BudgetSpent)
    );
    request.budget.refund(B);
    assert_eq!(request.after(&answered), NextAttempt::Try(permitted(B)));
}

#[test]
fn a_move_after_nothing_was_sent_is_not_charged() {
    let mut request = request(RequestClass::Write);
    let refused = [failed(A, ErrorKind::ConnectRefused)];
    for _ in 0..1000 {
        assert_eq!(request.after(&refused), NextAttempt::Try(permitted(B)));
    }
}

#[test]
fn a_request_that_was_proved_unprocessed_is_not_charged() {
    let mut request = request(RequestClass::Write);
    let unprocessed = failed(A, ErrorKind::Unprocessed);
    for _ in 0..1000 {
        assert_eq!(
            request.after(&[unprocessed]),
            NextAttempt::Again(permitted(A))
        );
        let twice = [unprocessed, unprocessed];
        assert_eq!(request.after(&twice), NextAttempt::Try(permitted(B)));
    }
}

#[test]
fn any_sequence_of_failures_ends_and_repeats_one_region_at_most_once() {
    for seed in 0..2000 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut request = request(RequestClass::Read);
        request.retry.attempts = random.u8(1..=8);
        let mut made = Vec::new();
        let mut repeats = 0;
        loop {
            let region = match request.after(&made) {
                NextAttempt::Try(region) => region,
                NextAttempt::Again(region) => {
                    repeats += 1;
                    region
                }
                NextAttempt::GiveUp(_) => break,
            };
            let tried = made.iter().filter(|attempt| attempt.region == region.id());
            assert!(tried.count() <= repeats, "seed {seed}");
            made.push(failed(
                region.id(),
                ErrorKind::ALL[random.usize(..ErrorKind::ALL.len())],
            ));
        }
        let regions = made.len() - repeats;
        assert!(
            repeats <= 1 && regions <= usize::from(request.retry.attempts),
            "seed {seed}"
        );
    }
}

fn class_of(
    method: &Method,
    fields: &[(&'static str, &'static str)],
    key_counts: bool,
) -> RequestClass {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.insert(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    let retry = RetryPolicy {
        idempotency_key: key_counts,
        ..RetryPolicy::default()
    };
    RequestClass::of(method, &headers).on(&retry)
}

#[test]
fn methods_and_fields_tell_the_class() {
    use RequestClass::{Grpc, Idempotent, KeyedWrite, Read, Upgrade, Write};
    let key = ("idempotency-key", "\"8e03978e\"");
    let switch = ("connection", "keep-alive, Upgrade");
    for method in [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE] {
        assert_eq!(class_of(&method, &[], false), Read);
    }
    assert_eq!(class_of(&Method::PUT, &[], false), Idempotent);
    assert_eq!(class_of(&Method::DELETE, &[], false), Idempotent);
    assert_eq!(class_of(&Method::PATCH, &[], true), Write);
    assert_eq!(
        class_of(&Method::from_bytes(b"PURGE").unwrap(), &[], false),
        Write
    );
    assert_eq!(class_of(&Method::POST, &[key], true), KeyedWrite);
    assert_eq!(
        class_of(&Method::GET, &[switch, ("upgrade", "websocket")], false),
        Upgrade
    );
    for offer in [
        &[("upgrade", "websocket")][..],
        &[switch, ("upgrade", "h2c")],
    ] {
        assert_eq!(class_of(&Method::GET, offer, false), Read, "{offer:?}");
    }
    let posted = [switch, ("upgrade", "websocket")];
    assert_eq!(class_of(&Method::POST, &posted, false), Write);
    assert_eq!(class_of(&Method::CONNECT, &[], false), Upgrade);
    assert_eq!(
        class_of(
            &Method::POST,
            &[("content-type", "application/grpc+proto")],
            false
        ),
        Grpc
    );
    assert_eq!(
        class_of(
            &Method::POST,
            &[("content-type", "application/grpc-web")],
            false
        ),
        Write
    );
}

#[test]
fn a_key_counts_only_where_the_route_says_so() {
    let key = ("idempotency-key", "\"8e03978e\"");
    assert_eq!(class_of(&Method::POST, &[key], false), RequestClass::Write);
}
