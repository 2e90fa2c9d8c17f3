//! Several servers that are one branch: formed, grown, killed and asked through the real programs.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::{Duration, Instant};

use bank::client::{BranchStatus, Client, Config, Consistency, NewAccount, Options, ReplicaRole};
use bank::model::Reason;
use bank::server;
use serde_json::Value;
use tempfile::TempDir;

use crate::cli::{Bank, assert_keys};
use crate::support::{Process, Server, run};

/// Addresses that nobody listens on.
fn free_addresses<const N: usize>() -> [SocketAddr; N] {
    let listeners = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    std::array::from_fn(|n| listeners[n].local_addr().unwrap())
}

fn list(addresses: &[SocketAddr]) -> String {
    let parts: Vec<String> = (1..).zip(addresses).map(|(id, address)| format!("{id}={address}")).collect();
    parts.join(",")
}

/// Three durable replicas, each a process with a directory of its own.
pub(crate) struct Group {
    pub(crate) addresses: [SocketAddr; 3],
    pub(crate) folder: TempDir,
    processes: [Option<Process>; 3],
}

impl Group {
    pub(crate) fn start() -> Group {
        let (addresses, folder) = (free_addresses(), tempfile::tempdir().unwrap());
        let mut group = Group { addresses, folder, processes: [None, None, None] };
        (0..3).for_each(|place| group.begin(place));
        group
    }

    pub(crate) fn begin(&mut self, place: usize) {
        let (port, replica) = (self.addresses[place].port().to_string(), (place + 1).to_string());
        let folder = self.folder.path().join(&replica);
        let peers = list(&self.addresses);
        let arguments =
            ["127.0.0.1", &port, "1", "--replica", &replica, "--peers", &peers, "--data-dir", text(&folder)];
        self.processes[place] = Some(Process::start(&arguments, &[]));
    }

    pub(crate) fn kill(&mut self, place: usize) {
        let process = self.processes[place].take().unwrap();
        process.signal("KILL");
        assert_eq!(process.wait().status.code(), None);
    }

    /// A client that asks this server first.
    pub(crate) fn client(&self, place: usize) -> Client {
        let order = [0, 1, 2].map(|next| self.addresses[(place + next) % 3].to_string());
        let config = Config {
            timeout: Duration::from_secs(20),
            patience: Duration::from_secs(20),
            ..Config::new(order)
        };
        Client::new(&config).unwrap()
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The place of the leader, when all replicas answer and agree about everything.
pub(crate) async fn settled(client: &Client) -> usize {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let status: BranchStatus = client.branch_status(&Options::default()).await.unwrap();
        let first = &status.replicas[0];
        let same = |replica: &bank::client::ReplicaStatus| {
            (replica.sequence, &replica.digest) == (first.sequence, &first.digest)
        };
        let leader = status.replicas.iter().position(|replica| replica.role == ReplicaRole::Leader);
        let all = status.replicas.len() == 3 && status.replicas.iter().all(same) && first.sequence > 0;
        if let (Some(leader), true) = (leader, all) {
            return leader;
        }
        assert!(Instant::now() < until, "{status:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn three_processes_are_one_branch_whatever_is_killed() {
    let mut group = Group::start();
    let clients = [0, 1, 2].map(|place| group.client(place));
    let options = Options::default();
    clients[0].open_account(NewAccount::default(), &options).await.unwrap();
    let mut cents = 0;
    for round in 0..6 {
        let victim = settled(&clients[round % 3]).await;
        if round < 4 {
            group.kill(victim);
        } else {
            // All at once.
            (0..3).for_each(|place| group.kill(place));
            (0..3).for_each(|place| group.begin(place));
        }
        for call in 0..20 {
            let named = Options { request_id: Some(format!("{round}-{call}")), ..Options::default() };
            let client = &clients[call % 3];
            client.deposit("1", "0.01", &named).await.unwrap();
            let again = client.deposit("1", "0.01", &named).await.unwrap();
            assert!(again.named.replayed);
            cents += 1;
        }
        if round < 4 {
            group.begin(victim);
        }
        for (reader, writer) in [(1, 0), (2, 1), (0, 2)] {
            clients[reader].resume_session(&clients[writer].session_token()).unwrap();
            let balance = clients[reader].balance("1", &options).await.unwrap();
            assert_eq!(balance.balance, format!("{}.{:02}", cents / 100, cents % 100));
        }
    }
    settled(&clients[0]).await;
}

#[tokio::test]
async fn a_server_that_runs_alone_grows_and_its_replicas_are_asked_by_the_command_line() {
    let [own, second] = free_addresses();
    let mut config = server::Config::new("main".parse().unwrap());
    config.port = own.port();
    config.peers = [(bank::model::ReplicaId(1), own.to_string())].into();
    let first = Server::of(&config);
    let bank = Bank::at(first.address().to_string());
    bank.json(&["open", "--deposit", "5"]);
    let alone = bank.json(&["status"]);
    assert_eq!((&alone["branch"], alone["replicas"].as_array().unwrap().len()), (&Value::from("main"), 1));
    let keys = "id address role voter term logIndex committedIndex appliedIndex lag sequence digest";
    assert_keys(&alone["replicas"][0], &keys.split(' ').collect::<Vec<_>>());
    assert_eq!(alone["replicas"][0]["address"], first.address().to_string());

    config.port = second.port();
    config.replica = bank::model::ReplicaId(2);
    config.peers = [(1, first.address()), (2, second)]
        .map(|(id, at)| (bank::model::ReplicaId(id), at.to_string()))
        .into();
    let joins = Server::of(&config);
    let refused = Bank::at(second.to_string()).run(&["balance", "1", "--timeout", "300ms"]);
    assert_eq!(refused.code, 3, "{}", refused.err);
    assert!(refused.err.starts_with("STARTING: "), "{}", refused.err);

    let added = bank.json(&["replica", "add", "2", &second.to_string()]);
    assert_eq!(added["replicas"][1]["voter"], false);
    let promoted = bank.json(&["replica", "promote", "2"]);
    assert_eq!(promoted["replicas"][1]["voter"], true);
    // Written at one, read at the other.
    let other = Bank::at(second.to_string());
    assert_eq!(other.json(&["deposit", "1", "1"])["balance"], "6.00");
    assert_eq!(bank.json(&["balance", "1"])["balance"], "6.00");
    let led = bank.json(&["replica", "lead", "2"]);
    assert_eq!(led["leader"], 2);
    let removed = other.json(&["replica", "remove", "1"]);
    assert_eq!(removed["replicas"].as_array().unwrap().len(), 1);
    first.stop().await;
    assert_eq!(other.json(&["deposit", "1", "1"])["balance"], "7.00");
    let table = other.done(&["-o", "table", "status"]);
    assert!(table.contains("LEADER") && table.contains(&second.to_string()), "{table}");
    joins.stop().await;
}

#[tokio::test]
async fn a_majority_that_is_gone_is_named_in_time() {
    let mut group = Group::start();
    let client = group.client(0);
    client.open_account(NewAccount::default(), &Options::default()).await.unwrap();
    let leader = settled(&client).await;
    let left = (leader + 1) % 3;
    (0..3).filter(|place| *place != left).for_each(|place| group.kill(place));
    let lonely = Client::new(&Config::new([group.addresses[left].to_string()])).unwrap();
    let within = Options { timeout: Some(Duration::from_secs(3)), ..Options::default() };
    let began = Instant::now();
    let write = lonely.deposit("1", "1", &within).await.unwrap_err();
    assert!(matches!(write.reason, Reason::NoQuorum | Reason::OutcomeUnknown), "{write:?}");
    let read = lonely
        .balance("1", &Options { consistency: Some(Consistency::Linearizable), ..within.clone() })
        .await
        .unwrap_err();
    assert_eq!(read.reason, Reason::NoQuorum);
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    let stale = Options { consistency: Some(Consistency::Stale), ..within };
    assert_eq!(lonely.balance("1", &stale).await.unwrap().balance, "0.00");
}

#[test]
fn replicas_that_cannot_be_say_so_in_one_line_and_end() {
    for (arguments, said) in [
        (["--replica", "0", "--ephemeral", ""], "numbered from 1"),
        (["--peers", "1=a:1,1=b:2", "--ephemeral", ""], "twice"),
        (["--peers", "1=a,2=b:1", "--ephemeral", ""], "not N=HOST:PORT"),
        (["--peers", "1=a:1,2=b:2", "--replica", "3"], "does not name replica 3"),
        (["--peers", "1=a:1,2=b:2", "--replica", "2"], "--data-dir DIR, or --ephemeral"),
        (["--ephemeral", "--data-dir", "d", ""], "cannot be used with"),
    ] {
        let arguments: Vec<&str> = arguments.into_iter().filter(|argument| !argument.is_empty()).collect();
        let ended = run(&arguments, &[]);
        assert_eq!((ended.status.code(), ended.stdout.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(ended.stderr.contains(said), "{arguments:?}: {}", ended.stderr);
        // What the grammar of the command line refuses comes with its usage.
        let is_of_the_grammar = ended.stderr.contains("Usage: bank-server");
        assert_eq!(is_of_the_grammar, said == "cannot be used with", "{arguments:?}: {}", ended.stderr);
        assert!(is_of_the_grammar || ended.stderr.lines().count() == 1, "{arguments:?}: {}", ended.stderr);
    }

    let addresses: [SocketAddr; 3] = free_addresses();
    let start = |replica: usize, peers: &[SocketAddr]| {
        let (port, id) = (addresses[replica - 1].port().to_string(), replica.to_string());
        Process::start(&["--port", &port, "--replica", &id, "--peers", &list(peers), "--ephemeral"], &[])
    };
    let disagree = [start(1, &addresses[..2]), start(2, &addresses)];
    for replica in disagree {
        let ended = replica.wait();
        assert_eq!(ended.status.code(), Some(2));
        assert!(ended.stderr.contains("start all with the same list"), "{}", ended.stderr);
    }
}

#[test]
fn a_replica_whose_directory_is_gone_does_not_come_back_under_its_number() {
    let mut group = Group::start();
    let bank = Bank::at(group.addresses[0].to_string());
    bank.json(&["--timeout", "20s", "open"]);
    group.kill(2);
    std::fs::remove_dir_all(group.folder.path().join("3")).unwrap();
    group.begin(2);
    let ended = group.processes[2].take().unwrap().wait();
    assert_eq!(ended.status.code(), Some(2));
    assert!(ended.stderr.contains("replica 3 has lost the log"), "{}", ended.stderr);
    assert_eq!(bank.json(&["replica", "remove", "3"])["replicas"].as_array().unwrap().len(), 2);
}
