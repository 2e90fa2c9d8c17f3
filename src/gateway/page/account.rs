//! One account: its money, its history, the same balance as each replica has it, and what can be done with it.

use std::sync::Arc;

use futures::future::{join, join_all, join3};
use maud::{Markup, html};

use super::accounts::pages;
use super::forms::{AMOUNT, Field, Form, Kind as Takes, tabbed};
use super::lookout::{Lookout, may_pass, quick};
use super::parts::{
    self, Tone, account_state, action, badge, change, empty, hold_state, money, scrolling, time,
};
use super::screen::{Asked, Regions, head};
use super::{chart, text};
use crate::client::{
    AccountShown, AccountState, AsOf, Balance, Entries, EntryOrder, Holds, Page, ReplicaStatus, Statement,
};
use crate::gateway::House;
use crate::model::{AccountNumber, BranchName, Failure};

/// Entries on a page of the statement.
const ROWS: i32 = 50;
/// Active holds that are shown.
const HOLDS: i32 = 100;

/// The frame of the screen.
pub(super) fn body(house: &House, branch: &BranchName, number: AccountNumber, regions: &Regions) -> Markup {
    let account = format!("{branch}/{number}");
    let csv = format!("/operations.csv?branch={branch}&account={}", text::encoded(&account));
    html! {
        (head(&format!("Account {account}"), html! { a href={ "/accounts?branch=" (branch) } { "Accounts of " (branch) } }, html! {
            button.ghost type="button" data-print { (parts::icon("print")) "Print statement" }
            a.button.ghost href=(csv) download { (parts::icon("download")) "Operations as CSV" }
        }))
        (regions.place("account"))
        div.columns.split {
            section.card.acts.no-print aria-labelledby="actions-title" {
                h2 #actions-title { "Actions" }
                @if house.lookouts.of(branch).is_some() { (actions(&account)) }
            }
            div.wide {
                (regions.place("chart"))
                (regions.place("statement"))
            }
            aside.rest aria-label="Holds and replicas" {
                (regions.place("holds"))
                (regions.place("replicas"))
            }
        }
    }
}

const RATE: Field<'static> = Field {
    name: "rate",
    label: "Percent",
    hint: "At most four decimals, like 2.5",
    kind: Takes::Rate,
    ..AMOUNT
};
const DESTINATION: Field<'static> = Field {
    name: "destination",
    label: "To account",
    hint: "A number of this branch, or BRANCH/NUMBER",
    kind: Takes::Account,
    ..AMOUNT
};
const EXPIRES: Field<'static> = Field {
    name: "expiresInSeconds",
    label: "Ends by itself after",
    hint: "Seconds, like 600; never when left empty",
    kind: Takes::Count,
    required: false,
    ..AMOUNT
};

/// What can be done with an account: name of the tab and its form, name of the call, fields, button, and what is
/// said when it is done.
type Action = (&'static str, &'static str, &'static [Field<'static>], &'static str, &'static str);

const DEPOSIT: Action = ("Deposit", "deposits", &[AMOUNT], "Deposit", "Deposited; the balance is {balance}.");
const WITHDRAW: Action =
    ("Withdraw", "withdrawals", &[AMOUNT], "Withdraw", "Withdrawn; the balance is {balance}.");
const HOLD: Action =
    ("Hold", "holds", &[AMOUNT, EXPIRES], "Place hold", "Held as {hold}; {available} is available.");
const INTEREST: Action =
    ("Interest", "interest", &[RATE], "Add interest", "{interest} added; the balance is {balance}.");

fn actions(account: &str) -> Markup {
    let panel = |id: &'static str, (name, call, fields, button, done): Action| {
        let address = format!("/v1/accounts/{}/{call}", text::encoded(account));
        let form = Form { id, address: &address, method: "POST", fields, fixed: &[], button, done };
        (id, name, form.draw())
    };
    let transfer = Form {
        id: "transfer",
        address: "/v1/transfers",
        method: "POST",
        fields: &[DESTINATION, AMOUNT],
        fixed: &[("source", account)],
        button: "Transfer",
        done: "Transfer {transfer} is {state}.",
    };
    tabbed(
        "Actions",
        &[
            panel("deposit", DEPOSIT),
            panel("withdraw", WITHDRAW),
            ("transfer", "Transfer", transfer.draw()),
            panel("hold", HOLD),
            panel("interest", INTEREST),
        ],
    )
}

/// The living parts.
pub(super) async fn regions(
    house: &Arc<House>,
    branch: &BranchName,
    number: AccountNumber,
    page: &str,
    asked: &Asked,
) -> Regions {
    let Some(lookout) = house.lookouts.of(branch) else {
        return Regions::missing("account", unknown(house, branch));
    };
    let name = format!("{branch}/{number}");
    let (client, account) = (lookout.client(), name.as_str());
    let statement = Statement {
        account: &name,
        order: EntryOrder::NewestFirst,
        as_of: AsOf::Now,
        page: Page { size: ROWS, token: page },
    };
    let holds_page = Page { size: HOLDS, token: "" };
    let reads = join3(
        asked.read(|options| async move { client.account(account, &options).await }),
        asked.read(|options| async move { client.entries(statement, &options).await }),
        asked.read(|options| async move { client.holds(account, holds_page, &options).await }),
    );
    let ((shown, entries, holds), replicas) = join(reads, replicas(lookout, &name)).await;
    if let Err(failure) = &shown
        && !may_pass(failure.reason)
    {
        let refused = parts::refused(failure);
        let missing = failure.reason.http() == 404;
        return if missing {
            Regions::missing("account", refused)
        } else {
            Regions::default().with("account", refused)
        };
    }
    let key = |what: &str| format!("{what} {name} {page}");
    let chart = entries.as_ref().map_or_else(|_| html! {}, balance_chart);
    let address = format!("/accounts/{branch}/{number}");
    let table = lookout.drawn(&key("statement"), entries.map(|entries| table(&entries, &address, page)));
    Regions::default()
        .with("account", lookout.drawn(&key("account"), shown.map(|shown| summary(&shown))))
        .with("chart", chart)
        .with("statement", statement_card(&table))
        .with("holds", holds.map_or_else(|_| html! {}, |holds| active_holds(&holds)))
        .with("replicas", same_on_all(&replicas))
}

fn statement_card(table: &Markup) -> Markup {
    html! {
        section.card aria-labelledby="statement-title" {
            div.card-head { h2 #statement-title { "Statement" } }
            (table)
        }
    }
}

fn unknown(house: &House, branch: &BranchName) -> Markup {
    let known: Vec<String> = house.bank.branches().map(|(name, _)| name.to_string()).collect();
    html! { div.notice.bad { strong { "Branch " (branch) " is not known here." } p { "This server knows " (known.join(", ")) "." } } }
}

fn summary(shown: &AccountShown) -> Markup {
    let account = &shown.account;
    html! {
        div.card.account-card {
            div.balance {
                p.label { "Balance" }
                p.figure.large { (money(&account.balance)) }
            }
            dl.facts.across {
                div { dt { "Available" } dd { (money(&account.available)) } }
                div { dt { "Held" } dd { (money(&account.held)) } }
                div { dt { "Overdraft limit" } dd { (money(&account.overdraft_limit)) } }
                div { dt { "Name" } dd.name { @if account.name.is_empty() { span.quiet { "none" } } @else { (account.name) } } }
                div { dt { "State" } dd { (account_state(account.state)) } }
                div { dt { "Opened" } dd.when { (time(account.open_time)) } }
            }
            div.account-actions.no-print {
                @match account.state {
                    AccountState::Open => {
                        (set_state(&account.account, "OPEN", "FROZEN", "Freeze"))
                        (set_state(&account.account, "", "CLOSED", "Close"))
                    }
                    AccountState::Frozen => { (set_state(&account.account, "FROZEN", "OPEN", "Unfreeze")) }
                    AccountState::Closed => { (set_state(&account.account, "CLOSED", "OPEN", "Open again")) }
                    AccountState::Unknown => {}
                }
            }
        }
    }
}

fn set_state(account: &str, from: &str, state: &str, button: &str) -> Markup {
    let fixed = [("state", state), ("from", from)];
    let fixed = if from.is_empty() { &fixed[..1] } else { &fixed[..] };
    let address = format!("/v1/accounts/{}", text::encoded(account));
    let id = format!("state-{}", state.to_ascii_lowercase());
    Form {
        id: &id,
        address: &address,
        method: "PATCH",
        fields: &[],
        fixed,
        button,
        done: "The account is {state} now.",
    }
    .draw()
}

fn balance_chart(entries: &Entries) -> Markup {
    let points: Vec<chart::Point> = entries
        .entries
        .iter()
        .rev()
        .filter_map(|entry| {
            let (moment, label) = entry.time.and_then(text::moments)?;
            Some(chart::Point {
                at: entry.time?.micros(),
                value: text::minor(&entry.balance)?,
                moment,
                label,
            })
        })
        .collect();
    if points.len() < 2 {
        return html! {};
    }
    html! {
        section.card.no-print aria-labelledby="chart-title" {
            div.card-head { h2 #chart-title { "Balance" } p.quiet { "over the " (points.len()) " entries below" } }
            (chart::balance(&points))
            details {
                summary { "Show as table" }
                (scrolling("Balance as table", html! {
                    table {
                        thead { tr { th scope="col" { "Time" } th.amount scope="col" { "Balance" } } }
                        tbody { @for entry in &entries.entries { tr { td.when { (time(entry.time)) } td.amount { (money(&entry.balance)) } } } }
                    }
                }))
            }
        }
    }
}

fn table(entries: &Entries, address: &str, token: &str) -> Markup {
    if entries.entries.is_empty() && token.is_empty() {
        return empty("Nothing has happened yet", html! { "The first deposit will stand here." });
    }
    let rows = html! {
        table.statement {
            thead { tr {
                th scope="col" { "Time" }
                th scope="col" { "What" }
                th.amount scope="col" { "Change" }
                th.amount scope="col" { "Balance" }
                th.number scope="col" { "Sequence" }
            } }
            tbody { @for entry in &entries.entries {
                tr data-key=(entry.sequence) {
                    td.when { (time(entry.time)) }
                    td {
                        @if entry.transfer.is_empty() { (action(entry.kind)) }
                        @else { a href=(parts::transfer_address(&entry.transfer)) { (action(entry.kind)) } }
                        @if !entry.counterparty.is_empty() { span.quiet { " · " } (parts::account(&entry.counterparty)) }
                    }
                    td.amount { (change(&entry.amount)) }
                    td.amount { (money(&entry.balance)) }
                    td.number.quiet { (text::count(entry.sequence)) }
                }
            } }
        }
    };
    html! { (scrolling("Statement", rows)) (pages(address, token, &entries.next_page_token)) }
}

fn active_holds(holds: &Holds) -> Markup {
    html! {
        @if !holds.holds.is_empty() {
            section.card aria-labelledby="holds-title" {
                div.card-head { h2 #holds-title { "Holds" } p.quiet { (holds.holds.len()) " active" } }
                ul.holds { @for hold in &holds.holds {
                    @let number = hold.hold.replace(':', "-");
                    li data-key=(hold.hold) {
                        div.hold-line { (money(&hold.amount)) (hold_state(hold.state)) }
                        p.quiet { span.mono { (hold.hold) } @if hold.expire_time.is_some() { " · until " (time(hold.expire_time)) } }
                        div.hold-actions.no-print {
                            (hold_form(&hold.hold, &format!("capture-{number}"), "capture", "Capture", "Captured; the balance is {balance}."))
                            (hold_form(&hold.hold, &format!("release-{number}"), "release", "Release", "Released; {available} is available."))
                        }
                    }
                } }
            }
        }
    }
}

fn hold_form(hold: &str, id: &str, verb: &str, button: &str, done: &str) -> Markup {
    let address = format!("/v1/holds/{}/{verb}", text::encoded(hold));
    Form { id, address: &address, method: "POST", fields: &[], fixed: &[], button, done }.draw()
}

/// The balance as one replica has it at this moment.
struct OnReplica {
    id: u64,
    role: &'static str,
    balance: Result<Balance, Failure>,
}

async fn replicas(lookout: &Lookout, account: &str) -> Vec<OnReplica> {
    let Some(status) = lookout.view().status else { return Vec::new() };
    let ask = |replica: ReplicaStatus| async move {
        // A lone replica needs no address; the way of this server leads to it.
        let client = match replica.address.as_str() {
            "" => Some(lookout.client().clone()),
            address => lookout.replica(address),
        };
        let balance = match client {
            Some(client) => client.balance(account, &quick()).await,
            None => Err(super::lookout::silent()),
        };
        OnReplica { id: replica.id, role: replica.role.as_str(), balance }
    };
    join_all(status.what.replicas.into_iter().map(ask)).await
}

fn same_on_all(replicas: &[OnReplica]) -> Markup {
    let answers: Vec<&Balance> =
        replicas.iter().filter_map(|replica| replica.balance.as_ref().ok()).collect();
    let newest = answers.iter().map(|answer| answer.seen.sequence).max().unwrap_or(0);
    let differ = answers.windows(2).any(|pair| pair[0].balance != pair[1].balance);
    html! {
        @if !replicas.is_empty() {
            section.card aria-labelledby="replicas-title" {
                div.card-head {
                    h2 #replicas-title { "On each replica" }
                    @if answers.len() < replicas.len() { (badge(Tone::Warn, "not all answer")) }
                    @else if differ { (badge(Tone::Warn, "catching up")) }
                    @else { (badge(Tone::Good, "the same")) }
                }
                table.replica-balances {
                    thead { tr { th scope="col" { "Replica" } th.amount scope="col" { "Balance" } th.number scope="col" { "Behind" } } }
                    tbody { @for replica in replicas {
                        tr data-key=(replica.id) {
                            th scope="row" { (replica.id) span.quiet { " " (text::spoken(replica.role)) } }
                            @match &replica.balance {
                                Ok(answer) => {
                                    td.amount { (money(&answer.balance)) }
                                    td.number { (text::count(newest.saturating_sub(answer.seen.sequence))) }
                                }
                                Err(failure) => { td colspan="2" { span title=(failure.message) { (badge(Tone::Bad, &text::spoken(failure.reason.as_str()))) } } }
                            }
                        }
                    } }
                }
            }
        }
    }
}
