//! Tests of the journal in memory.

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
        previous_transfer: Sequence::ZERO,
    }
}

/// Deposits to two accounts in turn: odd sequences to account 1, even ones to account 2.
pub(super) fn in_turn(sequences: std::ops::RangeInclusive<u64>) -> Vec<Applied> {
    sequences.map(|s| deposit(s, 2 - s % 2, s.saturating_sub(2))).collect()
}

pub(super) fn visited(journal: &Journal, from: u64) -> Result<Vec<u64>, JournalTrimmed> {
    let mut seen = Vec::new();
    journal.visit(Sequence(from), |record| {
        seen.push(record.sequence.0);
        ControlFlow::Continue(())
    })?;
    Ok(seen)
}

pub(super) fn statement(journal: &Journal, of: u64, newest: u64) -> (Vec<u64>, Result<(), JournalTrimmed>) {
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
