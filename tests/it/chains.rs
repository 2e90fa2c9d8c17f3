//! Chains of writes and queries of one customer across branches: each sees the ones before, however slowly the replicas
//! hear from each other, and though one of them is killed.

use std::net::{SocketAddr, TcpListener};
use std::sync::Mutex;
use std::time::Duration;

use bank::client::{Client, Config as ClientConfig, NewAccount, Options};
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
async fn hold(servers: &[SocketAddr; 3], plans: usize, links: usize) {
    let servers = servers.iter().map(ToString::to_string).collect();
    let stage = Stage { servers, concurrent: false, seed: None };
    let plans: Vec<Plan> = (0..plans).map(|shift| chains(links, shift)).collect();
    let all = join_all(plans.iter().map(|plan| play(plan, &stage, &|_| ()))).await;
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
    hold(&addresses, 8, LINKS).await;
    drop(servers);
}

/// Three replicas as processes of their own.
fn processes(addresses: &[SocketAddr; 3]) -> Mutex<Vec<Option<Process>>> {
    let list: Vec<String> = (1..).zip(addresses).map(|(id, address)| format!("{id}={address}")).collect();
    let start = |(id, address): (usize, &SocketAddr)| {
        let (port, id) = (address.port().to_string(), id.to_string());
        let arguments =
            ["127.0.0.1", &port, "1", "--replica", &id, "--peers", &list.join(","), "--ephemeral"];
        Some(Process::start(&arguments, &[]))
    };
    Mutex::new((1..).zip(addresses).map(start).collect())
}

fn kill(processes: &Mutex<Vec<Option<Process>>>, victim: usize) {
    processes.lock().unwrap()[victim].take().unwrap().signal("KILL");
}

/// A run goes to the servers of its branches alone, so this is about clients that know all servers, each with another
/// one first.
#[tokio::test(flavor = "multi_thread")]
async fn chains_hold_though_a_replica_is_killed_in_the_middle() {
    let addresses: [SocketAddr; 3] = free_addresses();
    for victim in 0..3 {
        let processes = processes(&addresses);
        let client = |first: usize| {
            let order = (0..3).map(|n| addresses[(first + n) % 3].to_string());
            let patience = Duration::from_secs(20);
            Client::new(&ClientConfig { patience, timeout: 3 * patience, ..ClientConfig::new(order) })
                .unwrap()
        };
        let clients = [0, 1, 2].map(client);
        let opened = clients[0].open_account(NewAccount::default(), &Options::default()).await.unwrap();
        let (account, mut session) = (opened.account, opened.seen.session_token);
        for n in 0..LINKS {
            if n == LINKS / 3 {
                kill(&processes, victim);
            }
            let [at, next, last] = [n, n + 1 + n % 2, n + 2 - n % 2].map(|n| &clients[n % 3]);
            let options =
                |session: &str| Options { session_token: Some(session.to_owned()), ..Options::default() };
            let added = at.deposit(&account, "400", &options(&session)).await.unwrap();
            let taken = next.withdraw(&account, "400", &options(&added.seen.session_token)).await.unwrap();
            let read = last.balance(&account, &options(&taken.seen.session_token)).await.unwrap();
            assert_eq!([added.balance, taken.balance, read.balance], ["400.00", "0.00", "0.00"], "link {n}");
            session = read.seen.session_token;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_replica_is_killed_in_the_middle_ends_and_names_its_branch() {
    let addresses: [SocketAddr; 3] = free_addresses();
    let processes = processes(&addresses);
    let servers = addresses.iter().map(ToString::to_string).collect();
    let stage = Stage { servers, concurrent: false, seed: None };
    let progress = |done: usize| {
        if done == LINKS {
            kill(&processes, 1);
        }
    };
    let error = play(&chains(LINKS, 0), &stage, &progress).await.unwrap_err().to_string();
    assert!(error.starts_with(&format!("branch 2 at {}: ", addresses[1])), "{error}");
}
