//! Ledger time: what the leader stamps on a batch.

use std::num::NonZeroU64;

use serde::{Deserialize, Serialize};

/// Microseconds since the Unix epoch, at least 1.
///
/// The leader stamps every batch with a time later than that of the batch before, so times order
/// batches whatever clocks do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Timestamp(NonZeroU64);

impl Timestamp {
    /// The earliest time.
    pub const MIN: Timestamp = Timestamp(NonZeroU64::MIN);
    /// The latest time.
    pub const MAX: Timestamp = Timestamp(NonZeroU64::MAX);

    /// A time from microseconds since the Unix epoch; 0 becomes 1.
    #[must_use]
    pub fn from_micros(micros: u64) -> Timestamp {
        Timestamp(NonZeroU64::new(micros).unwrap_or(NonZeroU64::MIN))
    }

    /// Microseconds since the Unix epoch.
    #[must_use]
    pub fn micros(self) -> u64 {
        self.0.get()
    }

    /// This time, or the first one after `last` when the clock has not passed it.
    #[must_use]
    pub fn after(self, last: Option<Timestamp>) -> Timestamp {
        match last {
            Some(last) if self <= last => Timestamp(last.0.saturating_add(1)),
            Some(_) | None => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_never_goes_back() {
        let at = Timestamp::from_micros;
        assert_eq!(at(5).after(None), at(5));
        assert_eq!(at(5).after(Some(at(4))), at(5));
        assert_eq!(at(5).after(Some(at(5))), at(6));
        assert_eq!(at(5).after(Some(at(900))), at(901));
        assert_eq!(at(0).micros(), 1);
    }
}
