//! The error catalogue over HTTP: every reason that can be brought about here comes as a problem with its status.
//!
//! [`provoke`] is a total match: a new reason does not compile until it has a row here.

use bank::model::Reason;
use bank::server::{Config, Limits};

use super::{Answer, Http};
use crate::support::Server;

const JSON: (&str, &str) = ("content-type", "application/json");
const DEPOSITS: &str = "/v1/accounts/1/deposits";
const ONE: &str = r#"{"amount":"1"}"#;

/// A server whose account 1 has 10.00, account 2 nothing, account 3 nothing but a limit, account 4 is frozen and
/// account 5 closed. The way to the branch delhi leads nowhere.
fn world() -> Server {
    let routes = [("delhi".parse().unwrap(), vec!["127.0.0.1:1".to_owned()])].into();
    let server = Server::of(&Config { port: 0, routes, ..Config::new("main".parse().unwrap()) });
    let http = Http(server.address());
    for body in [r#"{"deposit":"10"}"#, "", r#"{"overdraftLimit":"5"}"#, "", ""] {
        assert_eq!(http.post("/v1/accounts", body).status, 201);
    }
    for (account, state) in [(4, "FROZEN"), (5, "CLOSED")] {
        assert_eq!(set_state(http, account, state).status, 200);
    }
    server
}

fn set_state(http: Http, account: u64, state: &str) -> Answer {
    http.send("PATCH", &format!("/v1/accounts/{account}"), &[JSON], &format!(r#"{{"state":"{state}"}}"#))
}

fn deposit_with(http: Http, header: (&str, &str)) -> Answer {
    http.send("POST", DEPOSITS, &[JSON, header], ONE)
}

/// Provokes a reason; none for those that need more than one healthy server.
fn provoke(http: Http, reason: Reason) -> Option<Answer> {
    let deposit = |body: &str| http.post(DEPOSITS, body);
    let into = |account: &str| http.post(&format!("/v1/accounts/{account}/deposits"), ONE);
    let open = |body: &str| http.post("/v1/accounts", body);
    Some(match reason {
        Reason::AmountMissing => deposit("{}"),
        Reason::AmountSyntax => deposit(r#"{"amount":"1e3"}"#),
        Reason::AmountPrecision => deposit(r#"{"amount":"1.234"}"#),
        Reason::AmountNotPositive => deposit(r#"{"amount":"0"}"#),
        Reason::AmountOverflow => deposit(r#"{"amount":"999999999999.99"}"#),
        Reason::RateOutOfRange => http.post("/v1/accounts/1/interest", r#"{"rate":"101"}"#),
        Reason::AccountSyntax => into("x"),
        Reason::NameTooLong => open(&format!(r#"{{"name":"{}"}}"#, "x".repeat(65))),
        Reason::NameSyntax => open(r#"{"name":"\u202eevil"}"#),
        Reason::PageTokenInvalid => http.get("/v1/accounts?page_token=AAAA"),
        Reason::RequestIdInvalid => deposit_with(http, ("idempotency-key", "a b")),
        Reason::ArgumentInvalid => http.get("/v1/accounts?page_size=-1"),
        Reason::RequestReused => reused(http),
        Reason::AccountNotFound => into("77"),
        Reason::TransferNotFound => http.get("/v1/transfers/99"),
        Reason::HoldNotFound => http.get("/v1/holds/99"),
        Reason::BranchUnknown => into("goa%2F1"),
        Reason::PermissionDenied => deposit_with(http, ("origin", "http://evil.example")),
        Reason::AccountExists => open(r#"{"account":"1"}"#),
        Reason::InsufficientFunds => http.post("/v1/accounts/2/withdrawals", ONE),
        Reason::AccountFrozen => into("4"),
        Reason::AccountClosed => into("5"),
        Reason::BalanceNotZero => set_state(http, 1, "CLOSED"),
        Reason::AccountInUse => in_use(http),
        Reason::HoldFinal => final_hold(http),
        Reason::SameAccount => http.post("/v1/transfers", r#"{"source":"1","destination":"1","amount":"1"}"#),
        Reason::SessionUnknown => foreign_session(http),
        Reason::Unreachable => into("delhi%2F1"),
        Reason::Overloaded => overloaded(),
        Reason::MessageTooLarge => deposit(&" ".repeat(256 * 1024 + 1)),
        Reason::Unimplemented => http.get("/v1/nothing"),
        // Batches are for gRPC, scenarios for the client; the rest needs other replicas, other branches, a full disk, a
        // million commands or a fault of ours. All of them pass through the one mapping that has a test of its own.
        Reason::BatchTooLarge
        | Reason::BatchAborted
        | Reason::ScenarioInvalid
        | Reason::RequestExpired
        | Reason::JournalTrimmed
        | Reason::TransferFinal
        | Reason::TransferMismatch
        | Reason::TransferAborted
        | Reason::TooManyOpen
        | Reason::ChangeRefused
        | Reason::NoLeader
        | Reason::NoQuorum
        | Reason::ReplicaBehind
        | Reason::Starting
        | Reason::Stopping
        | Reason::StorageFull
        | Reason::OutcomeUnknown
        | Reason::Internal => return None,
    })
}

fn reused(http: Http) -> Answer {
    assert_eq!(
        http.send("POST", DEPOSITS, &[JSON, ("idempotency-key", "x")], r#"{"amount":"2"}"#).status,
        200
    );
    deposit_with(http, ("idempotency-key", "x"))
}

fn in_use(http: Http) -> Answer {
    assert_eq!(http.post("/v1/accounts/3/holds", ONE).status, 201);
    set_state(http, 3, "CLOSED")
}

fn final_hold(http: Http) -> Answer {
    let hold = http.post("/v1/accounts/1/holds", ONE).header("location").to_owned();
    assert_eq!(http.post(&format!("{hold}/release"), "").status, 200);
    http.post(&format!("{hold}/release"), "")
}

fn foreign_session(http: Http) -> Answer {
    let other = Server::start();
    let token = Http(other.address()).post("/v1/accounts", "").header("bank-session").to_owned();
    deposit_with(http, ("bank-session", &token))
}

fn overloaded() -> Answer {
    let full = Server::with(1, Limits { calls_per_thread: 0, ..Limits::default() });
    let answer = Http(full.address()).get("/v1/accounts");
    assert_eq!(answer.header("retry-after"), "1");
    answer
}

#[test]
fn every_reason_is_a_problem_with_its_status() {
    let server = world();
    let http = Http(server.address());
    for reason in Reason::ALL {
        let Some(answer) = provoke(http, *reason) else { continue };
        assert_eq!(answer.reason(), reason.as_str(), "{answer:?}");
        // What is not there at all has a status of HTTP's own.
        let status = if *reason == Reason::Unimplemented { 404 } else { reason.http() };
        assert_eq!(answer.status, status, "{answer:?}");
        let problem = answer.json();
        assert_eq!(problem["type"], format!("/docs#{}", reason.as_str()));
        assert!(!problem["detail"].as_str().unwrap().is_empty() && problem["metadata"].is_object());
    }
}
