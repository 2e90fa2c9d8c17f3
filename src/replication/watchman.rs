//! The watchman of a replica: compares its state with the other replicas, ends changes of members that a lost leader
//! left open, and finds out whether the replica still belongs to the branch.
//!
//! Invariant: a replica that has another digest after an entry of the log than most others stops itself and serves nothing
//! more; it must not be asked, and must not lead. Replicas compare every round, also when nothing is written. With only two that differ the one that does not lead stops. Of a
//! large branch a replica asks only some others, those that vote first, so that the rounds of all together grow
//! no faster than the branch.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{Either, select};

use super::branch::Replica;
use super::outlook::Leader;
use super::rollback::{Rounds, Unfit};
use crate::store::{Mark, Runtime};

/// How often it makes its round.
const ROUND: Duration = Duration::from_secs(2);

/// Runs until the replica stops.
pub(super) async fn run<R: Runtime>(replica: Arc<Replica<R>>) {
    let mut open_change = None;
    let mut rounds = Rounds::default();
    loop {
        R::sleep(ROUND).await;
        if replica.outlook.look(|metrics| metrics.running_state.is_err()) {
            return;
        }
        // A change that is open for a whole round and is not being made was left by another leader.
        let joint = replica.outlook.look(|metrics| {
            let config = &metrics.committed_membership_config;
            (config.get_joint_config().len() > 1).then(|| *config.log_id()).flatten()
        });
        if joint.is_some() && joint == open_change && replica.outlook.leader() == Leader::Here {
            replica.finish_change().await;
        }
        open_change = joint;
        if replica.outlook.leader() != Leader::Here
            && replica.outlook.look(|metrics| metrics.last_applied.is_some())
        {
            replica.ask_whether_removed().await;
        }
        if let Err(unfit) = replica.exchange(&mut rounds).await {
            match unfit {
                Unfit::Older => tracing::error!(
                    "the other replicas know that this one had written more than it has: it was started on an older \
                     copy of its directory, and stops"
                ),
                Unfit::Differs(Mark { log, sequence, .. }) => tracing::error!(
                    %sequence, entry = log.index, "this replica's ledger differs from that of the others; it stops"
                ),
            }
            // An error says that it has stopped already.
            let _ = replica.raft.shutdown().await;
            return;
        }
    }
}

/// Ends the replica when its disk failed or its log is of no use: such a one must neither lead nor vote.
pub(super) async fn end_when_unfit<R: Runtime>(replica: Arc<Replica<R>>) {
    let wait = replica.raft.wait(None);
    let ended = pin!(wait.metrics(|raft| raft.running_state.is_err(), "the end"));
    let failed = pin!(replica.health.failed());
    if let Either::Left((why, _)) = select(failed, ended).await {
        tracing::error!("this replica ends: {why}");
        // An error says that it has stopped already.
        let _ = replica.raft.shutdown().await;
    }
}
