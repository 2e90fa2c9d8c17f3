//! Callers that wait for the end of their transfer, at any replica of the paying branch.
//!
//! Invariant: a wait is a convenience. Whoever is not woken looks at the ledger when its time is over.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{broadcast, oneshot};

use crate::model::{AbortReason, Applied, Command, Seen, Sequence, Timestamp};
use crate::replication::Lane;
use crate::store::Runtime;

/// How often it is looked whether the end of a transfer was missed.
const LOOK: Duration = Duration::from_secs(1);

/// The end of a transfer as its caller waits for it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum End {
    /// It takes place, and the receiving branch has it.
    Closed {
        /// What the receiver had reached then.
        seen: Option<Seen>,
        /// The record that says so, and its time.
        at: (Sequence, Timestamp),
    },
    /// It does not take place.
    Aborted { reason: AbortReason, at: (Sequence, Timestamp) },
    /// It is over; the journal knows how.
    Missed,
}

/// Those who wait at one replica.
#[derive(Default)]
pub(super) struct Waiters {
    /// As many as calls are in flight, which the server bounds.
    waiting: Mutex<BTreeMap<Sequence, Vec<oneshot::Sender<End>>>>,
}

impl Waiters {
    /// The end of a transfer, when it comes. Ask before you look whether it is open.
    pub(super) fn wait(&self, number: Sequence) -> oneshot::Receiver<End> {
        let (sender, receiver) = oneshot::channel();
        let mut waiting = self.waiting.lock();
        let here = waiting.entry(number).or_default();
        // Whoever asks again and again about the same transfer goes away as often.
        here.retain(|sender| !sender.is_closed());
        here.push(sender);
        receiver
    }

    fn wake(&self, number: Sequence, end: &End) {
        let woken = self.waiting.lock().remove(&number);
        for sender in woken.into_iter().flatten() {
            // It may have gone away.
            let _ = sender.send(end.clone());
        }
    }

    /// Wakes those whose transfer has ended by these records.
    fn hear(&self, records: &[Applied]) {
        for record in records.iter().filter(|record| record.outcome.is_ok()) {
            let at = (record.sequence, record.time);
            if let Command::CloseTransfer { number, seen } = &record.command {
                self.wake(*number, &End::Closed { seen: seen.as_deref().copied(), at });
            } else if let Command::AbortTransfer { number, reason } = &record.command {
                self.wake(*number, &End::Aborted { reason: reason.clone(), at });
            }
        }
    }

    /// Wakes those who missed the end, and forgets those who have gone away.
    fn look<R: Runtime>(&self, lane: &Lane<R>) {
        let state = lane.state();
        let applied = state.ledger.sequence();
        let mut waiting = self.waiting.lock();
        waiting.retain(|_, senders| {
            senders.retain(|sender| !sender.is_closed());
            !senders.is_empty()
        });
        // A transfer that this replica has not heard of will be heard of.
        let numbers: Vec<Sequence> =
            waiting.keys().copied().take_while(|number| *number <= applied).collect();
        drop(waiting);
        for number in numbers {
            if state.ledger.outgoing(number).is_none() {
                self.wake(number, &End::Missed);
            }
        }
    }

    /// Wakes those who wait, as long as the replica runs.
    pub(super) async fn run<R: Runtime>(self: Arc<Self>, lane: Lane<R>) {
        let mut events = lane.transfers();
        let mut next_look = R::now() + LOOK;
        while !lane.has_stopped() {
            match R::timeout_at(next_look, events.recv()).await {
                Some(Ok(records)) => {
                    self.hear(&records);
                    continue;
                }
                Some(Err(broadcast::error::RecvError::Lagged(_))) => {}
                Some(Err(broadcast::error::RecvError::Closed)) => return,
                None => next_look = R::now() + LOOK,
            }
            self.look(&lane);
        }
    }
}
