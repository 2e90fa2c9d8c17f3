//! The journal of a branch, replayed by a model that knows nothing of the ledger's code, and what customers were told
//! held against it.

use std::collections::{BTreeMap, BTreeSet};

use super::customers::{End, History, Shown, Write};
use crate::ledger::tests::naive::Naive;
use crate::ledger::tests::show;
use crate::model::{Applied, Reason, RequestId, Sequence, Work};

/// All accounts, as the model shows them, after every sequence.
type States = Vec<Vec<String>>;

/// Holds the journal of a branch against the rules and against what customers were told.
pub(super) fn check(branch: usize, records: &[Applied], history: &History) -> Result<(), String> {
    let writes = history.writes.lock();
    let mine: Vec<&Write> = writes.iter().filter(|write| write.branch == branch).collect();
    let shapes = mine.iter().map(|write| (write.id.parse::<RequestId>().unwrap(), write.ask.records()));
    let states = replay(records, &shapes.collect())?;
    let mut places = BTreeMap::<&RequestId, Vec<&Applied>>::new();
    for record in records {
        if let Some(request) = &record.request {
            places.entry(request).or_default().push(record);
        }
    }
    for write in mine {
        let records = places.get(&write.id.parse::<RequestId>().unwrap()).map_or(&[][..], Vec::as_slice);
        ended(write, records).map_err(|what| format!("{write:?} {what}: {records:?}"))?;
    }
    let of_branch = |shown: &&Shown| shown.branch == branch;
    for shown in history.shown.lock().iter().filter(of_branch) {
        agrees(&states, shown)?;
    }
    for entry in history.entries.lock().iter().filter(of_branch) {
        agrees(&states, entry)?;
    }
    Ok(())
}

/// Replays the records; `shapes` says of a request how many it made, and whether all or nothing.
fn replay(records: &[Applied], shapes: &BTreeMap<RequestId, (usize, bool)>) -> Result<States, String> {
    let (mut model, mut states, mut executed) = (Naive::default(), vec![Vec::new()], BTreeSet::new());
    let (mut rest, mut time) = (records, None);
    while let Some(first) = rest.first() {
        let (count, atomic) =
            first.request.as_ref().and_then(|id| shapes.get(id)).copied().unwrap_or((1, false));
        let (done, later) = rest.split_at_checked(count).ok_or("the journal ends in a batch")?;
        rest = later;
        if done.iter().any(|record| record.request != first.request || record.time != first.time) {
            return Err(format!("a batch is not together: {done:?}"));
        }
        if first.request.as_ref().is_some_and(|id| !executed.insert(id.clone())) {
            return Err(format!("a request took effect twice: {first:?}"));
        }
        if Some(first.time) < time {
            return Err(format!("the time goes back at {}", first.sequence));
        }
        time = Some(first.time);
        let commands: Vec<_> = done.iter().map(|record| record.command.clone()).collect();
        let work = if atomic { Work::Atomic(commands) } else { Work::Independent(commands) };
        let expected = model.propose(None, &work, first.time.micros());
        let outcomes: Vec<String> = done.iter().map(|record| show(&record.outcome)).collect();
        // How long it is known how a hold ended is a limit, not a rule.
        let plain = |text: &str| text.replace("HOLD_NOT_FOUND", "HOLD_FINAL");
        if plain(&outcomes.join("; ")) != plain(&expected) {
            return Err(format!("the model says {expected}, the ledger {outcomes:?}: {done:?}"));
        }
        // Inside a batch nobody reads.
        states.extend((1..count).map(|_| Vec::new()));
        states.push(model.accounts());
    }
    Ok(states)
}

/// Whether a write ended as its customer was told.
fn ended(write: &Write, records: &[&Applied]) -> Result<(), &'static str> {
    match &write.end {
        End::Done(answer) => {
            let (first, last) = (records.first().ok_or("is not there")?, records[records.len() - 1]);
            let place = if write.ask.goes_on() { first.sequence } else { last.sequence };
            if place != answer.sequence && !write.ask.goes_on() {
                return Err("was told another place");
            }
            let single = write.ask.records() == (1, false) && write.ask.kind() != "batch";
            if single && first.outcome.is_err() { Err("was refused") } else { Ok(()) }
        }
        End::Refused(Reason::AccountNotFound) if records.is_empty() => Ok(()),
        End::Refused(reason) => {
            let refused = records.first().ok_or("is not there, and the ledger is said to have refused it")?;
            if show(&refused.outcome) == reason.as_str() { Ok(()) } else { Err("has another outcome") }
        }
        End::Nothing if !records.is_empty() => Err("happened though it was said not to have"),
        End::Nothing | End::Unknown => Ok(()),
    }
}

/// Whether an account was shown as it was.
fn agrees(states: &States, shown: &Shown) -> Result<(), String> {
    let Shown { sequence: Sequence(sequence), account, .. } = shown;
    let state = usize::try_from(*sequence).ok().and_then(|place| states.get(place));
    let state = state.ok_or_else(|| format!("{shown:?} is of no sequence"))?;
    // A statement shows entries inside of batches, where the model tells nothing.
    if state.is_empty() || state.iter().any(|known| known.starts_with(account.trim_end())) {
        return Ok(());
    }
    Err(format!("{shown:?} was shown, and it was {state:?}"))
}
