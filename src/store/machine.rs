//! The state machine: takes committed batches to the ledger and the journal.
//!
//! Invariant: the only caller of `Ledger::apply`, one batch at a time in log order; a sequence is
//! published only when ledger and journal both have it. openraft drives it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::{Stream, TryStreamExt};
use openraft::alias::{LogIdOf, SnapshotMetaOf, SnapshotOf, StoredMembershipOf};
use openraft::entry::RaftEntry;
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend, RaftSnapshotBuilder};
use tokio::sync::futures::Notified;
use tokio::sync::{Notify, broadcast, watch};

use super::snapshot::{Snapshot, SnapshotMeta, Snapshots};
use super::types::LogId;
use super::{
    Current, Digests, DirectoryError, Disk, Journal, LogBatch, Mark, Replies, Runtime, State, Tracer, Types,
};
use crate::ledger::{Frozen, Ledger, Position};
use crate::model::planted::{Fault, planted};
use crate::model::{Applied, Sequence};

/// How long to wait after a snapshot for which the disk had no space.
const UNTIL_SPACE: Duration = Duration::from_secs(1);

/// Most batches with transfers that a follower of them may be behind before it has to look at the ledger.
const TRANSFERS_BEHIND: usize = 1_024;

/// How far a replica has come: what stands in its ledger and in its journal.
pub(crate) struct Progress {
    applied: AtomicU64,
    changed: watch::Sender<Sequence>,
    /// Wakes in a fixed order, which `changed` does not.
    reached: Notify,
    digests: Digests,
    transfers: broadcast::Sender<Arc<[Applied]>>,
}

impl Progress {
    pub(crate) fn new() -> Progress {
        Progress {
            applied: AtomicU64::new(0),
            changed: watch::Sender::new(Sequence::ZERO),
            reached: Notify::new(),
            digests: Digests::default(),
            transfers: broadcast::Sender::new(TRANSFERS_BEHIND),
        }
    }

    /// The records about transfers between branches, those of a batch at once, after the batch is published. One
    /// who is too far behind misses some and is told so; what a snapshot of a peer replaces is not told.
    pub(crate) fn transfers(&self) -> broadcast::Receiver<Arc<[Applied]>> {
        self.transfers.subscribe()
    }

    /// The records of a batch that are about transfers between branches, if there are any.
    fn about_transfers(&self, applied: &[Applied]) -> Option<Arc<[Applied]>> {
        let concerns = |record: &&Applied| record.command.is_between_branches();
        let mut records = applied.iter().filter(concerns).peekable();
        records.peek()?;
        (self.transfers.receiver_count() > 0).then(|| records.cloned().collect())
    }

    /// The last applied sequence.
    pub(crate) fn applied(&self) -> Sequence {
        Sequence(self.applied.load(Ordering::Acquire))
    }

    /// The same, for those who wait for more.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Sequence> {
        self.changed.subscribe()
    }

    /// The digests of the latest batches.
    pub(crate) fn digests(&self) -> &Digests {
        &self.digests
    }

    /// `last` is the entry that was applied last.
    fn publish(&self, Position { sequence, digest, .. }: Position, last: Option<LogId>) {
        if let Some(log) = last {
            self.digests.note(Mark { log, sequence, digest });
        }
        // Release: who sees the number sees the state that it stands for.
        self.applied.store(sequence.0, Ordering::Release);
        self.changed.send_replace(sequence);
        self.reached.notify_waiters();
    }

    /// Completes when the next batch is published, the one that is published right after this call included.
    pub(crate) fn published(&self) -> Notified<'_> {
        self.reached.notified()
    }

    /// Returns when the sequence is applied.
    pub(crate) async fn reach(&self, sequence: Sequence) {
        loop {
            let reached = self.reached.notified();
            if self.applied() >= sequence {
                return;
            }
            reached.await;
        }
    }
}

/// The state machine of one replica.
pub(crate) struct Machine<R: Runtime> {
    current: Arc<Current>,
    progress: Arc<Progress>,
    snapshots: Snapshots,
    last: Option<LogIdOf<Types<R>>>,
    membership: StoredMembershipOf<Types<R>>,
    tracer: Option<Arc<Tracer>>,
}

impl<R: Runtime> Machine<R> {
    /// A machine in memory that has applied nothing.
    pub(super) fn in_memory() -> Machine<R> {
        Machine {
            current: Arc::new(Current::new(State::new())),
            progress: Arc::new(Progress::new()),
            snapshots: Snapshots::in_memory(),
            last: None,
            membership: StoredMembershipOf::<Types<R>>::default(),
            tracer: None,
        }
    }

    /// Records from now on what is applied.
    pub(crate) fn trace_with(&mut self, tracer: Arc<Tracer>) {
        self.tracer = Some(tracer);
    }

    /// The machine of a data directory, as its snapshot says; openraft then replays the log behind it.
    /// Blocks.
    ///
    /// # Errors
    /// When snapshot or journal are damaged or missing, or when the disk fails.
    pub(super) fn open(disk: &Arc<dyn Disk>) -> Result<Machine<R>, DirectoryError> {
        let mut machine = Machine::in_memory();
        let (snapshots, loaded) = Snapshots::open(Arc::clone(disk))?;
        machine.snapshots = snapshots;
        let mut since = Sequence(1);
        let mut ledger = Ledger::new();
        if let Some(loaded) = loaded {
            machine.last = loaded.meta.last_log_id;
            machine.membership = loaded.meta.last_membership;
            (ledger, since) = (loaded.ledger, loaded.journal_first);
        }
        let position = ledger.position();
        let journal = Journal::open(Arc::clone(disk), position.sequence, since)?;
        machine.current.set(State { ledger: Arc::new(ledger), journal: Arc::new(journal) });
        machine.progress.publish(position, machine.last);
        Ok(machine)
    }

    /// The last log entry that is in the state.
    pub(super) fn last(&self) -> Option<LogIdOf<Types<R>>> {
        self.last
    }

    /// What readers see.
    pub(crate) fn current(&self) -> Arc<Current> {
        Arc::clone(&self.current)
    }

    /// How far the replica has come.
    pub(crate) fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }

    /// Where snapshots from peers are taken in.
    pub(crate) fn snapshots(&self) -> Snapshots {
        self.snapshots.clone()
    }

    async fn apply_batch(&self, id: LogId, batch: &LogBatch) -> io::Result<Replies> {
        let state = self.current.get();
        state.journal.check()?;
        let applied = state.ledger.apply(batch.batch());
        let transfers = self.progress.about_transfers(&applied.applied);
        state.journal.append(applied.applied);
        if let Some(tracer) = &self.tracer {
            // Before it is published: who has waited for the sequence finds the events.
            tracer.applied(id.index, batch, &applied.replies);
        }
        self.progress.publish(state.ledger.position(), Some(id));
        if let Some(transfers) = transfers {
            // Nobody may follow them any more.
            let _ = self.progress.transfers.send(transfers);
        }
        state.journal.keep_up().await?;
        Ok(Replies(applied.replies))
    }

    fn meta(&self) -> SnapshotMetaOf<Types<R>> {
        SnapshotMetaOf::<Types<R>> { last_log_id: self.last, last_membership: self.membership.clone() }
    }
}

/// Makes a snapshot of the moment in which the builder was made.
pub(crate) struct Builder {
    meta: SnapshotMeta,
    of: BuilderOf,
}

enum BuilderOf {
    /// A memory replica: its state lives in the same memory as its log, so for forgetting entries a
    /// marker is enough, and accounts are never serialised.
    Marker,
    /// The view is taken when the file is written.
    File { frozen: Option<Box<Frozen>>, journal: Arc<Journal>, snapshots: Snapshots },
}

impl<R: Runtime> RaftSnapshotBuilder<Types<R>> for Builder {
    type SnapshotData = Snapshot;

    async fn build_snapshot(&mut self) -> Result<SnapshotOf<Types<R>, Snapshot>, io::Error> {
        let meta = self.meta.clone();
        let (frozen, journal, snapshots) = match &mut self.of {
            BuilderOf::Marker => {
                return Ok(SnapshotOf::<Types<R>, Snapshot> { meta, snapshot: Snapshot::Marker });
            }
            BuilderOf::File { frozen, journal, snapshots } => (frozen.take(), journal, snapshots),
        };
        let frozen = frozen.ok_or_else(|| io::Error::other("a snapshot is built once"))?;
        let written = async {
            // The log is purged up to this snapshot, so what the journal has up to it must stay.
            journal.flush().await?;
            snapshots.write(meta.clone(), journal.first(), frozen).await
        };
        match written.await {
            Ok(snapshot) => Ok(SnapshotOf::<Types<R>, Snapshot> { meta, snapshot }),
            // The log stays as long as it is. openraft takes an older snapshot for what it is, nothing new, and
            // does not ask for another one before this returns.
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                tracing::warn!("no space for a snapshot, trying again later: {error}");
                R::sleep(UNTIL_SPACE).await;
                let meta = snapshots.current().map(|(meta, _)| meta).unwrap_or_default();
                Ok(SnapshotOf::<Types<R>, Snapshot> { meta, snapshot: Snapshot::Marker })
            }
            Err(error) => Err(error),
        }
    }
}

impl<R: Runtime> RaftStateMachine<Types<R>> for Machine<R> {
    type SnapshotData = Snapshot;
    type SnapshotBuilder = Builder;

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
                EntryPayload::Blank => {
                    self.progress.publish(self.current.get().ledger.position(), Some(id));
                    Replies(Vec::new())
                }
                EntryPayload::Normal(batch) => self.apply_batch(id, &batch).await?,
                EntryPayload::Membership(members) => {
                    self.membership = StoredMembershipOf::<Types<R>>::new(Some(id), members);
                    self.progress.publish(self.current.get().ledger.position(), Some(id));
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

    async fn get_snapshot_builder(&mut self) -> Builder {
        let of = if self.snapshots.are_kept() {
            let state = self.current.get();
            let frozen = Some(Box::new(state.ledger.freeze()));
            let journal = Arc::clone(&state.journal);
            BuilderOf::File { frozen, journal, snapshots: self.snapshots.clone() }
        } else {
            BuilderOf::Marker
        };
        let mut meta = self.meta();
        if planted(Fault::AppliedSavedApart)
            && let Some(last) = &mut meta.last_log_id
        {
            last.index = last.index.saturating_sub(1);
        }
        Builder { meta, of }
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMetaOf<Types<R>>,
        snapshot: Snapshot,
    ) -> Result<(), io::Error> {
        let complete = match snapshot {
            Snapshot::Received(_) => snapshot,
            // From a replica in the same process.
            Snapshot::Marker | Snapshot::Frozen(_) | Snapshot::File(_) => {
                let mut receiver = self.snapshots.receive(meta.clone()).await?;
                for frame in snapshot.frames()? {
                    receiver.frame(&frame?).await?;
                }
                receiver.finish().await?
            }
        };
        // What the journal has will be put aside; a crash right after the snapshot counts must find it there.
        match self.current.get().journal.flush().await {
            // What waits for space is among what the peers are asked for.
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {}
            flushed => flushed?,
        }
        let ledger = self.snapshots.install(meta.clone(), complete).await?;
        // From here on a restart finds the snapshot, and a journal that does not reach it begins behind it.
        let (position, state) = (ledger.position(), self.current.get());
        state.journal.restart_after(position.sequence).await?;
        if !planted(Fault::InstalledHalfWay) {
            self.current.set(State { ledger: Arc::new(ledger), journal: Arc::clone(&state.journal) });
        }
        self.last = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        self.progress.publish(position, self.last);
        Ok(())
    }

    /// A file, or a view of this moment that is encoded only if it is sent.
    async fn get_current_snapshot(&mut self) -> Result<Option<SnapshotOf<Types<R>, Snapshot>>, io::Error> {
        if self.snapshots.are_kept() {
            let current = self.snapshots.current();
            return Ok(current.map(|(meta, file)| SnapshotOf::<Types<R>, Snapshot> {
                meta,
                snapshot: Snapshot::File(file),
            }));
        }
        Ok(self.last.map(|_| SnapshotOf::<Types<R>, Snapshot> {
            meta: self.meta(),
            snapshot: Snapshot::Frozen(Box::new(self.current.get().ledger.freeze())),
        }))
    }
}
