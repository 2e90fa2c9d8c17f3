//! The journal over HTTP, a page at a time.

use crate::client::{EntryOrder, JournalQuery};

use super::accounts::{BRANCH, CONSISTENCY, PAGE_SIZE, PAGE_TOKEN};
use super::call::Call;
use super::fields::Takes::{Account, Count, OneOf};
use super::fields::optional;
use super::problem::Problem;
use super::reply::Reply;
use super::routes::{Method, Route, json};
use super::views;

/// The routes of the journal.
pub(super) const ROUTES: &[Route] = &[Route {
    method: Method::Get,
    path: "/v1/journal",
    name: "listJournal",
    summary: "Read the journal of a branch: every applied command, also those refused",
    query: &[
        BRANCH,
        optional("order", OneOf(&["newest_first", "oldest_first"]), "Newest first when not given."),
        optional("from", Count, "The sequence to begin with; else the newest, or the oldest that is held."),
        optional("account", Account, "Only operations that concern this account."),
        PAGE_SIZE,
        PAGE_TOKEN,
        CONSISTENCY,
    ],
    body: None,
    answers: json!(200, views::Journal),
    handler: |call| Box::pin(journal(call)),
}];

async fn journal(call: Call) -> Result<Reply, Problem> {
    let account = call.query.text("account");
    let client = if account.contains('/') { call.house.bank.of_account(account)? } else { call.branch()? };
    let order = match call.query.text("order") {
        "oldest_first" => EntryOrder::OldestFirst,
        _ => EntryOrder::NewestFirst,
    };
    let from = call.query.count("from")?.unwrap_or(0);
    let query = JournalQuery { from, account, order, page: call.page()? };
    let page = client.journal(query, &call.options()?).await?;
    let (seen, token) = (page.seen.clone(), page.next_page_token.clone());
    Ok(Reply::json(&views::Journal::from(page)).seen(&seen).next_page(&call, &token))
}
