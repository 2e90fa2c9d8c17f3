//! The door for other branches: takes what a payer tells, and answers a receiver that asks.
//!
//! Invariant: nothing that comes through here is trusted further than the ledger's own rules: credits are taken of
//! branches only that this one can ask, and every answer is given after the log has what it says.

use std::sync::Arc;

use super::message::{Body, Message, Reply, STEPS, Told, decode, encode};
use super::routes::{Routes, unknown};
use super::step::{answer, command_of, verdict};
use crate::model::{BranchName, Credit, Failure, Origin, Proposal, Reason, Seen, Sequence, Work};
use crate::replication::{Lane, ReadPoint};
use crate::store::{Runtime, State, Tokio};

/// The door of one replica. Cheap to clone.
pub struct TransferDoor<R: Runtime = Tokio> {
    lane: Lane<R>,
    routes: Arc<dyn Routes>,
}

impl<R: Runtime> Clone for TransferDoor<R> {
    fn clone(&self) -> TransferDoor<R> {
        TransferDoor { lane: self.lane.clone(), routes: Arc::clone(&self.routes) }
    }
}

impl<R: Runtime> TransferDoor<R> {
    /// The door of a replica that can reach these branches.
    #[must_use]
    pub fn new(lane: Lane<R>, routes: Arc<dyn Routes>) -> TransferDoor<R> {
        TransferDoor { lane, routes }
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
        let reply = match body {
            Body::Deliver { origin, settled_below, told } => {
                self.deliver(origin, settled_below, told, deadline).await?
            }
            Body::Inquire { origin, receiver, numbers } => {
                self.inquire(&origin, &receiver, &numbers, deadline).await?
            }
        };
        Ok(encode(&reply))
    }

    async fn deliver(
        &self,
        origin: Origin,
        settled_below: Sequence,
        told: Vec<Told>,
        deadline: R::Instant,
    ) -> Result<Reply, Failure> {
        // A credit whose payer cannot be asked might stay open for ever.
        if !self.routes.knows(&origin.branch) {
            return Err(unknown(&origin.branch));
        }
        few(told.len())?;
        let commands = told.into_iter().map(|told| {
            let Told { number, ask, source, destination, amount } = told;
            let origin = origin.clone();
            command_of(ask, Credit { origin, number, settled_below, source, destination, amount })
        });
        let work = Work::Independent(commands.collect());
        let reply = self.lane.execute(Proposal { request: None, work }, None, deadline).await;
        // Whoever sent it sends it again, so an unknown outcome is as good as none.
        let reply = reply?;
        let answers = reply.outcomes.as_slice().iter().map(answer).collect();
        Ok(Reply::Delivered { seen: Seen { ledger: self.lane.ledger()?, sequence: reply.last }, answers })
    }

    async fn inquire(
        &self,
        origin: &Origin,
        receiver: &BranchName,
        numbers: &[Sequence],
        deadline: R::Instant,
    ) -> Result<Reply, Failure> {
        few(numbers.len())?;
        let ledger = self.lane.ledger()?;
        if origin.branch != *self.lane.branch() || origin.ledger != ledger {
            // It may have decided anything before it was lost: nobody else may say what.
            let what = format!("branch {} has begun another ledger since: {ledger}", self.lane.branch());
            return Err(Failure::new(Reason::SessionUnknown, what).with("ledger", ledger));
        }
        let read = |state: &State| {
            let of = |number: &Sequence| {
                let open = state.ledger.outgoing(*number);
                verdict(open.filter(|transfer| transfer.destination.branch == *receiver).as_ref())
            };
            numbers.iter().map(of).collect()
        };
        let (verdicts, _) = self.lane.read(ReadPoint::Latest, deadline, read).await?;
        Ok(Reply::Verdicts(verdicts))
    }
}

fn few(count: usize) -> Result<(), Failure> {
    if count > STEPS {
        let what = format!("a message between branches is about at most {STEPS} transfers");
        return Err(Failure::new(Reason::BatchTooLarge, what));
    }
    Ok(())
}
