//! A client that takes whatever it can get from a server with few open files. A second customer's calls go on, memory
//! stays under the bound that the operating guide names, and what was acknowledged is there after a crash.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bank::wire::proto::v1::cluster_service_client::ClusterServiceClient;
use bank::wire::proto::v1::{ExecuteBatchRequest, GetAuditRequest, OperationKind};
use bytes::Bytes;
use futures::future::join_all;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::support::{self, Process, Raw, balance, channel, client, command, deposit, framed, open, run};

const BATCH: &str = "/bank.v1.BankService/ExecuteBatch";
const LIST: &str = "/bank.v1.BankService/ListAccounts";
/// Open files that the server may have.
const DESCRIPTORS: u64 = 1_024;
/// Longest time for a call of the other customer, on a machine that does a lot besides.
const MOST_WAITING: Duration = Duration::from_secs(30);
/// What the operating guide names.
const MOST_MEMORY: u64 = 768 << 20;

/// How long it goes on.
fn lasts() -> Duration {
    Duration::from_secs(if std::env::var_os("BANK_LONG_TESTS").is_some() { 60 } else { 10 })
}

/// The test has one end of every connection itself.
fn have_enough_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
}

/// Streams that announce the largest batch and send nothing of it.
async fn announce(raw: Raw) {
    loop {
        let mut calls = Vec::new();
        for _ in 0..500 {
            let mut call = raw.begin(BATCH, &[]).await;
            if call.body.send_data(Bytes::from_static(&[0, 0, 0x40, 0, 0]), false).is_err() {
                return;
            }
            calls.push(call.answer());
        }
        join_all(calls).await;
    }
}

/// Connections that say nothing.
async fn idle(address: SocketAddr) {
    loop {
        let connections = join_all((0..1_100).map(|_| TcpStream::connect(address))).await;
        sleep(Duration::from_secs(3)).await;
        drop(connections);
    }
}

async fn audit(address: SocketAddr) {
    let bank = ClusterServiceClient::new(channel(address).await);
    let audits = (0..8).map(|_| {
        let mut bank = bank.clone();
        async move {
            loop {
                // Some are turned away.
                drop(bank.get_audit(GetAuditRequest::default()).await);
            }
        }
    });
    join_all(audits).await;
}

/// Asks for long lists and takes nothing of the answers.
async fn leave_unread(address: SocketAddr) {
    let stream = TcpStream::connect(address).await.unwrap();
    let mut builder = h2::client::Builder::new();
    let (sender, connection) = builder.initial_window_size(1).handshake::<_, Bytes>(stream).await.unwrap();
    tokio::spawn(async move { drop(connection.await) });
    let page = framed(&[0x08, 0xe8, 0x07]);
    let mut answers = Vec::new();
    for _ in 0..100 {
        let request = http::Request::post(format!("http://{address}{LIST}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        let Ok(mut sender) = sender.clone().ready().await else { return };
        let (answer, mut body) = sender.send_request(request.body(()).unwrap(), false).unwrap();
        drop(body.send_data(page.clone(), true));
        answers.push(async move {
            let held = answer.await;
            std::future::pending::<()>().await;
            drop(held);
        });
    }
    join_all(answers).await;
}

/// Feeds without end.
async fn follow(address: SocketAddr) {
    let raw = Raw::connect(address).await;
    let feeds = (0..300).map(|_| raw.browse("/v1/events"));
    join_all(feeds).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_client_takes_all_it_can_get_and_another_is_served() {
    have_enough_descriptors();
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("bank").to_str().unwrap().to_owned();
    let arguments = ["127.0.0.1", "0", "2", "--data-dir", &directory];
    let server = Process::with_descriptors(DESCRIPTORS, &arguments);
    let address = server.address();
    let mut bank = client(address).await;
    let account = open(&mut bank, "").await;
    let many = vec![command(OperationKind::Open, 0, 100); 5_000];
    bank.execute_batch(ExecuteBatchRequest { commands: many, ..Default::default() }).await.unwrap();

    let mut hostile = JoinSet::new();
    for _ in 0..2 {
        hostile.spawn(announce(Raw::connect(address).await));
        hostile.spawn(leave_unread(address));
    }
    hostile.spawn(audit(address));
    hostile.spawn(follow(address));
    hostile.spawn(idle(address));
    let (begun, mut done, mut longest) = (Instant::now(), 0, Duration::ZERO);
    while begun.elapsed() < lasts() {
        let began = Instant::now();
        let mut request = tonic::Request::new(deposit(&account, "1"));
        request.set_timeout(2 * MOST_WAITING);
        bank.deposit_account(request).await.unwrap();
        longest = longest.max(began.elapsed());
        done += 1;
    }
    let peak = server.peak_memory();
    hostile.shutdown().await;
    println!("{done} deposits, the longest in {longest:?}; {} MiB", peak >> 20);
    assert!(longest < MOST_WAITING, "{longest:?}");
    assert!(peak < MOST_MEMORY, "{} MiB", peak >> 20);

    server.signal("KILL");
    let ended = tokio::task::spawn_blocking(|| server.wait()).await.unwrap();
    // However much was refused, the log tells it in a few lines.
    assert!(ended.stderr.lines().count() < 50, "{}", ended.stderr);
    assert!(!ended.stderr.contains("ERROR"), "{}", ended.stderr);
    let verified = run(&["verify", &directory], &[]);
    assert!(verified.status.success(), "{}{}", verified.stdout, verified.stderr);
    let server = Process::with_descriptors(DESCRIPTORS, &arguments);
    let mut bank = support::client(server.address()).await;
    assert_eq!(balance(&mut bank, &account).await, format!("{done}.00"));
    bank.deposit_account(deposit(&account, "1")).await.unwrap();
}
