//! How the replicas of a branch are: what operators see.

use serde::{Deserialize, Serialize};

use super::{BranchName, Digest, LedgerId, ReplicaId, Sequence, Timestamp};

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
    /// The others have taken it out of the branch; it can be stopped.
    Removed,
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

/// One member of a branch.
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
    /// All members, by number.
    pub members: Vec<MemberStatus>,
}

/// How the replica of this process is, as it knows without asking anybody.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Vitals {
    /// The branch.
    pub branch: BranchName,
    /// The replica.
    pub replica: ReplicaId,
    /// How it is.
    pub status: ReplicaStatus,
    /// The replica that leads, as far as this one knows.
    pub leader: Option<ReplicaId>,
    /// Whether a majority answers, so that a write would be taken; as far as this replica hears.
    pub quorum: bool,
    /// The other replicas, and whether each was heard lately.
    pub peers: Vec<(ReplicaId, bool)>,
    /// Whether it belongs to its branch and knows its ledger.
    pub joined: bool,
    /// Whether its disk has no room for more work.
    pub storage_full: bool,
    /// The transfers that are in doubt.
    pub in_doubt: InDoubtCount,
}

/// How much is in doubt between this branch and others.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct InDoubtCount {
    /// Transfers that the branch pays and that are not closed.
    pub open_transfers: usize,
    /// Credits that the branch has promised and of whose decision it has not heard.
    pub prepared_credits: usize,
    /// When the oldest of them began; none when there is none.
    pub oldest: Option<Timestamp>,
}
