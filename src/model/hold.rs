//! Holds: money of an account that is reserved and not yet taken.

use std::num::NonZeroU64;

use serde::{Deserialize, Serialize};

use super::{AccountNumber, Amount, Balance, HoldId, Timestamp};

/// What a new hold reserves.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct NewHold {
    /// The account whose money is reserved.
    pub account: AccountNumber,
    /// How much.
    pub amount: Amount,
    /// After how many microseconds it ends by itself, by the time of the log; never when absent. It is no time, so
    /// that a call that is made again under its request id says the same again.
    pub lasts: Option<NonZeroU64>,
}

impl NewHold {
    /// When it ends by itself if it is placed at `now`.
    #[must_use]
    pub fn expires(&self, now: Timestamp) -> Option<Timestamp> {
        self.lasts.map(|lasts| Timestamp::from_micros(now.micros().saturating_add(lasts.get())))
    }
}

/// An open hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Hold {
    /// Its name: the sequence of the command that placed it.
    pub id: HoldId,
    /// The account whose money is reserved.
    pub account: AccountNumber,
    /// How much.
    pub amount: Amount,
    /// When it was placed.
    pub placed: Timestamp,
    /// When it ends by itself, by the time of the log; never when absent.
    pub expires: Option<Timestamp>,
}

impl Hold {
    /// Whether its time is over at `now`.
    #[must_use]
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

/// How a hold ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum HoldEnd {
    /// All or part of it was taken.
    Captured,
    /// It was let go.
    Released,
    /// Its time was over.
    Expired,
}

impl HoldEnd {
    /// The name of the state, as every face shows it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            HoldEnd::Captured => "CAPTURED",
            HoldEnd::Released => "RELEASED",
            HoldEnd::Expired => "EXPIRED",
        }
    }
}

/// What a ledger knows of a hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HoldStatus {
    /// It reserves money.
    Open(Hold),
    /// It has ended. The journal has the rest, from the record of its id on.
    Ended(HoldEnd),
}

/// The receipt of a command about a hold.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HoldChange {
    /// The account whose money is or was reserved.
    pub account: AccountNumber,
    /// How much the hold reserves or reserved.
    pub amount: Amount,
    /// What was taken of it; none except by a capture.
    pub captured: Option<Amount>,
    /// When it ends by itself, by the time of the log.
    pub expires: Option<Timestamp>,
    /// The account's money afterwards.
    pub balance: Balance,
}
