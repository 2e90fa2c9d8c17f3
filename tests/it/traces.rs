//! Traces of real replicas: clocks that travel on calls and in the log, whoever leads and whoever only follows.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::time::Instant;

use bank::client::{Client, Config, NewAccount, Options, Page, Traced};
use bank::model::{LamportClock, ReplicaId, TraceEvent, TraceKind};
use bank::server::{LocalCluster, LocalConfig};
use futures::future::join_all;

fn cluster(replicas: usize) -> (LocalCluster, Vec<Client>) {
    let config = LocalConfig {
        replicas: NonZeroUsize::new(replicas).unwrap(),
        trace_events: true,
        ..LocalConfig::new("main".parse().unwrap())
    };
    let began = Instant::now();
    let cluster = LocalCluster::of(&config).unwrap();
    println!("{replicas} replicas serve after {:?}", began.elapsed());
    let client = |address: std::net::SocketAddr| Client::new(&Config::new([address.to_string()])).unwrap();
    let clients = cluster.addresses().map(client).collect();
    (cluster, clients)
}

fn traced(name: &str, clock: u64) -> Options {
    let trace = Traced { name: name.parse().unwrap(), clock: LamportClock::new(clock).unwrap() };
    Options { trace: Some(trace), ..Options::default() }
}

/// Everything that a replica has recorded, after it has applied what the session has seen.
async fn events(client: &Client, session: &str) -> Vec<TraceEvent> {
    let seen = Options { session_token: Some(session.to_owned()), ..Options::default() };
    client.balance("1", &seen).await.unwrap();
    let (mut events, mut token) = (Vec::new(), String::new());
    loop {
        let page = client.trace_events("", Page { size: 7, token: &token }, &seen).await.unwrap();
        assert!(page.recording);
        events.extend(page.events);
        token = page.next_page_token;
        if token.is_empty() {
            return events;
        }
    }
}

/// Checks what must hold between the events of all replicas; `calls` are the caller's clocks by name, and whether the
/// call was a write that took effect.
fn check(recorded: &BTreeMap<u64, Vec<TraceEvent>>, calls: &BTreeMap<String, (u64, bool)>) {
    let mut of_call: BTreeMap<&str, Vec<(u64, &TraceEvent)>> = BTreeMap::new();
    for (replica, events) in recorded {
        let clocks: BTreeSet<_> = events.iter().map(|event| event.clock).collect();
        assert_eq!(clocks.len(), events.len(), "replica {replica} used a clock twice");
        for event in events {
            of_call.entry(event.name.as_str()).or_default().push((*replica, event));
        }
    }
    let others = recorded.len() - 1;
    assert_eq!(of_call.len(), calls.len());
    for (name, (sent, took_effect)) in calls {
        let events = &of_call[name.as_str()];
        let calls: Vec<_> =
            events.iter().filter(|(_, event)| event.kind == TraceKind::ReceivedFromCaller).collect();
        assert_eq!(calls.len(), 1, "{name}");
        let (origin, received) = calls[0];
        assert!(received.clock.get() > *sent, "{name}");
        assert_eq!(events.len(), if *took_effect { 1 + 2 * others } else { 1 }, "{name}");
        for (replica, event) in events {
            match event.kind {
                TraceKind::ReceivedFromCaller => {}
                TraceKind::SentTo(to) => {
                    assert_eq!(replica, origin);
                    assert!(event.clock > received.clock, "{name}");
                    let arrived: Vec<_> = events
                        .iter()
                        .filter(|(at, event)| {
                            *at == to.0 && event.kind == TraceKind::ReceivedFrom(ReplicaId(*origin))
                        })
                        .collect();
                    assert_eq!(arrived.len(), 1, "{name}");
                    assert!(arrived[0].1.clock > event.clock, "{name}");
                }
                TraceKind::ReceivedFrom(from) => assert_eq!(from.0, *origin, "{name}"),
            }
        }
    }
}

/// Customers side by side, one at each replica: deposits, withdrawals that fail, queries, and calls that come twice.
async fn customers(clients: &[Client], rounds: u64) -> BTreeMap<String, (u64, bool)> {
    clients[0].open_account(NewAccount::default(), &Options::default()).await.unwrap();
    let opened = clients[0].session_token();
    let customers = clients.iter().enumerate().map(|(place, client)| {
        client.resume_session(&opened).unwrap();
        async move {
            let mut calls = BTreeMap::new();
            for round in 0..rounds {
                let (name, clock) = (format!("{place}.{round}"), round + 1);
                let mut options = traced(&name, clock);
                let took_effect = match round % 4 {
                    0 | 1 => {
                        options.request_id = Some(name.clone());
                        client.deposit("1", "2", &options).await.unwrap();
                        if round % 4 == 1 {
                            assert!(client.deposit("1", "2", &options).await.unwrap().named.replayed);
                        }
                        true
                    }
                    2 => client.withdraw("1", "1000000", &options).await.is_ok(),
                    _ => client.balance("1", &options).await.map(|_| false).unwrap(),
                };
                calls.insert(name, (clock, took_effect));
            }
            calls
        }
    });
    join_all(customers).await.into_iter().flatten().collect()
}

async fn recorded(clients: &[Client]) -> BTreeMap<u64, Vec<TraceEvent>> {
    for client in clients {
        clients[0].resume_session(&client.session_token()).unwrap();
    }
    let session = clients[0].session_token();
    let all = join_all(clients.iter().map(|client| events(client, &session))).await;
    (1..).zip(all).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn customers_side_by_side_at_twelve_replicas_leave_a_trace_that_holds() {
    let (cluster, clients) = tokio::task::spawn_blocking(|| cluster(12)).await.unwrap();
    let calls = customers(&clients, 12).await;
    check(&recorded(&clients).await, &calls);
    drop(cluster);
}

#[tokio::test(flavor = "multi_thread")]
async fn clocks_go_on_when_another_replica_leads() {
    let (cluster, clients) = tokio::task::spawn_blocking(|| cluster(3)).await.unwrap();
    let led = async {
        for to in [2, 3, 1, 2] {
            // The lead stays a while after a hand-over, and the refusal says so.
            while let Err(refused) = clients[0].transfer_leadership(Some(to), &Options::default()).await {
                assert!(refused.message.contains("handed over less than"), "{refused}");
                tokio::task::yield_now().await;
            }
        }
    };
    let (calls, ()) = futures::join!(customers(&clients, 60), led);
    check(&recorded(&clients).await, &calls);
    drop(cluster);
}
