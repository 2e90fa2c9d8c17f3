//! The rules of one request: who sends what to whom, once, and later than what caused it.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::verdict::{Rule, Verdict};
use crate::scenario::trace::{Act, Operation, Place, Recorded, Row, Who, same_request};

/// How many requests there are of both kinds.
#[derive(Default)]
pub(super) struct Tally {
    /// Those that went to every branch.
    pub(super) propagated: usize,
    /// Those that only one branch received.
    pub(super) others: usize,
}

/// The rows of a request by what they do.
struct Sorted<'a> {
    sends: Vec<&'a (Place, Row)>,
    receives: Vec<&'a (Place, Row)>,
    to_others: Vec<&'a (Place, Row)>,
    at_others: Vec<&'a (Place, Row)>,
}

/// Judges each request, and counts them; none when the rows of requests cannot be told apart.
pub(super) fn check(recorded: &Recorded, verdict: &mut Verdict) -> Option<Tally> {
    let unique = recorded.has_unique_ids();
    let mut events = Cow::Borrowed(recorded.events.as_slice());
    if let Some(place) = scattered(recorded, unique) {
        let message = "the rows of this request do not stand together; the file must be grouped by request";
        verdict.add(Rule::Grouping, place, message.to_owned());
        if !unique {
            // Which rows belong together cannot be known, so whatever else is said of requests may be false.
            return None;
        }
        events.to_mut().sort_by_key(|(_, row)| row.request);
    }
    let branches: BTreeSet<Who> = recorded.branches.iter().map(|branch| branch.who).collect();
    let mut tally = Tally::default();
    for group in events.chunk_by(same_request(unique)) {
        let Some((place, _)) = group.first() else { continue };
        grouping(group, verdict);
        let sorted = sort(group);
        if sorted.to_others.is_empty() && sorted.at_others.is_empty() {
            tally.others += 1;
        } else {
            tally.propagated += 1;
        }
        request(&sorted, *place, &branches, verdict);
    }
    Some(tally)
}

/// The first row that shows that the third file is not grouped by request.
fn scattered(recorded: &Recorded, unique: bool) -> Option<Place> {
    let groups = recorded.groups();
    if unique {
        let mut closed = BTreeSet::new();
        let mut firsts = groups.iter().filter_map(|group| group.first());
        return firsts.find(|(_, row)| !closed.insert(row.request)).map(|(place, _)| *place);
    }
    // Each group begins with a customer's send. In a grouped file exactly one receive of it follows; where as many
    // receives as sends stand in other groups than their own, the file is in another order.
    let received = |row: &&(Place, Row)| matches!(row.1.act, Act::Received(Who::Customer(_)));
    let receives = |group: &&&[(Place, Row)]| group.iter().filter(received).count();
    let total: usize = groups.iter().map(|group| receives(&group)).sum();
    let odd = groups.iter().find(|group| receives(group) != 1);
    odd.filter(|_| total == groups.len()).and_then(|group| group.first()).map(|(place, _)| *place)
}

fn grouping(group: &[(Place, Row)], verdict: &mut Verdict) {
    for pair in group.windows(2) {
        let [(_, earlier), (place, later)] = pair else { continue };
        if later.clock < earlier.clock {
            let message = format!("clock {} after clock {} in one request", later.clock, earlier.clock);
            verdict.add(Rule::Grouping, *place, message);
        }
        if later.request != earlier.request {
            let message = "this row has another request id than the customer's send before it".to_owned();
            verdict.add(Rule::Grouping, *place, message);
        }
    }
}

fn sort(group: &[(Place, Row)]) -> Sorted<'_> {
    let mut sorted =
        Sorted { sends: Vec::new(), receives: Vec::new(), to_others: Vec::new(), at_others: Vec::new() };
    for entry in group {
        match entry.1.act {
            Act::Sent(_) => sorted.sends.push(entry),
            Act::Received(Who::Customer(_)) => sorted.receives.push(entry),
            Act::SentTo(_) => sorted.to_others.push(entry),
            Act::Received(Who::Branch(_)) => sorted.at_others.push(entry),
        }
    }
    sorted
}

fn request(sorted: &Sorted<'_>, place: Place, branches: &BTreeSet<Who>, verdict: &mut Verdict) {
    let (&[(sent_at, sent)], &[(received_at, received)]) =
        (sorted.sends.as_slice(), sorted.receives.as_slice())
    else {
        let (sends, receives) = (sorted.sends.len(), sorted.receives.len());
        let message = format!(
            "a request is sent and received once; here it is sent {sends} times and received {receives} times"
        );
        return verdict.add(Rule::RowsOfRequest, place, message);
    };
    if let Act::Sent(named) = sent.act
        && sent.who != Who::Customer(named)
    {
        verdict.add(Rule::Sender, *sent_at, format!("{} names customer {named}", sent.who));
    }
    if received.act != Act::Received(sent.who) {
        verdict.add(Rule::Sender, *received_at, format!("{} sent it and another is named", sent.who));
    }
    if received.clock <= sent.clock {
        let message = format!(
            "{} receives at clock {} what {} sent at clock {}",
            received.who, received.clock, sent.who, sent.clock
        );
        verdict.add(Rule::ReceiveAfterRequest, *received_at, message);
    }
    if !branches.contains(&received.who) {
        verdict.add(Rule::Form, *received_at, format!("{} has no object of its own", received.who));
    }
    let rows = [&sorted.receives, &sorted.to_others, &sorted.at_others].into_iter().flatten();
    for (place, row) in rows.filter(|(_, row)| row.word.operation != sent.word.operation) {
        let (asked, done) = (sent.word.operation.name(), row.word.operation.name());
        verdict.add(Rule::RowsOfRequest, *place, format!("the customer asked for a {asked}, not a {done}"));
    }
    if sorted.to_others.is_empty() && sorted.at_others.is_empty() {
        return;
    }
    if sent.word.operation == Operation::Query {
        verdict.add(Rule::RowsOfRequest, place, "a query is not propagated".to_owned());
    }
    propagation(sorted, received, place, branches, verdict);
}

fn propagation(
    sorted: &Sorted<'_>,
    received: &Row,
    place: Place,
    branches: &BTreeSet<Who>,
    verdict: &mut Verdict,
) {
    let home = received.who;
    let mut sends = BTreeMap::new();
    for (place, row) in &sorted.to_others {
        let Act::SentTo(to) = row.act else { continue };
        if row.who != home {
            let message = format!("{} sends what {home} has received", row.who);
            verdict.add(Rule::RowsOfRequest, *place, message);
        }
        if row.clock <= received.clock {
            let message =
                format!("{home} sends at clock {} what it received at clock {}", row.clock, received.clock);
            verdict.add(Rule::SendAfterReceive, *place, message);
        }
        if sends.insert(Who::Branch(to), row.clock).is_some() {
            verdict.add(Rule::RowsOfRequest, *place, format!("{home} sends to branch {to} twice"));
        }
    }
    let mut receives = BTreeSet::new();
    for (place, row) in &sorted.at_others {
        if row.act != Act::Received(home) {
            verdict.add(Rule::Sender, *place, format!("{home} sent it and another is named"));
        }
        if !receives.insert(row.who) {
            verdict.add(Rule::RowsOfRequest, *place, format!("{} receives it twice", row.who));
        }
        match sends.get(&row.who) {
            Some(sent) if row.clock <= *sent => {
                let message =
                    format!("{} receives at clock {} what {home} sent at clock {sent}", row.who, row.clock);
                verdict.add(Rule::ReceiveAfterSend, *place, message);
            }
            Some(_) => {}
            None => {
                let message = format!("{} receives what {home} has not sent to it", row.who);
                verdict.add(Rule::RowsOfRequest, *place, message);
            }
        }
    }
    let others: BTreeSet<Who> = branches.iter().copied().filter(|branch| *branch != home).collect();
    let sent_to: BTreeSet<Who> = sends.into_keys().collect();
    for (found, what) in [(&sent_to, "send"), (&receives, "receive")] {
        if *found != others {
            let message = format!(
                "a propagated write has one {what} for each of the {} other branches; here for {}",
                others.len(),
                found.len()
            );
            verdict.add(Rule::RowsOfRequest, place, message);
        }
    }
}
