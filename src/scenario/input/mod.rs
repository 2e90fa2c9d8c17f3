//! Reading scenario files: every dialect, with the quirks of the files that are really out there.
//!
//! What is odd but clear is done with a [`Warning`]; what is not is refused with the JSON path, line and
//! column. The runner calls it, with the bytes of the file.
//!
//! Architecture invariant: pure.

mod fields;
mod json;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::model::{Failure, Money, Reason};

use super::plan::{Dialect, Entry, Event, Interface, Plan, Target};
use fields::{Fields, array, id, money, text};
use json::{Node, Remark, Value, line_and_column};

/// Largest scenario file, in bytes. The largest known one has about four million.
pub const INPUT_BYTES: usize = 64 * 1024 * 1024;
/// Most branches of a file.
pub const BRANCHES: usize = 255;
/// Most customer entries of a file.
pub const ENTRIES: usize = 10_000;
/// Most events of a file.
pub const EVENTS: usize = 1_000_000;
/// Most different warnings that are kept. Those that differ in their numbers alone are one.
pub const WARNINGS: usize = 1_000;

/// How to read a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Options {
    /// The dialect; the file tells without.
    pub dialect: Option<Dialect>,
    /// Refuse what would be a warning.
    pub strict: bool,
}

/// Something odd that was understood.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Warning {
    /// The JSON path.
    pub path: String,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// What is odd and what is done about it.
    pub message: String,
    /// How many more places are odd in the same way, with other numbers.
    pub more: usize,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}, {}: {}", self.line, self.column, self.path, self.message)?;
        match self.more {
            0 => Ok(()),
            1 => f.write_str(" (and 1 more like this)"),
            more => write!(f, " (and {more} more like this)"),
        }
    }
}

/// Reads a file into a plan, and what was odd in it, in the order of the file.
///
/// # Errors
/// [`Reason::ScenarioInvalid`] with `path`, `line` and `column`.
pub fn read(bytes: &[u8], options: Options) -> Result<(Plan, Vec<Warning>), Failure> {
    if bytes.len() > INPUT_BYTES {
        let message = format!("the file has {} bytes and a scenario has at most {INPUT_BYTES}", bytes.len());
        return Err(Failure::new(Reason::ScenarioInvalid, message));
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let good = bytes.get(..error.valid_up_to()).unwrap_or_default();
        let remark = Remark { path: "$".to_owned(), at: good.len(), message: "not UTF-8 text".to_owned() };
        failure(&remark, &String::from_utf8_lossy(good))
    })?;
    let (node, notes) = json::read(text).map_err(|remark| failure(&remark, text))?;
    let mut reading = Reading { notes };
    let plan = reading.plan(&node, options.dialect).map_err(|remark| failure(&remark, text))?;
    reading.notes.sort_by_key(|note| note.at);
    match reading.notes.first() {
        Some(first) if options.strict => Err(failure(first, text)),
        Some(_) | None => Ok((plan, warnings(&reading.notes, text))),
    }
}

fn failure(remark: &Remark, text: &str) -> Failure {
    let (line, column) = line_and_column(text, remark.at);
    let Remark { path, message, .. } = remark;
    Failure::new(Reason::ScenarioInvalid, format!("line {line}, column {column}, {path}: {message}"))
        .with("path", path)
        .with("line", line)
        .with("column", column)
}

/// Places the first note of each kind, in one walk over the file, and counts the others. The notes are in the order of
/// the file.
fn warnings(notes: &[Remark], text: &str) -> Vec<Warning> {
    let (mut line, mut line_start, mut seen) = (1, 0, 0);
    let mut place = |note: &Remark| {
        let between = text.get(seen..note.at).unwrap_or_default();
        line += between.bytes().filter(|byte| *byte == b'\n').count();
        line_start = between.rfind('\n').map_or(line_start, |at| seen + at + 1);
        seen = note.at;
        let column = text.get(line_start..seen).unwrap_or_default().chars().count() + 1;
        Warning { path: note.path.clone(), line, column, message: note.message.clone(), more: 0 }
    };
    let (mut warnings, mut kinds) = (Vec::new(), BTreeMap::new());
    for note in notes {
        let kind = note.message.replace(|c: char| c.is_ascii_digit(), "");
        if let Some(at) = kinds.get(&kind) {
            let known: Option<&mut Warning> = warnings.get_mut::<usize>(*at);
            known.into_iter().for_each(|known| known.more += 1);
        } else if warnings.len() < WARNINGS {
            kinds.insert(kind, warnings.len());
            warnings.push(place(note));
        }
    }
    warnings
}

/// A file while it is understood.
struct Reading {
    notes: Vec<Remark>,
}

/// What the events say about the dialect.
#[derive(Default)]
struct Signs {
    requests: bool,
    branch: bool,
    dest: bool,
}

/// An entry of the file by its type.
struct Sorted<'n, 'a> {
    customers: Vec<Fields<'n, 'a>>,
    branches: Vec<Fields<'n, 'a>>,
}

/// The branches of the file by id.
type Branches = BTreeMap<u64, usize>;

impl Reading {
    fn plan(&mut self, root: &Node<'_>, wish: Option<Dialect>) -> Result<Plan, Remark> {
        let Value::List(entries) = &root.value else {
            let message = format!("a scenario is one JSON array and this is {}", root.value.kind());
            return Err(Remark { path: "$".to_owned(), at: root.at, message });
        };
        let Sorted { customers, branches } = self.sort(entries)?;
        let too_many = |what, limit| Remark {
            path: "$".to_owned(),
            at: root.at,
            message: format!("a scenario has at most {limit} {what}"),
        };
        if branches.is_empty() {
            let message = "there is no branch; add an object with the type branch".to_owned();
            return Err(Remark { path: "$".to_owned(), at: root.at, message });
        }
        if branches.len() > BRANCHES {
            return Err(too_many("branches", BRANCHES));
        }
        if customers.len() > ENTRIES {
            return Err(too_many("customer entries", ENTRIES));
        }
        let (branches, balance) = branch_list(&branches)?;
        let places: Branches = branches.iter().enumerate().map(|(at, id)| (*id, at)).collect();
        let (mut signs, mut known, mut left) = (Signs::default(), BTreeSet::new(), EVENTS);
        let mut entries = Vec::with_capacity(customers.len());
        for customer in &customers {
            let entry = self.entry(customer, &places, &mut signs)?;
            if !known.insert(entry.customer) {
                let message =
                    format!("customer {} has an entry already; this one runs after it", entry.customer);
                self.notes.push(customer.remark(message));
            }
            left = left.checked_sub(entry.events.len()).ok_or_else(|| too_many("events", EVENTS))?;
            entries.push(entry);
        }
        let dialect = wish.unwrap_or(match signs {
            Signs { requests: true, .. } => Dialect::P2,
            Signs { branch: true, .. } => Dialect::P3,
            Signs { dest: true, .. } => Dialect::P3Old,
            Signs { .. } => Dialect::P1,
        });
        Ok(Plan { dialect, balance, branches, entries })
    }

    fn sort<'n, 'a>(&mut self, entries: &'n [Node<'a>]) -> Result<Sorted<'n, 'a>, Remark> {
        let mut sorted = Sorted { customers: Vec::new(), branches: Vec::new() };
        for (at, node) in entries.iter().enumerate() {
            let fields = Fields::of(node, format!("$[{at}]"), &mut self.notes)?;
            let (path, kind) = fields.needed(&["type"])?;
            match text(&path, kind)?.trim().to_lowercase().as_str() {
                "customer" | "client" => sorted.customers.push(fields),
                "branch" | "bank" => sorted.branches.push(fields),
                other => {
                    let message = format!("the type {other:?} is neither customer nor branch");
                    return Err(Remark { path, at: kind.at, message });
                }
            }
        }
        Ok(sorted)
    }

    fn entry(
        &mut self,
        fields: &Fields<'_, '_>,
        places: &Branches,
        signs: &mut Signs,
    ) -> Result<Entry, Remark> {
        let (path, node) = fields.needed(&["id"])?;
        let customer = id(&path, node)?;
        let home = match fields.get(&["branch-id"]) {
            Some((path, node)) => id(&path, node)?,
            None => customer,
        };
        let list = fields.get(&["events"]);
        let requests = fields.get(&["customer-requests"]);
        if list.is_some() && requests.is_some() {
            return Err(fields.remark("both events and customer-requests; keep one".to_owned()));
        }
        signs.requests |= requests.is_some();
        let Some((path, node)) = list.or(requests) else { return Ok(Entry { customer, events: Vec::new() }) };
        let (mut events, mut ids) = (Vec::new(), BTreeSet::new());
        let mut repeated = false;
        for (at, node) in array(&path, node)?.iter().enumerate() {
            let fields = Fields::of(node, format!("{path}[{at}]"), &mut self.notes)?;
            let event = self.event(&fields, home, places, signs)?;
            if let Some(id) = event.id
                && !ids.insert(id)
                && !std::mem::replace(&mut repeated, true)
            {
                let message = format!("the id {id} stands at an earlier event of this customer too");
                self.notes.push(fields.remark(message));
            }
            events.push(event);
        }
        Ok(Entry { customer, events })
    }

    fn event(
        &mut self,
        fields: &Fields<'_, '_>,
        home: u64,
        places: &Branches,
        signs: &mut Signs,
    ) -> Result<Event, Remark> {
        let number = fields.get(&["id", "customer-request-id", "customer-requests"]);
        let number = number.map(|(path, node)| id(&path, node)).transpose()?;
        let interface = self.interface(fields)?;
        let (branch, dest) = (fields.get(&["branch"]), fields.get(&["dest"]));
        signs.branch |= branch.is_some();
        signs.dest |= dest.is_some();
        let named = branch.or(dest).map(|(path, node)| id(&path, node)).transpose()?;
        let branch = named.unwrap_or(home);
        let index = places.get(&branch).copied();
        if index.is_none() {
            let home = if named.is_none() { ", the customer's home," } else { "" };
            let message = format!("branch {branch}{home} is not in the file; the event fails");
            self.notes.push(fields.remark(message));
        }
        Ok(Event { id: number, interface, target: Target { branch, index } })
    }

    fn interface(&mut self, fields: &Fields<'_, '_>) -> Result<Interface, Remark> {
        let found = fields.get(&["interface"]);
        let word =
            found.as_ref().map(|(path, node)| text(path, node)).transpose()?.unwrap_or_default().trim();
        let lower = word.to_lowercase();
        let meant = match lower.as_str() {
            "read" => "query",
            "write" => "deposit",
            other => other,
        };
        if meant != lower {
            self.notes.push(fields.remark(format!("the interface {word:?} is taken for {meant}")));
        }
        Ok(match meant {
            "query" => Interface::Query,
            "deposit" => Interface::Deposit(amount(fields)?),
            "withdraw" => Interface::Withdraw(amount(fields)?),
            _ => {
                let message = format!("the interface {word:?} is unknown; the event fails");
                self.notes.push(fields.remark(message));
                Interface::Unknown(word.into())
            }
        })
    }
}

fn amount(fields: &Fields<'_, '_>) -> Result<Money, Remark> {
    let (path, node) = fields.needed(&["money"])?;
    money(&path, node)
}

/// The branches' ids in the order of the file, and the balance on which all agree.
fn branch_list(entries: &[Fields<'_, '_>]) -> Result<(Vec<u64>, Money), Remark> {
    let (mut ids, mut known, mut agreed) = (Vec::new(), BTreeSet::new(), None);
    for fields in entries {
        let (path, node) = fields.needed(&["id"])?;
        let branch = id(&path, node)?;
        if !known.insert(branch) {
            let message = format!("branch {branch} is there twice; give each branch its own id");
            return Err(Remark { path, at: node.at, message });
        }
        let (path, node) = fields.needed(&["balance"])?;
        let balance = money(&path, node)?;
        let (first, first_balance) = *agreed.get_or_insert((branch, balance));
        if balance != first_balance {
            let message = format!(
                "branch {branch} begins with {balance} and branch {first} with {first_balance}; all must begin with the same balance"
            );
            return Err(Remark { path, at: node.at, message });
        }
        ids.push(branch);
    }
    let balance = agreed.map_or(Money::ZERO, |(_, balance)| balance);
    Ok((ids, balance))
}
