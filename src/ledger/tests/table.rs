//! One line is one event and what becomes of it.

use super::*;

/// A time at which the request ids below are neither old nor new.
pub(super) const NOW: u64 = 0x019a_9d3c_7b00 * 1_000;

/// Runs the lines of a table on one ledger: `[ID:] COMMAND[; COMMAND...] -> OUTCOME[; OUTCOME...]`. Several
/// commands are independent, or atomic after `all:`.
pub(super) fn check(table: &str) -> Ledger {
    let ledger = Ledger::new();
    let mut time = NOW;
    for line in table.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (event, expected) = line.split_once(" -> ").unwrap();
        let (request, event) = match event.split_once(": ") {
            Some((request, event)) if request != "all" => (Some(request.parse().unwrap()), event),
            _ => (None, event),
        };
        let work = match event.strip_prefix("all: ") {
            Some(commands) => Work::Atomic(commands.split("; ").map(command).collect()),
            None if event.contains("; ") => Work::Independent(event.split("; ").map(command).collect()),
            None => Work::One(command(event)),
        };
        time += 1;
        let proposal = Proposal { request, work };
        let preview = ledger.preview(&proposal);
        let done = ledger.apply(&batch(time, vec![proposal]));
        assert_eq!(show_all(&done.replies[0]), expected, "{line}");
        let reply = &done.replies[0];
        // Only the clock of the batch tells an id from the future, and a preview has no batch.
        if !matches!(reply.outcomes, Outcomes::One(Err(Rejection::RequestFromFuture { .. }))) {
            assert_eq!(preview.outcomes, reply.outcomes, "preview of {line}");
        }
        assert_eq!(preview.replayed, reply.replayed, "preview of {line}");
        for record in &done.applied {
            let sum = record.postings().into_iter().map(|posting| posting.amount.minor()).sum::<i64>();
            assert_eq!(sum, 0, "postings of {line}");
        }
        assert!(ledger.audit().balanced(), "books after {line}");
    }
    ledger
}

#[test]
fn accounts_are_numbered_from_one_and_skip_requested_numbers() {
    check(
        "open -> 1=0.00
         open -> 2=0.00
         open 4 10 -> 4=10.00
         open 4 -> ACCOUNT_EXISTS
         open 1 5 -> ACCOUNT_EXISTS
         open - 2.50 -> 3=2.50
         open -> 5=0.00
         open 7; open; open; open -> 7=0.00; 6=0.00; 8=0.00; 9=0.00
         open 999999999999 -> 999999999999=0.00
         open -> 10=0.00",
    );
}

#[test]
fn money_goes_in_and_out() {
    check(
        "open - 100 -> 1=100.00
         deposit 1 0.01 -> 1=100.01
         withdraw 1 100.01 -> 1=0.00
         withdraw 1 0.01 -> INSUFFICIENT_FUNDS
         deposit 2 1 -> ACCOUNT_NOT_FOUND
         withdraw 2 1 -> ACCOUNT_NOT_FOUND
         interest 2 1 -> ACCOUNT_NOT_FOUND
         deposit 1 999999999999.99 -> 1=999999999999.99
         deposit 1 0.01 -> AMOUNT_OVERFLOW
         interest 1 100 -> AMOUNT_OVERFLOW
         withdraw 1 999999999999.99 -> 1=0.00",
    );
}

#[test]
fn an_overdraft_limit_can_be_used_to_the_cent() {
    check(
        "open - - 50 -> 1=0.00
         withdraw 1 50.01 -> INSUFFICIENT_FUNDS
         withdraw 1 50 -> 1=-50.00
         withdraw 1 0.01 -> INSUFFICIENT_FUNDS
         interest 1 10 -> 1=-50.00
         deposit 1 60 -> 1=10.00
         open - 1 999999999999.99 -> 2=1.00
         withdraw 2 999999999999.99 -> 2=-999999999998.99
         withdraw 2 1 -> 2=-999999999999.99
         withdraw 2 1 -> INSUFFICIENT_FUNDS",
    );
}

#[test]
fn interest_is_rounded_half_to_even_and_comes_from_the_bank() {
    let ledger = check(
        "open - 100.50 -> 1=100.50
         interest 1 5 -> 1=105.52
         open -> 2=0.00
         interest 2 100 -> 2=0.00",
    );
    assert_eq!(ledger.audit().interest.minor(), -502);
}

#[test]
fn transfers_move_money_between_two_accounts() {
    check(
        "open - 100 -> 1=100.00
         open -> 2=0.00
         transfer 1 2 40 -> 1=60.00 2=40.00
         transfer 1 2 60.01 -> INSUFFICIENT_FUNDS
         transfer 1 1 1 -> SAME_ACCOUNT
         transfer 9 9 1 -> SAME_ACCOUNT
         transfer 1 9 1 -> ACCOUNT_NOT_FOUND
         transfer 9 1 1 -> ACCOUNT_NOT_FOUND
         open - 999999999999.99 -> 3=999999999999.99
         transfer 1 3 1 -> AMOUNT_OVERFLOW
         transfer 1 2 60 -> 1=0.00 2=100.00",
    );
}

#[test]
fn atomic_work_takes_effect_completely_or_not_at_all() {
    check(
        "open - 10 -> 1=10.00
         all: deposit 1 5; withdraw 1 15 -> 1=15.00; 1=0.00
         all: deposit 1 5; withdraw 1 6; deposit 1 1 -> BATCH_ABORTED; INSUFFICIENT_FUNDS; BATCH_ABORTED
         withdraw 1 0.01 -> INSUFFICIENT_FUNDS
         all: open - 3; open 3; deposit 2 1; transfer 2 3 4 -> 2=3.00; 3=0.00; 2=4.00; 2=0.00 3=4.00
         all: open; open 5; open; deposit 9 1 -> BATCH_ABORTED; BATCH_ABORTED; BATCH_ABORTED; ACCOUNT_NOT_FOUND
         open -> 4=0.00
         all: open - - 5; withdraw 5 5 -> 5=0.00; 5=-5.00",
    );
}

#[test]
fn independent_work_goes_on_after_a_rejection() {
    check("open; withdraw 1 1; deposit 1 2; withdraw 1 1 -> 1=0.00; INSUFFICIENT_FUNDS; 1=2.00; 1=1.00");
}

#[test]
fn a_request_id_has_one_effect() {
    check(
        "a: open - 10 -> 1=10.00
         a: open - 10 -> 1=10.00
         a: open - 11 -> REQUEST_REUSED
         b: withdraw 1 20 -> INSUFFICIENT_FUNDS
         deposit 1 90 -> 1=100.00
         b: withdraw 1 20 -> INSUFFICIENT_FUNDS
         c: withdraw 1 20; withdraw 1 90 -> 1=80.00; INSUFFICIENT_FUNDS
         c: withdraw 1 20; withdraw 1 90 -> 1=80.00; INSUFFICIENT_FUNDS
         c: all: withdraw 1 20; withdraw 1 90 -> REQUEST_REUSED
         c: withdraw 1 20 -> REQUEST_REUSED
         019a9d3c-7b00-7abc-8def-0123456789ab: deposit 1 1 -> 1=81.00
         019A9D3C-7B00-7ABC-8DEF-0123456789AB: deposit 1 1 -> 1=81.00
         fff00000-0000-7abc-8def-0123456789ab: deposit 1 1 -> REQUEST_ID_INVALID
         deposit 1 1 -> 1=82.00",
    );
}

#[test]
fn a_request_forgotten_is_refused_and_has_no_effect() {
    let ledger = check("open -> 1=0.00");
    let id = |millis: u64, tail: usize| {
        let id = format!("{:08x}-{:04x}-7000-8000-{tail:012x}", millis >> 16, millis & 0xffff);
        id.parse::<RequestId>().unwrap()
    };
    let deposit = |request| Proposal { request: Some(request), work: Work::One(command("deposit 1 1")) };
    let now = NOW / 1_000;
    let many: Vec<Proposal> = (0..requests::TIMED_OUTCOMES).map(|n| deposit(id(now + 1, n))).collect();
    ledger.apply(&batch(NOW + 1_000_000, vec![deposit(id(now, 0))]));
    for chunk in many.chunks(8_192) {
        ledger.apply(&batch(NOW + 1_000_000, chunk.to_vec()));
    }
    let before = ledger.position();
    let done = ledger.apply(&batch(NOW + 2_000_000, vec![deposit(id(now, 0))]));
    assert_eq!(show_all(&done.replies[0]), "REQUEST_EXPIRED");
    assert!(done.applied.is_empty());
    assert_eq!((ledger.sequence(), ledger.position().digest), (before.sequence, before.digest));
    assert_eq!(ledger.operation(&id(now, 0)), Operation::Forgotten);
}

#[test]
fn the_first_founding_counts_and_time_never_goes_back() {
    let ledger = Ledger::new();
    assert_eq!(ledger.id(), None);
    ledger.apply(&batch(50, vec![]));
    let founded = ledger.position();
    let mut second = batch(20, vec![anonymous(Work::One(command("open")))]);
    second.founding = Some(LedgerId([8; 16]));
    let done = ledger.apply(&second);
    assert_eq!(founded.sequence, Sequence::ZERO);
    assert_eq!(ledger.id(), Some(LedgerId([7; 16])));
    assert_eq!(done.applied[0].time, Timestamp::from_micros(51));
}

#[test]
fn statements_are_chained_by_account() {
    let ledger = Ledger::new();
    let works = ["open - 5", "open", "transfer 1 2 2", "interest 2 0.0001", "deposit 1 9", "transfer 2 1 1"];
    let proposals = works.map(|text| anonymous(Work::One(command(text)))).to_vec();
    let records = ledger.apply(&batch(1, proposals)).applied;
    let statement = |account: u64| {
        let account = AccountNumber::new(account).unwrap();
        let mut next = ledger.account(account).unwrap().newest_entry;
        let mut lines = Vec::new();
        while next != Sequence::ZERO {
            let record = &records[usize::try_from(next.0).unwrap() - 1];
            let line = record.customer_postings().find(|line| line.account == account).unwrap();
            lines.push(format!("{}: {} = {}", next, line.amount, line.balance));
            next = line.previous;
        }
        lines
    };
    assert_eq!(statement(1), ["6: 1.00 = 13.00", "5: 9.00 = 12.00", "3: -2.00 = 3.00", "1: 5.00 = 5.00"]);
    assert_eq!(statement(2), ["6: -1.00 = 1.00", "3: 2.00 = 2.00", "2: 0.00 = 0.00"]);
}

/// The tables above as text, to see that every rejection has a line.
#[test]
fn every_rejection_has_a_line() {
    let tables = [include_str!("table.rs"), include_str!("promises.rs")].concat();
    let somewhere = AccountNumber::FIRST;
    let every = [
        Rejection::AccountNotFound { account: somewhere },
        Rejection::AccountExists { account: somewhere },
        Rejection::InsufficientFunds { account: somewhere, available: Money::ZERO, needed: Money::ZERO },
        Rejection::AmountOverflow { account: somewhere },
        Rejection::SameAccount { account: somewhere },
        Rejection::AccountFrozen { account: somewhere },
        Rejection::AccountClosed { account: somewhere },
        Rejection::BalanceNotZero { account: somewhere, balance: Money::ZERO },
        Rejection::AccountInUse { account: somewhere },
        Rejection::HoldNotFound { hold: HoldId(Sequence(1)) },
        Rejection::HoldFinal { hold: HoldId(Sequence(1)), end: HoldEnd::Expired },
        Rejection::HoldTooSmall { hold: HoldId(Sequence(1)), reserved: Money::ZERO, needed: Money::ZERO },
        Rejection::HoldNotOver { hold: HoldId(Sequence(1)) },
        Rejection::TransferNotFound { number: Sequence(1) },
        Rejection::TransferFinal { number: Sequence(1), committed: true },
        Rejection::TransferPending { number: Sequence(1) },
        Rejection::TransferStale { number: Sequence(1), settled_below: Sequence(2) },
        Rejection::TransferMismatch { number: Sequence(1) },
        Rejection::TooManyOpen { limit: 1 },
        Rejection::BatchAborted { failed: 0 },
        Rejection::RequestReused,
        Rejection::RequestExpired { forgotten: Timestamp::MIN },
        Rejection::RequestFromFuture { made: Timestamp::MIN, now: Timestamp::MIN },
    ];
    for rejection in &every {
        // A new variant does not compile here until it is in the list above, too.
        match rejection {
            Rejection::AccountNotFound { .. }
            | Rejection::AccountExists { .. }
            | Rejection::InsufficientFunds { .. }
            | Rejection::AmountOverflow { .. }
            | Rejection::SameAccount { .. }
            | Rejection::BatchAborted { .. }
            | Rejection::AccountFrozen { .. }
            | Rejection::AccountClosed { .. }
            | Rejection::BalanceNotZero { .. }
            | Rejection::AccountInUse { .. }
            | Rejection::HoldNotFound { .. }
            | Rejection::HoldFinal { .. }
            | Rejection::HoldTooSmall { .. }
            | Rejection::HoldNotOver { .. }
            | Rejection::TransferNotFound { .. }
            | Rejection::TransferFinal { .. }
            | Rejection::TransferPending { .. }
            | Rejection::TransferStale { .. }
            | Rejection::TransferMismatch { .. }
            | Rejection::TooManyOpen { .. }
            | Rejection::RequestReused
            | Rejection::RequestExpired { .. }
            | Rejection::RequestFromFuture { .. } => {}
        }
        let reason = Failure::from(rejection).reason.as_str();
        assert!(
            tables.contains(&format!("-> {reason}")) || tables.contains(&format!("\"{reason}\"")),
            "{reason}"
        );
    }
}
