//! `bank-client bench` against real servers: the figures add up, and a cent too many is found.

use std::net::SocketAddr;

use bank::cli::bench::{self, BenchArgs, Books, Report};
use bank::client::Options;
use bank::model::{Exit, Failure, Reason};
use bank::server::LocalCluster;
use clap::Parser;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::client::client;
use crate::proxy::Proxy;
use crate::support::Server;

#[derive(Parser)]
#[command(args_override_self = true)]
struct Line {
    #[command(flatten)]
    bench: BenchArgs,
}

fn start(address: SocketAddr, options: &str) -> JoinHandle<Result<Report, Failure>> {
    let line = format!("bench --duration 300ms --warmup 50ms --accounts 40 {options}");
    let bench = Line::parse_from(line.split_whitespace()).bench;
    spawn_blocking(move || bench::run(&bench, &[address.to_string()]))
}

#[tokio::test]
async fn every_way_of_sending_leaves_exact_books() {
    let server = Server::start();
    let mix = "--mix deposit=5,withdraw=3,transfer=2,interest=1";
    for way in [
        mix,
        "--mix balance=1,withdraw=1 --no-request-ids",
        "--rate 500",
        "--hot --inflight 8 --batch 50",
        "--batch 100 --submit --mix withdraw=1,transfer=1",
    ] {
        let report = start(server.address(), way).await.unwrap().unwrap();
        assert_eq!((&report.books, report.exit(), report.errors), (&Books::Exact, Exit::Done, 0), "{way}");
        assert!(report.operations > 0 && report.noop_rate > 0, "{way}");
        let json = report.to_json();
        assert_eq!(
            (json["moneyExact"].as_bool(), json["operations"].as_u64()),
            (Some(true), Some(report.operations))
        );
    }
}

#[tokio::test]
async fn session_reads_at_another_replica_are_measured_beside_the_load() {
    let start_cluster = || LocalCluster::start(&"main".parse().unwrap()).unwrap();
    let cluster = spawn_blocking(start_cluster).await.unwrap();
    let addresses: Vec<SocketAddr> = cluster.addresses().collect();
    let report = start(addresses[0], &format!("--read-at {}", addresses[2])).await.unwrap().unwrap();
    let reads = report.session_reads.as_ref().unwrap();
    assert!(reads.reads > 0 && reads.first_error.is_none(), "{reads:?}");
    assert_eq!((&report.books, report.exit()), (&Books::Exact, Exit::Done));
    assert_eq!(report.to_json()["sessionReads"]["reads"].as_u64(), Some(reads.reads));
    spawn_blocking(|| cluster.stop()).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_cent_too_many_is_found() {
    let server = Server::start();
    let run = start(server.address(), "--accounts 1");
    let meddler = client(server.address());
    loop {
        match meddler.deposit("1", "0.01", &Options::default()).await {
            Err(failure) if failure.reason == Reason::AccountNotFound => tokio::task::yield_now().await,
            outcome => break drop(outcome.unwrap()),
        }
    }
    let report = run.await.unwrap().unwrap();
    assert_eq!(report.exit(), Exit::CheckFailed);
    assert_eq!(report.to_json()["moneyExact"].as_bool(), Some(false));
    assert!(matches!(&report.books, Books::Wrong(found) if found.contains("off by 0.01")), "{report:?}");
}

#[tokio::test]
async fn answers_lost_on_the_way_are_looked_up_and_the_books_stay_exact() {
    let server = Server::start();
    let proxy = Proxy::to(server.address()).await;
    for way in ["", "--batch 20", "--batch 20 --submit"] {
        let run = start(proxy.address, way);
        let mut cuts = tokio::time::interval(std::time::Duration::from_millis(100));
        while !run.is_finished() {
            cuts.tick().await;
            proxy.cut();
        }
        // The run may end with its first call, which the client makes again only for a second.
        let report = run.await.unwrap().unwrap();
        assert_eq!((&report.books, report.unknown), (&Books::Exact, 0), "{way}");
        assert!(report.errors > 0, "{way}: no connection was cut");
    }
}

#[tokio::test]
async fn no_server_is_a_plain_failure() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let failure = start(address, "").await.unwrap().unwrap_err();
    assert_eq!(failure.reason, Reason::Unreachable);
}
