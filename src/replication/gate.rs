//! The read gate: makes sure that a replica has everything that was acknowledged before a read.
//!
//! Invariant: a read passes only after a read-index round that began at the leader after the read had arrived
//! here, and after this replica has applied what that round returned. No lease and no clock is involved. All
//! reads that arrive during one round share the next.

use std::sync::Arc;
use std::time::Duration;

use openraft::errors::{LinearizableReadError, RaftError};
use openraft::{Raft, ReadPolicy};
use tokio::sync::watch;

use super::inbox::{Capacity, Inbox, Weigh};
use super::lane::{Lanes, ReturnTo};
use super::message::{Answer, Ask, Refusal};
use super::outlook::{Leader, Outlook};
use super::peers::Trouble;
use crate::model::Unavailable;
use crate::model::planted::{Fault, planted};
use crate::store::{Machine, Runtime, Types};

/// Most reads that wait for a round.
pub const WAITING_READS: usize = 65_536;
/// How long a round may take before another one is tried.
const ROUND: Duration = Duration::from_secs(1);
/// How long it rests after a round that failed.
const REST: Duration = Duration::from_millis(20);

/// A read that waits for a round.
pub(super) struct WaitingRead {
    pub(super) to: ReturnTo<()>,
}

impl Weigh for WaitingRead {
    fn weight(&self) -> usize {
        1
    }
}

/// The inbox of the gate.
pub(super) fn inbox() -> Inbox<WaitingRead> {
    Inbox::new(Capacity { entries: WAITING_READS, weight: WAITING_READS })
}

/// What the gate works with.
pub(super) struct Gate<R: Runtime> {
    pub(super) inbox: Arc<Inbox<WaitingRead>>,
    pub(super) lanes: Arc<Lanes>,
    pub(super) raft: Raft<Types<R>, Machine<R>>,
    pub(super) outlook: Outlook<R>,
}

impl<R: Runtime> Gate<R> {
    /// Runs until the inbox is closed and empty; says so to `drained`.
    pub(super) async fn run(self, drained: watch::Sender<bool>) {
        while let Some(waiting) = self.inbox.take(WAITING_READS).await {
            let passed = R::timeout(ROUND, self.round()).await.unwrap_or(Err(Unavailable::NoQuorum));
            match passed {
                Ok(()) | Err(Unavailable::Stopping) => {
                    self.lanes.admit(waiting.into_iter().map(|read| (read.to, passed.clone())));
                }
                // Reads wait until their own deadline for a leader and a quorum.
                Err(_) => {
                    self.inbox.put_back(waiting.into_iter().filter(|read| !read.to.abandoned()).collect());
                    R::sleep(REST).await;
                }
            }
        }
        drained.send_replace(true);
    }

    /// One round: learns from the leader what is committed, and waits until that is applied here.
    async fn round(&self) -> Result<(), Unavailable> {
        match self.outlook.leader() {
            Leader::Here if planted(Fault::DeposedLeaderReads) => Ok(()),
            Leader::Here if planted(Fault::ReadsBeforeReplay) => read_index(&self.raft).await.map(drop),
            Leader::Here => {
                self.raft.ensure_linearizable(ReadPolicy::ReadIndex).await.map(drop).map_err(unavailable)
            }
            Leader::Peer(id, member) => {
                let answer = self.outlook.ask_leader(id, &member, ROUND, Ask::ReadIndex).await;
                let index = match answer {
                    Ok(Answer::ReadIndex(index)) => index,
                    Err(Trouble::Refused(Refusal::Unavailable(Unavailable::NoQuorum))) => {
                        return Err(Unavailable::NoQuorum);
                    }
                    Ok(_) | Err(_) => return Err(Unavailable::NoLeader),
                };
                if planted(Fault::ReadsBeforeReplay) {
                    return Ok(());
                }
                let applied = self.raft.wait(None).applied_index_at_least(Some(index), "a read").await;
                applied.map(drop).map_err(|_| Unavailable::Stopping)
            }
            Leader::Unknown => Err(Unavailable::NoLeader),
            Leader::Stopped => Err(Unavailable::Stopping),
        }
    }
}

/// The index that a replica must have applied to have everything that is acknowledged now; only the leader
/// can tell.
pub(super) async fn read_index<R: Runtime>(raft: &Raft<Types<R>, Machine<R>>) -> Result<u64, Unavailable> {
    let index = raft.get_read_linearizer(ReadPolicy::ReadIndex);
    match R::timeout(ROUND, index).await {
        Some(Ok(linearizer)) => Ok(linearizer.read_log_id().index()),
        Some(Err(error)) => Err(unavailable(error)),
        None => Err(Unavailable::NoQuorum),
    }
}

fn unavailable<R: Runtime>(error: RaftError<Types<R>, LinearizableReadError<Types<R>>>) -> Unavailable {
    match error {
        RaftError::APIError(LinearizableReadError::ForwardToLeader(_)) => Unavailable::NoLeader,
        RaftError::APIError(LinearizableReadError::QuorumNotEnough(_)) => Unavailable::NoQuorum,
        RaftError::Fatal(_) => Unavailable::Stopping,
    }
}
