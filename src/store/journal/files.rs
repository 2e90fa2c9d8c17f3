//! The journal on disk: segments of pages in the folder `journal`, named by their first sequence.
//!
//! Invariant: append-only. One worker writes, in log order, and nobody waits for it on the way to an answer;
//! what it has not written yet is in memory. A flush makes everything durable that was appended
//! before it, and comes before the log is purged. Readers look only at what was written. On a full disk what
//! cannot be written waits in memory, and no new work is let in until it is written. Nothing that was written is
//! removed because a snapshot of a peer leaves a gap behind it: it is put aside until the gap is filled.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};
use tokio::sync::oneshot;

use super::super::directory::{DirectoryError, remove_if_there};
use super::super::disk::{Disk, DiskFile, Worker};
use super::check::intact;
use super::page::{Chain, HEADER, Header, PAGE, Page, chain_after, push};
use super::segment::{Aside, FOLDER, Found, Segment, segment_name};
use crate::model::{Applied, Sequence};

/// Pages of a segment: 256 MiB, so that a terabyte of history is a few thousand open files.
pub(super) const SEGMENT_PAGES: u64 = 16 * 1024;
const UNFINISHED: &str = ".tmp";

/// The files of a journal.
pub(super) struct Files {
    shared: Arc<Shared>,
    worker: Box<dyn Worker>,
}

pub(super) struct Shared {
    disk: Arc<dyn Disk>,
    segment_pages: u64,
    /// In the order of their records, without gaps; none while nothing was written.
    segments: RwLock<Vec<Arc<Segment>>>,
    tail: Mutex<Tail>,
    /// What comes before a gap. Only the worker touches it.
    aside: Mutex<Vec<Aside>>,
    /// The last record that readers may look for.
    written: AtomicU64,
    /// Whether something waits because the disk is full.
    full: AtomicBool,
    /// The first failure. After it nothing is written any more.
    failed: Mutex<Option<String>>,
}

/// Where the next record goes.
struct Tail {
    next: Sequence,
    /// The page being filled, beginning with its header; empty when there is none.
    page: Vec<u8>,
    /// Where it stands in the newest segment.
    offset: u64,
    /// The chain for the next page.
    chain: Chain,
    /// What is to be written next, in order; more than one piece only at the end of a segment or on a full disk.
    unwritten: VecDeque<Piece>,
    /// Files that changed since the last flush.
    unflushed: Vec<Arc<dyn DiskFile>>,
    folder_changed: bool,
}

/// Bytes for a place in a segment.
struct Piece {
    segment: Arc<Segment>,
    bytes: Vec<u8>,
    at: u64,
}

impl Files {
    /// Opens the journal, keeps what it has up to `keep` and cuts what comes after, which the log will write again.
    /// It must have the records up to `keep` from `since` on. Blocks.
    pub(super) fn open(
        disk: Arc<dyn Disk>,
        keep: Sequence,
        since: Sequence,
        segment_pages: u64,
    ) -> io::Result<Files> {
        disk.create_folder(FOLDER)?;
        for name in disk.list(FOLDER)?.iter().filter(|name| name.ends_with(UNFINISHED)) {
            disk.remove(&format!("{FOLDER}/{name}"))?;
        }
        let Found { segments, aside, later, useless } = Found::look(&*disk, keep, since)?;
        for first in later.into_iter().chain(useless) {
            disk.remove(&segment_name(first))?;
        }
        intact(&segments, keep)?;
        let tail = match segments.last() {
            Some(newest) => cut(newest, keep)?,
            None if since > keep => Tail::beginning(keep.next()),
            None => return Err(missing(keep, since)),
        };
        if segments.first().is_some_and(|oldest| oldest.first > since) {
            return Err(missing(keep, since));
        }
        let shared = Shared {
            disk: Arc::clone(&disk),
            segment_pages,
            segments: RwLock::new(segments),
            tail: Mutex::new(tail),
            aside: Mutex::new(aside),
            written: AtomicU64::new(keep.0),
            full: AtomicBool::new(false),
            failed: Mutex::new(None),
        };
        Ok(Files { shared: Arc::new(shared), worker: disk.worker("journal")? })
    }

    /// Writes records behind all that were given before. Does not wait.
    pub(super) fn append(&self, records: Arc<Vec<Applied>>) {
        let shared = Arc::clone(&self.shared);
        // A failure is kept, and whoever asks next is told.
        self.worker.run(Box::new(move || {
            shared.attempt(|| shared.write(&records));
        }));
    }

    /// Whether there is space for more records, as far as is known. If not, tries again, for the next who asks.
    pub(super) fn has_room(&self) -> bool {
        let full = self.shared.full.load(Ordering::Acquire);
        if full {
            self.append(Arc::default());
        }
        !full
    }

    /// Whether everything so far was written, or still can be.
    pub(super) fn check(&self) -> io::Result<()> {
        match &*self.shared.failed.lock() {
            Some(failure) => Err(io::Error::other(failure.clone())),
            None => Ok(()),
        }
    }

    /// The last record that was written.
    pub(super) fn written(&self) -> Sequence {
        Sequence(self.shared.written.load(Ordering::Acquire))
    }

    /// The first record there is, or the one that will be.
    pub(super) fn first(&self) -> Sequence {
        let segments = self.shared.segments.read();
        segments.first().map_or_else(|| self.written().next(), |segment| segment.first)
    }

    /// Waits until what was appended before is written.
    pub(super) async fn settle(&self) -> io::Result<()> {
        self.after_writes(|_| Ok(())).await
    }

    /// Makes everything durable that was appended before.
    pub(super) async fn flush(&self) -> io::Result<()> {
        self.after_writes(Shared::flush).await?;
        if self.shared.full.load(Ordering::Acquire) {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "no space for the end of the journal"));
        }
        Ok(())
    }

    /// Begins again with `first` and puts everything before it aside.
    pub(super) async fn restart(&self, first: Sequence) -> io::Result<()> {
        self.after_writes(move |shared| shared.restart(first)).await
    }

    /// Adds records before the first one, durably.
    pub(super) async fn append_older(&self, records: Vec<Applied>) -> io::Result<()> {
        self.after_writes(move |shared| shared.append_older(&records)).await?
    }

    async fn after_writes<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let (done, wait) = oneshot::channel();
        let shared = Arc::clone(&self.shared);
        self.worker.run(Box::new(move || {
            let result = shared.attempt(|| work(&shared));
            // Nobody waits any more when the replica was stopped meanwhile.
            let _ = done.send(result);
        }));
        let gone = || io::Error::other("the journal's worker is gone");
        let result = wait.await.map_err(|_| gone())?;
        self.check()?;
        result.ok_or_else(gone)
    }

    /// The page that holds a record which was written and not trimmed.
    pub(super) fn page_of(&self, sequence: Sequence) -> io::Result<Option<Page>> {
        let segment = {
            let segments = self.shared.segments.read();
            let place = segments.partition_point(|segment| segment.first <= sequence);
            match place.checked_sub(1).and_then(|place| segments.get(place)) {
                Some(segment) => Arc::clone(segment),
                None => return Ok(None),
            }
        };
        let page = segment.page_of(sequence)?;
        segment.page(page).map(Some)
    }

    /// The first record after `sequence` that can be found at the beginning of a page.
    pub(super) fn readable_after(&self, sequence: Sequence) -> Option<Sequence> {
        let segments = self.shared.segments.read().clone();
        let place = segments.partition_point(|segment| segment.first <= sequence).saturating_sub(1);
        let pages = segments[place.min(segments.len())..]
            .iter()
            .flat_map(|segment| (0..segment.pages()).map(move |page| (segment, page)));
        let mut firsts = pages.filter_map(|(segment, page)| segment.header(page).ok());
        firsts.find(|header| header.first > sequence).map(|header| header.first)
    }
}

fn missing(keep: Sequence, since: Sequence) -> io::Error {
    DirectoryError::damaged(
        FOLDER,
        0,
        format!("it lacks records of {} to {}, which the snapshot knows", since.0, keep.0),
    )
    .into()
}

/// What is said of older records that do not end where the journal begins.
pub(super) fn misplaced() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "the older records do not end where the journal begins")
}

/// Cuts a segment behind a record and returns where the next one goes.
fn cut(newest: &Segment, keep: Sequence) -> io::Result<Tail> {
    let number = newest.page_of(keep)?;
    let page = newest.page(number)?;
    let mut end = HEADER;
    for place in page.records() {
        let place = place?;
        if place.sequence > keep {
            break;
        }
        place.read()?;
        end = place.end;
        if place.sequence == keep {
            newest.file.set_len(page.offset + end as u64)?;
            newest.set_pages(number + 1);
            let mut bytes = page.bytes;
            bytes.truncate(end);
            return Ok(Tail {
                next: keep.next(),
                page: bytes,
                offset: page.offset,
                chain: page.header.chain,
                unwritten: VecDeque::new(),
                unflushed: vec![Arc::clone(&newest.file)],
                folder_changed: true,
            });
        }
    }
    if number + 1 < newest.pages() {
        // Damage there is why the record was looked for here.
        newest.header(number + 1)?;
    }
    let what = format!("the journal ends before record {}, which the snapshot knows", keep.0);
    Err(DirectoryError::damaged(&newest.name, page.offset + end as u64, what).into())
}

impl Tail {
    fn beginning(next: Sequence) -> Tail {
        Tail {
            next,
            page: Vec::new(),
            offset: 0,
            chain: Chain::default(),
            unwritten: VecDeque::new(),
            unflushed: Vec::new(),
            folder_changed: true,
        }
    }

    /// Whether it has no segment yet.
    fn is_new(&self) -> bool {
        self.page.is_empty() && self.offset == 0
    }

    /// Puts a record on the page, if there is one with room for it, and appends what is to be written.
    fn put(&mut self, record: &Applied, bytes: &mut Vec<u8>) -> bool {
        let start = self.page.len();
        let fits = start >= HEADER && push(&mut self.page, record);
        if fits {
            bytes.extend_from_slice(&self.page[start..]);
            self.next = record.sequence.next();
        }
        fits
    }

    /// Fills the page, if there is one, with zeroes.
    fn end_page(&mut self, bytes: &mut Vec<u8>) {
        if !self.page.is_empty() {
            bytes.resize(bytes.len() + PAGE - self.page.len(), 0);
            self.chain = chain_after(&self.page);
            self.offset += PAGE as u64;
            self.page.clear();
        }
    }

    /// Begins the next page with a record.
    fn begin_page(&mut self, record: &Applied, bytes: &mut Vec<u8>) {
        self.page.extend(Header { first: record.sequence, chain: self.chain }.encode());
        bytes.extend_from_slice(&self.page);
        assert!(self.put(record, bytes), "a record is smaller than a page");
    }
}

impl Shared {
    /// Does work unless something failed before; keeps the failure.
    fn attempt<T>(&self, work: impl FnOnce() -> io::Result<T>) -> Option<T> {
        if self.failed.lock().is_some() {
            return None;
        }
        match work() {
            Ok(done) => Some(done),
            Err(error) => {
                tracing::error!(%error, "the journal cannot be written");
                *self.failed.lock() = Some(error.to_string());
                None
            }
        }
    }

    fn write(&self, records: &[Applied]) -> io::Result<()> {
        let mut tail = self.tail.lock();
        // Older records may have come first after a restart; their segment is not continued.
        let mut segment = self.segments.read().last().filter(|_| !tail.is_new()).cloned();
        // What is to be written to the segment, and where.
        let (mut bytes, mut at) = (Vec::new(), tail.offset + tail.page.len() as u64);
        for record in records {
            if tail.put(record, &mut bytes) {
                continue;
            }
            tail.end_page(&mut bytes);
            if segment.is_none() || tail.offset / PAGE as u64 >= self.segment_pages {
                if let Some(segment) = segment.take() {
                    tail.unwritten.push_back(Piece { segment, bytes: std::mem::take(&mut bytes), at });
                }
                segment = Some(self.begin_segment(record.sequence, &mut tail)?);
                bytes.clear();
                at = 0;
            }
            tail.begin_page(record, &mut bytes);
        }
        if let Some(segment) = segment {
            tail.unwritten.push_back(Piece { segment, bytes, at });
        }
        self.write_waiting(&mut tail)
    }

    /// Writes what waits, as far as there is space.
    fn write_waiting(&self, tail: &mut Tail) -> io::Result<()> {
        while let Some(piece) = tail.unwritten.pop_front() {
            match write_out(&piece, tail) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                    if !self.full.swap(true, Ordering::AcqRel) {
                        tracing::warn!("no space for the journal: {error}");
                    }
                    tail.unwritten.push_front(piece);
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        self.written.store(tail.next.0 - 1, Ordering::Release);
        self.full.store(false, Ordering::Release);
        Ok(())
    }

    fn begin_segment(&self, first: Sequence, tail: &mut Tail) -> io::Result<Arc<Segment>> {
        let name = segment_name(first);
        let file = self.disk.create(&name)?;
        tail.folder_changed = true;
        tail.offset = 0;
        let segment = Arc::new(Segment::new(first, name, file));
        self.segments.write().push(Arc::clone(&segment));
        Ok(segment)
    }

    fn flush(&self) -> io::Result<()> {
        self.flush_tail(&mut self.tail.lock())
    }

    fn flush_tail(&self, tail: &mut Tail) -> io::Result<()> {
        self.write_waiting(tail)?;
        while let Some(file) = tail.unflushed.last() {
            file.flush()?;
            tail.unflushed.pop();
        }
        if tail.folder_changed {
            self.disk.flush_folder(FOLDER)?;
            tail.folder_changed = false;
        }
        Ok(())
    }

    fn restart(&self, first: Sequence) -> io::Result<()> {
        let mut tail = self.tail.lock();
        // What is put aside is not written again by anybody.
        self.flush_tail(&mut tail)?;
        let old = std::mem::take(&mut *self.segments.write());
        let mut aside = self.aside.lock();
        for segment in old {
            match segment.last()? {
                Some(last) if last < first => aside.push(Aside { segment, last }),
                Some(_) | None => self.disk.remove(&segment.name)?,
            }
        }
        *tail = Tail::beginning(first);
        self.full.store(false, Ordering::Release);
        self.written.store(first.0 - 1, Ordering::Release);
        self.join(&mut aside, first);
        Ok(())
    }

    /// Takes back what was put aside, as far as no gap is left between it and `first`, where the journal begins.
    fn join(&self, aside: &mut Vec<Aside>, mut first: Sequence) {
        while let Some(Aside { segment, .. }) = aside.pop_if(|newest| newest.last.next() == first) {
            first = segment.first;
            self.segments.write().insert(0, segment);
        }
    }

    /// The inner result says that the records were not taken, which harms nothing.
    fn append_older(&self, records: &[Applied]) -> io::Result<io::Result<()>> {
        let tail = self.tail.lock();
        let mut aside = self.aside.lock();
        // Looked at here, because a snapshot may have come since the records were asked for.
        let begins = self.segments.read().first().map_or(tail.next, |segment| segment.first);
        if records.last().is_none_or(|last| last.sequence.next() != begins) {
            return Ok(Err(misplaced()));
        }
        let known = aside.last().map_or(Sequence::ZERO, |newest| newest.last);
        let missing = &records[records.partition_point(|record| record.sequence <= known)..];
        let mut first = begins;
        if let Some(record) = missing.first() {
            first = record.sequence;
            match self.write_older(first, missing) {
                Ok(segment) => self.segments.write().insert(0, segment),
                Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                    // What stays of it is removed before the next attempt, or at the next start.
                    let _ = remove_if_there(&*self.disk, &unfinished(first));
                    return Ok(Err(error));
                }
                Err(error) => return Err(error),
            }
        }
        self.join(&mut aside, first);
        Ok(Ok(()))
    }

    /// Writes a segment of records that come before all others.
    fn write_older(&self, first: Sequence, records: &[Applied]) -> io::Result<Arc<Segment>> {
        let unfinished = unfinished(first);
        remove_if_there(&*self.disk, &unfinished)?;
        let file = self.disk.create(&unfinished)?;
        let (mut tail, mut bytes) = (Tail::beginning(first), Vec::new());
        for record in records {
            if !tail.put(record, &mut bytes) {
                tail.end_page(&mut bytes);
                tail.begin_page(record, &mut bytes);
            }
        }
        file.write_at(&bytes, 0)?;
        file.flush()?;
        self.disk.rename(&unfinished, &segment_name(first))?;
        self.disk.flush_folder(FOLDER)?;
        Ok(Arc::new(Segment::open(&*self.disk, first)?))
    }
}

/// What a segment is called before it is complete.
fn unfinished(first: Sequence) -> String {
    format!("{}{UNFINISHED}", segment_name(first))
}

fn write_out(Piece { segment, bytes, at }: &Piece, tail: &mut Tail) -> io::Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    segment.file.write_at(bytes, *at)?;
    let end = at + bytes.len() as u64;
    segment.set_pages(end.div_ceil(PAGE as u64));
    if !tail.unflushed.iter().any(|file| Arc::ptr_eq(file, &segment.file)) {
        tail.unflushed.push(Arc::clone(&segment.file));
    }
    Ok(())
}
