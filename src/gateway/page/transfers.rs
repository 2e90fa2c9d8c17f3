//! The transfers of the branches: those in doubt on top, then the latest.

pub(super) mod one;

use std::sync::Arc;

use futures::future::join;
use maud::{Markup, html};

use super::accounts::pages;
use super::forms::{AMOUNT, Field, Form, Kind};
use super::lookout::Lookout;
use super::parts::{account, empty, money, scrolling, time, transfer, transfer_state};
use super::screen::{Asked, Regions, branch_tabs, head};
use super::text;
use crate::client::{Page, Transfer, Transfers};
use crate::gateway::House;
use crate::model::BranchName;

/// Transfers on a page of one branch, and of each branch when all are shown.
const ROWS: i32 = 50;
const ROWS_OF_EACH: i32 = 20;
/// Transfers in doubt that are shown of a branch.
const DOUBTFUL: i32 = 50;

/// The frame of the screen.
pub(super) fn body(house: &House, branch: Option<&BranchName>, regions: &Regions) -> Markup {
    html! {
        (head("Transfers", html! { "Money on its way between accounts and between branches." }, html! {}))
        (branch_tabs(house, "/transfers", branch))
        div.columns {
            div.wide { (regions.place("doubt")) (regions.place("transfers")) }
            aside.card aria-labelledby="move-title" {
                h2 #move-title { "Move money" }
                (form())
                noscript { p.quiet { "To send this form the page needs JavaScript." } }
            }
        }
    }
}

fn form() -> Markup {
    let account = |name, label| Field {
        name,
        label,
        hint: "A number, or BRANCH/NUMBER",
        kind: Kind::Account,
        ..AMOUNT
    };
    Form {
        id: "transfer",
        address: "/v1/transfers",
        method: "POST",
        fields: &[account("source", "From account"), account("destination", "To account"), AMOUNT],
        fixed: &[],
        button: "Transfer",
        done: "Transfer {transfer} is {state}.",
    }
    .draw()
}

/// The living parts.
pub(super) async fn regions(
    house: &Arc<House>,
    branch: Option<&BranchName>,
    page: &str,
    asked: &Asked,
) -> Regions {
    let (mut doubts, mut tables) = (Vec::new(), Vec::new());
    let alone = branch.is_some();
    for lookout in
        house.lookouts.iter().filter(|lookout| branch.is_none_or(|branch| lookout.branch == *branch))
    {
        let (doubt, table) = of_branch(lookout, alone, page, asked).await;
        doubts.push(doubt);
        tables.push(table);
    }
    Regions::default()
        .with("doubt", html! { @for doubt in &doubts { (doubt) } })
        .with("transfers", html! { @for table in &tables { (table) } })
}

async fn of_branch(lookout: &Lookout, alone: bool, page: &str, asked: &Asked) -> (Markup, Markup) {
    let (size, token) = if alone { (ROWS, page) } else { (ROWS_OF_EACH, "") };
    let client = lookout.client();
    let in_doubt_page = Page { size: DOUBTFUL, token: "" };
    let (doubtful, latest) = join(
        asked.read(|options| async move { client.transfers(true, in_doubt_page, &options).await }),
        asked.read(|options| async move { client.transfers(false, Page { size, token }, &options).await }),
    )
    .await;
    let branch = lookout.branch.to_string();
    let doubt = doubtful.map_or_else(|_| html! {}, |page| in_doubt(&branch, &page.transfers));
    let drawn =
        lookout.drawn(&format!("transfers {alone} {token}"), latest.map(|page| table(&branch, &page, token)));
    let section = html! {
        section.card data-key=(branch) aria-label={ "Transfers of branch " (branch) } {
            div.card-head { h2 { (branch) } p.quiet { "newest first" } }
            (drawn)
        }
    };
    (doubt, section)
}

fn in_doubt(branch: &str, transfers: &[Transfer]) -> Markup {
    html! {
        @if !transfers.is_empty() {
            section.card.doubt data-key=(branch) aria-label={ "Transfers in doubt at branch " (branch) } {
                div.card-head { h2 { "In doubt at " (branch) } p.quiet { (transfers.len()) " not finished" } }
                (scrolling("Transfers in doubt", html! {
                    table {
                        thead { tr {
                            th scope="col" { "Transfer" } th scope="col" { "From" } th scope="col" { "To" }
                            th.amount scope="col" { "Amount" } th scope="col" { "Age" } th scope="col" { "Waits for" }
                        } }
                        tbody { @for row in transfers {
                            tr data-key=(row.transfer) {
                                th scope="row" { (transfer(&row.transfer)) " " (transfer_state(row.state)) }
                                td { (account(&row.source)) }
                                td { (account(&row.destination)) }
                                td.amount { (money(&row.amount)) }
                                td { @match row.age { Some(age) => (text::age(age)), None => "–" } }
                                td title=(row.message) { @if row.waiting_for.is_empty() { "nobody" } @else { "branch " (row.waiting_for) } }
                            }
                        } }
                    }
                }))
            }
        }
    }
}

fn table(branch: &str, page: &Transfers, token: &str) -> Markup {
    if page.transfers.is_empty() && token.is_empty() {
        return empty("No transfer yet", html! { "Move money with the form on this page." });
    }
    let rows = html! {
        table.transfers {
            thead { tr {
                th scope="col" { "Transfer" } th scope="col" { "Began" } th scope="col" { "From" }
                th scope="col" { "To" } th.amount scope="col" { "Amount" } th scope="col" { "State" }
            } }
            tbody { @for row in &page.transfers {
                tr data-key=(row.transfer) {
                    th scope="row" { (transfer(&row.transfer)) }
                    td.when.brief { (time(row.begin_time)) }
                    td { (account(&row.source)) }
                    td { (account(&row.destination)) }
                    td.amount { (money(&row.amount)) }
                    td { (transfer_state(row.state)) @if !row.reason.is_empty() { " " span.quiet title=(row.message) { (text::spoken(&row.reason)) } } }
                }
            } }
        }
    };
    html! {
        (scrolling("Transfers", rows))
        (pages(&format!("/transfers?branch={}", text::encoded(branch)), token, &page.next_page_token))
    }
}
