//! The checks of a journal: of the whole by `verify`, and of its bytes at every start. They read and never write.

use std::io;
use std::sync::Arc;

use super::super::directory::DirectoryError;
use super::super::disk::Disk;
use super::page::{Chain, Page, chain_after};
use super::segment::{FOLDER, Found, Segment};
use crate::model::{Applied, Sequence};

/// Reads the whole journal in order and calls `visit` with each record; what that objects to is damage, too.
/// Returns the first record, or the one that would be the first, and the last one. What comes before a gap that a
/// snapshot of a peer has left is not part of it.
///
/// The journal must hold the records from `since` to `known`, where a snapshot is. Behind that a crash may have
/// left anything: there the journal ends at the first thing that is not a record.
///
/// # Errors
/// [`DirectoryError::Damaged`] as an error where checksums, sequences or the chain of pages say so.
pub(in super::super) fn check(
    disk: &dyn Disk,
    since: Sequence,
    known: Sequence,
    visit: impl FnMut(Applied) -> Result<(), String>,
) -> io::Result<(Sequence, Sequence)> {
    let Found { segments, later, .. } = Found::look(disk, known, since)?;
    let begin = segments.first().map_or(since, |oldest| oldest.first);
    if begin > since {
        return Err(lacks(since));
    }
    let mut walk = Walk { next: begin, chain: Chain::default(), objected: false, visit };
    let later = later.into_iter().map(|first| Segment::open(disk, first).map(Arc::new));
    for segment in segments.into_iter().map(Ok).chain(later) {
        let segment = segment?;
        for number in 0..segment.pages() {
            if let Err(error) = segment.page(number).and_then(|page| Ok(walk.page(&page, number == 0)?)) {
                return if walk.next > known && !walk.objected {
                    Ok((begin, walk.last()))
                } else {
                    Err(error)
                };
            }
        }
    }
    if walk.next <= known { Err(lacks(walk.next)) } else { Ok((begin, walk.last())) }
}

/// Reads the records up to `keep` of the segments that count and holds them against checksums, places and the chain of
/// pages, without decoding them. What comes behind a crash may have torn.
///
/// # Errors
/// As [`check`].
pub(super) fn intact(segments: &[Arc<Segment>], keep: Sequence) -> io::Result<()> {
    let Some(oldest) = segments.first() else { return Ok(()) };
    let mut walk =
        Walk { next: oldest.first, chain: Chain::default(), objected: false, visit: |_: Applied| Ok(()) };
    for segment in segments {
        for number in 0..segment.pages() {
            if walk.next > keep {
                return Ok(());
            }
            let page = segment.page(number)?;
            walk.head(&page, number == 0)?;
            for place in page.records() {
                if walk.next > keep {
                    return Ok(());
                }
                let place = place?;
                place.check()?;
                walk.next = place.sequence.next();
            }
            walk.chain = chain_after(&page.bytes);
        }
    }
    // That it ends too early is found where it is cut.
    Ok(())
}

fn lacks(record: Sequence) -> io::Error {
    let what = format!("record {} is not there, which the snapshot knows", record.0);
    DirectoryError::damaged(FOLDER, 0, what).into()
}

struct Walk<V> {
    next: Sequence,
    chain: Chain,
    /// Whether `visit` found something.
    objected: bool,
    visit: V,
}

impl<V: FnMut(Applied) -> Result<(), String>> Walk<V> {
    fn last(&self) -> Sequence {
        Sequence(self.next.0.saturating_sub(1))
    }

    /// Whether a page is the one that comes next.
    fn head(&self, page: &Page, is_first: bool) -> Result<(), DirectoryError> {
        let damage = |what: String| DirectoryError::damaged(&page.file, page.offset, what);
        if page.header.first != self.next {
            let (wanted, found) = (self.next.0, page.header.first.0);
            return Err(damage(format!("record {wanted} is expected here, {found} is found")));
        }
        // A segment that came from a peer, and the one after it, begin a chain.
        let begins = is_first && page.header.chain == Chain::default();
        if !begins && page.header.chain != self.chain {
            return Err(damage("the chain of the journal is broken here".to_owned()));
        }
        Ok(())
    }

    fn page(&mut self, page: &Page, is_first: bool) -> Result<(), DirectoryError> {
        self.head(page, is_first)?;
        let damage = |what: String| DirectoryError::damaged(&page.file, page.offset, what);
        for place in page.records() {
            let record = place?.read()?;
            self.next = record.sequence.next();
            (self.visit)(record).map_err(damage).inspect_err(|_| self.objected = true)?;
        }
        self.chain = chain_after(&page.bytes);
        Ok(())
    }
}
