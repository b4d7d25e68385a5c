//! A value that is never printed, and the places it may stand in.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

use crate::config::context::CheckContext;
use crate::config::field::Field;
use crate::config::quantity::FilePath;

/// A value that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

/// What stands in its place.
const REDACTED: &str = "<redacted>";

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(REDACTED)
    }
}

/// A string, `{ file = ".." }` or `{ env = ".." }`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename = "$kind")]
#[schemars(untagged, extend("x-takes" = "secret"))]
pub(super) enum SecretSource {
    #[serde(rename = "a string")]
    Text(String),
    #[serde(rename = "a table")]
    Elsewhere(ElsewhereSection),
}

/// A secret that stands elsewhere.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub(super) struct ElsewhereSection {
    /// A file that holds it; a newline at its end is no part of it.
    file: Field<FilePath>,
    /// The environment variable that holds it.
    env: Field<String>,
}

impl Field<SecretSource> {
    /// The secret itself.
    pub(super) fn secret(&self, context: &CheckContext<'_>) -> Option<Secret> {
        let (source, span) = self.written()?;
        let secret = match source {
            SecretSource::Text(text) => Some(text.clone()),
            SecretSource::Elsewhere(section) => match (&section.file, &section.env) {
                (file, env) if file.is_written() == env.is_written() => {
                    let message =
                        "a secret comes from one place: { file = \"..\" } or { env = \"..\" }";
                    context.fault("bad-secret", span, message);
                    None
                }
                (_, env) if env.is_written() => variable(env, context),
                // Editors and `echo` end a file with a newline that is no part of the secret.
                (file, _) => context
                    .text_of(file)
                    .map(|text| text.trim_end_matches(['\r', '\n']).to_owned()),
            },
        }?;
        if secret.is_empty() {
            context.fault("bad-secret", span, "this secret is empty");
            return None;
        }
        Some(Secret(secret))
    }
}

fn variable(name: &Field<String>, context: &CheckContext<'_>) -> Option<String> {
    let (name, span) = name.written()?;
    let value = (context.reader.env)(name);
    if value.is_none() {
        let message = format!("the environment variable `{name}` is not set");
        context.fault("undefined-variable", span, message);
    }
    value
}
