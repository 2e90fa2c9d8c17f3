//! The state machine: takes committed batches to the ledger and the journal.
//!
//! Invariant: the only caller of `Ledger::apply`, one batch at a time in log order; a sequence is
//! published only when ledger and journal both have it. openraft drives it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::{Stream, TryStreamExt};
use openraft::alias::{LogIdOf, SnapshotMetaOf, SnapshotOf, StoredMembershipOf};
use openraft::entry::RaftEntry;
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend, RaftSnapshotBuilder};
use tokio::sync::watch;

use super::{LogBatch, Replies, Runtime, State, Types};
use crate::model::Sequence;

/// How far a replica has come: what stands in its ledger and in its journal.
pub(crate) struct Progress {
    applied: AtomicU64,
    changed: watch::Sender<Sequence>,
}

impl Progress {
    pub(crate) fn new() -> Progress {
        Progress { applied: AtomicU64::new(0), changed: watch::Sender::new(Sequence::ZERO) }
    }

    /// The last applied sequence.
    pub(crate) fn applied(&self) -> Sequence {
        Sequence(self.applied.load(Ordering::Acquire))
    }

    /// The same, for those who wait for more.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Sequence> {
        self.changed.subscribe()
    }

    fn publish(&self, sequence: Sequence) {
        // Release: who sees the number sees the state that it stands for.
        self.applied.store(sequence.0, Ordering::Release);
        self.changed.send_replace(sequence);
    }
}

/// The state machine of one replica.
pub(crate) struct Machine<R: Runtime> {
    state: Arc<State>,
    progress: Arc<Progress>,
    last: Option<LogIdOf<Types<R>>>,
    membership: StoredMembershipOf<Types<R>>,
}

impl<R: Runtime> Machine<R> {
    /// A machine that has applied nothing.
    pub(crate) fn new(state: Arc<State>, progress: Arc<Progress>) -> Machine<R> {
        Machine { state, progress, last: None, membership: StoredMembershipOf::<Types<R>>::default() }
    }

    fn apply_batch(&self, batch: &LogBatch) -> Replies {
        let applied = self.state.ledger.apply(batch.batch());
        self.state.journal.append(applied.applied);
        self.progress.publish(self.state.ledger.sequence());
        Replies(applied.replies)
    }

    fn marker(&self) -> SnapshotOf<Types<R>, Marker> {
        SnapshotOf::<Types<R>, Marker> {
            meta: SnapshotMetaOf::<Types<R>> {
                last_log_id: self.last,
                last_membership: self.membership.clone(),
            },
            snapshot: Marker { sequence: self.progress.applied() },
        }
    }
}

/// What stands for a snapshot of a memory replica: the sequence it was taken at, without accounts.
///
/// openraft forgets log entries only up to a snapshot. The state of a memory replica lives in the same
/// memory as its log, so for forgetting entries the marker is enough, and accounts are never
/// serialised. It cannot give a peer the accounts: [`Machine::install_snapshot`] refuses it unless the
/// ledger already stands at its sequence.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Marker {
    sequence: Sequence,
}

/// Hands out a marker that was made when the builder was.
pub(crate) struct MarkerBuilder<R: Runtime>(SnapshotOf<Types<R>, Marker>);

impl<R: Runtime> RaftSnapshotBuilder<Types<R>> for MarkerBuilder<R> {
    type SnapshotData = Marker;

    async fn build_snapshot(&mut self) -> Result<SnapshotOf<Types<R>, Marker>, io::Error> {
        Ok(self.0.clone())
    }
}

impl<R: Runtime> RaftStateMachine<Types<R>> for Machine<R> {
    type SnapshotData = Marker;
    type SnapshotBuilder = MarkerBuilder<R>;

    async fn applied_state(
        &mut self,
    ) -> Result<(Option<LogIdOf<Types<R>>>, StoredMembershipOf<Types<R>>), io::Error> {
        Ok((self.last, self.membership.clone()))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<Types<R>>, io::Error>> + Unpin + OptionalSend,
    {
        while let Some((entry, responder)) = entries.try_next().await? {
            let id = entry.log_id();
            let replies = match entry.payload {
                EntryPayload::Blank => Replies(Vec::new()),
                EntryPayload::Normal(batch) => self.apply_batch(&batch),
                EntryPayload::Membership(members) => {
                    self.membership = StoredMembershipOf::<Types<R>>::new(Some(id), members);
                    Replies(Vec::new())
                }
            };
            self.last = Some(id);
            if let Some(responder) = responder {
                responder.send(replies);
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> MarkerBuilder<R> {
        MarkerBuilder(self.marker())
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMetaOf<Types<R>>,
        marker: Marker,
    ) -> Result<(), io::Error> {
        if marker.sequence != self.progress.applied() {
            return Err(io::Error::other("a memory replica's snapshot marker does not carry accounts"));
        }
        self.last = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<SnapshotOf<Types<R>, Marker>>, io::Error> {
        Ok(self.last.map(|_| self.marker()))
    }
}
