//! The journal of a memory replica: the latest records in order, in memory.
//!
//! Invariant: append-only, without gaps; what leaves at the old end is known to be gone and is never
//! answered as if it had not been. `machine` appends, everybody else reads.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::model::{AccountNumber, Applied, CustomerPosting, Sequence};

/// Most records that a memory replica keeps.
pub const JOURNAL_RECORDS: usize = 1_000_000;

/// Most segments a reader takes out at a time: few enough that the writer never waits long.
const VISIT_SEGMENTS: usize = 64;

/// The applied commands of a branch in order, the latest [`JOURNAL_RECORDS`] of them.
///
/// Readers hold a lock only while they look up where records are, never while they look at them, so
/// a slow reader does not hold up the branch.
pub struct Journal {
    held: RwLock<Held>,
    limit: usize,
}

struct Held {
    /// What each batch applied, as `apply` returned it; none is empty.
    segments: VecDeque<Segment>,
    /// How many records the segments hold.
    records: usize,
    /// The first record held, or the next one when there is none.
    first: Sequence,
    /// The last record.
    last: Sequence,
}

#[derive(Clone)]
struct Segment {
    first: Sequence,
    records: Arc<Vec<Applied>>,
}

impl Segment {
    fn get(&self, sequence: Sequence) -> Option<&Applied> {
        let place = usize::try_from(sequence.0.checked_sub(self.first.0)?).ok()?;
        self.records.get(place)
    }

    fn from(&self, sequence: Sequence) -> &[Applied] {
        let skip = usize::try_from(sequence.0.saturating_sub(self.first.0)).unwrap_or(usize::MAX);
        self.records.get(skip..).unwrap_or_default()
    }
}

impl Held {
    /// Where the segment stands that holds `sequence` or, if none does, would stand.
    fn place(&self, sequence: Sequence) -> usize {
        self.segments.partition_point(|segment| segment.first <= sequence).saturating_sub(1)
    }
}

/// The journal no longer holds records before this one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct JournalTrimmed {
    /// The first record it holds.
    pub first: Sequence,
}

impl Journal {
    /// The journal before the first record.
    pub(crate) fn new() -> Journal {
        Journal::with_limit(JOURNAL_RECORDS)
    }

    fn with_limit(limit: usize) -> Journal {
        let (first, last) = (Sequence(1), Sequence::ZERO);
        Journal { held: RwLock::new(Held { segments: VecDeque::new(), records: 0, first, last }), limit }
    }

    /// Adds what one batch applied, and lets the oldest batches go when there are too many records.
    pub(crate) fn append(&self, mut records: Vec<Applied>) {
        let (Some(first), Some(last)) = (records.first(), records.last()) else {
            return;
        };
        let (first, last) = (first.sequence, last.sequence);
        records.shrink_to_fit();
        let segment = Segment { first, records: Arc::new(records) };
        let mut gone = Vec::new();
        {
            let mut held = self.held.write();
            assert_eq!(first, held.last.next(), "the journal has no gaps");
            held.last = last;
            held.records += segment.records.len();
            held.segments.push_back(segment);
            while held.records > self.limit && held.segments.len() > 1 {
                let Some(oldest) = held.segments.pop_front() else { break };
                held.records -= oldest.records.len();
                gone.push(oldest);
            }
            if let Some(oldest) = held.segments.front() {
                held.first = oldest.first;
            }
        }
        // Freed here, so that readers do not wait for it.
        drop(gone);
    }

    /// Records from `from` on, in order, until the end or until `visit` breaks.
    ///
    /// # Errors
    /// [`JournalTrimmed`] when the next record is no longer held.
    pub fn visit(
        &self,
        from: Sequence,
        mut visit: impl FnMut(&Applied) -> ControlFlow<()>,
    ) -> Result<(), JournalTrimmed> {
        let mut next = from.max(Sequence(1));
        loop {
            let segments = self.segments_from(next)?;
            let Some(last) = segments.last() else {
                return Ok(());
            };
            let end = last.records.last().map_or(next, |record| record.sequence.next());
            for record in segments.iter().flat_map(|segment| segment.from(next)) {
                if visit(record).is_break() {
                    return Ok(());
                }
            }
            next = end;
        }
    }

    /// Some segments, the first of which holds `next`; none when `next` has not been written.
    fn segments_from(&self, next: Sequence) -> Result<Vec<Segment>, JournalTrimmed> {
        let held = self.held.read();
        if next < held.first {
            return Err(JournalTrimmed { first: held.first });
        }
        if next > held.last {
            return Ok(Vec::new());
        }
        Ok(held.segments.range(held.place(next)..).take(VISIT_SEGMENTS).cloned().collect())
    }

    /// The postings of an account, newest first, beginning with the one at `newest` (which must be a
    /// posting of the account, zero for none) and following the chain, until `visit` breaks.
    ///
    /// An account shows a posting a moment before the journal holds its record. Who takes `newest`
    /// from an account calls this in a second read, one that asks for at least `newest`; nothing is
    /// visited when the journal has not come so far.
    ///
    /// # Errors
    /// [`JournalTrimmed`] when the chain leads to a record that is no longer held.
    pub fn statement(
        &self,
        account: AccountNumber,
        newest: Sequence,
        mut visit: impl FnMut(&Applied, CustomerPosting) -> ControlFlow<()>,
    ) -> Result<(), JournalTrimmed> {
        let mut at = newest;
        // Neighbours in the chain are often in one batch, which is then looked up once.
        let mut segment: Option<Segment> = None;
        while at > Sequence::ZERO {
            if segment.as_ref().and_then(|segment| segment.get(at)).is_none() {
                segment = self.segment_of(at)?;
            }
            let Some(record) = segment.as_ref().and_then(|segment| segment.get(at)) else {
                return Ok(());
            };
            let Some(posting) = record.customer_postings().find(|posting| posting.account == account) else {
                return Ok(());
            };
            if visit(record, posting).is_break() {
                return Ok(());
            }
            at = posting.previous;
        }
        Ok(())
    }

    fn segment_of(&self, sequence: Sequence) -> Result<Option<Segment>, JournalTrimmed> {
        let held = self.held.read();
        if sequence < held.first {
            return Err(JournalTrimmed { first: held.first });
        }
        Ok(held.segments.get(held.place(sequence)).cloned())
    }

    /// The first record held; 1 when nothing was trimmed.
    #[must_use]
    pub fn first(&self) -> Sequence {
        self.held.read().first
    }

    /// The last record; zero when there is none.
    #[must_use]
    pub fn last(&self) -> Sequence {
        self.held.read().last
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Amount, Command, Money, Receipt, Timestamp};

    fn account(number: u64) -> AccountNumber {
        AccountNumber::new(number).unwrap()
    }

    /// A deposit of 1.00 to an account whose posting before it was at `previous`.
    fn deposit(sequence: u64, to: u64, previous: u64) -> Applied {
        Applied {
            sequence: Sequence(sequence),
            time: Timestamp::from_micros(sequence),
            request: None,
            command: Command::Deposit { account: account(to), amount: Amount::parse("1").unwrap() },
            outcome: Ok(Receipt::Deposited { account: account(to), balance: Money::ZERO }),
            previous: [Sequence(previous), Sequence::ZERO],
        }
    }

    /// Deposits to two accounts in turn: odd sequences to account 1, even ones to account 2.
    fn in_turn(sequences: std::ops::RangeInclusive<u64>) -> Vec<Applied> {
        sequences.map(|s| deposit(s, 2 - s % 2, s.saturating_sub(2))).collect()
    }

    fn visited(journal: &Journal, from: u64) -> Result<Vec<u64>, JournalTrimmed> {
        let mut seen = Vec::new();
        journal.visit(Sequence(from), |record| {
            seen.push(record.sequence.0);
            ControlFlow::Continue(())
        })?;
        Ok(seen)
    }

    fn statement(journal: &Journal, of: u64, newest: u64) -> (Vec<u64>, Result<(), JournalTrimmed>) {
        let mut seen = Vec::new();
        let end = journal.statement(account(of), Sequence(newest), |record, posting| {
            assert_eq!(posting.account, account(of));
            seen.push(record.sequence.0);
            ControlFlow::Continue(())
        });
        (seen, end)
    }

    #[test]
    fn an_empty_journal_has_nothing_to_visit() {
        let journal = Journal::new();
        assert_eq!((journal.first(), journal.last()), (Sequence(1), Sequence::ZERO));
        assert_eq!(visited(&journal, 0), Ok(vec![]));
        assert_eq!(statement(&journal, 1, 0), (vec![], Ok(())));
        journal.append(vec![]);
        assert_eq!(journal.last(), Sequence::ZERO);
    }

    #[test]
    fn records_are_visited_in_order_from_any_place_in_any_batches() {
        let journal = Journal::new();
        for batch in [1..=3, 4..=4, 5..=200, 201..=201] {
            journal.append(in_turn(batch));
        }
        for single in 202..=500 {
            journal.append(in_turn(single..=single));
        }
        for from in [0, 1, 3, 4, 5, 199, 200, 201, 202, 350, 500, 501, 9_999] {
            assert_eq!(visited(&journal, from), Ok((from.max(1)..=500).collect()), "from {from}");
        }
        let mut seen = 0;
        journal
            .visit(Sequence(7), |_| {
                seen += 1;
                if seen == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })
            .unwrap();
        assert_eq!(seen, 3);
    }

    #[test]
    fn a_statement_follows_the_chain_of_its_account_only() {
        let journal = Journal::new();
        journal.append(in_turn(1..=4));
        journal.append(in_turn(5..=5));
        journal.append(in_turn(6..=9));
        assert_eq!(statement(&journal, 1, 9), (vec![9, 7, 5, 3, 1], Ok(())));
        assert_eq!(statement(&journal, 2, 8), (vec![8, 6, 4, 2], Ok(())));
        assert_eq!(statement(&journal, 1, 5), (vec![5, 3, 1], Ok(())), "as of an earlier posting");
        assert_eq!(statement(&journal, 1, 11), (vec![], Ok(())), "not written yet");
    }

    #[test]
    fn old_batches_leave_whole_and_are_known_to_be_gone() {
        let journal = Journal::with_limit(10);
        for start in [1, 5, 9, 13] {
            journal.append(in_turn(start..=start + 3));
        }
        assert_eq!((journal.first(), journal.last()), (Sequence(9), Sequence(16)));
        let trimmed = JournalTrimmed { first: Sequence(9) };
        assert_eq!(visited(&journal, 8), Err(trimmed));
        assert_eq!(visited(&journal, 9), Ok((9..=16).collect()));
        assert_eq!(statement(&journal, 2, 16), (vec![16, 14, 12, 10], Err(trimmed)));
        assert_eq!(statement(&journal, 2, 2), (vec![], Err(trimmed)));
    }

    #[test]
    fn a_reader_that_is_overtaken_is_told() {
        let journal = Journal::with_limit(VISIT_SEGMENTS * 2);
        for single in 1..=100 {
            journal.append(in_turn(single..=single));
        }
        let mut writer = 101..=1_000_u64;
        let mut seen = Vec::new();
        let end = journal.visit(Sequence(1), |record| {
            seen.push(record.sequence.0);
            // The writer is never held up by a visit in progress.
            for single in writer.by_ref().take(50) {
                journal.append(in_turn(single..=single));
            }
            ControlFlow::Continue(())
        });
        assert_eq!(seen, (1..=64).collect::<Vec<_>>());
        assert_eq!(end, Err(JournalTrimmed { first: journal.first() }));
    }
}
