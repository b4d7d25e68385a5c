//! Durations as JSON has them: seconds, of fields whose names end so.

use std::time::Duration;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Writes a duration, or one that may be absent.
pub(crate) fn serialize<T, S>(duration: &T, serializer: S) -> Result<S::Ok, S::Error>
where
    T: Copy + Into<Option<Duration>>,
    S: Serializer,
{
    let duration: Option<Duration> = (*duration).into();
    let seconds = duration.map(|duration| duration.as_secs_f64());
    seconds.serialize(serializer)
}

/// Reads one that is there.
pub(crate) fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: From<Duration>,
    D: Deserializer<'de>,
{
    let seconds = f64::deserialize(deserializer)?;
    let duration = Duration::try_from_secs_f64(seconds).map_err(Error::custom)?;
    Ok(duration.into())
}
