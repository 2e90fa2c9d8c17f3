//! Asking the replicas of a branch how they are.
//!
//! Invariant: read at one moment at each replica, so figures of different replicas need not fit together;
//! the digests at equal sequences must.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::future::join_all;
use openraft::ServerState;

use super::branch::{Branch, Replica};
use super::lane::RETRY_AFTER;
use super::message::{Answer, Ask};
use super::outlook::Leader;
use crate::model::{BranchStatus, MemberStatus, ReplicaId, ReplicaStatus, Role, Unavailable, Vitals};
use crate::store::{Member, Runtime};

/// Within which time a replica counts as heard: they speak to each other every two seconds at least.
const HEARD: Duration = Duration::from_secs(5);
/// How long a replica may take to say how it is.
const PATIENCE: Duration = Duration::from_secs(1);

impl<R: Runtime> Branch<R> {
    /// Asks all replicas how they are. Takes a second when one of them does not answer.
    ///
    /// # Errors
    /// [`Unavailable::Overloaded`] when too many ask.
    pub async fn status(&self) -> Result<BranchStatus, Unavailable> {
        let replica = Arc::clone(&self.replica);
        let status = self.replica.at_home(async move { replica.status().await }).await;
        status.ok_or(Unavailable::Overloaded { retry_after: RETRY_AFTER })
    }

    /// Whether a majority answers, so that writes are taken; as far as this replica hears.
    #[must_use]
    pub fn has_quorum(&self) -> bool {
        self.replica.has_quorum()
    }

    /// How this replica is, at once and without asking the others.
    #[must_use]
    pub fn vitals(&self) -> Vitals {
        let replica = &self.replica;
        let leader = match replica.outlook.leader() {
            Leader::Here => Some(replica.peers.me.replica),
            Leader::Peer(id, _) => Some(id),
            Leader::Unknown | Leader::Stopped => None,
        };
        Vitals {
            branch: replica.peers.me.branch.clone(),
            replica: replica.peers.me.replica,
            status: replica.own_status(),
            leader,
            quorum: replica.has_quorum(),
            peers: replica.outlook.heard(HEARD),
            joined: replica.peers.ledger().is_some(),
            in_doubt: replica.current.get().ledger.in_doubt(),
            storage_full: !replica.has_room(),
        }
    }
}

impl<R: Runtime> Replica<R> {
    /// Whether a write would be taken as far as a majority is needed for it.
    pub(super) fn has_quorum(&self) -> bool {
        let heard = self.outlook.hears_quorum() && !self.memory.leader_is_cut_off();
        self.memory.takes_part() && heard
    }

    /// Whether the disk has room for more work.
    pub(super) fn has_room(&self) -> bool {
        self.log.has_room() && self.current.get().journal.has_room()
    }

    async fn status(&self) -> BranchStatus {
        let replica = self;
        let me = replica.peers.me.replica;
        let (leader, members) = replica.outlook.look(|metrics| {
            let config = metrics.membership_config.membership();
            let voters: Vec<u64> = config.voter_ids().collect();
            let members: Vec<(ReplicaId, Member, bool)> = config
                .nodes()
                .map(|(id, member)| (ReplicaId(*id), member.clone(), voters.contains(id)))
                .collect();
            (metrics.current_leader.map(ReplicaId), members)
        });
        let asked = members.iter().map(|(id, member, _)| async {
            if *id == me {
                return Some(replica.own_status());
            }
            match replica.peers.ask(*id, member, PATIENCE, Ask::Status).await {
                Ok(Answer::Status(status)) => Some(*status),
                Ok(_) | Err(_) => None,
            }
        });
        let statuses = join_all(asked).await;
        let committed = statuses.iter().flatten().map(|status| status.committed).max().unwrap_or(0);
        let members = members
            .into_iter()
            .zip(statuses)
            .map(|((replica, member, voter), status)| MemberStatus {
                replica,
                address: member.address,
                voter,
                lag: status.as_ref().map(|status| committed.saturating_sub(status.applied)),
                status,
            })
            .collect();
        BranchStatus {
            branch: replica.peers.me.branch.clone(),
            ledger: replica.peers.ledger(),
            replica: me,
            leader,
            members,
        }
    }
}

impl<R: Runtime> Replica<R> {
    /// How this replica is.
    pub(super) fn own_status(&self) -> ReplicaStatus {
        // Applied entry, sequence and digest of one moment, so that replicas can be compared.
        let mark = self.progress.digests().latest();
        let position = self.current.get().ledger.position();
        self.outlook.look(|metrics| ReplicaStatus {
            role: match metrics.state {
                _ if metrics.running_state.is_err() => Role::Stopped,
                _ if self.removed.load(Ordering::Relaxed) => Role::Removed,
                ServerState::Leader => Role::Leader,
                ServerState::Follower => Role::Follower,
                ServerState::Candidate => Role::Candidate,
                ServerState::Learner => Role::Learner,
                ServerState::Shutdown => Role::Stopped,
            },
            term: metrics.current_term,
            log: metrics.last_log_index.unwrap_or(0),
            committed: metrics.local_committed.map_or(0, |id| id.index),
            applied: mark.map_or(0, |mark| mark.log.index),
            sequence: mark.map_or(position.sequence, |mark| mark.sequence),
            digest: mark.map_or(position.digest, |mark| mark.digest),
        })
    }
}
