//! The reference of all keys, as `docs/configuration.md` holds it.

use std::fmt::Write as _;

use serde_json::Value;

use crate::config::schema::described;

/// What stands before the sections.
const INTRODUCTION: &str = "# Configuration reference

One TOML file, given by `-c FILE`. `meridian validate -c FILE` reports every mistake at once, each with its
line and a caret; `meridian schema` prints a JSON Schema for editors. This page is generated from the
description that the reader itself follows.

* A key that is not described here is an error.
* Durations are strings of whole numbers with a unit (`us`, `ms`, `s`, `m`, `h`, `d`): `\"250ms\"`, `\"1m30s\"`.
* Sizes are bytes, or strings with a unit (`KiB`, `MiB`, `GiB`, `kB`, `MB`, `GB`): `\"64KiB\"`.
* Paths are relative to the file that holds them.
* `${VAR}`, `${VAR:-default}` and `${VAR:?message}` inside a string are replaced by environment variables, after
  parsing; `$$` is one dollar sign. A number or a boolean may be a string too, so `workers = \"${WORKERS:-0}\"` works.
* A secret is a string, `{ file = \"..\" }` or `{ env = \"..\" }`. It is never printed.
";

/// The reference of all keys, as Markdown.
#[must_use]
pub fn reference() -> String {
    let mut page = INTRODUCTION.to_owned();
    section(&mut page, "", "The file", &described());
    page
}

/// One section, then those within it, as deep as they go.
fn section(page: &mut String, path: &str, title: &str, schema: &Value) {
    let keys = keys(schema);
    let doc = schema
        .get("x-section")
        .or_else(|| schema.get("description"));
    // Writing to a string cannot fail.
    let _ = write!(
        page,
        "\n## {title}\n\n{}\n\n| key | takes | default | what it does |\n|---|---|---|---|\n",
        line(doc)
    );
    let required = schema["required"].as_array();
    let is_required = |name: &str| required.is_some_and(|names| names.iter().any(|n| n == name));
    for (name, key) in &keys {
        let default = match key.get("default") {
            _ if is_required(name) => "required".to_owned(),
            Some(default) => format!("`{default}`"),
            None => String::new(),
        };
        let does = line(key.get("description"));
        let _ = writeln!(page, "| `{name}` | {} | {default} | {does} |", takes(key));
    }
    for (name, key) in keys {
        let path = if path.is_empty() {
            name.to_owned()
        } else {
            format!("{path}.{name}")
        };
        within(page, &path, key);
    }
}

/// The sections that stand under one key, called `path` from the top of the file.
fn within(page: &mut String, path: &str, key: &Value) {
    let entries = &key["additionalProperties"];
    if is_section(key) {
        section(page, path, &format!("`[{path}]`"), key);
    } else if is_section(&key["items"]) {
        section(page, path, &format!("`[[{path}]]`"), &key["items"]);
    } else if is_section(entries) {
        let path = format!("{path}.X");
        section(page, &path, &format!("`[{path}]`"), entries);
    } else if let Some(table) = key["anyOf"].as_array().and_then(|any| any.first())
        && key["x-takes"] != "secret"
        && is_section(table)
    {
        section(page, path, &format!("`[{path}]`"), table);
    }
}

/// Whether `schema` is a table with keys of ours.
fn is_section(schema: &Value) -> bool {
    schema.get("properties").is_some()
}

/// The keys of a section in the order of the source.
fn keys(schema: &Value) -> Vec<(&str, &Value)> {
    let properties = schema["properties"].as_object().into_iter().flatten();
    let mut keys: Vec<_> = properties.map(|(name, key)| (name.as_str(), key)).collect();
    keys.sort_by_key(|(_, key)| key["x-order"].as_u64());
    keys
}

/// A description as one line.
fn line(text: Option<&Value>) -> String {
    let text = text.and_then(Value::as_str).unwrap_or_default();
    text.replace('\n', " ")
}

fn takes(key: &Value) -> String {
    if let Some(takes) = key["x-takes"].as_str() {
        return takes.to_owned();
    }
    let of = key["x-key"].as_str().unwrap_or_default();
    let entries = &key["additionalProperties"];
    match key["type"].as_str() {
        Some("array") if is_section(&key["items"]) => "array of tables".to_owned(),
        Some("array") => format!("array: {}", takes(&key["items"])),
        Some("object") if is_section(key) => "table".to_owned(),
        Some("object") if is_section(entries) => format!("tables by {of} name"),
        Some("object") => format!("table: {of} = {}", takes(entries)),
        Some(plain) => plain.to_owned(),
        None => words(&key["anyOf"][0]),
    }
}

/// The words that a key takes, with descriptions of their own or not.
fn words(schema: &Value) -> String {
    let plain = schema["enum"].as_array().into_iter().flatten();
    let described = schema["oneOf"].as_array().into_iter().flatten();
    let described = described.map(|word| &word["const"]);
    let words: Vec<_> = plain.chain(described).map(|w| format!("`{w}`")).collect();
    words.join(", ")
}
