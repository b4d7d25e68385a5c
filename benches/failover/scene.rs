//! Regions and the proxy in front of them, ready for a load.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::time::{Instant, sleep};

use crate::process::{Process, Running};
use crate::proxy::Proxy;
use crate::settings;
use crate::setup::Site;
use crate::topology::Topology;
use crate::viewer;
use crate::world::{World, free_address};

/// How long a proxy may take to start and to find the preferred region, and how often it is tried:
/// where the machine disturbs the first probe, one that measures latency begins elsewhere.
const START_LIMIT: Duration = Duration::from_secs(8);
const STARTS: usize = 4;

/// Three regions and a proxy; dropping it ends them.
pub(crate) struct Scene {
    pub(crate) process: Process,
    /// Stock nginx in front of the regions, where there is one.
    pub(crate) front: Option<Process>,
    /// For whoever asks the proxy.
    pub(crate) runtime: Runtime,
    pub(crate) site: Site,
    pub(crate) world: World,
}

impl Scene {
    /// Starts regions and the proxy, whose files go to `folder`, and waits until it serves from the
    /// preferred region. The error says what could not be started.
    pub(crate) fn open(
        proxy: Proxy,
        topology: Topology,
        folder: &Path,
        running: &Running,
    ) -> Result<Self, String> {
        let said = |what: &str, error: &io::Error| format!("{what}: {error}");
        let world = World::start(topology).map_err(|error| said("the regions", &error))?;
        let site = Site {
            setup: topology.setup,
            tuning: topology.tuning,
            address: free_address().map_err(|error| said("a port", &error))?,
            folder: folder.to_owned(),
            regions: world.addresses.clone(),
            names: world.names,
        };
        if let Some(authority) = &world.authority {
            std::fs::write(site.authority(), authority).map_err(|error| said("a file", &error))?;
        }
        let front = (!world.fronts.is_empty()).then(|| start_front(&world, folder, running));
        let front = front
            .transpose()
            .map_err(|error| said("nginx in front", &error))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| said("a runtime", &error))?;
        for _ in 0..STARTS {
            let mut process =
                start(proxy, &site, running).map_err(|error| said("the start", &error))?;
            if runtime.block_on(becomes_ready(&mut process, &site)) {
                return Ok(Self {
                    process,
                    front,
                    runtime,
                    site,
                    world,
                });
            }
        }
        let log = std::fs::read_to_string(folder.join("err.log")).unwrap_or_default();
        let last = log.lines().last().unwrap_or("it said nothing");
        Err(format!("no answer from the preferred region; {last}"))
    }
}

/// Waits for five answers in a row from the preferred region; of two that are as good, from any.
async fn becomes_ready(process: &mut Process, site: &Site) -> bool {
    let limit = Instant::now() + START_LIMIT;
    let mut in_a_row = 0;
    while Instant::now() < limit && !process.has_ended() {
        let is_good = match viewer::served_by(site.address).await {
            Some(region) => region == 0 || site.setup.has_choice(),
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

/// Writes the settings and starts the proxy in front of the regions.
fn start(proxy: Proxy, site: &Site, running: &Running) -> io::Result<Process> {
    let folder = &site.folder;
    std::fs::write(folder.join(proxy.file_name()), settings::text(proxy, site))?;
    running.spawn(&mut proxy.command(folder, 1, site.address.port())?)
}

/// Starts nginx in front of the regions.
fn start_front(world: &World, folder: &Path, running: &Running) -> io::Result<Process> {
    let file = folder.join("origin.conf");
    std::fs::write(&file, settings::origin(folder, &world.fronts))?;
    let mut command = Command::new(Proxy::Nginx.program());
    command.arg("-p").arg(folder).arg("-c").arg(file);
    running.spawn(command.stdin(Stdio::null()).stderr(Stdio::null()))
}
