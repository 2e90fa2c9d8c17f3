//! What must be true of a whole life when it is over: the history that the replicas agree on, held against what the
//! clients saw, by a model that knows nothing of the ledger's code.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use super::clients::{ACCOUNTS, APART, Act, Became, Event, FIRST, NAMELESS};
use super::search::{Asked, CALLS, Call, Saw, explains};
use crate::model::{AccountNumber, Applied, Command, Outcome, Receipt, Rejection, Sequence};
use crate::replication::ReadPoint;
use crate::store::State;

/// All records of a replica.
pub(super) fn records(state: &State) -> Vec<Applied> {
    let mut records = Vec::new();
    let visited = state.journal.visit(Sequence(1), |record| {
        records.push(record.clone());
        ControlFlow::Continue(())
    });
    assert_eq!(visited, Ok(()));
    records
}

/// The balances of all accounts after every sequence, as the model sees them.
struct Model {
    /// Balances by account, after the sequence that is the place.
    after: Vec<BTreeMap<u64, i64>>,
}

impl Model {
    /// Replays the records.
    fn replay(records: &[Applied]) -> Result<Model, String> {
        let mut after = vec![BTreeMap::new()];
        let (mut executed, mut time) = (BTreeSet::new(), None);
        for (record, sequence) in records.iter().zip(1..) {
            if record.sequence != Sequence(sequence) {
                return Err(format!("record {sequence} is {}", record.sequence));
            }
            if Some(record.time) < time {
                return Err(format!("the time goes back at {sequence}"));
            }
            time = Some(record.time);
            // What has no request id is known by its amount.
            let name = match &record.request {
                Some(request) => format!("{request:?}"),
                None => format!("{:?}", record.command),
            };
            if !executed.insert(name.clone()) {
                return Err(format!("{name} took effect twice, the second time at {sequence}"));
            }
            let mut balances = after.last().cloned().unwrap_or_default();
            step(&mut balances, record).map_err(|what| format!("{what} at {sequence}: {record:?}"))?;
            after.push(balances);
        }
        Ok(Model { after })
    }

    fn at(&self, sequence: Sequence, account: u64) -> Option<i64> {
        self.after.get(usize::try_from(sequence.0).ok()?)?.get(&account).copied()
    }
}

/// Does what a record says, and compares what it says came of it.
fn step(balances: &mut BTreeMap<u64, i64>, record: &Applied) -> Result<(), &'static str> {
    let mut change = |account: &AccountNumber, cents: i64| {
        let balance = balances.get_mut(&account.get()).ok_or("no such account")?;
        *balance += cents;
        Ok::<_, &str>(*balance)
    };
    let expected: Vec<i64> = match (&record.command, &record.outcome) {
        (Command::OpenAccount(new), Ok(Receipt::Opened { account, .. })) => {
            let first = new.deposit.map_or(0, |deposit| deposit.money().minor());
            balances.insert(account.get(), first);
            vec![first]
        }
        (Command::Deposit { account, amount }, Ok(_)) => vec![change(account, amount.money().minor())?],
        (Command::Withdraw { account, amount }, Ok(_)) => vec![change(account, -amount.money().minor())?],
        (Command::Transfer { source, destination, amount }, Ok(_)) => {
            let cents = amount.money().minor();
            vec![change(source, -cents)?, change(destination, cents)?]
        }
        (
            Command::Withdraw { account, amount } | Command::Transfer { source: account, amount, .. },
            Err(Rejection::InsufficientFunds { .. }),
        ) => {
            let poor = balances.get(&account.get()).is_some_and(|held| *held < amount.money().minor());
            return poor.then_some(()).ok_or("refused though there was enough");
        }
        (Command::Transfer { source, destination, .. }, Err(Rejection::SameAccount { .. })) => {
            return (source == destination).then_some(()).ok_or("two accounts are not the same");
        }
        (_, _) => return Err("an outcome that no rule gives"),
    };
    if balances.values().any(|balance| *balance < 0) {
        return Err("a balance below its limit");
    }
    let said = record.outcome.iter().flat_map(|receipt| receipt.balances().into_iter().flatten());
    let said: Vec<i64> = said.map(|(_, balance)| balance.minor()).collect();
    if said == expected { Ok(()) } else { Err("another balance than the rules give") }
}

/// Everything that must be true of a history.
pub(super) fn check(records: &[Applied], events: &[Event]) -> Result<(), String> {
    let model = Model::replay(records)?;
    let last = Sequence(records.len() as u64);
    let total: i64 = (1..=ACCOUNTS).filter_map(|account| model.at(last, account)).sum();
    let paid: i64 = records.iter().filter(|record| record.outcome.is_ok()).map(paid_in).sum();
    if total != paid {
        return Err(format!("{total} cents are held and {paid} were paid in"));
    }
    for event in events {
        seen(&model, records, event)?;
    }
    real_time(events)?;
    for account in 1..=APART {
        let calls = first_calls(events.iter().filter_map(|event| call(event, account)).collect());
        if !explains(&calls, FIRST) {
            return Err(format!("no order explains what was seen of account {account}: {calls:?}"));
        }
    }
    Ok(())
}

fn paid_in(record: &Applied) -> i64 {
    match &record.command {
        Command::OpenAccount(new) => new.deposit.map_or(0, |deposit| deposit.money().minor()),
        Command::Deposit { amount, .. } => amount.money().minor(),
        Command::Withdraw { amount, .. } => -amount.money().minor(),
        Command::Transfer { .. } => 0,
        Command::AddInterest { .. }
        | Command::SetAccountState { .. }
        | Command::PlaceHold(_)
        | Command::CaptureHold { .. }
        | Command::ReleaseHold { .. }
        | Command::ExpireHold { .. }
        | Command::BeginTransfer(_)
        | Command::CommitTransfer { .. }
        | Command::AbortTransfer { .. }
        | Command::CloseTransfer { .. }
        | Command::PrepareCredit(_)
        | Command::CommitCredit(_)
        | Command::AbortCredit(_) => unreachable!("no client asks for it"),
    }
}

/// One event held against the history.
fn seen(model: &Model, records: &[Applied], event: &Event) -> Result<(), String> {
    match &event.act {
        Act::Write { request, command, became: Became::Done { last, outcome } } => {
            let record = usize::try_from(last.0 - 1).ok().and_then(|place| records.get(place));
            let same = |record: &&Applied| {
                record.request == *request && record.command == *command && record.outcome == *outcome
            };
            if record.filter(same).is_none() {
                return Err(format!("{event:?} was acknowledged, and at its place is {record:?}"));
            }
            if *last <= event.floor {
                return Err(format!("{event:?} comes before what its client had seen"));
            }
        }
        Act::Write { request, command, became: Became::Refused } => {
            let happened = |record: &&Applied| match request {
                Some(_) => record.request == *request,
                None => record.request.is_none() && record.command == *command,
            };
            if let Some(record) = records.iter().find(happened) {
                return Err(format!("{event:?} was refused, and happened at {}", record.sequence));
            }
        }
        Act::Write { became: Became::Unknown, .. } => {}
        Act::Read { at, account, cents, sequence } => {
            if model.at(*sequence, *account) != Some(*cents) {
                let held = model.at(*sequence, *account);
                return Err(format!("{event:?} saw another balance than {held:?}"));
            }
            if *at != ReadPoint::Local && *sequence < event.floor {
                return Err(format!("{event:?} saw less than its client had seen"));
            }
        }
    }
    Ok(())
}

/// The order of the sequences agrees with real time.
fn real_time(events: &[Event]) -> Result<(), String> {
    let reached = |event: &Event| match &event.act {
        Act::Write { became: Became::Done { last, .. }, .. } => Some((*last, true)),
        Act::Read { at: ReadPoint::Latest, sequence, .. } => Some((*sequence, false)),
        Act::Write { .. } | Act::Read { .. } => None,
    };
    let mut ended: Vec<(u64, Sequence)> =
        events.iter().filter_map(|event| Some((event.ended, reached(event)?.0))).collect();
    ended.sort_unstable();
    let mut begun: Vec<&Event> = events.iter().collect();
    begun.sort_by_key(|event| event.begun);
    let (mut ended, mut most) = (ended.into_iter().peekable(), Sequence::ZERO);
    for event in begun {
        while let Some((_, sequence)) = ended.next_if(|(at, _)| *at < event.begun) {
            most = most.max(sequence);
        }
        let Some((sequence, writes)) = reached(event) else { continue };
        if sequence < most || (writes && sequence == most) {
            return Err(format!("{event:?} came after {most} was known"));
        }
    }
    Ok(())
}

/// The calls that began first, no more than the search takes. One that had not ended when the first of the others began
/// may have seen it, so that nothing is said of its answer.
fn first_calls(mut calls: Vec<Call>) -> Vec<Call> {
    calls.sort_by_key(|call| call.begun);
    let Some(end) = calls.get(CALLS).map(|call| call.begun) else { return calls };
    calls.truncate(CALLS);
    calls.retain(|call| call.ended < end || call.asked != Asked::Read);
    for call in calls.iter_mut().filter(|call| call.ended >= end) {
        *call = Call { ended: u64::MAX, saw: Saw::Nothing, ..*call };
    }
    calls
}

/// What the search is told of an event.
fn call(event: &Event, wanted: u64) -> Option<Call> {
    let (asked, saw) = match &event.act {
        Act::Read { at: ReadPoint::Latest, account, cents, .. } if *account == wanted => {
            (Asked::Read, Saw::Balance(*cents))
        }
        Act::Write { became: Became::Refused, .. } | Act::Read { .. } => return None,
        Act::Write { command, became, .. } => {
            let (account, asked) = match command {
                Command::Deposit { account, amount } => (account, Asked::Deposit(amount.money().minor())),
                Command::Withdraw { account, amount } => (account, Asked::Withdraw(amount.money().minor())),
                Command::OpenAccount(_)
                | Command::Transfer { .. }
                | Command::AddInterest { .. }
                | Command::SetAccountState { .. }
                | Command::PlaceHold(_)
                | Command::CaptureHold { .. }
                | Command::ReleaseHold { .. }
                | Command::ExpireHold { .. }
                | Command::BeginTransfer(_)
                | Command::CommitTransfer { .. }
                | Command::AbortTransfer { .. }
                | Command::CloseTransfer { .. }
                | Command::PrepareCredit(_)
                | Command::CommitCredit(_)
                | Command::AbortCredit(_) => return None,
            };
            let outcome: Option<&Outcome> = match became {
                Became::Done { outcome, .. } => Some(outcome),
                Became::Refused | Became::Unknown => None,
            };
            let saw = match outcome {
                Some(Ok(receipt)) => {
                    receipt.balances()[0].map_or(Saw::Nothing, |(_, balance)| Saw::Balance(balance.minor()))
                }
                Some(Err(_)) => Saw::Poor,
                None => Saw::Nothing,
            };
            if account.get() != wanted {
                return None;
            }
            (asked, saw)
        }
    };
    let ended = if saw == Saw::Nothing { u64::MAX } else { event.ended };
    Some(Call { begun: event.begun, ended, asked, saw })
}

const _: () = assert!(NAMELESS > FIRST, "the amounts of nameless deposits are told apart");
