//! What every call brings along: a deadline and a session.

use std::time::Duration;

use tonic::metadata::MetadataMap;

use crate::model::planted::{Fault, planted};
use crate::model::{
    BranchName, Failure, IdError, LamportClock, Reason, Seen, Sequence, Session, Trace, TraceName,
    Unavailable,
};
use crate::replication::{Lane, ReadPoint};
use crate::store::{Runtime, Tokio};
use crate::wire::parse;
use crate::wire::proto::v1::Consistency;
use crate::wire::reply::Stamp;
use crate::wire::{CLOCK_HEADER, TRACE_HEADER};

/// The time a call has when it names none.
pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(5);
/// The longest time a call is given, whatever it asks for.
const LONGEST_DEADLINE: Duration = Duration::from_secs(3_600);
/// When a call that took too long should come again.
pub(super) const WHEN_LESS_BUSY: Duration = Duration::from_secs(1);
/// Header that carries the time a call has.
const TIMEOUT_HEADER: &str = "grpc-timeout";

/// The time that a call asks for in its `grpc-timeout` header; none without one.
///
/// # Errors
/// `ARGUMENT_INVALID` for a header that is not up to eight digits and a unit.
pub fn call_timeout(header: Option<&[u8]>) -> Result<Option<Duration>, Failure> {
    let Some(header) = header else { return Ok(None) };
    timeout(header).map(|timeout| Some(timeout.min(LONGEST_DEADLINE))).ok_or_else(|| {
        Failure::new(
            Reason::ArgumentInvalid,
            "the grpc-timeout header is up to eight digits and one of the units H, M, S, m, u, n",
        )
        .in_field(TIMEOUT_HEADER)
    })
}

fn timeout(header: &[u8]) -> Option<Duration> {
    const DIGITS: usize = 8;
    let (unit, digits) = header.split_last()?;
    if digits.is_empty() || digits.len() > DIGITS || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let count = digits.iter().fold(0, |count, digit| count * 10 + u64::from(digit - b'0'));
    match unit {
        b'H' => Some(Duration::from_secs(count * 3_600)),
        b'M' => Some(Duration::from_secs(count * 60)),
        b'S' => Some(Duration::from_secs(count)),
        b'm' => Some(Duration::from_millis(count)),
        b'u' => Some(Duration::from_micros(count)),
        b'n' => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

/// The time that the bank takes for a call, from its headers: a little less than the call has, because an
/// answer that says why nothing could be done in time must arrive in time itself.
pub(super) fn timeout_of(metadata: &MetadataMap) -> Result<Option<Duration>, Failure> {
    const WAY_BACK: Duration = Duration::from_millis(50);
    const SHARE: u32 = 16;
    let timeout = call_timeout(metadata.get(TIMEOUT_HEADER).map(|header| header.as_bytes()))?;
    Ok(timeout.map(|timeout| timeout - WAY_BACK.min(timeout / SHARE)))
}

/// Records the arrival of a traced call; of a write, what travels with its proposal.
///
/// # Errors
/// `ARGUMENT_INVALID` for headers of a traced call that are none, at a replica that records traces.
pub(super) fn trace<R: Runtime>(
    lane: &Lane<R>,
    metadata: &MetadataMap,
    is_write: bool,
) -> Result<Option<Box<Trace>>, Failure> {
    if !lane.traces() {
        return Ok(None);
    }
    let Some(name) = metadata.get(TRACE_HEADER) else { return Ok(None) };
    let clock = metadata.get(CLOCK_HEADER).and_then(|clock| clock.to_str().ok()).unwrap_or_default();
    let name: TraceName =
        name.to_str().unwrap_or_default().parse().map_err(|error| wrong(error, TRACE_HEADER))?;
    let sent: LamportClock = clock.parse().map_err(|error| wrong(error, CLOCK_HEADER))?;
    Ok(lane.trace(name, sent, is_write))
}

fn wrong(error: IdError, header: &str) -> Failure {
    Failure::from(error).in_field(header)
}

/// Deadline and session of one call.
pub(super) struct Call<R: Runtime = Tokio> {
    /// When the caller stops waiting.
    pub(super) deadline: R::Instant,
    /// What the caller has seen of this branch.
    pub(super) seen: Option<Seen>,
    session: Session,
    has_token: bool,
}

impl<R: Runtime> Call<R> {
    /// Reads what the call brings along.
    ///
    /// # Errors
    /// `ARGUMENT_INVALID` for a header or token that is none, `SESSION_UNKNOWN` for a token of another
    /// life of the ledger, `STARTING` while this replica does not know its ledger.
    pub(super) fn begin(
        lane: &Lane<R>,
        metadata: &MetadataMap,
        session_token: &str,
    ) -> Result<Call<R>, Failure> {
        let timeout = timeout_of(metadata)?;
        let session = Session::parse(session_token)?;
        let seen = session.of(lane.branch());
        let ledger = lane.ledger()?;
        if seen.is_some_and(|seen| seen.ledger != ledger) {
            return Err(Unavailable::SessionUnknown.into());
        }
        let deadline = R::now() + timeout.unwrap_or(DEFAULT_DEADLINE);
        Ok(Call { deadline, seen, session, has_token: !session_token.is_empty() })
    }

    /// A call that carries no session.
    pub(super) fn without_session(deadline: R::Instant) -> Call<R> {
        Call { deadline, seen: None, session: Session::default(), has_token: false }
    }

    /// How fresh a read of this call must be, and what to call that in the reply.
    ///
    /// # Errors
    /// `ARGUMENT_INVALID` for a consistency that does not exist.
    pub(super) fn read_point(&self, consistency: i32) -> Result<(ReadPoint, Consistency), Failure> {
        let consistency = match parse::consistency(consistency)? {
            Consistency::Unspecified if self.has_token => Consistency::Session,
            Consistency::Unspecified => Consistency::Linearizable,
            named @ (Consistency::Linearizable | Consistency::Session | Consistency::Stale) => named,
        };
        let point = match consistency {
            Consistency::Linearizable => ReadPoint::Latest,
            // A session that has seen nothing of this branch is served by any state.
            Consistency::Session => self.seen.map_or(ReadPoint::Local, ReadPoint::AtLeast),
            Consistency::Unspecified | Consistency::Stale => ReadPoint::Local,
        };
        Ok((point, consistency))
    }

    /// Adds what the reply shows of another branch to the session.
    pub(super) fn saw(&mut self, branch: &BranchName, seen: Seen) {
        self.session.saw(branch, seen.ledger, seen.sequence);
    }

    /// Lets other calls of the runtime have their turn, between two pieces of long work.
    ///
    /// # Errors
    /// `OVERLOADED` when the caller waits no more.
    pub(super) async fn pause(&self) -> Result<(), Failure> {
        tokio::task::yield_now().await;
        if R::now() < self.deadline {
            return Ok(());
        }
        Err(Unavailable::Overloaded { retry_after: WHEN_LESS_BUSY }.into())
    }

    /// How long the caller still waits.
    pub(super) fn left(&self) -> Duration {
        R::left(self.deadline)
    }

    /// Adds what the reply shows to the session, and fills in what every reply carries.
    pub(super) fn stamp<'a>(&mut self, lane: &'a Lane<R>, sequence: Sequence) -> Stamp<'a> {
        // Whoever has an answer to stamp has a ledger.
        if let Ok(ledger) = lane.ledger() {
            let covered =
                if planted(Fault::TokenTooLow) { Sequence(sequence.0.saturating_sub(1)) } else { sequence };
            self.session.saw(lane.branch(), ledger, covered);
        }
        Stamp {
            branch: lane.branch(),
            replica: lane.replica(),
            sequence,
            session_token: self.session.token(),
        }
    }
}

/// Checks a state that holds everything committed against what a session has seen.
///
/// # Errors
/// `SESSION_UNKNOWN` when the session claims to have seen more.
pub(super) fn check_latest(seen: Option<Seen>, latest: Sequence) -> Result<(), Failure> {
    match seen {
        Some(seen) if seen.sequence > latest => Err(Unavailable::SessionUnknown.into()),
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn long_work_ends_with_the_time_of_its_call() {
        let call = |left| Call::<Tokio>::without_session(Tokio::now() + left);
        assert_eq!(call(Duration::from_secs(60)).pause().await, Ok(()));
        let refused = call(Duration::ZERO).pause().await.unwrap_err();
        assert_eq!(refused.reason, Reason::Overloaded);
    }

    #[test]
    fn a_timeout_is_digits_and_a_unit() {
        for (header, millis) in [("1H", 3_600_000), ("2M", 120_000), ("3S", 3_000), ("4m", 4), ("5000u", 5)] {
            let expected = Ok(Some(Duration::from_millis(millis)));
            assert_eq!(call_timeout(Some(header.as_bytes())), expected, "{header}");
        }
        assert_eq!(call_timeout(Some(b"7n")), Ok(Some(Duration::from_nanos(7))));
        assert_eq!(call_timeout(None), Ok(None));
        assert_eq!(call_timeout(Some(b"99999999H")), Ok(Some(LONGEST_DEADLINE)));
        for header in ["", "S", "1", "1s", "-1S", "123456789S", "1 S", "١S"] {
            assert_eq!(
                call_timeout(Some(header.as_bytes())).unwrap_err().reason,
                Reason::ArgumentInvalid,
                "{header:?}"
            );
        }
    }
}
