//! Compaction: lets applied log entries go.
//!
//! Invariant: the log of a memory replica stays about as short as its limits say, however much passes
//! through it. openraft counts entries, but a batch may hold one command or thousands, so the log itself says
//! when it is long; openraft then takes a snapshot marker and purges what it covers.

use openraft::Raft;

use crate::store::{Machine, MemoryLog, Types};

/// Runs until openraft stops.
pub(super) async fn run(log: MemoryLog, raft: Raft<Types, Machine>) {
    loop {
        log.is_long().await;
        if raft.trigger().snapshot().await.is_err() {
            return;
        }
    }
}
