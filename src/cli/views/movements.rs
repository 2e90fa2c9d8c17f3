//! Transfers, holds, states of accounts, and the sums of the books.

use super::{money, number, read_row, text, time, write_row};
use crate::cli::sheet::{Cell, Column, Sheet, column, detail};
use crate::client::{
    Audit, Clearing, Hold, HoldChanged, Seen, StateSet, Transfer, TransferPhase, Transferred,
};

pub(crate) const TRANSFERRED: &[Column] = write_columns![
    column("transfer", "transfer"),
    column("state", "state"),
    column("source", "from"),
    column("destination", "to"),
    column("amount", "amount"),
    detail("reason"),
    detail("message"),
    detail("account"),
    column("balance", "balance"),
    detail("destinationBalance"),
];

pub(crate) const STATE: &[Column] =
    write_columns![column("account", "account"), column("state", "state"), column("balance", "balance")];

pub(crate) const HOLD_CHANGED: &[Column] = write_columns![
    column("hold", "hold"),
    column("account", "account"),
    column("amount", "amount"),
    column("state", "state"),
    detail("placeTime"),
    detail("expireTime"),
    column("captured", "captured").spare(),
    column("balance", "balance"),
    column("held", "held"),
    column("available", "available"),
];

/// One hold among others.
pub(crate) const HOLDS: &[Column] = &[
    column("hold", "hold"),
    column("account", "account"),
    column("amount", "amount"),
    column("state", "state"),
    column("placeTime", "placed").spare(),
    column("expireTime", "expires"),
    detail("captured"),
];

/// One hold by itself.
pub(crate) const HOLD: &[Column] = read_columns![
    column("hold", "hold"),
    column("account", "account"),
    column("amount", "amount"),
    column("state", "state"),
    column("placeTime", "placed").spare(),
    column("expireTime", "expires"),
    column("captured", "captured").spare(),
];

/// One transfer among others.
pub(crate) const TRANSFERS: &[Column] = &[
    column("transfer", "transfer"),
    column("state", "state"),
    column("source", "from"),
    column("destination", "to"),
    column("amount", "amount"),
    column("beginTime", "began").spare(),
    detail("side"),
    column("inDoubt", "in doubt"),
    column("age", "age").spare(),
    column("waitingFor", "waits for"),
    column("reason", "reason"),
    detail("message"),
    detail("requestId"),
];

/// One transfer by itself.
pub(crate) const TRANSFER: &[Column] = read_columns![
    column("transfer", "transfer"),
    column("state", "state"),
    column("source", "from"),
    column("destination", "to"),
    column("amount", "amount"),
    column("beginTime", "began").spare(),
    detail("side"),
    column("inDoubt", "in doubt"),
    column("age", "age").spare(),
    column("waitingFor", "waits for"),
    column("reason", "reason"),
    detail("message"),
    detail("requestId"),
    detail("phases"),
];

/// What happened to a transfer.
pub(crate) const PHASE: &[Column] = &[
    column("step", "step"),
    column("branch", "branch"),
    column("sequence", "sequence"),
    column("time", "time"),
    column("detail", "detail"),
];

/// The books of one branch.
pub(crate) const AUDIT: &[Column] = &[
    column("branch", "branch"),
    column("verdict", "verdict"),
    column("sequence", "sequence"),
    column("accounts", "accounts").spare(),
    column("customers", "customers"),
    column("cash", "cash"),
    column("interest", "interest"),
    column("held", "held"),
    detail("reserved"),
    column("holds", "holds").spare(),
    column("openTransfers", "open transfers").spare(),
    column("preparedCredits", "prepared credits").spare(),
    detail("time"),
    detail("digest"),
    detail("ledger"),
    detail("replica"),
    detail("clearing"),
];

/// What a branch has booked against another one.
pub(crate) const CLEARING: &[Column] = &[
    column("books", "books of"),
    column("branch", "against"),
    column("dueTo", "due to"),
    column("dueFrom", "due from"),
    column("unconfirmed", "unconfirmed"),
];

pub(crate) fn transferred(done: &Transferred) -> Vec<Cell> {
    let own = [
        text(&done.transfer),
        text(done.state.as_str()),
        text(&done.source),
        text(&done.destination),
        money(&done.amount),
        text(&done.reason),
        text(&done.message),
        text(&done.source),
        money(&done.source_balance),
        money(&done.destination_balance),
    ];
    write_row(own, &done.named, &done.seen)
}

pub(crate) fn state(set: &StateSet) -> Vec<Cell> {
    let own = [text(&set.account), text(set.state.as_str()), money(&set.balance)];
    write_row(own, &set.named, &set.seen)
}

pub(crate) fn hold_changed(changed: &HoldChanged) -> Vec<Cell> {
    let money_after = [money(&changed.balance), money(&changed.held), money(&changed.available)];
    write_row(hold(&changed.hold).into_iter().chain(money_after), &changed.named, &changed.seen)
}

pub(crate) fn hold(hold: &Hold) -> Vec<Cell> {
    vec![
        text(&hold.hold),
        text(&hold.account),
        money(&hold.amount),
        text(hold.state.as_str()),
        time(hold.place_time),
        time(hold.expire_time),
        money(&hold.captured),
    ]
}

pub(crate) fn hold_shown(shown: &Hold, seen: &Seen) -> Vec<Cell> {
    read_row(hold(shown), seen)
}

pub(crate) fn transfer(transfer: &Transfer) -> Vec<Cell> {
    vec![
        text(&transfer.transfer),
        text(transfer.state.as_str()),
        text(&transfer.source),
        text(&transfer.destination),
        money(&transfer.amount),
        time(transfer.begin_time),
        text(transfer.side.as_str()),
        Cell::Flag(transfer.in_doubt),
        transfer.age.map_or(Cell::Nothing, |age| text(format!("{}s", age.as_secs()))),
        text(&transfer.waiting_for),
        text(&transfer.reason),
        text(&transfer.message),
        text(&transfer.request_id),
    ]
}

/// The phases belong to the row for programs; people get a table of their own.
pub(crate) fn transfer_shown(shown: &Transfer, seen: &Seen) -> Vec<Cell> {
    let phases = Cell::Rows(Sheet { columns: PHASE, rows: phases(shown) });
    read_row(transfer(shown).into_iter().chain([phases]), seen)
}

pub(crate) fn phases(transfer: &Transfer) -> Vec<Vec<Cell>> {
    transfer.phases.iter().map(phase).collect()
}

fn phase(phase: &TransferPhase) -> Vec<Cell> {
    vec![
        text(phase.step.as_str()),
        text(&phase.branch),
        number(phase.sequence),
        time(phase.time),
        text(&phase.detail),
    ]
}

/// The clearing accounts belong to the row for programs; people get a table of their own.
pub(crate) fn audit(audit: &Audit, verdict: &str) -> Vec<Cell> {
    let clearing = Cell::Rows(Sheet { columns: CLEARING, rows: clearing(audit) });
    sums(audit, verdict).into_iter().chain([clearing]).collect()
}

/// The sums of a branch's books without what is booked against others.
pub(crate) fn sums(audit: &Audit, verdict: &str) -> Vec<Cell> {
    vec![
        text(&audit.branch),
        text(verdict),
        number(audit.sequence),
        number(audit.accounts),
        money(&audit.customers),
        money(&audit.cash),
        money(&audit.interest),
        money(&audit.held),
        money(&audit.reserved),
        number(audit.holds),
        number(audit.open_transfers),
        number(audit.prepared_credits),
        time(audit.time),
        Cell::Digest(audit.digest.clone()),
        text(&audit.ledger),
        number(audit.replica),
    ]
}

pub(crate) fn clearing(audit: &Audit) -> Vec<Vec<Cell>> {
    let row = |clearing: &Clearing| {
        vec![
            text(&audit.branch),
            text(&clearing.branch),
            money(&clearing.due_to),
            money(&clearing.due_from),
            money(&clearing.unconfirmed),
        ]
    };
    audit.clearing.iter().map(row).collect()
}
