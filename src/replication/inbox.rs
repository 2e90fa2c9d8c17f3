//! The bounded queue in front of a task: many callers on any runtime put in, one task takes out.
//!
//! Invariant: what was taken in is handed out; what does not fit is refused at once, before anything
//! happened. The batcher and the read gate each have one.

use std::collections::VecDeque;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// How much an entry counts.
pub(super) trait Weigh {
    /// At least 1.
    fn weight(&self) -> usize;
}

/// Why an entry was not taken in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Refused {
    /// The inbox is full.
    Full,
    /// The inbox is closed.
    Closed,
}

/// The most that an inbox holds.
#[derive(Clone, Copy)]
pub(super) struct Capacity {
    /// Most entries.
    pub(super) entries: usize,
    /// Most weight.
    pub(super) weight: usize,
}

/// A bounded queue with any number of producers and one consumer.
pub(super) struct Inbox<T> {
    waiting: Mutex<Waiting<T>>,
    filled: Notify,
    capacity: Capacity,
}

struct Waiting<T> {
    entries: VecDeque<T>,
    weight: usize,
    open: bool,
}

impl<T: Weigh> Inbox<T> {
    pub(super) fn new(capacity: Capacity) -> Inbox<T> {
        let waiting = Waiting { entries: VecDeque::new(), weight: 0, open: true };
        Inbox { waiting: Mutex::new(waiting), filled: Notify::new(), capacity }
    }

    /// Puts an entry in, or gives it up.
    pub(super) fn put(&self, entry: T) -> Result<(), Refused> {
        self.offer(entry).map_err(|(refused, _)| refused)
    }

    /// Puts an entry in, or returns it.
    pub(super) fn offer(&self, entry: T) -> Result<(), (Refused, T)> {
        let weight = entry.weight();
        let first = {
            let mut waiting = self.waiting.lock();
            if !waiting.open {
                return Err((Refused::Closed, entry));
            }
            let fits = waiting.entries.len() < self.capacity.entries
                && waiting.weight.saturating_add(weight) <= self.capacity.weight;
            if !fits {
                return Err((Refused::Full, entry));
            }
            waiting.weight += weight;
            waiting.entries.push_back(entry);
            waiting.entries.len() == 1
        };
        // The consumer waits only for an empty inbox, so the others need not wake it.
        if first {
            self.filled.notify_one();
        }
        Ok(())
    }

    /// Takes everything that waits, up to the weight and at least one entry; waits for one. `None` when
    /// the inbox is closed and empty.
    pub(super) async fn take(&self, most: usize) -> Option<VecDeque<T>> {
        loop {
            if !self.filled().await {
                return None;
            }
            let taken = self.take_now(most);
            if !taken.is_empty() {
                return Some(taken);
            }
        }
    }

    /// Returns when something waits; false when the inbox is closed and empty.
    pub(super) async fn filled(&self) -> bool {
        loop {
            {
                let waiting = self.waiting.lock();
                if !waiting.entries.is_empty() {
                    return true;
                }
                if !waiting.open {
                    return false;
                }
            }
            self.filled.notified().await;
        }
    }

    /// As [`Inbox::take`], without waiting: nothing when nothing is there.
    pub(super) fn take_now(&self, most: usize) -> VecDeque<T> {
        self.waiting.lock().take(most)
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.lock().entries.is_empty()
    }

    /// Puts entries that were taken out back in front. They were let in before, so there is always room
    /// for them, also when the inbox is closed.
    pub(super) fn put_back(&self, entries: VecDeque<T>) {
        if entries.is_empty() {
            return;
        }
        {
            let mut waiting = self.waiting.lock();
            waiting.weight += entries.iter().map(Weigh::weight).sum::<usize>();
            for entry in entries.into_iter().rev() {
                waiting.entries.push_front(entry);
            }
        }
        self.filled.notify_one();
    }

    /// Takes out what is to go, whatever its place.
    pub(super) fn remove(&self, mut goes: impl FnMut(&T) -> bool) -> Vec<T> {
        let mut waiting = self.waiting.lock();
        if !waiting.entries.iter().any(&mut goes) {
            return Vec::new();
        }
        let (gone, stay): (Vec<T>, VecDeque<T>) = {
            let mut gone = Vec::new();
            let mut stay = VecDeque::with_capacity(waiting.entries.len());
            for entry in waiting.entries.drain(..) {
                if goes(&entry) { gone.push(entry) } else { stay.push_back(entry) }
            }
            (gone, stay)
        };
        waiting.weight = stay.iter().map(Weigh::weight).sum();
        waiting.entries = stay;
        gone
    }

    /// Takes nothing in any more.
    pub(super) fn close(&self) {
        self.waiting.lock().open = false;
        self.filled.notify_one();
    }
}

impl<T: Weigh> Waiting<T> {
    fn take(&mut self, most: usize) -> VecDeque<T> {
        if self.weight <= most {
            self.weight = 0;
            return std::mem::take(&mut self.entries);
        }
        let mut taken = 0;
        let mut count = 0;
        for entry in &self.entries {
            if count > 0 && taken + entry.weight() > most {
                break;
            }
            taken += entry.weight();
            count += 1;
        }
        self.weight -= taken;
        self.entries.drain(..count).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Weigh for usize {
        fn weight(&self) -> usize {
            *self
        }
    }

    #[tokio::test]
    async fn entries_come_out_in_order_and_by_weight() {
        let inbox = Inbox::new(Capacity { entries: 10, weight: 100 });
        for entry in [50, 1, 2, 3, 4] {
            inbox.put(entry).unwrap();
        }
        assert_eq!(inbox.take(10).await.unwrap(), [50], "one that is too heavy goes alone");
        assert_eq!(inbox.take(6).await.unwrap(), [1, 2, 3]);
        assert_eq!(inbox.take(6).await.unwrap(), [4]);
        inbox.put(7).unwrap();
        inbox.close();
        assert_eq!(inbox.put(1), Err(Refused::Closed));
        assert_eq!(inbox.take(6).await.unwrap(), [7], "what was taken in is handed out");
        assert_eq!(inbox.take(6).await, None);
    }

    #[tokio::test]
    async fn a_full_inbox_refuses_until_there_is_room() {
        let inbox = Inbox::new(Capacity { entries: 3, weight: 10 });
        inbox.put(6).unwrap();
        assert_eq!(inbox.put(5), Err(Refused::Full), "too heavy");
        inbox.put(1).unwrap();
        inbox.put(1).unwrap();
        assert_eq!(inbox.put(1), Err(Refused::Full), "too many");
        inbox.take(100).await.unwrap();
        inbox.put(10).unwrap();
    }

    #[tokio::test]
    async fn what_comes_back_goes_first_and_what_is_removed_makes_room() {
        let inbox = Inbox::new(Capacity { entries: 3, weight: 10 });
        for entry in [1, 2, 3] {
            inbox.put(entry).unwrap();
        }
        let taken = inbox.take_now(3);
        inbox.put(4).unwrap();
        inbox.close();
        inbox.put_back(taken);
        assert_eq!(inbox.remove(|entry| *entry == 2), [2]);
        assert_eq!(inbox.remove(|entry| *entry == 2), [0; 0]);
        assert_eq!(inbox.take(10).await.unwrap(), [1, 3, 4]);
        assert_eq!(inbox.take(10).await, None);
        assert_eq!(inbox.take_now(10), [0; 0]);
    }

    #[tokio::test]
    async fn who_waits_for_an_empty_inbox_is_woken() {
        let inbox = Inbox::new(Capacity { entries: 3, weight: 10 });
        let (taken, ()) = tokio::join!(inbox.take(10), async { inbox.put(1).unwrap() });
        assert_eq!(taken.unwrap(), [1]);
        let (taken, ()) = tokio::join!(inbox.take(10), async { inbox.close() });
        assert_eq!(taken, None);
    }
}
