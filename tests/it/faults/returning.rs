//! How traffic returns: probation by real reads, a hold-down, a ramp by viewer, or an operator's word.

use std::collections::BTreeMap;

use meridian_core::apply::Event;
use tokio::time::Instant;

use crate::support::load::Load;
use crate::support::regions::{ENOUGH, Regions};

#[tokio::test]
async fn on_the_ramp_each_viewer_moves_once_and_none_bounces() {
    let mut regions = Regions::start("[failback]\nhold_down = \"100ms\"\nramp = \"800ms\"\n").await;
    let load = Load::start(regions.edge.address, 3, 24, false);
    load.more(ENOUGH).await;
    regions.a.kill().await;
    regions.edge.out("a").await;
    regions.a.revive().await;
    regions.edge.stage("a", "hold_down").await;
    // The last try of the probation may still be under way.
    let held = Instant::now();
    regions.edge.stage("a", "full").await;
    let full = Instant::now();
    load.more(48).await;
    let visits = load.end().await;
    visits.nobody_noticed(&["a", "b"]);
    visits.since(full).nobody_noticed(&["a"]);
    let mut paths: BTreeMap<_, Vec<_>> = BTreeMap::new();
    let visits = visits.since(held);
    for visit in &visits.0 {
        let path = paths.entry(visit.viewer).or_default();
        if path.last() != Some(&&visit.text) {
            path.push(&visit.text);
        }
    }
    assert_eq!(paths.len(), 24);
    for (viewer, path) in paths {
        assert!(path == ["b", "a"] || path == ["a"], "{viewer}: {path:?}");
    }
    let before = visits.0.iter().filter(|visit| visit.started < full);
    let early = before.filter(|visit| visit.text == "a").count();
    assert!(early > 0, "nobody was on the ramp");
}

#[tokio::test]
async fn a_region_that_waits_for_an_operator_stays_out_until_the_word_comes() {
    tokio::join!(stays_out("confirm"), stays_out("manual"));
}

async fn stays_out(mode: &str) {
    let failback =
        format!("[failback]\nmode = \"{mode}\"\nhold_down = \"50ms\"\nramp = \"100ms\"\n");
    let mut regions = Regions::start(&failback).await;
    let load = regions.load().await;
    regions.a.kill().await;
    regions.edge.out("a").await;
    regions.a.revive().await;
    regions.edge.stage("a", "awaiting_confirm").await;
    let waiting = Instant::now();
    regions.a.probed(4).await;
    let told = Instant::now();
    regions
        .edge
        .app
        .board()
        .tell(Event::Confirm { region: "a".into() });
    regions.edge.stage("a", "full").await;
    let full = Instant::now();
    load.more(20).await;
    let mut visits = load.end().await;
    visits.since(full).nobody_noticed(&["a"]);
    visits.0.retain(|visit| visit.started < told);
    visits.since(waiting).nobody_noticed(&["b"]);
    assert_eq!(regions.edge.moves("a"), (1, 1));
}
