//! Replication: one branch is one Raft group. [`Branch`] is a replica of it, [`Lane`] the door for calls.
//!
//! Invariant: every write goes through the batcher into the log, whatever the number of replicas, and
//! openraft is seen by this room and by `store` only. All tasks of a replica run on the runtime on
//! which it was started; lanes live on others and are woken once for all answers of a batch. Replicas
//! reach each other through a [`Transport`] and a [`Door`]. `api` calls it; it decides nothing about money.

mod admission;
mod backfill;
mod batcher;
mod branch;
mod compaction;
mod door;
mod exchanges;
mod formation;
mod forward;
mod gate;
mod grpc;
mod inbox;
mod lane;
mod members;
mod message;
mod network;
mod outlook;
mod peers;
mod places;
mod rollback;
mod roster;
mod status;
mod transport;
mod watchman;
mod wishes;

pub use batcher::{QUEUED_COMMANDS, QUEUED_PROPOSALS};
pub use branch::{Branch, BranchConfig, ELECTION};
pub use exchanges::Exchange;
pub use formation::FormationError;
pub use gate::WAITING_READS;
pub use grpc::{GrpcTransport, PEER_MESSAGE_BYTES, PeerApi, peer_service};
pub use lane::{Lane, ReadPoint};
pub use members::{Change, ChangeError};
#[cfg(any(test, fuzzing))]
pub(crate) use message::read_anything as read_peer_message;
pub use transport::{Answers, Door, Link, Lost, NoPeers, Transport};

#[cfg(test)]
mod durable_tests;
#[cfg(test)]
pub(crate) mod tests;
