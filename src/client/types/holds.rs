//! Holds, and the states of accounts.

use super::{AccountState, HoldState, Named, Seen};
use crate::model::Timestamp;

/// An account was frozen, closed or opened again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StateSet {
    /// The account.
    pub account: String,
    /// Its state.
    pub state: AccountState,
    /// Its balance.
    pub balance: String,
    /// The write's name.
    pub named: Named,
    /// What the reply showed.
    pub seen: Seen,
}

/// Money reserved for somebody.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hold {
    /// Its name.
    pub hold: String,
    /// The account whose money it reserves.
    pub account: String,
    /// How much it reserves, or reserved.
    pub amount: String,
    /// Whether it still does.
    pub state: HoldState,
    /// When it was placed.
    pub place_time: Option<Timestamp>,
    /// When it ends by itself; none when it does not.
    pub expire_time: Option<Timestamp>,
    /// How much of it was taken; empty unless captured.
    pub captured: String,
}

/// A hold was placed, captured or released.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HoldChanged {
    /// The hold.
    pub hold: Hold,
    /// The account's balance afterwards.
    pub balance: String,
    /// Money reserved afterwards.
    pub held: String,
    /// What the account can pay afterwards.
    pub available: String,
    /// The write's name.
    pub named: Named,
    /// What the reply showed.
    pub seen: Seen,
}

/// One hold and what the reply showed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HoldShown {
    /// The hold.
    pub hold: Hold,
    /// What the reply showed.
    pub seen: Seen,
}

/// A page of the active holds of an account, oldest first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Holds {
    /// The holds.
    pub holds: Vec<Hold>,
    /// Where to go on; empty at the end.
    pub next_page_token: String,
    /// What the reply showed.
    pub seen: Seen,
}
