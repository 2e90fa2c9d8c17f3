//! Members come and go while the branch works.

use std::time::{Duration, Instant};

use super::town::{Group, address, balance, config, soon, write};
use super::{deposit, open};
use crate::model::{ReplicaId, Role};
use crate::replication::{Change, ChangeError};
use crate::store::{Incarnation, Tokio};

fn add(replica: u64) -> Change {
    Change::Add { replica: ReplicaId(replica), address: address(replica) }
}

fn promote(replica: u64) -> Change {
    Change::Promote { replica: ReplicaId(replica) }
}

fn remove(replica: u64) -> Change {
    Change::Remove { replica: ReplicaId(replica), lose_history: false }
}

/// A lone replica that others can join.
async fn lone() -> Group<Tokio> {
    let mut group = Group::empty();
    let lone = config(&group.town, 1, &[]);
    group.start(lone).await.ready().await.unwrap();
    group
}

#[tokio::test]
async fn a_lone_replica_grows_to_three_and_can_leave() {
    let mut group = lone().await;
    write(&group.lane(1), open(1)).await;
    for new in [2, 3] {
        let joins = group.start(config(&group.town, new, &[1, new])).await;
        group.replicas[&1].change(add(new), None, soon::<Tokio>()).await.unwrap();
        group.replicas[&1].change(add(new), None, soon::<Tokio>()).await.unwrap();
        joins.ready().await.unwrap();
        let reply = write(&group.lane(new), deposit(1)).await;
        assert_eq!(balance(&group.lane(new), 1, reply.last).await, i64::try_from(new).unwrap() - 1);
        let learner = &group.replicas[&1].status().await.unwrap().members[usize::try_from(new).unwrap() - 1];
        assert_eq!((learner.voter, learner.status.as_ref().unwrap().role), (false, Role::Learner));
        // Asked of a replica that does not lead.
        joins.change(promote(new), None, soon::<Tokio>()).await.unwrap();
        assert!(joins.status().await.unwrap().members.iter().all(|member| member.voter));
    }
    // The first one, which leads, leaves; the others go on.
    group.replicas[&2].change(remove(1), None, soon::<Tokio>()).await.unwrap();
    group.kill(1).await;
    let reply = write(&group.lane(2), deposit(1)).await;
    assert_eq!(balance(&group.lane(3), 1, reply.last).await, 3);
    let status = group.replicas[&3].status().await.unwrap();
    assert_eq!(status.members.iter().map(|member| member.replica.0).collect::<Vec<_>>(), [2, 3]);
}

#[tokio::test]
async fn what_cannot_be_changed_says_why() {
    let mut group = lone().await;
    write(&group.lane(1), open(1)).await;
    let until = || Instant::now() + Duration::from_secs(3);
    let branch = group.replicas[&1].clone();
    let why = |refused: Result<(), ChangeError>| match refused {
        Err(ChangeError::Refused(why)) => why,
        other => panic!("{other:?}"),
    };
    let nobody = why(branch.change(add(2), None, until()).await);
    assert!(nobody.contains("no replica of this branch answers at replica-2"), "{nobody}");
    assert!(why(branch.change(promote(7), None, until()).await).contains("has no replica 7"));
    assert!(why(branch.change(remove(7), None, until()).await).contains("has no replica 7"));
    assert!(why(branch.change(remove(1), None, until()).await).contains("no majority"));
    let transfer = Change::Transfer { to: None };
    assert!(why(branch.change(transfer, None, until()).await).contains("the leader stays"));

    // Somebody of another number, and one that has founded a branch of its own.
    let other = config(&group.town, 3, &[1, 3]);
    group.start(crate::replication::BranchConfig { address: address(2), ..other }).await;
    assert!(why(branch.change(add(2), None, until()).await).contains("it is replica 3"));
    let own = config(&group.town, 4, &[]);
    group.start(own).await;
    let refused = why(branch.change(add(4), None, until()).await);
    assert!(refused.contains("another ledger"), "{refused}");
}

#[tokio::test]
async fn a_replica_that_lost_its_log_comes_back_only_after_it_was_removed() {
    let mut group = Group::<Tokio>::of(&[1, 2, 3]).await;
    write(&group.lane(1), open(1)).await;
    group.kill(3).await;
    let again = |group: &Group<Tokio>| crate::replication::BranchConfig {
        incarnation: Incarnation([99; 16]),
        ..config(&group.town, 3, &[1, 2, 3])
    };
    let lost = group.start(again(&group)).await;
    let refused = lost.ready().await.unwrap_err().to_string();
    assert!(refused.contains("replica 3 has lost the log"), "{refused}");
    let refused = group.replicas[&1].change(add(3), None, soon::<Tokio>()).await.unwrap_err().to_string();
    assert!(refused.contains("remove it"), "{refused}");
    group.kill(3).await;

    group.replicas[&1].change(remove(3), None, soon::<Tokio>()).await.unwrap();
    let fresh = group.start(again(&group)).await;
    group.replicas[&2].change(add(3), None, soon::<Tokio>()).await.unwrap();
    group.replicas[&2].change(promote(3), None, soon::<Tokio>()).await.unwrap();
    fresh.ready().await.unwrap();
    let reply = write(&group.lane(3), deposit(1)).await;
    assert_eq!(balance(&group.lane(3), 1, reply.last).await, 1);
}
