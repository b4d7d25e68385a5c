//! What the schema says of a section's keys that another type knows: defaults and descriptions.

use std::time::Duration;

use schemars::{JsonSchema, Schema};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::config::schema::generator;

/// Adds to each property of `schema` the default that `C` has for it, as it would be written.
pub(super) fn with_defaults<C: Default + Serialize>(schema: &mut Schema) {
    let Ok(Value::Object(defaults)) = serde_json::to_value(C::default()) else {
        return;
    };
    for (name, default) in defaults {
        if let Some(property) = property(schema, &name)
            && let Some(default) = as_written(default, property)
        {
            property.insert("default".to_owned(), default);
        }
    }
}

/// Describes each property of `schema` as the section `S` does, where a key has the same name.
pub(super) fn described_as<S: JsonSchema>(schema: &mut Schema) {
    let mut whole = S::json_schema(&mut generator());
    let names = properties(schema).map(|properties| properties.keys().cloned().collect());
    let names: Vec<String> = names.unwrap_or_default();
    for name in names {
        let described = property(&mut whole, &name).cloned().unwrap_or_default();
        for key in ["description", "default"] {
            if let (Some(property), Some(value)) = (property(schema, &name), described.get(key)) {
                property.insert(key.to_owned(), value.clone());
            }
        }
    }
}

fn properties(schema: &mut Schema) -> Option<&mut Map<String, Value>> {
    schema.get_mut("properties")?.as_object_mut()
}

fn property<'s>(schema: &'s mut Schema, name: &str) -> Option<&'s mut Map<String, Value>> {
    properties(schema)?.get_mut(name)?.as_object_mut()
}

/// A value of a checked configuration as the file would have it; `None` when nothing stands for it.
fn as_written(value: Value, property: &Map<String, Value>) -> Option<Value> {
    let takes = property.get("x-takes").and_then(Value::as_str);
    let takes = takes.unwrap_or_default();
    match value {
        Value::Null => None,
        Value::Object(_) => duration(&value).map(|duration| unit(duration).into()),
        Value::Array(items) if takes.starts_with("status") => {
            let codes: Vec<_> = items.iter().map(Value::to_string).collect();
            Some(codes.join("-").into())
        }
        Value::Array(items) if items.is_empty() && property.get("type")? != "array" => None,
        Value::Array(items) => Some(items.into()),
        Value::Number(bytes) if takes.starts_with("size") => size(bytes.as_u64()?),
        other => Some(other),
    }
}

/// The duration that serde writes as seconds and nanoseconds.
pub(super) fn duration(value: &Value) -> Option<Duration> {
    let (seconds, nanos) = (value.get("secs")?.as_u64()?, value.get("nanos")?.as_u64()?);
    Some(Duration::new(seconds, u32::try_from(nanos).ok()?))
}

/// A duration in the largest unit that shows it whole.
fn unit(duration: Duration) -> String {
    let millis = duration.as_millis();
    match (millis / 1000, millis % 1000) {
        (0, millis) => format!("{millis}ms"),
        (seconds, 0) if seconds % 3600 == 0 => format!("{}h", seconds / 3600),
        (seconds, 0) if seconds % 60 == 0 && seconds > 60 => format!("{}m", seconds / 60),
        (seconds, 0) => format!("{seconds}s"),
        _ => format!("{millis}ms"),
    }
}

/// Bytes in the largest unit that shows them whole.
fn size(bytes: u64) -> Option<Value> {
    let (unit, name) = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")]
        .into_iter()
        .find(|(unit, _)| bytes >= *unit && bytes.is_multiple_of(*unit))
        .unwrap_or((1, ""));
    Some(format!("{}{name}", bytes / unit).into())
}
