//! The holds of a ledger: the open ones, and how the latest others ended.
//!
//! Invariant: what the open ones of an account reserve is part of what the account holds back. `tables` changes
//! them as receipts say.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;

use crate::model::planted::limit;
use crate::model::{AccountNumber, Hold, HoldEnd, HoldId, HoldStatus, Sequence, Timestamp};

/// Most open holds.
pub(super) const OPEN_HOLDS: u32 = 65_536;
/// Most ended holds of which is remembered how they ended.
const ENDED_HOLDS: usize = 65_536;

/// Open and ended holds.
#[derive(Clone, Default)]
pub(super) struct Holds {
    open: BTreeMap<HoldId, Hold>,
    by_account: BTreeSet<(AccountNumber, HoldId)>,
    by_expiry: BTreeSet<(Timestamp, HoldId)>,
    ended: BTreeMap<HoldId, HoldEnd>,
    /// The ended ones in the order in which they ended.
    ended_order: VecDeque<HoldId>,
}

impl Holds {
    pub(super) fn status(&self, hold: HoldId) -> Option<HoldStatus> {
        let open = self.open.get(&hold).copied().map(HoldStatus::Open);
        open.or_else(|| self.ended.get(&hold).copied().map(HoldStatus::Ended))
    }

    pub(super) fn open_count(&self) -> usize {
        self.open.len()
    }

    /// The open holds of an account after `after`, by number.
    pub(super) fn of_account(
        &self,
        account: AccountNumber,
        after: Option<HoldId>,
    ) -> impl Iterator<Item = &Hold> {
        let from = (account, after.unwrap_or(HoldId(Sequence::ZERO)));
        let to = (account, HoldId(Sequence(u64::MAX)));
        let found = self.by_account.range((Bound::Excluded(from), Bound::Included(to)));
        found.filter_map(|(_, hold)| self.open.get(hold))
    }

    /// When the first open hold ends by itself.
    pub(super) fn next_expiry(&self) -> Option<Timestamp> {
        self.by_expiry.first().map(|(expires, _)| *expires)
    }

    /// The open holds whose time is over at `now`, the first to end first.
    pub(super) fn over(&self, now: Timestamp) -> impl Iterator<Item = HoldId> {
        self.by_expiry.iter().take_while(move |(expires, _)| *expires <= now).map(|(_, hold)| *hold)
    }

    /// Adds an open hold; false when there is one with its number.
    pub(super) fn place(&mut self, hold: Hold) -> bool {
        if self.open.insert(hold.id, hold).is_some() {
            return false;
        }
        self.by_account.insert((hold.account, hold.id));
        if let Some(expires) = hold.expires {
            self.by_expiry.insert((expires, hold.id));
        }
        true
    }

    /// Ends a hold.
    pub(super) fn end(&mut self, hold: HoldId, end: HoldEnd) {
        if let Some(ended) = self.open.remove(&hold) {
            self.by_account.remove(&(ended.account, hold));
            if let Some(expires) = ended.expires {
                self.by_expiry.remove(&(expires, hold));
            }
        }
        self.remember(hold, end);
    }

    /// Remembers how a hold ended, instead of the one that ended first when they are too many. False when it is
    /// remembered already.
    pub(super) fn remember(&mut self, hold: HoldId, end: HoldEnd) -> bool {
        if self.ended.insert(hold, end).is_some() {
            return false;
        }
        self.ended_order.push_back(hold);
        if self.ended_order.len() > limit(ENDED_HOLDS, 8)
            && let Some(oldest) = self.ended_order.pop_front()
        {
            self.ended.remove(&oldest);
        }
        true
    }

    /// All open holds by number.
    pub(super) fn all_open(&self) -> impl Iterator<Item = &Hold> {
        self.open.values()
    }

    /// The remembered ends in their order.
    pub(super) fn all_ended(&self) -> impl Iterator<Item = (HoldId, HoldEnd)> {
        self.ended_order.iter().filter_map(|hold| self.ended.get(hold).map(|end| (*hold, *end)))
    }
}
