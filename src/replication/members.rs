//! Changes of the members: add a replica, let it vote, remove it, let another one lead.
//!
//! Invariant: a change is decided by the leader and stands in the log before it counts. A replica is added
//! with the life of its log that it has now, and only with an empty log, so that one which has forgotten what it
//! promised never comes back as if it had not.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::future::{Either, join_all, select};
use openraft::ChangeMembers;
use openraft::errors::{ClientWriteError, RaftError};
use openraft::raft::Precondition;
use serde::{Deserialize, Serialize};
use tokio::sync::MutexGuard;

use super::admission::{ADDRESS_BYTES, MOST_MEMBERS};
use super::branch::Replica;
use super::message::{Answer, Ask, Hello, History, Refusal};
use super::outlook::{LOST, Leader};
use super::peers::Trouble;
use crate::model::{ReplicaId, Sequence, Unavailable};
use crate::store::{Incarnation, LogId, Member, Runtime, Types};

/// How long a replica that is to be added may take to say who it is.
const HELLO: Duration = Duration::from_secs(2);
/// How long a change may take to be committed.
const COMMIT: Duration = Duration::from_secs(10);
/// How long a replica that is to vote may take to catch up, and another leader to take over.
const CATCH_UP: Duration = Duration::from_secs(10);
/// Entries by which a replica may be behind when it becomes a voter: the rest takes no time.
const NEARLY: u64 = 64;
/// How long a replica may take to say how far back its history goes, or that it stays.
const QUESTION: Duration = Duration::from_millis(500);
/// How long a replica that is to go waits until the others have its history.
const HISTORY: Duration = Duration::from_secs(2);
/// Most other replicas that one round of questions goes to.
const MOST_ASKED: usize = 7;
/// How long a change waits for the one before it.
const TURN: Duration = Duration::from_secs(2);
/// How often something that is waited for is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// A wish to change the members.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Change {
    /// Let a new replica follow the log, without a vote.
    Add {
        /// Its number.
        replica: ReplicaId,
        /// Where it is reached.
        address: String,
    },
    /// Give a replica that follows a vote.
    Promote {
        /// Its number.
        replica: ReplicaId,
    },
    /// Take a replica out of the branch.
    Remove {
        /// Its number.
        replica: ReplicaId,
        /// Also when it may be the only one that has a part of the history.
        lose_history: bool,
    },
    /// Let another replica lead.
    Transfer {
        /// Which one; the one that is furthest when none is named.
        to: Option<ReplicaId>,
    },
}

/// Why the members were not changed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ChangeError {
    /// The change cannot be made; the text says why.
    #[error("{0}")]
    Refused(String),
    /// The branch cannot decide it now.
    #[error("{}", crate::model::Failure::from(.0.clone()).message)]
    Unavailable(Unavailable),
}

impl From<Refusal> for ChangeError {
    fn from(refusal: Refusal) -> ChangeError {
        match refusal {
            Refusal::NotLeader => ChangeError::Unavailable(Unavailable::NoLeader),
            Refusal::Stopped => ChangeError::Unavailable(Unavailable::Stopping),
            Refusal::Unavailable(unavailable) => ChangeError::Unavailable(unavailable),
            Refusal::Change { why } => ChangeError::Refused(why),
            Refusal::Snapshot { .. }
            | Refusal::Unreadable { .. }
            | Refusal::OtherBranch { .. }
            | Refusal::OtherLedger { .. }
            | Refusal::OtherReplica { .. }
            | Refusal::OtherLife { .. }
            | Refusal::NotMember { .. }
            | Refusal::Impossible { .. } => ChangeError::Refused(refusal.to_string()),
        }
    }
}

/// The change of members that openraft makes.
type OpenraftChange = ChangeMembers<u64, Member>;

impl<R: Runtime> Replica<R> {
    /// Makes a change as the leader. `life` is the life of its log that the replica must have which is meant.
    pub(super) async fn change_here(&self, change: Change, life: Option<Incarnation>) -> Result<(), Refusal> {
        if self.outlook.leader() != Leader::Here {
            return Err(Refusal::NotLeader);
        }
        match change {
            Change::Add { replica, address } => self.add(replica, address).await,
            Change::Promote { replica } => self.promote(replica, life).await,
            Change::Remove { replica, lose_history } => {
                self.meant(replica, life)?;
                if !lose_history {
                    self.history_stays(replica).await?;
                }
                self.remove(replica, life).await
            }
            Change::Transfer { to } => self.transfer(to).await,
        }
    }

    async fn add(&self, replica: ReplicaId, address: String) -> Result<(), Refusal> {
        if address.len() > ADDRESS_BYTES {
            return Err(change(format!("an address has at most {ADDRESS_BYTES} bytes")));
        }
        let me = &self.peers.me;
        let (life, pristine) = if replica == me.replica && address == me.member.address {
            (me.member.incarnation, false)
        } else {
            let hello = self.introduction(replica, &address).await?;
            (hello.life, hello.pristine)
        };
        let _turn = self.turn().await?;
        let at = self.members_at();
        let member = Member { address, incarnation: life };
        let nodes = BTreeMap::from([(replica.0, member.clone())]);
        match self.member(replica) {
            Some(known) if known == member => Ok(()),
            Some(known) if known.incarnation == member.incarnation => {
                self.commit(ChangeMembers::SetNodes(nodes), at).await
            }
            Some(_) => Err(Refusal::OtherLife { replica }),
            None if !pristine => {
                Err(change(format!("replica {replica} has a log of its own; start it without one")))
            }
            None if self.roster().members.len() >= MOST_MEMBERS => {
                Err(change(format!("a branch has at most {MOST_MEMBERS} replicas")))
            }
            None => self.commit(ChangeMembers::AddNodes(nodes), at).await,
        }
    }

    /// Asks the replica at an address who it is. One at a time, through a connection that is not kept, and whatever is
    /// wrong with the address the answer is the same and takes as long: this is no tool to look into a network.
    async fn introduction(&self, replica: ReplicaId, address: &str) -> Result<Hello, Refusal> {
        let Ok(_asking) = self.wishes.asking.try_lock() else {
            return Err(change("another replica is being asked who it is; try again in a moment"));
        };
        let until = R::now() + HELLO;
        let link = self.peers.link(address);
        let header = self.peers.header(replica, None);
        match self.peers.ask_through(&*link, header, HELLO, Ask::Hello).await {
            Ok(Answer::Hello(hello)) => Ok(hello),
            Err(Trouble::Refused(refusal)) => {
                Err(change(format!("replica {replica} at {address} cannot be added: {refusal}")))
            }
            Ok(_) | Err(Trouble::Lost(_)) => {
                R::sleep(R::left(until)).await;
                Err(change(format!(
                    "no replica of this branch answers at {address}; start replica {replica} there, then try again"
                )))
            }
        }
    }

    async fn promote(&self, replica: ReplicaId, life: Option<Incarnation>) -> Result<(), Refusal> {
        let member = self.meant(replica, life)?;
        let voters = self.voters();
        if voters.contains(&replica) {
            return Ok(());
        }
        let caught_up = async {
            while !self.nearly_caught_up(replica) {
                R::sleep(LOOK).await;
            }
        };
        if R::timeout(CATCH_UP, caught_up).await.is_none() {
            let why =
                format!("replica {replica} is still too far behind to vote; wait until it has caught up");
            return Err(change(why));
        }
        // What it had acknowledged does not say that it still runs.
        if self.peers.ask(replica, &member, QUESTION, Ask::Hello).await.is_err() {
            return Err(change(format!(
                "replica {replica} does not answer; without it a vote would only be missed"
            )));
        }
        let _turn = self.turn().await?;
        let at = self.members_at();
        self.meant(replica, life)?;
        let with_it = self.voters().into_iter().chain([replica]).collect();
        self.majority_answers(&with_it, &format!("with replica {replica}"))?;
        self.commit(ChangeMembers::AddVoterIds(BTreeSet::from([replica.0])), at).await
    }

    async fn remove(&self, replica: ReplicaId, life: Option<Incarnation>) -> Result<(), Refusal> {
        let _turn = self.turn().await?;
        // The members as they are now: what is decided here must not be done to others that came since.
        let at = self.members_at();
        self.meant(replica, life)?;
        let voters = self.voters();
        if !voters.contains(&replica) {
            return self.commit(ChangeMembers::RemoveNodes(BTreeSet::from([replica.0])), at).await;
        }
        let left = voters.into_iter().filter(|voter| *voter != replica).collect();
        self.majority_answers(&left, &format!("without replica {replica}"))?;
        self.commit(ChangeMembers::RemoveVoters(BTreeSet::from([replica.0])), at).await
    }

    /// Refuses a change after which no majority of the voters would answer.
    fn majority_answers(&self, voters: &BTreeSet<ReplicaId>, change_is: &str) -> Result<(), Refusal> {
        let alive = voters.iter().filter(|voter| self.peers.heard_within(**voter, LOST)).count();
        if 2 * alive > voters.len() {
            return Ok(());
        }
        let count = voters.len();
        Err(change(format!(
            "{change_is} there would be {count} voters, of which {alive} answer; that is no majority"
        )))
    }

    async fn transfer(&self, to: Option<ReplicaId>) -> Result<(), Refusal> {
        if to == Some(self.peers.me.replica) {
            return Ok(());
        }
        let _turn = self.turn().await?;
        self.wishes.may_hand_over()?;
        self.hand_over_to(to).await
    }

    /// Lets another replica lead, whenever the lead was handed over last.
    pub(super) async fn hand_over_to(&self, to: Option<ReplicaId>) -> Result<(), Refusal> {
        let to = match to {
            Some(to) => {
                self.known(to)?;
                to
            }
            None => {
                self.successor().await.ok_or_else(|| change("no other voter answers; the leader stays"))?
            }
        };
        if !self.voters().contains(&to) {
            return Err(change(format!("replica {to} has no vote; promote it first")));
        }
        if !self.peers.heard_within(to, LOST) {
            return Err(change(format!("replica {to} does not answer; the leader stays")));
        }
        self.wishes.handed_over();
        self.raft.trigger().transfer_leader(to.0).await.map_err(|_| Refusal::Stopped)?;
        let mut outlook = self.outlook.clone();
        let taken_over = async {
            while outlook.look(|metrics| metrics.current_leader) != Some(to.0) {
                outlook.changed(LOOK).await;
            }
        };
        let gone = async {
            while self.stays(to).await {
                R::sleep(LOOK).await;
            }
        };
        match R::timeout(CATCH_UP, select(pin!(taken_over), pin!(gone))).await {
            Some(Either::Left(_)) => Ok(()),
            Some(Either::Right(_)) => Err(change(format!("replica {to} stops, too"))),
            None => Err(change(format!("replica {to} did not take over"))),
        }
    }

    /// The voter that takes over when none is named: of those that stay the one that has most of the log.
    async fn successor(&self) -> Option<ReplicaId> {
        for voter in self.others_that_answer() {
            if self.stays(voter).await {
                return Some(voter);
            }
        }
        None
    }

    /// Whether a replica is not being stopped, as far as it says. One that says nothing in time may be busy.
    async fn stays(&self, replica: ReplicaId) -> bool {
        let Some(member) = self.member(replica) else { return false };
        match self.peers.ask(replica, &member, QUESTION, Ask::Hello).await {
            Ok(Answer::Hello(hello)) => !hello.stopping,
            Ok(_) | Err(Trouble::Refused(_)) => false,
            Err(Trouble::Lost(lost)) => lost.sent,
        }
    }

    /// Waits until the replicas that stay have the history that the one has which is to go.
    async fn history_stays(&self, leaving: ReplicaId) -> Result<(), Refusal> {
        let until = R::now() + HISTORY;
        loop {
            match self.history_at_risk(leaving).await {
                None => return Ok(()),
                Some(why) if R::now() >= until => return Err(change(why)),
                Some(_) => R::sleep(LOOK).await,
            }
        }
    }

    /// Why a part of the history may be lost with a replica; none when the others have it, or could not take it.
    async fn history_at_risk(&self, leaving: ReplicaId) -> Option<String> {
        let members: Vec<(ReplicaId, Member)> = self.outlook.look(|metrics| {
            let nodes = metrics.membership_config.nodes();
            nodes.map(|(id, member)| (ReplicaId(*id), member.clone())).collect()
        });
        let asked = members.iter().map(|(id, member)| async {
            if *id == self.peers.me.replica {
                return (*id, Some(self.history()));
            }
            match self.peers.ask(*id, member, QUESTION, Ask::History).await {
                Ok(Answer::History(history)) => (*id, Some(history)),
                Ok(_) | Err(_) => (*id, None),
            }
        });
        let (mut theirs, mut others) = (None, Vec::new());
        for (id, history) in join_all(asked).await {
            if id == leaving { theirs = history } else { others.extend(history) }
        }
        let first = others.iter().map(|history| history.first).min()?;
        let nobody_lacks = first <= Sequence(1) || !others.iter().any(|history| history.takes_older);
        match theirs {
            _ if nobody_lacks => None,
            Some(theirs) if theirs.first >= first => None,
            Some(_) => Some(format!(
                "only replica {leaving} has the history before sequence {first}; the others are fetching it, so try \
                 again, or remove it with lose_history (--lose-history)"
            )),
            None => Some(format!(
                "replica {leaving} does not answer and may be the only one that has the history before sequence \
                 {first}; start it until the others have fetched it, or remove it with lose_history (--lose-history)"
            )),
        }
    }

    /// How far back the history of this replica goes.
    pub(super) fn history(&self) -> History {
        let journal = &self.current.get().journal;
        History { first: journal.first(), takes_older: journal.takes_older() }
    }

    /// Whether this replica knows by a committed entry after `since` that another one, with this life of its log, does
    /// not belong to the branch.
    pub(super) fn knows_removed(&self, replica: ReplicaId, life: Incarnation, since: Option<u64>) -> bool {
        self.outlook.look(|metrics| {
            let known = &metrics.committed_membership_config;
            known.log_id().map(|id| id.index) > since
                && known.get_node(&replica.0).is_none_or(|member| member.incarnation != life)
        })
    }

    /// The other replicas that are asked again and again: all of a small branch, of a large one some, those that vote
    /// first, so that the connections of all together grow no faster than the branch.
    pub(super) fn some_others(&self) -> Vec<(ReplicaId, Member)> {
        let me = self.peers.me.replica;
        self.outlook.look(|metrics| {
            let voters: BTreeSet<u64> = metrics.membership_config.voter_ids().collect();
            let mut others: Vec<_> =
                metrics.membership_config.nodes().filter(|(id, _)| **id != me.0).collect();
            others.sort_by_key(|(id, _)| !voters.contains(id));
            let some = others.into_iter().take(MOST_ASKED);
            some.map(|(id, member)| (ReplicaId(*id), member.clone())).collect()
        })
    }

    /// Asks others whether they have taken this replica out of the branch, and remembers it.
    pub(super) async fn ask_whether_removed(&self) {
        let me = &self.peers.me;
        let since = self.outlook.look(|metrics| metrics.membership_config.log_id().map(|id| id.index));
        let others = self.some_others();
        let asked = others.iter().map(|(id, member)| async {
            let ask = Ask::Removed { replica: me.replica, life: me.member.incarnation, since };
            matches!(self.peers.ask(*id, member, QUESTION, ask).await, Ok(Answer::Removed(true)))
        });
        let removed = self.knows_removed(me.replica, me.member.incarnation, None)
            || join_all(asked).await.contains(&true);
        if removed && !self.removed.swap(removed, Ordering::Relaxed) {
            tracing::warn!("this replica was taken out of the branch; it can be stopped");
        }
    }

    /// Ends a change that an earlier leader began and did not finish.
    pub(super) async fn finish_change(&self) {
        let Ok(_turn) = self.turn().await else { return };
        let nothing = ChangeMembers::AddVoterIds(BTreeSet::new());
        if let Err(refusal) = self.commit(nothing, self.members_at()).await {
            tracing::debug!(%refusal, "a change of members is still open");
        }
    }

    /// Waits until no other change is being made. They are made one after the other.
    async fn turn(&self) -> Result<MutexGuard<'_, ()>, Refusal> {
        let turn = R::timeout(TURN, self.wishes.turn.lock()).await;
        turn.ok_or_else(|| change("another change of the members is being made; try again in a moment"))
    }

    /// Which log entry says who the members are.
    fn members_at(&self) -> Option<LogId> {
        self.outlook.look(|metrics| *metrics.membership_config.log_id())
    }

    /// Changes the members if they are still those that the entry `at` says.
    async fn commit(&self, members: OpenraftChange, at: Option<LogId>) -> Result<(), Refusal> {
        let unchanged = [Precondition::LastMembershipLogId { last_membership_log_id: at }];
        let committed = R::timeout(COMMIT, self.raft.change_membership_if(members, false, unchanged)).await;
        match committed {
            Some(Ok(_)) => Ok(()),
            Some(Err(error)) => Err(refusal(error)),
            None => Err(Refusal::Unavailable(Unavailable::OutcomeUnknown)),
        }
    }

    /// The member with that number, if it is the one that is meant.
    fn meant(&self, replica: ReplicaId, life: Option<Incarnation>) -> Result<Member, Refusal> {
        let member = self.known(replica)?;
        if life.is_some_and(|life| life != member.incarnation) {
            let why = format!(
                "replica {replica} was removed and added again since; it is not the one that was meant"
            );
            return Err(change(why));
        }
        Ok(member)
    }

    pub(super) fn member(&self, replica: ReplicaId) -> Option<Member> {
        self.outlook.look(|metrics| metrics.membership_config.get_node(&replica.0).cloned())
    }

    fn known(&self, replica: ReplicaId) -> Result<Member, Refusal> {
        self.member(replica).ok_or_else(|| change(format!("the branch has no replica {replica}")))
    }

    pub(super) fn voters(&self) -> BTreeSet<ReplicaId> {
        self.outlook.look(|metrics| metrics.membership_config.voter_ids().map(ReplicaId).collect())
    }

    fn nearly_caught_up(&self, replica: ReplicaId) -> bool {
        self.outlook.look(|metrics| {
            let matched =
                metrics.replication.as_ref().and_then(|matched| matched.get(&replica.0).copied().flatten());
            matched.is_some_and(|matched| matched.index + NEARLY >= metrics.last_log_index.unwrap_or(0))
        })
    }

    /// The other voters that answer, the one that has most of the log first.
    pub(super) fn others_that_answer(&self) -> Vec<ReplicaId> {
        let me = self.peers.me.replica;
        let others = self.voters().into_iter().filter(|voter| *voter != me);
        let mut answering: Vec<_> = others.filter(|voter| self.peers.heard_within(*voter, LOST)).collect();
        let index = |voter: &ReplicaId| {
            let of = |metrics: &openraft::RaftMetrics<Types<R>>| {
                metrics.replication.as_ref().and_then(|matched| matched.get(&voter.0).copied().flatten())
            };
            self.outlook.look(of).map(|matched| matched.index)
        };
        answering.sort_by_key(|voter| std::cmp::Reverse(index(voter)));
        answering
    }
}

fn change(why: impl Into<String>) -> Refusal {
    Refusal::Change { why: why.into() }
}

fn refusal<R: Runtime>(error: RaftError<Types<R>, ClientWriteError<Types<R>>>) -> Refusal {
    match error {
        RaftError::APIError(ClientWriteError::ForwardToLeader(_)) => Refusal::NotLeader,
        RaftError::APIError(ClientWriteError::LogEntryDiscarded(_)) => {
            Refusal::Unavailable(Unavailable::OutcomeUnknown)
        }
        RaftError::APIError(ClientWriteError::ChangeMembershipError(error)) => change(error.to_string()),
        RaftError::APIError(ClientWriteError::PreconditionFailed(error)) => change(error.to_string()),
        RaftError::Fatal(_) => Refusal::Stopped,
    }
}
