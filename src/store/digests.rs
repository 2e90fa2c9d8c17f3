//! The digests of the latest batches, so that replicas can compare at equal sequences.
//!
//! Invariant: in order, one for each batch that applied something. `machine` notes, `replication` asks.

use std::collections::VecDeque;

use parking_lot::Mutex;

use crate::model::{Digest, Sequence};

/// Most digests kept: enough that a replica which is a little behind still finds its own.
const DIGESTS: usize = 4_096;

/// The digests of the latest batches.
#[derive(Default)]
pub(crate) struct Digests(Mutex<VecDeque<(Sequence, Digest)>>);

impl Digests {
    /// Adds the digest after a batch.
    pub(crate) fn note(&self, sequence: Sequence, digest: Digest) {
        let mut kept = self.0.lock();
        if kept.back().is_some_and(|(last, _)| *last >= sequence) {
            return;
        }
        if kept.len() == DIGESTS {
            kept.pop_front();
        }
        kept.push_back((sequence, digest));
    }

    /// The digest at the end of the batch with this last sequence, if it is kept.
    pub(crate) fn at(&self, sequence: Sequence) -> Option<Digest> {
        let kept = self.0.lock();
        let place = kept.binary_search_by_key(&sequence, |(sequence, _)| *sequence).ok()?;
        kept.get(place).map(|(_, digest)| *digest)
    }

    /// Those at later sequences than this one.
    #[cfg(test)]
    pub(crate) fn since(&self, sequence: Sequence) -> Vec<(Sequence, Digest)> {
        self.0.lock().iter().filter(|(at, _)| *at > sequence).copied().collect()
    }

    /// Makes the latest digest wrong, as a fault of the machine would.
    #[cfg(test)]
    pub(crate) fn forge(&self) {
        if let Some((_, digest)) = self.0.lock().back_mut() {
            digest.0[0] ^= 1;
        }
    }

    /// The latest one.
    pub(crate) fn latest(&self) -> Option<(Sequence, Digest)> {
        self.0.lock().back().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_digests_are_found_by_their_sequence() {
        let digests = Digests::default();
        assert_eq!((digests.latest(), digests.at(Sequence(0))), (None, None));
        let of = |n: u64| Digest([u8::try_from(n % 251).unwrap(); 32]);
        for n in 1..=6_000 {
            digests.note(Sequence(3 * n), of(n));
            digests.note(Sequence(3 * n), of(n + 1));
        }
        assert_eq!(digests.latest(), Some((Sequence(18_000), of(6_000))));
        assert_eq!(digests.at(Sequence(17_997)), Some(of(5_999)));
        assert_eq!(digests.at(Sequence(17_998)), None, "inside a batch");
        assert_eq!(digests.at(Sequence(3)), None, "long ago");
    }
}
