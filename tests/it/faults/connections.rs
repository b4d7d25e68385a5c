//! Regions that cannot be reached, or that say nothing.

use tokio::time::Instant;

use crate::support::authority::{Authority, serve, tls};
use crate::support::origin::{Behaviour, FakeOrigin};
use crate::support::regions::{Regions, TIMEOUTS, VIEWERS};

/// Viewers with a write under way when a connection breaks: all of them, at most.
const IN_HAND: usize = VIEWERS as usize;

/// Failovers away from `a`, for this reason.
fn left(reason: &str) -> String {
    format!("meridian_failovers_total{{route=\"all\",from=\"a\",reason=\"{reason}\"}}")
}

#[tokio::test]
async fn a_killed_region_costs_no_get_and_only_the_writes_it_had_in_hand() {
    let mut regions = Regions::start(TIMEOUTS).await;
    let load = regions.load().await;
    regions.a.kill().await;
    regions.edge.out("a").await;
    let out = Instant::now();
    load.more(40).await;
    regions.a.revive().await;
    let visits = regions.returns(load, out).await;
    visits.posts_were_lost(IN_HAND, 502, "connection_terminated");
    let left = regions.edge.metric(&left("connect_refused")).await;
    assert!(left >= 1.0, "{left}");
}

#[tokio::test]
async fn a_region_that_hangs_costs_no_get_and_a_write_gets_a_clear_504() {
    let regions = Regions::start(TIMEOUTS).await;
    let load = regions.load().await;
    regions.a.behave(Behaviour::Hang);
    regions.edge.out("a").await;
    let out = Instant::now();
    load.more(40).await;
    regions.a.behave(Behaviour::Name);
    let visits = regions.returns(load, out).await;
    visits.posts_were_lost(IN_HAND, 504, "http_response_timeout");
    let won = regions.edge.hedges_won().await;
    assert!(won >= 5.0, "{won}");
}

#[tokio::test]
async fn a_region_that_resets_connections_costs_no_get_and_a_write_gets_a_clear_502() {
    let regions = Regions::start(TIMEOUTS).await;
    let load = regions.load().await;
    regions.a.behave(Behaviour::Reset);
    regions.a.close_connections();
    regions.edge.out("a").await;
    let out = Instant::now();
    let visits = regions.without_loss(load, out).await;
    visits.posts_were_lost(2 * IN_HAND, 502, "connection_terminated");
    let left = regions.edge.metric(&left("fresh_reset")).await;
    assert!(left >= 1.0, "{left}");
}

#[tokio::test]
async fn a_region_behind_a_network_that_drops_packets_costs_no_get_and_no_new_write() {
    let mut regions = Regions::start(TIMEOUTS).await;
    let load = regions.load().await;
    let _hole = regions.a.blackhole().await;
    regions.edge.out("a").await;
    let out = Instant::now();
    let visits = regions.without_loss(load, out).await;
    visits.posts_were_lost(IN_HAND, 502, "connection_terminated");
    let won = regions.edge.hedges_won().await;
    assert!(won >= 5.0, "{won}");
}

#[tokio::test]
async fn a_region_that_goes_up_and_down_is_left_once_and_returned_to_once() {
    let mut regions = Regions::start(TIMEOUTS).await;
    let load = regions.load().await;
    regions.a.kill().await;
    regions.edge.out("a").await;
    let out = Instant::now();
    for _ in 0..3 {
        regions.a.revive().await;
        regions.a.probed(3).await;
        load.more(20).await;
        regions.a.kill().await;
        load.more(20).await;
    }
    regions.a.revive().await;
    let visits = regions.returns(load, out).await;
    visits.posts_were_lost(IN_HAND, 502, "connection_terminated");
}

/// Region `a` speaks TLS, with a certificate that is verified.
async fn behind_tls(authority: &Authority) -> Regions {
    let files = authority.certificate("origin", &["127.0.0.1"]);
    let config = serve(&tls(&[files]));
    let address = "127.0.0.1:0".parse().unwrap();
    let a = FakeOrigin::start_with("a", false, Some(config), address).await;
    let ca = authority.file("ca.pem", authority.issuer.pem());
    let lines = format!("[region.a]\ntls = {{ ca = {ca:?} }}\n");
    Regions::behind(a, TIMEOUTS, |text| text.replace("[region.a]\n", &lines)).await
}

#[tokio::test]
async fn a_region_whose_tls_handshakes_hang_costs_no_get_and_no_new_write() {
    let authority = Authority::new();
    let regions = behind_tls(&authority).await;
    let load = regions.load().await;
    regions.a.behave(Behaviour::Mute);
    regions.a.close_connections();
    regions.edge.out("a").await;
    let out = Instant::now();
    let visits = regions.without_loss(load, out).await;
    visits.posts_were_lost(IN_HAND, 502, "connection_terminated");
    let won = regions.edge.hedges_won().await;
    assert!(won >= 5.0, "{won}");
}

#[tokio::test]
async fn a_region_whose_certificate_ran_out_costs_no_get_and_no_new_write() {
    let authority = Authority::new();
    let regions = behind_tls(&authority).await;
    let load = regions.load().await;
    regions.a.certify(authority.expired(&["127.0.0.1"]));
    regions.a.close_connections();
    regions.edge.out("a").await;
    let out = Instant::now();
    load.more(40).await;
    let files = authority.certificate("renewed", &["127.0.0.1"]);
    regions.a.certify(serve(&tls(&[files])));
    let visits = regions.returns(load, out).await;
    visits.posts_were_lost(IN_HAND, 502, "connection_terminated");
    let left = regions.edge.metric(&left("tls_failed")).await;
    assert!(left >= 1.0, "{left}");
}
