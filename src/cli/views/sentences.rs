//! One operation in one line.

use crate::cli::sheet::printable;
use crate::client::{AccountState, JournalRecord, Kind, time_text};

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
    // To the second: microseconds are for programs.
    let time = record.time.map(time_text).unwrap_or_default();
    let time =
        time.split_once('.').map(|(seconds, _)| seconds.replacen('T', " ", 1) + "Z ").unwrap_or_default();
    printable(&format!("{time}[{sequence}] {}{then}", deed(record)))
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
