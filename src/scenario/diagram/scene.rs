//! What is drawn: processes, their events in an order that respects every message, and the messages.
//!
//! Invariant: events are sorted by clock, so whatever caused an event stands before it.

use std::collections::BTreeMap;

use crate::scenario::trace::{Act, Recorded, Row, Who};

/// A trace ready to be drawn.
#[derive(Debug)]
pub(super) struct Scene {
    /// Customers, then branches, each in the order of the files.
    pub(super) processes: Vec<Who>,
    pub(super) events: Vec<SceneEvent>,
}

/// One end of a message.
#[derive(Debug)]
pub(super) struct SceneEvent {
    /// Position in [`Scene::processes`].
    pub(super) process: usize,
    pub(super) clock: u64,
    /// The customer that asked for it, as a position in [`Scene::processes`].
    pub(super) asker: usize,
    /// The send that this event receives, as a position in [`Scene::events`].
    pub(super) cause: Option<usize>,
    /// What happens, like `deposit 71 sent to branch 4`.
    pub(super) text: String,
}

impl Scene {
    /// The scene of a sound trace.
    pub(super) fn of(recorded: &Recorded) -> Scene {
        let mut processes = Vec::new();
        let mut places = BTreeMap::new();
        for who in recorded.customers.iter().chain(&recorded.branches).map(|process| process.who) {
            places.entry(who).or_insert_with(|| {
                processes.push(who);
                processes.len() - 1
            });
        }
        let place = |who: &Who| places.get(who).copied().unwrap_or_default();
        let mut rows: Vec<Told> = Vec::new();
        for (request, group) in recorded.groups().into_iter().enumerate() {
            let rows_of_group = || group.iter().map(|(_, row)| *row);
            let asker = rows_of_group().find(|row| matches!(row.act, Act::Sent(_)));
            let home = rows_of_group().find(|row| matches!(row.act, Act::Received(Who::Customer(_))));
            if let (Some(asker), Some(home)) = (asker, home) {
                rows.extend(rows_of_group().map(|row| {
                    let other = other_end(&row, home.who);
                    Told { row, request, asker: asker.who, other }
                }));
            }
        }
        rows.sort_by_key(|told| (told.row.clock, place(&told.row.who)));
        let mut sends: BTreeMap<(usize, Who, Who), usize> = BTreeMap::new();
        let mut events = Vec::with_capacity(rows.len());
        for told in rows {
            let Told { row, request, asker, other } = told;
            let cause = match row.act {
                Act::Received(_) => sends.remove(&(request, other, row.who)),
                Act::Sent(_) | Act::SentTo(_) => {
                    sends.insert((request, row.who, other), events.len());
                    None
                }
            };
            events.push(SceneEvent {
                process: place(&row.who),
                clock: row.clock,
                asker: place(&asker),
                cause,
                text: text(&row, other),
            });
        }
        Scene { processes, events }
    }
}

/// A row and what its request says about it.
struct Told {
    row: Row,
    /// Position of the request in the third file.
    request: usize,
    asker: Who,
    /// The other end of the message.
    other: Who,
}

/// Who sent what a row receives, or receives what it sends.
fn other_end(row: &Row, home: Who) -> Who {
    match row.act {
        Act::Sent(_) => home,
        Act::SentTo(branch) => Who::Branch(branch),
        Act::Received(from) => from,
    }
}

fn text(row: &Row, other: Who) -> String {
    let name = row.word.operation.name();
    let id = row.request.map_or_else(String::new, |id| format!(" {id}"));
    let direction = match row.act {
        Act::Sent(_) | Act::SentTo(_) => "sent to",
        Act::Received(_) => "received from",
    };
    format!("{name}{id} {direction} {other}")
}
