//! Composition root: the only room that knows all others, and the only wall clock.
//!
//! A server is one thread for the branch (log, apply, accepting connections) and `threads` workers, each
//! with a runtime, a lane and connections of its own, dealt out in turn. `bin` and tests call it.

mod body;
mod budget;
mod callers;
mod config;
mod descriptors;
mod gate;
mod inbound;
mod listen;
mod local;
mod preload;
mod pulse;
mod punctual;
mod routes;
mod sparingly;
mod traffic;
mod worker;

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use uuid::Uuid;

use crate::model::{LedgerId, Timestamp};
use crate::replication::{Branch, BranchConfig, GrpcTransport};
use crate::store::{self, Incarnation, RealDisk, Storage};
use crate::transfer::{ClientRoutes, Transfers};
use crate::wire::proto::branch::branch_server::SERVICE_NAME as BRANCH;
use crate::wire::proto::compat::bank_account_service_server::SERVICE_NAME as COMPAT;
use crate::wire::proto::example::branch_server::SERVICE_NAME as EXAMPLE;
use crate::wire::proto::read_your_writes::bank_service_server::SERVICE_NAME as READ_YOUR_WRITES;
use crate::wire::proto::v1::bank_service_server::SERVICE_NAME as BANK;
use crate::wire::proto::v1::cluster_service_server::SERVICE_NAME as CLUSTER;
use budget::Budgets;
use descriptors::ForConnections;
use pulse::{Counters, Watched};
use sparingly::Sparingly;
use worker::{Accepted, Counted, Worker};

pub use crate::gateway::{Played, Player, Playing};
pub use crate::store::{DirectoryError, Report};
pub use config::{Config, Limits, MOST_THREADS};
pub use local::{LocalCluster, LocalConfig};
pub use routes::{Routes, collect_routes, parse_route, read_routes};
pub use traffic::{start_traffic, tour};

/// Accepted connections that may wait for one worker.
const HANDED_OVER: usize = 64;
/// How long accepting rests when the machine has no more sockets to give.
const REST: Duration = Duration::from_millis(50);
/// How often it is looked whether a write would be taken.
const LOOK: Duration = Duration::from_millis(250);
/// Most open files that a server wants: twice as many as connections, and those of a large journal.
const MOST_DESCRIPTORS: u64 = 32_768;
/// The services whose health is told, besides the server as a whole.
const SERVICES: [&str; 7] = ["", BANK, CLUSTER, COMPAT, BRANCH, EXAMPLE, READ_YOUR_WRITES];

/// Why a server did not start, or ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The host cannot be resolved or is not of this machine.
    #[error("cannot listen on host {host:?}: {error}; give a name or address of this machine")]
    Host {
        /// The host asked for.
        host: String,
        /// What the system says.
        error: io::Error,
    },
    /// The address cannot be bound.
    #[error("cannot listen on {address}: {}", bind_advice(.error))]
    Address {
        /// The address asked for.
        address: SocketAddr,
        /// What the system says.
        error: io::Error,
    },
    /// The replica cannot take part as it was started.
    #[error("{0}")]
    Refused(String),
    /// The branch did not start, or can serve no more.
    #[error("the branch failed: {0}")]
    Branch(io::Error),
    /// A thread could not be made, or ended by a fault of the program.
    #[error("a thread of the server failed: {0}")]
    Thread(io::Error),
}

/// Tells a data directory that cannot be used from a fault.
fn refused(error: io::Error) -> ServerError {
    let directory = error.get_ref().is_some_and(|error| error.is::<DirectoryError>());
    if directory || error.kind() == io::ErrorKind::InvalidInput {
        return ServerError::Refused(error.to_string());
    }
    ServerError::Branch(error)
}

fn bind_advice(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::AddrInUse {
        "the port is in use; stop the other server or choose another port".to_owned()
    } else if error.kind() == io::ErrorKind::PermissionDenied {
        "this port needs more rights; choose one above 1023".to_owned()
    } else {
        error.to_string()
    }
}

/// A server that serves.
pub struct Server {
    address: SocketAddr,
    branch: Branch,
    shutdown: CancellationToken,
    threads: Vec<JoinHandle<Result<(), ServerError>>>,
}

/// Starts a server and returns when it serves.
///
/// # Errors
/// [`ServerError`] says what to change.
pub fn start(config: &Config) -> Result<Server, ServerError> {
    descriptors::make_room_for(MOST_DESCRIPTORS);
    start_on(listen::bind(&config.host, config.port)?, config)
}

/// Checks a data directory that no server uses, without writing anything.
///
/// # Errors
/// The first thing that is wrong, with file and place.
pub fn verify(directory: &Path) -> Result<Report, DirectoryError> {
    store::verify(&RealDisk::to_look_at(directory))
}

/// Starts a server on sockets that are bound.
fn start_on(listeners: Vec<TcpListener>, config: &Config) -> Result<Server, ServerError> {
    let address = listen::address(&listeners)?;
    let (shutdown, closing) = (CancellationToken::new(), CancellationToken::new());
    let health = HealthReporter::new();
    let (senders, receivers): (Vec<_>, Vec<_>) =
        (0..config.threads.get()).map(|_| mpsc::channel(HANDED_OVER)).unzip();
    let (started, starting) = std::sync::mpsc::sync_channel(1);
    let (finished, workers_finished) = mpsc::channel(1);
    let watched = Arc::new(Watched {
        workers: (0..config.threads.get()).map(|_| Counters::default()).collect(),
        connections: Arc::default(),
        budgets: Budgets::default(),
        connected: Arc::default(),
        feeds: Arc::default(),
        audits: Arc::default(),
        shutdown: shutdown.clone(),
    });
    let mut workers = receivers.into_iter().enumerate().map(|(place, connections)| Worker {
        counters: watched.workers[place].clone(),
        watched: Arc::clone(&watched),
        health: health.clone(),
        limits: config.limits,
        branch_account: config.branch_account,
        branch_id: config.branch_id,
        home: config.branch.clone(),
        player: config.player.clone(),
        routes: config.routes.clone(),
        has_peers: !config.peers.is_empty(),
        addresses: addresses(config, address),
        compat_rest: config.compat_rest,
        http_hosts: hosts(config),
        closing: closing.clone(),
        connections,
        finished: finished.clone(),
    });
    let root = Root {
        config: config.clone(),
        address,
        listeners,
        workers: senders,
        home: if shares_a_thread(config.threads) { workers.next() } else { None },
        workers_finished,
        watched: Arc::clone(&watched),
        health: health.clone(),
        shutdown: shutdown.clone(),
        closing: closing.clone(),
    };
    let mut threads = vec![spawn("branch", |runtime| {
        // Whatever ends the branch ends the server.
        let _ended = root.shutdown.clone().drop_guard();
        runtime.block_on(root.run(started))
    })?];
    let (branch, transfers) = match starting.recv() {
        Ok(started) => started.map_err(refused)?,
        Err(_) => return Err(ServerError::Thread(io::Error::other("the branch thread ended"))),
    };
    for (place, worker) in workers.enumerate() {
        let (branch, transfers) = (branch.clone(), transfers.clone());
        threads.push(spawn(&format!("serve-{place}"), move |runtime| {
            runtime.block_on(worker.run(branch, transfers))
        })?);
    }
    drop(finished);
    Ok(Server { address, branch, shutdown, threads })
}

/// The hosts for which requests of browsers may be meant.
fn hosts(config: &Config) -> Vec<String> {
    std::iter::once(&config.host).chain(&config.http_hosts).cloned().collect()
}

/// Where the servers of this branch are, this one first.
fn addresses(config: &Config, own: SocketAddr) -> Vec<String> {
    let named = hosts(config).into_iter().chain(["localhost".to_owned()]);
    let own = named.map(|host| format!("{host}:{}", own.port())).chain([own.to_string()]);
    own.chain(config.peers.values().cloned()).collect()
}

/// Whether the first worker runs on the thread of the branch. A call of its connections then never changes
/// threads, which halves the latency of a lone caller; but its connections and the branch share one core,
/// which is worth it only where there are few.
fn shares_a_thread(threads: NonZeroUsize) -> bool {
    const FEW_CORES: usize = 2;
    let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    threads.get() == 1 || cores <= FEW_CORES
}

fn spawn(
    name: &str,
    run: impl FnOnce(&Runtime) -> Result<(), ServerError> + Send + 'static,
) -> Result<JoinHandle<Result<(), ServerError>>, ServerError> {
    let runtime = Builder::new_current_thread().enable_all().build().map_err(ServerError::Thread)?;
    thread::Builder::new().name(name.to_owned()).spawn(move || run(&runtime)).map_err(ServerError::Thread)
}

impl Server {
    /// The address that the server listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns when the replica belongs to its branch and serves.
    ///
    /// # Errors
    /// [`ServerError::Refused`] when it never will.
    pub async fn ready(&self) -> Result<(), ServerError> {
        self.branch.ready().await.map_err(|error| ServerError::Refused(error.to_string()))
    }

    /// Cancel it to stop the server.
    #[must_use]
    pub fn shutdown(&self) -> CancellationToken {
        self.shutdown.clone()
    }

    /// Waits until the server has stopped, which happens when its shutdown is cancelled.
    ///
    /// # Errors
    /// [`ServerError::Thread`] when a thread ended by a fault of the program.
    pub fn wait(mut self) -> Result<(), ServerError> {
        for thread in self.threads.drain(..) {
            thread.join().map_err(|_| ServerError::Thread(io::Error::other("a thread panicked")))??;
        }
        Ok(())
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Drop for Server {
    /// A server that nobody waits for stops by itself.
    fn drop(&mut self) {
        if !self.threads.is_empty() {
            self.shutdown.cancel();
        }
    }
}

/// The thread of the branch.
struct Root {
    config: Config,
    address: SocketAddr,
    listeners: Vec<TcpListener>,
    workers: Vec<mpsc::Sender<Accepted>>,
    /// The worker that shares the thread of the branch.
    home: Option<Worker>,
    /// Ends when all workers have.
    workers_finished: mpsc::Receiver<()>,
    watched: Arc<Watched>,
    health: HealthReporter,
    shutdown: CancellationToken,
    closing: CancellationToken,
}

impl Root {
    async fn run(mut self, started: SyncSender<io::Result<(Branch, Transfers)>>) -> Result<(), ServerError> {
        // The others of a group must be answered before it can serve.
        self.tell_health(ServingStatus::NotServing).await;
        let (branch, transfers) = match self.start_branch().await {
            Ok(started) => started,
            Err(error) => {
                // The starter tells it; if it is gone, nobody wants to know.
                let _ = started.send(Err(error));
                return Ok(());
            }
        };
        if self.config.peers.is_empty() {
            self.preload(&branch).await;
            self.tell_health(ServingStatus::Serving).await;
        }
        if started.send(Ok((branch.clone(), transfers.clone()))).is_err() {
            branch.stop().await;
            return Ok(());
        }
        let home = self.home.take().map(|worker| tokio::spawn(worker.run(branch.clone(), transfers)));
        let limits = self.config.limits;
        let accepting: Vec<_> = self
            .listeners
            .drain(..)
            .map(|listener| accept(listener, self.workers.clone(), Arc::clone(&self.watched), limits))
            .collect();
        let ended = tokio::select! {
            () = self.shutdown.cancelled() => Ok(()),
            () = branch.ended() => {
                Err(ServerError::Branch(io::Error::other(branch.end_reason())))
            }
            refused = self.serve_when_ready(&branch) => Err(refused),
            accepted = futures::future::try_join_all(accepting) => {
                accepted.map(drop).map_err(ServerError::Thread)
            }
        };
        // First everybody who watches learns it and another replica leads, then streams end, then no more
        // connections come.
        self.tell_health(ServingStatus::NotServing).await;
        branch.hand_over().await;
        self.closing.cancel();
        self.workers.clear();
        let _ = self.workers_finished.recv().await;
        branch.stop().await;
        if let Some(home) = home {
            home.await.map_err(|error| ServerError::Thread(io::Error::other(error)))??;
        }
        ended
    }

    async fn start_branch(&self) -> io::Result<(Branch, Transfers)> {
        let Config { branch, data_dir, replica, peers, advertise, routes, .. } = self.config.clone();
        let routes = ClientRoutes::new(&routes).map_err(io::Error::other)?;
        let storage = match data_dir {
            Some(folder) => Storage::Directory(Arc::new(RealDisk::new(folder))),
            None => Storage::Memory,
        };
        let address = advertise.or_else(|| peers.get(&replica).cloned());
        let config = BranchConfig {
            name: branch,
            replica,
            storage,
            incarnation: Incarnation(Uuid::new_v4().into_bytes()),
            address: address.unwrap_or_else(|| self.address.to_string()),
            peers,
            transport: Arc::new(GrpcTransport),
            founding: LedgerId(Uuid::new_v4().into_bytes()),
            clock: Arc::new(wall_clock),
            election: self.config.election,
            trace_events: self.config.trace_events,
        };
        let has_list = !config.peers.is_empty();
        let branch = Branch::start(config).await?;
        if let (false, Some(others)) = (has_list, branch.other_members()) {
            let what = format!(
                "the log names other replicas of this branch ({others}); start this one with --peers, a list of all of \
                 them"
            );
            branch.stop().await;
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        let transfers = Transfers::start(&branch, Arc::new(routes), Arc::new(wall_clock));
        Ok((branch, transfers))
    }

    /// Tells whether a write would be taken, as long as the server runs; returns only when it never will.
    async fn serve_when_ready(&self, branch: &Branch) -> ServerError {
        if let Err(error) = branch.ready().await {
            return ServerError::Refused(error.to_string());
        }
        self.preload(branch).await;
        let (mut serves, mut quorum) = (None, true);
        loop {
            let vitals = branch.vitals();
            let now = vitals.quorum && vitals.leader.is_some();
            if serves.replace(now) != Some(now) {
                self.tell_health(if now { ServingStatus::Serving } else { ServingStatus::NotServing }).await;
            }
            match (quorum, vitals.quorum) {
                (true, false) => tracing::warn!("no majority of the replicas answers: writes are refused"),
                (false, true) => tracing::warn!("a majority of the replicas answers again: writes are taken"),
                (true, true) | (false, false) => {}
            }
            quorum = vitals.quorum;
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Gives a new branch its first accounts, if it is to have some, before anybody is told that it serves.
    async fn preload(&self, branch: &Branch) {
        if self.config.preload {
            preload::preload(branch).await;
        }
    }

    async fn tell_health(&self, status: ServingStatus) {
        for service in SERVICES {
            self.health.set_service_status(service, status).await;
        }
    }
}

/// Deals connections out to the workers in turn, so that few connections are spread evenly.
async fn accept(
    listener: TcpListener,
    workers: Vec<mpsc::Sender<Accepted>>,
    watched: Arc<Watched>,
    limits: Limits,
) -> io::Result<()> {
    static NOT_ACCEPTED: Sparingly = Sparingly::new();
    static REFUSED: Sparingly = Sparingly::new();
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let descriptors = ForConnections::of_process();
    let mut turn = workers.iter().cycle();
    loop {
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Of the connection that was just gone again, or of a machine without free sockets.
                if let Some(left_out) = NOT_ACCEPTED.due() {
                    tracing::warn!(%error, left_out, "a connection could not be accepted");
                }
                tokio::time::sleep(REST).await;
                continue;
            }
        };
        let address = address.ip();
        let of_address = watched.connected.take(address, limits.connections_per_address);
        let counted = Counted::enter(&watched.connections, limits.connections);
        let why = match (counted, of_address) {
            _ if descriptors.are_used_up_by(&stream) => {
                "the rest of the open files is kept for the server's own"
            }
            (Some(counted), Some(of_address)) => {
                let accepted = Accepted { stream, address, counted: (counted, of_address) };
                let worker = turn.next().expect("there is at least one worker");
                if worker.send(accepted).await.is_err() {
                    return Err(io::Error::other("a worker ended"));
                }
                continue;
            }
            (None, _) => "there are too many",
            (Some(_), None) => "there are too many from its address",
        };
        if let Some(left_out) = REFUSED.due() {
            tracing::warn!(%address, left_out, "a connection was refused because {why}");
        }
    }
}

/// The wall clock, in microseconds since the Unix epoch.
fn wall_clock() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(u64::try_from(since_epoch.as_micros()).unwrap_or(u64::MAX))
}
