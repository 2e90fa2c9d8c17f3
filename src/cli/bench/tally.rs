//! What one thread of the load has seen.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::client::Missed;
use crate::model::{Failure, Reason};

use super::work::{Book, Op};

/// The longest latency told apart, in microseconds: ten minutes.
const LONGEST: u64 = 600_000_000;
/// Latencies are kept to one part in a thousand.
const DIGITS: u8 = 3;
/// Most unknown outcomes that are looked up at the end; more widen what the balances may be.
const MAX_LOOKUPS: usize = 100_000;

/// Counts and latencies of one kind of call.
#[derive(Debug)]
pub(super) struct Meter {
    /// In microseconds.
    pub(super) latency: Histogram<u64>,
    /// Answered operations; a batch has several.
    pub(super) operations: u64,
    /// How long calls were made.
    pub(super) elapsed: Duration,
}

impl Meter {
    pub(super) fn new() -> Meter {
        let latency = Histogram::new_with_max(LONGEST, DIGITS).expect("the bounds are right");
        Meter { latency, operations: 0, elapsed: Duration::ZERO }
    }

    pub(super) fn record(&mut self, operations: u64, took: Duration) {
        self.operations += operations;
        self.latency.saturating_record(u64::try_from(took.as_micros()).unwrap_or(LONGEST));
    }

    /// Adds what another thread measured at the same time.
    pub(super) fn add(&mut self, other: &Meter) {
        self.latency.add(&other.latency).expect("both histograms have the same bounds");
        self.operations += other.operations;
        self.elapsed = self.elapsed.max(other.elapsed);
    }

    /// Operations a second.
    pub(super) fn rate(&self) -> u64 {
        const SECOND: u128 = 1_000_000_000;
        let rate = u128::from(self.operations) * SECOND / self.elapsed.as_nanos().max(1);
        u64::try_from(rate).unwrap_or(u64::MAX)
    }
}

/// A call whose outcome is not known.
#[derive(Clone, Debug)]
pub(super) struct Lost {
    /// Its name; empty when it had none.
    pub(super) request_id: String,
    pub(super) ops: Vec<Op>,
}

/// Everything one thread has seen.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) work: Meter,
    pub(super) noop: Meter,
    pub(super) book: Book,
    pub(super) lost: Vec<Lost>,
    /// Refusals that the mix brings about: withdrawals beyond the balance.
    pub(super) refused: u64,
    pub(super) errors: u64,
    pub(super) first_error: Option<Failure>,
    /// Whether answers count, or only the money does.
    pub(super) measuring: bool,
}

impl Tally {
    pub(super) fn new(accounts: usize) -> Tally {
        Tally {
            work: Meter::new(),
            noop: Meter::new(),
            book: Book::new(accounts),
            lost: Vec::new(),
            refused: 0,
            errors: 0,
            first_error: None,
            measuring: false,
        }
    }

    /// A no-op was answered, or not.
    pub(super) fn noop(&mut self, answer: &Result<(), Missed>, took: Duration) {
        match answer {
            Ok(()) => self.noop.record(1, took),
            Err(missed) => self.missed(missed),
        }
    }

    /// An operation was answered, or not.
    pub(super) fn operation(
        &mut self,
        op: Op,
        request_id: &str,
        answer: &Result<i64, Missed>,
        took: Duration,
    ) {
        match answer {
            Ok(interest) => {
                self.book.executed(op, *interest);
                self.answered(1, took);
            }
            Err(Missed::Refused(failure)) => {
                self.book.refused(op);
                self.refusal(failure.reason, || failure.clone());
                self.answered(1, took);
            }
            Err(missed @ Missed::Later(_)) => self.missed(missed),
            Err(missed @ Missed::Unknown(_)) => {
                self.missed(missed);
                self.lose(request_id, vec![op]);
            }
        }
    }

    /// A batch was answered with one result for each command.
    pub(super) fn batch(&mut self, ops: &[Op], results: &[Result<i64, Reason>], took: Duration) {
        for (op, result) in ops.iter().zip(results) {
            match result {
                Ok(interest) => self.book.executed(*op, *interest),
                Err(reason) => {
                    self.book.refused(*op);
                    self.refusal(*reason, || Failure::new(*reason, "a command of a batch was refused"));
                }
            }
        }
        if ops.len() != results.len() {
            self.error(|| {
                Failure::new(Reason::Internal, "a batch was answered with another number of results")
            });
        }
        self.answered(results.len() as u64, took);
    }

    /// A batch as a whole was not executed, or its answer got lost.
    pub(super) fn batch_missed(&mut self, ops: Vec<Op>, request_id: &str, missed: &Missed) {
        self.missed(missed);
        if let Missed::Unknown(_) = missed {
            self.lose(request_id, ops);
        }
    }

    fn answered(&mut self, operations: u64, took: Duration) {
        if self.measuring {
            self.work.record(operations, took);
        }
    }

    fn refusal(&mut self, reason: Reason, failure: impl FnOnce() -> Failure) {
        if reason == Reason::InsufficientFunds {
            self.refused += u64::from(self.measuring);
        } else {
            self.error(failure);
        }
    }

    fn missed(&mut self, missed: &Missed) {
        let (Missed::Refused(failure) | Missed::Later(failure) | Missed::Unknown(failure)) = missed;
        self.error(|| failure.clone());
    }

    fn error(&mut self, failure: impl FnOnce() -> Failure) {
        self.errors += 1;
        self.first_error.get_or_insert_with(failure);
    }

    fn lose(&mut self, request_id: &str, ops: Vec<Op>) {
        if request_id.is_empty() || self.lost.len() >= MAX_LOOKUPS {
            ops.into_iter().for_each(|op| self.book.unknown(op));
        } else {
            self.lost.push(Lost { request_id: request_id.to_owned(), ops });
        }
    }

    /// Adds what another thread has seen.
    pub(super) fn add(&mut self, other: Tally) {
        self.work.add(&other.work);
        self.noop.add(&other.noop);
        self.book.add(&other.book);
        self.lost.extend(other.lost);
        self.refused += other.refused;
        self.errors += other.errors;
        self.first_error = self.first_error.take().or(other.first_error);
    }
}
