//! Replication: one branch is one Raft group. The `Branch` facade, the batcher, reads.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;

use crate::model::{
    BranchName, LedgerId, Proposal, ReplicaId, Reply, Seen, Sequence, Timestamp, Unavailable,
};
use crate::store::State;

/// What a replica of a branch needs to start.
pub struct BranchConfig {
    /// The branch.
    pub name: BranchName,
    /// Which replica this is.
    pub replica: ReplicaId,
    /// The identity that the ledger gets if this replica founds it.
    pub founding: LedgerId,
    /// The wall clock.
    pub clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
}

/// One replica of a branch. Cheap to clone.
#[derive(Clone)]
pub struct Branch {}

/// The door to a branch for the calls of one runtime. Cheap to clone.
#[derive(Clone)]
pub struct Lane {}

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

#[allow(
    clippy::todo,
    unused_variables,
    missing_docs,
    clippy::missing_errors_doc,
    clippy::unused_async,
    clippy::must_use_candidate
)]
impl Branch {
    /// Starts the replica on the current runtime and returns when it can serve.
    pub async fn start(config: BranchConfig) -> Result<Branch, std::io::Error> {
        todo!()
    }
    /// A door for the calls of the current runtime.
    pub fn lane(&self) -> Lane {
        todo!()
    }
    /// Refuses new work with `Stopping`, finishes what was accepted, stops.
    pub async fn stop(&self) {
        todo!()
    }
}

#[allow(
    clippy::todo,
    unused_variables,
    missing_docs,
    clippy::missing_errors_doc,
    clippy::unused_async,
    clippy::must_use_candidate
)]
impl Lane {
    pub fn branch(&self) -> &BranchName {
        todo!()
    }
    pub fn replica(&self) -> ReplicaId {
        todo!()
    }
    /// The ledger's identity. Known from the moment the branch serves.
    pub fn ledger(&self) -> LedgerId {
        todo!()
    }
    /// Proposes and waits for the reply. Once this future has been polled the work is handed over:
    /// dropping it loses only the answer. `after` is what the caller's session has seen.
    pub async fn execute(
        &self,
        proposal: Proposal,
        after: Option<Seen>,
        deadline: Instant,
    ) -> Result<Reply, Unavailable> {
        todo!()
    }
    /// Reads the state when it is as fresh as asked. The sequence is one that the state had reached when `read` saw it,
    /// at least that of every account `read` looked at.
    pub async fn read<T>(
        &self,
        at: ReadPoint,
        deadline: Instant,
        read: impl FnOnce(&State) -> T,
    ) -> Result<(T, Sequence), Unavailable> {
        todo!()
    }
    /// The last applied sequence, for those who follow the journal.
    pub fn applied(&self) -> watch::Receiver<Sequence> {
        todo!()
    }
}
