//! A town of replicas in one process: their network is queues that a test can cut, in one direction or
//! both, and runs on any runtime.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use parking_lot::Mutex;

use crate::model::{
    AccountNumber, LedgerId, Proposal, ReplicaId, Reply, RequestId, Seen, Sequence, Timestamp,
};
use crate::replication::{Answers, Branch, BranchConfig, Door, Lane, Link, Lost, ReadPoint, Transport};
use crate::store::{Incarnation, Runtime, Storage};

/// Who lives where, and which ways are cut.
#[derive(Default)]
pub(super) struct Town {
    doors: Mutex<BTreeMap<String, Arc<dyn Door>>>,
    cut: Mutex<BTreeSet<(String, String)>>,
    /// How often somebody knocked where nobody lives.
    pub(super) knocks: Mutex<u64>,
}

/// The address of a replica.
pub(crate) fn address(replica: u64) -> String {
    format!("replica-{replica}")
}

impl Town {
    pub(super) fn open(&self, address: &str, door: Arc<dyn Door>) {
        self.doors.lock().insert(address.to_owned(), door);
    }

    pub(super) fn close(&self, replica: u64) {
        self.doors.lock().remove(&address(replica));
    }

    /// Cuts the way from one replica to another; messages under way are lost, and nobody is told.
    pub(super) fn cut(&self, from: u64, to: u64) {
        self.cut.lock().insert((address(from), address(to)));
    }

    /// Cuts all ways between some replicas and the others.
    pub(super) fn part(&self, these: &[u64], those: &[u64]) {
        for this in these {
            for that in those {
                self.cut(*this, *that);
                self.cut(*that, *this);
            }
        }
    }

    pub(super) fn heal(&self) {
        self.cut.lock().clear();
    }

    fn is_cut(&self, from: &str, to: &str) -> bool {
        self.cut.lock().contains(&(from.to_owned(), to.to_owned()))
    }

    fn door(&self, to: &str) -> Result<Arc<dyn Door>, Lost> {
        let door = self.doors.lock().get(to).cloned();
        door.ok_or_else(|| {
            *self.knocks.lock() += 1;
            Lost { sent: false, why: format!("nobody lives at {to}") }
        })
    }
}

/// The ways out of one house.
pub(super) struct From {
    pub(super) town: Arc<Town>,
    pub(super) from: String,
}

impl Transport for From {
    fn link(&self, to: &str) -> Box<dyn Link> {
        Box::new(Way { town: Arc::clone(&self.town), from: self.from.clone(), to: to.to_owned() })
    }
}

#[derive(Clone)]
struct Way {
    town: Arc<Town>,
    from: String,
    to: String,
}

impl Way {
    /// Never returns when the way is cut.
    async fn out(&self) {
        if self.town.is_cut(&self.from, &self.to) {
            std::future::pending::<()>().await;
        }
    }

    async fn back(&self) {
        if self.town.is_cut(&self.to, &self.from) {
            std::future::pending::<()>().await;
        }
    }
}

impl Link for Way {
    fn call(&self, message: Vec<u8>) -> BoxFuture<'static, Result<Vec<u8>, Lost>> {
        let way = self.clone();
        Box::pin(async move {
            way.out().await;
            let answer = way.town.door(&way.to)?.call(message).await;
            way.back().await;
            Ok(answer)
        })
    }

    fn stream(&self, messages: BoxStream<'static, Vec<u8>>) -> BoxFuture<'static, Result<Answers, Lost>> {
        let way = self.clone();
        Box::pin(async move {
            way.out().await;
            let door = way.town.door(&way.to)?;
            let (out, back) = (way.clone(), way);
            let messages = messages.then(move |message| {
                let way = out.clone();
                async move {
                    way.out().await;
                    message
                }
            });
            let answers = door.stream(messages.boxed()).then(move |answer| {
                let way = back.clone();
                async move {
                    way.back().await;
                    // A house that was given up answers nothing more.
                    way.town.door(&way.to).map(|_| answer)
                }
            });
            Ok(answers.boxed())
        })
    }
}

/// Replicas of one branch.
pub(super) struct Group<R: Runtime> {
    pub(super) town: Arc<Town>,
    pub(super) replicas: BTreeMap<u64, Branch<R>>,
    lanes: BTreeMap<u64, Lane<R>>,
}

/// What a replica with that number is started with, and with that list.
pub(super) fn config(town: &Arc<Town>, replica: u64, list: &[u64]) -> BranchConfig {
    let from = address(replica);
    BranchConfig {
        name: "main".parse().unwrap(),
        replica: ReplicaId(replica),
        incarnation: Incarnation([u8::try_from(replica).unwrap(); 16]),
        address: from.clone(),
        peers: list.iter().map(|id| (ReplicaId(*id), address(*id))).collect(),
        transport: Arc::new(From { town: Arc::clone(town), from }),
        storage: Storage::Memory,
        founding: LedgerId([u8::try_from(replica).unwrap(); 16]),
        clock: Arc::new(|| Timestamp::from_micros(1_000)),
        election: crate::replication::ELECTION,
        trace_events: false,
    }
}

impl<R: Runtime> Group<R> {
    pub(super) fn empty() -> Group<R> {
        Group { town: Arc::default(), replicas: BTreeMap::new(), lanes: BTreeMap::new() }
    }

    /// A group that was started with a list and serves.
    pub(super) async fn of(list: &[u64]) -> Group<R> {
        let mut group = Group::empty();
        for replica in list {
            group.start(config(&group.town, *replica, list)).await;
        }
        for branch in group.replicas.values() {
            branch.ready().await.unwrap();
        }
        group
    }

    pub(super) async fn start(&mut self, config: BranchConfig) -> Branch<R> {
        let (replica, address) = (config.replica.0, config.address.clone());
        let branch = Branch::<R>::start(config).await.unwrap();
        self.town.open(&address, branch.door());
        self.lanes.insert(replica, branch.lane());
        self.replicas.insert(replica, branch.clone());
        branch
    }

    pub(super) fn lane(&self, replica: u64) -> Lane<R> {
        self.lanes[&replica].clone()
    }

    /// Takes a replica out of the world as a lost power supply does.
    pub(super) async fn kill(&mut self, replica: u64) {
        self.town.close(replica);
        self.lanes.remove(&replica);
        let branch = self.replicas.remove(&replica).unwrap();
        branch.replica.raft.shutdown().await.unwrap();
    }

    /// The replica that leads and is believed by a majority.
    pub(super) async fn leader(&self) -> u64 {
        loop {
            let mut votes = BTreeMap::<u64, usize>::new();
            for branch in self.replicas.values() {
                if let Some(leader) = branch.replica.outlook.look(|metrics| metrics.current_leader) {
                    *votes.entry(leader).or_default() += 1;
                }
            }
            let all = self.replicas.values().next().unwrap();
            let voters = all.replica.outlook.look(|metrics| metrics.membership_config.voter_ids().count());
            let elected = votes.into_iter().find(|(_, count)| 2 * count > voters);
            match elected {
                Some((leader, _)) if self.replicas.contains_key(&leader) => return leader,
                Some(_) | None => R::sleep(std::time::Duration::from_millis(10)).await,
            }
        }
    }

    /// Waits until all replicas have applied a sequence, and returns their digests.
    pub(super) async fn digests_at(&self, sequence: Sequence) -> Vec<[u8; 32]> {
        let mut digests = Vec::new();
        for branch in self.replicas.values() {
            branch.replica.progress.reach(sequence).await;
            digests.push(branch.replica.progress.digests().at(sequence).unwrap().0);
        }
        digests
    }
}

pub(super) fn soon<R: Runtime>() -> R::Instant {
    R::now() + std::time::Duration::from_secs(20)
}

/// A deposit of one cent with a name.
pub(super) fn named(request: &str, account: u64) -> Proposal {
    let request: RequestId = request.parse().unwrap();
    Proposal { request: Some(request), ..super::deposit(account) }
}

pub(super) async fn write<R: Runtime>(lane: &Lane<R>, proposal: Proposal) -> Reply {
    lane.execute(proposal, None, soon::<R>()).await.unwrap()
}

/// What an account holds at a replica that has seen at least this.
pub(super) async fn balance<R: Runtime>(lane: &Lane<R>, account: u64, after: Sequence) -> i64 {
    let seen = Seen { ledger: lane.ledger().unwrap(), sequence: after };
    let read = |state: &crate::store::State| {
        state.ledger.account(AccountNumber::new(account).unwrap()).unwrap().balance.balance.minor()
    };
    lane.read(ReadPoint::AtLeast(seen), soon::<R>(), read).await.unwrap().0
}
