//! The time of a cell.

use std::time::Duration;

/// How long each part lasts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    pub(crate) before: Duration,
    pub(crate) fault: Duration,
    pub(crate) after: Duration,
}
