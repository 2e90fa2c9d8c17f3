//! Scripts: from standard input, from a file, from `-c`.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::Stdio;

use super::Bank;

const FAILING: &str = "\
open --deposit 5   # account 1

withdraw 1 6
balance 99
deposit 1 1
";

#[test]
fn a_script_stops_at_its_first_failing_line_and_names_it() {
    let bank = Bank::start();
    let answer = bank.script(&[], FAILING);
    assert_eq!(answer.code, 4);
    assert!(answer.err.starts_with("line 3: INSUFFICIENT_FUNDS: "), "{}", answer.err);
    assert_eq!((answer.out.lines().count(), answer.err.lines().count()), (1, 1));
    assert_eq!(bank.json(&["balance", "1"])["balance"], "5.00");
}

#[test]
fn keep_going_goes_on_and_exits_with_the_worst_code() {
    let bank = Bank::start();
    let answer = bank.script(&["--keep-going", "-o", "json"], &format!("{FAILING}depost 1\ndeposit 1 0\n"));
    assert_eq!(answer.code, 5);
    let errors: Vec<serde_json::Value> =
        answer.err.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told: Vec<_> = errors
        .iter()
        .map(|error| (error["error"]["line"].as_u64().unwrap(), error["error"]["reason"].as_str().unwrap()))
        .collect();
    assert_eq!(
        told,
        [
            (3, "INSUFFICIENT_FUNDS"),
            (4, "ACCOUNT_NOT_FOUND"),
            (6, "ARGUMENT_INVALID"),
            (7, "AMOUNT_NOT_POSITIVE")
        ]
    );
    assert_eq!(bank.json(&["balance", "1"])["balance"], "6.00");
}

#[test]
fn a_script_comes_from_a_file_a_line_or_standard_input() {
    let bank = Bank::start();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("script");
    std::fs::write(&file, "\u{feff}open --name 'Ada L' --deposit 5\r\nbalance 1 -o csv\r\n").unwrap();
    let from_file = bank.done(&["-f", file.to_str().unwrap()]);
    assert!(from_file.contains("account,balance,held,available"), "{from_file}");
    let expected = "main/1\t5.00\t0.00\t5.00\tSESSION\t1\n";
    assert_eq!(bank.done(&["-c", "balance 1 --consistency session"]), expected);
    assert_eq!(bank.done(&["-c", "# two lines\nbalance 1 --consistency session\n"]), expected);
    assert_eq!(bank.script(&["-f", "-"], "balance 1 --consistency session").out, expected);
    assert_eq!(bank.script(&[], "").code, 0);
}

#[test]
fn options_of_the_command_line_hold_for_every_line_and_a_line_may_say_otherwise() {
    let bank = Bank::start();
    let answer = bank.script(&["-o", "jsonl"], "open\ndeposit 1 5 --request-id a\nbalance 1 -o plain\n");
    let lines: Vec<_> = answer.out.lines().collect();
    assert!(lines[0].starts_with('{') && lines[1].contains("\"requestId\":\"a\""), "{}", answer.out);
    assert!(lines[2].starts_with("main/1\t5.00"), "{}", answer.out);
}

#[test]
fn each_line_is_answered_before_the_next_is_read() {
    let bank = Bank::start();
    let mut client = bank.command(&[]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(client.stdout.take().unwrap()).lines();
    let mut input = client.stdin.take().unwrap();
    for (line, answer) in
        [("open", "main/1\t0.00"), ("deposit 1 5", "main/1\t5.00"), ("deposit 1 5", "main/1\t10.00")]
    {
        writeln!(input, "{line}").unwrap();
        let said = lines.next().unwrap().unwrap();
        assert!(said.starts_with(answer), "{said}");
    }
    drop(input);
    assert!(client.wait().unwrap().success());
}

#[test]
fn a_reader_that_leaves_ends_the_client_quietly() {
    let bank = Bank::start();
    bank.json(&["open"]);
    let mut client = bank
        .command(&["-f", "-", "--keep-going"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(client.stdout.take());
    // The client may be gone before it has read everything.
    let _ = client.stdin.take().unwrap().write_all("balance 1\n".repeat(1_000).as_bytes());
    let mut said = String::new();
    client.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!((said.as_str(), client.wait().unwrap().code()), ("", Some(0)));
}

#[test]
fn an_interrupted_write_says_how_to_repeat_it() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let bank = Bank::at(silent.local_addr().unwrap().to_string());
    let mut client = bank
        .command(&["deposit", "1", "5", "--request-id", "mine", "--timeout", "1m"])
        .stderr(Stdio::piped())
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    // Once it has connected, it is waiting for its answer.
    let connection = silent.accept().unwrap();
    super::interrupt(client.id());
    let mut said = String::new();
    client.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(client.wait().unwrap().code(), Some(130), "{said}");
    assert!(said.contains("--request-id mine"), "{said}");
    drop(connection);
}
