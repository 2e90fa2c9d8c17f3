//! What callers of a branch of several replicas rely on. What depends on time runs on the simulated clock, so that a
//! busy machine changes nothing.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{join, join_all};
use openraft::AsyncRuntime;
use openraft_rt_sim::SimRuntime;
use tokio_stream::wrappers::TcpListenerStream;

use super::simulated::Simulated;
use super::town::{Group, balance, config, named, soon, write};
use super::{cents, deposit, open};
use crate::model::{Outcomes, Receipt, ReplicaId, Role, Seen, Sequence, Unavailable};
use crate::replication::outlook::LOST;
use crate::replication::wishes::LEAD_PAUSE;
use crate::replication::{Branch, BranchConfig, Change, ChangeError, GrpcTransport, ReadPoint, peer_service};
use crate::store::{Runtime, Tokio};

/// Three replicas over real sockets.
async fn over_sockets() -> Vec<Branch> {
    let mut listeners = Vec::new();
    for _ in 0..3 {
        listeners.push(tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap());
    }
    let address = |n: usize| listeners[n].local_addr().unwrap().to_string();
    let list: std::collections::BTreeMap<_, _> =
        [1, 2, 3].map(|id: u64| (ReplicaId(id), address(usize::try_from(id).unwrap() - 1))).into();
    let town = Arc::default();
    let mut branches = Vec::new();
    for (listener, id) in listeners.into_iter().zip(1..) {
        let address = list[&ReplicaId(id)].clone();
        let config = BranchConfig {
            address,
            peers: list.clone(),
            transport: Arc::new(GrpcTransport),
            ..config(&town, id, &[])
        };
        let branch = Branch::start(config).await.unwrap();
        let service = peer_service(branch.door());
        let server = tonic::transport::Server::builder().add_service(service);
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        branches.push(branch);
    }
    for branch in &branches {
        branch.ready().await.unwrap();
    }
    branches
}

#[tokio::test]
async fn replicas_over_sockets_take_any_call_anywhere() {
    let branches = over_sockets().await;
    let lanes: Vec<_> = branches.iter().map(Branch::lane).collect();
    let ledgers: BTreeSet<_> = lanes.iter().map(|lane| lane.ledger().unwrap().0).collect();
    assert_eq!(ledgers.len(), 1, "one founding, whoever led");
    write(&lanes[0], open(1)).await;
    for round in 0..30_u64 {
        let (writer, reader) = (round % 3, (round + 1 + round / 3 % 2) % 3);
        let [writer, reader] = [writer, reader].map(|n| &lanes[usize::try_from(n).unwrap()]);
        let reply = write(writer, deposit(1)).await;
        assert_eq!(balance(reader, 1, reply.last).await, i64::try_from(round + 1).unwrap());
        let latest = reader.read(ReadPoint::Latest, soon::<Tokio>(), |state| cents(state, 1)).await.unwrap();
        assert_eq!(latest, (i64::try_from(round + 1).unwrap(), reply.last));
    }
    let many = join_all((0..600).map(|n| write(&lanes[n % 3], deposit(1)))).await;
    let sequences: BTreeSet<_> = many.iter().map(|reply| reply.last).collect();
    assert_eq!(sequences.len(), 600);
    let last = *sequences.last().unwrap();
    for lane in &lanes {
        assert_eq!(balance(lane, 1, last).await, 630);
    }
    let status = branches[1].status().await.unwrap();
    let known: Vec<_> = status.members.iter().map(|member| member.status.clone().unwrap()).collect();
    assert!(known.iter().all(|member| member.sequence == last && member.digest == known[0].digest));
    assert_eq!(known.iter().filter(|member| member.role == Role::Leader).count(), 1);
    assert!(status.members.iter().all(|member| member.voter && !member.address.is_empty()));
    for branch in &branches {
        branch.stop().await;
    }
}

#[test]
fn the_next_leader_goes_on_and_no_request_is_lost_or_doubled() {
    SimRuntime::with_seed(1).block_on(async {
        let mut group = Group::<Simulated>::of(&[1, 2, 3]).await;
        write(&group.lane(1), open(1)).await;
        let leader = group.leader().await;
        let others: Vec<u64> = [1, 2, 3].into_iter().filter(|id| *id != leader).collect();
        let writers = join_all((0..4).map(|writer| {
            let lane = group.lane(others[writer % 2]);
            async move {
                for call in 0..100 {
                    let reply = write(&lane, named(&format!("{writer}-{call}"), 1)).await;
                    assert!(matches!(reply.outcomes, Outcomes::One(Ok(Receipt::Deposited { .. }))));
                }
            }
        }));
        let killed = async {
            group.replicas[&leader].replica.progress.reach(Sequence(50)).await;
            let began = Simulated::now();
            group.kill(leader).await;
            began
        };
        let (_, began) = join(writers, killed).await;
        assert!((Simulated::now() - began) < Duration::from_secs(6), "{:?}", (Simulated::now() - began));
        let repeated = write(&group.lane(others[0]), named("3-99", 1)).await;
        assert!(repeated.replayed);
        for replica in others {
            assert_eq!(balance(&group.lane(replica), 1, repeated.last).await, 400);
        }
        assert_eq!(group.digests_at(repeated.last).await.iter().collect::<BTreeSet<_>>().len(), 1);
    });
}

#[test]
fn without_a_majority_everybody_is_told_in_time() {
    SimRuntime::with_seed(1).block_on(async {
        let mut group = Group::<Simulated>::of(&[1, 2, 3]).await;
        let reply = write(&group.lane(1), open(1)).await;
        let leader = group.leader().await;
        for replica in [1, 2, 3] {
            group.replicas[&replica].replica.progress.reach(reply.last).await;
        }
        // Once with a follower that is left, once more with the leader that is left.
        let (left, gone) = match leader {
            1 => (2, [1, 3]),
            2 => (3, [1, 2]),
            _ => (1, [2, 3]),
        };
        for replica in gone {
            group.kill(replica).await;
        }
        let lane = group.lane(left);
        let within = |seconds| Simulated::now() + Duration::from_millis(seconds);
        // Until the others were silent for a while they are not taken for lost.
        Simulated::sleep(LOST).await;
        let began = Simulated::now();
        let refused = lane.execute(named("late", 1), None, within(500)).await;
        assert_eq!(refused, Err(Unavailable::NoQuorum));
        let refused = lane.read(ReadPoint::Latest, within(300), |_| ()).await;
        assert_eq!(refused, Err(Unavailable::NoQuorum));
        assert!((Simulated::now() - began) < Duration::from_millis(900), "{:?}", (Simulated::now() - began));
        let seen = Seen { ledger: lane.ledger().unwrap(), sequence: reply.last };
        for at in [ReadPoint::Local, ReadPoint::AtLeast(seen)] {
            assert_eq!(lane.read(at, within(100), |state| cents(state, 1)).await, Ok((0, reply.last)));
        }
        let ahead = Seen { sequence: reply.last.next(), ..seen };
        let behind = Unavailable::ReplicaBehind { applied: reply.last, wanted: ahead.sequence };
        assert_eq!(lane.read(ReadPoint::AtLeast(ahead), within(100), |_| ()).await, Err(behind));
    });
}

#[test]
fn a_leader_that_is_cut_off_promises_nothing_and_comes_back() {
    SimRuntime::with_seed(1).block_on(async {
        let group = Group::<Simulated>::of(&[1, 2, 3]).await;
        write(&group.lane(1), open(1)).await;
        let old = group.leader().await;
        let others: Vec<u64> = [1, 2, 3].into_iter().filter(|id| *id != old).collect();
        group.town.part(&[old], &others);
        let lost = group.lane(old);
        let at = |millis| Simulated::now() + Duration::from_millis(millis);
        let first = lost.execute(named("first", 1), None, at(300)).await;
        assert_eq!(first, Err(Unavailable::OutcomeUnknown), "it is in the log of the leader that was");
        let read = lost.read(ReadPoint::Latest, at(300), |_| ()).await;
        assert_eq!(read, Err(Unavailable::NoQuorum), "no stale read");
        // The others have the same request, under the same name.
        let reply = write(&group.lane(others[0]), named("first", 1)).await;
        let next = write(&group.lane(others[1]), named("second", 1)).await;
        // Until it notices that nobody follows it, it takes the work into its log and cannot say more.
        let mut third = Err(Unavailable::OutcomeUnknown);
        for _ in 0..30 {
            if third != Err(Unavailable::OutcomeUnknown) {
                break;
            }
            third = lost.execute(named("third", 1), None, at(300)).await;
        }
        assert_eq!(third, Err(Unavailable::NoQuorum), "nothing happened");
        group.town.heal();
        let last = write(&lost, named("third", 1)).await;
        assert!(last.last > next.last && next.last > reply.last);
        assert_eq!(balance(&lost, 1, last.last).await, 3);
        let again = write(&lost, named("first", 1)).await;
        assert!(again.replayed);
        assert_eq!(again.last, reply.last);
        assert_eq!(group.digests_at(last.last).await.iter().collect::<BTreeSet<_>>().len(), 1);
    });
}

#[test]
fn ways_that_are_cut_in_one_direction_give_no_wrong_answer() {
    SimRuntime::with_seed(1).block_on(async {
        let group = Group::<Simulated>::of(&[1, 2, 3]).await;
        write(&group.lane(1), open(1)).await;
        let leader = group.leader().await;
        let others: Vec<u64> = [1, 2, 3].into_iter().filter(|id| *id != leader).collect();
        // The leader is heard by one of the others but hears nobody.
        group.town.cut(others[0], leader);
        group.town.cut(others[1], leader);
        group.town.cut(leader, others[1]);
        let replies = join_all((0..20).map(|n| {
            let lane = group.lane(others[n % 2]);
            async move {
                let until = Simulated::now() + Duration::from_secs(8);
                lane.execute(named(&format!("n-{n}"), 1), None, until).await
            }
        }))
        .await;
        group.town.heal();
        for (n, reply) in replies.iter().enumerate() {
            let now = write(&group.lane(leader), named(&format!("n-{n}"), 1)).await;
            if let Ok(reply) = reply {
                assert_eq!((now.last, now.replayed), (reply.last, true));
            }
        }
        let last = write(&group.lane(leader), deposit(1)).await.last;
        for replica in [1, 2, 3] {
            assert_eq!(balance(&group.lane(replica), 1, last).await, 21);
        }
    });
}

#[test]
fn leadership_moves_on_request_and_before_a_stop_without_a_failed_call() {
    SimRuntime::with_seed(1).block_on(async {
        let mut group = Group::<Simulated>::of(&[1, 2, 3]).await;
        write(&group.lane(1), open(1)).await;
        let mut written = 0;
        for to in [2, 3, 1] {
            let asked = group.replicas[&(to % 3 + 1)].clone();
            asked
                .change(Change::Transfer { to: Some(ReplicaId(to)) }, None, soon::<Simulated>())
                .await
                .unwrap();
            assert_eq!(group.leader().await, to);
            for replica in [1, 2, 3] {
                write(&group.lane(replica), deposit(1)).await;
                written += 1;
            }
            let refused = asked
                .change(Change::Transfer { to: Some(ReplicaId(to % 3 + 1)) }, None, soon::<Simulated>())
                .await;
            assert!(
                matches!(&refused, Err(ChangeError::Refused(why)) if why.contains("again in")),
                "{refused:?}"
            );
            Simulated::sleep(LEAD_PAUSE).await;
        }
        let leader = group.leader().await;
        let lane = group.lane(leader % 3 + 1);
        let writer = async {
            for call in 0..100 {
                write(&lane, named(&format!("call-{call}"), 1)).await;
                Simulated::sleep(Duration::from_millis(1)).await;
            }
        };
        let began = Simulated::now();
        let stopped = async {
            group.replicas[&leader].stop().await;
            group.town.close(leader);
            group.replicas.remove(&leader);
        };
        join(writer, stopped).await;
        assert!(
            (Simulated::now() - began) < Duration::from_secs(1),
            "nobody waits for an election: {:?}",
            (Simulated::now() - began)
        );
        let last = write(&group.lane(leader % 3 + 1), deposit(1)).await;
        assert_eq!(balance(&group.lane(leader % 3 + 1), 1, last.last).await, written + 101);
    });
}

#[test]
fn a_dead_peer_is_knocked_at_now_and_then_only() {
    SimRuntime::with_seed(1).block_on(async {
        let mut group = Group::<Simulated>::of(&[1, 2, 3]).await;
        write(&group.lane(1), open(1)).await;
        let dead = group.leader().await % 3 + 1;
        group.kill(dead).await;
        let leader = group.leader().await;
        let before = *group.town.knocks.lock();
        for _ in 0..20 {
            write(&group.lane(leader), deposit(1)).await;
            Simulated::sleep(Duration::from_millis(50)).await;
        }
        let knocks = *group.town.knocks.lock() - before;
        assert!((1..60).contains(&knocks), "{knocks} in a second");
    });
}

#[tokio::test]
async fn a_replica_whose_ledger_differs_stops_itself() {
    let group = Group::<Tokio>::of(&[1, 2, 3]).await;
    write(&group.lane(1), open(1)).await;
    let last = write(&group.lane(1), deposit(1)).await.last;
    let wrong = group.leader().await;
    let branch = &group.replicas[&wrong];
    branch.replica.progress.reach(last).await;
    branch.replica.progress.digests().forge();
    branch.ended().await;
    let other = wrong % 3 + 1;
    let reply = write(&group.lane(other), named("next", 1)).await;
    assert_eq!(balance(&group.lane(other), 1, reply.last).await, 2);
    assert!(group.replicas.iter().all(|(id, branch)| {
        *id == wrong || branch.replica.outlook.look(|metrics| metrics.running_state.is_ok())
    }));
}

#[tokio::test]
async fn what_may_have_happened_is_repeated_under_its_name_only() {
    let group = Group::<Tokio>::of(&[1, 2, 3]).await;
    let opened = write(&group.lane(1), open(1)).await.last;
    let leader = group.leader().await;
    let (asked, next) = (leader % 3 + 1, (leader + 1) % 3 + 1);
    group.digests_at(opened).await;
    // The leader gets what is passed on, and its answers are lost.
    group.town.cut(leader, asked);
    let lane = group.lane(asked);
    let other = lane.clone();
    let nameless = tokio::spawn(async move { lane.execute(deposit(1), None, soon::<Tokio>()).await });
    let named_one = tokio::spawn(async move { other.execute(named("once", 1), None, soon::<Tokio>()).await });
    group.replicas[&leader].replica.progress.reach(Sequence(3)).await;
    let transfer = Change::Transfer { to: Some(ReplicaId(next)) };
    group.replicas[&leader].change(transfer, None, soon::<Tokio>()).await.unwrap();
    assert_eq!(nameless.await.unwrap(), Err(Unavailable::OutcomeUnknown));
    assert!(named_one.await.unwrap().unwrap().replayed, "the second attempt learned of the first");
    group.town.heal();
    let last = write(&group.lane(asked), deposit(1)).await.last;
    assert_eq!(balance(&group.lane(asked), 1, last).await, 3);
}
