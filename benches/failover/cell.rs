//! One proxy through one fault.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use crate::fault::Fault;
use crate::measure::Numbers;
use crate::proxy::{Process, Proxy, Running};
use crate::region::{World, free_address};
use crate::viewer;

/// How long each part lasts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    pub(crate) before: Duration,
    pub(crate) fault: Duration,
    pub(crate) after: Duration,
}

/// How long a proxy may take to start and to find the preferred region.
const START_LIMIT: Duration = Duration::from_secs(20);

/// Starts three regions and the proxy, whose files go to `folder`, breaks the preferred region and heals it under load, and
/// counts what the client saw. The error says what could not be started.
pub(crate) fn run(
    proxy: Proxy,
    fault: Fault,
    timing: Timing,
    folder: &Path,
    running: &Running,
) -> Result<Numbers, String> {
    let said = |what: &str, error: &io::Error| format!("{what}: {error}");
    let world = World::start().map_err(|error| said("the regions", &error))?;
    let address = free_address().map_err(|error| said("a port", &error))?;
    let mut process = proxy
        .start(folder, address, &world.addresses, running)
        .map_err(|error| said("the start", &error))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| said("a runtime", &error))?;
    let samples = runtime.block_on(async {
        if !becomes_ready(&mut process, address).await {
            return None;
        }
        let start = Instant::now() + Duration::from_millis(20);
        let length = timing.before + timing.fault + timing.after;
        let load = viewer::load(address, start, length);
        let script = break_and_heal(&world, fault, timing, start);
        Some(tokio::join!(load, script).0)
    });
    let Some(samples) = samples else {
        let log = std::fs::read_to_string(folder.join("err.log")).unwrap_or_default();
        let last = log.lines().last().unwrap_or("it said nothing");
        return Err(format!("no answer from the preferred region; {last}"));
    };
    let twice = world.executed_twice();
    Ok(Numbers::of(&samples, proxy, fault, timing, twice))
}

async fn becomes_ready(process: &mut Process, address: std::net::SocketAddr) -> bool {
    let limit = Instant::now() + START_LIMIT;
    let mut in_a_row = 0;
    while Instant::now() < limit && !process.has_ended() {
        in_a_row = if viewer::is_ready(address).await {
            in_a_row + 1
        } else {
            0
        };
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
    while Instant::now() < end {
        let (behaviour, rest) = fault.at(begin.elapsed());
        world.behave(fault.regions, behaviour);
        sleep_until(end.min(Instant::now() + rest)).await;
    }
    world.behave(fault.regions, fault.after);
}
