//! Tests of the list of transfers and of the books, with records that a ledger made.

use super::super::faulty_disk::FaultyDisk;
use super::*;
use crate::ledger::Ledger;
use crate::model::{
    Amount, Batch, Command, HoldId, Money, NewAccount, NewHold, NewTransfer, Proposal, Receipt,
    RemoteAccount, Timestamp, Work,
};

fn account(number: u64) -> AccountNumber {
    AccountNumber::new(number).unwrap()
}

/// Two accounts, and `rounds` of a hold that is captured, one that is released, a transfer inside the branch and one that
/// leaves it: eight commands.
fn history(ledger: &Ledger, rounds: u64) -> Vec<Applied> {
    let amount = Amount::from_minor(1).unwrap();
    let new = NewAccount { deposit: Some(Amount::from_minor(1_000_000).unwrap()), ..NewAccount::default() };
    let mut commands = vec![Command::OpenAccount(Box::new(new)), Command::OpenAccount(Box::default())];
    let hold = || Command::PlaceHold(Box::new(NewHold { account: account(1), amount, lasts: None }));
    let destination = || RemoteAccount { branch: "delhi".parse().unwrap(), account: account(9) };
    for round in 0..rounds {
        let at = |place: u64| Sequence(3 + round * 8 + place);
        let transfer = NewTransfer { source: account(1), destination: destination(), amount };
        commands.extend([
            hold(),
            hold(),
            Command::CaptureHold { hold: HoldId(at(0)), amount: None },
            Command::ReleaseHold { hold: HoldId(at(1)) },
            Command::Transfer { source: account(1), destination: account(2), amount },
            Command::BeginTransfer(Box::new(transfer)),
            Command::CommitTransfer { number: at(5) },
            Command::CloseTransfer { number: at(5), seen: None },
        ]);
    }
    let work = Work::Independent(commands);
    let proposals = vec![Proposal { request: None, work }];
    ledger.apply(&Batch { time: Timestamp::MIN, founding: None, proposals }).applied
}

fn books(records: &[Applied]) -> Result<Books, String> {
    let mut books = Books::default();
    records.iter().try_for_each(|record| books.post(record)).map(|()| books)
}

#[tokio::test]
async fn transfers_are_listed_newest_first_from_memory_and_from_files() {
    let ledger = Ledger::new();
    let records = history(&ledger, 500);
    let begun = records.iter().filter(|record| record.begins_transfer()).map(|record| record.sequence);
    let mut expected: Vec<Sequence> = begun.collect();
    expected.reverse();
    assert_eq!(expected.len(), 1_000);
    let disk = FaultyDisk::new(1);
    let on_disk = Journal::open_with(Arc::new(disk), Sequence::ZERO, Sequence(1), 10, 2).unwrap();
    for journal in [Journal::new(), on_disk] {
        for chunk in records.chunks(300) {
            journal.append(chunk.to_vec());
        }
        journal.flush().await.unwrap();
        let mut found = Vec::new();
        let list = journal.transfers(ledger.newest_transfer(), |record| {
            found.push(record.sequence);
            ControlFlow::Continue(())
        });
        assert_eq!((list, &found), (Ok(()), &expected));
        assert_eq!(journal.record(Sequence(77)), Ok(Some(records[76].clone())));
        assert_eq!(journal.record(Sequence(records.len() as u64 + 1)), Ok(None));
        let mut looked = 0;
        let not_a_transfer = journal.transfers(Sequence(1), |_| {
            looked += 1;
            ControlFlow::Continue(())
        });
        assert_eq!((not_a_transfer, looked), (Ok(()), 0));
    }
}

#[test]
fn the_books_of_a_whole_journal_and_of_its_end_agree_with_the_ledger() {
    let ledger = Ledger::new();
    let records = history(&ledger, 3);
    for skipped in 0..records.len() {
        let books = books(&records[skipped..]).unwrap();
        assert_eq!(books.compare(&ledger, &ledger.audit()), Ok(()), "from record {}", skipped + 1);
    }
}

#[test]
fn a_record_that_is_missing_or_says_something_else_is_found() {
    let ledger = Ledger::new();
    let records = history(&ledger, 2);
    let seen = |records: &[Applied]| books(records)?.compare(&ledger, &ledger.audit());
    assert_eq!(seen(&records), Ok(()));
    for (place, record) in records.iter().enumerate() {
        let mut without = records.clone();
        without.remove(place);
        // What is held and posted shows; that a decided transfer was closed does not change any book.
        let closes = matches!(record.outcome, Ok(Receipt::TransferClosed(_)));
        let opens = place == 0;
        assert_eq!(seen(&without).is_ok(), closes || opens, "without record {}", place + 1);
        let mut forged = records.clone();
        if forge(&mut forged[place]) {
            assert!(seen(&forged).is_err(), "with another record {}", place + 1);
        }
        let mut unlinked = records.clone();
        unlinked[place].previous_transfer = Sequence(1);
        assert_eq!(seen(&unlinked).is_err(), record.begins_transfer(), "record {}", place + 1);
    }
    assert!(seen(&records[..records.len() - 2]).is_err(), "without the end");
}

/// Changes the money in a receipt by a cent.
fn forge(record: &mut Applied) -> bool {
    let more = |money: &mut Money| *money = money.checked_add(Money::from_minor(1).unwrap()).unwrap();
    match &mut record.outcome {
        Ok(
            Receipt::HoldPlaced(change)
            | Receipt::HoldCaptured(change)
            | Receipt::HoldReleased(change)
            | Receipt::HoldExpired(change),
        ) => more(&mut change.balance.held),
        Ok(Receipt::TransferBegun(change) | Receipt::TransferCommitted(change)) => {
            more(&mut change.balance.balance);
        }
        Ok(Receipt::Transferred { source_balance, .. }) => more(source_balance),
        Ok(_) | Err(_) => return false,
    }
    true
}
