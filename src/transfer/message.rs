//! What branches say to each other, and its bytes: one version byte, then postcard.
//!
//! Invariant: bytes of another branch never panic. Every message says whom it is for and who speaks, because
//! addresses are reused and a branch may have lost its ledger.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::step::{Answer, Ask, Verdict};
use crate::model::{
    AccountNumber, Amount, BranchName, Credit, Failure, Origin, OutgoingTransfer, Reason, Seen, Sequence,
};

/// Version of the messages, their first byte.
const VERSION: u8 = 2;
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
    Deliver { origin: Origin, told: Vec<Told> },
    /// The receiver asks what became of these transfers. Answered by [`Reply::Verdicts`].
    Inquire { origin: Origin, receiver: BranchName, transfers: Vec<Terms> },
}

/// What the payer says about one transfer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Told {
    pub(super) ask: Ask,
    pub(super) terms: Terms,
}

/// Which transfer is meant, and what it moves.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Terms {
    pub(super) number: Sequence,
    pub(super) source: AccountNumber,
    pub(super) destination: AccountNumber,
    pub(super) amount: Amount,
}

/// An answer, in the order of what was asked.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Reply {
    /// What the receiver's log made of it, and how far the receiver has come.
    Delivered { seen: Seen, answers: Vec<Answer> },
    /// What the payer has decided, and its watermark for the branch that asks: every transfer to it with a smaller
    /// number is closed.
    Verdicts { settled_below: Sequence, verdicts: Vec<Verdict> },
}

impl Terms {
    /// What a message about an open transfer says.
    pub(super) fn of(transfer: &OutgoingTransfer) -> Terms {
        Terms {
            number: transfer.number,
            source: transfer.source,
            destination: transfer.destination.account,
            amount: transfer.amount,
        }
    }

    /// The credit that a payer asks for with these terms.
    pub(super) fn credit(self, origin: Origin, settled_below: Sequence) -> Credit {
        let Terms { number, source, destination, amount } = self;
        Credit { origin, number, settled_below, source, destination, amount }
    }
}

impl From<&Credit> for Terms {
    fn from(credit: &Credit) -> Terms {
        Terms {
            number: credit.number,
            source: credit.source,
            destination: credit.destination,
            amount: credit.amount,
        }
    }
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

/// Reads bytes as a message of another branch and as an answer to one.
#[cfg(any(test, fuzzing))]
pub(crate) fn read_anything(bytes: &[u8]) {
    if let Ok(message) = decode::<Message>(bytes) {
        assert!(decode::<Message>(&encode(&message)).is_ok(), "a message is not read again");
    }
    if let Ok(reply) = decode::<Reply>(bytes) {
        assert!(decode::<Reply>(&encode(&reply)).is_ok(), "a reply is not read again");
    }
}
