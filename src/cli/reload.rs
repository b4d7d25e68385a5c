//! `meridian reload`: have the running proxy load its configuration again.

use std::time::Duration;

use clap::Args;
use http::Method;
use serde_json::Value;

use crate::cli::admin_client::{AdminRequest, ask};
use crate::cli::failure::Failure;
use crate::cli::options::{Globals, Output, OutputFormat};
use crate::cli::terminal::Terminal;

/// Blocks until the new table serves or is refused. A refused one changes nothing.
#[derive(Debug, Args)]
#[command(after_help = "Example: meridian reload && meridian status")]
pub(crate) struct Reload {
    #[command(flatten)]
    output: Output,
}

impl Reload {
    pub(crate) fn run(&self, globals: &Globals, terminal: &Terminal) -> Result<(), Failure> {
        let target = globals.target();
        let question = AdminRequest {
            method: Method::POST,
            path: "/api/v1/config:reload",
            accept: match self.output.format {
                OutputFormat::Table => "text/plain",
                OutputFormat::Json => "application/json",
            },
            // Ten thousand routes and their databases take well under a second; a name server
            // that does not answer takes its own time-outs.
            limit: Duration::from_secs(60),
        };
        let answer = ask(&target, &question)?;
        let value = answer.json();
        match (&value, self.output.format) {
            (Some(value), OutputFormat::Json) => terminal.json(value)?,
            (Some(value), OutputFormat::Table) if answer.status.is_success() => {
                terminal.data(&outcome(value))?;
            }
            (None, _) if answer.status.is_success() => terminal.data(&answer.text())?,
            _ => {}
        }
        if answer.status.is_success() {
            return Ok(());
        }
        let complaint = answer.complaint();
        let problems = value
            .as_ref()
            .and_then(problems)
            .unwrap_or_default()
            .trim_end();
        Err(Failure::Failed(format!(
            "{target} refused the reload: {complaint}\n{problems}"
        )))
    }
}

/// What changed, in a line, and what of it waits for a restart, in a line each.
fn outcome(value: &Value) -> String {
    let Some(message) = value.get("message").and_then(Value::as_str) else {
        return format!("{value}\n");
    };
    let waiting = value.get("needs_restart").and_then(Value::as_array);
    let waiting = waiting.into_iter().flatten().filter_map(Value::as_str);
    let waiting = waiting.map(|what| format!("takes a restart: {what}\n"));
    format!("{message}\n{}", waiting.collect::<String>())
}

/// The problems of a refusal, with their places and carets.
fn problems(value: &Value) -> Option<&str> {
    value.get("errors")?.get("problems")?.as_str()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_outcome_is_its_message_and_what_takes_a_restart() {
        let installed = json!({
            "message": "generation 2 in 4 ms: route all changed",
            "needs_restart": ["workers"],
        });
        assert_eq!(
            outcome(&installed),
            "generation 2 in 4 ms: route all changed\ntakes a restart: workers\n"
        );
    }
}
