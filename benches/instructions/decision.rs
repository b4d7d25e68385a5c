//! A decision alone, in a process of its own under callgrind.

use std::hint::black_box;
use std::io;
use std::path::Path;
use std::time::Duration;

use meridian_core::decide::decide;
use meridian_core::decide::request::RequestFacts;
use meridian_core::decide::snapshot::Snapshot;
use meridian_core::model::viewer::Viewer;
use meridian_core::table::policy::Policy;
use meridian_core::table::route::HostPattern;

use crate::callgrind;
use crate::count::Count;
use crate::process::Running;
use crate::world::{THIRTY, World, viewer};

/// The argument that makes this program only decide.
pub(crate) const ALONE: &str = "--decide-alone";
/// Routes of the table, each over thirty regions.
const ROUTES: usize = 10_000;
/// Decisions that are counted.
const DECISIONS: usize = 1_000;

/// Counts what a decision costs.
pub(crate) fn count(folder: &Path, running: &Running) -> io::Result<Count> {
    // Only what happens below this function is counted; the table is made outside of it.
    let options = ["--toggle-collect=*decide_in_turn*"];
    let program = std::env::current_exe()?;
    let mut command = callgrind::command(program, folder, &options);
    let profile = callgrind::whole(command.arg(ALONE), folder, running)?;
    let mut count = Count::default();
    count.add(profile, DECISIONS);
    Ok(count)
}

/// Makes the table and decides; this runs under callgrind.
pub(crate) fn alone() {
    let snapshot = snapshot();
    let requests: Vec<_> = (0..DECISIONS)
        .map(|number| number * 7919 % ROUTES)
        .map(|number| (host(number), format!("/v1/service-{number}/x")))
        .collect();
    decide_in_turn(&snapshot, &requests, &viewer(Some("DE")));
}

/// One decision for each request.
#[inline(never)]
fn decide_in_turn(snapshot: &Snapshot, requests: &[(String, String)], viewer: &Viewer) {
    for (host, path) in requests {
        let facts = RequestFacts::get(Some(host), path, viewer);
        let decision = decide(black_box(snapshot), &facts);
        black_box(&decision);
    }
}

/// One route per host and path, with preferences and residency.
fn snapshot() -> Snapshot {
    let mut world = World::new(&THIRTY);
    let mut rtt = Duration::from_millis(5);
    for name in &THIRTY {
        world.measured(name, rtt.as_secs_f64() * 1e3);
        rtt += Duration::from_millis(7);
    }
    for number in 0..ROUTES {
        let (name, path) = (format!("route-{number}"), format!("/v1/service-{number}"));
        world.route(&name, &path, &THIRTY, Policy::Latency);
        world.last().host = HostPattern::Exact(host(number));
        world.prefer(&[("JP", &THIRTY[2..4]), ("@europe", &THIRTY[13..18])]);
        world.residency(&[("@eu", &THIRTY[13..21]), ("CH", &THIRTY[14..15])]);
    }
    world.snapshot()
}

/// Ten routes share a host.
fn host(route: usize) -> String {
    format!("host-{}.example.com", route / 10)
}
