//! The tracer: a replica's Lamport clock, and the events that it has recorded with it.
//!
//! Invariant: no two events have the same clock, and each is recorded once: a call that comes again under its name
//! is the same event, and what the log held before the start is not recorded again. Nothing here
//! changes what is applied. `replication` notes calls, the state machine what it applies; without a
//! tracer neither does anything.

use std::collections::{BTreeMap, VecDeque};

use parking_lot::Mutex;

use super::LogBatch;
use crate::model::{LamportClock, ReplicaId, Reply, Trace, TraceEvent, TraceKind, TraceName};

/// Events that a replica remembers, about 50 bytes each; older ones go.
pub const TRACE_EVENTS: usize = 1 << 20;

/// Clock and events of one replica.
pub struct Tracer {
    me: ReplicaId,
    /// Up to which index the log was there before this replica started.
    before: u64,
    recorded: Mutex<Recorded>,
}

#[derive(Default)]
struct Recorded {
    clock: LamportClock,
    events: VecDeque<TraceEvent>,
    /// How many events came before the first one in `events`.
    gone: u64,
    /// The calls in `events`: the clock of each, and how many clocks after it are kept for its sends.
    calls: BTreeMap<TraceName, (LamportClock, usize)>,
}

/// Some recorded events.
pub struct TraceSlice {
    /// In the order in which they were recorded.
    pub events: Vec<TraceEvent>,
    /// Where the list goes on; none at its end.
    pub next: Option<u64>,
}

impl Tracer {
    /// The tracer of a replica whose log reached to an index before it started.
    pub(crate) fn new(me: ReplicaId, before: u64) -> Tracer {
        Tracer { me, before, recorded: Mutex::default() }
    }

    /// Notes a call that was sent at `sent`, and keeps a clock for the send to each replica in `to`.
    pub(crate) fn received(&self, name: TraceName, sent: LamportClock, mut to: Vec<ReplicaId>) -> Trace {
        let mut recorded = self.recorded.lock();
        let received = match recorded.calls.get(&name) {
            Some((received, sends)) => {
                to.truncate(*sends);
                *received
            }
            None => recorded.call(name.clone(), sent, to.len()),
        };
        Trace { name, origin: self.me, received, to }
    }

    /// Notes a batch that was applied, and what became of it.
    pub(crate) fn applied(&self, index: u64, batch: &LogBatch, replies: &[Reply]) {
        if batch.traces().is_empty() {
            return;
        }
        let mut recorded = self.recorded.lock();
        for (place, trace) in batch.traces() {
            let reply = usize::try_from(*place).ok().and_then(|place| replies.get(place));
            // What was refused, or executed before, was not passed on to anybody.
            let took_effect = |reply: &Reply| {
                !reply.replayed && reply.outcomes.as_slice().iter().any(std::result::Result::is_ok)
            };
            if reply.is_some_and(took_effect) {
                recorded.effect(self.me, trace, index > self.before);
            }
        }
    }

    /// Events whose names begin with `prefix`, from a place on, at most `limit`.
    pub fn list(&self, prefix: &str, from: u64, limit: usize) -> TraceSlice {
        let recorded = self.recorded.lock();
        let first = from.max(recorded.gone);
        let skipped = usize::try_from(first - recorded.gone).unwrap_or(usize::MAX);
        let mut events = Vec::new();
        let from_here = (first..).zip(recorded.events.iter().skip(skipped));
        for (place, event) in from_here.filter(|(_, event)| event.name.as_str().starts_with(prefix)) {
            if events.len() == limit {
                return TraceSlice { events, next: Some(place) };
            }
            events.push(event.clone());
        }
        TraceSlice { events, next: None }
    }
}

impl Recorded {
    fn call(&mut self, name: TraceName, sent: LamportClock, sends: usize) -> LamportClock {
        let received = self.clock.receive(sent);
        self.clock = received.after(sends);
        self.calls.insert(name.clone(), (received, sends));
        self.push(TraceEvent { clock: received, name, kind: TraceKind::ReceivedFromCaller });
        received
    }

    fn effect(&mut self, me: ReplicaId, trace: &Trace, is_new: bool) {
        if trace.origin == me {
            // Of a former life of this replica, whose clock must not go back.
            self.clock = self.clock.max(trace.received.after(trace.to.len()));
            for (to, clock) in trace.sends().filter(|_| is_new) {
                self.push(TraceEvent { clock, name: trace.name.clone(), kind: TraceKind::SentTo(to) });
            }
        } else if let Some(sent) = trace.sent_to(me) {
            self.clock = self.clock.receive(sent);
            if is_new {
                let kind = TraceKind::ReceivedFrom(trace.origin);
                self.push(TraceEvent { clock: self.clock, name: trace.name.clone(), kind });
            }
        }
    }

    fn push(&mut self, event: TraceEvent) {
        if self.events.len() == TRACE_EVENTS
            && let Some(oldest) = self.events.pop_front()
        {
            self.gone += 1;
            if oldest.kind == TraceKind::ReceivedFromCaller {
                self.calls.remove(&oldest.name);
            }
        }
        self.events.push_back(event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Batch, Outcomes, Proposal, Receipt, Rejection, Sequence, Timestamp, Work};

    fn clock(reading: u64) -> LamportClock {
        LamportClock::new(reading).unwrap()
    }

    fn batch(traces: Vec<Trace>) -> LogBatch {
        let proposal = || Proposal { request: None, work: Work::Independent(Vec::new()) };
        let proposals = traces.iter().map(|_| proposal()).collect();
        let batch = Batch { time: Timestamp::from_micros(1), founding: None, proposals };
        LogBatch::traced(batch, (0..).zip(traces).collect())
    }

    fn reply(replayed: bool, works: bool) -> Reply {
        let account = crate::model::AccountNumber::FIRST;
        let balance = crate::model::Money::ZERO;
        let outcome = match works {
            true => Ok(Receipt::Deposited { account, balance }),
            false => Err(Rejection::AccountNotFound { account }),
        };
        let (first, last, time) = (Sequence(1), Sequence(1), Timestamp::from_micros(1));
        Reply { first, last, time, replayed, outcomes: Outcomes::One(outcome) }
    }

    fn events(tracer: &Tracer) -> Vec<(u64, String, TraceKind)> {
        let event = |event: TraceEvent| (event.clock.get(), event.name.as_str().to_owned(), event.kind);
        tracer.list("", 0, usize::MAX).events.into_iter().map(event).collect()
    }

    #[test]
    fn a_write_is_a_receive_a_send_to_each_other_replica_and_a_receive_there() {
        let [first, second] = [4, 9].map(|id| Tracer::new(ReplicaId(id), 0));
        let trace = first.received("71".parse().unwrap(), clock(1), vec![ReplicaId(9)]);
        let next = first.received("72".parse().unwrap(), clock(2), vec![ReplicaId(9)]);
        let log = batch(vec![trace, next]);
        for tracer in [&first, &second] {
            tracer.applied(1, &log, &[reply(false, true), reply(false, true)]);
        }
        use TraceKind::{ReceivedFrom, ReceivedFromCaller, SentTo};
        let named = |clock, name: &str, kind| (clock, name.to_owned(), kind);
        let sent = SentTo(ReplicaId(9));
        assert_eq!(
            events(&first),
            [
                named(2, "71", ReceivedFromCaller),
                named(4, "72", ReceivedFromCaller),
                named(3, "71", sent),
                named(5, "72", sent)
            ]
        );
        let received = ReceivedFrom(ReplicaId(4));
        assert_eq!(events(&second), [named(4, "71", received), named(6, "72", received)]);
    }

    #[test]
    fn what_comes_again_or_is_refused_leaves_no_trace_of_its_own() {
        let tracer = Tracer::new(ReplicaId(1), 0);
        let others = || vec![ReplicaId(2)];
        let first = tracer.received("a".parse().unwrap(), clock(5), others());
        assert_eq!(tracer.received("a".parse().unwrap(), clock(5), others()), first);
        let foreign = Trace { origin: ReplicaId(2), to: vec![ReplicaId(1)], ..first.clone() };
        let log = batch(vec![first.clone(), first, foreign.clone(), foreign]);
        let replies = [reply(false, false), reply(true, true), reply(false, false), reply(true, true)];
        tracer.applied(1, &log, &replies);
        assert_eq!(events(&tracer).len(), 1);
    }

    #[test]
    fn a_restart_records_nothing_again_and_its_clock_does_not_go_back() {
        let tracer = Tracer::new(ReplicaId(1), 7);
        let to = vec![ReplicaId(2), ReplicaId(3)];
        let (name, origin) = ("a".parse().unwrap(), ReplicaId(1));
        let own = Trace { name, origin, received: clock(40), to: to.clone() };
        let theirs = Trace { origin: ReplicaId(2), to: vec![ReplicaId(1)], ..own.clone() };
        tracer.applied(7, &batch(vec![own, theirs]), &[reply(false, true), reply(false, true)]);
        assert_eq!(events(&tracer), []);
        assert_eq!(tracer.received("b".parse().unwrap(), clock(1), to).received, clock(44));
    }

    #[test]
    fn a_list_goes_on_where_it_stopped_and_shows_what_was_asked_for() {
        let tracer = Tracer::new(ReplicaId(1), 0);
        for n in 0..5 {
            tracer.received(
                format!("{}.{n}", if n == 2 { "b" } else { "a" }).parse().unwrap(),
                clock(0),
                vec![],
            );
        }
        let first = tracer.list("a.", 0, 3);
        assert_eq!((first.events.len(), first.next), (3, Some(4)));
        let rest = tracer.list("a.", 4, 3);
        assert_eq!((rest.events.len(), rest.next), (1, None));
        assert_eq!(tracer.list("c", 0, 3).events, []);
    }

    #[test]
    fn the_oldest_events_go_when_there_are_too_many() {
        let tracer = Tracer::new(ReplicaId(1), 0);
        for n in 0..=TRACE_EVENTS {
            tracer.received(n.to_string().parse().unwrap(), clock(0), vec![]);
        }
        let first = tracer.list("", 0, 1);
        assert_eq!((first.events[0].name.as_str(), first.next), ("1", Some(2)));
        assert_eq!(tracer.recorded.lock().calls.len(), TRACE_EVENTS);
    }
}
