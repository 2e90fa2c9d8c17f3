//! A log for ShiViz: the expression that reads it, an empty line, then two lines per event.
//!
//! Invariant: a host's own entry starts at 1 and rises by exactly 1 per event, every host that a clock names
//! has events, and every clock is the merge of its causes.

use std::fmt;

use super::scene::Scene;
use crate::scenario::trace::Who;

/// How ShiViz finds the fields; it takes the first line of a file for it.
const EXPRESSION: &str = r"(?<host>\S*) (?<clock>{.*})\n(?<event>.*)";

pub(super) fn write(scene: &Scene, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(f, "{EXPRESSION}\n")?;
    let hosts: Vec<String> = scene.processes.iter().map(host).collect();
    let mut now = vec![vec![0u32; hosts.len()]; hosts.len()];
    let mut at_event: Vec<Vec<u32>> = Vec::with_capacity(scene.events.len());
    for event in &scene.events {
        let Some(clock) = now.get_mut(event.process) else { continue };
        if let Some(cause) = event.cause.and_then(|cause| at_event.get(cause)) {
            for (own, seen) in clock.iter_mut().zip(cause) {
                *own = (*own).max(*seen);
            }
        }
        if let Some(own) = clock.get_mut(event.process) {
            *own += 1;
        }
        let name = hosts.get(event.process).map_or("", String::as_str);
        write!(f, "{name} {{")?;
        let seen = hosts.iter().zip(clock.iter()).filter(|(_, count)| **count > 0);
        for (at, (host, count)) in seen.enumerate() {
            let comma = if at > 0 { ", " } else { "" };
            write!(f, "{comma}\"{host}\": {count}")?;
        }
        writeln!(f, "}}\n{}, Lamport clock {}", event.text, event.clock)?;
        at_event.push(clock.clone());
    }
    Ok(())
}

/// A name without blanks.
fn host(who: &Who) -> String {
    match who {
        Who::Customer(id) => format!("customer-{id}"),
        Who::Branch(id) => format!("branch-{id}"),
    }
}
