//! Commands: wishes to change a ledger, and the batch that orders them.

use serde::{Deserialize, Serialize};

use super::{
    AbortReason, AccountName, AccountNumber, Amount, Credit, HoldId, LedgerId, Money, NewHold, NewTransfer,
    Rate, RequestId, Seen, Sequence, StateAction, Timestamp,
};

/// A wish to change the ledger.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Command {
    /// Open an account.
    OpenAccount(Box<NewAccount>),
    /// Add money to an account.
    Deposit {
        /// The account that receives.
        account: AccountNumber,
        /// How much.
        amount: Amount,
    },
    /// Take money from an account, down to its overdraft limit.
    Withdraw {
        /// The account that pays.
        account: AccountNumber,
        /// How much.
        amount: Amount,
    },
    /// Add a percentage of the balance to an account.
    AddInterest {
        /// The account that earns.
        account: AccountNumber,
        /// The percentage.
        rate: Rate,
    },
    /// Move money between two accounts of the branch.
    Transfer {
        /// The account that pays.
        source: AccountNumber,
        /// The account that receives.
        destination: AccountNumber,
        /// How much.
        amount: Amount,
    },
    /// Change whether an account takes operations.
    SetAccountState {
        /// The account.
        account: AccountNumber,
        /// What is done to it.
        action: StateAction,
    },
    /// Reserve money of an account.
    PlaceHold(Box<NewHold>),
    /// Take money that is reserved; what is left of the hold is let go.
    CaptureHold {
        /// The hold.
        hold: HoldId,
        /// How much; all of it when absent.
        amount: Option<Amount>,
    },
    /// Let reserved money go.
    ReleaseHold {
        /// The hold.
        hold: HoldId,
    },
    /// Let money go whose hold is over. The branch's leader proposes it.
    ExpireHold {
        /// The hold.
        hold: HoldId,
    },
    /// Begin a transfer to another branch: hold the money.
    BeginTransfer(Box<NewTransfer>),
    /// Decide that a transfer takes place: the money leaves the account. The first decision counts.
    CommitTransfer {
        /// The transfer.
        number: Sequence,
    },
    /// Decide that a transfer does not take place: let the money go. The first decision counts.
    AbortTransfer {
        /// The transfer.
        number: Sequence,
        /// Why.
        reason: AbortReason,
    },
    /// The receiving branch has the decision: nobody needs to know of the transfer any more.
    CloseTransfer {
        /// The transfer.
        number: Sequence,
        /// What the receiving branch had reached then, so that the payer's session can cover it.
        seen: Option<Box<Seen>>,
    },
    /// Another branch asks to credit an account of this one. A receipt is the vote yes, a rejection is no.
    PrepareCredit(Box<Credit>),
    /// The paying branch has decided that a transfer takes place.
    CommitCredit(Box<Credit>),
    /// The paying branch has decided that a transfer does not take place.
    AbortCredit(Box<Credit>),
}

impl Command {
    /// The credit that it is about, when it comes from the paying branch of a transfer.
    #[must_use]
    pub fn credit(&self) -> Option<&Credit> {
        match self {
            Command::PrepareCredit(credit) | Command::CommitCredit(credit) | Command::AbortCredit(credit) => {
                Some(credit)
            }
            Command::OpenAccount(_)
            | Command::Deposit { .. }
            | Command::Withdraw { .. }
            | Command::AddInterest { .. }
            | Command::Transfer { .. }
            | Command::SetAccountState { .. }
            | Command::PlaceHold(_)
            | Command::CaptureHold { .. }
            | Command::ReleaseHold { .. }
            | Command::ExpireHold { .. }
            | Command::BeginTransfer(_)
            | Command::CommitTransfer { .. }
            | Command::AbortTransfer { .. }
            | Command::CloseTransfer { .. } => None,
        }
    }

    /// Whether a caller may ask for it. The rest are steps that the leader of a branch takes by itself, after it has
    /// asked the other branch or looked at the clock.
    #[must_use]
    pub fn is_of_callers(&self) -> bool {
        match self {
            Command::OpenAccount(_)
            | Command::Deposit { .. }
            | Command::Withdraw { .. }
            | Command::AddInterest { .. }
            | Command::Transfer { .. }
            | Command::SetAccountState { .. }
            | Command::PlaceHold(_)
            | Command::CaptureHold { .. }
            | Command::ReleaseHold { .. }
            | Command::BeginTransfer(_)
            | Command::AbortTransfer { reason: AbortReason::Operator, .. } => true,
            Command::ExpireHold { .. }
            | Command::CommitTransfer { .. }
            | Command::AbortTransfer { .. }
            | Command::CloseTransfer { .. }
            | Command::PrepareCredit(_)
            | Command::CommitCredit(_)
            | Command::AbortCredit(_) => false,
        }
    }

    /// Whether it is a step of a transfer between two branches, at either of them.
    #[must_use]
    pub fn is_between_branches(&self) -> bool {
        match self {
            Command::BeginTransfer(_)
            | Command::CommitTransfer { .. }
            | Command::AbortTransfer { .. }
            | Command::CloseTransfer { .. }
            | Command::PrepareCredit(_)
            | Command::CommitCredit(_)
            | Command::AbortCredit(_) => true,
            Command::OpenAccount(_)
            | Command::Deposit { .. }
            | Command::Withdraw { .. }
            | Command::AddInterest { .. }
            | Command::Transfer { .. }
            | Command::SetAccountState { .. }
            | Command::PlaceHold(_)
            | Command::CaptureHold { .. }
            | Command::ReleaseHold { .. }
            | Command::ExpireHold { .. } => false,
        }
    }
}

/// What a new account starts with.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub struct NewAccount {
    /// The requested number; the next unused one when absent.
    pub number: Option<AccountNumber>,
    /// What the account is called.
    pub name: Option<AccountName>,
    /// The first deposit.
    pub deposit: Option<Amount>,
    /// How far below zero the balance may go; at least zero.
    pub overdraft: Overdraft,
}

/// How far below zero a balance may go: money of at least zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "Money", into = "Money")]
pub struct Overdraft(Money);

// A log of many million commands is full of deposits, so the rare commands are boxed.
const _: () = assert!(size_of::<Command>() <= 40);

impl Overdraft {
    /// No overdraft.
    pub const NONE: Overdraft = Overdraft(Money::ZERO);

    /// The limit as money.
    #[must_use]
    pub fn money(self) -> Money {
        self.0
    }
}

impl Default for Overdraft {
    fn default() -> Overdraft {
        Overdraft::NONE
    }
}

impl TryFrom<Money> for Overdraft {
    type Error = super::AmountError;

    fn try_from(money: Money) -> Result<Overdraft, super::AmountError> {
        if money.is_negative() { Err(super::AmountError::NotPositive) } else { Ok(Overdraft(money)) }
    }
}

impl From<Overdraft> for Money {
    fn from(overdraft: Overdraft) -> Money {
        overdraft.0
    }
}

/// What one caller asks for under one request id.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Work {
    /// One command.
    One(Command),
    /// Several commands, each with its own outcome.
    Independent(Vec<Command>),
    /// Several commands that all take effect or none.
    Atomic(Vec<Command>),
}

impl Work {
    /// The commands in order.
    #[must_use]
    pub fn commands(&self) -> &[Command] {
        match self {
            Work::One(command) => std::slice::from_ref(command),
            Work::Independent(commands) | Work::Atomic(commands) => commands,
        }
    }
}

/// Work and its request id, before it is ordered.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Proposal {
    /// The caller's name for this work; without one a repetition is not recognised.
    pub request: Option<RequestId>,
    /// What to do.
    pub work: Work,
}

/// What one log entry holds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Batch {
    /// The leader's time, later than that of every batch before it.
    pub time: Timestamp,
    /// The identity of the ledger, in the batch that founds it. A ledger that has one keeps it.
    pub founding: Option<LedgerId>,
    /// The proposals in order.
    pub proposals: Vec<Proposal>,
}

impl Batch {
    /// How many commands the batch holds.
    #[must_use]
    pub fn command_count(&self) -> usize {
        self.proposals.iter().map(|proposal| proposal.work.commands().len()).sum()
    }
}
