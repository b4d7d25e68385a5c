//! The median of several rounds.

use std::io;

use crate::cell::Cell;
use crate::ground::Ground;
use crate::median::median;
use crate::options::Options;

/// Processor time per request under the load of the cell's row: the median of all rounds.
pub(super) fn per_request(cell: &Cell, options: &Options, ground: &Ground) -> io::Result<f64> {
    let mut all = Vec::new();
    for _ in 0..options.rounds {
        let taken = cell.measure(options.length, false, ground)?;
        all.push(taken.per_request);
    }
    middle(all)
}

/// The median of what there must be some of.
pub(super) fn middle(all: Vec<f64>) -> io::Result<f64> {
    median(all).ok_or_else(|| io::Error::other("nothing was measured"))
}
