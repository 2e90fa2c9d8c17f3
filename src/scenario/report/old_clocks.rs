//! The one file of P2old: per branch and per event, with steps that the newer form does not have.
//!
//! The older form names the execution of a request and the responses between branches, which are no messages
//! that the replicas record. So the recorded trace gives the order in which everything happened, each of its
//! rows becomes the older steps, and Lamport's rules count those. A customer's next request comes after the response to
//! the one before, because the runner waits for the other branches after each write of this form.
//!
//! Invariant: clocks increase strictly at each branch; each step is later than what caused it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::fmt;

use super::{Id, Quoted, RequestIndex, Run, array};
use crate::scenario::played::{Answer, Process, TraceKind, TraceRow};

/// A step of the older form.
struct OldStep {
    branch: u32,
    request: RequestIndex,
    name: &'static str,
    clock: u64,
}

/// What is known of a request while its rows are walked.
#[derive(Default)]
struct Progress {
    /// The customer's clock when it sent the request.
    sent: u64,
    /// The clock when the first branch had executed it.
    executed: u64,
    /// Branches that have not received it yet.
    waiting: usize,
}

/// The steps so far, and the clock of each branch.
#[derive(Default)]
struct Steps {
    list: Vec<OldStep>,
    clocks: BTreeMap<u32, u64>,
}

impl Steps {
    /// Adds a step of a branch that something at this clock caused, and returns its own clock.
    fn add(&mut self, branch: u32, request: RequestIndex, name: &'static str, cause: u64) -> u64 {
        let clock = self.clocks.entry(branch).or_default();
        *clock = cause.max(*clock) + 1;
        self.list.push(OldStep { branch, request, name, clock: *clock });
        *clock
    }
}

impl Run<'_> {
    pub(super) fn old_clocks(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut steps = self.old_steps();
        let (mut by_branch, mut by_request) = (BTreeMap::new(), BTreeMap::new());
        steps.sort_by_key(|step| step.clock);
        for step in &steps {
            by_branch.entry(step.branch).or_insert_with(Vec::new).push(step);
            by_request.entry(step.request).or_insert_with(Vec::new).push(step);
        }
        let branches = (0..).zip(&self.plan.branches).map(|(at, id)| (Some(id), at, None));
        let requests = by_request.iter().map(|(request, steps)| (None, 0, Some((request, steps))));
        array(f, "\n", branches.chain(requests), |f, (pid, at, request)| {
            if let Some((request, steps)) = request {
                write!(f, "{{\"eventid\":{},\"data\":", self.event_id(*request))?;
                array(f, "\n ", steps.iter(), |f, step| {
                    write!(f, "{{\"clock\":{},\"name\":{}}}", step.clock, Quoted(&self.old_name(step)))
                })?;
            } else {
                write!(f, "{{\"pid\":{},\"data\":", Id(pid.copied()))?;
                let steps = by_branch.get(&at).map(Vec::as_slice).unwrap_or_default();
                array(f, "\n ", steps.iter(), |f, step| {
                    let (id, name) = (self.event_id(step.request), self.old_name(step));
                    write!(f, "{{\"id\":{id},\"name\":{},\"clock\":{}}}", Quoted(&name), step.clock)
                })?;
            }
            f.write_str("}")
        })?;
        f.write_str("\n")
    }

    fn event_id(&self, request: RequestIndex) -> Id {
        Id(self.plan.event(request).and_then(|event| event.id))
    }

    fn old_name(&self, step: &OldStep) -> String {
        let word = self.plan.event(step.request).map_or("", |event| event.interface.name());
        let name = step.name.replace("propagate", self.spelling.word());
        format!("{word}_{name}")
    }

    fn old_steps(&self) -> Vec<OldStep> {
        let rows = in_causal_order(&self.rows(), |request| self.customer(request));
        let mut progress: BTreeMap<RequestIndex, Progress> = BTreeMap::new();
        for row in &rows {
            let known = progress.entry(row.request).or_default();
            match (row.process, row.kind) {
                (Process::Customer(_), TraceKind::Sent(_)) => known.sent = row.clock,
                (Process::Branch(_), TraceKind::Received(Process::Branch(_))) => known.waiting += 1,
                (Process::Customer(_), TraceKind::Received(_))
                | (Process::Branch(_), TraceKind::Sent(_) | TraceKind::Received(Process::Customer(_))) => {}
            }
        }
        let (mut steps, mut responses) = (Steps::default(), BTreeMap::new());
        for row in rows {
            let request = row.request;
            let is_query = self.plan.event(request).is_none_or(|event| event.interface.is_query());
            let Some(known) = progress.get_mut(&request).filter(|_| !is_query) else { continue };
            let response = responses.entry(self.customer(request)).or_default();
            match (row.process, row.kind) {
                (Process::Branch(home), TraceKind::Received(Process::Customer(_))) => {
                    steps.add(home, request, "request", known.sent.max(*response));
                    if !matches!(self.played.answer(request), Answer::Fail { .. }) {
                        known.executed = steps.add(home, request, "execute", 0);
                    }
                    if known.waiting == 0 {
                        *response = steps.add(home, request, "response", 0);
                    }
                }
                (Process::Branch(branch), TraceKind::Received(Process::Branch(home))) => {
                    steps.add(branch, request, "propagate_request", known.executed);
                    let executed = steps.add(branch, request, "propagate_execute", 0);
                    steps.add(home, request, "propagate_response", executed);
                    known.waiting -= 1;
                    if known.waiting == 0 {
                        *response = steps.add(home, request, "response", 0);
                    }
                }
                (Process::Customer(_), TraceKind::Sent(_) | TraceKind::Received(_))
                | (Process::Branch(_), TraceKind::Sent(_)) => {}
            }
        }
        steps.list
    }

    fn customer(&self, request: RequestIndex) -> Option<u64> {
        self.plan.entries.get(request.entry as usize).map(|entry| entry.customer)
    }
}

/// A row that waits for others.
#[derive(Default)]
struct Waiting {
    /// Rows before it at its own process, and the row that it receives: never a circle, because clocks increase.
    causes: usize,
    /// Rows of the customer's request before.
    earlier: usize,
    /// Rows that it causes, and rows of the customer's next request.
    effects: Vec<usize>,
    later: Vec<usize>,
}

/// Rows, which are in Lamport's order, so that each stands after its causes and, as far as possible, after all rows of
/// the same customer's request before.
fn in_causal_order<'r>(
    rows: &[&'r TraceRow],
    customer: impl Fn(RequestIndex) -> Option<u64>,
) -> Vec<&'r TraceRow> {
    let mut waiting = waiting(rows, customer);
    // In Lamport's order among those that wait for nothing, and among those that wait for earlier requests alone.
    let (mut free, mut held) = (BinaryHeap::new(), BTreeSet::new());
    for (place, row) in waiting.iter().enumerate().filter(|(_, row)| row.causes == 0) {
        if row.earlier == 0 {
            free.push(Reverse(place));
        } else {
            held.insert(place);
        }
    }
    let mut ordered = Vec::with_capacity(rows.len());
    while let Some(place) = free.pop().map(|Reverse(place)| place).or_else(|| held.pop_first()) {
        ordered.push(rows[place]);
        let (effects, later) =
            (std::mem::take(&mut waiting[place].effects), std::mem::take(&mut waiting[place].later));
        for effect in effects {
            waiting[effect].causes -= 1;
            match (waiting[effect].causes, waiting[effect].earlier) {
                (0, 0) => free.push(Reverse(effect)),
                (0, _) => drop(held.insert(effect)),
                _ => {}
            }
        }
        for next in later {
            waiting[next].earlier -= 1;
            if waiting[next].earlier == 0 && held.remove(&next) {
                free.push(Reverse(next));
            }
        }
    }
    ordered
}

/// What each row waits for.
fn waiting(rows: &[&TraceRow], customer: impl Fn(RequestIndex) -> Option<u64>) -> Vec<Waiting> {
    let mut waiting: Vec<Waiting> = rows.iter().map(|_| Waiting::default()).collect();
    let (mut last, mut sends) = (BTreeMap::new(), BTreeMap::new());
    let mut requests: BTreeMap<(Option<u64>, RequestIndex), Vec<usize>> = BTreeMap::new();
    for (place, row) in rows.iter().enumerate() {
        requests.entry((customer(row.request), row.request)).or_default().push(place);
        let sender = match row.kind {
            TraceKind::Received(from) => sends.get(&(row.request, from, row.process)).copied(),
            TraceKind::Sent(to) => {
                sends.insert((row.request, row.process, to), place);
                None
            }
        };
        for cause in last.insert(row.process, place).into_iter().chain(sender) {
            waiting[cause].effects.push(place);
            waiting[place].causes += 1;
        }
    }
    let requests: Vec<_> = requests.into_iter().collect();
    for pair in requests.windows(2) {
        let [((before, _), earlier), ((after, _), later)] = pair else { continue };
        // The customer's send is the first row of a request and the cause of all others.
        let Some(first) = later.first().filter(|_| before == after) else { continue };
        for place in earlier {
            waiting[*place].later.push(*first);
            waiting[*first].earlier += 1;
        }
    }
    waiting
}
