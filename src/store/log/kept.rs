//! What the log holds in memory: the newest entries decoded, of older ones where they stand on the disk.
//!
//! Invariant: entries are consecutive. An entry leaves memory only when its record has been flushed, so
//! every entry can be read at any time. In a memory replica none leaves before openraft purges it.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;

use super::record::LogPosition;
use crate::store::types::{Entry, LogId, Payload, Vote};

/// Where the record of an entry stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Place {
    pub(super) segment: u64,
    pub(super) offset: u64,
    pub(super) length: usize,
}

/// One entry.
#[derive(Clone)]
pub(super) struct Slot {
    pub(super) id: LogId,
    /// None when it is on the disk only.
    pub(super) entry: Option<Entry>,
    /// None while it is in memory only.
    pub(super) place: Option<Place>,
    pub(super) commands: usize,
}

impl Slot {
    /// An entry that is in memory only.
    pub(super) fn new(entry: Entry) -> Slot {
        let commands = match &entry.payload {
            Payload::Normal(batch) => batch.commands(),
            Payload::Blank | Payload::Membership(_) => 0,
        };
        Slot { id: entry.log_id, entry: Some(entry), place: None, commands }
    }
}

/// The log as openraft knows it.
#[derive(Default)]
pub(super) struct Kept {
    pub(super) vote: Option<Vote>,
    pub(super) committed: Option<LogId>,
    pub(super) purged: Option<LogId>,
    slots: VecDeque<Slot>,
    /// How many slots at the old end are on the disk only.
    evicted: usize,
    /// Commands of all entries.
    commands: usize,
    /// Commands of the entries in memory.
    cached: usize,
    /// Bytes of the records that stand on the disk.
    bytes: usize,
}

impl Kept {
    /// The log before its first entry.
    pub(super) fn at(position: LogPosition) -> Kept {
        let LogPosition { vote, committed, purged, last: _ } = position;
        Kept { vote, committed, purged, ..Kept::default() }
    }

    /// The last entry; what is purged counts.
    pub(super) fn last(&self) -> Option<LogId> {
        self.slots.back().map(|slot| slot.id).or(self.purged)
    }

    /// The last entry that is committed and stands on the disk; what is purged counts.
    pub(super) fn flushed(&self) -> Option<LogId> {
        let committed = self.committed.map_or(0, |committed| committed.index);
        let end = self.position(committed.saturating_add(1));
        let placed = self.slots.range(..end).rev().find(|slot| slot.place.is_some());
        placed.map(|slot| slot.id).or(self.purged)
    }

    /// Whether this very entry is in the log, or what was purged reaches as far.
    pub(super) fn has(&self, id: LogId) -> bool {
        self.purged.is_some_and(|purged| purged.index >= id.index)
            || self.slots.get(self.position(id.index)).is_some_and(|slot| slot.id == id)
    }

    /// How many entries, commands and bytes on the disk there are.
    pub(super) fn length(&self) -> (usize, usize, usize) {
        (self.slots.len(), self.commands, self.bytes)
    }

    /// Adds an entry.
    ///
    /// # Errors
    /// When it does not follow the last one.
    pub(super) fn append(&mut self, slot: Slot) -> io::Result<()> {
        if let Some(last) = self.last()
            && slot.id.index != last.index + 1
        {
            return Err(io::Error::other(format!("entry {} does not follow entry {last}", slot.id)));
        }
        self.commands += slot.commands;
        self.cached += slot.commands;
        self.bytes += slot.place.map_or(0, |place| place.length);
        self.slots.push_back(slot);
        Ok(())
    }

    /// Drops the entries after `last`, and returns them to be freed elsewhere.
    pub(super) fn truncate(&mut self, last: Option<LogId>) -> VecDeque<Slot> {
        let keep = self.position(last.map_or(0, |last| last.index.saturating_add(1)));
        let gone = self.slots.split_off(keep);
        self.forget(&gone);
        self.evicted = self.evicted.min(keep);
        gone
    }

    /// Drops the entries up to `upto`, and returns them to be freed elsewhere.
    pub(super) fn purge(&mut self, upto: LogId) -> VecDeque<Slot> {
        let kept = self.slots.split_off(self.position(upto.index.saturating_add(1)));
        let gone = std::mem::replace(&mut self.slots, kept);
        self.forget(&gone);
        self.evicted = self.evicted.saturating_sub(gone.len());
        self.purged = self.purged.max(Some(upto));
        gone
    }

    fn forget(&mut self, gone: &VecDeque<Slot>) {
        for slot in gone {
            self.commands -= slot.commands;
            self.cached -= if slot.entry.is_some() { slot.commands } else { 0 };
            self.bytes -= slot.place.map_or(0, |place| place.length);
        }
    }

    /// Notes that an entry stands on the disk, if it is still in the log.
    pub(super) fn placed(&mut self, id: LogId, place: Place) {
        let at = self.position(id.index);
        if let Some(slot) = self.slots.get_mut(at).filter(|slot| slot.id == id && slot.place.is_none()) {
            slot.place = Some(place);
            self.bytes += place.length;
        }
    }

    /// Lets the oldest entries leave memory while there are too many, and returns them to be freed elsewhere.
    pub(super) fn evict(&mut self, most: usize) -> Vec<Entry> {
        let mut gone = Vec::new();
        while self.cached > most {
            match self.slots.get_mut(self.evicted) {
                Some(slot) if slot.place.is_some() => {
                    self.cached -= slot.commands;
                    gone.extend(slot.entry.take());
                    self.evicted += 1;
                }
                Some(_) | None => break,
            }
        }
        gone
    }

    /// The slots of the entries that exist in `range`.
    pub(super) fn range(&self, range: Range<u64>) -> impl Iterator<Item = &Slot> {
        let (start, end) = (self.position(range.start), self.position(range.end));
        self.slots.range(start..end.max(start))
    }

    /// Where the entry with this index is, or the end it lies beyond.
    fn position(&self, index: u64) -> usize {
        let first = self.slots.front().map_or(index, |slot| slot.id.index);
        usize::try_from(index.saturating_sub(first)).unwrap_or(usize::MAX).min(self.slots.len())
    }
}
