//! Model values into replies.
//!
//! `api` calls it.

use std::fmt::Write as _;

use prost_types::Timestamp as ProtoTimestamp;

use super::batch::error;
use super::proto::v1;
use crate::model::{
    Account, AccountNumber, AccountState, BranchName, Failure, HoldId, Money, Reason, Receipt, ReplicaId,
    RequestId, Sequence, Timestamp,
};

/// What every reply carries.
#[derive(Clone, Debug)]
pub struct Stamp<'a> {
    /// The branch that answers.
    pub branch: &'a BranchName,
    /// The replica that answers.
    pub replica: ReplicaId,
    /// The answer shows this sequence or a later one; for a write, its place.
    pub sequence: Sequence,
    /// What the caller has seen now.
    pub session_token: String,
}

/// What every reply to a write carries.
#[derive(Clone, Debug)]
pub struct WriteStamp<'a> {
    /// What every reply carries.
    pub stamp: Stamp<'a>,
    /// The caller's name for the operation.
    pub request_id: String,
    /// Whether this is the first answer again.
    pub replayed: bool,
    /// When it was applied; none when it was only looked at what it would do.
    pub applied: Option<Timestamp>,
}

impl WriteStamp<'_> {
    /// The name of what the operation began; empty when it was not applied.
    fn name(&self) -> String {
        match self.applied {
            Some(_) => transfer_name(self.stamp.branch, self.stamp.sequence),
            None => String::new(),
        }
    }
}

/// Fills the fields that every reply has, after those that are its own.
macro_rules! stamped {
    ($stamp:expr, $message:ident { $($field:ident $(: $value:expr)?),* $(,)? }) => {
        v1::$message {
            $($field $(: $value)?,)*
            sequence: $stamp.sequence.0,
            branch: $stamp.branch.as_str().to_owned(),
            replica: $stamp.replica.0,
            session_token: $stamp.session_token,
        }
    };
}

/// Fills the fields that every reply to a write has, after those that are its own.
macro_rules! written {
    ($written:ident, $message:ident { $($field:ident $(: $value:expr)?),* $(,)? }) => {
        stamped!($written.stamp, $message {
            $($field $(: $value)?,)*
            request_id: $written.request_id,
            replayed: $written.replayed,
        })
    };
}

mod holds;
mod journal;
mod operation;

pub use holds::{captured, hold as hold_shown, hold_fields, holds, placed, released, state_set};
pub use journal::{accounts_of, entries, entry, feed, journal, record};
pub use operation::operation;

/// The full form of an account's number.
#[must_use]
pub fn account_ref(branch: &BranchName, number: AccountNumber) -> String {
    const DIGITS: usize = 12;
    let mut text = String::with_capacity(branch.as_str().len() + 1 + DIGITS);
    text.push_str(branch.as_str());
    // Writing to a string cannot fail.
    let _ = write!(text, "/{number}");
    text
}

/// The name of a transfer: the branch that pays, and the place in its order where it began.
#[must_use]
pub fn transfer_name(branch: &BranchName, number: Sequence) -> String {
    format!("{branch}:{number}")
}

/// The name of a hold: its branch, and the place in its order where it was placed.
#[must_use]
pub fn hold_name(branch: &BranchName, hold: HoldId) -> String {
    format!("{branch}:{hold}")
}

/// The state of an account as the proto writes it.
fn state_of(state: AccountState) -> v1::AccountState {
    match state {
        AccountState::Open => v1::AccountState::Open,
        AccountState::Frozen => v1::AccountState::Frozen,
        AccountState::Closed => v1::AccountState::Closed,
    }
}

fn mismatch(receipt: &Receipt) -> Failure {
    Failure::new(Reason::Internal, format!("the ledger answered with a receipt of another kind: {receipt:?}"))
}

/// The reply to an opening.
///
/// # Errors
/// `INTERNAL` for a receipt of another kind.
pub fn opened(receipt: &Receipt, written: WriteStamp<'_>) -> Result<v1::OpenAccountResponse, Failure> {
    let Receipt::Opened { account, balance } = receipt else { return Err(mismatch(receipt)) };
    Ok(written!(
        written,
        OpenAccountResponse {
            account: account_ref(written.stamp.branch, *account),
            balance: balance.to_string(),
        }
    ))
}

/// The reply to a deposit.
///
/// # Errors
/// `INTERNAL` for a receipt of another kind.
pub fn deposited(receipt: &Receipt, written: WriteStamp<'_>) -> Result<v1::DepositAccountResponse, Failure> {
    let Receipt::Deposited { account, balance } = receipt else { return Err(mismatch(receipt)) };
    Ok(written!(
        written,
        DepositAccountResponse {
            account: account_ref(written.stamp.branch, *account),
            balance: balance.to_string(),
        }
    ))
}

/// The reply to a withdrawal.
///
/// # Errors
/// `INTERNAL` for a receipt of another kind.
pub fn withdrawn(receipt: &Receipt, written: WriteStamp<'_>) -> Result<v1::WithdrawAccountResponse, Failure> {
    let Receipt::Withdrawn { account, balance } = receipt else { return Err(mismatch(receipt)) };
    Ok(written!(
        written,
        WithdrawAccountResponse {
            account: account_ref(written.stamp.branch, *account),
            balance: balance.to_string(),
        }
    ))
}

/// The reply to an addition of interest.
///
/// # Errors
/// `INTERNAL` for a receipt of another kind.
pub fn interest_added(
    receipt: &Receipt,
    written: WriteStamp<'_>,
) -> Result<v1::AddInterestResponse, Failure> {
    let Receipt::InterestAdded { account, interest, balance } = receipt else {
        return Err(mismatch(receipt));
    };
    Ok(written!(
        written,
        AddInterestResponse {
            account: account_ref(written.stamp.branch, *account),
            balance: balance.to_string(),
            interest: interest.to_string(),
        }
    ))
}

/// The reply to a transfer of `amount`.
///
/// # Errors
/// `INTERNAL` for a receipt of another kind.
pub fn transferred(
    receipt: &Receipt,
    amount: Money,
    written: WriteStamp<'_>,
) -> Result<v1::TransferResponse, Failure> {
    let Receipt::Transferred { source, destination, source_balance, destination_balance } = receipt else {
        return Err(mismatch(receipt));
    };
    Ok(written!(
        written,
        TransferResponse {
            transfer: written.name(),
            state: v1::TransferState::Committed.into(),
            source: account_ref(written.stamp.branch, *source),
            destination: account_ref(written.stamp.branch, *destination),
            amount: amount.to_string(),
            source_balance: source_balance.to_string(),
            destination_balance: destination_balance.to_string(),
            reason: String::new(),
            message: String::new(),
        }
    ))
}

/// The reply to a batch whose first command stands at `first`.
#[must_use]
pub fn batch_done(
    results: Vec<v1::BatchResult>,
    first: Sequence,
    written: WriteStamp<'_>,
) -> v1::ExecuteBatchResponse {
    written!(written, ExecuteBatchResponse { results, first_sequence: first.0 })
}

/// The reply to batch `number` of a stream: what became of its commands, or why it was not executed.
#[must_use]
pub fn submitted(
    number: u64,
    outcome: Result<(Vec<v1::BatchResult>, Sequence), &Failure>,
    written: WriteStamp<'_>,
) -> v1::SubmitResponse {
    let (results, first, error) = match outcome {
        Ok((results, first)) => (results, first, None),
        Err(failure) => (Vec::new(), Sequence::ZERO, Some(error(failure))),
    };
    written!(written, SubmitResponse { number, results, first_sequence: first.0, error })
}

/// The reply that tells a balance.
#[must_use]
pub fn balance(account: &Account, consistency: v1::Consistency, stamp: Stamp<'_>) -> v1::GetBalanceResponse {
    stamped!(
        stamp,
        GetBalanceResponse {
            account: account_ref(stamp.branch, account.number),
            balance: account.balance.balance.to_string(),
            held: account.balance.held.to_string(),
            available: account.balance.available().to_string(),
            consistency: consistency.into(),
        }
    )
}

/// The reply that tells an account.
#[must_use]
pub fn account(account: &Account, stamp: Stamp<'_>) -> v1::GetAccountResponse {
    stamped!(stamp, GetAccountResponse { account: Some(account_fields(stamp.branch, account)) })
}

/// The reply that lists accounts.
#[must_use]
pub fn accounts(accounts: &[Account], next_page_token: String, stamp: Stamp<'_>) -> v1::ListAccountsResponse {
    let accounts = accounts.iter().map(|account| account_fields(stamp.branch, account)).collect();
    stamped!(stamp, ListAccountsResponse { accounts, next_page_token })
}

fn account_fields(branch: &BranchName, account: &Account) -> v1::Account {
    v1::Account {
        account: account_ref(branch, account.number),
        name: account.name.as_ref().map(|name| name.as_str().to_owned()).unwrap_or_default(),
        state: state_of(account.state).into(),
        open_time: Some(time(account.opened)),
        balance: account.balance.balance.to_string(),
        held: account.balance.held.to_string(),
        available: account.balance.available().to_string(),
        overdraft_limit: account.balance.overdraft.money().to_string(),
    }
}

fn request_text(request: Option<&RequestId>) -> String {
    request.map(RequestId::to_string).unwrap_or_default()
}

/// A ledger time as the proto writes it.
#[must_use]
pub fn time(time: Timestamp) -> ProtoTimestamp {
    const MICROS_PER_SECOND: u64 = 1_000_000;
    let (seconds, micros) = (time.micros() / MICROS_PER_SECOND, time.micros() % MICROS_PER_SECOND);
    ProtoTimestamp {
        seconds: i64::try_from(seconds).expect("2^64 microseconds are less than 2^63 seconds"),
        nanos: i32::try_from(micros * 1_000).expect("a second has 10^9 nanoseconds"),
    }
}
