//! The ledger: accounts and the only code that changes money.
//!
//! One writer applies the batches of the branch's log in order; any number of readers look at accounts
//! meanwhile, each locking one account at a time.
//!
//! Architecture invariants: pure (no async, no I/O, no clock, no randomness, no float). [`Ledger::apply`]
//! never fails, it returns outcomes; nothing that a client or another branch sends can panic it. It is called
//! from `store` and tests only. Equal batches give equal ledgers, replies and digests on every machine.

mod accounts;
mod audit;
mod canonical;
mod frozen;
mod holds;
mod incoming;
mod moment;
mod outgoing;
mod queries;
mod requests;
mod rules;
mod snapshot;
/// The atomics of [`moment`], which its test replaces.
mod sync {
    pub(super) use std::sync::atomic::{AtomicU64, Ordering};
}
mod tables;
#[cfg(test)]
pub(crate) mod tests;
mod writer;

use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use crate::model::planted::{Fault, planted};
use crate::model::{
    Account, AccountNumber, Applied, Batch, Digest, LedgerId, Operation, Proposal, Reply, RequestId,
    Sequence, Timestamp,
};
use accounts::Accounts;
use moment::Moment;
use writer::Writer;

pub use audit::Audit;
pub use frozen::Frozen;
pub use queries::PreparedCredit;
pub use snapshot::{SnapshotError, SnapshotReader};
pub use tables::Clearing;

/// The accounts of one branch, and everything that decides what happens to a command.
#[derive(Default)]
pub struct Ledger {
    accounts: Accounts,
    writer: Mutex<Writer>,
    /// Held by the one preview that may wait for the writer, so that many of them do not keep it from applying.
    previewing: Mutex<()>,
    /// What is published of the writer for readers.
    id: OnceLock<LedgerId>,
    moment: Moment,
}

/// What a batch did: one record for each command that got a sequence, one reply for each proposal.
#[derive(PartialEq, Eq, Debug)]
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

impl Ledger {
    /// An empty ledger without an identity; its first founding batch gives it one.
    #[must_use]
    pub fn new() -> Ledger {
        Ledger::default()
    }

    /// Applies the next batch of the log. One caller at a time, in log order.
    ///
    /// Readers see accounts change while this runs; [`Ledger::sequence`] rises when all of the batch is done, and
    /// [`Ledger::look`] says whether they have read one moment.
    pub fn apply(&self, batch: &Batch) -> AppliedBatch {
        let mut writer = self.writer.lock();
        self.moment.begin();
        // Who has dropped the view needs nothing any more.
        writer.frozen.retain(|preimages| Arc::strong_count(preimages) > 1);
        if let Some(id) = batch.founding {
            self.id.get_or_init(|| id);
        }
        let time = match planted(Fault::TimeGoesBack) {
            false => batch.time.after(writer.time),
            true => batch.time,
        };
        writer.time = Some(time);
        writer.scratch.clear();
        let mut applied = Vec::with_capacity(batch.command_count());
        let replies = batch
            .proposals
            .iter()
            .map(|proposal| writer.take(&self.accounts, proposal, time, &mut applied))
            .collect();
        writer.seal(self.id());
        self.moment.end(writer.sequence);
        AppliedBatch { applied, replies }
    }

    /// What the proposal would get if it were applied next, which for a request id that is in use is its first answer
    /// or a refusal; nothing changes.
    #[must_use]
    pub fn preview(&self, proposal: &Proposal) -> Reply {
        let _turn = self.previewing.lock();
        self.writer.lock().preview(&self.accounts, proposal)
    }

    /// How far the ledger has come.
    #[must_use]
    pub fn position(&self) -> Position {
        self.writer.lock().position(self.id())
    }

    /// The last command of the last batch that is applied completely. An account may already show a command
    /// of the batch that is being applied; [`Ledger::look`] tells.
    #[must_use]
    pub fn sequence(&self) -> Sequence {
        self.moment.sequence()
    }

    /// Reads, and says of which sequence everything read is; none when a batch was being applied meanwhile, so that it
    /// may be of several moments. Never waits for the writer, unless `read` does.
    pub fn look<T>(&self, read: impl FnOnce(&Ledger) -> T) -> (T, Option<Sequence>) {
        self.moment.look(|| read(self))
    }

    /// Reads accounts of one moment beside the writer, if nothing is applied meanwhile.
    pub fn glance<T>(&self, read: impl FnOnce(&Shown<'_>) -> T) -> (T, Option<Sequence>) {
        self.moment.look(|| read(&Shown(&self.accounts)))
    }

    /// Reads accounts of one moment while the writer waits: for readers that found no moment without.
    pub fn still<T>(&self, read: impl FnOnce(&Shown<'_>) -> T) -> (T, Sequence) {
        let writer = self.writer.lock();
        (read(&Shown(&self.accounts)), writer.sequence)
    }

    /// The ledger's identity; none before the founding batch.
    #[must_use]
    pub fn id(&self) -> Option<LedgerId> {
        self.id.get().copied()
    }

    /// An account as it stands, read under its lock.
    #[must_use]
    pub fn account(&self, number: AccountNumber) -> Option<Account> {
        self.accounts.account(number)
    }

    /// What the ledger knows of a request id.
    #[must_use]
    pub fn operation(&self, request: &RequestId) -> Operation {
        self.writer.lock().requests.operation(request)
    }

    /// Continues where a snapshot ended.
    fn begin_at(&self, writer: Writer) {
        let mut current = self.writer.lock();
        self.moment.begin();
        self.moment.end(writer.sequence);
        *current = writer;
    }
}

/// The accounts of a ledger, as [`Ledger::glance`] and [`Ledger::still`] show them.
pub struct Shown<'a>(&'a Accounts);

impl Shown<'_> {
    /// An account.
    #[must_use]
    pub fn account(&self, number: AccountNumber) -> Option<Account> {
        self.0.account(number)
    }

    /// Accounts by number: those after `after`, opened at `opened_by` or earlier, at most `limit`.
    #[must_use]
    pub fn accounts(&self, after: Option<AccountNumber>, opened_by: Timestamp, limit: usize) -> Vec<Account> {
        let mut page = Vec::new();
        self.0.visit(after, |number, entry| {
            if entry.opened <= opened_by {
                page.push(entry.account(number));
            }
            page.len() < limit
        });
        page
    }
}
