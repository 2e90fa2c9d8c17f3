//! Calls that change the ledger, or say what they would do.

use tonic::Request;

use super::BankApi;
use super::call::Call;
use crate::model::{
    Command, Failure, Outcome, Outcomes, Proposal, Reason, Receipt, RequestId, Sequence, Work,
};
use crate::replication::ReadPoint;
use crate::store::State;
use crate::wire::proto::v1;
use crate::wire::reply::{self, WriteStamp};
use crate::wire::{batch, parse};

/// What became of a proposal, applied or previewed.
pub(super) struct Done {
    pub(super) outcomes: Outcomes,
    pub(super) first: Sequence,
    last: Sequence,
    replayed: bool,
}

/// One write on its way: what all of them have in common.
struct Write<'a> {
    request: &'a Option<RequestId>,
    validate_only: bool,
}

impl BankApi {
    /// Executes work, or only says what it would do.
    ///
    /// Nothing is awaited before the work is handed over.
    async fn perform(&self, call: &Call, write: Write<'_>, work: Work) -> Result<Done, Failure> {
        if write.validate_only {
            return self.preview(call, &work).await;
        }
        self.execute(call, write.request.clone(), work).await
    }

    pub(super) async fn execute(
        &self,
        call: &Call,
        request: Option<RequestId>,
        work: Work,
    ) -> Result<Done, Failure> {
        let proposal = Proposal { request: request.clone(), work };
        match self.lane.execute(proposal, call.seen, call.deadline).await {
            Ok(reply) => Ok(Done {
                outcomes: reply.outcomes,
                first: reply.first,
                last: reply.last,
                replayed: reply.replayed,
            }),
            Err(unavailable) => Err(named(unavailable.into(), request.as_ref())),
        }
    }

    async fn preview(&self, call: &Call, work: &Work) -> Result<Done, Failure> {
        let preview = |state: &State| state.ledger.preview(work);
        let (outcomes, sequence) = self.lane.read(ReadPoint::Latest, call.deadline, preview).await?;
        call.check_latest(sequence)?;
        Ok(Done { outcomes, first: sequence, last: sequence, replayed: false })
    }

    /// Executes one command and converts its receipt.
    async fn one<T>(
        &self,
        mut call: Call,
        (request_id, validate_only): (&str, bool),
        command: Command,
        convert: impl FnOnce(&Receipt, WriteStamp<'_>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let request = parse::request_id(request_id)?;
        let write = Write { request: &request, validate_only };
        let done = self.perform(&call, write, Work::One(command)).await?;
        let receipt = done.receipt()?;
        convert(receipt, self.written(&mut call, request.as_ref(), &done))
    }

    pub(super) fn written<'a>(
        &'a self,
        call: &mut Call,
        request: Option<&RequestId>,
        done: &Done,
    ) -> WriteStamp<'a> {
        WriteStamp {
            stamp: call.stamp(&self.lane, done.last),
            request_id: request.map(RequestId::to_string).unwrap_or_default(),
            replayed: done.replayed,
        }
    }

    pub(super) async fn open(
        &self,
        request: Request<v1::OpenAccountRequest>,
    ) -> Result<v1::OpenAccountResponse, Failure> {
        let (metadata, _, message) = request.into_parts();
        let call = Call::begin(&self.lane, &metadata, &message.session_token)?;
        let command = parse::open(self.lane.branch(), &message)?;
        self.one(call, (&message.request_id, message.validate_only), command, reply::opened).await
    }

    pub(super) async fn deposit(
        &self,
        request: Request<v1::DepositAccountRequest>,
    ) -> Result<v1::DepositAccountResponse, Failure> {
        let (metadata, _, message) = request.into_parts();
        let call = Call::begin(&self.lane, &metadata, &message.session_token)?;
        let command = parse::deposit(self.lane.branch(), &message)?;
        self.one(call, (&message.request_id, message.validate_only), command, reply::deposited).await
    }

    pub(super) async fn withdraw(
        &self,
        request: Request<v1::WithdrawAccountRequest>,
    ) -> Result<v1::WithdrawAccountResponse, Failure> {
        let (metadata, _, message) = request.into_parts();
        let call = Call::begin(&self.lane, &metadata, &message.session_token)?;
        let command = parse::withdraw(self.lane.branch(), &message)?;
        self.one(call, (&message.request_id, message.validate_only), command, reply::withdrawn).await
    }

    pub(super) async fn interest(
        &self,
        request: Request<v1::AddInterestRequest>,
    ) -> Result<v1::AddInterestResponse, Failure> {
        let (metadata, _, message) = request.into_parts();
        let call = Call::begin(&self.lane, &metadata, &message.session_token)?;
        let command = parse::interest(self.lane.branch(), &message)?;
        self.one(call, (&message.request_id, message.validate_only), command, reply::interest_added).await
    }

    pub(super) async fn transfer_money(
        &self,
        request: Request<v1::TransferRequest>,
    ) -> Result<v1::TransferResponse, Failure> {
        let (metadata, _, message) = request.into_parts();
        let call = Call::begin(&self.lane, &metadata, &message.session_token)?;
        let (source, destination, amount) = parse::transfer(self.lane.branch(), &message)?;
        let command = Command::Transfer { source, destination, amount };
        let convert =
            |receipt: &Receipt, written: WriteStamp<'_>| reply::transferred(receipt, amount.money(), written);
        self.one(call, (&message.request_id, message.validate_only), command, convert).await
    }

    pub(super) async fn batch(
        &self,
        request: Request<v1::ExecuteBatchRequest>,
    ) -> Result<v1::ExecuteBatchResponse, Failure> {
        let (metadata, _, message) = request.into_parts();
        let mut call = Call::begin(&self.lane, &metadata, &message.session_token)?;
        let request = parse::request_id(&message.request_id)?;
        let work = batch::work(message.atomic, &message.commands)?;
        let write = Write { request: &request, validate_only: message.validate_only };
        let done = self.perform(&call, write, work).await?;
        let results = batch::results(done.many()?);
        Ok(reply::batch_done(results, done.first, self.written(&mut call, request.as_ref(), &done)))
    }
}

impl Done {
    /// The receipt of the only command.
    fn receipt(&self) -> Result<&Receipt, Failure> {
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
        if self.replayed { failure.with("replayed", true) } else { failure }
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
