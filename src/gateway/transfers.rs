//! Transfers over HTTP, and what became of operations.

use axum::http::StatusCode;

use super::accounts::{BRANCH, CONSISTENCY, VALIDATE_ONLY};
use super::call::Call;
use super::fields::Takes::{Account, Amount};
use super::fields::required;
use super::problem::Problem;
use super::reply::Reply;
use super::routes::{Method, Route, json};
use super::views;

/// The routes of transfers and operations.
pub(super) const ROUTES: &[Route] = &[
    Route {
        method: Method::Post,
        path: "/v1/transfers",
        name: "transfer",
        summary: "Move money from one account to another",
        query: &[VALIDATE_ONLY],
        body: Some(&[
            required("source", Account, "The account that pays."),
            required("destination", Account, "The account that receives."),
            required("amount", Amount, "How much, as a string with at most two decimals."),
        ]),
        answers: json!(201, views::Transfer),
        handler: |call| Box::pin(transfer(call)),
    },
    Route {
        method: Method::Get,
        path: "/v1/operations/{request_id}",
        name: "getOperation",
        summary: "Ask what happened to a request id",
        query: &[BRANCH, CONSISTENCY],
        body: None,
        answers: json!(200, views::Operation),
        handler: |call| Box::pin(operation(call)),
    },
];

async fn transfer(call: Call) -> Result<Reply, Problem> {
    let (source, destination) = (call.body.text("source"), call.body.text("destination"));
    let client = call.house.bank.of_account(source)?;
    let moved = client.transfer(source, destination, call.body.text("amount"), &call.options()?).await?;
    let (seen, replayed) = (moved.seen.clone(), moved.named.replayed);
    let reply = Reply::json(&views::Transfer::from(moved)).status(StatusCode::CREATED);
    Ok(reply.seen(&seen).replayed(replayed))
}

async fn operation(call: Call) -> Result<Reply, Problem> {
    let operation = call.branch()?.operation(call.part("request_id"), &call.options()?).await?;
    let seen = operation.seen.clone();
    Ok(Reply::json(&views::Operation::from(operation)).seen(&seen))
}
