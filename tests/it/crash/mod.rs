//! Real processes that are killed, paused and starved while clients write: what was acknowledged stays.
//!
//! Every test prints the seed of what it does at random; `BANK_TEST_SEED` repeats it.

mod branches;
mod disk;
mod group;
mod histories;
mod lone;
mod quorum;
mod refusals;
mod rollback;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bank::client::{
    AsOf, BranchStatus, Client, Config, EntryOrder, Kind, NewAccount, Options, Page, ReplicaRole, Statement,
};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use uuid::Uuid;

/// How long anything may take that is waited for.
const LONG: Duration = Duration::from_secs(60);

/// A small generator, whose seed is printed.
pub(crate) struct Random(u64);

impl Random {
    fn new(test: &str) -> Random {
        let given = std::env::var("BANK_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed: u64 = given.unwrap_or_else(|| Uuid::new_v4().as_u64_pair().0 | 1);
        println!("{test}: BANK_TEST_SEED={seed}");
        Random(seed | 1)
    }

    /// One whose seed another one gave.
    fn of(seed: usize) -> Random {
        Random(seed as u64 | 1)
    }

    fn below(&mut self, limit: usize) -> usize {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from((self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % limit as u64).unwrap()
    }
}

/// Addresses that nobody listens on, of ports that the system gives to nobody by itself: a server that is
/// killed finds its port free.
fn addresses(count: usize) -> Vec<SocketAddr> {
    let mut listeners = Vec::new();
    while listeners.len() < count {
        let port = 10_000 + Uuid::new_v4().as_u64_pair().0 % 20_000;
        listeners.extend(TcpListener::bind(("127.0.0.1", u16::try_from(port).unwrap())));
    }
    listeners.iter().map(|listener| listener.local_addr().unwrap()).collect()
}

fn server() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bank-server"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("BANK_") || name == "RUST_LOG") {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

/// A program that ran to its end.
pub(crate) struct Ended {
    status: ExitStatus,
    out: String,
    err: String,
}

fn run(arguments: &[&str]) -> Ended {
    let output = server().args(arguments).output().unwrap();
    Ended {
        status: output.status,
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Servers with directories of their own, which are killed and started again.
pub(crate) struct Fleet {
    folder: TempDir,
    addresses: Vec<SocketAddr>,
    /// What each is started with besides its address and directory.
    extra: Vec<Vec<String>>,
    processes: Vec<Option<Child>>,
}

impl Fleet {
    /// One server that is alone.
    fn lone() -> Fleet {
        let mut fleet = Fleet::planned(vec![Vec::new()]);
        fleet.start(0);
        fleet
    }

    /// Replicas that form one branch.
    fn group(count: usize) -> Fleet {
        let mut fleet = Fleet::planned(vec![Vec::new(); count]);
        let peers = fleet.peers(count);
        fleet.extra = (1..=count).map(|id| replica(id, &peers)).collect();
        (0..count).for_each(|place| fleet.start(place));
        fleet
    }

    fn planned(extra: Vec<Vec<String>>) -> Fleet {
        Fleet {
            folder: tempfile::tempdir().unwrap(),
            addresses: addresses(extra.len()),
            processes: extra.iter().map(|_| None).collect(),
            extra,
        }
    }

    /// The list of the first so many.
    fn peers(&self, count: usize) -> String {
        let parts = (1..).zip(&self.addresses[..count]).map(|(id, address)| format!("{id}={address}"));
        parts.collect::<Vec<_>>().join(",")
    }

    /// Plans one more server and returns its place.
    fn add(&mut self) -> usize {
        self.addresses.extend(addresses(1));
        self.processes.push(None);
        self.extra.push(Vec::new());
        let (count, last) = (self.addresses.len(), self.addresses.len() - 1);
        self.extra[last] = replica(count, &self.peers(count));
        last
    }

    fn directory(&self, place: usize) -> PathBuf {
        self.folder.path().join((place + 1).to_string())
    }

    /// Where a server says what goes wrong.
    fn log(&self, place: usize) -> PathBuf {
        self.folder.path().join(format!("{}.log", place + 1))
    }

    fn start(&mut self, place: usize) {
        let address = self.addresses[place];
        let log = File::options().create(true).append(true).open(self.log(place)).unwrap();
        let mut child = server()
            .args(["127.0.0.1", &address.port().to_string(), "1", "--data-dir"])
            .arg(self.directory(place))
            .args(&self.extra[place])
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let said = fs::read_to_string(self.log(place)).unwrap();
        assert!(line.contains(text(&self.directory(place))), "{line:?} {said}");
        self.processes[place] = Some(child);
    }

    fn signal(&self, place: usize, name: &str) {
        let kill = format!("kill -{name} {}", self.processes[place].as_ref().unwrap().id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// Ends a server by a signal and waits for the end.
    fn end(&mut self, place: usize, signal: &str) -> ExitStatus {
        self.signal(place, signal);
        self.processes[place].take().unwrap().wait().unwrap()
    }

    /// Kills the server at once, as a power loss of the process.
    fn kill(&mut self, place: usize) {
        assert_eq!(self.end(place, "KILL").code(), None);
    }

    /// Ends all servers in order.
    fn stop(&mut self) {
        let places: Vec<usize> = (0..self.processes.len()).collect();
        for place in places {
            let status = self.end(place, "TERM");
            assert_eq!(status.code(), Some(0), "{}", fs::read_to_string(self.log(place)).unwrap());
        }
    }

    /// What `verify` says of a directory, which must be well.
    fn verify(&self, place: usize) -> BTreeMap<String, String> {
        let ended = run(&["verify", text(&self.directory(place))]);
        assert_eq!((ended.status.code(), ended.err.as_str()), (Some(0), ""), "{}", ended.out);
        let lines = ended.out.lines().filter_map(|line| line.split_once(' '));
        lines.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect()
    }

    /// A client that asks this server first, and the others if it must.
    fn client(&self, place: usize) -> Client {
        let count = self.addresses.len();
        let order = (0..count).map(|next| self.addresses[(place + next) % count].to_string());
        patient(order.collect())
    }

    /// A client of one server only.
    fn only(&self, place: usize) -> Client {
        patient(vec![self.addresses[place].to_string()])
    }

    /// Waits until every replica answers, one leads, and all are equal; who leads.
    async fn settled(&self) -> (usize, BranchStatus) {
        self.wait_for(|status| {
            let first = &status.replicas[0];
            first.sequence > 0
                && status
                    .replicas
                    .iter()
                    .all(|replica| (replica.sequence, &replica.digest) == (first.sequence, &first.digest))
        })
        .await
    }

    /// Waits until every replica answers and one leads; who. Others may write meanwhile.
    async fn led(&self) -> usize {
        let answers = |status: &BranchStatus| {
            status.replicas.iter().all(|replica| replica.role != ReplicaRole::Unreachable)
        };
        self.wait_for(answers).await.0
    }

    async fn wait_for(&self, good: impl Fn(&BranchStatus) -> bool) -> (usize, BranchStatus) {
        let until = Instant::now() + LONG;
        let client = self.client(0);
        loop {
            let status = client.branch_status(&Options::default()).await;
            if let Ok(status) = &status {
                let leader = status.replicas.iter().position(|replica| replica.role == ReplicaRole::Leader);
                let all = status.replicas.len() == self.addresses.len();
                if let (Some(leader), true) = (leader, all && good(status)) {
                    return (leader, status.clone());
                }
            }
            assert!(Instant::now() < until, "{status:?}");
            tokio::task::yield_now().await;
        }
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for child in self.processes.iter_mut().flatten() {
            // One that has ended cannot be killed, which is as well.
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            for place in 0..self.addresses.len() {
                let said = fs::read_to_string(self.log(place)).unwrap_or_default();
                println!("server {}:\n{said}", place + 1);
            }
        }
    }
}

fn replica(id: usize, peers: &str) -> Vec<String> {
    ["--replica", &id.to_string(), "--peers", peers].map(str::to_owned).to_vec()
}

fn patient(servers: Vec<String>) -> Client {
    let config = Config { timeout: Duration::from_secs(4), patience: LONG, ..Config::new(servers) };
    Client::new(&config).unwrap()
}

/// Clients that deposit one cent after the other, each to an account of its own, until they are stopped.
pub(crate) struct Writers {
    tasks: Vec<JoinHandle<Written>>,
    done: watch::Receiver<usize>,
    stop: Arc<AtomicBool>,
}

/// What one writer was told.
pub(crate) struct Written {
    account: String,
    request_ids: Vec<String>,
}

impl Writers {
    /// A writer for each client.
    async fn start(clients: Vec<Client>) -> Writers {
        let (count, done) = watch::channel(0);
        let stop = Arc::<AtomicBool>::default();
        let mut tasks = Vec::new();
        for client in clients {
            let account = opened(&client).await;
            tasks.push(tokio::spawn(write(client, account, count.clone(), Arc::clone(&stop))));
        }
        Writers { tasks, done, stop }
    }

    /// Waits until so many more deposits are acknowledged.
    async fn progress(&mut self, more: usize) {
        let goal = *self.done.borrow() + more;
        let waited = tokio::time::timeout(LONG, self.done.wait_for(|done| *done >= goal)).await;
        assert!(waited.is_ok(), "the writers do not get on");
        waited.unwrap().unwrap();
    }

    /// Ends the writers, each with its last deposit acknowledged.
    async fn finish(self) -> Vec<Written> {
        self.stop.store(true, Ordering::Relaxed);
        let mut written = Vec::new();
        for task in self.tasks {
            written.push(task.await.unwrap());
        }
        written
    }
}

async fn opened(client: &Client) -> String {
    let named = Options { request_id: Some(Client::new_request_id()), ..Options::default() };
    let until = Instant::now() + LONG;
    loop {
        match client.open_account(NewAccount::default(), &named).await {
            Ok(opened) => return opened.account,
            Err(failure) => assert!(Instant::now() < until, "{failure}"),
        }
    }
}

/// Deposits until told to stop; what fails is repeated under its own id, whatever it takes.
async fn write(
    client: Client,
    account: String,
    count: watch::Sender<usize>,
    stop: Arc<AtomicBool>,
) -> Written {
    let mut request_ids = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let request_id = Client::new_request_id();
        let named = Options { request_id: Some(request_id.clone()), ..Options::default() };
        let until = Instant::now() + LONG;
        let done = loop {
            match client.deposit(&account, "0.01", &named).await {
                Ok(done) => break done,
                Err(failure) => assert!(Instant::now() < until, "{failure:?}"),
            }
        };
        request_ids.push(request_id);
        assert_eq!(done.balance, cents(request_ids.len()), "{account}: each deposit has its effect once");
        count.send_modify(|count| *count += 1);
    }
    Written { account, request_ids }
}

fn cents(count: usize) -> String {
    format!("{}.{:02}", count / 100, count % 100)
}

/// Every deposit that was acknowledged is in the statement, once, in order, and nothing else.
async fn check(client: &Client, written: &[Written]) {
    for Written { account, request_ids } in written {
        let mut found = Vec::new();
        let mut token = String::new();
        loop {
            let statement = Statement {
                account,
                order: EntryOrder::OldestFirst,
                as_of: AsOf::Now,
                page: Page { size: 1_000, token: &token },
            };
            let page = client.entries(statement, &Options::default()).await.unwrap();
            let deposits = page.entries.into_iter().filter(|entry| entry.kind == Kind::Deposit);
            found.extend(deposits.map(|entry| entry.request_id));
            token = page.next_page_token;
            if token.is_empty() {
                break;
            }
        }
        assert_eq!(&found, request_ids, "{account}");
        let balance = client.balance(account, &Options::default()).await.unwrap();
        assert_eq!(balance.balance, cents(request_ids.len()), "{account}");
    }
}
