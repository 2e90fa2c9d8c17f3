//! What is drawn: processes, their events in an order that respects every message, and the messages.
//!
//! Invariant: events are sorted by clock, so whatever caused an event stands before it.

use std::collections::BTreeMap;

use crate::scenario::trace::{Act, Recorded, Row, Who};

/// A trace ready to be drawn.
#[derive(Debug)]
pub(super) struct Scene {
    /// Each customer beside the branch that it talks to first, the branches in the order of the files.
    pub(super) processes: Vec<Who>,
    pub(super) events: Vec<SceneEvent>,
}

/// One end of a message.
#[derive(Debug)]
pub(super) struct SceneEvent {
    /// Position in [`Scene::processes`].
    pub(super) process: usize,
    pub(super) clock: u64,
    /// Which of the customers asked for it, counted in the order of [`Scene::processes`].
    pub(super) asker: usize,
    /// The send that this event receives, as a position in [`Scene::events`].
    pub(super) cause: Option<usize>,
    /// What happens, like `deposit 71 sent to branch 4`.
    pub(super) text: String,
}

impl Scene {
    /// The scene of a sound trace.
    pub(super) fn of(recorded: &Recorded) -> Scene {
        let processes = lanes(recorded);
        let places: BTreeMap<Who, usize> = processes.iter().copied().zip(0..).collect();
        let askers = processes.iter().filter(|who| matches!(who, Who::Customer(_))).copied();
        let askers: BTreeMap<Who, usize> = askers.zip(0..).collect();
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
                asker: askers.get(&asker).copied().unwrap_or_default(),
                cause,
                text: text(&row, other),
            });
        }
        Scene { processes, events }
    }
}

/// The order of the processes: most messages then have a short way.
fn lanes(recorded: &Recorded) -> Vec<Who> {
    let mut homes: BTreeMap<Who, Who> = BTreeMap::new();
    for (_, row) in &recorded.events {
        if let Act::Received(customer @ Who::Customer(_)) = row.act {
            homes.entry(customer).or_insert(row.who);
        }
    }
    let mut customers: Vec<Who> = Vec::new();
    for who in recorded.customers.iter().map(|customer| customer.who) {
        if !customers.contains(&who) {
            customers.push(who);
        }
    }
    let (customers, homes) = (&customers, &homes);
    let at_home = |home: Option<Who>| {
        customers.iter().copied().filter(move |customer| homes.get(customer).copied() == home)
    };
    let mut lanes: Vec<Who> = at_home(None).collect();
    for branch in recorded.branches.iter().map(|branch| branch.who) {
        lanes.extend(at_home(Some(branch)));
        lanes.push(branch);
    }
    lanes
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
