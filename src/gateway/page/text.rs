//! Texts of the pages: amounts with separators, ages, times. Amounts stay text; nothing here calculates with money.

use std::time::Duration;

use crate::model::Timestamp;

/// The typographic minus, as wide as a digit.
const MINUS: char = '\u{2212}';
/// Digits between separators.
const GROUP: usize = 3;

/// An amount for people: sign, whole part with separators, and the fraction with its point.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Sum {
    /// Whether it is below zero.
    pub(super) negative: bool,
    /// Sign and whole part, like `−1,234`.
    pub(super) whole: String,
    /// Point and decimals, like `.50`; empty when there are none.
    pub(super) fraction: String,
}

impl Sum {
    /// Splits the text of an amount. What is no amount stays as it is.
    pub(super) fn of(text: &str) -> Sum {
        let (negative, size) = text.strip_prefix('-').map_or((false, text), |size| (true, size));
        let (whole, fraction) = size.split_once('.').map_or((size, None), |(a, b)| (a, Some(b)));
        let sign = if negative { MINUS.to_string() } else { String::new() };
        Sum {
            negative,
            whole: sign + &grouped(whole),
            fraction: fraction.map(|digits| format!(".{digits}")).unwrap_or_default(),
        }
    }

    /// The whole amount in one text.
    pub(super) fn text(&self) -> String {
        format!("{}{}", self.whole, self.fraction)
    }
}

/// Digits with a separator before each group of three; other text unchanged.
pub(super) fn grouped(digits: &str) -> String {
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return digits.to_owned();
    }
    let mut text = String::with_capacity(digits.len() + digits.len() / GROUP);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(GROUP) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count with separators.
pub(super) fn count(number: u64) -> String {
    grouped(&number.to_string())
}

/// An amount in minor units, for drawing only; nothing when the text is no amount.
pub(super) fn minor(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.')?;
    (fraction.len() == 2).then(|| format!("{whole}{fraction}").parse().ok()).flatten()
}

/// An amount of minor units as text.
pub(super) fn from_minor(minor: i64) -> String {
    let size = minor.unsigned_abs();
    let sign = if minor < 0 { "-" } else { "" };
    format!("{sign}{}.{:02}", size / 100, size % 100)
}

/// A duration in its largest unit: `3 s`, `2 min`, `5 h`, `4 days`.
pub(super) fn age(age: Duration) -> String {
    match age.as_secs() {
        seconds @ 0..=99 => format!("{seconds} s"),
        seconds @ 100..=5_999 => format!("{} min", seconds / 60),
        seconds @ 6_000..=172_799 => format!("{} h", seconds / 3_600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

/// A time in UTC as machines read it, and as people do.
pub(super) fn moments(time: Timestamp) -> Option<(String, String)> {
    let time = jiff::Timestamp::from_microsecond(i64::try_from(time.micros()).ok()?).ok()?;
    Some((format!("{time:.6}"), time.strftime("%F %T").to_string()))
}

/// Text as part of an address.
pub(super) fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}

/// A word of the bank for people: `CREDIT_PREPARE` as `Credit prepare`.
pub(super) fn spoken(word: &str) -> String {
    let mut letters = word.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase()).into_iter();
    let rest = letters.map(|letter| if letter == '_' { ' ' } else { letter.to_ascii_lowercase() });
    first.chain(rest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_grouped_as_text() {
        for (text, shown) in [
            ("0.00", "0.00"),
            ("999.99", "999.99"),
            ("1000.00", "1,000.00"),
            ("-1234567.80", "\u{2212}1,234,567.80"),
            ("999999999999.99", "999,999,999,999.99"),
            ("no amount", "no amount"),
            ("", ""),
        ] {
            assert_eq!(Sum::of(text).text(), shown);
        }
        assert!(Sum::of("-0.01").negative);
        assert_eq!(count(1_000_000), "1,000,000");
    }

    #[test]
    fn minor_units_go_both_ways() {
        for text in ["0.00", "-0.05", "12.34", "-999999999999.99"] {
            assert_eq!(from_minor(minor(text).unwrap()), text);
        }
        assert_eq!((minor("1"), minor("1.5"), minor("x.00"), minor("")), (None, None, None, None));
    }

    #[test]
    fn ages_and_words_are_short() {
        let ages = [(0, "0 s"), (99, "99 s"), (100, "1 min"), (7_200, "2 h"), (200_000, "2 days")];
        for (seconds, text) in ages {
            assert_eq!(age(Duration::from_secs(seconds)), text);
        }
        assert_eq!(spoken("CREDIT_PREPARE"), "Credit prepare");
        assert_eq!(encoded("a b/ü&"), "a%20b%2F%C3%BC%26");
    }

    #[test]
    fn times_are_utc() {
        let (machine, people) = moments(Timestamp::from_micros(1_700_000_000_123_456)).unwrap();
        assert_eq!(
            (machine.as_str(), people.as_str()),
            ("2023-11-14T22:13:20.123456Z", "2023-11-14 22:13:20")
        );
        assert_eq!(moments(Timestamp::MAX), None);
    }
}
