//! Ordinary days: nobody is to move, and nobody is to lose anything.

use crate::day::calm::day;
use crate::day::{Day, Promise, connections, few, lateness, operations, shares};

/// Every row, in the order of the table.
pub(crate) fn days() -> Vec<Day> {
    [
        lateness::days(),
        few::days(),
        connections::days(),
        shares::days(),
        operations::days(),
    ]
    .concat()
}

/// A day of a second, to show that all parts work.
pub(crate) fn look() -> Day {
    Day {
        promise: Promise::default(),
        ..day("quiet", "nothing happens", 1)
    }
}
