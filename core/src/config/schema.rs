//! The configuration as a JSON Schema, for editors.

use schemars::JsonSchema;
use serde_json::Value;

use crate::config::default::generator;
use crate::config::root::RootSection;

/// A JSON Schema (draft 2020-12) of the whole file. String values may also hold `${VAR}`, so
/// numbers and booleans are taken as strings too.
#[must_use]
pub fn schema() -> Value {
    let mut schema = described();
    plain(&mut schema);
    if let Value::Object(members) = &mut schema {
        let draft = "https://json-schema.org/draft/2020-12/schema";
        members.insert("$schema".to_owned(), draft.into());
        members.insert("title".to_owned(), "Meridian configuration".into());
    }
    schema
}

/// The schema with the marks (`x-`) that the reference needs.
pub(super) fn described() -> Value {
    RootSection::json_schema(&mut generator()).to_value()
}

/// Takes the marks out, and the line breaks of the source out of descriptions.
fn plain(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|name, _| !name.starts_with("x-"));
            members.values_mut().for_each(plain);
        }
        Value::Array(items) => items.iter_mut().for_each(plain),
        Value::String(text) => *text = text.replace('\n', " "),
        _ => {}
    }
}
