//! Lists over HTTP, a page at a time, by following the links.

use serde_json::{Value, json};

use super::Http;
use crate::support::Server;

/// All items of a list, page after page.
fn follow(http: Http, path: &str, items: &str) -> Vec<Value> {
    let (mut all, mut next) = (Vec::new(), Some(path.to_owned()));
    while let Some(path) = next {
        let page = http.get(&path);
        assert_eq!(page.status, 200, "{page:?}");
        let page_items = page.json()[items].as_array().unwrap().clone();
        let link = page.header("link");
        assert_eq!(link.is_empty(), page.json()["nextPageToken"] == "", "{page:?}");
        next = link.strip_prefix('<').map(|link| link.strip_suffix(">; rel=\"next\"").unwrap().to_owned());
        assert!(!page_items.is_empty() || next.is_none());
        all.extend(page_items);
    }
    all
}

fn ready() -> (Server, Http) {
    let server = Server::start();
    let http = Http(server.address());
    for _ in 0..7 {
        http.post("/v1/accounts", r#"{"deposit":"10"}"#);
    }
    (server, http)
}

#[test]
fn accounts_come_by_number() {
    let (_server, http) = ready();
    let names: Vec<Value> = follow(http, "/v1/accounts?page_size=3", "accounts")
        .iter()
        .map(|one| one["account"].clone())
        .collect();
    assert_eq!(names, (1..=7).map(|n| json!(format!("main/{n}"))).collect::<Vec<_>>());
}

#[test]
fn a_statement_comes_in_both_orders_and_as_of_a_moment() {
    let (_server, http) = ready();
    for _ in 0..4 {
        http.post("/v1/accounts/1/deposits", r#"{"amount":"1"}"#);
    }
    let balances = |path: &str| -> Vec<String> {
        let entries = follow(http, path, "entries");
        entries.iter().map(|entry| entry["balance"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(balances("/v1/accounts/1/entries?page_size=2"), ["14.00", "13.00", "12.00", "11.00", "10.00"]);
    assert_eq!(
        balances("/v1/accounts/1/entries?order=oldest_first&as_of=9&page_size=2"),
        ["10.00", "11.00", "12.00"]
    );
    assert_eq!(balances("/v1/accounts/1/entries?as_of=2020-01-01T00:00:00Z"), Vec::<String>::new());
    assert_eq!(http.get("/v1/accounts/1/entries?as_of=yesterday").reason(), "ARGUMENT_INVALID");
}

#[test]
fn the_journal_comes_in_both_orders_with_what_was_refused() {
    let (_server, http) = ready();
    http.post("/v1/accounts/1/withdrawals", r#"{"amount":"99"}"#);
    let sequences = |path: &str| -> Vec<u64> {
        let records = follow(http, path, "records");
        records.iter().map(|record| record["sequence"].as_u64().unwrap()).collect()
    };
    assert_eq!(sequences("/v1/journal?page_size=3"), [8, 7, 6, 5, 4, 3, 2, 1]);
    assert_eq!(sequences("/v1/journal?order=oldest_first&page_size=3"), [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(sequences("/v1/journal?order=oldest_first&from=7"), [7, 8]);
    assert_eq!(sequences("/v1/journal?from=2"), [2, 1]);
    let newest = &http.get("/v1/journal?page_size=1").json()["records"][0];
    assert_eq!(
        (&newest["kind"], &newest["error"]["reason"]),
        (&json!("WITHDRAW"), &json!("INSUFFICIENT_FUNDS"))
    );
}

#[test]
fn a_page_token_goes_with_its_own_query() {
    let (_server, http) = ready();
    for path in ["/v1/accounts", "/v1/accounts/1/entries", "/v1/journal"] {
        let answer = http.get(&format!("{path}?page_token=nonsense"));
        assert_eq!((answer.status, answer.reason().as_str()), (400, "PAGE_TOKEN_INVALID"), "{path}");
        let negative = http.get(&format!("{path}?page_size=-1"));
        assert_eq!(negative.reason(), "ARGUMENT_INVALID", "{path}");
    }
}
