//! From the tree of a file to the sections that serde derives: no mistake hides the next.
//!
//! A [`Field`](crate::config::field::Field) asks for its value by the name [`FIELD`] and gets the
//! place with it; a fault within is reported there and then, and reading goes on. A key that no
//! field of a section takes is one whose value serde asks for only to throw it away.

use serde::de::value::{MapAccessDeserializer, SeqDeserializer, StrDeserializer};
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;

use crate::config::fault::ValueFault;
use crate::config::problem::{Problem, ProblemSink, Span, nearest};
use crate::config::scalar::Scalar;
use crate::config::tree::{TomlEntry, TomlNode, TomlTable, TomlValue};

/// The name by which a field asks for its value and its place.
pub(super) const FIELD: &str = "$field";

/// The name of enums whose variants are called by the kinds of values they take.
const KIND: &str = "$kind";

/// Reads a table as `T`; what does not fit is added to `findings`.
pub(super) fn read<T: DeserializeOwned + Default>(
    table: TomlTable,
    span: Span,
    findings: &ProblemSink,
) -> T {
    let value = TomlValue::Table(table);
    let reading = ValueReading {
        node: TomlNode { value, span },
        key: span,
        name: "",
        known: &[],
        findings,
    };
    T::deserialize(reading).unwrap_or_default()
}

/// One value about to be read.
struct ValueReading<'a> {
    node: TomlNode,
    /// Where its key was written; for an item of an array the item.
    key: Span,
    /// Its key; empty for an item.
    name: &'a str,
    /// The keys of the section it stands in; empty where they are the user's.
    known: &'static [&'static str],
    findings: &'a ProblemSink,
}

impl ValueReading<'_> {
    fn wrong_type(&self, expected: &str) -> ValueFault {
        match self.node.value {
            TomlValue::Broken => ValueFault::reported(),
            ref value => ValueFault::wrong_type(expected, value.kind()),
        }
    }

    fn unknown_key(&self) -> Problem {
        let message = format!("unknown key `{}`", self.name);
        let problem = Problem::error("unknown-key", Some(self.key), message);
        match nearest(self.name, self.known.iter().copied()) {
            Some(word) => problem.help(format!("did you mean `{word}`?")),
            None => problem.help(format!("known here: {}", self.known.join(", "))),
        }
    }
}

impl<'de> Deserializer<'de> for ValueReading<'_> {
    type Error = ValueFault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueFault> {
        match self.node.value {
            TomlValue::Scalar(Scalar::Text(text)) => visitor.visit_string(text),
            TomlValue::Scalar(Scalar::Integer(number)) => visitor.visit_i64(number),
            TomlValue::Scalar(Scalar::Float(number)) => visitor.visit_f64(number),
            TomlValue::Scalar(Scalar::Boolean(flag)) => visitor.visit_bool(flag),
            TomlValue::Scalar(Scalar::Other(_)) => visitor.visit_unit(),
            TomlValue::Array(items) => visitor.visit_seq(ArrayItems {
                items: items.into_iter(),
                findings: self.findings,
            }),
            TomlValue::Table(table) => visitor.visit_map(TableEntries {
                entries: table.into_iter(),
                next: None,
                known: &[],
                findings: self.findings,
            }),
            TomlValue::Broken => Err(ValueFault::reported()),
        }
    }

    /// What serde wants only to throw away, no field takes.
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueFault> {
        self.findings.push(self.unknown_key());
        visitor.visit_unit()
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueFault> {
        match &self.node.value {
            TomlValue::Array(_) => self.deserialize_any(visitor),
            TomlValue::Scalar(Scalar::Text(_)) => Err(self
                .wrong_type("an array")
                .help("put it in brackets: [\"..\"]")),
            _ => Err(self.wrong_type("an array")),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueFault> {
        match &self.node.value {
            TomlValue::Table(_) => self.deserialize_any(visitor),
            _ => Err(self.wrong_type("a table")),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ValueFault> {
        match self.node.value {
            TomlValue::Table(table) => visitor.visit_map(TableEntries {
                entries: table.into_iter(),
                next: None,
                known,
                findings: self.findings,
            }),
            _ => Err(self.wrong_type("a table")),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ValueFault> {
        if name != FIELD {
            return visitor.visit_newtype_struct(self);
        }
        let (key, value) = (self.key, self.node.span);
        let place = [
            usize::from(value.file),
            key.start,
            key.end,
            value.start,
            value.end,
        ];
        visitor.visit_map(Marked {
            mark: Some(SeqDeserializer::new(place.into_iter())),
            reading: Some(self),
        })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ValueFault> {
        if name == KIND {
            let kind = self.node.value.kind();
            return if variants.contains(&kind) {
                let kind = StrDeserializer::new(kind);
                visitor.visit_enum(MapAccessDeserializer::new(Marked {
                    mark: Some(kind),
                    reading: Some(self),
                }))
            } else {
                Err(self.wrong_type(&variants.join(" or ")))
            };
        }
        let TomlValue::Scalar(Scalar::Text(word)) = &self.node.value else {
            return Err(self.wrong_type("a string"));
        };
        if variants.contains(&word.as_str()) {
            visitor.visit_enum(StrDeserializer::new(word))
        } else {
            Err(none_of(word, variants))
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct tuple tuple_struct identifier
    }
}

fn none_of(word: &str, known: &[&str]) -> ValueFault {
    let quoted: Vec<_> = known.iter().map(|word| format!("`{word}`")).collect();
    let message = format!("`{word}` is none of {}", quoted.join(", "));
    let fault = ValueFault::new("bad-value", message);
    match nearest(word, known.iter().copied()) {
        Some(word) => fault.help(format!("did you mean `{word}`?")),
        None => fault,
    }
}

/// The items of an array.
struct ArrayItems<'a> {
    items: std::vec::IntoIter<TomlNode>,
    findings: &'a ProblemSink,
}

impl<'de> SeqAccess<'de> for ArrayItems<'_> {
    type Error = ValueFault;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, ValueFault> {
        let Some(node) = self.items.next() else {
            return Ok(None);
        };
        let item = ValueReading {
            key: node.span,
            name: "",
            known: &[],
            node,
            findings: self.findings,
        };
        seed.deserialize(item).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}

/// The entries of a table.
struct TableEntries<'a> {
    entries: std::vec::IntoIter<TomlEntry>,
    /// The entry whose key was handed out last.
    next: Option<TomlEntry>,
    /// The keys of the section; empty where the keys are the user's.
    known: &'static [&'static str],
    findings: &'a ProblemSink,
}

impl<'de> MapAccess<'de> for TableEntries<'_> {
    type Error = ValueFault;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, ValueFault> {
        self.next = self.entries.next();
        let Some(entry) = &self.next else {
            return Ok(None);
        };
        seed.deserialize(StrDeserializer::new(&entry.name))
            .map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<S::Value, ValueFault> {
        let Some(entry) = self.next.take() else {
            return Err(ValueFault::reported());
        };
        seed.deserialize(ValueReading {
            node: entry.node,
            key: entry.key,
            name: &entry.name,
            known: self.known,
            findings: self.findings,
        })
    }
}

/// A value with something to say about it, as a map of one entry.
struct Marked<'a, M> {
    mark: Option<M>,
    reading: Option<ValueReading<'a>>,
}

impl<'de, M: Deserializer<'de, Error = ValueFault>> MapAccess<'de> for Marked<'_, M> {
    type Error = ValueFault;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, ValueFault> {
        let mark = self.mark.take();
        mark.map(|mark| seed.deserialize(mark)).transpose()
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<S::Value, ValueFault> {
        let reading = self.reading.take().ok_or_else(ValueFault::reported)?;
        let (span, findings) = (reading.node.span, reading.findings);
        seed.deserialize(reading).map_err(|fault| {
            if let Some(problem) = fault.at(span) {
                findings.push(problem);
            }
            ValueFault::reported()
        })
    }
}
