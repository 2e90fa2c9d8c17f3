//! A worker: one thread, one runtime, its own connections and its own lane to the branch.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};

use super::body::Readers;
use super::callers::Taken;
use super::gate::{Door, Gate, Other, Visitor};
use super::pulse::{Counters, Watched};
use super::punctual::Punctual;
use super::routes::Routes;
use super::{Limits, ServerError};
use crate::api::{BankApi, BranchApi, ClusterApi, CompatApi, House};
use crate::client::InProcess;
use crate::gateway::{self, Bank, Gateway, Player};
use crate::model::limits::BATCH_MESSAGE_BYTES;
use crate::model::{AccountNumber, BranchName};
use crate::replication::{Branch, peer_service};
use crate::transfer::{ClientRoutes, Transfers, transfer_service};
use crate::wire::proto::DESCRIPTORS;
use crate::wire::proto::branch::branch_server::BranchServer;
use crate::wire::proto::compat::bank_account_service_server::BankAccountServiceServer;
use crate::wire::proto::example::branch_server::{BranchServer as ExampleServer, SERVICE_NAME as EXAMPLE};
use crate::wire::proto::read_your_writes::bank_service_server::{
    BankServiceServer as ReadYourWritesServer, SERVICE_NAME as READ_YOUR_WRITES,
};
use crate::wire::proto::v1::bank_service_server::BankServiceServer;
use crate::wire::proto::v1::cluster_service_server::ClusterServiceServer;

/// Most streams of one connection at a time.
const STREAMS: u32 = 1_024;
/// Most bytes of the headers of one call.
const HEADER_BYTES: u32 = 16 * 1_024;
/// Bytes that a stream may be ahead of its reader: a batch of the usual size fits.
const STREAM_WINDOW: u32 = 1 << 20;
/// Bytes that all streams of a connection may be ahead.
const CONNECTION_WINDOW: u32 = 4 << 20;
/// After this much silence a connection is asked whether it is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// How long it has to say so.
const KEEP_ALIVE_ANSWER: Duration = Duration::from_secs(10);
/// Bytes on their way between the gateway and the services.
const IN_PROCESS_BYTES: usize = 256 * 1_024;

/// An accepted connection, counted as long as it lives.
pub(super) struct Accepted {
    pub(super) stream: TcpStream,
    /// From where.
    pub(super) address: IpAddr,
    pub(super) counted: (Counted, Taken),
}

/// One of the connections of a server.
pub(super) struct Counted(Arc<AtomicUsize>);

impl Counted {
    /// Counts a connection, unless there are `limit` already.
    pub(super) fn enter(count: &Arc<AtomicUsize>, limit: usize) -> Option<Counted> {
        let before = count.fetch_add(1, Ordering::Relaxed);
        let counted = Counted(Arc::clone(count));
        (before < limit).then_some(counted)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a worker starts with.
pub(super) struct Worker {
    /// What this worker counts.
    pub(super) counters: Counters,
    /// What the whole server counts.
    pub(super) watched: Arc<Watched>,
    pub(super) health: HealthReporter,
    pub(super) limits: Limits,
    /// The account of older branch clients.
    pub(super) branch_account: Option<AccountNumber>,
    /// The id by which they know this server.
    pub(super) branch_id: Option<u64>,
    /// The branch served here.
    pub(super) home: BranchName,
    /// What plays scenario files for the pages, when there is one.
    pub(super) player: Option<Player>,
    /// Where the other branches are.
    pub(super) routes: Routes,
    /// Whether other replicas are served, or may come.
    pub(super) has_peers: bool,
    /// Where the servers of this branch are.
    pub(super) addresses: Vec<String>,
    pub(super) compat_rest: bool,
    /// The hosts for which requests of browsers may be meant.
    pub(super) http_hosts: Vec<String>,
    pub(super) closing: CancellationToken,
    pub(super) connections: mpsc::Receiver<Accepted>,
    /// Dropped when the worker has finished.
    pub(super) finished: mpsc::Sender<()>,
}

impl Worker {
    /// Serves connections until no more come, then lets those that are open finish, for a limited time.
    pub(super) async fn run(mut self, branch: Branch, transfers: Transfers) -> Result<(), ServerError> {
        let gate = Arc::new(self.gate(&branch, &transfers)?);
        let builder = Arc::new(connection_builder(self.limits.opening));
        let gateway = self.gateway(&branch, Arc::clone(&gate), Arc::clone(&builder))?;
        let door = Door { gate, gateway: Some(Arc::new(gateway)), visitor: None };
        let graceful = GracefulShutdown::new();
        while let Some(accepted) = self.connections.recv().await {
            let watcher = graceful.watcher();
            let visitor = Visitor { address: accepted.address, readers: Arc::<Readers>::default() };
            let visit = Visit {
                door: Door { visitor: Some(visitor), ..door.clone() },
                watcher,
                opening: self.limits.opening,
                unread: self.limits.unread,
                closing: self.closing.clone(),
            };
            tokio::spawn(serve(accepted, visit, Arc::clone(&builder)));
        }
        if timeout(self.limits.grace, graceful.shutdown()).await.is_err() {
            tracing::warn!("some calls were not finished in {:?}", self.limits.grace);
        }
        drop(self.finished);
        Ok(())
    }

    /// The gateway, which asks this worker's own services as if it came over the network.
    fn gateway(
        &self,
        branch: &Branch,
        gate: Arc<Gate>,
        builder: Arc<auto::Builder<TokioExecutor>>,
    ) -> Result<Gateway, ServerError> {
        let way = InProcess::new(move || {
            let (near, far) = tokio::io::duplex(IN_PROCESS_BYTES);
            let door = Door { gate: Arc::clone(&gate), gateway: None, visitor: None };
            let connection = builder.serve_connection(TokioIo::new(far), door).into_owned();
            tokio::spawn(async move {
                if let Err(error) = connection.await {
                    tracing::debug!(%error, "a connection of the gateway ended");
                }
            });
            Ok(near)
        });
        let bank = Bank::new(self.home.clone(), way, &self.addresses, &self.routes)
            .map_err(|failure| ServerError::Refused(failure.message))?;
        let pulse = self.watched.pulse(branch.clone());
        Ok(Gateway::new(gateway::Settings {
            pulse,
            bank,
            player: self.player.clone(),
            clock: super::wall_clock,
            hosts: self.http_hosts.clone(),
            patience: self.limits.opening,
            compat_rest: self.compat_rest,
        }))
    }

    fn gate(&self, branch: &Branch, transfers: &Transfers) -> Result<Gate, ServerError> {
        let lane = branch.lane();
        let transfers = transfers.at(lane.clone());
        let ways =
            ClientRoutes::new(&self.routes).map_err(|failure| ServerError::Refused(failure.message))?;
        let ways = Arc::new(ways);
        // Without ways to other branches none of them can be confirmed, so none is heard.
        let transfer = (!self.routes.is_empty()).then(|| transfer_service(transfers.door(ways.clone())));
        let audits = Arc::clone(&self.watched.audits);
        let house = House { lane: lane.clone(), transfers, ways, audits, clock: super::wall_clock };
        let Counters { meter, calls, requests } = self.counters.clone();
        let (closing, heartbeat) = (self.closing.clone(), self.limits.heartbeat);
        let bank = BankApi::new(house.clone(), closing, heartbeat, Arc::clone(&meter));
        let older = BranchApi::new(lane.clone(), self.branch_account, self.branch_id);
        let mut others = reflection()?;
        others.push((EXAMPLE, Other::new(ExampleServer::new(older.clone()))));
        others.push((READ_YOUR_WRITES, Other::new(ReadYourWritesServer::new(older.clone()))));
        Ok(Gate {
            bank: BankServiceServer::new(bank).max_decoding_message_size(BATCH_MESSAGE_BYTES),
            compat: BankAccountServiceServer::new(CompatApi::new(lane.clone(), meter)),
            branch: BranchServer::new(older.clone()),
            cluster: ClusterServiceServer::new(ClusterApi::new(branch.clone(), house)),
            peer: self.has_peers.then(|| peer_service(branch.door())),
            transfer,
            home: self.home.clone(),
            health: HealthServer::new(HealthService::from_health_reporter(self.health.clone())),
            others,
            in_flight: calls,
            http_in_flight: requests,
            limit: self.limits.calls_per_thread,
            watched: Arc::clone(&self.watched),
            closing: self.closing.clone(),
        })
    }
}

fn reflection() -> Result<Vec<(&'static str, Other)>, ServerError> {
    use tonic_reflection::pb::{v1, v1alpha};
    let builder = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let broken = |error: tonic_reflection::server::Error| ServerError::Thread(io::Error::other(error));
    Ok(vec![
        (v1::server_reflection_server::SERVICE_NAME, Other::new(builder().build_v1().map_err(broken)?)),
        (
            v1alpha::server_reflection_server::SERVICE_NAME,
            Other::new(builder().build_v1alpha().map_err(broken)?),
        ),
    ])
}

fn connection_builder(opening: Duration) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(opening).max_buf_size(HEADER_BYTES as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEADER_BYTES)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE_ANSWER);
    builder
}

/// What a connection meets here.
struct Visit {
    door: Door,
    watcher: Watcher,
    opening: Duration,
    unread: Duration,
    closing: CancellationToken,
}

async fn serve(accepted: Accepted, visit: Visit, builder: Arc<auto::Builder<TokioExecutor>>) {
    let Accepted { stream, counted, .. } = accepted;
    if let Err(error) = converse(stream, visit, &builder).await {
        // A client that goes away without a word is nothing to tell anybody about.
        tracing::debug!(%error, "a connection ended");
    }
    drop(counted);
}

async fn converse(
    stream: TcpStream,
    visit: Visit,
    builder: &auto::Builder<TokioExecutor>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let Visit { door, watcher, opening, unread, closing } = visit;
    stream.set_nodelay(true)?;
    let stream = TcpStream::from_std(stream.into_std()?)?;
    let mut first_byte = [0];
    tokio::select! {
        first = timeout(opening, stream.peek(&mut first_byte)) => first??,
        () = closing.cancelled() => return Ok(()),
    };
    let stream = Punctual::new(stream, opening, unread);
    let readers = door.visitor.as_ref().map(|visitor| Arc::clone(&visitor.readers)).unwrap_or_default();
    let connection = watcher.watch(builder.serve_connection(TokioIo::new(stream), door).into_owned());
    tokio::select! {
        ended = connection => ended,
        () = readers.give_up(unread) => Err("an answer was not read".into()),
    }
}
