//! What happened when a plan was played: one answer per event and, with tracing, every message with its
//! clock. The runner fills it, the reports read it.
//!
//! Invariant: a [`Played`] has exactly one answer for each event of its plan, whatever the runner did.

use crate::model::Money;

use super::plan::{Plan, RequestIndex, UNASKED_ROWS};

/// The outcome of an event that was sent nowhere.
const NOT_SENT: Answer = Answer::Fail { balance: None };

/// The outcome of one event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// A write was done.
    Success {
        /// The balance after it.
        balance: Money,
    },
    /// A query was answered.
    Balance(Money),
    /// Refused, or never sent because the plan has no place for it.
    Fail {
        /// What the account held when the bank refused, where the refusal says so.
        balance: Option<Money>,
    },
}

/// Why a run has no trace.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Untraced {
    /// It could have more rows than anybody reads.
    #[error(
        "the trace could have more than {UNASKED_ROWS} rows; --format p2 or p2old writes it all the same"
    )]
    TooLarge,
    /// A server that does not record.
    #[error("{server} does not record messages; start it with --trace-events")]
    NotRecording {
        /// Its address.
        server: String,
    },
    /// A replica has lost some of what it had recorded.
    #[error(
        "the replicas have recorded {found} of {expected} messages; one of them was restarted or too far behind"
    )]
    Incomplete {
        /// Messages found.
        found: usize,
        /// Messages that there must be.
        expected: usize,
    },
}

/// The answers and the trace of a run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Played {
    answers: Vec<Vec<Answer>>,
    /// The messages of the run in no particular order; empty when [`Played::untraced`] says why. About 40 bytes a
    /// row: the largest course file (20,000 writes at 100 branches) has four million.
    pub trace: Vec<TraceRow>,
    /// Why nobody knows which messages the branches exchanged.
    pub untraced: Option<Untraced>,
}

impl Played {
    /// A run in which nothing has succeeded yet.
    #[must_use]
    pub fn new(plan: &Plan) -> Played {
        let answers = plan.entries.iter().map(|entry| vec![NOT_SENT; entry.events.len()]).collect();
        Played { answers, trace: Vec::new(), untraced: None }
    }

    /// Notes the answer to an event. A place that the plan does not have is ignored.
    pub fn set(&mut self, request: RequestIndex, answer: Answer) {
        let events = self.answers.get_mut(request.entry as usize);
        if let Some(place) = events.and_then(|events| events.get_mut(request.event as usize)) {
            *place = answer;
        }
    }

    /// The answer to an event.
    #[must_use]
    pub fn answer(&self, request: RequestIndex) -> Answer {
        let events = self.answers.get(request.entry as usize);
        events.and_then(|events| events.get(request.event as usize)).copied().unwrap_or(NOT_SENT)
    }
}

/// One end of a message, with the Lamport clock that its process had there.
///
/// A customer's request is one `Sent` row at the customer and one `Received` row at the branch it was sent
/// to. A write that changed something is also one `Sent` row at that branch and one `Received` row at the other
/// end, for each other branch. Replies are not recorded, and events that could not be sent have no rows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TraceRow {
    /// Where it happened.
    pub process: Process,
    /// The process's clock at the event.
    pub clock: u64,
    /// The request that it belongs to.
    pub request: RequestIndex,
    /// What happened.
    pub kind: TraceKind,
}

/// Which end of which message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TraceKind {
    /// Sent to this process.
    Sent(Process),
    /// Received from this process.
    Received(Process),
}

/// A customer or a branch of the plan.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Process {
    /// The customer of this entry (position in [`Plan::entries`]). Entries of the same customer have one
    /// clock.
    Customer(u32),
    /// This branch (position in [`Plan::branches`]).
    Branch(u32),
}
