//! The bytes that the running digest and the fingerprints are made of: fixed-width, little-endian, one
//! meaning per byte string. They never leave the ledger, but they are as pinned as an encoding on disk: other
//! bytes are another digest.

use crate::model::{AccountNumber, Command, Money, Outcome, Receipt, Rejection, RequestId, Work};

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
    }
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
    }
}

fn put_rejection(bytes: &mut Vec<u8>, rejection: &Rejection) {
    match rejection {
        Rejection::AccountNotFound { account } => {
            bytes.push(21);
            put_account(bytes, *account);
        }
        Rejection::AccountExists { account } => {
            bytes.push(22);
            put_account(bytes, *account);
        }
        Rejection::InsufficientFunds { account, available, needed } => {
            bytes.push(23);
            put_account(bytes, *account);
            put_money(bytes, *available);
            put_money(bytes, *needed);
        }
        Rejection::AmountOverflow { account } => {
            bytes.push(24);
            put_account(bytes, *account);
        }
        Rejection::SameAccount { account } => {
            bytes.push(25);
            put_account(bytes, *account);
        }
        Rejection::BatchAborted { failed } => {
            bytes.push(26);
            put_u64(bytes, u64::from(*failed));
        }
        Rejection::RequestReused | Rejection::RequestExpired { .. } | Rejection::RequestFromFuture { .. } => {
            unreachable!("a refused proposal gets no sequence and no record")
        }
    }
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
