//! One proxy through one fault.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use crate::fault::{Behaviour, Course, Fault};
use crate::large;
use crate::measure::Numbers;
use crate::process::{Process, Running};
use crate::proxy::Proxy;
use crate::settings;
use crate::setup::{Setup, Site};
use crate::viewer::{self, Load};
use crate::world::{World, free_address};

/// How long each part lasts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    pub(crate) before: Duration,
    pub(crate) fault: Duration,
    pub(crate) after: Duration,
}

/// How long a proxy may take to start and to find the preferred region.
const START_LIMIT: Duration = Duration::from_secs(20);
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
    let said = |what: &str, error: &io::Error| format!("{what}: {error}");
    let world = World::start(fault.setup).map_err(|error| said("the regions", &error))?;
    let address = free_address().map_err(|error| said("a port", &error))?;
    let site = Site {
        setup: fault.setup,
        address,
        folder: folder.to_owned(),
        regions: world.addresses.clone(),
        names: world.names,
    };
    if let Some(authority) = &world.authority {
        std::fs::write(site.authority(), authority).map_err(|error| said("a file", &error))?;
    }
    let mut process = start(proxy, &site, running).map_err(|error| said("the start", &error))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| said("a runtime", &error))?;
    let samples = runtime.block_on(async {
        if !becomes_ready(&mut process, &site).await {
            return None;
        }
        let load = Load {
            proxy: address,
            setup: fault.setup,
            start: Instant::now() + Duration::from_millis(20),
            length: timing.before + timing.fault + timing.after,
            fault: timing.before,
        };
        let script = break_and_heal(&world, fault, timing, load.start);
        Some(tokio::join!(viewer::load(load), script).0)
    });
    let Some(samples) = samples else {
        let log = std::fs::read_to_string(folder.join("err.log")).unwrap_or_default();
        let last = log.lines().last().unwrap_or("it said nothing");
        return Err(format!("no answer from the preferred region; {last}"));
    };
    Ok(Numbers::of(&samples, proxy, fault, timing, &world.ledger))
}

/// Writes the settings and starts the proxy in front of the regions.
fn start(proxy: Proxy, site: &Site, running: &Running) -> io::Result<Process> {
    let folder = &site.folder;
    std::fs::write(folder.join(proxy.file_name()), settings::text(proxy, site))?;
    running.spawn(&mut proxy.command(folder, 1, site.address.port())?)
}

/// Waits for five answers in a row from the preferred region; of two that are as good, from any.
async fn becomes_ready(process: &mut Process, site: &Site) -> bool {
    let limit = Instant::now() + START_LIMIT;
    let mut in_a_row = 0;
    while Instant::now() < limit && !process.has_ended() {
        let is_good = match viewer::served_by(site.address).await {
            Some(region) => region == 0 || site.setup == Setup::Close,
            None => false,
        };
        in_a_row = if is_good { in_a_row + 1 } else { 0 };
        if in_a_row == 5 {
            return true;
        }
        sleep(Duration::from_millis(50)).await;
    }
    false
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
