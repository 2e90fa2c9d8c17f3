//! Snapshots: the encoded ledger at a sequence, as a series of frames.
//!
//! A frame is a CRC-32 (little-endian) of its body and the body: a version byte and postcard. The head comes
//! first, then accounts by number, then requests, then the tail, which counts what came before it. A frame
//! is small enough to be one message to a peer, and a snapshot is refused unless every frame is whole, all
//! are there and the books balance.

use serde::{Deserialize, Serialize};

use super::accounts::{Accounts, Details, Entry};
use super::requests::{Marks, Remembered};
use super::{Ledger, Writer};
use crate::model::planted::{Fault, planted};
use crate::model::{
    AccountName, AccountNumber, Digest, LedgerId, Money, Overdraft, RequestId, Sequence, Timestamp, Total,
};

/// Version of the frames.
const VERSION: u8 = 1;

#[derive(Serialize, Deserialize)]
pub(super) enum Frame {
    Head(Head),
    Accounts(Vec<AccountRecord>),
    Requests(Vec<(RequestId, Remembered)>),
    Tail { accounts: u64, requests: u64 },
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
            (Frame::Tail { accounts, requests }, Some(_)) => {
                if (accounts, requests) != (self.accounts, self.requests) {
                    return Err(incomplete);
                }
                self.ended = true;
            }
            (Frame::Head(_), Some(_))
            | (Frame::Accounts(_) | Frame::Requests(_) | Frame::Tail { .. }, None) => {
                return Err(incomplete);
            }
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
            ..Writer::default()
        };
        writer.requests.set_marks(self.marks);
        Ok((ledger, writer))
    }
}

impl AccountRecord {
    fn insert(self, accounts: &Accounts) {
        let plain = self.name.is_none() && self.overdraft == Overdraft::NONE;
        let details = Details { name: self.name, overdraft: self.overdraft };
        accounts.insert(
            self.number,
            Entry {
                balance: self.balance,
                newest: self.newest,
                opened: self.opened,
                details: (!plain).then(|| Box::new(details)),
            },
            &[],
        );
    }
}
