//! Accounts over HTTP: open, list, look, deposit, withdraw, interest, statement.

use axum::http::StatusCode;

use crate::client::{AsOf, EntryOrder, NewAccount, Statement};
use crate::model::{Failure, Reason, Timestamp};

use super::call::Call;
use super::fields::Takes::{Account, Amount, Count, Flag, OneOf, Rate, Text};
use super::fields::{Field, optional, required};
use super::problem::Problem;
use super::reply::Reply;
use super::routes::{Method, Route, json};
use super::views;

/// What every read takes.
pub(super) const CONSISTENCY: Field = optional(
    "consistency",
    OneOf(&["linearizable", "session", "stale"]),
    "How fresh the answer must be; without it as fresh as the session, or linearizable without one.",
);
/// What every list takes.
pub(super) const PAGE_SIZE: Field =
    optional("page_size", Count, "Most items on the page: 50 when not given, at most 1000.");
pub(super) const PAGE_TOKEN: Field =
    optional("page_token", Text, "Where to go on, from the page before; goes with the same query.");
/// What a list of a branch takes.
pub(super) const BRANCH: Field = optional("branch", Text, "The branch; the one served here when not given.");
/// What every write takes.
pub(super) const VALIDATE_ONLY: Field =
    optional("validate_only", Flag, "Answer as if it were done, and change nothing.");

const AMOUNT: Field = required("amount", Amount, "How much, as a string with at most two decimals.");

/// The routes of accounts.
pub(super) const ROUTES: &[Route] = &[
    Route {
        method: Method::Post,
        path: "/v1/accounts",
        name: "openAccount",
        summary: "Open an account",
        query: &[BRANCH, VALIDATE_ONLY],
        body: Some(&[
            optional("account", Account, "The number wanted; the next free one when not given."),
            optional("name", Text, "What to call it, at most 64 characters."),
            optional("deposit", Amount, "The first deposit."),
            optional("overdraftLimit", Amount, "How far below zero the balance may go."),
        ]),
        answers: json!(201, views::Written),
        handler: |call| Box::pin(open(call)),
    },
    Route {
        method: Method::Get,
        path: "/v1/accounts",
        name: "listAccounts",
        summary: "List accounts by number",
        query: &[BRANCH, PAGE_SIZE, PAGE_TOKEN, CONSISTENCY],
        body: None,
        answers: json!(200, views::Accounts),
        handler: |call| Box::pin(list(call)),
    },
    Route {
        method: Method::Get,
        path: "/v1/accounts/{account}",
        name: "getAccount",
        summary: "Look at an account",
        query: &[CONSISTENCY],
        body: None,
        answers: json!(200, views::AccountShown),
        handler: |call| Box::pin(show(call)),
    },
    Route {
        method: Method::Post,
        path: "/v1/accounts/{account}/deposits",
        name: "deposit",
        summary: "Add money to an account",
        query: &[VALIDATE_ONLY],
        body: Some(&[AMOUNT]),
        answers: json!(200, views::Written),
        handler: |call| Box::pin(deposit(call)),
    },
    Route {
        method: Method::Post,
        path: "/v1/accounts/{account}/withdrawals",
        name: "withdraw",
        summary: "Take money from an account",
        query: &[VALIDATE_ONLY],
        body: Some(&[AMOUNT]),
        answers: json!(200, views::Written),
        handler: |call| Box::pin(withdraw(call)),
    },
    Route {
        method: Method::Post,
        path: "/v1/accounts/{account}/interest",
        name: "addInterest",
        summary: "Add a percentage of the balance to an account",
        query: &[VALIDATE_ONLY],
        body: Some(&[required("rate", Rate, "Percent, as a string with at most four decimals.")]),
        answers: json!(200, views::Written),
        handler: |call| Box::pin(interest(call)),
    },
    Route {
        method: Method::Get,
        path: "/v1/accounts/{account}/entries",
        name: "listEntries",
        summary: "Read the statement of an account, with running balance",
        query: &[
            optional("order", OneOf(&["newest_first", "oldest_first"]), "Newest first when not given."),
            optional("as_of", Text, "Up to which sequence, or up to which time (RFC 3339); else everything."),
            PAGE_SIZE,
            PAGE_TOKEN,
            CONSISTENCY,
        ],
        body: None,
        answers: json!(200, views::Entries),
        handler: |call| Box::pin(entries(call)),
    },
];

async fn open(call: Call) -> Result<Reply, Problem> {
    let account = call.body.text("account");
    let names_branch = account.contains('/');
    let client = if names_branch { call.house.bank.of_account(account)? } else { call.branch()? };
    let new = NewAccount {
        account,
        name: call.body.text("name"),
        deposit: call.body.text("deposit"),
        overdraft_limit: call.body.text("overdraftLimit"),
    };
    let options = call.options()?;
    let written = client.open_account(new, &options).await?;
    let reply = write_reply(written.clone()).status(StatusCode::CREATED);
    Ok(if options.validate_only { reply } else { reply.location("/v1/accounts", &written.account) })
}

async fn list(call: Call) -> Result<Reply, Problem> {
    let page = call.branch()?.accounts(call.page()?, &call.options()?).await?;
    let (seen, token) = (page.seen.clone(), page.next_page_token.clone());
    Ok(Reply::json(&views::Accounts::from(page)).seen(&seen).next_page(&call, &token))
}

async fn show(call: Call) -> Result<Reply, Problem> {
    let account = call.part("account");
    let shown = call.house.bank.of_account(account)?.account(account, &call.options()?).await?;
    let seen = shown.seen.clone();
    Ok(Reply::json(&views::AccountShown::from(shown)).seen(&seen))
}

async fn deposit(call: Call) -> Result<Reply, Problem> {
    let (account, amount) = (call.part("account"), call.body.text("amount"));
    let client = call.house.bank.of_account(account)?;
    Ok(write_reply(client.deposit(account, amount, &call.options()?).await?))
}

async fn withdraw(call: Call) -> Result<Reply, Problem> {
    let (account, amount) = (call.part("account"), call.body.text("amount"));
    let client = call.house.bank.of_account(account)?;
    Ok(write_reply(client.withdraw(account, amount, &call.options()?).await?))
}

async fn interest(call: Call) -> Result<Reply, Problem> {
    let (account, rate) = (call.part("account"), call.body.text("rate"));
    let client = call.house.bank.of_account(account)?;
    let added = client.add_interest(account, rate, &call.options()?).await?;
    let (seen, replayed) = (added.seen.clone(), added.named.replayed);
    Ok(Reply::json(&views::Written::from(added)).seen(&seen).replayed(replayed))
}

fn write_reply(written: crate::client::Written) -> Reply {
    let (seen, replayed) = (written.seen.clone(), written.named.replayed);
    Reply::json(&views::Written::from(written)).seen(&seen).replayed(replayed)
}

async fn entries(call: Call) -> Result<Reply, Problem> {
    let account = call.part("account");
    let order = match call.query.text("order") {
        "oldest_first" => EntryOrder::OldestFirst,
        _ => EntryOrder::NewestFirst,
    };
    let as_of = as_of(call.query.text("as_of"))?;
    let statement = Statement { account, order, as_of, page: call.page()? };
    let page = call.house.bank.of_account(account)?.entries(statement, &call.options()?).await?;
    let (seen, token) = (page.seen.clone(), page.next_page_token.clone());
    Ok(Reply::json(&views::Entries::from(page)).seen(&seen).next_page(&call, &token))
}

fn as_of(text: &str) -> Result<AsOf, Failure> {
    if text.is_empty() {
        return Ok(AsOf::Now);
    }
    if let Ok(sequence) = text.parse() {
        return Ok(AsOf::Sequence(sequence));
    }
    let micros =
        text.parse::<jiff::Timestamp>().ok().and_then(|time| u64::try_from(time.as_microsecond()).ok());
    micros.map(|micros| AsOf::Time(Timestamp::from_micros(micros))).ok_or_else(|| {
        Failure::new(
            Reason::ArgumentInvalid,
            format!("as_of is a sequence, like 17, or a time, like 2026-01-31T00:00:00Z, and not {text:?}"),
        )
        .in_field("as_of")
    })
}
