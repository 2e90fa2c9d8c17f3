//! The bytes that a server holds of messages that are on their way in or being worked on, by kind of sender, and of
//! answers.
//!
//! Invariant: no sender can use the share of another kind, so customers never keep replicas from agreeing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::model::{Failure, Unavailable};

/// Bytes of small calls and of requests over HTTP: 128 of the largest, hundreds of thousands of usual ones.
const SMALL_BYTES: usize = 32 << 20;
/// Bytes of batches: 16 of the largest, 300 of 8,192 usual commands.
const BATCH_BYTES: usize = 64 << 20;
/// Bytes of messages of replicas and other branches: four of the largest.
const PEER_BYTES: usize = 128 << 20;
/// Bytes of large answers that are not read yet: hundreds of the longest pages.
const ANSWER_BYTES: usize = 64 << 20;
/// When a sender that was turned away should come again.
const RETRY_AFTER: Duration = Duration::from_millis(200);

/// Bytes that may still be held.
#[derive(Debug)]
pub(super) struct Budget(AtomicUsize);

impl Budget {
    fn of(bytes: usize) -> Arc<Budget> {
        Arc::new(Budget(AtomicUsize::new(bytes)))
    }
}

/// The budgets of a server.
#[derive(Debug)]
pub(super) struct Budgets {
    pub(super) small: Arc<Budget>,
    pub(super) batches: Arc<Budget>,
    pub(super) peers: Arc<Budget>,
    pub(super) answers: Arc<Budget>,
}

impl Default for Budgets {
    fn default() -> Budgets {
        let sizes = [SMALL_BYTES, BATCH_BYTES, PEER_BYTES, ANSWER_BYTES];
        let [small, batches, peers, answers] = sizes.map(Budget::of);
        Budgets { small, batches, peers, answers }
    }
}

/// The bytes that one call holds; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Charge {
    budget: Arc<Budget>,
    bytes: AtomicUsize,
    refused: AtomicBool,
}

impl Charge {
    /// A call that holds nothing yet.
    pub(super) fn new(budget: &Arc<Budget>) -> Arc<Charge> {
        let (budget, bytes, refused) = (Arc::clone(budget), AtomicUsize::new(0), AtomicBool::new(false));
        Arc::new(Charge { budget, bytes, refused })
    }

    /// Takes bytes that have come.
    ///
    /// # Errors
    /// `OVERLOADED` when all calls together would hold too many.
    pub(super) fn take(&self, bytes: usize) -> Result<(), Failure> {
        let less = |left: usize| left.checked_sub(bytes);
        if self.budget.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_err() {
            self.refused.store(true, Ordering::Relaxed);
            return Err(Unavailable::Overloaded { retry_after: RETRY_AFTER }.into());
        }
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }

    /// Gives back what was taken, because the messages were handed on.
    pub(super) fn give_back(&self) {
        self.budget.0.fetch_add(self.bytes.swap(0, Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Whether bytes of the call were refused.
    pub(super) fn is_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.give_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Reason;

    #[test]
    fn all_calls_together_hold_no_more_than_the_budget() {
        let budget = Budget::of(10);
        let (first, second) = (Charge::new(&budget), Charge::new(&budget));
        assert_eq!(first.take(6), Ok(()));
        assert_eq!(second.take(5).unwrap_err().reason, Reason::Overloaded);
        assert!(second.is_refused() && !first.is_refused());
        assert_eq!(second.take(4), Ok(()));
        first.give_back();
        assert_eq!(second.take(6), Ok(()));
        drop((first, second));
        assert_eq!(Charge::new(&budget).take(10), Ok(()));
    }
}
