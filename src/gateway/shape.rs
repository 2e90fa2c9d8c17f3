//! Shapes: what a value looks like in JSON, told by the type that writes it. The OpenAPI document is made of
//! them, so it cannot say anything else than what is sent.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use crate::client::{
    AccountState, Consistency, HoldState, Kind, OperationState, ReplicaRole, TransferSide, TransferState,
    TransferStep, time_text,
};
use crate::model::Timestamp;

/// The shapes that have a name, collected while a document is made.
pub(super) type Parts = BTreeMap<&'static str, Value>;

/// A type whose JSON has a known shape.
pub(super) trait Described {
    /// Its JSON Schema. Shapes with a name are added to the parts.
    fn schema(parts: &mut Parts) -> Value;
}

/// The shape of a type, for tables.
pub(super) fn of<T: Described>(parts: &mut Parts) -> Value {
    T::schema(parts)
}

/// One field of an object: name, shape, explanation.
pub(super) type FieldShape = (String, Value, &'static str);

/// The shape of an object with a name: all fields are always there, and no others.
pub(super) fn object(
    parts: &mut Parts,
    name: &'static str,
    explanation: &'static str,
    fields: fn(&mut Parts) -> Vec<FieldShape>,
) -> Value {
    if !parts.contains_key(name) {
        // Stands in for itself while its fields are described.
        parts.insert(name, Value::Null);
        let fields = fields(parts);
        let required: Vec<String> = fields.iter().map(|(name, ..)| name.clone()).collect();
        let properties: serde_json::Map<String, Value> =
            fields.into_iter().map(|(name, shape, text)| (name, explained(shape, text))).collect();
        parts.insert(
            name,
            json!({
                "type": "object",
                "description": explanation.trim(),
                "properties": properties,
                "required": required,
                "additionalProperties": false,
            }),
        );
    }
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// A shape with what it means.
pub(super) fn explained(mut shape: Value, text: &str) -> Value {
    if let Value::Object(shape) = &mut shape {
        shape.insert("description".to_owned(), text.trim().into());
    }
    shape
}

/// Declares an object that answers contain: the struct, how it is written, and its shape.
macro_rules! view {
    ($(#[doc = $doc:literal])+ $name:ident {
        $($(#[doc = $field_doc:literal])+ $field:ident $(as $written:literal)?: $type:ty,)+
    }) => {
        $(#[doc = $doc])+
        #[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
        #[serde(rename_all = "camelCase")]
        pub(super) struct $name {
            $($(#[doc = $field_doc])+ $(#[serde(rename = $written)])? pub(super) $field: $type,)+
        }

        impl crate::gateway::shape::Described for $name {
            fn schema(parts: &mut crate::gateway::shape::Parts) -> serde_json::Value {
                crate::gateway::shape::object(parts, stringify!($name), concat!($($doc),+), |parts| vec![$((
                    crate::gateway::shape::written(stringify!($field), &[$($written)?]),
                    <$type as crate::gateway::shape::Described>::schema(parts),
                    concat!($($field_doc),+),
                )),+])
            }
        }
    };
}
pub(super) use view;

/// The name of a field in JSON: the one given, or its own in camel case.
pub(super) fn written(field: &str, given: &[&str]) -> String {
    if let Some(given) = given.first() {
        return (*given).to_owned();
    }
    let mut words = field.split('_');
    let mut name = words.next().unwrap_or_default().to_owned();
    for word in words {
        let (first, rest) = word.split_at(1);
        name += &first.to_ascii_uppercase();
        name += rest;
    }
    name
}

/// An amount or balance: exact, as text.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(super) struct Money(pub(super) String);

/// A time of the ledger, in UTC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Moment(pub(super) Timestamp);

/// One word of a closed list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Word<T>(pub(super) T);

/// A closed list of words.
pub(super) trait Words: Copy + 'static {
    /// All of them.
    const WORDS: &'static [Self];

    /// The word.
    fn word(self) -> &'static str;
}

macro_rules! words {
    ($($type:ident),+ $(,)?) => {
        $(impl Words for $type {
            const WORDS: &'static [$type] = $type::ALL;

            fn word(self) -> &'static str {
                self.as_str()
            }
        })+
    };
}

words! {
    AccountState, Consistency, HoldState, Kind, OperationState, ReplicaRole, TransferSide, TransferState,
    TransferStep,
}

impl<T: Words> Serialize for Word<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.word())
    }
}

impl<T: Words> Described for Word<T> {
    fn schema(_: &mut Parts) -> Value {
        let words: Vec<&str> = T::WORDS.iter().map(|word| word.word()).collect();
        json!({ "type": "string", "enum": words })
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text())
    }
}

impl Moment {
    /// RFC 3339 in UTC.
    pub(super) fn text(self) -> String {
        time_text(self.0)
    }
}

impl Described for Moment {
    fn schema(_: &mut Parts) -> Value {
        json!({ "type": "string", "format": "date-time" })
    }
}

impl Described for Money {
    fn schema(_: &mut Parts) -> Value {
        json!({ "type": "string", "pattern": r"^-?[0-9]{1,12}\.[0-9]{2}$", "examples": ["12.34"] })
    }
}

impl Described for String {
    fn schema(_: &mut Parts) -> Value {
        json!({ "type": "string" })
    }
}

impl Described for u64 {
    fn schema(_: &mut Parts) -> Value {
        json!({ "type": "integer", "format": "int64", "minimum": 0 })
    }
}

impl Described for u16 {
    fn schema(_: &mut Parts) -> Value {
        json!({ "type": "integer", "minimum": 0 })
    }
}

impl Described for bool {
    fn schema(_: &mut Parts) -> Value {
        json!({ "type": "boolean" })
    }
}

impl<T: Described> Described for Vec<T> {
    fn schema(parts: &mut Parts) -> Value {
        json!({ "type": "array", "items": T::schema(parts) })
    }
}

impl<T: Described> Described for Option<T> {
    fn schema(parts: &mut Parts) -> Value {
        json!({ "anyOf": [T::schema(parts), { "type": "null" }] })
    }
}

impl Described for BTreeMap<String, String> {
    fn schema(_: &mut Parts) -> Value {
        json!({ "type": "object", "additionalProperties": { "type": "string" } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    view! {
        /// A thing.
        Thing {
            /// The one.
            first_of_all: u64,
            /// The other.
            kind as "type": Option<String>,
        }
    }

    #[test]
    fn a_view_is_written_as_its_shape_says() {
        let mut parts = Parts::new();
        assert_eq!(Thing::schema(&mut parts), json!({ "$ref": "#/components/schemas/Thing" }));
        let thing = serde_json::to_value(Thing { first_of_all: 1, kind: None }).unwrap();
        assert_eq!(thing, json!({ "firstOfAll": 1, "type": null }));
        let fields = parts["Thing"]["properties"].as_object().unwrap();
        assert!(fields.keys().eq(thing.as_object().unwrap().keys()));
        assert_eq!(fields["firstOfAll"]["description"], "The one.");
    }
}
