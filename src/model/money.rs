//! Money and amounts: exact decimals with two places that refuse instead of rounding.

use std::fmt;

use rust_decimal::{Decimal, RoundingStrategy};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// Decimal places of every balance and amount.
pub const SCALE: u32 = 2;

/// Longest accepted text of an amount, in bytes. The largest valid amount needs 15.
const TEXT_LIMIT: usize = 64;

/// 999,999,999,999.99 in minor units (hundredths).
const MAX_MINOR: i64 = 99_999_999_999_999;

/// A sum of money with exactly two decimals, at most 999,999,999,999.99 in size, possibly negative.
///
/// Arithmetic is checked: a result outside the range is `None`, never wrapped and never rounded. Only
/// [`Money::rounded`] rounds, and only interest uses it.
///
/// ```
/// use bank::model::Money;
/// let ten = Money::from_minor(1_000).unwrap();
/// assert_eq!(ten.to_string(), "10.00");
/// assert_eq!(Money::MAX.checked_add(Money::from_minor(1).unwrap()), None);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Money(Decimal);

impl Money {
    /// 0.00
    pub const ZERO: Money = Money(Decimal::from_parts(0, 0, 0, false, SCALE));
    /// 999,999,999,999.99
    pub const MAX: Money = Money(Decimal::from_parts(
        (MAX_MINOR & 0xFFFF_FFFF) as u32,
        (MAX_MINOR >> 32) as u32,
        0,
        false,
        SCALE,
    ));

    /// Money from minor units (hundredths); `None` beyond [`Money::MAX`] in size.
    #[must_use]
    pub fn from_minor(minor: i64) -> Option<Money> {
        (minor.unsigned_abs() <= MAX_MINOR.unsigned_abs()).then(|| Money(Decimal::new(minor, SCALE)))
    }

    /// The value in minor units (hundredths).
    #[must_use]
    pub fn minor(self) -> i64 {
        i64::try_from(self.0.mantissa()).expect("money is within ±99,999,999,999,999 minor units")
    }

    /// The value as a decimal of scale two.
    #[must_use]
    pub fn decimal(self) -> Decimal {
        self.0
    }

    /// Parses a decimal string of at least zero with at most two decimals: ASCII digits and one point
    /// between digits; no sign, exponent, blank or separator.
    ///
    /// # Errors
    /// The [`AmountError`] that says what is wrong with the text.
    pub fn parse(text: &str) -> Result<Money, AmountError> {
        if text.is_empty() {
            return Err(AmountError::Missing);
        }
        if let Some(rest) = text.strip_prefix('-') {
            // A well-formed negative number is understood, and refused for what it is.
            return Err(match Money::parse(rest) {
                Ok(_) | Err(AmountError::Overflow) => AmountError::NotPositive,
                Err(AmountError::Precision) => AmountError::Precision,
                Err(AmountError::Missing | AmountError::Syntax | AmountError::NotPositive) => {
                    AmountError::Syntax
                }
            });
        }
        let (whole, fraction) = match text.split_once('.') {
            Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
            Some(_) => return Err(AmountError::Syntax),
            None => (text, ""),
        };
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || text.len() > TEXT_LIMIT || !digits(whole) || !digits(fraction) {
            return Err(AmountError::Syntax);
        }
        if fraction.len() > SCALE as usize {
            return Err(AmountError::Precision);
        }
        let mut minor: i64 = 0;
        for digit in whole.bytes().chain(fraction.bytes()) {
            minor = minor
                .checked_mul(10)
                .and_then(|minor| minor.checked_add(i64::from(digit - b'0')))
                .ok_or(AmountError::Overflow)?;
        }
        for _ in fraction.len()..SCALE as usize {
            minor = minor.checked_mul(10).ok_or(AmountError::Overflow)?;
        }
        Money::from_minor(minor).ok_or(AmountError::Overflow)
    }

    /// Sum, or `None` outside the range of money.
    #[must_use]
    pub fn checked_add(self, other: Money) -> Option<Money> {
        Money::in_range(self.0.checked_add(other.0)?)
    }

    /// Difference, or `None` outside the range of money.
    #[must_use]
    pub fn checked_sub(self, other: Money) -> Option<Money> {
        Money::in_range(self.0.checked_sub(other.0)?)
    }

    /// A decimal rounded half to even to two places, or `None` outside the range of money.
    #[must_use]
    pub fn rounded(value: Decimal) -> Option<Money> {
        let mut rounded = value.round_dp_with_strategy(SCALE, RoundingStrategy::MidpointNearestEven);
        rounded.rescale(SCALE);
        Money::in_range(rounded)
    }

    /// A decimal that already is money: at most two places (trailing zeros do not count) and in range.
    ///
    /// # Errors
    /// [`AmountError::Precision`] or [`AmountError::Overflow`].
    pub fn exact(value: Decimal) -> Result<Money, AmountError> {
        let mut scaled = value.normalize();
        if scaled.scale() > SCALE {
            return Err(AmountError::Precision);
        }
        scaled.rescale(SCALE);
        Money::in_range(scaled).ok_or(AmountError::Overflow)
    }

    /// Whether the value is below zero.
    #[must_use]
    pub fn is_negative(self) -> bool {
        self < Money::ZERO
    }

    fn in_range(value: Decimal) -> Option<Money> {
        // An overflowing rescale leaves another scale behind: that value is far out of range.
        (value.scale() == SCALE && value.mantissa().unsigned_abs() <= u128::from(MAX_MINOR.unsigned_abs()))
            .then_some(Money(value))
    }
}

impl std::ops::Neg for Money {
    type Output = Money;

    fn neg(self) -> Money {
        Money(if self.0.is_zero() { self.0 } else { -self.0 })
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `pad` through Decimal keeps width and alignment of the caller's format.
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Encoded as minor units, because the default form of a decimal is larger and not self-consistent
/// (1.0 and 1.00 differ).
impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(self.minor())
    }
}

impl<'de> Deserialize<'de> for Money {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Money, D::Error> {
        Money::from_minor(i64::deserialize(deserializer)?)
            .ok_or_else(|| D::Error::custom("money out of range"))
    }
}

/// Money that is more than zero: what a customer moves.
///
/// ```
/// use bank::model::{Amount, AmountError};
/// assert_eq!(Amount::parse("12.5").unwrap().to_string(), "12.50");
/// assert_eq!(Amount::parse("1.234"), Err(AmountError::Precision));
/// assert_eq!(Amount::parse("0"), Err(AmountError::NotPositive));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "Money", into = "Money")]
pub struct Amount(Money);

impl Amount {
    /// Parses an amount: as [`Money::parse`], and more than zero.
    ///
    /// # Errors
    /// The [`AmountError`] that says what is wrong with the text.
    pub fn parse(text: &str) -> Result<Amount, AmountError> {
        Amount::try_from(Money::parse(text)?)
    }

    /// An amount from minor units (hundredths).
    ///
    /// # Errors
    /// [`AmountError::NotPositive`] or [`AmountError::Overflow`].
    pub fn from_minor(minor: i64) -> Result<Amount, AmountError> {
        if minor <= 0 {
            return Err(AmountError::NotPositive);
        }
        Money::from_minor(minor).map(Amount).ok_or(AmountError::Overflow)
    }

    /// The amount as money.
    #[must_use]
    pub fn money(self) -> Money {
        self.0
    }
}

impl TryFrom<Money> for Amount {
    type Error = AmountError;

    fn try_from(money: Money) -> Result<Amount, AmountError> {
        if money > Money::ZERO { Ok(Amount(money)) } else { Err(AmountError::NotPositive) }
    }
}

impl From<Amount> for Money {
    fn from(amount: Amount) -> Money {
        amount.0
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Why a text or number is not an amount.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AmountError {
    /// The field is empty.
    #[error("the amount is missing")]
    Missing,
    /// Not ASCII digits with at most one point between digits.
    #[error("an amount is written in digits with at most one point between them, like 12.34")]
    Syntax,
    /// More than two decimals.
    #[error("an amount has at most two decimals and is never rounded")]
    Precision,
    /// Zero or less.
    #[error("an amount must be more than zero")]
    NotPositive,
    /// More than 999,999,999,999.99.
    #[error("an amount is at most 999999999999.99")]
    Overflow,
}

/// A sum over many accounts. It has no limit of its own: 28 digits hold the largest [`Money`] of
/// 10^14 accounts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Total(Decimal);

impl Total {
    /// 0.00
    pub const ZERO: Total = Total(Money::ZERO.0);

    /// This total and one more sum.
    #[must_use]
    pub fn plus(self, money: Money) -> Total {
        Total(self.0.checked_add(money.0).expect("28 digits hold every sum of the bank"))
    }

    /// The sum of two totals.
    #[must_use]
    pub fn and(self, other: Total) -> Total {
        Total(self.0.checked_add(other.0).expect("28 digits hold every sum of the bank"))
    }

    /// The value in minor units (hundredths).
    #[must_use]
    pub fn minor(self) -> i128 {
        self.0.mantissa()
    }

    /// A total from minor units; `None` beyond 28 digits.
    #[must_use]
    pub fn from_minor(minor: i128) -> Option<Total> {
        Decimal::try_from_i128_with_scale(minor, SCALE).ok().map(Total)
    }
}

impl fmt::Display for Total {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn amounts_are_refused_with_the_reason_that_fits() {
        use AmountError::{Missing, NotPositive, Overflow, Precision, Syntax};
        let table = [
            ("", Missing),
            ("0", NotPositive),
            ("0.00", NotPositive),
            ("-1", NotPositive),
            ("-0", NotPositive),
            ("-1.234", Precision),
            ("-", Syntax),
            ("--1", Syntax),
            ("+1", Syntax),
            ("1e3", Syntax),
            ("1.234", Precision),
            ("1.000", Precision),
            (".5", Syntax),
            ("1.", Syntax),
            (".", Syntax),
            (" 1", Syntax),
            ("1 ", Syntax),
            ("1,000", Syntax),
            ("1.2.3", Syntax),
            ("0x10", Syntax),
            ("NaN", Syntax),
            ("inf", Syntax),
            ("١", Syntax),
            ("1\0", Syntax),
            ("999999999999999999999", Overflow),
            ("1000000000000", Overflow),
            ("1000000000000.00", Overflow),
        ];
        for (text, error) in table {
            assert_eq!(Amount::parse(text), Err(error), "{text:?}");
        }
        let long = "0".repeat(65);
        assert_eq!(Amount::parse(&long), Err(Syntax));
    }

    #[test]
    fn amounts_keep_two_decimals() {
        for (text, shown) in
            [("1", "1.00"), ("0.1", "0.10"), ("007.5", "7.50"), ("999999999999.99", "999999999999.99")]
        {
            assert_eq!(Amount::parse(text).unwrap().to_string(), shown);
        }
    }

    #[test]
    fn rounding_is_half_to_even() {
        for (minor_e1, minor) in [(25, 2), (35, 4), (-25, -2), (-35, -4), (26, 3), (0, 0)] {
            let value = Decimal::new(minor_e1, SCALE + 1);
            assert_eq!(Money::rounded(value).unwrap().minor(), minor, "{value}");
        }
        assert_eq!(Money::rounded(Decimal::MAX), None);
    }

    #[test]
    fn negation_of_zero_is_zero() {
        assert_eq!((-Money::ZERO).to_string(), "0.00");
        assert_eq!((-Money::MAX).minor(), -MAX_MINOR);
    }

    proptest! {
        #[test]
        fn any_text_is_refused_or_shown_again_as_the_same_money(text in "\\PC{0,20}|[0-9.]{0,18}") {
            if let Ok(money) = Money::parse(&text) {
                prop_assert_eq!(Money::parse(&money.to_string()), Ok(money));
                prop_assert_eq!(Money::from_minor(money.minor()), Some(money));
            }
        }

        #[test]
        fn sums_agree_with_minor_units(a in -MAX_MINOR..=MAX_MINOR, b in -MAX_MINOR..=MAX_MINOR) {
            let (x, y) = (Money::from_minor(a).unwrap(), Money::from_minor(b).unwrap());
            prop_assert_eq!(x.checked_add(y).map(Money::minor), Money::from_minor(a + b).map(Money::minor));
            prop_assert_eq!(x.checked_sub(y).map(Money::minor), Money::from_minor(a - b).map(Money::minor));
        }
    }
}
