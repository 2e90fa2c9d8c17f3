//! The one file of P2old: per branch and per event, with steps that the newer form does not have.
//!
//! The older form names the execution of a request and the responses between branches, which are no messages
//! that the replicas record. So the recorded trace gives the order in which everything happened, each of its
//! rows becomes the older steps, and Lamport's rules count those.
//!
//! Invariant: clocks increase strictly at each branch; each step is later than what caused it.

use std::collections::BTreeMap;
use std::fmt;

use super::{Id, Quoted, RequestIndex, Run, array};
use crate::scenario::played::{Answer, Process, TraceKind};

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
        let rows = self.rows();
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
        let mut steps = Steps::default();
        for row in rows {
            let request = row.request;
            let is_query = self.plan.event(request).is_none_or(|event| event.interface.is_query());
            let Some(known) = progress.get_mut(&request).filter(|_| !is_query) else { continue };
            match (row.process, row.kind) {
                (Process::Branch(home), TraceKind::Received(Process::Customer(_))) => {
                    steps.add(home, request, "request", known.sent);
                    if self.played.answer(request) != Answer::Fail {
                        known.executed = steps.add(home, request, "execute", 0);
                    }
                    if known.waiting == 0 {
                        steps.add(home, request, "response", 0);
                    }
                }
                (Process::Branch(branch), TraceKind::Received(Process::Branch(home))) => {
                    steps.add(branch, request, "propagate_request", known.executed);
                    let executed = steps.add(branch, request, "propagate_execute", 0);
                    steps.add(home, request, "propagate_response", executed);
                    known.waiting -= 1;
                    if known.waiting == 0 {
                        steps.add(home, request, "response", 0);
                    }
                }
                (Process::Customer(_), TraceKind::Sent(_) | TraceKind::Received(_))
                | (Process::Branch(_), TraceKind::Sent(_)) => {}
            }
        }
        steps.list
    }
}
