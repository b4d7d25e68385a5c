//! One endpoint of three in a region fails: the region keeps its traffic, and the endpoint has to
//! prove itself before it gets any.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use meridian_core::health::rise_fall::Health;
use meridian_core::table::traffic_policy::ProbationPolicy;

use crate::support::edge::Edge;
use crate::support::load::{Load, Visits};
use crate::support::origin::{Behaviour, FakeOrigin};
use crate::support::regions::{ENOUGH, PATIENCE, TIMEOUTS, VIEWERS, numbered, text};

/// A region `a` of three endpoints, the `bad` one among them, and a region `b`.
struct Zones {
    bad: FakeOrigin,
    good: [FakeOrigin; 2],
    b: FakeOrigin,
    edge: Edge,
}

impl Zones {
    async fn start() -> Self {
        let bad = FakeOrigin::start("a").await;
        let good = [FakeOrigin::start("a").await, FakeOrigin::start("a").await];
        let b = FakeOrigin::start("b").await;
        let urls = [bad.url(), good[0].url(), good[1].url()].join("\", \"");
        let edge = Edge::start(&text(&[("a", &urls), ("b", &b.url())], TIMEOUTS)).await;
        edge.all_healthy().await;
        Self { bad, good, b, edge }
    }

    async fn load(&self) -> Load {
        let load = Load::start(self.edge.address, 1, VIEWERS, true);
        load.more(ENOUGH).await;
        load
    }

    /// Waits until the endpoint is believed to be so.
    async fn until(&self, health: Health) {
        let address = self.bad.address;
        self.edge
            .believes(|snapshot| {
                let region = &snapshot.regions[numbered(snapshot, "a").index()];
                let mut endpoints = region.endpoints.iter();
                endpoints.any(|one| one.address == address && one.health == health)
            })
            .await;
    }

    /// The methods that the endpoint has seen since it had seen `before`.
    fn methods(&self, before: usize) -> Vec<String> {
        let seen = self.bad.seen().split_off(before);
        seen.iter().map(|seen| seen.method.to_string()).collect()
    }

    /// Waits for the fault to be found, ends it by `heal`, and waits for the endpoint's return. No
    /// GET was lost, and only reads tried the endpoint meanwhile, as many as it takes.
    async fn passes(&mut self, load: Load, heal: impl AsyncFnOnce(&mut FakeOrigin)) -> Visits {
        self.until(Health::Unhealthy).await;
        load.more(20).await;
        let before = self.bad.seen().len();
        load.more(60).await;
        assert!(self.methods(before).iter().all(|method| method == "GET"));
        heal(&mut self.bad).await;
        let before = self.bad.seen().len();
        self.until(Health::Healthy).await;
        load.more(20).await;
        let visits = load.end().await;
        visits.no_get_was_lost_or_waited(PATIENCE);
        // One try may have been under way when the fault ended.
        let methods = self.methods(before);
        let probation = ProbationPolicy::default().answers as usize - 1;
        assert!(methods.len() >= probation, "{methods:?}");
        assert!(methods[..probation].iter().all(|method| method == "GET"));
        assert_eq!(self.edge.moves("a"), (0, 0));
        let others = self.good.iter().chain([&self.b]);
        let seen: Vec<_> = others
            .chain([&self.bad])
            .flat_map(FakeOrigin::seen)
            .collect();
        for post in visits.0.iter().filter(|visit| visit.method == "POST") {
            let times = seen.iter().filter(|seen| seen.path == post.path).count();
            assert!(times <= 1, "executed {times} times: {post:#?}");
        }
        visits
    }
}

#[tokio::test]
async fn a_dead_endpoint_does_not_move_its_region_and_returns_by_reads_alone() {
    let mut zones = Zones::start().await;
    let load = zones.load().await;
    zones.bad.kill().await;
    let visits = zones.passes(load, async |bad| bad.revive().await).await;
    visits.posts_were_lost(VIEWERS.into(), 502, "connection_terminated");
}

#[tokio::test]
async fn a_slow_endpoint_does_not_move_its_region_and_returns_by_reads_alone() {
    let mut zones = Zones::start().await;
    let load = zones.load().await;
    zones
        .bad
        .behave(Behaviour::Slow(Duration::from_millis(600)));
    let heal = async |bad: &mut FakeOrigin| bad.behave(Behaviour::Name);
    let visits = zones.passes(load, heal).await;
    assert!(visits.lost_posts().is_empty(), "{:#?}", visits.lost_posts());
}

#[tokio::test]
async fn a_gray_endpoint_does_not_move_its_region_and_returns_by_reads_alone() {
    let mut zones = Zones::start().await;
    let load = zones.load().await;
    let refusal = Bytes::from_static(b"refused");
    let status = StatusCode::SERVICE_UNAVAILABLE;
    zones
        .bad
        .behave(Behaviour::Answer(status, Vec::new(), refusal));
    let heal = async |bad: &mut FakeOrigin| bad.behave(Behaviour::Name);
    let visits = zones.passes(load, heal).await;
    visits.posts_were_refused(2 * usize::from(VIEWERS), 503, "refused");
}
