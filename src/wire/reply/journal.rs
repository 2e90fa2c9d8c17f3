//! Applied commands as statements, the feed and pages of the journal show them.

use super::{Stamp, account_ref, hold_name, request_text, state_of, time, transfer_name};
use crate::model::{
    AccountNumber, Applied, BranchName, Command, CustomerPosting, Failure, HoldId, Money, Receipt,
};
use crate::wire::batch::error;
use crate::wire::proto::v1;

/// The reply that is a page of a statement.
#[must_use]
pub fn entries(
    entries: Vec<v1::Entry>,
    next_page_token: String,
    stamp: Stamp<'_>,
) -> v1::ListEntriesResponse {
    stamped!(stamp, ListEntriesResponse { entries, next_page_token })
}

/// One posting as a statement shows it.
#[must_use]
pub fn entry(branch: &BranchName, applied: &Applied, posting: &CustomerPosting) -> v1::Entry {
    let (kind, counterparty) = match &applied.outcome {
        Ok(Receipt::Transferred { source, destination, .. }) => {
            let other = if posting.account == *source { *destination } else { *source };
            (v1::OperationKind::Transfer, account_ref(branch, other))
        }
        Ok(Receipt::TransferCommitted(change)) => {
            (v1::OperationKind::Transfer, change.destination.to_string())
        }
        Ok(Receipt::CreditCommitted(change)) => (v1::OperationKind::Transfer, change.source.to_string()),
        Ok(_) | Err(_) => (kind(&applied.command), String::new()),
    };
    v1::Entry {
        sequence: applied.sequence.0,
        time: Some(time(applied.time)),
        kind: kind.into(),
        amount: posting.amount.to_string(),
        balance: posting.balance.to_string(),
        counterparty,
        request_id: request_text(applied.request.as_ref()),
        transfer: transfer_of(branch, applied),
        hold: hold_of(applied).map(|hold| hold_name(branch, hold)).unwrap_or_default(),
    }
}

/// A message of the journal's feed.
#[must_use]
pub fn feed(records: Vec<v1::JournalRecord>, stamp: Stamp<'_>) -> v1::WatchJournalResponse {
    stamped!(stamp, WatchJournalResponse { records })
}

/// The reply that is a page of the journal.
#[must_use]
pub fn journal(
    records: Vec<v1::JournalRecord>,
    next_page_token: String,
    stamp: Stamp<'_>,
) -> v1::ListJournalResponse {
    stamped!(stamp, ListJournalResponse { records, next_page_token })
}

/// One applied command as the journal shows it.
#[must_use]
pub fn record(branch: &BranchName, applied: &Applied) -> v1::JournalRecord {
    let (account, _) = accounts_of(applied);
    let receipt = applied.outcome.as_ref().ok();
    let [balance, counterparty_balance] = receipt
        .map(Receipt::balances)
        .unwrap_or_default()
        .map(|balance| balance.map(|(_, money)| money.to_string()).unwrap_or_default());
    let money = receipt.and_then(Receipt::money_after).map(|(_, money)| money);
    let abort = if let Command::AbortTransfer { reason, .. } = &applied.command {
        Some(error(&Failure::from(reason)))
    } else {
        None
    };
    let state = if let Command::SetAccountState { action, .. } = &applied.command {
        state_of(action.state())
    } else {
        v1::AccountState::Unspecified
    };
    v1::JournalRecord {
        sequence: applied.sequence.0,
        time: Some(time(applied.time)),
        kind: kind(&applied.command).into(),
        account: account.map(|number| account_ref(branch, number)).unwrap_or_default(),
        counterparty: counterparty(branch, applied),
        amount: amount_of(applied).map(|amount| amount.to_string()).unwrap_or_default(),
        balance,
        counterparty_balance,
        request_id: request_text(applied.request.as_ref()),
        error: applied.outcome.as_ref().err().map(|rejection| error(&Failure::from(rejection))),
        held: money.map(|money| money.held.to_string()).unwrap_or_default(),
        available: money.map(|money| money.available().to_string()).unwrap_or_default(),
        transfer: transfer_of(branch, applied),
        hold: hold_of(applied).map(|hold| hold_name(branch, hold)).unwrap_or_default(),
        state: state.into(),
        abort,
        expire_time: match receipt {
            Some(Receipt::HoldPlaced(change)) => change.expires.map(time),
            Some(_) | None => None,
        },
    }
}

/// The accounts of the branch that an applied command concerns: the one opened, changed or paying (receiving, of
/// a credit), and the receiver of a transfer inside the branch.
#[must_use]
pub fn accounts_of(applied: &Applied) -> (Option<AccountNumber>, Option<AccountNumber>) {
    match (&applied.command, &applied.outcome) {
        (Command::OpenAccount(_), Ok(receipt)) => {
            let [opened, _] = receipt.balances();
            (opened.map(|(account, _)| account), None)
        }
        (Command::OpenAccount(new), Err(_)) => (new.number, None),
        (
            Command::Deposit { account, .. }
            | Command::Withdraw { account, .. }
            | Command::AddInterest { account, .. },
            _,
        ) => (Some(*account), None),
        (Command::Transfer { source, destination, .. }, _) => (Some(*source), Some(*destination)),
        (Command::SetAccountState { account, .. }, _) => (Some(*account), None),
        (Command::PlaceHold(new), _) => (Some(new.account), None),
        (Command::BeginTransfer(new), _) => (Some(new.source), None),
        (
            Command::PrepareCredit(credit) | Command::CommitCredit(credit) | Command::AbortCredit(credit),
            _,
        ) => (Some(credit.destination), None),
        (
            Command::CaptureHold { .. }
            | Command::ReleaseHold { .. }
            | Command::ExpireHold { .. }
            | Command::CommitTransfer { .. }
            | Command::AbortTransfer { .. }
            | Command::CloseTransfer { .. },
            outcome,
        ) => {
            let money = outcome.as_ref().ok().and_then(Receipt::money_after);
            (money.map(|(account, _)| account), None)
        }
    }
}

/// The amount moved or asked for; of interest the amount added, and none when it was refused.
fn amount_of(applied: &Applied) -> Option<Money> {
    match (&applied.command, &applied.outcome) {
        (Command::OpenAccount(new), _) => Some(new.deposit.map_or(Money::ZERO, Money::from)),
        (
            Command::Deposit { amount, .. }
            | Command::Withdraw { amount, .. }
            | Command::Transfer { amount, .. },
            _,
        ) => Some(amount.money()),
        (Command::AddInterest { .. }, Ok(Receipt::InterestAdded { interest, .. })) => Some(*interest),
        (Command::AddInterest { .. }, Ok(_) | Err(_)) => None,
        (Command::PlaceHold(new), _) => Some(new.amount.money()),
        (Command::BeginTransfer(new), _) => Some(new.amount.money()),
        (
            Command::PrepareCredit(credit) | Command::CommitCredit(credit) | Command::AbortCredit(credit),
            _,
        ) => Some(credit.amount.money()),
        (_, Ok(Receipt::HoldCaptured(change))) => change.captured.map(Money::from),
        (_, Ok(Receipt::HoldReleased(change) | Receipt::HoldExpired(change))) => Some(change.amount.money()),
        (
            _,
            Ok(
                Receipt::TransferCommitted(change)
                | Receipt::TransferAborted(change)
                | Receipt::TransferClosed(change),
            ),
        ) => Some(change.amount.money()),
        (
            Command::SetAccountState { .. }
            | Command::CaptureHold { .. }
            | Command::ReleaseHold { .. }
            | Command::ExpireHold { .. }
            | Command::CommitTransfer { .. }
            | Command::AbortTransfer { .. }
            | Command::CloseTransfer { .. },
            Ok(_) | Err(_),
        ) => None,
    }
}

fn kind(command: &Command) -> v1::OperationKind {
    match command {
        Command::OpenAccount(_) => v1::OperationKind::Open,
        Command::Deposit { .. } => v1::OperationKind::Deposit,
        Command::Withdraw { .. } => v1::OperationKind::Withdraw,
        Command::AddInterest { .. } => v1::OperationKind::Interest,
        Command::Transfer { .. } => v1::OperationKind::Transfer,
        Command::SetAccountState { .. } => v1::OperationKind::SetState,
        Command::PlaceHold(_) => v1::OperationKind::Hold,
        Command::CaptureHold { .. } => v1::OperationKind::Capture,
        Command::ReleaseHold { .. } => v1::OperationKind::Release,
        Command::ExpireHold { .. } => v1::OperationKind::Expire,
        Command::BeginTransfer(_) => v1::OperationKind::TransferBegin,
        Command::CommitTransfer { .. } => v1::OperationKind::TransferCommit,
        Command::AbortTransfer { .. } => v1::OperationKind::TransferAbort,
        Command::CloseTransfer { .. } => v1::OperationKind::TransferClose,
        Command::PrepareCredit(_) => v1::OperationKind::CreditPrepare,
        Command::CommitCredit(_) => v1::OperationKind::CreditCommit,
        Command::AbortCredit(_) => v1::OperationKind::CreditAbort,
    }
}

/// The other account of a transfer.
fn counterparty(branch: &BranchName, applied: &Applied) -> String {
    match (&applied.command, &applied.outcome) {
        (Command::Transfer { destination, .. }, _) => account_ref(branch, *destination),
        (Command::BeginTransfer(new), _) => new.destination.to_string(),
        (
            _,
            Ok(
                Receipt::TransferCommitted(change)
                | Receipt::TransferAborted(change)
                | Receipt::TransferClosed(change),
            ),
        ) => change.destination.to_string(),
        (command, _) => command
            .credit()
            .map(|credit| account_ref(&credit.origin.branch, credit.source))
            .unwrap_or_default(),
    }
}

/// The transfer that an applied command is about.
fn transfer_of(branch: &BranchName, applied: &Applied) -> String {
    match (&applied.command, &applied.outcome) {
        (Command::Transfer { .. } | Command::BeginTransfer(_), Ok(_)) => {
            transfer_name(branch, applied.sequence)
        }
        (
            Command::CommitTransfer { number }
            | Command::AbortTransfer { number, .. }
            | Command::CloseTransfer { number, .. },
            _,
        ) => transfer_name(branch, *number),
        (command, _) => command
            .credit()
            .map(|credit| transfer_name(&credit.origin.branch, credit.number))
            .unwrap_or_default(),
    }
}

/// The hold that an applied command is about.
fn hold_of(applied: &Applied) -> Option<HoldId> {
    match (&applied.command, &applied.outcome) {
        (Command::PlaceHold(_), Ok(_)) => Some(HoldId(applied.sequence)),
        (
            Command::CaptureHold { hold, .. } | Command::ReleaseHold { hold } | Command::ExpireHold { hold },
            _,
        ) => Some(*hold),
        (_, _) => None,
    }
}
