//! Three regions behind a proxy that notices faults as fast as it can be told to.

use std::time::Duration;

use meridian_core::change::{Subject, What};
use meridian_core::decide::snapshot::Snapshot;
use meridian_core::health::failback::{Failback, Stage};
use meridian_core::health::rise_fall::Health;
use meridian_core::model::id::RegionId;
use tokio::time::Instant;

use crate::support::edge::Edge;
use crate::support::load::{Load, Visits};
use crate::support::origin::FakeOrigin;
use crate::support::resources::until;

/// How many viewers ask at the same time.
pub(crate) const VIEWERS: u8 = 4;

/// Requests after which the proxy knows how long answers take, and the retry budget has room for
/// what a fault does before it is found.
pub(crate) const ENOUGH: usize = 100;

/// No GET takes so long. A time-out would; the wait for the next region is 50 ms to 1 s.
pub(crate) const PATIENCE: Duration = Duration::from_millis(1400);

/// Time-outs that a GET must never wait for. A write has to, and tests have to wait for it.
pub(crate) const TIMEOUTS: &str =
    "timeouts = { connect = \"500ms\", first_byte = \"1500ms\", body_progress = \"1500ms\" }\n";

/// Probes as fast as may be, and a failback that takes no minutes.
const FAST: &str = "[failback]\nhold_down = \"100ms\"\nramp = \"200ms\"\n";

/// Regions `a`, `b` and `c`, in this order.
pub(crate) struct Regions {
    pub(crate) a: FakeOrigin,
    pub(crate) b: FakeOrigin,
    pub(crate) c: FakeOrigin,
    pub(crate) edge: Edge,
}

impl Regions {
    /// Starts them, all well and known to be. `more` is added to the route and the file; it has
    /// its own `[failback]` or the fast one.
    pub(crate) async fn start(more: &str) -> Self {
        Self::with(more, |text| text).await
    }

    /// The same with another configuration.
    pub(crate) async fn with(more: &str, change: impl FnOnce(String) -> String) -> Self {
        let a = FakeOrigin::start("a").await;
        Self::behind(a, more, change).await
    }

    /// The same with a region `a` that is made already.
    pub(crate) async fn behind(
        a: FakeOrigin,
        more: &str,
        change: impl FnOnce(String) -> String,
    ) -> Self {
        let (b, c) = (FakeOrigin::start("b").await, FakeOrigin::start("c").await);
        let origins = [("a", &*a.url()), ("b", &*b.url()), ("c", &*c.url())];
        let edge = Edge::start(&change(text(&origins, more))).await;
        edge.all_healthy().await;
        Self { a, b, c, edge }
    }

    /// Viewers who read and write, after they have done so for a while.
    pub(crate) async fn load(&self) -> Load {
        let load = Load::start(self.edge.address, 1, VIEWERS, true);
        load.more(ENOUGH).await;
        load
    }

    /// Waits until traffic is back in region `a`, left at `out`, and gives what viewers saw: as
    /// [`Regions::without_loss`], and the region came back once.
    pub(crate) async fn returns(&self, load: Load, out: Instant) -> Visits {
        self.edge.stage("a", "full").await;
        let back = Instant::now();
        let visits = self.without_loss(load, out).await;
        visits.since(back).nobody_noticed(&["a"]);
        assert_eq!(self.edge.moves("a"), (1, 1));
        visits
    }

    /// Ends the load and gives what viewers saw. No GET was lost or waited long, nobody noticed
    /// anything after region `a` was left at `out`, it was left once, and no write was executed
    /// twice.
    pub(crate) async fn without_loss(&self, load: Load, out: Instant) -> Visits {
        load.more(20).await;
        let visits = load.end().await;
        visits.no_get_was_lost_or_waited(PATIENCE);
        visits.since(out).nobody_noticed(&["a", "b", "c"]);
        assert_eq!(self.edge.moves("a").0, 1);
        self.no_write_was_executed_twice(&visits);
        visits
    }

    /// No request with a body reached any region twice, and none more than one region.
    pub(crate) fn no_write_was_executed_twice(&self, visits: &Visits) {
        let origins = [&self.a, &self.b, &self.c];
        let seen: Vec<_> = origins.iter().flat_map(|origin| origin.seen()).collect();
        let posts = visits.0.iter().filter(|visit| visit.method == "POST");
        let mut answered = 0;
        for post in posts {
            let times = seen.iter().filter(|seen| seen.path == post.path).count();
            assert!(times <= 1, "executed {times} times: {post:#?}");
            answered += times;
        }
        assert!(answered > 0, "somebody wrote");
    }
}

/// The configuration: fast probes, a fast failback unless `more` says how it is.
pub(crate) fn text(origins: &[(&str, &str)], more: &str) -> String {
    let failback = if more.contains("[failback]") {
        ""
    } else {
        FAST
    };
    Edge::text(origins, &format!("{more}{failback}"))
        .replace("\"1h\"\n[region", "\"100ms\"\ntimeout = \"500ms\"\n[region")
        .replace("interval = \"1h\"", "interval = \"100ms\"")
}

/// The number of the region called `name`.
pub(crate) fn numbered(snapshot: &Snapshot, name: &str) -> RegionId {
    snapshot.table.region_named(name).unwrap()
}

impl Edge {
    /// Waits until what is believed is so.
    pub(crate) async fn believes(&self, holds: impl Fn(&Snapshot) -> bool) {
        let board = self.app.board();
        let mut revisions = board.revisions();
        until(&mut revisions, || holds(&board.live().snapshot)).await;
    }

    /// Waits until every endpoint's probe has passed.
    pub(crate) async fn all_healthy(&self) {
        self.believes(|snapshot| {
            let mut regions = snapshot.regions.iter();
            regions.all(|region| {
                let healthy = |one: &_| is_healthy(one);
                !region.endpoints.is_empty() && region.endpoints.iter().all(healthy)
            })
        })
        .await;
    }

    /// Waits until a region gets no more traffic.
    pub(crate) async fn out(&self, name: &str) {
        self.believes(|snapshot| !snapshot.serving.contains(numbered(snapshot, name)))
            .await;
    }

    /// Waits until a region's failback has come so far: `full`, `down`, `hold_down`, `ramping` or
    /// `awaiting_confirm`.
    pub(crate) async fn stage(&self, name: &str, label: &str) {
        self.believes(|snapshot| {
            let region = &snapshot.regions[numbered(snapshot, name).index()];
            let stage = region.failback.first().map(Failback::stage);
            stage.unwrap_or_default().label() == label
        })
        .await;
    }

    /// How often a region was left, and how often it was back in full after that.
    pub(crate) fn moves(&self, name: &str) -> (usize, usize) {
        let (mut away, mut back) = (0, 0);
        for entry in self.app.board().journal().since(0).changes {
            let change = &entry.change;
            if !matches!(&change.subject, Subject::Region { region } if &**region == name) {
                continue;
            }
            match &change.what {
                What::Health { to, .. } => away += usize::from(*to == Health::Unhealthy),
                What::Failback(stage) => {
                    let left = away > 0;
                    back += usize::from(left && *stage == Stage::Full);
                }
                _ => {}
            }
        }
        (away, back)
    }

    /// Second attempts that answered before the first.
    pub(crate) async fn hedges_won(&self) -> f64 {
        let mut won = 0.0;
        for region in ["a", "b", "c"] {
            let series = format!("meridian_hedges_total{{region=\"{region}\",result=\"won\"}}");
            won += self.metric(&series).await;
        }
        won
    }

    /// The sum of all series of a metric that begin like this.
    pub(crate) async fn sum(&self, series: &str) -> f64 {
        let page = self.admin("GET", "/metrics").await.text();
        let lines = page.lines().filter(|line| line.starts_with(series));
        let values = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        values.sum()
    }
}

fn is_healthy(endpoint: &meridian_core::decide::snapshot::EndpointState) -> bool {
    endpoint.health == Health::Healthy
}
