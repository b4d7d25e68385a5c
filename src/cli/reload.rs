//! `meridian reload`: have the running proxy load its configuration again.

use std::time::Duration;

use clap::Args;

use crate::cli::admin_change::request_change;
use crate::cli::failure::Failure;
use crate::cli::options::{Globals, Output};
use crate::cli::terminal::Terminal;

/// Ten thousand routes and their databases take well under a second; a name server that does not
/// answer takes its own time-outs.
const LIMIT: Duration = Duration::from_secs(60);

/// Blocks until the new table serves or is refused. A refused one changes nothing.
#[derive(Debug, Args)]
#[command(after_help = "Example: meridian reload && meridian status")]
pub(crate) struct Reload {
    #[command(flatten)]
    output: Output,
}

impl Reload {
    pub(crate) fn run(&self, globals: &Globals, terminal: &Terminal) -> Result<(), Failure> {
        request_change(
            "/api/v1/config:reload",
            LIMIT,
            self.output,
            globals,
            terminal,
        )
    }
}
