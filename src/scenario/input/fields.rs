//! The members of an object under the names that files give them, and the values that they may have.
//!
//! Invariant: whatever is refused is refused with the JSON path of the value.

use crate::model::{AmountError, Money, SCALE};

use super::json::{Node, Remark, Value, push_key};

/// Longest number that is looked at, in characters.
const NUMBER_LENGTH: usize = 64;
/// Digits of the largest sum of money in hundredths; with more it is out of range.
const MONEY_DIGITS: usize = 15;

/// An object of the file. `null` is as good as not there.
pub(super) struct Fields<'n, 'a> {
    path: String,
    at: usize,
    members: Vec<(String, &'n str, &'n Node<'a>)>,
}

impl<'n, 'a> Fields<'n, 'a> {
    /// The members of an object. A key that is there twice counts the last time, with a note.
    ///
    /// # Errors
    /// When it is no object.
    pub(super) fn of(
        node: &'n Node<'a>,
        path: String,
        notes: &mut Vec<Remark>,
    ) -> Result<Fields<'n, 'a>, Remark> {
        let Value::Object(members) = &node.value else {
            let message = format!("an object is expected here and this is {}", node.value.kind());
            return Err(Remark { path, at: node.at, message });
        };
        let mut fields = Fields { path, at: node.at, members: Vec::new() };
        for (raw, value) in members {
            let key = normal(raw);
            if let Some(earlier) = fields.members.iter_mut().find(|(known, ..)| *known == key) {
                *earlier = (key, raw, value);
                let message = "this key is there twice; the last one counts".to_owned();
                notes.push(Remark { path: fields.path_of(raw), at: value.at, message });
            } else {
                fields.members.push((key, raw, value));
            }
        }
        Ok(fields)
    }

    /// The value of the first of these keys that is there, with its path.
    pub(super) fn get(&self, keys: &[&str]) -> Option<(String, &'n Node<'a>)> {
        let member = |key: &&str| self.members.iter().find(|(known, ..)| known == key);
        let there = |(_, _, node): &&(String, &str, &Node<'_>)| !matches!(node.value, Value::Null);
        let (_, raw, node) = keys.iter().filter_map(member).find(there)?;
        Some((self.path_of(raw), *node))
    }

    /// The value of a key that must be there.
    pub(super) fn needed(&self, keys: &[&str]) -> Result<(String, &'n Node<'a>), Remark> {
        self.get(keys).ok_or_else(|| {
            let key = keys.first().copied().unwrap_or_default();
            Remark { path: self.path_of(key), at: self.at, message: "this is missing".to_owned() }
        })
    }

    /// A remark about the object as a whole.
    pub(super) fn remark(&self, message: String) -> Remark {
        Remark { path: self.path.clone(), at: self.at, message }
    }

    fn path_of(&self, key: &str) -> String {
        let mut path = self.path.clone();
        push_key(&mut path, key);
        path
    }
}

/// A key as it is compared: assignment texts have `" customer-request-id "` and `branch_id`.
fn normal(key: &str) -> String {
    let joint = |c: char| if c == '_' || c.is_whitespace() { '-' } else { c };
    key.trim().to_lowercase().chars().map(joint).collect()
}

fn wrong(path: &str, node: &Node<'_>, wanted: &str) -> Remark {
    let found = match &node.value {
        Value::Number(digits) if digits.len() <= NUMBER_LENGTH => (*digits).to_owned(),
        other @ (Value::Number(_)
        | Value::Null
        | Value::Bool
        | Value::Text(_)
        | Value::List(_)
        | Value::Object(_)) => other.kind().to_owned(),
    };
    Remark {
        path: path.to_owned(),
        at: node.at,
        message: format!("{wanted} is expected here and this is {found}"),
    }
}

/// A text.
pub(super) fn text<'n>(path: &str, node: &'n Node<'_>) -> Result<&'n str, Remark> {
    match &node.value {
        Value::Text(text) => Ok(text),
        Value::Null | Value::Bool | Value::Number(_) | Value::List(_) | Value::Object(_) => {
            Err(wrong(path, node, "a text"))
        }
    }
}

/// An array.
pub(super) fn array<'n, 'a>(path: &str, node: &'n Node<'a>) -> Result<&'n [Node<'a>], Remark> {
    match &node.value {
        Value::List(items) => Ok(items),
        Value::Null | Value::Bool | Value::Number(_) | Value::Text(_) | Value::Object(_) => {
            Err(wrong(path, node, "an array"))
        }
    }
}

/// A whole number of at least 0.
pub(super) fn id(path: &str, node: &Node<'_>) -> Result<u64, Remark> {
    match &node.value {
        Value::Number(digits) => digits.parse().map_err(|_| wrong(path, node, "a whole number from 0")),
        Value::Null | Value::Bool | Value::Text(_) | Value::List(_) | Value::Object(_) => {
            Err(wrong(path, node, "a whole number from 0"))
        }
    }
}

/// A sum of money of at least 0.
pub(super) fn money(path: &str, node: &Node<'_>) -> Result<Money, Remark> {
    let Value::Number(digits) = &node.value else {
        return Err(wrong(path, node, "an amount, as a number,"));
    };
    exact(digits).map_err(|error| {
        let message = match error {
            AmountError::NotPositive => "an amount is never negative".to_owned(),
            other @ (AmountError::Missing
            | AmountError::Syntax
            | AmountError::Precision
            | AmountError::Overflow) => other.to_string(),
        };
        Remark { path: path.to_owned(), at: node.at, message }
    })
}

/// The money that a JSON number is, exactly: `1.5e2` is 150, and `1.500` has only one decimal that counts.
fn exact(number: &str) -> Result<Money, AmountError> {
    if number.len() > NUMBER_LENGTH {
        return Err(AmountError::Overflow);
    }
    let (number, negative) = number.strip_prefix('-').map_or((number, false), |number| (number, true));
    let (number, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = format!("{whole}{fraction}");
    let significant = digits.trim_end_matches('0');
    let zeros = digits.len() - significant.len();
    let significant = significant.trim_start_matches('0');
    if significant.is_empty() {
        return Ok(Money::ZERO);
    }
    if negative {
        return Err(AmountError::NotPositive);
    }
    // The value is the significant digits, followed by this many zeros.
    let length = |part: usize| i32::try_from(part).map_err(|_| AmountError::Overflow);
    let exponent: i32 = match exponent.parse() {
        Ok(exponent) => exponent,
        Err(_) if exponent.starts_with('-') => return Err(AmountError::Precision),
        Err(_) => return Err(AmountError::Overflow),
    };
    let shift = exponent.saturating_add(length(zeros)?).saturating_sub(length(fraction.len())?);
    let minor_zeros = usize::try_from(shift.saturating_add(SCALE.cast_signed()));
    let minor_zeros = minor_zeros.map_err(|_| AmountError::Precision)?;
    if significant.len().saturating_add(minor_zeros) > MONEY_DIGITS {
        return Err(AmountError::Overflow);
    }
    let minor = format!("{significant}{}", "0".repeat(minor_zeros));
    let minor = minor.parse().map_err(|_| AmountError::Overflow)?;
    Money::from_minor(minor).ok_or(AmountError::Overflow)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_are_exact_money() {
        use AmountError::{NotPositive, Overflow, Precision};
        let table = [
            ("0", Ok(0)),
            ("-0", Ok(0)),
            ("0.000", Ok(0)),
            ("0e999999999999", Ok(0)),
            ("410", Ok(41_000)),
            ("410.0", Ok(41_000)),
            ("10.5", Ok(1_050)),
            ("0.01", Ok(1)),
            ("1.500", Ok(150)),
            ("1.5e2", Ok(15_000)),
            ("15E-1", Ok(150)),
            ("100e-2", Ok(100)),
            ("999999999999.99", Ok(99_999_999_999_999)),
            ("0.001", Err(Precision)),
            ("1e-3", Err(Precision)),
            ("1e-99999999999", Err(Precision)),
            ("1000000000000", Err(Overflow)),
            ("1e400", Err(Overflow)),
            ("1e99999999999", Err(Overflow)),
            ("-1", Err(NotPositive)),
            ("-0.001", Err(NotPositive)),
        ];
        for (number, minor) in table {
            assert_eq!(exact(number).map(Money::minor), minor, "{number}");
        }
    }

    proptest! {
        #[test]
        fn every_sum_survives(minor in 0i64..=99_999_999_999_999) {
            let money = Money::from_minor(minor).unwrap();
            prop_assert_eq!(exact(&money.to_string()), Ok(money));
        }
    }
}
