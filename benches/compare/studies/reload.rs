//! Waits while a large table is loaded again and again.

use std::io;
use std::thread::sleep;
use std::time::Duration;

use tokio::time::Instant;

use super::findings::Findings;
use super::rounds::middle;
use crate::cell::{Cell, settle};
use crate::ground::Ground;
use crate::load::open_loop::{OpenLoop, Waits};
use crate::options::Options;
use crate::proxy::Proxy;
use crate::row::ROUTED;
use crate::site::{Site, path};
use crate::study::Study;

/// Requests a second: moderate for each of the proxies.
const RATE: u64 = 1_000;
/// From one reload to the next.
const EVERY: Duration = Duration::from_secs(1);

pub(super) fn run(proxies: &[Proxy], options: &Options, ground: &Ground) -> Findings {
    let lines = proxies.iter().map(|proxy| {
        // The others start a new process for it, or have it sent over an interface of their own.
        let reloads = matches!(proxy, Proxy::Meridian | Proxy::Nginx);
        let measured = reloads.then(|| measure(*proxy, options, ground));
        (*proxy, measured)
    });
    Findings {
        study: Study::Reload,
        note: Some(format!("{RATE} requests/s")),
        heads: &[
            "p99 ms without",
            "p99 ms with reloads",
            "p99.9 ms with reloads",
            "reloads",
            "requests lost",
        ],
        lines: lines.collect(),
        bar: None,
    }
}

fn measure(proxy: Proxy, options: &Options, ground: &Ground) -> io::Result<Vec<f64>> {
    let site = Site::new(ROUTED, Study::Reload.name(), proxy, ground)?;
    let mut cell = Cell::start(proxy, site, ground)?;
    settle();
    let (mut without, mut with) = (Vec::new(), Vec::new());
    let mut reloads = 0;
    for _ in 0..options.rounds {
        without.push(start(&cell, options, ground)?.finish()?);
        // One at the start, one as each second begins, and some seconds of a slow start and end.
        let seconds = usize::try_from(options.length.as_secs()).map_err(io::Error::other)?;
        cell.prepare(seconds + 5)?;
        let open_loop = start(&cell, options, ground)?;
        let (waits, count) = reloading(&mut cell, open_loop)?;
        with.push(waits);
        reloads += count;
    }
    let of = |all: &[Waits], what: fn(&Waits) -> f64| middle(all.iter().map(what).collect());
    let lost: u64 = with.iter().map(|waits| waits.lost).sum();
    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    let (reloads, lost) = (reloads as f64, lost as f64);
    Ok(vec![
        of(&without, |waits| waits.p99)?,
        of(&with, |waits| waits.p99)?,
        of(&with, |waits| waits.p99_9)?,
        reloads,
        lost,
    ])
}

fn start(cell: &Cell, options: &Options, ground: &Ground) -> io::Result<OpenLoop> {
    let path = path(ROUTED.routes / 2);
    OpenLoop::start(cell.site(), &path, RATE, options.length, ground)
}

/// Reloads every second until the load ends, and says how often.
fn reloading(cell: &mut Cell, mut open_loop: OpenLoop) -> io::Result<(Waits, usize)> {
    let mut count = 0;
    while !open_loop.has_ended() {
        let due = Instant::now() + EVERY;
        cell.reload()?;
        count += 1;
        while Instant::now() < due && !open_loop.has_ended() {
            sleep(Duration::from_millis(20));
        }
    }
    Ok((open_loop.finish()?, count))
}
