//! Transfers, inside a branch and between branches.

use std::time::Duration;

use super::{Named, Seen, TransferSide, TransferState, TransferStep};
use crate::model::Timestamp;

/// The answer to a wish to move money.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transferred {
    /// The transfer's name.
    pub transfer: String,
    /// What became of it so far.
    pub state: TransferState,
    /// The account that pays.
    pub source: String,
    /// The account that receives.
    pub destination: String,
    /// How much.
    pub amount: String,
    /// The payer's balance.
    pub source_balance: String,
    /// The receiver's balance afterwards; empty when it is of another branch.
    pub destination_balance: String,
    /// Why it was aborted: an entry of the error catalogue; else empty.
    pub reason: String,
    /// Why it was aborted or what it waits for, in words; empty when it is committed.
    pub message: String,
    /// The write's name.
    pub named: Named,
    /// What the reply showed.
    pub seen: Seen,
}

/// Something that happened to a transfer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TransferPhase {
    /// What happened.
    pub step: TransferStep,
    /// The branch where it was applied.
    pub branch: String,
    /// Place in the order of that branch.
    pub sequence: u64,
    /// When it was applied.
    pub time: Option<Timestamp>,
    /// The vote or the reason in words; may be empty.
    pub detail: String,
}

/// A transfer as a branch knows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transfer {
    /// Its name.
    pub transfer: String,
    /// What became of it.
    pub state: TransferState,
    /// The account that pays.
    pub source: String,
    /// The account that receives.
    pub destination: String,
    /// How much.
    pub amount: String,
    /// Which side of it the answering branch is.
    pub side: TransferSide,
    /// Whether it is not finished there.
    pub in_doubt: bool,
    /// Why it was aborted: an entry of the error catalogue; else empty.
    pub reason: String,
    /// Why it was aborted or what it waits for, in words; may be empty.
    pub message: String,
    /// When it began there.
    pub begin_time: Option<Timestamp>,
    /// How long it has been in doubt; none when it is not.
    pub age: Option<Duration>,
    /// The branch that it waits for; empty when it waits for nobody.
    pub waiting_for: String,
    /// What happened to it, in order; lists leave it out.
    pub phases: Vec<TransferPhase>,
    /// Name of the operation that began it; may be empty.
    pub request_id: String,
}

/// One transfer and what the reply showed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TransferShown {
    /// The transfer.
    pub transfer: Transfer,
    /// What the reply showed.
    pub seen: Seen,
}

/// A page of transfers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transfers {
    /// The transfers.
    pub transfers: Vec<Transfer>,
    /// Where to go on; empty at the end.
    pub next_page_token: String,
    /// What the reply showed.
    pub seen: Seen,
}
