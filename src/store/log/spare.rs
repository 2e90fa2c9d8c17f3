//! The segment that waits to be used next, made ahead of time by a worker of its own, which also writes down what is
//! known of the other replicas.
//!
//! Invariant: at most one spare exists, complete and flushed before it is used. That it cannot be made for want of
//! space is how a full disk is noticed while the segment in use still has room for everything that is in flight.

use std::io;
use std::sync::Arc;

use futures::channel::oneshot;
use parking_lot::Mutex;

use super::writer::Shared;
use crate::store::directory;
use crate::store::disk::{self, Disk, DiskFile, Worker};
use crate::store::flushed::{self, AllFlushed};

/// What the spare is called until it is used.
pub(super) const NAME: &str = "log/spare.new";

/// Makes spares.
pub(super) struct Spare {
    disk: Arc<dyn Disk>,
    shared: Arc<Shared>,
    state: Arc<Mutex<State>>,
    worker: Box<dyn Worker>,
}

enum State {
    /// There is none.
    None,
    /// One is being made.
    Preparing,
    /// One is ready.
    Ready { file: Arc<dyn DiskFile>, size: u64 },
    /// There was no space for one of this size.
    Full { size: u64 },
}

impl Spare {
    pub(super) fn new(disk: Arc<dyn Disk>, shared: Arc<Shared>) -> io::Result<Spare> {
        let worker = disk.worker("bank-spare")?;
        Ok(Spare { disk, shared, state: Arc::new(Mutex::new(State::None)), worker })
    }

    /// Has a spare made if there is none.
    pub(super) fn prepare(&self, size: u64) {
        {
            let mut state = self.state.lock();
            match *state {
                State::Preparing | State::Ready { .. } => return,
                State::None | State::Full { .. } => *state = State::Preparing,
            }
        }
        let (disk, state, shared) =
            (Arc::clone(&self.disk), Arc::clone(&self.state), Arc::clone(&self.shared));
        self.worker.run(Box::new(move || {
            let made = match make(&*disk, size) {
                Ok(file) => State::Ready { file, size },
                Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                    tracing::warn!("no space for the next segment of the log: {error}");
                    State::Full { size }
                }
                Err(error) => {
                    // The disk is not what it was: nothing more is promised on it.
                    shared.fail(&error);
                    State::None
                }
            };
            *state.lock() = made;
        }));
    }

    /// Has written down what the replicas of the branch are known to have flushed. On a full disk it is not.
    pub(super) fn keep_flushed(&self, known: AllFlushed) {
        let (disk, shared) = (Arc::clone(&self.disk), Arc::clone(&self.shared));
        self.worker.run(Box::new(move || match flushed::save(&*disk, &known) {
            Err(error) if error.kind() != io::ErrorKind::StorageFull => shared.fail(&error),
            Err(_) | Ok(()) => {}
        }));
    }

    /// The spare, if it is ready and of this size.
    pub(super) fn take(&self, wanted: u64) -> Option<Arc<dyn DiskFile>> {
        let mut state = self.state.lock();
        let taken = match &*state {
            State::Ready { file, size } if *size == wanted => Arc::clone(file),
            State::None | State::Preparing | State::Ready { .. } | State::Full { .. } => return None,
        };
        *state = State::None;
        Some(taken)
    }

    /// Whether there is or may be space for the next segment. If not, tries again, for the next who asks.
    pub(super) fn has_room(&self) -> bool {
        let full = match *self.state.lock() {
            State::Full { size } => Some(size),
            State::None | State::Preparing | State::Ready { .. } => None,
        };
        full.is_none_or(|size| {
            self.prepare(size);
            false
        })
    }

    /// Returns when nothing is being made any more.
    pub(super) async fn settled(&self) {
        let (tell, told) = oneshot::channel();
        self.worker.run(Box::new(move || {
            let _ = tell.send(());
        }));
        let _ = told.await;
    }
}

fn make(disk: &dyn Disk, size: u64) -> io::Result<Arc<dyn DiskFile>> {
    directory::remove_if_there(disk, NAME)?;
    let file = disk.create(NAME)?;
    let filled = disk::fill(&*file, 0, size).and_then(|()| file.flush());
    if let Err(error) = filled {
        // Gives back the space that it took; the error that counts is the first one.
        let _ = directory::remove_if_there(disk, NAME);
        return Err(error);
    }
    Ok(file)
}
