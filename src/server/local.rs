//! A branch of three replicas in this process, in memory: what `bank-server demo` runs.
//!
//! Each replica is a whole server with a port of its own, and reaches the others as it would on other machines.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use futures::future::try_join_all;
use tokio::runtime::Builder;
use tokio_util::sync::CancellationToken;

use super::{Config, Server, ServerError, listen, start_on};
use crate::model::{BranchName, ReplicaId};

/// How many replicas there are: the fewest of which one may be lost.
const REPLICAS: u64 = 3;
/// How long they may take to form a branch.
const FORMING: Duration = Duration::from_secs(10);

/// A branch of three replicas that serve.
#[derive(Debug)]
pub struct LocalCluster {
    servers: Vec<Server>,
}

impl LocalCluster {
    /// Starts the replicas on free ports of the loopback address and returns when all of them serve.
    ///
    /// # Errors
    /// [`ServerError`] says why not.
    pub fn start(branch: &BranchName) -> Result<LocalCluster, ServerError> {
        let plain = Config { threads: NonZeroUsize::MIN, ..Config::new(branch.clone()) };
        // All ports are taken before the first replica hears of them.
        let mut sockets = Vec::new();
        let mut peers = BTreeMap::new();
        for replica in 1..=REPLICAS {
            let listeners = listen::bind(&plain.host, 0)?;
            let address = listen::address(&listeners)?;
            peers.insert(ReplicaId(replica), address.to_string());
            sockets.push((ReplicaId(replica), listeners));
        }
        let mut servers = Vec::new();
        for (replica, listeners) in sockets {
            let config = Config { replica, peers: peers.clone(), ..plain.clone() };
            servers.push(start_on(listeners, &config)?);
        }
        let cluster = LocalCluster { servers };
        cluster.wait_until_ready()?;
        Ok(cluster)
    }

    fn wait_until_ready(&self) -> Result<(), ServerError> {
        let runtime = Builder::new_current_thread().enable_time().build().map_err(ServerError::Thread)?;
        let ready = try_join_all(self.servers.iter().map(Server::ready));
        match runtime.block_on(async { tokio::time::timeout(FORMING, ready).await }) {
            Ok(ready) => ready.map(drop),
            Err(_) => Err(ServerError::Branch(io::Error::other(format!(
                "three replicas did not become one branch in {FORMING:?}"
            )))),
        }
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
