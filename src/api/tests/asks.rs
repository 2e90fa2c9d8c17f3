//! Calls of customers, and what of their answers is kept.

use std::time::Duration;

use tonic::{Request, Status};

use crate::api::BankApi;
use crate::model::{Failure, Sequence};
use crate::replication::tests::simulated::Simulated;
use crate::wire::from_status;
use crate::wire::proto::v1;
use crate::wire::proto::v1::bank_service_server::BankService;

/// A write.
#[derive(Clone, Debug)]
pub(super) enum Ask {
    Open(v1::OpenAccountRequest),
    Deposit(v1::DepositAccountRequest),
    Withdraw(v1::WithdrawAccountRequest),
    Interest(v1::AddInterestRequest),
    Transfer(v1::TransferRequest),
    State(v1::SetAccountStateRequest),
    Place(v1::PlaceHoldRequest),
    Capture(v1::CaptureHoldRequest),
    Release(v1::ReleaseHoldRequest),
    Batch(v1::ExecuteBatchRequest),
}

/// What is kept of an answer to a write.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Answer {
    pub(super) sequence: Sequence,
    pub(super) token: String,
    pub(super) replayed: bool,
    /// Everything that must be the same when it is asked again.
    pub(super) content: String,
}

fn request<T>(message: T, patience: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(patience);
    request
}

/// A read, as failure or answer.
pub(super) async fn read<T, A>(
    message: T,
    patience: Duration,
    call: impl AsyncFnOnce(Request<T>) -> Result<tonic::Response<A>, Status>,
) -> Result<A, Failure> {
    let answer = call(request(message, patience)).await;
    answer.map(tonic::Response::into_inner).map_err(|status| from_status(&status))
}

impl Ask {
    /// Asks once.
    pub(super) async fn send(
        &self,
        api: &BankApi<Simulated>,
        id: &str,
        token: &str,
        patience: Duration,
    ) -> Result<Answer, Failure> {
        macro_rules! send {
            ($($kind:ident by $method:ident),+) => {
                match self {
                    $(Ask::$kind(message) => {
                        let (request_id, session_token) = (id.to_owned(), token.to_owned());
                        let mut message = message.clone();
                        message.request_id = request_id;
                        message.session_token = session_token;
                        let answer = BankService::$method(api, request(message, patience)).await;
                        let mut answer = answer.map_err(|status| from_status(&status))?.into_inner();
                        let token = std::mem::take(&mut answer.session_token);
                        let replayed = std::mem::take(&mut answer.replayed);
                        answer.replica = 0;
                        let sequence = Sequence(answer.sequence);
                        Ok(Answer { sequence, token, replayed, content: format!("{answer:?}") })
                    })+
                }
            };
        }
        send!(
            Open by open_account,
            Deposit by deposit_account,
            Withdraw by withdraw_account,
            Interest by add_interest,
            Transfer by transfer,
            State by set_account_state,
            Place by place_hold,
            Capture by capture_hold,
            Release by release_hold,
            Batch by execute_batch
        )
    }

    /// Whether a transfer to another branch is asked for, whose answer changes while it goes on.
    pub(super) fn goes_on(&self) -> bool {
        matches!(self, Ask::Transfer(transfer) if transfer.destination.contains('/'))
    }

    /// How many records it makes, and whether they are one atomic batch.
    pub(super) fn records(&self) -> (usize, bool) {
        match self {
            Ask::Batch(batch) => (batch.commands.len(), batch.atomic),
            Ask::Open(_)
            | Ask::Deposit(_)
            | Ask::Withdraw(_)
            | Ask::Interest(_)
            | Ask::Transfer(_)
            | Ask::State(_)
            | Ask::Place(_)
            | Ask::Capture(_)
            | Ask::Release(_) => (1, false),
        }
    }

    /// What is counted.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Ask::Open(_) => "open",
            Ask::Deposit(_) => "deposit",
            Ask::Withdraw(_) => "withdraw",
            Ask::Interest(_) => "interest",
            Ask::Transfer(_) if self.goes_on() => "transfer between",
            Ask::Transfer(_) => "transfer inside",
            Ask::State(_) => "state",
            Ask::Place(_) => "hold",
            Ask::Capture(_) => "capture",
            Ask::Release(_) => "release",
            Ask::Batch(batch) if batch.atomic => "atomic batch",
            Ask::Batch(_) => "batch",
        }
    }
}
