//! How throughput would grow from one core to two.

use std::io;

use super::findings::{Bar, Findings};
use super::rounds::middle;
use crate::cell::{Cell, settle};
use crate::ground::Ground;
use crate::options::Options;
use crate::proxy::Proxy;
use crate::row::SECURE;
use crate::site::Site;
use crate::study::Study;

/// What two cores must serve of what one does.
const LEAST: f64 = 1.9;

pub(super) fn run(proxies: &[Proxy], options: &Options, ground: &Ground) -> Findings {
    let lines = proxies.iter().map(|proxy| {
        let measured = measure(*proxy, options, ground);
        (*proxy, Some(measured))
    });
    Findings {
        study: Study::Cores,
        note: None,
        heads: &[
            "µs per request, one thread",
            "µs per request, two threads",
            "times as much",
        ],
        lines: lines.collect(),
        bar: Some(Bar {
            column: 2,
            is_met: |times| times >= LEAST,
        }),
    }
}

/// The load needs one of the two cores, so it cannot be seen how much two would serve. A core has a
/// million microseconds a second: twice as many, divided by what a request takes then.
fn measure(proxy: Proxy, options: &Options, ground: &Ground) -> io::Result<Vec<f64>> {
    let cells = [start(proxy, 1, ground)?, start(proxy, 2, ground)?];
    settle();
    let mut taken = [Vec::new(), Vec::new()];
    for _ in 0..options.rounds {
        for (cell, taken) in cells.iter().zip(&mut taken) {
            let measured = cell.measure(options.length, false, ground)?;
            taken.push(measured.per_request);
        }
    }
    let [one, two] = taken;
    let (one, two) = (middle(one)?, middle(two)?);
    Ok(vec![one, two, 2.0 * one / two])
}

fn start(proxy: Proxy, threads: usize, ground: &Ground) -> io::Result<Cell> {
    let name = format!("{}-{threads}", Study::Cores.name());
    let mut site = Site::new(SECURE, &name, proxy, ground)?;
    site.threads = threads;
    Cell::start(proxy, site, ground)
}
