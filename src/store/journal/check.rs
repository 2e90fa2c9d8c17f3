//! The offline check of a journal. It reads and never writes.

use std::io;
use std::ops::ControlFlow;

use super::super::directory::DirectoryError;
use super::super::disk::Disk;
use super::files::{Segment, segment_firsts};
use super::page::{Chain, chain_after};
use crate::model::{Applied, Sequence};

/// Reads the whole journal in order and calls `visit` with each record, until the end or until `visit`
/// finds that the records behind `known` end there.
///
/// Behind `known`, which a snapshot knows, a crash may have left anything: there the journal ends at the
/// first thing that is not a record.
///
/// # Errors
/// [`DirectoryError::Damaged`] as an error where checksums, sequences or the chain of pages say so.
pub(in super::super) fn check(
    disk: &dyn Disk,
    known: Sequence,
    mut visit: impl FnMut(Applied) -> Result<ControlFlow<()>, String>,
) -> io::Result<()> {
    let mut expected: Option<Sequence> = None;
    let mut chain = Chain::default();
    for first in segment_firsts(disk)? {
        let segment = Segment::open(disk, first)?;
        for number in 0..segment.pages() {
            let behind = expected.unwrap_or(first) > known;
            let page = match segment.page(number) {
                Ok(page) => page,
                Err(_) if behind => return Ok(()),
                Err(error) => return Err(error),
            };
            let wanted = expected.unwrap_or(first);
            // A segment that came from a peer, or the one after it, begins a chain.
            let begins = number == 0 && page.header.chain == Chain::default();
            if page.header.first != wanted || !(begins || page.header.chain == chain) {
                if behind {
                    return Ok(());
                }
                let what = if page.header.first == wanted {
                    "the chain of the journal is broken here".to_owned()
                } else {
                    format!("record {} is expected here, {} is found", wanted.0, page.header.first.0)
                };
                return Err(DirectoryError::damaged(&page.file, page.offset, what).into());
            }
            for place in page.records() {
                let at = expected.unwrap_or(first);
                let record = match place.and_then(|place| place.read()) {
                    Ok(record) => record,
                    Err(_) if at > known => return Ok(()),
                    Err(damage) => return Err(damage.into()),
                };
                expected = Some(record.sequence.next());
                match visit(record) {
                    Ok(ControlFlow::Continue(())) => {}
                    Ok(ControlFlow::Break(())) => return Ok(()),
                    Err(what) => return Err(DirectoryError::damaged(&page.file, page.offset, what).into()),
                }
            }
            chain = chain_after(&page.bytes);
            expected = expected.or(Some(first));
        }
    }
    match expected {
        Some(next) if next <= known => Err(DirectoryError::damaged(
            super::files::FOLDER,
            0,
            format!("the journal ends before record {}", next.0),
        )
        .into()),
        Some(_) | None => Ok(()),
    }
}
