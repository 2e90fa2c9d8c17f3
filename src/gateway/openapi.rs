//! The interface, described: OpenAPI 3.1 for programs and one page for people, both made from the routes and
//! the types that answer, so neither can say anything else than what is served.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use crate::model::Reason;

use super::call::{BANK_SESSION, Call, IDEMPOTENCY_KEY};
use super::fields::{Field, Takes};
use super::problem::{PROBLEM_JSON, Problem, ProblemView};
use super::reply::{IDEMPOTENCY_REPLAYED, Reply};
use super::routes::{Answers, Method, Route, all};
use super::shape::{Described as _, Parts};

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";

/// The routes of the description itself.
pub(super) const ROUTES: &[Route] = &[
    Route {
        method: Method::Get,
        path: "/openapi.json",
        name: "getOpenApi",
        summary: "This interface as an OpenAPI 3.1 document",
        query: &[],
        body: None,
        answers: Answers { status: 200, media_type: "application/json", shape: None },
        handler: |_| Box::pin(async { Ok(Reply::json(&document())) }),
    },
    Route {
        method: Method::Get,
        path: "/docs",
        name: "getDocs",
        summary: "This interface and the error catalogue, for people",
        query: &[],
        body: None,
        answers: Answers { status: 200, media_type: HTML, shape: None },
        handler: |call| Box::pin(docs(call)),
    },
    Route {
        method: Method::Get,
        path: "/docs.css",
        name: "getDocsStyle",
        summary: "How the page of the interface looks",
        query: &[],
        body: None,
        answers: Answers { status: 200, media_type: CSS, shape: None },
        handler: |_| Box::pin(async { Ok(Reply::bytes(CSS, include_str!("assets/docs.css"))) }),
    },
];

/// The OpenAPI document.
pub(super) fn document() -> Value {
    let mut parts = Parts::new();
    let problem = ProblemView::schema(&mut parts);
    let mut paths: Map<String, Value> = Map::new();
    for route in all() {
        let operation = operation(route, &problem, &mut parts);
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method.as_str().to_ascii_lowercase()] = operation;
    }
    let parts: Map<String, Value> = parts.into_iter().map(|(name, shape)| (name.to_owned(), shape)).collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Bank",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The bank over HTTP. Amounts are strings. Every failure is problem JSON with a reason of the catalogue, which /docs explains.",
            "license": { "name": "Apache-2.0 OR MIT", "identifier": "Apache-2.0 OR MIT" },
        },
        "servers": [{ "url": "/" }],
        "paths": paths,
        "components": { "schemas": parts },
    })
}

fn operation(route: &Route, problem: &Value, parts: &mut Parts) -> Value {
    let part = |name: &str| {
        let schema = json!({ "type": "string" });
        json!({ "name": name, "in": "path", "required": true, "schema": schema })
    };
    let in_query = |field: &Field| json!({ "name": field.name, "in": "query", "required": field.required, "schema": field.schema() });
    let in_header = |(name, what): &(&str, &str)| json!({ "name": name, "in": "header", "description": what, "schema": { "type": "string" } });
    let parameters: Vec<Value> = path_parts(route.path)
        .map(part)
        .chain(route.query.iter().map(in_query))
        .chain(headers(route).iter().map(in_header))
        .collect();
    let mut content = Map::new();
    let schema = route.answers.shape.map_or_else(|| json!({}), |shape| shape(parts));
    content.insert(route.answers.media_type.to_owned(), json!({ "schema": schema }));
    let told = |name: &str| (name.to_owned(), json!({ "schema": { "type": "string" } }));
    let answer_headers: Map<String, Value> = match route.method {
        _ if !route.path.starts_with("/v1/") => Map::new(),
        Method::Get => [told(BANK_SESSION)].into_iter().collect(),
        Method::Post | Method::Patch => {
            [told(BANK_SESSION), told(IDEMPOTENCY_REPLAYED)].into_iter().collect()
        }
    };
    let mut responses = Map::new();
    responses.insert(
        route.answers.status.to_string(),
        json!({ "description": "Done.", "headers": answer_headers, "content": content }),
    );
    responses.insert(
        "default".to_owned(),
        json!({ "description": "Not done.", "content": { PROBLEM_JSON: { "schema": problem } } }),
    );
    let mut operation = json!({
        "operationId": route.name,
        "summary": route.summary,
        "parameters": parameters,
        "responses": responses,
    });
    if let Some(fields) = route.body {
        operation["requestBody"] = body(fields);
    }
    operation
}

fn body(fields: &[Field]) -> Value {
    let required: Vec<&str> = fields.iter().filter(|field| field.required).map(|field| field.name).collect();
    let properties: Map<String, Value> =
        fields.iter().map(|field| (field.name.to_owned(), field.schema())).collect();
    let schema = json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    });
    json!({ "required": !required.is_empty(), "content": { "application/json": { "schema": schema } } })
}

/// The headers that a call may carry.
fn headers(route: &Route) -> Vec<(&'static str, &'static str)> {
    if !route.path.starts_with("/v1/") {
        return Vec::new();
    }
    let session = (BANK_SESSION, "What the caller has seen, from the answer before.");
    match route.method {
        _ if route.answers.media_type == super::events::EVENT_STREAM => {
            vec![session, ("last-event-id", "The id of the last event seen; the feed goes on behind it.")]
        }
        Method::Get => vec![session],
        Method::Post | Method::Patch => {
            vec![(IDEMPOTENCY_KEY, "The request id of the write; repeating with it is safe."), session]
        }
    }
}

/// The variable parts of a path.
fn path_parts(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}

async fn docs(_: Call) -> Result<Reply, Problem> {
    let mut page = String::from(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>Bank: interface</title><link rel=\"stylesheet\" href=\"/docs.css\"><h1>The bank over HTTP</h1>\
         <p>Amounts are JSON strings. <code>Idempotency-Key</code> names a write, so that repeating it is safe; \
         <code>Bank-Session</code> carries what you have seen, both ways. Every failure is problem JSON \
         (RFC 9457) with a reason of the <a href=\"#errors\">catalogue</a>. \
         For programs: <a href=\"/openapi.json\">OpenAPI 3.1</a>.<h2>Calls</h2>",
    );
    for route in all() {
        describe(&mut page, route);
    }
    page += "<h2 id=\"errors\">Errors</h2><table><tr><th>Reason<th>HTTP<th>What it means and what to do";
    for reason in Reason::ALL {
        let (name, http) = (reason.as_str(), reason.http());
        let explanation = escaped(reason.explanation());
        append(
            &mut page,
            format_args!("<tr id=\"{name}\"><td><code>{name}</code><td>{http}<td>{explanation}"),
        );
    }
    page += "</table></html>\n";
    Ok(Reply::bytes(HTML, page))
}

fn describe(page: &mut String, route: &Route) {
    let (method, path) = (route.method.as_str(), escaped(route.path));
    let (name, summary) = (route.name, escaped(route.summary));
    append(
        page,
        format_args!(
            "<section id=\"{name}\"><h3><code><span class=\"method\">{method}</span> {path}</code></h3>{summary}."
        ),
    );
    let fields: Vec<(&str, &Field)> = route
        .query
        .iter()
        .map(|field| ("query", field))
        .chain(route.body.into_iter().flatten().map(|field| ("body", field)))
        .collect();
    if !fields.is_empty() {
        *page += "<table>";
        for (place, field) in fields {
            let need = if field.required { ", required" } else { "" };
            let (kind, text) = (kind(field.takes), escaped(field.explanation));
            append(
                page,
                format_args!("<tr><td><code>{}</code><td>{place}{need}<td>{kind}<td>{text}", field.name),
            );
        }
        *page += "</table>";
    }
    *page += "</section>";
}

fn kind(takes: Takes) -> String {
    match takes {
        Takes::Amount => "amount, as a string".to_owned(),
        Takes::Rate => "percent, as a string".to_owned(),
        Takes::Account => "account".to_owned(),
        Takes::Text => "text".to_owned(),
        Takes::Count => "whole number".to_owned(),
        Takes::Flag => "true or false".to_owned(),
        Takes::OneOf(words) => words.join(", "),
    }
}

fn append(page: &mut String, text: std::fmt::Arguments<'_>) {
    page.write_fmt(text).expect("text can always grow");
}

/// Text as it may stand in a page.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            '\'' => escaped += "&#39;",
            other => escaped.push(other),
        }
    }
    escaped
}
