//! A written trace, read back: the three files of P2, of this program or of anybody's.
//!
//! Invariant: a row that is kept has a known interface and a comment that names its other end; what has not
//! is a [`Flaw`] with file and place. `check` and `diagram` call it.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use serde::Deserialize;

use super::report::{BRANCH_OUTPUTS, CUSTOMER_OUTPUTS, EVENT_OUTPUTS};

/// The contents of the three files.
#[derive(Clone, Copy, Debug)]
pub struct TraceFiles<'a> {
    /// `customer_outputs.json`
    pub customers: &'a [u8],
    /// `branch_outputs.json`
    pub branches: &'a [u8],
    /// `event_outputs.json`
    pub events: &'a [u8],
}

/// A customer or a branch by the id in the files.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) enum Who {
    Customer(u64),
    Branch(u64),
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Who::Customer(id) => write!(f, "customer {id}"),
            Who::Branch(id) => write!(f, "branch {id}"),
        }
    }
}

/// What a row's interface says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Word {
    pub(super) operation: Operation,
    /// Whether it goes between branches.
    pub(super) propagated: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Operation {
    Query,
    Deposit,
    Withdraw,
}

impl Operation {
    pub(super) fn name(self) -> &'static str {
        match self {
            Operation::Query => "query",
            Operation::Deposit => "deposit",
            Operation::Withdraw => "withdraw",
        }
    }
}

/// What a row's comment says.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Act {
    /// `event_sent from customer C`: of the customer itself.
    Sent(u64),
    /// `event_sent to branch X`
    SentTo(u64),
    /// `event_recv from ...`
    Received(Who),
}

/// One row, wherever it stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Row {
    pub(super) who: Who,
    pub(super) request: Option<u64>,
    pub(super) clock: u64,
    pub(super) word: Word,
    pub(super) act: Act,
}

impl Row {
    /// Everything that two files must agree on, in an order.
    pub(super) fn key(&self) -> (Who, u64, Option<u64>, &'static str, bool, Act) {
        (self.who, self.clock, self.request, self.word.operation.name(), self.word.propagated, self.act)
    }
}

/// The place of a row or object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Place {
    pub(super) file: &'static str,
    /// Position in the array of the file.
    pub(super) object: usize,
    /// Position in the events of the object.
    pub(super) row: Option<usize>,
}

impl Place {
    pub(super) fn file(file: &'static str) -> Place {
        // Reads as the array itself.
        Place { file, object: usize::MAX, row: None }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.file)?;
        if self.object != usize::MAX {
            write!(f, " $[{}]", self.object)?;
        }
        self.row.map_or(Ok(()), |row| write!(f, ".events[{row}]"))
    }
}

/// Something that is not as the files are written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Flaw {
    pub(super) place: Place,
    pub(super) message: String,
}

/// One object of the first two files.
#[derive(Clone, Debug)]
pub(super) struct ProcessRows {
    pub(super) who: Who,
    pub(super) place: Place,
    pub(super) rows: Vec<(Place, Row)>,
}

/// The three files.
#[derive(Clone, Debug, Default)]
pub(super) struct Recorded {
    pub(super) customers: Vec<ProcessRows>,
    pub(super) branches: Vec<ProcessRows>,
    pub(super) events: Vec<(Place, Row)>,
    pub(super) flaws: Vec<Flaw>,
}

#[derive(Deserialize)]
struct ProcessObject<'a> {
    id: u64,
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    events: Vec<RowObject<'a>>,
}

#[derive(Deserialize)]
struct EventObject<'a> {
    id: u64,
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow, flatten)]
    row: RowObject<'a>,
}

#[derive(Deserialize)]
struct RowObject<'a> {
    #[serde(rename = "customer-request-id", default)]
    request: Option<u64>,
    logical_clock: u64,
    #[serde(borrow)]
    interface: Cow<'a, str>,
    #[serde(borrow)]
    comment: Cow<'a, str>,
}

impl Recorded {
    /// Reads the three files as far as they can be read.
    pub(super) fn read(files: TraceFiles<'_>) -> Recorded {
        let mut recorded = Recorded::default();
        recorded.customers = recorded.processes(CUSTOMER_OUTPUTS, "customer", files.customers);
        recorded.branches = recorded.processes(BRANCH_OUTPUTS, "branch", files.branches);
        let objects: Vec<EventObject<'_>> = recorded.parsed(EVENT_OUTPUTS, files.events);
        for (at, object) in objects.iter().enumerate() {
            let place = Place { file: EVENT_OUTPUTS, object: at, row: None };
            let row = who(&object.kind, object.id).and_then(|who| row(who, &object.row));
            match row {
                Ok(row) => recorded.events.push((place, row)),
                Err(message) => recorded.flaws.push(Flaw { place, message }),
            }
        }
        recorded
    }

    fn parsed<'a, T: Deserialize<'a>>(&mut self, file: &'static str, bytes: &'a [u8]) -> Vec<T> {
        serde_json::from_slice(bytes).unwrap_or_else(|error| {
            let message = format!("not a trace: {error}");
            self.flaws.push(Flaw { place: Place::file(file), message });
            Vec::new()
        })
    }

    fn processes(&mut self, file: &'static str, kind: &str, bytes: &[u8]) -> Vec<ProcessRows> {
        let objects: Vec<ProcessObject<'_>> = self.parsed(file, bytes);
        let mut processes = Vec::with_capacity(objects.len());
        for (at, object) in objects.iter().enumerate() {
            let place = Place { file, object: at, row: None };
            let who = match who(&object.kind, object.id) {
                Ok(who) if object.kind == kind => who,
                Ok(who) => {
                    let message = format!("a {kind} is expected here and this is {who}");
                    self.flaws.push(Flaw { place, message });
                    continue;
                }
                Err(message) => {
                    self.flaws.push(Flaw { place, message });
                    continue;
                }
            };
            let mut rows = Vec::with_capacity(object.events.len());
            for (at, object) in object.events.iter().enumerate() {
                let place = Place { row: Some(at), ..place };
                match row(who, object) {
                    Ok(row) => rows.push((place, row)),
                    Err(message) => self.flaws.push(Flaw { place, message }),
                }
            }
            processes.push(ProcessRows { who, place, rows });
        }
        processes
    }

    /// The rows of the third file by request, as they stand. Requests are told apart by their ids where these are
    /// unique, and by the customer's send, with which each begins, otherwise.
    pub(super) fn groups(&self) -> Vec<&[(Place, Row)]> {
        self.events.chunk_by(same_request(self.has_unique_ids())).collect()
    }

    /// Whether no two requests have the same id, so that the ids tell them apart.
    pub(super) fn has_unique_ids(&self) -> bool {
        let sent = || self.customers.iter().flat_map(|customer| &customer.rows);
        let ids: BTreeSet<_> = sent().filter_map(|(_, row)| row.request).collect();
        ids.len() == sent().count()
    }
}

/// Whether a row belongs to the same request as the row before.
pub(super) fn same_request(unique_ids: bool) -> impl Fn(&(Place, Row), &(Place, Row)) -> bool {
    move |earlier, later| match later.1.who {
        _ if unique_ids => earlier.1.request == later.1.request,
        Who::Customer(_) => false,
        Who::Branch(_) => true,
    }
}

fn who(kind: &str, id: u64) -> Result<Who, String> {
    match kind {
        "customer" => Ok(Who::Customer(id)),
        "branch" => Ok(Who::Branch(id)),
        other => Err(format!("the type {other:?} is neither customer nor branch")),
    }
}

fn row(who: Who, object: &RowObject<'_>) -> Result<Row, String> {
    let word = word(&object.interface)
        .ok_or_else(|| format!("the interface {:?} is none of a trace", object.interface))?;
    let act =
        act(&object.comment).ok_or_else(|| format!("the comment {:?} is none of a trace", object.comment))?;
    let fits = match (who, act) {
        (Who::Customer(_), Act::Sent(_)) => !word.propagated,
        (Who::Branch(_), Act::Received(Who::Customer(_))) => !word.propagated,
        (Who::Branch(_), Act::SentTo(_) | Act::Received(Who::Branch(_))) => word.propagated,
        (Who::Customer(_), Act::SentTo(_) | Act::Received(_)) | (Who::Branch(_), Act::Sent(_)) => false,
    };
    if fits {
        Ok(Row { who, request: object.request, clock: object.logical_clock, word, act })
    } else {
        let (interface, comment) = (&object.interface, &object.comment);
        Err(format!("{who} has no event with the interface {interface:?} and the comment {comment:?}"))
    }
}

fn word(text: &str) -> Option<Word> {
    let inner = text.strip_prefix("propagate_").or_else(|| text.strip_prefix("propogate_"));
    let operation = match inner.unwrap_or(text) {
        "query" if inner.is_none() => Operation::Query,
        "deposit" => Operation::Deposit,
        "withdraw" => Operation::Withdraw,
        _ => return None,
    };
    Some(Word { operation, propagated: inner.is_some() })
}

fn act(text: &str) -> Option<Act> {
    let id = |prefix: &str| {
        let digits = text.strip_prefix(prefix)?;
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
    };
    id("event_sent from customer ")
        .map(Act::Sent)
        .or_else(|| id("event_sent to branch ").map(Act::SentTo))
        .or_else(|| id("event_recv from customer ").map(|id| Act::Received(Who::Customer(id))))
        .or_else(|| id("event_recv from branch ").map(|id| Act::Received(Who::Branch(id))))
}
