//! What branches say to each other, and its bytes: one version byte, then postcard.
//!
//! Invariant: bytes of another branch never panic. Every message says whom it is for and who speaks, because
//! addresses are reused and a branch may have lost its ledger.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::step::{Answer, Ask, Verdict};
use crate::model::{AccountNumber, Amount, BranchName, Failure, Origin, Reason, Seen, Sequence};

/// Version of the messages, their first byte.
const VERSION: u8 = 1;
/// Most transfers in one message.
pub(super) const STEPS: usize = 1_024;

/// A message to another branch.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Message {
    /// The branch that is meant.
    pub(super) to: BranchName,
    pub(super) body: Body,
}

/// What is said.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Body {
    /// The payer speaks. Answered by [`Reply::Delivered`].
    Deliver {
        origin: Origin,
        /// Every transfer to the branch that is meant with a smaller number is closed.
        settled_below: Sequence,
        told: Vec<Told>,
    },
    /// The receiver asks what became of these transfers. Answered by [`Reply::Verdicts`].
    Inquire { origin: Origin, receiver: BranchName, numbers: Vec<Sequence> },
}

/// What the payer says about one transfer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Told {
    pub(super) number: Sequence,
    pub(super) ask: Ask,
    pub(super) source: AccountNumber,
    pub(super) destination: AccountNumber,
    pub(super) amount: Amount,
}

/// An answer, in the order of what was asked.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Reply {
    /// What the receiver's log made of it, and how far the receiver has come.
    Delivered { seen: Seen, answers: Vec<Answer> },
    /// What the payer has decided.
    Verdicts(Vec<Verdict>),
}

/// The bytes of a message or an answer.
pub(super) fn encode<T: Serialize>(message: &T) -> Vec<u8> {
    postcard::to_extend(message, vec![VERSION]).expect("a vector takes every byte that is written to it")
}

/// The message or answer of these bytes.
///
/// # Errors
/// `ARGUMENT_INVALID` for bytes of another version, or that are none.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Failure> {
    let wrong = |what: String| Failure::new(Reason::ArgumentInvalid, what);
    let (&version, body) =
        bytes.split_first().ok_or_else(|| wrong("a message between branches is empty".to_owned()))?;
    if version != VERSION {
        return Err(wrong(format!(
            "a message between branches is of version {version} and this server speaks version {VERSION}; run the same release at both"
        )));
    }
    match postcard::take_from_bytes(body) {
        Ok((message, [])) => Ok(message),
        Ok(_) | Err(_) => Err(wrong("a message between branches is damaged".to_owned())),
    }
}
