//! The houses of a simulated branch: a replica, its disk and its clock in each, and what is wrong if it is seen.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use openraft::alias::LogIdOf;
use openraft_rt_sim::SimInstant;
use parking_lot::Mutex;

use super::Simulated;
use super::net::{Chance, From, Net};
use crate::model::{AccountNumber, Digest, LedgerId, ReplicaId, RequestId, Sequence, Timestamp};
use crate::replication::tests::town::address;
use crate::replication::{Branch, BranchConfig, Lane};
use crate::store::faulty_disk::{Faults, FaultyDisk};
use crate::store::{self, Incarnation, Runtime, Storage, Types};

/// Short, so that a life sees many segments and many snapshots.
const SEGMENT_BYTES: u64 = 8 * 1024;
/// When every clock of a life begins: November 2026.
const BEGIN_MICROS: u64 = 1_795_000_000_000_000;

/// How a replica goes away.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    /// The process is killed, the machine goes on.
    Killed,
    /// The power goes; what was not flushed is lost, stays or is torn.
    Torn,
    /// The power goes, and everything that was not flushed is lost.
    Lost,
}

/// A replica that runs.
#[derive(Clone)]
pub(super) struct Running {
    pub(super) branch: Branch<Simulated>,
    pub(super) lane: Lane<Simulated>,
    pub(super) life: u64,
}

struct House {
    disk: FaultyDisk,
    incarnation: u8,
    clock: Arc<AtomicU64>,
    running: Option<Running>,
    /// Its disk was given a fault in this life, so it may stop by itself.
    faulty: bool,
    /// What is on its disk was damaged, so it may refuse to start.
    rotten: bool,
}

pub(super) struct World {
    pub(super) chance: Arc<Chance>,
    pub(super) net: Arc<Net>,
    pub(super) replicas: Vec<u64>,
    houses: Mutex<BTreeMap<u64, House>>,
    lives: AtomicU64,
    /// What should never be seen and was.
    wrong: Mutex<Vec<String>>,
    /// Clients and troubles come to their end.
    pub(super) ending: AtomicBool,
    /// Which entry was applied at an index. openraft orders leaders by term and number, and in one term one with a
    /// greater number may follow another, so "one leader in a term" is not what must be true.
    applied: Mutex<BTreeMap<u64, LogIdOf<Types<Simulated>>>>,
    digests: Mutex<BTreeMap<Sequence, Digest>>,
    seen: Mutex<BTreeMap<u64, Sequence>>,
    /// Replicas that refused to start on their damaged disks and wait to be replaced.
    refused: Mutex<BTreeSet<u64>>,
    /// A copy of the disk of a replica.
    copy: Mutex<Option<(u64, FaultyDisk)>>,
    /// Which troubles this life has, by the numbers of `troubles`; empty in a life of the usual mix.
    pub(super) mix: Vec<u64>,
}

impl World {
    pub(super) fn new(seed: u64, replicas: u64) -> Arc<World> {
        let chance = Arc::new(Chance::new(seed));
        let mix = super::troubles::mix(seed, &chance);
        let world = World {
            mix,
            refused: Mutex::default(),
            copy: Mutex::default(),
            net: Arc::new(Net::new(Arc::clone(&chance))),
            chance,
            replicas: (1..=replicas).collect(),
            houses: Mutex::default(),
            lives: AtomicU64::new(0),
            wrong: Mutex::default(),
            ending: AtomicBool::new(false),
            applied: Mutex::default(),
            digests: Mutex::default(),
            seen: Mutex::default(),
        };
        for replica in world.replicas.clone() {
            let (disk, clock) = (world.new_disk(), Arc::new(AtomicU64::new(BEGIN_MICROS)));
            let incarnation = u8::try_from(replica).unwrap();
            let house = House { disk, incarnation, clock, running: None, faulty: false, rotten: false };
            world.houses.lock().insert(replica, house);
        }
        Arc::new(world)
    }

    fn new_disk(&self) -> FaultyDisk {
        let chance = Arc::clone(&self.chance);
        let run = Arc::new(move |job: store::Job| {
            let most = if chance.of_thousand(20) { 60_000 } else { 400 };
            let delay = chance.micros(50, most);
            Simulated::spawn(async move {
                Simulated::sleep(delay).await;
                job();
            });
        });
        FaultyDisk::with_workers(self.chance.below(u64::MAX), run).with_segments_of(SEGMENT_BYTES)
    }

    /// Notes something that should never be seen.
    pub(super) fn wrong(&self, what: impl Into<String>) {
        self.wrong.lock().push(what.into());
    }

    pub(super) fn first_wrong(&self) -> Option<String> {
        self.wrong.lock().first().cloned()
    }

    pub(super) fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Relaxed) || self.first_wrong().is_some()
    }

    pub(super) fn running(&self, replica: u64) -> Option<Running> {
        self.houses.lock()[&replica].running.clone()
    }

    pub(super) fn all_running(&self) -> Vec<Running> {
        self.houses.lock().values().filter_map(|house| house.running.clone()).collect()
    }

    /// Whether this life of a replica goes on.
    pub(super) fn lives(&self, replica: u64, life: u64) -> bool {
        self.running(replica).is_some_and(|running| running.life == life)
    }

    fn config(&self, replica: u64, life: u64) -> BranchConfig {
        let houses = self.houses.lock();
        let house = &houses[&replica];
        let clock = Arc::clone(&house.clock);
        BranchConfig {
            name: "main".parse().unwrap(),
            replica: ReplicaId(replica),
            incarnation: Incarnation([house.incarnation; 16]),
            address: address(replica),
            peers: self.replicas.iter().map(|id| (ReplicaId(*id), address(*id))).collect(),
            transport: Arc::new(From { net: Arc::clone(&self.net), replica, life }),
            storage: Storage::Directory(Arc::new(house.disk.clone())),
            founding: LedgerId([house.incarnation; 16]),
            clock: Arc::new(move || {
                let passed = SimInstant::try_now().unwrap().elapsed_since_start().as_micros();
                Timestamp::from_micros(clock.load(Ordering::Relaxed) + u64::try_from(passed).unwrap())
            }),
            election: crate::replication::ELECTION,
            trace_events: false,
        }
    }

    /// Starts a replica, on the disk that it has.
    pub(super) async fn start(&self, replica: u64) {
        let life = self.lives.fetch_add(1, Ordering::Relaxed);
        let config = self.config(replica, life);
        self.chance.note(format!("start {replica}").as_bytes());
        self.chance.count("restart");
        match Branch::<Simulated>::start(config).await {
            Ok(branch) => {
                self.net.open(replica, life, branch.door());
                let lane = branch.lane();
                self.seen.lock().remove(&replica);
                self.houses.lock().get_mut(&replica).unwrap().running = Some(Running { branch, lane, life });
            }
            Err(error) if self.houses.lock()[&replica].rotten => {
                self.chance.note(format!("{replica} refuses its disk: {error}").as_bytes());
                self.chance.count("damage refused");
                self.refused.lock().insert(replica);
            }
            Err(error) => self.wrong(format!("replica {replica} does not start again: {error}")),
        }
    }

    /// Starts those that are away.
    pub(super) async fn start_all(&self) {
        for replica in self.replicas.clone() {
            if self.running(replica).is_none() && !self.has_refused(replica) {
                self.start(replica).await;
            }
        }
    }

    /// Takes a replica out of the world.
    pub(super) fn end(&self, replica: u64, how: End) {
        self.chance.note(format!("end {replica} {how:?}").as_bytes());
        self.chance.count(if how == End::Killed { "kill" } else { "power cut" });
        self.net.close(replica);
        let mut houses = self.houses.lock();
        let house = houses.get_mut(&replica).unwrap();
        house.faulty = false;
        house.disk = match how {
            End::Killed => house.disk.kill(),
            End::Torn => house.disk.crash(),
            End::Lost => house.disk.crash_hard(),
        };
        if let Some(Running { branch, .. }) = house.running.take() {
            branch.replica.proposals.close();
            branch.replica.reads.close();
            Simulated::spawn(async move {
                // An error says that it has stopped already.
                let _ = branch.replica.raft.shutdown().await;
            });
        }
    }

    /// Stops a replica as an operator does.
    pub(super) async fn stop(&self, replica: u64) {
        let Some(running) = self.running(replica) else { return };
        if let Some(house) = self.houses.lock().get_mut(&replica) {
            house.faulty = true;
        }
        running.branch.stop().await;
        if self.lives(replica, running.life) {
            self.end(replica, End::Killed);
        }
    }

    /// Gives a replica that is away another disk, on which nothing is.
    pub(super) fn wipe(&self, replica: u64) {
        let disk = self.new_disk();
        let mut houses = self.houses.lock();
        let house = houses.get_mut(&replica).unwrap();
        house.disk = disk;
        house.incarnation += 10;
        house.rotten = false;
        self.refused.lock().remove(&replica);
    }

    pub(super) fn set_faults(&self, replica: u64, faults: Faults) {
        let mut houses = self.houses.lock();
        let house = houses.get_mut(&replica).unwrap();
        house.faulty = true;
        house.disk.set_faults(faults);
    }

    /// Damages something on the disk of a replica that is away: a bit, a sector that turns to zeroes, or one that is
    /// overwritten by another.
    pub(super) fn rot(&self, replica: u64) {
        let mut houses = self.houses.lock();
        let house = houses.get_mut(&replica).unwrap();
        house.rotten = true;
        let names: Vec<String> = house.disk.names().into_iter().filter(|name| is_checked(name)).collect();
        let lengths: Vec<usize> = names.iter().map(|name| written(&house.disk.contents(name))).collect();
        let places: Vec<usize> = (0..names.len()).filter(|place| lengths[*place] > 0).collect();
        let place = self.chance.pick(&places);
        let (name, below) = (&names[place], lengths[place] as u64);
        let (at, from) = [(); 2].map(|()| usize::try_from(self.chance.below(below)).unwrap()).into();
        let (bit, how) = (self.chance.below(8), self.chance.below(3));
        self.chance.note(format!("rot {replica} {name} {at} {from} {bit} {how}").as_bytes());
        self.chance.count("bit rot");
        house.disk.damage(name, |bytes| {
            let sector = |at: usize| at / 512 * 512..(at / 512 * 512 + 512).min(bytes.len());
            let (to, source) = (sector(at), sector(from));
            match how {
                0 => bytes[at] ^= 1 << bit,
                1 => bytes[to].fill(0),
                _ => {
                    let length = to.len().min(source.len());
                    bytes.copy_within(source.start..source.start + length, to.start);
                }
            }
        });
    }

    /// Keeps a copy of the disk of a replica, for [`World::roll_back`].
    pub(super) fn back_up(&self, replica: u64) {
        let copy = self.houses.lock()[&replica].disk.copy();
        *self.copy.lock() = Some((replica, copy));
    }

    /// Whether there is a copy of a disk.
    pub(super) fn has_copy(&self) -> bool {
        self.copy.lock().is_some()
    }

    /// Gives a replica that is away the copy of its disk that was kept; returns which one.
    pub(super) fn roll_back(&self) -> Option<u64> {
        let (replica, copy) = self.copy.lock().take()?;
        self.end(replica, End::Killed);
        let mut houses = self.houses.lock();
        let house = houses.get_mut(&replica).unwrap();
        house.disk = copy;
        house.rotten = true;
        self.chance.count("rollback");
        Some(replica)
    }

    /// Takes a replica for refused that ends by itself again and again because of its disk.
    pub(super) fn refuse_ended(&self, replica: u64) {
        if self.houses.lock()[&replica].rotten {
            self.chance.count("rollback refused");
            self.refused.lock().insert(replica);
        }
    }

    /// Whether a replica waits to be replaced.
    pub(super) fn has_refused(&self, replica: u64) -> bool {
        self.refused.lock().contains(&replica)
    }

    /// A replica whose disk was damaged and not replaced since.
    pub(super) fn rotten(&self) -> Option<u64> {
        self.houses.lock().iter().find(|(_, house)| house.rotten).map(|(replica, _)| *replica)
    }

    /// From now on no disk has a fault.
    pub(super) fn mend_disks(&self) {
        for house in self.houses.lock().values() {
            house.disk.set_faults(Faults::default());
        }
    }

    /// Lets a clock jump to so many minutes after (or, if negative, before) the beginning. Entries with a time more than a
    /// day ahead of a replica's clock are not taken by it, so clocks differ by less.
    pub(super) fn set_clock(&self, replica: u64, minutes: i64) {
        self.chance.count("clock jump");
        let micros = BEGIN_MICROS.checked_add_signed(minutes * 60_000_000).unwrap();
        self.houses.lock()[&replica].clock.store(micros, Ordering::Relaxed);
    }

    /// What must be true at every moment.
    pub(super) fn look(&self) {
        let all = self.all_running();
        for Running { branch, .. } in &all {
            let replica = branch.replica.peers.me.replica.0;
            let (ended, applied) =
                branch.replica.outlook.look(|metrics| (metrics.running_state.is_err(), metrics.last_applied));
            if ended {
                let may_end = {
                    let houses = self.houses.lock();
                    houses[&replica].faulty || houses[&replica].rotten
                };
                if !may_end {
                    self.wrong(format!("replica {replica} stopped by itself"));
                }
                continue;
            }
            if let Some(id) = applied {
                let known = *self.applied.lock().entry(id.index).or_insert(id);
                if known != id {
                    self.wrong(format!("replica {replica} applied {id}, another one {known}"));
                }
            }
            self.compare_digests(replica, branch);
        }
    }

    fn compare_digests(&self, replica: u64, branch: &Branch<Simulated>) {
        let mut seen = self.seen.lock();
        let seen = seen.entry(replica).or_insert(Sequence::ZERO);
        for (sequence, digest) in branch.replica.progress.digests().since(*seen) {
            *seen = sequence;
            if *self.digests.lock().entry(sequence).or_insert(digest) != digest {
                self.wrong(format!("replica {replica} has another digest at {sequence}"));
            }
        }
        let position = branch.replica.current.get().ledger.position();
        if position.sequence != branch.replica.progress.applied() {
            self.wrong(format!("replica {replica} says it has applied what is not in its ledger"));
        }
        if self.digests.lock().get(&position.sequence).is_some_and(|known| *known != position.digest) {
            self.wrong(format!("the ledger of replica {replica} differs at {}", position.sequence));
        }
    }

    /// Replicas that have ended by themselves because of their disk.
    pub(super) fn ended(&self) -> Vec<u64> {
        let ended =
            |running: &Running| running.branch.replica.outlook.look(|raft| raft.running_state.is_err());
        let all = self.all_running();
        all.iter().filter(|running| ended(running)).map(|running| running.lane.replica().0).collect()
    }

    /// An acknowledged request must be on the flushed part of a majority's disks.
    pub(super) fn is_durable(&self, request: &RequestId, sequence: Sequence) {
        // A damaged disk is one less.
        let Some(voters) = self.voters().filter(|_| self.rotten().is_none()) else { return };
        let houses = self.houses.lock();
        let has = |replica: &&u64| store::survives(&houses[replica].disk, request, sequence);
        let have = voters.iter().filter(has).count();
        if 2 * have <= voters.len() {
            self.wrong(format!("{request} was acknowledged and is on {have} disks of {}", voters.len()));
        }
    }

    /// Who votes, if one replica leads and no change is under way.
    pub(super) fn voters(&self) -> Option<Vec<u64>> {
        let all = self.all_running();
        let of = |running: &Running| {
            running.branch.replica.outlook.look(|metrics| {
                let members = &metrics.membership_config;
                let simple = members.membership().get_joint_config().len() == 1;
                let voters: Vec<u64> = members.voter_ids().collect();
                (simple && metrics.state.is_leader() && voters.len() == self.replicas.len()).then_some(voters)
            })
        };
        all.iter().find_map(of)
    }

    /// The members and whether they vote, as it is committed; none while that is changed.
    pub(super) fn members(&self) -> Option<BTreeMap<u64, bool>> {
        let all = self.all_running();
        let of = |running: &Running| {
            running.branch.replica.outlook.look(|metrics| metrics.committed_membership_config.clone())
        };
        let newest = all.iter().map(of).max_by_key(|members| *members.log_id())?;
        let votes = |id: &u64| newest.voter_ids().any(|voter| voter == *id);
        let simple = newest.membership().get_joint_config().len() == 1;
        simple.then(|| newest.nodes().map(|(id, _)| (*id, votes(id))).collect())
    }

    /// Forgets everything, so that nothing of this life stays in memory.
    pub(super) fn clear(&self) {
        for replica in &self.replicas {
            self.net.close(*replica);
        }
        self.houses.lock().clear();
    }
}

/// Whether damage in a file must be noticed.
fn is_checked(name: &str) -> bool {
    name.starts_with("log/") || name.starts_with("snap")
}

/// How much of a file was written: the rest are zeroes for the future.
fn written(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

pub(super) fn number(account: u64) -> AccountNumber {
    AccountNumber::new(account).unwrap()
}

/// Waits for something, for so many seconds.
pub(super) async fn eventually(seconds: u64, mut there: impl FnMut() -> bool + Send) -> bool {
    let until = Simulated::now() + Duration::from_secs(seconds);
    while !there() {
        if Simulated::now() >= until {
            return false;
        }
        Simulated::sleep(Duration::from_millis(20)).await;
    }
    true
}
