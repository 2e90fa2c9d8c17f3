//! `bank.v1.BankService`: every handler is one conversion in, one call, one conversion out.

use std::time::Instant;

use tonic::{Request, Response, Status, Streaming};

use super::BankApi;
use super::meter::Rpc;
use super::submit::Submitted;
use super::watch::Feed;
use crate::model::Failure;
use crate::store::Runtime;
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

fn answer<T>(result: Result<T, Failure>) -> Result<Response<T>, Status> {
    result.map(Response::new).map_err(|failure| to_status(&failure))
}

impl<R: Runtime> BankApi<R> {
    /// Counts a call that has ended, and answers it.
    fn finish<T>(&self, rpc: Rpc, began: Instant, result: Result<T, Failure>) -> Result<Response<T>, Status> {
        self.meter.count(rpc, began, result.as_ref().err().map(|failure| failure.reason));
        answer(result)
    }
}

#[tonic::async_trait]
impl<R: Runtime> BankService for BankApi<R> {
    async fn open_account(
        &self,
        request: Request<OpenAccountRequest>,
    ) -> Result<Response<OpenAccountResponse>, Status> {
        let began = Instant::now();
        let result = self.open(request).await;
        self.finish(Rpc::OpenAccount, began, result)
    }

    async fn deposit_account(
        &self,
        request: Request<DepositAccountRequest>,
    ) -> Result<Response<DepositAccountResponse>, Status> {
        let began = Instant::now();
        let result = self.deposit(request).await;
        self.finish(Rpc::Deposit, began, result)
    }

    async fn withdraw_account(
        &self,
        request: Request<WithdrawAccountRequest>,
    ) -> Result<Response<WithdrawAccountResponse>, Status> {
        let began = Instant::now();
        let result = self.withdraw(request).await;
        self.finish(Rpc::Withdraw, began, result)
    }

    async fn add_interest(
        &self,
        request: Request<AddInterestRequest>,
    ) -> Result<Response<AddInterestResponse>, Status> {
        let began = Instant::now();
        let result = self.interest(request).await;
        self.finish(Rpc::Interest, began, result)
    }

    async fn get_balance(
        &self,
        request: Request<GetBalanceRequest>,
    ) -> Result<Response<GetBalanceResponse>, Status> {
        let began = Instant::now();
        let result = self.balance(request).await;
        self.finish(Rpc::GetBalance, began, result)
    }

    async fn get_account(
        &self,
        request: Request<GetAccountRequest>,
    ) -> Result<Response<GetAccountResponse>, Status> {
        let began = Instant::now();
        let result = self.account(request).await;
        self.finish(Rpc::GetAccount, began, result)
    }

    async fn list_accounts(
        &self,
        request: Request<ListAccountsRequest>,
    ) -> Result<Response<ListAccountsResponse>, Status> {
        let began = Instant::now();
        let result = self.accounts(request).await;
        self.finish(Rpc::ListAccounts, began, result)
    }

    async fn transfer(
        &self,
        request: Request<TransferRequest>,
    ) -> Result<Response<TransferResponse>, Status> {
        let began = Instant::now();
        let result = self.transfer_money(request).await;
        self.finish(Rpc::Transfer, began, result)
    }

    async fn list_entries(
        &self,
        request: Request<ListEntriesRequest>,
    ) -> Result<Response<ListEntriesResponse>, Status> {
        let began = Instant::now();
        let result = self.entries(request).await;
        self.finish(Rpc::ListEntries, began, result)
    }

    async fn get_operation(
        &self,
        request: Request<GetOperationRequest>,
    ) -> Result<Response<GetOperationResponse>, Status> {
        let began = Instant::now();
        let result = self.operation(request).await;
        self.finish(Rpc::GetOperation, began, result)
    }

    async fn execute_batch(
        &self,
        request: Request<ExecuteBatchRequest>,
    ) -> Result<Response<ExecuteBatchResponse>, Status> {
        let began = Instant::now();
        let result = self.batch(request).await;
        self.finish(Rpc::ExecuteBatch, began, result)
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
        let began = Instant::now();
        let result = self.watch(request).await;
        self.finish(Rpc::WatchJournal, began, result)
    }

    async fn set_account_state(
        &self,
        request: Request<v1::SetAccountStateRequest>,
    ) -> Result<Response<v1::SetAccountStateResponse>, Status> {
        let began = Instant::now();
        let result = self.set_state(request).await;
        self.finish(Rpc::SetState, began, result)
    }

    async fn place_hold(
        &self,
        request: Request<v1::PlaceHoldRequest>,
    ) -> Result<Response<v1::PlaceHoldResponse>, Status> {
        let began = Instant::now();
        let result = self.place_hold(request).await;
        self.finish(Rpc::PlaceHold, began, result)
    }

    async fn capture_hold(
        &self,
        request: Request<v1::CaptureHoldRequest>,
    ) -> Result<Response<v1::CaptureHoldResponse>, Status> {
        let began = Instant::now();
        let result = self.capture_hold(request).await;
        self.finish(Rpc::CaptureHold, began, result)
    }

    async fn release_hold(
        &self,
        request: Request<v1::ReleaseHoldRequest>,
    ) -> Result<Response<v1::ReleaseHoldResponse>, Status> {
        let began = Instant::now();
        let result = self.release_hold(request).await;
        self.finish(Rpc::ReleaseHold, began, result)
    }

    async fn get_hold(
        &self,
        request: Request<v1::GetHoldRequest>,
    ) -> Result<Response<v1::GetHoldResponse>, Status> {
        let began = Instant::now();
        let result = self.hold(request).await;
        self.finish(Rpc::GetHold, began, result)
    }

    async fn list_holds(
        &self,
        request: Request<v1::ListHoldsRequest>,
    ) -> Result<Response<v1::ListHoldsResponse>, Status> {
        let began = Instant::now();
        let result = self.holds(request).await;
        self.finish(Rpc::ListHolds, began, result)
    }

    async fn get_transfer(
        &self,
        request: Request<v1::GetTransferRequest>,
    ) -> Result<Response<v1::GetTransferResponse>, Status> {
        let began = Instant::now();
        let result = self.transfer_shown(request).await;
        self.finish(Rpc::GetTransfer, began, result)
    }

    async fn list_transfers(
        &self,
        request: Request<v1::ListTransfersRequest>,
    ) -> Result<Response<v1::ListTransfersResponse>, Status> {
        let began = Instant::now();
        let result = self.transfers_listed(request).await;
        self.finish(Rpc::ListTransfers, began, result)
    }

    async fn list_journal(
        &self,
        request: Request<v1::ListJournalRequest>,
    ) -> Result<Response<v1::ListJournalResponse>, Status> {
        let began = Instant::now();
        let result = self.journal(request).await;
        self.finish(Rpc::ListJournal, began, result)
    }
}
