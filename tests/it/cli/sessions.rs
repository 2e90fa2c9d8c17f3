//! Sessions across processes.

use std::os::unix::fs::PermissionsExt as _;

use super::Bank;

#[test]
fn a_session_file_carries_what_was_seen_to_the_next_process() {
    let bank = Bank::start();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("session");
    let session = ["--session", file.to_str().unwrap(), "-o", "json"];
    let with_session = |words: &[&str]| -> serde_json::Value {
        serde_json::from_str(&bank.done(&[session.as_slice(), words].concat())).unwrap()
    };
    let opened = with_session(&["open", "--deposit", "5"]);
    assert_eq!(std::fs::read_to_string(&file).unwrap().trim_end(), opened["sessionToken"]);
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);

    let balance = with_session(&["balance", "1"]);
    assert_eq!(balance["consistency"], "SESSION");
    assert!(balance["sequence"].as_u64() >= opened["sequence"].as_u64());
    let deposited = with_session(&["deposit", "1", "1"]);
    assert_eq!(std::fs::read_to_string(&file).unwrap().trim_end(), deposited["sessionToken"]);

    let token = deposited["sessionToken"].as_str().unwrap();
    let shown = bank.json(&["balance", "1", "--session-token", token]);
    assert_eq!((shown["consistency"].as_str(), shown["balance"].as_str()), (Some("SESSION"), Some("6.00")));
}

#[test]
fn a_session_of_another_ledger_is_refused_until_its_file_is_removed() {
    let (first, second) = (Bank::start(), Bank::start());
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("session");
    let path = file.to_str().unwrap();
    first.done(&["--session", path, "open"]);
    let kept = std::fs::read_to_string(&file).unwrap();
    let refused = second.run(&["--session", path, "open"]);
    assert_eq!(refused.code, 4);
    assert!(refused.err.starts_with("SESSION_UNKNOWN: "), "{}", refused.err);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), kept);
    std::fs::remove_file(&file).unwrap();
    second.done(&["--session", path, "open"]);
}

#[test]
fn a_file_that_is_no_session_is_left_alone() {
    let bank = Bank::nobody();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("notes");
    std::fs::write(&file, "my notes").unwrap();
    let answer = bank.run(&["--session", file.to_str().unwrap(), "accounts"]);
    assert_eq!(answer.code, 2);
    assert!(answer.err.contains("does not hold a session"), "{}", answer.err);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "my notes");
}
