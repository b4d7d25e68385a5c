//! Whole decisions as `explain` prints them: a change of policy shows as a change of text.

use std::time::Duration;

use insta::assert_snapshot;
use meridian_core::decide::explain::{Explanation, explain};
use meridian_core::decide::snapshot::AdminState;
use meridian_core::model::country::Country;
use meridian_core::model::viewer::UnknownViewer;
use meridian_core::table::policy::Policy;
use meridian_core::table::route::HostPattern;

use crate::support::world::{MEASURED, World, facts, viewer};

const REGIONS: [&str; 4] = ["ap-southeast-1", "eu-central-1", "eu-west-1", "us-east-1"];

/// Four measured regions and one route over the first three named.
fn world(policy: Policy) -> World {
    let mut world = World::new(&REGIONS);
    for (name, milliseconds) in REGIONS.iter().zip([180.0, 30.1, 12.3, 5.0]) {
        world.measured(name, milliseconds);
    }
    world.route(
        "api",
        "/v1",
        &["us-east-1", "eu-west-1", "eu-central-1"],
        policy,
    );
    world
}

fn explained(world: &World, country: Option<&str>) -> Explanation {
    let now = MEASURED + Duration::from_secs(3);
    explain(&world.snapshot(), &facts("/v1/x", &viewer(country)), now)
}

#[test]
fn latency_chooses_the_fastest_region() {
    let mut explanation = explained(&world(Policy::Latency), Some("US"));
    explanation.method = Some("GET".to_owned());
    assert_snapshot!(explanation, @r#"
    GET api.example.com/v1/x  viewer 203.0.113.7 from US (header)
    route "api"  /v1  meridian.toml:10
    permitted  eu-central-1, eu-west-1, us-east-1  (no residency line holds)
      1  us-east-1       healthy    5.0 ms ±0.0, 3 s ago  chosen: lowest latency (meridian.toml:14)
      2  eu-west-1       healthy   12.3 ms ±0.0, 3 s ago
      3  eu-central-1    healthy   30.1 ms ±0.0, 3 s ago
      -  ap-southeast-1  healthy  180.0 ms ±0.0, 3 s ago  out: not in the route's regions (meridian.toml:10)
    "#);
}

#[test]
fn failover_follows_the_order_written() {
    let mut world = world(Policy::Failover);
    world.last().order.reverse();
    assert_snapshot!(explained(&world, Some("US")), @r#"
    api.example.com/v1/x  viewer 203.0.113.7 from US (header)
    route "api"  /v1  meridian.toml:10
    permitted  eu-central-1, eu-west-1, us-east-1  (no residency line holds)
      1  eu-central-1    healthy   30.1 ms ±0.0, 3 s ago  chosen: first in the order written (meridian.toml:14)
      2  eu-west-1       healthy   12.3 ms ±0.0, 3 s ago
      3  us-east-1       healthy    5.0 ms ±0.0, 3 s ago
      -  ap-southeast-1  healthy  180.0 ms ±0.0, 3 s ago  out: not in the route's regions (meridian.toml:10)
    "#);
}

#[test]
fn geo_chooses_the_nearest_region() {
    assert_snapshot!(explained(&world(Policy::Geo), Some("DE")), @r#"
    api.example.com/v1/x  viewer 203.0.113.7 from DE (header)
    route "api"  /v1  meridian.toml:10
    permitted  eu-central-1, eu-west-1, us-east-1  (no residency line holds)
      1  eu-central-1    healthy   30.1 ms ±0.0, 3 s ago    105 km  chosen: nearest to the viewer (meridian.toml:14)
      2  eu-west-1       healthy   12.3 ms ±0.0, 3 s ago   1126 km
      3  us-east-1       healthy    5.0 ms ±0.0, 3 s ago   6587 km
      -  ap-southeast-1  healthy  180.0 ms ±0.0, 3 s ago  10179 km  out: not in the route's regions (meridian.toml:10)
    "#);
}

#[test]
fn geo_goes_by_latency_where_the_viewer_is_nowhere() {
    assert_snapshot!(explained(&world(Policy::Geo), None), @r#"
    api.example.com/v1/x  viewer 203.0.113.7 from an unknown country (viewer.unknown: any)
    route "api"  /v1  meridian.toml:10
    permitted  eu-central-1, eu-west-1, us-east-1  (no residency line holds)
      1  us-east-1       healthy    5.0 ms ±0.0, 3 s ago  chosen: no distance is known: lowest latency (meridian.toml:14)
      2  eu-west-1       healthy   12.3 ms ±0.0, 3 s ago
      3  eu-central-1    healthy   30.1 ms ±0.0, 3 s ago
      -  ap-southeast-1  healthy  180.0 ms ±0.0, 3 s ago  out: not in the route's regions (meridian.toml:10)
    "#);
}

#[test]
fn weighted_names_the_share() {
    let mut world = world(Policy::Latency);
    let weights = vec![(world.id("us-east-1"), 3), (world.id("eu-west-1"), 1)];
    world.last().policy = Policy::Weighted(weights);
    assert_snapshot!(explained(&world, Some("US")), @r#"
    api.example.com/v1/x  viewer 203.0.113.7 from US (header)
    route "api"  /v1  meridian.toml:10
    permitted  eu-central-1, eu-west-1, us-east-1  (no residency line holds)
      1  us-east-1       healthy    5.0 ms ±0.0, 3 s ago  weight 3  chosen: the viewer's share, weight 3, drawn by its address unless that sends much of the traffic (meridian.toml:14)
      2  eu-west-1       healthy   12.3 ms ±0.0, 3 s ago  weight 1
      3  eu-central-1    healthy   30.1 ms ±0.0, 3 s ago
      -  ap-southeast-1  healthy  180.0 ms ±0.0, 3 s ago            out: not in the route's regions (meridian.toml:10)
    "#);
}

#[test]
fn residency_names_the_line_that_leaves_a_region_out() {
    let mut world = world(Policy::Latency);
    world.residency(&[("@eu", &["eu-west-1", "eu-central-1"])]);
    assert_snapshot!(explained(&world, Some("DE")), @r#"
    api.example.com/v1/x  viewer 203.0.113.7 from DE (header)
    route "api"  /v1  meridian.toml:10
    permitted  eu-central-1, eu-west-1  (residency "@eu", meridian.toml:18)
      1  eu-west-1       healthy   12.3 ms ±0.0, 3 s ago  chosen: lowest latency (meridian.toml:14)
      2  eu-central-1    healthy   30.1 ms ±0.0, 3 s ago
      -  ap-southeast-1  healthy  180.0 ms ±0.0, 3 s ago  out: not in the route's regions (meridian.toml:10)
      -  us-east-1       healthy    5.0 ms ±0.0, 3 s ago  out: residency "@eu" (meridian.toml:18)
    "#);
}

#[test]
fn a_preference_goes_before_the_policy() {
    let mut world = world(Policy::Latency);
    world.prefer(&[("@europe", &["eu-west-1"]), ("DE", &["eu-central-1"])]);
    assert_snapshot!(explained(&world, Some("DE")), @r#"
    api.example.com/v1/x  viewer 203.0.113.7 from DE (header)
    route "api"  /v1  meridian.toml:10
    permitted  eu-central-1, eu-west-1, us-east-1  (no residency line holds)
      1  eu-central-1    healthy   30.1 ms ±0.0, 3 s ago  chosen: prefer "DE" (meridian.toml:17)
      2  us-east-1       healthy    5.0 ms ±0.0, 3 s ago
      3  eu-west-1       healthy   12.3 ms ±0.0, 3 s ago
      -  ap-southeast-1  healthy  180.0 ms ±0.0, 3 s ago  out: not in the route's regions (meridian.toml:10)
    "#);
}

#[test]
fn an_unhealthy_region_is_the_last_resort() {
    let mut world = world(Policy::Latency);
    world.down("us-east-1");
    assert_snapshot!(explained(&world, Some("US")), @r#"
    api.example.com/v1/x  viewer 203.0.113.7 from US (header)
    route "api"  /v1  meridian.toml:10
    permitted  eu-central-1, eu-west-1, us-east-1  (no residency line holds)
      1  eu-west-1       healthy     12.3 ms ±0.0, 3 s ago  chosen: lowest latency (meridian.toml:14)
      2  eu-central-1    healthy     30.1 ms ±0.0, 3 s ago
      3  us-east-1       unhealthy              unmeasured  last resort: unhealthy
      -  ap-southeast-1  healthy    180.0 ms ±0.0, 3 s ago  out: not in the route's regions (meridian.toml:10)
    "#);
}

#[test]
fn a_drained_region_is_never_tried_and_a_forced_one_is() {
    let mut world = world(Policy::Failover);
    world.admin("us-east-1", AdminState::Drained);
    world.down("eu-west-1");
    world.admin("eu-west-1", AdminState::Forced);
    assert_snapshot!(explained(&world, Some("US")), @r#"
    api.example.com/v1/x  viewer 203.0.113.7 from US (header)
    route "api"  /v1  meridian.toml:10
    permitted  eu-central-1, eu-west-1, us-east-1  (no residency line holds)
      1  eu-west-1       unhealthy, forced              unmeasured  chosen: first in the order written (meridian.toml:14)
      2  eu-central-1    healthy             30.1 ms ±0.0, 3 s ago
      -  ap-southeast-1  healthy            180.0 ms ±0.0, 3 s ago  out: not in the route's regions (meridian.toml:10)
      -  us-east-1       healthy, drained     5.0 ms ±0.0, 3 s ago  out: drained by the operator
    "#);
}

#[test]
fn when_all_are_unhealthy_the_least_bad_permitted_one_is_tried() {
    let mut world = world(Policy::Latency);
    world.residency(&[("@eu", &["eu-west-1", "eu-central-1"])]);
    world.down("eu-west-1");
    world.ejected("eu-central-1");
    assert_snapshot!(explained(&world, Some("DE")), @r#"
    api.example.com/v1/x  viewer 203.0.113.7 from DE (header)
    route "api"  /v1  meridian.toml:10
    permitted  eu-central-1, eu-west-1  (residency "@eu", meridian.toml:18)
      1  eu-central-1    unhealthy              unmeasured  chosen: fail-open: no permitted region can serve, this is the least bad
      2  eu-west-1       unhealthy              unmeasured  last resort: unhealthy
      -  ap-southeast-1  healthy    180.0 ms ±0.0, 3 s ago  out: not in the route's regions (meridian.toml:10)
      -  us-east-1       healthy      5.0 ms ±0.0, 3 s ago  out: residency "@eu" (meridian.toml:18)
    "#);
}

#[test]
fn probes_alone_take_out_one_region_a_minute() {
    let mut world = world(Policy::Latency);
    world.residency(&[("@eu", &["eu-west-1", "eu-central-1"])]);
    world.down("eu-west-1");
    world.down("eu-central-1");
    assert_snapshot!(explained(&world, Some("DE")), @r#"
    api.example.com/v1/x  viewer 203.0.113.7 from DE (header)
    route "api"  /v1  meridian.toml:10
    permitted  eu-central-1, eu-west-1  (residency "@eu", meridian.toml:18)
      1  eu-central-1    unhealthy              unmeasured  chosen: its probes fail, and it keeps its traffic: probes alone take out one region a minute, while another is well
      2  eu-west-1       unhealthy              unmeasured  last resort: unhealthy
      -  ap-southeast-1  healthy    180.0 ms ±0.0, 3 s ago  out: not in the route's regions (meridian.toml:10)
      -  us-east-1       healthy      5.0 ms ±0.0, 3 s ago  out: residency "@eu" (meridian.toml:18)
    "#);
}

#[test]
fn an_unknown_viewer_may_go_anywhere_unless_told_otherwise() {
    let mut world = world(Policy::Latency);
    world.residency(&[("@eu", &["eu-west-1", "eu-central-1"])]);
    assert_snapshot!(explained(&world, None), @r#"
    api.example.com/v1/x  viewer 203.0.113.7 from an unknown country (viewer.unknown: any)
    route "api"  /v1  meridian.toml:10
    permitted  eu-central-1, eu-west-1, us-east-1  (no residency line holds)
      1  us-east-1       healthy    5.0 ms ±0.0, 3 s ago  chosen: lowest latency (meridian.toml:14)
      2  eu-west-1       healthy   12.3 ms ±0.0, 3 s ago
      3  eu-central-1    healthy   30.1 ms ±0.0, 3 s ago
      -  ap-southeast-1  healthy  180.0 ms ±0.0, 3 s ago  out: not in the route's regions (meridian.toml:10)
    "#);
    world.unknown(UnknownViewer::Country(
        Country::parse(b"FR").expect("a country"),
    ));
    assert_snapshot!(explained(&world, None), @r#"
    api.example.com/v1/x  viewer 203.0.113.7 counts as FR (viewer.unknown)
    route "api"  /v1  meridian.toml:10
    permitted  eu-central-1, eu-west-1  (residency "@eu", meridian.toml:18)
      1  eu-west-1       healthy   12.3 ms ±0.0, 3 s ago  chosen: lowest latency (meridian.toml:14)
      2  eu-central-1    healthy   30.1 ms ±0.0, 3 s ago
      -  ap-southeast-1  healthy  180.0 ms ±0.0, 3 s ago  out: not in the route's regions (meridian.toml:10)
      -  us-east-1       healthy    5.0 ms ±0.0, 3 s ago  out: residency "@eu" (meridian.toml:18)
    "#);
    world.unknown(UnknownViewer::Refuse);
    assert_snapshot!(explained(&world, None), @r#"
    api.example.com/v1/x  viewer 203.0.113.7 from an unknown country (viewer.unknown: refuse)
    route "api"  /v1  meridian.toml:10
    permitted  none
    refused  the country is unknown, viewer.unknown is "refuse" and the route has a residency (meridian.toml:18)
      -  ap-southeast-1  healthy  180.0 ms ±0.0, 3 s ago  out: not in the route's regions (meridian.toml:10)
      -  eu-central-1    healthy   30.1 ms ±0.0, 3 s ago  out: the viewer's country is unknown
      -  eu-west-1       healthy   12.3 ms ±0.0, 3 s ago  out: the viewer's country is unknown
      -  us-east-1       healthy    5.0 ms ±0.0, 3 s ago  out: the viewer's country is unknown
    "#);
}

#[test]
fn a_request_without_a_route_says_so() {
    let mut world = world(Policy::Latency);
    world.last().host = HostPattern::Suffix("example.org".to_owned());
    assert_snapshot!(explained(&world, Some("US")), @r#"
    api.example.com/v1/x  viewer 203.0.113.7 from US (header)
    route  none
    refused  no route takes this host and path
      -  ap-southeast-1  healthy  180.0 ms ±0.0, 3 s ago
      -  eu-central-1    healthy   30.1 ms ±0.0, 3 s ago
      -  eu-west-1       healthy   12.3 ms ±0.0, 3 s ago
      -  us-east-1       healthy    5.0 ms ±0.0, 3 s ago
    "#);
}

#[test]
fn residency_lines_that_exclude_each_other_leave_nothing() {
    let mut world = world(Policy::Latency);
    world.residency(&[("@eu", &["eu-west-1"]), ("DE", &["eu-central-1"])]);
    assert_snapshot!(explained(&world, Some("DE")), @r#"
    api.example.com/v1/x  viewer 203.0.113.7 from DE (header)
    route "api"  /v1  meridian.toml:10
    permitted  none  (residency "@eu", meridian.toml:18; residency "DE", meridian.toml:19)
    refused  residency leaves no region of the route
      -  ap-southeast-1  healthy  180.0 ms ±0.0, 3 s ago  out: not in the route's regions (meridian.toml:10)
      -  eu-central-1    healthy   30.1 ms ±0.0, 3 s ago  out: residency "@eu" (meridian.toml:18)
      -  eu-west-1       healthy   12.3 ms ±0.0, 3 s ago  out: residency "DE" (meridian.toml:19)
      -  us-east-1       healthy    5.0 ms ±0.0, 3 s ago  out: residency "@eu" (meridian.toml:18)
    "#);
}

#[test]
fn a_region_that_never_resolved_is_out() {
    let mut world = world(Policy::Latency);
    world.unresolved("us-east-1");
    assert_snapshot!(explained(&world, Some("US")), @r#"
    api.example.com/v1/x  viewer 203.0.113.7 from US (header)
    route "api"  /v1  meridian.toml:10
    permitted  eu-central-1, eu-west-1, us-east-1  (no residency line holds)
      1  eu-west-1       healthy    12.3 ms ±0.0, 3 s ago  chosen: lowest latency (meridian.toml:14)
      2  eu-central-1    healthy    30.1 ms ±0.0, 3 s ago
      3  us-east-1       unproven              unmeasured  last resort: no address is known
      -  ap-southeast-1  healthy   180.0 ms ±0.0, 3 s ago  out: not in the route's regions (meridian.toml:10)
    "#);
}

#[test]
fn regions_nobody_measured_go_by_name() {
    let mut world = World::new(&REGIONS);
    world.route("api", "/", &["us-east-1", "eu-west-1"], Policy::Latency);
    assert_snapshot!(explained(&world, Some("US")), @r#"
    api.example.com/v1/x  viewer 203.0.113.7 from US (header)
    route "api"  /  meridian.toml:10
    permitted  eu-west-1, us-east-1  (no residency line holds)
      1  eu-west-1       unproven  unmeasured  chosen: no latency is known, first by name (meridian.toml:14)
      2  us-east-1       unproven  unmeasured
      -  ap-southeast-1  unproven  unmeasured  out: not in the route's regions (meridian.toml:10)
      -  eu-central-1    unproven  unmeasured  out: not in the route's regions (meridian.toml:10)
    "#);
}

#[test]
fn an_explanation_survives_the_way_through_json() {
    let mut world = world(Policy::Geo);
    world.residency(&[("@eu", &["eu-west-1"])]);
    let explanation = explained(&world, Some("DE"));
    let json = serde_json::to_string(&explanation).expect("is JSON");
    let back: Explanation = serde_json::from_str(&json).expect("reads back");
    assert_eq!(back.to_string(), explanation.to_string());
}
