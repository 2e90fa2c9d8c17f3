//! What became of a command: receipt or rejection, postings, and the journal's record of it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{AccountName, AccountNumber, Command, Money, Overdraft, RequestId, Sequence, Timestamp};

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
}

/// The ledger refuses the command by a rule; nothing changed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
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
}

impl Applied {
    /// The changes of balances, which sum to zero; none for a rejection.
    #[must_use]
    pub fn postings(&self) -> Postings {
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
        match *self {
            Receipt::Opened { account, balance }
            | Receipt::Deposited { account, balance }
            | Receipt::Withdrawn { account, balance }
            | Receipt::InterestAdded { account, balance, .. } => [Some((account, balance)), None],
            Receipt::Transferred { source, destination, source_balance, destination_balance } => {
                [Some((source, source_balance)), Some((destination, destination_balance))]
            }
        }
    }
}

/// Where a posting is booked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Book {
    /// An account of a customer.
    Customer(AccountNumber),
    /// The bank's cash: what customers paid in comes from here, what they take goes here.
    Cash,
    /// The bank's interest expense.
    Interest,
}

/// One change of one account.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Posting {
    /// Which account.
    pub book: Book,
    /// The change; postings of one command sum to zero.
    pub amount: Money,
}

/// The postings of one command: none or a pair.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Postings([Option<Posting>; 2]);

impl Postings {
    /// No change of any balance.
    pub const NONE: Postings = Postings([None, None]);

    /// `amount` leaves one account and reaches the other. Nothing is posted for zero.
    #[must_use]
    pub fn move_money(from: Book, to: Book, amount: Money) -> Postings {
        if amount == Money::ZERO {
            return Postings::NONE;
        }
        Postings([Some(Posting { book: from, amount: -amount }), Some(Posting { book: to, amount })])
    }
}

impl IntoIterator for Postings {
    type Item = Posting;
    type IntoIter = std::iter::Flatten<std::array::IntoIter<Option<Posting>, 2>>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter().flatten()
    }
}

/// The postings that a command with this receipt makes. The ledger changes balances by these and by
/// nothing else.
#[must_use]
pub fn postings(command: &Command, receipt: &Receipt) -> Postings {
    use Book::{Cash, Customer, Interest};
    match (command, receipt) {
        (_, Receipt::Opened { account, balance }) => Postings::move_money(Cash, Customer(*account), *balance),
        (_, Receipt::InterestAdded { account, interest, .. }) => {
            Postings::move_money(Interest, Customer(*account), *interest)
        }
        (Command::Deposit { account, amount }, _) => {
            Postings::move_money(Cash, Customer(*account), amount.money())
        }
        (Command::Withdraw { account, amount }, _) => {
            Postings::move_money(Customer(*account), Cash, amount.money())
        }
        (Command::Transfer { source, destination, amount }, _) => {
            Postings::move_money(Customer(*source), Customer(*destination), amount.money())
        }
        (Command::OpenAccount(_) | Command::AddInterest { .. }, _) => {
            unreachable!("the ledger answers an opening with Opened and interest with InterestAdded")
        }
    }
}

/// Whether an account takes operations.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AccountState {
    /// It does.
    Open,
}

/// An account as of one moment: everything in one consistent read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Account {
    /// Its number.
    pub number: AccountNumber,
    /// What it is called.
    pub name: Option<AccountName>,
    /// Whether it takes operations.
    pub state: AccountState,
    /// When it was opened.
    pub opened: Timestamp,
    /// The money in it.
    pub balance: Balance,
    /// The newest line of its statement: its opening or a later posting. A state that shows this balance
    /// has reached it.
    pub newest_entry: Sequence,
}

/// What an account holds, read at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Balance {
    /// Posted money.
    pub balance: Money,
    /// Money reserved by holds and open transfers.
    pub held: Money,
    /// How far below zero the balance may go.
    pub overdraft: Overdraft,
}

impl Balance {
    /// What the account can pay: balance less held plus overdraft limit. At the very edge of the range
    /// of money this is the largest amount that can be named.
    #[must_use]
    pub fn available(&self) -> Money {
        let free = self.balance.checked_sub(self.held).unwrap_or(Money::ZERO);
        free.checked_add(self.overdraft.money()).unwrap_or(Money::MAX)
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
