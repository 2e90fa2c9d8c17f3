//! The store: log, vote, snapshot marker and journal of one replica, in memory.
//!
//! Invariant: this is the only room that applies a batch, one after the other in log order, and what
//! it publishes as applied stands in the ledger and in the journal. `replication` drives it through
//! openraft; the rooms above only read [`State`].

mod directory;
mod disk;
#[cfg(test)]
pub(crate) mod faulty_disk;
mod journal;
mod log;
mod machine;
mod runtime;
mod types;

pub(crate) use directory::Directory;
pub use directory::{DirectoryError, FORMAT_VERSION, Identity};
pub use disk::{Disk, DiskFile, Job, Lock, RealDisk, Worker};
pub use journal::{JOURNAL_RECORDS, Journal, JournalTrimmed};
pub(crate) use log::LogStore;
pub(crate) use machine::{Machine, Marker, Progress};
pub use runtime::{Runtime, Tokio};
pub use types::{Incarnation, Member};
pub(crate) use types::{LogBatch, Replies, Respond, Types};

use std::sync::Arc;

use crate::ledger::Ledger;

/// Where a replica keeps what it must not forget.
#[derive(Clone)]
pub enum Storage {
    /// Nowhere: when the process ends it is gone.
    Memory,
    /// In files.
    Directory(Arc<dyn Disk>),
}

/// Storage that was opened.
pub(crate) struct Opened<R: Runtime> {
    /// The log.
    pub(crate) log: LogStore<R>,
    /// The directory, if there is one. Other files than those of the log may be kept in it.
    pub(crate) directory: Option<Arc<Directory>>,
    /// Which life of the replica's log this is.
    pub(crate) incarnation: Incarnation,
}

/// Opens the storage of a replica. One without a log begins its life as `incarnation`. Blocks while it reads.
///
/// # Errors
/// In one line, why the directory cannot be used.
pub(crate) fn open<R: Runtime>(
    storage: &Storage,
    identity: Identity,
    incarnation: Incarnation,
) -> Result<Opened<R>, DirectoryError> {
    match storage {
        Storage::Memory => Ok(Opened { log: LogStore::memory(), directory: None, incarnation }),
        Storage::Directory(disk) => {
            let directory = Directory::open(Arc::clone(disk), identity, incarnation, log::create)?;
            let directory = Arc::new(directory);
            let log = LogStore::open(Arc::clone(&directory))?;
            Ok(Opened { log, incarnation: directory.incarnation(), directory: Some(directory) })
        }
    }
}

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
