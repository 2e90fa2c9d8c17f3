//! WatchJournal: no gap, no duplicate, from anywhere.

use std::time::Duration;

use bank::model::Reason;
use bank::server::Limits;
use bank::wire::from_status;
use bank::wire::proto::v1::{
    JournalRecord, OperationKind, TransferRequest, WatchJournalRequest, WatchJournalResponse,
};
use tokio::time::timeout;
use tonic::Streaming;

use crate::support::{Bank, Server, deposit, open, reason, withdraw};

const PATIENCE: Duration = Duration::from_secs(30);

type Feed = Streaming<WatchJournalResponse>;

async fn watch(bank: &mut Bank, from_sequence: u64, account: &str) -> Feed {
    let request = WatchJournalRequest { from_sequence, account: account.to_owned(), ..Default::default() };
    bank.watch_journal(request).await.unwrap().into_inner()
}

/// Reads records until there are as many; a feed that loses some would never get there.
async fn records(feed: &mut Feed, count: usize) -> Vec<JournalRecord> {
    let read = async {
        let mut records = Vec::new();
        while records.len() < count {
            let message = feed.message().await.unwrap().unwrap();
            if let Some(last) = message.records.last() {
                assert!(message.sequence >= last.sequence);
            }
            records.extend(message.records);
        }
        records
    };
    let records = timeout(PATIENCE, read).await.unwrap();
    assert_eq!(records.len(), count);
    records
}

fn sequences(records: &[JournalRecord]) -> Vec<u64> {
    records.iter().map(|record| record.sequence).collect()
}

#[tokio::test]
async fn a_feed_tells_what_was_done_and_what_was_refused() {
    let server = Server::start();
    let mut bank = server.client().await;
    let mut feed = watch(&mut bank, 1, "").await;
    open(&mut bank, "5").await;
    open(&mut bank, "").await;
    assert_eq!(reason(bank.withdraw_account(withdraw("1", "6")).await), Reason::InsufficientFunds);
    let transfer = TransferRequest {
        source: "1".to_owned(),
        destination: "2".to_owned(),
        amount: "3".to_owned(),
        request_id: "t-1".to_owned(),
        ..Default::default()
    };
    bank.transfer(transfer).await.unwrap();
    let records = records(&mut feed, 4).await;
    assert_eq!(sequences(&records), [1, 2, 3, 4]);
    let opened = &records[0];
    assert_eq!((opened.kind(), opened.account.as_str()), (OperationKind::Open, "main/1"));
    assert_eq!((opened.amount.as_str(), opened.balance.as_str()), ("5.00", "5.00"));
    let refused = &records[2];
    assert_eq!(refused.error.as_ref().unwrap().reason, "INSUFFICIENT_FUNDS");
    assert_eq!((refused.amount.as_str(), refused.balance.as_str()), ("6.00", ""));
    let expected = JournalRecord {
        sequence: 4,
        time: records[3].time,
        kind: OperationKind::Transfer.into(),
        account: "main/1".to_owned(),
        counterparty: "main/2".to_owned(),
        amount: "3.00".to_owned(),
        balance: "2.00".to_owned(),
        counterparty_balance: "3.00".to_owned(),
        request_id: "t-1".to_owned(),
        transfer: records[3].transfer.clone(),
        ..JournalRecord::default()
    };
    assert_eq!(records[3], expected);
}

#[tokio::test]
async fn a_feed_resumes_without_gap_or_duplicate_while_others_write() {
    const RECORDS: u64 = 600;
    let server = Server::with(2, Limits { heartbeat: Duration::from_millis(20), ..Limits::default() });
    let mut bank = server.client().await;
    open(&mut bank, "").await;
    let mut writer = server.client().await;
    let writing = tokio::spawn(async move {
        for _ in 1..RECORDS {
            writer.deposit_account(deposit("1", "1")).await.unwrap();
        }
    });
    let mut next = 1;
    while next <= RECORDS {
        // A new feed every few messages, from where the one before ended.
        let mut feed = watch(&mut bank, next, "").await;
        for _ in 0..3 {
            let message = feed.message().await.unwrap().unwrap();
            for record in message.records {
                assert_eq!(record.sequence, next);
                next += 1;
            }
            assert_eq!(message.sequence, next - 1);
        }
    }
    writing.await.unwrap();
}

#[tokio::test]
async fn a_feed_begins_where_it_is_asked_to() {
    let server = Server::start();
    let mut bank = server.client().await;
    open(&mut bank, "1").await;
    bank.deposit_account(deposit("1", "1")).await.unwrap();
    let mut from_now = watch(&mut bank, 0, "").await;
    assert_eq!(from_now.message().await.unwrap().unwrap().sequence, 2, "where it begins");
    let mut from_later = watch(&mut bank, 4, "").await;
    bank.deposit_account(deposit("1", "1")).await.unwrap();
    bank.deposit_account(deposit("1", "1")).await.unwrap();
    assert_eq!(sequences(&records(&mut from_now, 2).await), [3, 4]);
    assert_eq!(sequences(&records(&mut from_later, 1).await), [4]);
}

#[tokio::test]
async fn a_feed_of_one_account_shows_what_concerns_it() {
    let server = Server::start();
    let mut bank = server.client().await;
    for _ in 0..3 {
        open(&mut bank, "10").await;
    }
    for (source, destination) in [("1", "2"), ("3", "1"), ("2", "3")] {
        let transfer = TransferRequest {
            source: source.to_owned(),
            destination: destination.to_owned(),
            amount: "1".to_owned(),
            ..Default::default()
        };
        bank.transfer(transfer).await.unwrap();
    }
    bank.deposit_account(deposit("1", "1")).await.unwrap();
    let mut feed = watch(&mut bank, 1, "main/1").await;
    assert_eq!(sequences(&records(&mut feed, 4).await), [1, 4, 5, 7]);
}

#[tokio::test]
async fn a_quiet_feed_shows_that_it_is_alive_and_ends_with_the_server() {
    let limits = Limits { heartbeat: Duration::from_millis(20), ..Limits::default() };
    let server = Server::with(1, limits);
    let mut bank = server.client().await;
    open(&mut bank, "").await;
    let mut feed = watch(&mut bank, 0, "").await;
    for _ in 0..3 {
        let message = feed.message().await.unwrap().unwrap();
        assert_eq!((message.records.len(), message.sequence), (0, 1));
        assert!(!message.session_token.is_empty());
    }
    server.shut_down();
    let status = loop {
        if let Err(status) = feed.message().await {
            break status;
        }
    };
    assert_eq!(from_status(&status).reason, Reason::Stopping);
}
