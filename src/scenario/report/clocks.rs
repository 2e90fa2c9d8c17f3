//! The three files of P2: the trace by customer, by branch and by request.
//!
//! Invariant: the third is the union of the other two; all show the clocks that the processes had.

use std::fmt;

use super::{Event, Id, Quoted, Run, array};
use crate::scenario::plan::Plan;
use crate::scenario::played::{Process, TraceKind, TraceRow};

impl Run<'_> {
    pub(super) fn customer_rows(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.by_process();
        array(f, "\n", (0..).zip(&self.plan.entries), |f, (at, entry)| {
            self.process(f, entry.customer, "customer", rows_of(&rows, Process::Customer(at)))
        })?;
        f.write_str("\n")
    }

    pub(super) fn branch_rows(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.by_process();
        array(f, "\n", (0..).zip(&self.plan.branches), |f, (at, id)| {
            self.process(f, *id, "branch", rows_of(&rows, Process::Branch(at)))
        })?;
        f.write_str("\n")
    }

    pub(super) fn event_rows(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rows: Vec<_> = self.played.trace.iter().collect();
        rows.sort_by_key(|row| (row.request, row.clock, row.process));
        array(f, "\n", rows.into_iter(), |f, row| {
            let (id, kind) = match row.process {
                Process::Customer(at) => (customer(self.plan, at), "customer"),
                Process::Branch(at) => (branch(self.plan, at), "branch"),
            };
            let request = self.request(row);
            write!(f, "{{\"id\":{},\"customer-request-id\":{request},\"type\":\"{kind}\",", Id(id))?;
            self.clock(f, row)
        })?;
        f.write_str("\n")
    }

    fn by_process(&self) -> Vec<&TraceRow> {
        let mut rows: Vec<_> = self.played.trace.iter().collect();
        rows.sort_by_key(|row| (row.process, row.clock));
        rows
    }

    fn process(&self, f: &mut fmt::Formatter<'_>, id: u64, kind: &str, rows: &[&TraceRow]) -> fmt::Result {
        write!(f, "{{\"id\":{id},\"type\":\"{kind}\",\"events\":")?;
        array(f, "\n ", rows.iter(), |f, row| {
            write!(f, "{{\"customer-request-id\":{},", self.request(row))?;
            self.clock(f, row)
        })?;
        f.write_str("}")
    }

    fn request(&self, row: &TraceRow) -> Id {
        Id(self.plan.event(row.request).and_then(|event| event.id))
    }

    /// The rest of a row: clock, interface and comment.
    fn clock(&self, f: &mut fmt::Formatter<'_>, row: &TraceRow) -> fmt::Result {
        let event = self.plan.event(row.request).map_or("", interface);
        let spelling = self.spelling.word();
        let interface = match row.kind {
            TraceKind::Sent(Process::Branch(_)) | TraceKind::Received(Process::Branch(_))
                if matches!(row.process, Process::Branch(_)) =>
            {
                format!("{spelling}_{event}")
            }
            TraceKind::Sent(_) | TraceKind::Received(_) => event.to_owned(),
        };
        let comment = self.comment(row);
        let interface = Quoted(&interface);
        write!(f, "\"logical_clock\":{},\"interface\":{interface},\"comment\":\"{comment}\"}}", row.clock)
    }

    fn comment(&self, row: &TraceRow) -> String {
        match (row.process, row.kind) {
            (Process::Customer(at), TraceKind::Sent(_) | TraceKind::Received(_)) => {
                format!("event_sent from customer {}", Id(customer(self.plan, at)))
            }
            (Process::Branch(_), TraceKind::Sent(Process::Branch(to))) => {
                format!("event_sent to branch {}", Id(branch(self.plan, to)))
            }
            (Process::Branch(_), TraceKind::Sent(Process::Customer(to))) => {
                format!("event_sent to customer {}", Id(customer(self.plan, to)))
            }
            (Process::Branch(_), TraceKind::Received(Process::Branch(from))) => {
                format!("event_recv from branch {}", Id(branch(self.plan, from)))
            }
            (Process::Branch(_), TraceKind::Received(Process::Customer(from))) => {
                format!("event_recv from customer {}", Id(customer(self.plan, from)))
            }
        }
    }
}

fn interface(event: &Event) -> &str {
    event.interface.name()
}

fn customer(plan: &Plan, at: u32) -> Option<u64> {
    plan.entries.get(at as usize).map(|entry| entry.customer)
}

fn branch(plan: &Plan, at: u32) -> Option<u64> {
    plan.branches.get(at as usize).copied()
}

/// The rows of one process among rows sorted by process.
fn rows_of<'r, 'a>(rows: &'r [&'a TraceRow], process: Process) -> &'r [&'a TraceRow] {
    let begin = rows.partition_point(|row| row.process < process);
    let end = rows.partition_point(|row| row.process <= process);
    rows.get(begin..end).unwrap_or_default()
}
