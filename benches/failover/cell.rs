//! One proxy through one fault.

use std::path::Path;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use crate::fault::{Behaviour, Course, Fault};
use crate::large;
use crate::measure::Numbers;
use crate::process::Running;
use crate::proxy::Proxy;
use crate::scene::Scene;
use crate::setup::{Setup, Tuning};
use crate::timing::Timing;
use crate::topology::Topology;
use crate::viewer::{self, Load};
use crate::world::World;

/// How long the burst may take to be with the regions.
const BURST_LIMIT: Duration = Duration::from_secs(1);

/// Starts three regions and the proxy, whose files go to `folder`, breaks the preferred region and
/// heals it under load, and counts what the client saw. The error says what could not be started.
pub(crate) fn run(
    proxy: Proxy,
    fault: Fault,
    timing: Timing,
    folder: &Path,
    running: &Running,
) -> Result<Numbers, String> {
    if fault.setup == Setup::Downloads {
        // Made before anybody waits for it.
        std::sync::LazyLock::force(&large::BODY);
    }
    let topology = Topology::of(fault.setup, Tuning::Shortened);
    let scene = Scene::open(proxy, topology, folder, running)?;
    let world = &scene.world;
    let samples = scene.runtime.block_on(async {
        let load = Load {
            proxy: scene.site.address,
            setup: fault.setup,
            start: Instant::now() + Duration::from_millis(20),
            length: timing.before + timing.fault + timing.after,
            fault: timing.before,
        };
        let script = break_and_heal(world, fault, timing, load.start);
        tokio::join!(viewer::load(load), script).0
    });
    Ok(Numbers::of(&samples, proxy, fault, timing, &world.ledger))
}

async fn break_and_heal(world: &World, fault: Fault, timing: Timing, start: Instant) {
    let begin = start + timing.before;
    let end = begin + timing.fault;
    sleep_until(begin).await;
    if fault.course == Course::Burst {
        world.behave(fault.whom, Behaviour::HoldBurst);
        let limit = Instant::now() + BURST_LIMIT;
        while world.ledger.arrived() < viewer::BURST as usize && Instant::now() < limit {
            sleep(Duration::from_millis(2)).await;
        }
    }
    while Instant::now() < end {
        let (behaviour, rest) = fault.at(begin.elapsed());
        world.behave(fault.whom, behaviour);
        let left = end.saturating_duration_since(Instant::now());
        sleep(left.min(rest)).await;
    }
    world.behave(fault.whom, fault.after);
}
