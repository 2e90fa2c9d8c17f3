//! The door for other branches: takes what a payer tells, and answers a receiver that asks.
//!
//! Invariant: a message that arrives here proves nothing about its sender, so it is only a reason to ask. What enters
//! the log is what the paying branch itself says when this server asks it over its own way, and every answer is given
//! after the log has what it says.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};

use super::flight::absurd;
use super::message::{Body, Message, Reply, STEPS, Terms, Told, decode, encode};
use super::routes::{Routes, exchange, unknown};
use super::step::{Answer, Ask, Verdict, answer, command_of, confirms, verdict};
use crate::model::{BranchName, Failure, Origin, OutgoingTransfer, Proposal, Reason, Seen, Sequence, Work};
use crate::replication::{Exchange, Lane, ReadPoint};
use crate::store::{Runtime, State, Tokio};

/// Most messages of other branches that wait for a confirmation at one replica. A branch sends at most four at a time.
const CONFIRMATIONS: usize = 64;

/// How often a door that waits looks whether its replica has stopped.
const LOOK: Duration = Duration::from_secs(1);

/// The door of one replica. Cheap to clone.
pub struct TransferDoor<R: Runtime = Tokio> {
    lane: Lane<R>,
    routes: Arc<dyn Routes>,
    /// Free places for messages that wait for the payer's confirmation.
    confirmations: Arc<Semaphore>,
}

impl<R: Runtime> Clone for TransferDoor<R> {
    fn clone(&self) -> TransferDoor<R> {
        TransferDoor {
            lane: self.lane.clone(),
            routes: Arc::clone(&self.routes),
            confirmations: Arc::clone(&self.confirmations),
        }
    }
}

impl<R: Runtime> TransferDoor<R> {
    /// The door of a replica that can reach these branches.
    #[must_use]
    pub fn new(lane: Lane<R>, routes: Arc<dyn Routes>) -> TransferDoor<R> {
        TransferDoor { lane, routes, confirmations: Arc::new(Semaphore::new(CONFIRMATIONS)) }
    }

    /// Answers a message.
    ///
    /// # Errors
    /// `BRANCH_UNKNOWN` for a message to another branch, or of one that there is no way to; why the branch cannot
    /// answer now; `ARGUMENT_INVALID` for bytes that are no message.
    pub async fn answer(&self, message: &[u8], deadline: R::Instant) -> Result<Vec<u8>, Failure> {
        let Message { to, body } = decode(message)?;
        let here = self.lane.branch();
        if to != *here {
            let what = format!("this server belongs to branch {here}, not to {to}; correct the route");
            return Err(Failure::new(Reason::BranchUnknown, what).with("branch", to));
        }
        if matches!(body, Body::Deliver { .. })
            && let Some(answer) = self.lane.exchanged_at_leader(message, deadline).await
        {
            // The leader asks and decides itself, so that no replica has to believe another one.
            return answer;
        }
        self.answer_here(body, deadline).await
    }

    async fn answer_here(&self, body: Body, deadline: R::Instant) -> Result<Vec<u8>, Failure> {
        let reply = match body {
            Body::Deliver { origin, told } => self.deliver(origin, told, deadline).await?,
            Body::Inquire { origin, receiver, transfers } => {
                self.inquire(&origin, &receiver, &transfers, deadline).await?
            }
        };
        Ok(encode(&reply))
    }

    /// Answers what other replicas pass on while this one leads. Runs until the replica has stopped.
    pub(super) async fn serve(self, mut passed_on: mpsc::Receiver<Exchange>) {
        while !self.lane.has_stopped() {
            if let Some(Some(Exchange { message, patience, answer })) =
                R::timeout(LOOK, passed_on.recv()).await
            {
                let door = self.clone();
                R::spawn(async move {
                    // Whoever waited may have given up.
                    let reply = match decode::<Message>(&message) {
                        Ok(Message { body, .. }) => door.answer_here(body, R::now() + patience).await,
                        Err(failure) => Err(failure),
                    };
                    let _ = answer.send(reply);
                });
            }
        }
    }

    /// Obeys what a payer tells, as far as the payer confirms it. Anybody who reaches the port can send a message in
    /// the name of a branch; nobody can answer for it at the address that this server was started with.
    async fn deliver(&self, origin: Origin, told: Vec<Told>, deadline: R::Instant) -> Result<Reply, Failure> {
        // A credit whose payer cannot be asked might stay open for ever.
        if !self.routes.knows(&origin.branch) {
            return Err(unknown(&origin.branch));
        }
        few(told.len())?;
        let numbers: BTreeSet<Sequence> = told.iter().map(|told| told.terms.number).collect();
        if numbers.len() < told.len() {
            let what = "a message between branches names a transfer twice";
            return Err(Failure::new(Reason::ArgumentInvalid, what));
        }
        let (settled_below, verdicts) = self.confirm(&origin, &told, deadline).await?;
        let mut answers = vec![Answer::Unknown; told.len()];
        let (mut places, mut commands) = (Vec::new(), Vec::new());
        for (place, (Told { ask, terms }, verdict)) in told.into_iter().zip(verdicts).enumerate() {
            let is_known = ask != Ask::Commit || self.is_known(&origin, terms.number, deadline).await?;
            if confirms(verdict, ask) && is_known {
                places.push(place);
                commands.push(command_of(ask, terms.credit(origin.clone(), settled_below)));
            }
        }
        let ledger = self.lane.ledger()?;
        if commands.is_empty() {
            let sequence = self.lane.state().ledger.sequence();
            return Ok(Reply::Delivered { seen: Seen { ledger, sequence }, answers });
        }
        let work = Work::Independent(commands);
        // Whoever sent it sends it again, so an unknown outcome is as good as none.
        let reply = self.lane.execute(Proposal { request: None, work }, None, deadline).await?;
        for (place, outcome) in places.into_iter().zip(reply.outcomes.as_slice()) {
            if let Some(slot) = answers.get_mut(place) {
                *slot = answer(outcome);
            }
        }
        Ok(Reply::Delivered { seen: Seen { ledger, sequence: reply.last }, answers })
    }

    /// Asks the payer, over this server's own way to it, what it says about these transfers: its watermark, and a
    /// verdict for each.
    async fn confirm(
        &self,
        origin: &Origin,
        told: &[Told],
        deadline: R::Instant,
    ) -> Result<(Sequence, Vec<Verdict>), Failure> {
        let Ok(_permit) = self.confirmations.try_acquire() else {
            let what = "too many messages of other branches wait for their confirmation; send it again";
            return Err(Failure::new(Reason::Overloaded, what));
        };
        let body = Body::Inquire {
            origin: origin.clone(),
            receiver: self.lane.branch().clone(),
            transfers: told.iter().map(|told| told.terms.clone()).collect(),
        };
        match exchange::<R>(&*self.routes, &origin.branch, body, R::left(deadline)).await? {
            Reply::Verdicts { settled_below, verdicts } if verdicts.len() == told.len() => {
                Ok((settled_below, verdicts))
            }
            Reply::Verdicts { .. } | Reply::Delivered { .. } => Err(absurd(&origin.branch)),
        }
    }

    /// Whether a credit is remembered here. To commit one that is not would only add a refusal to the log, again and
    /// again when this branch has lost its ledger.
    async fn is_known(
        &self,
        origin: &Origin,
        number: Sequence,
        deadline: R::Instant,
    ) -> Result<bool, Failure> {
        let read = |state: &State| state.ledger.incoming(origin, number).is_some();
        if read(&self.lane.state()) {
            return Ok(true);
        }
        Ok(self.lane.read(ReadPoint::Latest, deadline, read).await?.0)
    }

    async fn inquire(
        &self,
        origin: &Origin,
        receiver: &BranchName,
        transfers: &[Terms],
        deadline: R::Instant,
    ) -> Result<Reply, Failure> {
        few(transfers.len())?;
        let ledger = self.lane.ledger()?;
        if origin.branch != *self.lane.branch() || origin.ledger != ledger {
            // It may have decided anything before it was lost: nobody else may say what.
            let what = format!("branch {} has begun another ledger since: {ledger}", self.lane.branch());
            return Err(Failure::new(Reason::SessionUnknown, what).with("ledger", ledger));
        }
        let read = |state: &State| {
            // Before the transfers are read: what is begun meanwhile has a greater number.
            let settled_below = state.ledger.settled_below(receiver);
            let of = |terms: &Terms| {
                let open = state.ledger.outgoing(terms.number);
                let is_meant = |transfer: &OutgoingTransfer| {
                    transfer.destination.branch == *receiver && Terms::of(transfer) == *terms
                };
                verdict(open.filter(is_meant).as_ref())
            };
            Reply::Verdicts { settled_below, verdicts: transfers.iter().map(of).collect() }
        };
        Ok(self.lane.read(ReadPoint::Latest, deadline, read).await?.0)
    }
}

fn few(count: usize) -> Result<(), Failure> {
    if count > STEPS {
        let what = format!("a message between branches is about at most {STEPS} transfers");
        return Err(Failure::new(Reason::BatchTooLarge, what));
    }
    Ok(())
}
