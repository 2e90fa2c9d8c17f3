//! The batcher: turns waiting proposals into log entries, here or at the leader.
//!
//! Invariant: proposals enter the log in the order in which they were taken in, each in one batch, and
//! every one is answered: with its reply, or with an error that says whether it may have happened. A
//! batch is whatever waits when there is room for one more in the log, so a lone call waits for
//! nobody and batches grow with the load; there is no timer.
//!
//! What was certainly not executed is tried again until its deadline is near. What may have been executed
//! is tried again only when it has a request id, by which the ledger recognises it.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use openraft::Raft;
use openraft::errors::{ClientWriteError, ForwardReason};
use openraft::raft::ClientWriteResult;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::branch::Clock;
use super::inbox::{Capacity, Inbox, Weigh};
use super::lane::{Lanes, ReturnTo};
use super::message::{Answer, Ask, Forwarded, Refusal};
use super::outlook::{Leader, Outlook};
use super::peers::Trouble;
use crate::model::limits::BATCH_COMMANDS;
use crate::model::planted::{Fault, planted};
use crate::model::{Batch, Proposal, ReplicaId, Reply, Timestamp, Trace, Traced, Unavailable};
use crate::store::{Current, LogBatch, LogStore, Machine, Member, Respond, Runtime, Types};

/// Most proposals that wait for the log.
pub const QUEUED_PROPOSALS: usize = 65_536;
/// Most commands that wait for the log.
pub const QUEUED_COMMANDS: usize = 64 * BATCH_COMMANDS;
/// Most batches that are in the log and not yet applied: the next ones are collected and flushed while
/// the first are replicated.
const BATCHES_IN_FLIGHT: usize = 4;
/// How often those that wait for a leader or for room are looked at.
const LOOK: Duration = Duration::from_millis(20);
/// What cannot be handed over by so much before its deadline is given up, so that its caller learns that
/// nothing happened instead of hearing nothing.
const MARGIN: Duration = Duration::from_millis(40);
/// How long a refused batch rests before it is tried again.
const REST: Duration = Duration::from_millis(10);

/// A proposal on its way to the log, and where its answer goes.
pub(super) struct Waiting<R: Runtime> {
    pub(super) proposal: Proposal,
    /// Travels with the proposal to the log.
    pub(super) trace: Option<Box<Trace>>,
    pub(super) to: ReturnTo<Reply>,
    /// When its caller stops waiting.
    pub(super) deadline: R::Instant,
    /// Whether an earlier attempt may have been executed.
    pub(super) unsure: bool,
}

impl<R: Runtime> Weigh for Waiting<R> {
    fn weight(&self) -> usize {
        self.proposal.work.commands().len().max(1)
    }
}

/// The inbox of the batcher.
pub(super) fn inbox<R: Runtime>() -> Inbox<Waiting<R>> {
    Inbox::new(Capacity { entries: QUEUED_PROPOSALS, weight: QUEUED_COMMANDS })
}

/// Where proposals wait and where their answers go; shared with those who wait for an attempt.
pub(super) struct Desk<R: Runtime> {
    pub(super) inbox: Arc<Inbox<Waiting<R>>>,
    pub(super) lanes: Arc<Lanes>,
    outlook: Outlook<R>,
    /// Whether something came back since the batcher last rested.
    came_back: AtomicBool,
}

/// A caller and what is known of the proposal besides its content.
type Caller<R> = (ReturnTo<Reply>, <R as Runtime>::Instant, bool);

impl<R: Runtime> Desk<R> {
    pub(super) fn new(inbox: Arc<Inbox<Waiting<R>>>, lanes: Arc<Lanes>, outlook: Outlook<R>) -> Desk<R> {
        Desk { inbox, lanes, outlook, came_back: AtomicBool::new(false) }
    }

    /// Answers those who have their answer and takes the others in again.
    fn settle(&self, attempts: impl Iterator<Item = (Waiting<R>, Result<Reply, Unavailable>)>) {
        let mut again = VecDeque::new();
        let mut answers = Vec::new();
        for (mut waiting, result) in attempts {
            let (result, retry) = judge(&waiting, result);
            if retry {
                waiting.unsure |= result == Err(Unavailable::OutcomeUnknown);
                again.push_back(waiting);
            } else {
                answers.push((waiting.to, result.map_err(|error| self.seen_from_here(error))));
            }
        }
        self.lanes.reply(answers.into_iter());
        if !again.is_empty() {
            self.came_back.store(true, Ordering::Release);
            self.inbox.put_back(again);
        }
    }

    /// What another replica, or the log, said, as this replica tells it.
    fn seen_from_here(&self, error: Unavailable) -> Unavailable {
        if !matches!(error, Unavailable::NoLeader | Unavailable::Starting | Unavailable::Stopping) {
            return error;
        }
        let verdict = self.outlook.of_writes();
        let graver = matches!(verdict, Unavailable::NoQuorum | Unavailable::Stopping);
        if graver { verdict } else { Unavailable::NoLeader }
    }

    /// Gives up those whose deadline is near, with the reason for which they could not be handed over.
    fn give_up(&self, reason: impl FnOnce() -> Unavailable) {
        let limit = R::now() + MARGIN;
        let late = self.inbox.remove(|waiting| waiting.deadline <= limit || waiting.to.abandoned());
        if !late.is_empty() {
            let reason = reason();
            self.lanes.reply(late.into_iter().map(|waiting| give_up(waiting, &reason)));
        }
    }
}

fn give_up<R: Runtime>(
    waiting: Waiting<R>,
    reason: &Unavailable,
) -> (ReturnTo<Reply>, Result<Reply, Unavailable>) {
    let error = if waiting.unsure { Unavailable::OutcomeUnknown } else { reason.clone() };
    (waiting.to, Err(error))
}

/// What a result means for a proposal: what to tell its caller, and whether to try again instead.
fn judge<R: Runtime>(
    waiting: &Waiting<R>,
    result: Result<Reply, Unavailable>,
) -> (Result<Reply, Unavailable>, bool) {
    let error = match result {
        Ok(reply) => return (Ok(reply), false),
        Err(error) => error,
    };
    let worth = match &error {
        // Of another replica or another moment: here and later it may be different.
        Unavailable::NoLeader | Unavailable::NoQuorum | Unavailable::Starting | Unavailable::Stopping => true,
        Unavailable::OutcomeUnknown => waiting.proposal.request.is_some(),
        Unavailable::Overloaded { .. }
        | Unavailable::StorageFull
        | Unavailable::ReplicaBehind { .. }
        | Unavailable::SessionUnknown => false,
    };
    // One hop only: the replica that passed it on tries again itself.
    let passed_on = matches!(waiting.to, ReturnTo::Peer(_));
    let retry = worth && !passed_on && !waiting.to.abandoned() && waiting.deadline > R::now() + MARGIN;
    let error = if waiting.unsure { Unavailable::OutcomeUnknown } else { error };
    (Err(error), retry)
}

/// What the batcher works with.
pub(super) struct Batcher<R: Runtime> {
    pub(super) desk: Arc<Desk<R>>,
    pub(super) raft: Raft<Types<R>, Machine<R>>,
    pub(super) log: LogStore<R>,
    pub(super) current: Arc<Current>,
    pub(super) clock: Clock,
    pub(super) outlook: Outlook<R>,
}

impl<R: Runtime> Batcher<R> {
    /// Runs until the inbox is closed and empty and everything is answered; says so to `drained`.
    pub(super) async fn run(mut self, drained: watch::Sender<bool>) {
        let room = Arc::new(Semaphore::new(BATCHES_IN_FLIGHT));
        let all = u32::try_from(BATCHES_IN_FLIGHT).unwrap_or(u32::MAX);
        let mut last = None;
        loop {
            if !self.desk.inbox.filled().await {
                // All permits are back when every batch is answered; some of them may have come back.
                let _all = room.acquire_many(all).await;
                if self.desk.inbox.filled().await {
                    continue;
                }
                break;
            }
            let Some((permit, leader)) = self.room(&room).await else { continue };
            let waiting = self.due();
            if waiting.is_empty() {
                continue;
            }
            match leader {
                Leader::Here => {
                    let mut time = (self.clock)().after(last.max(self.current.get().ledger.position().time));
                    if planted(Fault::TimeGoesBack) {
                        time = (self.clock)();
                    }
                    last = Some(time);
                    if !self.propose(time, waiting, permit).await {
                        self.end();
                    }
                }
                Leader::Peer(id, member) => self.pass_on(id, member, waiting, permit),
                Leader::Unknown | Leader::Stopped => self.desk.inbox.put_back(waiting),
            }
        }
        drained.send_replace(true);
    }

    /// openraft has stopped for good: what still waits can go nowhere.
    fn end(&self) {
        self.desk.inbox.close();
        let left = self.desk.inbox.remove(|_| true);
        self.desk.lanes.reply(left.into_iter().map(|waiting| give_up(waiting, &Unavailable::Stopping)));
    }

    /// Waits until one more batch can go somewhere. None when nothing waits any more.
    async fn room(&mut self, room: &Arc<Semaphore>) -> Option<(OwnedSemaphorePermit, Leader)> {
        if self.desk.came_back.swap(false, Ordering::AcqRel) {
            // Not until something changes: the attempt itself changes openraft's figures.
            R::sleep(REST).await;
        }
        let mut permit = Arc::clone(room).try_acquire_owned().ok();
        loop {
            let leader = self.outlook.leader();
            match (permit.take(), leader) {
                (_, Leader::Stopped) => {
                    self.end();
                    return None;
                }
                (Some(permit), leader @ (Leader::Here | Leader::Peer(..))) => return Some((permit, leader)),
                (held @ Some(_), Leader::Unknown) => {
                    permit = held;
                    self.outlook.changed(LOOK).await;
                }
                (None, Leader::Here | Leader::Peer(..) | Leader::Unknown) => {
                    let one = Arc::clone(room).acquire_owned();
                    permit = R::timeout(LOOK, one).await.and_then(Result::ok);
                    if permit.is_some() {
                        continue;
                    }
                }
            }
            self.desk.give_up(|| self.outlook.of_writes());
            if self.desk.inbox.is_empty() {
                return None;
            }
        }
    }

    /// The next batch, without those whose caller has gone.
    fn due(&self) -> VecDeque<Waiting<R>> {
        let mut waiting = self.desk.inbox.take_now(BATCH_COMMANDS);
        let now = R::now();
        if waiting.iter().any(|waiting| waiting.deadline <= now) {
            let (late, due): (Vec<_>, Vec<_>) =
                waiting.into_iter().partition(|waiting| waiting.deadline <= now);
            let reason = self.outlook.of_writes();
            self.desk.lanes.reply(late.into_iter().map(|waiting| give_up(waiting, &reason)));
            waiting = due.into();
        }
        waiting
    }

    /// Hands one batch to the log. False when there is no log any more.
    async fn propose(
        &self,
        time: Timestamp,
        waiting: VecDeque<Waiting<R>>,
        permit: OwnedSemaphorePermit,
    ) -> bool {
        if !self.log.has_room() || !self.current.get().journal.has_room() {
            // What is in flight still fits; more is not let in.
            let full = |waiting| give_up(waiting, &Unavailable::StorageFull);
            self.desk.lanes.reply(waiting.into_iter().map(full));
            return true;
        }
        let traces = traces(&waiting);
        let (proposals, callers): (Vec<_>, Vec<Caller<R>>) = waiting
            .into_iter()
            .map(|waiting| (waiting.proposal, (waiting.to, waiting.deadline, waiting.unsure)))
            .unzip();
        let batch = LogBatch::traced(Batch { time, founding: None, proposals }, traces);
        let desk = Arc::clone(&self.desk);
        let handed = batch.clone();
        let respond = Respond::new(move |result| {
            answer(&desk, &handed, callers, result);
            drop(permit);
        });
        let handed_over = self.raft.client_write_ff(batch, Some(respond)).await;
        if let Err(error) = &handed_over {
            tracing::error!(%error, "the log has stopped");
        }
        handed_over.is_ok()
    }

    /// Passes one batch on to the leader.
    fn pass_on(
        &self,
        to: ReplicaId,
        member: Member,
        waiting: VecDeque<Waiting<R>>,
        permit: OwnedSemaphorePermit,
    ) {
        // Steps that a leader takes by itself are not taken of others: the next leader takes them when it comes to them.
        let (waiting, own): (VecDeque<_>, VecDeque<_>) =
            waiting.into_iter().partition(|waiting| is_of_callers(&waiting.proposal));
        self.desk.lanes.reply(own.into_iter().map(|waiting| give_up(waiting, &Unavailable::NoLeader)));
        if waiting.is_empty() {
            return;
        }
        let (desk, outlook) = (Arc::clone(&self.desk), self.outlook.clone());
        R::spawn(async move {
            let millis = |left: Duration| u32::try_from(left.as_millis()).unwrap_or(u32::MAX);
            let longest = waiting.iter().map(|waiting| R::left(waiting.deadline)).max().unwrap_or_default();
            let forwarded = waiting.iter().map(|waiting| Forwarded {
                millis: millis(R::left(waiting.deadline)),
                proposal: Cow::Borrowed(&waiting.proposal),
            });
            let (proposals, traces) = (forwarded.collect(), traces(&waiting));
            let ask = match traces.is_empty() {
                true => Ask::Propose(proposals),
                false => Ask::ProposeTraced(proposals, traces),
            };
            let answer = outlook.ask_leader(to, &member, longest, ask).await;
            let count = waiting.len();
            let results = match answer {
                Ok(Answer::Proposed(results)) if results.len() == count => results,
                Ok(_) => vec![Err(Unavailable::OutcomeUnknown); count],
                Err(trouble) => vec![Err(misfortune(to, &trouble)); count],
            };
            desk.settle(waiting.into_iter().zip(results));
            drop(permit);
        });
    }
}

/// Whether all of a proposal is what a caller may ask for.
pub(super) fn is_of_callers(proposal: &Proposal) -> bool {
    proposal.work.commands().iter().all(crate::model::Command::is_of_callers)
}

/// The traces of a batch, which is never longer than its limit.
fn traces<R: Runtime>(waiting: &VecDeque<Waiting<R>>) -> Vec<Traced> {
    let trace =
        |(place, waiting): (u32, &Waiting<R>)| waiting.trace.as_deref().map(|trace| (place, trace.clone()));
    (0..).zip(waiting).filter_map(trace).collect()
}

/// What it means for proposals that they could not be passed on.
fn misfortune(to: ReplicaId, trouble: &Trouble) -> Unavailable {
    tracing::debug!(replica = %to, %trouble, "proposals were not passed on");
    match trouble {
        _ if trouble.unsure() => Unavailable::OutcomeUnknown,
        Trouble::Refused(Refusal::Unavailable(unavailable)) => unavailable.clone(),
        Trouble::Refused(_) | Trouble::Lost(_) => Unavailable::NoLeader,
    }
}

/// Tells every caller of a batch what became of it.
fn answer<R: Runtime>(
    desk: &Desk<R>,
    batch: &LogBatch,
    callers: Vec<Caller<R>>,
    result: ClientWriteResult<Types<R>>,
) {
    let error = match result {
        Ok(written) => {
            let callers = callers.into_iter().map(|(to, _, _)| to);
            return desk.lanes.reply(callers.zip(written.data.0.into_iter().map(Ok)));
        }
        // Refused before it was appended.
        Err(ClientWriteError::ForwardToLeader(forward)) => match forward.reason {
            ForwardReason::LeaseExpired => Unavailable::NoQuorum,
            ForwardReason::NotLeader | ForwardReason::LeadershipTransfer => Unavailable::NoLeader,
        },
        // Appended, then replaced by another leader's entry, perhaps after it had been committed; the
        // other two concern changes of members, and say nothing about a batch.
        Err(
            ClientWriteError::LogEntryDiscarded(_)
            | ClientWriteError::ChangeMembershipError(_)
            | ClientWriteError::PreconditionFailed(_),
        ) => Unavailable::OutcomeUnknown,
    };
    let mut traces: BTreeMap<u32, Trace> = batch.traces().iter().cloned().collect();
    let proposals = (0..).zip(&batch.batch().proposals);
    let waiting = proposals.zip(callers).map(|((place, proposal), (to, deadline, unsure))| {
        let trace = traces.remove(&place).map(Box::new);
        (Waiting { proposal: proposal.clone(), trace, to, deadline, unsure }, Err(error.clone()))
    });
    desk.settle(waiting);
}
