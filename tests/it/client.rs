//! The client library against real servers and over networks that break.

use std::net::SocketAddr;
use std::time::Duration;

use bank::client::{
    AsOf, Batch, BatchCommand, Client, Config, Consistency, EntryOrder, Health, Kind, NewAccount,
    OperationState, Options, Page, Statement,
};
use bank::model::{Failure, Reason};
use bank::server::Limits;
use futures::stream;

use crate::proxy::Proxy;
use crate::support::Server;

pub(crate) fn client(address: SocketAddr) -> Client {
    Client::new(&Config::new([address.to_string()])).unwrap()
}

async fn open(client: &Client, deposit: &str) -> String {
    let new = NewAccount { deposit, ..NewAccount::default() };
    client.open_account(new, &Options::default()).await.unwrap().account
}

async fn balance(client: &Client, account: &str) -> String {
    client.balance(account, &Options::fresh(Consistency::Linearizable)).await.unwrap().balance
}

fn named(request_id: &str) -> Options {
    Options { request_id: Some(request_id.to_owned()), ..Options::default() }
}

/// A port that was free a moment ago.
async fn dead_address() -> String {
    tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string()
}

#[tokio::test]
async fn every_call_says_what_the_server_says() {
    let server = Server::start();
    let client = client(server.address());
    let usual = Options::default();
    assert_eq!(client.health(&usual).await, Ok(Health::Serving));
    let ada = NewAccount { name: "Ada", deposit: "100", overdraft_limit: "5", ..NewAccount::default() };
    let opened = client.open_account(ada, &usual).await.unwrap();
    assert_eq!((opened.account.as_str(), opened.balance.as_str()), ("main/1", "100.00"));
    open(&client, "").await;
    assert_eq!(client.deposit("1", "1.5", &usual).await.unwrap().balance, "101.50");
    assert_eq!(client.withdraw("main/1", "1.50", &usual).await.unwrap().balance, "100.00");
    let interest = client.add_interest("1", "2.5", &usual).await.unwrap();
    assert_eq!((interest.interest.as_str(), interest.balance.as_str()), ("2.50", "102.50"));
    let moved = client.transfer("1", "2", "2.5", &named("move")).await.unwrap();
    assert_eq!((moved.source_balance.as_str(), moved.destination_balance.as_str()), ("100.00", "2.50"));
    let shown = client.balance("1", &usual).await.unwrap();
    assert_eq!((shown.available.as_str(), shown.consistency), ("105.00", Some(Consistency::Session)));
    assert_eq!(client.account("1", &usual).await.unwrap().account.name, "Ada");

    let first = client.accounts(Page { size: 1, token: "" }, &usual).await.unwrap();
    let rest = client.accounts(Page { size: 1, token: &first.next_page_token }, &usual).await.unwrap();
    assert_eq!([&first.accounts[0].account, &rest.accounts[0].account], ["main/1", "main/2"]);
    assert_eq!(rest.next_page_token, "");
    let statement = Statement {
        account: "1",
        order: EntryOrder::OldestFirst,
        as_of: AsOf::Sequence(3),
        page: Page::default(),
    };
    let entries = client.entries(statement, &usual).await.unwrap().entries;
    assert_eq!(entries.iter().map(|entry| entry.kind).collect::<Vec<_>>(), [Kind::Open, Kind::Deposit]);

    let commands = vec![
        BatchCommand::Deposit { account: 1, amount: 25 },
        BatchCommand::Withdraw { account: 2, amount: 1_000 },
    ];
    let batch = client.execute_batch(Batch { atomic: false, commands }, &usual).await.unwrap();
    assert_eq!(batch.results[0].as_ref().unwrap().balance, 10_025);
    assert_eq!(batch.results[1].as_ref().unwrap_err().reason, Reason::InsufficientFunds);
    let operation = client.operation("move", &usual).await.unwrap();
    assert_eq!((operation.state, operation.results.len()), (OperationState::Executed, 1));
    assert_eq!(operation.results[0].outcome.as_ref().unwrap().counterparty, "main/2");
}

#[tokio::test]
async fn a_refusal_is_the_servers_with_reason_and_field() {
    let server = Server::start();
    let client = client(server.address());
    open(&client, "1").await;
    let refused: Failure = client.deposit("1", "1.234", &Options::default()).await.unwrap_err();
    assert_eq!((refused.reason, refused.field.as_deref()), (Reason::AmountPrecision, Some("amount")));
    let dry = Options { validate_only: true, ..Options::default() };
    assert_eq!(client.withdraw("1", "0.40", &dry).await.unwrap().balance, "0.60");
    assert_eq!(balance(&client, "1").await, "1.00");
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_and_the_write_happens_once() {
    let server = Server::start();
    let direct = client(server.address());
    open(&direct, "").await;
    let proxy = Proxy::to(server.address()).await;
    proxy.mute(true);
    let through = client(proxy.address);
    let deposit = tokio::spawn(async move { through.deposit("1", "7", &named("once")).await });
    while balance(&direct, "1").await != "7.00" {
        tokio::task::yield_now().await;
    }
    proxy.mute(false);
    let done = deposit.await.unwrap().unwrap();
    assert_eq!((done.balance.as_str(), done.named.replayed), ("7.00", true));
    assert_eq!(balance(&direct, "1").await, "7.00");
}

#[tokio::test]
async fn an_answer_that_stays_lost_is_an_unknown_outcome_with_the_name_to_ask_for() {
    let server = Server::start();
    let direct = client(server.address());
    open(&direct, "").await;
    let proxy = Proxy::to(server.address()).await;
    proxy.mute(true);
    let through = client(proxy.address);
    let brief = Options { timeout: Some(Duration::from_millis(300)), ..Options::default() };
    let unknown = through.deposit("1", "7", &brief).await.unwrap_err();
    assert_eq!(unknown.reason, Reason::OutcomeUnknown);
    let id = &unknown.metadata["request_id"];
    let operation = direct.operation(id, &Options::default()).await.unwrap();
    assert_eq!(operation.state, OperationState::Executed);
    let again = direct.deposit("1", "7", &named(id)).await.unwrap();
    assert_eq!((again.balance.as_str(), again.named.replayed), ("7.00", true));
}

#[tokio::test]
async fn a_server_that_is_gone_is_passed_over() {
    let server = Server::start();
    let servers = [dead_address().await, server.address().to_string()];
    let client = Client::new(&Config::new(servers)).unwrap();
    open(&client, "1").await;
    assert_eq!(client.server(), server.address().to_string());
}

#[tokio::test]
async fn a_restarted_server_is_reached_again_and_a_session_of_its_former_life_is_refused() {
    let first = Server::start();
    let address = first.address();
    let client = client(address);
    open(&client, "1").await;
    let token = client.session_token();
    first.stop().await;
    let _second = Server::on(address.port(), 2, Limits::default());
    let refused = client.balance("1", &Options::default()).await.unwrap_err();
    assert_eq!(refused.reason, Reason::SessionUnknown);
    assert_eq!(client.session_token(), token, "only the caller gives a session up");
    client.forget_session();
    let none = client.balance("1", &Options::default()).await.unwrap_err();
    assert_eq!(none.reason, Reason::AccountNotFound);
}

#[tokio::test]
async fn one_session_goes_through_two_clients() {
    let server = Server::start();
    let (first, second) = (client(server.address()), client(server.address()));
    open(&first, "1").await;
    second.resume_session(&first.session_token()).unwrap();
    let shown = second.balance("1", &Options::default()).await.unwrap();
    assert_eq!((shown.balance.as_str(), shown.consistency), ("1.00", Some(Consistency::Session)));
    assert!(shown.seen.sequence >= 1);
}

#[tokio::test]
async fn a_watch_goes_on_over_broken_connections_without_gap_or_duplicate() {
    const DEPOSITS: u64 = 300;
    let server = Server::start();
    let direct = client(server.address());
    open(&direct, "").await;
    let proxy = Proxy::to(server.address()).await;
    let mut watch = client(proxy.address).watch(1, "", &Options::default());
    let writer = tokio::spawn(async move {
        for deposit in 0..DEPOSITS {
            direct.deposit("1", "0.01", &Options::default()).await.unwrap();
            if deposit % 50 == 0 {
                proxy.cut();
            }
        }
        proxy
    });
    let mut sequences = Vec::new();
    while sequences.len() as u64 <= DEPOSITS {
        let piece = watch.next().await.unwrap();
        sequences.extend(piece.records.iter().map(|record| record.sequence));
    }
    assert_eq!(sequences, (1..=DEPOSITS + 1).collect::<Vec<_>>());
    writer.await.unwrap();
}

#[tokio::test]
async fn a_watch_tells_a_refusal_and_can_be_asked_again() {
    let server = Server::start();
    let direct = client(server.address());
    open(&direct, "1").await;
    let mut watch = direct.watch(1, "no account", &Options::default());
    assert_eq!(watch.next().await.unwrap_err().reason, Reason::AccountSyntax);
    let mut watch = direct.watch(1, "1", &Options::default());
    let record = loop {
        // An empty piece says only how far the feed has come.
        if let Some(record) = watch.next().await.unwrap().records.into_iter().next() {
            break record;
        }
    };
    assert_eq!((record.kind, record.account.as_str()), (Kind::Open, "main/1"));
}

#[tokio::test]
async fn a_submission_goes_on_over_broken_connections_and_does_everything_once() {
    const BATCHES: u64 = 200;
    let server = Server::start();
    let direct = client(server.address());
    open(&direct, "").await;
    let proxy = Proxy::to(server.address()).await;
    let batches = (0..BATCHES)
        .map(|_| Batch { atomic: true, commands: vec![BatchCommand::Deposit { account: 1, amount: 1 }; 5] });
    let mut submission = client(proxy.address).submit(stream::iter(batches), &Options::default());
    let mut numbers = Vec::new();
    while let Some(answer) = submission.next().await.unwrap() {
        assert_eq!(answer.outcome.unwrap().results.len(), 5);
        numbers.push(answer.number);
        if answer.number % 40 == 0 {
            proxy.cut();
        }
    }
    assert_eq!(numbers, (1..=BATCHES).collect::<Vec<_>>());
    assert_eq!(balance(&direct, "1").await, "10.00");
}

#[tokio::test]
async fn a_submission_that_gets_no_answer_names_what_is_open() {
    let server = Server::start();
    let direct = client(server.address());
    open(&direct, "").await;
    let proxy = Proxy::to(server.address()).await;
    proxy.mute(true);
    let batch = Batch { atomic: true, commands: vec![BatchCommand::Deposit { account: 1, amount: 1 }] };
    let brief = Options { timeout: Some(Duration::from_millis(300)), ..Options::default() };
    let mut submission = client(proxy.address).submit(stream::iter([batch]), &brief);
    // The first stream never opens: its answer is lost like all others.
    assert_eq!(submission.next().await.unwrap_err().reason.exit(), bank::model::Exit::TryAgain);
    proxy.mute(false);
    let answer = submission.next().await.unwrap().unwrap();
    assert_eq!(answer.number, 1);
    assert_eq!(balance(&direct, "1").await, "0.01");
}
