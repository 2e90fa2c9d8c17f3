//! Fields: what a call takes in its query or its body. The same table checks requests and describes them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::model::{Failure, Reason};

use super::json::{Fields, Given};
use super::shape::explained;

/// What a field takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Takes {
    /// An amount of money, always a string.
    Amount,
    /// A percentage, always a string.
    Rate,
    /// An account reference.
    Account,
    /// Any text.
    Text,
    /// A whole number.
    Count,
    /// `true` or `false`.
    Flag,
    /// One word of a list, in lower case.
    OneOf(&'static [&'static str]),
}

/// A field of a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) takes: Takes,
    /// Whether the call is refused without it.
    pub(super) required: bool,
    pub(super) explanation: &'static str,
}

/// A field that a call cannot do without.
pub(super) const fn required(name: &'static str, takes: Takes, explanation: &'static str) -> Field {
    Field { name, takes, required: true, explanation }
}

/// A field that may be left out.
pub(super) const fn optional(name: &'static str, takes: Takes, explanation: &'static str) -> Field {
    Field { name, takes, required: false, explanation }
}

impl Field {
    /// Its JSON Schema.
    pub(super) fn schema(&self) -> Value {
        let shape = match self.takes {
            Takes::Amount => {
                json!({ "type": "string", "pattern": r"^[0-9]+(\.[0-9]{1,2})?$", "examples": ["12.34"] })
            }
            Takes::Rate => {
                json!({ "type": "string", "pattern": r"^[0-9]+(\.[0-9]{1,4})?$", "examples": ["2.5"] })
            }
            Takes::Account => json!({ "type": "string", "examples": ["17", "delhi/17"] }),
            Takes::Text => json!({ "type": "string" }),
            Takes::Count => json!({ "type": "integer" }),
            Takes::Flag => json!({ "type": "boolean" }),
            Takes::OneOf(words) => json!({ "type": "string", "enum": words }),
        };
        explained(shape, self.explanation)
    }

    fn wrong(&self, what: &str) -> Failure {
        let reason = match self.takes {
            Takes::Amount => Reason::AmountSyntax,
            Takes::Rate => Reason::RateOutOfRange,
            Takes::Account => Reason::AccountSyntax,
            Takes::Text | Takes::Count | Takes::Flag | Takes::OneOf(_) => Reason::ArgumentInvalid,
        };
        Failure::new(reason, format!("the field {:?} {what}", self.name)).in_field(self.name)
    }

    /// Checks a value of a body and turns it into the text that the client library takes.
    fn text_of(&self, given: Given) -> Result<String, Failure> {
        match (self.takes, given) {
            (Takes::Amount, Given::Number(number)) => Err(self.wrong(&format!(
                "is a JSON number, and numbers lose cents on their way; send the amount as a JSON string, \"{number}\""
            ))),
            (Takes::Rate, Given::Number(number)) => {
                Err(self.wrong(&format!("is a JSON number; send the rate as a JSON string, \"{number}\"")))
            }
            (Takes::Account, Given::Number(number)) => {
                Err(self.wrong(&format!("is a JSON number; send the account as a JSON string, \"{number}\"")))
            }
            (Takes::Amount | Takes::Rate | Takes::Account | Takes::Text, Given::Text(text)) => Ok(text),
            (Takes::Count, Given::Number(number)) => self.check(number),
            (Takes::OneOf(_), Given::Text(word)) => self.check(word),
            (Takes::Flag, Given::Flag(flag)) => Ok(flag.to_string()),
            (Takes::Count, Given::Text(_) | Given::Flag(_)) => Err(self.wrong("takes a whole number")),
            (Takes::Flag, Given::Text(_) | Given::Number(_)) => Err(self.wrong("takes true or false")),
            (
                Takes::Amount | Takes::Rate | Takes::Account | Takes::Text | Takes::OneOf(_),
                Given::Number(_) | Given::Flag(_),
            ) => Err(self.wrong("takes a string")),
        }
    }

    /// Checks text, as a query has it.
    fn check(&self, text: String) -> Result<String, Failure> {
        let good = match self.takes {
            Takes::Amount | Takes::Rate | Takes::Account | Takes::Text => true,
            Takes::Count => text.parse::<i64>().is_ok() || text.parse::<u64>().is_ok(),
            Takes::Flag => matches!(text.as_str(), "true" | "false"),
            Takes::OneOf(words) => words.contains(&text.as_str()),
        };
        if good {
            return Ok(text);
        }
        Err(match self.takes {
            Takes::OneOf(words) => self.wrong(&format!("is one of {}", words.join(", "))),
            Takes::Flag => self.wrong("is true or false"),
            Takes::Amount | Takes::Rate | Takes::Account | Takes::Text | Takes::Count => {
                self.wrong("takes a whole number")
            }
        })
    }
}

/// The fields of a request, each of them known and checked.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Values(BTreeMap<&'static str, String>);

impl Values {
    /// The fields of a body.
    ///
    /// # Errors
    /// A failure names the field that is unknown or wrong.
    pub(super) fn of_body(table: &'static [Field], fields: Fields) -> Result<Values, Failure> {
        let mut values = BTreeMap::new();
        for (name, given) in fields {
            let field = known(table, &name, "the body")?;
            values.insert(field.name, field.text_of(given)?);
        }
        complete(table, values)
    }

    /// The fields of a query.
    ///
    /// # Errors
    /// A failure names the field that is unknown, wrong or there twice.
    pub(super) fn of_query(table: &'static [Field], query: &str) -> Result<Values, Failure> {
        let mut values = BTreeMap::new();
        for (name, text) in form_urlencoded::parse(query.as_bytes()) {
            let field = known(table, &name, "the query")?;
            if values.insert(field.name, field.check(text.into_owned())?).is_some() {
                return Err(field.wrong("is there twice"));
            }
        }
        complete(table, values)
    }

    /// All fields that are there.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().map(|(name, text)| (*name, text.as_str()))
    }

    /// A field as text; empty when it was left out.
    pub(super) fn text(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// Whether a field says `true`.
    pub(super) fn flag(&self, name: &str) -> bool {
        self.text(name) == "true"
    }

    /// A whole number, if the field is there and its type can hold it.
    ///
    /// # Errors
    /// `ARGUMENT_INVALID` when it cannot.
    pub(super) fn count<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, Failure> {
        let Some(text) = self.0.get(name) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| {
            Failure::new(Reason::ArgumentInvalid, format!("the field {name:?} cannot be {text}"))
                .in_field(name)
        })
    }
}

fn known(table: &'static [Field], name: &str, place: &str) -> Result<&'static Field, Failure> {
    table.iter().find(|field| field.name == name).ok_or_else(|| {
        let names: Vec<&str> = table.iter().map(|field| field.name).collect();
        let takes = match names.len() {
            0 => "it takes none".to_owned(),
            _ => format!("it takes {}", names.join(", ")),
        };
        Failure::new(Reason::ArgumentInvalid, format!("{place} of this call has no field {name:?}; {takes}"))
            .in_field(name)
    })
}

fn complete(table: &'static [Field], values: BTreeMap<&'static str, String>) -> Result<Values, Failure> {
    match table.iter().find(|field| field.required && !values.contains_key(field.name)) {
        None => Ok(Values(values)),
        Some(field) if field.takes == Takes::Amount => {
            let what = format!("the field {:?} is missing; give an amount, like \"12.34\"", field.name);
            Err(Failure::new(Reason::AmountMissing, what).in_field(field.name))
        }
        Some(field) => Err(field.wrong("is missing")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::json;

    const TABLE: &[Field] = &[
        required("amount", Takes::Amount, "How much."),
        optional("account", Takes::Account, "Where."),
        optional("size", Takes::Count, "How many."),
        optional("really", Takes::Flag, "Whether."),
        optional("order", Takes::OneOf(&["up", "down"]), "Which way."),
    ];

    fn body(text: &str) -> Result<Values, Failure> {
        Values::of_body(TABLE, json::read(text.as_bytes()).unwrap())
    }

    #[test]
    fn a_body_is_checked_field_by_field() {
        let values = body(r#"{"amount":"1.50","account":null,"size":7,"really":true,"order":"up"}"#).unwrap();
        assert_eq!((values.text("amount"), values.text("account")), ("1.50", ""));
        assert_eq!((values.count("size"), values.flag("really")), (Ok(Some(7_i32)), true));
        let cases = [
            (r#"{}"#, Reason::AmountMissing, "amount"),
            (r#"{"amount":1.5}"#, Reason::AmountSyntax, "amount"),
            (r#"{"amount":true}"#, Reason::AmountSyntax, "amount"),
            (r#"{"amount":"1","account":17}"#, Reason::AccountSyntax, "account"),
            (r#"{"amount":"1","size":"7"}"#, Reason::ArgumentInvalid, "size"),
            (r#"{"amount":"1","size":1e3}"#, Reason::ArgumentInvalid, "size"),
            (r#"{"amount":"1","really":"true"}"#, Reason::ArgumentInvalid, "really"),
            (r#"{"amount":"1","order":"sideways"}"#, Reason::ArgumentInvalid, "order"),
            (r#"{"amount":"1","Order":"up"}"#, Reason::ArgumentInvalid, "Order"),
        ];
        for (text, reason, field) in cases {
            let failure = body(text).unwrap_err();
            assert_eq!((failure.reason, failure.field.as_deref()), (reason, Some(field)), "{text}");
        }
        let message = body(r#"{"amount":1.5}"#).unwrap_err().message;
        assert!(message.contains("JSON string, \"1.5\""), "{message}");
    }

    #[test]
    fn a_query_is_checked_field_by_field() {
        let values = Values::of_query(TABLE, "amount=1&account=delhi%2F7&really=false").unwrap();
        assert_eq!((values.text("account"), values.flag("really")), ("delhi/7", false));
        for query in ["amount=1&amount=2", "amount=1&x=1", "amount=1&size=x", "amount=1&really=yes", "size=1"]
        {
            assert!(Values::of_query(TABLE, query).is_err(), "{query}");
        }
        assert!(values.count::<u8>("size").unwrap().is_none());
        assert!(Values::of_query(TABLE, "amount=1&size=300").unwrap().count::<u8>("size").is_err());
    }
}
