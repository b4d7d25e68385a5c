//! Where a running demo is.

use clap::Args;

use crate::cli::admin_client::AdminTarget;

/// Where a demo's faults are set, unless that port was taken.
pub(super) const DEFAULT_CONTROL: &str = "http://127.0.0.1:9902";

/// Where a running demo is.
#[derive(Debug, Args)]
pub(super) struct ControlFlag {
    /// Where the demo takes faults; it prints this when it starts
    #[arg(
        long,
        value_name = "URL",
        env = "MERIDIAN_DEMO_CONTROL",
        hide_env_values = true,
        default_value = DEFAULT_CONTROL
    )]
    pub(super) control: AdminTarget,
}
