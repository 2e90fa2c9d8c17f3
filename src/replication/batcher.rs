//! The batcher: turns waiting proposals into log entries.
//!
//! Invariant: proposals enter the log in the order in which they were taken in, each in one batch, and
//! every one is answered: with its reply, or with an error that says whether it may have happened. A
//! batch is whatever waits when there is room for one more in the log, so a lone call waits for
//! nobody and batches grow with the load; there is no timer.

use std::collections::VecDeque;
use std::sync::Arc;

use openraft::Raft;
use openraft::errors::ClientWriteError;
use openraft::raft::ClientWriteResult;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::branch::Clock;
use super::inbox::{Capacity, Inbox, Weigh};
use super::lane::{Lanes, ReturnTo};
use crate::model::limits::BATCH_COMMANDS;
use crate::model::{Batch, Proposal, Reply, Timestamp, Unavailable};
use crate::store::{Current, LogBatch, LogStore, Machine, Respond, Runtime, Types};

/// Most proposals that wait for the log.
pub const QUEUED_PROPOSALS: usize = 65_536;
/// Most commands that wait for the log.
pub const QUEUED_COMMANDS: usize = 64 * BATCH_COMMANDS;
/// Most batches that are in the log and not yet applied: the next ones are collected and flushed while
/// the first are replicated.
const BATCHES_IN_FLIGHT: usize = 4;

/// A proposal on its way to the log, and where its answer goes.
pub(super) struct Waiting {
    pub(super) proposal: Proposal,
    pub(super) to: ReturnTo<Reply>,
}

impl Weigh for Waiting {
    fn weight(&self) -> usize {
        self.proposal.work.commands().len().max(1)
    }
}

/// The inbox of the batcher.
pub(super) fn inbox() -> Inbox<Waiting> {
    Inbox::new(Capacity { entries: QUEUED_PROPOSALS, weight: QUEUED_COMMANDS })
}

/// What the batcher works with.
pub(super) struct Batcher<R: Runtime> {
    pub(super) inbox: Arc<Inbox<Waiting>>,
    pub(super) lanes: Arc<Lanes>,
    pub(super) raft: Raft<Types<R>, Machine<R>>,
    pub(super) log: LogStore<R>,
    pub(super) current: Arc<Current>,
    pub(super) clock: Clock,
}

impl<R: Runtime> Batcher<R> {
    /// Runs until the inbox is closed and empty and everything is answered; says so to `drained`.
    pub(super) async fn run(self, drained: watch::Sender<bool>) {
        let room = Arc::new(Semaphore::new(BATCHES_IN_FLIGHT));
        let mut last = None;
        loop {
            let Ok(permit) = Arc::clone(&room).acquire_owned().await else { break };
            let Some(waiting) = self.inbox.take(BATCH_COMMANDS).await else { break };
            let time = (self.clock)().after(last.max(self.current.get().ledger.position().time));
            last = Some(time);
            if !self.propose(time, waiting, permit).await {
                // openraft has stopped for good. What still waits is dropped and thereby answered.
                self.inbox.close();
            }
        }
        // All permits are back when every batch is answered.
        let all = u32::try_from(BATCHES_IN_FLIGHT).unwrap_or(u32::MAX);
        let _all = room.acquire_many(all).await;
        drained.send_replace(true);
    }

    /// Hands one batch to the log. False when there is no log any more.
    async fn propose(
        &self,
        time: Timestamp,
        waiting: VecDeque<Waiting>,
        permit: OwnedSemaphorePermit,
    ) -> bool {
        let (proposals, callers): (Vec<_>, Vec<_>) =
            waiting.into_iter().map(|waiting| (waiting.proposal, waiting.to)).unzip();
        if !self.log.has_room() {
            // What is in flight still fits; more is not let in.
            self.lanes.reply(callers.into_iter().map(|caller| (caller, Err(Unavailable::StorageFull))));
            return true;
        }
        let batch = LogBatch::new(Batch { time, founding: None, proposals });
        let lanes = Arc::clone(&self.lanes);
        let respond = Respond::new(move |result| {
            answer(&lanes, callers, result);
            drop(permit);
        });
        let handed_over = self.raft.client_write_ff(batch, Some(respond)).await;
        if let Err(error) = &handed_over {
            tracing::error!(%error, "the log has stopped");
        }
        handed_over.is_ok()
    }
}

/// Tells every caller of a batch what became of it.
fn answer<R: Runtime>(lanes: &Lanes, callers: Vec<ReturnTo<Reply>>, result: ClientWriteResult<Types<R>>) {
    let error = match result {
        Ok(written) => {
            return lanes.reply(callers.into_iter().zip(written.data.0.into_iter().map(Ok)));
        }
        // Refused before it was appended.
        Err(ClientWriteError::ForwardToLeader(_)) => Unavailable::NoLeader,
        // Appended, then replaced by another leader's entry, perhaps after it had been committed; the
        // other two concern changes of members, and say nothing about a batch.
        Err(
            ClientWriteError::LogEntryDiscarded(_)
            | ClientWriteError::ChangeMembershipError(_)
            | ClientWriteError::PreconditionFailed(_),
        ) => Unavailable::OutcomeUnknown,
    };
    lanes.reply(callers.into_iter().map(|caller| (caller, Err(error.clone()))));
}
