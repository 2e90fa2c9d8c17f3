//! Branches of several replicas in this process, in memory: what `bank-server demo` and scenarios run on.
//!
//! Each replica is a whole server with a port of its own, and reaches the others as it would on other machines.
//! The first of them vote; the rest follow the log, and serve calls as well.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::thread;
use std::time::{Duration, Instant};

use futures::future::{join_all, try_join_all};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::Builder;
use tokio_util::sync::CancellationToken;

use super::preload::{open_shared, preload};
use super::routes::Routes;
use super::{Config, Server, ServerError, listen, start_on};
use crate::gateway::Player;
use crate::model::{AccountNumber, BranchName, Money, ReplicaId};
use crate::replication::{Change, ELECTION};

/// Most replicas with a vote: every write waits for a majority of them.
const MOST_VOTERS: usize = 7;
/// How long voters may take to form a branch.
const FORMING: Duration = Duration::from_secs(20);
/// How long one more replica may take to join it.
const JOINING: Duration = Duration::from_secs(30);
/// How long to wait before a replica that could not join is asked for again.
const AGAIN: Duration = Duration::from_millis(50);
/// Silence of a leader after which another one is elected where there are more replicas than voters: they share few
/// processors, and a leader that only waits for one of these is not lost.
const CROWDED_ELECTION: Duration = Duration::from_secs(5);

/// Open files that a replica and the connections to it may need: 27 were seen in runs of 40 and of 100 replicas.
const FILES_OF_REPLICA: u64 = 32;
/// Open files of everything else in the process.
const FILES_OF_PROCESS: u64 = 128;

/// What a branch in this process is made of.
#[derive(Clone, Debug)]
pub struct LocalConfig {
    /// Its name.
    pub branch: BranchName,
    /// How many replicas it has. They are numbered from 1.
    pub replicas: NonZeroUsize,
    /// Whether they record traces.
    pub trace_events: bool,
    /// The account of older branch clients.
    pub branch_account: Option<AccountNumber>,
    /// What that account begins with; without it the first call opens it empty.
    pub branch_balance: Option<Money>,
    /// The ids by which those clients know the replicas; replicas without one are known by none.
    pub branch_ids: Vec<u64>,
    /// The ports of the replicas; those without one, and those whose port is 0, take a free one.
    pub ports: Vec<u16>,
    /// What plays scenario files for the dashboards of the replicas.
    pub player: Option<Player>,
    /// Whether it begins with accounts 1001 and 1002, with 1000.00 each.
    pub preload: bool,
}

impl LocalConfig {
    /// Three replicas, the fewest of which one may be lost.
    #[must_use]
    pub fn new(branch: BranchName) -> LocalConfig {
        let replicas = NonZeroUsize::MIN.saturating_add(2);
        LocalConfig {
            branch,
            replicas,
            trace_events: false,
            branch_account: None,
            branch_balance: None,
            branch_ids: Vec::new(),
            ports: Vec::new(),
            player: None,
            preload: false,
        }
    }
}

/// A replica and the port that it will serve.
type Port = (ReplicaId, String, Vec<TcpListener>);

/// Raises the process's own limit of open files as far as this many replicas need.
///
/// # Errors
/// When the system does not let it, before anything has been started that would fail half-way.
fn make_room_for(replicas: usize) -> Result<(), ServerError> {
    let limit = getrlimit(Resource::Nofile);
    let count = u64::try_from(replicas).unwrap_or(u64::MAX);
    let wanted = count.saturating_mul(FILES_OF_REPLICA).saturating_add(FILES_OF_PROCESS);
    if limit.current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    if limit.maximum.is_none_or(|most| most >= wanted)
        && setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), ..limit }).is_ok()
    {
        return Ok(());
    }
    let most = limit.maximum.or(limit.current).unwrap_or_default();
    Err(ServerError::Refused(format!(
        "{replicas} replicas in one process need up to {wanted} open files and the hard limit is {most}; raise it (ulimit -Hn {wanted}), or start the replicas elsewhere and name them with --connect"
    )))
}

/// Takes a free port for each replica, before the first of them hears of the others.
fn take_ports(config: &LocalConfig) -> Result<Vec<Port>, ServerError> {
    make_room_for(config.replicas.get())?;
    let mut sockets = Vec::new();
    let ports = config.ports.iter().copied().chain(std::iter::repeat(0));
    for (replica, port) in (1..).map(ReplicaId).zip(ports).take(config.replicas.get()) {
        let listeners = listen::bind(&Config::new(config.branch.clone()).host, port)?;
        sockets.push((replica, listen::address(&listeners)?.to_string(), listeners));
    }
    Ok(sockets)
}

/// A branch of replicas that serve.
#[derive(Debug)]
pub struct LocalCluster {
    servers: Vec<Server>,
}

impl LocalCluster {
    /// Starts three replicas, as [`LocalCluster::of`].
    ///
    /// # Errors
    /// [`ServerError`] says why not.
    pub fn start(branch: &BranchName) -> Result<LocalCluster, ServerError> {
        LocalCluster::of(&LocalConfig::new(branch.clone()))
    }

    /// Starts the replicas on free ports of the loopback address and returns when all of them serve. Blocks.
    ///
    /// # Errors
    /// [`ServerError`] says why not.
    pub fn of(config: &LocalConfig) -> Result<LocalCluster, ServerError> {
        LocalCluster::start_on(config, take_ports(config)?, Routes::new())
    }

    /// Starts several branches, each of which knows the way to the others, as [`LocalCluster::of`].
    ///
    /// # Errors
    /// [`ServerError`] says why not.
    pub fn several(configs: &[LocalConfig]) -> Result<Vec<LocalCluster>, ServerError> {
        let ports = configs.iter().map(take_ports).collect::<Result<Vec<_>, ServerError>>()?;
        let route = |(config, ports): (&LocalConfig, &Vec<Port>)| {
            let addresses = ports.iter().map(|(_, address, _)| address.clone());
            (config.branch.clone(), addresses.collect())
        };
        let all: Routes = configs.iter().zip(&ports).map(route).collect();
        // All at once, because each waits for its replicas to form a branch.
        thread::scope(|scope| {
            let start = |(config, ports): (&'_ LocalConfig, Vec<Port>)| {
                let mut routes = all.clone();
                routes.remove(&config.branch);
                let config = config.clone();
                scope.spawn(move || LocalCluster::start_on(&config, ports, routes))
            };
            let starting: Vec<_> = configs.iter().zip(ports).map(start).collect();
            let started = starting.into_iter().map(|cluster| cluster.join());
            let panicked = |_| Err(ServerError::Thread(io::Error::other("a thread panicked")));
            started.map(|cluster| cluster.unwrap_or_else(panicked)).collect()
        })
    }

    fn start_on(
        config: &LocalConfig,
        mut sockets: Vec<Port>,
        routes: Routes,
    ) -> Result<LocalCluster, ServerError> {
        let replicas = config.replicas.get();
        let plain = Config {
            threads: NonZeroUsize::MIN,
            trace_events: config.trace_events,
            branch_account: config.branch_account,
            player: config.player.clone(),
            routes,
            election: if replicas > MOST_VOTERS { CROWDED_ELECTION } else { ELECTION },
            ..Config::new(config.branch.clone())
        };
        let runtime = Builder::new_current_thread().enable_time().build().map_err(ServerError::Thread)?;
        let others = sockets.split_off(MOST_VOTERS.min(replicas));
        let address = |(replica, address, _): &Port| (*replica, address.clone());
        let peers: BTreeMap<ReplicaId, String> = match sockets.len() {
            1 => BTreeMap::new(),
            _ => sockets.iter().map(address).collect(),
        };
        let first = sockets.iter().map(address).next();
        let branch_id = |replica: ReplicaId| {
            let place = usize::try_from(replica.0).ok()?.checked_sub(1)?;
            config.branch_ids.get(place).copied()
        };
        let mut cluster = LocalCluster { servers: Vec::new() };
        for (replica, _, listeners) in sockets {
            let branch_id = branch_id(replica);
            let config = Config { replica, branch_id, peers: peers.clone(), ..plain.clone() };
            cluster.servers.push(start_on(listeners, &config)?);
        }
        runtime.block_on(within(FORMING, cluster.ready()))?;
        for (replica, address, listeners) in others {
            let peers = first.clone().into_iter().chain([(replica, address.clone())]).collect();
            let branch_id = branch_id(replica);
            let server = start_on(listeners, &Config { replica, branch_id, peers, ..plain.clone() })?;
            runtime.block_on(within(JOINING + FORMING, cluster.join(replica, address)))?;
            cluster.servers.push(server);
        }
        runtime.block_on(within(FORMING, cluster.ready()))?;
        if let (true, Some(first)) = (config.preload, cluster.servers.first()) {
            runtime.block_on(preload(&first.branch));
        }
        let shared = config.branch_account.zip(config.branch_balance);
        if let (Some((number, balance)), Some(first)) = (shared, cluster.servers.first()) {
            runtime.block_on(open_shared(&first.branch, number, balance));
        }
        Ok(cluster)
    }

    /// Lets one more replica follow the log.
    async fn join(&self, replica: ReplicaId, address: String) -> Result<(), ServerError> {
        let Some(first) = self.servers.first() else { return Ok(()) };
        let change = Change::Add { replica, address };
        let until = Instant::now() + JOINING;
        loop {
            match first.branch.change(change.clone(), None, until).await {
                Ok(()) => return Ok(()),
                Err(error) if Instant::now() + AGAIN >= until => {
                    return Err(ServerError::Branch(io::Error::other(error)));
                }
                Err(_) => tokio::time::sleep(AGAIN).await,
            }
        }
    }

    /// Returns when all replicas serve and know each other.
    async fn ready(&self) -> Result<(), ServerError> {
        try_join_all(self.servers.iter().map(Server::ready)).await?;
        let known = self.servers.iter().map(|server| server.branch.has_members(self.servers.len()));
        join_all(known).await;
        Ok(())
    }

    /// The addresses of the replicas, by number.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.servers.iter().map(Server::address)
    }

    /// Cancelled when the first of the servers stops by itself or is told to.
    #[must_use]
    pub fn shutdowns(&self) -> Vec<CancellationToken> {
        self.servers.iter().map(Server::shutdown).collect()
    }

    /// Stops all replicas and waits until they have.
    ///
    /// # Errors
    /// As [`Server::wait`], of the first that failed.
    pub fn stop(self) -> Result<(), ServerError> {
        self.servers.iter().for_each(|server| server.shutdown().cancel());
        // All are waited for before one is judged.
        let ended: Vec<_> = self.servers.into_iter().map(Server::wait).collect();
        ended.into_iter().collect()
    }
}

/// What the replicas must do in time.
async fn within(
    patience: Duration,
    done: impl Future<Output = Result<(), ServerError>>,
) -> Result<(), ServerError> {
    tokio::time::timeout(patience, done).await.unwrap_or_else(|_| {
        Err(ServerError::Branch(io::Error::other(format!(
            "the replicas did not become one branch in {patience:?}"
        ))))
    })
}
