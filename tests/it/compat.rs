//! The account manager of older clients: codes, words and numbers exactly as they know them.

use bank::wire::proto::compat::bank_account_service_client::BankAccountServiceClient;
use bank::wire::proto::compat::{
    AccountBalance, AddInterestRequest, BalanceAccountRequest, DepositAccountRequest, WithdrawAccountRequest,
};
use tonic::transport::Channel;
use tonic::{Code, Response, Status};

use crate::support::{Server, channel};

type Old = BankAccountServiceClient<Channel>;

async fn client(server: &Server) -> Old {
    Old::new(channel(server.address()).await)
}

fn deposit(account: &str, amount: f32) -> DepositAccountRequest {
    DepositAccountRequest { account_id: account.to_owned(), amount }
}

fn withdraw(account: &str, amount: f32) -> WithdrawAccountRequest {
    WithdrawAccountRequest { account_id: account.to_owned(), amount }
}

fn interest(account: &str, interest_rate: f32) -> AddInterestRequest {
    AddInterestRequest { account_id: account.to_owned(), interest_rate }
}

fn of(account: &str) -> BalanceAccountRequest {
    BalanceAccountRequest { account_id: account.to_owned() }
}

#[track_caller]
fn tells(result: Result<Response<AccountBalance>, Status>, balance: f32) {
    let told = result.unwrap().into_inner().balance;
    assert_eq!(told.to_bits(), balance.to_bits(), "{told} is not {balance}");
}

#[track_caller]
fn refuses(result: Result<Response<AccountBalance>, Status>, code: Code, message: &str) {
    let status = result.unwrap_err();
    assert_eq!((status.code(), status.message()), (code, message));
}

#[tokio::test]
async fn a_conversation_of_an_older_client() {
    let server = Server::start();
    let mut old = client(&server).await;
    for number in 1..=3 {
        assert_eq!(old.open_account(()).await.unwrap().into_inner().account_id, number.to_string());
    }
    tells(old.deposit_account(deposit("1", 30.1)).await, 30.1);
    tells(old.add_interest(interest("1", 2.5)).await, 30.85);
    tells(old.withdraw_account(withdraw("1", 0.85)).await, 30.0);
    tells(old.add_interest(interest("1", 0.0)).await, 30.0);
    tells(old.add_interest(interest("1", 100.0)).await, 60.0);
    tells(old.withdraw_account(withdraw("1", 60.0)).await, 0.0);
    tells(old.get_balance(of("1")).await, 0.0);
}

#[tokio::test]
async fn refusals_have_the_words_that_older_clients_show() {
    const NO_ACCOUNT: &str = "Account does not exist in the bank server";
    const NO_FUNDS: &str = "Not enough funds to withdraw from the account";
    const NO_RATE: &str = "Invalid input of interest rate";
    let server = Server::start();
    let mut old = client(&server).await;
    old.open_account(()).await.unwrap();
    old.deposit_account(deposit("1", 5.0)).await.unwrap();
    for account in ["2", "0", "", "x", "main/1", "-1"] {
        refuses(old.get_balance(of(account)).await, Code::NotFound, NO_ACCOUNT);
        refuses(old.deposit_account(deposit(account, 1.0)).await, Code::NotFound, NO_ACCOUNT);
        refuses(old.withdraw_account(withdraw(account, 1.0)).await, Code::NotFound, NO_ACCOUNT);
        refuses(old.add_interest(interest(account, 1.0)).await, Code::NotFound, NO_ACCOUNT);
    }
    refuses(old.withdraw_account(withdraw("1", 5.01)).await, Code::InvalidArgument, NO_FUNDS);
    for rate in [-0.1, 100.1, f32::NAN, f32::INFINITY] {
        refuses(old.add_interest(interest("1", rate)).await, Code::InvalidArgument, NO_RATE);
    }
    for amount in [0.0, -1.0, 1.234, f32::NAN, f32::INFINITY] {
        let refused = [
            old.deposit_account(deposit("1", amount)).await.unwrap_err(),
            old.withdraw_account(withdraw("1", amount)).await.unwrap_err(),
        ];
        assert!(refused.iter().all(|status| status.code() == Code::InvalidArgument), "{amount}");
    }
    tells(old.get_balance(of("1")).await, 5.0);
}

#[tokio::test]
async fn parallel_openings_give_every_number_once() {
    const OPENINGS: usize = 200;
    let server = Server::with(4, bank::server::Limits::default());
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(client(&server).await);
    }
    let openings = (0..OPENINGS).map(|n| {
        let mut old = clients[n % clients.len()].clone();
        tokio::spawn(async move { old.open_account(()).await.unwrap().into_inner().account_id })
    });
    let mut numbers: Vec<usize> = futures::future::join_all(openings)
        .await
        .into_iter()
        .map(|id| id.unwrap().parse().unwrap())
        .collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=OPENINGS).collect::<Vec<_>>());
}

#[tokio::test]
async fn parallel_withdrawals_never_overdraw() {
    const WITHDRAWALS: usize = 200;
    let server = Server::with(4, bank::server::Limits::default());
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(client(&server).await);
    }
    clients[0].open_account(()).await.unwrap();
    clients[0].deposit_account(deposit("1", 100.0)).await.unwrap();
    let withdrawals = (0..WITHDRAWALS).map(|n| {
        let mut old = clients[n % clients.len()].clone();
        tokio::spawn(async move { old.withdraw_account(withdraw("1", 3.0)).await })
    });
    let results = futures::future::join_all(withdrawals).await;
    let paid = results.iter().filter(|result| result.as_ref().unwrap().is_ok()).count();
    assert_eq!(paid, 33);
    tells(clients[0].get_balance(of("1")).await, 1.0);
}
