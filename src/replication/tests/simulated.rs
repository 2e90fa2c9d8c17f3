//! Whole replicas on openraft's simulated runtime: the same code as in a server, on a clock that jumps from one
//! event to the next and with a seed for everything random.

use std::time::Duration;

use futures::future::join_all;
use openraft::AsyncRuntime;
use openraft_rt_sim::{SimInstant, SimRuntime};

use super::open;
use super::town::{Group, balance, named, soon, write};
use crate::model::planted::{Fault, with_fault};
use crate::model::{BranchStatus, ReplicaId, Role, Sequence};
use crate::replication::{Branch, Change, ChangeError};
use crate::store::Runtime;

/// The simulated runtime.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub(crate) struct Simulated;

impl Runtime for Simulated {
    type Async = SimRuntime;
    type Instant = SimInstant;

    fn now() -> SimInstant {
        <SimInstant as openraft::Instant>::now()
    }

    fn left(deadline: SimInstant) -> Duration {
        deadline - Self::now()
    }

    async fn timeout_at<F>(deadline: SimInstant, future: F) -> Option<F::Output>
    where
        F: Future + Send,
        F::Output: Send,
    {
        SimRuntime::timeout_at(deadline, future).await.ok()
    }
}

/// One life of a branch with a lost leader and a partition: what was left, and everything that happened.
fn life(seed: u64) -> (Vec<[u8; 32]>, u64, Vec<String>) {
    let mut runtime = SimRuntime::with_seed(seed);
    runtime.record_trace(true);
    let (digests, elapsed) = runtime.block_on(async {
        let began = Simulated::now();
        let mut group = Group::<Simulated>::of(&[1, 2, 3, 4, 5]).await;
        write(&group.lane(1), open(1)).await;
        let leader = group.leader().await;
        group.kill(leader).await;
        let left: Vec<u64> = group.replicas.keys().copied().collect();
        let lanes: Vec<_> = left.iter().map(|id| group.lane(*id)).collect();
        let replies = join_all((0..40).map(|n| {
            let lane = &lanes[n % 4];
            async move { write(lane, named(&format!("call-{n}"), 1)).await.last }
        }))
        .await;
        let leader = group.leader().await;
        group.town.part(&[leader], &left);
        let next = left.iter().find(|id| **id != leader).unwrap();
        write(&group.lane(*next), named("parted", 1)).await;
        group.town.heal();
        let last = write(&group.lane(leader), named("healed", 1)).await.last;
        assert!(replies.iter().all(|reply| *reply < last));
        assert_eq!(last, Sequence(43));
        assert_eq!(balance(&group.lane(*next), 1, last).await, 42);
        let digests = group.digests_at(last).await;
        assert!(digests.iter().all(|digest| *digest == digests[0]));
        let _ = soon::<Simulated>();
        (digests, Simulated::left(Simulated::now() + (Simulated::now() - began)))
    });
    (digests, u64::try_from(elapsed.as_micros()).unwrap(), runtime.take_trace())
}

#[test]
fn a_seed_replays_bit_for_bit() {
    for seed in 0..3 {
        let (first, second) = (life(seed), life(seed));
        assert_eq!((&first.0, first.1), (&second.0, second.1), "seed {seed}");
        assert!(first.2 == second.2, "seed {seed}: the traces differ");
    }
}

#[test]
fn a_change_that_a_leader_refuses_while_it_hands_over_does_not_spin() {
    SimRuntime::with_seed(1).block_on(async {
        let group = Group::<Simulated>::of(&[1, 2, 3]).await;
        write(&group.lane(1), open(1)).await;
        let leader = group.leader().await;
        let next = leader % 3 + 1;
        // It hands over to one that does not hear of it. The runtime panics when a task spins.
        group.town.part(&[leader], &[next]);
        let branch = &group.replicas[&leader];
        branch.replica.raft.trigger().transfer_leader(next).await.unwrap();
        let until = Simulated::now() + Duration::from_millis(400);
        let refused = branch
            .change(Change::Remove { replica: ReplicaId(next), lose_history: false }, None, until)
            .await;
        assert!(refused.is_err(), "{refused:?}");
    });
}

#[test]
fn replicas_that_stop_all_at_once_do_not_wait_for_each_other() {
    for seed in 0..10 {
        SimRuntime::with_seed(seed).block_on(async {
            let group = Group::<Simulated>::of(&[1, 2, 3]).await;
            let last = write(&group.lane(1), open(1)).await.last;
            group.digests_at(last).await;
            let began = Simulated::now();
            join_all(group.replicas.values().map(Branch::stop)).await;
            let waited = Simulated::now() - began;
            assert!(waited < Duration::from_millis(500), "seed {seed}: {waited:?}");
        });
    }
}

#[test]
fn a_leader_that_stops_hands_over_to_the_one_that_stays() {
    for seed in 0..10 {
        SimRuntime::with_seed(seed).block_on(async {
            let group = Group::<Simulated>::of(&[1, 2, 3]).await;
            let last = write(&group.lane(1), open(1)).await.last;
            group.digests_at(last).await;
            let leader = group.leader().await;
            let (stops, stays) = (leader % 3 + 1, (leader + 1) % 3 + 1);
            group.replicas[&stops].replica.stopping.store(true, std::sync::atomic::Ordering::Relaxed);
            group.replicas[&leader].hand_over().await;
            assert_eq!(group.leader().await, stays, "seed {seed}");
        });
    }
}

#[test]
fn a_replica_that_was_removed_says_so() {
    SimRuntime::with_seed(1).block_on(async {
        let group = Group::<Simulated>::of(&[1, 2, 3]).await;
        write(&group.lane(1), open(1)).await;
        let leader = group.leader().await;
        let leaves = leader % 3 + 1;
        let removal = Change::Remove { replica: ReplicaId(leaves), lose_history: false };
        group.replicas[&leader].change(removal, None, soon::<Simulated>()).await.unwrap();
        let gone = &group.replicas[&leaves];
        let until = Simulated::now() + Duration::from_secs(10);
        let role = |status: BranchStatus| {
            let own = status.members.into_iter().find(|member| member.replica.0 == leaves);
            own.map(|member| member.status.unwrap().role)
        };
        while role(gone.status().await.unwrap()) != Some(Role::Removed) {
            assert!(Simulated::now() < until, "it never learns it");
            Simulated::sleep(Duration::from_millis(100)).await;
        }
        for stays in [leader, leaves % 3 + 1].into_iter().filter(|id| *id != leaves) {
            assert_eq!(role(group.replicas[&stays].status().await.unwrap()), None);
            assert_ne!(group.replicas[&stays].replica.own_status().role, Role::Removed);
        }
    });
}

#[test]
fn the_last_replica_that_has_the_history_is_not_removed_by_chance() {
    for reachable in [true, false] {
        SimRuntime::with_seed(1).block_on(async {
            let group = Group::<Simulated>::of(&[1, 2, 3]).await;
            let last = write(&group.lane(1), open(1)).await.last;
            group.digests_at(last).await;
            let leader = group.leader().await;
            let (holds, other) = (leader % 3 + 1, (leader + 1) % 3 + 1);
            // As after a snapshot of a peer, and before they look for the history again.
            for lacks in [leader, other] {
                group.replicas[&lacks].replica.current.get().journal.restart_after(last).await.unwrap();
            }
            if !reachable {
                group.town.part(&[holds], &[leader, other]);
            }
            let branch = &group.replicas[&leader];
            let removal = |lose_history| Change::Remove { replica: ReplicaId(holds), lose_history };
            match branch.change(removal(false), None, soon::<Simulated>()).await {
                Err(ChangeError::Refused(why)) => {
                    assert!(why.contains("history before sequence 2"), "{why}");
                    assert_eq!(why.contains("does not answer"), !reachable, "{why}");
                }
                other => panic!("{other:?}"),
            }
            if reachable {
                // By now they have fetched it.
                Simulated::sleep(Duration::from_secs(6)).await;
                branch.change(removal(false), None, soon::<Simulated>()).await.unwrap();
            } else {
                branch.change(removal(true), None, soon::<Simulated>()).await.unwrap();
            }
        });
    }
}

/// Whether a replica whose ledger was changed behind its back ends within half a minute.
fn ends_when_its_ledger_differs() -> bool {
    SimRuntime::with_seed(1).block_on(async {
        let group = Group::<Simulated>::of(&[1, 2, 3]).await;
        let last = write(&group.lane(1), open(1)).await.last;
        let branch = &group.replicas[&group.leader().await];
        branch.replica.progress.reach(last).await;
        branch.replica.progress.digests().forge();
        Simulated::timeout(Duration::from_secs(30), branch.ended()).await.is_some()
    })
}

#[test]
fn digests_that_are_not_compared_are_seen() {
    assert!(ends_when_its_ledger_differs());
    assert!(!with_fault(Some(Fault::DigestsNotCompared), ends_when_its_ledger_differs));
}
