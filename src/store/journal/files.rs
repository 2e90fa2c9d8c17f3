//! The journal on disk: segments of pages in the folder `journal`, named by their first sequence.
//!
//! Invariant: append-only. One worker writes, in log order, and nobody waits for it on the way to an answer;
//! what it has not written yet is in memory. A flush makes everything durable that was appended
//! before it, and comes before the log is purged. Readers look only at what was written. On a full disk what
//! cannot be written waits in memory, and no new work is let in until it is written.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};
use tokio::sync::oneshot;

use super::super::directory::DirectoryError;
use super::super::disk::{Disk, DiskFile, Worker};
use super::page::{Chain, HEADER, Header, PAGE, Page, chain_after, push};
use crate::model::{Applied, Sequence};

/// The folder of the journal.
pub(in super::super) const FOLDER: &str = "journal";
/// Pages of a segment: 256 MiB, so that a terabyte of history is a few thousand open files.
pub(super) const SEGMENT_PAGES: u64 = 16 * 1024;
const SUFFIX: &str = ".seg";
const UNFINISHED: &str = ".tmp";

/// The files of a journal.
pub(super) struct Files {
    shared: Arc<Shared>,
    worker: Box<dyn Worker>,
}

pub(super) struct Shared {
    disk: Arc<dyn Disk>,
    segment_pages: u64,
    /// In the order of their records; none while nothing was written.
    segments: RwLock<Vec<Arc<Segment>>>,
    tail: Mutex<Tail>,
    /// The last record that readers may look for.
    written: AtomicU64,
    /// Whether something waits because the disk is full.
    full: AtomicBool,
    /// The first failure. After it nothing is written any more.
    failed: Mutex<Option<String>>,
}

/// A file of pages.
pub(super) struct Segment {
    pub(super) first: Sequence,
    pub(super) name: String,
    file: Arc<dyn DiskFile>,
    /// How many pages readers may look at.
    pages: AtomicU64,
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

pub(super) fn segment_name(first: Sequence) -> String {
    format!("{FOLDER}/{:020}{SUFFIX}", first.0)
}

/// The first sequences of the segments there are, in order.
pub(super) fn segment_firsts(disk: &dyn Disk) -> io::Result<Vec<Sequence>> {
    let mut firsts = Vec::new();
    for name in disk.list(FOLDER)? {
        if let Some(first) = name.strip_suffix(SUFFIX) {
            let strange = || {
                DirectoryError::damaged(&format!("{FOLDER}/{name}"), 0, "this is not the name of a segment")
            };
            firsts.push(Sequence(first.parse().map_err(|_| strange())?));
        }
    }
    Ok(firsts)
}

impl Segment {
    pub(super) fn open(disk: &dyn Disk, first: Sequence) -> io::Result<Segment> {
        let name = segment_name(first);
        let file = disk.open(&name)?;
        let pages = file.len()?.div_ceil(PAGE as u64);
        Ok(Segment { first, name, file, pages: AtomicU64::new(pages) })
    }

    pub(super) fn pages(&self) -> u64 {
        self.pages.load(Ordering::Acquire)
    }

    fn header(&self, page: u64) -> io::Result<Header> {
        let mut bytes = [0; HEADER];
        let offset = page * PAGE as u64;
        self.file.read_at(&mut bytes, offset)?;
        Header::decode(&bytes).map_err(|what| DirectoryError::damaged(&self.name, offset, what).into())
    }

    pub(super) fn page(&self, page: u64) -> io::Result<Page> {
        let offset = page * PAGE as u64;
        let length = self.file.len()?.saturating_sub(offset).min(PAGE as u64);
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(PAGE)];
        self.file.read_at(&mut bytes, offset)?;
        Ok(Page::new(&self.name, offset, bytes)?)
    }

    /// The page that holds a record if any does.
    fn page_of(&self, sequence: Sequence) -> io::Result<u64> {
        let (mut from, mut to) = (0, self.pages());
        while to - from > 1 {
            let middle = from + (to - from) / 2;
            if self.header(middle)?.first <= sequence { from = middle } else { to = middle }
        }
        Ok(from)
    }
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
        let mut segments = Vec::new();
        for first in segment_firsts(&*disk)? {
            if first <= keep && since <= keep {
                segments.push(Arc::new(Segment::open(&*disk, first)?));
            } else {
                disk.remove(&segment_name(first))?;
            }
        }
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
            written: AtomicU64::new(keep.0),
            full: AtomicBool::new(false),
            failed: Mutex::new(None),
        };
        Ok(Files { shared: Arc::new(shared), worker: disk.worker("journal")? })
    }

    /// Writes records behind all that were given before. Does not wait.
    pub(super) fn append(&self, records: Arc<Vec<Applied>>) {
        let shared = Arc::clone(&self.shared);
        self.worker.run(Box::new(move || shared.attempt(|| shared.write(&records))));
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

    /// Forgets everything and begins again with `first`.
    pub(super) async fn restart(&self, first: Sequence) -> io::Result<()> {
        self.after_writes(move |shared| shared.restart(first)).await
    }

    /// Adds records before the first one, durably.
    pub(super) async fn append_older(&self, records: Vec<Applied>) -> io::Result<()> {
        self.after_writes(move |shared| shared.append_older(&records)).await
    }

    async fn after_writes(
        &self,
        work: impl FnOnce(&Shared) -> io::Result<()> + Send + 'static,
    ) -> io::Result<()> {
        let (done, wait) = oneshot::channel();
        let shared = Arc::clone(&self.shared);
        self.worker.run(Box::new(move || {
            shared.attempt(|| work(&shared));
            // Nobody waits any more when the replica was stopped meanwhile.
            let _ = done.send(());
        }));
        wait.await.map_err(|_| io::Error::other("the journal's worker is gone"))?;
        self.check()
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
            newest.pages.store(number + 1, Ordering::Release);
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
    fn attempt(&self, work: impl FnOnce() -> io::Result<()>) {
        if self.failed.lock().is_none()
            && let Err(error) = work()
        {
            tracing::error!(%error, "the journal cannot be written");
            *self.failed.lock() = Some(error.to_string());
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
        let segment = Arc::new(Segment { first, name, file, pages: AtomicU64::new(0) });
        self.segments.write().push(Arc::clone(&segment));
        Ok(segment)
    }

    fn flush(&self) -> io::Result<()> {
        let mut tail = self.tail.lock();
        self.write_waiting(&mut tail)?;
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
        let old = std::mem::take(&mut *self.segments.write());
        for segment in old.iter().rev() {
            self.disk.remove(&segment.name)?;
        }
        *tail = Tail::beginning(first);
        self.full.store(false, Ordering::Release);
        self.written.store(first.0 - 1, Ordering::Release);
        Ok(())
    }

    fn append_older(&self, records: &[Applied]) -> io::Result<()> {
        let Some(first) = records.first().map(|record| record.sequence) else { return Ok(()) };
        let name = segment_name(first);
        let unfinished = format!("{name}{UNFINISHED}");
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
        self.disk.rename(&unfinished, &name)?;
        self.disk.flush_folder(FOLDER)?;
        let segment = Segment::open(&*self.disk, first)?;
        self.segments.write().insert(0, Arc::new(segment));
        Ok(())
    }
}

fn write_out(Piece { segment, bytes, at }: &Piece, tail: &mut Tail) -> io::Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    segment.file.write_at(bytes, *at)?;
    let end = at + bytes.len() as u64;
    segment.pages.store(end.div_ceil(PAGE as u64), Ordering::Release);
    if !tail.unflushed.iter().any(|file| Arc::ptr_eq(file, &segment.file)) {
        tail.unflushed.push(Arc::clone(&segment.file));
    }
    Ok(())
}
