//! The interface is what its own description says: no route more or less, and every answer of the shape told.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Answer, Http};
use crate::support::Server;

/// What is wrong with a value, as far as its JSON Schema can tell.
fn complaint(document: &Value, schema: &Value, value: &Value, place: &str) -> Option<String> {
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference.strip_prefix("#/components/schemas/").unwrap();
        return complaint(document, &document["components"]["schemas"][name], value, place);
    }
    if let Some(choices) = schema["anyOf"].as_array() {
        let complaints: Vec<String> =
            choices.iter().filter_map(|choice| complaint(document, choice, value, place)).collect();
        return (complaints.len() == choices.len()).then(|| complaints.join(" or "));
    }
    if schema["enum"].as_array().is_some_and(|words| !words.contains(value)) {
        return Some(format!("{place}: {value} is none of {}", schema["enum"]));
    }
    let fits = match schema["type"].as_str() {
        Some("string") => value.is_string(),
        Some("integer") => value.is_u64(),
        Some("boolean") => value.is_boolean(),
        Some("null") => value.is_null(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        other => panic!("{place}: the test does not know the type {other:?}"),
    };
    if !fits {
        return Some(format!("{place}: {value} is no {}", schema["type"]));
    }
    if let Some(items) = value.as_array() {
        let each = |item| complaint(document, &schema["items"], item, &format!("{place}[]"));
        return items.iter().find_map(each);
    }
    let (Some(fields), Some(known)) = (value.as_object(), schema["properties"].as_object()) else {
        return None;
    };
    let (given, told): (BTreeSet<&String>, BTreeSet<&String>) =
        (fields.keys().collect(), known.keys().collect());
    if given != told {
        return Some(format!("{place} has {given:?} and not {told:?}"));
    }
    fields
        .iter()
        .find_map(|(name, value)| complaint(document, &known[name], value, &format!("{place}.{name}")))
}

/// Checks an answer against what the document says of the route.
fn check(document: &Value, method: &str, path: &str, answer: &Answer) {
    let responses = &document["paths"][path][method.to_ascii_lowercase()]["responses"];
    let told = &responses[answer.status.to_string()];
    let told = if told.is_null() { &responses["default"] } else { told };
    let media_type = answer.header("content-type");
    let schema = &told["content"][media_type]["schema"];
    assert!(schema.is_object(), "{method} {path} answers {} as {media_type:?}", answer.status);
    if media_type.ends_with("json") && *schema != json!({}) {
        let complaint = complaint(document, schema, &answer.json(), "answer");
        assert_eq!(complaint, None, "{method} {path}: {}", answer.text);
    }
}

fn document(http: Http) -> Value {
    http.get("/openapi.json").json()
}

#[test]
fn every_route_is_described_and_everything_described_is_a_route() {
    let server = Server::start();
    let http = Http(server.address());
    let document = document(http);
    assert_eq!(document["openapi"], "3.1.0");
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.len() > 10);
    for (path, operations) in paths {
        let described: BTreeSet<String> =
            operations.as_object().unwrap().keys().map(|method| method.to_ascii_uppercase()).collect();
        let url = path.replace(['{', '}'], "");
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
            if described.contains(method) {
                continue;
            }
            let answer = http.send(method, &url, &[], "");
            assert_eq!((answer.status, answer.reason().as_str()), (405, "UNIMPLEMENTED"), "{method} {path}");
            let allowed: BTreeSet<String> = answer
                .header("allow")
                .split(',')
                .map(str::to_owned)
                .filter(|method| method != "HEAD")
                .collect();
            assert_eq!(allowed, described, "{path}");
        }
    }
    assert_eq!(http.get("/v1/nothing").reason(), "UNIMPLEMENTED");
}

#[test]
fn every_answer_has_the_shape_that_is_told() {
    let server = Server::start();
    let http = Http(server.address());
    let document = document(http);
    let mut unasked: BTreeSet<(String, String)> = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for method in operations.as_object().unwrap().keys() {
            unasked.insert((method.to_ascii_uppercase(), path.clone()));
        }
    }
    // Asked by the tests of events, because its answer has no end.
    unasked.remove(&("GET".to_owned(), "/v1/events".to_owned()));
    let mut ask = |method: &str, path: &str, part: &str, body: &str, status: u16| {
        let url = match path.split_once('{') {
            Some((start, rest)) => format!("{start}{part}{}", rest.split_once('}').unwrap().1),
            None => path.to_owned(),
        };
        let answer = match method {
            "POST" | "PATCH" => http.send(
                method,
                &url,
                &[("content-type", "application/json"), ("idempotency-key", part)],
                body,
            ),
            _ => http.get(&url),
        };
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
        check(&document, method, path, &answer);
        unasked.remove(&(method.to_owned(), path.to_owned()));
    };
    let amount = r#"{"amount":"12.34"}"#;
    ask("POST", "/v1/accounts", "one", r#"{"name":"Ada","deposit":"100","overdraftLimit":"5"}"#, 201);
    ask("POST", "/v1/accounts", "two", "", 201);
    ask("GET", "/v1/accounts", "", "", 200);
    ask("GET", "/v1/accounts/{account}", "1", "", 200);
    ask("GET", "/v1/accounts/{account}", "9", "", 404);
    ask("POST", "/v1/accounts/{account}/deposits", "1", amount, 200);
    ask("POST", "/v1/accounts/{account}/withdrawals", "2", amount, 409);
    // The key belongs to the deposit.
    ask("POST", "/v1/accounts/{account}/interest", "1", r#"{"rate":"2.5"}"#, 422);
    ask("POST", "/v1/transfers", "move", r#"{"source":"1","destination":"2","amount":"1"}"#, 201);
    let transfer = transfers(http);
    ask("GET", "/v1/transfers", "", "", 200);
    ask("GET", "/v1/transfers/{transfer}", &transfer, "", 200);
    ask("GET", "/v1/transfers/{transfer}", "99", "", 404);
    let hold = http.post("/v1/accounts/1/holds", r#"{"amount":"7"}"#).json();
    let hold = hold["hold"]["hold"].as_str().unwrap();
    ask("POST", "/v1/accounts/{account}/holds", "1", r#"{"amount":"7","expiresInSeconds":60}"#, 422);
    ask("GET", "/v1/accounts/{account}/holds", "1", "", 200);
    ask("GET", "/v1/holds/{hold}", hold, "", 200);
    ask("POST", "/v1/holds/{hold}/capture", hold, r#"{"amount":"2"}"#, 200);
    ask("POST", "/v1/holds/{hold}/release", "main:99", "", 404);
    ask("PATCH", "/v1/accounts/{account}", "main%2F2", r#"{"state":"FROZEN"}"#, 200);
    ask("GET", "/v1/accounts/{account}/entries", "1", "", 200);
    ask("GET", "/v1/operations/{request_id}", "move", "", 200);
    ask("GET", "/v1/operations/{request_id}", "2", "", 200);
    ask("GET", "/v1/journal", "", "", 200);
    ask("GET", "/v1/export", "", "", 200);
    ask("GET", "/v1/cluster", "", "", 200);
    for path in ["/healthz", "/readyz", "/metrics", "/openapi.json", "/docs", "/docs.css"] {
        ask("GET", path, "", "", 200);
    }
    assert_eq!(unasked, BTreeSet::new());
}

/// The name of the newest transfer.
fn transfers(http: Http) -> String {
    let listed = http.get("/v1/transfers").json();
    listed["transfers"][0]["transfer"].as_str().unwrap().to_owned()
}

#[test]
fn the_page_of_the_interface_needs_nothing_else() {
    let server = Server::start();
    let page = Http(server.address()).get("/docs");
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert!(!page.text.contains("<script") && !page.text.contains("://"), "{}", page.text);
    for reason in bank::model::Reason::ALL {
        assert!(page.text.contains(&format!("id=\"{}\"", reason.as_str())));
    }
}
