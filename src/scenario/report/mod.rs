//! The outputs of a run, as the graders of each dialect expect them.
//!
//! An [`Output`] is written by displaying it, piece by piece, because the largest traces have hundreds of
//! megabytes. The runner writes each to a temporary name and renames them when all are complete.
//!
//! Architecture invariant: pure, and the same plan, answers and trace give the same bytes.

mod clocks;
mod debug;
mod old_clocks;

use std::fmt;

use crate::model::{Money, SCALE};

use super::plan::{Dialect, Entry, Event, Plan, RequestIndex};
use super::played::{Answer, Played, TraceRow};

/// How the messages between branches are spelled.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Spelling {
    /// `propagate_deposit`
    #[default]
    Propagate,
    /// `propogate_deposit`, as the older graders have it.
    Propogate,
}

impl Spelling {
    /// The word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Spelling::Propagate => "propagate",
            Spelling::Propogate => "propogate",
        }
    }
}

/// The trace, in order of customers.
pub const CUSTOMER_OUTPUTS: &str = "customer_outputs.json";
/// The trace, in order of branches.
pub const BRANCH_OUTPUTS: &str = "branch_outputs.json";
/// The trace, in order of requests.
pub const EVENT_OUTPUTS: &str = "event_outputs.json";
/// The output of every dialect but P2.
pub const OUTPUT: &str = "output.json";
/// Every reply that a customer received.
pub const CUSTOMER_DEBUG: &str = "customerDebug.txt";
/// Every message that a branch received.
pub const BRANCH_DEBUG: &str = "branchDebug.txt";

/// One file of a run. Displaying it writes its content.
#[derive(Clone, Copy, Debug)]
pub struct Output<'a> {
    /// The name of the file.
    pub name: &'static str,
    content: Content,
    run: Run<'a>,
}

/// What reports are made of.
#[derive(Clone, Copy, Debug)]
struct Run<'a> {
    plan: &'a Plan,
    played: &'a Played,
    spelling: Spelling,
}

#[derive(Clone, Copy, Debug)]
enum Content {
    Entries,
    Events,
    Balances,
    CustomerRows,
    BranchRows,
    EventRows,
    OldClocks,
    CustomerDebug,
    BranchDebug,
}

/// The files of a run: what its dialect asks for, the trace if there is one, and the two debug files.
#[must_use]
pub fn outputs<'a>(plan: &'a Plan, played: &'a Played, spelling: Spelling) -> Vec<Output<'a>> {
    let asked = match plan.dialect {
        Dialect::P1 => Some(Content::Entries),
        Dialect::P2 => None,
        Dialect::P2Old => Some(Content::OldClocks),
        Dialect::P3 => Some(Content::Events),
        Dialect::P3Old => Some(Content::Balances),
    };
    let trace = [
        (CUSTOMER_OUTPUTS, Content::CustomerRows),
        (BRANCH_OUTPUTS, Content::BranchRows),
        (EVENT_OUTPUTS, Content::EventRows),
    ];
    let trace = trace.into_iter().filter(|_| played.untraced.is_none());
    let debug = [(CUSTOMER_DEBUG, Content::CustomerDebug), (BRANCH_DEBUG, Content::BranchDebug)];
    let run = Run { plan, played, spelling };
    let files = asked.map(|content| (OUTPUT, content)).into_iter().chain(trace).chain(debug);
    files.map(|(name, content)| Output { name, content, run }).collect()
}

impl fmt::Display for Output<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.content {
            Content::Entries => self.run.entries(f),
            Content::Events => self.run.events(f),
            Content::Balances => self.run.balances(f),
            Content::CustomerRows => self.run.customer_rows(f),
            Content::BranchRows => self.run.branch_rows(f),
            Content::EventRows => self.run.event_rows(f),
            Content::OldClocks => self.run.old_clocks(f),
            Content::CustomerDebug => self.run.customer_debug(f),
            Content::BranchDebug => self.run.branch_debug(f),
        }
    }
}

impl Run<'_> {
    /// P1: one object per customer entry.
    fn entries(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        array(f, "\n", (0..).zip(&self.plan.entries), |f, (at, entry)| {
            write!(f, "{{\"id\":{},\"recv\":", entry.customer)?;
            array(f, "", (0..).zip(&entry.events), |f, (event_at, event)| {
                let answer = self.played.answer(RequestIndex { entry: at, event: event_at });
                write!(f, "{{\"interface\":{}", Quoted(event.interface.name()))?;
                result(f, answer)
            })?;
            f.write_str("}")
        })?;
        f.write_str("\n")
    }

    /// P3: one object per event.
    fn events(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        array(f, "\n", self.plan.requests(), |f, (request, entry, event): (_, &Entry, &Event)| {
            let (customer, branch) = (entry.customer, event.target.branch);
            let interface = Quoted(event.interface.name());
            write!(f, "{{\"id\":{customer},\"recv\":[{{\"interface\":{interface},\"branch\":{branch}")?;
            result(f, self.played.answer(request))?;
            f.write_str("]}")
        })?;
        f.write_str("\n")
    }

    /// P3old: one object per query.
    fn balances(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let queries = self.plan.requests().filter(|(.., event)| event.interface.is_query());
        array(f, "\n", queries, |f, (request, entry, _)| {
            write!(f, "{{\"id\":{}", entry.customer)?;
            result(f, self.played.answer(request))
        })?;
        f.write_str("\n")
    }

    /// The trace as one order that respects every message: Lamport's.
    fn rows(&self) -> Vec<&TraceRow> {
        let mut rows: Vec<_> = self.played.trace.iter().collect();
        rows.sort_by_key(|row| (row.clock, row.process));
        rows
    }
}

/// The rest of an object: a balance, or how a write went and the balance after it under a name of its own, because
/// graders take whatever has a `balance` for a query.
fn result(f: &mut fmt::Formatter<'_>, answer: Answer) -> fmt::Result {
    match answer {
        Answer::Balance(balance) => write!(f, ",\"balance\":{}}}", Number(balance)),
        Answer::Success { balance } => {
            write!(f, ",\"result\":\"success\",\"balance_after\":{}}}", Number(balance))
        }
        Answer::Fail { balance: Some(balance) } => {
            write!(f, ",\"result\":\"fail\",\"balance_after\":{}}}", Number(balance))
        }
        Answer::Fail { balance: None } => f.write_str(",\"result\":\"fail\"}"),
    }
}

/// A JSON array with each item on a line of its own, or all on one.
fn array<T>(
    f: &mut fmt::Formatter<'_>,
    line: &str,
    items: impl Iterator<Item = T>,
    mut write_item: impl FnMut(&mut fmt::Formatter<'_>, T) -> fmt::Result,
) -> fmt::Result {
    f.write_str("[")?;
    let mut any = false;
    for item in items {
        if std::mem::replace(&mut any, true) {
            f.write_str(",")?;
        }
        f.write_str(line)?;
        write_item(f, item)?;
    }
    if any {
        f.write_str(line)?;
    }
    f.write_str("]")
}

/// Money as a JSON number: 410 and not 410.00, and fractions exactly.
struct Number(Money);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        let (whole, fraction) = text.split_at(text.len() - (SCALE as usize + 1));
        f.write_str(whole)?;
        f.write_str(fraction.trim_end_matches('0').trim_end_matches('.'))
    }
}

/// A JSON text.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        serde_json::to_string(self.0).map_err(|_| fmt::Error).and_then(|text| f.write_str(&text))
    }
}

/// An id that a file may leave out.
struct Id(Option<u64>);

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(id) => write!(f, "{id}"),
            None => f.write_str("null"),
        }
    }
}
