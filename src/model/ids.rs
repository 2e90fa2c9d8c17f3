//! Identifiers: accounts, branches, ledgers, replicas, requests, sequences.

use std::fmt;
use std::num::NonZeroU64;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use uuid::Uuid;

use super::limits::{BRANCH_NAME_BYTES, NAME_CHARS, REQUEST_ID_BYTES};
use super::{Timestamp, text};

/// The number of an account in its branch: 1 to 999,999,999,999.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct AccountNumber(NonZeroU64);

impl AccountNumber {
    /// The first account.
    pub const FIRST: AccountNumber = AccountNumber(NonZeroU64::MIN);
    /// Twelve digits, so that a number is exact wherever it is shown.
    const MAX: u64 = 999_999_999_999;

    /// A number from 1 to 999,999,999,999.
    #[must_use]
    pub fn new(number: u64) -> Option<AccountNumber> {
        NonZeroU64::new(number).filter(|_| number <= AccountNumber::MAX).map(AccountNumber)
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0.get()
    }

    /// The number after this one; `None` after the last.
    #[must_use]
    pub fn next(self) -> Option<AccountNumber> {
        AccountNumber::new(self.get() + 1)
    }
}

impl TryFrom<u64> for AccountNumber {
    type Error = IdError;

    fn try_from(number: u64) -> Result<AccountNumber, IdError> {
        AccountNumber::new(number).ok_or(IdError::Account)
    }
}

impl From<AccountNumber> for u64 {
    fn from(number: AccountNumber) -> u64 {
        number.get()
    }
}

impl std::str::FromStr for AccountNumber {
    type Err = IdError;

    fn from_str(text: &str) -> Result<AccountNumber, IdError> {
        // `u64::from_str` would take a leading plus.
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(IdError::Account);
        }
        text.parse().ok().and_then(AccountNumber::new).ok_or(IdError::Account)
    }
}

impl fmt::Display for AccountNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The short name of a branch: 1 to 32 lower-case letters, digits and inner hyphens, starting with a
/// letter.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct BranchName(Box<str>);

impl BranchName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for BranchName {
    type Err = IdError;

    fn from_str(text: &str) -> Result<BranchName, IdError> {
        let starts = text.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
        let plain =
            text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        if starts && plain && !text.ends_with('-') && text.len() <= BRANCH_NAME_BYTES {
            Ok(BranchName(text.into()))
        } else {
            Err(IdError::Branch)
        }
    }
}

impl Serialize for BranchName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for BranchName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<BranchName, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl fmt::Display for BranchName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// An account as people write it: `17` in the branch served here, `delhi/17` in the branch delhi.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AccountRef {
    /// The branch, when one is named.
    pub branch: Option<BranchName>,
    /// The account's number in its branch.
    pub number: AccountNumber,
}

impl std::str::FromStr for AccountRef {
    type Err = IdError;

    fn from_str(text: &str) -> Result<AccountRef, IdError> {
        match text.split_once('/') {
            Some((branch, number)) => Ok(AccountRef {
                branch: Some(branch.parse().map_err(|_| IdError::Account)?),
                number: number.parse()?,
            }),
            None => Ok(AccountRef { branch: None, number: text.parse()? }),
        }
    }
}

impl fmt::Display for AccountRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.branch {
            Some(branch) => write!(f, "{branch}/{}", self.number),
            None => fmt::Display::fmt(&self.number, f),
        }
    }
}

/// What an account is called: 1 to 64 characters that a person can read, see `model/text.rs`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
pub struct AccountName(Box<str>);

impl AccountName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for AccountName {
    type Err = IdError;

    fn from_str(text: &str) -> Result<AccountName, IdError> {
        if text.chars().count() > NAME_CHARS {
            return Err(IdError::NameTooLong);
        }
        if text::is_readable(text) { Ok(AccountName(text.into())) } else { Err(IdError::Name) }
    }
}

impl fmt::Display for AccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Takes what any version has let into a log: a rule for new names must not make an old log unreadable.
impl<'de> Deserialize<'de> for AccountName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<AccountName, D::Error> {
        let name = String::deserialize(deserializer)?;
        if name.is_empty() || name.chars().count() > NAME_CHARS || name.chars().any(char::is_control) {
            return Err(D::Error::custom(IdError::Name));
        }
        Ok(AccountName(name.into()))
    }
}

/// The number of an applied command of a branch: 1, 2, 3, ...; 0 is the state before the first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Sequence(pub u64);

impl Sequence {
    /// Before the first command.
    pub const ZERO: Sequence = Sequence(0);

    /// The next sequence.
    #[must_use]
    pub fn next(self) -> Sequence {
        Sequence(self.0 + 1)
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Splits `mumbai:17` or `17`, which is of the branch `home`.
fn numbered(text: &str, home: &BranchName) -> Option<(BranchName, Sequence)> {
    let (branch, number) = match text.split_once(':') {
        Some((branch, number)) => (branch.parse().ok()?, number),
        None => (home.clone(), text),
    };
    // `u64::from_str` would take a leading plus.
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let number = number.parse().ok().filter(|number| digits && *number > 0)?;
    Some((branch, Sequence(number)))
}

/// The name of a transfer: the branch that pays and the sequence of the command that began it there, written
/// `mumbai:17`.
///
/// ```
/// use bank::model::TransferId;
/// let home = "mumbai".parse().unwrap();
/// let transfer = TransferId::parse("17", &home).unwrap();
/// assert_eq!(transfer.to_string(), "mumbai:17");
/// assert_eq!(TransferId::parse("mumbai:17", &home), Ok(transfer));
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct TransferId {
    /// The paying branch.
    pub branch: BranchName,
    /// The sequence of the command that began it.
    pub number: Sequence,
}

impl TransferId {
    /// Reads `mumbai:17`, or `17` for a transfer that the branch `home` pays.
    ///
    /// # Errors
    /// [`IdError::Transfer`] for anything else.
    pub fn parse(text: &str, home: &BranchName) -> Result<TransferId, IdError> {
        let (branch, number) = numbered(text, home).ok_or(IdError::Transfer)?;
        Ok(TransferId { branch, number })
    }
}

impl fmt::Display for TransferId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.branch, self.number)
    }
}

/// The name of a hold in its branch: the sequence of the command that placed it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct HoldId(pub Sequence);

impl HoldId {
    /// Reads `mumbai:17`, or `17` for a hold of the branch `home`, and says which branch it is of.
    ///
    /// # Errors
    /// [`IdError::Hold`] for anything else.
    pub fn parse(text: &str, home: &BranchName) -> Result<(BranchName, HoldId), IdError> {
        let (branch, number) = numbered(text, home).ok_or(IdError::Hold)?;
        Ok((branch, HoldId(number)))
    }
}

impl fmt::Display for HoldId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The identity of one life of a ledger. A new or restored ledger has another, so that a session of
/// the former life is recognised as such.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct LedgerId(pub [u8; 16]);

impl fmt::Display for LedgerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(Uuid::from_bytes_ref(&self.0), f)
    }
}

/// The number of a replica in its branch, from 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct ReplicaId(pub u64);

impl fmt::Display for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The name a client gives to one operation, so that a repetition is recognised: 1 to 64 printable
/// ASCII characters without blanks.
///
/// A UUID carries its 16 bytes, whatever case it was written in; a UUIDv7 also says when it was made,
/// which is what lets a ledger forget old ids safely.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum RequestId {
    /// A UUID in its hyphenated form.
    Uuid([u8; 16]),
    /// Any other text.
    #[serde(deserialize_with = "request_text")]
    Text(Box<str>),
}

fn request_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Box<str>, D::Error> {
    match String::deserialize(deserializer)?.parse().map_err(D::Error::custom)? {
        RequestId::Text(text) => Ok(text),
        RequestId::Uuid(_) => Err(D::Error::custom("a UUID encoded as text")),
    }
}

impl RequestId {
    /// When the id was made, if it is a UUIDv7 (RFC 9562 section 5.7: 48 bits of milliseconds).
    #[must_use]
    pub fn made_at(&self) -> Option<Timestamp> {
        match self {
            RequestId::Uuid(bytes) if bytes[6] >> 4 == 7 => {
                let millis = bytes[..6].iter().fold(0, |millis, byte| millis << 8 | u64::from(*byte));
                Some(Timestamp::from_micros(millis * 1_000))
            }
            RequestId::Uuid(_) | RequestId::Text(_) => None,
        }
    }
}

impl std::str::FromStr for RequestId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<RequestId, IdError> {
        if text.is_empty() || text.len() > REQUEST_ID_BYTES || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(IdError::Request);
        }
        const HYPHENATED: usize = 36;
        Ok(match Uuid::try_parse(text) {
            Ok(uuid) if text.len() == HYPHENATED => RequestId::Uuid(uuid.into_bytes()),
            Ok(_) | Err(_) => RequestId::Text(text.into()),
        })
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RequestId::Uuid(bytes) => fmt::Display::fmt(Uuid::from_bytes_ref(bytes).as_hyphenated(), f),
            RequestId::Text(text) => f.pad(text),
        }
    }
}

/// Why a text is not the identifier it should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum IdError {
    /// Not an account reference.
    #[error("an account is a number from 1 to 999999999999, or BRANCH/NUMBER")]
    Account,
    /// Not a branch name.
    #[error("a branch name is 1 to 32 lower-case letters, digits and inner hyphens, starting with a letter")]
    Branch,
    /// An account name with more than 64 characters.
    #[error("an account name has at most 64 characters")]
    NameTooLong,
    /// An account name with characters that nobody sees, or blank at an end.
    #[error(
        "an account name has visible characters only and no blank at either end; joiners stand between two of them"
    )]
    Name,
    /// Not a request id.
    #[error("a request id is 1 to 64 printable ASCII characters without blanks")]
    Request,
    /// Not the name of a transfer.
    #[error("a transfer is named by its paying branch and a number, like mumbai:17, or by the number alone")]
    Transfer,
    /// Not the name of a hold.
    #[error("a hold is named by a number, like 17, or by its branch and the number, like mumbai:17")]
    Hold,
    /// Not a reading of a logical clock.
    #[error("a logical clock is a whole number from 0 to 9007199254740991")]
    Clock,
    /// Not the name of a request in traces.
    #[error("the name of a request in traces is 1 to 64 printable ASCII characters without blanks")]
    Trace,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn account_references_are_numbers_with_an_optional_branch() {
        for text in ["1", "999999999999", "delhi/17", "a-1/2"] {
            assert_eq!(text.parse::<AccountRef>().unwrap().to_string(), text);
        }
        for text in
            ["", "0", "-1", "+1", "1.0", "1000000000000", "x", "/1", "delhi/", "Delhi/1", "a/b/1", " 1", "١"]
        {
            assert_eq!(text.parse::<AccountRef>(), Err(IdError::Account), "{text:?}");
        }
    }

    #[test]
    fn branch_names_are_short_and_plain() {
        for text in ["main", "mumbai-2", "b"] {
            assert_eq!(text.parse::<BranchName>().unwrap().as_str(), text);
        }
        for text in ["", "-a", "a-", "1a", "Main", "a b", "a/b", &"a".repeat(33)] {
            assert_eq!(text.parse::<BranchName>(), Err(IdError::Branch), "{text:?}");
        }
    }

    #[test]
    fn names_that_could_deceive_a_screen_are_refused() {
        for text in ["Ada", "Zoë 李", "=1+1", "<b>", &"x".repeat(64)] {
            assert_eq!(text.parse::<AccountName>().unwrap().as_str(), text);
        }
        for text in ["", " a", "a ", "a\tb", "\u{1b}[31m", "a\u{202e}b", "a\u{200b}", "\u{e0041}"] {
            assert_eq!(text.parse::<AccountName>(), Err(IdError::Name), "{text:?}");
        }
        assert_eq!("é".repeat(65).parse::<AccountName>(), Err(IdError::NameTooLong));
    }

    #[test]
    fn a_uuid_is_the_same_request_in_any_case_and_tells_its_time() {
        let id: RequestId = "019A9D3C-7B00-7ABC-8DEF-0123456789AB".parse().unwrap();
        assert_eq!(id, "019a9d3c-7b00-7abc-8def-0123456789ab".parse().unwrap());
        assert_eq!(id.to_string(), "019a9d3c-7b00-7abc-8def-0123456789ab");
        assert_eq!(id.made_at().map(Timestamp::micros), Some(0x019a_9d3c_7b00 * 1_000));
        let v4: RequestId = "9b2d1c1e-58c5-4c65-9c9c-6e9a3e6f0d55".parse().unwrap();
        assert_eq!(v4.made_at(), None);
        assert!(matches!("019a9d3c7b007abc8def0123456789ab".parse(), Ok(RequestId::Text(_))));
    }

    #[test]
    fn request_ids_are_printable() {
        for text in ["", "a b", "é", "a\n", &"x".repeat(65)] {
            assert_eq!(text.parse::<RequestId>(), Err(IdError::Request), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_accepted_is_shown_again(text in "\\PC{0,70}") {
            if let Ok(id) = text.parse::<RequestId>() {
                prop_assert_eq!(&id.to_string().parse::<RequestId>().unwrap(), &id);
            }
            if let Ok(reference) = text.parse::<AccountRef>() {
                prop_assert_eq!(&reference.to_string().parse::<AccountRef>().unwrap(), &reference);
            }
        }
    }
}
