//! What became of a command: receipt or rejection, postings, and the journal's record of it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    AccountNumber, AccountState, Balance, Command, CreditChange, CreditState, HoldChange, HoldEnd, HoldId,
    Money, Postings, RequestId, Sequence, Timestamp, TransferChange, postings,
};

/// Receipt or rejection. Both are final for the request id.
pub type Outcome = Result<Receipt, Rejection>;

/// The ledger took the command.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Receipt {
    /// An account was opened.
    Opened {
        /// Its number.
        account: AccountNumber,
        /// Its balance: the first deposit or zero.
        balance: Money,
    },
    /// Money was added.
    Deposited {
        /// The account that received.
        account: AccountNumber,
        /// Its balance afterwards.
        balance: Money,
    },
    /// Money was taken.
    Withdrawn {
        /// The account that paid.
        account: AccountNumber,
        /// Its balance afterwards.
        balance: Money,
    },
    /// Interest was added.
    InterestAdded {
        /// The account that earned.
        account: AccountNumber,
        /// The amount really added, after rounding; may be zero.
        interest: Money,
        /// The balance afterwards.
        balance: Money,
    },
    /// Money moved between two accounts of the branch.
    Transferred {
        /// The account that paid.
        source: AccountNumber,
        /// The account that received.
        destination: AccountNumber,
        /// The payer's balance afterwards.
        source_balance: Money,
        /// The receiver's balance afterwards.
        destination_balance: Money,
    },
    /// The account has the state that was asked for.
    StateSet(Box<StateChange>),
    /// Money was reserved.
    HoldPlaced(Box<HoldChange>),
    /// Reserved money was taken, and the rest let go.
    HoldCaptured(Box<HoldChange>),
    /// Reserved money was let go.
    HoldReleased(Box<HoldChange>),
    /// The time of a hold was over and its money was let go.
    HoldExpired(Box<HoldChange>),
    /// A transfer to another branch began: its money is held.
    TransferBegun(Box<TransferChange>),
    /// The money of a transfer left the account.
    TransferCommitted(Box<TransferChange>),
    /// The money of a transfer was let go.
    TransferAborted(Box<TransferChange>),
    /// A decided transfer was forgotten.
    TransferClosed(Box<TransferChange>),
    /// A credit was prepared: the vote yes.
    CreditPrepared(Box<CreditChange>),
    /// The money of a transfer reached the account.
    CreditCommitted(Box<CreditChange>),
    /// A credit will not take place.
    CreditAborted(Box<CreditChange>),
    /// The credit was so already; nothing changed.
    CreditKnown {
        /// How it stands.
        state: CreditState,
    },
}

// Outcomes are remembered by the million, so the rare receipts are boxed.
const _: () = assert!(size_of::<Outcome>() <= 64);

/// The receipt of a change of an account's state.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StateChange {
    /// The account.
    pub account: AccountNumber,
    /// Its state from then on.
    pub state: AccountState,
    /// Its money.
    pub balance: Balance,
}

/// The ledger refuses the command by a rule; nothing changed.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Rejection {
    /// No account has this number.
    AccountNotFound {
        /// The number asked for.
        account: AccountNumber,
    },
    /// The requested number is in use.
    AccountExists {
        /// The number asked for.
        account: AccountNumber,
    },
    /// The account has less available than the command takes.
    InsufficientFunds {
        /// The account that should pay.
        account: AccountNumber,
        /// What it has: balance less held plus overdraft limit.
        available: Money,
        /// What the command takes.
        needed: Money,
    },
    /// The balance would leave the range of money.
    AmountOverflow {
        /// The account whose balance it is.
        account: AccountNumber,
    },
    /// A transfer from an account to itself.
    SameAccount {
        /// The account.
        account: AccountNumber,
    },
    /// The account is frozen.
    AccountFrozen {
        /// The account.
        account: AccountNumber,
    },
    /// The account is closed.
    AccountClosed {
        /// The account.
        account: AccountNumber,
    },
    /// An account that has money or owes some cannot be closed.
    BalanceNotZero {
        /// The account.
        account: AccountNumber,
        /// Its balance.
        balance: Money,
    },
    /// An account with open holds, transfers or credits cannot be closed.
    AccountInUse {
        /// The account.
        account: AccountNumber,
    },
    /// No hold has this number, or it has ended long ago.
    HoldNotFound {
        /// The number.
        hold: HoldId,
    },
    /// The hold has ended, or its time is over.
    HoldFinal {
        /// The hold.
        hold: HoldId,
        /// How it ended.
        end: HoldEnd,
    },
    /// The hold reserves less than was to be taken of it.
    HoldTooSmall {
        /// The hold.
        hold: HoldId,
        /// What it reserves.
        reserved: Money,
        /// What was to be taken.
        needed: Money,
    },
    /// The time of the hold is not over.
    HoldNotOver {
        /// The hold.
        hold: HoldId,
    },
    /// No open transfer has this number.
    TransferNotFound {
        /// The number.
        number: Sequence,
    },
    /// The transfer has its decision, and that never changes.
    TransferFinal {
        /// Its number in the paying branch.
        number: Sequence,
        /// Whether it takes place.
        committed: bool,
    },
    /// A transfer without a decision cannot be closed.
    TransferPending {
        /// Its number.
        number: Sequence,
    },
    /// The message is about a transfer that its branch has called closed.
    TransferStale {
        /// Its number in the paying branch.
        number: Sequence,
        /// Every transfer with a smaller number is closed.
        settled_below: Sequence,
    },
    /// The message says something else about a transfer than one before it.
    TransferMismatch {
        /// Its number in the paying branch.
        number: Sequence,
    },
    /// The ledger has as many open holds, transfers or credits as it can take.
    TooManyOpen {
        /// How many.
        limit: u32,
    },
    /// Another command of the same atomic work was rejected.
    BatchAborted {
        /// Position of that command in the work, from 0.
        failed: u32,
    },
    /// The request id already belongs to other work.
    RequestReused,
    /// The request id is from a time the ledger has forgotten; it may have been executed.
    RequestExpired {
        /// Ids made up to this time are refused unless they are remembered.
        forgotten: Timestamp,
    },
    /// The request id claims to be made further in the future than clocks may differ.
    RequestFromFuture {
        /// The time the id claims.
        made: Timestamp,
        /// The ledger's time.
        now: Timestamp,
    },
}

/// The outcomes of one proposal, in the order of its commands.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Outcomes {
    /// Of [`super::Work::One`], or one refusal that concerns the proposal as a whole.
    One(Outcome),
    /// Of the other kinds of work.
    Many(Arc<[Outcome]>),
}

impl Outcomes {
    /// The outcomes in order.
    pub fn as_slice(&self) -> &[Outcome] {
        match self {
            Outcomes::One(outcome) => std::slice::from_ref(outcome),
            Outcomes::Many(outcomes) => outcomes,
        }
    }
}

/// The answer to a proposal: its outcomes and where they stand in the order of the branch.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Reply {
    /// Sequence of the first command; the ledger's sequence when nothing was applied.
    pub first: Sequence,
    /// Sequence that a later read must have reached to see the effect.
    pub last: Sequence,
    /// Time of the batch that applied it.
    pub time: Timestamp,
    /// Whether the proposal was executed before and this is the first answer again.
    pub replayed: bool,
    /// What became of each command.
    pub outcomes: Outcomes,
}

/// The record of one applied command, as the journal keeps it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Applied {
    /// Its place in the order of the branch.
    pub sequence: Sequence,
    /// The time of its batch.
    pub time: Timestamp,
    /// The caller's name for it; all commands of one work share it.
    pub request: Option<RequestId>,
    /// The wish.
    pub command: Command,
    /// What became of it.
    pub outcome: Outcome,
    /// For each line of [`Applied::customer_postings`], in order: the account's line before this one, zero
    /// when this is its first. Statements follow this chain.
    pub previous: [Sequence; 2],
    /// When this record begins a transfer or prepares a credit: the record before it that does so, zero when this is
    /// the first. Lists of transfers follow this chain.
    pub previous_transfer: Sequence,
}

impl Applied {
    /// Whether this record begins a transfer, inside the branch or to another one, or prepares a credit. Its
    /// [`Applied::previous_transfer`] then leads to the one before.
    #[must_use]
    pub fn begins_transfer(&self) -> bool {
        self.outcome.as_ref().is_ok_and(Receipt::begins_transfer)
    }

    /// The changes of balances, which sum to zero; none for a rejection.
    #[must_use]
    pub fn postings(&self) -> Postings<'_> {
        match &self.outcome {
            Ok(receipt) => postings(&self.command, receipt),
            Err(_) => Postings::NONE,
        }
    }

    /// The lines that this record adds to statements, with the account's balance after it and the sequence
    /// of the account's line before it. An opening is a line even when nothing is deposited.
    pub fn customer_postings(&self) -> impl Iterator<Item = CustomerPosting> + use<> {
        let line = |place: usize, account, amount, balance| {
            Some(CustomerPosting { account, amount, balance, previous: self.previous[place] })
        };
        let lines = match (&self.outcome, &self.command) {
            (Ok(Receipt::Opened { account, balance }), _) => [line(0, *account, *balance, *balance), None],
            (Ok(Receipt::Deposited { account, balance }), Command::Deposit { amount, .. }) => {
                [line(0, *account, amount.money(), *balance), None]
            }
            (Ok(Receipt::Withdrawn { account, balance }), Command::Withdraw { amount, .. }) => {
                [line(0, *account, -amount.money(), *balance), None]
            }
            (Ok(Receipt::InterestAdded { account, interest, balance }), _) if *interest != Money::ZERO => {
                [line(0, *account, *interest, *balance), None]
            }
            (
                Ok(Receipt::Transferred { source, destination, source_balance, destination_balance }),
                Command::Transfer { amount, .. },
            ) => [
                line(0, *source, -amount.money(), *source_balance),
                line(1, *destination, amount.money(), *destination_balance),
            ],
            (Ok(Receipt::HoldCaptured(change)), _) => {
                let captured = change.captured.map_or(Money::ZERO, Money::from);
                [line(0, change.account, -captured, change.balance.balance), None]
            }
            (Ok(Receipt::TransferCommitted(change)), _) => {
                [line(0, change.source, -change.amount.money(), change.balance.balance), None]
            }
            (Ok(Receipt::CreditCommitted(change)), _) => {
                let after = change.balance.map(|balance| balance.balance);
                [after.and_then(|after| line(0, change.destination, change.amount.money(), after)), None]
            }
            (Ok(_) | Err(_), _) => [None, None],
        };
        lines.into_iter().flatten()
    }
}

/// One line of an account's statement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CustomerPosting {
    /// The account.
    pub account: AccountNumber,
    /// The change.
    pub amount: Money,
    /// The account's balance afterwards.
    pub balance: Money,
    /// The account's line before this one; zero when this is its first.
    pub previous: Sequence,
}

impl Receipt {
    /// The balances after the command, by account.
    #[must_use]
    pub fn balances(&self) -> [Option<(AccountNumber, Money)>; 2] {
        match self {
            Receipt::Opened { account, balance }
            | Receipt::Deposited { account, balance }
            | Receipt::Withdrawn { account, balance }
            | Receipt::InterestAdded { account, balance, .. } => [Some((*account, *balance)), None],
            Receipt::Transferred { source, destination, source_balance, destination_balance } => {
                [Some((*source, *source_balance)), Some((*destination, *destination_balance))]
            }
            Receipt::StateSet(_)
            | Receipt::HoldPlaced(_)
            | Receipt::HoldCaptured(_)
            | Receipt::HoldReleased(_)
            | Receipt::HoldExpired(_)
            | Receipt::TransferBegun(_)
            | Receipt::TransferCommitted(_)
            | Receipt::TransferAborted(_)
            | Receipt::TransferClosed(_)
            | Receipt::CreditPrepared(_)
            | Receipt::CreditCommitted(_)
            | Receipt::CreditAborted(_)
            | Receipt::CreditKnown { .. } => {
                [self.money_after().map(|(account, money)| (account, money.balance)), None]
            }
        }
    }

    /// The account's balance, held and available money after a command that may change what is held; none for the
    /// others, whose receipts tell the balance alone.
    #[must_use]
    pub fn money_after(&self) -> Option<(AccountNumber, Balance)> {
        match self {
            Receipt::StateSet(change) => Some((change.account, change.balance)),
            Receipt::HoldPlaced(change)
            | Receipt::HoldCaptured(change)
            | Receipt::HoldReleased(change)
            | Receipt::HoldExpired(change) => Some((change.account, change.balance)),
            Receipt::TransferBegun(change)
            | Receipt::TransferCommitted(change)
            | Receipt::TransferAborted(change)
            | Receipt::TransferClosed(change) => Some((change.source, change.balance)),
            Receipt::CreditPrepared(change)
            | Receipt::CreditCommitted(change)
            | Receipt::CreditAborted(change) => change.balance.map(|balance| (change.destination, balance)),
            Receipt::Opened { .. }
            | Receipt::Deposited { .. }
            | Receipt::Withdrawn { .. }
            | Receipt::InterestAdded { .. }
            | Receipt::Transferred { .. }
            | Receipt::CreditKnown { .. } => None,
        }
    }

    /// Whether this is the receipt of a transfer's beginning in this branch: of one inside it, of one to another
    /// branch, or of a credit that was prepared.
    #[must_use]
    pub fn begins_transfer(&self) -> bool {
        match self {
            Receipt::Transferred { .. } | Receipt::TransferBegun(_) | Receipt::CreditPrepared(_) => true,
            Receipt::Opened { .. }
            | Receipt::Deposited { .. }
            | Receipt::Withdrawn { .. }
            | Receipt::InterestAdded { .. }
            | Receipt::StateSet(_)
            | Receipt::HoldPlaced(_)
            | Receipt::HoldCaptured(_)
            | Receipt::HoldReleased(_)
            | Receipt::HoldExpired(_)
            | Receipt::TransferCommitted(_)
            | Receipt::TransferAborted(_)
            | Receipt::TransferClosed(_)
            | Receipt::CreditCommitted(_)
            | Receipt::CreditAborted(_)
            | Receipt::CreditKnown { .. } => false,
        }
    }
}

/// What a ledger knows of a request id.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Operation {
    /// It was applied; this is its first answer.
    Known(Reply),
    /// It has not been applied so far.
    NeverSeen,
    /// It is from a time whose ids are forgotten: it may or may not have been applied.
    Forgotten,
}
