//! Two simulated branches of three replicas each, and the way between them, on which everything happens.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use openraft_rt_sim::SimInstant;
use parking_lot::Mutex;

use crate::model::{
    AccountNumber, BranchName, Digest, Failure, LedgerId, Reason, ReplicaId, Sequence, Timestamp, Total,
};
use crate::replication::tests::sim::net::{Chance, DRAWN, From, Net, Weather};
use crate::replication::tests::simulated::Simulated;
use crate::replication::tests::town::address;
use crate::replication::{Branch, BranchConfig, Lane};
use crate::store::faulty_disk::{Faults, FaultyDisk};
use crate::store::{self, Incarnation, Runtime, Storage};
use crate::transfer::{Routes, Transfers};

/// How many replicas each branch has.
pub(crate) const REPLICAS: u64 = 3;
/// Accounts of each branch.
pub(crate) const ACCOUNTS: u64 = 4;
/// What each holds at the beginning, in cents.
pub(crate) const FIRST: i64 = 5_000;
/// Short, so that a life sees many segments and snapshots.
const SEGMENT_BYTES: u64 = 16 * 1024;
/// When every clock of a life begins.
pub(crate) const BEGIN_MICROS: u64 = 1_795_000_000_000_000;
/// How long a message of another branch may be worked on.
const ANSWER: Duration = Duration::from_secs(2);
/// How many kinds of trouble there are that a life may draw.
const TROUBLES: u64 = 17;
/// Most messages that are remembered to come again.
const PAST: usize = 4_096;

/// How a replica goes away.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    Killed,
    Torn,
    Lost,
}

/// A replica by its branch and number.
pub(crate) type At = (usize, u64);

/// A replica that runs.
#[derive(Clone)]
pub(crate) struct Running {
    pub(crate) branch: Branch<Simulated>,
    pub(crate) lane: Lane<Simulated>,
    pub(crate) transfers: Transfers<Simulated>,
    pub(crate) life: u64,
}

struct House {
    disk: FaultyDisk,
    clock: Arc<AtomicU64>,
    running: Option<Running>,
}

/// How the way between the branches is.
#[derive(Clone, Copy)]
pub(crate) struct Way {
    /// Messages from the first to the second branch, and from the second to the first, do not arrive.
    pub(crate) cut: [bool; 2],
    /// In so many of a thousand.
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    pub(crate) slow: u64,
}

impl Way {
    pub(crate) const FAIR: Way = Way { cut: [false; 2], lost: 0, doubled: 0, slow: 0 };
}

pub(crate) struct World {
    pub(crate) chance: Arc<Chance>,
    nets: [Arc<Net>; 2],
    houses: Mutex<BTreeMap<At, House>>,
    way: Mutex<Way>,
    past: Mutex<Vec<(usize, Vec<u8>)>>,
    lives: AtomicU64,
    wrong: Mutex<Vec<String>>,
    pub(crate) ending: AtomicBool,
    digests: Mutex<BTreeMap<(usize, Sequence), Digest>>,
    seen: Mutex<BTreeMap<At, Sequence>>,
    /// The troubles of this life, by number; empty in a life of the usual ones.
    pub(crate) mix: Vec<u64>,
    /// The most that each branch was seen to owe the other.
    paid: Mutex<[Total; 2]>,
}

pub(crate) fn name(branch: usize) -> BranchName {
    ["mumbai", "delhi"][branch].parse().unwrap()
}

pub(crate) fn number(account: u64) -> AccountNumber {
    AccountNumber::new(account).unwrap()
}

/// Everybody's address in their town.
fn all() -> Vec<At> {
    (0..2).flat_map(|branch| (1..=REPLICAS).map(move |replica| (branch, replica))).collect()
}

impl World {
    pub(crate) fn new(seed: u64) -> Arc<World> {
        let chance = Arc::new(Chance::new(seed));
        // One of them mends what is cut.
        let mix = if seed < DRAWN { Vec::new() } else { [chance.kinds(seed, TROUBLES), vec![6]].concat() };
        let world = World {
            mix,
            nets: [0, 1].map(|_| Arc::new(Net::new(Arc::clone(&chance)))),
            chance,
            houses: Mutex::default(),
            way: Mutex::new(Way::FAIR),
            past: Mutex::default(),
            lives: AtomicU64::new(0),
            wrong: Mutex::default(),
            ending: AtomicBool::new(false),
            digests: Mutex::default(),
            seen: Mutex::default(),
            paid: Mutex::new([Total::ZERO; 2]),
        };
        for at in all() {
            let disk = world.new_disk();
            let clock = Arc::new(AtomicU64::new(BEGIN_MICROS));
            world.houses.lock().insert(at, House { disk, clock, running: None });
        }
        Arc::new(world)
    }

    fn new_disk(&self) -> FaultyDisk {
        let chance = Arc::clone(&self.chance);
        let run = Arc::new(move |job: store::Job| {
            let delay = chance.micros(50, 400);
            Simulated::spawn(async move {
                Simulated::sleep(delay).await;
                job();
            });
        });
        FaultyDisk::with_workers(self.chance.below(u64::MAX), run).with_segments_of(SEGMENT_BYTES)
    }

    pub(crate) fn wrong(&self, what: impl Into<String>) {
        self.wrong.lock().push(what.into());
    }

    pub(crate) fn first_wrong(&self) -> Option<String> {
        self.wrong.lock().first().cloned()
    }

    pub(crate) fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Relaxed) || self.first_wrong().is_some()
    }

    pub(crate) fn running(&self, at: At) -> Option<Running> {
        self.houses.lock()[&at].running.clone()
    }

    pub(crate) fn all_running(&self, branch: usize) -> Vec<Running> {
        let houses = self.houses.lock();
        houses.range((branch, 0)..(branch + 1, 0)).filter_map(|(_, house)| house.running.clone()).collect()
    }

    /// Whether the world has not been cleared.
    pub(crate) fn someone_lives(&self) -> bool {
        !self.houses.lock().is_empty()
    }

    /// Any replica of a branch that runs and knows its ledger.
    pub(crate) fn someone(&self, branch: usize) -> Option<Running> {
        let running = self.all_running(branch);
        let serving: Vec<usize> =
            (0..running.len()).filter(|place| running[*place].lane.ledger().is_ok()).collect();
        (!serving.is_empty()).then(|| running[self.chance.pick(&serving)].clone())
    }

    pub(crate) fn lives(&self, at: At, life: u64) -> bool {
        self.running(at).is_some_and(|running| running.life == life)
    }

    /// Starts a replica, on the disk that it has.
    pub(crate) async fn start(self: &Arc<World>, at: At) {
        let (branch, replica) = at;
        let life = self.lives.fetch_add(1, Ordering::Relaxed);
        let (disk, clock) = {
            let houses = self.houses.lock();
            (houses[&at].disk.clone(), Arc::clone(&houses[&at].clock))
        };
        self.chance.note(format!("start {at:?}").as_bytes());
        self.chance.count("restart");
        let founding = u8::try_from(10 * branch).unwrap() + u8::try_from(replica).unwrap();
        let now = move || {
            let passed = SimInstant::try_now().unwrap().elapsed_since_start().as_micros();
            Timestamp::from_micros(clock.load(Ordering::Relaxed) + u64::try_from(passed).unwrap())
        };
        let now: Arc<dyn Fn() -> Timestamp + Send + Sync> = Arc::new(now);
        let config = BranchConfig {
            name: name(branch),
            replica: ReplicaId(replica),
            incarnation: Incarnation([founding; 16]),
            address: address(replica),
            peers: (1..=REPLICAS).map(|id| (ReplicaId(id), address(id))).collect(),
            transport: Arc::new(From { net: Arc::clone(&self.nets[branch]), replica, life }),
            storage: Storage::Directory(Arc::new(disk)),
            founding: LedgerId([founding; 16]),
            clock: Arc::clone(&now),
            election: crate::replication::ELECTION,
            trace_events: false,
        };
        match Branch::<Simulated>::start(config).await {
            Ok(started) => {
                self.nets[branch].open(replica, life, started.door());
                let routes = Arc::new(Out { world: Arc::clone(self), at, life });
                let transfers = Transfers::start(&started, routes, now);
                self.seen.lock().remove(&at);
                let lane = started.lane();
                let running = Running { branch: started, lane, transfers, life };
                self.houses.lock().get_mut(&at).unwrap().running = Some(running);
            }
            Err(error) => self.wrong(format!("replica {at:?} does not start again: {error}")),
        }
    }

    pub(crate) async fn start_all(self: &Arc<World>, branch: usize) {
        for replica in 1..=REPLICAS {
            if self.running((branch, replica)).is_none() {
                self.start((branch, replica)).await;
            }
        }
    }

    /// Takes a replica out of the world.
    pub(crate) fn end(&self, at: At, how: End) {
        self.chance.note(format!("end {at:?} {how:?}").as_bytes());
        self.chance.count("crash");
        self.nets[at.0].close(at.1);
        let mut houses = self.houses.lock();
        let house = houses.get_mut(&at).unwrap();
        house.disk = match how {
            End::Killed => house.disk.kill(),
            End::Torn => house.disk.crash(),
            End::Lost => house.disk.crash_hard(),
        };
        if let Some(running) = house.running.take() {
            running.branch.cut_off();
        }
    }

    /// Lets calls of a disk fail from now on.
    pub(crate) fn fail_disk(&self, at: At, faults: Faults) {
        let houses = self.houses.lock();
        // A replica that is away starts on a disk without faults.
        if houses[&at].running.is_some() {
            self.chance.count("failed disk call");
            houses[&at].disk.set_faults(faults);
        }
    }

    /// From now on no disk has a fault, and who has stopped is ended.
    pub(crate) fn mend_disks(&self) {
        for house in self.houses.lock().values() {
            house.disk.set_faults(Faults::default());
        }
        self.end_failed();
    }

    /// Ends those that have stopped because their disk failed.
    pub(crate) fn end_failed(&self) {
        for at in all() {
            if self.running(at).is_some_and(|running| running.branch.has_ended()) {
                self.end(at, End::Torn);
            }
        }
    }

    /// Parts one replica from the others of its branch.
    pub(crate) fn part(&self, at: At) {
        self.chance.count("partition");
        for other in (1..=REPLICAS).filter(|other| *other != at.1) {
            self.nets[at.0].cut(at.1, other);
            self.nets[at.0].cut(other, at.1);
        }
    }

    pub(crate) fn heal(&self) {
        self.nets.iter().for_each(|net| net.heal());
    }

    pub(crate) fn set_weather(&self, branch: usize, weather: Weather) {
        self.nets[branch].set(weather);
    }

    pub(crate) fn set(&self, way: Way) {
        *self.way.lock() = way;
    }

    pub(crate) fn way(&self) -> Way {
        *self.way.lock()
    }

    /// Lets a clock jump to so many minutes after (or, if negative, before) the beginning: less than a day, see
    /// `replication::admission`.
    pub(crate) fn set_clock(&self, at: At, minutes: i64) {
        self.chance.count("clock jump");
        let micros = BEGIN_MICROS.checked_add_signed(minutes * 60_000_000).unwrap();
        self.houses.lock()[&at].clock.store(micros, Ordering::Relaxed);
    }

    /// A message from the past, to its branch.
    pub(crate) fn old_message(&self) -> Option<(usize, Vec<u8>)> {
        let past = self.past.lock();
        let places: Vec<usize> = (0..past.len()).collect();
        (!places.is_empty()).then(|| past[self.chance.pick(&places)].clone())
    }

    fn remember(&self, to: usize, message: &[u8]) {
        let mut past = self.past.lock();
        if past.len() < PAST {
            past.push((to, message.to_vec()));
        }
    }

    /// Notes what a branch owes the other one, as one of its replicas has it.
    fn note_paid(&self, branch: usize, lane: &Lane<Simulated>) {
        let audit = lane.state().ledger.audit();
        if let Some(clearing) = audit.clearing.get(&name(1 - branch)) {
            let mut paid = self.paid.lock();
            if clearing.due_to.minor() > paid[branch].minor() {
                paid[branch] = clearing.due_to;
            }
        }
    }

    /// What must be true at every moment.
    pub(crate) fn look(&self) {
        for branch in 0..2 {
            for Running { branch: replica, lane, .. } in self.all_running(branch) {
                let at = (branch, lane.replica().0);
                self.note_paid(branch, &lane);
                let audit = lane.state().ledger.audit();
                if !audit.balanced() {
                    self.wrong(format!("the books of {at:?} do not balance: {audit:?}"));
                }
                let received = audit.clearing.get(&name(1 - branch)).map_or(0, |with| -with.due_from.minor());
                let paid = self.paid.lock()[1 - branch];
                if received > paid.minor() {
                    self.wrong(format!("{at:?} has {received} credited and {paid:?} was paid"));
                }
                self.compare_digests(at, &replica);
            }
        }
    }

    fn compare_digests(&self, at: At, replica: &Branch<Simulated>) {
        let mut seen = self.seen.lock();
        let seen = seen.entry(at).or_insert(Sequence::ZERO);
        for (sequence, digest) in replica.digests_since(*seen) {
            *seen = sequence;
            if *self.digests.lock().entry((at.0, sequence)).or_insert(digest) != digest {
                self.wrong(format!("replica {at:?} has another digest at {sequence}"));
            }
        }
    }

    /// Brings a message to a replica of a branch, and its answer back.
    async fn bring(self: &Arc<World>, to: usize, message: &[u8]) -> Result<Vec<u8>, Failure> {
        let way = *self.way.lock();
        let slow = self.chance.of_thousand(way.slow);
        Simulated::sleep(self.chance.micros(200, if slow { 4_000_000 } else { 3_000 })).await;
        if self.way.lock().cut[1 - to] || self.chance.of_thousand(way.lost) {
            self.chance.count("message lost");
            return Err(lost("the message"));
        }
        let Some(there) = self.someone(to) else { return Err(lost("nobody is there:")) };
        let at = (to, there.lane.replica().0);
        let out = Arc::new(Out { world: Arc::clone(self), at, life: there.life });
        let answer = there.transfers.door(out).answer(message, Simulated::now() + ANSWER).await;
        self.note_paid(to, &there.lane);
        Simulated::sleep(self.chance.micros(200, if slow { 2_000_000 } else { 3_000 })).await;
        let silent = self.way.lock().cut[to] || self.chance.of_thousand(way.lost);
        if silent || !self.lives(at, there.life) {
            return Err(lost("the answer"));
        }
        answer
    }

    /// Brings a message again whose answer nobody hears.
    pub(crate) fn bring_again(self: &Arc<World>, to: usize, message: Vec<u8>, delay: Duration) {
        let world = Arc::clone(self);
        Simulated::spawn(async move {
            Simulated::sleep(delay).await;
            let _ = world.bring(to, &message).await;
        });
    }

    /// Forgets everything, so that nothing of this life stays in memory.
    pub(crate) fn clear(&self) {
        for at in all() {
            self.nets[at.0].close(at.1);
        }
        self.houses.lock().clear();
    }
}

fn lost(what: &str) -> Failure {
    Failure::new(Reason::Unreachable, format!("{what} was lost"))
}

/// The way out of one life of a replica.
struct Out {
    world: Arc<World>,
    at: At,
    life: u64,
}

impl Routes for Out {
    fn knows(&self, branch: &BranchName) -> bool {
        *branch == name(1 - self.at.0)
    }

    fn exchange(
        &self,
        branch: &BranchName,
        message: Vec<u8>,
        _patience: Duration,
    ) -> BoxFuture<'static, Result<Vec<u8>, Failure>> {
        let to = usize::from(*branch == name(1));
        let (world, at, life) = (Arc::clone(&self.world), self.at, self.life);
        Box::pin(async move {
            // What a machine that is off says goes nowhere.
            let Some(here) = world.running(at).filter(|running| running.life == life) else {
                return Err(lost("everything"));
            };
            world.note_paid(at.0, &here.lane);
            drop(here);
            world.remember(to, &message);
            world.chance.note(&message);
            if world.chance.of_thousand(world.way().doubled) {
                let delay = world.chance.micros(1_000, 20_000_000);
                world.bring_again(to, message.clone(), delay);
            }
            let answer = world.bring(to, &message).await;
            if world.lives(at, life) { answer } else { std::future::pending().await }
        })
    }
}
