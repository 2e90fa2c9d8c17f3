//! Chains of writes and queries of one customer across branches: each sees the ones before, however slowly the replicas
//! hear from each other, and though one of them is killed.

use std::net::{SocketAddr, TcpListener};
use std::sync::Mutex;
use std::time::Duration;

use bank::model::{Money, ReplicaId};
use bank::scenario::{Answer, Plan, Stage, play};
use bank::server::Config;
use futures::future::join_all;

use crate::proxy::Proxy;
use crate::scenario::play::plan;
use crate::support::{Process, Server};

/// Chains of one plan.
const LINKS: usize = 125;

fn seed() -> u64 {
    let given = std::env::var("BANK_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(|| std::process::id().into());
    println!("BANK_TEST_SEED={seed}");
    seed
}

fn free_addresses<const N: usize>() -> [SocketAddr; N] {
    let listeners = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    std::array::from_fn(|n| listeners[n].local_addr().unwrap())
}

/// One customer: money in at one branch, out at another, looked for at the third, on a balance of nothing.
fn chains(links: usize, shift: usize) -> Plan {
    let branch = |n: usize| (n + shift) % 3 + 1;
    let link = |n: usize| {
        let (at, next, last) = (branch(n), branch(n + 1 + n % 2), branch(n + 2 - n % 2));
        format!(
            r#"{{"interface":"deposit","money":400,"branch":{at}}},{{"interface":"withdraw","money":400,"branch":{next}}},
            {{"interface":"query","branch":{last}}}"#
        )
    };
    let events: Vec<String> = (0..links).map(link).collect();
    let branches = [1, 2, 3].map(|id| format!(r#"{{"id":{id},"type":"branch","balance":0}}"#));
    plan(&format!(r#"[{{"id":1,"type":"customer","events":[{}]}},{}]"#, events.join(","), branches.join(",")))
}

/// Plays chains, several plans side by side, and expects every link to hold.
async fn hold(servers: &[SocketAddr; 3], plans: usize, links: usize, progress: &(dyn Fn(usize) + Sync)) {
    let servers = servers.iter().map(ToString::to_string).collect();
    let stage = Stage { servers, concurrent: false, seed: None };
    let plans: Vec<Plan> = (0..plans).map(|shift| chains(links, shift)).collect();
    let all = join_all(plans.iter().map(|plan| play(plan, &stage, progress))).await;
    let money = |text| Money::parse(text).unwrap();
    let link = [
        Answer::Success { balance: money("400") },
        Answer::Success { balance: Money::ZERO },
        Answer::Balance(Money::ZERO),
    ];
    for (plan, played) in plans.iter().zip(all) {
        let played = played.unwrap();
        for (n, (request, ..)) in plan.requests().enumerate() {
            assert_eq!(played.answer(request), link[n % 3], "event {n}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_chains_hold_while_replicas_hear_from_each_other_late() {
    let (addresses, seed): ([SocketAddr; 3], u64) = (free_addresses(), seed());
    let mut proxies = Vec::new();
    for address in addresses {
        proxies.push(Proxy::to(address).await);
    }
    let peers = (1..).map(ReplicaId).zip(proxies.iter().map(|proxy| proxy.address.to_string())).collect();
    let start = |(id, address): (u64, &SocketAddr)| {
        let mut config = Config::new("main".parse().unwrap());
        (config.port, config.threads, config.replica) =
            (address.port(), std::num::NonZeroUsize::MIN, ReplicaId(id));
        config.peers = std::collections::BTreeMap::clone(&peers);
        Server::of(&config)
    };
    let servers: Vec<Server> = (1..).zip(&addresses).map(start).collect();
    for (proxy, n) in proxies.iter().zip(1..) {
        proxy.slow(Duration::from_millis(4), seed.wrapping_mul(n));
    }
    hold(&addresses, 8, LINKS, &|_| ()).await;
    drop(servers);
}

#[tokio::test(flavor = "multi_thread")]
async fn chains_hold_though_a_replica_is_killed_in_the_middle() {
    let addresses: [SocketAddr; 3] = free_addresses();
    let list: Vec<String> = (1..).zip(addresses).map(|(id, address)| format!("{id}={address}")).collect();
    for victim in 0..3 {
        let start = |(id, address): (usize, &SocketAddr)| {
            let (port, id) = (address.port().to_string(), id.to_string());
            let arguments =
                ["127.0.0.1", &port, "1", "--replica", &id, "--peers", &list.join(","), "--ephemeral"];
            Some(Process::start(&arguments, &[]))
        };
        let processes: Vec<_> = (1..).zip(&addresses).map(start).collect();
        let processes = Mutex::new(processes);
        let kill = |done: usize| {
            if done == LINKS {
                processes.lock().unwrap()[victim].take().unwrap().signal("KILL");
            }
        };
        hold(&addresses, 1, LINKS, &kill).await;
    }
}
