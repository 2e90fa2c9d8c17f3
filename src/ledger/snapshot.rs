//! Snapshots: the encoded ledger at a sequence, as a series of frames.
//!
//! A frame is a CRC-32 (little-endian) of its body and the body: a version byte and postcard. The head comes
//! first, then accounts by number, then requests, then holds, transfers, credits and what branches owe each other,
//! then the tail, which counts what came before it. A frame
//! is small enough to be one message to a peer, and a snapshot is refused unless every frame is whole, all
//! are there and the books balance.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Ledger;
use super::accounts::{Accounts, Details, Entry};
use super::requests::{Marks, Remembered};
use super::tables::{Clearing, Reservation, Tables};
use super::writer::Writer;
use crate::model::planted::{Fault, limit, planted};
use crate::model::{
    AccountName, AccountNumber, AccountState, BranchName, CreditState, Digest, Hold, HoldEnd, HoldId,
    IncomingCredit, LedgerId, Money, Origin, OutgoingState, OutgoingTransfer, Overdraft, RequestId, Sequence,
    Timestamp, Total,
};

/// Version of the frames.
const VERSION: u8 = 1;

#[derive(Serialize, Deserialize)]
pub(super) enum Frame {
    Head(Head),
    Accounts(Vec<AccountRecord>),
    Requests(Vec<(RequestId, Remembered)>),
    /// Open holds.
    Holds(Vec<Hold>),
    /// How holds ended, in the order in which they did.
    Ended(Vec<(HoldId, HoldEnd)>),
    /// Open transfers to other branches.
    Outgoing(Vec<OutgoingTransfer>),
    /// Paying branches and their watermarks.
    Payers(Vec<(Origin, Sequence)>),
    /// What is remembered of their credits.
    Credits(Vec<(Origin, Sequence, IncomingCredit)>),
    /// What branches owe each other: due to and due from, in minor units.
    Clearing(Vec<(BranchName, i128, i128)>),
    Tail {
        accounts: u64,
        requests: u64,
        entries: u64,
    },
}

/// Entries of tables in a frame.
const ENTRIES_PER_FRAME: usize = 4_096;

impl Frame {
    /// How many entries of tables it has.
    pub(super) fn entries(&self) -> u64 {
        let entries = match self {
            Frame::Head(_) | Frame::Accounts(_) | Frame::Requests(_) | Frame::Tail { .. } => 0,
            Frame::Holds(entries) => entries.len(),
            Frame::Ended(entries) => entries.len(),
            Frame::Outgoing(entries) => entries.len(),
            Frame::Payers(entries) => entries.len(),
            Frame::Credits(entries) => entries.len(),
            Frame::Clearing(entries) => entries.len(),
        };
        entries as u64
    }
}

/// The frames of all tables.
pub(super) fn table_frames(tables: &Tables) -> Vec<Frame> {
    fn split<T>(entries: impl Iterator<Item = T>, frame: fn(Vec<T>) -> Frame, frames: &mut Vec<Frame>) {
        let mut entries = entries.peekable();
        while entries.peek().is_some() {
            frames.push(frame(entries.by_ref().take(limit(ENTRIES_PER_FRAME, 4)).collect()));
        }
    }

    let mut frames = Vec::new();
    split(tables.holds.all_open().copied(), Frame::Holds, &mut frames);
    split(tables.holds.all_ended(), Frame::Ended, &mut frames);
    let outgoing =
        tables.outgoing.all().cloned().map(|transfer| match planted(Fault::DecisionNotInSnapshot) {
            true => OutgoingTransfer { state: OutgoingState::Pending, ..transfer },
            false => transfer,
        });
    split(outgoing, Frame::Outgoing, &mut frames);
    let payers = tables.incoming.watermarks().map(|(origin, below)| (origin.clone(), below));
    split(payers, Frame::Payers, &mut frames);
    let credits = tables.incoming.all();
    let credits = credits.map(|(origin, number, credit)| (origin.clone(), number, credit.clone()));
    split(credits, Frame::Credits, &mut frames);
    let clearing = tables.clearing.iter();
    let clearing =
        clearing.map(|(branch, with)| (branch.clone(), with.due_to.minor(), with.due_from.minor()));
    split(clearing, Frame::Clearing, &mut frames);
    frames
}

#[derive(Serialize, Deserialize)]
pub(super) struct Head {
    id: Option<LedgerId>,
    sequence: Sequence,
    time: Option<Timestamp>,
    digest: Digest,
    next: AccountNumber,
    cash_minor: i128,
    interest_minor: i128,
    newest_transfer: Sequence,
    marks: Marks,
}

#[derive(Serialize, Deserialize)]
pub(super) struct AccountRecord {
    number: AccountNumber,
    balance: Money,
    newest: Sequence,
    opened: Timestamp,
    name: Option<AccountName>,
    overdraft: Overdraft,
    state: AccountState,
}

/// Why frames are not a snapshot.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SnapshotError {
    /// A frame's checksum or encoding is wrong.
    #[error("snapshot frame {frame} is damaged")]
    Damaged {
        /// Its number, from 0.
        frame: u64,
    },
    /// Written by another version of this program.
    #[error("snapshot version {found}; this program reads version {VERSION}")]
    Version {
        /// The version found.
        found: u8,
    },
    /// Frames are missing, repeated or out of order.
    #[error("the snapshot is incomplete at frame {frame}")]
    Incomplete {
        /// Where it was noticed.
        frame: u64,
    },
    /// The accounts and the bank's own books do not sum to zero.
    #[error("the books of the snapshot do not balance")]
    Unbalanced,
}

impl AccountRecord {
    pub(super) fn of(number: AccountNumber, entry: &Entry) -> AccountRecord {
        let details = entry.details.as_deref();
        AccountRecord {
            number,
            balance: entry.balance,
            newest: entry.newest,
            opened: entry.opened,
            name: details.and_then(|details| details.name.clone()),
            overdraft: details.map_or(Overdraft::NONE, |details| details.overdraft),
            state: details.map_or(AccountState::Open, |details| details.state),
        }
    }
}

/// The bytes of a frame.
pub(super) fn encode(frame: &Frame) -> Vec<u8> {
    const CHECKSUM: usize = 4;
    let mut bytes = vec![0; CHECKSUM];
    bytes.push(VERSION);
    let mut bytes = postcard::to_extend(frame, bytes).expect("a vector takes every byte written to it");
    let checksum = crc32fast::hash(&bytes[CHECKSUM..]);
    bytes[..CHECKSUM].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

/// Builds a ledger from the frames of a snapshot.
#[derive(Default)]
pub struct SnapshotReader {
    frames: u64,
    last_account: Option<AccountNumber>,
    accounts: u64,
    requests: u64,
    entries: u64,
    ended: bool,
    ledger: Option<(Ledger, Writer)>,
}

impl SnapshotReader {
    /// Takes the next frame.
    ///
    /// # Errors
    /// [`SnapshotError`] when the frame is damaged, of another version or out of place.
    pub fn frame(&mut self, bytes: &[u8]) -> Result<(), SnapshotError> {
        let number = self.frames;
        let damaged = SnapshotError::Damaged { frame: number };
        let (checksum, body) = bytes.split_first_chunk().ok_or(damaged)?;
        if crc32fast::hash(body) != u32::from_le_bytes(*checksum) {
            return Err(damaged);
        }
        let (&version, body) = body.split_first().ok_or(damaged)?;
        if version != VERSION {
            return Err(SnapshotError::Version { found: version });
        }
        let (frame, rest) = postcard::take_from_bytes(body).map_err(|_| damaged)?;
        if !rest.is_empty() {
            return Err(damaged);
        }
        let incomplete = SnapshotError::Incomplete { frame: number };
        if self.ended {
            return Err(incomplete);
        }
        match (frame, &mut self.ledger) {
            (Frame::Head(head), None) => self.ledger = Some(head.begin(damaged)?),
            (Frame::Accounts(records), Some((ledger, _))) => {
                for record in records {
                    if self.last_account.is_some_and(|last| last >= record.number) {
                        return Err(incomplete);
                    }
                    self.last_account = Some(record.number);
                    self.accounts += 1;
                    record.insert(&ledger.accounts);
                }
            }
            (Frame::Requests(known), Some((_, writer))) => {
                for (request, remembered) in known {
                    self.requests += 1;
                    if planted(Fault::RequestsNotInSnapshot) {
                        continue;
                    }
                    writer.requests.remember(request, remembered, &[]);
                }
            }
            (Frame::Tail { accounts, requests, entries }, Some(_)) => {
                if (accounts, requests, entries) != (self.accounts, self.requests, self.entries) {
                    return Err(incomplete);
                }
                self.ended = true;
            }
            (
                table @ (Frame::Holds(_)
                | Frame::Ended(_)
                | Frame::Outgoing(_)
                | Frame::Payers(_)
                | Frame::Credits(_)
                | Frame::Clearing(_)),
                Some((ledger, writer)),
            ) => {
                self.entries += table.entries();
                take_table(table, &ledger.accounts, &mut writer.tables).ok_or(incomplete)?;
            }
            (Frame::Head(_), Some(_)) | (_, None) => return Err(incomplete),
        }
        self.frames += 1;
        Ok(())
    }

    /// The ledger, when all frames have come.
    ///
    /// # Errors
    /// [`SnapshotError::Incomplete`], or [`SnapshotError::Unbalanced`] when money is missing in it.
    pub fn finish(self) -> Result<Ledger, SnapshotError> {
        match self.ledger {
            Some((ledger, writer)) if self.ended => {
                ledger.begin_at(writer);
                if ledger.audit().balanced() { Ok(ledger) } else { Err(SnapshotError::Unbalanced) }
            }
            Some(_) | None => Err(SnapshotError::Incomplete { frame: self.frames }),
        }
    }
}

impl Head {
    pub(super) fn of(writer: &Writer, id: Option<LedgerId>) -> Head {
        Head {
            id,
            sequence: writer.sequence,
            time: writer.time,
            digest: writer.digest,
            next: writer.next,
            cash_minor: writer.cash.minor(),
            interest_minor: writer.interest.minor(),
            newest_transfer: writer.newest_transfer,
            marks: writer.requests.marks(),
        }
    }

    fn begin(self, damaged: SnapshotError) -> Result<(Ledger, Writer), SnapshotError> {
        let ledger = Ledger::new();
        if let Some(id) = self.id {
            ledger.id.get_or_init(|| id);
        }
        let mut writer = Writer {
            sequence: self.sequence,
            time: self.time,
            digest: self.digest,
            next: self.next,
            cash: Total::from_minor(self.cash_minor).ok_or(damaged)?,
            interest: Total::from_minor(self.interest_minor).ok_or(damaged)?,
            newest_transfer: self.newest_transfer,
            ..Writer::default()
        };
        writer.requests.set_marks(self.marks);
        Ok((ledger, writer))
    }
}

impl AccountRecord {
    fn insert(self, accounts: &Accounts) {
        let details = Details::of(self.name, self.overdraft, self.state);
        let entry = Entry { balance: self.balance, newest: self.newest, opened: self.opened, details };
        accounts.insert(self.number, entry, &[]);
    }
}

/// Takes the entries of a table, and what they reserve of accounts. `None` when an entry is there twice or is about an
/// account that is not there.
fn take_table(table: Frame, accounts: &Accounts, tables: &mut Tables) -> Option<()> {
    let reserve = |account, held, incoming| {
        let reservation = Reservation { account, held, incoming, state: None };
        accounts.with(account, |entry| entry.reserve(&reservation)).flatten()
    };
    match table {
        Frame::Holds(holds) => holds.into_iter().try_for_each(|hold| {
            reserve(hold.account, hold.amount.money(), Money::ZERO)?;
            Arc::make_mut(&mut tables.holds).place(hold).then_some(())
        }),
        Frame::Ended(ended) => ended
            .into_iter()
            .try_for_each(|(hold, end)| Arc::make_mut(&mut tables.holds).remember(hold, end).then_some(())),
        Frame::Outgoing(transfers) => transfers.into_iter().try_for_each(|transfer| {
            match transfer.state {
                OutgoingState::Pending => reserve(transfer.source, transfer.amount.money(), Money::ZERO)?,
                OutgoingState::Committed { .. } | OutgoingState::Aborted { .. } => {}
            }
            Arc::make_mut(&mut tables.outgoing).begin(transfer).then_some(())
        }),
        Frame::Payers(payers) => payers.into_iter().try_for_each(|(origin, below)| {
            Arc::make_mut(&mut tables.incoming).add_payer(origin, below).then_some(())
        }),
        Frame::Credits(credits) => credits.into_iter().try_for_each(|(origin, number, credit)| {
            match credit.state {
                CreditState::Prepared { .. } => {
                    reserve(credit.destination, Money::ZERO, credit.amount.money())?;
                }
                CreditState::Committed | CreditState::Aborted => {}
            }
            (!Arc::make_mut(&mut tables.incoming).set(&origin, number, credit)).then_some(())
        }),
        Frame::Clearing(clearing) => clearing.into_iter().try_for_each(|(branch, due_to, due_from)| {
            let (due_to, due_from) = (Total::from_minor(due_to)?, Total::from_minor(due_from)?);
            let with = Clearing { due_to, due_from };
            Arc::make_mut(&mut tables.clearing).insert(branch, with).is_none().then_some(())
        }),
        Frame::Head(_) | Frame::Accounts(_) | Frame::Requests(_) | Frame::Tail { .. } => None,
    }
}
