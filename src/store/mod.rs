//! The store: log, vote, snapshot marker and journal of one replica, in memory.
//!
//! Invariant: this is the only room that applies a batch, one after the other in log order, and what
//! it publishes as applied stands in the ledger and in the journal. `replication` drives it through
//! openraft; the rooms above only read [`State`].

mod disk;
#[cfg(test)]
pub(crate) mod faulty_disk;
mod journal;
mod log;
mod machine;
mod runtime;
mod types;

pub use disk::{Disk, DiskFile, Job, Lock, RealDisk, Worker};
pub use journal::{JOURNAL_RECORDS, Journal, JournalTrimmed};
pub(crate) use log::MemoryLog;
pub(crate) use machine::{Machine, Marker, Progress};
pub use runtime::{Runtime, Tokio};
pub use types::{Incarnation, Member};
pub(crate) use types::{LogBatch, Replies, Respond, Types};

use crate::ledger::Ledger;

/// What readers of a branch see: the ledger and the journal of what it applied.
pub struct State {
    /// The accounts.
    pub ledger: Ledger,
    /// The history.
    pub journal: Journal,
}

impl State {
    /// The state before the first batch.
    pub(crate) fn new() -> State {
        State { ledger: Ledger::new(), journal: Journal::new() }
    }
}

#[cfg(test)]
mod conformance;
