//! Reads the log from its segments, and tells a torn tail from damage. Writes nothing.
//!
//! A segment is a file of a fixed length, filled with zeroes when it was made: 16 bytes that say what it is, then
//! records one after the other ([`super::record`]), then zeroes. A segment is used only when the one before it is
//! complete and flushed; its last record is then a seal.
//!
//! **The rule.** Wherever the next record should be and is not, everything behind that place is searched for
//! undamaged records. Each record carries the number up to which all records had been flushed when it was
//! written, and when the log falls idle it writes one more record to say so.
//! - One of them says that the missing record had been flushed: this is damage, and the log is refused.
//! - None does: nobody was told that the missing record is durable. It is the tail of a write that the crash
//!   interrupted; it is cut.
//! - In a segment that is not the last one there is no such tail: everything there had been flushed. The same is
//!   true of a segment whose length is not what it says.
//!
//! **Its limits.** The very last flush before a crash is acknowledged a moment before its mark is written, and the
//! mark itself reaches the disk some time later. If the power fails within that time (not the process: what a
//! killed process has written stays), and the same record that was just flushed is damaged, it looks like a torn tail. So
//! does damage that wipes out a record and every record behind it. Against both there are only the other replicas.

use std::collections::VecDeque;
use std::io;

use super::kept::{Kept, Place, Slot};
use super::record::{self, ALIGN, Begin, LogPosition, Record};
use crate::store::directory::{DirectoryError, FORMAT_VERSION};
use crate::store::disk::Disk;
use crate::store::types::{Entry, FARTHEST_TERM, LogId};

/// The folder of the log.
pub(in crate::store) const FOLDER: &str = "log";
/// Segments are called by their number and this.
const SUFFIX: &str = ".seg";
/// What a segment begins with; then come its version and the version's complement.
const MAGIC: [u8; 8] = *b"BANKLOG\n";
/// Where the first record of a segment stands.
pub(super) const PREAMBLE: usize = 16;

/// The name of a segment.
pub(super) fn name(segment: u64) -> String {
    format!("{FOLDER}/{segment:010}{SUFFIX}")
}

/// The first bytes of a segment.
pub(super) fn preamble() -> [u8; PREAMBLE] {
    let mut bytes = [0; PREAMBLE];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
    bytes[12..].copy_from_slice(&(!FORMAT_VERSION).to_le_bytes());
    bytes
}

/// A segment that was read.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) number: u64,
    pub(super) begin: Begin,
    /// The highest index of an entry in it.
    pub(super) highest: Option<u64>,
    /// Where its records end, without the seal.
    pub(super) end: u64,
}

/// The tail of a write that a crash interrupted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Torn {
    pub(super) file: String,
    pub(super) offset: u64,
}

/// The log as it was found.
pub(super) struct Recovered {
    pub(super) kept: Kept,
    pub(super) files: Files,
}

/// What is known about the files of a log.
pub(super) struct Files {
    /// The segments, oldest first; never empty.
    pub(super) segments: VecDeque<Found>,
    /// The last segment as it is.
    pub(super) last_bytes: Vec<u8>,
    /// Number of the last record.
    pub(super) record: u64,
    pub(super) torn: Option<Torn>,
    /// Segments that are no longer part of the log, but not yet removed.
    pub(super) obsolete: Vec<u64>,
}

/// The numbers of the segments that there are, in order.
pub(super) fn list(disk: &dyn Disk) -> io::Result<Vec<u64>> {
    let mut numbers: Vec<u64> =
        disk.list(FOLDER)?.iter().filter_map(|name| name.strip_suffix(SUFFIX)?.parse().ok()).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// Reads the log; entries with `cached` commands stay in memory.
pub(super) fn read(disk: &dyn Disk, cached: usize) -> Result<Recovered, DirectoryError> {
    let mut numbers = list(disk)?;
    let Some(&newest) = numbers.last() else {
        return Err(DirectoryError::Missing { file: name(1) });
    };
    // Purged segments are removed oldest first, but a crash may forget some of the removals.
    let gap = numbers.windows(2).rposition(|pair| pair[0] + 1 != pair[1]).map_or(0, |gap| gap + 1);
    let mut obsolete: Vec<u64> = numbers.drain(..gap).collect();
    let mut replay: Option<Replay> = None;
    for number in numbers {
        let bytes = whole_file(disk, &name(number))?;
        let begin = begin(number, &bytes)?;
        let replay = match &mut replay {
            // Made, but perhaps the seal before it never reached the disk: the log goes on in the one before it.
            Some(replay)
                if number == newest && begin.first <= replay.after_seal() && is_unused(number, &bytes) =>
            {
                obsolete.push(number);
                replay.reopen();
                break;
            }
            Some(replay) if !replay.sealed => {
                return Err(replay.damage("a record that had been flushed does not match its check"));
            }
            Some(replay) => replay,
            None => replay.insert(Replay::new(&begin, cached)),
        };
        replay.segment(number, begin, bytes)?;
    }
    let replay = replay.ok_or_else(|| DirectoryError::Missing { file: name(1) })?;
    let recovered = replay.finish(obsolete)?;
    possible(&recovered.kept)?;
    Ok(recovered)
}

/// Refuses a log with a term that no election can have had: openraft would fail with it at the next one.
fn possible(kept: &Kept) -> Result<(), DirectoryError> {
    let leaders = [kept.last(), kept.purged, kept.committed].into_iter().flatten().map(|id| id.leader_id);
    let term = leaders.chain(kept.vote.map(|vote| vote.leader_id)).map(|leader| leader.term).max();
    match term.filter(|term| *term >= FARTHEST_TERM) {
        Some(term) => Err(DirectoryError::Impossible { file: FOLDER.to_owned(), term }),
        None => Ok(()),
    }
}

/// What a log is made of, for those who only look.
pub(in crate::store) struct Seen {
    /// The last entry that is known to be committed.
    pub(in crate::store) committed: Option<LogId>,
    /// Up to which entry the log is purged.
    pub(in crate::store) purged: Option<LogId>,
    /// How many entries there are.
    pub(in crate::store) entries: u64,
    slots: Vec<Slot>,
}

/// Reads the whole log without writing anything.
pub(in crate::store) fn look(disk: &dyn Disk) -> Result<Seen, DirectoryError> {
    let kept = read(disk, 0)?.kept;
    let slots: Vec<Slot> = kept.range(0..u64::MAX).cloned().collect();
    let (committed, purged) = (kept.committed, kept.purged);
    Ok(Seen { committed, purged, entries: slots.len() as u64, slots })
}

impl Seen {
    /// How many entries are not known to be committed.
    pub(in crate::store) fn undecided(&self) -> u64 {
        let known = self.committed.max(self.purged).map(|id| id.index);
        self.slots.iter().filter(|slot| Some(slot.id.index) > known).count() as u64
    }

    /// Whether an entry has this request.
    #[cfg(test)]
    pub(in crate::store) fn has(&self, disk: &dyn Disk, request: &crate::model::RequestId) -> bool {
        use crate::store::types::Payload;

        self.slots.iter().any(|slot| match read_entry(disk, slot).map(|entry| entry.payload) {
            Ok(Payload::Normal(batch)) => {
                batch.batch().proposals.iter().any(|proposal| proposal.request.as_ref() == Some(request))
            }
            Ok(Payload::Blank | Payload::Membership(_)) | Err(_) => false,
        })
    }

    /// The entries after `after` up to the last one that is known to be committed.
    pub(in crate::store) fn committed_after<'a>(
        &'a self,
        disk: &'a dyn Disk,
        after: Option<LogId>,
    ) -> impl Iterator<Item = Result<Entry, DirectoryError>> + 'a {
        let wanted = move |slot: &&Slot| {
            Some(slot.id.index) > after.map(|id| id.index)
                && Some(slot.id.index) <= self.committed.map(|id| id.index)
        };
        self.slots.iter().filter(wanted).map(|slot| match &slot.entry {
            Some(entry) => Ok(entry.clone()),
            None => read_entry(disk, slot),
        })
    }
}

fn read_entry(disk: &dyn Disk, slot: &Slot) -> Result<Entry, DirectoryError> {
    let place = slot.place.ok_or_else(|| DirectoryError::Missing { file: FOLDER.to_owned() })?;
    let file = name(place.segment);
    let mut bytes = vec![0; place.length];
    disk.open(&file)?.read_at(&mut bytes, place.offset)?;
    match record::unframe(&bytes, place.segment).map(|framed| record::parse(framed.body)) {
        Some(Ok(Record::Entry(entry))) if entry.log_id == slot.id => Ok(entry),
        Some(_) | None => {
            let what = "a record does not match its check".to_owned();
            Err(DirectoryError::Damaged { file, offset: place.offset, what })
        }
    }
}

fn whole_file(disk: &dyn Disk, name: &str) -> Result<Vec<u8>, DirectoryError> {
    let file = disk.open(name)?;
    let length = usize::try_from(file.len()?).map_err(io::Error::other)?;
    let mut bytes = vec![0; length];
    file.read_at(&mut bytes, 0)?;
    Ok(bytes)
}

fn damaged(file: String, offset: usize, what: &str) -> DirectoryError {
    DirectoryError::Damaged { file, offset: offset as u64, what: what.to_owned() }
}

/// Reads what a segment begins with.
fn begin(number: u64, bytes: &[u8]) -> Result<Begin, DirectoryError> {
    let file = name(number);
    let word = |at: usize| bytes.get(at..at + 4)?.first_chunk().map(|word| u32::from_le_bytes(*word));
    match (word(8), word(12)) {
        (Some(version), Some(complement)) if bytes.starts_with(&MAGIC) && version == !complement => {
            if version > FORMAT_VERSION {
                return Err(DirectoryError::Newer { file, found: version });
            }
        }
        _ => return Err(damaged(file, 0, "this is not how a segment of the log begins")),
    }
    let framed = record::unframe(&bytes[PREAMBLE..], number).filter(|framed| framed.number == number);
    let Some(Ok(Record::Begin(begin))) = framed.map(|framed| record::parse(framed.body)) else {
        return Err(damaged(file, PREAMBLE, "the first record does not match its check"));
    };
    if begin.size != bytes.len() as u64 {
        let what = format!("the file has {} bytes and was made with {}", bytes.len(), begin.size);
        return Err(DirectoryError::Damaged { file, offset: begin.size.min(bytes.len() as u64), what });
    }
    Ok(begin)
}

/// Length of the first record of a segment whose beginning was read.
fn begin_length(number: u64, bytes: &[u8]) -> usize {
    record::unframe(&bytes[PREAMBLE..], number).map_or(0, |framed| framed.length)
}

/// Whether a segment was never used.
pub(super) fn is_unused_file(disk: &dyn Disk, number: u64) -> Result<bool, DirectoryError> {
    let bytes = whole_file(disk, &name(number))?;
    Ok(begin(number, &bytes).is_ok() && is_unused(number, &bytes))
}

/// Whether nothing was ever written behind the beginning of a segment.
fn is_unused(number: u64, bytes: &[u8]) -> bool {
    let start = PREAMBLE + begin_length(number, bytes);
    bytes[start..].iter().all(|byte| *byte == 0)
}

/// Reads segments one after the other.
struct Replay {
    kept: Kept,
    /// The last entry that was in the log when its first segment began.
    before: Option<LogId>,
    /// Up to which entry the log says that it is purged.
    purged: Option<LogId>,
    segments: VecDeque<Found>,
    last_bytes: Vec<u8>,
    record: u64,
    sealed: bool,
    torn: Option<Torn>,
    cached: usize,
}

impl Replay {
    fn new(begin: &Begin, cached: usize) -> Replay {
        let LogPosition { purged, last, .. } = begin.state;
        Replay {
            // Entries of segments that are gone count as purged; `finish` finds out whether they were.
            kept: Kept::at(LogPosition { purged: last.max(purged), ..begin.state }),
            before: last,
            purged,
            segments: VecDeque::new(),
            last_bytes: Vec::new(),
            record: begin.first - 1,
            sealed: true,
            torn: None,
            cached,
        }
    }

    /// The number of the first record behind the seal of the last segment.
    fn after_seal(&self) -> u64 {
        self.record + if self.sealed { 1 } else { 2 }
    }

    /// Takes the seal off the last segment.
    fn reopen(&mut self) {
        self.record -= u64::from(std::mem::replace(&mut self.sealed, false));
    }

    /// Damage where the last segment that was read ends.
    fn damage(&self, what: &str) -> DirectoryError {
        let (file, offset) = self.segments.back().map_or_else(
            || (name(1), 0),
            |segment| (name(segment.number), usize::try_from(segment.end).unwrap_or(usize::MAX)),
        );
        damaged(file, offset, what)
    }

    fn segment(&mut self, number: u64, begin: Begin, bytes: Vec<u8>) -> Result<(), DirectoryError> {
        if begin.first != self.record + 1 {
            return Err(damaged(name(number), PREAMBLE, "the segment does not continue the one before it"));
        }
        let mut at = PREAMBLE + begin_length(number, &bytes);
        let mut highest = None;
        self.sealed = false;
        while !self.sealed {
            let next = self.record + 1;
            let Some(framed) = record::unframe(&bytes[at..], number).filter(|framed| framed.number == next)
            else {
                self.torn = tail(number, &bytes, at, next)?;
                break;
            };
            let unreadable = || damaged(name(number), at, "this server cannot read the record");
            let record = record::parse(framed.body).map_err(|_| unreadable())?;
            if let Record::Entry(entry) = &record {
                highest = highest.max(Some(entry.log_id.index));
            }
            let place = Place { segment: number, offset: at as u64, length: framed.length };
            self.record(record, place).map_err(|_| unreadable())?;
            self.record = next;
            // A seal does not count: the segment may have to be continued.
            at += if self.sealed { 0 } else { framed.length };
        }
        self.segments.push_back(Found { number, begin, highest, end: at as u64 });
        self.last_bytes = bytes;
        Ok(())
    }

    fn record(&mut self, record: Record, place: Place) -> io::Result<()> {
        match record {
            Record::Entry(entry) => {
                self.kept.append(Slot { place: Some(place), ..Slot::new(entry) })?;
                self.kept.evict(self.cached);
            }
            Record::Vote(vote) => self.kept.vote = Some(vote),
            Record::Truncate(last) => {
                self.kept.truncate(last);
                let beyond = |purged: LogId| last.is_none_or(|last| last.index < purged.index);
                if self.kept.purged.is_some_and(beyond) {
                    self.kept.purged = last;
                }
            }
            Record::Purge(upto) => {
                self.kept.purge(upto);
                self.purged = self.purged.max(Some(upto));
            }
            Record::Mark(committed) => self.kept.committed = committed,
            Record::Seal => self.sealed = true,
            Record::Begin(_) => return Err(io::Error::other("a segment begins once")),
        }
        Ok(())
    }

    fn finish(mut self, obsolete: Vec<u64>) -> Result<Recovered, DirectoryError> {
        let index = |id: Option<LogId>| id.map(|id| id.index);
        let Some(first) = self.segments.front() else {
            return Err(DirectoryError::Missing { file: name(1) });
        };
        if index(self.before) > index(self.purged) {
            return Err(DirectoryError::Missing { file: name(first.number - 1) });
        }
        if self.sealed {
            let next = self.segments.back().map_or(first.number, |last| last.number) + 1;
            return Err(DirectoryError::Missing { file: name(next) });
        }
        self.kept.purged = self.purged;
        self.kept.committed = self.kept.committed.min(self.kept.last());
        let Replay { kept, segments, last_bytes, record, torn, .. } = self;
        Ok(Recovered { kept, files: Files { segments, last_bytes, record, torn, obsolete } })
    }
}

/// What stands at `at`, where record `next` should be and is not: nothing, or the tail of a write that a crash
/// interrupted, or damage.
fn tail(number: u64, bytes: &[u8], at: usize, next: u64) -> Result<Option<Torn>, DirectoryError> {
    let rest = &bytes[at..];
    if rest.iter().all(|byte| *byte == 0) {
        return Ok(None);
    }
    // Numbers beyond what fits here are none; looking at them first keeps the search short.
    let possible = next..=next + (rest.len() / record::HEADER) as u64;
    let claims = (0..rest.len()).step_by(ALIGN).filter_map(|offset| {
        let bytes = &rest[offset..];
        if !record::claimed_number(bytes).is_some_and(|number| possible.contains(&number)) {
            return None;
        }
        record::unframe(bytes, number).map(|framed| framed.durable)
    });
    let file = name(number);
    if claims.max().is_some_and(|durable| durable >= next) {
        return Err(damaged(file, at, "a record that had been flushed does not match its check"));
    }
    Ok(Some(Torn { file, offset: at as u64 }))
}
