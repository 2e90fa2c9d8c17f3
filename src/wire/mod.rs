//! The wire: generated code and the only conversions between proto and model.
//!
//! Architecture invariant: knows `model` and nothing else of the house; nothing outside `wire`, `api` and
//! `client` names a proto type, except the doors between replicas and between branches, which carry bytes.

pub mod batch;
pub mod cluster;
pub mod page;
pub mod parse;
pub mod reply;
mod status;

pub use status::{
    ERROR_DOMAIN, REASON_TRAILER, dress, from_status, message_too_large, to_status, to_status_as,
};

/// Header of a traced call: the caller's logical clock when it sent the call.
pub const CLOCK_HEADER: &str = "bank-lamport-clock";
/// Header of a call that one server sends to another: the branch that is meant.
pub const BRANCH_HEADER: &str = "bank-branch";
/// Header of a traced call: what the caller calls it.
pub const TRACE_HEADER: &str = "bank-trace";

/// Generated from `proto/`.
#[allow(missing_docs, clippy::all, clippy::pedantic, reason = "generated code")]
pub mod proto {
    /// `bank.v1`: the bank's public interface.
    pub mod v1 {
        tonic::include_proto!("bank.v1");
    }
    /// `bank.peer.v1`: opaque messages between the replicas of a branch, and between branches.
    pub mod peer {
        tonic::include_proto!("bank.peer.v1");
    }
    /// `main`: the account manager of older clients.
    pub mod compat {
        tonic::include_proto!("main");
    }
    /// Without a package: the branch process of older customers' programs.
    pub mod branch {
        tonic::include_proto!("_");
    }
    /// `example`: the branch of the programs about client-centric consistency.
    pub mod example {
        tonic::include_proto!("example");
    }
    /// `bank`: the bank of the program about reading one's own writes.
    pub mod read_your_writes {
        tonic::include_proto!("bank");
    }
    /// The encoded file descriptor set of everything here, for reflection.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
}
