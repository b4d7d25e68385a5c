//! Waits at half of what the slowest proxy can do, the same rate for all.

use std::io;

use super::findings::{Findings, Measured};
use super::rounds::middle;
use crate::cell::{Cell, settle};
use crate::ground::Ground;
use crate::load::open_loop::{OpenLoop, Waits};
use crate::options::Options;
use crate::proxy::Proxy;
use crate::row::SECURE;
use crate::site::Site;
use crate::study::Study;

/// A proxy, what it can do at most, and how long viewers waited in each round.
struct Taken {
    cell: Cell,
    /// Requests a second of a closed loop.
    most: f64,
    waits: Vec<Waits>,
}

pub(super) fn run(proxies: &[Proxy], options: &Options, ground: &Ground) -> Findings {
    let mut cells: Vec<_> = proxies
        .iter()
        .map(|proxy| (*proxy, saturated(*proxy, options, ground)))
        .collect();
    let known = cells.iter().filter_map(|(_, cell)| cell.as_ref().ok());
    let least = known.map(|taken| taken.most).min_by(f64::total_cmp);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate is small and positive"
    )]
    let rate = least.map_or(1, |least| (least / 2.0).max(1.0) as u64);
    for _ in 0..options.rounds {
        for (_, cell) in &mut cells {
            let Ok(taken) = cell else { continue };
            match waits(&taken.cell, rate, options, ground) {
                Ok(waits) => taken.waits.push(waits),
                Err(problem) => *cell = Err(problem),
            }
        }
    }
    let lines = cells.into_iter();
    Findings {
        study: Study::Latency,
        note: Some(format!(
            "{rate} requests/s, half of what the slowest can do"
        )),
        heads: &["requests/s at most", "p50 ms", "p99 ms", "p99.9 ms"],
        lines: lines.map(|(proxy, cell)| (proxy, numbers(cell))).collect(),
        bar: None,
    }
}

/// The proxy, and what it can do when its load always waits for it.
fn saturated(proxy: Proxy, options: &Options, ground: &Ground) -> io::Result<Taken> {
    let site = Site::new(SECURE, Study::Latency.name(), proxy, ground)?;
    let cell = Cell::start(proxy, site, ground)?;
    settle();
    let most = cell.measure(options.length, false, ground)?.rate;
    Ok(Taken {
        cell,
        most,
        waits: Vec::new(),
    })
}

fn waits(cell: &Cell, rate: u64, options: &Options, ground: &Ground) -> io::Result<Waits> {
    let open_loop = OpenLoop::start(cell.site(), "/", rate, options.length, ground)?;
    let waits = open_loop.finish()?;
    if waits.lost > 0 {
        let problem = format!("{} requests were lost at {rate} a second", waits.lost);
        return Err(io::Error::other(problem));
    }
    Ok(waits)
}

fn numbers(cell: io::Result<Taken>) -> Measured {
    let of =
        |taken: &Taken, what: fn(&Waits) -> f64| middle(taken.waits.iter().map(what).collect());
    Some(cell.and_then(|taken| {
        Ok(vec![
            taken.most.round(),
            of(&taken, |waits| waits.p50)?,
            of(&taken, |waits| waits.p99)?,
            of(&taken, |waits| waits.p99_9)?,
        ])
    }))
}
