//! The watchman of a replica: compares digests with the other replicas, ends changes of members that a lost leader
//! left open, and finds out whether the replica still belongs to the branch.
//!
//! Invariant: a replica that has another digest at a sequence than most others stops itself and serves nothing
//! more; it must not be asked, and must not lead. With only two that differ the one that does not lead stops. Of a
//! large branch a replica asks only some others, those that vote first, so that the rounds of all together grow
//! no faster than the branch.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{Either, join_all, select};

use super::branch::Replica;
use super::message::{Answer, Ask};
use super::outlook::Leader;
use crate::model::Sequence;
use crate::model::planted::{Fault, planted};
use crate::store::Runtime;

/// How often it makes its round.
const ROUND: Duration = Duration::from_secs(2);
/// How long a replica may take to say which digest it has.
const PATIENCE: Duration = Duration::from_secs(1);

/// Runs until the replica stops.
pub(super) async fn run<R: Runtime>(replica: Arc<Replica<R>>) {
    let mut open_change = None;
    let mut compared = Sequence::ZERO;
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
        if !compare(&replica, &mut compared).await {
            let sequence = compared;
            tracing::error!(%sequence, "this replica's ledger differs from that of the others; it stops");
            // An error says that it has stopped already.
            let _ = replica.raft.shutdown().await;
            return;
        }
    }
}

/// Ends the replica when its disk fails: one that cannot write must neither lead nor vote.
pub(super) async fn end_with_disk<R: Runtime>(replica: Arc<Replica<R>>) {
    let wait = replica.raft.wait(None);
    let ended = pin!(wait.metrics(|raft| raft.running_state.is_err(), "the end"));
    let failed = pin!(replica.health.failed());
    if let Either::Left((why, _)) = select(failed, ended).await {
        tracing::error!("the disk failed, and this replica ends: {why}");
        // An error says that it has stopped already.
        let _ = replica.raft.shutdown().await;
    }
}

/// Compares the digest here with those of the others. False when this replica is the one that is wrong.
async fn compare<R: Runtime>(replica: &Arc<Replica<R>>, compared: &mut Sequence) -> bool {
    let Some((sequence, digest)) = replica.progress.digests().latest() else { return true };
    if sequence == *compared || planted(Fault::DigestsNotCompared) {
        return true;
    }
    *compared = sequence;
    let others = replica.some_others();
    let asked = others.iter().map(|(id, member)| async {
        match replica.peers.ask(*id, member, PATIENCE, Ask::Digest(sequence)).await {
            Ok(Answer::Digest(theirs)) => theirs,
            Ok(_) | Err(_) => None,
        }
    });
    let theirs: Vec<_> = join_all(asked).await.into_iter().flatten().collect();
    let agree = 1 + theirs.iter().filter(|theirs| **theirs == digest).count();
    let differ = theirs.len() + 1 - agree;
    differ < agree || (differ == agree && replica.outlook.leader() == Leader::Here)
}
