//! The roster: which replicas this one listens to, and for what.
//!
//! Invariant: entries, votes, snapshots and hand-overs of the lead are taken of voters only, and questions about the
//! ledger of members only, as the effective membership of this replica's log says. A log that was away may be older than the
//! membership; so a stranger that speaks makes this replica ask the members that it knows, and those that its list
//! of peers names, who belongs to the branch now. What they say counts until its own log knows better. In the same way it
//! learns that a majority has reached a time which its own clock does not believe.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use serde::{Deserialize, Serialize};

use super::admission::{MOST_MEMBERS, Untimely};
use super::branch::Replica;
use super::message::{Answer, Ask, Refusal};
use crate::model::{ReplicaId, Timestamp};
use crate::store::{Member, Runtime};

/// How long a replica may take to say who belongs to the branch.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long to rest after a round of such questions: strangers can cause them.
const REST: Duration = Duration::from_millis(200);
/// How often a replica looks whether it has stopped.
const LOOK: Duration = Duration::from_secs(5);

/// What a replica may say to this one; more includes less.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Rank {
    /// It may ask who this one is and how it is.
    Stranger,
    /// It may also ask about the ledger and pass calls on.
    Member,
    /// It may also lead and stand for election.
    Voter,
}

/// Who belongs to a branch, as a replica says that asks nobody.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Roster {
    /// The log entry that says so.
    pub(super) index: Option<u64>,
    pub(super) voters: BTreeSet<u64>,
    pub(super) members: BTreeMap<u64, Member>,
    /// The time of the ledger there.
    pub(super) time: Option<Timestamp>,
}

/// What a replica knows from others and not from its own log and clock.
#[derive(Default)]
pub(super) struct Hearsay {
    /// Who belongs to the branch, where the log of this replica is older.
    pub(super) roster: Roster,
    /// The time that the ledgers of a majority have reached.
    pub(super) agreed: Option<Timestamp>,
    /// The last time that was refused; the log says it once.
    pub(super) refused: Option<Timestamp>,
}

impl Roster {
    fn rank(&self, replica: ReplicaId) -> Rank {
        if self.voters.contains(&replica.0) {
            return Rank::Voter;
        }
        if self.members.contains_key(&replica.0) { Rank::Member } else { Rank::Stranger }
    }
}

impl<R: Runtime> Replica<R> {
    /// Who belongs to the branch as the log of this replica says.
    pub(super) fn roster(&self) -> Roster {
        self.outlook.look(|metrics| {
            let config = &metrics.membership_config;
            Roster {
                index: config.log_id().map(|id| id.index),
                voters: config.voter_ids().collect(),
                members: config.nodes().map(|(id, member)| (*id, member.clone())).collect(),
                time: self.current.get().ledger.position().time,
            }
        })
    }

    /// What a replica may say to this one.
    pub(super) fn rank(&self, from: ReplicaId) -> Rank {
        if from == self.peers.me.replica {
            return Rank::Stranger;
        }
        let (own, index) = self.outlook.look(|metrics| {
            let (effective, committed) = (&metrics.membership_config, &metrics.committed_membership_config);
            // A leader that is being removed leads until the others know that it is.
            let mut configs = effective.get_joint_config().iter().chain(committed.get_joint_config());
            let rank = if configs.any(|voters| voters.contains(&from.0)) {
                Rank::Voter
            } else if effective.get_node(&from.0).is_some() {
                Rank::Member
            } else {
                Rank::Stranger
            };
            (rank, effective.nodes().next().and(effective.log_id().as_ref()).map(|id| id.index))
        });
        if own == Rank::Voter {
            return own;
        }
        if index.is_none() && self.listed.contains_key(&from) {
            // No log yet: the list is all there is.
            return Rank::Voter;
        }
        let told = &self.hearsay.lock().roster;
        if told.index > index { own.max(told.rank(from)) } else { own }
    }

    /// Asks who belongs to the branch, because a replica speaks that this one does not know.
    async fn learn_members(&self) {
        let me = &self.peers.me;
        let known: BTreeMap<ReplicaId, Member> = self.some_others().into_iter().collect();
        let members =
            known.iter().map(|(id, member)| (*id, member.address.clone(), Some(member.incarnation)));
        let listed = self.listed.iter().filter(|(id, _)| **id != me.replica && !known.contains_key(id));
        let all = members.chain(listed.map(|(id, address)| (*id, address.clone(), None)));
        let asked = all.map(|(id, address, life)| async move {
            let life = match life {
                Some(life) => life,
                None => match self.peers.ask_at(id, &address, None, PATIENCE, Ask::Hello).await {
                    Ok(Answer::Hello(hello)) => hello.life,
                    Ok(_) | Err(_) => return None,
                },
            };
            match self.peers.ask_at(id, &address, Some(life), PATIENCE, Ask::Roster).await {
                Ok(Answer::Roster(roster)) => Some((id.0, roster)),
                Ok(_) | Err(_) => None,
            }
        });
        let mine = self.roster();
        // Whoever does not know this replica has nothing to say about whom it belongs to.
        let knows_me = |roster: &Roster| {
            let member = roster.members.get(&me.replica.0);
            member.is_some_and(|member| member.incarnation == me.member.incarnation)
        };
        let answers = join_all(asked).await.into_iter().flatten();
        let answers: BTreeMap<u64, Roster> =
            answers.filter(|(_, roster)| roster.members.len() <= MOST_MEMBERS && knows_me(roster)).collect();
        let mut hearsay = self.hearsay.lock();
        let newest = answers.values().filter(|roster| roster.index > mine.index);
        if let Some(newest) = newest.max_by_key(|roster| roster.index) {
            hearsay.roster = newest.clone();
        }
        let voters = if hearsay.roster.index > mine.index { &hearsay.roster.voters } else { &mine.voters };
        let mut times: Vec<Timestamp> =
            answers.iter().filter(|(id, _)| voters.contains(id)).filter_map(|(_, told)| told.time).collect();
        times.sort_unstable_by(|a, b| b.cmp(a));
        // The majority without this replica, so that nobody alone can tell the time.
        if let Some(reached) = times.get(voters.len() / 2) {
            hearsay.agreed = hearsay.agreed.max(Some(*reached));
        }
    }

    /// Refuses a time that is far ahead of the clock here, and finds out whether a majority has it all the same.
    pub(super) fn untimely(&self, Untimely(time): Untimely) -> Refusal {
        // Once: anybody can cause it.
        if self.hearsay.lock().refused.replace(time).is_none() {
            tracing::warn!(
                micros = time.micros(),
                "entries with a time more than a day ahead of this machine's clock are not taken; correct the clock \
                 that is wrong"
            );
        }
        self.stranger.notify_one();
        let what = "it carries a time more than a day ahead of this machine's clock; correct the clock that is wrong";
        Refusal::Impossible { why: what.to_owned() }
    }
}

/// Asks when a stranger spoke, until the replica stops.
pub(super) async fn run<R: Runtime>(replica: Arc<Replica<R>>) {
    loop {
        let spoke = R::timeout(LOOK, replica.stranger.notified()).await.is_some();
        if replica.outlook.look(|metrics| metrics.running_state.is_err()) {
            return;
        }
        if spoke {
            replica.learn_members().await;
            R::sleep(REST).await;
        }
    }
}
