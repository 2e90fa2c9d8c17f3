//! Interest rates: a percentage with at most four decimals.

use std::fmt;

use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::Money;

/// Ten-thousandths of one percent in one percent.
const PARTS_PER_PERCENT: u32 = 10_000;
/// 100 percent.
const MAX_PARTS: u32 = 100 * PARTS_PER_PERCENT;

/// An interest rate from 0 to 100 percent in steps of 0.0001 percent.
///
/// ```
/// use bank::model::{Money, Rate};
/// let rate = Rate::parse("2.5").unwrap();
/// let interest = rate.interest_on(Money::from_minor(10_000).unwrap());
/// assert_eq!(interest.unwrap().to_string(), "2.50");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Rate(u32);

impl Rate {
    /// Parses a percentage of more than 0 and at most 100 with up to four decimals.
    ///
    /// # Errors
    /// [`RateError`] for everything else.
    pub fn parse(text: &str) -> Result<Rate, RateError> {
        let well_formed = match text.split_once('.') {
            Some((whole, fraction)) => !whole.is_empty() && !fraction.is_empty(),
            None => !text.is_empty(),
        };
        let plain = text.len() <= 16 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        if !well_formed || !plain {
            return Err(RateError);
        }
        match Rate::from_percent(text.parse().map_err(|_| RateError)?)? {
            Rate(0) => Err(RateError),
            rate => Ok(rate),
        }
    }

    /// A rate from a percentage between 0 and 100, both included, with up to four decimals.
    ///
    /// # Errors
    /// [`RateError`] outside that range or with more decimals.
    pub fn from_percent(percent: Decimal) -> Result<Rate, RateError> {
        let parts = percent.checked_mul(Decimal::from(PARTS_PER_PERCENT)).ok_or(RateError)?;
        if !parts.fract().is_zero() {
            return Err(RateError);
        }
        u32::try_from(parts).ok().filter(|parts| *parts <= MAX_PARTS).map(Rate).ok_or(RateError)
    }

    /// A rate from ten-thousandths of a percent, more than 0 and at most 1,000,000.
    ///
    /// # Errors
    /// [`RateError`] outside that range.
    pub fn from_parts(parts: u32) -> Result<Rate, RateError> {
        if (1..=MAX_PARTS).contains(&parts) { Ok(Rate(parts)) } else { Err(RateError) }
    }

    /// The rate in ten-thousandths of a percent.
    #[must_use]
    pub fn parts(self) -> u32 {
        self.0
    }

    /// The interest on a balance, rounded half to even. A balance below zero earns nothing.
    /// `None` cannot happen for a rate of at most 100 percent, but is passed on rather than assumed.
    #[must_use]
    pub fn interest_on(self, balance: Money) -> Option<Money> {
        if balance.is_negative() {
            return Some(Money::ZERO);
        }
        let share = Decimal::new(i64::from(self.0), 6);
        Money::rounded(balance.decimal().checked_mul(share)?)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Decimal::new(i64::from(self.0), 4).normalize(), f)
    }
}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(self.0)
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Rate, D::Error> {
        let parts = u32::deserialize(deserializer)?;
        if parts <= MAX_PARTS { Ok(Rate(parts)) } else { Err(D::Error::custom("rate out of range")) }
    }
}

/// The text or number is not a rate.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("an interest rate is a percentage of more than 0 and at most 100 with up to four decimals, like 2.5")]
pub struct RateError;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_outside_the_range_are_refused() {
        for text in
            ["", "0", "0.0000", "-1", "+1", "100.0001", "101", "1.23456", "1e1", ".5", "5.", "NaN", "1%"]
        {
            assert_eq!(Rate::parse(text), Err(RateError), "{text:?}");
        }
        for (text, parts) in [("100", 1_000_000), ("0.0001", 1), ("2.5", 25_000), ("2.50000000", 25_000)] {
            assert_eq!(Rate::parse(text).map(Rate::parts), Ok(parts), "{text:?}");
        }
        assert_eq!(Rate::from_percent(Decimal::ZERO).map(Rate::parts), Ok(0));
    }

    #[test]
    fn interest_is_rounded_half_to_even_and_never_negative() {
        let interest = |minor, rate| {
            let balance = Money::from_minor(minor).unwrap();
            Rate::parse(rate).unwrap().interest_on(balance).unwrap().minor()
        };
        assert_eq!(interest(10_050, "5"), 502); // 5.025
        assert_eq!(interest(10_150, "5"), 508); // 5.075
        assert_eq!(interest(1, "50"), 0); // 0.005
        assert_eq!(interest(3, "50"), 2); // 0.015
        assert_eq!(interest(-10_000, "5"), 0);
        assert_eq!(interest(99_999_999_999_999, "100"), 99_999_999_999_999);
    }
}
