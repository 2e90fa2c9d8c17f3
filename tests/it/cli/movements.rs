//! Holds, states, transfers between branches, export and audit on the command line.

use serde_json::{Value, json};

use super::{Bank, assert_keys};

const WRITE_KEYS: [&str; 6] = ["account", "balance", "sequence", "requestId", "replayed", "sessionToken"];

#[test]
fn holds_and_states_from_the_command_line() {
    let bank = Bank::start();
    bank.json(&["open", "--deposit", "100"]);
    let hold = bank.json(&["hold", "1", "30", "--expires", "10m", "--request-id", "h"]);
    assert_keys(&hold, &WRITE_KEYS);
    assert_keys(&hold, &["hold", "amount", "state", "held", "available", "expireTime"]);
    assert_eq!((&hold["hold"], &hold["state"]), (&json!("main:2"), &json!("ACTIVE")));
    assert_eq!((&hold["held"], &hold["available"]), (&json!("30.00"), &json!("70.00")));
    let again = bank.json(&["hold", "1", "30", "--expires", "10m", "--request-id", "h"]);
    assert_eq!((&again["replayed"], &again["hold"]), (&json!(true), &hold["hold"]));
    assert_eq!(bank.json(&["operation", "h"])["results"][0]["hold"], "main:2");
    let holds = bank.json(&["holds", "1"]);
    assert_eq!((holds.as_array().unwrap().len(), &holds[0]["hold"]), (1, &json!("main:2")));
    assert_eq!(bank.json(&["balance", "1"])["held"], "30.00");
    let taken = bank.json(&["capture", "2", "12.5"]);
    assert_eq!(
        (&taken["captured"], &taken["balance"], &taken["held"]),
        (&json!("12.50"), &json!("87.50"), &json!("0.00"))
    );
    assert_eq!(bank.json(&["hold-show", "main:2"])["state"], "CAPTURED");
    bank.json(&["hold", "1", "1"]);
    assert_eq!(bank.json(&["release", "4"])["state"], "RELEASED");
    for (words, code, reason) in [
        (["capture", "4"], 4, "HOLD_FINAL"),
        (["release", "1"], 5, "HOLD_NOT_FOUND"),
        (["release", "delhi:1"], 5, "BRANCH_UNKNOWN"),
        (["close", "1"], 4, "BALANCE_NOT_ZERO"),
    ] {
        let answer = bank.run(&words);
        assert_eq!(answer.code, code, "{words:?} {}", answer.err);
        assert!(answer.err.starts_with(reason), "{words:?} {}", answer.err);
    }
    assert_eq!(bank.json(&["freeze", "1"])["state"], "FROZEN");
    assert!(bank.run(&["deposit", "1", "1"]).err.starts_with("ACCOUNT_FROZEN"));
    assert_eq!(bank.run(&["reopen", "1"]).code, 4);
    assert_eq!(bank.json(&["unfreeze", "1"])["state"], "OPEN");
    bank.json(&["withdraw", "1", "87.50"]);
    assert_eq!(bank.json(&["close", "1"])["state"], "CLOSED");
    assert_eq!(bank.json(&["account", "1"])["state"], "CLOSED");
    assert_eq!(bank.json(&["reopen", "1"])["state"], "OPEN");
}

#[test]
fn money_between_branches_from_the_command_line() {
    let [mumbai, delhi] = Bank::two_branches();
    let names = mumbai.json(&["accounts"]);
    assert_eq!((&names[0]["name"], &names[1]["balance"]), (&json!("User_mumbai_1"), &json!("1000.00")));
    let moved = mumbai.json(&["transfer", "mumbai/1001", "delhi/1002", "500.00"]);
    assert_keys(&moved, &WRITE_KEYS);
    assert_keys(&moved, &["transfer", "state", "source", "destination", "amount", "reason"]);
    assert_eq!((&moved["state"], &moved["balance"]), (&json!("COMMITTED"), &json!("500.00")));
    assert_eq!(delhi.json(&["balance", "1002"])["balance"], "1500.00");
    // From a server of the other branch, and from the receiving one's point of view.
    assert_eq!(delhi.json(&["transfer", "mumbai/1001", "1002", "1"])["source"], "mumbai/1001");
    let transfer = moved["transfer"].as_str().unwrap();
    for bank in [&mumbai, &delhi] {
        let shown = bank.json(&["transfer-show", transfer]);
        assert_keys(&shown, &["transfer", "state", "source", "destination", "amount", "reason", "phases"]);
        assert_eq!((&shown["state"], &shown["inDoubt"]), (&json!("COMMITTED"), &json!(false)));
        assert_eq!(bank.json(&["transfers"]).as_array().unwrap().len(), 2);
        assert_eq!(bank.json(&["transfers", "--in-doubt"]), json!([]));
        assert!(bank.done(&["-o", "table", "transfer-show", transfer]).contains("COMMIT"));
    }

    let refused = mumbai.run(&["-o", "json", "transfer", "1001", "delhi/77", "1"]);
    assert_eq!(refused.code, 5, "{}", refused.err);
    let object: Value = serde_json::from_str(&refused.out).unwrap();
    assert_eq!((&object["state"], &object["reason"]), (&json!("ABORTED"), &json!("ACCOUNT_NOT_FOUND")));
    let error: Value = serde_json::from_str(&refused.err).unwrap();
    assert_eq!(error["error"]["reason"], "ACCOUNT_NOT_FOUND");
    let late = mumbai.run(&["transfer-resolve", transfer, "--abort"]);
    assert_eq!(late.code, 4);
    assert!(late.err.starts_with("TRANSFER_FINAL"), "{}", late.err);

    let with = format!("delhi={}", delhi.address);
    let audit = mumbai.json(&["audit", "--with", &with]);
    let verdicts: Vec<_> = audit.as_array().unwrap().iter().map(|books| &books["verdict"]).collect();
    assert_eq!(verdicts, ["OK", "OK"]);
    assert_eq!(audit[0]["clearing"][0]["dueTo"], "501.00");
    assert!(mumbai.done(&["-o", "table", "audit", "--with", &with]).contains("due to"));
    let misnamed = mumbai.run(&["audit", "--with", &format!("goa={}", delhi.address)]);
    assert_eq!(misnamed.code, 2, "{}", misnamed.err);
}

#[test]
fn a_transfer_to_a_branch_that_is_down_is_told_as_unknown() {
    let [mumbai, mut delhi] = Bank::two_branches();
    assert!(delhi.stop());
    let pending = mumbai.run(&["-o", "json", "--timeout", "700ms", "transfer", "1001", "delhi/1002", "5"]);
    assert_eq!(pending.code, 6, "{}", pending.err);
    let object: Value = serde_json::from_str(&pending.out).unwrap();
    assert_eq!(object["state"], "PENDING");
    let error: Value = serde_json::from_str(&pending.err).unwrap();
    assert_eq!(error["error"]["metadata"]["transfer"], object["transfer"]);
    let doubt = mumbai.json(&["transfers", "--in-doubt"]);
    assert_eq!((&doubt[0]["transfer"], &doubt[0]["waitingFor"]), (&object["transfer"], &json!("delhi")));
    let resolved = mumbai.json(&["transfer-resolve", object["transfer"].as_str().unwrap(), "--abort"]);
    assert_eq!(resolved["state"], "ABORTED");
    assert_eq!(mumbai.json(&["balance", "1001"])["available"], "1000.00");
}

#[test]
fn an_audit_says_no_when_a_branch_has_lost_its_books() {
    let [mumbai, mut delhi] = Bank::two_branches();
    mumbai.json(&["transfer", "1001", "delhi/1002", "5"]);
    assert!(delhi.stop());
    let address = delhi.address.clone();
    let reborn = Bank::start_with(address.rsplit(':').next().unwrap(), &["--branch", "delhi"]);
    let answer = mumbai.run(&["-o", "json", "audit", "--with", &format!("delhi={}", reborn.address)]);
    assert_eq!(answer.code, 8, "{}", answer.err);
    let audit: Value = serde_json::from_str(&answer.out).unwrap();
    let verdict = audit[0]["verdict"].as_str().unwrap();
    assert!(verdict.contains("mumbai has paid more to delhi than delhi has received"), "{verdict}");
}

#[test]
fn an_export_goes_to_standard_output_or_whole_into_a_file() {
    let bank = Bank::start();
    bank.json(&["open", "--deposit", "5"]);
    bank.json(&["withdraw", "1", "2"]);
    let csv = bank.done(&["export"]);
    assert_eq!(csv.lines().count(), 3);
    assert!(csv.starts_with("sequence,time,kind,account,"), "{csv}");
    assert_eq!(bank.done(&["export", "--format", "jsonl", "--account", "1"]).lines().count(), 2);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bank.journal");
    let path = file.to_str().unwrap();
    assert_eq!(bank.done(&["export", "--format", "hledger", "--out", path]), "");
    assert!(std::fs::read_to_string(&file).unwrap().contains("main:customers:1  -2.00 = 3.00"));
    let nobody = bank.run(&["export", "--account", "7", "--out", folder.path().join("x").to_str().unwrap()]);
    assert_eq!(nobody.code, 5);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing half written is left");
    let nowhere = bank.run(&["export", "--out", "/nowhere/x"]);
    assert_eq!(nowhere.code, 2, "{}", nowhere.err);
}
