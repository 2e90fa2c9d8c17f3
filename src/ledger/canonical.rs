//! The bytes that the running digest and the fingerprints are made of: fixed-width, little-endian, one
//! meaning per byte string. They never leave the ledger, but they are as pinned as an encoding on disk: other
//! bytes are another digest.

use std::num::NonZeroU64;

use crate::model::{
    AbortReason, AccountNumber, AccountState, Balance, Command, Credit, CreditChange, CreditState,
    HoldChange, HoldEnd, Money, Outcome, Receipt, Rejection, RemoteAccount, RequestId, StateAction,
    Timestamp, TransferChange, Work,
};

/// Appends who asks.
pub(super) fn put_request(bytes: &mut Vec<u8>, request: Option<&RequestId>) {
    match request {
        None => bytes.push(0),
        Some(RequestId::Uuid(id)) => {
            bytes.push(1);
            bytes.extend_from_slice(id);
        }
        Some(RequestId::Text(text)) => {
            bytes.push(2);
            put_text(bytes, text);
        }
    }
}

/// Appends a work: its kind and its commands.
pub(super) fn put_work(bytes: &mut Vec<u8>, work: &Work) {
    bytes.push(match work {
        Work::One(_) => 1,
        Work::Independent(_) => 2,
        Work::Atomic(_) => 3,
    });
    for command in work.commands() {
        put_command(bytes, command);
    }
}

fn put_command(bytes: &mut Vec<u8>, command: &Command) {
    match command {
        Command::OpenAccount(new) => {
            bytes.push(1);
            put_u64(bytes, new.number.map_or(0, AccountNumber::get));
            put_money(bytes, new.deposit.map_or(Money::ZERO, Money::from));
            put_money(bytes, new.overdraft.money());
            let name = new.name.as_ref().map_or("", |name| name.as_str());
            put_text(bytes, name);
        }
        Command::Deposit { account, amount } => {
            bytes.push(2);
            put_account(bytes, *account);
            put_money(bytes, amount.money());
        }
        Command::Withdraw { account, amount } => {
            bytes.push(3);
            put_account(bytes, *account);
            put_money(bytes, amount.money());
        }
        Command::AddInterest { account, rate } => {
            bytes.push(4);
            put_account(bytes, *account);
            put_u64(bytes, u64::from(rate.parts()));
        }
        Command::Transfer { source, destination, amount } => {
            bytes.push(5);
            put_account(bytes, *source);
            put_account(bytes, *destination);
            put_money(bytes, amount.money());
        }
        Command::SetAccountState { account, action } => {
            bytes.push(31);
            put_account(bytes, *account);
            put_action(bytes, *action);
        }
        Command::PlaceHold(new) => {
            bytes.push(32);
            put_account(bytes, new.account);
            put_money(bytes, new.amount.money());
            put_u64(bytes, new.lasts.map_or(0, NonZeroU64::get));
        }
        Command::CaptureHold { hold, amount } => {
            bytes.push(33);
            put_u64(bytes, hold.0.0);
            put_money(bytes, amount.map_or(Money::ZERO, Money::from));
        }
        Command::ReleaseHold { hold } => {
            bytes.push(34);
            put_u64(bytes, hold.0.0);
        }
        Command::ExpireHold { hold } => {
            bytes.push(35);
            put_u64(bytes, hold.0.0);
        }
        Command::BeginTransfer(_)
        | Command::CommitTransfer { .. }
        | Command::AbortTransfer { .. }
        | Command::CloseTransfer { .. }
        | Command::PrepareCredit(_)
        | Command::CommitCredit(_)
        | Command::AbortCredit(_) => put_between_branches(bytes, command),
    }
}

/// The commands of transfers between branches; nothing for others.
fn put_between_branches(bytes: &mut Vec<u8>, command: &Command) {
    match command {
        Command::BeginTransfer(new) => {
            bytes.push(36);
            put_account(bytes, new.source);
            put_remote(bytes, &new.destination);
            put_money(bytes, new.amount.money());
        }
        Command::CommitTransfer { number } => {
            bytes.push(37);
            put_u64(bytes, number.0);
        }
        Command::AbortTransfer { number, reason } => {
            bytes.push(38);
            put_u64(bytes, number.0);
            put_reason(bytes, reason);
        }
        Command::CloseTransfer { number, seen } => {
            bytes.push(39);
            put_u64(bytes, number.0);
            if let Some(seen) = seen {
                bytes.extend_from_slice(&seen.ledger.0);
            }
            put_u64(bytes, seen.as_ref().map_or(0, |seen| seen.sequence.0));
        }
        Command::PrepareCredit(credit) => put_credit(bytes, 40, credit),
        Command::CommitCredit(credit) => put_credit(bytes, 41, credit),
        Command::AbortCredit(credit) => put_credit(bytes, 42, credit),
        Command::OpenAccount(_)
        | Command::Deposit { .. }
        | Command::Withdraw { .. }
        | Command::AddInterest { .. }
        | Command::Transfer { .. }
        | Command::SetAccountState { .. }
        | Command::PlaceHold(_)
        | Command::CaptureHold { .. }
        | Command::ReleaseHold { .. }
        | Command::ExpireHold { .. } => {}
    }
}

fn put_credit(bytes: &mut Vec<u8>, tag: u8, credit: &Credit) {
    bytes.push(tag);
    put_text(bytes, credit.origin.branch.as_str());
    bytes.extend_from_slice(&credit.origin.ledger.0);
    put_u64(bytes, credit.number.0);
    put_u64(bytes, credit.settled_below.0);
    put_account(bytes, credit.source);
    put_account(bytes, credit.destination);
    put_money(bytes, credit.amount.money());
}

fn put_reason(bytes: &mut Vec<u8>, reason: &AbortReason) {
    match reason {
        AbortReason::Refused(rejection) => {
            bytes.push(1);
            put_rejection(bytes, rejection);
        }
        AbortReason::TimedOut => bytes.push(2),
        AbortReason::BranchUnknown => bytes.push(3),
        AbortReason::Operator => bytes.push(4),
    }
}

/// The first three are as when there were no others, so that older fingerprints and digests hold.
fn put_action(bytes: &mut Vec<u8>, action: StateAction) {
    bytes.push(match action {
        StateAction::Open => 1,
        StateAction::Freeze => 2,
        StateAction::Close => 3,
        StateAction::Unfreeze => 4,
        StateAction::Reopen => 5,
    });
}

fn put_state(bytes: &mut Vec<u8>, state: AccountState) {
    bytes.push(match state {
        AccountState::Open => 1,
        AccountState::Frozen => 2,
        AccountState::Closed => 3,
    });
}

fn put_remote(bytes: &mut Vec<u8>, account: &RemoteAccount) {
    put_text(bytes, account.branch.as_str());
    put_account(bytes, account.account);
}

fn put_balance(bytes: &mut Vec<u8>, balance: &Balance) {
    put_money(bytes, balance.balance);
    put_money(bytes, balance.held);
    put_money(bytes, balance.overdraft.money());
}

/// Appends what became of a command.
pub(super) fn put_outcome(bytes: &mut Vec<u8>, outcome: &Outcome) {
    match outcome {
        Ok(receipt) => put_receipt(bytes, receipt),
        Err(rejection) => put_rejection(bytes, rejection),
    }
}

fn put_receipt(bytes: &mut Vec<u8>, receipt: &Receipt) {
    match receipt {
        Receipt::Opened { account, balance } => {
            bytes.push(11);
            put_account(bytes, *account);
            put_money(bytes, *balance);
        }
        // The accounts stand in the command.
        Receipt::Deposited { balance, .. } => {
            bytes.push(12);
            put_money(bytes, *balance);
        }
        Receipt::Withdrawn { balance, .. } => {
            bytes.push(13);
            put_money(bytes, *balance);
        }
        Receipt::InterestAdded { interest, balance, .. } => {
            bytes.push(14);
            put_money(bytes, *interest);
            put_money(bytes, *balance);
        }
        Receipt::Transferred { source_balance, destination_balance, .. } => {
            bytes.push(15);
            put_money(bytes, *source_balance);
            put_money(bytes, *destination_balance);
        }
        Receipt::StateSet(change) => {
            bytes.push(51);
            put_account(bytes, change.account);
            put_state(bytes, change.state);
            put_balance(bytes, &change.balance);
        }
        Receipt::HoldPlaced(change) => put_hold(bytes, 52, change),
        Receipt::HoldCaptured(change) => put_hold(bytes, 53, change),
        Receipt::HoldReleased(change) => put_hold(bytes, 54, change),
        Receipt::HoldExpired(change) => put_hold(bytes, 55, change),
        Receipt::TransferBegun(change) => put_transfer(bytes, 56, change),
        Receipt::TransferCommitted(change) => put_transfer(bytes, 57, change),
        Receipt::TransferAborted(change) => put_transfer(bytes, 58, change),
        Receipt::TransferClosed(change) => put_transfer(bytes, 59, change),
        // What the credit is stands in the command.
        Receipt::CreditPrepared(change) => put_credited(bytes, 60, change),
        Receipt::CreditCommitted(change) => put_credited(bytes, 61, change),
        Receipt::CreditAborted(change) => put_credited(bytes, 62, change),
        Receipt::CreditKnown { state } => match state {
            CreditState::Prepared { at } => {
                bytes.push(63);
                put_u64(bytes, at.micros());
            }
            CreditState::Committed => bytes.push(64),
            CreditState::Aborted => bytes.push(65),
        },
    }
}

fn put_hold(bytes: &mut Vec<u8>, tag: u8, change: &HoldChange) {
    bytes.push(tag);
    put_account(bytes, change.account);
    put_money(bytes, change.amount.money());
    put_money(bytes, change.captured.map_or(Money::ZERO, Money::from));
    put_u64(bytes, change.expires.map_or(0, Timestamp::micros));
    put_balance(bytes, &change.balance);
}

fn put_transfer(bytes: &mut Vec<u8>, tag: u8, change: &TransferChange) {
    bytes.push(tag);
    put_account(bytes, change.source);
    put_remote(bytes, &change.destination);
    put_money(bytes, change.amount.money());
    put_balance(bytes, &change.balance);
}

fn put_credited(bytes: &mut Vec<u8>, tag: u8, change: &CreditChange) {
    bytes.push(tag);
    bytes.push(u8::from(change.balance.is_some()));
    if let Some(balance) = &change.balance {
        put_balance(bytes, balance);
    }
}

fn put_rejection(bytes: &mut Vec<u8>, rejection: &Rejection) {
    match rejection {
        Rejection::AccountNotFound { account } => put_numbers(bytes, 21, &[account.get()]),
        Rejection::AccountExists { account } => put_numbers(bytes, 22, &[account.get()]),
        Rejection::InsufficientFunds { account, available, needed } => {
            put_numbers(bytes, 23, &[account.get()]);
            put_money(bytes, *available);
            put_money(bytes, *needed);
        }
        Rejection::AmountOverflow { account } => put_numbers(bytes, 24, &[account.get()]),
        Rejection::SameAccount { account } => put_numbers(bytes, 25, &[account.get()]),
        Rejection::BatchAborted { failed } => put_numbers(bytes, 26, &[u64::from(*failed)]),
        Rejection::AccountFrozen { account } => put_numbers(bytes, 71, &[account.get()]),
        Rejection::AccountClosed { account } => put_numbers(bytes, 72, &[account.get()]),
        Rejection::BalanceNotZero { account, balance } => {
            put_numbers(bytes, 73, &[account.get()]);
            put_money(bytes, *balance);
        }
        Rejection::AccountInUse { account } => put_numbers(bytes, 74, &[account.get()]),
        Rejection::HoldNotFound { hold } => put_numbers(bytes, 75, &[hold.0.0]),
        Rejection::HoldFinal { hold, end } => {
            let end = match end {
                HoldEnd::Captured => 1,
                HoldEnd::Released => 2,
                HoldEnd::Expired => 3,
            };
            put_numbers(bytes, 76, &[hold.0.0, end]);
        }
        Rejection::HoldTooSmall { hold, reserved, needed } => {
            put_numbers(bytes, 77, &[hold.0.0]);
            put_money(bytes, *reserved);
            put_money(bytes, *needed);
        }
        Rejection::HoldNotOver { hold } => put_numbers(bytes, 79, &[hold.0.0]),
        Rejection::TransferNotFound { number } => put_numbers(bytes, 80, &[number.0]),
        Rejection::TransferFinal { number, committed } => {
            put_numbers(bytes, 81, &[number.0, u64::from(*committed)]);
        }
        Rejection::TransferPending { number } => put_numbers(bytes, 82, &[number.0]),
        Rejection::TransferStale { number, settled_below } => {
            put_numbers(bytes, 83, &[number.0, settled_below.0]);
        }
        Rejection::TransferMismatch { number } => put_numbers(bytes, 84, &[number.0]),
        Rejection::TooManyOpen { limit } => put_numbers(bytes, 85, &[u64::from(*limit)]),
        // A refused proposal gets no sequence and no record, but another branch may name any rejection as its reason.
        Rejection::RequestReused => put_numbers(bytes, 86, &[]),
        Rejection::RequestExpired { forgotten } => put_numbers(bytes, 87, &[forgotten.micros()]),
        Rejection::RequestFromFuture { made, now } => {
            put_numbers(bytes, 88, &[made.micros(), now.micros()]);
        }
    }
}

fn put_numbers(bytes: &mut Vec<u8>, tag: u8, numbers: &[u64]) {
    bytes.push(tag);
    numbers.iter().for_each(|number| put_u64(bytes, *number));
}

fn put_account(bytes: &mut Vec<u8>, account: AccountNumber) {
    put_u64(bytes, account.get());
}

fn put_money(bytes: &mut Vec<u8>, money: Money) {
    bytes.extend_from_slice(&money.minor().to_le_bytes());
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    put_u64(bytes, text.len() as u64);
    bytes.extend_from_slice(text.as_bytes());
}

fn put_u64(bytes: &mut Vec<u8>, number: u64) {
    bytes.extend_from_slice(&number.to_le_bytes());
}
