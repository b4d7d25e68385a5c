//! Origins that break off the way HTTP/2 allows.

use std::collections::BTreeMap;

use h2::Reason;
use tokio::time::Instant;

use crate::support::client::{get, request, send};
use crate::support::edge::Edge;
use crate::support::http2::{Http2, Http2Origin};
use crate::support::load::{Load, Visits};
use crate::support::origin::{Behaviour, FakeOrigin};
use crate::support::regions::{ENOUGH, PATIENCE, Regions, TIMEOUTS, VIEWERS, text};

/// Region `a` speaks HTTP/2, region `b` does not.
async fn two() -> (Http2Origin, FakeOrigin, Edge) {
    two_with("").await
}

/// The same, with `more` in the file.
async fn two_with(more: &str) -> (Http2Origin, FakeOrigin, Edge) {
    let (a, b) = (Http2Origin::start("a").await, FakeOrigin::start("b").await);
    let text = text(
        &[("a", &a.url()), ("b", &b.url())],
        &format!("{TIMEOUTS}{more}"),
    );
    let edge = Edge::start(&text.replace("[region.a]\n", "[region.a]\nhttp = \"2\"\n")).await;
    edge.all_healthy().await;
    (a, b, edge)
}

async fn load(edge: &Edge) -> Load {
    let load = Load::start(edge.address, 1, VIEWERS, true);
    load.more(ENOUGH).await;
    load
}

fn no_write_was_executed_twice(a: &Http2Origin, b: &FakeOrigin, visits: &Visits) {
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    let of_b = b.seen().into_iter().map(|seen| seen.path);
    for path in a.answered().into_iter().map(|(_, path)| path).chain(of_b) {
        *times.entry(path).or_default() += 1;
    }
    for post in visits.0.iter().filter(|visit| visit.method == "POST") {
        let times = times.get(&post.path).copied().unwrap_or_default();
        let lost = usize::from(post.status == Some(200));
        assert_eq!(times, lost, "{post:#?}");
    }
}

#[tokio::test]
async fn an_origin_that_sends_goaway_after_every_request_is_noticed_by_nobody() {
    let (a, b, edge) = two().await;
    let load = load(&edge).await;
    a.behave(Http2::GoAway);
    load.more(100).await;
    let visits = load.end().await;
    visits.nobody_noticed(&["a"]);
    no_write_was_executed_twice(&a, &b, &visits);
    assert_eq!(edge.moves("a"), (0, 0));
}

/// Sixty requests of any method are under way when the origin says with `word` that it did not look
/// at them.
async fn sixty_in_flight_are_not_looked_at(word: Http2) {
    let (a, b, edge) = two_with("[hedge]\nunmeasured_delay = \"10s\"\n").await;
    // The connection is there already, so that nothing is learned of new ones.
    get(edge.address, "/", &[]).await;
    a.behave(Http2::Hold);
    let visit = |number: usize| {
        let method = ["GET", "POST", "PUT"][number % 3];
        let body = if method == "GET" { "" } else { "x" };
        let order = request(method, &format!("/{number}"), &[], body);
        tokio::spawn(send(edge.address, order))
    };
    let visits: Vec<_> = (0..60).map(visit).collect();
    a.holds(60).await;
    a.behave(word);
    for visit in visits {
        let reply = visit.await.unwrap().unwrap();
        let got = (reply.status, reply.text());
        assert_eq!(got, (200, "a".to_owned()), "{:?}", reply.headers);
    }
    assert_eq!(a.answered().len(), 61);
    assert!(b.seen().is_empty());
    assert_eq!(edge.moves("a"), (0, 0));
    for series in ["retries", "failovers", "retry_budget_exhausted"] {
        let sum = edge.sum(&format!("meridian_{series}_total")).await;
        assert!(sum == 0.0, "{sum} {series} after {word:?}");
    }
}

#[tokio::test]
async fn sixty_requests_that_a_goaway_leaves_out_are_sent_again_and_nothing_is_held_against_it() {
    sixty_in_flight_are_not_looked_at(Http2::GoneAway).await;
}

#[tokio::test]
async fn sixty_streams_that_are_refused_are_sent_again_and_nothing_is_held_against_it() {
    sixty_in_flight_are_not_looked_at(Http2::RefuseHeld).await;
}

#[tokio::test]
async fn an_origin_that_refuses_every_stream_loses_no_write_and_its_traffic() {
    let (a, b, edge) = two().await;
    let load = load(&edge).await;
    a.behave(Http2::Reset(Reason::REFUSED_STREAM));
    edge.out("a").await;
    load.more(40).await;
    let visits = load.end().await;
    visits.nobody_noticed(&["a", "b"]);
    no_write_was_executed_twice(&a, &b, &visits);
    assert_eq!(edge.moves("a").0, 1);
}

#[tokio::test]
async fn an_origin_that_resets_streams_costs_no_get_and_a_write_gets_a_clear_502() {
    let (a, b, edge) = two().await;
    let load = load(&edge).await;
    a.behave(Http2::Reset(Reason::INTERNAL_ERROR));
    edge.out("a").await;
    let out = Instant::now();
    load.more(40).await;
    let visits = load.end().await;
    visits.no_get_was_lost_or_waited(PATIENCE);
    visits.since(out).nobody_noticed(&["b"]);
    visits.posts_were_lost(2 * usize::from(VIEWERS), 502, "connection_terminated");
    no_write_was_executed_twice(&a, &b, &visits);
}

#[tokio::test]
async fn an_origin_that_takes_no_more_of_a_body_is_a_clear_504_and_costs_no_get() {
    let (a, b, edge) = two().await;
    a.behave(Http2::Closed);
    let started = Instant::now();
    let order = request("POST", "/order", &[], "longer than the window");
    let reply = send(edge.address, order).await.unwrap();
    assert_eq!(reply.status, 504);
    let said = "meridian;error=http_response_timeout;next-hop=\"a\";details=\"not_retryable\"";
    assert_eq!(reply.field("proxy-status"), said);
    assert!(started.elapsed() < 2 * PATIENCE);
    assert_eq!(get(edge.address, "/", &[]).await.text(), "b");
    assert!(b.seen().iter().all(|seen| seen.method == "GET"));
}

#[tokio::test]
async fn an_origin_whose_http2_answers_stall_costs_no_get() {
    let a = FakeOrigin::start_http2("a").await;
    let regions = Regions::behind(a, TIMEOUTS, |text| {
        text.replace("[region.a]\n", "[region.a]\nhttp = \"2\"\n")
    })
    .await;
    let load = regions.load().await;
    regions.a.behave(Behaviour::Stall);
    regions.edge.out("a").await;
    let out = Instant::now();
    load.more(40).await;
    let visits = regions.without_loss(load, out).await;
    visits.posts_were_lost(2 * usize::from(VIEWERS), 502, "http_response_incomplete");
}
