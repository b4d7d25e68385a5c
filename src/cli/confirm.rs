//! `meridian confirm`: agree that a region gets its traffic back.

use std::time::Duration;

use clap::Args;

use crate::cli::admin_change::request_change;
use crate::cli::admin_client::query_encoded;
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
        let path = format!("/api/v1/regions/{}:confirm", escaped(&self.region));
        let limit = Duration::from_secs(10);
        request_change(&path, limit, self.output, globals, terminal)
    }
}

/// A name as one segment of a path; a slash would begin another.
fn escaped(name: &str) -> String {
    query_encoded(name).replace('/', "%2F")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_one_segment_of_the_path() {
        assert_eq!(escaped("eu-west-1"), "eu-west-1");
        assert_eq!(escaped("../x y"), "..%2Fx%20y");
    }
}
