//! Values that cannot be wrong: money, identifiers, commands, outcomes, sessions, reasons.
//!
//! A text or number is parsed once, at the edge, into one of these types; after that nothing needs to
//! check it again.
//!
//! Architecture invariant: pure. No async, no I/O, no clock, no randomness, no environment, no float,
//! and no import from another room. Every room may call it.

mod command;
mod digest;
mod encoding;
mod failure;
mod ids;
pub mod limits;
mod money;
mod outcome;
pub(crate) mod planted;
mod rate;
mod reason;
mod session;
mod status;
mod time;

pub use command::{Batch, Command, NewAccount, Overdraft, Proposal, Work};
pub use digest::Digest;
pub use encoding::{DecodeError, decode_batch, encode_batch};
pub use failure::{Failure, Unavailable};
pub use ids::{
    AccountName, AccountNumber, AccountRef, BranchName, IdError, LedgerId, ReplicaId, RequestId, Sequence,
};
pub use money::{Amount, AmountError, Money, SCALE, Total};
pub use outcome::{
    Account, AccountState, Applied, Balance, Book, CustomerPosting, Operation, Outcome, Outcomes, Posting,
    Postings, Receipt, Rejection, Reply, postings,
};
pub use rate::{Rate, RateError};
pub use reason::{Code, Exit, Reason};
pub use session::{Seen, Session, SessionError};
pub use status::{BranchStatus, MemberStatus, ReplicaStatus, Role, Vitals};
pub use time::Timestamp;
