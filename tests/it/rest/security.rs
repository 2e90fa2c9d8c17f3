//! Foreign pages, foreign names, and requests that are too big, too slow or nonsense.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use bank::server::Limits;

use super::Http;
use crate::support::{Raw, Server};

fn ready() -> (Server, Http) {
    let server = Server::start();
    let http = Http(server.address());
    assert_eq!(http.post("/v1/accounts", r#"{"deposit":"5"}"#).status, 201);
    (server, http)
}

#[test]
fn every_answer_is_armoured() {
    let (_server, http) = ready();
    for path in ["/v1/accounts", "/docs", "/nothing", "/healthz"] {
        let answer = http.get(path);
        let policy = answer.header("content-security-policy");
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("referrer-policy"), "no-referrer", "{path}");
        assert_eq!(answer.header("access-control-allow-origin"), "", "{path}");
    }
}

#[test]
fn foreign_names_and_pages_are_refused() {
    let (_server, http) = ready();
    let deposit = |headers: &[(&str, &str)]| {
        let headers = [&[("content-type", "application/json")], headers].concat();
        http.send("POST", "/v1/accounts/1/deposits", &headers, r#"{"amount":"1"}"#)
    };
    let own = format!("http://{}", http.0);
    assert_eq!(deposit(&[("origin", &own)]).status, 200);
    for headers in [
        [("host", "evil.example")].as_slice(),
        &[("origin", "http://evil.example")],
        &[("origin", "null")],
        &[("host", "localhost"), ("host", "evil.example")],
    ] {
        let answer = deposit(headers);
        assert_eq!((answer.status, answer.reason().as_str()), (403, "PERMISSION_DENIED"), "{headers:?}");
    }
    let events = http.send("GET", "/v1/events", &[("origin", "http://evil.example")], "");
    assert_eq!(events.status, 403);
    assert_eq!(http.get("/v1/accounts/1").json()["account"]["balance"], "6.00");
}

#[test]
fn a_page_of_another_site_reaches_no_call_whatever_it_says_to_send() {
    let (_server, http) = ready();
    // A deposit of 1.00 to account 1, as a call of gRPC that a page sends over HTTP/1.1.
    let message = "\0\0\0\0\u{6}\n\u{1}1\u{12}\u{1}1";
    let send =
        |headers: &[(&str, &str)]| http.send("POST", "/bank.v1.BankService/DepositAccount", headers, message);
    for kind in ["application/grpc", "application/grpc+proto", "application/grpc; x=y"] {
        for foreign in [("host", "evil.example"), ("origin", "http://evil.example"), ("origin", "null")] {
            let answer = send(&[("content-type", kind), foreign]);
            assert_eq!(
                (answer.status, answer.reason().as_str()),
                (403, "PERMISSION_DENIED"),
                "{kind} {foreign:?}"
            );
        }
    }
    for kind in [
        "application/grpc-web",
        "application/grpc-web+proto",
        "application/grpc-web-text",
        "application/grpc+json",
    ] {
        let answer = send(&[("content-type", kind)]);
        assert_eq!((answer.status, answer.reason().as_str()), (415, "ARGUMENT_INVALID"), "{kind}");
    }
    assert_eq!(http.get("/v1/accounts/1").json()["account"]["balance"], "5.00");
    // A program may.
    assert_eq!(send(&[("content-type", "application/grpc")]).status, 200);
    assert_eq!(http.get("/v1/accounts/1").json()["account"]["balance"], "6.00");
}

#[test]
fn requests_are_understood_in_every_form_that_http_allows() {
    let (_server, http) = ready();
    let deposit = "/v1/accounts/1/deposits";
    for kind in ["application/json; charset=\"utf-8\"", "application/json;charset=UTF-8", "APPLICATION/JSON"]
    {
        let answer = http.send("POST", deposit, &[("content-type", kind)], r#"{"amount":"1"}"#);
        assert_eq!(answer.status, 200, "{kind}: {answer:?}");
    }
    let absolute = format!("http://{}{deposit}", http.0);
    for host in [http.0.to_string(), "proxy.example".to_owned()] {
        let headers = [("content-type", "application/json"), ("host", host.as_str())];
        let answer = http.send("POST", &absolute, &headers, r#"{"amount":"1"}"#);
        assert_eq!(answer.status, 200, "{host}: {answer:?}");
    }
    assert_eq!(http.get(&format!("http://{}/v1/accounts/1", http.0)).json()["account"]["balance"], "10.00");
}

#[test]
fn a_body_that_is_too_long_is_refused_before_it_is_read() {
    let (_server, http) = ready();
    let long = format!(r#"{{"amount":"{}"}}"#, "1".repeat(300_000));
    let answer = http.post("/v1/accounts/1/deposits", &long);
    assert_eq!((answer.status, answer.reason().as_str()), (413, "MESSAGE_TOO_LARGE"));
    // One that does not say how long it is.
    let mut request = format!(
        "POST /v1/accounts/1/deposits HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n",
        http.0
    );
    for _ in 0..5 {
        request += &format!("10000\r\n{}\r\n", " ".repeat(0x1_0000));
    }
    let answer = http.raw(request.as_bytes());
    assert_eq!((answer.status, answer.reason().as_str()), (413, "MESSAGE_TOO_LARGE"));
    let longest_header = "x".repeat(20_000);
    let answer = http.send("GET", "/v1/accounts", &[("x-long", &longest_header)], "");
    assert_eq!(answer.status, 431);
}

#[test]
fn nonsense_is_refused_as_a_problem() {
    let (_server, http) = ready();
    let deposit = "/v1/accounts/1/deposits";
    let deep = format!(r#"{{"amount":{}1{}}}"#, "[".repeat(33), "]".repeat(33));
    for body in ["{", "[]", r#"{"amount":"1","amount":"2"}"#, r#"{"amount":"1","more":"2"}"#, &deep] {
        let answer = http.post(deposit, body);
        assert_eq!((answer.status, answer.reason().as_str()), (400, "ARGUMENT_INVALID"), "{body}");
    }
    let number = http.post(deposit, r#"{"amount":12.34}"#);
    assert_eq!((number.status, number.reason().as_str()), (400, "AMOUNT_SYNTAX"));
    assert!(number.json()["detail"].as_str().unwrap().contains("JSON string"), "{number:?}");
    for kind in ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin1", ""] {
        let answer = http.send("POST", deposit, &[("content-type", kind)], r#"{"amount":"1"}"#);
        assert_eq!((answer.status, answer.reason().as_str()), (415, "ARGUMENT_INVALID"), "{kind}");
    }
    for (kind, coding) in [("application/json", "gzip"), ("application/json", "br")] {
        let headers = [("content-type", kind), ("content-encoding", coding)];
        let answer = http.send("POST", deposit, &headers, r#"{"amount":"1"}"#);
        assert_eq!((answer.status, answer.reason().as_str()), (415, "ARGUMENT_INVALID"), "{coding}");
        assert!(answer.text.contains(coding), "{answer:?}");
    }
    let bad_part = http.post("/v1/accounts/%ff/deposits", r#"{"amount":"1"}"#);
    assert_eq!(bad_part.status, 404);
    assert_eq!(http.get("/v1/accounts?colour=red").reason(), "ARGUMENT_INVALID");
    assert_eq!(http.get("/v1/accounts/1").json()["account"]["balance"], "5.00");
}

/// A server that waits for nobody.
fn impatient() -> (Server, Http) {
    let server = Server::with(1, Limits { opening: Duration::from_millis(200), ..Limits::default() });
    let http = Http(server.address());
    (server, http)
}

/// What the server says to one that sends this and then nothing more, up to the end of the connection.
fn stalled(http: Http, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(http.0).unwrap();
    stream.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn whoever_dawdles_is_cut_off() {
    let (_server, http) = impatient();
    for opening in
        ["", "P", "PRI * HTT", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nhost: localhost\r\nx-slow: "]
    {
        let answer = stalled(http, opening.as_bytes());
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{opening:?}: {answer}");
    }
    let half = format!(
        "POST /v1/accounts HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{{",
        http.0
    );
    let answer = stalled(http, half.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("ARGUMENT_INVALID"), "{answer}");
    assert_eq!(http.get("/v1/accounts").json()["accounts"], serde_json::json!([]));
}

#[tokio::test]
async fn requests_of_http2_reach_the_gateway_too() {
    let server = Server::start();
    let raw = Raw::connect(server.address()).await;
    let answer = raw.browse("/healthz").await;
    assert_eq!(
        (answer.status, answer.headers["x-content-type-options"].as_bytes()),
        (http::StatusCode::OK, b"nosniff".as_slice())
    );
}
