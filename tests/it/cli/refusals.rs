//! Refusals: for every reason that a command line can provoke, its name, its exit code and no harm done.

use std::collections::BTreeSet;
use std::net::TcpListener;

use bank::model::{Exit, LedgerId, Reason, Sequence, Session};
use serde_json::Value;

use super::Bank;

/// A token of another life of the ledger.
fn foreign_token() -> String {
    let mut session = Session::default();
    session.saw(&"main".parse().unwrap(), LedgerId([9; 16]), Sequence(3));
    session.token()
}

/// The command lines that provoke each reason on a bank with account 1 (5.00), account 2 (0.00) and the
/// used request id `used`.
fn provocations() -> Vec<(Reason, Vec<String>)> {
    let long = "x".repeat(65);
    let token = foreign_token();
    let cases: [(Reason, &[&str]); 32] = [
        (Reason::AmountMissing, &["deposit", "1", ""]),
        (Reason::AmountSyntax, &["deposit", "1", "1e3"]),
        (Reason::AmountPrecision, &["deposit", "1", "1.234"]),
        (Reason::AmountNotPositive, &["deposit", "1", "-1"]),
        (Reason::AmountOverflow, &["deposit", "1", "999999999999.99"]),
        (Reason::RateOutOfRange, &["interest", "1", "100.1"]),
        (Reason::AccountSyntax, &["balance", "one"]),
        (Reason::AccountSyntax, &["open", "-1"]),
        (Reason::NameTooLong, &["open", "--name", &long]),
        (Reason::NameSyntax, &["open", "--name", " Ada"]),
        (Reason::RequestIdInvalid, &["deposit", "1", "5", "--request-id", "a b"]),
        (Reason::ArgumentInvalid, &["balance", "1", "--session-token", "no token"]),
        (Reason::RequestReused, &["deposit", "1", "6", "--request-id", "used"]),
        (Reason::AccountNotFound, &["balance", "99"]),
        (Reason::AccountNotFound, &["transfer", "1", "99", "1"]),
        (Reason::AccountNotFound, &["statement", "99", "--limit", "0"]),
        (Reason::BranchUnknown, &["balance", "delhi/1"]),
        (Reason::AccountExists, &["open", "1"]),
        (Reason::InsufficientFunds, &["withdraw", "1", "5.01"]),
        (Reason::SameAccount, &["transfer", "1", "1", "1"]),
        (Reason::ChangeRefused, &["replica", "promote", "7"]),
        (Reason::HoldNotFound, &["capture", "99"]),
        (Reason::HoldNotFound, &["hold-show", "1"]),
        (Reason::HoldFinal, &["release", "4"]),
        (Reason::BalanceNotZero, &["close", "1"]),
        (Reason::AccountInUse, &["close", "3"]),
        (Reason::TransferNotFound, &["transfer-show", "99"]),
        (Reason::TransferFinal, &["transfer-resolve", "9", "--abort"]),
        (Reason::BranchUnknown, &["transfer", "1", "delhi/1", "1"]),
        (Reason::AccountNotFound, &["export", "--account", "99"]),
        (Reason::SessionUnknown, &["balance", "1", "--session-token", &token]),
        (Reason::SessionUnknown, &["deposit", "1", "5", "--session-token", &token]),
    ];
    let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    cases.iter().map(|(reason, words)| (*reason, owned(words))).collect()
}

fn bank() -> Bank {
    let bank = Bank::start();
    bank.json(&["open", "--deposit", "4"]);
    bank.json(&["open"]);
    bank.json(&["deposit", "1", "1", "--request-id", "used"]);
    bank.json(&["hold", "1", "1"]);
    bank.json(&["release", "4"]);
    bank.json(&["open", "--overdraft", "5"]);
    bank.json(&["hold", "3", "5"]);
    bank.json(&["transfer", "1", "2", "1"]);
    bank.json(&["transfer", "2", "1", "1"]);
    bank
}

#[test]
fn every_reason_that_a_command_line_can_provoke() {
    let bank = bank();
    let before = bank.done(&["accounts"]);
    for (reason, words) in provocations() {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let exit = i32::from(reason.exit() as u8);

        let plain = bank.run(&words);
        assert_eq!((plain.code, plain.out.as_str()), (exit, ""), "{words:?}: {}", plain.err);
        assert!(plain.err.starts_with(&format!("{}: ", reason.as_str())), "{words:?}: {}", plain.err);
        assert_eq!(plain.err.lines().count(), 1, "{words:?}: {}", plain.err);

        let mut in_json = vec!["-o", "json"];
        in_json.extend(&words);
        let json = bank.run(&in_json);
        assert_eq!((json.code, json.out.as_str()), (exit, ""), "{words:?}");
        let error: Value = serde_json::from_str(&json.err).unwrap();
        assert_eq!(error["error"]["reason"], reason.as_str(), "{words:?}");
        assert!(error["error"]["message"].is_string() && error["error"]["metadata"].is_object(), "{error}");
    }
    assert_eq!(bank.done(&["accounts"]), before);
}

/// Reasons that no single command line against one healthy server provokes, and where else they are tested.
const ELSEWHERE: [Reason; 23] = [
    // Batches and page tokens: over gRPC.
    Reason::BatchTooLarge,
    Reason::BatchAborted,
    Reason::PageTokenInvalid,
    Reason::MessageTooLarge,
    // Another branch: tests of transfers.
    Reason::TransferAborted,
    Reason::TransferMismatch,
    Reason::TooManyOpen,
    // What needs other states of accounts: their own tests.
    Reason::AccountFrozen,
    Reason::AccountClosed,
    // HTTP only.
    Reason::PermissionDenied,
    // Scenario files: their own tests.
    Reason::ScenarioInvalid,
    // What time, load and the state of a branch bring about: tests of those rooms.
    Reason::RequestExpired,
    Reason::JournalTrimmed,
    Reason::NoLeader,
    Reason::StorageFull,
    Reason::NoQuorum,
    Reason::ReplicaBehind,
    Reason::Starting,
    Reason::Stopping,
    Reason::Overloaded,
    // Another program, or our bug.
    Reason::Unimplemented,
    Reason::Internal,
    // Below.
    Reason::Unreachable,
];

#[test]
fn no_reason_is_forgotten() {
    let provoked = provocations().into_iter().map(|(reason, _)| reason);
    let known: BTreeSet<Reason> = provoked.chain(ELSEWHERE).chain([Reason::OutcomeUnknown]).collect();
    assert_eq!(known, Reason::ALL.iter().copied().collect());
}

#[test]
fn amounts_that_are_none_are_refused_and_change_nothing() {
    let bank = bank();
    for (amount, reason) in [
        ("", Reason::AmountMissing),
        ("0", Reason::AmountNotPositive),
        ("-1", Reason::AmountNotPositive),
        ("+1", Reason::AmountSyntax),
        ("1e3", Reason::AmountSyntax),
        ("1.234", Reason::AmountPrecision),
        (".5", Reason::AmountSyntax),
        ("1.", Reason::AmountSyntax),
        (" 1", Reason::AmountSyntax),
        ("NaN", Reason::AmountSyntax),
        ("١", Reason::AmountSyntax),
        ("999999999999999999999", Reason::AmountOverflow),
    ] {
        for command in [["deposit", "1"].as_slice(), &["withdraw", "1"], &["transfer", "1", "2"]] {
            let answer = bank.run(&[command, &[amount]].concat());
            let expected = (i32::from(reason.exit() as u8), format!("{}: ", reason.as_str()));
            assert_eq!(answer.code, expected.0, "{command:?} {amount:?}: {}", answer.err);
            assert!(answer.err.starts_with(&expected.1), "{command:?} {amount:?}: {}", answer.err);
        }
    }
    assert_eq!(bank.json(&["balance", "1"])["balance"], "5.00");
    assert_eq!(bank.json(&["balance", "2"])["balance"], "0.00");
}

#[test]
fn wrong_calls_exit_with_2_before_anything_is_sent() {
    let nobody = Bank::nobody();
    for words in [
        ["depost", "1", "5"].as_slice(),
        &["deposit", "1"],
        &["deposit", "1", "5", "6"],
        &["balance", "1", "--no-such-flag"],
        &["-o", "yaml", "balance", "1"],
        &["--timeout", "0s", "balance", "1"],
        &["-c", "balance 1", "balance", "1"],
        &["-c", "balance 1", "-f", "script"],
        &["-c", "balance '1"],
        &["-f", "no/such/script"],
        &["-c", "open\nopen", "--request-id", "a"],
        &["--server", "127.0.0.1:nowhere", "balance", "1"],
        &["watch", "on"],
        &["deposit", "1", "5", "--request-id", ""],
        &["open", "--deposit", ""],
        &["session"],
        &["melt", "1"],
    ] {
        let answer = nobody.run(words);
        assert_eq!(
            (answer.code, answer.out.as_str()),
            (Exit::FixCall as i32, ""),
            "{words:?}: {}",
            answer.err
        );
        assert!(!answer.err.is_empty(), "{words:?}");
    }
}

#[test]
fn without_a_server_nothing_happened_and_it_says_so() {
    let nobody = Bank::nobody();
    for words in [["balance", "1"].as_slice(), &["deposit", "1", "5"], &["accounts"], &["watch"]] {
        let answer = nobody.run(words);
        assert_eq!((answer.code, answer.out.as_str()), (Exit::TryAgain as i32, ""), "{words:?}");
        assert!(answer.err.starts_with("UNREACHABLE: "), "{words:?}: {}", answer.err);
    }
}

#[test]
fn another_address_is_tried() {
    let (bank, nobody) = (bank(), Bank::nobody());
    let both = format!("{},{}", nobody.address, bank.address);
    assert_eq!(nobody.run(&["--server", &both, "balance", "1"]).code, 0);
}

#[test]
fn an_unknown_outcome_names_the_request_id_to_repeat() {
    // Takes the connection and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let bank = Bank::at(silent.local_addr().unwrap().to_string());
    let answer = bank.run(&["deposit", "1", "5", "--timeout", "300ms", "--request-id", "mine"]);
    assert_eq!(answer.code, Exit::Unknown as i32, "{}", answer.err);
    assert!(answer.err.starts_with("OUTCOME_UNKNOWN: "), "{}", answer.err);
    assert!(answer.err.ends_with("--request-id mine\n"), "{}", answer.err);

    let answer = bank.run(&["-o", "json", "deposit", "1", "5", "--timeout", "300ms"]);
    let error: Value = serde_json::from_str(&answer.err).unwrap();
    assert_eq!(error["error"]["metadata"]["request_id"].as_str().map(str::len), Some(36), "{error}");
}
