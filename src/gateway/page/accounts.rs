//! The accounts of the branches, and the form that opens one.

use std::sync::Arc;

use maud::{Markup, html};

use super::forms::{Field, Form, Kind};
use super::lookout::Lookout;
use super::parts::{account_state, empty, money, scrolling};
use super::screen::{Asked, Regions, branch_tabs, head};
use super::{parts, text};
use crate::client::{Accounts, Page};
use crate::gateway::House;
use crate::model::{BranchName, Failure};

/// Accounts on a page of one branch, and of each branch when all are shown.
const ROWS: i32 = 50;
const ROWS_OF_EACH: i32 = 20;

/// The frame of the screen.
pub(super) fn body(house: &House, branch: Option<&BranchName>, regions: &Regions) -> Markup {
    html! {
        (head("Accounts", html! { "Balances as the bank has them right now." }, html! {
            form.find action="/account" method="get" role="search" {
                label.hidden for="find" { "Account" }
                input type="text" id="find" name="account" placeholder="Account, like 17 or delhi/17" required;
                button type="submit" { "Go" }
            }
        }))
        (branch_tabs(house, "/accounts", branch))
        div.columns {
            div.wide { (regions.place("accounts")) }
            aside.card aria-labelledby="open-title" {
                h2 #open-title { "Open an account" }
                (opening(house, branch))
            }
        }
    }
}

fn opening(house: &House, branch: Option<&BranchName>) -> Markup {
    let branch = branch.unwrap_or(house.bank.home());
    let field = |name, label, hint, kind| Field { name, label, hint, kind, required: false, value: "" };
    let address = format!("/v1/accounts?branch={}", text::encoded(&branch.to_string()));
    html! {
        p.quiet { "In branch " strong { (branch) } "." }
        (Form {
            id: "open",
            address: &address,
            method: "POST",
            fields: &[
                field("name", "Name", "At most 64 characters", Kind::Text),
                field("deposit", "First deposit", "At most two decimals, like 100.00", Kind::Amount),
                field("overdraftLimit", "Overdraft limit", "How far below zero the balance may go", Kind::Amount),
                field("account", "Number", "The next free one when left empty", Kind::Account),
            ],
            fixed: &[],
            button: "Open account",
            done: "Account {account} is open, balance {balance}.",
        }.draw())
        noscript { p.quiet { "To send this form the page needs JavaScript." } }
    }
}

/// The living parts.
pub(super) async fn regions(
    house: &Arc<House>,
    branch: Option<&BranchName>,
    page: &str,
    asked: &Asked,
) -> Regions {
    let mut tables = Vec::new();
    for lookout in
        house.lookouts.iter().filter(|lookout| branch.is_none_or(|branch| lookout.branch == *branch))
    {
        tables.push(table(lookout, branch.is_some(), page, asked).await);
    }
    let body = html! { @for table in &tables { (table) } };
    Regions::default().with("accounts", body)
}

async fn table(lookout: &Lookout, alone: bool, page: &str, asked: &Asked) -> Markup {
    let (size, token) = if alone { (ROWS, page) } else { (ROWS_OF_EACH, "") };
    let list = |options| async move { lookout.client().accounts(Page { size, token }, &options).await };
    let read = asked.read(list).await;
    let branch = lookout.branch.to_string();
    let drawn =
        lookout.drawn(&format!("accounts {alone} {token}"), read.map(|page| draw(&branch, &page, token)));
    html! {
        section.card data-key=(branch) aria-label={ "Accounts of branch " (branch) } {
            div.card-head { h2 { (branch) } (count(lookout)) }
            (drawn)
        }
    }
}

fn count(lookout: &Lookout) -> Markup {
    match lookout.view().audit {
        Some(known) => html! { p.quiet {
            (text::count(known.what.accounts)) @if known.what.accounts == 1 { " account" } @else { " accounts" }
            " · " (money(&known.what.customers))
        } },
        None => html! {},
    }
}

fn draw(branch: &str, page: &Accounts, token: &str) -> Markup {
    if page.accounts.is_empty() && token.is_empty() {
        return empty("No account yet", html! { "Open the first one with the form on this page." });
    }
    let table = html! {
        table.accounts {
            thead { tr {
                th.number scope="col" { "Account" }
                th scope="col" { "Name" }
                th scope="col" { "State" }
                th.amount scope="col" { "Balance" }
                th.amount scope="col" { "Held" }
                th.amount scope="col" { "Available" }
            } }
            tbody { @for account in &page.accounts {
                tr data-key=(account.account) {
                    th.number scope="row" { (parts::account(&account.account)) }
                    td.name { @if account.name.is_empty() { span.quiet { "–" } } @else { (account.name) } }
                    td { (account_state(account.state)) }
                    td.amount { (money(&account.balance)) }
                    td.amount { (money(&account.held)) }
                    td.amount { (money(&account.available)) }
                }
            } }
        }
    };
    html! {
        (scrolling("Accounts", table))
        (pages(&format!("/accounts?branch={}", text::encoded(branch)), token, &page.next_page_token))
    }
}

/// Links to the first and the next page of a list.
pub(super) fn pages(address: &str, token: &str, next: &str) -> Markup {
    let joint = if address.contains('?') { "&" } else { "?" };
    html! {
        @if !token.is_empty() || !next.is_empty() {
            nav.pages aria-label="Pages" {
                @if !token.is_empty() { a href=(address) { "First page" } }
                @if !next.is_empty() { a rel="next" href={ (address) (joint) "page=" (text::encoded(next)) } { "Next page" } }
            }
        }
    }
}

/// Where an account that somebody typed is shown.
///
/// # Errors
/// What is wrong with it.
pub(super) fn found(house: &House, typed: &str) -> Result<String, Failure> {
    let account = typed.trim().parse::<crate::model::AccountRef>()?;
    let branch = account.branch.unwrap_or_else(|| house.bank.home().clone());
    Ok(format!("/accounts/{branch}/{}", account.number))
}
