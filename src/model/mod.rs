//! Values that cannot be wrong: money, identifiers, commands, outcomes, sessions, reasons.
//!
//! A text or number is parsed once, at the edge, into one of these types; after that nothing needs to
//! check it again.
//!
//! Architecture invariant: pure. No async, no I/O, no clock, no randomness, no environment, no float,
//! and no import from another room. Every room may call it.

mod account;
mod command;
mod digest;
mod encoding;
mod failure;
mod hold;
mod ids;
pub mod limits;
mod money;
mod outcome;
pub(crate) mod planted;
mod posting;
mod rate;
mod reason;
mod refusal;
mod session;
mod status;
mod text;
mod time;
mod trace;
mod transfer;

pub use account::{Account, AccountState, Balance, StateAction};
pub use command::{Batch, Command, NewAccount, Overdraft, Proposal, Work};
pub use digest::Digest;
pub use encoding::{DecodeError, Traced, decode_batch, decode_traced, encode_batch, encode_traced};
pub use failure::{Failure, Unavailable};
pub use hold::{Hold, HoldChange, HoldEnd, HoldStatus, NewHold};
pub use ids::{
    AccountName, AccountNumber, AccountRef, BranchName, HoldId, IdError, LedgerId, ReplicaId, RequestId,
    Sequence, TransferId,
};
pub use money::{Amount, AmountError, Money, SCALE, Total};
pub use outcome::{
    Applied, CustomerPosting, Operation, Outcome, Outcomes, Receipt, Rejection, Reply, StateChange,
};
pub use posting::{Book, Posting, Postings, postings};
pub use rate::{Rate, RateError};
pub use reason::{Code, Exit, Reason};
pub use session::{Seen, Session, SessionError};
pub use status::{BranchStatus, InDoubtCount, MemberStatus, ReplicaStatus, Role, Vitals};
pub use time::Timestamp;
pub use trace::{LamportClock, Trace, TraceEvent, TraceKind, TraceName};
pub use transfer::{
    AbortReason, Credit, CreditChange, CreditState, IncomingCredit, NewTransfer, Origin, OutgoingState,
    OutgoingTransfer, RemoteAccount, TransferChange,
};
