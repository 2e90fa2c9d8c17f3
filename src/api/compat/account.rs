//! `main.BankAccountService`: the account manager that older clients speak.
//!
//! The only room where money passes as a float, because the contract says so. A float becomes money
//! through the shortest decimal that prints it, and money becomes the nearest float; nothing is computed
//! with floats.

use std::sync::Arc;
use std::time::Instant;

use tonic::{Request, Response, Status};

use crate::api::call::{DEFAULT_DEADLINE, timeout_of};
use crate::api::meter::{Meter, Rpc};
use crate::model::{
    AccountNumber, Amount, Code, Command, Failure, Money, Outcomes, Proposal, Rate, Reason, Receipt,
    Rejection, Work,
};
use crate::replication::{Lane, ReadPoint};
use crate::wire::proto::compat::bank_account_service_server::BankAccountService;
use crate::wire::proto::compat::{
    AccountBalance, AccountIdentifier, AddInterestRequest, BalanceAccountRequest, DepositAccountRequest,
    WithdrawAccountRequest,
};
use crate::wire::{REASON_TRAILER, to_status, to_status_as};

/// The words of the older contract.
const NO_ACCOUNT: &str = "Account does not exist in the bank server";
const NO_FUNDS: &str = "Not enough funds to withdraw from the account";
const NO_RATE: &str = "Invalid input of interest rate";

/// The service for the calls of one runtime.
#[derive(Clone)]
pub struct CompatApi {
    lane: Lane,
    meter: Arc<Meter>,
}

impl CompatApi {
    /// The service on a lane. Calls are counted in the meter.
    #[must_use]
    pub fn new(lane: Lane, meter: Arc<Meter>) -> CompatApi {
        CompatApi { lane, meter }
    }

    /// Counts a call that has ended.
    fn finish<T>(&self, rpc: Rpc, began: Instant, result: Result<T, Status>) -> Result<T, Status> {
        let reason = |status: &Status| {
            let reason = status.metadata().get(REASON_TRAILER)?;
            Reason::named(reason.to_str().ok()?)
        };
        let end = result.as_ref().err().map(|status| reason(status).unwrap_or(Reason::Internal));
        self.meter.count(rpc, began, end);
        result
    }

    async fn execute(&self, command: Command, deadline: Instant) -> Result<Receipt, Status> {
        let proposal = Proposal { request: None, work: Work::One(command) };
        let reply =
            self.lane.execute(proposal, None, deadline).await.map_err(|error| to_status(&error.into()))?;
        match reply.outcomes {
            Outcomes::One(Ok(receipt)) => Ok(receipt),
            Outcomes::One(Err(rejection)) => Err(refused(&rejection)),
            Outcomes::Many(_) => {
                Err(to_status(&Failure::new(Reason::Internal, "one command got several answers")))
            }
        }
    }

    async fn change(&self, command: Command, deadline: Instant) -> Result<Response<AccountBalance>, Status> {
        let receipt = self.execute(command, deadline).await?;
        let [changed, _] = receipt.balances();
        let balance = changed.map_or(Money::ZERO, |(_, balance)| balance);
        Ok(Response::new(AccountBalance { balance: nearest(balance) }))
    }
}

#[tonic::async_trait]
impl BankAccountService for CompatApi {
    async fn open_account(&self, request: Request<()>) -> Result<Response<AccountIdentifier>, Status> {
        let began = Instant::now();
        let deadline = deadline(&request)?;
        let result = self.execute(Command::OpenAccount(Box::default()), deadline).await;
        let [opened, _] = self.finish(Rpc::OpenAccount, began, result)?.balances();
        let account_id = opened.map(|(number, _)| number.to_string()).unwrap_or_default();
        Ok(Response::new(AccountIdentifier { account_id }))
    }

    async fn deposit_account(
        &self,
        request: Request<DepositAccountRequest>,
    ) -> Result<Response<AccountBalance>, Status> {
        let deadline = deadline(&request)?;
        let message = request.into_inner();
        let (account, amount) = (account(&message.account_id)?, amount(message.amount)?);
        let began = Instant::now();
        let result = self.change(Command::Deposit { account, amount }, deadline).await;
        self.finish(Rpc::Deposit, began, result)
    }

    async fn withdraw_account(
        &self,
        request: Request<WithdrawAccountRequest>,
    ) -> Result<Response<AccountBalance>, Status> {
        let deadline = deadline(&request)?;
        let message = request.into_inner();
        let (account, amount) = (account(&message.account_id)?, amount(message.amount)?);
        let began = Instant::now();
        let result = self.change(Command::Withdraw { account, amount }, deadline).await;
        self.finish(Rpc::Withdraw, began, result)
    }

    async fn add_interest(
        &self,
        request: Request<AddInterestRequest>,
    ) -> Result<Response<AccountBalance>, Status> {
        let deadline = deadline(&request)?;
        let message = request.into_inner();
        let (account, rate) = (account(&message.account_id)?, rate(message.interest_rate)?);
        let began = Instant::now();
        let result = self.change(Command::AddInterest { account, rate }, deadline).await;
        self.finish(Rpc::Interest, began, result)
    }

    async fn get_balance(
        &self,
        request: Request<BalanceAccountRequest>,
    ) -> Result<Response<AccountBalance>, Status> {
        let deadline = deadline(&request)?;
        let number = account(&request.get_ref().account_id)?;
        let began = Instant::now();
        let read = self.lane.view(ReadPoint::Latest, deadline, |accounts| accounts.account(number)).await;
        let account = match read {
            Ok((Some(account), _)) => Ok(account),
            Ok((None, _)) => Err(refused(&Rejection::AccountNotFound { account: number })),
            Err(error) => Err(to_status(&error.into())),
        };
        let account = self.finish(Rpc::GetBalance, began, account)?;
        Ok(Response::new(AccountBalance { balance: nearest(account.balance.balance) }))
    }
}

fn deadline<T>(request: &Request<T>) -> Result<Instant, Status> {
    let timeout = timeout_of(request.metadata()).map_err(|failure| to_status(&failure))?;
    Ok(Instant::now() + timeout.unwrap_or(DEFAULT_DEADLINE))
}

/// A refusal in the words and with the codes of the older contract.
fn refused(rejection: &Rejection) -> Status {
    let failure = Failure::from(rejection);
    match rejection {
        Rejection::AccountNotFound { .. } => {
            to_status(&Failure { message: NO_ACCOUNT.to_owned(), ..failure })
        }
        Rejection::InsufficientFunds { .. } => {
            to_status_as(&Failure { message: NO_FUNDS.to_owned(), ..failure }, Code::InvalidArgument)
        }
        Rejection::AccountExists { .. }
        | Rejection::AmountOverflow { .. }
        | Rejection::SameAccount { .. }
        | Rejection::AccountFrozen { .. }
        | Rejection::AccountClosed { .. }
        | Rejection::BalanceNotZero { .. }
        | Rejection::AccountInUse { .. }
        | Rejection::HoldNotFound { .. }
        | Rejection::HoldFinal { .. }
        | Rejection::HoldTooSmall { .. }
        | Rejection::HoldNotOver { .. }
        | Rejection::TransferNotFound { .. }
        | Rejection::TransferFinal { .. }
        | Rejection::TransferPending { .. }
        | Rejection::TransferStale { .. }
        | Rejection::TransferMismatch { .. }
        | Rejection::TooManyOpen { .. }
        | Rejection::BatchAborted { .. }
        | Rejection::RequestReused
        | Rejection::RequestExpired { .. }
        | Rejection::RequestFromFuture { .. } => to_status(&failure),
    }
}

/// What is no number is the name of no account, so nobody has it.
fn account(text: &str) -> Result<AccountNumber, Status> {
    text.parse().map_err(|_| {
        to_status(
            &Failure::new(Reason::AccountNotFound, NO_ACCOUNT).with("account", text).in_field("account_id"),
        )
    })
}

fn amount(float: f32) -> Result<Amount, Status> {
    Amount::parse(&shortest(float)).map_err(|error| to_status(&Failure::from(error).in_field("amount")))
}

/// Zero is a rate here.
fn rate(float: f32) -> Result<Rate, Status> {
    let percent = shortest(float).parse().ok();
    percent
        .and_then(|percent| Rate::from_percent(percent).ok())
        .ok_or_else(|| to_status(&Failure::new(Reason::RateOutOfRange, NO_RATE).in_field("interestRate")))
}

/// The shortest decimal that reads back as the same float: 30.1 and not 30.1000003.
fn shortest(float: f32) -> String {
    float.to_string()
}

/// The float nearest to an amount of money.
fn nearest(money: Money) -> f32 {
    money.to_string().parse().expect("a decimal is the text of a float")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_read_by_the_shortest_decimal_that_prints_them() {
        for (float, text) in
            [(30.1_f32, "30.10"), (0.01, "0.01"), (16_777_216.0, "16777216.00"), (100.0, "100.00")]
        {
            assert_eq!(amount(float).unwrap().to_string(), text);
            assert_eq!(nearest(amount(float).unwrap().money()).to_bits(), float.to_bits());
        }
        for float in [0.0, -0.0, -1.0, 1.234, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MIN_POSITIVE] {
            assert_eq!(amount(float).unwrap_err().code(), tonic::Code::InvalidArgument, "{float}");
        }
    }

    #[test]
    fn rates_go_from_zero_to_a_hundred() {
        for (float, parts) in [(0.0, 0), (-0.0, 0), (2.5, 25_000), (100.0, 1_000_000), (33.3333, 333_333)] {
            assert_eq!(rate(float).unwrap().parts(), parts, "{float}");
        }
        for float in [-0.1, 100.1, f32::NAN, f32::INFINITY, 1e-20] {
            let status = rate(float).unwrap_err();
            assert_eq!((status.code(), status.message()), (tonic::Code::InvalidArgument, NO_RATE), "{float}");
        }
    }
}
