//! The program `bank-server`: its arguments, its one line, its exit codes, its end.

use std::net::TcpListener;

use bank::wire::proto::v1::bank_service_client::BankServiceClient;
use tokio::sync::mpsc;
use tonic::transport::Channel;

use crate::support::{self, Process, balance, deposit, open, run};

/// Arguments, environment, and what must be said.
type Case<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)], &'a str);

#[tokio::test]
async fn the_server_says_in_one_line_where_it_listens_and_ends_in_order() {
    for signal in ["TERM", "INT"] {
        let server = Process::start(&["127.0.0.1", "0", "2"], &[]);
        let address = server.address();
        let expected = format!(
            "bank-server listening on {address} with 2 threads, branch main, storage memory: data is lost on exit\n"
        );
        assert_eq!(server.line, expected);
        let mut bank = support::client(address).await;
        open(&mut bank, "5").await;
        assert_eq!(balance(&mut bank, "1").await, "5.00");
        server.signal(signal);
        let ended = tokio::task::spawn_blocking(|| server.wait()).await.unwrap();
        assert_eq!((ended.status.code(), ended.stdout, ended.stderr.as_str()), (Some(0), expected, ""));
    }
}

#[tokio::test]
async fn flags_and_environment_say_the_same_as_places() {
    let table: [Case; 4] = [
        (
            &["--host", "127.0.0.1", "--port", "0", "--threads", "1", "--branch", "delhi"],
            &[],
            "with 1 thread, branch delhi",
        ),
        (
            &[],
            &[("BANK_HOST", "localhost"), ("BANK_PORT", "0"), ("BANK_THREADS", "3"), ("BANK_BRANCH", "b-2")],
            "with 3 threads, branch b-2",
        ),
        (&["127.0.0.1", "0"], &[("BANK_PORT", "1"), ("BANK_THREADS", "2")], "with 2 threads, branch main"),
        (&["--port=0"], &[("BANK_PORT", "1")], "on 127.0.0.1:"),
    ];
    for (arguments, environment, expected) in table {
        let server = Process::start(arguments, environment);
        assert!(server.line.contains(expected), "{:?}", server.line);
        let mut bank = support::client(server.address()).await;
        assert!(open(&mut bank, "").await.ends_with("/1"));
    }
}

#[test]
fn what_is_wrong_with_the_call_is_said_in_one_line() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let (file, inside) = (file.to_str().unwrap(), file.join("inside"));
    let table: [Case; 14] = [
        (&["127.0.0.1", "0", "1", "--data-dir", file], &[], "is not a directory"),
        (&["127.0.0.1", "0", "1", "--data-dir", inside.to_str().unwrap()], &[], "is not a directory"),
        (&[], &[("BANK_THREADS", "many")], "the environment variable BANK_THREADS"),
        (&["--port", "0", "--threads", "x"], &[("BANK_THREADS", "1")], "'--threads <THREADS>'"),
        (&[], &[("BANK_PEERS", "x")], "the environment variable BANK_PEERS"),
        (&["127.0.0.1", "0"], &[("RUST_LOG", "warn=no=level")], "the environment variable RUST_LOG"),
        (&["127.0.0.1", &port], &[], "in use"),
        (&["127.0.0.1", "65536"], &[], "a port is a number from 0 to 65535"),
        (&["127.0.0.1", "http"], &[], "a port is a number"),
        (&["no-such-host.invalid", "0"], &[], "no-such-host.invalid"),
        (&["192.0.2.1", "0"], &[], "address of this machine"),
        (&["127.0.0.1", "0", "0"], &[], "number of threads"),
        (&["127.0.0.1", "0", "1000000"], &[], "number of threads"),
        (&["--branch", "No Branch"], &[], "branch name"),
    ];
    for (arguments, environment, expected) in table {
        let ended = run(arguments, environment);
        assert_eq!(ended.status.code(), Some(2), "{arguments:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(expected), "{arguments:?}: {}", ended.stderr);
        assert_eq!((ended.stderr.lines().count(), ended.stdout.as_str()), (1, ""), "{arguments:?}");
    }
}

#[test]
fn a_call_that_is_not_in_the_grammar_gets_what_the_parser_advises() {
    let table: [(&[&str], &[&str]); 4] = [
        (&["--brnch", "x"], &["--brnch", "a similar argument exists: '--branch'", "Usage:"]),
        (&["127.0.0.1", "0", "1", "surplus"], &["surplus", "Usage:"]),
        (&["127.0.0.1", "--host", "127.0.0.1"], &["twice", "Usage:"]),
        (&["demo", "--prt", "1"], &["a similar argument exists: '--port'", "Usage: bank-server demo"]),
    ];
    for (arguments, expected) in table {
        let ended = run(arguments, &[]);
        assert_eq!((ended.status.code(), ended.stdout.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(expected.iter().all(|text| ended.stderr.contains(text)), "{arguments:?}: {}", ended.stderr);
    }
    for arguments in [["help"].as_slice(), &["help", "verify"], &["--help"]] {
        let ended = run(arguments, &[]);
        assert_eq!((ended.status.code(), ended.stderr.as_str()), (Some(0), ""), "{arguments:?}");
        assert!(ended.stdout.contains("Usage: bank-server"), "{arguments:?}: {}", ended.stdout);
    }
}

#[tokio::test]
async fn blanks_in_a_list_and_a_mark_at_the_start_of_a_file_do_not_count() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("routes");
    std::fs::write(&file, "\u{feff}delhi=127.0.0.1:1\r\n").unwrap();
    let peers = "1 = 127.0.0.1:1, 2=127.0.0.1:2 , 3=127.0.0.1:3";
    let arguments =
        ["127.0.0.1", "0", "1", "--ephemeral", "--peers", peers, "--config", file.to_str().unwrap()];
    let server = Process::start(&arguments, &[]);
    assert!(server.line.contains("replica 1 of 3"), "{}", server.line);
    server.signal("TERM");
    let ended = tokio::task::spawn_blocking(|| server.wait()).await.unwrap();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
}

#[test]
fn help_and_version_are_no_errors() {
    let help = run(&["--help"], &[]);
    assert_eq!(help.status.code(), Some(0));
    for word in ["HOST", "PORT", "THREADS", "BANK_HOST", "BANK_PORT", "BANK_THREADS", "BANK_BRANCH", "9001"] {
        assert!(help.stdout.contains(word), "{word}");
    }
    let version = run(&["--version"], &[]);
    assert_eq!(version.stdout, format!("bank-server {}\n", env!("CARGO_PKG_VERSION")));
}

#[tokio::test]
async fn two_servers_do_not_share_a_port() {
    let first = Process::start(&["127.0.0.1", "0"], &[]);
    let second = run(&["127.0.0.1", &first.address().port().to_string()], &[]);
    assert_eq!(second.status.code(), Some(2));
    assert!(second.stderr.contains("in use"), "{}", second.stderr);
    open(&mut support::client(first.address()).await, "1").await;
}

/// Deposits until the server is gone; counts what was acknowledged, and what was refused or lost.
async fn deposit_until_the_end(mut bank: BankServiceClient<Channel>, acknowledged: mpsc::Sender<u64>) {
    while let Ok(reply) = bank.deposit_account(deposit("1", "0.01")).await {
        if acknowledged.send(reply.into_inner().sequence).await.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn a_server_that_is_told_to_stop_finishes_what_it_took() {
    let server = Process::start(&["127.0.0.1", "0", "2"], &[]);
    let address = server.address();
    open(&mut support::client(address).await, "").await;
    let (sender, mut acknowledged) = mpsc::channel(1_024);
    let mut writers = Vec::new();
    for _ in 0..8 {
        writers.push(tokio::spawn(deposit_until_the_end(support::client(address).await, sender.clone())));
    }
    drop(sender);
    let mut sequences = Vec::new();
    while let Some(sequence) = acknowledged.recv().await {
        sequences.push(sequence);
        if sequences.len() == 200 {
            server.signal("TERM");
        }
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let ended = tokio::task::spawn_blocking(|| server.wait()).await.unwrap();
    assert_eq!((ended.status.code(), ended.stderr.as_str()), (Some(0), ""));
    // Every acknowledgement has a place of its own in the one order.
    assert!(sequences.len() >= 200);
    sequences.sort_unstable();
    let acknowledged = sequences.len();
    sequences.dedup();
    assert_eq!(sequences.len(), acknowledged);
}
