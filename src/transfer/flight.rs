//! One round trip of a batch of transfers: read, tell the receiver, put what follows into the own log.
//!
//! Invariant: what is told is what the ledger says when it is told. A flight may fail anywhere; the next one begins at
//! the ledger again.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use std::collections::BTreeMap;

use super::desk::{Batch, Landed};
use super::message::{Body, Reply, Terms, Told};
use super::routes::{Routes, exchange};
use super::step::{Answer, Ask, Step, after_answer, is_contrary, next_step};
use crate::model::planted::{Fault, planted};
use crate::model::{
    AbortReason, BranchName, Command, Failure, Origin, Outcome, OutgoingTransfer, Proposal, Reason,
    Rejection, Seen, Sequence, Unavailable, Work,
};
use crate::replication::Lane;
use crate::store::Runtime;

/// How long a message and its answer may take.
pub(super) const EXCHANGE: Duration = Duration::from_secs(2);
/// How long the own log may take.
const OWN_LOG: Duration = Duration::from_secs(10);

/// What flights and inquiries of one replica work with.
pub(super) struct Crew<R: Runtime> {
    pub(super) lane: Lane<R>,
    pub(super) routes: Arc<dyn Routes>,
    /// Why a branch did not do what it was asked, the last time.
    pub(super) troubles: Arc<Mutex<BTreeMap<BranchName, Failure>>>,
}

/// A batch as the ledger shows it.
struct View {
    open: Vec<(OutgoingTransfer, Duration)>,
    closed: Vec<Sequence>,
    origin: Origin,
}

impl<R: Runtime> Crew<R> {
    /// Takes a batch one step further.
    pub(super) async fn fly(&self, batch: Batch) -> Landed {
        let Batch { to, transfers, asking } = batch;
        let all = || transfers.iter().map(|(number, _)| *number).collect();
        let mut landed = Landed {
            to: to.clone(),
            asking,
            reached: true,
            onward: Vec::new(),
            stuck: Vec::new(),
            closed: Vec::new(),
        };
        let Some(view) = self.view(&transfers) else {
            return Landed { stuck: all(), ..landed };
        };
        landed.closed = view.closed;
        let reachable = self.routes.knows(&to);
        let is_misrouted =
            self.troubles.lock().get(&to).is_some_and(|why| why.reason == Reason::BranchUnknown);
        let (mut commands, mut asked) = (Vec::new(), Vec::new());
        for (transfer, waited) in view.open {
            match next_step(&transfer, waited, reachable) {
                // Another branch at the address is another mistake than silence.
                Step::Decide(Command::AbortTransfer { number, reason: AbortReason::TimedOut })
                    if is_misrouted =>
                {
                    let reason = AbortReason::BranchUnknown;
                    commands.push((number, Command::AbortTransfer { number, reason }));
                }
                Step::Decide(command) => commands.push((transfer.number, command)),
                Step::Tell(ask) if asking => asked.push((transfer, ask)),
                Step::Tell(_) => landed.stuck.push(transfer.number),
            }
        }
        if !asked.is_empty() {
            let told = self.tell(&to, view.origin, &asked).await;
            landed.reached = told.is_ok();
            self.note(&to, told.as_ref().err());
            let answers = told.ok();
            for (place, (transfer, _)) in asked.iter().enumerate() {
                let command = answers.as_ref().and_then(|(seen, answers)| {
                    let answer = answers.get(place)?;
                    if is_contrary(transfer, answer) {
                        self.note(&to, Some(&contrary(&to, transfer.number)));
                    }
                    after_answer(transfer, answer, *seen)
                });
                match command {
                    Some(command) => commands.push((transfer.number, command)),
                    None => landed.stuck.push(transfer.number),
                }
            }
        }
        if planted(Fault::DecisionInMemory) {
            self.tell_before_it_is_written(&to, &commands, &asked).await;
        }
        self.decide(commands, &mut landed).await;
        landed
    }

    /// The batch as the ledger shows it; nothing while the ledger has no name.
    fn view(&self, transfers: &[(Sequence, Duration)]) -> Option<View> {
        let origin = Origin { branch: self.lane.branch().clone(), ledger: self.lane.ledger().ok()? };
        let state = self.lane.state();
        let (mut open, mut closed) = (Vec::new(), Vec::new());
        for (number, waited) in transfers {
            match state.ledger.outgoing(*number) {
                Some(transfer) => open.push((transfer, *waited)),
                None => closed.push(*number),
            }
        }
        Some(View { open, closed, origin })
    }

    /// Tells the receiver, and returns how far it has come and what it answers.
    async fn tell(
        &self,
        to: &BranchName,
        origin: Origin,
        asked: &[(OutgoingTransfer, Ask)],
    ) -> Result<(Seen, Vec<Answer>), Failure> {
        let told = asked.iter().map(|(transfer, ask)| Told { ask: *ask, terms: Terms::of(transfer) });
        let body = Body::Deliver { origin, told: told.collect() };
        match self.exchange(to, body).await? {
            Reply::Delivered { seen, answers } if answers.len() == asked.len() => Ok((seen, answers)),
            Reply::Delivered { .. } | Reply::Verdicts { .. } => Err(absurd(to)),
        }
    }

    /// The planted fault: a decision that is told and may never be written down.
    async fn tell_before_it_is_written(
        &self,
        to: &BranchName,
        commands: &[(Sequence, Command)],
        asked: &[(OutgoingTransfer, Ask)],
    ) {
        let decided = |number: Sequence| {
            commands
                .iter()
                .any(|(of, command)| *of == number && matches!(command, Command::CommitTransfer { .. }))
        };
        let told: Vec<_> = asked
            .iter()
            .filter(|(transfer, _)| decided(transfer.number))
            .map(|(transfer, _)| (transfer.clone(), Ask::Commit))
            .collect();
        if let Ok(ledger) = self.lane.ledger()
            && !told.is_empty()
        {
            let origin = Origin { branch: self.lane.branch().clone(), ledger };
            // The fault does not care.
            let _ = self.tell(to, origin, &told).await;
        }
    }

    /// Says something to another branch.
    pub(super) async fn exchange(&self, to: &BranchName, body: Body) -> Result<Reply, Failure> {
        exchange::<R>(&*self.routes, to, body, EXCHANGE).await
    }

    /// Remembers why a branch did not do what it was asked, or that it did.
    pub(super) fn note(&self, to: &BranchName, failure: Option<&Failure>) {
        let mut troubles = self.troubles.lock();
        match failure {
            None => drop(troubles.remove(to)),
            Some(failure) => {
                tracing::debug!(branch = %to, %failure, "a message to another branch was not answered");
                troubles.insert(to.clone(), failure.clone());
            }
        }
    }

    /// Puts commands into the own log, and sorts the transfers by what came of them.
    async fn decide(&self, commands: Vec<(Sequence, Command)>, landed: &mut Landed) {
        let (numbers, commands): (Vec<Sequence>, Vec<Command>) = commands.into_iter().unzip();
        let outcomes = self.propose(commands.clone()).await;
        let Ok(outcomes) = outcomes else { return landed.stuck.extend(numbers) };
        for ((number, command), outcome) in numbers.into_iter().zip(&commands).zip(&outcomes) {
            match (command, outcome) {
                (Command::CloseTransfer { .. }, Ok(_)) | (_, Err(Rejection::TransferNotFound { .. })) => {
                    landed.closed.push(number);
                }
                // Another decision was first; the ledger shows it.
                (_, Ok(_) | Err(Rejection::TransferFinal { .. })) => landed.onward.push(number),
                (_, Err(_)) => landed.stuck.push(number),
            }
        }
    }

    /// Puts commands into the own log.
    pub(super) async fn propose(&self, commands: Vec<Command>) -> Result<Vec<Outcome>, Unavailable> {
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        let proposal = Proposal { request: None, work: Work::Independent(commands) };
        let reply = self.lane.execute(proposal, None, R::now() + OWN_LOG).await?;
        Ok(reply.outcomes.as_slice().to_vec())
    }
}

/// Two branches have decided the same transfer differently, which no mistake of one of them alone explains.
fn contrary(to: &BranchName, number: Sequence) -> Failure {
    let what = format!(
        "branch {to} has the opposite decision about transfer {number}; its ledger was changed by somebody else, so compare both with audit --with"
    );
    Failure::new(Reason::Internal, what).with("branch", to)
}

/// The answer of a branch to another question.
pub(super) fn absurd(branch: &BranchName) -> Failure {
    let what = format!("branch {branch} gave an answer to another question; run the same release at both");
    Failure::new(Reason::Internal, what).with("branch", branch)
}
