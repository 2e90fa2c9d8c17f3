//! Whether a server lives and is ready, and its figures.

use super::Http;
use crate::support::Server;

fn figure(http: Http, name: &str) -> Option<u64> {
    let text = http.get("/metrics").text;
    let line = text.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')))?;
    line.rsplit(' ').next().unwrap().parse().ok()
}

#[test]
fn a_server_says_that_it_lives_and_is_ready() {
    let server = Server::start();
    let http = Http(server.address());
    assert_eq!((http.get("/healthz").status, http.get("/readyz").status), (200, 200));
}

#[test]
fn figures_count_what_happens() {
    let server = Server::start();
    let http = Http(server.address());
    http.post("/v1/accounts", "");
    for amount in ["1", "2", "x"] {
        http.post("/v1/accounts/1/deposits", &format!(r#"{{"amount":"{amount}"}}"#));
    }
    let deposits = |outcome: &str| {
        figure(http, &format!("bank_operations_total{{kind=\"deposit\",outcome=\"{outcome}\"}}"))
    };
    assert_eq!((deposits("OK"), deposits("AMOUNT_SYNTAX")), (Some(2), Some(1)));
    assert_eq!(figure(http, "bank_operation_duration_seconds_count{kind=\"deposit\"}"), Some(3));
    assert_eq!((figure(http, "bank_sequence"), figure(http, "bank_raft_is_leader")), (Some(3), Some(1)));
    assert_eq!((figure(http, "bank_storage_full"), figure(http, "bank_draining")), (Some(0), Some(0)));
    assert_eq!(figure(http, "bank_http_requests_in_flight"), Some(1));
}

#[test]
fn a_replica_without_its_group_lives_and_is_not_ready() {
    let config = bank::server::Config {
        port: 0,
        replica: bank::model::ReplicaId(1),
        peers: [(1, "127.0.0.1:1"), (2, "127.0.0.1:2")]
            .map(|(id, address)| (bank::model::ReplicaId(id), address.to_owned()))
            .into(),
        ..bank::server::Config::new("main".parse().unwrap())
    };
    let server = Server::of(&config);
    let http = Http(server.address());
    assert_eq!(http.get("/healthz").status, 200);
    let answer = http.get("/readyz");
    assert_eq!((answer.status, answer.reason().as_str()), (503, "STARTING"));
}
