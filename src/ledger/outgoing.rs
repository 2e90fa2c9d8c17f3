//! The transfers to other branches that this branch pays, until the other branch has the decision.
//!
//! Invariant: a decision is kept until the transfer is closed, however long that takes, and never changes.
//! `tables` changes them as receipts say.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use crate::model::{BranchName, OutgoingState, OutgoingTransfer, Sequence};

/// Most open transfers.
pub(super) const OPEN_TRANSFERS: u32 = 65_536;

/// The open transfers.
#[derive(Clone, Default)]
pub(super) struct Outgoing {
    open: BTreeMap<Sequence, OutgoingTransfer>,
    /// The numbers by receiving branch; no branch is without one.
    by_branch: BTreeMap<BranchName, BTreeSet<Sequence>>,
}

impl Outgoing {
    pub(super) fn get(&self, number: Sequence) -> Option<&OutgoingTransfer> {
        self.open.get(&number)
    }

    pub(super) fn open_count(&self) -> usize {
        self.open.len()
    }

    /// The smallest open number of transfers to a branch.
    pub(super) fn first_to(&self, branch: &BranchName) -> Option<Sequence> {
        self.by_branch.get(branch).and_then(|numbers| numbers.first().copied())
    }

    /// The branches that open transfers go to.
    pub(super) fn branches(&self) -> impl Iterator<Item = &BranchName> {
        self.by_branch.keys()
    }

    /// All open transfers by number.
    pub(super) fn all(&self) -> impl Iterator<Item = &OutgoingTransfer> {
        self.open.values()
    }

    /// The open transfers before a number, newest first.
    pub(super) fn before(&self, number: Sequence) -> impl Iterator<Item = &OutgoingTransfer> {
        self.open.range(..number).rev().map(|(_, transfer)| transfer)
    }

    /// The open transfers after a number, oldest first.
    pub(super) fn after(&self, number: Sequence) -> impl Iterator<Item = &OutgoingTransfer> {
        self.open.range((Bound::Excluded(number), Bound::Unbounded)).map(|(_, transfer)| transfer)
    }

    /// The open transfers to a branch after a number.
    pub(super) fn to(
        &self,
        branch: &BranchName,
        after: Sequence,
    ) -> impl Iterator<Item = &OutgoingTransfer> + use<'_> {
        let numbers = self.by_branch.get(branch).into_iter();
        let numbers = numbers.flat_map(move |all| all.range((Bound::Excluded(after), Bound::Unbounded)));
        numbers.filter_map(|number| self.open.get(number))
    }

    /// Adds a transfer; false when there is one with its number.
    pub(super) fn begin(&mut self, transfer: OutgoingTransfer) -> bool {
        let (number, branch) = (transfer.number, transfer.destination.branch.clone());
        self.by_branch.entry(branch).or_default().insert(number);
        self.open.insert(number, transfer).is_none()
    }

    /// Writes a decision down.
    pub(super) fn decide(&mut self, number: Sequence, decision: OutgoingState) {
        if let Some(transfer) = self.open.get_mut(&number) {
            transfer.state = decision;
        }
    }

    /// Forgets a transfer.
    pub(super) fn close(&mut self, number: Sequence) {
        let Some(closed) = self.open.remove(&number) else { return };
        let branch = &closed.destination.branch;
        if let Some(numbers) = self.by_branch.get_mut(branch) {
            numbers.remove(&number);
            if numbers.is_empty() {
                self.by_branch.remove(branch);
            }
        }
    }
}
