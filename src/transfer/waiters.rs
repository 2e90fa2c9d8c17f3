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
    waiting: Mutex<BTreeMap<Sequence, Waiting>>,
}

/// Those who wait for one transfer.
#[derive(Default)]
struct Waiting {
    /// Whether it is known here that the transfer takes place. Those that do not are closed as well.
    committed: bool,
    callers: Vec<oneshot::Sender<End>>,
}

impl Waiters {
    /// The end of a transfer, when it comes. Ask before you look whether it is open.
    pub(super) fn wait(&self, number: Sequence) -> oneshot::Receiver<End> {
        let (sender, receiver) = oneshot::channel();
        let mut waiting = self.waiting.lock();
        let callers = &mut waiting.entry(number).or_default().callers;
        // Whoever asks again and again about the same transfer goes away as often.
        callers.retain(|caller| !caller.is_closed());
        callers.push(sender);
        receiver
    }

    /// Those who wait for a transfer may know that it takes place.
    pub(super) fn committed(&self, number: Sequence) {
        if let Some(waiting) = self.waiting.lock().get_mut(&number) {
            waiting.committed = true;
        }
    }

    fn wake(&self, number: Sequence, end: impl FnOnce(bool) -> End) {
        let Some(Waiting { committed, callers }) = self.waiting.lock().remove(&number) else { return };
        let end = end(committed);
        for caller in callers {
            // It may have gone away.
            let _ = caller.send(end.clone());
        }
    }

    /// Wakes those whose transfer has ended by these records.
    fn hear(&self, records: &[Applied]) {
        for record in records.iter().filter(|record| record.outcome.is_ok()) {
            let at = (record.sequence, record.time);
            if let Command::CommitTransfer { number } = &record.command {
                self.committed(*number);
            } else if let Command::CloseTransfer { number, seen } = &record.command {
                let closed = || End::Closed { seen: seen.as_deref().copied(), at };
                self.wake(*number, |committed| if committed { closed() } else { End::Missed });
            } else if let Command::AbortTransfer { number, reason } = &record.command {
                self.wake(*number, |_| End::Aborted { reason: reason.clone(), at });
            }
        }
    }

    /// Wakes those who missed the end, and forgets those who have gone away.
    fn look<R: Runtime>(&self, lane: &Lane<R>) {
        let state = lane.state();
        let applied = state.ledger.sequence();
        let mut waiting = self.waiting.lock();
        waiting.retain(|_, waiting| {
            waiting.callers.retain(|caller| !caller.is_closed());
            !waiting.callers.is_empty()
        });
        // A transfer that this replica has not heard of will be heard of.
        let numbers: Vec<Sequence> =
            waiting.keys().copied().take_while(|number| *number <= applied).collect();
        drop(waiting);
        for number in numbers {
            if state.ledger.outgoing(number).is_none() {
                self.wake(number, |_| End::Missed);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{CreditState, Receipt};

    fn record(command: Command) -> Applied {
        Applied {
            sequence: Sequence(9),
            time: Timestamp::MIN,
            request: None,
            command,
            outcome: Ok(Receipt::CreditKnown { state: CreditState::Aborted }),
            previous: [Sequence::ZERO; 2],
            previous_transfer: Sequence::ZERO,
        }
    }

    #[test]
    fn a_close_alone_does_not_say_that_the_transfer_takes_place() {
        let waiters = Waiters::default();
        let number = Sequence(5);
        let mut end = waiters.wait(number);
        waiters.hear(&[record(Command::CloseTransfer { number, seen: None })]);
        assert_eq!(end.try_recv().unwrap(), End::Missed);

        let mut end = waiters.wait(number);
        waiters.hear(&[
            record(Command::CommitTransfer { number }),
            record(Command::CloseTransfer { number, seen: None }),
        ]);
        assert!(matches!(end.try_recv().unwrap(), End::Closed { .. }));

        let mut end = waiters.wait(number);
        let reason = AbortReason::TimedOut;
        waiters.hear(&[
            record(Command::AbortTransfer { number, reason: reason.clone() }),
            record(Command::CloseTransfer { number, seen: None }),
        ]);
        assert!(matches!(end.try_recv().unwrap(), End::Aborted { reason: told, .. } if told == reason));
    }
}
