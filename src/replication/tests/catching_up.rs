//! Replicas that were away, or are new, get what they miss: by the log, or by a snapshot and the history.

use std::sync::Arc;
use std::time::Duration;

use super::town::{Group, address, balance, config, named, soon, write};
use super::{cents, deposit, one_cent, open, work};
use crate::model::limits::BATCH_COMMANDS;
use crate::model::{ReplicaId, Sequence, Work};
use crate::replication::{BranchConfig, Change, ReadPoint};
use crate::store::faulty_disk::{Faults, FaultyDisk};
use crate::store::{Runtime, Storage, Tokio};

/// Writes so much that the log lets go what is applied.
async fn write_much(group: &Group<Tokio>, at: u64) -> Sequence {
    let mut last = Sequence::ZERO;
    for _ in 0..12 {
        let full = work(Work::Independent(vec![one_cent(1); BATCH_COMMANDS]));
        last = write(&group.lane(at), full).await.last;
    }
    for _ in 0..100 {
        last = write(&group.lane(at), deposit(1)).await.last;
    }
    last
}

async fn has_history(group: &Group<Tokio>, replica: u64) {
    let replica = &group.replicas[&replica].replica;
    while replica.current.get().journal.first() > Sequence(1) {
        Tokio::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_new_replica_gets_the_accounts_by_snapshot_and_then_the_history() {
    let mut group = Group::<Tokio>::empty();
    let lone = config(&group.town, 1, &[]);
    group.start(lone).await;
    write(&group.lane(1), open(1)).await;
    let last = write_much(&group, 1).await;
    let purged = group.replicas[&1].replica.outlook.look(|metrics| metrics.purged);
    assert!(purged.is_some(), "the log alone would not do");

    let joins = group.start(config(&group.town, 2, &[1, 2])).await;
    let add = Change::Add { replica: ReplicaId(2), address: address(2) };
    group.replicas[&1].change(add, None, soon::<Tokio>()).await.unwrap();
    joins.ready().await.unwrap();
    assert_eq!(balance(&group.lane(2), 1, last).await, i64::try_from(last.0 - 1).unwrap());
    joins.change(Change::Promote { replica: ReplicaId(2) }, None, soon::<Tokio>()).await.unwrap();
    let after = write(&group.lane(2), named("after", 1)).await.last;
    let digests = group.digests_at(after).await;
    assert_eq!(digests[0], digests[1]);
    has_history(&group, 2).await;
    let journals = [1, 2].map(|id| group.replicas[&id].replica.current.get());
    let first = Sequence(17);
    let mut records = journals.iter().map(|state| {
        let mut records = Vec::new();
        state
            .journal
            .visit(first, |record| {
                records.push(record.clone());
                if records.len() < 9_000 {
                    std::ops::ControlFlow::Continue(())
                } else {
                    std::ops::ControlFlow::Break(())
                }
            })
            .unwrap();
        records
    });
    assert_eq!(records.next(), records.next());
}

fn durable(group: &Group<Tokio>, replica: u64, disk: &FaultyDisk) -> BranchConfig {
    let storage = Storage::Directory(Arc::new(disk.clone()));
    BranchConfig { storage, ..config(&group.town, replica, &[1, 2, 3]) }
}

async fn start_all(group: &mut Group<Tokio>, disks: &[FaultyDisk]) {
    for (replica, disk) in (1..).zip(disks) {
        group.start(durable(group, replica, disk)).await;
    }
    for branch in group.replicas.values() {
        branch.ready().await.unwrap();
    }
}

#[tokio::test]
async fn replicas_with_directories_survive_the_loss_of_all_at_once() {
    let mut disks: Vec<FaultyDisk> = (1..=3).map(FaultyDisk::new).collect();
    let mut group = Group::<Tokio>::empty();
    start_all(&mut group, &disks).await;
    write(&group.lane(1), open(1)).await;
    let mut written = 0;
    for life in 0..3 {
        for call in 0..20 {
            write(&group.lane(1 + call % 3), named(&format!("{life}-{call}"), 1)).await;
            written += 1;
        }
        let ledger = group.lane(1).ledger();
        // What was not flushed is lost, on all of them.
        disks = disks.iter().map(FaultyDisk::crash).collect();
        for replica in [1, 2, 3] {
            group.kill(replica).await;
        }
        start_all(&mut group, &disks).await;
        assert_eq!(group.lane(1).ledger(), ledger, "the same life of the ledger");
        let again = write(&group.lane(2), named(&format!("{life}-19"), 1)).await;
        assert!(again.replayed);
        let latest = write(&group.lane(3), named(&format!("after-{life}"), 1)).await.last;
        written += 1;
        for replica in [1, 2, 3] {
            assert_eq!(balance(&group.lane(replica), 1, latest).await, written);
        }
    }
}

#[tokio::test]
async fn the_log_is_let_go_though_a_peer_is_gone_or_has_stopped_behind_an_open_door() {
    for door_stays in [false, true] {
        let mut group = Group::<Tokio>::of(&[1, 2, 3]).await;
        let last = write(&group.lane(1), open(1)).await.last;
        group.digests_at(last).await;
        let leader = group.leader().await;
        let gone = leader % 3 + 1;
        if door_stays {
            group.replicas[&gone].replica.raft.shutdown().await.unwrap();
        } else {
            group.kill(gone).await;
        }
        write_much(&group, leader).await;
        let branch = &group.replicas[&leader];
        let purged = async {
            while branch.replica.outlook.look(|metrics| metrics.purged).is_none() {
                Tokio::sleep(Duration::from_millis(10)).await;
            }
        };
        assert!(Tokio::timeout(Duration::from_secs(20), purged).await.is_some(), "{door_stays}");
    }
}

#[tokio::test]
async fn a_follower_with_a_full_disk_goes_on_reading_and_catches_up_when_there_is_space() {
    let disks: Vec<FaultyDisk> = (1..=3).map(FaultyDisk::new).collect();
    let mut group = Group::<Tokio>::empty();
    start_all(&mut group, &disks).await;
    let early = write(&group.lane(1), open(1)).await.last;
    group.digests_at(early).await;
    let leader = group.leader().await;
    let full = leader % 3 + 1;
    let disk = &disks[usize::try_from(full).unwrap() - 1];
    disk.set_faults(Faults { capacity: Some(0), ..Faults::default() });
    // More than it can keep, until the others have let go what it lacks and can only send a snapshot.
    let mut last = Sequence::ZERO;
    for _ in 0..2 {
        last = write_much(&group, leader).await;
        for (id, branch) in group.replicas.iter().filter(|(id, _)| **id != full) {
            let purged = || branch.replica.outlook.look(|metrics| metrics.purged);
            let before = purged();
            branch.replica.trigger_snapshot().await;
            while purged() == before {
                assert!(branch.replica.outlook.look(|metrics| metrics.running_state.is_ok()), "{id}");
                Tokio::sleep(Duration::from_millis(10)).await;
            }
        }
    }
    let branch = &group.replicas[&full];
    let (here, at) =
        group.lane(full).read(ReadPoint::Local, soon::<Tokio>(), |state| cents(state, 1)).await.unwrap();
    assert!(at < last && u64::try_from(here).unwrap() + 1 == at.0, "it is behind, and right");
    assert!(branch.replica.outlook.look(|metrics| metrics.running_state.is_ok()), "it goes on");
    disk.set_faults(Faults::default());
    assert_eq!(balance(&group.lane(full), 1, last).await, i64::try_from(last.0 - 1).unwrap());
    has_history(&group, full).await;
}

#[tokio::test]
async fn a_replica_that_was_away_for_long_catches_up_by_snapshot() {
    let mut disks: Vec<FaultyDisk> = (1..=3).map(FaultyDisk::new).collect();
    let mut group = Group::<Tokio>::empty();
    start_all(&mut group, &disks).await;
    let early = write(&group.lane(1), open(1)).await.last;
    group.digests_at(early).await;
    group.kill(3).await;
    disks[2] = disks[2].crash();
    write_much(&group, 2).await;
    for replica in [1, 2] {
        group.replicas[&replica].replica.trigger_snapshot().await;
    }
    let last = write_much(&group, 1).await;
    let away = group.start(durable(&group, 3, &disks[2])).await;
    away.ready().await.unwrap();
    assert_eq!(balance(&group.lane(3), 1, last).await, i64::try_from(last.0 - 1).unwrap());
    let next = write(&group.lane(3), deposit(1)).await.last;
    let digests = group.digests_at(next).await;
    assert!(digests.iter().all(|digest| *digest == digests[0]));
    has_history(&group, 3).await;
}
