//! From proto to the client's own types and back. Values that this client does not know (from a newer
//! server) become `Unknown`, never a failure: the call itself was done.

use crate::model::{Failure, Reason, Timestamp};
use crate::wire::proto::v1;

use super::types::{
    Account, AccountShown, Accounts, AsOf, Balance, Batch, BatchCommand, BatchDone, BatchReceipt,
    Consistency, Done, Entries, Entry, EntryOrder, InterestAdded, Journal, JournalPiece, JournalRecord, Kind,
    Named, Operation, OperationResult, OperationState, Seen, Written,
};

/// A reply that carries a session token.
pub(super) trait Reply {
    /// The token.
    fn session_token(&self) -> &str;
}

macro_rules! replies {
    ($($message:ident)+) => {
        $(impl Reply for v1::$message {
            fn session_token(&self) -> &str {
                &self.session_token
            }
        })+
    };
}

replies! {
    OpenAccountResponse DepositAccountResponse WithdrawAccountResponse AddInterestResponse
    GetBalanceResponse GetAccountResponse ListAccountsResponse TransferResponse ListEntriesResponse
    GetOperationResponse ExecuteBatchResponse SubmitResponse WatchJournalResponse ListJournalResponse
    SetAccountStateResponse PlaceHoldResponse CaptureHoldResponse ReleaseHoldResponse GetHoldResponse
    ListHoldsResponse GetTransferResponse ListTransfersResponse
}

/// The fields that every reply has, and those that every write's reply has.
macro_rules! seen {
    ($reply:ident) => {
        Seen {
            sequence: $reply.sequence,
            session_token: $reply.session_token,
            branch: $reply.branch,
            replica: $reply.replica,
        }
    };
}
macro_rules! named {
    ($reply:ident) => {
        Named { request_id: $reply.request_id, replayed: $reply.replayed }
    };
}

mod money;

macro_rules! written {
    ($($message:ident)+) => {
        $(impl From<v1::$message> for Written {
            fn from(reply: v1::$message) -> Written {
                Written {
                    account: reply.account,
                    balance: reply.balance,
                    named: named!(reply),
                    seen: seen!(reply),
                }
            }
        })+
    };
}

written! { OpenAccountResponse DepositAccountResponse WithdrawAccountResponse }

impl From<v1::AddInterestResponse> for InterestAdded {
    fn from(reply: v1::AddInterestResponse) -> InterestAdded {
        InterestAdded {
            account: reply.account,
            balance: reply.balance,
            interest: reply.interest,
            named: named!(reply),
            seen: seen!(reply),
        }
    }
}

impl From<v1::GetBalanceResponse> for Balance {
    fn from(reply: v1::GetBalanceResponse) -> Balance {
        Balance {
            consistency: match reply.consistency() {
                v1::Consistency::Linearizable => Some(Consistency::Linearizable),
                v1::Consistency::Session => Some(Consistency::Session),
                v1::Consistency::Stale => Some(Consistency::Stale),
                v1::Consistency::Unspecified => None,
            },
            account: reply.account,
            balance: reply.balance,
            held: reply.held,
            available: reply.available,
            seen: seen!(reply),
        }
    }
}

impl From<v1::Account> for Account {
    fn from(account: v1::Account) -> Account {
        Account {
            state: account.state().into(),
            open_time: account.open_time.and_then(timestamp),
            account: account.account,
            name: account.name,
            balance: account.balance,
            held: account.held,
            available: account.available,
            overdraft_limit: account.overdraft_limit,
        }
    }
}

impl From<v1::GetAccountResponse> for AccountShown {
    fn from(reply: v1::GetAccountResponse) -> AccountShown {
        AccountShown { account: reply.account.unwrap_or_default().into(), seen: seen!(reply) }
    }
}

impl From<v1::ListAccountsResponse> for Accounts {
    fn from(reply: v1::ListAccountsResponse) -> Accounts {
        Accounts {
            accounts: reply.accounts.into_iter().map(Account::from).collect(),
            next_page_token: reply.next_page_token,
            seen: seen!(reply),
        }
    }
}

impl From<v1::Entry> for Entry {
    fn from(entry: v1::Entry) -> Entry {
        Entry {
            kind: entry.kind().into(),
            sequence: entry.sequence,
            time: entry.time.and_then(timestamp),
            amount: entry.amount,
            balance: entry.balance,
            counterparty: entry.counterparty,
            request_id: entry.request_id,
            transfer: entry.transfer,
            hold: entry.hold,
        }
    }
}

impl From<v1::ListEntriesResponse> for Entries {
    fn from(reply: v1::ListEntriesResponse) -> Entries {
        Entries {
            entries: reply.entries.into_iter().map(Entry::from).collect(),
            next_page_token: reply.next_page_token,
            seen: seen!(reply),
        }
    }
}

impl From<v1::OperationResult> for OperationResult {
    fn from(result: v1::OperationResult) -> OperationResult {
        // Unspecified is the zero of the proto: nothing was said.
        let transfer_state = (result.transfer_state != 0).then(|| result.transfer_state().into());
        OperationResult {
            sequence: result.sequence,
            outcome: match result.error {
                Some(error) => Err(error.into()),
                None => Ok(Done {
                    account: result.account,
                    balance: result.balance,
                    interest: result.interest,
                    counterparty: result.counterparty,
                    transfer: result.transfer,
                    transfer_state,
                    hold: result.hold,
                }),
            },
        }
    }
}

impl From<v1::GetOperationResponse> for Operation {
    fn from(reply: v1::GetOperationResponse) -> Operation {
        Operation {
            state: match reply.state() {
                v1::OperationState::Executed => OperationState::Executed,
                v1::OperationState::Refused => OperationState::Refused,
                v1::OperationState::NeverSeen => OperationState::NeverSeen,
                v1::OperationState::Forgotten => OperationState::Forgotten,
                v1::OperationState::Unspecified => OperationState::Unknown,
            },
            request_id: reply.request_id,
            time: reply.time.and_then(timestamp),
            results: reply.results.into_iter().map(OperationResult::from).collect(),
            seen: seen!(reply),
        }
    }
}

impl From<v1::BatchResult> for Result<BatchReceipt, Failure> {
    fn from(result: v1::BatchResult) -> Result<BatchReceipt, Failure> {
        match result.error {
            Some(error) => Err(error.into()),
            None => Ok(BatchReceipt {
                account: result.account,
                balance: result.balance,
                interest: result.interest,
                destination_balance: result.destination_balance,
            }),
        }
    }
}

impl From<v1::ExecuteBatchResponse> for BatchDone {
    fn from(reply: v1::ExecuteBatchResponse) -> BatchDone {
        BatchDone {
            results: reply.results.into_iter().map(Into::into).collect(),
            first_sequence: reply.first_sequence,
            named: named!(reply),
            seen: seen!(reply),
        }
    }
}

impl From<v1::SubmitResponse> for Result<BatchDone, Failure> {
    fn from(reply: v1::SubmitResponse) -> Result<BatchDone, Failure> {
        match reply.error {
            Some(error) => Err(error.into()),
            None => Ok(BatchDone {
                results: reply.results.into_iter().map(Into::into).collect(),
                first_sequence: reply.first_sequence,
                named: named!(reply),
                seen: seen!(reply),
            }),
        }
    }
}

impl From<v1::JournalRecord> for JournalRecord {
    fn from(record: v1::JournalRecord) -> JournalRecord {
        // Unspecified is the zero of the proto: nothing was said.
        let state = (record.state != 0).then(|| record.state().into());
        JournalRecord {
            kind: record.kind().into(),
            state,
            sequence: record.sequence,
            time: record.time.and_then(timestamp),
            account: record.account,
            counterparty: record.counterparty,
            amount: record.amount,
            balance: record.balance,
            counterparty_balance: record.counterparty_balance,
            held: record.held,
            available: record.available,
            transfer: record.transfer,
            hold: record.hold,
            abort: record.abort.map(Failure::from),
            expire_time: record.expire_time.and_then(timestamp),
            request_id: record.request_id,
            refused: record.error.map(Failure::from),
        }
    }
}

impl From<v1::WatchJournalResponse> for JournalPiece {
    fn from(reply: v1::WatchJournalResponse) -> JournalPiece {
        JournalPiece {
            records: reply.records.into_iter().map(JournalRecord::from).collect(),
            seen: seen!(reply),
        }
    }
}

impl From<v1::ListJournalResponse> for Journal {
    fn from(reply: v1::ListJournalResponse) -> Journal {
        Journal {
            records: reply.records.into_iter().map(JournalRecord::from).collect(),
            next_page_token: reply.next_page_token,
            seen: seen!(reply),
        }
    }
}

impl From<v1::OperationError> for Failure {
    fn from(error: v1::OperationError) -> Failure {
        let mut failure =
            Failure::new(Reason::named(&error.reason).unwrap_or(Reason::Internal), error.message);
        failure.metadata = error.metadata.into_iter().collect();
        failure
    }
}

impl From<v1::OperationKind> for Kind {
    fn from(kind: v1::OperationKind) -> Kind {
        match kind {
            v1::OperationKind::Open => Kind::Open,
            v1::OperationKind::Deposit => Kind::Deposit,
            v1::OperationKind::Withdraw => Kind::Withdraw,
            v1::OperationKind::Interest => Kind::Interest,
            v1::OperationKind::Transfer => Kind::Transfer,
            v1::OperationKind::SetState => Kind::SetState,
            v1::OperationKind::Hold => Kind::Hold,
            v1::OperationKind::Capture => Kind::Capture,
            v1::OperationKind::Release => Kind::Release,
            v1::OperationKind::Expire => Kind::Expire,
            v1::OperationKind::TransferBegin => Kind::TransferBegin,
            v1::OperationKind::TransferCommit => Kind::TransferCommit,
            v1::OperationKind::TransferAbort => Kind::TransferAbort,
            v1::OperationKind::TransferClose => Kind::TransferClose,
            v1::OperationKind::CreditPrepare => Kind::CreditPrepare,
            v1::OperationKind::CreditCommit => Kind::CreditCommit,
            v1::OperationKind::CreditAbort => Kind::CreditAbort,
            v1::OperationKind::Unspecified => Kind::Unknown,
        }
    }
}

impl From<BatchCommand> for v1::BatchCommand {
    fn from(command: BatchCommand) -> v1::BatchCommand {
        let of = |kind: v1::OperationKind, account| v1::BatchCommand {
            kind: kind.into(),
            account,
            ..v1::BatchCommand::default()
        };
        match command {
            BatchCommand::Open { account, name, deposit, overdraft_limit } => v1::BatchCommand {
                name,
                amount: deposit,
                overdraft_limit,
                ..of(v1::OperationKind::Open, account)
            },
            BatchCommand::Deposit { account, amount } => {
                v1::BatchCommand { amount, ..of(v1::OperationKind::Deposit, account) }
            }
            BatchCommand::Withdraw { account, amount } => {
                v1::BatchCommand { amount, ..of(v1::OperationKind::Withdraw, account) }
            }
            BatchCommand::Interest { account, rate } => {
                v1::BatchCommand { rate, ..of(v1::OperationKind::Interest, account) }
            }
            BatchCommand::Transfer { source, destination, amount } => {
                v1::BatchCommand { destination, amount, ..of(v1::OperationKind::Transfer, source) }
            }
        }
    }
}

/// The commands of a batch as the wire carries them.
pub(super) fn commands(batch: Batch) -> Vec<v1::BatchCommand> {
    batch.commands.into_iter().map(v1::BatchCommand::from).collect()
}

/// The wish for freshness as the wire carries it.
pub(super) fn consistency(wish: Option<Consistency>) -> i32 {
    match wish {
        None => v1::Consistency::Unspecified,
        Some(Consistency::Linearizable) => v1::Consistency::Linearizable,
        Some(Consistency::Session) => v1::Consistency::Session,
        Some(Consistency::Stale) => v1::Consistency::Stale,
    }
    .into()
}

/// The order of a statement as the wire carries it.
pub(super) fn entry_order(order: EntryOrder) -> i32 {
    match order {
        EntryOrder::NewestFirst => v1::EntryOrder::NewestFirst,
        EntryOrder::OldestFirst => v1::EntryOrder::OldestFirst,
    }
    .into()
}

/// The end of a statement as the wire carries it: sequence and time.
pub(super) fn as_of(end: AsOf) -> (u64, Option<prost_types::Timestamp>) {
    match end {
        AsOf::Now => (0, None),
        AsOf::Sequence(sequence) => (sequence, None),
        AsOf::Time(time) => (0, Some(proto_time(time))),
    }
}

const MICROS: u64 = 1_000_000;

fn timestamp(time: prost_types::Timestamp) -> Option<Timestamp> {
    let seconds = u64::try_from(time.seconds).ok()?;
    let micros = u64::try_from(time.nanos).ok()? / 1_000;
    Some(Timestamp::from_micros(seconds.checked_mul(MICROS)?.checked_add(micros)?))
}

fn proto_time(time: Timestamp) -> prost_types::Timestamp {
    let micros = time.micros();
    prost_types::Timestamp {
        seconds: i64::try_from(micros / MICROS).expect("micros / 1,000,000 is below 2^63"),
        nanos: i32::try_from(micros % MICROS * 1_000).expect("less than 1,000,000,000"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_survive_the_wire_and_nonsense_is_no_time() {
        for micros in [1, 999_999, 1_000_000, 1_763_600_000_123_456, u64::MAX] {
            let time = Timestamp::from_micros(micros);
            assert_eq!(timestamp(proto_time(time)), Some(time));
        }
        for (seconds, nanos) in [(-1, 0), (0, -1), (i64::MAX, 0)] {
            assert_eq!(timestamp(prost_types::Timestamp { seconds, nanos }), None);
        }
    }

    #[test]
    fn a_value_of_a_newer_server_is_unknown() {
        let entry = v1::Entry { kind: 99, ..v1::Entry::default() };
        assert_eq!(Entry::from(entry).kind, Kind::Unknown);
        let reply = v1::GetOperationResponse { state: 99, ..v1::GetOperationResponse::default() };
        assert_eq!(Operation::from(reply).state, OperationState::Unknown);
    }
}
