//! `bank-server demo`: two branches in one process, ready at once, and gone without a trace.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::cli::Bank;

#[test]
fn the_demo_is_two_branches_and_its_commands_work() {
    let folder = tempfile::tempdir().unwrap();
    let began = Instant::now();
    let mut demo = Command::new(env!("CARGO_BIN_EXE_bank-server"))
        .args(["demo", "--port", "0"])
        .env_clear()
        .current_dir(folder.path())
        .env("TMPDIR", folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines: Vec<String> =
        BufReader::new(demo.stdout.as_mut().unwrap()).lines().take(14).map(Result::unwrap).collect();
    let ready = began.elapsed();
    println!("ready after {ready:?}");
    assert!(ready < Duration::from_secs(2), "{ready:?}");
    assert_eq!(lines[0], "branch mumbai, 3 replicas in memory: data is lost on exit");
    assert_eq!(lines[4], "branch delhi, 1 replica in memory: data is lost on exit");
    let servers: Vec<&str> =
        [1, 2, 3, 5].iter().map(|line| lines[*line].rsplit(' ').next().unwrap()).collect();
    assert_eq!(servers.iter().collect::<BTreeSet<_>>().len(), 4);

    assert_eq!(lines[12], format!("  a browser at http://{}/", servers[0]));
    assert!(lines[13].contains("move money all the time"), "{}", lines[13]);

    let mut said = Vec::new();
    for line in &lines[7..12] {
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(words[0], "bank-client");
        let answer = Bank::nobody().run(&words[1..]);
        assert_eq!((answer.code, answer.err.as_str()), (0, ""), "{line}");
        said.push(answer.out);
    }
    assert!(said[0].starts_with("mumbai/1\t100.00\t"), "{}", said[0]);
    assert!(said[1].contains("COMMITTED"), "{}", said[1]);
    assert!(said[2].starts_with("delhi/1002\t1025.00\t"), "{}", said[2]);
    assert_eq!(said[3].lines().count(), 2, "{}", said[3]);
    assert_eq!(
        said[4].lines().filter(|line| line.contains("FOLLOWER") || line.contains("LEADER")).count(),
        3
    );

    // Any of them takes a write, and the other two show it.
    let (first, last) = (Bank::at(servers[0].to_owned()), Bank::at(servers[2].to_owned()));
    assert_eq!(first.json(&["deposit", "1", "1"])["balance"], "76.00");
    assert_eq!(last.json(&["balance", "1"])["balance"], "76.00");

    // There is something to look at that nobody here did: the watch begins with an operation of now.
    let watched = first.done(&["watch", "--account", "2001", "--limit", "1"]);
    assert!(watched.contains("/2001"), "{watched}");

    let interrupt = format!("kill -INT {}", demo.id());
    assert!(Command::new("sh").args(["-c", &interrupt]).status().unwrap().success());
    let status = demo.wait().unwrap();
    let mut err = String::new();
    demo.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert_eq!((status.code(), err.as_str()), (Some(0), ""));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left behind");
    assert_eq!(first.run(&["balance", "1"]).code, 3);
}

#[test]
fn the_demo_is_where_the_client_looks_or_says_that_the_port_is_taken() {
    let mut demo = Command::new(env!("CARGO_BIN_EXE_bank-server"))
        .args(["demo", "--no-traffic"])
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let said: Vec<String> =
        BufReader::new(demo.stdout.as_mut().unwrap()).lines().take(14).map(Result::unwrap).collect();
    if said.is_empty() {
        let mut err = String::new();
        demo.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        assert!(
            demo.wait().unwrap().code() == Some(2) && err.contains("9001") && err.contains("in use"),
            "{err}"
        );
        eprintln!("SKIPPED: port 9001 is taken on this machine");
        return;
    }
    let mut client = Command::new(env!("CARGO_BIN_EXE_bank-client"));
    let found = client.env_clear().args(["balance", "1001"]).stdin(Stdio::null()).output().unwrap();
    let interrupt = format!("kill -INT {}", demo.id());
    assert!(Command::new("sh").args(["-c", &interrupt]).status().unwrap().success());
    assert_eq!(demo.wait().unwrap().code(), Some(0));
    assert!(found.status.success() && found.stdout.starts_with(b"mumbai/1001\t1000.00"), "{found:?}");
    assert!(said[13].contains("without --server"), "{said:?}");
}
