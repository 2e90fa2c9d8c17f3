//! Accounts over HTTP: what a caller gets back, and what is refused.

use serde_json::json;

use super::Http;
use crate::support::Server;

#[test]
fn an_account_is_opened_used_and_read() {
    let server = Server::start();
    let http = Http(server.address());
    let opened = http.post("/v1/accounts", r#"{"name":"Ada","deposit":"100"}"#);
    assert_eq!((opened.status, opened.header("location")), (201, "/v1/accounts/main%2F1"), "{opened:?}");
    assert_eq!(opened.json()["balance"], "100.00");
    let deposit = http.post("/v1/accounts/1/deposits", r#"{"amount":"20.50"}"#);
    assert_eq!((deposit.status, &deposit.json()["balance"]), (200, &json!("120.50")));
    let withdrawal = http.post("/v1/accounts/main%2F1/withdrawals", r#"{"amount":"0.50"}"#);
    assert_eq!(withdrawal.json()["balance"], "120.00");
    let interest = http.post("/v1/accounts/1/interest", r#"{"rate":"2.5"}"#);
    assert_eq!(
        (&interest.json()["interest"], &interest.json()["balance"]),
        (&json!("3.00"), &json!("123.00"))
    );
    let shown = http.get("/v1/accounts/1").json();
    assert_eq!(
        (&shown["account"]["name"], &shown["account"]["balance"], &shown["sequence"]),
        (&json!("Ada"), &json!("123.00"), &json!(4))
    );
}

#[test]
fn what_is_refused_says_why_as_a_problem() {
    let server = Server::start();
    let http = Http(server.address());
    http.post("/v1/accounts", r#"{"deposit":"5"}"#);
    for (path, body, status, reason) in [
        ("/v1/accounts/9/deposits", r#"{"amount":"1"}"#, 404, "ACCOUNT_NOT_FOUND"),
        ("/v1/accounts/1/withdrawals", r#"{"amount":"5.01"}"#, 409, "INSUFFICIENT_FUNDS"),
        ("/v1/accounts/1/deposits", r#"{"amount":1}"#, 400, "AMOUNT_SYNTAX"),
        ("/v1/accounts/delhi%2F1/deposits", r#"{"amount":"1"}"#, 404, "BRANCH_UNKNOWN"),
        ("/v1/accounts/1/deposit", r#"{"amount":"1"}"#, 404, "UNIMPLEMENTED"),
        ("/v1/accounts/1", r#"{"amount":"1"}"#, 405, "UNIMPLEMENTED"),
    ] {
        let answer = http.post(path, body);
        assert_eq!((answer.status, answer.reason().as_str()), (status, reason), "{path} {body}");
    }
}
