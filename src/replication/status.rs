//! How the replicas of a branch are: what operators see.
//!
//! Invariant: read at one moment at each replica, so figures of different replicas need not fit together;
//! the digests at equal sequences must.

use std::time::Duration;

use futures::future::join_all;
use openraft::ServerState;
use serde::{Deserialize, Serialize};

use super::branch::{Branch, Replica};
use super::message::{Answer, Ask};
use crate::model::{BranchName, Digest, LedgerId, ReplicaId, Sequence};
use crate::store::{Member, Runtime};

/// How long a replica may take to say how it is.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a replica is in its group.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Role {
    /// It orders the writes.
    Leader,
    /// It follows and votes.
    Follower,
    /// It looks for votes because it hears no leader.
    Candidate,
    /// It follows without a vote.
    Learner,
    /// It has stopped.
    Stopped,
}

/// How one replica is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ReplicaStatus {
    /// What it is.
    pub role: Role,
    /// The term it is in.
    pub term: u64,
    /// The last index in its log; zero when it has none.
    pub log: u64,
    /// The last index it knows to be committed.
    pub committed: u64,
    /// The last index it has applied.
    pub applied: u64,
    /// The last command it has applied.
    pub sequence: Sequence,
    /// The digest there.
    pub digest: Digest,
}

/// One member of the branch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MemberStatus {
    /// Its number.
    pub replica: ReplicaId,
    /// Where it is reached.
    pub address: String,
    /// Whether it has a vote.
    pub voter: bool,
    /// How it is; none when it does not answer.
    pub status: Option<ReplicaStatus>,
    /// Committed entries that it has not applied, as far as the replicas that answer know.
    pub lag: Option<u64>,
}

/// How a branch is, as one of its replicas sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BranchStatus {
    /// Its name.
    pub branch: BranchName,
    /// Its ledger, once it is founded.
    pub ledger: Option<LedgerId>,
    /// The replica that tells this.
    pub replica: ReplicaId,
    /// The replica that leads, as far as it knows.
    pub leader: Option<ReplicaId>,
    /// All members.
    pub members: Vec<MemberStatus>,
}

impl<R: Runtime> Branch<R> {
    /// Asks all replicas how they are. Takes a second when one of them does not answer.
    pub async fn status(&self) -> BranchStatus {
        let replica = &self.replica;
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
        let position = self.current.get().ledger.position();
        self.outlook.look(|metrics| ReplicaStatus {
            role: match metrics.state {
                _ if metrics.running_state.is_err() => Role::Stopped,
                ServerState::Leader => Role::Leader,
                ServerState::Follower => Role::Follower,
                ServerState::Candidate => Role::Candidate,
                ServerState::Learner => Role::Learner,
                ServerState::Shutdown => Role::Stopped,
            },
            term: metrics.current_term,
            log: metrics.last_log_index.unwrap_or(0),
            committed: metrics.local_committed.map_or(0, |id| id.index),
            applied: metrics.last_applied.map_or(0, |id| id.index),
            sequence: position.sequence,
            digest: position.digest,
        })
    }
}
