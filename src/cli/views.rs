//! Views: how the answers of the bank become sheets. The keys are those that scripts rely on.
//!
//! Architecture invariant: pure.

use crate::client::{
    Account, Balance, BranchStatus, Entry, InterestAdded, JournalRecord, Named, Operation, OperationResult,
    ReplicaStatus, Seen, Written, time_text,
};
use crate::model::{Code, Failure, Reason, Timestamp};

use super::sheet::{Cell, Column, Refusal, Sheet, column, detail};

/// The columns of a write: its own, then those of every write.
macro_rules! write_columns {
    ($($own:expr),+ $(,)?) => {
        &[
            $($own,)+
            column("sequence", "sequence").spare(),
            detail("requestId"),
            column("replayed", "replayed"),
            detail("sessionToken"),
            detail("branch"),
            detail("replica"),
            column("validateOnly", "nothing done"),
        ]
    };
}

/// The columns of a read: its own, then those of every read.
macro_rules! read_columns {
    ($($own:expr),+ $(,)?) => {
        &[$($own,)+ detail("sequence"), detail("sessionToken"), detail("branch"), detail("replica")]
    };
}

mod movements;
mod sentences;

pub(crate) use movements::*;
pub(crate) use sentences::sentence;

pub(crate) const WRITTEN: &[Column] =
    write_columns![column("account", "account"), column("balance", "balance"),];

pub(crate) const INTEREST: &[Column] = write_columns![
    column("account", "account"),
    column("balance", "balance"),
    column("interest", "interest"),
];

pub(crate) const BALANCE: &[Column] = &[
    column("account", "account"),
    column("balance", "balance"),
    column("held", "held"),
    column("available", "available"),
    column("consistency", "consistency").spare(),
    column("sequence", "sequence").spare(),
    detail("sessionToken"),
    detail("branch"),
    detail("replica"),
];

/// One account among others.
pub(crate) const ACCOUNTS: &[Column] = &[
    column("account", "account"),
    column("name", "name"),
    column("state", "state"),
    column("balance", "balance"),
    column("held", "held"),
    column("available", "available"),
    column("overdraftLimit", "overdraft").spare(),
    column("openTime", "opened").spare(),
];

/// One account by itself.
pub(crate) const ACCOUNT: &[Column] = read_columns![
    column("account", "account"),
    column("name", "name"),
    column("state", "state"),
    column("balance", "balance"),
    column("held", "held"),
    column("available", "available"),
    column("overdraftLimit", "overdraft").spare(),
    column("openTime", "opened").spare(),
];

pub(crate) const STATEMENT: &[Column] = &[
    column("sequence", "seq"),
    column("time", "time"),
    column("kind", "kind"),
    column("amount", "amount"),
    column("balance", "balance"),
    column("counterparty", "counterparty"),
    detail("requestId"),
    detail("transfer"),
    detail("hold"),
];

pub(crate) const WATCH: &[Column] = &[
    column("sequence", "sequence"),
    column("time", "time"),
    column("kind", "kind"),
    column("account", "account"),
    column("amount", "amount"),
    column("balance", "balance"),
    column("counterparty", "counterparty"),
    detail("counterpartyBalance"),
    column("error", "refused"),
    detail("requestId"),
    detail("held"),
    detail("available"),
    detail("transfer"),
    detail("hold"),
    detail("state"),
    detail("abort"),
    detail("expireTime"),
];

pub(crate) const OPERATION: &[Column] = &[
    column("requestId", "request id"),
    column("state", "state"),
    column("time", "time").spare(),
    column("results", "results"),
    detail("sessionToken"),
];

const RESULT: &[Column] = &[
    column("sequence", "sequence"),
    column("account", "account"),
    column("balance", "balance"),
    column("interest", "interest").spare(),
    column("counterparty", "counterparty").spare(),
    column("error", "refused"),
    detail("transfer"),
    detail("transferState"),
    detail("hold"),
];

pub(crate) const STATUS: &[Column] = &[
    column("branch", "branch"),
    detail("ledger"),
    detail("replica"),
    column("leader", "leader").spare(),
    column("replicas", "replicas"),
];

const REPLICA: &[Column] = &[
    column("id", "replica"),
    column("address", "address"),
    column("role", "role"),
    column("voter", "voter"),
    column("term", "term").spare(),
    column("logIndex", "log").spare(),
    column("committedIndex", "committed").spare(),
    column("appliedIndex", "applied").spare(),
    column("lag", "lag"),
    column("sequence", "sequence"),
    column("digest", "digest"),
];

pub(crate) const ERRORS: &[Column] = &[
    column("reason", "reason"),
    column("grpc", "gRPC"),
    column("http", "HTTP"),
    column("exit", "exit"),
    column("explanation", "what it means and what to do"),
];

pub(crate) const VERSION: &[Column] = &[column("version", "version")];

pub(crate) const SESSION: &[Column] =
    &[column("server", "server"), column("branch", "branch"), column("sessionToken", "session token")];

fn text(text: impl Into<String>) -> Cell {
    Cell::Text(text.into())
}

fn money(text: &str) -> Cell {
    Cell::Money(text.to_owned())
}

fn number(number: impl Into<u64>) -> Cell {
    Cell::Number(number.into())
}

fn time(time: Option<Timestamp>) -> Cell {
    match time {
        Some(time) => Cell::Time(time_text(time)),
        None => Cell::Nothing,
    }
}

/// The row of a write: its own cells, then those of every write but the last, which only the caller knows.
fn write_row(own: impl IntoIterator<Item = Cell>, named: &Named, seen: &Seen) -> Vec<Cell> {
    let end = [
        number(seen.sequence),
        text(&named.request_id),
        Cell::Flag(named.replayed),
        text(&seen.session_token),
        text(&seen.branch),
        number(seen.replica),
    ];
    own.into_iter().chain(end).collect()
}

/// The row of a read: its own cells, then those of every read.
fn read_row(own: impl IntoIterator<Item = Cell>, seen: &Seen) -> Vec<Cell> {
    let end = [number(seen.sequence), text(&seen.session_token), text(&seen.branch), number(seen.replica)];
    own.into_iter().chain(end).collect()
}

pub(crate) fn written(done: &Written) -> Vec<Cell> {
    write_row([text(&done.account), money(&done.balance)], &done.named, &done.seen)
}

pub(crate) fn interest(added: &InterestAdded) -> Vec<Cell> {
    let own = [text(&added.account), money(&added.balance), money(&added.interest)];
    write_row(own, &added.named, &added.seen)
}

pub(crate) fn balance(balance: &Balance) -> Vec<Cell> {
    let own = [
        text(&balance.account),
        money(&balance.balance),
        money(&balance.held),
        money(&balance.available),
        text(balance.consistency.map_or("", |consistency| consistency.as_str())),
    ];
    read_row(own, &balance.seen)
}

pub(crate) fn account(account: &Account) -> Vec<Cell> {
    vec![
        text(&account.account),
        text(&account.name),
        text(account.state.as_str()),
        money(&account.balance),
        money(&account.held),
        money(&account.available),
        money(&account.overdraft_limit),
        time(account.open_time),
    ]
}

pub(crate) fn account_shown(shown: &Account, seen: &Seen) -> Vec<Cell> {
    read_row(account(shown), seen)
}

pub(crate) fn entry(entry: &Entry) -> Vec<Cell> {
    vec![
        number(entry.sequence),
        time(entry.time),
        text(entry.kind.as_str()),
        money(&entry.amount),
        money(&entry.balance),
        text(&entry.counterparty),
        text(&entry.request_id),
        text(&entry.transfer),
        text(&entry.hold),
    ]
}

pub(crate) fn record(record: &JournalRecord) -> Vec<Cell> {
    vec![
        number(record.sequence),
        time(record.time),
        text(record.kind.as_str()),
        text(&record.account),
        money(&record.amount),
        money(&record.balance),
        text(&record.counterparty),
        money(&record.counterparty_balance),
        record.refused.as_ref().map_or(Cell::Nothing, refusal),
        text(&record.request_id),
        money(&record.held),
        money(&record.available),
        text(&record.transfer),
        text(&record.hold),
        record.state.map_or(Cell::Nothing, |state| text(state.as_str())),
        record.abort.as_ref().map_or(Cell::Nothing, refusal),
        time(record.expire_time),
    ]
}

pub(crate) fn operation(operation: &Operation) -> Vec<Cell> {
    vec![
        text(&operation.request_id),
        text(operation.state.as_str()),
        time(operation.time),
        Cell::Rows(Sheet { columns: RESULT, rows: operation.results.iter().map(result).collect() }),
        text(&operation.seen.session_token),
    ]
}

pub(crate) fn status(status: &BranchStatus) -> Vec<Cell> {
    vec![
        text(&status.branch),
        text(&status.ledger),
        number(status.replica),
        status.leader.map_or(Cell::Nothing, number),
        Cell::Rows(Sheet { columns: REPLICA, rows: status.replicas.iter().map(replica).collect() }),
    ]
}

fn replica(replica: &ReplicaStatus) -> Vec<Cell> {
    vec![
        number(replica.id),
        text(&replica.address),
        text(replica.role.as_str()),
        Cell::Flag(replica.voter),
        number(replica.term),
        number(replica.log_index),
        number(replica.committed_index),
        number(replica.applied_index),
        number(replica.lag),
        number(replica.sequence),
        Cell::Digest(replica.digest.clone()),
    ]
}

fn result(result: &OperationResult) -> Vec<Cell> {
    let sequence = number(result.sequence);
    match &result.outcome {
        Ok(done) => vec![
            sequence,
            text(&done.account),
            money(&done.balance),
            money(&done.interest),
            text(&done.counterparty),
            Cell::Nothing,
            text(&done.transfer),
            done.transfer_state.map_or(Cell::Nothing, |state| text(state.as_str())),
            text(&done.hold),
        ],
        Err(failure) => {
            let none = || text("");
            vec![
                sequence,
                none(),
                money(""),
                money(""),
                none(),
                refusal(failure),
                none(),
                Cell::Nothing,
                none(),
            ]
        }
    }
}

fn refusal(failure: &Failure) -> Cell {
    Cell::Refusal(Refusal::from(failure))
}

impl From<&Failure> for Refusal {
    fn from(failure: &Failure) -> Refusal {
        Refusal {
            reason: failure.reason.as_str().to_owned(),
            message: failure.message.clone(),
            metadata: failure.metadata.clone(),
        }
    }
}

pub(crate) fn reason(reason: Reason) -> Vec<Cell> {
    vec![
        text(reason.as_str()),
        text(grpc_name(reason.code())),
        number(reason.http()),
        number(reason.exit() as u8),
        text(reason.explanation()),
    ]
}

fn grpc_name(code: Code) -> &'static str {
    match code {
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
    }
}

#[cfg(test)]
#[path = "views_tests.rs"]
mod tests;
