//! Pictures: every message has an arrow and every clock a number; ShiViz would accept the log.

use std::collections::BTreeMap;

use bank::scenario::diagram::{Diagram, DiagramFormat, NotDrawn};
use bank::scenario::{Dialect, TraceFiles, report};
use proptest::prelude::*;

use super::check::Trace;
use super::play;
use super::story::stories;

fn drawn(trace: &Trace, format: DiagramFormat) -> Result<String, NotDrawn> {
    let [customers, branches, events] =
        [&trace.customers, &trace.branches, &trace.events].map(ToString::to_string);
    let files = TraceFiles {
        customers: customers.as_bytes(),
        branches: branches.as_bytes(),
        events: events.as_bytes(),
    };
    Diagram::new(files, format).map(|diagram| diagram.to_string())
}

#[test]
fn the_svg_shows_every_process_message_and_clock() {
    let svg = drawn(&Trace::sound(), DiagramFormat::Svg).unwrap();
    assert!(svg.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\""));
    for (what, count) in [("<line ", 5), ("<path class=\"m\"", 8), ("<circle", 16), ("class=\"c\"", 16)] {
        assert_eq!(svg.matches(what).count(), count, "{what}");
    }
    for text in [
        "<title>Space-time diagram: 2 customers, 3 branches, 8 messages</title>",
        "<title>customer 4 at clock 1: deposit 71 sent to branch 4 at clock 10</title>",
        "<title>branch 30, clock 25: withdraw 81 received from branch 9</title>",
        ">branch 30</text>",
    ] {
        assert!(svg.contains(text), "{text}");
    }
    // Every element is closed: an opening tag, its end, or both in one.
    let (opened, closed) = (svg.matches('<').count(), svg.matches("</").count() + svg.matches("/>").count());
    assert_eq!(opened - svg.matches("</").count(), closed);
}

#[test]
fn a_trace_that_is_not_sound_is_not_drawn() {
    let mut trace = Trace::sound();
    trace.events.as_array_mut().unwrap().pop();
    let Err(NotDrawn::NotSound(verdict)) = drawn(&trace, DiagramFormat::Svg) else {
        panic!("drawn");
    };
    assert_eq!(*verdict, trace.verdict());
}

#[test]
fn arrows_lead_to_the_right() {
    let svg = drawn(&Trace::sound(), DiagramFormat::Svg).unwrap();
    for line in svg.lines().filter(|line| line.contains("<path class=\"m\"")) {
        let path = line.split("d=\"M").nth(1).unwrap().split('"').next().unwrap();
        let x: Vec<u32> =
            path.split('L').map(|point| point.split(' ').next().unwrap().parse().unwrap()).collect();
        assert!(x[0] < x[1], "{line}");
    }
}

/// Host, vector clock and text of every event, as ShiViz finds them.
fn events_of(log: &str) -> Vec<(String, BTreeMap<String, u64>, String)> {
    let mut lines = log.lines();
    assert_eq!(lines.next(), Some(r"(?<host>\S*) (?<clock>{.*})\n(?<event>.*)"));
    assert_eq!(lines.next(), Some(""));
    let mut events = Vec::new();
    while let Some(line) = lines.next() {
        let (host, clock) = line.split_once(' ').unwrap();
        let clock = serde_json::from_str(clock).unwrap();
        events.push((host.to_owned(), clock, lines.next().unwrap().to_owned()));
    }
    events
}

/// The rules that ShiViz holds a log to, and that an event's clock is the merge of its causes: of the event
/// before it on its host, and of the send that it receives, which is the only other one.
fn is_accepted(log: &str) -> Result<(), TestCaseError> {
    let events = events_of(log);
    let mut of_host: BTreeMap<&str, Vec<&BTreeMap<String, u64>>> = BTreeMap::new();
    for (host, clock, _) in &events {
        of_host.entry(host).or_default().push(clock);
    }
    for (host, clock, text) in &events {
        let own = usize::try_from(clock[host]).unwrap();
        prop_assert!(of_host[host.as_str()][own - 1] == clock, "{} {:?}", host, clock);
        let mut merged = BTreeMap::from([(host.clone(), own as u64)]);
        let before = (own > 1).then(|| of_host[host.as_str()][own - 2]);
        let sender = text.split_once(" received from ").map(|(_, rest)| rest.split(',').next().unwrap());
        let sender = sender.map(|name| name.replace(' ', "-"));
        let sent = sender.map(|name| of_host[name.as_str()][usize::try_from(clock[&name]).unwrap() - 1]);
        for (name, count) in before.into_iter().chain(sent).flatten() {
            prop_assert!(of_host.contains_key(name.as_str()));
            let known = merged.entry(name.clone()).or_default();
            *known = (*known).max(*count);
        }
        prop_assert_eq!(&merged, clock);
    }
    Ok(())
}

proptest! {
    #[test]
    fn shiviz_accepts_the_log_of_any_run(story in stories(Dialect::P2), seed: u64) {
        let plan = story.plan();
        let played = play::with_clocks(&plan, seed);
        let files = play::outputs(&plan, &played);
        let log = Diagram::new(play::trace_files(&files), DiagramFormat::Shiviz).unwrap().to_string();
        is_accepted(&log)?;
        prop_assert_eq!(events_of(&log).len(), played.trace.len());
        let svg = Diagram::new(play::trace_files(&files), DiagramFormat::Svg).unwrap().to_string();
        prop_assert_eq!(svg.matches("<path class=\"m\"").count() * 2, played.trace.len());
        prop_assert!(files.contains_key(report::EVENT_OUTPUTS));
    }
}

#[test]
fn the_log_says_what_happened() {
    let log = drawn(&Trace::sound(), DiagramFormat::Shiviz).unwrap();
    let lines: Vec<_> = log.lines().skip(2).take(2).collect();
    assert_eq!(lines, ["customer-4 {\"customer-4\": 1}", "deposit 71 sent to branch 4, Lamport clock 1"]);
}
