//! Times as the command line reads and writes them.

use std::time::Duration;

use serde::Serializer;

/// Reads a time with its unit.
///
/// # Errors
/// When it is none, or no time at all.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    meridian_core::config::duration(text)
        .filter(|time| !time.is_zero())
        .ok_or_else(|| format!("{text:?} is not a time such as 20s or 5m"))
}

/// Writes a time as JSON has it; the field's name ends in `_seconds`.
pub(crate) fn seconds<S: Serializer>(
    duration: &Duration,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

/// Since a beginning.
pub(crate) fn at(since: Duration) -> String {
    format!("{:.1} s", since.as_secs_f64())
}

/// How long something took, `-` for no time.
pub(crate) fn wait(wait: Duration) -> String {
    match wait.as_millis() {
        0 if wait.is_zero() => "-".to_owned(),
        ms if ms < 10_000 => format!("{ms} ms"),
        _ => format!("{:.1} s", wait.as_secs_f64()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_unit() {
        assert_eq!(time("1m30s"), Ok(Duration::from_secs(90)));
        assert!(time("20").is_err() && time("0s").is_err());
    }
}
