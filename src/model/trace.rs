//! Traces: logical clocks in the sense of Lamport, and the events that replicas record with them.
//!
//! A clock is only ever compared; no rule of the bank depends on one. A trace travels beside a proposal and
//! the ledger never sees it.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{IdError, ReplicaId};

/// A reading of a logical clock, from 0. Readings reach callers as JSON numbers, so they stay below 2^53.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct LamportClock(u64);

impl LamportClock {
    /// The greatest reading; a clock that reaches it stands still.
    pub const MAX: LamportClock = LamportClock((1 << 53) - 1);

    /// A reading up to [`LamportClock::MAX`].
    #[must_use]
    pub fn new(reading: u64) -> Option<LamportClock> {
        Some(LamportClock(reading)).filter(|clock| *clock <= LamportClock::MAX)
    }

    /// The reading.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0
    }

    /// The reading so many events later.
    #[must_use]
    pub fn after(self, events: usize) -> LamportClock {
        let events = u64::try_from(events).unwrap_or(u64::MAX);
        LamportClock(self.0.saturating_add(events)).min(LamportClock::MAX)
    }

    /// What a clock that reads this reads when it receives what was sent at `sent`.
    #[must_use]
    pub fn receive(self, sent: LamportClock) -> LamportClock {
        self.max(sent).after(1)
    }
}

impl TryFrom<u64> for LamportClock {
    type Error = IdError;

    fn try_from(reading: u64) -> Result<LamportClock, IdError> {
        LamportClock::new(reading).ok_or(IdError::Clock)
    }
}

impl From<LamportClock> for u64 {
    fn from(clock: LamportClock) -> u64 {
        clock.0
    }
}

impl std::str::FromStr for LamportClock {
    type Err = IdError;

    fn from_str(text: &str) -> Result<LamportClock, IdError> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let reading = digits.then(|| text.parse().ok()).flatten();
        reading.and_then(LamportClock::new).ok_or(IdError::Clock)
    }
}

impl fmt::Display for LamportClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// What a caller calls a request in traces: 1 to 64 printable ASCII characters without blanks. It means
/// nothing to the bank.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TraceName(Arc<str>);

impl TraceName {
    /// Longest name, in bytes.
    pub const BYTES: usize = 64;

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for TraceName {
    type Err = IdError;

    fn from_str(text: &str) -> Result<TraceName, IdError> {
        let plain = text.bytes().all(|byte| byte.is_ascii_graphic());
        if text.is_empty() || text.len() > TraceName::BYTES || !plain {
            return Err(IdError::Trace);
        }
        Ok(TraceName(text.into()))
    }
}

impl TryFrom<String> for TraceName {
    type Error = IdError;

    fn try_from(text: String) -> Result<TraceName, IdError> {
        text.parse()
    }
}

impl From<TraceName> for String {
    fn from(name: TraceName) -> String {
        name.as_str().to_owned()
    }
}

/// What travels with a traced proposal: where it came in, when, and to whom that replica sends it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Trace {
    /// What the caller calls the request.
    pub name: TraceName,
    /// The replica that received it from the caller.
    pub origin: ReplicaId,
    /// The clock of that replica when it received it.
    pub received: LamportClock,
    /// The other replicas of the branch, as the origin knew them then. The clocks after `received` belong to
    /// the sends to them, in this order.
    pub to: Vec<ReplicaId>,
}

impl Trace {
    /// The sends of the origin, each with its clock.
    pub fn sends(&self) -> impl Iterator<Item = (ReplicaId, LamportClock)> {
        (1..).zip(&self.to).map(|(place, to)| (*to, self.received.after(place)))
    }

    /// The clock of the origin when it sent to this replica; none when it did not.
    #[must_use]
    pub fn sent_to(&self, replica: ReplicaId) -> Option<LamportClock> {
        self.sends().find(|(to, _)| *to == replica).map(|(_, clock)| clock)
    }
}

/// What happened at a replica.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TraceKind {
    /// A caller's request arrived.
    ReceivedFromCaller,
    /// A write was sent to another replica.
    SentTo(ReplicaId),
    /// A write arrived from the replica that had received it.
    ReceivedFrom(ReplicaId),
}

/// One event of a trace, as the replica recorded it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TraceEvent {
    /// The replica's clock.
    pub clock: LamportClock,
    /// What the caller calls the request.
    pub name: TraceName,
    /// What happened.
    pub kind: TraceKind,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_read_from_digits_and_never_passes_its_end() {
        for text in ["0", "7", "9007199254740991"] {
            assert_eq!(text.parse::<LamportClock>().unwrap().to_string(), text);
        }
        for text in ["", "-1", "+1", "1.0", " 1", "١", "9007199254740992", "18446744073709551616"] {
            assert_eq!(text.parse::<LamportClock>(), Err(IdError::Clock), "{text:?}");
        }
        assert_eq!(LamportClock::MAX.receive(LamportClock::MAX), LamportClock::MAX);
        assert_eq!(LamportClock(3).receive(LamportClock(7)), LamportClock(8));
        assert_eq!(LamportClock(7).receive(LamportClock(3)), LamportClock(8));
    }

    #[test]
    fn trace_names_are_short_and_printable() {
        assert_eq!("run.4.71".parse::<TraceName>().unwrap().as_str(), "run.4.71");
        for text in ["", "a b", "é", "a\n", &"x".repeat(65)] {
            assert_eq!(text.parse::<TraceName>(), Err(IdError::Trace), "{text:?}");
        }
    }

    #[test]
    fn sends_follow_the_receive_one_by_one() {
        let to = [ReplicaId(2), ReplicaId(9)].to_vec();
        let (name, origin, received) = ("a".parse().unwrap(), ReplicaId(4), LamportClock(10));
        let trace = Trace { name, origin, received, to };
        let sends: Vec<_> = trace.sends().collect();
        assert_eq!(sends, [(ReplicaId(2), LamportClock(11)), (ReplicaId(9), LamportClock(12))]);
        assert_eq!(trace.sent_to(ReplicaId(9)), Some(LamportClock(12)));
        assert_eq!(trace.sent_to(ReplicaId(4)), None);
    }
}
