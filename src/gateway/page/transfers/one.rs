//! One transfer: what happened to it at both branches, in order.

use std::sync::Arc;

use futures::future::join;
use maud::{Markup, html};

use super::super::chart::{self, Happening};
use super::super::lookout::Lookout;
use super::super::parts::{account, money, scrolling, time, transfer_state};
use super::super::screen::{Asked, Regions, head};
use super::super::text;
use crate::client::{Client, Transfer, TransferPhase, TransferSide, TransferStep};
use crate::gateway::House;
use crate::model::{BranchName, Failure};

/// The frame of the screen.
pub(in super::super) fn body(branch: &BranchName, number: u64, regions: &Regions) -> Markup {
    html! {
        (head(&format!("Transfer {branch}:{number}"), html! { a href={ "/transfers?branch=" (branch) } { "Transfers of " (branch) } }, html! {}))
        (regions.place("transfer"))
    }
}

/// The living parts.
pub(in super::super) async fn regions(
    house: &Arc<House>,
    branch: &BranchName,
    number: u64,
    asked: &Asked,
) -> Regions {
    let name = format!("{branch}:{number}");
    let Some(lookout) = house.lookouts.of(branch) else {
        return Regions::missing(
            "transfer",
            html! { div.notice.bad { strong { "Branch " (branch) " is not known here." } } },
        );
    };
    let read = both_sides(house, lookout, &name, asked).await;
    let missing = read.as_ref().is_err_and(|failure| failure.reason.http() == 404);
    let drawn = lookout.drawn(&name, read.map(|(paying, other)| draw(&paying, other.as_ref())));
    if missing { Regions::missing("transfer", drawn) } else { Regions::default().with("transfer", drawn) }
}

/// The transfer as the paying branch knows it, and what the receiving branch adds when it is known and answers.
async fn both_sides(
    house: &House,
    lookout: &Lookout,
    name: &str,
    asked: &Asked,
) -> Result<(Transfer, Option<Result<Transfer, Failure>>), Failure> {
    let others = house.lookouts.iter().filter(|other| other.branch != lookout.branch);
    let ask = |client: &Client| {
        let client = client.clone();
        asked.read(move |options| {
            let client = client.clone();
            async move { client.transfer_shown(name, &options).await }
        })
    };
    let paying = ask(lookout.client());
    let asked = futures::future::join_all(
        others.map(|other| async { (other.branch.to_string(), ask(other.client()).await) }),
    );
    let (paying, answers) = join(paying, asked).await;
    let paying = paying?.transfer;
    let receiver = paying.destination.split_once('/').map_or("", |(branch, _)| branch).to_owned();
    let other = answers.into_iter().find(|(branch, _)| *branch == receiver);
    Ok((paying, other.map(|(_, answer)| answer.map(|shown| shown.transfer))))
}

fn branch_of(account: &str) -> &str {
    account.split_once('/').map_or(account, |(branch, _)| branch)
}

/// What happened at both branches, in the order of the protocol; times only order what one branch did.
fn phases(paying: &Transfer, other: Option<&Transfer>) -> Vec<TransferPhase> {
    let mut phases = paying.phases.clone();
    let known = phases.clone();
    let more = other.into_iter().flat_map(|other| &other.phases);
    phases.extend(
        more.filter(|phase| {
            !known.iter().any(|one| one.branch == phase.branch && one.sequence == phase.sequence)
        })
        .cloned(),
    );
    let receiver = branch_of(&paying.destination);
    phases.sort_by_key(|phase| (order(phase.step), phase.branch == receiver, phase.sequence));
    phases
}

fn order(step: TransferStep) -> u8 {
    match step {
        TransferStep::Begin => 0,
        TransferStep::Prepare => 1,
        TransferStep::Commit | TransferStep::Abort => 2,
        TransferStep::Close => 3,
        TransferStep::Unknown => 4,
    }
}

fn explained(step: TransferStep, side: TransferSide, receiving: bool) -> &'static str {
    match (step, receiving) {
        (TransferStep::Begin, _) if side == TransferSide::Both => "The money moved, in one step",
        (TransferStep::Begin, _) => "Begins: the money is reserved",
        (TransferStep::Prepare, true) => "Prepare: votes",
        (TransferStep::Prepare, false) => "Prepare: asks for the vote",
        (TransferStep::Commit, true) => "Commit: the money arrives",
        (TransferStep::Commit, false) => "Commit: decided, the money leaves",
        (TransferStep::Abort, true) => "Abort: nothing arrives",
        (TransferStep::Abort, false) => "Abort: decided, the money is free",
        (TransferStep::Close, _) => "Closes: both have it",
        (TransferStep::Unknown, _) => "A step of a newer server",
    }
}

fn draw(paying: &Transfer, other: Option<&Result<Transfer, Failure>>) -> Markup {
    let receiving = other.and_then(|answer| answer.as_ref().ok());
    let phases = phases(paying, receiving);
    let receiver = branch_of(&paying.destination);
    let alone = paying.side == TransferSide::Both;
    html! {
        div.card.account-card {
            div.balance { p.label { "Amount" } p.figure.large { (money(&paying.amount)) } }
            dl.facts.across {
                div { dt { "State" } dd #transfer-state { (transfer_state(paying.state)) } }
                div { dt { "From" } dd { (account(&paying.source)) } }
                div { dt { "To" } dd { (account(&paying.destination)) } }
                div { dt { "Began" } dd.when { (time(paying.begin_time)) } }
                @if let Some(age) = paying.age { div { dt { "In doubt for" } dd { (text::age(age)) } } }
                @if !paying.waiting_for.is_empty() { div { dt { "Waits for" } dd { "branch " (paying.waiting_for) } } }
            }
            @if !paying.message.is_empty() { p.notice { @if !paying.reason.is_empty() { strong { (text::spoken(&paying.reason)) ": " } } (paying.message) } }
        }
        section.card aria-labelledby="phases-title" {
            div.card-head { h2 #phases-title { "What happened" } @if !alone { p.quiet { "times of each branch's own log" } } }
            @if let Some(Err(failure)) = other { div.notice { "Branch " (receiver) " adds nothing: " (failure.message) } }
            (scrolling("What happened, drawn", chart::sequence(
                &format!("{} · pays", branch_of(&paying.source)),
                &format!("{receiver} · receives"),
                &happenings(paying, &phases),
            )))
            details {
                summary { "Show as table" }
                (scrolling("What happened, as table", html! {
                    table {
                        thead { tr { th scope="col" { "Step" } th scope="col" { "Branch" } th.number scope="col" { "Sequence" } th scope="col" { "Time" } th scope="col" { "Detail" } } }
                        tbody { @for phase in &phases {
                            tr { th scope="row" { (text::spoken(phase.step.as_str())) } td { (phase.branch) } td.number { (text::count(phase.sequence)) } td.when { (time(phase.time)) } td { (phase.detail) } }
                        } }
                    }
                }))
            }
        }
    }
}

fn happenings(paying: &Transfer, phases: &[TransferPhase]) -> Vec<Happening> {
    let receiver = branch_of(&paying.destination);
    let alone = paying.side == TransferSide::Both;
    let mut before: Option<bool> = None;
    let mut happenings = Vec::new();
    for phase in phases {
        let right = !alone && phase.branch == receiver;
        let clock = phase.time.and_then(text::moments).map(|(machine, _)| machine).unwrap_or_default();
        // The time of day is enough beside a drawing; the table has the date.
        let clock = clock.split_once('T').map_or("", |(_, time)| time.trim_end_matches('Z')).to_owned();
        let note = if phase.detail.is_empty() { String::new() } else { format!(" · {}", phase.detail) };
        happenings.push(Happening {
            right,
            arrow: before.is_some_and(|before| before != right),
            title: explained(phase.step, paying.side, right).to_owned(),
            note: format!("{clock}{note}"),
            bad: phase.step == TransferStep::Abort,
        });
        before = Some(right);
    }
    happenings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::TransferState;

    fn phase(step: TransferStep, branch: &str, sequence: u64) -> TransferPhase {
        TransferPhase { step, branch: branch.to_owned(), sequence, time: None, detail: String::new() }
    }

    fn transfer(side: TransferSide, phases: Vec<TransferPhase>) -> Transfer {
        Transfer {
            transfer: "delhi:5".to_owned(),
            state: TransferState::Committed,
            source: "delhi/1".to_owned(),
            destination: "mumbai/2".to_owned(),
            amount: "1.00".to_owned(),
            side,
            in_doubt: false,
            reason: String::new(),
            message: String::new(),
            begin_time: None,
            age: None,
            waiting_for: String::new(),
            phases,
            request_id: String::new(),
        }
    }

    #[test]
    fn both_branches_tell_one_story_in_the_order_of_the_protocol() {
        use TransferStep::{Begin, Close, Commit, Prepare};
        let paying = transfer(
            TransferSide::Paying,
            vec![phase(Begin, "delhi", 5), phase(Commit, "delhi", 6), phase(Close, "delhi", 9)],
        );
        let receiving =
            transfer(TransferSide::Receiving, vec![phase(Prepare, "mumbai", 2), phase(Commit, "mumbai", 3)]);
        let told = phases(&paying, Some(&receiving));
        let steps: Vec<(TransferStep, &str)> =
            told.iter().map(|phase| (phase.step, phase.branch.as_str())).collect();
        assert_eq!(
            steps,
            [(Begin, "delhi"), (Prepare, "mumbai"), (Commit, "delhi"), (Commit, "mumbai"), (Close, "delhi")]
        );
        let arrows: Vec<bool> = happenings(&paying, &told).iter().map(|happening| happening.arrow).collect();
        assert_eq!(arrows, [false, true, true, true, true]);
        // The same told twice is told once.
        assert_eq!(phases(&paying, Some(&paying)).len(), 3);
    }
}
