//! Parts that pages are put together of: amounts, times, names, badges, tables.

use std::time::Duration;

use maud::{Markup, html};

use crate::client::{AccountState, HoldState, JournalRecord, Kind, TransferState};
use crate::model::{Failure, Timestamp};

use super::text::{self, Sum};

/// An amount, its cents a little quieter.
pub(super) fn money(amount: &str) -> Markup {
    let sum = Sum::of(amount);
    html! {
        span.money.negative[sum.negative] { (sum.whole) span.cents { (sum.fraction) } }
    }
}

/// A change, with its sign.
pub(super) fn change(amount: &str) -> Markup {
    let sum = Sum::of(amount);
    let plus = if sum.negative { "" } else { "+" };
    html! {
        span.money.negative[sum.negative].positive[!sum.negative] { (plus) (sum.whole) span.cents { (sum.fraction) } }
    }
}

/// A time; the page's script writes it in the reader's zone.
pub(super) fn time(time: Option<Timestamp>) -> Markup {
    match time.and_then(text::moments) {
        Some((machine, people)) => html! { time datetime=(machine) title={ (machine) } { (people) } },
        None => html! { span.quiet { "–" } },
    }
}

/// An account as a link to its page. What is no account of ours is shown as text.
pub(super) fn account(name: &str) -> Markup {
    match name.split_once('/') {
        Some((branch, number)) => html! {
            a.account href={ "/accounts/" (text::encoded(branch)) "/" (text::encoded(number)) } {
                span.branch { (branch) "/" } (number)
            }
        },
        None if name.is_empty() => html! { span.quiet { "–" } },
        None => html! { (name) },
    }
}

/// A transfer as a link to its page.
pub(super) fn transfer(name: &str) -> Markup {
    match name.split_once(':') {
        Some((branch, number)) => html! {
            a.mono href={ "/transfers/" (text::encoded(branch)) "/" (text::encoded(number)) } { (name) }
        },
        None => html! { span.mono { (name) } },
    }
}

/// How a badge looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Tone {
    /// All is well.
    Good,
    /// Somebody should look.
    Warn,
    /// Something is wrong.
    Bad,
    /// Neither.
    Plain,
}

/// A word in a small frame. The word says it; the colour only helps.
pub(super) fn badge(tone: Tone, word: &str) -> Markup {
    let tone = match tone {
        Tone::Good => "good",
        Tone::Warn => "warn",
        Tone::Bad => "bad",
        Tone::Plain => "plain",
    };
    html! { span class={ "badge " (tone) } { (word) } }
}

/// The state of an account.
pub(super) fn account_state(state: AccountState) -> Markup {
    let tone = match state {
        AccountState::Open => Tone::Good,
        AccountState::Frozen => Tone::Warn,
        AccountState::Closed | AccountState::Unknown => Tone::Plain,
    };
    badge(tone, &text::spoken(state.as_str()))
}

/// The state of a transfer.
pub(super) fn transfer_state(state: TransferState) -> Markup {
    let tone = match state {
        TransferState::Committed => Tone::Good,
        TransferState::Pending => Tone::Warn,
        TransferState::Aborted => Tone::Bad,
        TransferState::Unknown => Tone::Plain,
    };
    badge(tone, &text::spoken(state.as_str()))
}

/// The state of a hold.
pub(super) fn hold_state(state: HoldState) -> Markup {
    let tone = match state {
        HoldState::Active => Tone::Warn,
        HoldState::Captured => Tone::Good,
        HoldState::Released | HoldState::Expired | HoldState::Unknown => Tone::Plain,
    };
    badge(tone, &text::spoken(state.as_str()))
}

/// What an operation is called on pages.
pub(super) fn action(kind: Kind) -> &'static str {
    match kind {
        Kind::Open => "Open account",
        Kind::Deposit => "Deposit",
        Kind::Withdraw => "Withdrawal",
        Kind::Interest => "Interest",
        Kind::Transfer => "Transfer",
        Kind::SetState => "Change state",
        Kind::Hold => "Place hold",
        Kind::Capture => "Capture hold",
        Kind::Release => "Release hold",
        Kind::Expire => "Hold expired",
        Kind::TransferBegin => "Transfer out: begin",
        Kind::TransferCommit => "Transfer out: commit",
        Kind::TransferAbort => "Transfer out: abort",
        Kind::TransferClose => "Transfer out: close",
        Kind::CreditPrepare => "Transfer in: prepare",
        Kind::CreditCommit => "Transfer in: commit",
        Kind::CreditAbort => "Transfer in: abort",
        Kind::Unknown => "Unknown",
    }
}

/// The result of an operation: done, or the reason of the catalogue.
pub(super) fn result(record: &JournalRecord) -> Markup {
    match &record.refused {
        None => badge(Tone::Good, "Done"),
        Some(failure) => html! {
            span title=(failure.message) { (badge(Tone::Bad, &text::spoken(failure.reason.as_str()))) }
        },
    }
}

/// One operation as a row; its key lets the page tell rows apart.
pub(super) fn operation_row(branch: &str, record: &JournalRecord) -> Markup {
    html! {
        tr data-key={ (branch) ":" (record.sequence) } {
            td.number { a href={ "/operations?branch=" (text::encoded(branch)) "&from=" (record.sequence) } { (text::count(record.sequence)) } }
            td.when.brief { (time(record.time)) }
            td data-label="Branch" { (branch) }
            td data-label="Account" { (account(&record.account)) }
            td data-label="Action" {
                @if record.transfer.is_empty() { (action(record.kind)) }
                @else { a href=(transfer_address(&record.transfer)) { (action(record.kind)) } }
                @if !record.counterparty.is_empty() { span.quiet { " · " } (account(&record.counterparty)) }
            }
            td.amount { @if record.amount.is_empty() { span.quiet { "–" } } @else { (money(&record.amount)) } }
            td.amount { @if record.balance.is_empty() { span.quiet { "–" } } @else { (money(&record.balance)) } }
            td data-label="Result" { (result(record)) }
        }
    }
}

/// The page of a transfer.
pub(super) fn transfer_address(name: &str) -> String {
    let (branch, number) = name.split_once(':').unwrap_or(("", name));
    format!("/transfers/{}/{}", text::encoded(branch), text::encoded(number))
}

/// The columns of [`operation_row`].
pub(super) fn operation_head() -> Markup {
    html! {
        thead { tr {
            th.number scope="col" { "Sequence" }
            th scope="col" { "Time" }
            th scope="col" { "Branch" }
            th scope="col" { "Account" }
            th scope="col" { "Action" }
            th.amount scope="col" { "Amount" }
            th.amount scope="col" { "Balance" }
            th scope="col" { "Result" }
        } }
    }
}

/// A table that scrolls by itself where the screen is narrow, so it must be reachable by keyboard.
pub(super) fn scrolling(label: &str, table: Markup) -> Markup {
    html! { div.scroll role="group" aria-label=(label) tabindex="0" { (table) } }
}

/// Why something cannot be shown, and how old what is shown instead is.
pub(super) fn trouble(what: &str, failure: &Failure, shown: Option<Duration>) -> Markup {
    html! {
        div.notice.bad role="status" {
            strong { (what) }
            @match shown {
                Some(age) => { " What is shown is " (text::age(age)) " old." }
                None => { " Nothing has been seen of it since this page's server started." }
            }
            p.quiet { (failure.message) " (" (failure.reason.as_str()) ")" }
        }
    }
}

/// What the bank refused to show.
pub(super) fn refused(failure: &Failure) -> Markup {
    html! {
        div.notice.bad role="status" {
            strong { (text::spoken(failure.reason.as_str())) }
            p { (failure.message) }
        }
    }
}

/// What stands where there is nothing yet.
pub(super) fn empty(title: &str, hint: Markup) -> Markup {
    html! { div.empty { (icon("empty")) p { strong { (title) } } p.quiet { (hint) } } }
}

/// A drawing of the icon file.
pub(super) fn icon(name: &str) -> Markup {
    html! { svg.icon aria-hidden="true" focusable="false" { use href={ "/assets/icons.svg#" (name) } {} } }
}
