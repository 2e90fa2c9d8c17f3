//! Compaction: lets applied log entries go.
//!
//! Invariant: the log of a memory replica stays about as short as its limits say, however much passes
//! through it. openraft counts entries, but a batch may hold one command or thousands, so the log itself says
//! when it is long; openraft then takes a snapshot and purges what it covers. In a directory the log grows at least as
//! long as the snapshot, so that at most half of what is written is snapshots.

use openraft::Raft;

use crate::store::{LogStore, Machine, Runtime, Snapshots, Types};

/// Runs until openraft stops.
pub(super) async fn run<R: Runtime>(
    log: LogStore<R>,
    snapshots: Snapshots,
    raft: Raft<Types<R>, Machine<R>>,
) {
    loop {
        log.is_long().await;
        // A snapshot costs as much as it is long: writing it for a short log would cost more than the log.
        if log.bytes() < snapshots.bytes() {
            continue;
        }
        if raft.trigger().snapshot().await.is_err() {
            return;
        }
    }
}
