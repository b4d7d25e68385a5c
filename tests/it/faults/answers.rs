//! Regions that answer, but badly or late.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use tokio::time::Instant;

use crate::support::origin::{Behaviour, Probes, TestBody, full};
use crate::support::regions::{ENOUGH, Regions, TIMEOUTS, VIEWERS};

/// Writes that may meet the fault before it is found: two of each viewer.
const FEW: usize = 2 * VIEWERS as usize;

const BUSY: StatusCode = StatusCode::SERVICE_UNAVAILABLE;

fn refusal() -> Behaviour {
    Behaviour::Answer(BUSY, Vec::new(), Bytes::from_static(b"from a"))
}

#[tokio::test]
async fn a_region_that_answers_503_to_probes_too_costs_no_get() {
    let regions = Regions::start(TIMEOUTS).await;
    let load = regions.load().await;
    regions.a.answer_probes(Probes::Fail);
    regions.a.behave(refusal());
    regions.edge.out("a").await;
    let out = Instant::now();
    load.more(40).await;
    regions.a.answer_probes(Probes::Pass);
    regions.a.behave(Behaviour::Name);
    let visits = regions.returns(load, out).await;
    visits.posts_were_refused(FEW, 503, "from a");
}

#[tokio::test]
async fn a_region_that_answers_503_while_its_health_is_fine_is_left_and_tried_by_reads_only() {
    let regions = Regions::start(TIMEOUTS).await;
    let load = regions.load().await;
    regions.a.behave(refusal());
    regions.edge.out("a").await;
    let out = Instant::now();
    load.more(10).await;
    let left = regions.a.seen().len();
    // Its probes pass, probation begins, and each ends with the first bad answer.
    regions.a.probed(6).await;
    regions.edge.out("a").await;
    let tries = regions.a.seen().split_off(left);
    assert!(tries.iter().all(|seen| seen.method == "GET"), "{tries:#?}");
    regions.a.behave(Behaviour::Name);
    let visits = regions.returns(load, out).await;
    visits.posts_were_refused(FEW, 503, "from a");
    let left = "meridian_failovers_total{route=\"all\",from=\"a\",reason=\"gateway_status\"}";
    let left = regions.edge.metric(left).await;
    assert!(left >= 5.0, "{left}");
}

#[tokio::test]
async fn half_of_the_requests_answered_503_take_a_region_out() {
    let regions = Regions::start(TIMEOUTS).await;
    let load = regions.load().await;
    let turn = AtomicUsize::new(0);
    regions.a.behave(Behaviour::With(Arc::new(move |_| {
        let mut answer: Response<TestBody> = Response::new(full("a"));
        if turn.fetch_add(1, Ordering::Relaxed) % 2 == 1 {
            *answer.status_mut() = BUSY;
        }
        answer
    })));
    regions.edge.out("a").await;
    let out = Instant::now();
    let visits = regions.without_loss(load, out).await;
    visits.posts_were_refused(2 * FEW, 503, "a");
}

#[tokio::test]
async fn a_region_that_became_slow_is_left_and_its_writes_are_waited_for() {
    let regions = Regions::start(TIMEOUTS).await;
    let load = regions.load().await;
    // So many that a few slow ones of a full machine are not taken for usual.
    load.more(5 * ENOUGH).await;
    regions.a.behave(Behaviour::Slow(Duration::from_secs(1)));
    regions.edge.out("a").await;
    let out = Instant::now();
    load.more(40).await;
    regions.a.behave(Behaviour::Name);
    let visits = regions.returns(load, out).await;
    assert!(visits.lost_posts().is_empty(), "{:#?}", visits.lost_posts());
    let won = regions.edge.hedges_won().await;
    assert!(won >= 5.0, "{won}");
}

#[tokio::test]
async fn half_a_body_and_then_silence_costs_no_get_and_a_write_gets_a_clear_502() {
    let regions = Regions::start(TIMEOUTS).await;
    let load = regions.load().await;
    regions.a.behave(Behaviour::Stall);
    regions.edge.out("a").await;
    let out = Instant::now();
    let visits = regions.without_loss(load, out).await;
    visits.posts_were_lost(FEW, 502, "http_response_incomplete");
}

#[tokio::test]
async fn a_region_whose_probes_name_another_region_is_left_before_anyone_notices() {
    let regions = Regions::with(TIMEOUTS, |text| {
        text.replace("[probe]\n", "[probe]\nregion_field = \"region\"\n")
    })
    .await;
    let load = regions.load().await;
    regions.a.answer_probes(Probes::Name("b"));
    regions.edge.out("a").await;
    let out = Instant::now();
    load.more(40).await;
    let status = regions.edge.admin("GET", "/api/v1/status").await.text();
    assert!(status.contains("answered as region"), "{status}");
    regions.a.answer_probes(Probes::Pass);
    let visits = regions.returns(load, out).await;
    visits.nobody_noticed(&["a", "b"]);
    let told = "meridian_probe_results_total{region=\"a\",result=\"failed\"}";
    assert!(regions.edge.metric(told).await >= 3.0);
}

#[tokio::test]
async fn probes_lost_now_and_then_move_nothing() {
    let regions = Regions::start(TIMEOUTS).await;
    let load = regions.load().await;
    regions
        .a
        .answer_probes(Probes::Each(|number| number % 3 == 0));
    regions
        .b
        .answer_probes(Probes::Each(|number| number % 2 == 0));
    regions.a.probed(12).await;
    let visits = load.end().await;
    visits.nobody_noticed(&["a"]);
    assert_eq!(regions.edge.moves("a"), (0, 0));
    assert_eq!(regions.edge.moves("b"), (0, 0));
}
