//! Holds, states of accounts, transfers and exports over HTTP.

use serde_json::{Value, json};

use super::{Http, two_branches};
use crate::support::Server;

const JSON: (&str, &str) = ("content-type", "application/json");

fn money(http: Http, account: &str) -> Value {
    let account = &http.get(&format!("/v1/accounts/{account}")).json()["account"];
    json!([account["balance"], account["held"], account["available"]])
}

#[test]
fn money_is_held_taken_and_let_go() {
    let server = Server::start();
    let http = Http(server.address());
    http.post("/v1/accounts", r#"{"deposit":"100"}"#);
    let place = |body: &str| {
        let placed = http.post("/v1/accounts/1/holds", body);
        assert_eq!(placed.status, 201, "{placed:?}");
        assert!(placed.header("location").starts_with("/v1/holds/main%3A"), "{placed:?}");
        placed.json()["hold"]["hold"].as_str().unwrap().to_owned()
    };
    let (first, second) = (place(r#"{"amount":"30"}"#), place(r#"{"amount":"20","expiresInSeconds":3600}"#));
    assert_eq!(money(http, "1"), json!(["100.00", "50.00", "50.00"]));
    assert_eq!(http.get("/v1/accounts/1/holds").json()["holds"].as_array().unwrap().len(), 2);
    let captured = http.post(&format!("/v1/holds/{first}/capture"), r#"{"amount":"12.50"}"#).json();
    assert_eq!(
        (&captured["hold"]["state"], &captured["hold"]["captured"]),
        (&json!("CAPTURED"), &json!("12.50"))
    );
    let released = http.post(&format!("/v1/holds/{second}/release"), "").json();
    assert_eq!(released["hold"]["state"], "RELEASED");
    assert_eq!(money(http, "1"), json!(["87.50", "0.00", "87.50"]));
    let again = http.post(&format!("/v1/holds/{first}/capture"), "");
    assert_eq!((again.status, again.reason().as_str()), (409, "HOLD_FINAL"));
    assert!(http.get(&format!("/v1/holds/{second}")).json()["hold"]["expireTime"].is_string());
}

#[test]
fn a_frozen_account_takes_nothing_until_it_is_open_again() {
    let server = Server::start();
    let http = Http(server.address());
    http.post("/v1/accounts", r#"{"deposit":"5"}"#);
    let set =
        |state: &str| http.send("PATCH", "/v1/accounts/1", &[JSON], &format!(r#"{{"state":"{state}"}}"#));
    assert_eq!(set("FROZEN").json()["state"], "FROZEN");
    let refused = http.post("/v1/accounts/1/deposits", r#"{"amount":"1"}"#);
    assert_eq!((refused.status, refused.reason().as_str()), (409, "ACCOUNT_FROZEN"));
    assert_eq!(set("OPEN").status, 200);
    assert_eq!(http.post("/v1/accounts/1/deposits", r#"{"amount":"1"}"#).status, 200);
    assert_eq!(set("CLOSED").reason(), "BALANCE_NOT_ZERO");
    assert_eq!(set("SHUT").reason(), "ARGUMENT_INVALID");
}

#[test]
fn any_server_serves_the_accounts_of_every_branch() {
    let (mumbai, delhi) = two_branches(|config| config);
    let http = Http(mumbai.address());
    http.post("/v1/accounts", r#"{"deposit":"50"}"#);
    let opened = http.post("/v1/accounts?branch=delhi", r#"{"deposit":"10"}"#);
    assert_eq!(opened.header("location"), "/v1/accounts/delhi%2F1", "{opened:?}");
    assert_eq!(money(http, "delhi%2F1"), json!(["10.00", "0.00", "10.00"]));
    assert_eq!(Http(delhi.address()).get("/v1/accounts/1").json()["account"]["balance"], "10.00");
    let body = r#"{"source":"1","destination":"delhi/1","amount":"20"}"#;
    let moved = http.send("POST", "/v1/transfers", &[JSON, ("idempotency-key", "t-1")], body);
    assert_eq!((moved.status, &moved.json()["state"]), (201, &json!("COMMITTED")), "{moved:?}");
    let session = [("bank-session", moved.header("bank-session"))];
    // The session covers both branches.
    for (account, balance) in [("1", "30.00"), ("delhi%2F1", "30.00")] {
        let path = format!("/v1/accounts/{account}?consistency=session");
        assert_eq!(http.send("GET", &path, &session, "").json()["account"]["balance"], balance);
    }
    let shown = http.get(moved.header("location")).json();
    assert_eq!(
        (&shown["transfer"]["state"], &shown["transfer"]["side"]),
        (&json!("COMMITTED"), &json!("PAYING"))
    );
    let names: Vec<Value> = http.get("/v1/cluster").json()["branches"]
        .as_array()
        .unwrap()
        .iter()
        .map(|branch| branch["branch"].clone())
        .collect();
    assert_eq!(names, [json!("mumbai"), json!("delhi")]);
    assert_eq!(http.get("/v1/accounts/goa%2F1").reason(), "BRANCH_UNKNOWN");
}

#[tokio::test]
async fn a_branch_that_is_down_is_shown_as_down() {
    let (mumbai, delhi) = two_branches(|config| config);
    let http = Http(mumbai.address());
    delhi.stop().await;
    let branches = http.get("/v1/cluster").json()["branches"].clone();
    assert_eq!((&branches[0]["error"], &branches[1]["branch"]), (&Value::Null, &json!("delhi")));
    assert_eq!(branches[1]["error"]["reason"], "UNREACHABLE");
    let answer = http.get("/v1/accounts/delhi%2F1");
    assert_eq!((answer.status, answer.reason().as_str()), (503, "UNREACHABLE"));
}

#[test]
fn the_journal_is_downloaded_in_every_format() {
    let server = Server::start();
    let http = Http(server.address());
    for _ in 0..2 {
        http.post("/v1/accounts", r#"{"name":"=SUM(A1)","deposit":"10"}"#);
    }
    http.post("/v1/accounts/1/deposits", r#"{"amount":"5"}"#);
    let csv = http.get("/v1/export");
    assert_eq!(csv.header("content-disposition"), "attachment; filename=\"journal.csv\"");
    assert_eq!((csv.header("content-type"), csv.text.lines().count()), ("text/csv; charset=utf-8", 4));
    let lines = |path: &str| http.get(path).text.lines().count();
    assert_eq!((lines("/v1/export?format=jsonl"), lines("/v1/export?format=jsonl&account=2")), (3, 1));
    assert!(http.get("/v1/export?format=hledger").text.contains("15.00"));
    assert_eq!(http.get("/v1/export?account=9").reason(), "ACCOUNT_NOT_FOUND");
    assert_eq!(http.get("/v1/export?format=xml").reason(), "ARGUMENT_INVALID");
}
