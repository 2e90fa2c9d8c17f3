//! A replica without a majority says so: ready means that a write would be taken now.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use super::{Fleet, LONG, Writers};

/// The status code and the body of a page.
fn get(address: SocketAddr, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().to_owned();
    (status, answer)
}

fn until(what: &str, mut there: impl FnMut() -> bool) {
    let until = Instant::now() + LONG;
    while !there() {
        assert!(Instant::now() < until, "{what}");
        std::thread::yield_now();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_survivor_without_a_majority_is_not_ready_says_so_once_and_is_ready_again() {
    let mut fleet = Fleet::group(3);
    let mut writers = Writers::start(vec![fleet.client(0)]).await;
    writers.progress(5).await;
    let leader = fleet.led().await;
    writers.finish().await;
    let quiet: Vec<String> = (0..3).map(|place| fs::read_to_string(fleet.log(place)).unwrap()).collect();
    assert!(quiet.iter().all(|log| !log.contains("ERROR")), "a start is no error: {quiet:?}");
    for survivor in [leader, (leader + 1) % 3] {
        let address = fleet.addresses[survivor];
        until("ready", || get(address, "/readyz").0 == "200");
        let others: Vec<usize> = (0..3).filter(|place| *place != survivor).collect();
        others.iter().for_each(|place| fleet.kill(*place));
        until("not ready", || get(address, "/readyz").0 == "503");
        let (_, why) = get(address, "/readyz");
        assert!(why.contains("NO_QUORUM"), "{why}");
        until("a figure", || get(address, "/metrics").1.contains("bank_has_quorum 0"));
        until("figures of peers", || {
            get(address, "/metrics").1.matches("\"} 0\nbank_peer_heard").count() == 1
        });
        others.iter().for_each(|place| fleet.start(*place));
        until("ready again", || get(address, "/readyz").0 == "200");
        fleet.led().await;
        // The line is written by a task of its own, a moment after readiness shows it.
        until("a line for each loss and each return", || {
            let log = fs::read_to_string(fleet.log(survivor)).unwrap();
            let lost = log.matches("no majority of the replicas answers: writes are refused").count();
            let back = log.matches("a majority of the replicas answers again").count();
            lost == back && lost >= 1
        });
    }
}
