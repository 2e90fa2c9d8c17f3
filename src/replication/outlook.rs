//! Who leads, as far as this replica knows, and what to tell callers when nothing can be done for them.
//!
//! Invariant: a view, never a proof: openraft decides what is committed and who may answer reads.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{Either, select};
use openraft::RaftMetrics;
use openraft::alias::WatchReceiverOf;
use openraft::async_runtime::WatchReceiver as _;

use super::lane::RETRY_AFTER;
use super::message::{Answer, Ask};
use super::peers::{Peers, Trouble};
use super::transport::Lost;
use crate::model::{ReplicaId, Unavailable};
use crate::store::{Member, Runtime, Types};

/// A replica that was not heard for this long is taken for lost: longer than every replica is silent while
/// a leader is elected.
pub(super) const LOST: Duration = Duration::from_millis(1_500);

/// How long the answer of a leader may take that leads no more.
const DEPOSED: Duration = Duration::from_millis(300);

/// Who leads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Leader {
    /// This replica.
    Here,
    /// Another one.
    Peer(ReplicaId, Member),
    /// Nobody that this replica knows of.
    Unknown,
    /// This replica has stopped and will not know.
    Stopped,
}

/// The view of one replica. Cheap to clone.
pub(super) struct Outlook<R: Runtime> {
    peers: Arc<Peers<R>>,
    metrics: WatchReceiverOf<Types<R>, RaftMetrics<Types<R>>>,
}

impl<R: Runtime> Clone for Outlook<R> {
    fn clone(&self) -> Outlook<R> {
        Outlook { peers: Arc::clone(&self.peers), metrics: self.metrics.clone() }
    }
}

impl<R: Runtime> Outlook<R> {
    pub(super) fn new(
        peers: Arc<Peers<R>>,
        metrics: WatchReceiverOf<Types<R>, RaftMetrics<Types<R>>>,
    ) -> Outlook<R> {
        Outlook { peers, metrics }
    }

    /// Who leads now.
    pub(super) fn leader(&self) -> Leader {
        let metrics = self.metrics.borrow_watched();
        match metrics.current_leader {
            _ if metrics.running_state.is_err() => Leader::Stopped,
            None => Leader::Unknown,
            Some(id) if id == metrics.id => Leader::Here,
            Some(id) => match metrics.membership_config.membership().get_node(&id) {
                Some(member) => Leader::Peer(ReplicaId(id), member.clone()),
                None => Leader::Unknown,
            },
        }
    }

    /// Whether this replica is the only one with a vote.
    pub(super) fn is_alone(&self) -> bool {
        self.look(|metrics| metrics.membership_config.voter_ids().eq([metrics.id]))
    }

    /// Looks at openraft's figures.
    pub(super) fn look<T>(&self, at: impl FnOnce(&RaftMetrics<Types<R>>) -> T) -> T {
        at(&self.metrics.borrow_watched())
    }

    /// Returns when something has changed, at most after `patience`.
    pub(super) async fn changed(&mut self, patience: Duration) {
        // A closed channel means that openraft is gone; then the patience is waited out, so that nobody spins.
        let metrics = &mut self.metrics;
        let change = async {
            if metrics.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let _ = R::timeout(patience, change).await;
    }

    /// Asks a replica while it leads. When another one does, the answer may still come for a moment; after
    /// that it is taken for lost.
    pub(super) async fn ask_leader(
        &self,
        to: ReplicaId,
        member: &Member,
        patience: Duration,
        ask: Ask<'_, R>,
    ) -> Result<Answer<R>, Trouble> {
        let asked = pin!(self.peers.ask(to, member, patience, ask));
        let mut outlook = self.clone();
        let deposed = pin!(async {
            while matches!(outlook.leader(), Leader::Peer(id, _) if id == to) {
                outlook.changed(patience).await;
            }
            R::sleep(DEPOSED).await;
        });
        match select(asked, deposed).await {
            Either::Left((answer, _)) => answer,
            Either::Right(_) => {
                Err(Trouble::Lost(Lost { sent: true, why: format!("replica {to} leads no more") }))
            }
        }
    }

    /// What to tell a caller whose proposal could not be handed over in time.
    pub(super) fn of_writes(&self) -> Unavailable {
        let leader = self.leader();
        if leader != Leader::Stopped && !self.sees_quorum(&leader) {
            return Unavailable::NoQuorum;
        }
        match leader {
            Leader::Here | Leader::Peer(..) => Unavailable::Overloaded { retry_after: RETRY_AFTER },
            Leader::Unknown => Unavailable::NoLeader,
            Leader::Stopped => Unavailable::Stopping,
        }
    }

    /// What to tell a caller whose read could not be made sure of in time.
    pub(super) fn of_reads(&self) -> Unavailable {
        let leader = self.leader();
        match leader {
            Leader::Unknown if self.sees_quorum(&leader) => Unavailable::NoLeader,
            Leader::Unknown | Leader::Here | Leader::Peer(..) => Unavailable::NoQuorum,
            Leader::Stopped => Unavailable::Stopping,
        }
    }

    /// Whether this replica hears a majority, or the leader.
    pub(super) fn hears_quorum(&self) -> bool {
        let leader = self.leader();
        leader != Leader::Stopped && self.sees_quorum(&leader)
    }

    /// The other members, and whether they were heard within this time.
    pub(super) fn heard(&self, within: Duration) -> Vec<(ReplicaId, bool)> {
        let ids: Vec<u64> =
            self.look(|metrics| metrics.membership_config.nodes().map(|(id, _)| *id).collect());
        let others = ids.into_iter().map(ReplicaId).filter(|id| *id != self.peers.me.replica);
        others.map(|id| (id, self.peers.heard_within(id, within))).collect()
    }

    fn sees_quorum(&self, leader: &Leader) -> bool {
        if let Leader::Peer(id, _) = leader
            && self.peers.heard_within(*id, LOST)
        {
            return true;
        }
        let voters: Vec<u64> =
            self.look(|metrics| metrics.membership_config.membership().voter_ids().collect());
        let heard = voters.iter().filter(|id| self.peers.heard_within(ReplicaId(**id), LOST)).count();
        2 * heard > voters.len()
    }
}
