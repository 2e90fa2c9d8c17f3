//! Every command against a real server, in every format.

use serde_json::{Value, json};

use super::{Bank, assert_keys};

const WRITE_KEYS: [&str; 6] = ["account", "balance", "sequence", "requestId", "replayed", "sessionToken"];

#[test]
fn the_life_of_two_accounts_in_json() {
    let bank = Bank::start();
    let opened = bank.json(&["open", "--name", "Ada L", "--deposit", "100", "--overdraft", "10.5"]);
    assert_keys(&opened, &WRITE_KEYS);
    assert_eq!((&opened["account"], &opened["balance"]), (&json!("main/1"), &json!("100.00")));
    assert_eq!(opened["replayed"], json!(false));
    assert_eq!(bank.json(&["open", "17"])["account"], "main/17");

    let deposited = bank.json(&["deposit", "1", "5.25"]);
    assert_keys(&deposited, &WRITE_KEYS);
    assert_eq!(deposited["balance"], "105.25");
    assert!(deposited["sequence"].as_u64() > opened["sequence"].as_u64());
    assert_eq!(bank.json(&["withdraw", "main/1", "5.25"])["balance"], "100.00");

    let interest = bank.json(&["interest", "1", "2.5"]);
    assert_keys(&interest, &WRITE_KEYS);
    assert_eq!((&interest["interest"], &interest["balance"]), (&json!("2.50"), &json!("102.50")));

    let moved = bank.json(&["transfer", "1", "17", "110"]);
    assert_keys(&moved, &WRITE_KEYS);
    assert_keys(&moved, &["transfer", "state", "source", "destination", "amount", "reason"]);
    assert_eq!((&moved["state"], &moved["amount"]), (&json!("COMMITTED"), &json!("110.00")));
    assert_eq!((&moved["source"], &moved["destination"]), (&json!("main/1"), &json!("main/17")));
    assert_eq!(moved["balance"], "-7.50");

    let balance = bank.json(&["balance", "1"]);
    assert_keys(&balance, &["account", "balance", "held", "available", "consistency", "sequence"]);
    assert_eq!((&balance["balance"], &balance["held"]), (&json!("-7.50"), &json!("0.00")));
    assert_eq!((&balance["available"], &balance["consistency"]), (&json!("3.00"), &json!("LINEARIZABLE")));
    assert_eq!(bank.json(&["balance", "1", "--consistency", "stale"])["consistency"], "STALE");

    let account = bank.json(&["account", "1"]);
    assert_eq!((&account["name"], &account["state"]), (&json!("Ada L"), &json!("OPEN")));
    assert_eq!(account["overdraftLimit"], "10.50");
    let accounts = bank.json(&["accounts"]);
    let numbers: Vec<_> = accounts.as_array().unwrap().iter().map(|account| &account["account"]).collect();
    assert_eq!(numbers, ["main/1", "main/17"]);
    assert_eq!(bank.json(&["accounts", "--limit", "1"]).as_array().unwrap().len(), 1);
}

#[test]
fn statements_go_back_over_every_page() {
    let bank = Bank::start();
    bank.json(&["open"]);
    let deposits = "deposit 1 0.01\n".repeat(1_100);
    assert_eq!(bank.script(&["-o", "plain"], &deposits).code, 0);

    let amounts = |statement: &Value| statement.as_array().unwrap().len();
    assert_eq!(amounts(&bank.json(&["statement", "1"])), 50);
    let all = bank.json(&["statement", "1", "--limit", "5000"]);
    assert_eq!(amounts(&all), 1_101);
    assert_keys(&all[0], &["sequence", "time", "kind", "amount", "balance"]);
    assert_eq!(
        (&all[0]["kind"], &all[0]["amount"], &all[0]["balance"]),
        (&json!("DEPOSIT"), &json!("0.01"), &json!("11.00"))
    );
    let oldest = bank.json(&["statement", "1", "--limit", "5000", "--oldest-first"]);
    assert!(all.as_array().unwrap().iter().rev().eq(oldest.as_array().unwrap()));

    // The first entry is the opening.
    let third = oldest[3]["sequence"].to_string();
    let as_of = bank.json(&["statement", "1", "--as-of", &third]);
    assert_eq!((amounts(&as_of), &as_of[0]["balance"]), (4, &json!("0.03")));
    let time = oldest[3]["time"].as_str().unwrap();
    assert_eq!(bank.json(&["statement", "1", "--as-of", time]), as_of);
    assert_eq!(bank.json(&["statement", "1", "--limit", "0"]), json!([]));
}

#[test]
fn every_format_shows_the_same() {
    let bank = Bank::start();
    bank.json(&["open", "--name", "=Ada, \"L\"", "--deposit", "5"]);
    bank.json(&["open", "--deposit", "7"]);
    let show = |format: &str, words: &[&str]| {
        let mut all = vec!["-o", format];
        all.extend(words);
        bank.done(&all)
    };
    assert_eq!(show("plain", &["balance", "2"]), "main/2\t7.00\t0.00\t7.00\tLINEARIZABLE\t2\n");
    assert_eq!(show("auto", &["balance", "2"]), show("plain", &["balance", "2"]));
    let table = show("table", &["balance", "2"]);
    assert!(table.contains("│ main/2  ┆    7.00 ┆ 0.00 ┆      7.00 ┆ LINEARIZABLE ┆        2 │"), "{table}");
    let csv = show("csv", &["accounts"]);
    let lines: Vec<_> = csv.lines().collect();
    assert!(
        lines[0].starts_with("account,name,state,balance,held,available,overdraftLimit,openTime"),
        "{csv}"
    );
    assert!(lines[1].starts_with("main/1,\"'=Ada, \"\"L\"\"\",OPEN,5.00,0.00,5.00,0.00,20"), "{csv}");
    let objects = show("jsonl", &["accounts"]);
    let objects: Vec<Value> = objects.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(Value::Array(objects), bank.json(&["accounts"]));
}

#[test]
fn no_command_prints_an_escape_code_into_a_pipe() {
    let bank = Bank::start();
    bank.json(&["open", "--deposit", "5"]);
    for format in ["auto", "table", "plain", "json", "jsonl", "csv"] {
        for command in
            ["balance 1", "accounts", "statement 1", "account 1", "errors", "help", "balance 9", "depost 1"]
        {
            let answer = bank.run(&["-o", format, "-c", command]);
            assert!(!(answer.out + &answer.err).contains('\u{1b}'), "{command} -o {format}");
        }
    }
}

#[test]
fn a_request_id_is_executed_once_and_its_operation_can_be_looked_up() {
    let bank = Bank::start();
    bank.json(&["open"]);
    let first = bank.json(&["deposit", "1", "5", "--request-id", "wages-11"]);
    let again = bank.json(&["deposit", "1", "5", "--request-id", "wages-11"]);
    assert_eq!((&first["replayed"], &again["replayed"]), (&json!(false), &json!(true)));
    for key in ["account", "balance", "sequence", "requestId"] {
        assert_eq!(first[key], again[key], "{key}");
    }
    assert_eq!(bank.json(&["balance", "1"])["balance"], "5.00");

    let operation = bank.json(&["operation", "wages-11"]);
    assert_eq!((&operation["state"], &operation["requestId"]), (&json!("EXECUTED"), &json!("wages-11")));
    assert_eq!(operation["results"][0]["balance"], "5.00");
    assert_eq!(bank.json(&["operation", "never"])["state"], "NEVER_SEEN");

    bank.run(&["withdraw", "1", "6", "--request-id", "too-much"]);
    let refused = bank.json(&["operation", "too-much"]);
    assert_eq!(refused["state"], "REFUSED");
    assert_eq!(refused["results"][0]["error"]["reason"], "INSUFFICIENT_FUNDS");
    assert_eq!(refused["results"][0]["error"]["metadata"]["available"], "5.00");
}

#[test]
fn an_empty_list_says_so_to_people() {
    let bank = Bank::start();
    for (list, words) in [
        ("no accounts\n", ["accounts"].as_slice()),
        ("no transfers\n", &["transfers"]),
        ("no transfers in doubt\n", &["transfers", "--in-doubt"]),
    ] {
        let told = bank.run(&[&["-o", "table"], words].concat());
        assert_eq!((told.code, told.out.as_str(), told.err.as_str()), (0, "", list));
        assert_eq!(bank.done(words), "", "programs get what they can count");
    }
}

#[test]
fn the_environment_is_named_when_it_is_wrong() {
    let bank = Bank::start();
    for (name, value) in [("BANK_OUTPUT", "yaml"), ("BANK_SERVER", "no server")] {
        let output = bank.command(&["accounts"]).env(name, value).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(2) && said.contains(name), "{said}");
    }
}

#[test]
fn a_validated_write_changes_nothing() {
    let bank = Bank::start();
    bank.json(&["open", "--deposit", "5"]);
    assert_eq!(bank.json(&["deposit", "1", "2", "--validate-only"])["balance"], "7.00");
    assert_eq!(bank.run(&["withdraw", "1", "6", "--validate-only"]).code, 4);
    assert_eq!(bank.json(&["balance", "1"])["balance"], "5.00");
}

#[test]
fn watch_shows_what_others_do() {
    let bank = Bank::start();
    bank.json(&["open", "--deposit", "5"]);
    bank.json(&["open"]);
    bank.json(&["transfer", "1", "2", "3"]);
    bank.run(&["withdraw", "1", "100"]);

    let feed = bank.done(&["-o", "json", "watch", "--from", "1", "--limit", "4"]);
    let feed: Vec<Value> = feed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kinds: Vec<_> = feed.iter().map(|record| record["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["OPEN", "OPEN", "TRANSFER", "WITHDRAW"]);
    assert_eq!(
        (&feed[2]["counterparty"], &feed[2]["counterpartyBalance"]),
        (&json!("main/2"), &json!("3.00"))
    );
    assert_eq!(feed[3]["error"]["reason"], "INSUFFICIENT_FUNDS");
    let table = bank.done(&["-o", "table", "watch", "--from", "3", "--limit", "1"]);
    let (time, sentence) = table.split_at("2026-11-20 16:52:17Z ".len());
    assert!(time.ends_with("Z "), "{table}");
    assert_eq!(sentence, "[3] transfer 3.00 from main/1 to main/2, balances 2.00 and 3.00\n");
    let one_account = bank.done(&["watch", "--from", "1", "--account", "2", "--limit", "2"]);
    let sequences: Vec<_> = one_account.lines().map(|line| line.split('\t').next().unwrap()).collect();
    assert_eq!(sequences, ["2", "3"]);
}

#[test]
fn a_benchmark_balances_its_books_beside_other_clients() {
    let bank = Bank::start();
    bank.json(&["open", "--deposit", "5"]);
    let short = ["bench", "--duration", "200ms", "--warmup", "0s", "--accounts", "10", "--inflight", "4"];
    let report = bank.json(&short);
    assert_keys(
        &report,
        &["operations", "seconds", "rate", "noopRate", "ratio", "p50Us", "p99Us", "p999Us", "maxUs"],
    );
    assert_eq!((&report["errors"], &report["moneyExact"]), (&json!(0), &json!(true)));
    assert!(report["operations"].as_u64() > Some(0), "{report}");
    assert!(bank.done(&short).contains("exact to the cent on 10 accounts"));
    let csv = bank.done(&[["-o", "csv"].as_slice(), &short].concat());
    assert!(csv.lines().next().unwrap().contains("moneyExact"), "{csv}");
    assert_eq!(bank.json(&["balance", "1"])["balance"], "5.00");
}

#[test]
fn what_needs_no_server_asks_none() {
    let nobody = Bank::nobody();
    assert_eq!(nobody.done(&["version"]), format!("bank-client {}\n", env!("CARGO_PKG_VERSION")));
    assert!(nobody.done(&["errors"]).contains("INSUFFICIENT_FUNDS"));
    assert!(
        nobody.done(&["errors", "same_account"]).starts_with("SAME_ACCOUNT\tFAILED_PRECONDITION\t409\t4\t")
    );
    assert!(nobody.done(&["completions", "zsh"]).starts_with("#compdef bank-client"));
    assert!(nobody.done(&["man"]).contains(".TH bank-client 1"));
    assert!(nobody.done(&["help", "transfer"]).contains("<FROM> <TO> <AMOUNT>"));
    assert!(nobody.done(&["--help"]).contains("Exit codes:"));
}
