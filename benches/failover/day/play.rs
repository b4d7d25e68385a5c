//! One proxy through one day.

use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep_until};

use crate::day::load::{load, own_p99};
use crate::day::review::Review;
use crate::day::{Callers, Day, What};
use crate::large;
use crate::process::Running;
use crate::proxy::Proxy;
use crate::scene::Scene;
use crate::strain::Strain;

/// Starts regions and the proxy, whose files go to `folder`, lets the day happen, and judges it.
/// The error says what could not be started.
pub(crate) fn run(
    proxy: Proxy,
    day: &Day,
    folder: &Path,
    running: &Running,
) -> Result<Review, String> {
    if day.callers.iter().any(Callers::is_large) {
        // Made before anybody waits for it.
        LazyLock::force(&large::BODY);
    }
    let scene = Scene::open(proxy, day.topology, folder, running)?;
    let (calls, own) = scene.runtime.block_on(async {
        let start = Instant::now() + Duration::from_millis(20);
        let calls = load(day, scene.site.address, start);
        let (calls, own, ()) =
            tokio::join!(calls, own(day, &scene, start), happen(day, &scene, start));
        (calls, own)
    });
    Ok(Review::of(day, proxy, (&calls, own), &scene.world.ledger))
}

/// What the day itself adds to 99 of 100 answers of the preferred region, where that counts
/// from the start and the region speaks HTTP/1.1.
async fn own(day: &Day, scene: &Scene, start: Instant) -> Duration {
    let topology = day.topology;
    let is_calm = day.promise.p99.is_some_and(|(from, _)| from.is_zero());
    match scene.site.regions[0].last() {
        Some(region) if is_calm && !topology.setup.is_http2() => {
            let usual = topology.delay(0);
            own_p99(*region, usual, start, day.length).await
        }
        _ => Duration::ZERO,
    }
}

async fn happen(day: &Day, scene: &Scene, start: Instant) {
    let mut strain = None;
    for step in &day.steps {
        sleep_until(start + step.at).await;
        match step.what {
            What::Regions(whom, behaviour) => scene.world.behave(whom, behaviour),
            What::ReloadFronts => {
                let master = scene.front.as_ref().map(|front| front.id());
                if let Some(master) = master.and_then(|id| Pid::from_raw(id.cast_signed())) {
                    let _ = kill_process(master, Signal::HUP);
                }
            }
            What::Starve(true) => strain = Some(Strain::on(scene.process.id())),
            What::Starve(false) => drop(strain.take()),
        }
    }
    sleep_until(start + day.length).await;
}
