//! Three durable replicas under steady writers: killed in every combination, paused, left alone, grown.

use std::time::Duration;

use bank::client::{Client, Consistency, Options, ReplicaRole};
use bank::model::Reason;

use super::{Fleet, Random, Writers, check, opened};

/// Reads at every replica, in one session, what was written at another one.
async fn session_holds_everywhere(fleet: &Fleet) {
    let writer = fleet.client(0);
    let account = opened(&writer).await;
    for place in 0..fleet.addresses.len() {
        writer.deposit(&account, "1", &Options::default()).await.unwrap();
        let reader = fleet.only(place);
        reader.resume_session(&writer.session_token()).unwrap();
        let balance = reader.balance(&account, &Options::fresh(Consistency::Session)).await.unwrap();
        assert_eq!(balance.balance, format!("{}.00", place + 1));
        assert_eq!(balance.seen.replica, place as u64 + 1);
    }
}

/// All replicas hold the same, as they say and as their directories say.
async fn equal_to_the_end(mut fleet: Fleet) {
    let (_, status) = fleet.settled().await;
    fleet.stop();
    for place in 0..fleet.addresses.len() {
        let verified = fleet.verify(place);
        let said = (status.replicas[place].sequence.to_string(), &status.replicas[place].digest);
        assert_eq!((verified["sequence"].clone(), &verified["digest"]), said, "replica {}", place + 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_killed_every_acknowledged_deposit_is_there_once() {
    let mut random = Random::new("killed replicas");
    let mut fleet = Fleet::group(3);
    let clients = (0..6).map(|writer| fleet.client(writer % 3)).collect();
    let mut writers = Writers::start(clients).await;
    for round in 0..8 {
        writers.progress(1 + random.below(100)).await;
        let leader = fleet.led().await;
        let victims = match round % 4 {
            0 => vec![leader],
            1 => vec![random.below(3)],
            2 => vec![0, 1, 2],
            _ => vec![leader, (leader + 1 + random.below(2)) % 3],
        };
        println!("round {round}: leader {leader}, killed {victims:?}");
        victims.iter().for_each(|victim| fleet.kill(*victim));
        if victims.len() == 1 {
            writers.progress(1 + random.below(30)).await;
        }
        victims.iter().for_each(|victim| fleet.start(*victim));
    }
    writers.progress(1).await;
    session_holds_everywhere(&fleet).await;
    let written = writers.finish().await;
    for place in 0..3 {
        check(&fleet.only(place), &written).await;
    }
    equal_to_the_end(fleet).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_was_paused_gives_no_old_answer_and_catches_up() {
    let mut random = Random::new("paused replicas");
    let fleet = Fleet::group(3);
    let clients = (0..3).map(|writer| fleet.client(writer)).collect();
    let mut writers = Writers::start(clients).await;
    let probe = fleet.client(0);
    let account = opened(&probe).await;
    for round in 1..5 {
        let leader = fleet.led().await;
        // The leader and a follower in turn.
        let victim = if round % 2 == 1 { leader } else { (leader + 1 + random.below(2)) % 3 };
        println!("round {round}: leader {leader}, paused {victim}");
        fleet.signal(victim, "STOP");
        writers.progress(20).await;
        let named = Options { timeout: Some(Duration::from_secs(30)), ..Options::default() };
        fleet.client((victim + 1) % 3).deposit(&account, "1", &named).await.unwrap();
        fleet.signal(victim, "CONT");
        let read =
            Options { timeout: Some(Duration::from_secs(30)), ..Options::fresh(Consistency::Linearizable) };
        let balance = fleet.only(victim).balance(&account, &read).await.unwrap();
        assert_eq!(balance.balance, format!("{round}.00"), "a leader that was paused is asked");
    }
    let written = writers.finish().await;
    session_holds_everywhere(&fleet).await;
    for place in 0..3 {
        check(&fleet.only(place), &written).await;
    }
    equal_to_the_end(fleet).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_majority_writes_are_refused_in_time_and_session_reads_go_on() {
    for hanging in [false, true] {
        let mut fleet = Fleet::group(3);
        let client = fleet.client(0);
        let account = opened(&client).await;
        client.deposit(&account, "7", &Options::default()).await.unwrap();
        let (leader, _) = fleet.settled().await;
        // Once the leader is left, once a follower.
        let left = if hanging { leader } else { (leader + 1) % 3 };
        let others = [(left + 1) % 3, (left + 2) % 3];
        for other in others {
            if hanging { fleet.signal(other, "STOP") } else { fleet.kill(other) }
        }
        let lonely = fleet.only(left);
        lonely.resume_session(&client.session_token()).unwrap();
        let within = |consistency| Options {
            consistency,
            timeout: Some(Duration::from_secs(3)),
            ..Options::default()
        };
        let first = lonely.deposit(&account, "1", &within(None)).await.unwrap_err();
        assert!(matches!(first.reason, Reason::NoQuorum | Reason::OutcomeUnknown), "{first:?}");
        let read = lonely.balance(&account, &within(Some(Consistency::Linearizable))).await.unwrap_err();
        assert_eq!(read.reason, Reason::NoQuorum);
        // By now nothing enters the log any more. A starved machine may let the answer come too late for the client, so
        // it is the same write that is tried again.
        let named = |wait| Options {
            request_id: first.metadata.get("request_id").cloned(),
            timeout: Some(wait),
            ..Options::default()
        };
        let short = named(Duration::from_secs(3));
        let mut second = lonely.deposit(&account, "1", &short).await.unwrap_err();
        for _ in 0..2 {
            if second.reason == Reason::OutcomeUnknown {
                second = lonely.deposit(&account, "1", &short).await.unwrap_err();
            }
        }
        assert_eq!(second.reason, Reason::NoQuorum, "{second:?}");
        for consistency in [Consistency::Session, Consistency::Stale] {
            let balance = lonely.balance(&account, &within(Some(consistency))).await.unwrap();
            assert_eq!(balance.balance, "7.00", "{consistency}");
        }
        for other in others {
            if hanging { fleet.signal(other, "CONT") } else { fleet.start(other) }
        }
        // Repeated under its name it has its effect once, whatever became of it.
        let long = named(Duration::from_secs(30));
        assert_eq!(client.deposit(&account, "1", &long).await.unwrap().balance, "8.00");
        equal_to_the_end(fleet).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lone_server_grows_to_three_while_it_serves_and_then_may_die() {
    let mut fleet = Fleet::group(1);
    let mut writers = Writers::start((0..4).map(|_| fleet.client(0)).collect()).await;
    writers.progress(50).await;
    let operator: Client = fleet.client(0);
    let options = Options { timeout: Some(Duration::from_secs(30)), ..Options::default() };
    for id in 2..=3 {
        let place = fleet.add();
        fleet.start(place);
        operator.add_replica(id, &fleet.addresses[place].to_string(), &options).await.unwrap();
        operator.promote_replica(id, &options).await.unwrap();
        writers.progress(20).await;
    }
    let written = writers.finish().await;
    let (leader, status) = fleet.settled().await;
    assert_eq!((leader, status.replicas.iter().all(|replica| replica.voter)), (0, true));
    fleet.kill(0);
    let mut writers = Writers::start(vec![fleet.client(1), fleet.client(2)]).await;
    writers.progress(20).await;
    let more = writers.finish().await;
    // The first server comes back as it was started the first time, with a list of itself alone; it knows better.
    fleet.start(0);
    let (leader, status) = fleet.settled().await;
    assert_ne!(status.replicas[0].role, ReplicaRole::Leader);
    assert_ne!(leader, 0);
    for place in 0..3 {
        check(&fleet.only(place), &written).await;
        check(&fleet.only(place), &more).await;
    }
    equal_to_the_end(fleet).await;
}
