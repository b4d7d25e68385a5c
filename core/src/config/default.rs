//! What the schema says of keys that the checked configuration knows: descriptions and defaults.

use std::time::Duration;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde_json::{Map, Value};

/// Gives each property of a section's `schema` the description that the field of this name has in
/// the checked configuration `C`, and its default as the file would have it.
pub(super) fn documented<C: Default + Serialize + JsonSchema>(schema: &mut Schema) {
    let documents = C::json_schema(&mut generator());
    let defaults = serde_json::to_value(C::default()).unwrap_or_default();
    let properties = schema.get_mut("properties");
    for (name, property) in properties
        .and_then(Value::as_object_mut)
        .into_iter()
        .flatten()
    {
        let pointer = format!("/properties/{name}/description");
        let Some(property) = property.as_object_mut() else {
            continue;
        };
        if let Some(description) = documents.pointer(&pointer) {
            property.insert("description".to_owned(), description.clone());
        }
        if let Some(default) = as_written(&defaults[name], property) {
            property.insert("default".to_owned(), default);
        }
    }
}

/// Every section stands where it is used.
pub(super) fn generator() -> SchemaGenerator {
    let settings = SchemaSettings::draft2020_12();
    settings
        .with(|settings| settings.inline_subschemas = true)
        .into_generator()
}

/// A value of a checked configuration as the file would have it; `None` when nothing stands for it.
fn as_written(value: &Value, property: &Map<String, Value>) -> Option<Value> {
    let takes = property.get("x-takes").and_then(Value::as_str);
    let takes = takes.unwrap_or_default();
    match value {
        Value::Null => None,
        Value::Object(_) => duration(value).map(|duration| unit(duration).into()),
        Value::Array(ends) if takes.starts_with("status") => {
            let ends: Vec<_> = ends.iter().map(Value::to_string).collect();
            Some(ends.join("-").into())
        }
        Value::Array(items) if items.is_empty() && property.get("type")? != "array" => None,
        Value::Number(bytes) if takes.starts_with("size") => size(bytes.as_u64()?),
        other => Some(other.clone()),
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
