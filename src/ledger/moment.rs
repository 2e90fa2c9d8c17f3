//! How far a ledger has come, as its readers see it, and whether what they have read is of one moment.
//!
//! Readers lock one account at a time while the writer applies a batch, so what they read of several accounts, or of an
//! account and the sequence, may be of different moments. The *epoch* tells: it is odd while a batch is applied, and every
//! batch changes it. A read during which it was even and did not change is of one moment, and is all of the published
//! sequence and nothing more. Readers write nothing and the writer waits for nobody.
//!
//! Whoever sees something that the writer changed has taken the same lock after it, and so sees the epoch of that change
//! or a later one. That is all the ordering that this needs; `loom` tries it under every interleaving.

use super::sync::{AtomicU64, Ordering};
use crate::model::Sequence;

/// The published sequence and the epoch.
#[derive(Default)]
pub(super) struct Moment {
    epoch: AtomicU64,
    sequence: AtomicU64,
}

impl Moment {
    /// A batch begins. Only the writer calls it.
    pub(super) fn begin(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }

    /// The batch that began is applied up to this sequence. Only the writer calls it.
    pub(super) fn end(&self, sequence: Sequence) {
        self.sequence.store(sequence.0, Ordering::Release);
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }

    /// The last command of the last batch that is applied completely.
    pub(super) fn sequence(&self) -> Sequence {
        Sequence(self.sequence.load(Ordering::Acquire))
    }

    /// Reads, and says of which sequence it all is; none when a batch was being applied meanwhile.
    pub(super) fn look<T>(&self, read: impl FnOnce() -> T) -> (T, Option<Sequence>) {
        let before = self.epoch.load(Ordering::Acquire);
        let value = read();
        let sequence = self.sequence();
        let is_still = before.is_multiple_of(2) && self.epoch.load(Ordering::Acquire) == before;
        (value, is_still.then_some(sequence))
    }
}
