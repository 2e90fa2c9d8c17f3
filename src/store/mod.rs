//! The store: log, vote, snapshot marker and journal of one replica, in memory.
//!
//! Invariant: this is the only room that applies a batch, one after the other in log order, and what
//! it publishes as applied stands in the ledger and in the journal. `replication` drives it through
//! openraft; the rooms above only read [`State`].

mod damage;
mod disk;
#[cfg(test)]
pub(crate) mod faulty_disk;
mod journal;
mod log;
mod machine;
mod runtime;
mod snapshot;
mod types;

pub use damage::Damage;
pub use disk::{Disk, DiskFile, Job, Lock, RealDisk, Worker};
pub use journal::{JOURNAL_RECORDS, Journal, JournalTrimmed};
pub(crate) use log::MemoryLog;
pub(crate) use machine::{Machine, Progress};
pub use runtime::{Runtime, Tokio};
pub(crate) use snapshot::{Frames, Received, Snapshot, SnapshotMeta, SnapshotReceiver, Snapshots};
pub use types::{Incarnation, Member};
pub(crate) use types::{LogBatch, Replies, Respond, Types};

use std::sync::Arc;

use parking_lot::RwLock;

use crate::ledger::Ledger;

/// What readers of a branch see: the ledger and the journal of what it applied.
pub struct State {
    /// The accounts.
    pub ledger: Arc<Ledger>,
    /// The history.
    pub journal: Arc<Journal>,
}

impl State {
    /// The state before the first batch, in memory.
    pub(crate) fn new() -> State {
        State { ledger: Arc::default(), journal: Arc::new(Journal::new()) }
    }
}

/// The state that counts now. A snapshot from a peer replaces it as a whole: a reader has the one before
/// or the one after, and what it has stays as it is taken out.
pub(crate) struct Current(RwLock<Arc<State>>);

impl Current {
    fn new(state: State) -> Current {
        Current(RwLock::new(Arc::new(state)))
    }

    /// The state.
    pub(crate) fn get(&self) -> Arc<State> {
        Arc::clone(&self.0.read())
    }

    fn set(&self, state: State) {
        *self.0.write() = Arc::new(state);
    }
}

#[cfg(test)]
mod conformance;
