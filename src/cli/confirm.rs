//! `meridian confirm`: agree that a region gets its traffic back.

use std::time::Duration;

use clap::Args;
use form_urlencoded::byte_serialize;

use crate::cli::admin_change::request_change;
use crate::cli::failure::Failure;
use crate::cli::options::{Globals, Output};
use crate::cli::terminal::Terminal;

/// A region that was down and is well again waits for this where `failback.mode` is "confirm" or
/// "manual". Where it is "auto", the rest of the hold-down is left out. The ramp begins at once.
#[derive(Debug, Args)]
#[command(after_help = "Example: meridian confirm eu-west-1 && meridian status")]
pub(crate) struct Confirm {
    /// The region's name
    #[arg(value_name = "REGION")]
    region: String,
    #[command(flatten)]
    output: Output,
}

impl Confirm {
    pub(crate) fn run(&self, globals: &Globals, terminal: &Terminal) -> Result<(), Failure> {
        // A slash would begin another segment of the path.
        let region: String = byte_serialize(self.region.as_bytes()).collect();
        let path = format!("/api/v1/regions/{region}:confirm");
        let limit = Duration::from_secs(10);
        request_change(&path, limit, self.output, globals, terminal)
    }
}
