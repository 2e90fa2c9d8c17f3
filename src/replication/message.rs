//! What replicas say to each other, and its bytes: one version byte, then postcard.
//!
//! Invariant: bytes from a peer never panic; they are a message of this version or a [`Refusal`]. Every
//! message says who it is from and whom it is for, because addresses are reused and files are copied.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use openraft::alias::{SnapshotMetaOf, VoteOf};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::exchanges::Why;
use super::members::Change;
use super::roster::{Rank, Roster};
use super::wishes::Wish;
use crate::model::{
    Applied, DecodeError, Digest, LedgerId, Proposal, ReplicaId, ReplicaStatus, Reply, Sequence, Traced,
    Unavailable,
};
use crate::store::{AllFlushed, Flushed, Incarnation, Mark, Member, Runtime, Types};

/// Version of the messages, their first byte.
const VERSION: u8 = 1;

/// The bytes of a message.
pub(super) fn encode<T: Serialize>(message: &T) -> Vec<u8> {
    postcard::to_extend(message, vec![VERSION]).expect("a vector takes every byte that is written to it")
}

/// The message of these bytes.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    let (&version, body) = bytes.split_first().ok_or(DecodeError::Damaged)?;
    if version != VERSION {
        return Err(DecodeError::Version { found: version, known: VERSION });
    }
    match postcard::take_from_bytes(body) {
        Ok((message, [])) => Ok(message),
        Ok(_) | Err(_) => Err(DecodeError::Damaged),
    }
}

/// Reads bytes as every kind of message and answer. What can be read can be written and read again.
#[cfg(any(test, fuzzing))]
pub(crate) fn read_anything(bytes: &[u8]) {
    fn read<T: DeserializeOwned + Serialize>(bytes: &[u8]) {
        if let Ok(message) = decode::<T>(bytes) {
            assert!(decode::<T>(&encode(&message)).is_ok(), "a message is not read again");
        }
    }

    read::<Message<'static, crate::store::Tokio>>(bytes);
    read::<Result<Answer<crate::store::Tokio>, Refusal>>(bytes);
    read::<Result<Hello, Refusal>>(bytes);
}

/// Who speaks to whom.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Header {
    /// The branch.
    pub(super) branch: Box<str>,
    /// The ledger, when the sender has one.
    pub(super) ledger: Option<LedgerId>,
    /// Who speaks.
    pub(super) from: ReplicaId,
    /// Who is meant.
    pub(super) to: ReplicaId,
    /// Which life of its log is meant; none when the sender asks for it.
    pub(super) life: Option<Incarnation>,
}

/// A question and its header.
#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
pub(super) struct Message<'a, R: Runtime> {
    pub(super) header: Header,
    pub(super) ask: Ask<'a, R>,
}

/// A question. The first message of a stream is one as well.
#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
pub(super) enum Ask<'a, R: Runtime> {
    /// Who are you?
    Hello,
    /// openraft's: entries, or none as a heartbeat.
    Append(AppendEntriesRequest<Types<R>>),
    /// openraft's: a vote.
    Vote(VoteRequest<Types<R>>),
    /// openraft's: whether there would be a vote.
    PreVote(VoteRequest<Types<R>>),
    /// openraft's: take over.
    TransferLeader(TransferLeaderRequest<Types<R>>),
    /// Begins a stream of `AppendEntriesRequest`, answered by [`Appended`].
    AppendStream,
    /// Put these into the log.
    Propose(Vec<Forwarded<'a>>),
    /// Up to which index must a replica apply to have everything that is acknowledged now?
    ReadIndex,
    /// How are you?
    Status,
    /// Begins a stream of the frames of a snapshot, answered once by [`Answer`].
    Snapshot { vote: VoteOf<Types<R>>, meta: SnapshotMetaOf<Types<R>> },
    /// Which records come right before this one?
    Journal { before: Sequence },
    /// Which digest do you have at this sequence? You may wait a moment until you are there.
    Digest(Sequence),
    /// Change the members.
    Change(Change),
    /// How far back does your history go?
    History,
    /// Was this replica, with this life of its log, taken out of the branch after the log entry `since`?
    Removed { replica: ReplicaId, life: Incarnation, since: Option<u64> },
    /// Put these into the log, some of them with traces, which name the places.
    ProposeTraced(Vec<Forwarded<'a>>, Vec<Traced>),
    /// How this replica is; how are you, and what do you know of the others?
    Compare(News),
    /// Who belongs to the branch?
    Roster,
    /// Change the members, as [`Ask::Change`], with what must still be so.
    Decide(Wish),
    /// Answer this message of another branch, in so many milliseconds.
    Exchange { millis: u32, message: Vec<u8> },
}

impl<R: Runtime> Ask<'_, R> {
    /// What one must be to ask this.
    pub(super) fn rank(&self) -> Rank {
        match self {
            // Asked by those who are not members yet, or any more, and nothing that `GetStatus` does not tell.
            Ask::Hello | Ask::Status | Ask::Roster | Ask::Removed { .. } => Rank::Stranger,
            Ask::Propose(_)
            | Ask::ProposeTraced(..)
            | Ask::ReadIndex
            | Ask::Journal { .. }
            | Ask::Digest(_)
            | Ask::Compare(_)
            | Ask::Change(_)
            | Ask::Decide(_)
            | Ask::Exchange { .. }
            | Ask::History => Rank::Member,
            Ask::Append(_)
            | Ask::AppendStream
            | Ask::Vote(_)
            | Ask::PreVote(_)
            | Ask::TransferLeader(_)
            | Ask::Snapshot { .. } => Rank::Voter,
        }
    }
}

/// What a replica tells of itself every round.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct News {
    /// What it has flushed, if it keeps a directory.
    pub(super) flushed: Option<Flushed>,
    /// Where its state stands.
    pub(super) latest: Option<Mark>,
    /// Whether its disk has no room for more of the log.
    pub(super) full: bool,
    /// Whether it leads and hears no majority.
    pub(super) cut_off: bool,
}

/// An answer to that.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Compared {
    /// Where the state stood here after the entry that the other one told.
    pub(super) at: Option<Mark>,
    /// How the answering replica is.
    pub(super) news: News,
    /// What it knows of what all had flushed.
    pub(super) known: AllFlushed,
}

/// A proposal that a replica passes on to the leader.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Forwarded<'a> {
    /// How long its caller still waits, in milliseconds.
    pub(super) millis: u32,
    /// What to put into the log.
    pub(super) proposal: Cow<'a, Proposal>,
}

/// An answer.
#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
pub(super) enum Answer<R: Runtime> {
    /// The first one here as in [`Appended`], so that a refused stream is understood whatever it was for.
    Refused(Refusal),
    Hello(Hello),
    Append(AppendEntriesResponse<Types<R>>),
    Vote(VoteResponse<Types<R>>),
    TransferLeader(TransferLeaderResponse<Types<R>>),
    Snapshot(SnapshotResponse<Types<R>>),
    /// One for each proposal.
    Proposed(Vec<Result<Reply, Unavailable>>),
    ReadIndex(u64),
    Status(Box<ReplicaStatus>),
    Journal(Vec<Applied>),
    Digest(Option<Digest>),
    Changed,
    History(History),
    Removed(bool),
    Compared(Box<Compared>),
    Roster(Roster),
    Exchanged(Result<Vec<u8>, Why>),
}

/// How far back the history of a replica goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct History {
    /// The first record of its journal.
    pub(super) first: Sequence,
    /// Whether it lacks older ones and takes them from whoever has them.
    pub(super) takes_older: bool,
}

/// An answer within a stream of entries. After a refusal there is nothing more.
#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
pub(super) enum Appended<R: Runtime> {
    Refused(Refusal),
    Flushed(StreamAppendResult<Types<R>>),
}

/// Who a replica is and what it knows of its branch.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Hello {
    /// Which life of its log it has.
    pub(super) life: Incarnation,
    /// The peers it was started with; empty for one that was started alone.
    pub(super) peers: BTreeMap<ReplicaId, String>,
    /// Whether it has neither a log nor voted, so that it belongs to no group yet.
    pub(super) pristine: bool,
    /// Whether it is being stopped.
    pub(super) stopping: bool,
    /// The members of its group as it knows them.
    pub(super) members: BTreeMap<ReplicaId, Member>,
}

/// Why a replica does not do what it is asked.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Refusal {
    /// The message is of another version, or damaged.
    Unreadable { version: u8 },
    /// The replica belongs to another branch.
    OtherBranch { branch: Box<str> },
    /// The replica holds another ledger of a branch of that name.
    OtherLedger { ledger: LedgerId },
    /// At the address another replica answers.
    OtherReplica { replica: ReplicaId },
    /// The replica is not the one that the log means: it has lost its log since.
    OtherLife { replica: ReplicaId },
    /// Only the leader does that, and this replica does not lead.
    NotLeader,
    /// The snapshot is damaged or could not be kept.
    Snapshot { why: String },
    /// The change of members cannot be made.
    Change { why: String },
    /// It cannot be done now.
    Unavailable(Unavailable),
    /// The replica has stopped.
    Stopped,
    /// Whoever asks is not a member of the branch, or has no vote, as far as this replica knows.
    NotMember { replica: ReplicaId },
    /// The message is none that a replica of the branch sends.
    Impossible { why: String },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Unreadable { version } => {
                write!(f, "it cannot read the message; it speaks version {version}, this replica {VERSION}")
            }
            Refusal::OtherBranch { branch } => write!(f, "it belongs to another branch, {branch}"),
            Refusal::OtherLedger { ledger } => {
                write!(f, "it holds another ledger of a branch with the same name, {ledger}")
            }
            Refusal::OtherReplica { replica } => write!(f, "it is replica {replica}"),
            Refusal::OtherLife { replica } => write!(
                f,
                "replica {replica} has lost its log and must not come back under its number; remove it from the \
                 branch, then add it again"
            ),
            Refusal::NotLeader => f.write_str("it does not lead the branch"),
            Refusal::Snapshot { why } | Refusal::Change { why } => f.write_str(why),
            Refusal::Unavailable(unavailable) => {
                f.write_str(&crate::model::Failure::from(unavailable.clone()).message)
            }
            Refusal::Stopped => f.write_str("it has stopped"),
            Refusal::NotMember { replica } => {
                write!(f, "replica {replica} is not one of those that it listens to for this")
            }
            Refusal::Impossible { why } => write!(f, "it refuses the message: {why}"),
        }
    }
}

impl Refusal {
    /// What this replica says to bytes it cannot read.
    pub(super) fn unreadable() -> Refusal {
        Refusal::Unreadable { version: VERSION }
    }
}
