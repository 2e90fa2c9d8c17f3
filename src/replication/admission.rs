//! Admission: what a message of the consensus protocol must look like before openraft sees it.
//!
//! openraft takes its peers for perfect: it adds one to any term and index it is given, follows a committed vote
//! without asking whom it names, and asserts what a correct leader would never send. So everything of a message
//! that can be checked is checked here, and what fails is refused with a reason. `door` asks for requests, `network`
//! for answers. Pure: it knows only what it is given.

use std::time::Duration;

use openraft::raft::{AppendEntriesRequest, TransferLeaderRequest, VoteRequest};

use crate::model::{ReplicaId, Timestamp};
use crate::store::{
    Entry, FARTHEST_INDEX, FARTHEST_TERM, LogId, Members, Payload, Runtime, SnapshotMeta, Types, Vote,
};

/// How far the term of a message may be ahead of the term of this replica. An honest replica is ahead by the elections
/// that this one slept through; at one a second this is more than a century.
pub(super) const TERM_AHEAD: u64 = 1 << 32;
/// How far the time of a batch may be ahead of the clock of this machine.
pub(super) const TIME_AHEAD: Duration = Duration::from_hours(24);
/// Most replicas of a branch, with and without a vote.
pub(super) const MOST_MEMBERS: usize = 1_024;
/// Longest address of a replica: the longest host name, a colon and a port.
pub(super) const ADDRESS_BYTES: usize = 261;

/// Why a message is refused.
pub(super) type Refused = String;

/// What a message is held against.
#[derive(Clone, Copy, Debug)]
pub(super) struct Admission {
    /// Who sent it, as its header says.
    pub(super) from: ReplicaId,
    /// The term of this replica.
    pub(super) term: u64,
    /// The clock of this machine, or the time that a majority has reached, whichever is later.
    pub(super) now: Timestamp,
}

/// A time too far ahead of the clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Untimely(pub(super) Timestamp);

impl Admission {
    /// A request for a vote, real or hypothetical.
    pub(super) fn vote_request<R: Runtime>(&self, request: &VoteRequest<Types<R>>) -> Result<(), Refused> {
        if request.vote.committed {
            return Err("it asks for a vote that it says was given".to_owned());
        }
        self.vote(&request.vote)?;
        request.last_log_id.map_or(Ok(()), |last| known_to(&request.vote, last))
    }

    /// Entries of a leader, or none as a heartbeat.
    pub(super) fn append<R: Runtime>(&self, request: &AppendEntriesRequest<Types<R>>) -> Result<(), Refused> {
        self.leader(&request.vote)?;
        if let Some(committed) = request.leader_commit {
            known_to(&request.vote, committed)?;
        }
        let mut last = request.prev_log_id;
        if let Some(before) = last {
            known_to(&request.vote, before)?;
        }
        for entry in &request.entries {
            known_to(&request.vote, entry.log_id)?;
            let next = last.map_or(0, |last| last.index + 1);
            let follows = last.is_none_or(|last| entry.log_id.leader_id >= last.leader_id);
            if entry.log_id.index != next || !follows {
                return Err(format!("entry {} does not follow the one before it", entry.log_id));
            }
            if let Payload::Membership(members) = &entry.payload {
                members_are_possible(members)?;
            }
            last = Some(entry.log_id);
        }
        Ok(())
    }

    /// The times of entries.
    pub(super) fn times(&self, entries: &[Entry]) -> Result<(), Untimely> {
        entries.iter().try_for_each(|entry| match &entry.payload {
            Payload::Blank | Payload::Membership(_) => Ok(()),
            Payload::Normal(batch) => self.time(batch.batch().time),
        })
    }

    /// The time of a batch or of a ledger.
    pub(super) fn time(&self, time: Timestamp) -> Result<(), Untimely> {
        let ahead = u64::try_from(TIME_AHEAD.as_micros()).unwrap_or(u64::MAX);
        if time.micros() < self.now.micros().saturating_add(ahead) { Ok(()) } else { Err(Untimely(time)) }
    }

    /// A leader's wish that another replica leads.
    pub(super) fn transfer<R: Runtime>(
        &self,
        request: &TransferLeaderRequest<Types<R>>,
    ) -> Result<(), Refused> {
        self.leader(request.from_leader())?;
        request.last_log_id().map_or(Ok(()), |last| known_to(request.from_leader(), *last))
    }

    /// The beginning of a snapshot. `own` is the vote of this replica: only the leader that it follows may replace
    /// what it has.
    pub(super) fn snapshot(&self, vote: &Vote, meta: &SnapshotMeta, own: &Vote) -> Result<(), Refused> {
        self.leader(vote)?;
        if vote != own {
            return Err("a snapshot is taken only of the leader that this replica follows".to_owned());
        }
        let Some(last) = meta.last_log_id else { return Err("the snapshot covers nothing".to_owned()) };
        known_to(vote, last)?;
        let members = &meta.last_membership;
        if members.log_id().is_none_or(|id| id > last) {
            return Err("the members in the snapshot are later than the snapshot".to_owned());
        }
        members_are_possible(members.membership())
    }

    /// The vote of an established leader, which must be the one that speaks.
    fn leader(&self, vote: &Vote) -> Result<(), Refused> {
        if !vote.committed {
            return Err("it comes from a replica that was not elected".to_owned());
        }
        self.vote(vote)
    }

    fn vote(&self, vote: &Vote) -> Result<(), Refused> {
        if vote.leader_id.node_id != self.from.0 {
            return Err(format!("replica {} speaks for replica {}", self.from, vote.leader_id.node_id));
        }
        term(vote.leader_id.term, self.term)
    }
}

/// A vote that came with an answer. It only says that there was a later election; whoever won that one will say so
/// itself, so the vote never makes anybody a leader here.
pub(super) fn answered_vote(vote: Vote, own_term: u64) -> Result<Vote, Refused> {
    term(vote.leader_id.term, own_term)?;
    Ok(Vote { committed: false, ..vote })
}

/// A log id that came with an answer.
pub(super) fn answered_id(id: LogId) -> Result<(), Refused> {
    index(id)?;
    if id.leader_id.term >= FARTHEST_TERM {
        return Err(format!("there was never a term {}", id.leader_id.term));
    }
    Ok(())
}

fn term(term: u64, own: u64) -> Result<(), Refused> {
    if term >= own.saturating_add(TERM_AHEAD).min(FARTHEST_TERM) {
        return Err(format!("term {term} is too far ahead of term {own}"));
    }
    Ok(())
}

fn index(id: LogId) -> Result<(), Refused> {
    if id.index >= FARTHEST_INDEX {
        return Err(format!("no log is as long as {id} says"));
    }
    Ok(())
}

/// An entry that a leader or candidate with this vote says it has: written by itself or by a leader before it.
fn known_to(vote: &Vote, id: LogId) -> Result<(), Refused> {
    index(id)?;
    if id.leader_id > vote.leader_id {
        return Err(format!("it names entry {id}, which is later than its own vote"));
    }
    Ok(())
}

fn members_are_possible(members: &Members) -> Result<(), Refused> {
    let configs = members.get_joint_config();
    let named = |voters: &std::collections::BTreeSet<u64>| {
        !voters.is_empty() && voters.iter().all(|id| members.get_node(id).is_some())
    };
    let nodes = members.nodes().take(MOST_MEMBERS + 1);
    let mut count = 0;
    let addresses =
        nodes.inspect(|_| count += 1).all(|(id, member)| *id > 0 && member.address.len() <= ADDRESS_BYTES);
    if !addresses
        || count > MOST_MEMBERS
        || configs.is_empty()
        || configs.len() > 2
        || !configs.iter().all(named)
    {
        return Err("it names members that no branch can have".to_owned());
    }
    Ok(())
}
