//! The strict checker of traces: Lamport's rules on the three files alone, line by line.
//!
//! It stands on nothing of the run, so it judges anybody's trace. The messages of a request are taken from the
//! third file; that this is the union of the other two is a rule of its own.
//!
//! Architecture invariant: pure. The programs call it, and the diagram, which draws only sound traces.

mod requests;
mod verdict;

use std::collections::{BTreeMap, BTreeSet};

use super::report::{BRANCH_OUTPUTS, CUSTOMER_OUTPUTS, EVENT_OUTPUTS};
use super::trace::{Place, Recorded, Row, TraceFiles, Who};

pub use verdict::{Counts, FINDINGS, Finding, Rule, Verdict};

/// Judges a trace.
#[must_use]
pub fn check(files: TraceFiles<'_>) -> Verdict {
    judge(&Recorded::read(files))
}

/// Judges a trace that is read already.
pub(super) fn judge(recorded: &Recorded) -> Verdict {
    let mut verdict = Verdict::default();
    for flaw in &recorded.flaws {
        verdict.add(Rule::Form, flaw.place, flaw.message.clone());
    }
    customer_clocks(recorded, &mut verdict);
    branch_clocks(recorded, &mut verdict);
    union(recorded, &mut verdict);
    let tally = requests::check(recorded, &mut verdict);
    totals(recorded, tally.as_ref(), &mut verdict);
    verdict.counts.customers = processes(recorded.customers.iter().map(|process| process.who));
    verdict.counts.branches = recorded.branches.len();
    verdict
}

fn processes(all: impl Iterator<Item = Who>) -> usize {
    all.collect::<BTreeSet<_>>().len()
}

/// A customer's requests are 1, 2, 3, ..., over all its objects, because replies do not tick.
fn customer_clocks(recorded: &Recorded, verdict: &mut Verdict) {
    let mut clocks: BTreeMap<Who, u64> = BTreeMap::new();
    for customer in &recorded.customers {
        let clock = clocks.entry(customer.who).or_default();
        for (place, row) in &customer.rows {
            *clock += 1;
            if row.clock != *clock {
                let message = format!(
                    "{} sends with clock {}; its requests have the clocks 1, 2, 3, ... and this one has {clock}",
                    customer.who, row.clock
                );
                verdict.add(Rule::CustomerClocks, *place, message);
                *clock = row.clock;
            }
        }
    }
}

/// Every branch is there once, and its clocks increase strictly in the order of the list.
fn branch_clocks(recorded: &Recorded, verdict: &mut Verdict) {
    let mut known = BTreeSet::new();
    for branch in &recorded.branches {
        if !known.insert(branch.who) {
            verdict.add(Rule::Form, branch.place, format!("{} is there twice", branch.who));
        }
        let mut before = 0;
        for (place, row) in &branch.rows {
            if row.clock <= before {
                let message =
                    format!("{} has clock {} after clock {before}; clocks increase", branch.who, row.clock);
                verdict.add(Rule::BranchClocks, *place, message);
            }
            before = row.clock;
        }
    }
}

/// The third file has the rows of the other two, each once, with the same clocks.
fn union(recorded: &Recorded, verdict: &mut Verdict) {
    let processes = recorded.customers.iter().chain(&recorded.branches);
    let mut parts: Vec<&(Place, Row)> = processes.flat_map(|process| &process.rows).collect();
    let mut whole: Vec<&(Place, Row)> = recorded.events.iter().collect();
    parts.sort_by_key(|(_, row)| row.key());
    whole.sort_by_key(|(_, row)| row.key());
    let (mut parts, mut whole) = (parts.into_iter().peekable(), whole.into_iter().peekable());
    loop {
        let (part, event) = (parts.peek(), whole.peek());
        let (lonely, other) = match (part, event) {
            (None, None) => return,
            (Some(part), Some(event)) if part.1.key() == event.1.key() => {
                parts.next();
                whole.next();
                continue;
            }
            (Some(part), Some(event)) if part.1.key() < event.1.key() => (parts.next(), EVENT_OUTPUTS),
            (Some(_), None) => (parts.next(), EVENT_OUTPUTS),
            (None | Some(_), Some(event)) => {
                let other = match event.1.who {
                    Who::Customer(_) => CUSTOMER_OUTPUTS,
                    Who::Branch(_) => BRANCH_OUTPUTS,
                };
                (whole.next(), other)
            }
        };
        if let Some((place, row)) = lonely {
            let message = format!(
                "this row of {} at clock {} is not in {other} with the same content",
                row.who, row.clock
            );
            verdict.add(Rule::Union, *place, message);
        }
    }
}

/// With n branches, R propagated and F other requests: R + F, R (2n - 1) + F and 2nR + 2F rows.
fn totals(recorded: &Recorded, tally: Option<&requests::Tally>, verdict: &mut Verdict) {
    let rows = |processes: &[super::trace::ProcessRows]| {
        processes.iter().map(|process| process.rows.len()).sum::<usize>()
    };
    let found = [rows(&recorded.customers), rows(&recorded.branches), recorded.events.len()];
    verdict.counts.rows = found;
    let Some(requests::Tally { propagated, others }) = tally else {
        // Each is sent by its customer once.
        verdict.counts.requests = found[0];
        return;
    };
    let branches = recorded.branches.len();
    let to_others = branches.saturating_mul(2).saturating_sub(1);
    let part_two = propagated.saturating_mul(to_others).saturating_add(*others);
    let wanted = [propagated + others, part_two, part_two + propagated + others];
    let files = [CUSTOMER_OUTPUTS, BRANCH_OUTPUTS, EVENT_OUTPUTS];
    for (file, (found, wanted)) in files.into_iter().zip(found.into_iter().zip(wanted)) {
        if found != wanted {
            let message = format!(
                "{found} rows; {branches} branches, {propagated} propagated and {others} other requests make {wanted}"
            );
            verdict.add(Rule::Totals, Place::file(file), message);
        }
    }
    verdict.counts.requests = propagated + others;
}
