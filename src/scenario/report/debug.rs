//! The debug files: one block per received message, the blocks separated by a line of dashes.
//!
//! What a branch received is what its replica has recorded. Without a trace it is known only of the requests that were
//! answered, because each was sent to the replica of its branch and to no other; the last block says what is missing.

use std::fmt;

use super::{Event, Id, Number, Run};
use crate::model::Money;
use crate::scenario::plan::Interface;
use crate::scenario::played::{Answer, Process, TraceKind};

/// Dashes of the line between two blocks.
const DASHES: usize = 100;

/// Writes blocks with the line between them.
struct Blocks<'f, 'a> {
    f: &'f mut fmt::Formatter<'a>,
    any: bool,
}

impl Blocks<'_, '_> {
    fn add(&mut self, block: fmt::Arguments<'_>) -> fmt::Result {
        if std::mem::replace(&mut self.any, true) {
            writeln!(self.f, "{:-<DASHES$}", "")?;
        }
        writeln!(self.f, "{block}")
    }
}

/// A message that a branch received.
struct Message<'e> {
    branch: u64,
    from: String,
    id: Option<u64>,
    event: &'e Event,
    /// Whether it comes from another branch.
    propagated: bool,
    clock: Option<u64>,
}

impl Run<'_> {
    pub(super) fn customer_debug(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut blocks = Blocks { f, any: false };
        for (request, entry, event) in self.plan.requests().filter(|(.., event)| event.step().is_ok()) {
            let (result, balance) = match self.played.answer(request) {
                Answer::Success { balance } | Answer::Balance(balance) => ("success", Some(balance)),
                Answer::Fail { balance } => ("fail", balance),
            };
            let balance =
                balance.map_or_else(String::new, |balance| format!("\nbalance: {}", Number(balance)));
            blocks.add(format_args!(
                "customer: {}\nreceived from: branch {}\nrequest: {}\ninterface: {}\nresult: {result}{balance}",
                entry.customer,
                event.target.branch,
                Id(event.id),
                event.interface.name(),
            ))?;
        }
        Ok(())
    }

    pub(super) fn branch_debug(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut blocks = Blocks { f, any: false };
        match &self.played.untraced {
            None => self.traced_messages(&mut blocks),
            Some(why) => {
                self.answered_requests(&mut blocks)?;
                blocks.add(format_args!("messages between branches are not known: {why}"))
            }
        }
    }

    fn traced_messages(&self, blocks: &mut Blocks<'_, '_>) -> fmt::Result {
        for row in self.rows() {
            let (Process::Branch(branch), TraceKind::Received(from)) = (row.process, row.kind) else {
                continue;
            };
            let (Some(event), Some(branch)) =
                (self.plan.event(row.request), self.plan.branches.get(branch as usize))
            else {
                continue;
            };
            let propagated = matches!(from, Process::Branch(_));
            let from = match from {
                Process::Customer(at) => {
                    let customer = self.plan.entries.get(at as usize).map(|entry| entry.customer);
                    format!("customer {}", Id(customer))
                }
                Process::Branch(at) => {
                    format!("branch {}", Id(self.plan.branches.get(at as usize).copied()))
                }
            };
            let message =
                Message { branch: *branch, from, id: event.id, event, propagated, clock: Some(row.clock) };
            self.block(blocks, &message)?;
        }
        Ok(())
    }

    fn answered_requests(&self, blocks: &mut Blocks<'_, '_>) -> fmt::Result {
        for (_, entry, event) in self.plan.requests().filter(|(.., event)| event.step().is_ok()) {
            let (branch, from) = (event.target.branch, format!("customer {}", entry.customer));
            let message = Message { branch, from, id: event.id, event, propagated: false, clock: None };
            self.block(blocks, &message)?;
        }
        Ok(())
    }

    fn block(&self, blocks: &mut Blocks<'_, '_>, message: &Message<'_>) -> fmt::Result {
        let Message { branch, from, id, event, propagated, clock } = message;
        let spelling = if *propagated { format!("{}_", self.spelling.word()) } else { String::new() };
        let money = amount(event).map_or_else(String::new, |money| format!("\nmoney: {}", Number(money)));
        let clock = clock.map_or_else(String::new, |clock| format!("\nclock: {clock}"));
        let (id, name) = (Id(*id), event.interface.name());
        blocks.add(format_args!(
            "branch: {branch}\nreceived from: {from}\nrequest: {id}\ninterface: {spelling}{name}{money}{clock}"
        ))
    }
}

fn amount(event: &Event) -> Option<Money> {
    match event.interface {
        Interface::Deposit(amount) | Interface::Withdraw(amount) => Some(amount),
        Interface::Query | Interface::Unknown(_) => None,
    }
}
