//! A replica of a branch: start, doors, stop.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use openraft::{Config, Raft, ServerState, SnapshotPolicy};
use tokio::sync::watch;

use super::batcher::{self, Batcher};
use super::compaction;
use super::gate::{self, WaitingRead};
use super::inbox::Inbox;
use super::lane::{Lane, Lanes};
use super::network::NoPeers;
use crate::model::{Batch, BranchName, LedgerId, ReplicaId, Timestamp};
use crate::store::{
    self, Current, Identity, Incarnation, LogBatch, LogStore, Machine, Member, Opened, Progress, Runtime,
    Snapshots, Storage, Tokio, Types,
};

/// Milliseconds between a leader's heartbeats.
const HEARTBEAT_MILLIS: u64 = 250;
/// Shortest and longest silence of a leader, in milliseconds, after which a replica stands for election.
/// A lone replica does not wait for it.
const ELECTION_MILLIS: (u64, u64) = (1_000, 2_000);
/// Most calls that wait for openraft's own task: batches in flight, read rounds and triggers are few.
const RAFT_QUEUE: u64 = 1_024;
/// How long a start may take.
const START_PATIENCE: Duration = Duration::from_secs(10);
/// How long accepted work may take to finish at a stop.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// The wall clock.
pub(super) type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// What a replica of a branch needs to start.
pub struct BranchConfig {
    /// The branch.
    pub name: BranchName,
    /// Which replica this is.
    pub replica: ReplicaId,
    /// The identity that the ledger gets if this replica founds it.
    pub founding: LedgerId,
    /// Where it keeps what it must not forget.
    pub storage: Storage,
    /// What the replica's log is called for life if it has none yet: something that no other log was ever called.
    pub incarnation: Incarnation,
    /// The wall clock.
    pub clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
}

/// One replica of a branch. Cheap to clone.
pub struct Branch<R: Runtime = Tokio> {
    pub(super) replica: Arc<Replica<R>>,
}

impl<R: Runtime> Clone for Branch<R> {
    fn clone(&self) -> Branch<R> {
        Branch { replica: Arc::clone(&self.replica) }
    }
}

/// What the doors of a replica share.
pub(super) struct Replica<R: Runtime> {
    pub(super) name: BranchName,
    pub(super) id: ReplicaId,
    pub(super) ledger: LedgerId,
    pub(super) current: Arc<Current>,
    pub(super) progress: Arc<Progress>,
    pub(super) proposals: Arc<Inbox<batcher::Waiting>>,
    pub(super) reads: Arc<Inbox<WaitingRead>>,
    pub(super) lanes: Arc<Lanes>,
    raft: Raft<Types<R>, Machine<R>>,
    drained: [watch::Receiver<bool>; 2],
    snapshots: Snapshots,
    pub(super) log: LogStore<R>,
}

#[cfg(test)]
impl<R: Runtime> Replica<R> {
    pub(super) async fn trigger_snapshot(&self) {
        self.raft.trigger().snapshot().await.unwrap();
    }
}

impl<R: Runtime> Branch<R> {
    /// Starts the replica on the current runtime and returns when it can serve.
    ///
    /// # Errors
    /// When the data directory cannot be used, in one line that says why; when openraft does not start or does
    /// not come to lead, which does not depend on input.
    pub async fn start(config: BranchConfig) -> Result<Branch<R>, io::Error> {
        let identity = Identity { branch: config.name.clone(), replica: config.replica };
        let Opened { log, machine, directory, incarnation } =
            store::open(&config.storage, identity, config.incarnation)?;
        let (current, progress, snapshots) = (machine.current(), machine.progress(), machine.snapshots());
        let member = Member { incarnation, ..Member::default() };
        let raft = lead(&config, member, &log, machine).await?;
        let ledger = found(&config, &raft, &current).await?;
        if let Some(directory) = directory {
            directory.remember_ledger(ledger)?;
        }

        let (proposals, reads) = (Arc::new(batcher::inbox()), Arc::new(gate::inbox()));
        let lanes = Arc::<Lanes>::default();
        let (batches_drained, reads_drained) = (watch::Sender::new(false), watch::Sender::new(false));
        let drained = [batches_drained.subscribe(), reads_drained.subscribe()];
        let batcher = Batcher {
            inbox: Arc::clone(&proposals),
            lanes: Arc::clone(&lanes),
            raft: raft.clone(),
            log: log.clone(),
            current: Arc::clone(&current),
            clock: config.clock,
        };
        R::spawn(batcher.run(batches_drained));
        R::spawn(gate::run(Arc::clone(&reads), Arc::clone(&lanes), raft.clone(), reads_drained));
        R::spawn(compaction::run(log.clone(), snapshots.clone(), raft.clone()));
        Ok(Branch {
            replica: Arc::new(Replica {
                name: config.name,
                id: config.replica,
                ledger,
                current,
                progress,
                proposals,
                reads,
                lanes,
                raft,
                drained,
                snapshots,
                log,
            }),
        })
    }

    /// A door for the calls of the current runtime. Its task lives as long as the branch: open one for
    /// each runtime and clone it.
    #[must_use]
    pub fn lane(&self) -> Lane<R> {
        Lane::open(Arc::clone(&self.replica))
    }

    /// Returns when the replica serves no more: after [`Branch::stop`], or because its log or its ledger
    /// broke. Then nothing it holds can be trusted, and the process should end.
    pub async fn ended(&self) {
        let wait = self.replica.raft.wait(None);
        // An error says that openraft's task is gone, which is an end as well.
        let _ = wait.metrics(|raft| raft.running_state.is_err(), "the end").await;
    }

    /// Refuses new work with `Stopping`, finishes what was accepted, stops. Work that cannot be finished
    /// in ten seconds, because there is no quorum, is answered with `OutcomeUnknown`.
    pub async fn stop(&self) {
        self.replica.proposals.close();
        self.replica.reads.close();
        let finished = async {
            for drained in &self.replica.drained {
                // A closed channel means that the task is gone, and with it what it had to do.
                let _ = drained.clone().wait_for(|drained| *drained).await;
            }
        };
        if R::timeout(STOP_PATIENCE, finished).await.is_none() {
            tracing::warn!("accepted work was not finished in {STOP_PATIENCE:?}; its outcome is unknown");
        }
        if let Err(error) = self.replica.raft.shutdown().await {
            tracing::error!(%error, "the log did not shut down in order");
        }
        let Replica { log, current, snapshots, .. } = &*self.replica;
        if let Err(error) = store::close(log, current, snapshots).await {
            tracing::error!(%error, "the storage was not closed in order");
        }
    }
}

/// Starts openraft, forms the group of this one replica, and waits until it leads.
async fn lead<R: Runtime>(
    config: &BranchConfig,
    member: Member,
    log: &LogStore<R>,
    machine: Machine<R>,
) -> Result<Raft<Types<R>, Machine<R>>, io::Error> {
    let id = config.replica.0;
    let settings = settings(&config.name).validate().map_err(io::Error::other)?;
    let raft =
        Raft::new(id, Arc::new(settings), NoPeers, log.clone(), machine).await.map_err(io::Error::other)?;
    if raft.is_initialized().await.map_err(io::Error::other)? {
        // Nobody else can lead, so there is nothing to wait for.
        raft.trigger().elect(false).await.map_err(io::Error::other)?;
    } else {
        raft.initialize(BTreeMap::from([(id, member)])).await.map_err(io::Error::other)?;
    }
    raft.wait(Some(START_PATIENCE))
        .state(ServerState::Leader, "a lone replica elects itself")
        .await
        .map_err(io::Error::other)?;
    Ok(raft)
}

/// Gives the ledger its identity if it has none, and returns it.
async fn found<R: Runtime>(
    config: &BranchConfig,
    raft: &Raft<Types<R>, Machine<R>>,
    current: &Current,
) -> Result<LedgerId, io::Error> {
    if let Some(id) = current.get().ledger.id() {
        return Ok(id);
    }
    let time = (config.clock)().after(current.get().ledger.position().time);
    let batch = Batch { time, founding: Some(config.founding), proposals: Vec::new() };
    raft.client_write(LogBatch::new(batch)).await.map_err(io::Error::other)?;
    current
        .get()
        .ledger
        .id()
        .ok_or_else(|| io::Error::other("the founding batch gave the ledger no identity"))
}

fn settings(name: &BranchName) -> Config {
    Config {
        cluster_name: name.to_string(),
        heartbeat_interval: HEARTBEAT_MILLIS,
        election_timeout_min: ELECTION_MILLIS.0,
        election_timeout_max: ELECTION_MILLIS.1,
        api_channel_size: Some(RAFT_QUEUE),
        // The log says itself when it is long, see `compaction`; what a marker covers goes at once.
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: 0,
        purge_batch_size: 1,
        // A leader that restarts with an older state must be elected again: it would answer
        // linearizable reads from before what it had acknowledged.
        enable_leader_restore: Some(false),
        enable_pre_vote: Some(true),
        ..Config::default()
    }
}
