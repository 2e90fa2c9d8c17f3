//! The digests after the latest entries of the log, so that replicas can compare at equal positions.
//!
//! Invariant: in order, one for each entry that was applied. `machine` notes, `replication` asks.

use std::collections::VecDeque;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::types::LogId;
use crate::model::{Digest, Sequence};

/// Most digests kept: enough that a replica which is a little behind still finds its own.
const DIGESTS: usize = 4_096;

/// Where the state of a replica stood after an entry of the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Mark {
    /// The entry.
    pub(crate) log: LogId,
    /// The last applied sequence.
    pub(crate) sequence: Sequence,
    /// The digest at that sequence.
    pub(crate) digest: Digest,
}

/// The digests after the latest entries of the log.
#[derive(Default)]
pub(crate) struct Digests(Mutex<VecDeque<Mark>>);

impl Digests {
    /// Adds the digest after an entry.
    pub(crate) fn note(&self, mark: Mark) {
        let mut kept = self.0.lock();
        if kept.back().is_some_and(|last| last.log.index >= mark.log.index) {
            return;
        }
        if kept.len() == DIGESTS {
            kept.pop_front();
        }
        kept.push_back(mark);
    }

    /// The digest at the end of the batch with this last sequence, if it is kept.
    pub(crate) fn at(&self, sequence: Sequence) -> Option<Digest> {
        let kept = self.0.lock();
        let place = kept.binary_search_by_key(&sequence, |mark| mark.sequence).ok()?;
        kept.get(place).map(|mark| mark.digest)
    }

    /// What is kept of the entry with this index.
    pub(crate) fn after(&self, index: u64) -> Option<Mark> {
        let kept = self.0.lock();
        let place = kept.binary_search_by_key(&index, |mark| mark.log.index).ok()?;
        kept.get(place).copied()
    }

    /// Those at later sequences than this one.
    #[cfg(test)]
    pub(crate) fn since(&self, sequence: Sequence) -> Vec<(Sequence, Digest)> {
        let kept = self.0.lock();
        kept.iter().filter(|mark| mark.sequence > sequence).map(|mark| (mark.sequence, mark.digest)).collect()
    }

    /// Makes the latest digest wrong, as a fault of the machine would.
    #[cfg(test)]
    pub(crate) fn forge(&self) {
        if let Some(mark) = self.0.lock().back_mut() {
            mark.digest.0[0] ^= 1;
        }
    }

    /// The latest one.
    pub(crate) fn latest(&self) -> Option<Mark> {
        self.0.lock().back().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::super::types::LeaderId;
    use super::*;

    #[test]
    fn the_latest_digests_are_found_by_their_place_in_the_log_and_by_their_sequence() {
        let digests = Digests::default();
        assert_eq!((digests.latest(), digests.at(Sequence(0))), (None, None));
        let of = |n: u64| Digest([u8::try_from(n % 251).unwrap(); 32]);
        let log = |index| LogId { leader_id: LeaderId { term: 1, node_id: 1 }, index };
        let mark = |n: u64| Mark { log: log(2 * n), sequence: Sequence(3 * n), digest: of(n) };
        for n in 1..=6_000 {
            digests.note(mark(n));
            digests.note(Mark { digest: of(n + 1), ..mark(n) });
            // An entry that changes no account.
            digests.note(Mark { log: log(2 * n + 1), ..mark(n) });
        }
        assert_eq!(digests.latest(), Some(Mark { log: log(12_001), ..mark(6_000) }));
        assert_eq!(digests.after(11_998), Some(mark(5_999)));
        assert_eq!(digests.at(Sequence(17_997)), Some(of(5_999)));
        assert_eq!(digests.at(Sequence(17_998)), None, "inside a batch");
        assert_eq!((digests.at(Sequence(3)), digests.after(2)), (None, None), "long ago");
    }
}
