//! A refusal on its way to a caller: reason, message and the numbers in it.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{AmountError, IdError, RateError, Reason, Sequence, SessionError};

/// The key of the metadata that marks a replayed failure.
const REPLAYED: &str = "replayed";

/// What every face tells its caller when a call is not done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// The entry of the catalogue.
    pub reason: Reason,
    /// One sentence for people that says what to do next.
    pub message: String,
    /// The numbers and names of the message, for programs.
    pub metadata: BTreeMap<String, String>,
    /// The field of the call that is wrong, as the proto names it.
    pub field: Option<String>,
    /// When to try again.
    pub retry_after: Option<Duration>,
}

impl Failure {
    /// A failure without numbers.
    #[must_use]
    pub fn new(reason: Reason, message: impl Into<String>) -> Failure {
        Failure { reason, message: message.into(), metadata: BTreeMap::new(), field: None, retry_after: None }
    }

    /// Adds a number or name of the message.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl fmt::Display) -> Failure {
        self.metadata.insert(key.to_owned(), value.to_string());
        self
    }

    /// Marks the failure as the first answer to its request id, given again.
    #[must_use]
    pub fn replayed(self) -> Failure {
        self.with(REPLAYED, true)
    }

    /// Whether it is the first answer to its request id, given again.
    #[must_use]
    pub fn is_replayed(&self) -> bool {
        self.metadata.get(REPLAYED).is_some_and(|value| value == "true")
    }

    /// Names the wrong field.
    #[must_use]
    pub fn in_field(mut self, field: &str) -> Failure {
        self.field = Some(field.to_owned());
        self.with("field", field)
    }

    /// Says when to try again.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Failure {
        self.retry_after = Some(delay);
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl From<AmountError> for Failure {
    fn from(error: AmountError) -> Failure {
        let reason = match error {
            AmountError::Missing => Reason::AmountMissing,
            AmountError::Syntax => Reason::AmountSyntax,
            AmountError::Precision => Reason::AmountPrecision,
            AmountError::NotPositive => Reason::AmountNotPositive,
            AmountError::Overflow => Reason::AmountOverflow,
        };
        Failure::new(reason, error.to_string())
    }
}

impl From<RateError> for Failure {
    fn from(error: RateError) -> Failure {
        Failure::new(Reason::RateOutOfRange, error.to_string())
    }
}

impl From<IdError> for Failure {
    fn from(error: IdError) -> Failure {
        let reason = match error {
            IdError::Account => Reason::AccountSyntax,
            IdError::Branch | IdError::Transfer | IdError::Hold => Reason::ArgumentInvalid,
            IdError::NameTooLong => Reason::NameTooLong,
            IdError::Name => Reason::NameSyntax,
            IdError::Request => Reason::RequestIdInvalid,
            IdError::Clock | IdError::Trace => Reason::ArgumentInvalid,
        };
        Failure::new(reason, error.to_string())
    }
}

impl From<SessionError> for Failure {
    fn from(error: SessionError) -> Failure {
        Failure::new(Reason::ArgumentInvalid, error.to_string()).in_field("session_token")
    }
}

/// Why a branch could not answer. Unlike a rejection it is not final: the same request id may be tried
/// again.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Unavailable {
    /// The branch is starting.
    Starting,
    /// The branch is stopping.
    Stopping,
    /// No leader is known.
    NoLeader,
    /// A majority of voters did not answer before the deadline.
    NoQuorum,
    /// A queue is full; given before the log, so nothing happened.
    Overloaded {
        /// When to try again.
        retry_after: Duration,
    },
    /// The leader's disk is full; given before the log, so nothing happened.
    StorageFull,
    /// The deadline passed before this replica reached the sequence asked for.
    ReplicaBehind {
        /// The sequence the replica has applied.
        applied: Sequence,
        /// The sequence asked for.
        wanted: Sequence,
    },
    /// The session is of another life of the ledger, or ahead of everything committed.
    SessionUnknown,
    /// The deadline passed after the proposal was handed to the log.
    OutcomeUnknown,
}

impl From<Unavailable> for Failure {
    fn from(unavailable: Unavailable) -> Failure {
        const SOON: Duration = Duration::from_millis(200);
        match unavailable {
            Unavailable::Starting => {
                Failure::new(Reason::Starting, "the server is starting; try again in a moment").after(SOON)
            }
            Unavailable::Stopping => Failure::new(
                Reason::Stopping,
                "the server is stopping and nothing happened; try again with the same request id",
            )
            .after(SOON),
            Unavailable::NoLeader => Failure::new(
                Reason::NoLeader,
                "the branch has no leader at the moment and nothing happened; try again with the same request id",
            )
            .after(SOON),
            Unavailable::NoQuorum => Failure::new(
                Reason::NoQuorum,
                "a majority of the replicas did not answer in time; try again when more of them run",
            )
            .after(SOON),
            Unavailable::Overloaded { retry_after } => Failure::new(
                Reason::Overloaded,
                format!(
                    "the server has more work than it can take and nothing happened; try again in {} ms",
                    retry_after.as_millis()
                ),
            )
            .with("retry_after_ms", retry_after.as_millis())
            .after(retry_after),
            Unavailable::StorageFull => Failure::new(
                Reason::StorageFull,
                "the disk of the branch's leader is full and nothing happened; make space and try again with the same request id",
            )
            .after(Duration::from_secs(5)),
            Unavailable::ReplicaBehind { applied, wanted } => Failure::new(
                Reason::ReplicaBehind,
                format!("this replica has applied {applied} and the session has seen {wanted}; try again or ask another replica"),
            )
            .with("applied", applied)
            .with("wanted", wanted)
            .after(SOON),
            Unavailable::SessionUnknown => Failure::new(
                Reason::SessionUnknown,
                "the session token is not from the present life of this ledger; start a new session and check what you relied on",
            ),
            Unavailable::OutcomeUnknown => Failure::new(
                Reason::OutcomeUnknown,
                "the deadline passed before the outcome was known; repeat with the same request id, which is safe, or look with `operation`",
            ),
        }
    }
}
