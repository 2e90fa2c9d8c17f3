//! Replication: one branch is one Raft group. [`Branch`] is a replica of it, [`Lane`] the door for calls.
//!
//! Invariant: every write goes through the batcher into the log, whatever the number of replicas, and
//! openraft is seen by this room and by `store` only. All tasks of a replica run on the runtime on
//! which it was started; lanes live on others and are woken once for all answers of a batch. `api`
//! calls it; it decides nothing about money.

mod batcher;
mod branch;
mod compaction;
mod gate;
mod inbox;
mod lane;
mod network;

pub use batcher::{QUEUED_COMMANDS, QUEUED_PROPOSALS};
pub use branch::{Branch, BranchConfig};
pub use gate::WAITING_READS;
pub use lane::{Lane, ReadPoint};

#[cfg(test)]
mod durable_tests;
#[cfg(test)]
mod tests;
