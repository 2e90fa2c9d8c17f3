//! The JSON that requests may contain: one object of strings, numbers and booleans, strictly read.
//!
//! Invariant: nothing is guessed or rounded. A key that comes twice, anything nested, and anything after the
//! object is refused; a number is kept as it was written, so that nobody mistakes it for exact money.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::model::{Failure, Reason};

/// How deep a document may nest before it is not even read.
const DEPTH: usize = 32;
/// Most fields of a request; no call takes nearly as many.
const FIELDS: usize = 64;

/// A value of a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Given {
    /// A string.
    Text(String),
    /// A number, as it was written.
    Number(String),
    /// `true` or `false`.
    Flag(bool),
}

/// The fields of a request; those that are `null` are left out.
pub(super) type Fields = BTreeMap<String, Given>;

/// Reads the body of a request; an empty one is an empty object.
///
/// # Errors
/// `ARGUMENT_INVALID` says what is wrong where.
pub(super) fn read(body: &[u8]) -> Result<Fields, Failure> {
    if body.is_empty() {
        return Ok(Fields::new());
    }
    if depth(body) > DEPTH {
        return Err(wrong(format!("the document nests deeper than {DEPTH}")));
    }
    let mut reader = serde_json::Deserializer::from_slice(body);
    let fields = reader.deserialize_map(Object).map_err(|error| wrong(error.to_string()))?;
    reader.end().map_err(|error| wrong(error.to_string()))?;
    Ok(fields)
}

fn wrong(what: String) -> Failure {
    Failure::new(
        Reason::ArgumentInvalid,
        format!("the body is not the JSON object that this call takes: {what}"),
    )
}

/// How deep brackets nest outside of strings.
fn depth(body: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_text, mut escaped) = (0_usize, 0, false, false);
    for byte in body {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

struct Object;

impl<'de> Visitor<'de> for Object {
    type Value = Fields;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
        let mut fields = Fields::new();
        let mut seen = BTreeSet::new();
        while let Some(key) = map.next_key::<String>()? {
            if seen.contains(&key) {
                return Err(A::Error::custom(format_args!("the field {key:?} is there twice")));
            }
            if seen.len() == FIELDS {
                return Err(A::Error::custom(format_args!("it has more than {FIELDS} fields")));
            }
            if let Maybe(Some(given)) = map
                .next_value::<Maybe>()
                .map_err(|error| A::Error::custom(format_args!("the field {key:?}: {error}")))?
            {
                fields.insert(key.clone(), given);
            }
            seen.insert(key);
        }
        Ok(fields)
    }
}

/// A value, or none for `null`.
struct Maybe(Option<Given>);

impl<'de> Deserialize<'de> for Maybe {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Maybe, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?.get();
        Ok(Maybe(match raw.as_bytes().first() {
            Some(b'"') => Some(Given::Text(serde_json::from_str(raw).map_err(D::Error::custom)?)),
            Some(b't') => Some(Given::Flag(true)),
            Some(b'f') => Some(Given::Flag(false)),
            Some(b'n') => None,
            Some(b'{' | b'[') => return Err(D::Error::custom("it takes no object and no array")),
            Some(_) | None => Some(Given::Number(raw.to_owned())),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_read_as_it_is_written() {
        let fields = read(br#" { "a" : "x\u00e9\n", "b":12.30, "c":true,"d":null, "e": -1e400 } "#).unwrap();
        let expected = [
            ("a", Given::Text("x\u{e9}\n".to_owned())),
            ("b", Given::Number("12.30".to_owned())),
            ("c", Given::Flag(true)),
            ("e", Given::Number("-1e400".to_owned())),
        ];
        assert_eq!(fields, expected.map(|(key, value)| (key.to_owned(), value)).into());
        assert_eq!(read(b"").unwrap(), Fields::new());
    }

    #[test]
    fn what_is_no_plain_object_is_refused() {
        let deep = "[".repeat(40);
        let many = format!("{{\"a\":{}{}}}", "[".repeat(33), "]".repeat(33));
        let cases = [
            "[]",
            "1",
            "\"a\"",
            "null",
            "{",
            "{}{}",
            "{} x",
            "{\"a\":1,}",
            "{'a':1}",
            "{\"a\":01}",
            "{a:1}",
            "{\"a\":NaN}",
            "{\"a\":1,\"a\":2}",
            "{\"a\":null,\"a\":2}",
            "{\"a\":{}}",
            "{\"a\":[1]}",
            "{\"a\":\"\u{1}\"}",
            "{\"a\":\"\\ud800\"}",
            "\u{feff}{}",
            &deep,
            &many,
        ];
        for text in cases {
            let failure = read(text.as_bytes()).unwrap_err();
            assert_eq!(failure.reason, Reason::ArgumentInvalid, "{text:?}");
        }
        assert!(read(b"{\"a\":\"\xff\"}").is_err());
        assert!(read(many.as_bytes()).unwrap_err().message.contains("deeper than 32"));
        // Brackets in strings are not brackets.
        let text = format!("{{\"a\":\"\\\"{}\"}}", "[".repeat(100));
        assert!(read(text.as_bytes()).is_ok());
    }
}
