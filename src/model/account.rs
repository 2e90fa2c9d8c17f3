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

/// A change of an account's state, by what it is called. Each names the states that it may come from; from the state that
/// it leads to it changes nothing and is taken, so that it may be repeated.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum StateAction {
    /// Open, from whichever state: for callers that name the new state only.
    Open,
    /// An open account becomes frozen.
    Freeze,
    /// An open or frozen account becomes closed.
    Close,
    /// A frozen account becomes open.
    Unfreeze,
    /// A closed account becomes open.
    Reopen,
}

impl StateAction {
    /// The state afterwards.
    #[must_use]
    pub fn state(self) -> AccountState {
        match self {
            StateAction::Open | StateAction::Unfreeze | StateAction::Reopen => AccountState::Open,
            StateAction::Freeze => AccountState::Frozen,
            StateAction::Close => AccountState::Closed,
        }
    }

    /// Whether it may be done to an account in this state.
    #[must_use]
    pub fn may_leave(self, from: AccountState) -> bool {
        match self {
            StateAction::Open | StateAction::Close => true,
            StateAction::Freeze | StateAction::Unfreeze => from != AccountState::Closed,
            StateAction::Reopen => from != AccountState::Frozen,
        }
    }

    /// The action that leads to `state`, and from `from` only when that is given; none when no action does.
    #[must_use]
    pub fn to(state: AccountState, from: Option<AccountState>) -> Option<StateAction> {
        match (state, from) {
            (AccountState::Open, None) => Some(StateAction::Open),
            (AccountState::Open, Some(AccountState::Frozen)) => Some(StateAction::Unfreeze),
            (AccountState::Open, Some(AccountState::Closed)) => Some(StateAction::Reopen),
            (AccountState::Frozen, None | Some(AccountState::Open)) => Some(StateAction::Freeze),
            (AccountState::Closed, None) => Some(StateAction::Close),
            (_, Some(_)) => None,
        }
    }
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
