//! Proposals on their way between replicas: what the leader owes to the replica that passed them on.
//!
//! Invariant: one answer for each proposal of a message, in order; a proposal that is dropped without an
//! answer counts as of unknown outcome. `door` gathers, the batcher and the lanes fill.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::model::Unavailable;

type Answer<T> = Result<T, Unavailable>;

/// The answers that a message of proposals will get.
pub(super) struct Gathered<T> {
    answers: Mutex<Vec<Answer<T>>>,
    missing: AtomicUsize,
    complete: Notify,
}

impl<T> Gathered<T> {
    /// Room for so many answers, and a place for each.
    pub(super) fn places(count: usize) -> (Arc<Gathered<T>>, impl Iterator<Item = Slot<T>>) {
        let answers = (0..count).map(|_| Err(Unavailable::OutcomeUnknown)).collect();
        let gathered = Arc::new(Gathered {
            answers: Mutex::new(answers),
            missing: AtomicUsize::new(count),
            complete: Notify::new(),
        });
        let places = Arc::clone(&gathered);
        (gathered, (0..count).map(move |place| Slot { gathered: Arc::clone(&places), place }))
    }

    /// Returns when every place has its answer or was given up.
    pub(super) async fn complete(&self) {
        // The one who counts to zero leaves a permit, so nothing is missed.
        if self.missing.load(Ordering::Acquire) > 0 {
            self.complete.notified().await;
        }
    }

    /// The answers that are there; those that are not are of unknown outcome.
    pub(super) fn take(&self) -> Vec<Answer<T>> {
        std::mem::take(&mut self.answers.lock())
    }
}

/// The place of one answer.
pub(super) struct Slot<T> {
    gathered: Arc<Gathered<T>>,
    place: usize,
}

impl<T> Slot<T> {
    /// Puts the answer in its place.
    pub(super) fn fill(self, answer: Answer<T>) {
        if let Some(place) = self.gathered.answers.lock().get_mut(self.place) {
            *place = answer;
        }
    }
}

impl<T> Drop for Slot<T> {
    fn drop(&mut self) {
        if self.gathered.missing.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.gathered.complete.notify_one();
        }
    }
}
