//! Holds over HTTP: reserve money, take all or part of it later, or let go; and the states of accounts.

use std::time::Duration;

use axum::http::StatusCode;

use crate::client;
use crate::client::AccountState;

use super::accounts::{CONSISTENCY, PAGE_SIZE, PAGE_TOKEN, VALIDATE_ONLY};
use super::call::Call;
use super::fields::Takes::{Amount, Count, OneOf};
use super::fields::{optional, required};
use super::money_views::{HoldChanged, HoldShown, Holds, StateSet};
use super::problem::Problem;
use super::reply::Reply;
use super::routes::{Method, Route, json};

/// The states that an account can be given.
const STATES: [AccountState; 3] = [AccountState::Open, AccountState::Frozen, AccountState::Closed];

/// The routes of holds and of states.
pub(super) const ROUTES: &[Route] = &[
    Route {
        method: Method::Patch,
        path: "/v1/accounts/{account}",
        name: "setAccountState",
        summary: "Freeze an account, close it, or open it again",
        query: &[VALIDATE_ONLY],
        body: Some(&[
            required("state", OneOf(&["OPEN", "FROZEN", "CLOSED"]), "The state it shall have."),
            optional(
                "from",
                OneOf(&["OPEN", "FROZEN", "CLOSED"]),
                "The state it must have: FROZEN to lift a freeze, CLOSED to open a closed account again. Any that the change allows when not given.",
            ),
        ]),
        answers: json!(200, StateSet),
        handler: |call| Box::pin(set_state(call)),
    },
    Route {
        method: Method::Post,
        path: "/v1/accounts/{account}/holds",
        name: "placeHold",
        summary: "Reserve money of an account",
        query: &[VALIDATE_ONLY],
        body: Some(&[
            required("amount", Amount, "How much, as a string with at most two decimals."),
            optional(
                "expiresInSeconds",
                Count,
                "After how many seconds it ends by itself; never when not given.",
            ),
        ]),
        answers: json!(201, HoldChanged),
        handler: |call| Box::pin(place(call)),
    },
    Route {
        method: Method::Get,
        path: "/v1/accounts/{account}/holds",
        name: "listHolds",
        summary: "List the active holds of an account, oldest first",
        query: &[PAGE_SIZE, PAGE_TOKEN, CONSISTENCY],
        body: None,
        answers: json!(200, Holds),
        handler: |call| Box::pin(list(call)),
    },
    Route {
        method: Method::Get,
        path: "/v1/holds/{hold}",
        name: "getHold",
        summary: "Look at a hold",
        query: &[CONSISTENCY],
        body: None,
        answers: json!(200, HoldShown),
        handler: |call| Box::pin(show(call)),
    },
    Route {
        method: Method::Post,
        path: "/v1/holds/{hold}/capture",
        name: "captureHold",
        summary: "Take reserved money, all or part of it; the rest is let go",
        query: &[VALIDATE_ONLY],
        body: Some(&[optional("amount", Amount, "How much; all of it when not given.")]),
        answers: json!(200, HoldChanged),
        handler: |call| Box::pin(capture(call)),
    },
    Route {
        method: Method::Post,
        path: "/v1/holds/{hold}/release",
        name: "releaseHold",
        summary: "Let reserved money go",
        query: &[VALIDATE_ONLY],
        body: Some(&[]),
        answers: json!(200, HoldChanged),
        handler: |call| Box::pin(release(call)),
    },
];

async fn set_state(call: Call) -> Result<Reply, Problem> {
    let account = call.part("account");
    // The table of fields lets no other word through.
    let named = |field| STATES.into_iter().find(|state| state.as_str() == call.body.text(field));
    let state = named("state").unwrap_or(AccountState::Unknown);
    let bank = call.house.bank.of_account(account)?;
    let set = bank.change_account_state(account, named("from"), state, &call.options()?).await?;
    let (seen, replayed) = (set.seen.clone(), set.named.replayed);
    Ok(Reply::json(&StateSet::from(set)).seen(&seen).replayed(replayed))
}

async fn place(call: Call) -> Result<Reply, Problem> {
    let (account, amount) = (call.part("account"), call.body.text("amount"));
    let expires_in = call.body.count("expiresInSeconds")?.map(Duration::from_secs);
    let options = call.options()?;
    let placed =
        call.house.bank.of_account(account)?.place_hold(account, amount, expires_in, &options).await?;
    let name = placed.hold.hold.clone();
    let reply = changed(placed).status(StatusCode::CREATED);
    Ok(if options.validate_only { reply } else { reply.location("/v1/holds", &name) })
}

async fn list(call: Call) -> Result<Reply, Problem> {
    let account = call.part("account");
    let page = call.house.bank.of_account(account)?.holds(account, call.page()?, &call.options()?).await?;
    let (seen, token) = (page.seen.clone(), page.next_page_token.clone());
    Ok(Reply::json(&Holds::from(page)).seen(&seen).next_page(&call, &token))
}

async fn show(call: Call) -> Result<Reply, Problem> {
    let name = call.part("hold");
    let shown = call.house.bank.of_name(name)?.hold(name, &call.options()?).await?;
    let seen = shown.seen.clone();
    Ok(Reply::json(&HoldShown::from(shown)).seen(&seen))
}

async fn capture(call: Call) -> Result<Reply, Problem> {
    let (name, amount) = (call.part("hold"), call.body.text("amount"));
    Ok(changed(call.house.bank.of_name(name)?.capture_hold(name, amount, &call.options()?).await?))
}

async fn release(call: Call) -> Result<Reply, Problem> {
    let name = call.part("hold");
    Ok(changed(call.house.bank.of_name(name)?.release_hold(name, &call.options()?).await?))
}

fn changed(changed: client::HoldChanged) -> Reply {
    let (seen, replayed) = (changed.seen.clone(), changed.named.replayed);
    Reply::json(&HoldChanged::from(changed)).seen(&seen).replayed(replayed)
}
