//! What is told is what happened: the exit code is the bank's answer, whatever becomes of printing it.

use std::fs::{self, File};
use std::net::TcpListener;
use std::os::fd::AsFd as _;
use std::process::{Command, Stdio};

use bank::model::Exit;
use serde_json::Value;

use super::{Answer, Bank, plain_command};
use crate::rest::Http;

const FIX: i32 = Exit::FixCall as i32;

fn bank() -> Bank {
    let bank = Bank::start();
    bank.json(&["open", "--deposit", "5"]);
    bank
}

fn balance(bank: &Bank) -> String {
    bank.json(&["balance", "1"])["balance"].as_str().unwrap().to_owned()
}

/// The client with an output that takes nothing.
fn full(bank: &Bank, words: &[&str]) -> Answer {
    let full = File::options().write(true).open("/dev/full").unwrap();
    bank.command(words).stdin(Stdio::null()).stdout(full).output().unwrap().into()
}

/// The client in a shell in which files cannot grow, which shows only when something is written to one.
fn in_files_that_cannot_grow(bank: &Bank, words: &str) -> Answer {
    let folder = tempfile::tempdir().unwrap();
    let client = env!("CARGO_BIN_EXE_bank-client");
    let line = format!("trap '' XFSZ; ulimit -f 0; exec '{client}' {words} >out");
    let mut shell = plain_command("sh");
    shell.env("BANK_SERVER", &bank.address).current_dir(folder.path()).args(["-c", &line]);
    shell.stdin(Stdio::null()).output().unwrap().into()
}

#[test]
fn an_output_that_takes_nothing_is_found_before_anything_is_sent() {
    let bank = bank();
    for words in [
        ["deposit", "1", "1"].as_slice(),
        &["open"],
        &["hold", "1", "1"],
        &["-c", "deposit 1 1\ndeposit 1 1"],
        &["--keep-going", "-c", "deposit 1 1\ndeposit 1 1"],
        &["replica", "lead"],
        &["bench", "--duration", "1s"],
    ] {
        let answer = full(&bank, words);
        assert_eq!(answer.code, FIX, "{words:?}: {}", answer.err);
        assert!(answer.err.contains("nothing was sent"), "{words:?}: {}", answer.err);
    }
    assert_eq!(bank.json(&["balance", "1"])["sequence"], 1);
    // A descriptor that is open for reading only.
    let read_only = File::open("/dev/null").unwrap().as_fd().try_clone_to_owned().unwrap();
    let answer: Answer = bank.command(&["deposit", "1", "1"]).stdout(read_only).output().unwrap().into();
    assert_eq!((answer.code, balance(&bank).as_str()), (FIX, "5.00"), "{}", answer.err);
}

#[test]
fn a_session_file_that_cannot_be_written_is_found_before_anything_is_sent() {
    let bank = bank();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("missing/session");
    let session = ["--session", file.to_str().unwrap()];
    let answer = bank.run(&[session.as_slice(), &["deposit", "1", "1"]].concat());
    assert_eq!((answer.code, balance(&bank).as_str()), (FIX, "5.00"), "{}", answer.err);
    assert!(answer.err.contains("session file") && answer.err.contains("nothing was sent"), "{}", answer.err);
    // A read is answered all the same.
    let read = bank.run(&[session.as_slice(), &["balance", "1"]].concat());
    assert_eq!(read.code, 0, "{}", read.err);
    assert!(read.out.starts_with("main/1\t5.00") && read.err.starts_with("warning: "), "{}", read.err);
}

#[test]
fn what_goes_wrong_after_the_outcome_is_a_warning() {
    let bank = bank();
    let done = in_files_that_cannot_grow(&bank, "deposit 1 1 --request-id first");
    assert_eq!((done.code, balance(&bank).as_str()), (0, "6.00"), "{}", done.err);
    assert!(done.err.starts_with("warning: standard output cannot be written"), "{}", done.err);
    assert!(done.err.contains("`operation first`"), "{}", done.err);

    let done = in_files_that_cannot_grow(&bank, "-o json deposit 1 1");
    assert_eq!(done.code, 0, "{}", done.err);
    let warning: Value = serde_json::from_str(&done.err).unwrap();
    assert!(warning["warning"]["message"].as_str().unwrap().contains("it is done"), "{warning}");

    let done = in_files_that_cannot_grow(&bank, "--session kept deposit 1 1 2>&1 >/dev/null");
    assert_eq!((done.code, balance(&bank).as_str()), (0, "8.00"), "{}", done.err);

    // A script stops there: whoever reads it would not see what the next lines do.
    let script = in_files_that_cannot_grow(&bank, "--keep-going -c 'deposit 1 1\ndeposit 1 1'");
    assert_eq!((script.code, balance(&bank).as_str()), (FIX, "9.00"), "{}", script.err);
    assert!(script.err.contains("line 2: ") && script.err.contains("nothing more is sent"), "{}", script.err);

    // A refusal stays one.
    let refused = in_files_that_cannot_grow(&bank, "withdraw 1 10");
    assert_eq!(refused.code, Exit::Refused as i32, "{}", refused.err);
}

#[test]
fn a_write_that_finds_no_connection_in_time_has_not_happened() {
    // A server whose queue of connections is full: the system answers none of the next ones.
    let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    listener.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    listener.listen(0).unwrap();
    let address = TcpListener::from(listener.try_clone().unwrap()).local_addr().unwrap();
    let timeout = std::time::Duration::from_millis(200);
    let waiting: Vec<_> = std::iter::from_fn(|| std::net::TcpStream::connect_timeout(&address, timeout).ok())
        .take(64)
        .collect();
    assert!(waiting.len() < 64, "the queue is never full");
    let bank = Bank::at(address.to_string());
    for time in ["200ms", "2s"] {
        let answer = bank.run(&["deposit", "1", "1", "--timeout", time]);
        assert_eq!(answer.code, Exit::TryAgain as i32, "{time}: {}", answer.err);
        assert!(answer.err.starts_with("UNREACHABLE: "), "{time}: {}", answer.err);
    }
}

#[test]
fn a_repeated_refusal_says_that_it_is_the_first_answer_again() {
    let bank = bank();
    let withdraw = ["withdraw", "1", "6", "--request-id", "w"];
    let first = bank.run(&withdraw);
    assert!(!first.err.contains("replayed"), "{}", first.err);
    bank.json(&["deposit", "1", "10"]);
    let again = bank.run(&withdraw);
    assert_eq!(again.code, first.code);
    assert!(again.err.contains("replayed") && again.err.lines().count() == 1, "{}", again.err);
    let json = bank.run(&[["-o", "json"].as_slice(), &withdraw].concat());
    let error: Value = serde_json::from_str(&json.err).unwrap();
    assert_eq!(error["error"]["replayed"], true, "{error}");

    let http = Http(bank.address.parse().unwrap());
    let post = |key: &str| {
        let headers = [("content-type", "application/json"), ("idempotency-key", key)];
        http.send("POST", "/v1/accounts/1/withdrawals", &headers, r#"{"amount":"99"}"#)
    };
    let headers = [post("h"), post("h")].map(|answer| answer.header("idempotency-replayed").to_owned());
    assert_eq!(headers, ["", "true"]);
    for empty in ["", "\"\"", "\" \""] {
        let answer = post(empty);
        assert_eq!((answer.status, answer.reason().as_str()), (400, "REQUEST_ID_INVALID"), "{empty:?}");
    }
}

#[test]
fn a_transfer_to_another_branch_that_was_refused_says_so_again() {
    let [mumbai, _delhi] = Bank::two_branches();
    let transfer = ["transfer", "mumbai/1001", "delhi/99", "1", "--request-id", "t"];
    assert!(!mumbai.run(&transfer).err.contains("replayed"));
    let again = mumbai.run(&transfer);
    assert!(again.code == Exit::NotFound as i32 && again.err.contains("replayed"), "{}", again.err);
}

#[test]
fn validation_looks_at_the_request_id_and_says_that_nothing_was_done() {
    let bank = bank();
    let look = |words: &[&str]| bank.run(&[words, &["--validate-only", "-o", "json"]].concat());
    let deposit = ["deposit", "1", "1", "--request-id", "d"];
    let before: Value = serde_json::from_str(&look(&deposit).out).unwrap();
    assert_eq!((&before["validateOnly"], &before["replayed"]), (&true.into(), &false.into()));
    let done = bank.json(&deposit);
    assert_eq!((&done["validateOnly"], done["balance"].as_str()), (&false.into(), Some("6.00")));
    bank.json(&["deposit", "1", "1"]);
    let after: Value = serde_json::from_str(&look(&deposit).out).unwrap();
    assert_eq!((&after["replayed"], after["balance"].as_str()), (&true.into(), Some("6.00")));
    let reused = look(&["deposit", "1", "2", "--request-id", "d"]);
    assert!(reused.code == FIX && reused.err.contains("REQUEST_REUSED"), "{}", reused.err);
    let text = bank.done(&["deposit", "1", "1", "--validate-only"]);
    assert!(text.ends_with("\tnothing done\n"), "{text:?}");
    assert_eq!(balance(&bank), "7.00");

    // What cannot be validated only is not executed instead.
    for words in [["replica", "remove", "1"].as_slice(), &["transfer-resolve", "1", "--abort"], &["bench"]] {
        let answer = look(words);
        assert!(answer.code == FIX && answer.err.contains("--validate-only"), "{words:?}: {}", answer.err);
    }
    let [mumbai, delhi] = Bank::two_branches();
    let transfer = ["transfer", "mumbai/1001", "delhi/1001", "1", "--request-id", "t"];
    let looked = mumbai.json(&[transfer.as_slice(), &["--validate-only"]].concat());
    assert_eq!((&looked["validateOnly"], &looked["replayed"]), (&true.into(), &false.into()));
    mumbai.json(&transfer);
    let looked = mumbai.json(&[transfer.as_slice(), &["--validate-only"]].concat());
    assert_eq!(looked["replayed"], true);
    assert_eq!(delhi.json(&["balance", "1001"])["balance"], "1001.00");
}

#[test]
fn an_export_and_a_session_leave_links_pipes_and_devices_as_they_are() {
    let bank = bank();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let path = |name: &str| at(name).to_str().unwrap().to_owned();
    for (link, target) in [("link", "target"), ("null", "/dev/null"), ("session", "kept")] {
        std::os::unix::fs::symlink(target, at(link)).unwrap();
    }
    let whole = bank.done(&["export"]);
    for name in ["link", "null", "link"] {
        bank.done(&["export", "--out", &path(name)]);
    }
    assert_eq!(fs::read_to_string(at("target")).unwrap(), whole);
    for name in ["null", "session", "session"] {
        bank.done(&["--session", &path(name), "deposit", "1", "1"]);
    }
    assert!(!fs::read_to_string(at("kept")).unwrap().is_empty());
    assert!(Command::new("mkfifo").arg(at("pipe")).status().unwrap().success());
    let reader = std::thread::spawn({
        let pipe = at("pipe");
        move || fs::read_to_string(pipe).unwrap()
    });
    bank.done(&["export", "--account", "1", "--out", &path("pipe")]);
    assert!(reader.join().unwrap().starts_with(whole.lines().next().unwrap()));
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 6, "{left:?}");
    for link in ["link", "null", "session"] {
        assert!(at(link).is_symlink(), "{link}");
    }
}
