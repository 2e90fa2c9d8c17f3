//! The types with which openraft is used, all in one place. Only `store` and `replication` see them.

use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, OnceLock};

use openraft::impls::{BoxedErrorSource, InlineBatch, leader_id_adv};
use openraft::raft::responder::Responder;
use openraft::{EntryPayload, RaftTypeConfig};
use serde::de::{Error as _, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Runtime;
use crate::model::{Batch, DecodeError, Reply, Traced, decode_traced, encode_traced};

/// openraft's view of a branch: one Raft group whose entries are batches, on a runtime.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(crate) struct Types<R>(PhantomData<R>);

impl<R: Runtime> RaftTypeConfig for Types<R> {
    type D = LogBatch;
    type R = Replies;
    type NodeId = u64;
    type Node = Member;
    type Term = u64;
    type LeaderId = LeaderId;
    type Vote = Vote;
    type Payload = Payload;
    type Entry = Entry;
    type AsyncRuntime = R::Async;
    type Responder<T>
        = Respond<T>
    where
        T: openraft::OptionalSend + 'static;
    type Batch<T>
        = InlineBatch<T>
    where
        T: openraft::OptionalSend + 'static;
    type ErrorSource = BoxedErrorSource;
}

/// Who leads in a term.
pub(crate) type LeaderId = leader_id_adv::LeaderId<u64, u64>;
/// The place of an entry in the log, and the leader who put it there.
pub(crate) type LogId = openraft::LogId<LeaderId>;
/// A vote.
pub(crate) type Vote = openraft::Vote<LeaderId>;
/// Who belongs to the branch and who votes.
pub(crate) type Members = openraft::Membership<u64, Member>;
/// No election ever has a term like this: one a nanosecond would take a century. openraft adds one to a term without
/// looking.
pub(crate) const FARTHEST_TERM: u64 = 1 << 62;
/// No log is ever as long as this.
pub(crate) const FARTHEST_INDEX: u64 = 1 << 48;
/// What an entry holds.
pub(crate) type Payload = EntryPayload<LogBatch, u64, Member>;
/// An entry of the log.
pub(crate) type Entry = openraft::Entry<LeaderId, Payload>;

/// One life of a replica's log. A replica whose log is gone gets another one, by which its peers know
/// that it has forgotten what it promised and must not come back under its id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Incarnation(pub [u8; 16]);

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What the log says of each replica of the branch, besides its id.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Member {
    /// Where its peers reach it; empty for a lone replica that nobody needs to reach.
    pub address: String,
    /// Which life of its log counts.
    pub incarnation: Incarnation,
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.address)
    }
}

/// A batch as the log holds it: decoded once, encoded at most once, shared by all who need it.
///
/// The memory log and `apply` use the decoded form only, so a lone memory server never encodes.
#[derive(Clone)]
pub(crate) struct LogBatch(Arc<Shared>);

struct Shared {
    batch: Batch,
    traces: Vec<Traced>,
    commands: usize,
    bytes: OnceLock<Vec<u8>>,
}

impl LogBatch {
    /// Takes a batch into the log.
    pub(crate) fn new(batch: Batch) -> LogBatch {
        LogBatch::traced(batch, Vec::new())
    }

    /// Takes a batch into the log, with the traces of some of its proposals.
    pub(crate) fn traced(batch: Batch, traces: Vec<Traced>) -> LogBatch {
        let commands = batch.command_count();
        LogBatch(Arc::new(Shared { commands, batch, traces, bytes: OnceLock::new() }))
    }

    /// Reads a batch that was encoded.
    ///
    /// # Errors
    /// As [`decode_traced`].
    pub(super) fn decode(bytes: &[u8]) -> Result<LogBatch, DecodeError> {
        decode_traced(bytes).map(|(batch, traces)| LogBatch::traced(batch, traces))
    }

    /// The batch.
    pub(crate) fn batch(&self) -> &Batch {
        &self.0.batch
    }

    /// The traces of its proposals.
    pub(crate) fn traces(&self) -> &[Traced] {
        &self.0.traces
    }

    /// How many commands it holds.
    pub(crate) fn commands(&self) -> usize {
        self.0.commands
    }

    /// Its encoding, made when it is first asked for.
    pub(super) fn bytes(&self) -> &[u8] {
        self.0.bytes.get_or_init(|| encode_traced(&self.0.batch, &self.0.traces))
    }
}

impl fmt::Debug for LogBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LogBatch({} commands at {})", self.0.commands, self.0.batch.time.micros())
    }
}

impl fmt::Display for LogBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl Serialize for LogBatch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.bytes())
    }
}

impl<'de> Deserialize<'de> for LogBatch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<LogBatch, D::Error> {
        struct Bytes;

        impl Visitor<'_> for Bytes {
            type Value = LogBatch;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an encoded batch")
            }

            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<LogBatch, E> {
                LogBatch::decode(bytes).map_err(E::custom)
            }
        }

        deserializer.deserialize_bytes(Bytes).map_err(D::Error::custom)
    }
}

/// The replies to the proposals of one batch, in their order.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Replies(pub(crate) Vec<Reply>);

/// What is called with the result of one log entry. Dropped without a call when nobody will ever know
/// the result; what it captured says then what that means.
pub(crate) struct Respond<T>(Box<dyn FnOnce(T) + Send>);

impl<T> Respond<T> {
    /// Calls `respond` with the result.
    pub(crate) fn new(respond: impl FnOnce(T) + Send + 'static) -> Respond<T> {
        Respond(Box::new(respond))
    }
}

impl<R: Runtime, T: openraft::OptionalSend + 'static> Responder<Types<R>, T> for Respond<T> {
    fn on_complete(self, result: T) {
        (self.0)(result);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Command, Proposal, ReplicaId, Timestamp, Trace, Work, encode_batch};

    #[test]
    fn an_entry_travels_as_the_encoding_of_its_batch() {
        let batch = Batch {
            time: Timestamp::from_micros(7),
            founding: None,
            proposals: vec![Proposal {
                request: Some("a".parse().unwrap()),
                work: Work::One(Command::OpenAccount(Box::default())),
            }],
        };
        let entry = LogBatch::new(batch.clone());
        let bytes = postcard::to_stdvec(&entry).unwrap();
        assert!(bytes.ends_with(&encode_batch(&batch)), "the batch's own encoding is inside");
        let back: LogBatch = postcard::from_bytes(&bytes).unwrap();
        assert_eq!(back.batch(), &batch);
        assert_eq!(back.commands(), 1);
        assert!(postcard::from_bytes::<LogBatch>(&bytes[..bytes.len() - 1]).is_err());

        let (name, received) = ("a".parse().unwrap(), crate::model::LamportClock::new(300).unwrap());
        let trace = Trace { name, origin: ReplicaId(1), received, to: vec![ReplicaId(2)] };
        let traced = LogBatch::traced(batch.clone(), vec![(0, trace.clone())]);
        let back = LogBatch::decode(traced.bytes()).unwrap();
        assert_eq!((back.batch(), back.traces()), (&batch, [(0, trace)].as_slice()));
        for cut in 0..traced.bytes().len() {
            assert!(LogBatch::decode(&traced.bytes()[..cut]).is_err(), "cut at {cut}");
        }
    }
}
