//! Where a running demo is.

use std::time::Duration;

use clap::Args;
use http::Method;
use serde::de::DeserializeOwned;

use crate::cli::admin_client::{AdminRequest, AdminTarget, ask};
use crate::cli::failure::Failure;

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
    control: AdminTarget,
}

impl ControlFlag {
    /// What the demo answers to this.
    pub(super) fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
    ) -> Result<T, Failure> {
        let Self { control } = self;
        let question = AdminRequest {
            method,
            path,
            limit: Duration::from_secs(5),
        };
        let answer = ask(control, &question)?;
        if !answer.status.is_success() {
            return Err(Failure::Failed(answer.complaint()));
        }
        serde_json::from_slice(&answer.body)
            .map_err(|_| Failure::Failed(format!("{control} answered, but not as a demo does")))
    }
}
