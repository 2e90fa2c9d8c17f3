//! The offline check of a data directory: `bank-server verify DIR`.
//!
//! Invariant: it never writes. It reads everything there is: format, log with vote, snapshot and journal; it replays the
//! committed log behind the snapshot into a ledger of its own and holds what that does against the journal,
//! and what the journal adds up to against the ledger: balances, held money, transfers, and the bank's own books.

use std::collections::VecDeque;

use super::directory::{self, DirectoryError, Identity};
use super::disk::Disk;
use super::journal::Books;
use super::types::{Entry, Payload};
use super::{journal, log, snapshot};
use crate::ledger::{Audit, Ledger, Position};
use crate::model::{Applied, Digest, LedgerId, Sequence, Timestamp};

/// What a data directory holds, when nothing is wrong with it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// Whose directory it is.
    pub identity: Identity,
    /// The ledger's identity; none before the branch was founded.
    pub ledger: Option<LedgerId>,
    /// The last sequence in the snapshot; zero when there is none.
    pub snapshot: Sequence,
    /// Log entries behind the snapshot that are known to be committed.
    pub replayed: u64,
    /// Log entries there are.
    pub log_entries: u64,
    /// Log entries at the end that are not known to be committed. What they would do is not in any other figure: the
    /// replica learns from the others, or as the only one at its start, whether they count.
    pub undecided: u64,
    /// The last sequence of snapshot and committed log.
    pub sequence: Sequence,
    /// The time of the last batch.
    pub time: Option<Timestamp>,
    /// The digest at that sequence, to be compared with other replicas at the same one.
    pub digest: Digest,
    /// The sums of the ledger, which are zero together.
    pub audit: Audit,
    /// The first record of the journal.
    pub journal_first: Sequence,
    /// Its last record; may be before `sequence` after a crash, because the log writes the rest again, or
    /// behind it, because what is committed is written down a little later.
    pub journal_last: Sequence,
}

/// Checks a data directory that no server uses. Reads all of it, once.
///
/// # Errors
/// The first thing that is wrong, with file and place.
pub fn verify(disk: &dyn Disk) -> Result<Report, DirectoryError> {
    let (identity, known_ledger, _lock) = directory::look(disk)?;
    let seen = log::look(disk)?;
    let loaded = snapshot::check(disk)?;
    let (ledger, after, since) = match loaded {
        Some(loaded) => (loaded.ledger, loaded.meta.last_log_id, loaded.journal_first),
        None => (Ledger::new(), None, Sequence(1)),
    };
    if seen.purged > after {
        return Err(DirectoryError::Missing { file: snapshot::FOLDER.to_owned() });
    }
    let begin = ledger.sequence();
    let entries = seen.committed_after(disk, after);
    let mut replay = Replay { ledger: &ledger, entries, applied: VecDeque::new(), replayed: 0, failed: None };
    let mut books = Books::default();
    let checked = journal::check(disk, since, begin, |record| {
        if record.sequence > begin {
            match replay.next() {
                Some(expected) if expected == record => {}
                Some(_) => return Err(format!("record {} is not what the log says", record.sequence.0)),
                // What is committed is written down a little later than it is applied.
                None => return Ok(()),
            }
        }
        books.post(&record)
    });
    // A crash may have taken records from the end of the journal; the log writes them again.
    let rest =
        if checked.is_ok() { replay.by_ref().try_for_each(|record| books.post(&record)) } else { Ok(()) };
    let replayed = replay.replayed;
    if let Some(failed) = replay.failed {
        return Err(failed);
    }
    let (journal_first, journal_last) = checked?;
    let audit = ledger.audit();
    rest.and_then(|()| books.compare(&ledger, &audit))
        .map_err(|what| DirectoryError::damaged(journal::FOLDER, 0, what))?;
    let Position { ledger: id, sequence, time, digest } = ledger.position();
    Ok(Report {
        identity,
        ledger: id.or(known_ledger),
        snapshot: begin,
        replayed,
        log_entries: seen.entries,
        undecided: seen.undecided(),
        sequence,
        time,
        digest,
        audit,
        journal_first,
        journal_last,
    })
}

/// The records that the committed log makes behind the snapshot, one after the other.
struct Replay<'a, I> {
    ledger: &'a Ledger,
    entries: I,
    applied: VecDeque<Applied>,
    replayed: u64,
    /// Why it ended too early.
    failed: Option<DirectoryError>,
}

impl<I: Iterator<Item = Result<Entry, DirectoryError>>> Iterator for Replay<'_, I> {
    type Item = Applied;

    fn next(&mut self) -> Option<Applied> {
        while self.applied.is_empty() && self.failed.is_none() {
            match self.entries.next()? {
                Ok(entry) => {
                    self.replayed += 1;
                    if let Payload::Normal(batch) = &entry.payload {
                        self.applied.extend(self.ledger.apply(batch.batch()).applied);
                    }
                }
                Err(failed) => self.failed = Some(failed),
            }
        }
        self.applied.pop_front()
    }
}
