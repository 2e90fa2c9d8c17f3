//! Whoever reaches the port speaks in the name of another branch. Nothing of it is believed: the log stays as it is,
//! real transfers go on, and a restart serves.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bank::client::{Client, Config, NewAccount, Options, ReplicaStatus, TransferState};
use bank::model::{LedgerId, Reason, Session};
use bank::wire::from_status;
use bank::wire::proto::peer::ExchangeRequest;
use bank::wire::proto::peer::transfer_service_client::TransferServiceClient;
use serde::Serialize;
use tonic::transport::Channel;

use crate::rest::Http;
use crate::support::{Process, Server, channel, client_of, free_ports, run, server_of_two};

/// A message between branches, written down again as a stranger would who has read its description: a version byte,
/// then postcard.
#[derive(Serialize)]
struct Message {
    to: &'static str,
    body: Body,
}

#[derive(Serialize)]
enum Body {
    Deliver { origin: Origin, told: Vec<Told> },
}

#[derive(Serialize)]
struct Origin {
    branch: &'static str,
    ledger: [u8; 16],
}

#[derive(Clone, Copy, Serialize)]
enum Ask {
    Prepare,
    Commit,
    Abort,
}

#[derive(Serialize)]
struct Told {
    ask: Ask,
    number: u64,
    source: u64,
    destination: u64,
    minor: i64,
}

const ASKS: [Ask; 3] = [Ask::Prepare, Ask::Commit, Ask::Abort];
const VERSION: u8 = 2;

fn message(ledger: LedgerId, told: Vec<Told>) -> Vec<u8> {
    let origin = Origin { branch: "mumbai", ledger: ledger.0 };
    let message = Message { to: "delhi", body: Body::Deliver { origin, told } };
    postcard::to_extend(&message, vec![VERSION]).unwrap()
}

fn told(ask: Ask, number: u64) -> Told {
    Told { ask, number, source: 1, destination: 1, minor: 700 }
}

type Stranger = TransferServiceClient<Channel>;

/// Sends a message; the reason when it is refused.
async fn send(stranger: &mut Stranger, message: Vec<u8>) -> Option<Reason> {
    let answer = stranger.exchange(ExchangeRequest { message }).await;
    answer.err().map(|status| from_status(&status).reason)
}

/// Two durable servers that know each other, of which the second one is attacked.
struct Town {
    folder: tempfile::TempDir,
    ports: [u16; 2],
    processes: [Option<Process>; 2],
}

const NAMES: [&str; 2] = ["mumbai", "delhi"];

impl Town {
    fn new() -> Town {
        let (folder, ports) = (tempfile::tempdir().unwrap(), free_ports());
        let mut town = Town { folder, ports, processes: [None, None] };
        (0..2).for_each(|branch| town.start(branch));
        town
    }

    fn directory(&self, branch: usize) -> String {
        self.folder.path().join(NAMES[branch]).to_str().unwrap().to_owned()
    }

    fn start(&mut self, branch: usize) {
        let (port, directory) = (self.ports[branch].to_string(), self.directory(branch));
        let route = format!("{}=127.0.0.1:{}", NAMES[1 - branch], self.ports[1 - branch]);
        let name = NAMES[branch];
        let arguments =
            ["127.0.0.1", &port, "1", "--branch", name, "--route", &route, "--data-dir", &directory];
        self.processes[branch] = Some(Process::start(&arguments, &[]));
    }

    fn client(&self, branch: usize) -> Client {
        Client::new(&Config::new([format!("127.0.0.1:{}", self.ports[branch])])).unwrap()
    }

    async fn stranger(&self) -> Stranger {
        let address = SocketAddr::from(([127, 0, 0, 1], self.ports[1]));
        TransferServiceClient::new(channel(address).await)
    }

    /// Kills the attacked server, looks at its directory and starts it again.
    fn kill_verify_restart(&mut self) {
        let attacked = self.processes[1].take().unwrap();
        attacked.signal("KILL");
        attacked.wait();
        let directory = self.directory(1);
        let verified = run(&["verify", &directory], &[]);
        assert_eq!(verified.status.code(), Some(0), "{} {}", verified.stdout, verified.stderr);
        self.start(1);
    }
}

async fn opened(client: &Client) -> LedgerId {
    let new = NewAccount { account: "1", deposit: "1000", ..NewAccount::default() };
    let written = client.open_account(new, &Options::default()).await.unwrap();
    let session = Session::parse(&written.seen.session_token).unwrap();
    session.of(&written.seen.branch.parse().unwrap()).unwrap().ledger
}

async fn log(client: &Client) -> ReplicaStatus {
    client.branch_status(&Options::default()).await.unwrap().replicas.remove(0)
}

async fn balance(client: &Client) -> String {
    client.balance("1", &Options::default()).await.unwrap().balance
}

#[tokio::test]
async fn invented_credits_aborts_and_ledgers_leave_no_trace() {
    let mut town = Town::new();
    let (mumbai, delhi) = (town.client(0), town.client(1));
    let (real, _) = (opened(&mumbai).await, opened(&delhi).await);
    let done = mumbai.transfer("1", "delhi/1", "25", &Options::default()).await.unwrap();
    assert_eq!(done.state, TransferState::Committed);
    let number: u64 = done.transfer.split_once(':').unwrap().1.parse().unwrap();
    let mut stranger = town.stranger().await;
    let before = log(&delhi).await;
    for number in [1, number, number + 1, 1 << 40, u64::MAX] {
        for ask in ASKS {
            let invented = message(LedgerId([7; 16]), vec![told(ask, number)]);
            assert_eq!(send(&mut stranger, invented).await, Some(Reason::SessionUnknown), "{number}");
            assert_eq!(send(&mut stranger, message(real, vec![told(ask, number)])).await, None, "{number}");
        }
    }
    let both = message(real, vec![told(Ask::Prepare, 50), told(Ask::Commit, 50)]);
    assert_eq!(send(&mut stranger, both).await, Some(Reason::ArgumentInvalid));
    // As many invented aborts as once filled the receiver's memory for good.
    for first in 0..300 {
        let aborts = (0..1_000).map(|place| told(Ask::Abort, 1_000_000 + first * 1_000 + place));
        assert_eq!(send(&mut stranger, message(real, aborts.collect())).await, None);
    }
    let after = log(&delhi).await;
    assert_eq!(
        (after.log_index, after.sequence, &after.digest),
        (before.log_index, before.sequence, &before.digest)
    );
    assert_eq!(balance(&delhi).await, "1025.00");
    town.kill_verify_restart();
    let delhi = town.client(1);
    assert_eq!((log(&delhi).await.sequence, balance(&delhi).await), (before.sequence, "1025.00".to_owned()));
    let on = mumbai.transfer("1", "delhi/1", "1", &Options::default()).await.unwrap();
    assert_eq!(on.state, TransferState::Committed);
}

#[tokio::test]
async fn a_stranger_who_decides_faster_than_the_payer_changes_no_transfer() {
    const TRANSFERS: usize = 60;
    let mut town = Town::new();
    let (mumbai, delhi) = (town.client(0), town.client(1));
    let (real, _) = (opened(&mumbai).await, opened(&delhi).await);
    let stop = Arc::<AtomicBool>::default();
    let mut stranger = town.stranger().await;
    let (stopped, watched) = (Arc::clone(&stop), mumbai.clone());
    let attack = tokio::spawn(async move {
        while !stopped.load(Ordering::Relaxed) {
            let next = log(&watched).await.sequence;
            for ask in [Ask::Abort, Ask::Commit, Ask::Prepare] {
                let all =
                    (next.saturating_sub(6)..next + 6).map(|number| Told { minor: 100, ..told(ask, number) });
                // Which of them are refused does not matter.
                let _ = send(&mut stranger, message(real, all.collect())).await;
            }
        }
    });
    for _ in 0..TRANSFERS {
        let done = mumbai.transfer("1", "delhi/1", "1", &Options::default()).await.unwrap();
        assert_eq!(done.state, TransferState::Committed, "{done:?}");
    }
    stop.store(true, Ordering::Relaxed);
    attack.await.unwrap();
    assert_eq!((balance(&mumbai).await, balance(&delhi).await), ("940.00".to_owned(), "1060.00".to_owned()));
    let here = mumbai.audit(&Options::default()).await.unwrap();
    let there = delhi.audit(&Options::default()).await.unwrap();
    assert_eq!((here.clearing[0].due_to.as_str(), there.clearing[0].due_from.as_str()), ("60.00", "-60.00"));
    town.kill_verify_restart();
    assert_eq!(balance(&town.client(1)).await, "1060.00");
}

#[tokio::test]
async fn a_server_without_routes_has_no_service_for_branches() {
    let server = Server::start();
    let mut stranger = TransferServiceClient::new(channel(server.address()).await);
    let invented = message(LedgerId([7; 16]), vec![told(Ask::Prepare, 1)]);
    assert_eq!(send(&mut stranger, invented).await, Some(Reason::Unimplemented));
}

#[tokio::test]
async fn a_route_to_the_wrong_branch_is_named_and_nothing_goes_round_in_circles() {
    let [port] = free_ports();
    // The address of delhi is mumbai's own.
    let server = server_of_two("mumbai", port, "delhi", port);
    let client = client_of(&server);
    opened(&client).await;
    let passed_on = client.transfer("delhi/1", "mumbai/1", "1", &Options::default()).await.unwrap_err();
    assert_eq!(passed_on.reason, Reason::BranchUnknown, "{passed_on}");
    assert!(passed_on.message.contains("belongs to branch mumbai"), "{passed_on}");
    let aborted = client.transfer("1", "delhi/1", "1", &Options::default()).await.unwrap();
    assert_eq!((aborted.state, aborted.reason.as_str()), (TransferState::Aborted, "BRANCH_UNKNOWN"));
    assert!(aborted.message.contains("another branch answers at its address"), "{}", aborted.message);
    assert_eq!(balance(&client).await, "1000.00");
    let doubt = client.transfers(true, bank::client::Page { size: 10, token: "" }, &Options::default()).await;
    assert!(doubt.unwrap().transfers.is_empty(), "an aborted transfer is not in doubt");
    let name = aborted.transfer.clone();
    let shown = client.transfer_shown(&name, &Options::default()).await.unwrap().transfer;
    assert!(shown.message.contains("another branch answers"), "{}", shown.message);
    // Over HTTP an aborted transfer is no success, and its fields stay.
    let answer = Http(server.address())
        .post("/v1/transfers", r#"{"source":"mumbai/1","destination":"delhi/1","amount":"1"}"#);
    assert_eq!((answer.status, answer.reason().as_str()), (409, "BRANCH_UNKNOWN"));
    assert_eq!(
        (answer.json()["state"].as_str(), answer.json()["amount"].as_str()),
        (Some("ABORTED"), Some("1.00"))
    );
    assert!(answer.header("location").starts_with("/v1/transfers/"), "{answer:?}");
}
