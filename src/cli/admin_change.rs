//! A change that the running proxy is asked for, and what came of it.

use std::time::Duration;

use http::Method;
use serde_json::Value;

use crate::cli::admin_client::{AdminRequest, ask};
use crate::cli::failure::Failure;
use crate::cli::options::{Globals, Output, OutputFormat};
use crate::cli::terminal::Terminal;

/// Asks for the change that `path` stands for, waits until it is made or refused, and prints what
/// came of it.
///
/// # Errors
/// When it is refused, or nobody of ours answers in time.
pub(crate) fn request_change(
    path: &str,
    limit: Duration,
    output: Output,
    globals: &Globals,
    terminal: &Terminal,
) -> Result<(), Failure> {
    let target = globals.target();
    let question = AdminRequest {
        method: Method::POST,
        path,
        limit,
    };
    let answer = ask(&target, &question)?;
    let value = answer.json();
    if let (Some(value), OutputFormat::Json) = (&value, output.format) {
        terminal.json(value)?;
    }
    answer.success(&target)?;
    match (&value, output.format) {
        (Some(_), OutputFormat::Json) => Ok(()),
        (Some(value), OutputFormat::Table) => terminal.data(&outcome(value)),
        (None, _) => Err(target.foreign()),
    }
}

/// What happened, in a line, and what of it waits for a restart, in a line each.
fn outcome(value: &Value) -> String {
    let Some(message) = value.get("message").and_then(Value::as_str) else {
        return format!("{value}\n");
    };
    let waiting = value.get("needs_restart").and_then(Value::as_array);
    let waiting = waiting.into_iter().flatten().filter_map(Value::as_str);
    let waiting = waiting.map(|what| format!("takes a restart: {what}\n"));
    format!("{message}\n{}", waiting.collect::<String>())
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
        let confirmed = json!({"region": "eu", "message": "eu takes 5 % of its viewers now"});
        assert_eq!(outcome(&confirmed), "eu takes 5 % of its viewers now\n");
    }
}
