//! Model values into replies.
//!
//! `api` calls it.

use std::fmt::Write as _;

use prost_types::Timestamp as ProtoTimestamp;

use super::batch::error;
use super::proto::v1;
use crate::model::{
    Account, AccountNumber, AccountState, Applied, BranchName, Command, CustomerPosting, Failure, Money,
    Operation, Outcome, Reason, Receipt, ReplicaId, Reply, RequestId, Sequence, Timestamp,
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

/// The name of a transfer inside a branch: the place where it was applied.
fn transfer_id(branch: &BranchName, sequence: Sequence) -> String {
    format!("{branch}:{sequence}")
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
            transfer: transfer_id(written.stamp.branch, written.stamp.sequence),
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
    let state = match account.state {
        AccountState::Open => v1::AccountState::Open,
        AccountState::Frozen | AccountState::Closed => v1::AccountState::Unspecified,
    };
    v1::Account {
        account: account_ref(branch, account.number),
        name: account.name.as_ref().map(|name| name.as_str().to_owned()).unwrap_or_default(),
        state: state.into(),
        open_time: Some(time(account.opened)),
        balance: account.balance.balance.to_string(),
        held: account.balance.held.to_string(),
        available: account.balance.available().to_string(),
        overdraft_limit: account.balance.overdraft.money().to_string(),
    }
}

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
    let counterparty = match &applied.outcome {
        Ok(Receipt::Transferred { source, destination, .. }) => {
            account_ref(branch, if posting.account == *source { *destination } else { *source })
        }
        Ok(Receipt::TransferCommitted(change)) => change.destination.to_string(),
        Ok(Receipt::CreditCommitted(change)) => change.source.to_string(),
        Ok(_) | Err(_) => String::new(),
    };
    v1::Entry {
        sequence: applied.sequence.0,
        time: Some(time(applied.time)),
        kind: kind(&applied.command).into(),
        amount: posting.amount.to_string(),
        balance: posting.balance.to_string(),
        counterparty,
        request_id: request_text(applied.request.as_ref()),
        transfer: String::new(),
        hold: String::new(),
    }
}

/// The reply that says what happened to a request id.
#[must_use]
pub fn operation(request: &RequestId, operation: &Operation, stamp: Stamp<'_>) -> v1::GetOperationResponse {
    let (state, applied, results) = match operation {
        Operation::Known(reply) => {
            let refused = reply.outcomes.as_slice().iter().all(Result::is_err);
            let state = if refused { v1::OperationState::Refused } else { v1::OperationState::Executed };
            (state, Some(time(reply.time)), operation_results(stamp.branch, reply))
        }
        Operation::NeverSeen => (v1::OperationState::NeverSeen, None, Vec::new()),
        Operation::Forgotten => (v1::OperationState::Forgotten, None, Vec::new()),
    };
    stamped!(
        stamp,
        GetOperationResponse { state: state.into(), time: applied, results, request_id: request.to_string() }
    )
}

fn operation_results(branch: &BranchName, reply: &Reply) -> Vec<v1::OperationResult> {
    let sequences = reply.first.0..;
    let outcomes = reply.outcomes.as_slice().iter();
    sequences.zip(outcomes).map(|(sequence, outcome)| operation_result(branch, sequence, outcome)).collect()
}

fn operation_result(branch: &BranchName, sequence: u64, outcome: &Outcome) -> v1::OperationResult {
    let (account, balance, interest, counterparty) = match outcome {
        Ok(
            Receipt::Opened { account, balance }
            | Receipt::Deposited { account, balance }
            | Receipt::Withdrawn { account, balance },
        ) => (account, balance, None, None),
        Ok(Receipt::InterestAdded { account, interest, balance }) => (account, balance, Some(interest), None),
        Ok(Receipt::Transferred { source, destination, source_balance, .. }) => {
            (source, source_balance, None, Some(destination))
        }
        Ok(
            receipt @ (Receipt::StateSet(_)
            | Receipt::HoldPlaced(_)
            | Receipt::HoldCaptured(_)
            | Receipt::HoldReleased(_)
            | Receipt::HoldExpired(_)
            | Receipt::TransferBegun(_)
            | Receipt::TransferCommitted(_)
            | Receipt::TransferAborted(_)
            | Receipt::TransferClosed(_)
            | Receipt::CreditPrepared(_)
            | Receipt::CreditCommitted(_)
            | Receipt::CreditAborted(_)
            | Receipt::CreditKnown { .. }),
        ) => {
            return match receipt.money_after() {
                Some((account, money)) => v1::OperationResult {
                    sequence,
                    account: account_ref(branch, account),
                    balance: money.balance.to_string(),
                    ..v1::OperationResult::default()
                },
                None => v1::OperationResult { sequence, ..v1::OperationResult::default() },
            };
        }
        Err(rejection) => {
            let error = Some(error(&Failure::from(rejection)));
            return v1::OperationResult { sequence, error, ..v1::OperationResult::default() };
        }
    };
    v1::OperationResult {
        sequence,
        account: account_ref(branch, *account),
        balance: balance.to_string(),
        interest: interest.map(Money::to_string).unwrap_or_default(),
        counterparty: counterparty.map(|number| account_ref(branch, *number)).unwrap_or_default(),
        ..v1::OperationResult::default()
    }
}

/// A message of the journal's feed.
#[must_use]
pub fn journal(records: Vec<v1::JournalRecord>, stamp: Stamp<'_>) -> v1::WatchJournalResponse {
    stamped!(stamp, WatchJournalResponse { records })
}

/// One applied command as the journal's feed shows it.
#[must_use]
pub fn record(branch: &BranchName, applied: &Applied) -> v1::JournalRecord {
    let (account, counterparty) = accounts_of(applied);
    let balances = applied.outcome.as_ref().map(Receipt::balances).unwrap_or_default();
    let [balance, counterparty_balance] =
        balances.map(|balance| balance.map(|(_, money)| money.to_string()).unwrap_or_default());
    let reference =
        |number: Option<AccountNumber>| number.map(|number| account_ref(branch, number)).unwrap_or_default();
    v1::JournalRecord {
        sequence: applied.sequence.0,
        time: Some(time(applied.time)),
        kind: kind(&applied.command).into(),
        account: reference(account),
        counterparty: reference(counterparty),
        amount: amount_of(applied).map(|amount| amount.to_string()).unwrap_or_default(),
        balance,
        counterparty_balance,
        request_id: request_text(applied.request.as_ref()),
        error: applied.outcome.as_ref().err().map(|rejection| error(&Failure::from(rejection))),
        ..v1::JournalRecord::default()
    }
}

/// The accounts that an applied command concerns: the one opened, changed or paying, and the receiver of
/// a transfer.
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
        Command::SetAccountState { .. }
        | Command::PlaceHold(_)
        | Command::CaptureHold { .. }
        | Command::ReleaseHold { .. }
        | Command::ExpireHold { .. }
        | Command::BeginTransfer(_)
        | Command::CommitTransfer { .. }
        | Command::AbortTransfer { .. }
        | Command::CloseTransfer { .. }
        | Command::PrepareCredit(_)
        | Command::CommitCredit(_)
        | Command::AbortCredit(_) => v1::OperationKind::Unspecified,
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
