//! An account as of one moment: its money and what it may do.

use serde::{Deserialize, Serialize};

use super::{AccountName, AccountNumber, Money, Overdraft, Sequence, Timestamp};

/// Whether an account takes operations.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub enum AccountState {
    /// It does.
    #[default]
    Open,
    /// It does not for the time being. What was promised before still takes place.
    Frozen,
    /// It does not, and has no money.
    Closed,
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
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
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
        // Three sums of money are far from the edge of 64 bits.
        let free = self.balance.minor() - self.held.minor() + self.overdraft.money().minor();
        Money::from_minor(free).unwrap_or(if free < 0 { -Money::MAX } else { Money::MAX })
    }
}
