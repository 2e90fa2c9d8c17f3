//! Replicas that move: where the log says that each is, and what to do when it is elsewhere.
//!
//! Invariant: the log says where a replica is. One that was started at another address asks the leader to write that
//! down, and until then it is found by those whose list of peers names the new address.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use openraft::async_runtime::WatchReceiver as _;

use super::branch::{Branch, Replica};
use super::members::Change;
use super::outlook::Leader;
use crate::model::ReplicaId;
use crate::store::{Member, Runtime};

/// How often the members are looked at, besides when they change.
const LOOK: Duration = Duration::from_secs(5);
/// How often a replica that moved tries to have its new address written down.
const AGAIN: Duration = Duration::from_secs(1);
/// How long one attempt may take.
const ATTEMPT: Duration = Duration::from_secs(5);
/// How long a replica hears no leader after its start before it says where it looks for the others.
const LEADERLESS: Duration = Duration::from_secs(10);

/// Keeps what this replica knows of the others in step with the members. Runs until the replica stops.
pub(super) async fn follow<R: Runtime>(replica: Arc<Replica<R>>) {
    let mut changes = replica.raft.server_metrics();
    while !replica.has_stopped() {
        replica.peers.follow(replica.members());
        let changed = R::timeout(LOOK, changes.changed()).await;
        if changed.is_some_and(|changed| changed.is_err()) {
            return;
        }
    }
}

/// Has the address of this replica written down if the log knows another one. Runs until that is so.
pub(super) async fn announce<R: Runtime>(replica: Arc<Replica<R>>) {
    let me = &replica.peers.me;
    let began = R::now();
    let (mut warned, mut lonely) = (false, false);
    while !replica.has_stopped() {
        let recorded = replica.member(me.replica).filter(|own| own.incarnation == me.member.incarnation);
        let leader = replica.outlook.leader();
        match recorded {
            Some(own) if own.address == me.member.address && leader != Leader::Unknown => return,
            Some(own) if own.address != me.member.address => {
                if !warned {
                    warned = true;
                    tracing::warn!(recorded = %own.address, now = %me.member.address, "the log knows this replica at another address; the leader is asked to write the new one down");
                }
                if leader != Leader::Unknown {
                    let change = Change::Add { replica: me.replica, address: me.member.address.clone() };
                    match replica.change(change.into(), R::now() + ATTEMPT).await {
                        Ok(()) => return,
                        Err(error) => tracing::debug!(%error, "the new address is not written down yet"),
                    }
                }
            }
            Some(_) | None => {}
        }
        let others = replica.others();
        if !lonely && leader == Leader::Unknown && !others.is_empty() && began + LEADERLESS <= R::now() {
            lonely = true;
            tracing::warn!(
                "no leader since the start; the other replicas are looked for where the log says and where the list of \
                 peers says, last: {}; start them, or if they moved start every replica with a list of the new \
                 addresses",
                others.join(", ")
            );
        }
        R::sleep(AGAIN).await;
    }
}

impl<R: Runtime> Branch<R> {
    /// The other members and where the log says that they are; none of a lone replica.
    #[must_use]
    pub fn other_members(&self) -> Option<String> {
        let others = self.replica.others();
        (!others.is_empty()).then(|| others.join(", "))
    }
}

impl<R: Runtime> Replica<R> {
    /// The other members and where they are looked for.
    fn others(&self) -> Vec<String> {
        let members = self.members().into_iter().filter(|(id, _)| *id != self.peers.me.replica);
        members.map(|(id, member)| format!("{id} at {}", self.peers.address(id, &member))).collect()
    }

    /// The members, as the log of this replica says.
    pub(super) fn members(&self) -> BTreeMap<ReplicaId, Member> {
        self.outlook.look(|metrics| {
            let nodes = metrics.membership_config.nodes();
            nodes.map(|(id, member)| (ReplicaId(*id), member.clone())).collect()
        })
    }

    /// Whether this replica has stopped for good.
    pub(super) fn has_stopped(&self) -> bool {
        self.outlook.look(|metrics| metrics.running_state.is_err())
    }
}
