//! The journal: applied commands in order.

use super::{AccountState, EntryOrder, Kind, Page, Seen};
use crate::model::{Failure, Timestamp};

/// One applied command of the journal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JournalRecord {
    /// Its place in the order of the branch.
    pub sequence: u64,
    /// When it was applied.
    pub time: Option<Timestamp>,
    /// What it was.
    pub kind: Kind,
    /// The account of this branch that was opened, changed or pays, or that receives when another branch pays; may be
    /// empty when the command was refused.
    pub account: String,
    /// The other account of a transfer; else empty.
    pub counterparty: String,
    /// The amount moved, reserved or asked for; for interest the amount added.
    pub amount: String,
    /// The account's balance afterwards; empty when refused.
    pub balance: String,
    /// The receiver's balance after a transfer inside the branch; else empty.
    pub counterparty_balance: String,
    /// What of the account is reserved afterwards; empty where nothing about it changed.
    pub held: String,
    /// What the account can pay afterwards; empty where `held` is.
    pub available: String,
    /// The transfer; may be empty.
    pub transfer: String,
    /// The hold; may be empty.
    pub hold: String,
    /// The state that an account was given.
    pub state: Option<AccountState>,
    /// Why a transfer was aborted.
    pub abort: Option<Failure>,
    /// When a hold ends by itself.
    pub expire_time: Option<Timestamp>,
    /// The operation's name; may be empty.
    pub request_id: String,
    /// Why the command was refused; absent when it was executed.
    pub refused: Option<Failure>,
}

/// A piece of the journal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JournalPiece {
    /// The records, in order; may be none.
    pub records: Vec<JournalRecord>,
    /// What the reply showed: everything up to `seen.sequence` has been handed out.
    pub seen: Seen,
}

/// Which page of the journal is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct JournalQuery<'a> {
    /// Oldest first: the first sequence wanted, 0 for the first one held. Newest first: the last one wanted, 0
    /// for the newest.
    pub from: u64,
    /// Only commands that concern this account; empty for all.
    pub account: &'a str,
    /// The order.
    pub order: EntryOrder,
    /// Which page.
    pub page: Page<'a>,
}

/// A page of the journal; of one account it may be not full before the end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Journal {
    /// The records.
    pub records: Vec<JournalRecord>,
    /// Where to go on; empty at the end.
    pub next_page_token: String,
    /// What the reply showed.
    pub seen: Seen,
}
