//! The dashboard without a browser: what its pages, files and streams carry. `tests/browser` drives them.

use super::events::{Feed, deposit};
use super::{Http, two_branches};
use crate::support::{Process, Server};

const NASTY: &str = "<script>alert(1)</script>";

fn open(http: Http, branch: &str, body: &str) -> String {
    let answer = http.post(&format!("/v1/accounts?branch={branch}"), body);
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.json()["account"].as_str().unwrap().to_owned()
}

#[test]
fn every_page_shows_every_branch_and_carries_nothing_inline() {
    let (mumbai, delhi) = two_branches(|config| config);
    let http = Http(mumbai.address());
    let asha = open(http, "mumbai", r#"{"name":"Asha","deposit":"1234567.80"}"#);
    let nasty = open(http, "delhi", &format!(r#"{{"name":"{NASTY}","deposit":"1"}}"#));
    let moved = http
        .post("/v1/transfers", &format!(r#"{{"source":"{asha}","destination":"{nasty}","amount":"2.50"}}"#));
    let transfer = moved.json()["transfer"].as_str().unwrap().replace(':', "/");
    let pages = [
        ("/".to_owned(), vec!["mumbai", "delhi"]),
        ("/accounts".to_owned(), vec!["Asha", "1,234,565", "&lt;script&gt;alert(1)&lt;/script&gt;"]),
        (format!("/accounts/{asha}"), vec!["1,234,565", "delhi/", "Statement"]),
        ("/transfers".to_owned(), vec!["Committed", "2", "delhi"]),
        (format!("/transfers/{transfer}"), vec!["Prepare: votes", "Commit: the money arrives"]),
        ("/operations".to_owned(), vec!["Transfer out: begin", "Transfer in: prepare"]),
        ("/operations?branch=delhi&from=1".to_owned(), vec!["Branch delhi from sequence 1", "Open account"]),
        ("/cluster".to_owned(), vec!["mumbai", "delhi"]),
        ("/scenarios".to_owned(), vec!["plays no scenarios"]),
    ];
    for (path, texts) in pages {
        let page = http.get(&path);
        assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"), "{path}");
        assert!(page.header("content-security-policy").contains("script-src 'self'"), "{path}");
        assert!(!page.text.contains(NASTY), "{path}");
        assert!(!page.text.contains(" style=") && !page.text.contains("<style"), "{path}");
        for text in texts {
            assert!(page.text.contains(text), "{path} shows {text}: {}", page.text);
        }
    }
    drop(delhi);
}

#[test]
fn what_is_no_page_says_so_and_what_was_typed_finds_its_account() {
    let server = Server::start();
    let http = Http(server.address());
    for path in ["/accounts/main/0", "/accounts/MAIN/1", "/transfers/main/x", "/account?account=nonsense"] {
        let page = http.get(path);
        assert_eq!((page.status, page.header("content-type")), (404, "text/html; charset=utf-8"), "{path}");
    }
    let found = http.get("/account?account=delhi%2F17");
    assert_eq!((found.status, found.header("location")), (303, "/accounts/delhi/17"));
    assert_eq!(http.get("/account?account=17").header("location"), "/accounts/main/17");
    for (path, text) in [
        ("/accounts/main/77", "Account not found"),
        ("/accounts/delhi/1", "is not known here"),
        ("/transfers/main/77", "main:77"),
        ("/transfers/delhi/1", "is not known here"),
    ] {
        let page = http.get(path);
        assert_eq!(page.status, 404, "{path}");
        assert!(page.text.contains(text), "{path}: {}", page.text);
    }
    let program = http.get("/nowhere");
    assert_eq!((program.status, program.header("content-type")), (404, "application/problem+json"));
    let browser =
        http.send("GET", "/nowhere", &[("accept", "text/html,application/xhtml+xml,*/*;q=0.8")], "");
    assert_eq!((browser.status, browser.header("content-type")), (404, "text/html; charset=utf-8"));
    assert!(browser.text.contains("There is no such page"), "{}", browser.text);
    assert_eq!(http.get("/assets/none.js").status, 404);
    assert_eq!(http.post("/accounts", "{}").status, 405);
    assert_eq!(http.post("/scenarios/play", "[]").status, 404, "this server has no player");
}

#[test]
fn scenario_files_are_played_only_by_a_server_that_was_started_with_lab() {
    let file = r#"[{"id":1,"type":"customer","events":[{"id":1,"interface":"deposit","money":40}]},
        {"id":1,"type":"branch","balance":250}]"#;
    let plain = Process::start(&["127.0.0.1", "0", "1"], &[]);
    let refused = Http(plain.address()).post("/scenarios/play", file);
    assert_eq!((refused.status, refused.reason().as_str()), (404, "UNIMPLEMENTED"));
    assert!(refused.text.contains("--lab"), "{}", refused.text);
    let page = Http(plain.address()).get("/").text;
    assert!(!page.contains("href=\"/scenarios\""), "the menu names what is there: {page}");
    let lab = Process::start(&["127.0.0.1", "0", "1", "--lab"], &[]);
    let played = Http(lab.address()).post("/scenarios/play", file);
    assert_eq!(played.status, 200, "{played:?}");
    assert!(played.json()["html"].as_str().unwrap().contains("290"), "{played:?}");
    assert!(Http(lab.address()).get("/").text.contains("href=\"/scenarios\""));
}

#[test]
fn a_page_is_told_what_changed_and_nothing_else() {
    let server = Server::start();
    let http = Http(server.address());
    let account = open(http, "main", &format!(r#"{{"name":"{NASTY}","deposit":"1"}}"#));
    let mut feed = Feed::open(server.address(), &format!("/live/accounts/{account}"), None);
    let first = feed.next().unwrap();
    assert_eq!(first.name, "regions");
    assert!(first.data["account"].as_str().unwrap().contains("&lt;script&gt;"));
    assert!(first.data["statement"].as_str().unwrap().contains("Open account"));
    deposit(http, &account.replace('/', "%2F"));
    let mut statement = String::new();
    while !statement.contains("Deposit") {
        let event = feed.next().unwrap();
        assert!(event.data.as_object().unwrap().len() < 5, "only what changed: {event:?}");
        event.data["statement"].as_str().unwrap_or_default().clone_into(&mut statement);
    }
    assert!(!statement.contains("Chart"));
}

#[test]
fn the_feed_of_operations_goes_on_where_it_was_and_passes_only_what_is_wanted() {
    let server = Server::start();
    let http = Http(server.address());
    let account = open(http, "main", "{}").replace('/', "%2F");
    let rows = |feed: &mut Feed| feed.next().unwrap().data["rows"].as_str().unwrap().to_owned();
    let mut feed = Feed::open(server.address(), "/live/operations?after=main%3D1%3B", None);
    deposit(http, &account);
    assert!(rows(&mut feed).contains("data-key=\"main:2\""));
    let reached = feed.last_id.clone();
    assert_eq!(reached, "main=2;");
    drop(feed);
    deposit(http, &account);
    let refused = http.post(&format!("/v1/accounts/{account}/withdrawals"), r#"{"amount":"9"}"#);
    assert_eq!(refused.reason(), "INSUFFICIENT_FUNDS");
    let mut again = Feed::open(server.address(), "/live/operations", Some(&reached));
    let mut told = rows(&mut again);
    while !told.contains("main:4") {
        told += &rows(&mut again);
    }
    assert!(told.contains("main:3") && !told.contains("main:2"), "{told}");
    let mut only = Feed::open(server.address(), "/live/operations?result=refused&after=main%3D0%3B", None);
    let told = rows(&mut only);
    assert!(told.contains("main:4") && !told.contains("main:3"), "{told}");
}

#[test]
fn the_csv_has_the_columns_of_the_older_page() {
    let server = Server::start();
    let http = Http(server.address());
    open(http, "main", r#"{"deposit":"5"}"#);
    http.post("/v1/accounts/1/withdrawals", r#"{"amount":"7"}"#);
    let file = http.get("/operations.csv");
    assert_eq!(file.header("content-disposition"), "attachment; filename=\"operations.csv\"");
    let lines: Vec<&str> = file.text.lines().collect();
    assert_eq!(lines[0], "Time,Branch,Account,Action,Result");
    assert!(lines[1].ends_with("Z,main,main/1,OPEN 5.00,DONE"), "{}", lines[1]);
    assert!(lines[2].ends_with("Z,main,main/1,WITHDRAW 7.00,INSUFFICIENT_FUNDS"), "{}", lines[2]);
    assert_eq!(http.get("/operations.csv?account=2").text.lines().count(), 1);
    // What is shown on the page can be downloaded by the same wishes.
    for (query, count) in
        [("branch=main", 2), ("result=refused", 1), ("kind=OPEN&result=done", 1), ("kind=HOLD", 0)]
    {
        let file = http.get(&format!("/operations.csv?{query}"));
        assert_eq!((file.status, file.text.lines().count()), (200, count + 1), "{query}");
    }
    for (query, reason) in [
        ("branch=foo", "BRANCH_UNKNOWN"),
        ("account=foo/1", "BRANCH_UNKNOWN"),
        ("branch=no%20name", "ARGUMENT_INVALID"),
        ("account=one", "ACCOUNT_SYNTAX"),
    ] {
        let refused = http.get(&format!("/operations.csv?{query}"));
        assert_eq!(refused.reason(), reason, "{query}");
    }
}

/// A server in memory comes back with another ledger, and tabs that knew the old one are still open.
#[test]
fn a_session_of_a_ledger_that_is_no_more_does_not_keep_a_page_from_being_shown() {
    let (old, new) = (Server::start(), Server::start());
    let token = Http(old.address()).post("/v1/accounts", "{}").header("bank-session").to_owned();
    let http = Http(new.address());
    let account = open(http, "main", r#"{"deposit":"31.70"}"#);
    let refused = http.send("GET", "/v1/accounts/1", &[("bank-session", &token)], "");
    assert_eq!(refused.reason(), "SESSION_UNKNOWN");
    for path in [format!("/live/accounts/{account}"), "/live/accounts".to_owned()] {
        let mut feed = Feed::open(new.address(), &format!("{path}?session={token}"), None);
        let regions = feed.next().unwrap().data.to_string();
        assert!(regions.contains("31<span class=\\\"cents\\\">.70"), "{path}: {regions}");
    }
}
