//! What the process says of itself, to standard error: pretty for people, JSON for machines.

use std::io;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The level is neither a level nor a list of `target=level`.
    #[error("log level {level:?} is not one of error, warn, info, debug, trace: {cause}")]
    Level {
        /// As given.
        level: String,
        /// What the parser says.
        cause: String,
    },
    /// Logging was set up before.
    #[error("logging is set up already")]
    Twice,
}

/// What a log line looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// For people.
    Pretty,
    /// One JSON object.
    Json,
}

/// Sends logs to standard error, at `level` (`info`, or `target=level` separated by commas), with
/// colours for people if `color`. Called once, by the process's own main function.
///
/// # Errors
/// When `level` cannot be read, or logging was set up before.
pub fn start(level: &str, form: Form, color: bool) -> Result<(), LoggingError> {
    let filter = filter(level)?;
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_target(false);
    let started = match form {
        Form::Pretty => logs.with_ansi(color).finish().try_init(),
        Form::Json => logs.json().flatten_event(true).finish().try_init(),
    };
    started.map_err(|_| LoggingError::Twice)
}

fn filter(level: &str) -> Result<EnvFilter, LoggingError> {
    EnvFilter::try_new(level).map_err(|cause| LoggingError::Level {
        level: level.to_owned(),
        cause: cause.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_that_cannot_be_read_is_named() {
        assert!(filter("debug").is_ok());
        let error = filter("meridian=loud").unwrap_err();
        assert!(error.to_string().contains("meridian=loud"));
    }
}
