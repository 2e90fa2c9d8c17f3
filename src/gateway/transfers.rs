//! Transfers over HTTP, inside a branch and between branches, and what became of operations.

use axum::http::StatusCode;
use serde_json::{Map, Value};

use super::accounts::{BRANCH, CONSISTENCY, PAGE_SIZE, PAGE_TOKEN, VALIDATE_ONLY};
use super::call::Call;
use super::fields::Takes::{Account, Amount, Flag};
use super::fields::{optional, required};
use super::money_views::{TransferShown, Transferred, Transfers};
use super::problem::{PROBLEM_JSON, Problem};
use super::reply::{Reply, document};
use super::routes::{Method, Route, json};
use super::views::Operation;
use crate::client::{self, TransferState};
use crate::model::{Failure, Reason};

/// The routes of transfers and operations.
pub(super) const ROUTES: &[Route] = &[
    Route {
        method: Method::Post,
        path: "/v1/transfers",
        name: "transfer",
        summary: "Move money from one account to another; between branches the answer may still be PENDING",
        query: &[VALIDATE_ONLY],
        body: Some(&[
            required("source", Account, "The account that pays."),
            required("destination", Account, "The account that receives."),
            required("amount", Amount, "How much, as a string with at most two decimals."),
        ]),
        answers: json!(201, Transferred),
        handler: |call| Box::pin(transfer(call)),
    },
    Route {
        method: Method::Get,
        path: "/v1/transfers",
        name: "listTransfers",
        summary: "List the transfers of a branch, newest first; or those in doubt, oldest first",
        query: &[
            BRANCH,
            optional("in_doubt", Flag, "Only those that are not finished."),
            PAGE_SIZE,
            PAGE_TOKEN,
            CONSISTENCY,
        ],
        body: None,
        answers: json!(200, Transfers),
        handler: |call| Box::pin(list(call)),
    },
    Route {
        method: Method::Get,
        path: "/v1/transfers/{transfer}",
        name: "getTransfer",
        summary: "Look at a transfer and what has happened to it",
        query: &[CONSISTENCY],
        body: None,
        answers: json!(200, TransferShown),
        handler: |call| Box::pin(show(call)),
    },
    Route {
        method: Method::Get,
        path: "/v1/operations/{request_id}",
        name: "getOperation",
        summary: "Ask what happened to a request id",
        query: &[BRANCH, CONSISTENCY],
        body: None,
        answers: json!(200, Operation),
        handler: |call| Box::pin(operation(call)),
    },
];

async fn transfer(call: Call) -> Result<Reply, Problem> {
    let (source, destination) = (call.body.text("source"), call.body.text("destination"));
    let client = call.house.bank.of_account(source)?;
    let options = call.options()?;
    let moved = client.transfer(source, destination, call.body.text("amount"), &options).await?;
    let (name, seen, replayed) = (moved.transfer.clone(), moved.seen.clone(), moved.named.replayed);
    let reply = match moved.state {
        TransferState::Aborted => aborted(moved),
        TransferState::Pending | TransferState::Committed | TransferState::Unknown => {
            Reply::json(&Transferred::from(moved)).status(StatusCode::CREATED)
        }
    };
    let reply = reply.seen(&seen).replayed(replayed);
    Ok(if options.validate_only { reply } else { reply.location("/v1/transfers", &name) })
}

/// A transfer that the other branch refused: a problem with the fields of the transfer besides. The conflict stays,
/// whatever the other branch's reason is, because this transfer is over.
fn aborted(moved: client::Transferred) -> Reply {
    let reason = Reason::named(&moved.reason).unwrap_or(Reason::TransferAborted);
    let failure = Failure::new(reason, moved.message.clone()).with("transfer", &moved.transfer);
    let problem = Problem::with_status(StatusCode::CONFLICT, failure);
    let members = |view: serde_json::Result<Value>| match view {
        Ok(Value::Object(members)) => members,
        Ok(_) | Err(_) => Map::new(),
    };
    let mut body = members(serde_json::to_value(Transferred::from(moved)));
    body.extend(members(serde_json::to_value(problem.view())));
    Reply::bytes(PROBLEM_JSON, document(&body)).status(StatusCode::CONFLICT)
}

async fn list(call: Call) -> Result<Reply, Problem> {
    let in_doubt = call.query.flag("in_doubt");
    let page = call.branch()?.transfers(in_doubt, call.page()?, &call.options()?).await?;
    let (seen, token) = (page.seen.clone(), page.next_page_token.clone());
    Ok(Reply::json(&Transfers::from(page)).seen(&seen).next_page(&call, &token))
}

async fn show(call: Call) -> Result<Reply, Problem> {
    let name = call.part("transfer");
    let shown = call.house.bank.of_name(name)?.transfer_shown(name, &call.options()?).await?;
    let seen = shown.seen.clone();
    Ok(Reply::json(&TransferShown::from(shown)).seen(&seen))
}

async fn operation(call: Call) -> Result<Reply, Problem> {
    let operation = call.branch()?.operation(call.part("request_id"), &call.options()?).await?;
    let seen = operation.seen.clone();
    Ok(Reply::json(&Operation::from(operation)).seen(&seen))
}
