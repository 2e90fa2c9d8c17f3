//! Tests of the formats; whole exports of real servers are in the integration tests.

use super::*;
use crate::client::types::Kind;
use crate::model::Reason;

fn record(sequence: u64, kind: Kind, account: &str, amount: &str, balance: &str) -> JournalRecord {
    JournalRecord {
        sequence,
        time: Some(Timestamp::from_micros(1_763_631_000_100_000)),
        kind,
        account: account.to_owned(),
        counterparty: String::new(),
        amount: amount.to_owned(),
        balance: balance.to_owned(),
        counterparty_balance: String::new(),
        held: String::new(),
        available: String::new(),
        transfer: String::new(),
        hold: String::new(),
        state: None,
        abort: None,
        expire_time: None,
        request_id: String::new(),
        refused: None,
    }
}

fn written(writer: &mut Writer, records: &[JournalRecord]) -> String {
    let mut text = String::new();
    records.iter().for_each(|record| writer.write(record, &mut text));
    text
}

fn hledger(only: &str, beheaded: bool) -> Writer {
    Writer::Hledger(Hledger::new(only, beheaded))
}

#[test]
fn no_cell_is_a_formula() {
    for (text, cell) in [
        ("=1+1", "\"'=1+1\""),
        ("+49 30", "\"'+49 30\""),
        ("@SUM(A1)", "\"'@SUM(A1)\""),
        ("-A1", "\"'-A1\""),
        ("\t=1", "\"'\t=1\""),
        ("\r=1", "\"'\u{fffd}=1\""),
        ("\u{ff1d}1+1", "\"'\u{ff1d}1+1\""),
        ("\u{ff0b}1", "\"'\u{ff0b}1\""),
        ("\u{ff0d}1", "\"'\u{ff0d}1\""),
        ("\u{ff20}A1", "\"'\u{ff20}A1\""),
        ("a\u{1b}[2J\u{9b}1m\u{7f}", "\"a\u{fffd}[2J\u{fffd}1m\u{fffd}\""),
        ("=\"a\"", "\"'=\"\"a\"\"\""),
        ("-", "\"'-\""),
        ("-1.", "\"'-1.\""),
        ("-5.00", "-5.00"),
        ("-12", "-12"),
        ("5.00", "5.00"),
        ("a=b", "a=b"),
        ("a,b", "\"a,b\""),
        ("a \"b\"", "\"a \"\"b\"\"\""),
        ("a\nb", "\"a\nb\""),
        ("", ""),
    ] {
        assert_eq!(csv_number(text), cell, "{text:?}");
    }
}

#[test]
fn text_that_looks_like_a_number_is_shown_as_it_is() {
    for text in
        ["0017", "1e5", "12E3", "1-2", "1/2", "12:30", "5.00", "-5.00", "1234567890123456", "01", ".5", "1,5"]
    {
        assert!(csv_text(text).starts_with("\"'"), "{text:?}");
    }
    for text in ["17", "0", "2.5", "till-7", "1a", "main/1", "mumbai:17", "2025-11-20T09:30:00Z", "e-1", ""] {
        assert_eq!(csv_text(text), text);
    }
}

#[test]
fn no_text_of_a_server_moves_the_cursor() {
    let hostile = "\u{1b}[2J\u{9b}1m\u{7f}\u{85}é";
    let json = json_text(&hostile);
    assert!(!json.contains(char::is_control), "{json:?}");
    assert_eq!(serde_json::from_str::<String>(&json).unwrap(), hostile);
    assert!(!csv_text(hostile).contains(char::is_control));
}

#[test]
fn csv_has_a_cell_for_every_column() {
    let refused = Some(Failure::new(Reason::InsufficientFunds, "no"));
    let risky = JournalRecord {
        request_id: "=cmd|x,1".to_owned(),
        refused,
        ..record(7, Kind::Withdraw, "main/1", "5.00", "")
    };
    let text = written(&mut Writer::Csv, &[risky]);
    assert_eq!(
        text,
        "7,2025-11-20T09:30:00.100000Z,WITHDRAW,main/1,,5.00,,,,,,,,,,INSUFFICIENT_FUNDS,\"'=cmd|x,1\"\n"
    );
    let columns = |line: &str| line.split(',').count();
    // The last cell has a comma of its own.
    assert_eq!(columns(csv::HEADER) + 1, columns(&text));
}

#[test]
fn json_lines_leave_out_what_is_empty() {
    let opened = record(1, Kind::Open, "main/1", "5.00", "5.00");
    assert_eq!(
        written(&mut Writer::Jsonl, &[opened]),
        "{\"sequence\":1,\"time\":\"2025-11-20T09:30:00.100000Z\",\"kind\":\"OPEN\",\"account\":\"main/1\",\"amount\":\"5.00\",\"balance\":\"5.00\"}\n"
    );
}

#[test]
fn hledger_gets_balanced_postings_and_the_balances_of_customers() {
    let to_delhi = JournalRecord {
        counterparty: "delhi/9".to_owned(),
        request_id: "a,date:x".to_owned(),
        ..record(3, Kind::TransferCommit, "main/1", "2.00", "3.00")
    };
    let refused = JournalRecord {
        refused: Some(Failure::new(Reason::InsufficientFunds, "no")),
        ..record(4, Kind::Withdraw, "main/1", "9.00", "")
    };
    let records = [
        record(1, Kind::Open, "main/1", "5.00", "5.00"),
        record(2, Kind::Open, "main/2", "0.00", "0.00"),
        to_delhi,
        refused,
        record(5, Kind::Interest, "main/2", "0.00", "0.00"),
    ];
    let time = "time:2025-11-20T09:30:00.100000Z";
    let expected = format!(
        "2025-11-20 (main:1) open  ; {time}\n    main:cash  -5.00\n    main:customers:1  5.00 = 5.00\n\n\
         2025-11-20 (main:2) open  ; {time}\n    main:customers:2  0.00 = 0.00\n\n\
         2025-11-20 (main:3) transfer_commit  ; {time}, request:a%2Cdate%3Ax\n    main:customers:1  -2.00 = 3.00\n    main:due-to:delhi  2.00\n\n"
    );
    assert_eq!(written(&mut hledger("", false), &records), expected);
}

#[test]
fn the_export_of_one_account_asserts_the_balances_of_that_one() {
    let moved = JournalRecord {
        counterparty: "main/2".to_owned(),
        counterparty_balance: "8.00".to_owned(),
        ..record(3, Kind::Transfer, "main/1", "2.00", "3.00")
    };
    let text = written(&mut hledger("main/2", false), &[moved]);
    assert!(text.ends_with("    main:customers:1  -2.00\n    main:customers:2  2.00 = 8.00\n\n"), "{text}");
}

#[test]
fn accounts_from_before_the_journal_begins_are_carried_forward_once() {
    let records = [
        record(10, Kind::Withdraw, "main/1", "2.00", "3.00"),
        record(11, Kind::Withdraw, "main/1", "1.00", "2.00"),
        record(12, Kind::Open, "main/2", "5.00", "5.00"),
    ];
    let text = written(&mut hledger("", true), &records);
    assert_eq!(text.matches("carried-forward").count(), 1, "{text}");
    assert!(text.starts_with("2025-11-20 balance before the journal begins\n    main:customers:1  5.00\n    main:carried-forward  -5.00\n\n"), "{text}");
}
