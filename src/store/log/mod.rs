//! The log and the vote of a replica, in memory or in a directory.
//!
//! Invariant: an entry is readable before `append` returns, and stays until openraft purges it. In a directory, an
//! entry is called flushed, and a vote or a truncation returns, only when it survives a crash; after a failed write
//! or flush nothing is called flushed any more, and openraft stops. In memory nothing is encoded. openraft
//! calls it; `replication` watches how long it grows and whether it has room.
//!
//! | file | what |
//! |---|---|
//! | `kept` | what is in memory |
//! | `record` | what stands in a segment |
//! | `writer`, `spare` | how it comes there |
//! | `recovery` | how it is read after a crash; the rule for torn tails and damage |

mod kept;
mod record;
mod recovery;
mod spare;
mod writer;

use std::cmp;
use std::fmt::Debug;
use std::io;
use std::marker::PhantomData;
use std::ops::{Bound, Range, RangeBounds};
use std::sync::Arc;

use futures::channel::oneshot;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::{LogState, OptionalSend, RaftLogReader};
use parking_lot::Mutex;

use self::kept::{Kept, Place, Slot};
use self::record::Record;
#[cfg(any(test, fuzzing))]
pub(crate) use self::record::read_anything as read_records;
use self::recovery::Recovered;
pub(super) use self::recovery::{FOLDER, look};
use self::spare::Spare;
pub(crate) use self::writer::Limits;
use self::writer::{Done, Operation, Shared, Writer};
use super::directory::{Directory, DirectoryError};
use super::disk::{Disk, Worker};
use super::flushed::{AllFlushed, Flushed};
use super::types::{Entry, Incarnation, LogId, Payload, Vote};
use super::{Runtime, Types};
use crate::model::planted::{Fault, planted};

/// When a log in memory asks to be compacted: a snapshot costs it nothing.
pub(crate) const MEMORY_LIMITS: Limits =
    Limits { entries: 1_024, commands: 65_536, bytes: usize::MAX, cached: usize::MAX };
/// When a log in a directory asks to be compacted: what it holds is read at every start.
pub(crate) const DIRECTORY_LIMITS: Limits =
    Limits { entries: usize::MAX, commands: usize::MAX, bytes: usize::MAX, cached: 262_144 };
/// Entries that a replica which records traces keeps for peers that are behind: a snapshot would bring them the
/// state without the events.
pub(crate) const TRACED_KEPT: usize = 32_768;
/// When the log in memory of a replica that records traces asks to be compacted.
const TRACED_LIMITS: Limits = Limits { entries: 2 * TRACED_KEPT, commands: usize::MAX, ..MEMORY_LIMITS };
/// With how many full segments a log in a directory is long.
const LONG_SEGMENTS: u64 = 4;

/// Most bytes of entries that are sent to a peer in one message.
const MESSAGE_BYTES: usize = 1024 * 1024;
/// Most entries that are looked at for one message.
const MESSAGE_ENTRIES: usize = 1_024;
/// Most commands of entries that are taken out of the log at a time to be applied.
const APPLIED_COMMANDS: usize = 65_536;

/// The log of one replica. Cheap to clone; clones are the same log.
pub(crate) struct LogStore<R: Runtime> {
    inner: Arc<Inner>,
    runtime: PhantomData<R>,
}

struct Inner {
    shared: Arc<Shared>,
    files: Option<Files>,
}

/// What a log in a directory has besides. Dropped in this order: when the lock goes, nobody writes any more.
struct Files {
    worker: Box<dyn Worker>,
    writer: Arc<Mutex<Writer>>,
    spare: Arc<Spare>,
    directory: Arc<Directory>,
}

impl<R: Runtime> Clone for LogStore<R> {
    fn clone(&self) -> LogStore<R> {
        LogStore { inner: Arc::clone(&self.inner), runtime: PhantomData }
    }
}

/// Makes the files of a new log.
pub(super) fn create(disk: &dyn Disk) -> Result<(), DirectoryError> {
    create_with(disk, disk.segment_bytes())
}

/// Makes the files of a new log with segments of this length.
pub(super) fn create_with(disk: &dyn Disk, segment_bytes: u64) -> Result<(), DirectoryError> {
    writer::create(disk, segment_bytes)
}

impl<R: Runtime> LogStore<R> {
    /// An empty log in memory.
    pub(crate) fn memory(traced: bool) -> LogStore<R> {
        let limits = if traced { TRACED_LIMITS } else { MEMORY_LIMITS };
        let shared = Arc::new(Shared::new(Kept::default(), limits));
        LogStore { inner: Arc::new(Inner { shared, files: None }), runtime: PhantomData }
    }

    /// The log of a directory. Blocks while it reads it.
    ///
    /// # Errors
    /// When something in it is damaged or missing, or when the disk fails.
    pub(crate) fn open(directory: Arc<Directory>) -> Result<LogStore<R>, DirectoryError> {
        let segment_bytes = directory.disk().segment_bytes();
        let bytes = usize::try_from(LONG_SEGMENTS * segment_bytes).unwrap_or(usize::MAX);
        LogStore::open_with(directory, Limits { bytes, ..DIRECTORY_LIMITS }, segment_bytes)
    }

    pub(super) fn open_with(
        directory: Arc<Directory>,
        limits: Limits,
        segment_bytes: u64,
    ) -> Result<LogStore<R>, DirectoryError> {
        let disk = Arc::clone(directory.disk());
        let Recovered { kept, files } = recovery::read(&*disk, limits.cached)?;
        let shared = Arc::new(Shared::new(kept, limits));
        let spare = Arc::new(Spare::new(Arc::clone(&disk), Arc::clone(&shared))?);
        let worker = disk.worker("bank-log")?;
        let writer = Writer::open(disk, Arc::clone(&shared), Arc::clone(&spare), files, segment_bytes)?;
        if shared.is_long(&shared.kept.lock()) {
            shared.long.notify_one();
        }
        let files = Files { worker, writer: Arc::new(Mutex::new(writer)), spare, directory };
        Ok(LogStore { inner: Arc::new(Inner { shared, files: Some(files) }), runtime: PhantomData })
    }

    /// Returns when the log has become longer than it should be.
    pub(crate) async fn is_long(&self) {
        self.inner.shared.long.notified().await;
    }

    /// The index of the last entry; what is purged counts.
    pub(crate) fn last_index(&self) -> u64 {
        self.inner.shared.kept.lock().last().map_or(0, |last| last.index)
    }

    /// Up to which entry the log is gone.
    pub(super) fn purged(&self) -> Option<LogId> {
        self.inner.shared.kept.lock().purged
    }

    /// What this replica has flushed, of a life that is called so. None in memory, whose lives end with the process,
    /// and before the first vote.
    pub(crate) fn flushed(&self, life: Incarnation) -> Option<Flushed> {
        self.inner.files.as_ref()?;
        let kept = self.inner.shared.kept.lock();
        kept.vote.map(|vote| Flushed { life, vote, last: kept.flushed() })
    }

    /// Whether this log is an earlier one than that of which somebody knows this.
    pub(crate) fn is_before(&self, known: &Flushed) -> bool {
        let kept = self.inner.shared.kept.lock();
        match kept.vote.map(|vote| vote.leader_id.cmp(&known.vote.leader_id)) {
            None | Some(cmp::Ordering::Less) => true,
            Some(cmp::Ordering::Equal) => known.last.is_some_and(|last| !kept.has(last)),
            // Entries may have been cut since for a later leader.
            Some(cmp::Ordering::Greater) => false,
        }
    }

    /// The first of a leader's entries, in order, that is another one than what is committed here at its place. None when
    /// the vote is an earlier one than ours: such a leader was replaced, and may have other entries.
    pub(crate) fn contradiction(&self, vote: &Vote, entries: impl Iterator<Item = LogId>) -> Option<LogId> {
        let kept = self.inner.shared.kept.lock();
        if kept.vote.is_some_and(|known| vote.leader_id < known.leader_id) {
            return None;
        }
        let committed = kept.committed.map(|committed| committed.index);
        let mut known = entries.take_while(|id| Some(id.index) <= committed);
        known.find(|id| !kept.has(*id))
    }

    /// Writes down what the replicas of the branch are known to have flushed, some time soon.
    pub(crate) fn keep_flushed(&self, known: AllFlushed) {
        if let Some(files) = &self.inner.files {
            files.spare.keep_flushed(known);
        }
    }

    /// Whether this very entry is in the log.
    pub(crate) fn holds(&self, id: LogId) -> bool {
        let kept = self.inner.shared.kept.lock();
        kept.range(id.index..id.index + 1).any(|slot| slot.id == id)
    }

    /// Whether another entry is known to stand where this one says it does. What is purged is only known by its end.
    pub(crate) fn contradicts(&self, id: LogId) -> bool {
        let kept = self.inner.shared.kept.lock();
        match kept.purged {
            Some(purged) if purged.index == id.index => purged != id,
            Some(_) | None => kept.range(id.index..id.index + 1).any(|slot| slot.id != id),
        }
    }

    /// Whether this entry is in the log, or in the part of it that is purged.
    pub(crate) fn held(&self, id: LogId) -> bool {
        let purged = self.purged().map(|purged| purged.index);
        Some(id.index) <= purged || self.holds(id)
    }

    /// The term of the vote that is stored.
    pub(crate) fn term(&self) -> u64 {
        self.inner.shared.kept.lock().vote.map_or(0, |vote| vote.leader_id.term)
    }

    /// How many bytes of entries are on the disk.
    pub(crate) fn bytes(&self) -> u64 {
        self.inner.shared.kept.lock().length().2 as u64
    }

    /// Whether new entries should be let in: false when the disk is full. What is in flight still has room.
    pub(crate) fn has_room(&self) -> bool {
        self.inner.files.as_ref().is_none_or(|files| files.spare.has_room())
    }

    /// Ends the use of the directory: what was appended before is on the disk, and when this returns another
    /// server may open it. Nothing can be written any more.
    ///
    /// # Errors
    /// When the disk failed. The directory is free all the same.
    pub(crate) async fn close(&self) -> io::Result<()> {
        let Some(files) = &self.inner.files else { return Ok(()) };
        let closed = self.durable(Operation::Close).await;
        let (tell, told) = oneshot::channel();
        let shared = Arc::clone(&self.inner.shared);
        // A job of its own: it comes after everything that the job before it had to do.
        files.worker.run(Box::new(move || {
            shared.refuse("the log is closed");
            let _ = tell.send(());
        }));
        let _ = told.await;
        files.spare.settled().await;
        files.directory.release();
        closed
    }

    /// How many entries and commands it holds now.
    #[cfg(test)]
    pub(crate) fn length(&self) -> (usize, usize) {
        let (entries, commands, _) = self.inner.shared.kept.lock().length();
        (entries, commands)
    }

    /// Hands an operation to the writer.
    fn submit(&self, files: &Files, operation: Operation, done: Done) {
        if self.inner.shared.put(operation, done) {
            let writer = Arc::clone(&files.writer);
            files.worker.run(Box::new(move || writer.lock().work()));
        }
    }

    /// Hands an operation to the writer and waits until it is durable. In memory it is at once.
    async fn durable(&self, operation: Operation) -> io::Result<()> {
        let Some(files) = &self.inner.files else { return Ok(()) };
        let (tell, told) = oneshot::channel();
        self.submit(files, operation, Box::new(move |result| drop(tell.send(result))));
        told.await.unwrap_or_else(|_| Err(io::Error::other("the writer of the log is gone")))
    }

    /// The entries of these slots, read from the disk where they are not in memory. None when some of them were
    /// purged meanwhile.
    async fn fetch(&self, slots: Vec<Slot>) -> io::Result<Option<Vec<Entry>>> {
        let missing: Vec<Place> =
            slots.iter().filter(|slot| slot.entry.is_none()).filter_map(|slot| slot.place).collect();
        let mut bodies = match &self.inner.files {
            Some(files) if !missing.is_empty() => {
                let (tell, told) = oneshot::channel();
                let writer = Arc::clone(&files.writer);
                files.worker.run(Box::new(move || drop(tell.send(writer.lock().read(&missing)))));
                let gone = |_| Err(io::Error::other("the writer of the log is gone"));
                match told.await.unwrap_or_else(gone)? {
                    Some(bodies) => bodies,
                    None => return Ok(None),
                }
            }
            Some(_) | None => Vec::new(),
        }
        .into_iter();
        let mut entries = Vec::with_capacity(slots.len());
        for slot in slots {
            let entry = match slot.entry {
                Some(entry) => entry,
                None => decode(slot.id, bodies.next().as_deref().unwrap_or_default())?,
            };
            entries.push(entry);
        }
        Ok(Some(entries))
    }

    /// All entries in `range` for which `choose` decides.
    async fn entries(
        &self,
        range: Range<u64>,
        choose: impl Fn(&Kept, Range<u64>) -> Vec<Slot>,
    ) -> io::Result<Vec<Entry>> {
        loop {
            let slots = choose(&self.inner.shared.kept.lock(), range.clone());
            if let Some(entries) = self.fetch(slots).await? {
                return Ok(entries);
            }
        }
    }
}

/// What is said when a leader wants entries cut that were committed, and applied, here.
fn refuse_cut(last: Option<LogId>, committed: Option<LogId>) -> String {
    let index = |id: Option<LogId>| id.map_or(0, |id| id.index);
    let what = format!(
        "the leader asks to cut the log behind entry {}, but this replica has applied entries up to {}: another \
         replica was started on an older copy of its directory, and the branch lost what was acknowledged",
        index(last),
        index(committed)
    );
    tracing::error!("{what}");
    what
}

/// Reads an entry that must be the one that was looked for.
fn decode(id: LogId, body: &[u8]) -> io::Result<Entry> {
    match record::parse(body) {
        Ok(Record::Entry(entry)) if entry.log_id == id => Ok(entry),
        Ok(_) | Err(_) => Err(io::Error::other(format!("the record of entry {id} is not there"))),
    }
}

/// What an entry takes up in a message, about.
fn size(slot: &Slot) -> usize {
    let encoded = |entry: &Entry| match &entry.payload {
        Payload::Normal(batch) => batch.bytes().len(),
        Payload::Blank | Payload::Membership(_) => 0,
    };
    slot.place.map(|place| place.length).or(slot.entry.as_ref().map(encoded)).unwrap_or_default()
}

/// As many as stay below `most` together, and at least one.
fn within(slots: Vec<Slot>, most: usize, weigh: impl Fn(&Slot) -> usize) -> Vec<Slot> {
    let mut total = 0;
    let fits = |slot: &Slot| {
        let first = total == 0;
        total += weigh(slot).max(1);
        first || total <= most
    };
    slots.into_iter().take_while(fits).collect()
}

fn bounds(range: &impl RangeBounds<u64>) -> Range<u64> {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(before) => before.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(last) => last.saturating_add(1),
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    start..end
}

impl<R: Runtime> RaftLogReader<Types<R>> for LogStore<R> {
    async fn entries_stream<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> impl Stream<Item = Result<Entry, io::Error>> + OptionalSend {
        // A replica that starts applies everything that it knows to be committed: not all of it at once.
        let choose = |kept: &Kept, range| {
            let mut commands = 0;
            let fits = |slot: &&Slot| {
                let fits = commands < APPLIED_COMMANDS;
                commands += slot.commands.max(1);
                fits
            };
            kept.range(range).take_while(fits).cloned().collect()
        };
        let chunks = stream::try_unfold((self.clone(), bounds(&range)), move |(log, range)| async move {
            let entries = log.entries(range.clone(), choose).await?;
            let next = entries.last().map_or(range.end, |last| last.log_id.index + 1);
            let rest = next..range.end;
            Ok::<_, io::Error>((!entries.is_empty()).then_some((entries, (log, rest))))
        });
        chunks.map_ok(|entries| stream::iter(entries).map(Ok)).try_flatten().boxed()
    }

    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, io::Error> {
        self.entries(bounds(&range), |kept, range| kept.range(range).cloned().collect()).await
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, io::Error> {
        loop {
            let few: Vec<Slot> = {
                let kept = self.inner.shared.kept.lock();
                kept.range(start..end).take(MESSAGE_ENTRIES).cloned().collect()
            };
            // Weighing may encode, which is not done under the lock.
            if let Some(entries) = self.fetch(within(few, MESSAGE_BYTES, size)).await? {
                return Ok(entries);
            }
        }
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.inner.shared.kept.lock().vote)
    }
}

impl<R: Runtime> RaftLogStorage<Types<R>> for LogStore<R> {
    type LogReader = LogStore<R>;

    async fn get_log_state(&mut self) -> Result<LogState<Types<R>>, io::Error> {
        let kept = self.inner.shared.kept.lock();
        Ok(LogState { last_purged_log_id: kept.purged, last_log_id: kept.last() })
    }

    async fn get_log_reader(&mut self) -> LogStore<R> {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        match &self.inner.files {
            Some(files) if planted(Fault::VoteNotFlushed) => {
                self.submit(files, Operation::Vote(*vote), Box::new(drop));
            }
            Some(_) | None => self.durable(Operation::Vote(*vote)).await?,
        }
        self.inner.shared.kept.lock().vote = Some(*vote);
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        // The next record takes it to the disk.
        self.inner.shared.kept.lock().committed = committed;
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        Ok(self.inner.shared.kept.lock().committed)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types<R>>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let shared = &self.inner.shared;
        let mut written = Vec::new();
        let long = {
            let mut kept = shared.kept.lock();
            for entry in entries {
                if self.inner.files.is_some() {
                    written.push(entry.clone());
                }
                kept.append(Slot::new(entry))?;
            }
            shared.is_long(&kept)
        };
        if long {
            shared.long.notify_one();
        }
        match &self.inner.files {
            Some(files) if planted(Fault::AckBeforeFlush) => {
                self.submit(files, Operation::Append(written), Box::new(drop));
                callback.io_completed(Ok(()));
            }
            Some(files) => {
                let done = Box::new(move |result| callback.io_completed(result));
                self.submit(files, Operation::Append(written), done);
            }
            // Memory is as durable as this log gets.
            None => callback.io_completed(Ok(())),
        }
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), io::Error> {
        let gone = {
            let mut kept = self.inner.shared.kept.lock();
            let committed = kept.committed;
            if last.map(|last| last.index) < committed.map(|committed| committed.index) {
                let what = refuse_cut(last, committed);
                self.inner.shared.refuse(&what);
                return Err(io::Error::other(what));
            }
            kept.truncate(last)
        };
        drop(gone);
        self.durable(Operation::Truncate(last)).await
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), io::Error> {
        let gone = self.inner.shared.kept.lock().purge(upto);
        drop(gone);
        if let Some(files) = &self.inner.files {
            // If it fails, whoever appends next learns it.
            self.submit(files, Operation::Purge(upto), Box::new(drop));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
