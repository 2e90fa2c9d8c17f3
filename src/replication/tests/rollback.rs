//! A replica that is started on an older copy of its directory takes no part, and says so.

use std::sync::Arc;
use std::time::Duration;

use openraft::AsyncRuntime as _;
use openraft_rt_sim::SimRuntime;

use super::open;
use super::simulated::Simulated;
use super::town::{Group, config, named, soon, write};
use crate::model::{Digest, ReplicaId, Unavailable};
use crate::replication::{Branch, FormationError};
use crate::store::faulty_disk::FaultyDisk;
use crate::store::{Mark, Runtime, Storage, Tokio};

const LIST: [u64; 3] = [1, 2, 3];

/// Three replicas with disks.
struct Three {
    group: Group<Simulated>,
    disks: Vec<FaultyDisk>,
    written: u64,
}

impl Three {
    async fn begin() -> Three {
        let disks = LIST.iter().map(|id| FaultyDisk::new(*id)).collect();
        let mut three = Three { group: Group::empty(), disks, written: 0 };
        for replica in LIST {
            three.start(replica).await;
        }
        for branch in three.group.replicas.values() {
            branch.ready().await.unwrap();
        }
        let leader = three.group.leader().await;
        write(&three.group.lane(leader), open(1)).await;
        three.write(20).await;
        three
    }

    fn disk(&mut self, replica: u64) -> &mut FaultyDisk {
        &mut self.disks[usize::try_from(replica).unwrap() - 1]
    }

    async fn start(&mut self, replica: u64) -> Branch<Simulated> {
        let storage = Storage::Directory(Arc::new(self.disk(replica).clone()));
        let started =
            crate::replication::BranchConfig { storage, ..config(&self.group.town, replica, &LIST) };
        self.group.start(started).await
    }

    async fn write(&mut self, count: u64) {
        let leader = self.group.leader().await;
        for _ in 0..count {
            self.written += 1;
            write(&self.group.lane(leader), named(&format!("write-{}", self.written), 1)).await;
        }
    }

    async fn kill(&mut self, replica: u64) {
        self.group.kill(replica).await;
        *self.disk(replica) = self.disk(replica).kill();
    }

    /// Kills a replica, and takes a copy of its directory before it is started again and goes on.
    async fn copy(&mut self, replica: u64) -> FaultyDisk {
        self.kill(replica).await;
        let copy = self.disk(replica).copy();
        self.start(replica).await.ready().await.unwrap();
        self.write(20).await;
        Simulated::sleep(Duration::from_secs(5)).await;
        copy
    }

    /// Starts a replica on an older copy.
    async fn restore(&mut self, replica: u64, copy: &FaultyDisk) -> Result<(), FormationError> {
        *self.disk(replica) = copy.kill();
        let branch = self.start(replica).await;
        Simulated::timeout(Duration::from_secs(20), branch.ready()).await.expect("it says whether it serves")
    }
}

fn older(replica: u64) -> Result<(), FormationError> {
    Err(FormationError::OlderCopy { replica: ReplicaId(replica) })
}

#[test]
fn an_older_copy_is_recognised_by_the_leader_and_counts_for_nothing() {
    SimRuntime::with_seed(1).block_on(async {
        let mut three = Three::begin().await;
        let leader = three.group.leader().await;
        let (victim, third) = (leader % 3 + 1, (leader + 1) % 3 + 1);
        let copy = three.copy(victim).await;
        three.kill(victim).await;
        three.kill(third).await;
        assert_eq!(three.restore(victim, &copy).await, older(victim));
        // Together with the old copy the leader has no majority, and writes nothing.
        let until = Simulated::now() + Duration::from_secs(3);
        let refused = three.group.lane(leader).execute(named("alone", 1), None, until).await;
        assert!(matches!(refused, Err(Unavailable::NoQuorum | Unavailable::OutcomeUnknown)), "{refused:?}");
        three.group.kill(victim).await;
        three.start(third).await.ready().await.unwrap();
        three.write(1).await;
    });
}

#[test]
fn an_older_copy_is_recognised_without_the_leader_by_whoever_was_told() {
    SimRuntime::with_seed(2).block_on(async {
        let mut three = Three::begin().await;
        let leader = three.group.leader().await;
        let victim = leader % 3 + 1;
        let copy = three.copy(victim).await;
        three.kill(victim).await;
        three.kill(leader).await;
        assert_eq!(three.restore(victim, &copy).await, older(victim));
    });
}

#[test]
fn an_older_copy_is_recognised_when_all_were_started_again() {
    SimRuntime::with_seed(3).block_on(async {
        let mut three = Three::begin().await;
        let victim = three.group.leader().await;
        let copy = three.copy(victim).await;
        for replica in LIST {
            three.kill(replica).await;
            *three.disk(replica) = three.disk(replica).crash_hard();
        }
        let other = three.start(victim % 3 + 1).await;
        assert_eq!(three.restore(victim, &copy).await, older(victim));
        three.group.kill(victim).await;
        three.start((victim + 1) % 3 + 1).await.ready().await.unwrap();
        other.ready().await.unwrap();
        three.write(1).await;
    });
}

#[test]
fn after_a_copy_that_nobody_could_recognise_the_one_that_has_what_was_lost_cuts_nothing() {
    SimRuntime::with_seed(4).block_on(async {
        let mut three = Three::begin().await;
        let leader = three.group.leader().await;
        let (victim, third) = (leader % 3 + 1, (leader + 1) % 3 + 1);
        three.kill(third).await;
        let copy = three.copy(victim).await;
        three.kill(victim).await;
        // The one that knows is away, and the third one has heard nothing since.
        three.group.town.part(&[leader], &[victim, third]);
        three.start(third).await;
        assert_eq!(three.restore(victim, &copy).await, Ok(()));
        let (lane, until) = (three.group.lane(third), soon::<Simulated>());
        lane.execute(named("after", 1), None, until).await.unwrap();
        three.group.town.heal();
        let has_it = three.group.replicas[&leader].clone();
        let before = has_it.replica.progress.digests().latest();
        Simulated::timeout(Duration::from_secs(20), has_it.ended()).await.expect("it ends");
        assert_eq!(has_it.replica.progress.digests().latest(), before);
    });
}

#[test]
fn a_replica_that_comes_back_on_its_own_directory_needs_one_other_only() {
    SimRuntime::with_seed(5).block_on(async {
        let mut three = Three::begin().await;
        for replica in LIST {
            three.kill(replica).await;
            *three.disk(replica) = three.disk(replica).crash_hard();
        }
        let alone = three.start(1).await;
        Simulated::sleep(Duration::from_secs(30)).await;
        assert!(!alone.replica.memory.takes_part(), "one of three knows nothing");
        let began = Simulated::now();
        three.start(2).await.ready().await.unwrap();
        alone.ready().await.unwrap();
        let reply = three.group.lane(1).execute(named("both", 1), None, soon::<Simulated>()).await;
        assert!(reply.is_ok(), "{reply:?}");
        assert!((Simulated::now() - began) < Duration::from_secs(5));
    });
}

#[test]
fn replicas_compare_also_when_nothing_is_written_and_one_is_ahead() {
    for ahead in [false, true] {
        SimRuntime::with_seed(6).block_on(async {
            let group = Group::<Simulated>::of(&LIST).await;
            let last = write(&group.lane(1), open(1)).await.last;
            group.digests_at(last).await;
            Simulated::sleep(Duration::from_secs(10)).await;
            let wrong = group.leader().await % 3 + 1;
            let branch = &group.replicas[&wrong];
            let digests = branch.replica.progress.digests();
            digests.forge();
            if ahead {
                let mut mark: Mark = digests.latest().unwrap();
                mark.log.index += 5;
                digests.note(Mark { digest: Digest([9; 32]), ..mark });
            }
            Simulated::timeout(Duration::from_secs(4), branch.ended()).await.expect("it stops");
            let others = group.replicas.iter().filter(|(id, _)| **id != wrong);
            assert!(
                others.into_iter().all(|(_, branch)| {
                    branch.replica.outlook.look(|metrics| metrics.running_state.is_ok())
                })
            );
        });
    }
}

#[tokio::test]
async fn a_leader_with_other_entries_than_those_that_were_applied_is_not_followed() {
    let group = Group::<Tokio>::of(&LIST).await;
    let last = write(&group.lane(1), open(1)).await.last;
    group.digests_at(last).await;
    let leader = group.leader().await;
    let (vote, committed) =
        group.replicas[&leader].replica.outlook.look(|raft| (raft.vote, raft.local_committed));
    let mut other = committed.unwrap();
    other.leader_id.node_id += 1;
    let log = &group.replicas[&(leader % 3 + 1)].replica.log;
    assert_eq!(log.contradiction(&vote, committed.into_iter()), None);
    assert_eq!(log.contradiction(&vote, [other].into_iter()), Some(other));
    let mut earlier = vote;
    earlier.leader_id.term = 0;
    assert_eq!(log.contradiction(&earlier, [other].into_iter()), None, "it leads no more");
}
