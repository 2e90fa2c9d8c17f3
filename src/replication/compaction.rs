//! Compaction: lets applied log entries go.
//!
//! Invariant: the log of a memory replica stays about as short as its limits say, however much passes
//! through it. openraft counts entries, but a batch may hold one command or thousands, so the log itself says
//! when it is long; openraft then takes a snapshot marker and purges what it covers.

use openraft::Raft;

use crate::store::{LogStore, Machine, Runtime, Types};

/// Runs until openraft stops.
pub(super) async fn run<R: Runtime>(log: LogStore<R>, raft: Raft<Types<R>, Machine<R>>) {
    loop {
        log.is_long().await;
        if raft.trigger().snapshot().await.is_err() {
            return;
        }
    }
}
