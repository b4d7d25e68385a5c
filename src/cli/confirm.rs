//! `meridian confirm`: agree that a region gets its traffic back.

use std::time::Duration;

use clap::Args;
use http::Method;
use serde_json::Value;

use crate::cli::admin_client::{AdminRequest, ask, query_encoded};
use crate::cli::failure::Failure;
use crate::cli::options::{Globals, Output, OutputFormat};
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
        let target = globals.target();
        let path = format!("/api/v1/regions/{}:confirm", escaped(&self.region));
        let question = AdminRequest {
            method: Method::POST,
            path: &path,
            accept: "application/json",
            limit: Duration::from_secs(10),
        };
        let answer = ask(&target, &question)?;
        let value = answer.json();
        if let (Some(value), OutputFormat::Json) = (&value, self.output.format) {
            terminal.json(value)?;
        }
        answer.success(&target)?;
        match (&value, self.output.format) {
            (Some(_), OutputFormat::Json) => Ok(()),
            (Some(value), OutputFormat::Table) => terminal.data(&outcome(value)),
            (None, _) => Err(Failure::Failed(format!(
                "{target} answered, but not as Meridian does"
            ))),
        }
    }
}

/// A name as one segment of a path; a slash would begin another.
fn escaped(name: &str) -> String {
    query_encoded(name).replace('/', "%2F")
}

/// What happened, in a line.
fn outcome(value: &Value) -> String {
    match value.get("message").and_then(Value::as_str) {
        Some(message) => format!("{message}\n"),
        None => format!("{value}\n"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_outcome_is_its_message() {
        let value = json!({"region": "eu", "message": "eu takes 5 % of its viewers now"});
        assert_eq!(outcome(&value), "eu takes 5 % of its viewers now\n");
    }

    #[test]
    fn a_name_stays_one_segment_of_the_path() {
        assert_eq!(escaped("eu-west-1"), "eu-west-1");
        assert_eq!(escaped("../x y"), "..%2Fx%20y");
    }
}
