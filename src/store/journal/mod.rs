//! The journal: what was applied, in order, record by record.
//!
//! Invariant: append-only, without gaps. The latest records are in memory; with a data directory all of them are
//! in its files. What is not held is known to be gone and is never answered as if it had not
//! been. The journal is derived: what a crash takes from its end the log writes again, the same rows.
//! `machine` appends, everybody else reads.

mod books;
mod check;
mod files;
mod page;
mod segment;

#[cfg(any(test, fuzzing))]
pub(crate) use self::page::read_anything as read_page;

use std::collections::VecDeque;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use parking_lot::RwLock;

use super::disk::Disk;
use crate::model::{AccountNumber, Applied, CustomerPosting, Sequence};
pub(super) use books::Books;
pub(super) use check::check;
use files::{Files, misplaced};
use page::Page;
pub(super) use segment::FOLDER;

/// Most records that a memory replica keeps.
pub const JOURNAL_RECORDS: usize = 1_000_000;
/// Most written records that a replica with a data directory keeps in memory besides.
const CACHED_RECORDS: usize = 64 * 1024;
/// Most records that wait to be written before the next batch has to wait.
const UNWRITTEN_RECORDS: u64 = 256 * 1024;

/// Most segments a reader takes out at a time: few enough that the writer never waits long.
const VISIT_SEGMENTS: usize = 64;

/// The applied commands of a branch in order.
///
/// Readers hold a lock only while they look up where records are, never while they look at them, so
/// a slow reader does not hold up the branch. A read of older records reads pages of a file, which
/// are small and mostly in the memory of the operating system; it holds up its caller only.
pub struct Journal {
    held: RwLock<Held>,
    /// How many records stay in memory.
    limit: usize,
    files: Option<Files>,
}

/// What is in memory.
struct Held {
    /// What each batch applied, as `apply` returned it; none is empty.
    segments: VecDeque<Segment>,
    /// How many records the segments hold.
    records: usize,
    /// The first record held, or the next one when there is none.
    first: Sequence,
    /// The last record.
    last: Sequence,
}

#[derive(Clone)]
struct Segment {
    first: Sequence,
    records: Arc<Vec<Applied>>,
}

impl Segment {
    fn get(&self, sequence: Sequence) -> Option<&Applied> {
        let place = usize::try_from(sequence.0.checked_sub(self.first.0)?).ok()?;
        self.records.get(place)
    }

    fn from(&self, sequence: Sequence) -> &[Applied] {
        let skip = usize::try_from(sequence.0.saturating_sub(self.first.0)).unwrap_or(usize::MAX);
        self.records.get(skip..).unwrap_or_default()
    }

    fn last(&self) -> Sequence {
        Sequence(self.first.0 + self.records.len() as u64 - 1)
    }
}

impl Held {
    fn beginning(first: Sequence) -> Held {
        Held { segments: VecDeque::new(), records: 0, first, last: Sequence(first.0.saturating_sub(1)) }
    }

    /// Where the segment stands that holds `sequence` or, if none does, would stand.
    fn place(&self, sequence: Sequence) -> usize {
        self.segments.partition_point(|segment| segment.first <= sequence).saturating_sub(1)
    }
}

/// The journal no longer holds records before this one, or cannot read them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct JournalTrimmed {
    /// The first record it holds.
    pub first: Sequence,
}

/// Records, wherever they were found.
enum Found {
    Memory(Vec<Segment>),
    Disk(Page),
    /// The next record has not been written.
    End,
}

impl Journal {
    /// The journal of a memory replica, before the first record.
    pub(crate) fn new() -> Journal {
        Journal::with_limit(JOURNAL_RECORDS)
    }

    fn with_limit(limit: usize) -> Journal {
        Journal { held: RwLock::new(Held::beginning(Sequence(1))), limit, files: None }
    }

    /// The journal on a disk up to `keep`, where the snapshot is; what comes after it is cut, and the log
    /// writes it again. `since` is the first record that it must have. Blocks.
    ///
    /// # Errors
    /// [`super::DirectoryError::Damaged`] as an error when records are missing or damaged where it is cut.
    pub(crate) fn open(disk: Arc<dyn Disk>, keep: Sequence, since: Sequence) -> io::Result<Journal> {
        Journal::open_with(disk, keep, since, CACHED_RECORDS, files::SEGMENT_PAGES)
    }

    fn open_with(
        disk: Arc<dyn Disk>,
        keep: Sequence,
        since: Sequence,
        limit: usize,
        segment_pages: u64,
    ) -> io::Result<Journal> {
        let files = Files::open(disk, keep, since, segment_pages)?;
        Ok(Journal { held: RwLock::new(Held::beginning(keep.next())), limit, files: Some(files) })
    }

    /// Whether records can be added. Asked before a batch is applied, so that the ledger never shows what the journal
    /// could not take.
    ///
    /// # Errors
    /// When earlier records could not be written to the disk.
    pub(crate) fn check(&self) -> io::Result<()> {
        self.files.as_ref().map_or(Ok(()), Files::check)
    }

    /// Adds what one batch applied, and lets the oldest batches leave the memory when they are too many. A disk that
    /// fails is noticed before the next batch.
    pub(crate) fn append(&self, mut records: Vec<Applied>) {
        let (Some(first), Some(last)) = (records.first(), records.last()) else {
            return;
        };
        let (first, last) = (first.sequence, last.sequence);
        records.shrink_to_fit();
        let segment = Segment { first, records: Arc::new(records) };
        let written = match &self.files {
            Some(files) => {
                files.append(Arc::clone(&segment.records));
                files.written()
            }
            None => last,
        };
        let mut gone = Vec::new();
        {
            let mut held = self.held.write();
            assert_eq!(first, held.last.next(), "the journal has no gaps");
            held.last = last;
            held.records += segment.records.len();
            held.segments.push_back(segment);
            while held.records > self.limit && held.segments.len() > 1 {
                let Some(oldest) = held.segments.pop_front_if(|oldest| oldest.last() <= written) else {
                    break;
                };
                held.records -= oldest.records.len();
                gone.push(oldest);
            }
            if let Some(oldest) = held.segments.front() {
                held.first = oldest.first;
            }
        }
        // Freed here, so that readers do not wait for it.
        drop(gone);
    }

    /// Waits, if the disk is far behind, until it is not.
    ///
    /// # Errors
    /// When records could not be written to the disk.
    pub(crate) async fn keep_up(&self) -> io::Result<()> {
        match &self.files {
            Some(files) if self.last().0 > files.written().0 + UNWRITTEN_RECORDS => files.settle().await,
            Some(_) | None => Ok(()),
        }
    }

    /// Whether new work should be let in: false when the disk is full. What is in flight still has room, in memory.
    pub(crate) fn has_room(&self) -> bool {
        self.files.as_ref().is_none_or(Files::has_room)
    }

    /// Makes everything appended so far durable, if there is a disk. Comes before the log is purged.
    ///
    /// # Errors
    /// When the disk does not say that it did.
    pub(crate) async fn flush(&self) -> io::Result<()> {
        match &self.files {
            Some(files) => files.flush().await,
            None => Ok(()),
        }
    }

    /// Begins again after `last`, without the records up to it: a peer's snapshot has replaced the ledger. What is on
    /// the disk comes back when the gap behind it is filled.
    ///
    /// # Errors
    /// When the disk does not do it.
    pub(crate) async fn restart_after(&self, last: Sequence) -> io::Result<()> {
        if let Some(files) = &self.files {
            files.restart(last.next()).await?;
        }
        *self.held.write() = Held::beginning(last.next());
        Ok(())
    }

    /// Takes records from a peer that come immediately before the first one here, durably if there is a disk. A memory
    /// replica takes as many of them as it may keep.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] when they do not end where the journal begins, [`io::ErrorKind::StorageFull`]
    /// when there is no space for them; then nothing has changed. Another one when the disk fails.
    pub async fn append_older(&self, mut records: Vec<Applied>) -> io::Result<()> {
        let follows = |pair: &[Applied]| pair[0].sequence.next() == pair[1].sequence;
        if !records.windows(2).all(follows) {
            return Err(misplaced());
        }
        if let Some(files) = &self.files {
            return files.append_older(records).await;
        }
        let mut held = self.held.write();
        if records.last().is_none_or(|last| last.sequence.next() != held.first) {
            return Err(misplaced());
        }
        let room = self.limit.saturating_sub(held.records);
        records.drain(..records.len().saturating_sub(room));
        if let Some(first) = records.first() {
            held.first = first.sequence;
            held.records += records.len();
            let segment = Segment { first: held.first, records: Arc::new(records) };
            held.segments.push_front(segment);
        }
        Ok(())
    }

    /// Records from `from` on, in order, until the end or until `visit` breaks.
    ///
    /// # Errors
    /// [`JournalTrimmed`] when the next record is no longer held.
    pub fn visit(
        &self,
        from: Sequence,
        mut visit: impl FnMut(&Applied) -> ControlFlow<()>,
    ) -> Result<(), JournalTrimmed> {
        let mut next = from.max(Sequence(1));
        loop {
            match self.find(next, VISIT_SEGMENTS)? {
                Found::End => return Ok(()),
                Found::Memory(segments) => {
                    for record in segments.iter().flat_map(|segment| segment.from(next)) {
                        if visit(record).is_break() {
                            return Ok(());
                        }
                    }
                    next = segments.last().map_or(next, |segment| segment.last().next());
                }
                Found::Disk(page) => {
                    let before = next;
                    for place in page
                        .records()
                        .skip_while(|place| place.as_ref().is_ok_and(|place| place.sequence < before))
                    {
                        let Ok(record) = place.and_then(|place| place.read()) else { break };
                        if !self.has(record.sequence) {
                            break;
                        }
                        next = record.sequence.next();
                        if visit(&record).is_break() {
                            return Ok(());
                        }
                    }
                    if next == before {
                        return Err(self.unreadable(next));
                    }
                }
            }
        }
    }

    /// The postings of an account, newest first, beginning with the one at `newest` (which must be a
    /// posting of the account, zero for none) and following the chain, until `visit` breaks.
    ///
    /// An account shows a posting a moment before the journal holds its record. Who takes `newest`
    /// from an account calls this in a second read, one that asks for at least `newest`; nothing is
    /// visited when the journal has not come so far.
    ///
    /// # Errors
    /// [`JournalTrimmed`] when the chain leads to a record that is no longer held.
    pub fn statement(
        &self,
        account: AccountNumber,
        newest: Sequence,
        mut visit: impl FnMut(&Applied, CustomerPosting) -> ControlFlow<()>,
    ) -> Result<(), JournalTrimmed> {
        self.follow(newest, |record| {
            let posting = record.customer_postings().find(|posting| posting.account == account)?;
            visit(record, posting).is_continue().then_some(posting.previous)
        })
    }

    /// The records that begin a transfer or prepare a credit, newest first, beginning with the one at `newest`
    /// ([`crate::ledger::Ledger::newest_transfer`] or an earlier one, zero for none), until `visit` breaks. As with a
    /// statement, the ledger shows a transfer a moment before the journal holds its record.
    ///
    /// # Errors
    /// [`JournalTrimmed`] when the chain leads to a record that is no longer held.
    pub fn transfers(
        &self,
        newest: Sequence,
        mut visit: impl FnMut(&Applied) -> ControlFlow<()>,
    ) -> Result<(), JournalTrimmed> {
        self.follow(newest, |record| {
            let goes_on = record.begins_transfer() && visit(record).is_continue();
            goes_on.then_some(record.previous_transfer)
        })
    }

    /// One record; none when it has not been applied.
    ///
    /// # Errors
    /// [`JournalTrimmed`] when it is no longer held.
    pub fn record(&self, at: Sequence) -> Result<Option<Applied>, JournalTrimmed> {
        let mut found = None;
        self.follow(at, |record| {
            found = Some(record.clone());
            None
        })?;
        Ok(found)
    }

    /// Looks at the record at `from` and, as long as `next` names one before it, at that one.
    fn follow(
        &self,
        from: Sequence,
        mut next: impl FnMut(&Applied) -> Option<Sequence>,
    ) -> Result<(), JournalTrimmed> {
        let mut at = from;
        // Neighbours in the chain are often in one batch or on one page, which is then looked up once.
        let mut found = Found::End;
        while at > Sequence::ZERO {
            if !found.covers(at) {
                found = self.find(at, 1)?;
            }
            let read;
            let record = match &found {
                Found::End => None,
                Found::Memory(segments) => segments.first().and_then(|segment| segment.get(at)),
                Found::Disk(page) => {
                    let place = page.records().map_while(Result::ok).find(|place| place.sequence == at);
                    read = place.and_then(|place| place.read().ok()).ok_or_else(|| self.unreadable(at))?;
                    Some(&read)
                }
            };
            let Some(earlier) = record.and_then(&mut next) else { return Ok(()) };
            at = earlier;
        }
        Ok(())
    }

    /// Records from `next` on in at most `segments` segments in memory, or its page.
    fn find(&self, next: Sequence, segments: usize) -> Result<Found, JournalTrimmed> {
        {
            let held = self.held.read();
            if next > held.last {
                return Ok(Found::End);
            }
            if next >= held.first {
                let found = held.segments.range(held.place(next)..).take(segments);
                return Ok(Found::Memory(found.cloned().collect()));
            }
        }
        let Some(files) = &self.files else {
            return Err(JournalTrimmed { first: self.first() });
        };
        match files.page_of(next) {
            Ok(Some(page)) => Ok(Found::Disk(page)),
            Ok(None) => Err(JournalTrimmed { first: self.first() }),
            Err(error) => {
                tracing::error!(%error, "a part of the journal cannot be read");
                Err(self.unreadable(next))
            }
        }
    }

    fn has(&self, sequence: Sequence) -> bool {
        sequence <= self.held.read().last
    }

    /// Where readers go on when a record cannot be read: damage to history is not the end of the bank.
    fn unreadable(&self, sequence: Sequence) -> JournalTrimmed {
        tracing::error!(
            sequence = sequence.0,
            "a record of the journal is damaged; verify the data directory"
        );
        let after = self.files.as_ref().and_then(|files| files.readable_after(sequence));
        JournalTrimmed { first: after.unwrap_or_else(|| self.held.read().first) }
    }

    /// The first record held; 1 when nothing was trimmed.
    #[must_use]
    pub fn first(&self) -> Sequence {
        match &self.files {
            Some(files) => files.first().min(self.held.read().first),
            None => self.held.read().first,
        }
    }

    /// Whether it lacks older records and would take them.
    #[must_use]
    pub fn takes_older(&self) -> bool {
        let full = self.files.is_none() && self.held.read().records >= self.limit;
        self.first() > Sequence(1) && !full
    }

    /// The last record; zero when there is none.
    #[must_use]
    pub fn last(&self) -> Sequence {
        self.held.read().last
    }
}

impl Found {
    /// Whether a record is among what was found.
    fn covers(&self, sequence: Sequence) -> bool {
        match self {
            Found::End => false,
            Found::Memory(segments) => {
                segments.first().is_some_and(|segment| segment.get(sequence).is_some())
            }
            // Older ones may be there; newer ones are never asked for.
            Found::Disk(page) => page.header.first <= sequence,
        }
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_books;
#[cfg(test)]
mod tests_disk;
