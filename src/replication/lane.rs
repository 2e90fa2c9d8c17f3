//! Lanes: the doors through which calls enter a branch, one for each runtime.
//!
//! Invariant: a call is answered through its own lane, and the answers of one batch or read round reach
//! a lane as one message, so a runtime is woken once for all of them. Nothing here waits for Raft
//! when the answer is at hand.

use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use futures::future::Either;
use parking_lot::RwLock;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use super::batcher::Waiting;
use super::branch::Replica;
use super::forward::Slot;
use super::gate::WaitingRead;
use super::inbox::Refused;
use super::outlook::Leader;
use crate::ledger::Shown;
use crate::model::planted::{Fault, planted};
use crate::model::{
    Applied, BranchName, LamportClock, LedgerId, Proposal, ReplicaId, Reply, Seen, Sequence, Trace,
    TraceName, Unavailable,
};
use crate::store::{Runtime, State, Tokio, Types};

/// When a caller that was turned away should try again: a full queue is worked off in about this time.
pub(super) const RETRY_AFTER: Duration = Duration::from_millis(200);

/// How often a view is tried beside the writer before the writer waits for it.
const GLANCES: usize = 3;

/// How fresh a read must be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReadPoint {
    /// Everything acknowledged before the read (linearizable).
    Latest,
    /// At least what a session has seen.
    AtLeast(Seen),
    /// Whatever this replica has.
    Local,
}

/// What a waiting call gets.
pub(super) type Answer<T> = Result<T, Unavailable>;

/// Where the answer to a waiting call goes.
pub(super) enum ReturnTo<T> {
    /// Through its lane, then to the call.
    Call {
        /// The place of the lane.
        lane: usize,
        /// The call.
        call: oneshot::Sender<Answer<T>>,
    },
    /// To the replica that passed the call on.
    Peer(Slot<T>),
}

impl<T> ReturnTo<T> {
    /// Whether nobody waits for the answer any more.
    pub(super) fn abandoned(&self) -> bool {
        match self {
            ReturnTo::Call { call, .. } => call.is_closed(),
            ReturnTo::Peer(_) => false,
        }
    }
}

/// What one batch or read round tells one lane.
enum Message {
    Replies(Vec<(oneshot::Sender<Answer<Reply>>, Answer<Reply>)>),
    Reads(Vec<(oneshot::Sender<Answer<()>>, Answer<()>)>),
}

/// All lanes of a replica.
#[derive(Default)]
pub(super) struct Lanes {
    /// The channels have no bound of their own: a message answers calls that were let in by a bounded
    /// inbox, and each call is answered once.
    lanes: RwLock<Vec<mpsc::UnboundedSender<Message>>>,
}

impl Lanes {
    /// Opens a lane to the current runtime and returns its place.
    fn open<R: Runtime>(&self) -> usize {
        let (sender, receiver) = mpsc::unbounded_channel();
        R::spawn(hand_out(receiver));
        let mut lanes = self.lanes.write();
        lanes.push(sender);
        lanes.len() - 1
    }

    /// Answers proposals.
    pub(super) fn reply(&self, answers: impl Iterator<Item = (ReturnTo<Reply>, Answer<Reply>)>) {
        self.send(answers, Message::Replies);
    }

    /// Answers reads.
    pub(super) fn admit(&self, answers: impl Iterator<Item = (ReturnTo<()>, Answer<()>)>) {
        self.send(answers, Message::Reads);
    }

    fn send<T>(
        &self,
        answers: impl Iterator<Item = (ReturnTo<T>, Answer<T>)>,
        message: impl Fn(Vec<(oneshot::Sender<Answer<T>>, Answer<T>)>) -> Message,
    ) {
        let lanes = self.lanes.read();
        // There are as many lanes as threads: few, so that a table by place costs next to nothing.
        let mut by_lane: Vec<Vec<_>> = Vec::new();
        by_lane.resize_with(lanes.len(), Vec::new);
        let expected = answers.size_hint().0;
        for (to, answer) in answers {
            let (lane, call) = match to {
                ReturnTo::Call { lane, call } => (lane, call),
                ReturnTo::Peer(slot) => {
                    slot.fill(answer);
                    continue;
                }
            };
            let group = &mut by_lane[lane];
            if group.is_empty() {
                group.reserve(expected / lanes.len() + 1);
            }
            group.push((call, answer));
        }
        for (lane, answers) in lanes.iter().zip(by_lane) {
            if !answers.is_empty() {
                // A lane whose runtime is gone has nobody left who waits.
                let _ = lane.send(message(answers));
            }
        }
    }
}

/// The task of a lane: passes answers on to the calls of its runtime.
async fn hand_out(mut messages: mpsc::UnboundedReceiver<Message>) {
    // A call that no longer listens has met its deadline or lost its client; its answer is dropped.
    while let Some(message) = messages.recv().await {
        match message {
            Message::Replies(answers) => answers.into_iter().for_each(|(call, answer)| {
                let _ = call.send(answer);
            }),
            Message::Reads(answers) => answers.into_iter().for_each(|(call, answer)| {
                let _ = call.send(answer);
            }),
        }
    }
}

/// The door to a branch for the calls of one runtime. Cheap to clone.
pub struct Lane<R: Runtime = Tokio> {
    replica: Arc<Replica<R>>,
    place: usize,
}

impl<R: Runtime> Clone for Lane<R> {
    fn clone(&self) -> Lane<R> {
        Lane { replica: Arc::clone(&self.replica), place: self.place }
    }
}

impl<R: Runtime> Lane<R> {
    /// Opens a lane to the current runtime.
    pub(super) fn open(replica: Arc<Replica<R>>) -> Lane<R> {
        let place = replica.lanes.open::<R>();
        Lane { replica, place }
    }

    pub(super) fn shared(&self) -> &Arc<Replica<R>> {
        &self.replica
    }

    /// The branch.
    #[must_use]
    pub fn branch(&self) -> &BranchName {
        &self.replica.peers.me.branch
    }

    /// Which replica of the branch this is.
    #[must_use]
    pub fn replica(&self) -> ReplicaId {
        self.replica.peers.me.replica
    }

    /// The ledger's identity.
    ///
    /// # Errors
    /// [`Unavailable::Starting`] until this replica knows it, which is when it begins to serve.
    pub fn ledger(&self) -> Result<LedgerId, Unavailable> {
        self.replica.peers.ledger().ok_or(Unavailable::Starting)
    }

    /// The last applied sequence, for those who follow the journal.
    #[must_use]
    pub fn applied(&self) -> watch::Receiver<Sequence> {
        self.replica.progress.subscribe()
    }

    /// The records about transfers between branches, as they are applied, those of a batch at once. One who is too
    /// far behind misses some and is told so; what a snapshot of a peer replaces is not told.
    #[must_use]
    pub fn transfers(&self) -> broadcast::Receiver<Arc<[Applied]>> {
        self.replica.progress.transfers()
    }

    /// Whether this replica believes that it leads.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.replica.outlook.leader() == Leader::Here
    }

    /// Whether this replica has stopped for good.
    #[must_use]
    pub fn has_stopped(&self) -> bool {
        self.replica.outlook.leader() == Leader::Stopped
    }

    /// Whatever this replica has applied, perhaps in the middle of a batch: for those who look again.
    #[must_use]
    pub fn state(&self) -> Arc<State> {
        self.replica.current.get()
    }

    /// Whether this replica records traces.
    #[must_use]
    pub fn traces(&self) -> bool {
        self.replica.tracer.is_some()
    }

    /// Records that a call arrived which its caller sent at `sent` of its own clock; of a write also that it will
    /// be sent to the other replicas. A call that comes again under the same name is the same event. None when
    /// this replica does not record traces.
    #[must_use]
    pub fn trace(&self, name: TraceName, sent: LamportClock, is_write: bool) -> Option<Box<Trace>> {
        let tracer = self.replica.tracer.as_ref()?;
        let others = |metrics: &openraft::RaftMetrics<Types<R>>| {
            let ids = metrics.membership_config.nodes().map(|(id, _)| ReplicaId(*id));
            ids.filter(|id| *id != self.replica()).collect()
        };
        let to = if is_write { self.replica.outlook.look(others) } else { Vec::new() };
        Some(Box::new(tracer.received(name, sent, to)))
    }

    /// Proposes; the future waits for the reply. When this returns the work is handed over, and dropping the
    /// future loses only the answer. `after` is what the caller's session has seen; only when this replica
    /// has not come so far, the work is handed over when it has, by the future.
    ///
    /// # Errors
    /// [`Unavailable::OutcomeUnknown`] when the work was handed over and the answer did not come before
    /// the deadline; after any other error nothing has happened and nothing will.
    pub fn execute(
        &self,
        proposal: Proposal,
        after: Option<Seen>,
        deadline: R::Instant,
    ) -> impl Future<Output = Result<Reply, Unavailable>> + Send + use<'_, R> {
        self.execute_traced(proposal, None, after, deadline)
    }

    /// As [`Lane::execute`], with the trace that [`Lane::trace`] gave for the call.
    ///
    /// # Errors
    /// As [`Lane::execute`].
    pub fn execute_traced(
        &self,
        proposal: Proposal,
        trace: Option<Box<Trace>>,
        after: Option<Seen>,
        deadline: R::Instant,
    ) -> impl Future<Output = Result<Reply, Unavailable>> + Send + use<'_, R> {
        // Not an `async fn`: the proposal would be moved through the futures of every caller.
        let handed_over = match after.filter(|seen| !self.has_reached(*seen)) {
            None => Either::Left(ready(self.hand_over(proposal, trace, deadline))),
            // Boxed because it is rare, and would make the future of every call larger.
            Some(seen) => Either::Right(Box::pin(async move {
                self.reach(seen, deadline).await?;
                self.hand_over(proposal, trace, deadline)
            })),
        };
        async move {
            match R::timeout_at(deadline, handed_over.await?).await {
                Some(Ok(answer)) => answer,
                None if planted(Fault::UnknownIsRefusal) => Err(Unavailable::NoQuorum),
                // The deadline has passed, or the log was shut down with the proposal in it.
                None | Some(Err(_)) => Err(Unavailable::OutcomeUnknown),
            }
        }
    }

    /// Puts a proposal into the inbox of the batcher.
    fn hand_over(
        &self,
        proposal: Proposal,
        trace: Option<Box<Trace>>,
        deadline: R::Instant,
    ) -> Result<oneshot::Receiver<Answer<Reply>>, Unavailable> {
        self.ledger()?;
        if R::now() >= deadline {
            return Err(Unavailable::Overloaded { retry_after: RETRY_AFTER });
        }
        let (call, answer) = oneshot::channel();
        let to = ReturnTo::Call { lane: self.place, call };
        let waiting = Waiting { proposal, trace, to, deadline, unsure: false };
        self.replica.proposals.put(waiting).map_err(refused)?;
        Ok(answer)
    }

    /// Reads the state when it is as fresh as asked, and says of a sequence that covers everything that `read` saw: it
    /// and everything before it are applied when this returns. While a batch is being applied, `read` may see a part
    /// of it; [`Lane::view`] shows one moment.
    ///
    /// `Local`, and `AtLeast` of a sequence that is reached, are answered at once, unless a batch is being applied at
    /// that moment: no task switch, no round of messages, also while the branch stops.
    ///
    /// # Errors
    /// [`Unavailable::NoQuorum`] or [`Unavailable::NoLeader`] for `Latest`, [`Unavailable::ReplicaBehind`] for
    /// `AtLeast`, when the deadline passes; [`Unavailable::SessionUnknown`] when `AtLeast` is of another ledger or ahead of
    /// everything committed; [`Unavailable::NoLeader`], [`Unavailable::Stopping`],
    /// [`Unavailable::Overloaded`] as they say.
    pub async fn read<T>(
        &self,
        at: ReadPoint,
        deadline: R::Instant,
        read: impl FnOnce(&State) -> T,
    ) -> Result<(T, Sequence), Unavailable> {
        self.arrive(at, deadline).await?;
        let state = self.replica.current.get();
        let (value, sequence) = state.ledger.look(|_| read(&state));
        let sequence = match sequence {
            Some(sequence) => sequence,
            None => self.end_of_batch(&state, deadline).await?,
        };
        self.publish(sequence, deadline).await?;
        Ok((value, sequence))
    }

    /// Reads accounts when they are as fresh as asked, all of one moment, and says of which sequence. `read` may run more
    /// than once; what it returned last counts.
    ///
    /// # Errors
    /// As [`Lane::read`].
    pub async fn view<T>(
        &self,
        at: ReadPoint,
        deadline: R::Instant,
        read: impl Fn(&Shown<'_>) -> T,
    ) -> Result<(T, Sequence), Unavailable> {
        self.arrive(at, deadline).await?;
        let state = self.replica.current.get();
        for _ in 0..GLANCES {
            if let (value, Some(sequence)) = state.ledger.glance(&read) {
                self.publish(sequence, deadline).await?;
                return Ok((value, sequence));
            }
            self.end_of_batch(&state, deadline).await?;
        }
        let (value, sequence) = state.ledger.still(read);
        self.publish(sequence, deadline).await?;
        Ok((value, sequence))
    }

    /// Waits until this replica is as fresh as asked.
    async fn arrive(&self, at: ReadPoint, deadline: R::Instant) -> Result<(), Unavailable> {
        self.ledger()?;
        match at {
            ReadPoint::Latest => self.reach_latest(deadline).await,
            ReadPoint::AtLeast(seen) => self.reach(seen, deadline).await,
            ReadPoint::Local => Ok(()),
        }
    }

    /// Waits until the batch that is being applied is applied, and says up to where.
    async fn end_of_batch(&self, state: &State, deadline: R::Instant) -> Result<Sequence, Unavailable> {
        let ended = async {
            loop {
                let published = self.replica.progress.published();
                if let ((), Some(sequence)) = state.ledger.look(|_| ()) {
                    return sequence;
                }
                published.await;
            }
        };
        let applied = self.replica.progress.applied();
        let behind = Unavailable::ReplicaBehind { applied, wanted: applied.next() };
        R::timeout_at(deadline, ended).await.ok_or(behind)
    }

    /// Waits until a sequence that the ledger has is in the journal too, and everybody here may be shown it.
    async fn publish(&self, sequence: Sequence, deadline: R::Instant) -> Result<(), Unavailable> {
        let progress = &self.replica.progress;
        if progress.applied() >= sequence {
            return Ok(());
        }
        let behind = Unavailable::ReplicaBehind { applied: progress.applied(), wanted: sequence };
        R::timeout_at(deadline, progress.reach(sequence)).await.ok_or(behind)
    }

    /// Waits until this replica has applied everything that was acknowledged before the call.
    async fn reach_latest(&self, deadline: R::Instant) -> Result<(), Unavailable> {
        let (call, answer) = oneshot::channel();
        let to = ReturnTo::Call { lane: self.place, call };
        self.replica.reads.put(WaitingRead { to }).map_err(refused)?;
        match R::timeout(patience::<R>(deadline), answer).await {
            Some(Ok(answer)) => answer,
            Some(Err(_)) => Err(Unavailable::Stopping),
            None => Err(self.replica.outlook.of_reads()),
        }
    }

    /// Waits until this replica has applied what a session has seen; normally it has.
    async fn reach(&self, seen: Seen, deadline: R::Instant) -> Result<(), Unavailable> {
        if seen.ledger != self.ledger()? {
            return Err(Unavailable::SessionUnknown);
        }
        if self.has_reached(seen) {
            return Ok(());
        }
        if planted(Fault::SessionSeesReceived)
            && self.replica.outlook.look(|metrics| metrics.last_log_index) >= Some(seen.sequence.0)
        {
            return Ok(());
        }
        // Boxed because it is rare, and would make the future of every call larger.
        Box::pin(self.catch_up(seen.sequence, deadline)).await
    }

    /// Whether this replica shows what a session has seen.
    fn has_reached(&self, seen: Seen) -> bool {
        self.ledger() == Ok(seen.ledger) && self.replica.progress.applied() >= seen.sequence
    }

    /// Waits for a sequence that is not applied here. If it still is not after a read round, nobody has
    /// committed it. Without a leader or quorum to ask, waiting is all that can be done.
    async fn catch_up(&self, wanted: Sequence, deadline: R::Instant) -> Result<(), Unavailable> {
        let round = async {
            match self.reach_latest(deadline).await {
                Ok(()) if self.replica.progress.applied() >= wanted => Ok(()),
                Ok(()) => Err(Unavailable::SessionUnknown),
                Err(refusal @ (Unavailable::Stopping | Unavailable::Overloaded { .. })) => Err(refusal),
                Err(
                    Unavailable::NoLeader
                    | Unavailable::NoQuorum
                    | Unavailable::Starting
                    | Unavailable::StorageFull
                    | Unavailable::ReplicaBehind { .. }
                    | Unavailable::SessionUnknown
                    | Unavailable::OutcomeUnknown,
                ) => std::future::pending().await,
            }
        };
        let waited = R::timeout(patience::<R>(deadline), async {
            tokio::select! {
                biased;
                () = self.replica.progress.reach(wanted) => Ok(()),
                known = round => known,
            }
        });
        let applied = || self.replica.progress.applied();
        waited.await.unwrap_or_else(|| Err(Unavailable::ReplicaBehind { applied: applied(), wanted }))
    }
}

/// How long a read may wait: until a little before its deadline, so that its caller still hears why it was not
/// answered.
fn patience<R: Runtime>(deadline: R::Instant) -> Duration {
    const MARGIN: Duration = Duration::from_millis(40);
    let left = R::left(deadline);
    left - MARGIN.min(left / 8)
}

fn refused(refused: Refused) -> Unavailable {
    match refused {
        Refused::Full => Unavailable::Overloaded { retry_after: RETRY_AFTER },
        Refused::Closed => Unavailable::Stopping,
    }
}
