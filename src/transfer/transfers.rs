//! What customers and operators do with transfers between branches, at any replica of the paying branch.
//!
//! Invariant: no decision here. A transfer is one command of the log; the driver of the leader does the rest whether
//! the caller waits or not.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::door::TransferDoor;
use super::driver::Driver;
use super::routes::{Routes, unknown};
use super::shown::{Doubt, InDoubt, Phase, PhaseKind, Reading, TransferShown, TransferState, not_found};
use super::waiters::{End, Waiters};
use crate::model::{
    AbortReason, BranchName, Command, Credit, Failure, NewTransfer, Outcome, Outcomes, OutgoingState,
    OutgoingTransfer, Proposal, Reason, RemoteAccount, RequestId, Seen, Sequence, Timestamp, TransferId,
    Unavailable, Work,
};
use crate::replication::{Branch, Lane, ReadPoint};
use crate::store::{Runtime, State, Tokio};

/// A caller that waits is answered so long before its deadline, so that it hears how far the transfer is.
const MARGIN: Duration = Duration::from_millis(20);

/// When a call that read the journal for too long should come again.
const WHEN_LESS_BUSY: Duration = Duration::from_secs(1);

/// A transfer that was begun, as far as it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Begun {
    /// The transfer. While it is `Pending`, the deadline has passed; the branch goes on with it.
    pub transfer: TransferShown,
    /// Whether it was begun by an earlier call with the same request id.
    pub replayed: bool,
}

/// What is shared by the doors of one replica.
struct Shared {
    waiters: Arc<Waiters>,
    /// Why a branch did not do what it was asked, the last time.
    troubles: Arc<Mutex<BTreeMap<BranchName, Failure>>>,
    knows: Arc<dyn Routes>,
}

/// Transfers at one replica, for the calls of one runtime. Cheap to clone.
pub struct Transfers<R: Runtime = Tokio> {
    lane: Lane<R>,
    shared: Arc<Shared>,
}

impl<R: Runtime> Clone for Transfers<R> {
    fn clone(&self) -> Transfers<R> {
        Transfers { lane: self.lane.clone(), shared: Arc::clone(&self.shared) }
    }
}

impl<R: Runtime> Transfers<R> {
    /// Begins what goes on about transfers at a replica as long as that runs, on the current runtime. `routes` are its
    /// ways to the other branches, `clock` says when holds are over.
    #[must_use]
    pub fn start(
        branch: &Branch<R>,
        routes: Arc<dyn Routes>,
        clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    ) -> Transfers<R> {
        let lane = branch.lane();
        let (waiters, troubles) = (Arc::<Waiters>::default(), Arc::default());
        let driver = Driver::new(lane.clone(), Arc::clone(&routes), clock, Arc::clone(&troubles));
        R::spawn(driver.run());
        if let Some(passed_on) = branch.exchanges() {
            R::spawn(TransferDoor::new(lane.clone(), Arc::clone(&routes)).serve(passed_on));
        }
        R::spawn(Arc::clone(&waiters).run(lane.clone()));
        Transfers { lane, shared: Arc::new(Shared { waiters, troubles, knows: routes }) }
    }

    /// The same for the calls of another runtime, through its own lane.
    #[must_use]
    pub fn at(&self, lane: Lane<R>) -> Transfers<R> {
        Transfers { lane, shared: Arc::clone(&self.shared) }
    }

    /// The door for other branches. `routes` are the ways over which it asks them, those of the runtime that uses it.
    #[must_use]
    pub fn door(&self, routes: Arc<dyn Routes>) -> TransferDoor<R> {
        TransferDoor::new(self.lane.clone(), routes)
    }

    /// Whether there is a way to this branch.
    #[must_use]
    pub fn knows(&self, branch: &BranchName) -> bool {
        self.shared.knows.knows(branch)
    }

    /// Begins a transfer to another branch and waits until it is over, or until a little before the deadline.
    /// When this returns the work is handed over, and dropping the future loses only the answer.
    ///
    /// # Errors
    /// `BRANCH_UNKNOWN` when there is no way to the other branch, the rejection of the ledger, or why it cannot be
    /// begun now; `OUTCOME_UNKNOWN` when it was handed over and nobody knows whether it began.
    pub fn begin(
        &self,
        new: NewTransfer,
        request: Option<RequestId>,
        after: Option<Seen>,
        deadline: R::Instant,
    ) -> impl Future<Output = Result<Begun, Failure>> + Send + use<'_, R> {
        let known =
            if self.knows(&new.destination.branch) { Ok(()) } else { Err(unknown(&new.destination.branch)) };
        let handed_over = known.map(|()| {
            let work = Work::One(Command::BeginTransfer(Box::new(new.clone())));
            self.lane.execute(Proposal { request: request.clone(), work }, after, deadline)
        });
        async move {
            let reply =
                handed_over?.await.map_err(|unavailable| named(unavailable.into(), request.as_ref()))?;
            let outcome: &Outcome = match &reply.outcomes {
                Outcomes::One(outcome) => outcome,
                Outcomes::Many(_) => {
                    return Err(Failure::new(Reason::Internal, "one command got several answers"));
                }
            };
            if let Err(rejection) = outcome {
                let failure = Failure::from(rejection);
                return Err(if reply.replayed { failure.replayed() } else { failure });
            }
            let begun = Phase { kind: PhaseKind::Begun, time: reply.time, sequence: Some(reply.first) };
            let shown = TransferShown {
                id: TransferId { branch: self.lane.branch().clone(), number: reply.first },
                request,
                source: new.source,
                destination: new.destination,
                amount: new.amount,
                state: TransferState::Pending,
                open: true,
                phases: vec![begun],
                waiting_for: None,
                seen: None,
                sequence: reply.last,
            };
            let transfer = self.until_over(shown, deadline).await?;
            Ok(Begun { transfer, replayed: reply.replayed })
        }
    }

    /// Waits for the end of a transfer that has begun, or until a little before the deadline.
    async fn until_over(&self, shown: TransferShown, deadline: R::Instant) -> Result<TransferShown, Failure> {
        let number = shown.id.number;
        let end = self.shared.waiters.wait(number);
        let ledger = Arc::clone(&self.lane.state().ledger);
        let (applied, open) = (ledger.sequence(), ledger.outgoing(number));
        match open.as_ref().map(|transfer| &transfer.state) {
            Some(OutgoingState::Aborted { .. }) => {
                return Ok(open.map_or(shown, |open| self.open(&open, applied)));
            }
            Some(OutgoingState::Committed { .. }) => self.shared.waiters.committed(number),
            Some(OutgoingState::Pending) | None => {}
        }
        let end = if open.is_none() && applied >= number {
            Some(End::Missed)
        } else {
            // What this replica has not heard of it will hear of. A waiter that is dropped with its replica says as
            // little as none.
            R::timeout(R::left(deadline).saturating_sub(MARGIN), end).await.and_then(Result::ok)
        };
        match end {
            Some(End::Closed { seen, at }) => {
                let closed = Phase { kind: PhaseKind::Closed, time: at.1, sequence: Some(at.0) };
                let mut shown = self.as_told(shown, closed);
                (shown.state, shown.open, shown.seen) = (TransferState::Committed, false, seen);
                Ok(shown)
            }
            Some(End::Aborted { reason, at }) => {
                let aborted = Phase { kind: PhaseKind::Aborted, time: at.1, sequence: Some(at.0) };
                let mut shown = self.as_told(shown, aborted);
                shown.state = TransferState::Aborted(reason);
                Ok(shown)
            }
            // A replica that still fetches its history cannot tell; it has begun all the same.
            Some(End::Missed) => Ok(self.read(number, deadline).await.unwrap_or(shown)),
            None => Ok(match self.lane.state().ledger.outgoing(number) {
                Some(transfer) => self.open(&transfer, shown.sequence),
                None => shown,
            }),
        }
    }

    fn as_told(&self, mut shown: TransferShown, phase: Phase) -> TransferShown {
        shown.sequence = phase.sequence.unwrap_or(shown.sequence).max(shown.sequence);
        shown.phases.push(phase);
        shown
    }

    /// A transfer that this branch pays, as fresh as asked.
    ///
    /// # Errors
    /// `TRANSFER_NOT_FOUND`, `JOURNAL_TRIMMED`, or why the branch cannot answer so.
    pub async fn show(
        &self,
        number: Sequence,
        at: ReadPoint,
        deadline: R::Instant,
    ) -> Result<TransferShown, Failure> {
        let read = |state: &State| state.ledger.outgoing(number);
        let (open, sequence) = self.lane.read(at, deadline, read).await?;
        match open {
            Some(transfer) => Ok(self.open(&transfer, sequence)),
            None if number > sequence => Err(not_found(self.lane.branch(), number)),
            None => {
                let shown = self.read(number, deadline).await?;
                Ok(TransferShown { sequence: sequence.max(shown.sequence), ..shown })
            }
        }
    }

    /// A transfer as the journal tells it, which has applied its beginning.
    async fn read(&self, number: Sequence, deadline: R::Instant) -> Result<TransferShown, Failure> {
        let mut reading = Reading::of(number);
        while reading.go_on(self.lane.branch(), &self.lane.state().journal)? {
            // Other calls of the runtime get their turn.
            tokio::task::yield_now().await;
            if R::now() >= deadline {
                return Err(Unavailable::Overloaded { retry_after: WHEN_LESS_BUSY }.into());
            }
        }
        reading.end(self.lane.branch())
    }

    fn open(&self, transfer: &OutgoingTransfer, sequence: Sequence) -> TransferShown {
        let mut shown = TransferShown::open(self.lane.branch(), transfer, sequence);
        shown.waiting_for = Some(self.waits_for(transfer));
        shown
    }

    fn waits_for(&self, transfer: &OutgoingTransfer) -> String {
        let to = &transfer.destination.branch;
        let wanted = match transfer.state {
            OutgoingState::Pending => format!("the vote of branch {to}"),
            OutgoingState::Committed { .. } | OutgoingState::Aborted { .. } => {
                format!("branch {to} to take the decision")
            }
        };
        self.with_trouble(wanted, to)
    }

    fn with_trouble(&self, wanted: String, branch: &BranchName) -> String {
        if !self.knows(branch) {
            return format!("{wanted}, to which no way is known here");
        }
        match self.shared.troubles.lock().get(branch) {
            Some(trouble) if trouble.reason == Reason::BranchUnknown => {
                format!("{wanted}; at its address another branch answers: {trouble}")
            }
            Some(trouble) => format!("{wanted}, which did not answer: {trouble}"),
            None => wanted,
        }
    }

    /// Lets an operator abort a transfer that this branch pays.
    ///
    /// # Errors
    /// `TRANSFER_NOT_FOUND` or `TRANSFER_FINAL` when it is too late, or why it cannot be done now.
    pub async fn abort(
        &self,
        number: Sequence,
        request: Option<RequestId>,
        deadline: R::Instant,
    ) -> Result<TransferShown, Failure> {
        let command = Command::AbortTransfer { number, reason: AbortReason::Operator };
        let proposal = Proposal { request: request.clone(), work: Work::One(command) };
        let reply = self.lane.execute(proposal, None, deadline).await;
        let reply = reply.map_err(|unavailable| named(unavailable.into(), request.as_ref()))?;
        if let Some(Err(rejection)) = reply.outcomes.as_slice().first() {
            return Err(rejection.into());
        }
        let ledger = self.lane.ledger()?;
        let seen = Seen { ledger, sequence: reply.last };
        self.show(number, ReadPoint::AtLeast(seen), deadline).await
    }

    /// Everything in doubt at this branch, as fresh as asked: transfers that it pays by number, then credits that it
    /// prepared. An aborted transfer is not in doubt, although the other branch may still have to hear of it.
    ///
    /// # Errors
    /// Why the branch cannot answer so.
    pub async fn in_doubt(
        &self,
        at: ReadPoint,
        deadline: R::Instant,
    ) -> Result<(Vec<InDoubt>, Sequence), Failure> {
        let read = |state: &State| {
            (
                state.ledger.outgoing_after(Sequence::ZERO, usize::MAX),
                state.ledger.credits_prepared(usize::MAX),
            )
        };
        let ((outgoing, incoming), sequence) = self.lane.read(at, deadline, read).await?;
        let outgoing = outgoing.into_iter().filter_map(|transfer| self.doubt(transfer));
        let incoming = incoming.into_iter().map(|prepared| self.doubted_credit(prepared.credit, prepared.at));
        Ok((outgoing.chain(incoming).collect(), sequence))
    }

    fn doubt(&self, transfer: OutgoingTransfer) -> Option<InDoubt> {
        let doubt = match &transfer.state {
            OutgoingState::Pending => Doubt::Undecided,
            OutgoingState::Committed { .. } => Doubt::Untold,
            OutgoingState::Aborted { .. } => return None,
        };
        let waiting_for = self.waits_for(&transfer);
        Some(InDoubt {
            id: TransferId { branch: self.lane.branch().clone(), number: transfer.number },
            source: transfer.source,
            destination: transfer.destination,
            amount: transfer.amount,
            doubt,
            since: transfer.begun,
            waiting_for,
        })
    }

    fn doubted_credit(&self, credit: Credit, since: Timestamp) -> InDoubt {
        let from = credit.origin.branch;
        InDoubt {
            waiting_for: self.with_trouble(format!("the decision of branch {from}"), &from),
            id: TransferId { branch: from, number: credit.number },
            source: credit.source,
            destination: RemoteAccount { branch: self.lane.branch().clone(), account: credit.destination },
            amount: credit.amount,
            doubt: Doubt::Prepared,
            since,
        }
    }
}

/// Names the request in a failure whose outcome the caller must look up by it.
fn named(failure: Failure, request: Option<&RequestId>) -> Failure {
    match request {
        Some(request) if failure.reason == Reason::OutcomeUnknown => failure.with("request_id", request),
        Some(_) | None => failure,
    }
}
