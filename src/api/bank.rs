//! `bank.v1.BankService`: every handler is one conversion in, one call, one conversion out.

use tonic::{Request, Response, Status, Streaming};

use super::BankApi;
use super::submit::Submitted;
use super::watch::Feed;
use crate::model::Failure;
use crate::wire::proto::v1;
use crate::wire::proto::v1::bank_service_server::BankService;
use crate::wire::proto::v1::{
    AddInterestRequest, AddInterestResponse, DepositAccountRequest, DepositAccountResponse,
    ExecuteBatchRequest, ExecuteBatchResponse, GetAccountRequest, GetAccountResponse, GetBalanceRequest,
    GetBalanceResponse, GetOperationRequest, GetOperationResponse, ListAccountsRequest, ListAccountsResponse,
    ListEntriesRequest, ListEntriesResponse, OpenAccountRequest, OpenAccountResponse, SubmitRequest,
    TransferRequest, TransferResponse, WatchJournalRequest, WithdrawAccountRequest, WithdrawAccountResponse,
};
use crate::wire::to_status;

fn not_yet() -> Failure {
    Failure::new(crate::model::Reason::Unimplemented, "this server does not do that yet")
}

fn answer<T>(result: Result<T, Failure>) -> Result<Response<T>, Status> {
    result.map(Response::new).map_err(|failure| to_status(&failure))
}

#[tonic::async_trait]
impl BankService for BankApi {
    async fn open_account(
        &self,
        request: Request<OpenAccountRequest>,
    ) -> Result<Response<OpenAccountResponse>, Status> {
        answer(self.open(request).await)
    }

    async fn deposit_account(
        &self,
        request: Request<DepositAccountRequest>,
    ) -> Result<Response<DepositAccountResponse>, Status> {
        answer(self.deposit(request).await)
    }

    async fn withdraw_account(
        &self,
        request: Request<WithdrawAccountRequest>,
    ) -> Result<Response<WithdrawAccountResponse>, Status> {
        answer(self.withdraw(request).await)
    }

    async fn add_interest(
        &self,
        request: Request<AddInterestRequest>,
    ) -> Result<Response<AddInterestResponse>, Status> {
        answer(self.interest(request).await)
    }

    async fn get_balance(
        &self,
        request: Request<GetBalanceRequest>,
    ) -> Result<Response<GetBalanceResponse>, Status> {
        answer(self.balance(request).await)
    }

    async fn get_account(
        &self,
        request: Request<GetAccountRequest>,
    ) -> Result<Response<GetAccountResponse>, Status> {
        answer(self.account(request).await)
    }

    async fn list_accounts(
        &self,
        request: Request<ListAccountsRequest>,
    ) -> Result<Response<ListAccountsResponse>, Status> {
        answer(self.accounts(request).await)
    }

    async fn transfer(
        &self,
        request: Request<TransferRequest>,
    ) -> Result<Response<TransferResponse>, Status> {
        answer(self.transfer_money(request).await)
    }

    async fn list_entries(
        &self,
        request: Request<ListEntriesRequest>,
    ) -> Result<Response<ListEntriesResponse>, Status> {
        answer(self.entries(request).await)
    }

    async fn get_operation(
        &self,
        request: Request<GetOperationRequest>,
    ) -> Result<Response<GetOperationResponse>, Status> {
        answer(self.operation(request).await)
    }

    async fn execute_batch(
        &self,
        request: Request<ExecuteBatchRequest>,
    ) -> Result<Response<ExecuteBatchResponse>, Status> {
        answer(self.batch(request).await)
    }

    type SubmitStream = Submitted;

    async fn submit(
        &self,
        request: Request<Streaming<SubmitRequest>>,
    ) -> Result<Response<Submitted>, Status> {
        answer(self.submit_batches(request))
    }

    type WatchJournalStream = Feed;

    async fn watch_journal(&self, request: Request<WatchJournalRequest>) -> Result<Response<Feed>, Status> {
        answer(self.watch(request).await)
    }

    async fn set_account_state(
        &self,
        _request: Request<v1::SetAccountStateRequest>,
    ) -> Result<Response<v1::SetAccountStateResponse>, Status> {
        answer(Err(not_yet()))
    }

    async fn place_hold(
        &self,
        _request: Request<v1::PlaceHoldRequest>,
    ) -> Result<Response<v1::PlaceHoldResponse>, Status> {
        answer(Err(not_yet()))
    }

    async fn capture_hold(
        &self,
        _request: Request<v1::CaptureHoldRequest>,
    ) -> Result<Response<v1::CaptureHoldResponse>, Status> {
        answer(Err(not_yet()))
    }

    async fn release_hold(
        &self,
        _request: Request<v1::ReleaseHoldRequest>,
    ) -> Result<Response<v1::ReleaseHoldResponse>, Status> {
        answer(Err(not_yet()))
    }

    async fn get_hold(
        &self,
        _request: Request<v1::GetHoldRequest>,
    ) -> Result<Response<v1::GetHoldResponse>, Status> {
        answer(Err(not_yet()))
    }

    async fn list_holds(
        &self,
        _request: Request<v1::ListHoldsRequest>,
    ) -> Result<Response<v1::ListHoldsResponse>, Status> {
        answer(Err(not_yet()))
    }

    async fn get_transfer(
        &self,
        _request: Request<v1::GetTransferRequest>,
    ) -> Result<Response<v1::GetTransferResponse>, Status> {
        answer(Err(not_yet()))
    }

    async fn list_transfers(
        &self,
        _request: Request<v1::ListTransfersRequest>,
    ) -> Result<Response<v1::ListTransfersResponse>, Status> {
        answer(Err(not_yet()))
    }

    async fn list_journal(
        &self,
        _request: Request<v1::ListJournalRequest>,
    ) -> Result<Response<v1::ListJournalResponse>, Status> {
        answer(Err(not_yet()))
    }
}
