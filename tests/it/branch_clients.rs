//! Older customers' programs: one shared account, whole units, and writesets that every replica honours.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use bank::model::{AccountNumber, Reason};
use bank::server::{self, LocalCluster, LocalConfig};
use bank::wire::proto::branch::branch_client::BranchClient;
use bank::wire::proto::branch::{Reply, Request};
use tonic::transport::Channel;

use crate::support::{Process, Server, channel, reason};

type Old = BranchClient<Channel>;

async fn client(address: SocketAddr) -> Old {
    Old::new(channel(address).await)
}

fn wish(id: i32, interface: &str, money: i32, writeset: &[i32]) -> Request {
    Request { id, interface: interface.to_owned(), money, writeset: writeset.to_vec() }
}

async fn ask(old: &mut Old, wish: Request) -> (String, i32) {
    let asked = wish.interface.clone();
    let Reply { interface, result, balance } = old.msg_delivery(wish).await.unwrap().into_inner();
    assert_eq!(interface, asked);
    (result, balance)
}

#[tokio::test]
async fn a_customer_of_the_older_program_is_served_by_the_real_server() {
    let server = Process::start(&["127.0.0.1", "0", "1", "--branch-account", "5"], &[]);
    let mut old = client(server.address()).await;
    for (interface, money, result, balance) in [
        ("query", 0, "success", 0),
        ("deposit", 100, "success", 100),
        ("Deposit", 20, "success", 120),
        ("WITHDRAW", 50, "success", 70),
        ("withdraw", 71, "fail", 70),
        ("withdraw", 0, "fail", 70),
        ("withdraw", -1, "fail", 70),
        ("deposit", 0, "success", 70),
        ("deposit", -1, "fail", 70),
        ("transfer", 1, "fail", 70),
        ("", 1, "fail", 70),
        ("withdraw", 70, "success", 0),
        ("deposit", i32::MAX, "success", i32::MAX),
        ("deposit", i32::MAX, "success", i32::MAX),
        ("query", 7, "success", i32::MAX),
    ] {
        // All under one id, which names none of them in particular.
        let told = ask(&mut old, wish(1, interface, money, &[])).await;
        assert_eq!(told, (result.to_owned(), balance), "{interface} {money}");
    }
}

async fn cluster() -> (LocalCluster, Vec<Old>) {
    let config = LocalConfig {
        replicas: NonZeroUsize::new(3).unwrap(),
        branch_account: AccountNumber::new(7),
        ..LocalConfig::new("main".parse().unwrap())
    };
    let cluster = tokio::task::spawn_blocking(move || LocalCluster::of(&config).unwrap()).await.unwrap();
    let mut clients = Vec::new();
    for address in cluster.addresses() {
        clients.push(client(address).await);
    }
    (cluster, clients)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writeset_is_reflected_at_every_replica() {
    const WRITES: i32 = 120;
    let (cluster, mut clients) = cluster().await;
    for id in 0..WRITES {
        let place = usize::try_from(id).unwrap();
        let writes: Vec<i32> = (0..id).collect();
        let deposited = ask(&mut clients[place % 3], wish(id, "deposit", 2, &writes)).await;
        assert_eq!(deposited, ("success".to_owned(), 2 * id + 2));
        let writes: Vec<i32> = (0..=id).collect();
        let read = ask(&mut clients[(place + 1 + place / 3 % 2) % 3], wish(-1, "query", 0, &writes)).await;
        assert_eq!(read, ("success".to_owned(), 2 * id + 2));
    }
    drop(cluster);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_has_not_arrived_is_waited_for_and_never_left_out() {
    let (cluster, mut clients) = cluster().await;
    ask(&mut clients[0], wish(1, "deposit", 10, &[])).await;
    let mut late = tonic::Request::new(wish(2, "query", 0, &[1, 9]));
    late.set_timeout(Duration::from_millis(400));
    let began = Instant::now();
    assert_eq!(reason(clients[1].msg_delivery(late).await), Reason::ReplicaBehind);
    assert!(began.elapsed() >= Duration::from_millis(300), "{:?}", began.elapsed());

    let (mut reader, mut writer) = (clients[2].clone(), clients[0].clone());
    let read = tokio::spawn(async move { ask(&mut reader, wish(3, "query", 0, &[1, 9])).await });
    ask(&mut clients[1], wish(4, "deposit", 5, &[])).await;
    assert!(!read.is_finished());
    // A refused write is one that was decided.
    assert_eq!(ask(&mut writer, wish(9, "withdraw", 99, &[])).await, ("fail".to_owned(), 15));
    assert_eq!(read.await.unwrap(), ("success".to_owned(), 15));
    drop(cluster);
}

#[tokio::test]
async fn writes_are_remembered_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = server::Config::new("main".parse().unwrap());
    (config.port, config.branch_account) = (0, AccountNumber::new(1));
    config.data_dir = Some(folder.path().to_owned());
    let server = Server::of(&config);
    let mut old = client(server.address()).await;
    assert_eq!(ask(&mut old, wish(7, "deposit", 3, &[])).await.1, 3);
    server.stop().await;
    let server = Server::of(&config);
    let mut old = client(server.address()).await;
    assert_eq!(ask(&mut old, wish(8, "query", 0, &[7])).await, ("success".to_owned(), 3));
    server.stop().await;
}

#[tokio::test]
async fn a_server_without_the_shared_account_says_how_to_get_one() {
    let server = Server::start();
    let mut old = client(server.address()).await;
    let refused = old.msg_delivery(wish(1, "query", 0, &[])).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unimplemented);
    assert!(refused.message().contains("--branch-account"), "{}", refused.message());
}
