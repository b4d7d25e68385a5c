//! What stands under one key of the file, and where.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::Value;

use crate::config::deserializer::FIELD;
use crate::config::problem::{ProblemSink, Span};

/// What stands under one key: whether and where it was written, and its value if that could be
/// read. To read one never fails: what is wrong is reported with its place, and the rest goes on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field<T> {
    place: Option<FieldPlace>,
    value: Option<T>,
}

/// Where a key and its value were written.
#[derive(Clone, Copy, Debug)]
struct FieldPlace {
    key: Span,
    value: Span,
}

impl<T> Default for Field<T> {
    fn default() -> Self {
        Self {
            place: None,
            value: None,
        }
    }
}

impl<T> Field<T> {
    /// Whether the key was written at all, with a good value or not.
    pub(super) fn is_written(&self) -> bool {
        self.place.is_some()
    }

    /// Where the key was written.
    pub(super) fn key(&self) -> Option<Span> {
        self.place.map(|place| place.key)
    }

    /// Where the value was written, or else `table`.
    pub(super) fn place(&self, table: Span) -> Span {
        self.place.map_or(table, |place| place.value)
    }

    /// The value and its place.
    pub(super) fn written(&self) -> Option<(&T, Span)> {
        Some((self.value.as_ref()?, self.place?.value))
    }

    /// The value.
    pub(super) fn get(&self) -> Option<&T> {
        self.value.as_ref()
    }

    /// The value, or what holds without it.
    pub(super) fn or<U>(&self, before: U) -> U
    where
        T: Clone + Into<U>,
    {
        self.value.clone().map_or(before, Into::into)
    }

    /// What `check` makes of the section under the key, or of an empty one.
    pub(super) fn section<U>(&self, check: impl FnOnce(&T, Span) -> U) -> U
    where
        T: Default,
    {
        match self.written() {
            Some((section, span)) => check(section, span),
            None => check(&T::default(), Span::default()),
        }
    }

    /// The field itself, and a problem when the key `name` of `table` was not written.
    pub(super) fn required(&self, name: &str, table: Span, findings: &ProblemSink) -> &Self {
        if !self.is_written() {
            findings.error("missing-key", table, format!("`{name}` is missing here"));
        }
        self
    }
}

impl<T> Field<Vec<Field<T>>> {
    /// The items that could be read, each with its place.
    pub(super) fn items(&self) -> impl Iterator<Item = (&T, Span)> {
        self.get().into_iter().flatten().filter_map(Field::written)
    }

    /// Whether a list was written that has no item.
    pub(super) fn is_empty_list(&self) -> bool {
        self.get().is_some_and(Vec::is_empty)
    }
}

impl<T> Field<BTreeMap<String, Field<T>>> {
    /// The entries of a table whose keys are the user's, in order of those keys, each with the
    /// place of its key.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&str, Span, &Field<T>)> {
        let entries = self.get().into_iter().flatten();
        entries.filter_map(|(name, field)| Some((name.as_str(), field.key()?, field)))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Field<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(FIELD, FieldVisitor(PhantomData))
    }
}

struct FieldVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for FieldVisitor<T> {
    type Value = Field<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value with its place")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut placed: A) -> Result<Field<T>, A::Error> {
        let Some([file, key_start, key_end, start, end]) = placed.next_key::<[usize; 5]>()? else {
            return Err(A::Error::custom("a value without a place"));
        };
        let file = u16::try_from(file).unwrap_or(u16::MAX);
        let span = |start, end| Span { file, start, end };
        Ok(Field {
            place: Some(FieldPlace {
                key: span(key_start, key_end),
                value: span(start, end),
            }),
            // What is wrong with it is reported already.
            value: placed.next_value().ok(),
        })
    }
}

/// The schema of what stands under the key, with what the reference needs beside it:
/// `x-order`, because an object of JSON forgets the order of its keys, and `x-section`, the
/// description of the section where the key has its own.
impl<T: JsonSchema> JsonSchema for Field<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        // Every section stands where it is used, so the definitions are free to count fields in.
        let order = generator.definitions().len();
        let counted = generator.definitions_mut();
        counted.insert(order.to_string(), Value::Null);
        let mut schema = T::json_schema(generator);
        if schema.get("enum").is_some() || schema.get("oneOf").is_some() {
            let variable = json_schema!({ "type": "string", "pattern": r"\$" });
            schema = json_schema!({ "anyOf": [schema, variable] });
        }
        if let Some(section) = schema.remove("description") {
            schema.insert("x-section".to_owned(), section);
        }
        schema.insert("x-order".to_owned(), order.into());
        schema
    }
}
