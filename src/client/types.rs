//! What callers of the client hand in and get back: plain data without any proto type.
//!
//! Accounts and money stand here as text, exactly as the caller typed them or the server wrote them,
//! because the server is the one place that parses. Bulk messages carry integers.

use std::time::Duration;

use super::trace::Traced;
use crate::model::{Failure, RequestId, Timestamp};

mod audit;
mod holds;
mod journal;
mod transfers;
mod words;

pub use audit::{Audit, Clearing};
pub use holds::{Hold, HoldChanged, HoldShown, Holds, StateSet};
pub use journal::{Journal, JournalPiece, JournalQuery, JournalRecord};
pub use transfers::{Transfer, TransferPhase, TransferShown, Transferred, Transfers};
pub use words::{
    AccountState, Consistency, EntryOrder, Health, HoldState, Kind, OperationState, ReplicaRole,
    TransferSide, TransferState, TransferStep,
};

/// How a call is made; `Options::default()` is right for nearly all of them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Options {
    /// The name of a write. Without one the client makes a UUIDv7 before the first attempt.
    pub request_id: Option<String>,
    /// How fresh a read must be; without it, as fresh as the session.
    pub consistency: Option<Consistency>,
    /// Presented instead of the client's own session.
    pub session_token: Option<String>,
    /// Let the server answer a write as if executed, and change nothing.
    pub validate_only: bool,
    /// Time for the whole call with all its attempts; without it, the client's own.
    pub timeout: Option<Duration>,
    /// What traces show of a call; servers that do not record traces ignore it.
    pub trace: Option<Traced>,
}

impl Options {
    /// Options that name the write.
    #[must_use]
    pub fn named(request_id: &RequestId) -> Options {
        Options { request_id: Some(request_id.to_string()), ..Options::default() }
    }

    /// Options that say how fresh a read must be.
    #[must_use]
    pub fn fresh(consistency: Consistency) -> Options {
        Options { consistency: Some(consistency), ..Options::default() }
    }
}

/// What every reply carries.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seen {
    /// Of a write, its place in the order of the branch; of a read, the sequence it shows at least.
    pub sequence: u64,
    /// What the caller has seen now.
    pub session_token: String,
    /// The branch that answered.
    pub branch: String,
    /// The replica that answered.
    pub replica: u64,
}

/// The name a write went by.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Named {
    /// The request id.
    pub request_id: String,
    /// Whether this is the first answer again.
    pub replayed: bool,
}

/// A new account as its owner wishes it; empty text leaves a wish out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct NewAccount<'a> {
    /// The number wanted.
    pub account: &'a str,
    /// What to call it.
    pub name: &'a str,
    /// The first deposit.
    pub deposit: &'a str,
    /// How far below zero the balance may go.
    pub overdraft_limit: &'a str,
}

/// An account was opened, received or paid money.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Written {
    /// The account.
    pub account: String,
    /// Its balance afterwards.
    pub balance: String,
    /// The write's name.
    pub named: Named,
    /// What the reply showed.
    pub seen: Seen,
}

/// Interest was added.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InterestAdded {
    /// The account.
    pub account: String,
    /// Its balance afterwards.
    pub balance: String,
    /// The amount really added.
    pub interest: String,
    /// The write's name.
    pub named: Named,
    /// What the reply showed.
    pub seen: Seen,
}

/// The money of an account at one moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Balance {
    /// The account.
    pub account: String,
    /// Posted money.
    pub balance: String,
    /// Money reserved by holds and open transfers.
    pub held: String,
    /// What the account can pay.
    pub available: String,
    /// How fresh the answer is; absent when the server's word for it is not known here.
    pub consistency: Option<Consistency>,
    /// What the reply showed.
    pub seen: Seen,
}

/// Everything about an account at one moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Account {
    /// The account.
    pub account: String,
    /// What it is called; may be empty.
    pub name: String,
    /// Whether it takes operations.
    pub state: AccountState,
    /// When it was opened.
    pub open_time: Option<Timestamp>,
    /// Posted money.
    pub balance: String,
    /// Money reserved by holds and open transfers.
    pub held: String,
    /// What the account can pay.
    pub available: String,
    /// How far below zero the balance may go.
    pub overdraft_limit: String,
}

/// One account and what the reply showed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AccountShown {
    /// The account.
    pub account: Account,
    /// What the reply showed.
    pub seen: Seen,
}

/// Which page of a list is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Page<'a> {
    /// Most items on the page; 0 is the server's default. The server refuses what is negative.
    pub size: i32,
    /// Where to go on, from the page before; empty for the beginning.
    pub token: &'a str,
}

/// A page of accounts by number.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Accounts {
    /// The accounts.
    pub accounts: Vec<Account>,
    /// Where to go on; empty at the end.
    pub next_page_token: String,
    /// What the reply showed.
    pub seen: Seen,
}

/// Up to where a statement goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum AsOf {
    /// Everything so far.
    #[default]
    Now,
    /// Up to and with this sequence.
    Sequence(u64),
    /// Up to and with this time.
    Time(Timestamp),
}

/// Which statement is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Statement<'a> {
    /// The account.
    pub account: &'a str,
    /// The order.
    pub order: EntryOrder,
    /// Up to where.
    pub as_of: AsOf,
    /// Which page.
    pub page: Page<'a>,
}

/// One posting of a statement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Place of the operation in the order of the branch.
    pub sequence: u64,
    /// When it was applied.
    pub time: Option<Timestamp>,
    /// What it was.
    pub kind: Kind,
    /// The change, negative when money left the account.
    pub amount: String,
    /// The account's balance afterwards.
    pub balance: String,
    /// The other account of a transfer; else empty.
    pub counterparty: String,
    /// The operation's name; may be empty.
    pub request_id: String,
    /// The transfer that it is of; may be empty.
    pub transfer: String,
    /// The hold that it takes; may be empty.
    pub hold: String,
}

/// A page of a statement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entries {
    /// The entries.
    pub entries: Vec<Entry>,
    /// Where to go on; empty at the end.
    pub next_page_token: String,
    /// What the reply showed.
    pub seen: Seen,
}

/// What became of one command of an operation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OperationResult {
    /// Its place in the order of the branch.
    pub sequence: u64,
    /// What it did, or why it was refused.
    pub outcome: Result<Done, Failure>,
}

/// What an executed command did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Done {
    /// The account opened, changed, or paying.
    pub account: String,
    /// Its balance afterwards.
    pub balance: String,
    /// The amount of interest added, for interest; else empty.
    pub interest: String,
    /// The receiving account of a transfer; else empty.
    pub counterparty: String,
    /// The transfer; else empty.
    pub transfer: String,
    /// What has become of the transfer so far; none when the operation is no transfer.
    pub transfer_state: Option<TransferState>,
    /// The hold; else empty.
    pub hold: String,
}

/// What happened to a request id.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Operation {
    /// The request id.
    pub request_id: String,
    /// What happened.
    pub state: OperationState,
    /// When it was applied.
    pub time: Option<Timestamp>,
    /// One result for each command.
    pub results: Vec<OperationResult>,
    /// What the reply showed.
    pub seen: Seen,
}

/// One command of a batch: account numbers, and money in minor units.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BatchCommand {
    /// Open an account.
    Open {
        /// The number wanted; 0 for the next free one.
        account: u64,
        /// What to call it; may be empty.
        name: String,
        /// The first deposit; 0 for none.
        deposit: i64,
        /// How far below zero the balance may go.
        overdraft_limit: i64,
    },
    /// Add money.
    Deposit {
        /// The account.
        account: u64,
        /// How much.
        amount: i64,
    },
    /// Take money.
    Withdraw {
        /// The account.
        account: u64,
        /// How much.
        amount: i64,
    },
    /// Add interest.
    Interest {
        /// The account.
        account: u64,
        /// Ten-thousandths of a percent.
        rate: u32,
    },
    /// Move money.
    Transfer {
        /// The account that pays.
        source: u64,
        /// The account that receives.
        destination: u64,
        /// How much.
        amount: i64,
    },
}

/// Commands that go together.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Batch {
    /// Whether all take effect or none.
    pub atomic: bool,
    /// The commands.
    pub commands: Vec<BatchCommand>,
}

/// What an executed command of a batch did; money in minor units.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BatchReceipt {
    /// The account opened, changed, or paying.
    pub account: u64,
    /// Its balance afterwards.
    pub balance: i64,
    /// The amount of interest added, for interest.
    pub interest: i64,
    /// The receiver's balance afterwards, for a transfer.
    pub destination_balance: i64,
}

/// What became of a batch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BatchDone {
    /// One result for each command, in order.
    pub results: Vec<Result<BatchReceipt, Failure>>,
    /// Place of the first command in the order of the branch; `seen.sequence` is that of the last.
    pub first_sequence: u64,
    /// The batch's name.
    pub named: Named,
    /// What the reply showed.
    pub seen: Seen,
}

/// How the replicas of a branch are, as one of them sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BranchStatus {
    /// The branch.
    pub branch: String,
    /// The identity of its ledger; empty while it has none.
    pub ledger: String,
    /// The replica that answers.
    pub replica: u64,
    /// The replica that leads, if the one that answers knows one.
    pub leader: Option<u64>,
    /// All replicas, by number.
    pub replicas: Vec<ReplicaStatus>,
}

/// One replica of a branch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReplicaStatus {
    /// Its number.
    pub id: u64,
    /// Where the other replicas reach it.
    pub address: String,
    /// What it is.
    pub role: ReplicaRole,
    /// Whether it has a vote.
    pub voter: bool,
    /// The term it is in.
    pub term: u64,
    /// The last index in its log.
    pub log_index: u64,
    /// The last index it knows to be committed.
    pub committed_index: u64,
    /// The last index it has applied.
    pub applied_index: u64,
    /// The last command it has applied.
    pub sequence: u64,
    /// The digest there, equal at equal sequences.
    pub digest: String,
    /// Committed entries that it has not applied.
    pub lag: u64,
}
