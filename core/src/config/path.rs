//! A file that the configuration names.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

/// A path, relative to the file that holds it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct FilePath(pub(super) String);

impl JsonSchema for FilePath {
    fn schema_name() -> Cow<'static, str> {
        "path".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "x-takes": "path" })
    }
}
