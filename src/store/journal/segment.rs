//! Segments of the journal on disk, and which of them count.
//!
//! Invariant: the segments that count follow each other without a gap up to where the journal is kept. A snapshot of a
//! peer leaves a gap behind what was there before; that is put aside, and counts again when the gap is filled. `files`
//! and `check` use it; it reads and never writes.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::super::directory::DirectoryError;
use super::super::disk::{Disk, DiskFile};
use super::page::{HEADER, Header, PAGE, Page};
use crate::model::Sequence;

/// The folder of the journal.
pub(in super::super) const FOLDER: &str = "journal";
const SUFFIX: &str = ".seg";

/// A file of pages.
pub(super) struct Segment {
    pub(super) first: Sequence,
    pub(super) name: String,
    pub(super) file: Arc<dyn DiskFile>,
    /// How many pages readers may look at.
    pages: AtomicU64,
}

pub(super) fn segment_name(first: Sequence) -> String {
    format!("{FOLDER}/{:020}{SUFFIX}", first.0)
}

/// The first sequences of the segments there are, in order.
fn segment_firsts(disk: &dyn Disk) -> io::Result<Vec<Sequence>> {
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
    /// A new one without pages.
    pub(super) fn new(first: Sequence, name: String, file: Arc<dyn DiskFile>) -> Segment {
        Segment { first, name, file, pages: AtomicU64::new(0) }
    }

    pub(super) fn open(disk: &dyn Disk, first: Sequence) -> io::Result<Segment> {
        let name = segment_name(first);
        let file = disk.open(&name)?;
        let pages = file.len()?.div_ceil(PAGE as u64);
        Ok(Segment { first, name, file, pages: AtomicU64::new(pages) })
    }

    pub(super) fn pages(&self) -> u64 {
        self.pages.load(Ordering::Acquire)
    }

    pub(super) fn set_pages(&self, pages: u64) {
        self.pages.store(pages, Ordering::Release);
    }

    pub(super) fn header(&self, page: u64) -> io::Result<Header> {
        let mut bytes = [0; HEADER];
        let offset = page * PAGE as u64;
        if self.file.len()? < offset + HEADER as u64 {
            // The power went while the page was begun.
            return Err(DirectoryError::damaged(&self.name, offset, "a page is cut in its header").into());
        }
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
    ///
    /// A page whose header is damaged counts as one that comes later: after a crash it may be a torn one behind what was
    /// flushed. If it is an earlier one, the record is not on the page that is found, and the page behind that one is damaged.
    pub(super) fn page_of(&self, sequence: Sequence) -> io::Result<u64> {
        let (mut from, mut to) = (0, self.pages());
        while to - from > 1 {
            let middle = from + (to - from) / 2;
            let header = if_whole(self.header(middle).map(Some))?;
            if header.is_some_and(|header| header.first <= sequence) { from = middle } else { to = middle }
        }
        Ok(from)
    }

    /// The last record; none when the last page is not as it was written.
    pub(super) fn last(&self) -> io::Result<Option<Sequence>> {
        let Some(page) = self.pages().checked_sub(1) else { return Ok(None) };
        if_whole(self.page(page).and_then(|page| {
            let mut last = None;
            for place in page.records() {
                last = Some(place?.read()?.sequence);
            }
            Ok(last)
        }))
    }

    /// Whether it holds a record.
    fn holds(&self, sequence: Sequence) -> io::Result<bool> {
        let found = if_whole(self.page_of(sequence).and_then(|page| {
            for place in self.page(page)?.records() {
                let place = place?;
                if place.sequence == sequence {
                    return Ok(Some(place.read()?.sequence));
                }
            }
            Ok(None)
        }))?;
        Ok(found.is_some())
    }
}

/// What was found, or nothing where damage was; a disk that fails is an error.
fn if_whole<T>(found: io::Result<Option<T>>) -> io::Result<Option<T>> {
    match found.map_err(DirectoryError::from) {
        Ok(found) => Ok(found),
        Err(DirectoryError::Damaged { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A segment that a gap separates from those that count.
pub(super) struct Aside {
    pub(super) segment: Arc<Segment>,
    pub(super) last: Sequence,
}

/// The segments that there are, each list in order.
pub(super) struct Found {
    /// Those that count.
    pub(super) segments: Vec<Arc<Segment>>,
    /// Older ones.
    pub(super) aside: Vec<Aside>,
    /// The first records of those that come behind where the journal is kept.
    pub(super) later: Vec<Sequence>,
    /// The first records of those that are of no use: what is in them is damaged, or also in others.
    pub(super) useless: Vec<Sequence>,
}

impl Found {
    /// Looks for those of a journal that is kept up to `keep`. What it must have, from `since` on, counts whatever it
    /// looks like, so that damage is found and not forgotten.
    pub(super) fn look(disk: &dyn Disk, keep: Sequence, since: Sequence) -> io::Result<Found> {
        let (firsts, later): (Vec<_>, Vec<_>) =
            segment_firsts(disk)?.into_iter().partition(|first| *first <= keep);
        let mut found = Found { segments: Vec::new(), aside: Vec::new(), later, useless: Vec::new() };
        // Where the next older segment has to end, and whether there is a gap by now.
        let (mut end, mut gap) = (keep, false);
        for first in firsts.into_iter().rev() {
            let segment = Arc::new(Segment::open(disk, first)?);
            let newest = found.segments.is_empty() && !gap;
            if !gap && (since <= end || (newest && segment.holds(end)?)) {
                end = Sequence(first.0.saturating_sub(1));
                found.segments.push(segment);
                continue;
            }
            match segment.last()? {
                Some(last) if last <= end => {
                    gap |= last < end;
                    end = Sequence(first.0.saturating_sub(1));
                    if gap {
                        found.aside.push(Aside { segment, last });
                    } else {
                        found.segments.push(segment);
                    }
                }
                Some(_) | None => found.useless.push(first),
            }
        }
        found.segments.reverse();
        found.aside.reverse();
        Ok(found)
    }
}
