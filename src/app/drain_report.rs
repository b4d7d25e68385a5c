//! How a drain went.

use std::fmt;
use std::time::Duration;

/// How a drain went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainReport {
    /// Connections that were open when listeners closed.
    pub connections: u64,
    /// Those of them that were still open at the end and were cut.
    pub cut: u64,
    /// From the signal to the end.
    pub took: Duration,
}

impl fmt::Display for DrainReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let drained = self.connections.saturating_sub(self.cut);
        let seconds = self.took.as_secs_f64();
        write!(
            f,
            "drained {drained} connections in {seconds:.1} s, {} cut",
            self.cut
        )
    }
}
