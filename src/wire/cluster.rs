//! The status of a branch, and what a replica has recorded, into their replies.
//!
//! `api` calls it.

use super::proto::v1;
use crate::model::{BranchStatus, MemberStatus, Role, TraceEvent, TraceKind};

/// How a branch is.
#[must_use]
pub fn status(status: &BranchStatus) -> v1::GetStatusResponse {
    v1::GetStatusResponse {
        branch: status.branch.to_string(),
        ledger: status.ledger.map(|ledger| ledger.to_string()).unwrap_or_default(),
        replica: status.replica.0,
        leader: status.leader.map_or(0, |leader| leader.0),
        replicas: status.members.iter().map(member).collect(),
    }
}

fn member(member: &MemberStatus) -> v1::ReplicaStatus {
    let known = v1::ReplicaStatus {
        id: member.replica.0,
        address: member.address.clone(),
        voter: member.voter,
        lag: member.lag.unwrap_or(0),
        ..v1::ReplicaStatus::default()
    };
    match &member.status {
        None => v1::ReplicaStatus { role: v1::ReplicaRole::Unreachable.into(), ..known },
        Some(status) => v1::ReplicaStatus {
            role: role(status.role).into(),
            term: status.term,
            log_index: status.log,
            committed_index: status.committed,
            applied_index: status.applied,
            sequence: status.sequence.0,
            digest: status.digest.to_string(),
            ..known
        },
    }
}

fn role(role: Role) -> v1::ReplicaRole {
    match role {
        Role::Leader => v1::ReplicaRole::Leader,
        Role::Follower => v1::ReplicaRole::Follower,
        Role::Candidate => v1::ReplicaRole::Candidate,
        Role::Learner => v1::ReplicaRole::Learner,
        Role::Stopped => v1::ReplicaRole::Stopped,
        Role::Removed => v1::ReplicaRole::Removed,
    }
}

/// An event that a replica has recorded.
#[must_use]
pub fn trace_event(event: &TraceEvent) -> v1::TraceEvent {
    let (kind, peer) = match event.kind {
        TraceKind::ReceivedFromCaller => (v1::TraceEventKind::ReceivedFromCaller, 0),
        TraceKind::SentTo(replica) => (v1::TraceEventKind::SentToReplica, replica.0),
        TraceKind::ReceivedFrom(replica) => (v1::TraceEventKind::ReceivedFromReplica, replica.0),
    };
    v1::TraceEvent { clock: event.clock.get(), name: event.name.as_str().to_owned(), kind: kind.into(), peer }
}
