//! The bank: a replicated bank-account server. `src/docs/architecture.md` explains the rooms.

pub mod api;
pub mod cli;
pub mod client;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod gateway;
pub mod ledger;
pub mod model;
pub mod replication;
pub mod scenario;
pub mod server;
pub mod store;
pub mod transfer;
pub mod wire;
