//! The overview: the bank at a glance.

use std::cmp::Reverse;
use std::time::Duration;

use maud::{Markup, html};

use super::lookout::View;
use super::parts::{Tone, badge, money, operation_head, operation_row, scrolling, trouble};
use super::screen::{Regions, head};
use super::{chart, parts, text};
use crate::client::{JournalRecord, ReplicaRole};
use crate::gateway::House;

/// Rows of the latest operations.
const LATEST: usize = 12;

/// The frame of the screen.
pub(super) fn body(regions: &Regions) -> Markup {
    html! {
        (head("Overview", html! { "Every branch this server knows, live." }, html! {
            a.button href="/accounts" { "Open or find an account" }
        }))
        (regions.place("totals"))
        section aria-labelledby="branches-title" {
            h2 #branches-title { "Branches" }
            (regions.place("branches"))
        }
        section.card aria-labelledby="latest-title" {
            div.card-head { h2 #latest-title { "Latest operations" } a href="/operations" { "All operations" } }
            (regions.place("latest"))
        }
    }
}

/// The living parts.
pub(super) fn regions(house: &House) -> Regions {
    let views = house.lookouts.views();
    Regions::default()
        .with("totals", totals(house, &views))
        .with("branches", html! { div.branches { @for (branch, view) in &views { (card(branch, view)) } } })
        .with("latest", latest(&views))
}

/// How many replicas of a branch answer, and of how many.
pub(super) fn healthy(view: &View) -> Option<(usize, usize)> {
    let status = view.status.as_ref().filter(|_| view.trouble.is_none())?;
    let answers = |role| match role {
        ReplicaRole::Leader | ReplicaRole::Follower | ReplicaRole::Learner => true,
        ReplicaRole::Candidate
        | ReplicaRole::Stopped
        | ReplicaRole::Removed
        | ReplicaRole::Unreachable
        | ReplicaRole::Unknown => false,
    };
    let replicas = &status.what.replicas;
    Some((replicas.iter().filter(|replica| answers(replica.role)).count(), replicas.len()))
}

/// Entries that the replica furthest behind has not applied of what the first one has committed.
pub(super) fn worst_lag(view: &View) -> u64 {
    let replicas = view.status.iter().flat_map(|known| &known.what.replicas);
    let answering = replicas.filter(|replica| replica.role != ReplicaRole::Unreachable);
    let applied: Vec<(u64, u64)> =
        answering.map(|replica| (replica.committed_index, replica.applied_index)).collect();
    let committed = applied.iter().map(|(committed, _)| *committed).max().unwrap_or(0);
    applied.iter().map(|(_, applied)| committed.saturating_sub(*applied)).max().unwrap_or(0)
}

/// Whether the books of all branches balance; nothing while one of them has not been added up.
fn conserved(views: &[(String, View)]) -> Option<bool> {
    let mut all = true;
    for (_, view) in views {
        all &= view.audit.as_ref()?.what.balanced;
    }
    (!views.is_empty()).then_some(all)
}

fn totals(house: &House, views: &[(String, View)]) -> Markup {
    let audits = || views.iter().filter_map(|(_, view)| view.audit.as_ref().map(|known| &known.what));
    let customers: i64 = audits().filter_map(|audit| text::minor(&audit.customers)).sum();
    let held: i64 = audits().filter_map(|audit| text::minor(&audit.held)).sum();
    let accounts: u64 = audits().map(|audit| audit.accounts).sum();
    let doubt: u64 = audits().map(|audit| audit.open_transfers + audit.prepared_credits).sum();
    let rate: u64 = views.iter().map(|(_, view)| view.rate()).sum();
    let reports: Vec<(usize, usize)> = views.iter().filter_map(|(_, view)| healthy(view)).collect();
    let (up, all) = reports.iter().fold((0, 0), |sum, (up, all)| (sum.0 + up, sum.1 + all));
    let down = views.len() - reports.len();
    let lag = views.iter().map(|(_, view)| worst_lag(view)).max().unwrap_or(0);
    let books = match conserved(views) {
        Some(true) if down > 0 => (Tone::Plain, "Balanced when last seen"),
        Some(true) => (Tone::Good, "Books balance"),
        Some(false) => (Tone::Bad, "Books do not balance"),
        None => (Tone::Plain, "Not added up yet"),
    };
    html! {
        div.totals {
            div.total.first {
                p.label { "Customers' money" }
                p.figure { (money(&text::from_minor(customers))) }
                p.note { (badge(books.0, books.1)) " " span.quiet { (money(&text::from_minor(held))) " held" } }
            }
            (total("Accounts", html! { (text::count(accounts)) }, html! { "in " (views.len()) @if views.len() == 1 { " branch" } @else { " branches" } }))
            (total("Operations/s", html! { (text::count(rate)) }, p99(house)))
            (total("Replicas healthy", html! { (up) span.of { "/" (all) } }, html! {
                @if down > 0 { (badge(Tone::Bad, if down == 1 { "1 branch down" } else { "branches down" })) }
                @else if up < all { (badge(Tone::Warn, "some do not answer")) }
                @else { "worst lag " (text::count(lag)) @if lag == 1 { " entry" } @else { " entries" } }
            }))
            (total("Transfers in doubt", html! { (text::count(doubt)) }, html! {
                @if doubt > 0 { a href="/transfers" { "See what they wait for" } } @else { "none open" }
            }))
        }
    }
}

fn total(label: &str, figure: Markup, note: Markup) -> Markup {
    html! { div.total { p.label { (label) } p.figure { (figure) } p.note.quiet { (note) } } }
}

/// The time within which 99 of 100 calls of this server were answered.
fn p99(house: &House) -> Markup {
    match house.p99() {
        Some(time) => html! { "p99 ≤ " (millis(time)) },
        None => html! { "at the moment" },
    }
}

fn millis(time: Duration) -> String {
    let micros = time.as_micros();
    format!("{}.{:02} ms", micros / 1_000, micros % 1_000 / 10)
}

fn card(branch: &str, view: &View) -> Markup {
    let status = view.status.as_ref().map(|known| &known.what);
    let state = match (&view.trouble, healthy(view), status) {
        (Some(_), _, _) => (Tone::Bad, "Down"),
        (None, Some((up, all)), Some(status)) if up == all && status.leader.is_some() => {
            (Tone::Good, "Healthy")
        }
        (None, Some(_), Some(status)) if status.leader.is_none() => (Tone::Bad, "No leader"),
        (None, Some((up, all)), _) if 2 * up <= all => (Tone::Bad, "No quorum: writes are refused"),
        (None, Some(_), _) => (Tone::Warn, "Degraded"),
        (None, None, _) => (Tone::Plain, "Asking"),
    };
    let audit = view.audit.as_ref().map(|known| &known.what);
    html! {
        article.card.branch-card data-key=(branch) aria-label={ "Branch " (branch) } {
            div.card-head { h3 { (branch) } (badge(state.0, state.1)) }
            @if let Some(failure) = &view.trouble { (trouble("This branch does not answer.", failure, view.age())) }
            dl.facts {
                div { dt { "Customers' money" } dd.amount { @match audit { Some(audit) => (money(&audit.customers)), None => "–" } } }
                div { dt { "Accounts" } dd.amount { @match audit { Some(audit) => (text::count(audit.accounts)), None => "–" } } }
                div { dt { "Replicas" } dd.amount { @match healthy(view) { Some((up, all)) => { (up) " of " (all) }, None => "–" } } }
                div { dt { "Leader" } dd.amount { @match status.and_then(|status| status.leader) { Some(leader) => { "replica " (leader) }, None => "none" } } }
                div { dt { "Worst lag" } dd.amount { (text::count(worst_lag(view))) } }
                div { dt { "Sequence" } dd.amount { @match status.and_then(sequence) { Some(sequence) => (text::count(sequence)), None => "–" } } }
            }
            figure.spark {
                figcaption { "Operations per second, last minute" span.amount { (text::count(view.rate())) } }
                (chart::spark(view.rates.iter().copied(), branch))
                details {
                    summary { "Show as table" }
                    (scrolling(&format!("Operations per second of {branch}"), html! {
                        table.rates {
                            thead { tr { th.number scope="col" { "Seconds ago" } th.number scope="col" { "Operations" } } }
                            tbody { @for (ago, rate) in view.rates.iter().rev().enumerate() {
                                tr { td.number { (ago) } td.number { (text::count(*rate)) } }
                            } }
                        }
                    }))
                }
            }
        }
    }
}

fn sequence(status: &crate::client::BranchStatus) -> Option<u64> {
    status.replicas.iter().map(|replica| replica.sequence).max()
}

fn latest(views: &[(String, View)]) -> Markup {
    let records =
        views.iter().flat_map(|(branch, view)| view.recent.iter().map(move |record| (branch, record)));
    let mut records: Vec<(&String, &JournalRecord)> = records.collect();
    records.sort_by_key(|(_, record)| Reverse(record.time));
    records.truncate(LATEST);
    if records.is_empty() {
        return parts::empty("No operation since you came", html! { "New ones appear here by themselves." });
    }
    scrolling(
        "Latest operations",
        html! {
            table.operations {
                (operation_head())
                tbody { @for (branch, record) in records { (operation_row(branch, record)) } }
            }
        },
    )
}
