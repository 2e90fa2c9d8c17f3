//! What may be repeated: how a failed attempt is judged, and when a call gives up.
//!
//! Invariant: an attempt is repeated only with the same request id, or when nothing can have happened.
//! A write that may have been executed without our hearing of it ends as `OUTCOME_UNKNOWN`, never as a
//! failure that says nothing happened.

use std::error::Error as _;
use std::time::{Duration, Instant};

use tonic::{Code, ConnectError, Status};

use crate::model::{Exit, Failure, Reason};
use crate::wire::{REASON_TRAILER, from_status};

/// The first pause between attempts.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
/// The longest pause between attempts, unless the server asks for more.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Pauses that double up to a limit.
#[derive(Debug)]
pub(super) struct Pauses(Duration);

impl Default for Pauses {
    fn default() -> Pauses {
        Pauses(FIRST_PAUSE)
    }
}

impl Pauses {
    pub(super) fn next(&mut self) -> Duration {
        let pause = self.0;
        self.0 = (pause * 2).min(LONGEST_PAUSE);
        pause
    }
}

/// What a failed attempt means for the next one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// The server has decided.
    Final(Failure),
    /// Nothing was sent.
    NotSent(String),
    /// The server says that nothing happened and that it may work later.
    Later(Failure),
    /// It was sent and no answer of the bank came back.
    Unheard(String),
}

/// Judges a failed attempt.
pub(super) fn judge(status: &Status) -> Verdict {
    if let Some(cause) = connect_error(status) {
        return Verdict::NotSent(cause);
    }
    let failure = from_status(status);
    if status.metadata().contains_key(REASON_TRAILER) {
        return match failure.reason.exit() {
            Exit::TryAgain => Verdict::Later(failure),
            Exit::Unknown => Verdict::Unheard(failure.message),
            Exit::Done
            | Exit::Bug
            | Exit::FixCall
            | Exit::Refused
            | Exit::NotFound
            | Exit::NotAllowed
            | Exit::CheckFailed
            | Exit::Interrupted => Verdict::Final(failure),
        };
    }
    match status.code() {
        // tonic's load shedding, before the call reached the bank.
        Code::ResourceExhausted => Verdict::Later(failure),
        // The layers below gRPC: a broken connection, a passed deadline.
        Code::Unavailable | Code::Cancelled | Code::DeadlineExceeded | Code::Unknown | Code::Internal => {
            Verdict::Unheard(status.message().to_owned())
        }
        Code::Ok
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::DataLoss
        | Code::Unauthenticated => Verdict::Final(failure),
    }
}

fn connect_error(status: &Status) -> Option<String> {
    let mut source = status.source();
    while let Some(error) = source {
        if let Some(connect) = error.downcast_ref::<ConnectError>() {
            let mut cause: &dyn std::error::Error = connect.0.as_ref();
            while let Some(deeper) = cause.source() {
                cause = deeper;
            }
            return Some(cause.to_string());
        }
        source = error.source();
    }
    None
}

/// The course of one call over its attempts.
#[derive(Debug)]
pub(super) struct Course<'a> {
    /// When the caller wants an answer.
    pub(super) deadline: Instant,
    /// How long a call goes on that reaches no server at all.
    pub(super) patience: Duration,
    /// The write's name; a read has none.
    pub(super) request_id: Option<&'a str>,
    /// How many servers there are to ask.
    pub(super) servers: usize,
    started: Instant,
    attempts: usize,
    sent: bool,
    unheard: bool,
    pauses: Pauses,
}

/// What to do after a failed attempt.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Next {
    /// Ask the same or the next server after a pause.
    Again {
        /// Whether to ask another server.
        elsewhere: bool,
        /// How long to wait before.
        pause: Duration,
    },
    /// Tell the caller.
    GiveUp(Failure),
}

impl<'a> Course<'a> {
    pub(super) fn new(
        now: Instant,
        timeout: Duration,
        patience: Duration,
        request_id: Option<&'a str>,
        servers: usize,
    ) -> Course<'a> {
        Course {
            deadline: now + timeout,
            patience,
            request_id,
            servers: servers.max(1),
            started: now,
            attempts: 0,
            sent: false,
            unheard: false,
            pauses: Pauses::default(),
        }
    }

    /// How long the next attempt may take. With several servers to ask an attempt leaves time for
    /// another one, so that one dead server does not use up the call.
    pub(super) fn attempt_timeout(&self, now: Instant) -> Duration {
        let left = self.deadline.saturating_duration_since(now);
        if self.servers > 1 { left / 2 } else { left }
    }

    /// Decides after a failed attempt. `server` is where it went.
    pub(super) fn after(&mut self, verdict: Verdict, server: &str, now: Instant) -> Next {
        self.attempts += 1;
        let (failure, elsewhere, asked) = match verdict {
            Verdict::Final(failure) => return Next::GiveUp(failure),
            Verdict::NotSent(cause) => (unreachable(server, &cause), true, None),
            Verdict::Later(failure) => {
                self.sent = true;
                let elsewhere = failure.reason != Reason::Overloaded;
                let asked = failure.retry_after;
                (failure, elsewhere, asked)
            }
            Verdict::Unheard(cause) => {
                self.sent = true;
                self.unheard = true;
                (unheard(server, &cause), true, None)
            }
        };
        // A whole round of servers is asked before the first pause.
        let pause = if elsewhere && !self.attempts.is_multiple_of(self.servers) {
            Duration::ZERO
        } else {
            let pause = self.pauses.next();
            asked.unwrap_or(pause)
        };
        let end = if self.sent { self.deadline } else { self.deadline.min(self.started + self.patience) };
        if now + pause >= end {
            return Next::GiveUp(self.verdict_of_the_call(failure));
        }
        Next::Again { elsewhere, pause }
    }

    fn verdict_of_the_call(&self, last: Failure) -> Failure {
        let Some(request_id) = self.request_id else { return last };
        if self.unheard { outcome_unknown(request_id) } else { last.with("request_id", request_id) }
    }
}

/// The failure of a write whose answer did not come.
pub(super) fn outcome_unknown(request_id: &str) -> Failure {
    Failure::new(
        Reason::OutcomeUnknown,
        format!(
            "no answer came in time, so the outcome of {request_id} is unknown; repeat with this request id, which is safe, or look with `operation {request_id}`"
        ),
    )
    .with("request_id", request_id)
}

/// The failure of a call that reached no server.
pub(super) fn unreachable(server: &str, cause: &str) -> Failure {
    Failure::new(
        Reason::Unreachable,
        format!("no server answers at {server} ({cause}); check that bank-server runs there, then try again"),
    )
    .with("server", server)
}

fn unheard(server: &str, cause: &str) -> Failure {
    Failure::new(
        Reason::Unreachable,
        format!("{server} gave no answer ({cause}); nothing was changed by asking, try again"),
    )
    .with("server", server)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::to_status;

    const SECOND: Duration = Duration::from_secs(1);

    fn course(now: Instant, request_id: Option<&'static str>, servers: usize) -> Course<'static> {
        Course::new(now, 5 * SECOND, SECOND, request_id, servers)
    }

    fn later(reason: Reason, delay: Duration) -> Verdict {
        judge(&to_status(&Failure::new(reason, "later").after(delay)))
    }

    fn reason_of(next: Next) -> Reason {
        match next {
            Next::GiveUp(failure) => failure.reason,
            Next::Again { .. } => panic!("the call goes on"),
        }
    }

    #[test]
    fn only_what_may_work_later_is_asked_again() {
        for reason in Reason::ALL {
            let now = Instant::now();
            let next =
                course(now, Some("id"), 1).after(judge(&to_status(&Failure::new(*reason, "m"))), "a", now);
            let again = matches!(next, Next::Again { .. });
            let may_work_later = matches!(reason.exit(), Exit::TryAgain | Exit::Unknown);
            assert_eq!(again, may_work_later, "{reason:?}");
        }
    }

    #[test]
    fn the_pause_is_the_one_the_server_asks_for() {
        let now = Instant::now();
        let mut course = course(now, Some("id"), 1);
        let asked = Duration::from_millis(333);
        let next = course.after(later(Reason::Overloaded, asked), "a", now);
        assert_eq!(next, Next::Again { elsewhere: false, pause: asked });
        let too_long = course.after(later(Reason::Overloaded, 6 * SECOND), "a", now);
        assert_eq!(reason_of(too_long), Reason::Overloaded);
    }

    #[test]
    fn every_server_is_asked_before_the_first_pause() {
        let now = Instant::now();
        let mut course = course(now, None, 3);
        let mut pauses = Vec::new();
        for _ in 0..6 {
            match course.after(Verdict::NotSent("refused".to_owned()), "a", now) {
                Next::Again { elsewhere: true, pause } => pauses.push(pause),
                Next::Again { .. } | Next::GiveUp(_) => panic!("the next server is not asked"),
            }
        }
        let zero = Duration::ZERO;
        assert_eq!(pauses, [zero, zero, FIRST_PAUSE, zero, zero, FIRST_PAUSE * 2]);
    }

    #[test]
    fn a_call_that_reaches_nobody_ends_early_and_says_that_nothing_was_sent() {
        let now = Instant::now();
        let mut course = course(now, Some("id"), 1);
        let refused = || Verdict::NotSent("refused".to_owned());
        assert!(matches!(course.after(refused(), "a", now), Next::Again { .. }));
        assert_eq!(reason_of(course.after(refused(), "a", now + SECOND)), Reason::Unreachable);
    }

    #[test]
    fn a_write_that_was_sent_and_not_answered_is_never_called_failed() {
        let now = Instant::now();
        let last = [
            Verdict::NotSent("refused".to_owned()),
            later(Reason::Overloaded, SECOND),
            later(Reason::Stopping, SECOND),
            Verdict::Unheard("broken pipe".to_owned()),
        ];
        for verdict in last {
            let mut write = course(now, Some("id"), 1);
            let mut read = course(now, None, 1);
            for course in [&mut write, &mut read] {
                let first = course.after(Verdict::Unheard("broken pipe".to_owned()), "a", now);
                assert!(matches!(first, Next::Again { .. }), "{first:?}");
                // A server that has died does not end the search for the answer early.
                let refused = course.after(Verdict::NotSent("refused".to_owned()), "a", now + 2 * SECOND);
                assert!(matches!(refused, Next::Again { .. }), "{refused:?}");
            }
            let Next::GiveUp(failure) = write.after(verdict.clone(), "a", now + 5 * SECOND) else {
                panic!("the call goes on after its deadline");
            };
            assert_eq!(failure.reason, Reason::OutcomeUnknown);
            assert_eq!(failure.metadata["request_id"], "id");
            let end = reason_of(read.after(verdict, "a", now + 5 * SECOND));
            assert_eq!(end.exit(), Exit::TryAgain, "a read changes nothing");
        }
    }

    #[test]
    fn the_answer_after_an_unheard_attempt_counts() {
        let now = Instant::now();
        let mut course = course(now, Some("id"), 1);
        course.after(Verdict::Unheard("broken pipe".to_owned()), "a", now);
        let answer = judge(&to_status(&Failure::new(Reason::InsufficientFunds, "m")));
        assert_eq!(reason_of(course.after(answer, "a", now)), Reason::InsufficientFunds);
    }

    #[test]
    fn one_dead_server_does_not_use_up_the_call() {
        let now = Instant::now();
        assert_eq!(course(now, None, 1).attempt_timeout(now), 5 * SECOND);
        assert_eq!(course(now, None, 2).attempt_timeout(now), 5 * SECOND / 2);
        assert_eq!(course(now, None, 1).attempt_timeout(now + 6 * SECOND), Duration::ZERO);
    }
}
