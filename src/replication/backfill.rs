//! Backfill: a replica that got its accounts by a snapshot asks its peers for the history before it.
//!
//! Invariant: records are added at the old end of the journal only, without gaps. What no peer has any more
//! stays away, and the journal says that it is trimmed there.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use super::branch::Replica;
use super::message::{Answer, Ask};
use crate::model::{Applied, ReplicaId, Sequence};
use crate::store::{Member, Runtime};

/// Most records in one answer.
const RECORDS: u64 = 2_000;
/// How long a peer may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often a replica whose journal begins late looks for a peer that has more.
/// Until it has the history this replica must not be the last one that is asked for it, so it is not long.
const AGAIN: Duration = Duration::from_secs(5);

/// Runs until the replica stops.
pub(super) async fn run<R: Runtime>(replica: Arc<Replica<R>>) {
    loop {
        while step(&replica).await {}
        let _ = R::timeout(AGAIN, replica.installed.notified()).await;
        if replica.outlook.look(|metrics| metrics.running_state.is_err()) {
            return;
        }
    }
}

/// Fetches the records before the first one here. False when nobody has them, or none are missing.
async fn step<R: Runtime>(replica: &Arc<Replica<R>>) -> bool {
    let journal = Arc::clone(&replica.current.get().journal);
    let first = journal.first();
    if first <= Sequence(1) {
        return false;
    }
    let me = replica.peers.me.replica;
    let others: Vec<(ReplicaId, Member)> = replica.outlook.look(|metrics| {
        let others = metrics.membership_config.nodes().filter(|(id, _)| **id != me.0);
        others.map(|(id, member)| (ReplicaId(*id), member.clone())).collect()
    });
    for (id, member) in others {
        let Ok(Answer::Journal(records)) =
            replica.peers.ask(id, &member, PATIENCE, Ask::Journal { before: first }).await
        else {
            continue;
        };
        if records.is_empty() {
            continue;
        }
        match journal.append_older(records).await {
            Ok(()) => return journal.first() < first,
            Err(error) => tracing::warn!(replica = %id, %error, "older records were not taken in"),
        }
    }
    false
}

/// Records that end right before a sequence, as many as go into one answer; none when the first of them is
/// not here.
pub(super) fn older<R: Runtime>(replica: &Replica<R>, before: Sequence) -> Vec<Applied> {
    let journal = &replica.current.get().journal;
    let last = before.0.min(journal.last().0 + 1);
    let from = last.saturating_sub(RECORDS).max(journal.first().0).max(1);
    let mut records = Vec::new();
    if from >= last {
        return records;
    }
    let visited = journal.visit(Sequence(from), |record| {
        if record.sequence.0 >= last {
            return ControlFlow::Break(());
        }
        records.push(record.clone());
        ControlFlow::Continue(())
    });
    match visited {
        Ok(()) if last == before.0 => records,
        // Trimmed meanwhile, or this replica is behind the one that asks.
        Ok(()) | Err(_) => Vec::new(),
    }
}
