//! Tables of states, holds and transfers between branches: one line is one event and what becomes of it. The line's place
//! in its table is the sequence, and so the number of the hold or transfer that it begins.

use super::table::{NOW, check};
use super::*;

#[test]
fn a_frozen_account_takes_nothing_new_and_a_closed_one_is_empty() {
    check(
        "open - 100 -> 1=100.00
         open -> 2=0.00
         freeze 1 -> 1=100.00/0.00
         deposit 1 1 -> ACCOUNT_FROZEN
         withdraw 1 1 -> ACCOUNT_FROZEN
         interest 1 1 -> ACCOUNT_FROZEN
         transfer 1 2 1 -> ACCOUNT_FROZEN
         transfer 2 1 1 -> ACCOUNT_FROZEN
         hold 1 1 -> ACCOUNT_FROZEN
         begin 1 delhi 5 1 -> ACCOUNT_FROZEN
         prepare delhi 1 5 1 9 -> ACCOUNT_FROZEN
         reopen 1 -> ACCOUNT_FROZEN
         freeze 1 -> 1=100.00/0.00
         unfreeze 1 -> 1=100.00/0.00
         unfreeze 1 -> 1=100.00/0.00
         reopen 1 -> 1=100.00/0.00
         close 1 -> BALANCE_NOT_ZERO
         withdraw 1 100 -> 1=0.00
         close 1 -> 1=0.00/0.00
         deposit 1 1 -> ACCOUNT_CLOSED
         interest 1 1 -> ACCOUNT_CLOSED
         prepare delhi 1 5 1 9 -> ACCOUNT_CLOSED
         open 1 -> ACCOUNT_EXISTS
         unfreeze 1 -> ACCOUNT_CLOSED
         freeze 1 -> ACCOUNT_CLOSED
         close 1 -> 1=0.00/0.00
         reopen 1 -> 1=0.00/0.00
         close 1 -> 1=0.00/0.00
         activate 1 -> 1=0.00/0.00
         freeze 1 -> 1=0.00/0.00
         activate 1 -> 1=0.00/0.00
         freeze 1 -> 1=0.00/0.00
         close 1 -> 1=0.00/0.00
         reopen 1 -> 1=0.00/0.00
         deposit 1 1 -> 1=1.00
         close 77 -> ACCOUNT_NOT_FOUND
         all: withdraw 1 1; close 1; deposit 1 1 -> BATCH_ABORTED; BATCH_ABORTED; ACCOUNT_CLOSED
         all: withdraw 1 1; close 1 -> 1=0.00; 1=0.00/0.00",
    );
}

#[test]
fn an_account_with_promises_cannot_be_closed() {
    check(
        "open - - 50 -> 1=0.00
         hold 1 5 -> 1=0.00/5.00
         close 1 -> ACCOUNT_IN_USE
         release 2 -> 1=0.00/0.00
         prepare delhi 1 5 1 9 -> 1=0.00/0.00
         close 1 -> ACCOUNT_IN_USE
         cancel delhi 1 5 1 9 -> 1=0.00/0.00
         begin 1 delhi 5 50 -> 1=0.00/50.00
         close 1 -> ACCOUNT_IN_USE
         abort 8 -> 1=0.00/0.00
         close 1 -> 1=0.00/0.00",
    );
}

#[test]
fn a_hold_reserves_until_it_is_captured_or_released() {
    check(
        "open - 100 20 -> 1=100.00
         hold 1 60 -> 1=100.00/60.00
         withdraw 1 60.01 -> INSUFFICIENT_FUNDS
         hold 1 60.01 -> INSUFFICIENT_FUNDS
         capture 2 60.01 -> INSUFFICIENT_FUNDS
         capture 2 25 -> 1=75.00/0.00
         capture 2 -> HOLD_FINAL
         release 2 -> HOLD_FINAL
         expire 2 -> HOLD_FINAL
         hold 1 95 -> 1=75.00/95.00
         capture 10 -> 1=-20.00/0.00
         hold 1 0.01 -> INSUFFICIENT_FUNDS
         release 3 -> HOLD_NOT_FOUND
         capture 99 -> HOLD_NOT_FOUND
         hold 5 1 -> ACCOUNT_NOT_FOUND
         deposit 1 30 -> 1=10.00
         hold 1 10 -> 1=10.00/10.00
         freeze 1 -> 1=10.00/10.00
         release 17 -> 1=10.00/0.00
         all: hold 1 4; unfreeze 1 -> ACCOUNT_FROZEN; BATCH_ABORTED
         all: unfreeze 1; hold 1 4; capture 23 1; withdraw 1 9 -> 1=10.00/0.00; 1=10.00/4.00; 1=9.00/0.00; 1=0.00
         deposit 1 5 -> 1=5.00
         hold 1 5 -> 1=5.00/5.00
         freeze 1 -> 1=5.00/5.00
         capture 27 -> 1=0.00/0.00",
    );
}

#[test]
fn a_hold_ends_by_the_time_of_the_log() {
    // A line comes a microsecond after the one before it.
    check(
        "open - 100 -> 1=100.00
         hold 1 10 4 -> 1=100.00/10.00
         hold 1 20 6 -> 1=100.00/30.00
         expire 2 -> ARGUMENT_INVALID
         deposit 1 1 -> 1=101.00
         capture 2 -> HOLD_FINAL
         withdraw 1 72 -> INSUFFICIENT_FUNDS
         expire 2 -> 1=101.00/20.00
         capture 2 -> HOLD_FINAL
         release 3 -> 1=101.00/0.00
         expire 3 -> HOLD_FINAL",
    );
}

#[test]
fn the_payer_holds_the_money_until_the_decision_and_the_first_one_counts() {
    let ledger = check(
        "open - 100 -> 1=100.00
         begin 1 delhi 5 60 -> 1=100.00/60.00
         withdraw 1 40.01 -> INSUFFICIENT_FUNDS
         begin 1 delhi 5 40.01 -> INSUFFICIENT_FUNDS
         begin 9 delhi 5 1 -> ACCOUNT_NOT_FOUND
         forget 2 -> ARGUMENT_INVALID
         freeze 1 -> 1=100.00/60.00
         commit 2 -> 1=40.00/0.00
         abort 2 -> TRANSFER_FINAL
         commit 2 -> TRANSFER_FINAL
         unfreeze 1 -> 1=40.00/0.00
         begin 1 pune 7 40 -> 1=40.00/40.00
         abort 12 -> 1=40.00/0.00
         commit 12 -> TRANSFER_FINAL
         withdraw 1 40 -> 1=0.00
         close 1 -> 1=0.00/0.00
         forget 2 -> 1=0.00/0.00
         forget 2 -> TRANSFER_NOT_FOUND
         commit 2 -> TRANSFER_NOT_FOUND
         abort 1 -> TRANSFER_NOT_FOUND
         forget 12 -> 1=0.00/0.00",
    );
    let clearing = &ledger.audit().clearing;
    let due = |branch: &str| clearing[&branch.parse().unwrap()].due_to.minor();
    assert_eq!((due("delhi"), due("pune")), (6_000, 0));
}

#[test]
fn a_credit_is_prepared_once_and_posted_once() {
    let ledger = check(
        "open -> 1=0.00
         prepare delhi 7 5 1 60 -> 1=0.00/0.00
         prepare delhi 7 5 1 60 -> prepared before
         prepare delhi 7 5 1 61 -> TRANSFER_MISMATCH
         credit delhi 7 5 2 60 -> TRANSFER_MISMATCH
         cancel delhi 7 6 1 60 -> TRANSFER_MISMATCH
         withdraw 1 1 -> INSUFFICIENT_FUNDS
         freeze 1 -> 1=0.00/0.00
         credit delhi 7 5 1 60 -> 1=60.00/0.00
         credit delhi 7 5 1 60 -> committed before
         prepare delhi 7 5 1 60 -> committed before
         cancel delhi 7 5 1 60 -> TRANSFER_FINAL
         credit delhi 8 5 1 60 -> TRANSFER_NOT_FOUND
         prepare delhi 9 5 2 60 -> ACCOUNT_NOT_FOUND
         prepare delhi 9 5 1 60 -> ACCOUNT_FROZEN",
    );
    assert_eq!(ledger.audit().clearing[&"delhi".parse().unwrap()].due_from.minor(), -6_000);
}

#[test]
fn an_abort_that_comes_before_its_prepare_is_remembered() {
    check(
        "open -> 1=0.00
         cancel delhi 7 5 1 60 -> noted
         cancel delhi 7 5 1 60 -> aborted before
         prepare delhi 7 5 1 60 -> TRANSFER_FINAL
         credit delhi 7 5 1 60 -> TRANSFER_FINAL
         prepare pune 7 5 1 60 -> 1=0.00/0.00
         cancel pune 7 5 1 60 -> 1=0.00/0.00
         prepare pune 7 5 1 60 -> TRANSFER_FINAL",
    );
}

#[test]
fn what_is_below_the_watermark_is_over() {
    check(
        "open -> 1=0.00
         prepare delhi 7 5 1 60 -> 1=0.00/0.00
         prepare delhi 8 5 1 1 -> 1=0.00/0.00
         credit delhi 7 5 1 60 -> 1=60.00/0.00
         prepare delhi 9 5 1 2 8 -> 1=60.00/0.00
         prepare delhi 7 5 1 60 -> TRANSFER_FINAL
         credit delhi 7 5 1 60 -> TRANSFER_FINAL
         cancel delhi 7 5 1 60 -> TRANSFER_FINAL
         credit delhi 6 5 1 60 -> TRANSFER_FINAL
         prepare delhi 7 5 1 60 10 -> TRANSFER_FINAL
         credit delhi 8 5 1 1 -> 1=61.00/0.00
         credit delhi 9 5 1 2 -> 1=63.00/0.00
         prepare pune 7 5 1 60 8 -> TRANSFER_FINAL
         prepare pune 7 5 1 60 -> 1=63.00/0.00",
    );
}

#[test]
fn room_is_kept_for_what_was_promised() {
    check(
        "open - 999999999999.90 -> 1=999999999999.90
         prepare delhi 1 5 1 0.08 -> 1=999999999999.90/0.00
         prepare delhi 2 5 1 0.02 -> AMOUNT_OVERFLOW
         deposit 1 0.02 -> AMOUNT_OVERFLOW
         deposit 1 0.01 -> 1=999999999999.91
         interest 1 0.0001 -> AMOUNT_OVERFLOW
         credit delhi 1 5 1 0.08 -> 1=999999999999.99/0.00
         open - - 999999999999.99 -> 2=0.00
         withdraw 2 999999999999.99 -> 2=-999999999999.99
         prepare delhi 3 5 2 999999999999.99 -> 2=-999999999999.99/0.00
         prepare delhi 4 5 2 1 -> AMOUNT_OVERFLOW
         credit delhi 3 5 2 999999999999.99 -> 2=0.00/0.00
         deposit 2 999999999999.99 -> 2=999999999999.99
         hold 2 999999999999.99 -> 2=999999999999.99/999999999999.99
         hold 2 1 -> AMOUNT_OVERFLOW
         withdraw 2 999999999999.99 -> 2=0.00
         capture 14 -> 2=-999999999999.99/0.00",
    );
}

#[test]
fn the_watermark_for_a_branch_is_its_first_open_transfer() {
    let ledger = check(
        "open - 100 -> 1=100.00
         begin 1 delhi 5 1 -> 1=100.00/1.00
         begin 1 pune 5 1 -> 1=100.00/2.00
         begin 1 delhi 5 1 -> 1=100.00/3.00
         commit 2 -> 1=99.00/2.00
         forget 2 -> 1=99.00/2.00",
    );
    let below = |branch: &str| ledger.settled_below(&branch.parse().unwrap());
    assert_eq!((below("delhi"), below("pune"), below("goa")), (Sequence(4), Sequence(3), Sequence(7)));
    let (open, _) = ledger.outgoing_to(&"delhi".parse().unwrap(), Sequence::ZERO, 10);
    assert_eq!(open.iter().map(|transfer| transfer.number.0).collect::<Vec<_>>(), [4]);
    let newest = |before| ledger.outgoing_open(before, 1).first().map(|transfer| transfer.number.0);
    assert_eq!(
        (newest(None), newest(Some(Sequence(4))), newest(Some(Sequence(3)))),
        (Some(4), Some(3), None)
    );
}

#[test]
fn open_holds_are_listed_by_account_and_by_their_end() {
    let ledger = check(
        "open - 100 -> 1=100.00
         open - 100 -> 2=100.00
         hold 1 1 60 -> 1=100.00/1.00
         hold 2 2 -> 2=100.00/2.00
         hold 1 3 50 -> 1=100.00/4.00
         hold 1 4 -> 1=100.00/8.00
         release 6 -> 1=100.00/4.00",
    );
    let [early, late] = [NOW + 5 + 50, NOW + 3 + 60];
    let of = |account, after: Option<u64>| {
        let after = after.map(|after| HoldId(Sequence(after)));
        let holds = ledger.holds(AccountNumber::new(account).unwrap(), after, 10);
        holds.iter().map(|hold| hold.id.0.0).collect::<Vec<_>>()
    };
    assert_eq!((of(1, None), of(1, Some(3)), of(2, None)), (vec![3, 5], vec![5], vec![4]));
    assert_eq!(ledger.next_expiry(), Some(Timestamp::from_micros(early)));
    let over = |micros| ledger.holds_over(Timestamp::from_micros(micros), 10).len();
    assert_eq!((over(early - 1), over(early), over(late)), (0, 1, 2));
}

#[test]
fn prepared_credits_are_found_with_what_they_need_to_be_asked_for() {
    let ledger = check(
        "open -> 1=0.00
         prepare delhi 9 5 1 2 4 -> 1=0.00/0.00
         prepare pune 3 5 1 7 -> 1=0.00/0.00
         credit pune 3 5 1 7 -> 1=7.00/0.00",
    );
    let waiting = ledger.credits_prepared(10);
    let Command::PrepareCredit(asked) = command("prepare delhi 9 5 1 2 4") else { panic!("a prepare") };
    assert_eq!(waiting, [PreparedCredit { credit: *asked.clone(), at: Timestamp::from_micros(NOW + 2) }]);
    assert_eq!(ledger.incoming_settled_below(&asked.origin), Some(Sequence(4)));
    assert!(ledger.incoming(&asked.origin, Sequence(9)).is_some_and(|credit| !credit.state.is_final()));
}

#[test]
fn there_is_a_limit_to_what_is_open() {
    let ledger = check("open - 999999999999 -> 1=999999999999.00");
    let many = |text: &str, count: u32| {
        for at in (0..count).step_by(8_192) {
            let commands = vec![command(text); (count - at).min(8_192) as usize];
            ledger.apply(&batch(NOW + 100, vec![anonymous(Work::Independent(commands))]));
        }
    };
    let one = |text: &str| {
        show_all(&ledger.apply(&batch(NOW + 100, vec![anonymous(Work::One(command(text)))])).replies[0])
    };
    many("hold 1 0.01", holds::OPEN_HOLDS);
    assert_eq!(one("hold 1 0.01"), "TOO_MANY_OPEN");
    many("begin 1 delhi 5 0.01", outgoing::OPEN_TRANSFERS);
    assert_eq!(one("begin 1 delhi 5 0.01"), "TOO_MANY_OPEN");
    assert_eq!(one("release 2"), "1=999999999999.00/1310.71");
    assert_eq!(one("hold 1 0.01"), "1=999999999999.00/1310.72");
    assert!(ledger.audit().balanced());
}

#[test]
fn other_branches_cannot_fill_the_memory() {
    let ledger = check("open -> 1=0.00");
    let Command::AbortCredit(first) = command("cancel delhi 7 5 1 60") else { panic!("a cancel") };
    let one =
        |command| show_all(&ledger.apply(&batch(NOW + 100, vec![anonymous(Work::One(command))])).replies[0]);
    let life = |life: u32| {
        let mut ledger = LedgerId([9; 16]);
        ledger.0[..4].copy_from_slice(&life.to_le_bytes());
        Box::new(Credit { origin: Origin { ledger, ..first.origin.clone() }, ..*first.clone() })
    };
    for n in 0..incoming::ORIGINS {
        assert_eq!(one(Command::AbortCredit(life(n))), "noted");
    }
    for message in [Command::AbortCredit, Command::PrepareCredit] {
        assert_eq!(one(message(life(incoming::ORIGINS))), "TOO_MANY_OPEN");
    }
    let numbered = |number| Box::new(Credit { number: Sequence(number), ..*life(0) });
    for n in 0..u64::from(incoming::PREPARED_CREDITS) {
        assert_eq!(one(Command::PrepareCredit(numbered(8 + n))), "1=0.00/0.00");
    }
    assert_eq!(one(Command::PrepareCredit(numbered(1))), "TOO_MANY_OPEN");
    assert_eq!(one(Command::CommitCredit(numbered(8))), "1=60.00/0.00");
    assert_eq!(one(Command::PrepareCredit(numbered(1))), "1=60.00/0.00");
    assert!(ledger.audit().balanced());
}

#[test]
fn transfers_are_chained_in_the_journal_and_statements_have_their_lines() {
    let ledger = Ledger::new();
    let works = [
        "open - 50",
        "open",
        "transfer 1 2 5",
        "begin 1 delhi 5 7",
        "prepare delhi 1 5 2 9",
        "transfer 1 2 900",
        "prepare delhi 1 5 2 9",
        "commit 4",
        "credit delhi 1 5 2 9",
        "hold 2 4",
        "capture 10 3",
    ];
    let proposals = works.map(|text| anonymous(Work::One(command(text)))).to_vec();
    let records = ledger.apply(&batch(1, proposals)).applied;
    let record = |at: Sequence| &records[usize::try_from(at.0).unwrap() - 1];
    let mut chain = Vec::new();
    let mut at = ledger.newest_transfer();
    while at != Sequence::ZERO {
        assert!(record(at).begins_transfer());
        chain.push(at.0);
        at = record(at).previous_transfer;
    }
    assert_eq!(chain, [5, 4, 3]);
    let statement = |account: u64| {
        let account = AccountNumber::new(account).unwrap();
        let mut next = ledger.account(account).unwrap().newest_entry;
        let mut lines = Vec::new();
        while next != Sequence::ZERO {
            let line = record(next).customer_postings().find(|line| line.account == account).unwrap();
            lines.push(format!("{}: {} = {}", next, line.amount, line.balance));
            next = line.previous;
        }
        lines
    };
    assert_eq!(statement(1), ["8: -7.00 = 38.00", "3: -5.00 = 45.00", "1: 50.00 = 50.00"]);
    assert_eq!(statement(2), ["11: -3.00 = 11.00", "9: 9.00 = 14.00", "3: 5.00 = 5.00", "2: 0.00 = 0.00"]);
}
