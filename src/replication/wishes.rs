//! Wishes of operators to change the members or the leader, on their way to the leader.
//!
//! Invariant: a wish is decided once. It names the life of the log of the replica that it is about, so one that comes late
//! or twice does nothing to another replica that has the number by then; and a replica remembers the latest wishes
//! that had an id and were granted, so a repetition is granted again without being done again. Changes are
//! made one after the other, and the lead is handed over at most every few seconds.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::branch::{Branch, Replica};
use super::lane::RETRY_AFTER;
use super::members::{Change, ChangeError};
use super::message::{Answer, Ask, Refusal};
use super::outlook::Leader;
use super::peers::Trouble;
use crate::model::{ReplicaId, RequestId, Unavailable};
use crate::store::{Incarnation, Runtime};

/// Most granted wishes that a replica remembers by their ids.
const REMEMBERED: usize = 256;
/// How long the lead stays after it was handed over: each time calls wait for the next leader.
pub(super) const LEAD_PAUSE: Duration = Duration::from_secs(5);
/// How long the leader may take to say who belongs to the branch.
const QUESTION: Duration = Duration::from_millis(500);
/// How often something that is waited for is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// A wish and what must still be so when it is decided.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Wish {
    pub(super) change: Change,
    /// Which life of its log the replica has that is meant; none when it is not known where the wish was taken.
    pub(super) life: Option<Incarnation>,
    /// What the caller calls it.
    pub(super) request: Option<RequestId>,
}

impl From<Change> for Wish {
    fn from(change: Change) -> Wish {
        Wish { change, life: None, request: None }
    }
}

/// What a replica knows of wishes.
pub(super) struct Wishes<R: Runtime> {
    /// Held while a change is being made.
    pub(super) turn: tokio::sync::Mutex<()>,
    /// Held while a replica that is to be added is asked who it is.
    pub(super) asking: tokio::sync::Mutex<()>,
    granted: Mutex<VecDeque<(RequestId, Change)>>,
    /// When the lead was handed over last, as far as this replica knows.
    handed_over: Mutex<Option<R::Instant>>,
}

impl<R: Runtime> Default for Wishes<R> {
    fn default() -> Wishes<R> {
        Wishes {
            turn: tokio::sync::Mutex::default(),
            asking: tokio::sync::Mutex::default(),
            granted: Mutex::default(),
            handed_over: Mutex::default(),
        }
    }
}

impl<R: Runtime> Wishes<R> {
    /// Notes that the lead is being handed over.
    pub(super) fn handed_over(&self) {
        *self.handed_over.lock() = Some(R::now());
    }

    /// Refuses to hand the lead over so soon after the last time.
    pub(super) fn may_hand_over(&self) -> Result<(), Refusal> {
        let again = self.handed_over.lock().map(|at| at + LEAD_PAUSE);
        match again.map(R::left).filter(|left| !left.is_zero()) {
            Some(left) => Err(Refusal::Change {
                why: format!(
                    "the lead was handed over less than {LEAD_PAUSE:?} ago; again in {}.{} s",
                    left.as_secs(),
                    left.subsec_millis() / 100
                ),
            }),
            None => Ok(()),
        }
    }

    /// Whether a wish with this id was granted.
    fn was_granted(&self, wish: &Wish) -> Result<bool, Refusal> {
        let Some(request) = &wish.request else { return Ok(false) };
        let granted = self.granted.lock();
        match granted.iter().find(|(known, _)| known == request) {
            Some((_, change)) if *change == wish.change => Ok(true),
            Some(_) => {
                Err(Refusal::Change { why: format!("the request id {request} was used for another change") })
            }
            None => Ok(false),
        }
    }

    fn remember(&self, wish: Wish) {
        let Some(request) = wish.request else { return };
        let mut granted = self.granted.lock();
        granted.retain(|(known, _)| *known != request);
        granted.push_back((request, wish.change));
        if granted.len() > REMEMBERED {
            granted.pop_front();
        }
    }
}

impl<R: Runtime> Branch<R> {
    /// Changes the members. Any replica takes the wish; the leader decides it. A wish that comes again under the same
    /// `request` and was granted is granted without being done again; which were is remembered, the latest
    /// ones, by the replica that took the wish and by the one that decided it.
    ///
    /// # Errors
    /// [`ChangeError`]; after [`Unavailable::OutcomeUnknown`] look at the status.
    pub async fn change(
        &self,
        change: Change,
        request: Option<RequestId>,
        deadline: R::Instant,
    ) -> Result<(), ChangeError> {
        let replica = Arc::clone(&self.replica);
        let wish = Wish { request, ..change.into() };
        let changed = self.replica.at_home(async move { replica.change(wish, deadline).await }).await;
        let busy = Unavailable::Overloaded { retry_after: RETRY_AFTER };
        changed.unwrap_or(Err(ChangeError::Unavailable(busy)))
    }
}

impl<R: Runtime> Replica<R> {
    pub(super) async fn change(&self, mut wish: Wish, deadline: R::Instant) -> Result<(), ChangeError> {
        if self.wishes.was_granted(&wish)? {
            return Ok(());
        }
        let outlook = self.outlook.clone();
        loop {
            let decided = match outlook.leader() {
                Leader::Here => {
                    let decided = R::timeout_at(deadline, self.decide(wish.clone())).await;
                    decided.unwrap_or(Err(Refusal::Unavailable(Unavailable::OutcomeUnknown)))
                }
                Leader::Peer(id, member) => {
                    if wish.life.is_none() {
                        wish.life = self.life_meant(&wish.change, id, &member).await;
                    }
                    match outlook.ask_leader(id, &member, R::left(deadline), Ask::Decide(wish.clone())).await
                    {
                        Ok(Answer::Changed) => Ok(()),
                        Err(Trouble::Refused(refusal)) => Err(refusal),
                        Err(trouble) if !trouble.unsure() => Err(Refusal::NotLeader),
                        Ok(_) | Err(_) => Err(Refusal::Unavailable(Unavailable::OutcomeUnknown)),
                    }
                }
                Leader::Unknown => Err(Refusal::NotLeader),
                Leader::Stopped => Err(Refusal::Stopped),
            };
            match decided {
                // Not until something changes: the attempt itself changes openraft's figures, and a leader that
                // hands over refuses it at once.
                Err(Refusal::NotLeader) if R::left(deadline) > LOOK => R::sleep(LOOK).await,
                Err(Refusal::NotLeader) => return Err(ChangeError::Unavailable(outlook.of_reads())),
                Err(refusal) => return Err(refusal.into()),
                Ok(()) => {
                    self.wishes.remember(wish);
                    return Ok(());
                }
            }
        }
    }

    /// Decides a wish as the leader.
    pub(super) async fn decide(&self, mut wish: Wish) -> Result<(), Refusal> {
        if self.wishes.was_granted(&wish)? {
            return Ok(());
        }
        if let (None, Some(replica)) = (wish.life, about(&wish.change)) {
            wish.life = self.member(replica).map(|member| member.incarnation);
        }
        self.change_here(wish.change.clone(), wish.life).await?;
        self.wishes.remember(wish);
        Ok(())
    }

    /// Which life of its log the replica has that a change is about, as this replica knows it, or the leader.
    async fn life_meant(
        &self,
        change: &Change,
        leader: ReplicaId,
        member: &crate::store::Member,
    ) -> Option<Incarnation> {
        let replica = about(change)?;
        if let Some(known) = self.member(replica) {
            return Some(known.incarnation);
        }
        match self.peers.ask(leader, member, QUESTION, Ask::Roster).await {
            Ok(Answer::Roster(roster)) => roster.members.get(&replica.0).map(|member| member.incarnation),
            Ok(_) | Err(_) => None,
        }
    }
}

/// The member that a change is about.
fn about(change: &Change) -> Option<ReplicaId> {
    match change {
        Change::Promote { replica } | Change::Remove { replica, .. } => Some(*replica),
        Change::Add { .. } | Change::Transfer { .. } => None,
    }
}
