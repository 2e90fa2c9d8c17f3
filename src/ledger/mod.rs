//! The ledger: accounts and the only code that changes money.
//!
//! Architecture invariant: pure. `apply` never fails, it returns outcomes; nothing that a client or
//! another branch sends can panic it. It is called from `store` and tests only.

use crate::model::{
    Account, AccountNumber, Applied, Batch, Digest, LedgerId, Operation, Outcomes, Reply, RequestId,
    Sequence, Timestamp, Work,
};

/// The accounts of one branch, and everything that decides what happens to a command.
pub struct Ledger {}

/// What a batch did: one record for each command that got a sequence, one reply for each proposal.
pub struct AppliedBatch {
    /// Records in order; proposals that were replayed or refused as a whole have none.
    pub applied: Vec<Applied>,
    /// Replies in the order of the proposals.
    pub replies: Vec<Reply>,
}

/// How far a ledger has come, read at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Position {
    /// The ledger's identity; none before the founding batch.
    pub ledger: Option<LedgerId>,
    /// The last applied command.
    pub sequence: Sequence,
    /// The time of the last batch.
    pub time: Option<Timestamp>,
    /// The running hash.
    pub digest: Digest,
}

#[allow(
    clippy::todo,
    unused_variables,
    missing_docs,
    clippy::must_use_candidate,
    clippy::new_without_default
)]
impl Ledger {
    pub fn new() -> Ledger {
        todo!()
    }
    /// Applies the next batch of the log. One caller at a time, in log order.
    pub fn apply(&self, batch: &Batch) -> AppliedBatch {
        todo!()
    }
    /// What the work would get if it were applied next, changing nothing (`validate_only`).
    pub fn preview(&self, work: &Work) -> Outcomes {
        todo!()
    }
    pub fn position(&self) -> Position {
        todo!()
    }
    /// The last applied command; cheaper than [`Ledger::position`].
    pub fn sequence(&self) -> Sequence {
        todo!()
    }
    /// The ledger's identity; none before the founding batch.
    pub fn id(&self) -> Option<LedgerId> {
        todo!()
    }
    pub fn account(&self, number: AccountNumber) -> Option<Account> {
        todo!()
    }
    /// Accounts by number, those after `after`, opened at `opened_by` or earlier, at most `limit`.
    pub fn accounts(&self, after: Option<AccountNumber>, opened_by: Timestamp, limit: usize) -> Vec<Account> {
        todo!()
    }
    pub fn operation(&self, request: &RequestId) -> Operation {
        todo!()
    }
}
