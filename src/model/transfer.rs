//! Transfers between branches: the paying side, the receiving side, and what passes between them.

use serde::{Deserialize, Serialize};

use super::{
    AccountNumber, Amount, Balance, BranchName, Failure, LedgerId, Reason, Rejection, Sequence, Timestamp,
};

/// An account of a branch that is named.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct RemoteAccount {
    /// The branch.
    pub branch: BranchName,
    /// The account's number in that branch.
    pub account: AccountNumber,
}

impl std::fmt::Display for RemoteAccount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.branch, self.account)
    }
}

/// What a transfer to another branch begins with.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct NewTransfer {
    /// The account that pays.
    pub source: AccountNumber,
    /// The account that receives.
    pub destination: RemoteAccount,
    /// How much.
    pub amount: Amount,
}

/// Who pays: a branch in one life of its ledger. A branch that lost its ledger numbers its transfers from the
/// beginning again, so its name alone says too little.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Origin {
    /// The paying branch.
    pub branch: BranchName,
    /// The life of its ledger.
    pub ledger: LedgerId,
}

/// The receiving side of a transfer, as the paying branch tells it. Every message about it says all of it, so
/// that a message that comes early, late or twice can be judged by itself.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Credit {
    /// Who pays.
    pub origin: Origin,
    /// The transfer's number there.
    pub number: Sequence,
    /// Every transfer from there to this branch with a smaller number is closed.
    pub settled_below: Sequence,
    /// The account that pays.
    pub source: AccountNumber,
    /// The account that receives.
    pub destination: AccountNumber,
    /// How much.
    pub amount: Amount,
}

/// Why a transfer was aborted.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum AbortReason {
    /// The other branch refused the credit by a rule of its ledger.
    Refused(Box<Rejection>),
    /// The other branch did not answer in time.
    TimedOut,
    /// No way to the other branch is known.
    BranchUnknown,
    /// An operator decided so.
    Operator,
}

impl AbortReason {
    /// The reason in words; `other` is what the receiving branch is called in them.
    #[must_use]
    pub fn explain(&self, other: &str) -> Failure {
        match self {
            AbortReason::Refused(rejection) => {
                let refused = Failure::from(&**rejection);
                Failure { message: format!("{other} refused: {}", refused.message), ..refused }
            }
            AbortReason::TimedOut => Failure::new(
                Reason::Unreachable,
                format!(
                    "{other} gave no vote in time (it cannot be reached, or its servers have no --route back to this branch), so the transfer was aborted and no money moved; try again with a new request id"
                ),
            ),
            AbortReason::BranchUnknown => Failure::new(
                Reason::BranchUnknown,
                format!(
                    "no way to {other} is known, or another branch answers at its address, so the transfer was aborted and no money moved; check the name and the routes of the servers"
                ),
            ),
            AbortReason::Operator => Failure::new(
                Reason::TransferAborted,
                "an operator aborted the transfer and no money moved; ask why before you try again",
            ),
        }
    }
}

impl From<&AbortReason> for Failure {
    fn from(reason: &AbortReason) -> Failure {
        reason.explain("the other branch")
    }
}

/// The paying side of a transfer, as long as the receiving branch may need to know of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct OutgoingTransfer {
    /// Its number: the sequence of the command that began it.
    pub number: Sequence,
    /// The account that pays.
    pub source: AccountNumber,
    /// The account that receives.
    pub destination: RemoteAccount,
    /// How much.
    pub amount: Amount,
    /// When it began.
    pub begun: Timestamp,
    /// How far it is.
    pub state: OutgoingState,
}

/// How far an open transfer is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum OutgoingState {
    /// The money is held and nothing is decided.
    Pending,
    /// The money has left the account.
    Committed {
        /// When that was decided.
        at: Timestamp,
    },
    /// The money is no longer held.
    Aborted {
        /// When that was decided.
        at: Timestamp,
        /// Why.
        reason: AbortReason,
    },
}

impl OutgoingTransfer {
    /// The receiving side as it is told there.
    #[must_use]
    pub fn credit(&self, origin: Origin, settled_below: Sequence) -> Credit {
        Credit {
            origin,
            number: self.number,
            settled_below,
            source: self.source,
            destination: self.destination.account,
            amount: self.amount,
        }
    }
}

/// The receiving side of a transfer as the receiving branch remembers it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct IncomingCredit {
    /// The account that pays, in the paying branch.
    pub source: AccountNumber,
    /// The account that receives.
    pub destination: AccountNumber,
    /// How much.
    pub amount: Amount,
    /// How far it is.
    pub state: CreditState,
}

/// How far a credit is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum CreditState {
    /// The branch has said yes and obeys the paying branch from then on.
    Prepared {
        /// When.
        at: Timestamp,
    },
    /// The money is in the account.
    Committed,
    /// Nothing will come of it, even if it has never been asked for.
    Aborted,
}

impl CreditState {
    /// Whether it is final.
    #[must_use]
    pub fn is_final(self) -> bool {
        match self {
            CreditState::Prepared { .. } => false,
            CreditState::Committed | CreditState::Aborted => true,
        }
    }
}

/// The receipt of a command about the paying side of a transfer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TransferChange {
    /// The account that pays.
    pub source: AccountNumber,
    /// The account that receives.
    pub destination: RemoteAccount,
    /// How much.
    pub amount: Amount,
    /// The payer's money afterwards.
    pub balance: Balance,
}

/// The receipt of a command about the receiving side of a transfer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CreditChange {
    /// The account that pays, in the paying branch.
    pub source: RemoteAccount,
    /// The account that receives.
    pub destination: AccountNumber,
    /// How much.
    pub amount: Amount,
    /// The receiver's money afterwards; none for a credit that was aborted before it was prepared, whose account
    /// nobody has looked for.
    pub balance: Option<Balance>,
}
