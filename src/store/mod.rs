//! The store: log, vote, snapshot and journal of one replica, in memory or in a directory.
//!
//! Invariant: this is the only room that applies a batch, one after the other in log order, and what
//! it publishes as applied stands in the ledger and in the journal. `replication` drives it through
//! openraft; the rooms above only read [`State`].

mod digests;
mod directory;
mod disk;
#[cfg(test)]
pub(crate) mod faulty_disk;
mod flushed;
mod health;
mod journal;
mod log;
mod machine;
mod runtime;
mod snapshot;
mod tracer;
mod types;
mod verify;

pub(crate) use digests::{Digests, Mark};
pub(crate) use directory::Directory;
pub use directory::{DirectoryError, FORMAT_VERSION, Identity};
pub use disk::{Disk, DiskFile, Job, Lock, RealDisk, Worker};
pub(crate) use flushed::{AllFlushed, Flushed, KNOWN_REPLICAS};
pub(crate) use health::Health;
#[cfg(any(test, fuzzing))]
pub(crate) use journal::read_page;
pub use journal::{JOURNAL_RECORDS, Journal, JournalTrimmed};
#[cfg(any(test, fuzzing))]
pub(crate) use log::read_records;
pub(crate) use log::{LogStore, TRACED_KEPT};
pub(crate) use machine::{Machine, Progress};
pub use runtime::{Runtime, Tokio};
pub(crate) use snapshot::{Snapshot, SnapshotMeta, Snapshots};
pub use tracer::{TRACE_EVENTS, TraceSlice, Tracer};
pub(crate) use types::{
    Entry, FARTHEST_INDEX, FARTHEST_TERM, LogBatch, LogId, Members, Payload, Replies, Respond, Types, Vote,
};
pub use types::{Incarnation, Member};

pub use verify::{Report, verify};

use std::io;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::ledger::Ledger;
use health::Guarded;

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
    /// The ledger and the journal, as the snapshot says. openraft replays the log behind it.
    pub(crate) machine: Machine<R>,
    /// The directory, if there is one. Other files than those of the log may be kept in it.
    pub(crate) directory: Option<Arc<Directory>>,
    /// Which life of the replica's log this is.
    pub(crate) incarnation: Incarnation,
    /// Whether the disk works.
    pub(crate) health: Arc<Health>,
    /// What the replicas of the branch are known to have flushed.
    pub(crate) flushed: AllFlushed,
    /// Whether the log begins with this start, so that nobody can have heard of it.
    pub(crate) new: bool,
}

/// Opens the storage of a replica, which records traces or does not. One without a log begins its life as
/// `incarnation`. Blocks while it reads.
///
/// # Errors
/// In one line, why the directory cannot be used.
pub(crate) fn open<R: Runtime>(
    storage: &Storage,
    identity: Identity,
    incarnation: Incarnation,
    traced: bool,
) -> Result<Opened<R>, DirectoryError> {
    let health = Arc::<Health>::default();
    match storage {
        Storage::Memory => {
            let (log, machine) = (LogStore::memory(traced), Machine::in_memory());
            let flushed = AllFlushed::new();
            Ok(Opened { log, machine, directory: None, incarnation, health, flushed, new: true })
        }
        Storage::Directory(disk) => {
            let disk: Arc<dyn Disk> = Arc::new(Guarded::new(Arc::clone(disk), Arc::clone(&health)));
            let directory = Directory::open(Arc::clone(&disk), identity, incarnation, log::create)?;
            let directory = Arc::new(directory);
            let machine = Machine::open(&disk)?;
            if let Some(ledger) = machine.current().get().ledger.id() {
                directory.remember_ledger(ledger)?;
            }
            let log = LogStore::open(Arc::clone(&directory))?;
            if log.purged() > machine.last() {
                // The snapshot that the log was purged for.
                return Err(DirectoryError::Missing { file: snapshot::FOLDER.to_owned() });
            }
            let (incarnation, new) = (directory.incarnation(), directory.is_new());
            let flushed = flushed::load(&*disk)?;
            Ok(Opened { log, machine, directory: Some(directory), incarnation, health, flushed, new })
        }
    }
}

/// Ends the use of the storage, after openraft has stopped: what was applied is on the disk, and when this returns
/// another server may open it.
///
/// # Errors
/// When the disk failed. The directory is free all the same.
pub(crate) async fn close<R: Runtime>(
    log: &LogStore<R>,
    current: &Current,
    snapshots: &Snapshots,
) -> io::Result<()> {
    let flushed = current.get().journal.flush().await;
    snapshots.settle().await;
    log.close().await.and(flushed)
}

/// Whether a request that was executed up to `sequence` would still be there if the power went now.
#[cfg(test)]
pub(crate) fn survives(
    disk: &faulty_disk::FaultyDisk,
    request: &crate::model::RequestId,
    sequence: crate::model::Sequence,
) -> bool {
    let left = disk.copy().crash_hard();
    if let Ok(Some(loaded)) = snapshot::check(&left)
        && loaded.ledger.sequence() >= sequence
    {
        return true;
    }
    log::look(&left).is_ok_and(|seen| seen.has(&left, request))
}

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
#[cfg(test)]
mod tests;
