//! Views: how the answers of the bank become sheets. The keys are those that scripts rely on.
//!
//! Architecture invariant: pure.

use crate::client::{
    Account, AccountState, Balance, BranchStatus, Entry, InterestAdded, JournalRecord, Kind, Named,
    Operation, OperationResult, ReplicaStatus, Seen, Transferred, Written,
};
use crate::model::{Code, Failure, Reason, Timestamp};

use super::sheet::{Cell, Column, Refusal, Sheet, column, detail};

pub(crate) const WRITTEN: &[Column] = &[
    column("account", "account"),
    column("balance", "balance"),
    column("sequence", "sequence"),
    detail("requestId"),
    column("replayed", "replayed"),
    detail("sessionToken"),
    detail("branch"),
    detail("replica"),
];

pub(crate) const INTEREST: &[Column] = &[
    column("account", "account"),
    column("balance", "balance"),
    column("interest", "interest"),
    column("sequence", "sequence"),
    detail("requestId"),
    column("replayed", "replayed"),
    detail("sessionToken"),
    detail("branch"),
    detail("replica"),
];

pub(crate) const TRANSFER: &[Column] = &[
    detail("transfer"),
    column("state", "state"),
    column("source", "from"),
    column("destination", "to"),
    column("amount", "amount"),
    detail("reason"),
    detail("account"),
    column("balance", "balance"),
    detail("destinationBalance"),
    column("sequence", "sequence"),
    detail("requestId"),
    column("replayed", "replayed"),
    detail("sessionToken"),
    detail("branch"),
    detail("replica"),
];

pub(crate) const BALANCE: &[Column] = &[
    column("account", "account"),
    column("balance", "balance"),
    column("held", "held"),
    column("available", "available"),
    column("consistency", "consistency"),
    column("sequence", "sequence"),
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
    column("overdraftLimit", "overdraft"),
    column("openTime", "opened"),
];

/// One account by itself.
pub(crate) const ACCOUNT: &[Column] = &[
    column("account", "account"),
    column("name", "name"),
    column("state", "state"),
    column("balance", "balance"),
    column("held", "held"),
    column("available", "available"),
    column("overdraftLimit", "overdraft"),
    column("openTime", "opened"),
    detail("sequence"),
    detail("sessionToken"),
    detail("branch"),
    detail("replica"),
];

pub(crate) const STATEMENT: &[Column] = &[
    column("sequence", "sequence"),
    column("time", "time"),
    column("kind", "kind"),
    column("amount", "amount"),
    column("balance", "balance"),
    column("counterparty", "counterparty"),
    detail("requestId"),
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
];

pub(crate) const OPERATION: &[Column] = &[
    column("requestId", "request id"),
    column("state", "state"),
    column("time", "time"),
    column("results", "results"),
    detail("sessionToken"),
];

const RESULT: &[Column] = &[
    column("sequence", "sequence"),
    column("account", "account"),
    column("balance", "balance"),
    column("interest", "interest"),
    column("counterparty", "counterparty"),
    column("error", "refused"),
];

pub(crate) const STATUS: &[Column] = &[
    column("branch", "branch"),
    detail("ledger"),
    detail("replica"),
    column("leader", "leader"),
    column("replicas", "replicas"),
];

const REPLICA: &[Column] = &[
    column("id", "replica"),
    column("address", "address"),
    column("role", "role"),
    column("voter", "voter"),
    column("term", "term"),
    column("logIndex", "log"),
    column("committedIndex", "committed"),
    column("appliedIndex", "applied"),
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
        Some(time) => text(time_text(time)),
        None => Cell::Nothing,
    }
}

/// A time as RFC 3339 in UTC; microseconds when it is beyond the years that have one.
pub(crate) fn time_text(time: Timestamp) -> String {
    i64::try_from(time.micros())
        .ok()
        .and_then(|micros| jiff::Timestamp::from_microsecond(micros).ok())
        .map_or_else(|| time.micros().to_string(), |time| format!("{time:.6}"))
}

/// What every write ends with.
fn write_end(named: &Named, seen: &Seen) -> [Cell; 6] {
    [
        number(seen.sequence),
        text(&named.request_id),
        Cell::Flag(named.replayed),
        text(&seen.session_token),
        text(&seen.branch),
        number(seen.replica),
    ]
}

fn read_end(seen: &Seen) -> [Cell; 4] {
    [number(seen.sequence), text(&seen.session_token), text(&seen.branch), number(seen.replica)]
}

pub(crate) fn written(written: &Written) -> Vec<Cell> {
    let mut row = vec![text(&written.account), money(&written.balance)];
    row.extend(write_end(&written.named, &written.seen));
    row
}

pub(crate) fn interest(added: &InterestAdded) -> Vec<Cell> {
    let mut row = vec![text(&added.account), money(&added.balance), money(&added.interest)];
    row.extend(write_end(&added.named, &added.seen));
    row
}

pub(crate) fn transferred(done: &Transferred) -> Vec<Cell> {
    let mut row = vec![
        text(&done.transfer),
        text(done.state.as_str()),
        text(&done.source),
        text(&done.destination),
        money(&done.amount),
        text(""),
        text(&done.source),
        money(&done.source_balance),
        money(&done.destination_balance),
    ];
    row.extend(write_end(&done.named, &done.seen));
    row
}

pub(crate) fn balance(balance: &Balance) -> Vec<Cell> {
    let mut row = vec![
        text(&balance.account),
        money(&balance.balance),
        money(&balance.held),
        money(&balance.available),
        text(balance.consistency.map_or("", |consistency| consistency.as_str())),
    ];
    row.extend(read_end(&balance.seen));
    row
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
    let mut row = account(shown);
    row.extend(read_end(seen));
    row
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
        text(&replica.digest),
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
        ],
        Err(failure) => vec![sequence, text(""), money(""), money(""), text(""), refusal(failure)],
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

/// One operation in one line for people, as the conversation shows it above the line being typed.
pub(crate) fn sentence(record: &JournalRecord) -> String {
    let JournalRecord { sequence, balance, held, counterparty_balance, .. } = record;
    let then = match &record.refused {
        Some(failure) => format!(", refused: {}", failure.reason.as_str()),
        None if balance.is_empty() => String::new(),
        None if !counterparty_balance.is_empty() => {
            format!(", balances {balance} and {counterparty_balance}")
        }
        None if !held.is_empty() => format!(", balance {balance}, held {held}"),
        None => format!(", balance {balance}"),
    };
    super::sheet::printable(&format!("[{sequence}] {}{then}", deed(record)))
}

/// What was wished.
fn deed(record: &JournalRecord) -> String {
    let JournalRecord { account, amount, counterparty, transfer, hold, .. } = record;
    let named = |text: &str| if text.is_empty() { "a new account".to_owned() } else { text.to_owned() };
    match record.kind {
        Kind::Open if amount.is_empty() || amount == "0.00" => format!("open {}", named(account)),
        Kind::Open => format!("open {} with {amount}", named(account)),
        Kind::Deposit => format!("deposit {amount} to {account}"),
        Kind::Withdraw => format!("withdraw {amount} from {account}"),
        Kind::Interest if amount.is_empty() => format!("interest to {account}"),
        Kind::Interest => format!("interest {amount} to {account}"),
        Kind::Transfer => format!("transfer {amount} from {account} to {counterparty}"),
        Kind::SetState => match record.state {
            Some(AccountState::Frozen) => format!("freeze {account}"),
            Some(AccountState::Closed) => format!("close {account}"),
            Some(AccountState::Open) => format!("reopen {account}"),
            Some(AccountState::Unknown) | None => format!("change the state of {account}"),
        },
        Kind::Hold => format!("hold {amount} of {account}"),
        Kind::Capture => format!("capture {amount} of hold {hold} from {account}"),
        Kind::Release => format!("release hold {hold} of {account}"),
        Kind::Expire => format!("hold {hold} of {account} expires"),
        Kind::TransferBegin => format!("begin to transfer {amount} from {account} to {counterparty}"),
        Kind::TransferCommit => format!("commit {transfer}: {amount} from {account} to {counterparty}"),
        Kind::TransferAbort => match &record.abort {
            Some(why) => format!("abort {transfer} ({})", why.reason.as_str()),
            None => format!("abort {transfer}"),
        },
        Kind::TransferClose => format!("close {transfer}"),
        Kind::CreditPrepare => format!("prepare {transfer}: {amount} from {counterparty} to {account}"),
        Kind::CreditCommit => format!("commit {transfer}: {amount} from {counterparty} to {account}"),
        Kind::CreditAbort => format!("abort {transfer} from {counterparty}"),
        Kind::Unknown => format!("operation on {}", named(account)),
    }
}

#[cfg(test)]
#[path = "views_tests.rs"]
mod tests;
