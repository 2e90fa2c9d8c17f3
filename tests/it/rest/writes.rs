//! Writes over HTTP happen once, and sessions go along.

use std::thread;

use serde_json::json;

use super::Http;
use crate::support::Server;

const JSON: (&str, &str) = ("content-type", "application/json");

#[test]
fn a_double_click_is_one_operation() {
    let server = Server::start();
    let http = Http(server.address());
    http.post("/v1/accounts", "");
    let key = ("idempotency-key", "click-1");
    let click = move || http.send("POST", "/v1/accounts/1/deposits", &[JSON, key], r#"{"amount":"5"}"#);
    let clicks: Vec<_> = (0..8).map(|_| thread::spawn(click)).collect();
    let answers: Vec<_> = clicks.into_iter().map(|click| click.join().unwrap()).collect();
    let first: Vec<_> = answers.iter().filter(|answer| answer.json()["replayed"] == false).collect();
    assert_eq!(first.len(), 1);
    for answer in &answers {
        let replayed = answer.json()["replayed"] == true;
        assert_eq!((answer.status, &answer.json()["sequence"]), (200, &first[0].json()["sequence"]));
        assert_eq!(answer.header("idempotency-replayed"), if replayed { "true" } else { "" });
    }
    assert_eq!(http.get("/v1/accounts/1").json()["account"]["balance"], "5.00");
    let other = http.send("POST", "/v1/accounts/1/deposits", &[JSON, key], r#"{"amount":"6"}"#);
    assert_eq!((other.status, other.reason().as_str()), (422, "REQUEST_REUSED"));
    // The key as structured headers write text.
    let quoted = [JSON, ("idempotency-key", "\"click-1\"")];
    let again = http.send("POST", "/v1/accounts/1/deposits", &quoted, r#"{"amount":"5"}"#);
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!(http.get("/v1/operations/click-1").json()["state"], "EXECUTED");
}

#[test]
fn a_session_sees_its_own_writes() {
    let server = Server::start();
    let http = Http(server.address());
    let opened = http.post("/v1/accounts", "");
    let session = opened.header("bank-session").to_owned();
    assert!(!session.is_empty());
    let with = [("bank-session", session.as_str())];
    let read = http.send("GET", "/v1/accounts/1?consistency=session", &with, "");
    assert_eq!((read.status, &read.json()["sequence"]), (200, &json!(1)));
    assert!(!read.header("bank-session").is_empty());
    let wrong = http.send("GET", "/v1/accounts/1", &[("bank-session", "no token")], "");
    assert_eq!((wrong.status, wrong.reason().as_str()), (400, "ARGUMENT_INVALID"));
    // A token of another life of the ledger.
    let other = Server::start();
    let foreign = Http(other.address()).send("GET", "/v1/accounts", &with, "");
    assert_eq!((foreign.status, foreign.reason().as_str()), (409, "SESSION_UNKNOWN"));
}

#[test]
fn a_write_that_is_only_tried_changes_nothing() {
    let server = Server::start();
    let http = Http(server.address());
    http.post("/v1/accounts", r#"{"deposit":"5"}"#);
    let tried = http.post("/v1/accounts/1/withdrawals?validate_only=true", r#"{"amount":"5"}"#);
    assert_eq!((tried.status, &tried.json()["balance"]), (200, &json!("0.00")));
    let refused = http.post("/v1/accounts/1/withdrawals?validate_only=true", r#"{"amount":"6"}"#);
    assert_eq!(refused.reason(), "INSUFFICIENT_FUNDS");
    let shown = http.get("/v1/accounts/1").json();
    assert_eq!((&shown["account"]["balance"], &shown["sequence"]), (&json!("5.00"), &json!(1)));
}
