//! `meridian healthcheck`: what a container's health check runs.

use std::time::Duration;

use clap::Args;
use http::Method;

use crate::cli::admin_client::{AdminRequest, ask};
use crate::cli::failure::Failure;
use crate::cli::options::Globals;
use crate::cli::terminal::Terminal;

/// Waits a second at most. Exits with 0 or 1, never with anything else.
#[derive(Debug, Args)]
#[command(after_help = "Example: HEALTHCHECK CMD [\"/usr/local/bin/meridian\", \"healthcheck\"]")]
pub(crate) struct Healthcheck {
    /// Whether it is alive, not whether it is ready
    #[arg(long)]
    live: bool,
}

impl Healthcheck {
    pub(crate) fn run(&self, globals: &Globals, terminal: &Terminal) -> Result<(), Failure> {
        let target = globals.target();
        let path = if self.live { "/livez" } else { "/readyz" };
        let question = AdminRequest {
            method: Method::GET,
            path,
            limit: Duration::from_secs(1),
        };
        let answer = ask(&target, &question)?;
        if answer.status.is_success() {
            terminal.say("ok");
            return Ok(());
        }
        Err(Failure::Failed(format!(
            "{target}{path} answered {}: {}",
            answer.status.as_u16(),
            answer.complaint()
        )))
    }
}
