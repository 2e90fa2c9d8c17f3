//! The read gate: makes sure that a replica has everything that was acknowledged before a read.
//!
//! Invariant: a read passes only after a read-index round that began after the read had arrived, and
//! after this replica has applied what that round returned. No lease and no clock is involved. All
//! reads that arrive during one round share the next.

use std::sync::Arc;

use openraft::errors::{LinearizableReadError, RaftError};
use openraft::{Raft, ReadPolicy};
use tokio::sync::watch;

use super::inbox::{Capacity, Inbox, Weigh};
use super::lane::{Lanes, ReturnTo};
use crate::model::Unavailable;
use crate::store::{Machine, Runtime, Types};

/// Most reads that wait for a round.
pub const WAITING_READS: usize = 65_536;

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

/// Runs until the inbox is closed and empty; says so to `drained`.
pub(super) async fn run<R: Runtime>(
    inbox: Arc<Inbox<WaitingRead>>,
    lanes: Arc<Lanes>,
    raft: Raft<Types<R>, Machine<R>>,
    drained: watch::Sender<bool>,
) {
    while let Some(waiting) = inbox.take(WAITING_READS).await {
        let passed = round(&raft).await;
        lanes.admit(waiting.into_iter().map(|read| (read.to, passed.clone())));
    }
    drained.send_replace(true);
}

/// One round: asks a quorum what is committed, and waits until that is applied here.
async fn round<R: Runtime>(raft: &Raft<Types<R>, Machine<R>>) -> Result<(), Unavailable> {
    match raft.ensure_linearizable(ReadPolicy::ReadIndex).await {
        Ok(_) => Ok(()),
        Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(_))) => Err(Unavailable::NoLeader),
        Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_))) => Err(Unavailable::NoQuorum),
        Err(RaftError::Fatal(_)) => Err(Unavailable::Stopping),
    }
}
