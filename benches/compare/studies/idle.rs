//! Idle connections: what each takes of memory, and what they cost the others.

use std::io;

use super::findings::{Bar, Findings};
use super::rounds::per_request;
use crate::cell::{Cell, settle};
use crate::ground::Ground;
use crate::load::idle::Idle;
use crate::options::Options;
use crate::proxy::Proxy;
use crate::row::SECURE;
use crate::site::Site;
use crate::study::Study;
use crate::usage;

/// Idle connections.
const COUNT: usize = 10_000;
/// What a proxy is told to allow: those, the busy ones, and some to spare.
const ALLOWED: usize = COUNT + 1_000;
/// KiB of memory that one may take.
const MOST: f64 = 20.0;

/// One proxy after the other: ten thousand sockets of each at once are too many for one process.
pub(super) fn run(proxies: &[Proxy], options: &Options, ground: &Ground) -> Findings {
    let lines = proxies.iter().map(|proxy| {
        let measured = measure(*proxy, options, ground);
        (*proxy, Some(measured))
    });
    Findings {
        study: Study::Idle,
        note: None,
        heads: &[
            "KiB of memory per idle connection",
            "µs per request without them",
            "µs per request beside them",
        ],
        lines: lines.collect(),
        bar: Some(Bar {
            column: 0,
            is_met: |kibibytes| kibibytes < MOST,
        }),
    }
}

fn measure(proxy: Proxy, options: &Options, ground: &Ground) -> io::Result<Vec<f64>> {
    let cell = start(proxy, ground)?;
    settle();
    // This load has also filled pools and buffers, which are not to count as the idle ones'.
    let without = per_request(&cell, options, ground)?;
    let before = usage::memory(cell.id())?;
    let idle = open(&cell, COUNT, ground)?;
    settle();
    let after = usage::memory(cell.id())?;
    let beside = per_request(&cell, options, ground)?;
    idle.check()?;
    #[expect(clippy::cast_precision_loss, reason = "bytes far below 2^52")]
    let kibibytes = after.saturating_sub(before) as f64 / COUNT as f64 / 1024.0;
    Ok(vec![kibibytes, without, beside])
}

/// Everything but the numbers, with a few connections to Meridian.
pub(crate) fn look(ground: &Ground) -> io::Result<()> {
    let cell = start(Proxy::Meridian, ground)?;
    let before = usage::memory(cell.id())?;
    let idle = open(&cell, 8, ground)?;
    if usage::memory(cell.id())? < before / 2 {
        return Err(io::Error::other("memory is not measured"));
    }
    idle.check()
}

fn start(proxy: Proxy, ground: &Ground) -> io::Result<Cell> {
    let mut site = Site::new(SECURE, Study::Idle.name(), proxy, ground)?;
    site.connections = ALLOWED;
    Cell::start(proxy, site, ground)
}

fn open(cell: &Cell, count: usize, ground: &Ground) -> io::Result<Idle> {
    let tls = ground.certificates.viewer("http/1.1")?;
    Idle::open(cell.site().address, &tls, count)
}
