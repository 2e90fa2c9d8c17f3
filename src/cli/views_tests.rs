//! Tests of the views: the keys that scripts rely on, and the sentences of the live feed.

use super::*;
use crate::client::{AccountState, Consistency, Done, Kind, OperationState, TransferState, Transferred};

const ID: &str = "019a9d3c-7b00-7abc-8def-0123456789ab";

fn seen() -> Seen {
    Seen { sequence: 7, session_token: "token".to_owned(), branch: "main".to_owned(), replica: 1 }
}

fn named() -> Named {
    Named { request_id: ID.to_owned(), replayed: false }
}

fn object(columns: &'static [Column], row: Vec<Cell>) -> serde_json::Value {
    assert_eq!(columns.len(), row.len());
    let text = super::super::sheet::Printer::new(
        super::super::sheet::Format::Json,
        super::super::sheet::Shape::One,
        columns,
    )
    .rows(vec![row]);
    serde_json::from_str(&text).unwrap()
}

/// The object of a write, with what only its caller knows.
fn write_object(columns: &'static [Column], row: Vec<Cell>) -> serde_json::Value {
    object(columns, row.into_iter().chain([Cell::Flag(false)]).collect())
}

#[test]
fn writes_have_the_keys_that_scripts_rely_on() {
    let account = || "main/1".to_owned();
    let money = |text: &str| text.to_owned();
    let shown_account = Written { account: account(), balance: money("5.00"), named: named(), seen: seen() };
    let added = InterestAdded {
        account: account(),
        balance: money("5.25"),
        interest: money("0.25"),
        named: named(),
        seen: seen(),
    };
    let moved = Transferred {
        transfer: ID.to_owned(),
        state: TransferState::Committed,
        source: account(),
        destination: "main/2".to_owned(),
        amount: money("1.00"),
        source_balance: money("4.00"),
        destination_balance: money("1.00"),
        reason: String::new(),
        message: String::new(),
        named: named(),
        seen: seen(),
    };
    for object in [
        write_object(WRITTEN, written(&shown_account)),
        write_object(INTEREST, interest(&added)),
        write_object(TRANSFERRED, transferred(&moved)),
    ] {
        assert_eq!(object["account"], "main/1");
        assert!(object["balance"].is_string());
        assert_eq!(object["sequence"], 7);
        assert_eq!(object["requestId"], ID);
        assert_eq!(object["replayed"], false);
        assert_eq!(object["validateOnly"], false);
        assert_eq!(object["sessionToken"], "token");
    }
    assert_eq!(write_object(INTEREST, interest(&added))["interest"], "0.25");
    let object = write_object(TRANSFERRED, transferred(&moved));
    for (key, value) in [
        ("transfer", ID),
        ("state", "COMMITTED"),
        ("source", "main/1"),
        ("destination", "main/2"),
        ("amount", "1.00"),
        ("reason", ""),
        ("balance", "4.00"),
        ("destinationBalance", "1.00"),
    ] {
        assert_eq!(object[key], value, "{key}");
    }
}

#[test]
fn reads_have_the_keys_that_scripts_rely_on() {
    let balance = Balance {
        account: "main/1".to_owned(),
        balance: "5.00".to_owned(),
        held: "0.00".to_owned(),
        available: "15.00".to_owned(),
        consistency: Some(Consistency::Stale),
        seen: seen(),
    };
    let shown = object(BALANCE, super::balance(&balance));
    for (key, value) in
        [("balance", "5.00"), ("held", "0.00"), ("available", "15.00"), ("consistency", "STALE")]
    {
        assert_eq!(shown[key], value, "{key}");
    }
    assert_eq!(shown["sequence"], 7);

    let entry = Entry {
        sequence: 7,
        time: Some(Timestamp::from_micros(1_763_631_000_100_000)),
        kind: Kind::Withdraw,
        amount: "-5.00".to_owned(),
        balance: "0.00".to_owned(),
        counterparty: String::new(),
        request_id: ID.to_owned(),
        transfer: String::new(),
        hold: String::new(),
    };
    let shown = object(STATEMENT, super::entry(&entry));
    for (key, value) in [
        ("time", "2025-11-20T09:30:00.100000Z"),
        ("kind", "WITHDRAW"),
        ("amount", "-5.00"),
        ("balance", "0.00"),
    ] {
        assert_eq!(shown[key], value, "{key}");
    }

    let account = Account {
        account: "main/1".to_owned(),
        name: "Ada".to_owned(),
        state: AccountState::Open,
        open_time: None,
        balance: "5.00".to_owned(),
        held: "0.00".to_owned(),
        available: "15.00".to_owned(),
        overdraft_limit: "10.00".to_owned(),
    };
    let by_itself = object(ACCOUNT, account_shown(&account, &seen()));
    let among_others = object(ACCOUNTS, super::account(&account));
    for (key, value) in among_others.as_object().unwrap() {
        assert_eq!(&by_itself[key], value, "{key}");
    }
    assert_eq!(by_itself["overdraftLimit"], "10.00");
    assert_eq!(by_itself["sequence"], 7);
}

#[test]
fn an_operation_shows_each_result() {
    let done = Done {
        account: "main/1".to_owned(),
        balance: "5.00".to_owned(),
        interest: String::new(),
        counterparty: String::new(),
        transfer: String::new(),
        transfer_state: None,
        hold: String::new(),
    };
    let operation = Operation {
        request_id: ID.to_owned(),
        state: OperationState::Executed,
        time: Some(Timestamp::from_micros(1)),
        results: vec![
            OperationResult { sequence: 7, outcome: Ok(done) },
            OperationResult {
                sequence: 8,
                outcome: Err(Failure::new(Reason::SameAccount, "two").with("account", 1)),
            },
        ],
        seen: seen(),
    };
    let shown = object(OPERATION, super::operation(&operation));
    assert_eq!(shown["state"], "EXECUTED");
    assert_eq!(shown["results"][0]["balance"], "5.00");
    assert_eq!(shown["results"][0]["error"], serde_json::Value::Null);
    assert_eq!(shown["results"][1]["error"]["reason"], "SAME_ACCOUNT");
    assert_eq!(shown["results"][1]["error"]["metadata"]["account"], "1");
}

#[test]
fn the_feed_speaks_in_sentences() {
    let record = |kind, account: &str, amount: &str| JournalRecord {
        sequence: 7,
        time: None,
        kind,
        account: account.to_owned(),
        counterparty: if kind == Kind::Transfer { "main/2".to_owned() } else { String::new() },
        amount: amount.to_owned(),
        balance: "5.00".to_owned(),
        counterparty_balance: if kind == Kind::Transfer { "9.00".to_owned() } else { String::new() },
        held: String::new(),
        available: String::new(),
        transfer: String::new(),
        hold: String::new(),
        state: None,
        abort: None,
        expire_time: None,
        request_id: String::new(),
        refused: None,
    };
    let refused = |record: JournalRecord| JournalRecord {
        refused: Some(Failure::new(Reason::InsufficientFunds, "no")),
        ..record
    };
    for (record, sentence) in [
        (record(Kind::Open, "main/1", ""), "[7] open main/1, balance 5.00"),
        (record(Kind::Open, "main/1", "0.00"), "[7] open main/1, balance 5.00"),
        (record(Kind::Open, "main/1", "5.00"), "[7] open main/1 with 5.00, balance 5.00"),
        (record(Kind::Deposit, "main/1", "2.00"), "[7] deposit 2.00 to main/1, balance 5.00"),
        (record(Kind::Withdraw, "main/1", "2.00"), "[7] withdraw 2.00 from main/1, balance 5.00"),
        (record(Kind::Interest, "main/1", "0.02"), "[7] interest 0.02 to main/1, balance 5.00"),
        (
            record(Kind::Transfer, "main/1", "2.00"),
            "[7] transfer 2.00 from main/1 to main/2, balances 5.00 and 9.00",
        ),
        (
            refused(record(Kind::Withdraw, "main/1", "2.00")),
            "[7] withdraw 2.00 from main/1, refused: INSUFFICIENT_FUNDS",
        ),
        (refused(record(Kind::Open, "", "")), "[7] open a new account, refused: INSUFFICIENT_FUNDS"),
        (record(Kind::Deposit, "a\u{1b}[2J", "2.00"), "[7] deposit 2.00 to a\u{fffd}[2J, balance 5.00"),
    ] {
        assert_eq!(super::sentence(&record), sentence);
    }
}
