//! Writes the log to its segments: one flush for everything that waits, then the next.
//!
//! Invariant: nothing is called durable before it is flushed, and after the first failure nothing is called
//! durable any more. Everything happens in jobs of one worker, in the order in which it was asked for; while one job
//! flushes the next operations are collected, so there is no timer and a lone call waits for nobody.
//! A segment is used when it is complete and flushed, its name too, and left when everything in it is flushed.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::kept::{Kept, Place};
use super::record::{self, Begin, LogPosition, Record};
use super::recovery::{self, FOLDER, Files, Found, PREAMBLE};
use super::spare::{self, Spare};
use crate::model::planted::{Fault, planted};
use crate::store::directory::{self, DirectoryError};
use crate::store::disk::{self, Disk, DiskFile};
use crate::store::types::{Entry, LogId, Vote};

/// What stays free at the end of a segment for its seal, and for a mark.
const RESERVED: usize = 128;
/// What is encoded before it is handed to the disk.
const WRITE_BYTES: usize = 1024 * 1024;

/// What is called when an operation is durable, or failed.
pub(super) type Done = Box<dyn FnOnce(io::Result<()>) + Send>;

/// One operation on the log.
pub(super) enum Operation {
    Append(Vec<Entry>),
    Vote(Vote),
    Truncate(Option<LogId>),
    Purge(LogId),
    /// Everything before it is on the disk, and what is committed is written down.
    Close,
}

/// What the log and its writer share.
pub(super) struct Shared {
    pub(super) kept: Mutex<Kept>,
    /// Told when the log has become longer than it should be.
    pub(super) long: Notify,
    pub(super) limits: Limits,
    queue: Mutex<Queue>,
}

/// With more than this the log asks to be compacted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) entries: usize,
    pub(crate) commands: usize,
    pub(crate) bytes: usize,
    /// Most commands of flushed entries that stay in memory, where followers read them.
    pub(crate) cached: usize,
}

#[derive(Default)]
struct Queue {
    waiting: Vec<(Operation, Done)>,
    /// A job is under way and will look again.
    working: bool,
    /// Why nothing is durable any more.
    broken: Option<String>,
}

impl Shared {
    pub(super) fn new(kept: Kept, limits: Limits) -> Shared {
        Shared { kept: Mutex::new(kept), long: Notify::new(), limits, queue: Mutex::default() }
    }

    /// Whether the log is longer than it should be.
    pub(super) fn is_long(&self, kept: &Kept) -> bool {
        let (entries, commands, bytes) = kept.length();
        entries > self.limits.entries || commands > self.limits.commands || bytes > self.limits.bytes
    }

    /// Takes an operation. True when the caller must give the worker a job.
    pub(super) fn put(&self, operation: Operation, done: Done) -> bool {
        let broken = {
            let mut queue = self.queue.lock();
            match &queue.broken {
                Some(broken) => broken.clone(),
                None => {
                    queue.waiting.push((operation, done));
                    return !std::mem::replace(&mut queue.working, true);
                }
            }
        };
        done(Err(io::Error::other(broken)));
        false
    }

    /// Everything that waits. None, and no job is under way any more, when nothing does.
    fn take(&self) -> Option<Vec<(Operation, Done)>> {
        let mut queue = self.queue.lock();
        queue.working = !queue.waiting.is_empty();
        queue.working.then(|| std::mem::take(&mut queue.waiting))
    }

    fn is_idle(&self) -> bool {
        self.queue.lock().waiting.is_empty()
    }

    /// From now on nothing is durable: a disk that failed once is not asked again.
    pub(super) fn fail(&self, error: &io::Error) {
        let why = format!("the log cannot be written: {error}");
        tracing::error!("{why}");
        self.refuse(&why);
    }

    /// Refuses what waits, and everything from now on.
    pub(super) fn refuse(&self, why: &str) {
        let waiting = {
            let mut queue = self.queue.lock();
            queue.broken.get_or_insert_with(|| why.to_owned());
            std::mem::take(&mut queue.waiting)
        };
        for (_, done) in waiting {
            done(Err(io::Error::other(why)));
        }
    }

    fn broken(&self) -> Option<String> {
        self.queue.lock().broken.clone()
    }
}

/// The segment that is written to.
struct Current {
    number: u64,
    file: Arc<dyn DiskFile>,
    size: u64,
    /// Where the next write goes.
    at: u64,
    highest: Option<u64>,
}

/// A segment that is complete.
struct Complete {
    number: u64,
    file: Arc<dyn DiskFile>,
    highest: Option<u64>,
}

/// The one who writes.
pub(super) struct Writer {
    disk: Arc<dyn Disk>,
    shared: Arc<Shared>,
    spare: Arc<Spare>,
    complete: VecDeque<Complete>,
    current: Current,
    segment_bytes: u64,
    /// Number of the last record.
    record: u64,
    /// Number of the last record that is flushed.
    durable: u64,
    /// The last number that a record says is flushed.
    marked: u64,
    /// Where the log stands with its last record.
    position: LogPosition,
    /// Records that are not written yet.
    buffer: Vec<u8>,
    /// Entries that are not flushed yet.
    places: Vec<(LogId, Place)>,
    /// Who waits for the next flush.
    done: Vec<Done>,
}

/// Makes the files of a new log, or what an earlier attempt left of them as new.
pub(super) fn create(disk: &dyn Disk, segment_bytes: u64) -> Result<(), DirectoryError> {
    for number in recovery::list(disk)? {
        // An attempt that did not come to its end has promised nothing: its one segment is empty.
        if number != 1 || !recovery::is_unused_file(disk, number)? {
            return Err(DirectoryError::Foreign { place: disk.place(), found: recovery::name(number) });
        }
        disk.remove(&recovery::name(number))?;
    }
    disk.create_folder(FOLDER)?;
    let begin = Begin { size: segment_bytes, first: 1, state: LogPosition::default() };
    let (file, _) = new_segment(disk, 1, &begin)?;
    file.flush()?;
    publish(disk, 1)?;
    Ok(())
}

/// The name of a segment that is not ready.
fn unready(number: u64) -> String {
    directory::new(&recovery::name(number))
}

fn publish(disk: &dyn Disk, number: u64) -> io::Result<()> {
    disk.rename(&unready(number), &recovery::name(number))?;
    if planted(Fault::NameNotFlushed) { Ok(()) } else { disk.flush_folder(FOLDER) }
}

/// Makes a segment that is not ready, with zeroes all through. Returns it and where its records go.
fn new_segment(disk: &dyn Disk, number: u64, begin: &Begin) -> io::Result<(Arc<dyn DiskFile>, u64)> {
    let name = unready(number);
    directory::remove_if_there(disk, &name)?;
    let file = disk.create(&name)?;
    disk::fill(&*file, 0, begin.size)?;
    let start = write_begin(&*file, number, begin)?;
    Ok((file, start))
}

/// Writes what a segment begins with; returns where its records go.
fn write_begin(file: &dyn DiskFile, number: u64, begin: &Begin) -> io::Result<u64> {
    let mut bytes = recovery::preamble().to_vec();
    record::frame(&mut bytes, number, number, begin.first - 1, |body| {
        record::put(body, &Record::Begin(begin.clone()));
    });
    file.write_at(&bytes, 0)?;
    Ok(bytes.len() as u64)
}

impl Writer {
    /// Takes over a log that was read: what was cut is cut for good, and what an earlier process wrote into the
    /// last segment stands in a new file, because that process may have died of a flush that failed, and then
    /// the disk does not have what the files show.
    pub(super) fn open(
        disk: Arc<dyn Disk>,
        shared: Arc<Shared>,
        spare: Arc<Spare>,
        found: Files,
        segment_bytes: u64,
    ) -> io::Result<Writer> {
        let Files { mut segments, last_bytes, record, torn, obsolete } = found;
        if let Some(torn) = torn {
            let recovery::Torn { file, offset } = torn;
            tracing::warn!(
                "{file}: cut at byte {offset}: the write was interrupted there and was never acknowledged"
            );
        }
        let last = segments.pop_back().ok_or_else(|| io::Error::other("a log has a segment"))?;
        let mut complete = VecDeque::new();
        for Found { number, highest, .. } in segments {
            complete.push_back(Complete { number, file: disk.open(&recovery::name(number))?, highest });
        }
        for leftover in disk.list(FOLDER)?.iter().filter(|name| name.ends_with(".new")) {
            disk.remove(&format!("{FOLDER}/{leftover}"))?;
        }
        let (file, _) = new_segment(&*disk, last.number, &last.begin)?;
        let end = usize::try_from(last.end).map_err(io::Error::other)?;
        file.write_at(&last_bytes[..end], 0)?;
        let position = {
            let kept = shared.kept.lock();
            LogPosition { vote: kept.vote, committed: kept.committed, purged: kept.purged, last: kept.last() }
        };
        let (number, size, highest) = (last.number, last.begin.size, last.highest);
        let current = Current { number, file, size, at: last.end, highest };
        let mut writer = Writer {
            disk,
            shared,
            spare,
            complete,
            current,
            segment_bytes,
            record,
            durable: record,
            marked: 0,
            position,
            buffer: Vec::new(),
            places: Vec::new(),
            done: Vec::new(),
        };
        // In the file before it gets its name, so that what it says is true when it is read.
        writer.mark()?;
        writer.current.file.flush()?;
        publish(&*writer.disk, number)?;
        writer.durable = writer.record;
        // Only now, because a sealed segment must have a next one.
        for number in &obsolete {
            writer.disk.remove(&recovery::name(*number))?;
        }
        writer.disk.flush_folder(FOLDER)?;
        writer.spare.prepare(writer.segment_bytes);
        Ok(writer)
    }

    /// Does everything that waits, and what comes meanwhile.
    pub(super) fn work(&mut self) {
        while let Some(operations) = self.shared.take() {
            if let Err(error) = self.group(operations) {
                self.shared.fail(&error);
                let why = error.to_string();
                self.done.drain(..).for_each(|done| done(Err(io::Error::new(error.kind(), why.clone()))));
            }
        }
    }

    /// Writes operations, flushes once, and says so.
    fn group(&mut self, operations: Vec<(Operation, Done)>) -> io::Result<()> {
        let mut operations = operations.into_iter();
        let result = operations.by_ref().try_for_each(|(operation, done)| {
            self.done.push(done);
            self.write(operation)
        });
        // Those that were not reached share the fate of the one that failed.
        self.done.extend(operations.map(|(_, done)| done));
        result?;
        if let Some(broken) = self.shared.broken() {
            return Err(io::Error::other(broken));
        }
        self.note_committed()?;
        self.flush()?;
        self.remove_purged()?;
        if self.shared.is_idle() && self.marked < self.durable {
            self.mark()?;
        }
        Ok(())
    }

    fn write(&mut self, operation: Operation) -> io::Result<()> {
        match operation {
            Operation::Append(entries) => entries.into_iter().try_for_each(|entry| self.entry(entry)),
            Operation::Vote(vote) => {
                self.put(&Record::Vote(vote))?;
                self.position.vote = Some(vote);
                Ok(())
            }
            Operation::Truncate(last) => {
                self.put(&Record::Truncate(last))?;
                self.position.last = last;
                Ok(())
            }
            Operation::Purge(upto) => {
                self.put(&Record::Purge(upto))?;
                self.position.purged = self.position.purged.max(Some(upto));
                if self.position.last.is_none_or(|last| last.index < upto.index) {
                    self.position.last = Some(upto);
                }
                Ok(())
            }
            Operation::Close => self.note_committed(),
        }
    }

    fn entry(&mut self, entry: Entry) -> io::Result<()> {
        let id = entry.log_id;
        let place = self.put(&Record::Entry(entry))?;
        self.places.push((id, place));
        self.position.last = Some(id);
        self.current.highest = self.current.highest.max(Some(id.index));
        Ok(())
    }

    /// Writes down what is committed, if that is news; it becomes durable with the next flush.
    fn note_committed(&mut self) -> io::Result<()> {
        let committed = self.shared.kept.lock().committed;
        if committed > self.position.committed {
            self.put(&Record::Mark(committed))?;
            self.position.committed = committed;
        }
        Ok(())
    }

    /// Adds a record to the buffer, in the next segment if it does not fit.
    fn put(&mut self, record: &Record) -> io::Result<Place> {
        let start = self.buffer.len();
        self.frame(record);
        let needed = self.buffer.len() - start;
        let room = self.current.size - self.current.at;
        if (self.buffer.len() + RESERVED) as u64 > room {
            self.buffer.truncate(start);
            self.next_segment(needed)?;
            self.frame(record);
        }
        self.record += 1;
        self.marked = self.durable;
        let length = needed as u64;
        let offset = self.current.at + self.buffer.len() as u64 - length;
        if self.buffer.len() >= WRITE_BYTES {
            self.write_buffer()?;
        }
        Ok(Place { segment: self.current.number, offset, length: needed })
    }

    fn frame(&mut self, record: &Record) {
        let (segment, number) = (self.current.number, self.record + 1);
        record::frame(&mut self.buffer, segment, number, self.durable, |body| record::put(body, record));
    }

    /// Writes that everything up to now is flushed. It need not become durable at once.
    fn mark(&mut self) -> io::Result<()> {
        if self.current.size - self.current.at >= RESERVED as u64 {
            self.frame(&Record::Mark(self.position.committed));
            self.record += 1;
            self.marked = self.durable;
            self.write_buffer()?;
        }
        Ok(())
    }

    fn write_buffer(&mut self) -> io::Result<()> {
        self.current.file.write_at(&self.buffer, self.current.at)?;
        self.current.at += self.buffer.len() as u64;
        self.buffer.clear();
        self.buffer.shrink_to(2 * WRITE_BYTES);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.buffer.is_empty() {
            self.write_buffer()?;
        }
        if self.durable < self.record {
            let flushed = self.current.file.flush();
            if !planted(Fault::FlushErrorIgnored) {
                flushed?;
            }
            self.durable = self.record;
        }
        self.done.drain(..).for_each(|done| done(Ok(())));
        self.place_entries();
        Ok(())
    }

    /// Tells the log where its entries stand now.
    fn place_entries(&mut self) {
        if self.places.is_empty() {
            return;
        }
        let (long, gone) = {
            let mut kept = self.shared.kept.lock();
            self.places.drain(..).for_each(|(id, place)| kept.placed(id, place));
            let gone = kept.evict(self.shared.limits.cached);
            (self.shared.is_long(&kept), gone)
        };
        if long {
            self.shared.long.notify_one();
        }
        drop(gone);
    }

    /// Goes on in a new segment in which a record of `needed` bytes has room.
    fn next_segment(&mut self, needed: usize) -> io::Result<()> {
        // The operation that is being written is not complete: it waits for the next flush.
        let incomplete = self.done.pop();
        let flushed = self.flush();
        self.done.extend(incomplete);
        flushed?;
        let number = self.current.number + 1;
        let large = (PREAMBLE + 4 * RESERVED + needed) as u64;
        let size = self.segment_bytes.max(large);
        let begin = Begin { size, first: self.record + 2, state: self.position };
        let (file, at) = match self.spare.take(size) {
            Some(file) => {
                self.disk.rename(spare::NAME, &unready(number))?;
                let start = write_begin(&*file, number, &begin)?;
                (file, start)
            }
            None => new_segment(&*self.disk, number, &begin)?,
        };
        file.flush()?;
        publish(&*self.disk, number)?;

        self.frame(&Record::Seal);
        self.record += 1;
        self.write_buffer()?;
        self.current.file.flush()?;
        self.durable = self.record;

        let current = Current { number, file, size, at, highest: None };
        let Current { number, file, highest, .. } = std::mem::replace(&mut self.current, current);
        self.complete.push_back(Complete { number, file, highest });
        self.spare.prepare(self.segment_bytes);
        Ok(())
    }

    /// Removes the segments at the old end whose entries are all purged.
    fn remove_purged(&mut self) -> io::Result<()> {
        let purged = self.position.purged.map(|purged| purged.index);
        let mut removed = false;
        while let Some(oldest) = self.complete.front() {
            if oldest.highest > purged {
                break;
            }
            self.disk.remove(&recovery::name(oldest.number))?;
            self.complete.pop_front();
            removed = true;
        }
        if removed { self.disk.flush_folder(FOLDER) } else { Ok(()) }
    }

    /// The bodies of the records at these places; None when one of them has been removed.
    pub(super) fn read(&self, places: &[Place]) -> io::Result<Option<Vec<Vec<u8>>>> {
        let mut bodies = Vec::with_capacity(places.len());
        for place in places {
            let complete = self.complete.iter().map(|segment| (segment.number, &segment.file));
            let current = (self.current.number, &self.current.file);
            let Some((number, file)) = complete.chain([current]).find(|(number, _)| *number == place.segment)
            else {
                return Ok(None);
            };
            let mut bytes = vec![0; place.length];
            file.read_at(&mut bytes, place.offset)?;
            let damaged = || {
                let (file, what) = (recovery::name(number), "a record does not match its check".to_owned());
                DirectoryError::Damaged { file, offset: place.offset, what }
            };
            bodies.push(record::unframe(&bytes, number).ok_or_else(damaged)?.body.to_vec());
        }
        Ok(Some(bodies))
    }
}
