//! The configuration as a JSON Schema, for editors.

use serde_json::{Map, Value, json};

use crate::config::check::SECRET;
use crate::config::keys::{Key, Kind, ROOT, Section};

/// A JSON Schema (draft 2020-12) of the whole file. String values may also hold `${VAR}`, so
/// numbers and booleans are taken as strings too.
#[must_use]
pub fn schema() -> Value {
    let mut schema = object(&ROOT);
    if let Value::Object(members) = &mut schema {
        let draft = "https://json-schema.org/draft/2020-12/schema";
        members.insert("$schema".to_owned(), draft.into());
        members.insert("title".to_owned(), "Meridian configuration".into());
    }
    schema
}

fn object(section: &Section) -> Value {
    let properties: Map<String, Value> = section
        .keys
        .iter()
        .map(|key| (key.name.to_owned(), property(key)))
        .collect();
    let required = section.keys.iter().filter(|key| key.required);
    let required: Vec<_> = required.map(|key| key.name).collect();
    json!({
        "type": "object",
        "description": section.doc,
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

fn property(key: &Key) -> Value {
    let mut schema = value(&key.kind);
    if let Value::Object(members) = &mut schema {
        members.insert("description".to_owned(), key.doc.into());
        if let Some(default) = default(key) {
            members.insert("default".to_owned(), default);
        }
    }
    schema
}

/// Defaults are written as TOML; those of single keys are JSON as well.
fn default(key: &Key) -> Option<Value> {
    serde_json::from_str(key.default).ok()
}

fn value(kind: &Kind) -> Value {
    match kind {
        Kind::Text | Kind::Path => json!({ "type": "string" }),
        Kind::Flag => json!({ "anyOf": [{ "type": "boolean" }, { "type": "string" }] }),
        Kind::Integer(least, most) => json!({ "anyOf": [
            { "type": "integer", "minimum": least, "maximum": most },
            { "type": "string" },
        ] }),
        Kind::Share => json!({ "anyOf": [
            { "type": "number", "minimum": 0, "maximum": 1 },
            { "type": "string" },
        ] }),
        Kind::Degrees(most) => json!({ "anyOf": [
            { "type": "number", "minimum": -most, "maximum": most },
            { "type": "string" },
        ] }),
        Kind::Duration(_) => json!({
            "type": "string",
            "pattern": r"^(([0-9]+(us|ms|s|m|h|d))+|.*\$.*)$",
        }),
        Kind::Size(_) => json!({ "anyOf": [
            { "type": "integer", "minimum": 0 },
            { "type": "string" },
        ] }),
        Kind::Status => json!({ "anyOf": [
            { "type": "integer", "minimum": 100, "maximum": 599 },
            { "type": "string" },
        ] }),
        Kind::Secret => json!({ "anyOf": [{ "type": "string" }, object(&SECRET)] }),
        Kind::Word(words) => json!({ "anyOf": [
            { "type": "string", "enum": words },
            { "type": "string", "pattern": r"\$" },
        ] }),
        Kind::WordOr(words, _) => json!({ "type": "string", "examples": words }),
        Kind::Plain => json!({ "type": ["string", "number", "boolean"] }),
        Kind::List(item) => json!({ "type": "array", "items": value(item) }),
        Kind::Map(_, item) => json!({ "type": "object", "additionalProperties": value(item) }),
        Kind::Table(section) => object(section),
        Kind::Tables(section) => json!({ "type": "array", "items": object(section) }),
        Kind::TableOrTables(one, many) => json!({ "anyOf": [
            object(one),
            { "type": "array", "items": object(many) },
        ] }),
        Kind::Named(_, section) => {
            json!({ "type": "object", "additionalProperties": object(section) })
        }
    }
}
