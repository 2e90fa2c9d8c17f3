//! A replica of a branch: start, doors, stop.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use openraft::errors::Fatal;
use openraft::{Config, Raft, SnapshotPolicy};
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, oneshot, watch};

use super::batcher::{self, Batcher, Desk};
use super::door::PeerDoor;
use super::exchanges::{Exchange, WAITING_EXCHANGES};
use super::formation::{Formation, FormationError, Standing};
use super::gate::{self, Gate, WaitingRead};
use super::inbox::Inbox;
use super::lane::{Lane, Lanes};
use super::network::Network;
use super::outlook::{Leader, Outlook};
use super::peers::{Identity, Peers};
use super::rollback::Memory;
use super::roster::Hearsay;
use super::transport::{Door, NoPeers, Transport};
use super::wishes::Wishes;
use super::{backfill, compaction, places, roster, watchman};
use crate::model::planted::{Fault, planted};
use crate::model::{BranchName, LedgerId, ReplicaId, Timestamp, Unavailable};
use crate::store::{
    self, Current, Health, Incarnation, LogStore, Machine, Member, Opened, Progress, Runtime, Snapshots,
    Storage, TRACED_KEPT, Tokio, Tracer, Types,
};

/// Milliseconds between a leader's heartbeats.
const HEARTBEAT_MILLIS: u64 = 200;
/// The usual [`BranchConfig::election`]: a lost leader is replaced in 1.5 to 1.8 seconds.
pub const ELECTION: Duration = Duration::from_millis(600);
/// Most calls that wait for openraft's own task: batches in flight, read rounds and triggers are few.
const RAFT_QUEUE: u64 = 1_024;
/// Log entries that stay when a snapshot covers them, for peers that are a little behind.
const KEPT_FOR_PEERS: u64 = 32;
/// Most errands of operators and peers that wait to be begun.
const ERRANDS: usize = 64;
/// How long the start of a lone replica may take without applying anything.
const START_PATIENCE: Duration = Duration::from_secs(10);
/// How long accepted work may take to finish at a stop.
const STOP_PATIENCE: Duration = Duration::from_secs(10);
/// How long a leader that stops waits for another one to take over.
const HAND_OVER: Duration = Duration::from_secs(2);

/// How often something that is waited for is looked at, besides when it changes.
const LOOK: Duration = Duration::from_secs(1);

/// The wall clock.
pub(super) type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// What a replica of a branch needs to start.
pub struct BranchConfig {
    /// The branch.
    pub name: BranchName,
    /// Which replica this is.
    pub replica: ReplicaId,
    /// Where it keeps what it must not forget.
    pub storage: Storage,
    /// What the replica's log is called for life if it has none yet: something that no other log was ever called.
    pub incarnation: Incarnation,
    /// Where the other replicas reach this one.
    pub address: String,
    /// The replicas that form the branch, this one among them, the same list at each; empty for a replica that
    /// founds a branch alone. Once the branch is formed its log says who belongs to it.
    pub peers: BTreeMap<ReplicaId, String>,
    /// How the others are reached.
    pub transport: Arc<dyn Transport>,
    /// The identity that the ledger gets if this replica founds it.
    pub founding: LedgerId,
    /// The wall clock.
    pub clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    /// Shortest silence of a leader after which a replica stands for election; the longest is half as long again, and
    /// is also how long a leader is taken to be alive after it was heard. A lone replica does not wait for it.
    pub election: Duration,
    /// Whether the replica has a logical clock and records the events of calls that are traced.
    pub trace_events: bool,
}

impl BranchConfig {
    /// A replica that founds a branch alone and will stay alone.
    #[must_use]
    pub fn alone(name: BranchName, founding: LedgerId, clock: Clock) -> BranchConfig {
        BranchConfig {
            name,
            replica: ReplicaId(1),
            storage: Storage::Memory,
            incarnation: Incarnation(founding.0),
            address: String::new(),
            peers: BTreeMap::new(),
            transport: Arc::new(NoPeers),
            founding,
            clock,
            election: ELECTION,
            trace_events: false,
        }
    }
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
    pub(super) peers: Arc<Peers<R>>,
    pub(super) listed: BTreeMap<ReplicaId, String>,
    pub(super) current: Arc<Current>,
    pub(super) progress: Arc<Progress>,
    pub(super) proposals: Arc<Inbox<batcher::Waiting<R>>>,
    pub(super) reads: Arc<Inbox<WaitingRead>>,
    pub(super) lanes: Arc<Lanes>,
    pub(super) outlook: Outlook<R>,
    pub(super) raft: Raft<Types<R>, Machine<R>>,
    pub(super) snapshots: Snapshots,
    pub(super) log: LogStore<R>,
    /// Told when a snapshot from a peer was installed, so that the journal has a gap before it.
    pub(super) installed: Notify,
    /// Whether its disk works.
    pub(super) health: Arc<Health>,
    /// What all replicas had flushed, as far as this one knows.
    pub(super) memory: Arc<Memory<R>>,
    /// The logical clock, of a replica that records traces.
    pub(super) tracer: Option<Arc<Tracer>>,
    /// Whether this replica is being stopped, and therefore must not be chosen to lead.
    pub(super) stopping: AtomicBool,
    /// Whether the others have taken this replica out of the branch, as far as it knows.
    pub(super) removed: AtomicBool,
    /// Messages of other branches that were passed on to this replica: where they come in, and out.
    pub(super) exchanges: (mpsc::Sender<Exchange>, Mutex<Option<mpsc::Receiver<Exchange>>>),
    pub(super) hearsay: Mutex<Hearsay>,
    /// Told when a replica said what this one cannot judge by itself.
    pub(super) stranger: Notify,
    pub(super) wishes: Wishes<R>,
    /// Which snapshot of a peer is being taken in: how many were begun.
    pub(super) receiving: AtomicU64,
    /// The clock of this machine.
    pub(super) clock: Clock,
    errands: mpsc::Sender<BoxFuture<'static, ()>>,
    standing: Arc<Standing>,
    drained: [watch::Receiver<bool>; 2],
}

impl<R: Runtime> Replica<R> {
    /// Runs something on the runtime of the replica, where its connections live, to its end, though the caller
    /// goes away. None when the replica has too many such errands, or has ended.
    pub(super) async fn at_home<T: Send + 'static>(
        self: &Arc<Self>,
        errand: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let (done, result) = oneshot::channel();
        let errand = async move {
            // Nobody may be left to hear it.
            let _ = done.send(errand.await);
        };
        self.errands.try_send(Box::pin(errand)).ok()?;
        result.await.ok()
    }
}

/// Lets the tasks begin that take in proposals and reads; returns where they say that nothing is left.
fn attend<R: Runtime>(
    batcher: Batcher<R>,
    inbox: &Arc<Inbox<WaitingRead>>,
    lanes: &Arc<Lanes>,
) -> [watch::Receiver<bool>; 2] {
    let (raft, outlook) = (batcher.raft.clone(), batcher.outlook.clone());
    let gate = Gate { inbox: Arc::clone(inbox), lanes: Arc::clone(lanes), raft, outlook };
    let (batches, reads) = (watch::Sender::new(false), watch::Sender::new(false));
    let drained = [batches.subscribe(), reads.subscribe()];
    R::spawn(batcher.run(batches));
    R::spawn(gate.run(reads));
    drained
}

/// The queue of what other replicas pass on.
fn exchanges() -> (mpsc::Sender<Exchange>, Mutex<Option<mpsc::Receiver<Exchange>>>) {
    let (sender, receiver) = mpsc::channel(WAITING_EXCHANGES);
    (sender, Mutex::new(Some(receiver)))
}

/// Lets errands run on this runtime.
fn begin_errands<R: Runtime>() -> mpsc::Sender<BoxFuture<'static, ()>> {
    let (errands, queued) = mpsc::channel(ERRANDS);
    R::spawn(run_errands::<R>(queued));
    errands
}

async fn run_errands<R: Runtime>(mut queued: mpsc::Receiver<BoxFuture<'static, ()>>) {
    while let Some(errand) = queued.recv().await {
        R::spawn(errand);
    }
}

#[cfg(test)]
impl<R: Runtime> Replica<R> {
    pub(super) async fn trigger_snapshot(&self) {
        self.raft.trigger().snapshot().await.unwrap();
    }
}

#[cfg(test)]
impl<R: Runtime> Branch<R> {
    /// Whether the replica has stopped by itself.
    pub(crate) fn has_ended(&self) -> bool {
        self.replica.outlook.look(|metrics| metrics.running_state.is_err())
    }

    /// Ends the replica as a lost power supply does; what it still says nobody may hear.
    pub(crate) fn cut_off(&self) {
        self.replica.proposals.close();
        self.replica.reads.close();
        let raft = self.replica.raft.clone();
        R::spawn(async move {
            // An error says that it has stopped already.
            let _ = raft.shutdown().await;
        });
    }

    /// Asks for a snapshot now.
    pub(crate) async fn make_snapshot(&self) {
        // It may have stopped.
        let _ = self.replica.raft.trigger().snapshot().await;
    }

    /// The digests of the latest batches.
    pub(crate) fn digests_since(
        &self,
        after: crate::model::Sequence,
    ) -> Vec<(crate::model::Sequence, crate::model::Digest)> {
        self.replica.progress.digests().since(after)
    }
}

impl<R: Runtime> Branch<R> {
    /// Starts the replica on the current runtime. A lone replica serves when this returns. One with peers
    /// answers them from now on and serves when [`Branch::ready`] returns.
    ///
    /// # Errors
    /// When the data directory cannot be used, in one line that says why; when openraft does not start or a
    /// lone replica does not come to lead, which does not depend on input.
    pub async fn start(config: BranchConfig) -> Result<Branch<R>, io::Error> {
        let identity = store::Identity { branch: config.name.clone(), replica: config.replica };
        let Opened { log, mut machine, directory, incarnation, health, flushed, new } =
            store::open(&config.storage, identity, config.incarnation, config.trace_events)?;
        let tracer = tracer(&config, &log, &mut machine);
        let settings = settings(&config, new).validate().map_err(io::Error::other)?;
        let (current, progress, snapshots) = (machine.current(), machine.progress(), machine.snapshots());
        let member = Member { address: config.address, incarnation };
        let me = Identity { branch: config.name, replica: config.replica, member };
        let peers = Arc::new(Peers::new(me, Arc::clone(&current), config.transport, config.peers.clone()));
        let network = Network { peers: Arc::clone(&peers), log: log.clone() };
        let raft = Raft::new(config.replica.0, Arc::new(settings), network, log.clone(), machine).await;
        let raft = raft.map_err(io::Error::other)?;
        let outlook = Outlook::new(Arc::clone(&peers), raft.metrics());
        let memory = Memory::new(&peers, &outlook, &log, &progress, flushed, new);

        let (proposals, reads) = (Arc::new(batcher::inbox()), Arc::new(gate::inbox()));
        let lanes = Arc::<Lanes>::default();
        let batcher = Batcher {
            desk: Arc::new(Desk::new(Arc::clone(&proposals), Arc::clone(&lanes), outlook.clone())),
            raft: raft.clone(),
            log: log.clone(),
            current: Arc::clone(&current),
            clock: Arc::clone(&config.clock),
            outlook: outlook.clone(),
        };
        let formation = Formation {
            raft: raft.clone(),
            peers: Arc::clone(&peers),
            outlook: outlook.clone(),
            memory: Arc::clone(&memory),
            current: Arc::clone(&current),
            directory,
            clock: Arc::clone(&config.clock),
            founding: config.founding,
            listed: config.peers.clone(),
        };
        let drained = attend(batcher, &reads, &lanes);
        R::spawn(compaction::run(log.clone(), snapshots.clone(), raft.clone()));
        let replica = Replica {
            peers,
            listed: config.peers,
            current,
            progress,
            proposals,
            reads,
            lanes,
            outlook,
            raft,
            snapshots,
            log,
            installed: Notify::new(),
            health,
            memory,
            tracer,
            stopping: AtomicBool::new(false),
            removed: AtomicBool::new(false),
            exchanges: exchanges(),
            hearsay: Mutex::default(),
            stranger: Notify::new(),
            wishes: Wishes::default(),
            receiving: AtomicU64::new(0),
            clock: config.clock,
            errands: begin_errands::<R>(),
            standing: Arc::default(),
            drained,
        };
        Branch { replica: Arc::new(replica) }.begin(formation).await
    }

    /// Begins what goes on as long as the replica; waits until one that is alone serves.
    async fn begin(self, formation: Formation<R>) -> Result<Branch<R>, io::Error> {
        let replica = &self.replica;
        let initialized = replica.raft.is_initialized().await.map_err(io::Error::other)?;
        let alone = replica.listed.is_empty() && (!initialized || replica.outlook.is_alone());
        let standing = Arc::clone(&replica.standing);
        R::spawn(async move { standing.decide(formation.run().await) });
        R::spawn(watchman::run(Arc::clone(replica)));
        R::spawn(watchman::end_when_unfit(Arc::clone(replica)));
        R::spawn(backfill::run(Arc::clone(replica)));
        R::spawn(roster::run(Arc::clone(replica)));
        R::spawn(places::follow(Arc::clone(replica)));
        R::spawn(places::announce(Arc::clone(replica)));
        if alone {
            self.start_alone().await?;
        }
        Ok(self)
    }

    /// Waits until a lone replica leads and has applied its log again, which takes as long as it takes.
    async fn start_alone(&self) -> io::Result<()> {
        let mut applied = None;
        loop {
            if let Some(ready) = R::timeout(START_PATIENCE, self.ready()).await {
                return ready.map_err(io::Error::other);
            }
            let now = Some(self.replica.progress.applied());
            if applied == now {
                return Err(io::Error::other("a lone replica did not come to lead"));
            }
            applied = now;
        }
    }

    /// Returns when the replica belongs to its group and knows its ledger. Until then every call is answered
    /// with `Starting`.
    ///
    /// # Errors
    /// [`FormationError`] when it will never be so; then the process should end.
    pub async fn ready(&self) -> Result<(), FormationError> {
        self.replica.standing.decided().await
    }

    /// A door for the calls of the current runtime. Its task lives as long as the branch: open one for
    /// each runtime and clone it.
    #[must_use]
    pub fn lane(&self) -> Lane<R> {
        Lane::open(Arc::clone(&self.replica))
    }

    /// Which replica of the branch this is.
    #[must_use]
    pub fn replica(&self) -> ReplicaId {
        self.replica.peers.me.replica
    }

    /// The ledger's identity.
    ///
    /// # Errors
    /// [`Unavailable::Starting`] until this replica knows it.
    pub fn ledger(&self) -> Result<LedgerId, Unavailable> {
        self.replica.peers.ledger().ok_or(Unavailable::Starting)
    }

    /// What this replica has recorded, if it does.
    #[must_use]
    pub fn tracer(&self) -> Option<&Tracer> {
        self.replica.tracer.as_deref()
    }

    /// Returns when this replica knows so many members of its branch.
    pub async fn has_members(&self, count: usize) {
        let mut outlook = self.replica.outlook.clone();
        while outlook.look(|metrics| metrics.membership_config.nodes().count()) < count {
            outlook.changed(LOOK).await;
        }
    }

    /// The door for the other replicas.
    #[must_use]
    pub fn door(&self) -> Arc<dyn Door> {
        Arc::new(PeerDoor(Arc::clone(&self.replica)))
    }

    /// Returns when the replica serves no more: after [`Branch::stop`], or because its log or its ledger
    /// broke or differs from that of the others. Then nothing it holds can be trusted, and the process should
    /// end.
    pub async fn ended(&self) {
        let wait = self.replica.raft.wait(None);
        // An error says that openraft's task is gone, which is an end as well.
        let _ = wait.metrics(|raft| raft.running_state.is_err(), "the end").await;
    }

    /// Why it serves no more, after it ended by itself.
    #[must_use]
    pub fn end_reason(&self) -> String {
        if let Some(failure) = self.replica.health.failure() {
            return failure.to_owned();
        }
        match self.replica.outlook.look(|metrics| metrics.running_state.clone()) {
            Err(Fatal::StorageError(error)) => error.to_string(),
            Err(Fatal::Panicked | Fatal::Stopped) | Ok(()) => {
                "its log or ledger broke, see the log".to_owned()
            }
        }
    }

    /// Lets another replica lead, refuses new work with `Stopping`, finishes what was accepted, stops. Work
    /// that cannot be finished in ten seconds, because there is no quorum, is answered with `OutcomeUnknown`.
    pub async fn stop(&self) {
        self.hand_over().await;
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

    /// Lets another replica lead, if this one does and there is another that stays. Comes first when a server stops,
    /// while the other replicas can still reach this one.
    pub async fn hand_over(&self) {
        let replica = &self.replica;
        replica.stopping.store(true, Ordering::Relaxed);
        if replica.outlook.leader() != Leader::Here || replica.others_that_answer().is_empty() {
            return;
        }
        match R::timeout(HAND_OVER, replica.hand_over_to(None)).await {
            Some(Ok(())) => {}
            Some(Err(refusal)) => tracing::warn!(%refusal, "no other replica took over before the stop"),
            None => tracing::warn!("no other replica took over in {HAND_OVER:?} before the stop"),
        }
    }
}

/// The logical clock of a replica that records traces.
fn tracer<R: Runtime>(
    config: &BranchConfig,
    log: &LogStore<R>,
    machine: &mut Machine<R>,
) -> Option<Arc<Tracer>> {
    let tracer = config.trace_events.then(|| Arc::new(Tracer::new(config.replica, log.last_index())))?;
    machine.trace_with(Arc::clone(&tracer));
    Some(tracer)
}

/// How many entries stay in the log that a snapshot covers.
fn kept(config: &BranchConfig) -> u64 {
    match config.peers.is_empty() {
        _ if config.trace_events => TRACED_KEPT as u64,
        true => 0,
        false => KEPT_FOR_PEERS,
    }
}

/// openraft's settings.
fn settings(config: &BranchConfig, new: bool) -> Config {
    let election = u64::try_from(config.election.as_millis()).unwrap_or(u64::MAX / 2);
    Config {
        cluster_name: config.name.to_string(),
        heartbeat_interval: HEARTBEAT_MILLIS,
        election_timeout_min: election,
        election_timeout_max: election + election / 2,
        api_channel_size: Some(RAFT_QUEUE),
        // The log says itself when it is long, see `compaction`; without peers, what a marker covers goes at
        // once.
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: kept(config),
        purge_batch_size: 1,
        // A leader that restarts with an older state must be elected again: it would answer
        // linearizable reads from before what it had acknowledged.
        enable_leader_restore: Some(planted(Fault::LeaderRestored)),
        enable_pre_vote: Some(true),
        // One that finds a log stands for election when it is known that it is not an older copy.
        enable_elect: new,
        ..Config::default()
    }
}
