//! How branches begin, and how they refuse to.

use std::collections::BTreeSet;
use std::time::Duration;

use super::open;
use super::town::{Group, address, config, soon, write};
use crate::model::{ReplicaId, Unavailable};
use crate::replication::{BranchConfig, ReadPoint};
use crate::store::{Runtime as _, Tokio};

#[tokio::test]
async fn until_all_are_there_nothing_is_served_and_then_one_group_is_formed() {
    let mut group = Group::<Tokio>::empty();
    for replica in [1, 3] {
        group.start(config(&group.town, replica, &[1, 2, 3])).await;
    }
    let waiting = Tokio::timeout(Duration::from_millis(500), group.replicas[&1].ready()).await;
    assert_eq!(waiting, None);
    let lane = group.lane(1);
    assert_eq!(lane.ledger(), Err(Unavailable::Starting));
    assert_eq!(lane.execute(open(1), None, soon::<Tokio>()).await, Err(Unavailable::Starting));
    let read = lane.read(ReadPoint::Local, soon::<Tokio>(), |_| ()).await;
    assert_eq!(read, Err(Unavailable::Starting));

    group.start(config(&group.town, 2, &[1, 2, 3])).await;
    let mut ledgers = BTreeSet::new();
    for branch in group.replicas.values() {
        branch.ready().await.unwrap();
        ledgers.insert(branch.lane().ledger().unwrap().0);
    }
    assert_eq!(ledgers.len(), 1);
    write(&lane, open(1)).await;
}

/// What the replicas of a group with a mistake say.
async fn mistake(group: &Group<Tokio>, at: u64) -> String {
    group.replicas[&at].ready().await.unwrap_err().to_string()
}

#[tokio::test]
async fn replicas_whose_lists_disagree_do_not_form() {
    let mut group = Group::<Tokio>::empty();
    group.start(config(&group.town, 1, &[1, 2])).await;
    group.start(config(&group.town, 2, &[1, 2, 3])).await;
    let said = mistake(&group, 1).await;
    assert!(
        said.contains("replica 2 was started with the peers 1=replica-1,2=replica-2,3=replica-3"),
        "{said}"
    );
    assert!(mistake(&group, 2).await.contains("start all with the same list"));
}

#[tokio::test]
async fn strangers_are_told_from_peers() {
    let mut group = Group::<Tokio>::empty();
    group.start(config(&group.town, 1, &[1, 2])).await;
    let stranger = config(&group.town, 2, &[1, 2]);
    group.start(BranchConfig { name: "delhi".parse().unwrap(), ..stranger }).await;
    let said = mistake(&group, 1).await;
    assert!(said.contains("at replica-2") && said.contains("another branch, delhi"), "{said}");

    let mut group = Group::<Tokio>::empty();
    group.start(config(&group.town, 1, &[1, 2])).await;
    let other = config(&group.town, 5, &[1, 5]);
    group.start(BranchConfig { address: address(2), ..other }).await;
    let said = mistake(&group, 1).await;
    assert!(said.contains("answers not replica 2") && said.contains("it is replica 5"), "{said}");

    let mut group = Group::<Tokio>::empty();
    group.start(config(&group.town, 7, &[1, 2])).await;
    assert!(mistake(&group, 7).await.contains("does not name replica 7"));
}

#[tokio::test]
async fn a_founder_that_lost_everything_does_not_found_again() {
    let mut group = Group::<Tokio>::of(&[1, 2, 3]).await;
    write(&group.lane(2), open(1)).await;
    group.kill(1).await;
    let again = config(&group.town, 1, &[1, 2, 3]);
    group.start(BranchConfig { incarnation: crate::store::Incarnation([99; 16]), ..again }).await;
    assert!(mistake(&group, 1).await.contains("replica 1 has lost the log"));
    let status = group.replicas[&2].status().await.unwrap();
    assert_eq!(status.members.len(), 3);
    assert_eq!(status.members[0].replica, ReplicaId(1));
    assert!(status.members[0].status.is_none(), "the one that came back takes no part");
}
