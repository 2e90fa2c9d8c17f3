//! Calls that change the ledger, or say what they would do.

use std::future::Future;

use futures::future::Either;
use tonic::Request;

use super::BankApi;
use super::call::{Call, check_latest, trace};
use crate::model::{
    BranchName, Command, Failure, Outcome, Outcomes, Proposal, Reason, Receipt, Reply, RequestId, Seen,
    Sequence, Timestamp, Trace, Work,
};
use crate::replication::ReadPoint;
use crate::store::{Runtime, State};
use crate::wire::proto::v1;
use crate::wire::reply::{self, WriteStamp};
use crate::wire::{batch, parse};

/// What became of a proposal, applied or previewed.
pub(super) struct Done {
    pub(super) outcomes: Outcomes,
    pub(super) first: Sequence,
    last: Sequence,
    pub(super) replayed: bool,
    /// When it was applied; none when it was previewed.
    applied: Option<Timestamp>,
}

impl<R: Runtime> BankApi<R> {
    /// Executes work, or only says what it would do. When this returns the work is handed over.
    pub(super) fn perform(
        &self,
        call: &Call<R>,
        request: Option<RequestId>,
        validate_only: bool,
        trace: Option<Box<Trace>>,
        work: Work,
    ) -> impl Future<Output = Result<Done, Failure>> + Send + use<'_, R> {
        if validate_only {
            let proposal = Proposal { request, work };
            Either::Left(Box::pin(self.preview(call.deadline, call.seen, proposal)))
        } else {
            Either::Right(self.execute(call, request, trace, work))
        }
    }

    /// Executes work. When this returns the work is handed over.
    pub(super) fn execute(
        &self,
        call: &Call<R>,
        request: Option<RequestId>,
        trace: Option<Box<Trace>>,
        work: Work,
    ) -> impl Future<Output = Result<Done, Failure>> + Send + use<'_, R> {
        let proposal = Proposal { request: request.clone(), work };
        let reply = self.lane.execute_traced(proposal, trace, call.seen, call.deadline);
        async move {
            match reply.await {
                Ok(reply) => Ok(Done {
                    outcomes: reply.outcomes,
                    first: reply.first,
                    last: reply.last,
                    replayed: reply.replayed,
                    applied: Some(reply.time),
                }),
                Err(unavailable) => Err(named(unavailable.into(), request.as_ref())),
            }
        }
    }

    async fn preview(
        &self,
        deadline: R::Instant,
        seen: Option<Seen>,
        proposal: Proposal,
    ) -> Result<Done, Failure> {
        let preview = |state: &State| state.ledger.preview(&proposal);
        let (reply, sequence) = self.lane.read(ReadPoint::Latest, deadline, preview).await?;
        check_latest(seen, sequence)?;
        let Reply { first, last, time, replayed, outcomes } = reply;
        if replayed {
            return Ok(Done { outcomes, first, last, replayed, applied: Some(time) });
        }
        Ok(Done { outcomes, first: sequence, last: sequence, replayed, applied: None })
    }

    /// Begins a write. When this returns the work is handed over; what has to wait holds nothing that only
    /// the beginning needs, because the futures of a call are moved through every layer above.
    fn begin<M, W>(
        &self,
        request: Request<M>,
        work: W,
    ) -> Result<Begun<impl Future<Output = Result<Done, Failure>> + Send + use<'_, M, W, R>, R>, Failure>
    where
        M: WriteRequest,
        W: FnOnce(&BranchName, &M) -> Result<Work, Failure>,
    {
        let (metadata, _, message) = request.into_parts();
        let call = Call::begin(&self.lane, &metadata, message.session_token())?;
        let trace = trace(&self.lane, &metadata, !message.validate_only())?;
        let work = work(self.lane.branch(), &message)?;
        let request = parse::request_id(message.request_id())?;
        let done = self.perform(&call, request.clone(), message.validate_only(), trace, work);
        Ok(Begun { call, request, done })
    }

    /// Executes one command and converts its receipt.
    pub(super) fn one<M, C, V, T>(
        &self,
        request: Request<M>,
        command: C,
        convert: V,
    ) -> impl Future<Output = Result<T, Failure>> + Send + use<'_, M, C, V, T, R>
    where
        M: WriteRequest,
        C: FnOnce(&BranchName, &M) -> Result<Command, Failure>,
        V: FnOnce(&Receipt, WriteStamp<'_>) -> Result<T, Failure> + Send,
    {
        let begun = self.begin(request, |branch, message| command(branch, message).map(Work::One));
        async move {
            let Begun { mut call, request, done } = begun?;
            let done = done.await?;
            convert(done.receipt()?, self.written(&mut call, request.as_ref(), &done))
        }
    }

    pub(super) fn written<'a>(
        &'a self,
        call: &mut Call<R>,
        request: Option<&RequestId>,
        done: &Done,
    ) -> WriteStamp<'a> {
        WriteStamp {
            stamp: call.stamp(&self.lane, done.last),
            request_id: request.map(RequestId::to_string).unwrap_or_default(),
            replayed: done.replayed,
            applied: done.applied,
        }
    }

    pub(super) fn open(
        &self,
        request: Request<v1::OpenAccountRequest>,
    ) -> impl Future<Output = Result<v1::OpenAccountResponse, Failure>> + Send {
        self.one(request, parse::open, reply::opened)
    }

    pub(super) fn deposit(
        &self,
        request: Request<v1::DepositAccountRequest>,
    ) -> impl Future<Output = Result<v1::DepositAccountResponse, Failure>> + Send {
        self.one(request, parse::deposit, reply::deposited)
    }

    pub(super) fn withdraw(
        &self,
        request: Request<v1::WithdrawAccountRequest>,
    ) -> impl Future<Output = Result<v1::WithdrawAccountResponse, Failure>> + Send {
        self.one(request, parse::withdraw, reply::withdrawn)
    }

    pub(super) fn interest(
        &self,
        request: Request<v1::AddInterestRequest>,
    ) -> impl Future<Output = Result<v1::AddInterestResponse, Failure>> + Send {
        self.one(request, parse::interest, reply::interest_added)
    }

    pub(super) fn set_state(
        &self,
        request: Request<v1::SetAccountStateRequest>,
    ) -> impl Future<Output = Result<v1::SetAccountStateResponse, Failure>> + Send {
        self.one(request, parse::set_state, reply::state_set)
    }

    pub(super) fn place_hold(
        &self,
        request: Request<v1::PlaceHoldRequest>,
    ) -> impl Future<Output = Result<v1::PlaceHoldResponse, Failure>> + Send {
        self.one(request, parse::place_hold, reply::placed)
    }

    pub(super) async fn capture_hold(
        &self,
        request: Request<v1::CaptureHoldRequest>,
    ) -> Result<v1::CaptureHoldResponse, Failure> {
        let hold = parse::hold_id(self.lane.branch(), &request.get_ref().hold)?;
        let convert = |receipt: &Receipt, written: WriteStamp<'_>| reply::captured(hold, receipt, written);
        self.one(request, parse::capture_hold, convert).await
    }

    pub(super) async fn release_hold(
        &self,
        request: Request<v1::ReleaseHoldRequest>,
    ) -> Result<v1::ReleaseHoldResponse, Failure> {
        let hold = parse::hold_id(self.lane.branch(), &request.get_ref().hold)?;
        let convert = |receipt: &Receipt, written: WriteStamp<'_>| reply::released(hold, receipt, written);
        self.one(request, parse::release_hold, convert).await
    }

    pub(super) async fn batch(
        &self,
        request: Request<v1::ExecuteBatchRequest>,
    ) -> Result<v1::ExecuteBatchResponse, Failure> {
        let work = |_: &BranchName, message: &v1::ExecuteBatchRequest| {
            batch::work(message.atomic, &message.commands)
        };
        let Begun { mut call, request, done } = self.begin(request, work)?;
        let done = done.await?;
        let results = batch::results(done.many()?);
        Ok(reply::batch_done(results, done.first, self.written(&mut call, request.as_ref(), &done)))
    }
}

/// A write that is handed over.
struct Begun<F, R: Runtime> {
    call: Call<R>,
    request: Option<RequestId>,
    done: F,
}

/// What every request for a write carries.
pub(super) trait WriteRequest {
    fn request_id(&self) -> &str;
    fn session_token(&self) -> &str;
    fn validate_only(&self) -> bool;
}

macro_rules! write_requests {
    ($($message:ident),+) => {$(
        impl WriteRequest for v1::$message {
            fn request_id(&self) -> &str {
                &self.request_id
            }

            fn session_token(&self) -> &str {
                &self.session_token
            }

            fn validate_only(&self) -> bool {
                self.validate_only
            }
        }
    )+};
}

write_requests!(
    OpenAccountRequest,
    DepositAccountRequest,
    WithdrawAccountRequest,
    AddInterestRequest,
    TransferRequest,
    SetAccountStateRequest,
    PlaceHoldRequest,
    CaptureHoldRequest,
    ReleaseHoldRequest,
    ExecuteBatchRequest
);

impl Done {
    /// The receipt of the only command.
    pub(super) fn receipt(&self) -> Result<&Receipt, Failure> {
        match &self.outcomes {
            Outcomes::One(Ok(receipt)) => Ok(receipt),
            Outcomes::One(Err(rejection)) => Err(self.refused(rejection.into())),
            Outcomes::Many(_) => Err(Failure::new(Reason::Internal, "one command got several answers")),
        }
    }

    /// The outcomes of several commands; a refusal of the whole batch is the failure of the call.
    pub(super) fn many(&self) -> Result<&[Outcome], Failure> {
        match &self.outcomes {
            Outcomes::Many(outcomes) => Ok(outcomes),
            Outcomes::One(Err(rejection)) => Err(self.refused(rejection.into())),
            Outcomes::One(Ok(_)) => Err(Failure::new(Reason::Internal, "several commands got one answer")),
        }
    }

    fn refused(&self, failure: Failure) -> Failure {
        if self.replayed { failure.replayed() } else { failure }
    }
}

/// Names the request in a failure whose outcome the caller must look up by it.
fn named(failure: Failure, request: Option<&RequestId>) -> Failure {
    match request {
        Some(request) if failure.reason == Reason::OutcomeUnknown => failure.with("request_id", request),
        Some(_) | None => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Unavailable;

    #[test]
    fn an_unknown_outcome_names_the_request() {
        let request: RequestId = "pay-7".parse().unwrap();
        let failure = named(Unavailable::OutcomeUnknown.into(), Some(&request));
        assert_eq!(failure.metadata["request_id"], "pay-7");
        assert!(named(Unavailable::Stopping.into(), Some(&request)).metadata.is_empty());
    }
}
