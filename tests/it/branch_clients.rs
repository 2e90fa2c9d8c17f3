//! Older customers' programs: one shared account, whole units, and writesets that every replica honours.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use bank::model::{AccountNumber, Reason};
use bank::server::{self, LocalCluster, LocalConfig};
use bank::wire::proto::branch::branch_client::BranchClient;
use bank::wire::proto::branch::{Reply, Request};
use bank::wire::proto::{example, read_your_writes};
use tonic::transport::Channel;

use crate::support::{Process, Server, channel, reason};

type Example = example::branch_client::BranchClient<Channel>;
type ReadYourWrites = read_your_writes::bank_service_client::BankServiceClient<Channel>;

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

/// The servers of a file of branches 12, 3 and 40, with 250 each.
struct FromScenario {
    process: std::process::Child,
    addresses: Vec<SocketAddr>,
    folder: tempfile::TempDir,
}

impl FromScenario {
    fn start(options: &[&str]) -> FromScenario {
        use std::io::BufRead as _;
        let folder = tempfile::tempdir().unwrap();
        let branches = [12, 3, 40].map(|id| format!(r#"{{"id":{id},"type":"branch","balance":250}}"#));
        std::fs::write(folder.path().join("input.json"), format!("[{}]", branches.join(","))).unwrap();
        let mut process = std::process::Command::new(env!("CARGO_BIN_EXE_bank-server"))
            .current_dir(folder.path())
            .args(["from-scenario", "input.json"])
            .args(options)
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let lines = std::io::BufReader::new(process.stdout.take().unwrap()).lines();
        let lines: Vec<String> = lines.take(3).map(Result::unwrap).collect();
        let address = |(line, id): (&String, u64)| {
            let rest = line.strip_prefix(&format!("branch {id} on ")).unwrap_or_else(|| panic!("{line}"));
            rest.strip_suffix(" with balance 250.00").unwrap().parse().unwrap()
        };
        let addresses = lines.iter().zip([12, 3, 40]).map(address).collect();
        FromScenario { process, addresses, folder }
    }
}

impl Drop for FromScenario {
    fn drop(&mut self) {
        let _ = (self.process.kill(), self.process.wait());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn branches_of_a_scenario_file_serve_the_contracts_of_its_family() {
    let servers = FromScenario::start(&["--branch-info", "branch_info.json"]);
    let info = std::fs::read_to_string(servers.folder.path().join("branch_info.json")).unwrap();
    let info: serde_json::Value = serde_json::from_str(&info).unwrap();
    let expected: Vec<_> = servers
        .addresses
        .iter()
        .map(|address| serde_json::json!({ "balance": 250, "port": address.port() }))
        .collect();
    assert_eq!(info, serde_json::Value::from(expected));
    let mut examples = Vec::new();
    let mut banks = Vec::new();
    for address in &servers.addresses {
        examples.push(Example::new(channel(*address).await));
        banks.push(ReadYourWrites::new(channel(*address).await));
    }
    let change = |event_id, amount| example::ChangeRequest { event_id, amount };
    let done = examples[0].deposit(change(1, 40)).await.unwrap().into_inner().message;
    let refused = examples[1].withdraw(change(2, 500)).await.unwrap().into_inner().message;
    let taken = examples[2].withdraw(change(3, 90)).await.unwrap().into_inner().message;
    assert_eq!((done.as_str(), refused.as_str(), taken.as_str()), ("success", "fail", "success"));
    let read = examples[1].query(example::QueryRequest { event_id: 4 }).await.unwrap().into_inner();
    assert_eq!((read.balance, read.message.as_str()), (200, "success"));

    let customer = |customer_id| read_your_writes::CustomerRequest { customer_id };
    let move_money =
        |amount| read_your_writes::TransactionRequest { customer_id: 7, amount, propagate: true };
    assert_eq!(banks[2].deposit(move_money(5)).await.unwrap().into_inner().status, "Success");
    assert_eq!(banks[0].withdraw(move_money(206)).await.unwrap().into_inner().status, "Failure");
    assert_eq!(banks[1].withdraw(move_money(205)).await.unwrap().into_inner().status, "Success");
    for bank in &mut banks {
        assert_eq!(bank.query(customer(7)).await.unwrap().into_inner().balance, 0);
    }
    // The first contract of the family, at the same account.
    let mut old = client(servers.addresses[1]).await;
    assert_eq!(ask(&mut old, wish(9, "deposit", 8, &[])).await, ("success".to_owned(), 8));
}

fn delivery(id: i32, interface: &str, money: i32, branch: i32, writeset: &[i32]) -> example::DeliveryRequest {
    let (interface, writeset) = (interface.to_owned(), writeset.to_vec());
    example::DeliveryRequest { id, interface, money, branch, writeset, clock_interface: String::new() }
}

#[tokio::test(flavor = "multi_thread")]
async fn client_centric_messages_wait_for_their_writeset_and_those_of_siblings_are_told_apart() {
    let servers = FromScenario::start(&[]);
    let mut clients = Vec::new();
    for address in &servers.addresses {
        clients.push(Example::new(channel(*address).await));
    }
    for (place, branch) in [(0, 12), (1, 3), (2, 40)] {
        let id = i32::try_from(place).unwrap();
        let writes: Vec<i32> = (0..id).collect();
        let reply = clients[place].msg_delivery(delivery(id, "Deposit", 10, branch, &writes)).await.unwrap();
        let example::DeliveryReply { interface, result, balance, branch_id } = reply.into_inner();
        assert_eq!((interface.as_str(), result.as_str(), branch_id), ("Deposit", "success", branch));
        assert_eq!(balance.to_bits(), f64::from(260 + 10 * id).to_bits());
    }
    let mut late = tonic::Request::new(delivery(9, "query", 0, 3, &[0, 77]));
    late.set_timeout(Duration::from_millis(400));
    assert_eq!(reason(clients[1].msg_delivery(late).await), Reason::ReplicaBehind);
    // The first exercise has neither branch nor writeset.
    let plain = clients[1].msg_delivery(delivery(5, "withdraw", 1_000, 0, &[])).await.unwrap().into_inner();
    assert_eq!((plain.result.as_str(), plain.branch_id), ("fail", 3));
    // The program about logical clocks has its interface elsewhere.
    let clocks =
        example::DeliveryRequest { clock_interface: "deposit".to_owned(), ..delivery(0, "", 0, 4, &[71]) };
    let refused = clients[0].msg_delivery(clocks).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unimplemented);
    assert!(refused.message().contains("logical clocks"), "{}", refused.message());
    let nothing = clients[0].msg_delivery(delivery(0, "", 0, 0, &[])).await.unwrap_err();
    assert_eq!(nothing.code(), tonic::Code::InvalidArgument);
}

#[test]
fn ports_of_older_programs_follow_from_the_ids_of_branches() {
    // Below the ports that the system gives out by itself.
    let base = 11_000 + u16::try_from(std::process::id() % 20_000).unwrap();
    let servers = FromScenario::start(&["--base-port", &base.to_string()]);
    let ports: Vec<u16> = servers.addresses.iter().map(SocketAddr::port).collect();
    assert_eq!(ports, [base + 12, base + 3, base + 40]);
    let refused = std::process::Command::new(env!("CARGO_BIN_EXE_bank-server"))
        .current_dir(servers.folder.path())
        .args(["from-scenario", "input.json", "--base-port", "65500"])
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(2));
    let told = String::from_utf8(refused.stderr).unwrap();
    assert!(told.contains("branch 40 would listen on port 65500 + 40"), "{told}");
}
